package policy

import (
	"cmp"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// build turns a raw file without errors into a Set. It decides nothing: every
// value was checked, every default is here or in the tags.
func (f *file) build() Set {
	s := Set{
		Version: f.Version.v,
		Daemon: Daemon{
			Schedule: f.Daemon.Schedule.v, Watch: f.Daemon.Watch.v, Mode: Mode(f.Daemon.Mode.v), Ledger: f.Daemon.Ledger.v, Listen: f.Daemon.Listen.v,
			Owner: f.Daemon.Owner.v, LogLevel: f.Daemon.LogLevel.v, LogFormat: f.Daemon.LogFormat.v,
			Webhook: Webhook{Listen: f.Daemon.Webhook.Listen.v, SecretFile: f.Daemon.Webhook.SecretFile.v},
		},
		TensorDock: TensorDock{
			MarketplaceURL: f.TensorDock.MarketplaceURL.v, InstancesURL: f.TensorDock.InstancesURL.v,
			MarketplaceRPS: f.TensorDock.MarketplaceRPS.v, InstancesRPM: f.TensorDock.InstancesRPM.v,
			APIKeyFile: f.TensorDock.APIKeyFile.v, APITokenFile: f.TensorDock.APITokenFile.v,
			AllowPlainHTTP: f.TensorDock.AllowPlainHTTP.v,
		},
		Budget: Budget{
			MaxHourly: f.Budget.MaxHourly.rate(), MaxDaily: f.Budget.MaxDaily.amount(), MaxMonthly: f.Budget.MaxMonthly.amount(),
			MinBalance: f.Budget.MinBalance.amount(), MinRunway: f.Budget.MinRunway.v,
			Zone: Zone(f.Budget.TimeZone.v), Scope: Scope(f.Budget.Scope.v),
		},
		Limits: Limits{MaxActions: f.Limits.MaxActions.v, MaxProbes: f.Limits.MaxProbes.v, MaxChurn: market.Some(f.Limits.MaxChurn.v)},
		Safety: Safety{
			UnknownLooks: f.Safety.UnknownLooks.v, UnknownAge: f.Safety.UnknownAge.v,
			AbsentLooks: f.Safety.AbsentLooks.v, AbsentAge: f.Safety.AbsentAge.v,
			BackoffMin: f.Safety.BackoffMin.v, BackoffMax: f.Safety.BackoffMax.v,
			BreakerFailures: f.Safety.BreakerFailures.v, BreakerWindow: f.Safety.BreakerWindow.v,
			BreakerCooldown: f.Safety.BreakerCooldown.v, BreakerNeverUp: f.Safety.BreakerNeverUp.v,
			PriceOutlier: f.Safety.PriceOutlier.v, BillTolerance: f.Safety.BillTolerance.v, BillStop: f.Safety.BillStop.v,
		},
		Ledger: Ledger{Retention: f.Ledger.Retention.v, MaxSize: f.Ledger.MaxSize.v},

		Notifications: f.Notifications.build(),
		Report:        f.Report.build(),
	}
	for i := range f.Policies {
		if p := f.Policies[i].build(); f.Policies[i].Shadow.v {
			p.ScaleDown = DeleteSurplus // what it would stop is not there to be started
			s.Shadows = append(s.Shadows, p)
		} else {
			s.Policies = append(s.Policies, p)
		}
	}
	byName := func(a, b Policy) int { return cmp.Compare(a.Name, b.Name) }
	if !f.Limits.MaxChurn.set {
		s.Limits.MaxChurn = market.Some(s.usualChurn())
	}
	slices.SortFunc(s.Policies, byName)
	slices.SortFunc(s.Shadows, byName)
	return s
}

// leastChurn is the default of limits.max_churn_per_hour where little is wanted.
const leastChurn = 10

// usualChurn lets every machine be replaced twice in an hour: a fallback to on-demand
// and the return from it need not wait, and what swings faster than that costs more than
// it saves.
func (s *Set) usualChurn() int {
	machines := 0
	for i := range s.Policies {
		machines += s.Policies[i].MaxTarget()
	}
	return max(leastChurn, 2*machines)
}

func (p *filePolicy) build() Policy {
	return Policy{
		Name: p.Name.v, Kind: Kind(p.Kind.v), Capacity: market.Capacity(p.capacity()), Priority: p.Priority.v,
		Fallback: Fallback{After: p.Fallback.After.v, MaxPremium: p.Fallback.MaxPremium.v, Settle: p.Fallback.Settle.v}, Surge: p.Surge.v,
		Migrate: Migrate{MaxPerHour: p.Migrate.MaxPerHour.v, MinSaving: p.Migrate.MinSaving.v, Payback: p.Migrate.Payback.v},
		Target:  p.machines(), Demand: p.Target.demand(p.shape()), Deadline: p.deadline(), Match: p.Match.build(), Shape: p.shape(), MaxGPUHour: market.Rate(p.MaxGPUHour.v),
		Image: p.image(), ImageV2: imageV2(p.image()), HasKey: p.SSHKey.set || p.SSHKeyFile.set, Ports: p.ports(), Spread: p.Spread.build(), Bidding: p.bidding(),
		Budget: Budget{
			MaxHourly: p.Budget.MaxHourly.rate(), MaxDaily: p.Budget.MaxDaily.amount(), MaxMonthly: p.Budget.MaxMonthly.amount(),
			MaxTotal: p.Budget.MaxTotal.amount(),
		},
		ScaleDown: p.scaleDown(), Resize: p.resize(), StoppedTTL: p.StoppedTTL.v, Cooldown: p.Cooldown.v, MinLifetime: p.MinLifetime.v, BootTimeout: p.BootTimeout.v,
		Ready: p.Ready.build(), OnReady: buildHook(&p.OnReady.Webhook, &p.OnReady.Command, &p.OnReady.Timeout), Drain: p.Drain.build(),
		Protected: p.Protected.values(), Labels: p.Labels.items,
		SSHKey: p.SSHKey.v, SSHKeyFile: p.SSHKeyFile.v, PasswordFile: p.PasswordFile.v,
		CloudInit: p.CloudInit.v, CloudInitFile: p.CloudInitFile.v,
		Run: Run{
			Private: p.Container.Registry.v == "private", Project: p.Container.ProjectID.v, Arguments: p.Container.Arguments.values(),
			Volumes: p.Container.Volumes.values(), Env: p.Container.Env.items, EnvFiles: p.Container.EnvFiles.items,
		},
	}
}

func (m *fileMatch) build() Match {
	return Match{
		GPUModels: m.GPUModels.values(), Countries: m.Countries.values(), Regions: m.Regions.values(),
		Cities: m.Cities.values(), Hosts: m.Hosts.values(),
		MinVRAM: m.MinVRAM.v, MinUptime: m.MinUptime.v, PreferOrder: m.PreferOrder.v,
		Deny: Deny{
			GPUModels: m.Deny.GPUModels.values(), Countries: m.Deny.Countries.values(), Regions: m.Deny.Regions.values(),
			Cities: m.Deny.Cities.values(), Hosts: m.Deny.Hosts.values(),
		},
	}
}

func (p *filePolicy) capacity() string {
	switch {
	case p.Capacity.set:
		return p.Capacity.v
	case p.Kind.v == string(VM):
		return string(market.Spot)
	}
	return string(market.OnDemand)
}

func (p *filePolicy) deadline() Deadline {
	return Deadline{Work: time.Duration(p.Target.GPUHours.v) * time.Hour, By: p.Target.By.v}
}

// machines is the target in machines of this shape.
func (p *filePolicy) machines() int {
	switch t := &p.Target; {
	case t.GPUHours.ok && !t.GPUs.ok:
		aDay := 24 * max(p.Shape.GPUs.v, 1)
		return (t.GPUHours.v + aDay - 1) / aDay
	case t.GPUs.ok:
		return t.GPUs.v / max(p.Shape.GPUs.v, 1)
	case t.Replicas.ok:
		return t.Replicas.v
	default:
		return t.Instances.v
	}
}

func (p *filePolicy) shape() market.Shape {
	s := market.Shape{GPUs: p.Shape.GPUs.v, VCPUs: p.Shape.VCPUs.v, RAM: p.Shape.RAM.v, Storage: p.Shape.Storage.v}
	if p.Kind.v == string(Instant) { // any, but for what is asked for
		if !p.Shape.Storage.set {
			s.Storage = 0
		}
		return s
	}
	if !p.Shape.VCPUs.set {
		s.VCPUs = UsualShape(s.GPUs).VCPUs
	}
	if !p.Shape.RAM.set {
		s.RAM = UsualShape(s.GPUs).RAM
	}
	return s
}

func (s *fileSpread) build() Spread {
	return Spread{MaxShare: s.MaxShare.v, PerHost: s.PerHost.v, PerPlace: s.PerPlace.v, PerGroup: s.PerGroup.v}
}

func (p *filePolicy) resize() Resize {
	if p.Resize.v == "auto" {
		return FollowShape
	}
	return Resize(p.Resize.v)
}

func (p *filePolicy) scaleDown() ScaleDown {
	if p.ScaleDown.v == "delete" {
		return DeleteSurplus
	}
	return ScaleDown(p.ScaleDown.v)
}

func (p *filePolicy) image() string {
	if !p.Image.set && p.Kind.v == string(Instant) {
		return ""
	}
	if !p.Image.set {
		return DefaultImage
	}
	if p.Kind.v == string(Container) {
		return p.Image.v
	}
	return imageName(p.Image.v)
}

func (p *filePolicy) ports() []int {
	if !p.Ports.set {
		if p.Kind.v == string(Container) {
			return nil
		}
		return []int{22}
	}
	var out []int
	for _, i := range p.Ports.items {
		if i.ok {
			out = append(out, i.v)
		}
	}
	return out
}

func (v *money) rate() market.Maybe[market.Rate] {
	if !v.ok {
		return market.Maybe[market.Rate]{}
	}
	return market.Some(market.Rate(v.v))
}

func (v *money) amount() market.Maybe[market.Amount] {
	if !v.ok {
		return market.Maybe[market.Amount]{}
	}
	return market.Some(market.Amount(v.v))
}
