package plan

import (
	"cmp"
	"slices"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Digest is what of a cycle is kept within reach: it is read for thousands of cycles at
// once, where reports would be too much.
type Digest struct {
	Policies []Share  `json:"policies"` // by name; those that are gone have cost something
	Notes    []Notice `json:"notes,omitempty"`
}

// Share is how one policy stood after the decision of a cycle, and what it has cost in
// all its life until then: the difference of two is what happened in between.
type Share struct {
	Total
	Target  int `json:"target_gpus,omitempty"`
	Ready   int `json:"ready_gpus,omitempty"`
	Booting int `json:"booting_gpus,omitempty"`
	Dead    int `json:"dead_gpus,omitempty"` // outbid or stopped
	// Why is the code of what keeps it from its target, of all that does the first in
	// the order of whys; "" where nothing does.
	Why string `json:"why,omitempty"`
}

// Notice is an event that somebody may want to hear of later.
type Notice struct {
	Kind    EventKind     `json:"event"`
	Policy  string        `json:"policy,omitempty"`
	Machine string        `json:"machine,omitempty"`
	Text    string        `json:"text,omitempty"`
	Intent  uint64        `json:"intent,omitempty"`
	Amount  market.Amount `json:"amount_usd,omitzero"`
}

// Codes of Share.Why that no hold has: what HoldNoOffer comes to, and being outbid or
// having just acted where nothing is held.
const (
	WhyCeiling  = "above_ceiling" // offers fit in all but the price
	WhyBackoff  = "backoff"       // those that fit failed or refused us lately
	WhyCapacity = "no_capacity"   // nobody has enough GPUs free
	WhyOutbid   = "outbid"
	WhyActing   = "acting"
)

// Digest sums the report up.
func (r *Report) Digest() Digest {
	d := Digest{Policies: []Share{}, Notes: r.notices()}
	for _, t := range r.Input.History.Totals {
		d.Policies = append(d.Policies, Share{Total: t})
	}
	for i := range r.Plan.Standings {
		s := &r.Plan.Standings[i]
		at := slices.IndexFunc(d.Policies, func(p Share) bool { return p.Policy == s.Policy })
		if at < 0 {
			at = len(d.Policies)
			d.Policies = append(d.Policies, Share{Total: Total{Policy: s.Policy}})
		}
		p := &d.Policies[at]
		p.Target, p.Ready, p.Booting, p.Dead, p.Why = s.Target, s.Ready, s.Booting, s.Dead, r.why(s)
	}
	slices.SortFunc(d.Policies, func(a, b Share) int { return cmp.Compare(a.Policy, b.Policy) })
	return d
}

// notices are the events that are worth keeping. That a machine was outbid says
// nothing more than that, and happens often.
func (r *Report) notices() (out []Notice) {
	for i := range r.Events {
		e := &r.Events[i]
		if !slices.Contains(noticed(), e.Kind) {
			continue
		}
		n := Notice{Kind: e.Kind, Policy: e.Policy, Machine: e.Machine, Text: e.Text, Intent: e.Intent, Amount: e.Amount}
		if e.Kind == EventOutbid {
			n.Text = ""
		}
		out = append(out, n)
	}
	return out
}

// noticed are the kinds of events that digests keep.
func noticed() []EventKind {
	return []EventKind{
		EventOutbid, EventAdopted, EventLost, EventExpired, EventSuspicious, EventBreaker, EventClock, EventBill, EventWasted,
		EventNotParked, EventNotStarted, EventNotResized, EventAlarm, EventHookFailed,
	}
}

// whys are the holds of a policy in the order in which they are told: what stops
// everything, what stops growth, what is only a matter of time.
func whys() []string {
	return []string{
		HoldPaused, HoldLedger, HoldContract, HoldInstances, HoldHosts, HoldReadyMade, HoldReplicas, HoldBreaker, HoldDisagrees, HoldDemand,
		HoldBalance, HoldBudget, HoldNoOffer, HoldSpread, HoldRefused, HoldContainer, HoldAlarm, HoldUnlearnt, HoldDeadline, HoldCooldown,
		HoldProbes, HoldActions, HoldStart, HoldFallback, HoldNoAnswer, HoldUnknown, HoldRebid, HoldProbe, HoldHook, HoldBooting, HoldScale, HoldDeleting, HoldAsking,
	}
}

// why is what keeps a policy from its target; a pause is told of one that meets it, too.
func (r *Report) why(s *Standing) string {
	all := whys()
	best := len(all)
	for _, h := range r.Plan.Holds {
		if h.Policy != s.Policy && h.Policy != "" {
			continue
		}
		if i := slices.Index(all, h.Reason.Code); i >= 0 {
			best = min(best, i)
		}
	}
	switch {
	case best < len(all) && all[best] == HoldPaused:
		return HoldPaused
	case s.Ready >= s.Target:
		return ""
	case best < len(all) && all[best] == HoldNoOffer:
		return s.Funnel.why()
	case best < len(all):
		return all[best]
	case s.Dead > 0:
		return WhyOutbid
	}
	return WhyActing
}

// why is where the offers fell out that came furthest.
func (f *Funnel) why() string {
	switch {
	case f.Ceiling+f.Refused+f.Sibling > 0:
		return WhyCeiling
	case f.Backoff+f.Fickle > 0:
		return WhyBackoff
	case f.Capacity > 0:
		return WhyCapacity
	}
	return HoldNoOffer
}
