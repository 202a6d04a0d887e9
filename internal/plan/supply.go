package plan

import (
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Supply is what the market offers of what a policy matches, sells such machines and
// has enough GPUs free, at its all-in on-demand price. It is for showing: what is
// bought is decided elsewhere, and spot may be won for less.
type Supply struct {
	// Lowest is the lowest price per GPU-hour; unknown where there is no such offer.
	Lowest market.Maybe[market.Rate]
	// Within and Above are GPUs, in whole machines, up to the policy's ceiling and above it.
	Within, Above int
}

func (s *Supply) add(price, ceiling market.Rate, gpus int) {
	s.Lowest = market.Some(min(price, s.Lowest.Or(market.MaxRate)))
	if price <= ceiling {
		s.Within += gpus
		return
	}
	s.Above += gpus
}

// Supplies is the Supply of each policy, by name.
func Supplies(snap *market.Snapshot, ps []policy.Policy) map[string]Supply {
	s := emptyShelf()
	s.fill(snap.Hosts.Value)
	s.spread(nil) // what v2's locations ask is not sure to be had
	s.stock(snap.Instants.Value)
	out := map[string]Supply{}
	for i := range ps {
		out[ps[i].Name] = s.supply(&ps[i])
	}
	return out
}

func (s *shelf) supply(p *policy.Policy) (sum Supply) {
	match := policy.NewMatcher(p.Match)
	models, places := make([]bool, len(s.models)), make([]bool, len(s.places))
	for i, m := range s.models {
		_, models[i] = match.GPU(m)
	}
	for i, l := range s.places {
		places[i] = match.Place(l)
	}
	offers := s.offersFor(p)
	for i := range offers {
		o := &offers[i]
		n, sold := o.sells(p)
		if !models[o.model] || !places[o.place] || !o.open || !o.priced || o.gpu.Free < n.GPUs || !match.HostID(o.host.ID) || !sold {
			continue
		}
		all := o.compute(n).Add(o.storage(n)).PerGPU(n.GPUs)
		sum.add(all, p.CeilingOf(market.OnDemand, 1), o.gpu.Free/n.GPUs*n.GPUs)
	}
	return sum
}

// sells is the machine that the policy would get there, if any.
func (o *offer) sells(p *policy.Policy) (market.Shape, bool) {
	if o.ready != nil {
		return o.ready.Shape, suits(p, o.ready)
	}
	return solve(o.host, p.Shape)
}
