package policy

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// check looks at what a value means, and at values that contradict each other.
// Values that could not be read were reported by the decoder and are passed over.
func (d *decoder) check(f *file) {
	d.checkDaemon(&f.Daemon)
	d.checkURL(&f.TensorDock.MarketplaceURL, "/api/v0", f.TensorDock.AllowPlainHTTP.v)
	d.checkURL(&f.TensorDock.InstancesURL, "/api/v2", f.TensorDock.AllowPlainHTTP.v)
	d.checkPath(&f.TensorDock.APIKeyFile)
	d.checkPath(&f.TensorDock.APITokenFile)
	d.checkSameFile(&f.TensorDock.APIKeyFile, &f.TensorDock.APITokenFile)
	if lo, hi := &f.Safety.BackoffMin, &f.Safety.BackoffMax; lo.ok && hi.ok && lo.v > hi.v {
		d.fail(CodeOrder, written(lo.at, hi.at), "", "backoff_min (%s) is above backoff_max (%s)", lo.v, hi.v)
	}
	if lo, hi := &f.Safety.BillTolerance, &f.Safety.BillStop; lo.ok && hi.ok && lo.v > hi.v {
		d.fail(CodeOrder, written(lo.at, hi.at), "", "bill_tolerance (%g) is above bill_stop (%g)", lo.v, hi.v)
	}
	d.checkZone(&f.Budget.TimeZone)
	if f.Daemon.Mode.v == string(Live) && !f.Budget.MaxHourly.set {
		d.warn(CodeNoCap, f.Daemon.Mode.at, "set budget.max_hourly",
			"live without budget.max_hourly: the cap is the sum of all targets times their ceilings")
	}
	if where, there := d.places["policies"]; f.ok && len(f.Policies) == 0 && where.ok == there {
		if !there {
			where = at{line: f.line, col: f.col, path: "policies"}
		}
		d.warn(CodeNoPolicies, where, "", "there are no policies: every machine known to be ours will be torn down")
	}
	names := map[string]int{}
	for i := range f.Policies {
		d.checkPolicy(f, &f.Policies[i], names)
	}
	d.checkNotifications(f)
	d.checkReport(f)
}

// written prefers the place that is in the file over a default's.
func written(a, b at) at {
	if a.set {
		return a
	}
	return b
}

// given are those that are in the file.
func given(keys ...at) []at {
	return slices.DeleteFunc(keys, func(k at) bool { return !k.set })
}

func (d *decoder) checkDaemon(f *fileDaemon) {
	if f.Schedule.ok {
		if _, err := ParseSchedule(f.Schedule.v); err != nil {
			d.fail(CodeSchedule, f.Schedule.at, "for example '@every 1m' or '*/5 * * * *'", "the schedule cannot be used: %v", err)
		}
	}
	if f.Owner.ok {
		if err := market.CheckOwner(f.Owner.v); err != nil {
			f.Owner.ok = false
			d.fail(CodeOwner, f.Owner.at, "", "%v", err)
		}
	}
	d.checkPath(&f.Ledger)
	if f.Listen.ok && f.Listen.v != "" {
		d.checkListen(&f.Listen)
	}
	d.checkWebhook(&f.Webhook)
}

func (d *decoder) checkListen(t *text) {
	switch host, ok := d.listenHost(t, "for example 127.0.0.1:9877"); {
	case !ok:
	case !loopback(host):
		d.warn(CodeExposed, t.at, "127.0.0.1 keeps it to this machine", "anybody who can reach %s can read, without a password, the names of your policies, fleet, prices, spend and balance", short(t.v))
	}
}

// listenHost reads the host of an address to listen on, and reports one that is none.
func (d *decoder) listenHost(t *text, hint string) (string, bool) {
	host, port, err := net.SplitHostPort(t.v)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || strconv.FormatUint(n, 10) != port || strings.ContainsAny(host, " /@") {
		d.fail(CodeListen, t.at, hint, "listen must be HOST:PORT, not %q", short(t.v))
		return "", false
	}
	return host, true
}

func loopback(host string) bool {
	return strings.EqualFold(host, "localhost") || net.ParseIP(host).IsLoopback()
}

// checkURL strips an origin of the API's path. Messages do not repeat the URL:
// it might hold a password.
func (d *decoder) checkURL(t *text, api string, plainToo bool) {
	if !t.ok {
		return
	}
	t.ok = false
	u, ok := webAddress(t.v)
	switch {
	case !ok:
		d.fail(CodeURL, t.at, "for example https://marketplace.tensordock.com", "%s must be a https:// address", last(t.path))
	case u.User != nil:
		d.fail(CodeURL, t.at, "keys belong into api_key_file and api_token_file", "%s must not hold a user or password", last(t.path))
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.Contains(t.v, "#"):
		d.fail(CodeURL, t.at, "remove what follows the host", "%s must not hold a query or fragment", last(t.path))
	case strings.TrimSuffix(u.Path, "/") != "" && strings.TrimSuffix(u.Path, "/") != api:
		d.fail(CodeURL, t.at, "remove what follows the host", "%s must be an origin, without a path", last(t.path))
	case u.Scheme == "http" && !loopback(u.Hostname()) && !plainToo:
		d.fail(CodeURL, t.at, "use https://; plain http:// is for this machine only, or with allow_plain_http", "%s would send your key readable to all", last(t.path))
	default:
		if u.Scheme == "http" && !loopback(u.Hostname()) {
			d.warn(CodePlain, t.at, "use https:// where you can", "%s is plain http://: everybody on the way can read your key and your machines' passwords, and forge every answer", last(t.path))
		}
		t.v, t.ok = u.Scheme+"://"+u.Host, true
	}
}

// webAddress reads a http:// or https:// address; false if it is none.
func webAddress(s string) (*url.URL, bool) {
	u, err := url.Parse(s)
	return u, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && validPort(u)
}

func validPort(u *url.URL) bool {
	if u.Port() == "" {
		return !strings.HasSuffix(u.Host, ":")
	}
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && n > 0
}

func (d *decoder) checkZone(t *text) {
	if t.ok && !knownZone(t.v) {
		d.fail(CodeZone, t.at, "for example UTC or Europe/Berlin", "unknown time zone %q", short(t.v))
	}
}

func (d *decoder) checkPath(t *text) {
	if t.ok && (strings.HasPrefix(t.v, "~") || strings.Contains(t.v, "$") || strings.ContainsRune(t.v, 0)) {
		d.fail(CodePath, t.at, "write the whole path, or one relative to this file", "%s: ~ and $ are not expanded in paths", last(t.path))
	}
}

func (d *decoder) checkSameFile(a, b *text) {
	if a.ok && b.ok && a.v == b.v {
		d.fail(CodeEitherOr, b.at, "", "%s is the same file as %s", last(b.path), last(a.path))
	}
}

func (d *decoder) checkPolicy(f *file, p *filePolicy, names map[string]int) {
	if !p.ok { // not a section: reported already
		return
	}
	d.checkName(f, p, names)
	d.checkKind(p)
	d.checkTarget(p)
	d.checkShape(p)
	d.checkImage(p)
	d.checkLogin(p)
	d.checkMatch(&p.Match)
	d.checkMoney(f, p)
	d.checkBidding(p)
	d.checkHooks(p)
	d.checkProtected(f, p)
	d.checkLabels(&p.Labels)
	if p.CloudInit.set && p.CloudInitFile.set {
		d.fail(CodeEitherOr, p.CloudInitFile.at, "keep one of them", "cloud_init and cloud_init_file exclude each other")
	}
	d.checkPath(&p.CloudInitFile)
}

func (d *decoder) checkName(f *file, p *filePolicy, names map[string]int) {
	if !p.Name.ok {
		return
	}
	owner := f.Daemon.Owner.v
	if !f.Daemon.Owner.ok {
		owner = "x" // its own problem is reported already
	}
	if err := market.CheckPolicyName(owner, p.Name.v); err != nil {
		d.fail(CodePolicyName, p.Name.at, "for example train-a100", "%v", err)
		return
	}
	if line, taken := names[p.Name.v]; taken {
		d.fail(CodeSameName, p.Name.at, "rename one of them", "policy %q is already defined in line %d", short(p.Name.v), line)
		return
	}
	names[p.Name.v] = p.Name.line
}

func (d *decoder) checkKind(p *filePolicy) {
	if !p.Kind.ok {
		return
	}
	if p.Shadow.v && p.Kind.v != string(VM) {
		d.fail(CodeKind, p.Shadow.at, "use kind vm, or remove shadow", "kind %s has no shadows: no record says what becomes of such machines", p.Kind.v)
	}
	if c := &p.Container; c.set && p.Kind.v != string(Container) {
		d.fail(CodeKind, c.at, "set kind: container, or remove container", "container has no meaning for kind %s", p.Kind.v)
	}
	if p.Kind.v == string(Instant) {
		d.checkInstant(p)
		return
	}
	if p.Kind.v == string(Container) {
		d.checkContainer(p)
		if p.Capacity.ok && p.Capacity.v != string(market.OnDemand) {
			d.fail(CodeKind, p.Capacity.at, "remove capacity", "kind %s cannot be bought as %s", p.Kind.v, p.Capacity.v)
		}
		return
	}
	if f := &p.Fallback; f.set && p.Capacity.v != string(SpotWithFallback) {
		d.fail(CodeKind, f.at, "set capacity: spot_with_fallback, or remove fallback", "fallback has no meaning for capacity %s", p.capacity())
	}
}

// checkInstant refuses what has no meaning for machines that are sold ready-made and
// on demand.
func (d *decoder) checkInstant(p *filePolicy) {
	if p.Capacity.ok && p.Capacity.v != string(market.OnDemand) {
		d.fail(CodeKind, p.Capacity.at, "remove capacity", "kind instant cannot be bought as %s", p.Capacity.v)
	}
	for _, k := range []struct {
		at   at
		name string
	}{{p.Fallback.at, "fallback"}, {p.Migrate.at, "migrate"}, {p.Bidding.at, "bidding"}} {
		if k.at.set {
			d.fail(CodeKind, k.at, "remove it", "%s has no meaning for kind instant", k.name)
		}
	}
}

func (d *decoder) checkTarget(p *filePolicy) {
	t := &p.Target
	if t.line == 0 {
		return
	}
	set := given(t.GPUs.at, t.Instances.at, t.Replicas.at)
	slices.SortStableFunc(set, func(a, b at) int { return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.col, b.col)) })
	wants := "gpus or instances"
	if p.Kind.v == string(Container) {
		wants = "replicas"
	}
	if t.GPUHours.set || t.By.set {
		d.checkDeadline(t)
	}
	d.checkDemand(p)
	switch {
	case len(set) == 0 && (t.GPUHours.set || t.By.set || t.moves()):
	case len(set) == 0:
		d.fail(CodeTarget, t.at, "for example target: {gpus: 8}", "the target needs %s", wants)
	case len(set) > 1:
		d.fail(CodeTarget, set[1], "keep one of them", "the target has %s and %s: which counts?", last(set[0].path), last(set[1].path))
	case p.Kind.ok && (p.Kind.v == string(Container)) != t.Replicas.set:
		d.fail(CodeKind, set[0], "use "+wants, "kind %s has no target of %s", p.Kind.v, last(set[0].path))
	}
	if g, per := &t.GPUs, &p.Shape.GPUs; g.ok && per.ok && g.v%per.v != 0 {
		down := g.v / per.v * per.v
		d.fail(CodeIndivisible, g.at, fmt.Sprintf("use %d or %d, or another shape.gpus", down, down+per.v),
			"%d GPUs cannot be made of machines with %d", g.v, per.v)
	}
}

// checkDeadline looks at a target of GPU-hours.
func (d *decoder) checkDeadline(t *fileTarget) {
	switch {
	case !t.GPUHours.set:
		d.fail(CodeTarget, t.By.at, "add gpu_hours", "by has no meaning without gpu_hours")
	case !t.By.set:
		d.fail(CodeTarget, t.GPUHours.at, "for example by: 2027-01-31T18:00:00Z", "gpu_hours need a time to be delivered by")
	case t.Instances.set:
		d.fail(CodeTarget, t.Instances.at, "use gpus for the most at once", "the target has gpu_hours and instances: which counts?")
	}
}

func (d *decoder) checkShape(p *filePolicy) {
	if v := &p.Shape.VCPUs; v.ok && v.v%2 != 0 {
		d.warn(CodeOddCPUs, v.at, fmt.Sprintf("write %d", v.v+1), "vCPUs are sold in even numbers: %d are bought for %d", v.v+1, v.v)
	}
	if v := &p.Shape.RAM; v.ok && v.v%2 != 0 {
		d.warn(CodeOddRAM, v.at, fmt.Sprintf("write %d", v.v+1), "GB of RAM are sold in even numbers: %d are bought for %d", v.v+1, v.v)
	}
	if a, b := &p.Spread.PerHost, &p.Spread.MaxShare; a.set && b.set {
		d.fail(CodeEitherOr, b.at, "keep per_host", "per_host and max_share exclude each other")
	}
}

func (d *decoder) checkImage(p *filePolicy) {
	if p.Kind.v == string(Container) {
		if !p.Image.set {
			d.fail(CodeMissing, p.at, "add 'image: ...'", "%s.image is missing", p.path)
		}
		return
	}
	if p.Image.set && !p.Image.ok || !p.Image.set && p.Kind.v == string(Instant) {
		return
	}
	img, known := findImage(p.image())
	if !known {
		hint := ""
		if near, ok := nearestImage(p.Image.v); ok {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		d.warn(CodeImage, p.Image.at, hint, "unknown image %q: it is passed on as written", short(p.Image.v))
		return
	}
	if s := &p.Shape.Storage; s.ok && s.v < img.storage {
		d.fail(CodeSmallDisk, s.at, fmt.Sprintf("use at least %d", img.storage), "%s does not fit on %d GB", img.name, s.v)
	}
	if p.Ports.ok && !slices.Contains(p.ports(), img.login) {
		d.warn(CodeNoLogin, p.Ports.at, fmt.Sprintf("add %d", img.login), "port %d, to log in by, is not opened", img.login)
	}
	if key := written(p.SSHKey.at, p.SSHKeyFile.at); key.set && img.login != 22 {
		d.fail(CodeEitherOr, key, "use password_file", "%s takes a password, not an SSH key", img.name)
	}
}

var sshKeyType = regexp.MustCompile(`^(ssh-(ed25519|rsa|dss)|ecdsa-sha2-\S+|sk-(ssh|ecdsa)-\S+)$`)

func (d *decoder) checkLogin(p *filePolicy) {
	if p.SSHKey.set && p.SSHKeyFile.set {
		d.fail(CodeEitherOr, p.SSHKeyFile.at, "keep one of them", "ssh_key and ssh_key_file exclude each other")
	}
	d.checkSameFile(&p.SSHKeyFile, &p.PasswordFile)
	d.checkPath(&p.SSHKeyFile)
	d.checkPath(&p.PasswordFile)
	if p.SSHKey.ok && !publicKey(p.SSHKey.v) {
		d.fail(CodeSSHKey, p.SSHKey.at, "write one line like 'ssh-ed25519 AAAA... me@here'", "ssh_key is not a public SSH key")
	}
	if p.SSHKeyFile.ok && !strings.HasSuffix(p.SSHKeyFile.v, ".pub") {
		d.warn(CodeSSHKey, p.SSHKeyFile.at, "public keys end in .pub", "ssh_key_file may be a private key")
	}
	if !p.SSHKey.set && !p.SSHKeyFile.set && !p.PasswordFile.set && p.Kind.v != string(Container) {
		d.warn(CodeNoKey, written(p.Name.at, p.at), "set ssh_key_file", "no SSH key and no password: each machine will get a random password of its own")
	}
}

func publicKey(s string) bool {
	fields := strings.Fields(s)
	if len(fields) < 2 || strings.ContainsAny(strings.TrimRight(s, "\n"), "\r\n") || !sshKeyType.MatchString(fields[0]) {
		return false
	}
	b, err := base64.StdEncoding.DecodeString(fields[1])
	return err == nil && len(b) > 4+len(fields[0]) && string(b[4:4+len(fields[0])]) == fields[0]
}

func (d *decoder) checkMatch(m *fileMatch) {
	same := func(pattern, name string) bool { return glob(lower([]string{pattern})[0], strings.TrimSpace(name)) }
	fold := func(a, b string) bool { return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b)) }
	land := func(a, b string) bool { return anyFold(countryNames(a), b) }
	d.checkDenied(&m.GPUModels, &m.Deny.GPUModels, same)
	d.checkDenied(&m.Countries, &m.Deny.Countries, land)
	d.checkDenied(&m.Regions, &m.Deny.Regions, fold)
	d.checkDenied(&m.Cities, &m.Deny.Cities, fold)
	d.checkDenied(&m.Hosts, &m.Deny.Hosts, same)
	for _, t := range slices.Concat(m.GPUModels.items, m.Deny.GPUModels.items) {
		d.checkModel(t)
	}
	if m.PreferOrder.v && len(m.GPUModels.items) == 0 {
		d.fail(CodeNoOrder, m.PreferOrder.at, "list match.gpu_models, best first", "prefer_order without gpu_models")
	}
	d.checkVRAM(m)
}

// checkDenied reports a list of which nothing is left. An entry is denied when
// an entry of the other list covers it.
func (d *decoder) checkDenied(match, deny *texts, covers func(pattern, name string) bool) {
	denied := deny.values()
	for _, name := range match.values() {
		if !slices.ContainsFunc(denied, func(p string) bool { return covers(p, name) }) {
			return
		}
	}
	if len(match.values()) > 0 {
		d.fail(CodeMatchNothing, deny.at, "remove one of the two", "nothing can match: every entry of %s is denied here", match.path)
	}
}

func (d *decoder) checkModel(t text) {
	if !t.ok || slices.ContainsFunc(knownModels(), func(m string) bool { return glob(lower([]string{t.v})[0], m) }) {
		return
	}
	hint := ""
	if near, ok := nearestModel(t.v); ok {
		hint = fmt.Sprintf("did you mean %s?", near)
	}
	d.warn(CodeModel, t.at, hint, "no GPU known to this version is called %q", short(t.v))
}

func (d *decoder) checkVRAM(m *fileMatch) {
	names := m.GPUModels.values()
	for _, name := range names {
		gb, known := market.GPUModel(strings.ToLower(name)).VRAM().Get()
		if !known || strings.ContainsAny(name, "*?") || gb >= m.MinVRAM.v {
			return
		}
	}
	if len(names) > 0 && m.MinVRAM.ok {
		d.fail(CodeMatchNothing, m.MinVRAM.at, "lower min_vram_gb", "nothing can match: every model of %s has less than %d GB", m.GPUModels.path, m.MinVRAM.v)
	}
}

func (d *decoder) checkMoney(f *file, p *filePolicy) {
	price := market.Rate(p.MaxGPUHour.v)
	if p.MaxGPUHour.ok && price > market.USD(20, 0) {
		d.warn(CodeDear, p.MaxGPUHour.at, "dollars per GPU-hour: forty cents are 0.40", "%s for one GPU for one hour is unusually high", price)
	}
	if ceiling := price.Mul(p.Shape.GPUs.v); p.MaxGPUHour.ok && p.Shape.GPUs.ok {
		for _, b := range []*money{&f.Budget.MaxHourly, &p.Budget.MaxHourly} {
			if b.ok && ceiling > market.Rate(b.v) {
				d.warn(CodeSmallCap, p.MaxGPUHour.at, "", "one machine may cost %s, more than %s (%s)", ceiling, b.path, market.Rate(b.v))
			}
		}
	}
	global := []*money{&f.Budget.MaxHourly, &f.Budget.MaxDaily, &f.Budget.MaxMonthly}
	for i, own := range []*money{&p.Budget.MaxHourly, &p.Budget.MaxDaily, &p.Budget.MaxMonthly} {
		if g := global[i]; own.ok && g.ok && own.v > g.v {
			d.warn(CodeWideCap, own.at, "the global budget holds", "%s is above %s (%s)", last(own.path), g.path, market.Amount(g.v))
		}
	}
}

func (d *decoder) checkProtected(f *file, p *filePolicy) {
	for _, t := range p.Protected.items {
		n, ok := market.ParseMachineName(t.v)
		if t.ok && (!ok || n.Policy != p.Name.v || n.Owner != f.Daemon.Owner.v) {
			d.fail(CodeProtected, t.at, "copy the name from 'tdscaler machines'", "%q is not a machine of this policy", short(t.v))
		}
	}
}

var labelName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}$`)

func (d *decoder) checkLabels(l *labels) {
	for _, k := range l.keys {
		if k.ok && (!labelName.MatchString(k.v) || len([]rune(l.items[k.v])) > 256) {
			d.fail(CodeLabel, k.at, "letters, digits and _; at most 256 characters of value", "label %q cannot be used", short(k.v))
		}
	}
}
