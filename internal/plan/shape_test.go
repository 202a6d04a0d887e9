package plan

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
)

// legal says whether a host sells machines of that shape at all, by the rules as the
// market states them.
func legal(h *market.Host, s market.Shape) bool {
	within := func(b market.Maybe[market.Bounds], v int) bool {
		r, known := b.Get()
		return !known || v >= r.Min && v <= r.Max
	}
	l := h.Limits[s.GPUs]
	return s.VCPUs >= 2 && s.VCPUs%2 == 0 && s.RAM >= 2 && s.RAM%2 == 0 && s.Storage >= 20 &&
		within(l.VCPUs, s.VCPUs) && within(l.RAM, s.RAM) && within(l.Storage, s.Storage)
}

// stacks says how many machines can be bought one after the other, playing it.
func stacks(h market.Host, s market.Shape) int {
	gpus, cpu, ram, disk := 0, h.CPU.Free.Or(0), h.RAM.Free.Or(0), h.Storage.Free.Or(0)
	for _, g := range h.GPUs {
		gpus += g.Free
	}
	l := h.Limits[s.GPUs]
	fits := func(need, free int, bounds market.Maybe[market.Bounds]) bool {
		return need <= free && (gpus <= s.GPUs || bounds.Known() || 4*need <= 3*free)
	}
	n := 0
	for ; gpus >= s.GPUs && fits(s.VCPUs, cpu, l.VCPUs) && fits(s.RAM, ram, l.RAM) && fits(s.Storage, disk, l.Storage); n++ {
		gpus, cpu, ram, disk = gpus-s.GPUs, cpu-s.VCPUs, ram-s.RAM, disk-s.Storage
	}
	return n
}

func drawSmallHost(t *rapid.T) market.Host {
	h := newHost("a", 1+upTo(t, "free GPUs", 4), "0.35")
	for i, c := range []*market.Component{&h.CPU, &h.RAM, &h.Storage} {
		c.Free = market.Some(upTo(t, "free", []int{24, 40, 60}[i]))
		c.Price = market.Some(drawRate(t, "price", 0, 50))
	}
	bounds := func(label string, most int) market.Maybe[market.Bounds] {
		return drawMaybe(t, label, func() market.Bounds {
			least := upTo(t, label+" min", most)
			return market.Bounds{Min: least, Max: least + upTo(t, label+" over", most)}
		})
	}
	if chance(t, "restricted", 60) {
		h.Limits = map[int]market.Restriction{1 + upTo(t, "for", 1): {VCPUs: bounds("vcpus", 12), RAM: bounds("ram", 20), Storage: bounds("storage", 30)}}
	}
	return h
}

func TestTheSolvedShapeIsLegalAndNoLegalShapeWithAsMuchIsCheaper(t *testing.T) {
	solved, none := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		h := drawSmallHost(t)
		want := market.Shape{GPUs: 1 + upTo(t, "gpus", 1), VCPUs: 1 + upTo(t, "vcpus", 12), RAM: 1 + upTo(t, "ram", 20), Storage: 1 + upTo(t, "storage", 40)}
		cost := func(s market.Shape) market.Rate {
			return h.OnDemandCompute(h.GPUs[0], s).Or(0).Add(h.StorageRate(s).Or(0))
		}
		best, found := market.MaxRate, false
		for v := want.VCPUs; v <= 26; v++ {
			for r := want.RAM; r <= 42; r++ {
				for d := want.Storage; d <= 62; d++ {
					if s := (market.Shape{GPUs: want.GPUs, VCPUs: v, RAM: r, Storage: d}); legal(&h, s) {
						best, found = min(best, cost(s)), true
					}
				}
			}
		}
		got, ok := solve(&h, want)
		if ok != found {
			t.Fatalf("%+v (%v), but a legal one is there: %v, of %+v on %+v", got, ok, found, want, h)
		}
		if !ok {
			none++
			return
		}
		solved++
		if !legal(&h, got) || got.GPUs != want.GPUs || got.VCPUs < want.VCPUs || got.RAM < want.RAM || got.Storage < want.Storage {
			t.Fatalf("%+v for %+v on %+v", got, want, h)
		}
		if cost(got) != best {
			t.Fatalf("%+v costs %s, another %s", got, cost(got), best)
		}
		if rounded := roundedText(&h, want); (rounded == "") != (got == want) {
			t.Fatalf("%+v for %+v: %q", got, want, rounded)
		}
	})
	if solved < 10 || none < 5 {
		t.Errorf("%d hosts sold a machine, %d none", solved, none)
	}
}

func TestAsManyMachinesFitAsCanBeBoughtOneAfterTheOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := drawSmallHost(t)
		if chance(t, "two models", 30) {
			h.GPUs = append(h.GPUs, market.HostGPU{Model: rtx3090, Free: upTo(t, "of the other", 3), Price: h.GPUs[0].Price})
		}
		p := newPolicy("p", 4)
		p.Shape = market.Shape{GPUs: 1 + upTo(t, "gpus", 1), VCPUs: 2 + upTo(t, "vcpus", 8), RAM: 2 + upTo(t, "ram", 12), Storage: 20 + upTo(t, "storage", 20)}
		s, sold := solve(&h, p.Shape)
		o := newOffer(&h, &h.GPUs[0], 0, 0)
		got := min(fits(&p, &o, nil), h.GPUs[0].Free/p.Shape.GPUs)
		want := 0
		if sold {
			want = min(stacks(h, s), h.GPUs[0].Free/p.Shape.GPUs, len(h.Ports.Or(nil)))
		}
		if got != want {
			t.Fatalf("%d fit, %d can be bought, of %+v on %+v", got, want, s, h)
		}
		if text := shapeText(&p, &o, nil); (fits(&p, &o, nil) == 0) == (text == "it does not fit") {
			t.Fatalf("%d fit, but: %s", fits(&p, &o, nil), text)
		}
	})
}

// Five vCPUs are six, and 33 GB of RAM 34; what is bought is asked about, paid for and
// remembered as what it is, and what stands there is what the policy wants.
func TestAMachineIsBoughtReservedAndKeptInTheShapeThatTheHostSells(t *testing.T) {
	p := newPolicy("p", 1)
	p.Shape = market.Shape{GPUs: 4, VCPUs: 5, RAM: 33, Storage: 100}
	sold := market.Shape{GPUs: 4, VCPUs: 6, RAM: 34, Storage: 250}
	h := newHost("a", 8, "0.35")
	h.Limits = map[int]market.Restriction{4: {Storage: market.Some(market.Bounds{Min: 250, Max: 1000})}}
	in := newInput([]market.Host{h}, p)
	asked := Compute(in).Questions
	if len(asked) != 1 || asked[0].Shape != sold {
		t.Fatalf("%+v", asked)
	}
	q := p
	q.Shape = sold
	in.Verdicts = []market.Verdict{accepted(q, "a", "0.80")}
	plan := Compute(in)
	wantActions(t, plan, "deploy a below_target")
	a := plan.Actions[0]
	if a.Shape != sold || a.Storage != usd("0.0125") || a.Rate != usd("0.8125") || a.Rate > a.Reserve {
		t.Fatalf("%+v", a)
	}
	if l := List(in, p)[0]; l.Shape != sold || !strings.Contains(l.Reason.Text, "6 vCPUs for 5 (sold in steps), 34 GB of RAM for 33 (sold in steps), 250 GB of storage for 100 (the least this host sells)") {
		t.Fatalf("%+v", l)
	}
	m := newMachine(p, 1, "a", "0.80")
	m.Shape, m.Storage, m.Reserved = sold, market.Some(a.Storage), a.Rate
	in.History.Machines, in.Snapshot.Instances.Value = []Machine{m}, []market.Instance{shown(m)}
	plan = Compute(in)
	wantActions(t, plan)
	if !plan.Standings[0].Satisfied {
		t.Fatalf("%+v", plan)
	}
}

// What a shape is rounded up to counts against the ceiling.
func TestNoRoundingGoesAboveTheCeiling(t *testing.T) {
	p := newPolicy("p", 1)
	p.Capacity = market.OnDemand
	h := newHost("a", 4, "0.35") // 0.399 for 4 vCPUs, 16 GB and 100 GB
	in := newInput([]market.Host{h}, p)
	wantActions(t, Compute(in), "deploy a below_target")
	in.Snapshot.Hosts.Value[0].Limits = map[int]market.Restriction{1: {RAM: market.Some(market.Bounds{Min: 18, Max: 64})}}
	plan := Compute(in) // 0.403
	wantActions(t, plan)
	if f := plan.Standings[0].Funnel; f.Ceiling != 1 {
		t.Fatalf("%+v", f)
	}
}

func TestAListingSaysWhichRestrictionKeepsAHostOut(t *testing.T) {
	p := newPolicy("p", 1)
	for _, c := range []struct {
		change func(*market.Host)
		want   string
	}{
		{func(h *market.Host) {
			h.Limits = map[int]market.Restriction{1: {RAM: market.Some(market.Bounds{Min: 4, Max: 12})}}
		}, "restriction: a machine with 1 GPUs has 4 to 12 GB of RAM there, this one needs 16"},
		{func(h *market.Host) { h.CPU.Free = market.Some(5) }, "5 vCPUs are free, and a machine that leaves GPUs free may have 75 % of them; this one needs 4"},
		{func(h *market.Host) { h.CPU.Free = market.Some(3) }, "3 vCPUs are free, a machine needs 4"},
		{func(h *market.Host) { h.Ports = market.Some([]int{}) }, "0 ports are free, a machine needs 1"},
	} {
		h := newHost("a", 4, "0.35")
		c.change(&h)
		l := List(newInput([]market.Host{h}, p), p)[0]
		if l.In || l.Reason.Code != OfferShape || l.Reason.Text != c.want {
			t.Errorf("%+v, want %q", l.Reason, c.want)
		}
	}
}

// Who takes all GPUs may have all of the rest.
func TestTheLastMachineOfAHostMayHaveAllThatIsLeft(t *testing.T) {
	p := newPolicy("p", 1)
	h := newHost("a", 1, "0.35")
	h.CPU.Free, h.RAM.Free, h.Storage.Free = market.Some(4), market.Some(16), market.Some(100)
	in := newInput([]market.Host{h}, p)
	if !List(in, p)[0].In {
		t.Fatalf("%+v", List(in, p)[0].Reason)
	}
	in.Snapshot.Hosts.Value[0].GPUs[0].Free = 2
	if l := List(in, p)[0]; l.In {
		t.Fatal("a part of a host with all of its vCPUs")
	}
	in.Snapshot.Hosts.Value[0].Limits = map[int]market.Restriction{1: {
		VCPUs: market.Some(market.Bounds{Min: 2, Max: 8}), RAM: market.Some(market.Bounds{Min: 2, Max: 64}), Storage: market.Some(market.Bounds{Min: 20, Max: 500}),
	}}
	if l := List(in, p)[0]; !l.In {
		t.Fatalf("the host's own word allows it, but: %s", l.Reason.Text)
	}
}
