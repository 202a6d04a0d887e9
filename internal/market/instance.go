package market

import (
	"strings"
	"time"
)

// Status is a machine's state in our words. Unknown statuses stay Unknown.
type Status string

// The states of a machine and what they cost. "Full" is compute and storage.
const (
	StatusUnknown    Status = "unknown"    // unreadable: never taken for gone; charged as full
	StatusStarting   Status = "starting"   // queued, creating, booting: full
	StatusRunning    Status = "running"    // full
	StatusStopping   Status = "stopping"   // full until it stops
	StatusStopped    Status = "stopped"    // GPU kept: full
	StatusReleased   Status = "released"   // StoppedDisassociated: storage only
	StatusOutbid     Status = "outbid"     // lost the auction: storage only, can win again by itself
	StatusRelocating Status = "relocating" // full
	StatusError      Status = "error"      // full
	StatusTerminated Status = "terminated" // the market says it is gone: nothing
)

// ParseStatus reads a status of either API, whatever its case and separators.
// Anything it does not know is StatusUnknown.
func ParseStatus(raw string) Status {
	s := strings.ToLower(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' {
			return -1
		}
		return r
	}, raw))
	switch s {
	case "running", "active":
		return StatusRunning
	case "starting", "queued", "creating", "pending", "provisioning", "deploying", "booting":
		return StatusStarting
	case "stopping":
		return StatusStopping
	case "stopped":
		return StatusStopped
	case "stoppeddisassociated", "released":
		return StatusReleased
	case "outbid":
		return StatusOutbid
	case "relocating":
		return StatusRelocating
	case "error", "failed":
		return StatusError
	case "terminated", "deleted", "deleting":
		return StatusTerminated
	}
	return StatusUnknown
}

// BillsCompute says whether the state costs its compute rate besides storage.
// What we cannot read is charged in full.
func (s Status) BillsCompute() bool {
	return s != StatusOutbid && s != StatusReleased && s != StatusTerminated
}

// Capacity is how a machine was bought.
type Capacity string

// Ways to buy.
const (
	Spot            Capacity = "spot"
	OnDemand        Capacity = "on_demand"
	CapacityUnknown Capacity = ""
)

// API tells which of TensorDock's two APIs a machine was seen through.
type API string

// The two APIs.
const (
	V0 API = "v0"
	V2 API = "v2"
)

// PortForward maps a port of the host to a port of the machine.
type PortForward struct {
	External int `json:"external"`
	Internal int `json:"internal"`
}

// Instance is one machine of the account as one look showed it. Everything but
// ID may be missing in an answer.
type Instance struct {
	ID        string        `json:"id"`
	API       API           `json:"api"`
	Name      string        `json:"name"`
	Status    Status        `json:"status"`
	RawStatus string        `json:"raw_status,omitempty"`
	Capacity  Capacity      `json:"capacity,omitempty"`
	Host      string        `json:"host,omitempty"`
	Location  Location      `json:"location,omitzero"`
	Model     GPUModel      `json:"gpu_model,omitempty"`
	Shape     Shape         `json:"shape"`
	Compute   Maybe[Rate]   `json:"compute_usd_hour,omitzero"` // for spot: the bid
	Storage   Maybe[Rate]   `json:"storage_usd_hour,omitzero"`
	Total     Maybe[Rate]   `json:"total_usd_hour,omitzero"`
	IP        string        `json:"ip,omitempty"`
	User      string        `json:"user,omitempty"`
	Ports     []PortForward `json:"ports,omitempty"` // sorted by External
	Created   time.Time     `json:"created,omitzero"`
}

// Balance is the account's prepaid money and its live burn.
type Balance struct {
	Balance Maybe[Amount] `json:"balance_usd,omitzero"`
	Hourly  Maybe[Rate]   `json:"hourly_usd_hour,omitzero"` // whole account
}

// Section is one part of a look at the market, judged apart from the others.
//
// Invariant: a Section that is not Complete says nothing about what is absent.
type Section[T any] struct {
	Value    T         `json:"value"`
	At       time.Time `json:"at,omitzero"`       // when the answer came
	Complete bool      `json:"complete"`          // the whole list was read and understood
	Problem  string    `json:"problem,omitempty"` // why not, without secrets
	Class    Class     `json:"class,omitempty"`   // the kind of the problem
}

// Snapshot is one look at the market: only values, nothing that can be called.
type Snapshot struct {
	Hosts     Section[[]Host]     `json:"hosts"`     // sorted by ID
	Instances Section[[]Instance] `json:"instances"` // the whole account, sorted by ID
	Balance   Section[Balance]    `json:"balance"`
	// V2 are the ids in v2's list, sorted; zero where it was not asked. What of ours
	// only v2 shows is in Instances, with API V2.
	V2 Section[[]string] `json:"v2,omitzero"`
	// Instants are the ready-made machines, sorted by ID; zero where they were not asked
	// for.
	Instants Section[[]Instant] `json:"instants,omitzero"`
	// Sites are where v2 sells, sorted by ID; zero where they were not asked for. They
	// may be older than the rest of the look.
	Sites Section[[]Site] `json:"sites,omitzero"`
	// Containers are the replicas of each container whose id is known, sorted by it.
	Containers []ReplicaList `json:"containers,omitempty"`
	// Gone are ids of machines that the list leaves out and of which the market,
	// asked for each, says that they do not exist. Sorted.
	Gone []string `json:"gone,omitempty"`
}
