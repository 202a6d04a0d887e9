package policy

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Set is a whole file, checked and with its defaults filled in.
type Set struct {
	Version    int
	Daemon     Daemon
	TensorDock TensorDock
	Budget     Budget
	Limits     Limits
	Safety     Safety
	Ledger     Ledger
	// Notifications are no reason for any decision.
	Notifications Notifications
	Report        Report
	Policies      []Policy // sorted by Name; those that buy
	// Shadows are decided and never acted on. Sorted by Name; none is in Policies.
	Shadows []Policy
}

// Mode says whether tdscaler may spend money.
type Mode string

// Modes. DryRun is the default: it looks, asks and plans, and changes nothing.
const (
	DryRun Mode = "dry-run"
	Live   Mode = "live"
)

// Daemon is how and when tdscaler runs.
type Daemon struct {
	Schedule  string        // as written; see Schedule() for its meaning
	Watch     time.Duration // between two looks at our machines alone; 0 is none
	Mode      Mode
	Ledger    string // path; relative to the configuration file
	Listen    string // host:port of the read-only HTTP server; "" is none
	Owner     string // whose machines are ours: part of every machine's name
	LogLevel  string // debug, info, warn, error
	LogFormat string // json, console
	Webhook   Webhook
}

// Webhook is a listener of its own on which signed requests set targets.
type Webhook struct {
	Listen     string // host:port; "" is none
	SecretFile string
}

// TensorDock is where and how fast the marketplace is asked.
type TensorDock struct {
	MarketplaceURL string  // origin of the v0 API, without /api/v0
	InstancesURL   string  // origin of the v2 API, without /api/v2
	MarketplaceRPS float64 // requests per second to v0
	InstancesRPM   float64 // requests per minute to v2
	APIKeyFile     string  // path; "" means the environment
	APITokenFile   string
	AllowPlainHTTP bool // both URLs may be http:// to another machine
}

// Budget caps spending. Unknown means no cap of that kind.
type Budget struct {
	MaxHourly  market.Maybe[market.Rate]   `json:"max_hourly,omitzero"`
	MaxDaily   market.Maybe[market.Amount] `json:"max_daily,omitzero"`
	MaxMonthly market.Maybe[market.Amount] `json:"max_monthly,omitzero"`
	MinBalance market.Maybe[market.Amount] `json:"min_balance,omitzero"` // global only
	MinRunway  time.Duration               `json:"min_runway,omitempty"` // global only; 0 is none
	MaxTotal   market.Maybe[market.Amount] `json:"max_total,omitzero"`   // of a policy only: over its whole life
	Zone       Zone                        `json:"time_zone,omitempty"`  // global only: where days and months begin
	Scope      Scope                       `json:"scope,omitempty"`      // global only
}

// Scope says whose machines the global caps count.
type Scope string

// Scopes.
const (
	ScopeOwner   Scope = "owner"   // those of daemon.owner
	ScopeAccount Scope = "account" // and whatever else the account is charged for
)

// Zone is the name of a time zone in the IANA database; "" is UTC.
type Zone string

// Location is the zone's rules; UTC for a name that is not in the database, which
// Parse has refused.
func (z Zone) Location() *time.Location {
	if l, ok := zones.Load(z); ok {
		return l.(*time.Location)
	}
	l, err := time.LoadLocation(string(z)) // "" is UTC
	if err != nil {
		l = time.UTC
	}
	zones.Store(z, l)
	return l
}

// zones keeps what was read from the database: every cycle asks several times.
var zones sync.Map // Zone to *time.Location

// Limits bound what one cycle may do.
type Limits struct {
	MaxActions int `json:"max_actions_per_cycle"`
	MaxProbes  int `json:"max_probes_per_cycle"`
	// MaxChurn bounds the machines replaced in an hour that need not have been; unknown
	// is no bound.
	MaxChurn market.Maybe[int] `json:"max_churn_per_hour,omitzero"`
}

// Safety is how much evidence is enough.
type Safety struct {
	UnknownLooks    int           `json:"unknown_looks"` // complete looks before a lost deploy is given up
	UnknownAge      time.Duration `json:"unknown_age"`
	AbsentLooks     int           `json:"absent_looks"` // complete looks before a machine counts as gone
	AbsentAge       time.Duration `json:"absent_age"`
	BackoffMin      time.Duration `json:"backoff_min"` // first pause for a host that failed us
	BackoffMax      time.Duration `json:"backoff_max"`
	BreakerFailures int           `json:"breaker_failures"` // failed writes ...
	BreakerWindow   time.Duration `json:"breaker_window"`   // ... within this, stop growth ...
	BreakerCooldown time.Duration `json:"breaker_cooldown"` // ... for this long
	BreakerNeverUp  int           `json:"breaker_never_up"` // machines in a row that never ran stop growth
	PriceOutlier    float64       `json:"price_outlier"`    // the factor by which the whole market's prices may move between two looks
	BillTolerance   float64       `json:"bill_tolerance"`   // share by which the bill may exceed the books before it is reported ...
	BillStop        float64       `json:"bill_stop"`        // ... and before it stops growth
}

// Ledger bounds the history that is kept.
type Ledger struct {
	Retention time.Duration
	MaxSize   int64 // bytes
}

// Kind is what a policy buys.
type Kind string

// Kinds.
const (
	VM        Kind = "vm"
	Instant   Kind = "instant"
	Container Kind = "container"
)

// Policy is one wish: this many GPUs, such ones, there, at most at this price.
type Policy struct {
	Name     string          `json:"name"`
	Kind     Kind            `json:"kind"`
	Capacity market.Capacity `json:"capacity"`
	Fallback Fallback        `json:"fallback,omitzero"`
	Migrate  Migrate         `json:"migrate,omitzero"`
	// Surge is how many machines may stand above the target in the place of lost ones
	// whose deletion is not confirmed yet.
	Surge    int `json:"surge,omitempty"`
	Priority int `json:"priority,omitempty"` // higher is served first
	// Target is the number of machines. Invariant: Target x Shape.GPUs is exactly
	// the number of GPUs the user wrote.
	Target int `json:"target_machines"`
	// Demand is what moves Target. In a Set, Target is the number in the file; in what
	// is decided on, Target is what the Demand came to.
	Demand Demand `json:"demand,omitzero"`
	// Deadline, where there is one, makes Target the most machines at once.
	Deadline Deadline `json:"deadline,omitzero"`
	Match    Match    `json:"match"`
	// Shape is what a machine has at least; the GPUs are exact. A host may sell only more.
	Shape      market.Shape `json:"shape"`
	MaxGPUHour market.Rate  `json:"max_gpu_hour"`       // all-in, per GPU
	Image      string       `json:"image"`              // v0 name, e.g. "Ubuntu 22.04 LTS"
	ImageV2    string       `json:"image_v2,omitempty"` // v2's name of it, e.g. "ubuntu2204"; "" if it has none
	// HasKey: an SSH key is given.
	HasKey   bool          `json:"has_ssh_key,omitempty"`
	Ports    []int         `json:"ports,omitempty"`
	Spread   Spread        `json:"spread,omitzero"`
	Bidding  Bidding       `json:"bidding,omitzero"`
	Budget   Budget        `json:"budget,omitzero"`
	Cooldown time.Duration `json:"cooldown,omitempty"`
	// ScaleDown is what becomes of on-demand machines that are too many; StoppedTTL is
	// how long one that was stopped is kept, 0 for ever.
	ScaleDown  ScaleDown     `json:"scale_down,omitempty"`
	StoppedTTL time.Duration `json:"stopped_ttl,omitempty"`
	// Resize is what becomes of machines that were ordered for a smaller shape.
	Resize Resize `json:"resize,omitempty"`
	// MinLifetime protects young machines from voluntary removal.
	MinLifetime time.Duration `json:"min_lifetime,omitempty"`
	// BootTimeout is how long a machine may take until it runs.
	BootTimeout time.Duration     `json:"boot_timeout,omitempty"`
	Ready       Ready             `json:"ready,omitzero"`
	OnReady     Hook              `json:"on_ready,omitzero"`
	Drain       Drain             `json:"drain,omitzero"`
	Protected   []string          `json:"protected,omitempty"` // machine names never removed voluntarily
	Labels      map[string]string `json:"labels,omitempty"`
	// Run is what the replicas of a policy of kind container get.
	Run Run `json:"container,omitzero"`

	// Files by name only: their contents are read by whoever applies the Set.
	SSHKey        string `json:"-"` // a public key, inline
	SSHKeyFile    string `json:"-"`
	PasswordFile  string `json:"-"`
	CloudInit     string `json:"-"` // inline
	CloudInitFile string `json:"-"`
}

// Run is what the replicas of a container get beside image, shape and ports.
type Run struct {
	Private   bool     `json:"private,omitempty"` // the image's registry needs a login
	Project   string   `json:"project_id,omitempty"`
	Arguments []string `json:"arguments,omitempty"`
	Volumes   []string `json:"volumes,omitempty"`
	// Environment variables: values, and the names of files that hold them. Both may be
	// nobody else's business, so that neither is in a report.
	Env      map[string]string `json:"-"`
	EnvFiles map[string]string `json:"-"`
}

// Resize says whether machines follow when their policy's shape grows.
type Resize string

// They are resized, or replaced where that cannot be; or stay as they are.
const (
	FollowShape Resize = ""
	KeepShape   Resize = "keep"
)

// ScaleDown is what becomes of a machine that is too much.
type ScaleDown string

// What becomes of it. Spot machines are deleted in any case.
const (
	DeleteSurplus  ScaleDown = ""
	StopSurplus    ScaleDown = "stop"    // GPUs and bill are kept
	ReleaseSurplus ScaleDown = "release" // the disk alone is kept and billed
)

// SpotWithFallback is a policy's capacity only: its machines are spot or on-demand.
const SpotWithFallback market.Capacity = "spot_with_fallback"

// Fallback is when on-demand covers for spot.
type Fallback struct {
	After      time.Duration `json:"after,omitempty"`       // spot falls short for so long first
	MaxPremium float64       `json:"max_premium,omitempty"` // share above MaxGPUHour that on-demand may cost
	Settle     time.Duration `json:"settle,omitempty"`      // a host that lost a machine is trusted again after so long
}

// Migrate is when a running spot machine is replaced by a cheaper one.
type Migrate struct {
	MaxPerHour int           `json:"max_per_hour,omitempty"` // 0 is never
	MinSaving  float64       `json:"min_saving,omitempty"`   // share of its price
	Payback    time.Duration `json:"payback,omitempty"`
}

// Deadline is work to be delivered by a time; the zero value is none.
type Deadline struct {
	Work time.Duration `json:"gpu_time,omitempty"` // GPUs times time
	By   time.Time     `json:"by,omitzero"`
}

// Buys says whether the policy has machines of that capacity.
func (p *Policy) Buys(c market.Capacity) bool {
	return p.Capacity == c || p.Capacity == SpotWithFallback && (c == market.Spot || c == market.OnDemand)
}

// MayUseV2 says whether the policy's on-demand machines could be bought through v2,
// which lets nobody in without an SSH key.
func (p *Policy) MayUseV2() bool {
	return p.Kind == VM && p.Buys(market.OnDemand) && p.HasKey && p.ImageV2 != ""
}

// Match says which offers a policy takes. Empty lists match everything. Names
// compare without regard to case; gpu_models and hosts may hold * and ?.
type Match struct {
	GPUModels []string `json:"gpu_models,omitempty"` // in order of preference if PreferOrder
	Countries []string `json:"countries,omitempty"`
	Regions   []string `json:"regions,omitempty"`
	Cities    []string `json:"cities,omitempty"`
	Hosts     []string `json:"hosts,omitempty"`
	MinVRAM   int      `json:"min_vram_gb,omitempty"`
	MinUptime float64  `json:"min_uptime,omitempty"` // 0..1
	// PreferOrder takes the models in the order written, each before any price;
	// else the cheapest of all of them.
	PreferOrder bool `json:"prefer_order,omitempty"`
	Deny        Deny `json:"deny,omitzero"`
}

// Deny lists win over every match.
type Deny struct {
	GPUModels []string `json:"gpu_models,omitempty"`
	Countries []string `json:"countries,omitempty"`
	Regions   []string `json:"regions,omitempty"`
	Cities    []string `json:"cities,omitempty"`
	Hosts     []string `json:"hosts,omitempty"`
}

// Spread bounds how many machines of a policy may stand together. At least one machine
// is always allowed.
type Spread struct {
	// MaxShare is the older way to write PerHost, as a fraction of the target; 0 is no
	// bound.
	MaxShare float64 `json:"max_share,omitempty"`
	PerHost  Share   `json:"per_host,omitzero"`
	PerPlace Share   `json:"per_place,omitzero"` // city, region and country
	PerGroup Share   `json:"per_group,omitzero"` // hosts that look like one owner's
}

// Host is the bound of one host, however it is written.
func (s Spread) Host() Share {
	if s.MaxShare > 0 {
		return Share{Percent: 100 * s.MaxShare}
	}
	return s.PerHost
}

// Share is a part of a policy's machines: a percentage of the target, or a number. The
// zero value is no bound.
type Share struct {
	Percent  float64 `json:"percent,omitempty"`
	Machines int     `json:"machines,omitempty"`
}

// Bounds says whether it is a bound at all.
func (s Share) Bounds() bool { return s != Share{} }

// Of is the most machines of a target, at least one; math.MaxInt where there is no
// bound.
func (s Share) Of(target int) int {
	switch {
	case s.Machines > 0:
		return s.Machines
	case s.Percent > 0:
		return max(1, int(math.Floor(s.Percent*float64(target)/100+1e-9)))
	}
	return math.MaxInt
}

// GPUs is the policy's target in GPUs.
func (p *Policy) GPUs() int { return p.Target * p.Shape.GPUs }

// CeilingOf is the most a machine of so many GPUs, bought so, may cost per hour,
// storage included. It is the one conversion from per GPU to per machine.
func (p *Policy) CeilingOf(c market.Capacity, gpus int) market.Rate {
	all := p.MaxGPUHour.Mul(gpus)
	if c != market.Spot && p.Capacity == SpotWithFallback {
		return all.Add(all.Scale(int64(p.Fallback.MaxPremium*1e6), 1e6))
	}
	return all
}

// Ceiling is the most a whole machine of the policy may cost per hour, however it
// is bought: spot where the policy buys any.
func (p *Policy) Ceiling() market.Rate {
	if p.Buys(market.Spot) {
		return p.CeilingOf(market.Spot, p.Shape.GPUs)
	}
	return p.CeilingOf(market.OnDemand, p.Shape.GPUs)
}

// BidCeiling is the highest bid (whole machine, compute only, whole cents) that
// keeps a machine with this storage rate under the ceiling; 0 if there is none.
func (p *Policy) BidCeiling(storage market.Rate) market.Rate {
	b := p.Ceiling().Sub(storage).FloorCent()
	if b < market.MinBid {
		return 0
	}
	return b
}

// HourlyCap is the most the whole fleet may cost per hour: what the user wrote,
// or, where they wrote none, the sum of the greatest targets times ceilings.
func (s *Set) HourlyCap() market.Rate {
	if c, ok := s.Budget.MaxHourly.Get(); ok {
		return c
	}
	var sum market.Rate
	for i := range s.Policies {
		p := &s.Policies[i]
		dearest := max(p.Ceiling(), p.CeilingOf(market.OnDemand, p.Shape.GPUs))
		sum = sum.Add(dearest.Mul(p.MaxTarget()))
	}
	return sum
}

// FindShadow returns the shadow policy of that name.
func (s *Set) FindShadow(name string) (*Policy, bool) {
	i := slices.IndexFunc(s.Shadows, func(p Policy) bool { return p.Name == name })
	if i < 0 {
		return nil, false
	}
	return &s.Shadows[i], true
}

// ShadowNames are the names of the shadow policies, sorted.
func (s *Set) ShadowNames() []string {
	var out []string
	for i := range s.Shadows {
		out = append(out, s.Shadows[i].Name)
	}
	return out
}

// MayUseV2 says whether v2 may be asked for a machine; shadows do not ask.
func (s *Set) MayUseV2() bool {
	return slices.ContainsFunc(s.Policies, func(p Policy) bool { return p.MayUseV2() && p.Target > 0 })
}

// Wants says whether a policy of the kind wants any machine; shadows do, too.
func (s *Set) Wants(k Kind) bool {
	wants := func(p Policy) bool { return p.Kind == k && p.Target > 0 }
	return slices.ContainsFunc(s.Policies, wants) || slices.ContainsFunc(s.Shadows, wants)
}

// Find returns the policy of that name; a shadow is none.
func (s *Set) Find(name string) (*Policy, bool) {
	for i := range s.Policies {
		if s.Policies[i].Name == name {
			return &s.Policies[i], true
		}
	}
	return nil, false
}
