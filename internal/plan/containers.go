package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Kinds of action on containers.
const (
	ContainerDeploy ActionKind = "container_deploy"
	ContainerScale  ActionKind = "container_scale"
	ContainerStop   ActionKind = "container_stop"
)

// ActionKinds lists every kind of action.
func ActionKinds() []ActionKind {
	return []ActionKind{Deploy, Rebid, Delete, Stop, Start, Modify, ContainerDeploy, ContainerScale, ContainerStop}
}

// KindsFor are the kinds of action that a policy's kind comes with.
func KindsFor(k policy.Kind) []ActionKind {
	if k == policy.Container {
		return []ActionKind{ContainerDeploy, ContainerScale, ContainerStop}
	}
	return []ActionKind{Deploy, Rebid, Delete, Stop, Start, Modify}
}

// Ends says whether the action ends a bill, and so may pass where growth may not.
func (k ActionKind) Ends() bool { return k == Delete || k == Stop || k == ContainerStop }

// Contains says whether the action is about a container.
func (k ActionKind) Contains() bool {
	return k == ContainerDeploy || k == ContainerScale || k == ContainerStop
}

// ScaleMeaning is how the market reads the number in a request to scale; "" is not
// known. Its two documents contradict each other.
type ScaleMeaning string

// Meanings.
const (
	ScaleAbsolute ScaleMeaning = "absolute" // the new count
	ScaleDelta    ScaleMeaning = "delta"    // added to the present one
)

// ScaleLesson is what was learnt of it, and when.
type ScaleLesson struct {
	Meaning ScaleMeaning `json:"meaning,omitempty"`
	At      time.Time    `json:"at,omitzero"`
}

// Guess is one thing that may be true of a container: how the market reads a request
// to scale, and how many replicas it then believes to have been asked for.
type Guess struct {
	Meaning ScaleMeaning `json:"meaning"`
	Wanted  int          `json:"replicas"`
}

// after is what a request to scale makes of the guess.
func (g Guess) after(sent int) Guess {
	if g.Meaning == ScaleDelta {
		sent += g.Wanted
	}
	g.Wanted = max(sent, 0)
	return g
}

// Container is one container of ours, real or possible: the market keeps as many
// replicas of it running as it was asked for, each on a machine that it chooses.
//
//	Unknown --- accepted with an id, or named by an operator ---> Accepted --- a replica seen ---> Live
//	                                                                 \---- stop accepted, absent ----> gone
//
// Invariant: it stays in the History, at Reserved, until looks prove that it is gone
// or an operator says so.
type Container struct {
	Name   string `json:"name"`
	Policy string `json:"policy"`
	ID     string `json:"id,omitempty"` // the market's id; the API lists no containers and may not tell it
	// Phase is PhaseUnknown as long as there is no id: whether it exists then, only an
	// operator can find out.
	Phase   Phase             `json:"phase"`
	Image   string            `json:"image,omitempty"`
	Models  []market.GPUModel `json:"gpu_models,omitempty"` // that it may run on, as ordered
	Shape   market.Shape      `json:"shape"`                // of one replica
	Ceiling market.Rate       `json:"ceiling_usd_hour"`     // of one replica, all-in, as ordered
	// Guesses are all that may be true of the count. Invariant: never empty, and the
	// truth is among them as far as the market has kept to one of its documents.
	Guesses []Guess `json:"guesses"`
	// Reserved is what the budget holds: the most replicas there can be, each at its
	// ceiling. A replica that was lost may come up again elsewhere, as dear as that.
	Reserved market.Rate    `json:"reserved_usd_hour"`
	Replicas []ReplicaSeen  `json:"replicas,omitempty"` // by the last whole list
	Scale    *PendingScale  `json:"scale,omitempty"`
	Leaving  *PendingDelete `json:"leaving,omitempty"`

	OrderedAt time.Time `json:"ordered_at,omitzero"`
	SeenAt    time.Time `json:"seen_at,omitzero"`  // of the last whole list of its replicas
	ReadyAt   time.Time `json:"ready_at,omitzero"` // when a replica first ran
	MeteredAt time.Time `json:"metered_at,omitzero"`
	// Steady counts the lists in a row, from SteadyAt on, that showed the same number
	// of replicas while the market had room for another: only then does a replica that
	// is not there say something.
	Steady   int       `json:"steady,omitempty"`
	SteadyAt time.Time `json:"steady_at,omitzero"`
	// Missed counts the looks in a row, from MissedAt on, in which the market knew no
	// such container, or on its way out, showed no replica of it.
	Missed   int       `json:"missed,omitempty"`
	MissedAt time.Time `json:"missed_at,omitzero"`
	Dear     int       `json:"dear,omitempty"` // lists in a row with a replica above the ceiling
	Down     int       `json:"down,omitempty"` // lists in a row of replicas none of which delivers, or is on its way up

	DeployIntent uint64 `json:"deploy_intent,omitempty"`
	Adopted      bool   `json:"adopted,omitempty"` // found, or named by an operator, without an order
	// Alarm is why an operator is needed; until they have said what is, the container
	// is only watched, and stopped where a cap or the operator demands it.
	Alarm   string    `json:"alarm,omitempty"`
	AlarmAt time.Time `json:"alarm_at,omitzero"`

	// What may tell whether a container without an id exists: listed machines that were
	// not there before it was ordered and that are of its size, and what the account is
	// charged beyond all that is known.
	Before      []string                  `json:"strangers_before,omitempty"`
	Suspects    []string                  `json:"suspects,omitempty"`
	Unexplained market.Maybe[market.Rate] `json:"unexplained_usd_hour,omitzero"`
}

// ReplicaSeen is a replica as the last whole list showed it, with the status that the
// list of machines has for its machine.
type ReplicaSeen struct {
	market.Replica
	Status market.Status `json:"status,omitempty"` // "" where that list does not show it
}

// PendingScale is a request to scale of which no look has shown yet what it did.
type PendingScale struct {
	Intent uint64    `json:"intent"`
	Sent   int       `json:"sent"` // the number in the request
	From   []Guess   `json:"from"` // what may have been true before
	At     time.Time `json:"at"`
	Looks  int       `json:"looks,omitempty"` // whole lists since
	// Accepted: the market said yes. Without it, nobody knows whether it took effect.
	Accepted bool `json:"accepted,omitempty"`
}

// lowers says whether the request may have taken replicas away.
func (s *PendingScale) lowers() bool {
	return slices.ContainsFunc(s.From, func(g Guess) bool { return g.after(s.Sent).Wanted < g.Wanted })
}

// Container finds a container by its name; nil if there is none.
func (h *History) Container(name string) *Container {
	for i := range h.Containers {
		if h.Containers[i].Name == name {
			return &h.Containers[i]
		}
	}
	return nil
}

// containersOf are those of a policy, the oldest first.
func (h *History) containersOf(policy string) []*Container {
	return slices.DeleteFunc(h.allContainers(), func(c *Container) bool { return c.Policy != policy })
}

// allContainers are all, the oldest first.
func (h *History) allContainers() []*Container {
	out := make([]*Container, 0, len(h.Containers))
	for i := range h.Containers {
		out = append(out, &h.Containers[i])
	}
	slices.SortFunc(out, func(a, b *Container) int {
		return cmp.Or(a.OrderedAt.Compare(b.OrderedAt), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func (h *History) dropContainer(name string) {
	h.Containers = slices.DeleteFunc(h.Containers, func(c Container) bool { return c.Name == name })
}

// names says whether a listed machine carries the container's name: as it is, or with
// something that tells its replicas apart.
func (c *Container) names(machine string) bool {
	return machine == c.Name || strings.HasPrefix(machine, c.Name+"-")
}

// runsOn says whether a listed machine runs a replica of the container.
func (c *Container) runsOn(inst *market.Instance) bool {
	return c.names(inst.Name) || slices.ContainsFunc(c.Replicas, func(r ReplicaSeen) bool { return r.Machine == inst.ID })
}

// replicaOf is the container that runs on a listed machine; nil for every other
// machine. Such a machine is the market's to make and to delete, and never ours.
func (h *History) replicaOf(inst *market.Instance) *Container {
	for i := range h.Containers {
		if h.Containers[i].runsOn(inst) {
			return &h.Containers[i]
		}
	}
	return nil
}

// Wanted is how many replicas the market was asked for, where that is known.
func (c *Container) Wanted() (n int, known bool) {
	for i, g := range c.Guesses {
		if i > 0 && g.Wanted != n {
			return 0, false
		}
		n = g.Wanted
	}
	return n, len(c.Guesses) > 0
}

// Most is how many replicas there can be.
func (c *Container) Most() int {
	n := len(c.Replicas)
	for _, g := range c.Guesses {
		n = max(n, g.Wanted)
	}
	if c.Scale != nil { // until a look shows them gone
		for _, g := range c.Scale.From {
			n = max(n, g.Wanted)
		}
	}
	return n
}

// Ready is how many replicas run.
func (c *Container) Ready() (n int) {
	for i := range c.Replicas {
		if c.Replicas[i].ready() {
			n++
		}
	}
	return n
}

// ready trusts the list of machines, and where that does not show the replica, that it
// has an address.
func (r *ReplicaSeen) ready() bool {
	return r.Status == market.StatusRunning || r.Status == "" && r.IP != ""
}

func (r *ReplicaSeen) dead() bool {
	return r.Status == market.StatusOutbid || down(r.Status) || r.Status == market.StatusTerminated
}

// reserve sets what the budget holds, from what may be true.
func (c *Container) reserve() {
	dearest := c.Ceiling
	for i := range c.Replicas {
		dearest = max(dearest, c.Replicas[i].Rate.Or(0))
	}
	c.Reserved = dearest.Mul(c.Most())
}

// Burn is what the container costs per hour as last seen. What was never seen costs
// what is reserved for it.
func (c *Container) Burn() (sum market.Rate) {
	if c.SeenAt.IsZero() {
		return c.Reserved
	}
	for i := range c.Replicas {
		sum = sum.Add(c.Replicas[i].Rate.Or(c.Ceiling))
	}
	return sum
}

// bothMeanings is what may be true of a count while nobody knows how the market reads
// a request to scale; with a lesson, only what fits to it.
func (h *History) bothMeanings(n int) []Guess {
	if m := h.Scaling.Meaning; m != "" {
		return []Guess{{m, n}}
	}
	return []Guess{{ScaleAbsolute, n}, {ScaleDelta, n}}
}

// tidyGuesses sorts guesses and drops what stands there twice.
func tidyGuesses(gs []Guess) []Guess {
	slices.SortFunc(gs, func(a, b Guess) int {
		return cmp.Or(cmp.Compare(a.Meaning, b.Meaning), cmp.Compare(a.Wanted, b.Wanted))
	})
	return slices.Compact(gs)
}

// afterAll is what a request to scale makes of all that may have been true.
func afterAll(from []Guess, sent int) []Guess {
	out := make([]Guess, 0, len(from))
	for _, g := range from {
		out = append(out, g.after(sent))
	}
	return tidyGuesses(out)
}

// containerHost stands among the hosts for a policy's containers, whose place the
// market chooses, where failures are counted. No host has such a name.
func containerHost(policy string) string { return "container of " + policy }
