package plan

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Input is everything a decision depends on. It is recorded with every cycle, so
// that the decision can be computed again.
type Input struct {
	Now      time.Time     `json:"now"`
	Owner    string        `json:"owner"`
	Interval time.Duration `json:"interval"` // longest time to the next look
	// Watch is how often our machines are looked at in between; 0 is never.
	Watch    time.Duration   `json:"watch,omitempty"`
	Policies []policy.Policy `json:"policies"`
	// Shadows are the names of the policies that are in the file as shadows.
	Shadows []string      `json:"shadows,omitempty"`
	Budget  policy.Budget `json:"budget"`
	// HourlyCap is the most that all machines together may cost per hour.
	HourlyCap market.Rate     `json:"hourly_cap_usd_hour"`
	Limits    policy.Limits   `json:"limits"` // what is left of them in this cycle
	Safety    policy.Safety   `json:"safety"`
	Snapshot  market.Snapshot `json:"snapshot"`
	History   History         `json:"history"` // after Observe
	// Demand says why the policies' targets are what they are, where they are more than
	// a number.
	Demand []demand.Outcome `json:"demand,omitempty"`
	// Verdicts are this cycle's answers, refused deploys among them.
	Verdicts []market.Verdict `json:"verdicts,omitempty"`
	// Findings are what came of errands; they are in the History.
	Findings []Finding `json:"findings,omitempty"`
}

// ActionKind is what an action does.
type ActionKind string

// Kinds of action.
const (
	Deploy ActionKind = "deploy"
	Rebid  ActionKind = "rebid"
	Delete ActionKind = "delete"
	Stop   ActionKind = "stop"   // a machine that is to be started again
	Start  ActionKind = "start"  // one that was stopped so
	Modify ActionKind = "modify" // the size of one that was stopped so
)

// Reason says why, for people (Text) and for programs (Code).
type Reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// Action is one write that the plan asks for.
type Action struct {
	Kind     ActionKind      `json:"action"`
	Policy   string          `json:"policy"`
	Machine  string          `json:"machine,omitempty"`  // rebid and delete
	Instance string          `json:"instance,omitempty"` // rebid and delete
	API      market.API      `json:"api,omitempty"`      // delete: through which API
	Host     string          `json:"host,omitempty"`
	Location market.Location `json:"location,omitzero"`
	Model    market.GPUModel `json:"gpu_model,omitempty"`
	Shape    market.Shape    `json:"shape"`
	Capacity market.Capacity `json:"capacity,omitempty"`
	Bid      market.Rate     `json:"bid_usd_hour,omitempty"`     // spot: whole machine, compute only
	Storage  market.Rate     `json:"storage_usd_hour,omitempty"` // whole machine
	// Replaces is the machine whose place a deploy takes once it runs.
	Replaces string `json:"replaces,omitempty"`
	// Voluntary: what it replaces would have gone on delivering. It counts for
	// limits.max_churn_per_hour.
	Voluntary bool `json:"voluntary,omitempty"`
	// Release has a stop give up the GPUs, so that only the disk is billed.
	Release bool `json:"release,omitempty"`
	// Site is the location where v2 is to find a host, in the place of Host.
	Site string `json:"site,omitempty"`
	// Resize has a stop be for a change of size, to Shape.
	Resize bool `json:"resize,omitempty"`
	// Asked is the shape that a deploy's policy asks for; Shape may be more.
	Asked market.Shape `json:"asked_shape,omitzero"`
	// AskOnly has a bid of a machine validated and not submitted.
	AskOnly bool `json:"ask_only,omitempty"`
	// Ports are the forwards to ask for; none where the host does not say which
	// ports are free.
	Ports []market.PortForward `json:"ports,omitempty"`
	// Via is how a deploy is ordered; Instant the ready-made machine that it takes, or with
	// Many the ready-made size.
	Via     market.Via `json:"via,omitempty"`
	Instant string     `json:"instant_vm,omitempty"`
	Many    bool       `json:"instant_size,omitempty"`
	// Rate is the expected all-in rate of the machine after a deploy or rebid, and
	// the rate it has before a delete.
	Rate market.Rate `json:"rate_usd_hour"`
	// Of a container: the number of replicas in the request, and for a deploy the image,
	// the models it may run on and the ceiling of one replica.
	Replicas int               `json:"replicas,omitempty"`
	Image    string            `json:"image,omitempty"`
	Models   []market.GPUModel `json:"gpu_models,omitempty"`
	Ceiling  market.Rate       `json:"ceiling_usd_hour,omitempty"`
	// Reserve is the most the budget must hold while the action is under way:
	// Rate plus what the policy's ceiling and the caps leave beyond it.
	Reserve market.Rate `json:"reserve_usd_hour,omitempty"`
	Reason  Reason      `json:"reason"`
}

// Hold is a thing not done, and why.
type Hold struct {
	Policy  string `json:"policy,omitempty"` // "" is the whole fleet
	Machine string `json:"machine,omitempty"`
	Reason  Reason `json:"reason"`
}

// Standing is where one policy is, in GPUs.
type Standing struct {
	Policy    string      `json:"policy"`
	Target    int         `json:"target_gpus"`
	Ready     int         `json:"ready_gpus"`
	Booting   int         `json:"booting_gpus"`          // ordered, accepted or starting
	Dead      int         `json:"dead_gpus"`             // outbid or stopped: no capacity, still a bill
	Leaving   int         `json:"leaving_gpus"`          // deletion accepted, not confirmed
	Parked    int         `json:"parked_gpus,omitempty"` // stopped on purpose, to be started again
	Before    market.Rate `json:"rate_before_usd_hour"`
	After     market.Rate `json:"rate_after_usd_hour"`
	Satisfied bool        `json:"satisfied"`      // ready and booting meet the target exactly, nothing to do
	Work      *Work       `json:"work,omitempty"` // where there is a deadline
	// Demand is why the target is what it is; nil where it is a number.
	Demand *demand.Outcome `json:"demand,omitempty"`
	Funnel Funnel          `json:"funnel,omitzero"`
}

// Funnel counts the offers that a policy looked at, and why they fell out, in
// the order of the checks. It is filled only where the policy needed offers.
type Funnel struct {
	Offers     int `json:"offers"`            // GPU models on hosts
	Offline    int `json:"offline,omitempty"` // offline, unlisted or reserved
	Place      int `json:"place,omitempty"`   // country, region, city, host, denied
	Uptime     int `json:"uptime,omitempty"`
	Model      int `json:"model,omitempty"`    // no GPU of a wanted model or memory
	Capacity   int `json:"capacity,omitempty"` // too few GPUs free
	Spread     int `json:"spread,omitempty"`   // as many machines stand there as the spread allows
	Shape      int `json:"shape,omitempty"`    // vCPU, RAM, storage, ports or restrictions
	NoPrice    int `json:"no_price,omitempty"`
	Ceiling    int `json:"ceiling,omitempty"` // dearer than max_gpu_hour
	Backoff    int `json:"backoff,omitempty"`
	Fickle     int `json:"fickle,omitempty"`  // took no order at bids that it had said win
	Refused    int `json:"refused,omitempty"` // the market refused even the highest bid
	Sibling    int `json:"sibling,omitempty"` // only a bid above one of ours there would win
	Candidates int `json:"candidates"`
}

// Plan is the decision of one moment.
type Plan struct {
	Actions   []Action          `json:"actions"`   // in the order to carry them out
	Questions []market.Question `json:"questions"` // answers may change the plan: Compute again with them
	Holds     []Hold            `json:"holds"`
	Drains    []Draining        `json:"drains,omitempty"`     // steps of drains, to be booked
	Standings []Standing        `json:"policies"`             // one per policy, by name
	Before    market.Rate       `json:"rate_before_usd_hour"` // reserved now
	After     market.Rate       `json:"rate_after_usd_hour"`  // when all actions are confirmed
}
