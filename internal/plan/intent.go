package plan

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// IntentState is how far an intent came.
type IntentState string

// States of an intent. Open is written before anything is sent; Accepted is the
// market's word, Confirmed is what a look has shown.
const (
	IntentOpen      IntentState = "open"
	IntentAccepted  IntentState = "accepted"
	IntentUnknown   IntentState = "unknown" // the answer was lost
	IntentConfirmed IntentState = "confirmed"
	IntentRefused   IntentState = "refused" // a definite no: nothing happened
	IntentFailed    IntentState = "failed"  // certainly not sent, or without the wished effect
	IntentExpired   IntentState = "expired" // looked for long enough, never seen
	IntentShadow    IntentState = "shadow"  // what a shadow policy would have done: nothing was sent
)

// Settled says whether the intent needs no more attention.
func (s IntentState) Settled() bool {
	return s == IntentConfirmed || s == IntentRefused || s == IntentFailed || s == IntentExpired || s == IntentShadow
}

// Intent is one action in the ledger: what was to be done and why, written before
// it was done, and what became of it.
type Intent struct {
	ID       uint64          `json:"id"`
	Cycle    uint64          `json:"cycle"`
	At       time.Time       `json:"at"`
	Kind     ActionKind      `json:"action"`
	Policy   string          `json:"policy"`
	Machine  string          `json:"machine"`
	Instance string          `json:"instance,omitempty"`
	API      market.API      `json:"api,omitempty"` // delete: through which API
	Host     string          `json:"host,omitempty"`
	Via      market.Via      `json:"via,omitempty"`        // deploy: how it was ordered
	Instant  string          `json:"instant_vm,omitempty"` // deploy: the ready-made machine it takes
	Site     string          `json:"site,omitempty"`       // deploy: where v2 is to find a host
	Model    market.GPUModel `json:"gpu_model,omitempty"`
	Shape    market.Shape    `json:"shape"`
	Capacity market.Capacity `json:"capacity,omitempty"`
	Bid      market.Rate     `json:"bid_usd_hour,omitempty"`
	Reserved market.Rate     `json:"reserved_usd_hour,omitempty"` // held in the budget when it was written
	Replicas int             `json:"replicas,omitempty"`          // of a container, as sent
	Reason   Reason          `json:"reason"`
	// Voluntary: what it replaces would have gone on delivering.
	Voluntary bool `json:"voluntary,omitempty"`

	State     IntentState               `json:"state"`
	Agreed    market.Maybe[market.Rate] `json:"agreed_usd_hour,omitzero"` // all-in, as the market answered
	Detail    string                    `json:"detail,omitempty"`
	AnswerAt  time.Time                 `json:"answer_at,omitzero"`
	SettledAt time.Time                 `json:"settled_at,omitzero"`
}

// EventKind names what a look taught us.
type EventKind string

// Events of Observe.
const (
	EventConfirmed    EventKind = "confirmed" // an ordered machine was seen
	EventReady        EventKind = "ready"     // seen running for the first time
	EventAdopted      EventKind = "adopted"   // carries our mark, had no record
	EventOutbid       EventKind = "outbid"
	EventWonBack      EventKind = "won_back"
	EventStatus       EventKind = "status"        // any other change of status
	EventLost         EventKind = "lost"          // absent long enough: gone without our doing
	EventDeleted      EventKind = "deleted"       // our deletion is confirmed
	EventExpired      EventKind = "expired"       // a lost deploy that never showed up
	EventRebidApplied EventKind = "rebid_applied" // read back
	EventRebidIgnored EventKind = "rebid_ignored"
	EventSuspicious   EventKind = "suspicious_list"
	EventBreaker      EventKind = "breaker"
	EventClosed       EventKind = "breaker_closed"
	EventClock        EventKind = "clock_set"     // the time of day did not go on as time did
	EventParked       EventKind = "parked"        // stopped on purpose, as a look shows
	EventNotParked    EventKind = "not_parked"    // asked to stop, and goes on
	EventStarted      EventKind = "started"       // runs again
	EventNotStarted   EventKind = "not_started"   // asked to start, and does not
	EventResized      EventKind = "resized"       // has its new size, as a look shows
	EventNotResized   EventKind = "not_resized"   // asked to change its size, and did not
	EventBill         EventKind = "bill_mismatch" // the balance falls faster than the books explain
	EventOutage       EventKind = "outage"        // a machine that ran delivers nothing, neither by our doing nor by the auction's
	EventOutageOver   EventKind = "outage_over"   // it delivers again, or is gone; once for each EventOutage
	EventReplicas     EventKind = "replicas"      // a container has another number of them
	EventScaleLearnt  EventKind = "scale_learnt"  // how the market reads a request to scale
	EventAlarm        EventKind = "container_alarm"
	EventWasted       EventKind = "wasted" // a machine was paid for and never ready
	EventHook         EventKind = "hook"   // a hook was called
	EventHookFailed   EventKind = "hook_failed"
	EventVeto         EventKind = "hook_veto" // whoever was asked wants the machine to stay
	EventDrain        EventKind = "drain"     // begun, or called off
)

// Event is one thing a look taught us, with the intent it settles, if any.
type Event struct {
	Kind    EventKind   `json:"event"`
	At      time.Time   `json:"at"`
	Policy  string      `json:"policy,omitempty"`
	Machine string      `json:"machine,omitempty"`
	Text    string      `json:"text"`
	Intent  uint64      `json:"intent,omitempty"`
	State   IntentState `json:"state,omitempty"` // the intent's new state

	// The machine it is about, as it was then.
	Host  string                    `json:"host,omitempty"`
	Model market.GPUModel           `json:"gpu_model,omitempty"`
	Shape market.Shape              `json:"shape,omitzero"`
	Bid   market.Maybe[market.Rate] `json:"bid_usd_hour,omitzero"`
	// Seconds is how long a machine took to run; only of EventReady.
	Seconds int64 `json:"seconds,omitempty"`
	// NeverRan: the machine that ended was ordered, and its host did not bring it up.
	NeverRan bool `json:"never_ran,omitempty"`
	// Amount is what was paid for nothing; only of EventWasted.
	Amount market.Amount `json:"amount_usd,omitempty"`
}

// EventKinds lists every kind of event.
func EventKinds() []EventKind {
	return []EventKind{
		EventConfirmed, EventReady, EventAdopted, EventOutbid, EventWonBack, EventStatus, EventLost, EventDeleted,
		EventExpired, EventRebidApplied, EventRebidIgnored, EventSuspicious, EventBreaker,
		EventClosed, EventClock, EventBill, EventParked, EventNotParked, EventStarted, EventNotStarted, EventResized, EventNotResized,
		EventTarget, EventOverride, EventOverrideEnded, EventOutage, EventOutageOver, EventReplicas, EventScaleLearnt, EventAlarm,
		EventWasted, EventHook, EventHookFailed, EventVeto, EventDrain,
	}
}
