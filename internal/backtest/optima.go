package backtest

import (
	"github.com/tdscaler/tdscaler/internal/backtest/optimum"
	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Wish is what all policies together want of a tape. The optimum may buy spot and
// on-demand, whatever the policies say, but nothing above their ceiling. Where
// policies differ, it is bound by neither: the highest ceiling, the smallest machine.
func Wish(s *policy.Set) optimum.Wish {
	w := optimum.Wish{GPUs: 0, Limits: optimum.Limits{Spot: true, OnDemand: true}}
	total := 0
	for i := range s.Policies {
		p := &s.Policies[i]
		if p.Target == 0 {
			continue
		}
		total += p.GPUs()
		w.GPUs = gcd(w.GPUs, p.Shape.GPUs)
		w.Limits.Ceiling = max(w.Limits.Ceiling, p.CeilingOf(market.Spot, 1), p.CeilingOf(market.OnDemand, 1))
	}
	w.GPUs = max(w.GPUs, 1)
	w.Units = total / w.GPUs
	if len(s.Policies) == 1 {
		w.Work = s.Policies[0].Deadline.Work
	}
	return w
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Optima are J* and J_nw of a wish, and the machines of one way to J*.
type Optima struct {
	Star, NoWarning market.Amount
	Machines        []tape.Span
}

// FindOptima computes both.
func FindOptima(t *tape.Tape, w optimum.Wish) Optima {
	star := optimum.Star(t, w)
	return Optima{Star: star.J, NoWarning: optimum.NoWarning(t, w).J, Machines: star.Machines}
}

// judge holds a result against the optima; none of them, against nothing.
func (o *Optima) judge(r *tape.Result) {
	if o != nil {
		r.Against(o.Star, o.NoWarning)
	}
}
