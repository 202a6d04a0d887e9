package bench

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// ladders are what the GPUs of each usable host cost, one after the other, in the market
// without us: disk included, on the greatest convex curve.
type ladders map[string][]market.Rate

// empty is the same market without us, seen at the same moments.
type empty struct {
	engine *simulator.Engine
	clock  *clock.Virtual
}

func (a *auction) empty(t testing.TB) *empty {
	t.Helper()
	c := clock.NewVirtual(auctionStart)
	e, err := simulator.New(a.options(c))
	if err != nil {
		t.Fatal(err)
	}
	return &empty{e, c}
}

func (m *empty) ladders(at time.Time) ladders {
	m.clock.Set(at)
	out := ladders{}
	for _, h := range m.engine.Hosts() {
		if !usable(h) {
			continue
		}
		disk := h.StorageRate(market.Shape{Storage: 100}).Or(0)
		steps := slopes(func(k int) (market.Rate, bool) { return m.engine.ThresholdFor(h.ID, auctionModel, k) })
		for i := range steps {
			steps[i] = steps[i].Add(disk)
		}
		out[h.ID] = steps
	}
	return out
}

func usable(h market.Host) bool {
	return h.Online && h.Listed && !h.Reserved && len(h.Ports.Or(nil)) > 0
}

// cheapest is what n GPUs cost where they cost least now.
func (l ladders) cheapest(n int) (sum float64, most float64) {
	var all []market.Rate
	for _, steps := range l {
		all = append(all, steps...)
	}
	slices.Sort(all)
	for i := range min(n, len(all)) {
		sum += all[i].Float()
		most = all[i].Float()
	}
	return sum, most
}

// lookEvery is how often prices are looked at for J* and for what follows.
const lookEvery = 10 * time.Minute

// why tells where the money goes: sums over samples of $ an hour for the whole fleet, disks
// included.
type why struct {
	samples    float64
	paid, need float64 // by running machines: what they bid, what each of them needs
	same       float64 // what as many GPUs cost on the same hosts in the market without us
	least      float64 // and where they cost least
	idle       float64 // for machines that boot or are dead
	unmet      float64 // at twice the on-demand price
	running    float64 // GPUs
	overlap    float64 // of them, those among the cheapest of the market without us
}

func (y *why) sample(r *room, m *empty) {
	l := m.ladders(r.clock.Now())
	on := map[string]int{}
	n := 0
	for _, i := range r.engine.Instances() {
		disk := i.Storage.Or(0).Float()
		if i.Status != market.StatusRunning {
			y.idle += disk
			if i.Status.BillsCompute() {
				y.idle += i.Compute.Or(0).Float()
			}
			continue
		}
		need, _ := r.engine.Needs(i.ID)
		y.need += need.Float() + disk
		y.paid += i.Compute.Or(0).Float() + disk
		on[i.Host]++
		n++
	}
	least, most := l.cheapest(n)
	y.least += least
	for host, k := range on {
		same, _ := ladders{host: l[host]}.cheapest(k)
		y.same += same
		for i, price := range l[host] {
			if i < k && price.Float() <= most {
				y.overlap++
			}
		}
	}
	y.running += float64(n)
	y.samples++
}

func (y *why) join(x *why) {
	for _, p := range []struct{ to, from *float64 }{
		{&y.samples, &x.samples},
		{&y.paid, &x.paid},
		{&y.need, &x.need},
		{&y.same, &x.same},
		{&y.least, &x.least},
		{&y.idle, &x.idle},
		{&y.unmet, &x.unmet},
		{&y.running, &x.running},
		{&y.overlap, &x.overlap},
	} {
		*p.to += *p.from
	}
}

func (y *why) String() string {
	n := max(y.samples, 1)
	return fmt.Sprintf("$ an hour: running %.3f (needed %.3f; without us on the same hosts %.3f, on the cheapest %.3f), booting and dead %.3f, missing %.3f; %.0f %% of the machines stand among the cheapest",
		y.paid/n, y.need/n, y.same/n, y.least/n, y.idle/n, y.unmet/n, 100*y.overlap/max(y.running, 1))
}

// knowing is the J of a buyer who knows every price of the moment and none to come. Every
// ten minutes it moves what pays for the other boot within four hours; it pays what wins, is
// outbid where that is more than its ceiling, and then misses a boot.
func knowing(film *tape.Tape, units int, ceiling market.Rate) float64 {
	boot, penalty := film.Boot.Hours(), film.Penalty.Float()
	held := map[int]bool{}
	j := 0.0
	for at := time.Duration(0); at < film.Length; at += lookEvery {
		price := func(i int) float64 { return film.Pools[i].Price.At(at).Float() }
		var open []int
		for i := range film.Pools {
			if film.Pools[i].Free.At(at) > 0 && film.Pools[i].Price.At(at) <= ceiling {
				open = append(open, i)
			} else {
				delete(held, i)
			}
		}
		slices.SortStableFunc(open, func(a, b int) int { return cmp.Compare(price(a), price(b)) })
		missed := 0.0
		for _, i := range open {
			switch dear := dearest(held, price); {
			case held[i]:
			case len(held) < units: // its first boot delivers nothing
				held[i] = true
				missed += boot
			case price(dear)-price(i) > 2*boot*price(i)/4:
				delete(held, dear)
				held[i] = true
				j += boot * price(i)
			}
		}
		for i := range held {
			j += price(i) * lookEvery.Hours()
		}
		j += penalty * (missed + float64(units-len(held))*lookEvery.Hours())
	}
	return j
}

func dearest(held map[int]bool, price func(int) float64) int {
	best := -1
	for i := range held {
		if best < 0 || price(i) > price(best) || price(i) == price(best) && i > best {
			best = i
		}
	}
	return best
}
