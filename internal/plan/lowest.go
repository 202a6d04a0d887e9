package plan

import (
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// LowestPrices is, for each policy that there is an offer for, the lowest all-in
// on-demand price per GPU-hour of what it matches, sells such machines and has enough
// GPUs free. It is for showing: what is bought is decided elsewhere.
func LowestPrices(snap *market.Snapshot, ps []policy.Policy) map[string]market.Rate {
	s := emptyShelf()
	s.fill(snap.Hosts.Value)
	s.spread(nil) // what v2's locations ask is not sure to be had
	s.stock(snap.Instants.Value)
	out := map[string]market.Rate{}
	for i := range ps {
		if r, ok := s.lowest(&ps[i]); ok {
			out[ps[i].Name] = r
		}
	}
	return out
}

func (s *shelf) lowest(p *policy.Policy) (best market.Rate, found bool) {
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
		if !found || all < best {
			best, found = all, true
		}
	}
	return best, found
}

// sells is the machine that the policy would get there, if any.
func (o *offer) sells(p *policy.Policy) (market.Shape, bool) {
	if o.ready != nil {
		return o.ready.Shape, suits(p, o.ready)
	}
	return solve(o.host, p.Shape)
}
