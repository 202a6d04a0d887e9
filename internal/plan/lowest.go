package plan

import (
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// LowestPrices is, for each policy that there is an offer for, the lowest all-in
// on-demand price per GPU-hour of what it matches and has enough GPUs free. It is for
// showing: what is bought is decided elsewhere.
func LowestPrices(hosts []market.Host, ps []policy.Policy) map[string]market.Rate {
	s := &shelf{}
	s.fill(hosts)
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
	n := p.Shape
	for i := range s.offers {
		o := &s.offers[i]
		if !models[o.model] || !places[o.place] || !o.open || !o.priced || o.gpu.Free < n.GPUs || !match.HostID(o.host.ID) {
			continue
		}
		all := o.gpuRate.Mul(n.GPUs).Add(o.cpu.Mul(n.VCPUs)).Add(o.ram.Mul(n.RAM)).Add(o.disk.Mul(n.Storage)).PerGPU(n.GPUs)
		if !found || all < best {
			best, found = all, true
		}
	}
	return best, found
}
