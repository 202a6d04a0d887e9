package plan

import (
	"cmp"
	"fmt"
	"math/rand"
	"slices"
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// benchInput is a market where every one of the policies needs machines.
func benchInput(hosts, policies int) Input {
	r := rand.New(rand.NewSource(1))
	models := []market.GPUModel{rtx4090, rtx3090, "rtxa6000-pcie-48gb", "h100-sxm5-80gb", "l40-pcie-48gb"}
	countries := []string{"Norway", "Spain", "Canada", "Japan", "Germany"}
	var hs []market.Host
	for i := range hosts {
		h := newHost(fmt.Sprintf("%08x-host-%05d", r.Uint32(), i), 0, "0.30")
		h.Location = market.Location{Country: countries[r.Intn(5)], City: fmt.Sprintf("city %d", r.Intn(60))}
		h.GPUs = nil
		for _, j := range r.Perm(5)[:1+r.Intn(2)] {
			h.GPUs = append(h.GPUs, market.HostGPU{Model: models[j], Free: r.Intn(9), VRAM: market.Some(24 + 8*j), Price: market.Some(market.Rate(20+r.Intn(60)) * market.Cent / 2)})
		}
		slices.SortFunc(h.GPUs, func(a, b market.HostGPU) int { return cmp.Compare(a.Model, b.Model) })
		hs = append(hs, h)
	}
	var ps []policy.Policy
	for i := range policies {
		p := newPolicy(fmt.Sprintf("policy-%03d", i), 8)
		p.Match.GPUModels = []string{string(models[i%5]), string(models[(i+1)%5])}
		p.Match.Countries = []string{countries[i%5], countries[(i+2)%5], countries[(i+3)%5]}
		ps = append(ps, p)
	}
	in := newInput(hs, ps...)
	in.Limits = policy.Limits{MaxActions: 1000, MaxProbes: 10000}
	return in
}

func benchSizes(b *testing.B, run func(b *testing.B, in Input)) {
	for _, hosts := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("hosts=%d/policies=100", hosts), func(b *testing.B) {
			in := benchInput(hosts, 100)
			b.ReportAllocs()
			b.ResetTimer()
			run(b, in)
		})
	}
}

func BenchmarkCompute(b *testing.B) {
	benchSizes(b, func(b *testing.B, in Input) {
		for b.Loop() {
			if p := Compute(in); len(p.Questions) == 0 {
				b.Fatal("nothing to do")
			}
		}
	})
}

// BenchmarkFloor is the least that any planner has to do with the same data: for
// every policy filter all offers, sort what is left by price, and pick the best.
func BenchmarkFloor(b *testing.B) {
	benchSizes(b, func(b *testing.B, in Input) {
		for b.Loop() {
			if floor(in) == 0 {
				b.Fatal("nothing picked")
			}
		}
	})
}

type floorOffer struct {
	host  *market.Host
	model market.GPUModel
	price market.Rate
}

func floor(in Input) (picked int) {
	for i := range in.Policies {
		p := &in.Policies[i]
		var offers []floorOffer
		for j := range in.Snapshot.Hosts.Value {
			h := &in.Snapshot.Hosts.Value[j]
			if !h.Online || !h.Listed || h.Reserved || !slices.Contains(p.Match.Countries, h.Location.Country) {
				continue
			}
			for k := range h.GPUs {
				g := &h.GPUs[k]
				if g.Free < p.Shape.GPUs || !slices.Contains(p.Match.GPUModels, string(g.Model)) || h.CPU.Free.Or(0) < p.Shape.VCPUs || h.RAM.Free.Or(0) < p.Shape.RAM {
					continue
				}
				compute, ok1 := h.OnDemandCompute(*g, p.Shape).Get()
				storage, ok2 := h.StorageRate(p.Shape).Get()
				bid := compute.Scale(1, 2).CeilCent()
				if !ok1 || !ok2 || bid.Add(storage) > p.Ceiling() {
					continue
				}
				offers = append(offers, floorOffer{h, g.Model, bid.Add(storage)})
			}
		}
		slices.SortFunc(offers, func(a, b floorOffer) int {
			return cmp.Or(cmp.Compare(a.price, b.price), cmp.Compare(a.host.ID, b.host.ID))
		})
		picked += len(offers[:min(p.Target, len(offers))])
	}
	return picked
}
