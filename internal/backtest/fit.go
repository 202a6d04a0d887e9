package backtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Fit makes policies fit to play a tape. Its hosts match every policy: of the match,
// only the GPU models are left, and only where models says that there are any to
// tell apart. Spread is left out, because a tape's host is a whole zone, and so are
// files, and deadlines where there are other policies beside. A target that moves is its max. A cap that nobody wrote is left out,
// too: the optimum knows none. target, if it is not 0, replaces every policy's; it must be a multiple of
// each policy's shape.
func Fit(s policy.Set, target int, models []market.GPUModel) (policy.Set, error) {
	s.Policies = slices.Clone(s.Policies)
	s.Budget.MaxHourly = market.Some(s.Budget.MaxHourly.Or(market.MaxRate))
	for i := range s.Policies {
		p := &s.Policies[i]
		old := p.Match
		p.Match, p.Spread = policy.Match{}, policy.Spread{}
		if len(s.Policies) > 1 {
			p.Deadline = policy.Deadline{}
		}
		p.Target, p.Demand = p.MaxTarget(), policy.Demand{Fixed: true}
		p.ScaleDown, p.Resize = policy.DeleteSurplus, policy.KeepShape // machines of a tape cannot be stopped
		byModel := policy.Match{GPUModels: old.GPUModels, PreferOrder: old.PreferOrder, Deny: policy.Deny{GPUModels: old.Deny.GPUModels}}
		if Wants(byModel, models) {
			p.Match = byModel
		}
		if target == 0 {
			continue
		}
		if target%p.Shape.GPUs != 0 {
			return s, fmt.Errorf("policy %s buys machines of %d GPUs: a target of %d GPUs is no multiple of them", p.Name, p.Shape.GPUs, target)
		}
		p.Target = target / p.Shape.GPUs
	}
	return s, nil
}

// Due sets the deadlines of policies that were made to fit a tape: what is not within
// it is of another time, and becomes its end. Where all of them want work by a time, the
// tape that is returned ends with the last.
func Due(t *tape.Tape, sets ...*policy.Set) *tape.Tape {
	end := t.Start.Add(t.Length)
	var last time.Time
	for _, s := range sets {
		s.Policies = slices.Clone(s.Policies)
		by := end
		for i := range s.Policies {
			if d := &s.Policies[i].Deadline; d.Work > 0 {
				if !d.By.After(t.Start) || d.By.After(end) {
					d.By = end
				}
				d.By = d.By.Truncate(time.Second)
				by = d.By
			}
		}
		if by.After(last) {
			last = by
		}
	}
	cut := *t
	cut.Length = last.Sub(t.Start)
	return &cut
}

// Wants says whether a match takes any of the models.
func Wants(m policy.Match, models []market.GPUModel) bool {
	matcher := policy.NewMatcher(m)
	return slices.ContainsFunc(models, func(g market.GPUModel) bool {
		_, ok := matcher.Model(g)
		return ok
	})
}
