package policy

import (
	"slices"
	"strings"
)

// checkContainer refuses what has no meaning for a container: the market chooses where
// its replicas run, and there is nobody to log in.
func (d *decoder) checkContainer(p *filePolicy) {
	m := &p.Match
	for _, a := range []at{
		p.Fallback.at, p.Migrate.at, p.Surge.at, p.Bidding.at, p.Spread.at, p.Protected.at, p.SSHKey.at, p.SSHKeyFile.at, p.PasswordFile.at,
		p.CloudInit.at, p.CloudInitFile.at, p.MinLifetime.at, p.BootTimeout.at, p.Target.GPUHours.at, p.Target.By.at,
		p.ScaleDown.at, p.Resize.at, p.StoppedTTL.at, p.Ready.at, p.OnReady.at, p.Drain.at,
		m.Countries.at, m.Regions.at, m.Cities.at, m.Hosts.at, m.MinUptime.at, m.PreferOrder.at,
		m.Deny.Countries.at, m.Deny.Regions.at, m.Deny.Cities.at, m.Deny.Hosts.at,
	} {
		if a.set {
			d.fail(CodeKind, a, "remove it", "%s has no meaning for kind container: the market chooses where its replicas run", last(a.path))
		}
	}
	c := &p.Container
	for _, l := range []*labels{&c.Env, &c.EnvFiles} {
		for _, k := range l.keys {
			switch {
			case k.ok && (!labelName.MatchString(k.v) || strings.ContainsRune(l.items[k.v], 0)):
				d.fail(CodeLabel, k.at, "letters, digits and _", "environment variable %q cannot be used", short(k.v))
			case l == &c.EnvFiles && slices.ContainsFunc(c.Env.keys, func(o text) bool { return o.v == k.v }):
				d.fail(CodeEitherOr, k.at, "keep one of them", "%s stands in env and in env_files", short(k.v))
			}
		}
	}
	for _, k := range c.EnvFiles.keys {
		d.checkPath(&text{at: k.at, v: c.EnvFiles.items[k.v]})
	}
}
