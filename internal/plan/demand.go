package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/demand"
)

// Events of targets.
const (
	EventTarget        EventKind = "target"   // a schedule, a signal or somebody has moved it
	EventOverride      EventKind = "override" // somebody has set it by hand
	EventOverrideEnded EventKind = "override_ended"
)

// Aim is the target that a policy had, where that is more than a number.
type Aim struct {
	Policy string `json:"policy"`
	GPUs   int    `json:"gpus"`
}

// Fleet is what a policy has, as far as the books know.
func (h *History) Fleet(policy string) (f demand.Fleet) {
	for i := range h.Machines {
		m := &h.Machines[i]
		if m.Policy != policy || m.Leaving != nil || m.Phase == PhaseDeleting {
			continue
		}
		if m.Ready() {
			f.Ready++
		}
		if m.Ready() || m.booting() {
			f.Machines++
		}
	}
	return f
}

// Remembered is what the history has for resolving targets, by the clock that a look
// shows: where it was set meanwhile, ages and ends of overrides go by the time that
// truly passed.
func (h *History) Remembered(l Look) ([]demand.Memory, []demand.Override) {
	c := History{Clock: h.Clock, Demand: cloneMemories(h.Demand), Overrides: slices.Clone(h.Overrides)}
	if o := (observer{h: &c, l: l}); !l.Now.IsZero() {
		c.shift(o.steady())
	}
	return c.Demand, c.Overrides
}

func cloneMemories(all []demand.Memory) []demand.Memory {
	out := slices.Clone(all)
	for i := range out {
		out[i].Highs, out[i].Lows = slices.Clone(out[i].Highs), slices.Clone(out[i].Lows)
	}
	return out
}

// shiftDemand moves what is remembered of signals and overrides.
func (h *History) shiftDemand(move func(...*time.Time)) {
	for i := range h.Demand {
		m := &h.Demand[i]
		move(&m.At, &m.ResolvedAt)
		for j := range m.Highs {
			move(&m.Highs[j].Until)
		}
		for j := range m.Lows {
			move(&m.Lows[j].Until)
		}
	}
	for i := range h.Heard {
		move(&h.Heard[i].At)
	}
	for i := range h.Overrides {
		move(&h.Overrides[i].Since, &h.Overrides[i].Until)
	}
}

// demand books what targets came to, and the beginnings and ends of overrides. It runs
// last, by the clock that the look shows: so does what was resolved.
func (o *observer) demand() {
	if !o.l.Resolved {
		return
	}
	o.h.Demand = cloneMemories(o.l.Demand.Memories)
	o.overrides()
	o.aims()
}

// overrides end when their time has come, when somebody clears them, and when their
// policy leaves the file.
func (o *observer) overrides() {
	slices.SortFunc(o.h.Overrides, func(a, b demand.Override) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), a.Since.Compare(b.Since), cmp.Compare(a.GPUs, b.GPUs))
	})
	o.h.Overrides = slices.DeleteFunc(o.h.Overrides, func(v demand.Override) bool {
		why := ""
		switch {
		case v.Cleared:
			why = "it was cleared"
		case !v.Active(o.l.Now):
			why = "its time is over"
		case !slices.Contains(o.names(), v.Policy):
			why = "the policy is not in the file any more"
		default:
			return false
		}
		o.tell(EventOverrideEnded, v.Policy, "the target of %d GPUs that was set by the %s has ended: %s", v.GPUs, v.By, why)
		return true
	})
	for i := range o.h.Overrides {
		v := &o.h.Overrides[i]
		if v.Told || v.Since.After(o.l.Now) { // one that came during the look is told by the next
			continue
		}
		v.Told = true
		o.tell(EventOverride, v.Policy, "the target was set to %d GPUs by the %s %s%s", v.GPUs, v.By, v.Ends(), because(v.Reason))
	}
	if len(o.h.Overrides) == 0 {
		o.h.Overrides = nil
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// aims tells of targets that have moved.
func (o *observer) aims() {
	var next []Aim
	for _, out := range o.l.Demand.Outcomes {
		if !slices.Contains(o.names(), out.Policy) {
			continue // a shadow's
		}
		i := slices.IndexFunc(o.h.Aims, func(a Aim) bool { return a.Policy == out.Policy })
		if i >= 0 && o.h.Aims[i].GPUs != out.GPUs {
			o.tell(EventTarget, out.Policy, "%d GPUs are wanted instead of %d: %s", out.GPUs, o.h.Aims[i].GPUs, out.Why)
		}
		next = append(next, Aim{Policy: out.Policy, GPUs: out.GPUs})
	}
	o.h.Aims = next
}

func (o *observer) names() []string {
	var out []string
	for i := range o.l.Policies {
		out = append(out, o.l.Policies[i].Name)
	}
	return out
}

func (o *observer) tell(kind EventKind, policy, format string, args ...any) {
	o.events = append(o.events, Event{Kind: kind, At: o.l.Now, Policy: policy, Text: fmt.Sprintf(format, args...)})
}

// follow tells of the signals that a policy's target should follow and cannot.
func (w *world) follow(d *desk) {
	d.st.Demand = demand.Find(w.in.Demand, d.p.Name)
	if d.st.Demand == nil {
		return
	}
	for _, p := range d.st.Demand.Problems {
		w.hold(d, nil, HoldDemand, "%s; %d GPUs are wanted: %s", p, d.st.Demand.GPUs, d.st.Demand.Why)
	}
}

// wantedText says how many GPUs a policy wants, and why where that moves.
func (d *desk) wantedText() string {
	if d.st.Demand == nil {
		return fmt.Sprintf("%d wanted", d.st.Target)
	}
	return fmt.Sprintf("%d wanted (%s)", d.st.Target, d.st.Demand.Why)
}
