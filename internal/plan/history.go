package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Phase is where a machine stands in our books. The market's own word for it is
// Machine.Status.
//
//	Unknown ---- seen ----> Live ---- delete accepted ----> Deleting ---- absent ----> gone
//	   |                     ^  \------- absent long enough ------------------------> gone
//	   |-- accepted -> Accepted
//	   \-- absent long enough ------------------------------------------------------> gone (expired)
type Phase string

// Phases. A machine that is gone has no record any more, only its intents.
const (
	// PhaseUnknown: the intent is on disk; whether the machine exists only a look
	// can tell (the request was not sent yet, is under way, or its answer was lost).
	PhaseUnknown Phase = "unknown"
	// PhaseAccepted: the market said yes; no look has shown the machine yet.
	PhaseAccepted Phase = "accepted"
	// PhaseLive: a look has shown the machine.
	PhaseLive Phase = "live"
	// PhaseDeleting: the market accepted the deletion; no look has confirmed it yet.
	PhaseDeleting Phase = "deleting"
)

// Machine is one machine of ours, real or possible.
//
// Invariant: it stays in the History, and so in every sum of capacity and money,
// until a look proves that it is gone.
type Machine struct {
	Name     string          `json:"name"`
	Policy   string          `json:"policy"`
	ID       string          `json:"id,omitempty"`  // the market's id, once known
	API      market.API      `json:"api,omitempty"` // V2: no look through v0 has shown it
	Phase    Phase           `json:"phase"`
	Status   market.Status   `json:"status"` // as last seen; StatusUnknown before the first sight
	Capacity market.Capacity `json:"capacity,omitempty"`
	Host     string          `json:"host,omitempty"`
	Location market.Location `json:"location,omitzero"`
	Model    market.GPUModel `json:"gpu_model,omitempty"`
	Shape    market.Shape    `json:"shape"`
	// Asked is what its policy asked for when it was ordered; zero where it was adopted.
	Asked market.Shape `json:"asked_shape,omitzero"`
	// NoModify: it could not be resized.
	NoModify bool `json:"no_modify,omitempty"`

	// Bid is the spot bid last agreed or read back: whole machine, compute only.
	Bid market.Maybe[market.Rate] `json:"bid_usd_hour,omitzero"`
	// SureBid is the bid that it has at least: the last one shown of it while it was
	// charged in full. Bid may be a raise of which nobody knows whether it was applied.
	SureBid market.Maybe[market.Rate] `json:"sure_bid_usd_hour,omitzero"`
	// Storage is the disk's rate; it is charged as long as the machine exists.
	Storage market.Maybe[market.Rate] `json:"storage_usd_hour,omitzero"`
	// ListPrice is what its host asked last for such a machine on demand, disk included.
	ListPrice market.Maybe[market.Rate] `json:"list_usd_hour,omitzero"`
	// Reserved is what the budget holds for this machine: bid or price plus
	// storage once agreed, the ceiling until then. Never 0 for a possible machine.
	Reserved market.Rate `json:"reserved_usd_hour"`

	IP    string               `json:"ip,omitempty"`
	User  string               `json:"user,omitempty"`
	Ports []market.PortForward `json:"ports,omitempty"`

	OrderedAt time.Time `json:"ordered_at,omitzero"`
	SeenAt    time.Time `json:"seen_at,omitzero"`   // last look that showed it
	ReadyAt   time.Time `json:"ready_at,omitzero"`  // first look that showed it running, and proven where that is wanted
	StatusAt  time.Time `json:"status_at,omitzero"` // since when Status
	// RunAt is until when its running time is in its host's record; zero while it
	// does not run.
	RunAt time.Time `json:"run_at,omitzero"`
	// Missed counts the complete looks in a row, from MissedAt on, without it.
	Missed   int       `json:"missed,omitempty"`
	MissedAt time.Time `json:"missed_at,omitzero"`
	// MissedAlone counts those looks at an order, besides, in which v2's list could
	// not be had.
	MissedAlone int `json:"missed_alone,omitempty"`
	// MeteredAt is until when its spend has been charged.
	MeteredAt time.Time `json:"metered_at,omitzero"`

	DeployIntent uint64 `json:"deploy_intent,omitempty"`
	// Leaving is a deletion that was asked for and that no look has confirmed yet.
	Leaving *PendingDelete `json:"leaving,omitempty"`
	// EndLostAt is when the answer to its deletion was lost last: it may be gone, whatever
	// an old list shows.
	EndLostAt time.Time `json:"end_lost_at,omitzero"`
	// Rebid is a change of bid that no look has confirmed yet.
	Rebid *PendingRebid `json:"rebid,omitempty"`
	// Site is where v2 was to find a host for it.
	Site string `json:"site,omitempty"`
	// Parked is set from when it was asked to stop on purpose until it runs again.
	Parked *Parked `json:"parked,omitempty"`
	// NoParkBefore is until when it is not asked to stop, because it did not.
	NoParkBefore time.Time `json:"no_park_before,omitzero"`
	Adopted      bool      `json:"adopted,omitempty"` // found by its name, without a record
	// Instant is the ready-made machine or size that was ordered; "" if none was.
	Instant string `json:"instant_vm,omitempty"`
	// Replaces is the machine whose place this one takes once it runs.
	Replaces string `json:"replaces,omitempty"`
	// Renamed is the name the market shows where that is not, or no longer, one of
	// ours: such a machine counts as capacity and as spend, but is never touched.
	Renamed string `json:"renamed,omitempty"`
	// RebidIgnored: the market accepted a new bid for this machine, and it stayed
	// outbid without ever showing that bid. Cleared when it runs again.
	RebidIgnored bool `json:"rebid_ignored,omitempty"`
	Outbids      int  `json:"outbids,omitempty"`
	// Lower is what the market said of lower bids for this very machine.
	Lower Lower `json:"lower,omitzero"`
	// NoCutBefore is until when its bid is not lowered (again).
	NoCutBefore time.Time `json:"no_cut_before,omitzero"`
	// Dear counts the lists in a row that showed it dearer than it was sold.
	Dear int `json:"dear,omitempty"`
	// Outage is what keeps it from delivering; nil while nothing does.
	Outage *Outage `json:"outage,omitempty"`

	// Unproven: its policy wants it to pass a probe, and it has not yet.
	Unproven bool  `json:"unproven,omitempty"`
	Probe    Tries `json:"probe,omitzero"`
	// HostKey is the SSH key that the machine was first met with.
	HostKey string `json:"ssh_host_key,omitempty"`
	Told    Tries  `json:"on_ready,omitzero"`
	Drain   *Drain `json:"drain,omitempty"`
	// Spared counts the drains that were called off.
	Spared int     `json:"spared,omitempty"`
	Shield *Shield `json:"protected,omitempty"`
}

// PendingRebid is a bid that was submitted for a machine we have.
type PendingRebid struct {
	Intent uint64      `json:"intent"`
	Bid    market.Rate `json:"bid_usd_hour"`
	At     time.Time   `json:"at"`
	Looks  int         `json:"looks"` // complete looks since
	// AskOnly: it was validated, not submitted.
	AskOnly bool `json:"ask_only,omitempty"`
	// Shown counts the looks in a row that showed it, where it is a lower bid.
	Shown int `json:"shown,omitempty"`
	// Accepted: the market said yes. Only then does an unchanged bid prove that
	// the market does not apply rebids: a lost request proves nothing.
	Accepted bool `json:"accepted,omitempty"`
}

// PendingDelete is a deletion that no look has confirmed yet.
type PendingDelete struct {
	Intent uint64    `json:"intent"`
	At     time.Time `json:"at"`
	Looks  int       `json:"looks"`          // complete looks since that still showed the machine
	Code   string    `json:"code,omitempty"` // of the reason it was deleted for
	// Lost: its answer was lost. It stands for the rest of the cycle, so that nothing
	// else is given up in the machine's place, and is asked for again in the next.
	Lost bool `json:"lost,omitempty"`
}

// booting says whether the machine is ordered, or on its way up as far as we know.
func (m *Machine) booting() bool {
	return m.Phase == PhaseUnknown || m.Phase == PhaseAccepted ||
		m.Phase == PhaseLive && (m.Status == market.StatusStarting || m.Status == market.StatusUnknown || m.Status == market.StatusRelocating ||
			m.Status == market.StatusRunning && m.Unproven)
}

// Ready says whether the machine delivers GPUs now.
func (m *Machine) Ready() bool {
	return m.Phase == PhaseLive && m.Status == market.StatusRunning && !m.Unproven
}

// Backoff keeps us away from a host that refused or failed us.
type Backoff struct {
	Host     string          `json:"host"`
	Model    market.GPUModel `json:"gpu_model"`
	GPUs     int             `json:"gpus"`
	Bid      market.Rate     `json:"bid_usd_hour"` // holds for bids up to this; MaxRate for all
	Failures int             `json:"failures"`
	Until    time.Time       `json:"until"`
	// Taken: the list showed too few free GPUs when it refused; it holds no longer than
	// they are taken.
	Taken  bool   `json:"taken,omitempty"`
	Reason string `json:"reason"`
	// Denied is when it last took no order at a bid that it had said wins; zero if never.
	Denied time.Time `json:"denied_at,omitzero"`
	// Fickle: it did so again and again, and that is what it is left alone for.
	Fickle bool `json:"fickle,omitempty"`
}

// Pause stops every write for one policy, or for all where Policy is empty.
type Pause struct {
	Policy string    `json:"policy,omitempty"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until resumed
	Reason string    `json:"reason,omitempty"`
	// Teardown deletes the policy's machines, those included that only show up
	// later, and lets nothing else through.
	Teardown bool `json:"teardown,omitempty"`
	// Gentle: what the teardown deletes is drained first.
	Gentle bool `json:"gentle,omitempty"`
}

// Active says whether the pause holds for a policy now.
func (p Pause) Active(policy string, now time.Time) bool {
	return (p.Policy == "" || p.Policy == policy) && (p.Until.IsZero() || now.Before(p.Until))
}

// PausedBy is the pause that holds for a policy now, a teardown before any other,
// then the oldest; nil if there is none.
func (h *History) PausedBy(policy string, now time.Time) *Pause {
	var found *Pause
	for i := range h.Pauses {
		if p := &h.Pauses[i]; p.Active(policy, now) && (found == nil || p.before(found)) {
			found = p
		}
	}
	return found
}

func (p *Pause) before(o *Pause) bool {
	if p.Teardown != o.Teardown {
		return p.Teardown
	}
	if p.Teardown && p.Gentle != o.Gentle {
		return o.Gentle
	}
	return cmp.Or(p.Since.Compare(o.Since), cmp.Compare(p.Policy, o.Policy), p.Until.Compare(o.Until), cmp.Compare(p.Reason, o.Reason)) < 0
}

// Forbids says which pause or breaker stands against an action now; "" if none.
func (h *History) Forbids(a Action, now time.Time) string {
	p := h.PausedBy(a.Policy, now)
	torn := p != nil && p.Teardown && a.Kind.Ends() // an operator asked for it
	shed := a.Kind.Ends() && a.Reason.Code == ReasonOverBudget
	if p != nil && !torn {
		return "policy " + a.Policy + " is paused"
	}
	if b := h.OpenBreaker(now); b != nil && !torn && !shed && (!a.Kind.Ends() || b.All) {
		return breakerText(b)
	}
	return ""
}

// Breaker stops growth until it cools down, or until somebody resumes.
type Breaker struct {
	Code   string    `json:"code"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until resumed
	Reason string    `json:"reason"`
	// All stops deletions too; only what an operator has destroyed, or a cap does not
	// allow, still goes.
	All bool `json:"all,omitempty"`
}

// Open says whether the breaker holds now.
func (b *Breaker) Open(now time.Time) bool { return b.Until.IsZero() || now.Before(b.Until) }

// graver says whether the breaker stops more than another, or for longer.
func (b *Breaker) graver(o *Breaker) bool {
	if b.All != o.All {
		return b.All
	}
	if b.Until.IsZero() != o.Until.IsZero() {
		return b.Until.IsZero()
	}
	return cmp.Or(b.Until.Compare(o.Until), cmp.Compare(b.Code, o.Code)) > 0
}

// Ends says until when the breaker holds, in words.
func (b *Breaker) Ends() string {
	if b.Until.IsZero() {
		return "until resumed"
	}
	return "until " + b.Until.UTC().Format(time.RFC3339)
}

// Spend is what one policy cost on one day of the caps' time zone.
type Spend struct {
	Day    string        `json:"day"` // 2006-01-02
	Policy string        `json:"policy"`
	Amount market.Amount `json:"amount_usd"`
}

// Total is what one policy cost in all its life. The difference of two of them is what
// it cost in between. All but Amount are counted since they are known: see Cost.
type Total struct {
	Policy     string        `json:"policy"`
	Amount     market.Amount `json:"amount_usd"`
	OnDemand   market.Amount `json:"on_demand_usd,omitzero"`
	Uncompared market.Amount `json:"uncompared_usd,omitzero"`
	Idle       market.Amount `json:"idle_usd,omitzero"`
}

// Scaled is when a policy last bought or gave up a machine of its own will.
type Scaled struct {
	Policy string    `json:"policy"`
	At     time.Time `json:"at"`
}

// Lesson is something learnt about the market, and when.
type Lesson struct {
	Holds bool      `json:"holds"`
	At    time.Time `json:"at"`
}

// History is what the ledger knows, as values. The order of its lists means
// nothing.
type History struct {
	Machines []Machine   `json:"machines,omitempty"`
	Backoffs []Backoff   `json:"backoffs,omitempty"`
	Pauses   []Pause     `json:"pauses,omitempty"`
	Breakers []Breaker   `json:"breakers,omitempty"`
	Failures []time.Time `json:"failures,omitempty"` // writes that failed for no reason of ours, within the window
	Spend    []Spend     `json:"spend,omitempty"`    // of this month and the last
	Totals   []Total     `json:"totals,omitempty"`   // sorted by policy
	Scaled   []Scaled    `json:"scaled,omitempty"`
	Short    []Short     `json:"short,omitempty"`    // policies whose spot falls short
	Progress []Progress  `json:"progress,omitempty"` // of policies with a deadline
	Settling []Settling  `json:"settling,omitempty"` // hosts that lost a machine within the hour
	Known    []string    `json:"known,omitempty"`    // policies this ledger has ever been given
	// Demand is what is remembered of signals, Overrides are the targets set by hand,
	// Aims the targets of the last look that are more than a number.
	Demand    []demand.Memory   `json:"demand,omitempty"`
	Overrides []demand.Override `json:"overrides,omitempty"`
	Aims      []Aim             `json:"aims,omitempty"`
	Heard     []demand.Heard    `json:"heard,omitempty"` // signed requests, of the last minutes
	// Hosts is what machines of ours have been through, by host and model.
	Hosts []HostRecord `json:"hosts,omitempty"`
	// Duds counts the machines in a row that were ordered and never ran.
	Duds int `json:"duds,omitempty"`
	// Levels are the price levels last believed.
	Levels  []Level   `json:"levels,omitempty"`
	Account Account   `json:"account,omitzero"`
	Clock   ClockMark `json:"clock,omitzero"`
	// LookedAt is when the newest list of machines that was booked was made.
	LookedAt time.Time `json:"looked_at,omitzero"`
	// RebidApplies is whether the market applies a new bid to a machine we have;
	// unknown until a read-back has shown it.
	RebidApplies market.Maybe[Lesson] `json:"rebid_applies,omitzero"`
	// Brackets are what is known of the lowest winning bids, per host and shape.
	Brackets []Bracket `json:"brackets,omitempty"`
	// Rises are the times that prices rose above our bids.
	Rises []Rise `json:"rises,omitempty"`
	// AskApplies is whether the market applies a bid that is only validated.
	AskApplies market.Maybe[Lesson] `json:"ask_applies,omitzero"`
	// Shadows are what shadow policies would have. Input leaves them out: no decision
	// knows of them.
	Shadows []Shadow `json:"shadow_books,omitempty"`
	// Churn are the voluntary replacements of the last hour.
	Churn []Scaled `json:"churn,omitempty"`
	// Gap is by how much the account is charged more than the newest list explains.
	Gap market.Maybe[Gap] `json:"gap,omitzero"`
	// Containers are kept apart from machines: the market chooses theirs.
	Containers []Container `json:"containers,omitempty"`
	// Scaling is how the market reads the number in a request to scale a container.
	Scaling ScaleLesson `json:"scaling,omitzero"`
	// Strangers are the ids of listed machines that are not ours, where there are
	// containers or are to be: one that is new may be a replica. Sorted.
	Strangers []string `json:"strangers,omitempty"`
}

// Remember notes that this ledger has been given these policies: their machines
// may be torn down when the policy leaves the file.
func (h *History) Remember(ps []policy.Policy) {
	for i := range ps {
		if !slices.Contains(h.Known, ps[i].Name) {
			h.Known = append(h.Known, ps[i].Name)
		}
	}
	slices.Sort(h.Known)
}
