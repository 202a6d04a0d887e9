package backtest

import (
	"context"
	"sync"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/baseline"
	"github.com/tdscaler/tdscaler/internal/backtest/optimum"
	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Contestant is a set of policies that plays a tape under a name.
type Contestant struct {
	Name string
	Set  policy.Set
}

// Contest is everybody who plays a tape: the contestants, then the baselines with
// the wish of the first of them.
type Contest struct {
	Tape        *tape.Tape
	Cycle       time.Duration
	Contestants []Contestant
	NoOptimum   bool
	// Progress, if set, is called with the share of the daemon's cycles that is done.
	Progress func(done float64)
}

// Play plays them all. What is computed beside the daemon is computed meanwhile.
func (c *Contest) Play(ctx context.Context) ([]Played, error) {
	var beside sync.WaitGroup
	optima := map[optimum.Wish]*Optima{}
	wishes := make([]optimum.Wish, len(c.Contestants))
	for i := range c.Contestants {
		w := Wish(&c.Contestants[i].Set)
		wishes[i] = w
		if c.NoOptimum || optima[w] != nil {
			continue
		}
		best := &Optima{}
		optima[w] = best
		beside.Go(func() { *best = FindOptima(c.Tape, w) })
	}
	var others []Played
	beside.Go(func() { others = c.baselines(wishes[0]) })
	ours, err := c.ours(ctx)
	if err != nil {
		return nil, err // the rest cannot be stopped, and is of no use
	}
	beside.Wait()
	for i := range ours {
		best := optima[wishes[i]]
		if best.judge(&ours[i].Result); best != nil {
			ours[i].Optimum = best.Machines
		}
	}
	for i := range others {
		optima[wishes[0]].judge(&others[i].Result)
	}
	return append(ours, others...), nil
}

func (c *Contest) ours(ctx context.Context) ([]Played, error) {
	var out []Played
	for i, one := range c.Contestants {
		o := Options{Name: one.Name, Set: one.Set, Tape: c.Tape, Cycle: c.Cycle}
		if c.Progress != nil {
			o.Progress = func(done float64) { c.Progress((float64(i) + done) / float64(len(c.Contestants))) }
		}
		r, err := Run(ctx, o)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (c *Contest) baselines(w optimum.Wish) []Played {
	var out []Played
	for _, p := range baseline.All(c.Tape, baseline.Options{
		Units: w.Units, GPUs: w.GPUs, Cycle: c.Cycle, Spot: w.Limits.Spot, OnDemand: w.Limits.OnDemand, Ceiling: w.Limits.Ceiling, Work: w.Work,
	}) {
		out = append(out, Played{Result: c.Tape.Result(p.Name, p.Sum), Machines: p.Machines})
	}
	return out
}
