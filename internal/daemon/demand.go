package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Signals reads what targets follow.
type Signals interface {
	// Read returns what is known of every signal of the policies by now. It asks those
	// whose time has come, all at once, and keeps their timeouts; a signal that cannot be
	// read is a Reading with a problem.
	Read(ctx context.Context, policies []policy.Policy) []demand.Reading
}

// Readings reads the signals of a configuration, its shadows' among them.
func Readings(ctx context.Context, s Signals, set *policy.Set) []demand.Reading {
	all := slices.Concat(set.Policies, set.Shadows)
	if s == nil || !slices.ContainsFunc(all, func(p policy.Policy) bool { return len(p.Demand.Signals) > 0 }) {
		return nil
	}
	return s.Read(ctx, all)
}

// readSignals begins to read while the market is looked at; the function that it
// returns waits for the end of that.
func (t *turn) readSignals(ctx context.Context) func() []demand.Reading {
	if t.o.Signals == nil {
		return func() []demand.Reading { return nil }
	}
	done := make(chan []demand.Reading, 1)
	go func() { done <- Readings(ctx, t.o.Signals, &t.c.Set) }()
	return func() []demand.Reading { return <-done }
}

// resolve returns the set with its targets as they are now, and notes in the look what
// they came to. The history may be of a time before the clock was set.
func resolve(s *policy.Set, look *plan.Look, h *plan.History, said []demand.Reading) policy.Set {
	memories, overrides := h.Remembered(*look)
	return resolveWith(s, look, demand.Input{Memories: memories, Overrides: overrides, Readings: said, Fleet: fleets(h)})
}

// fleets tells what policies have, and shadows would have.
func fleets(h *plan.History) func(string) demand.Fleet {
	return func(name string) demand.Fleet {
		if s := shadowOf(h, name); s.Policy != "" {
			return (&plan.History{Machines: s.Machines}).Fleet(name)
		}
		return h.Fleet(name)
	}
}

func resolveWith(s *policy.Set, look *plan.Look, in demand.Input) policy.Set {
	in.Now, in.Policies = look.Now, slices.Concat(s.Policies, s.Shadows)
	r := demand.Resolve(in)
	out := *s
	out.Policies, out.Shadows = r.Policies[:len(s.Policies):len(s.Policies)], r.Policies[len(s.Policies):]
	look.Policies, look.Demand, look.Resolved = out.Policies, r, true
	return out
}

// targets are the policies with their targets as they are now, for a look that moves
// none of them.
func targets(s *policy.Set, look *plan.Look, h *plan.History) []policy.Policy {
	l := *look
	set := resolve(s, &l, h, nil)
	return set.Policies
}

// resolveOn is resolve for a history into which the look is observed.
func resolveOn(s *policy.Set, look *plan.Look, h *plan.History, said []demand.Reading) policy.Set {
	return resolveWith(s, look, demand.Input{Memories: h.Demand, Overrides: h.Overrides, Readings: said, Fleet: fleets(h)})
}

// inputOf is input for a set whose targets are not resolved yet.
func inputOf(s *policy.Set, look plan.Look, h plan.History) plan.Input {
	set := resolveOn(s, &look, &h, nil)
	return input(&set, look, h)
}

// sooner is the next cycle: on the schedule, or when a target moves by itself.
func (d *Daemon) sooner(next, now time.Time) time.Time {
	h, err := d.o.Ledger.History()
	if err != nil {
		return next // the cycle finds out
	}
	c := d.current()
	if edge := demand.Edge(c.Set.Policies, h.Overrides, now); !edge.IsZero() && edge.Before(next) {
		return edge
	}
	return next
}

func mostGPUs(p *policy.Policy) int { return p.MaxTarget() * p.Shape.GPUs }

func activeOverrides(h *plan.History, now time.Time) []demand.Override {
	var out []demand.Override
	for _, o := range h.Overrides {
		if o.Active(now) {
			out = append(out, o)
		}
	}
	return out
}

// Targets is what every policy of a configuration wants now, by policy, from what is
// known: nobody is asked.
func Targets(c *Config, h *plan.History, now time.Time) []demand.Outcome {
	r := demand.Resolve(demand.Input{Now: now, Policies: c.Set.Policies, Memories: h.Demand, Overrides: h.Overrides, Fleet: h.Fleet})
	out := make([]demand.Outcome, 0, len(r.Policies))
	for i := range r.Policies {
		p := &r.Policies[i]
		if o := demand.Find(r.Outcomes, p.Name); o != nil {
			out = append(out, *o)
			continue
		}
		out = append(out, demand.Outcome{Policy: p.Name, GPUs: p.GPUs(), Max: mostGPUs(p), Source: demand.Number, Why: "the number in the file"})
	}
	return out
}

// ErrTarget is wrapped where a target cannot be set so.
var ErrTarget = errors.New("the target cannot be set")

// CheckOverride says why an override must not be taken for a policy; nil if it may. It
// is never above the policy's max: what a policy may cost is written in the file alone.
func CheckOverride(c *Config, o *demand.Override, now time.Time) error {
	p, ok := c.Set.Find(o.Policy)
	switch {
	case !ok:
		return fmt.Errorf("%w: %s", ErrNoSuchPolicy, o.Policy)
	case p.Deadline.Work > 0:
		return fmt.Errorf("%w: policy %s delivers GPU-hours by a time, which sets its target; pause it, or change the file", ErrTarget, p.Name)
	case o.GPUs < 0:
		return fmt.Errorf("%w: %d GPUs are less than none", ErrTarget, o.GPUs)
	case o.GPUs%max(p.Shape.GPUs, 1) != 0:
		return fmt.Errorf("%w: %d GPUs cannot be made of machines with %d", ErrTarget, o.GPUs, p.Shape.GPUs)
	case o.GPUs > mostGPUs(p):
		return fmt.Errorf("%w: policy %s wants at most %d GPUs: write target.max in the file to allow more", ErrTarget, p.Name, mostGPUs(p))
	case !o.Until.IsZero() && !o.Until.After(now):
		return fmt.Errorf("%w: it would be over already at %s", ErrTarget, o.Until.Format(time.RFC3339))
	}
	return nil
}

// SetOverride sets a policy's target by hand, in the place of an earlier override.
func SetOverride(tx *ledger.Tx, o demand.Override) {
	h := tx.History()
	ClearOverride(tx, o.Policy)
	h.Overrides = slices.DeleteFunc(h.Overrides, func(v demand.Override) bool { return v.Cleared && !v.Told })
	h.Overrides = append(h.Overrides, o)
}

// ClearOverride ends the override of a policy, or with "" all, and returns what it
// ended. They stay on record until the next look has told of their end.
func ClearOverride(tx *ledger.Tx, name string) (ended []demand.Override) {
	h := tx.History()
	for i := range h.Overrides {
		if o := &h.Overrides[i]; !o.Cleared && (name == "" || o.Policy == name) {
			ended = append(ended, *o)
			o.Cleared = true
		}
	}
	return ended
}
