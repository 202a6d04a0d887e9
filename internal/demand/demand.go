package demand

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// Reading is what is known of a signal from asking it.
type Reading struct {
	Policy string `json:"policy"`
	Signal string `json:"signal"`
	Asks   string `json:"asks"` // policy.Prometheus.Asks: a value answers this question only
	// Value and At are of the last good answer; At is zero before the first.
	Value float64   `json:"value"`
	At    time.Time `json:"at,omitzero"`
	// Problem is why the last attempt gave none; "" if it gave one.
	Problem string `json:"problem,omitempty"`
}

// Memory is what is kept of a signal from one cycle to the next.
type Memory struct {
	Reading
	// Want is how many machines it asked for last, after its windows.
	Want int `json:"want_machines"`
	// Before is what Want was when it was last resolved, at ResolvedAt: at the same moment
	// it is resolved from there again.
	Before     int       `json:"before_machines"`
	ResolvedAt time.Time `json:"resolved_at,omitzero"`
	// Highs and Lows are what it asked for within its windows, before them: those
	// values that may still be the greatest, or least, of a window. The newest is last.
	Highs []Level `json:"highs,omitempty"`
	Lows  []Level `json:"lows,omitempty"`
}

// Level is what was asked for until a time.
type Level struct {
	Machines int       `json:"machines"`
	Until    time.Time `json:"until"`
}

// Override is a target set by hand.
type Override struct {
	Policy string    `json:"policy"`
	GPUs   int       `json:"gpus"`
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until cleared
	By     string    `json:"by"`             // who: operator, webhook
	Reason string    `json:"reason,omitempty"`
	// Told: the ledger has an event of its beginning. Cleared: somebody has ended it.
	Told    bool `json:"told,omitempty"`
	Cleared bool `json:"cleared,omitempty"`
}

// Active says whether the override holds now.
func (o *Override) Active(now time.Time) bool {
	return !o.Cleared && (o.Until.IsZero() || now.Before(o.Until))
}

// Ends says until when the override holds, in words.
func (o *Override) Ends() string {
	if o.Until.IsZero() {
		return "until cleared"
	}
	return "until " + stamp(o.Until)
}

func (o *Override) why() string {
	s := "set by the " + o.By + " " + o.Ends()
	if o.Reason != "" {
		s += " (" + o.Reason + ")"
	}
	return s
}

// Fleet is what a policy has.
type Fleet struct {
	Machines int // those that run or may yet
	Ready    int // those that run
}

// Source is what decides a target.
type Source string

// Sources.
const (
	Number   Source = "number"
	Schedule Source = "schedule"
	Signal   Source = "signal"
	ByMin    Source = "min"
	ByMax    Source = "max"
	ByHand   Source = "override"
)

// Outcome is a target and its reason. GPUs are whole machines.
type Outcome struct {
	Policy string `json:"policy"`
	GPUs   int    `json:"gpus"`
	Min    int    `json:"min_gpus"`
	Max    int    `json:"max_gpus"`
	Source Source `json:"source"`
	Why    string `json:"why"`
	Parts  []Part `json:"parts,omitempty"`
	// Problems are the signals without a value, in words.
	Problems []string  `json:"problems,omitempty"`
	Override *Override `json:"override,omitempty"` // the one that holds
}

// Part is one thing that asks for machines.
type Part struct {
	Source Source `json:"source"`
	Name   string `json:"name,omitempty"` // of a signal
	GPUs   int    `json:"gpus"`
	Why    string `json:"why"`
	// Value, Age and Fresh are of a signal: its last value, how old that is, and whether
	// it counts.
	Value float64       `json:"value,omitempty"`
	Age   time.Duration `json:"age,omitempty"`
	Fresh bool          `json:"fresh,omitempty"`
}

// Input is what targets depend on.
type Input struct {
	Now       time.Time
	Policies  []policy.Policy
	Readings  []Reading
	Memories  []Memory
	Overrides []Override
	Fleet     func(policy string) Fleet
}

// Result is what targets came to.
type Result struct {
	Policies []policy.Policy // those of the Input, with Target resolved
	Outcomes []Outcome       // of those whose target is more than a number, by policy
	Memories []Memory        // of their signals, by policy and signal
}

// Resolve says what every policy wants now.
func Resolve(in Input) Result {
	out := Result{Policies: slices.Clone(in.Policies)}
	for i := range out.Policies {
		p := &out.Policies[i]
		o := override(in.Overrides, p.Name, in.Now)
		if p.Demand.Fixed || !p.Demand.Moves() && o == nil {
			continue
		}
		r := resolver{in: &in, p: p}
		wanted := r.resolve(o)
		out.Outcomes = append(out.Outcomes, wanted)
		out.Memories = append(out.Memories, r.memories...)
		p.Demand.Max = p.MaxTarget() // an override is no lower bound of what may come
		p.Target = wanted.GPUs / max(p.Shape.GPUs, 1)
	}
	slices.SortFunc(out.Outcomes, func(a, b Outcome) int { return cmp.Compare(a.Policy, b.Policy) })
	slices.SortFunc(out.Memories, func(a, b Memory) int {
		return cmp.Or(cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Signal, b.Signal))
	})
	return out
}

// override is the one that holds for a policy; of several the newest.
func override(all []Override, name string, now time.Time) *Override {
	var found *Override
	for i := range all {
		if o := &all[i]; o.Policy == name && o.Active(now) && (found == nil || o.after(found)) {
			found = o
		}
	}
	if found == nil {
		return nil
	}
	o := *found
	return &o
}

func (o *Override) after(p *Override) bool {
	return cmp.Or(o.Since.Compare(p.Since), cmp.Compare(p.GPUs, o.GPUs), o.Until.Compare(p.Until), cmp.Compare(o.Reason, p.Reason)) > 0
}

// resolver works on one policy.
type resolver struct {
	in       *Input
	p        *policy.Policy
	memories []Memory
	problems []string
}

// part is one thing that asks for whole machines.
type part struct {
	Part
	machines int
}

func (r *resolver) resolve(o *Override) Outcome {
	parts := []part{{Part: Part{Source: Number, Why: "the number in the file"}, machines: r.p.Target}}
	if r.p.Target == 0 {
		parts[0].Why = "no number is in the file, and no window holds"
	}
	for i := range r.p.Demand.Schedule {
		if w, holds := r.window(&r.p.Demand.Schedule[i]); holds {
			parts = append(parts, w)
		}
	}
	for i := range r.p.Demand.Signals {
		parts = append(parts, r.signal(&r.p.Demand.Signals[i]))
	}
	best := parts[0]
	for _, p := range parts[1:] {
		if p.machines > best.machines || best.Source == Number && best.machines == 0 && p.machines == 0 {
			best = p
		}
	}
	best = r.bounded(best)
	if o != nil {
		best = r.byHand(o)
	}
	gpus := max(r.p.Shape.GPUs, 1)
	out := Outcome{
		Policy: r.p.Name, GPUs: best.machines * gpus, Min: r.p.Demand.Min * gpus, Max: r.p.MaxTarget() * gpus,
		Source: best.Source, Why: best.Why, Problems: r.problems, Override: o,
	}
	for i, p := range parts {
		if i == 0 && p.machines == 0 && len(parts) > 1 {
			continue
		}
		p.GPUs = p.machines * gpus
		out.Parts = append(out.Parts, p.Part)
	}
	return out
}

// bounded keeps what is asked for between min and max.
func (r *resolver) bounded(best part) part {
	d, gpus := &r.p.Demand, max(r.p.Shape.GPUs, 1)
	switch most := r.p.MaxTarget(); {
	case best.machines > most:
		best.Source, best.Why = ByMax, fmt.Sprintf("cut to max (%d GPUs): %s", most*gpus, best.Why)
		best.machines = most
	case best.machines < d.Min:
		best.Source, best.Why = ByMin, fmt.Sprintf("raised to min (%d GPUs): %s", d.Min*gpus, best.Why)
		best.machines = min(d.Min, most)
	}
	return best
}

func (r *resolver) byHand(o *Override) part {
	gpus := max(r.p.Shape.GPUs, 1)
	want := (max(o.GPUs, 0) + gpus - 1) / gpus
	p := part{Part: Part{Source: ByHand, Why: o.why()}, machines: want}
	if most := r.p.MaxTarget(); want > most {
		p.machines = most
		p.Why = fmt.Sprintf("cut to max (%d GPUs): %s", most*gpus, p.Why)
	}
	return p
}

func (r *resolver) window(w *policy.Window) (part, bool) {
	holds, end := w.At(r.in.Now)
	p := part{Part: Part{Source: Schedule, Why: "schedule window " + w.String()}, machines: w.Machines}
	if !end.IsZero() {
		p.Why += ", until " + end.In(w.Zone.Location()).Format("2006-01-02 15:04 MST")
	}
	return p, holds
}

// Find is the outcome of a policy; nil where its target is a number.
func Find(all []Outcome, name string) *Outcome {
	for i := range all {
		if all[i].Policy == name {
			return &all[i]
		}
	}
	return nil
}

// Edge is when a schedule or an override next changes something by itself; zero if
// never.
func Edge(policies []policy.Policy, overrides []Override, now time.Time) time.Time {
	var next time.Time
	sooner := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	for i := range policies {
		for j := range policies[i].Demand.Schedule {
			sooner(policies[i].Demand.Schedule[j].Edge(now))
		}
	}
	for i := range overrides {
		sooner(overrides[i].Until)
	}
	return next
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// clip bounds what is repeated of the outside world.
func clip(s string) string {
	const most = 300
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return s
}

// ReplayWindow is by how much the time of a signed request may differ from ours.
const ReplayWindow = 5 * time.Minute

// Heard is a signed request that was taken.
type Heard struct {
	Signature string    `json:"signature"`
	At        time.Time `json:"at"`
}

// Hear takes a request note of, once: ok is false for one that was heard before. What
// is too old to be accepted again is forgotten. A request of the future, within the
// window, is valid for two of them.
func Hear(all []Heard, signature string, now time.Time) (kept []Heard, ok bool) {
	kept = slices.DeleteFunc(slices.Clone(all), func(h Heard) bool { return now.Sub(h.At) > 2*ReplayWindow+time.Minute })
	if slices.ContainsFunc(kept, func(h Heard) bool { return h.Signature == signature }) {
		return kept, false
	}
	return append(kept, Heard{Signature: signature, At: now.Round(0)}), true
}
