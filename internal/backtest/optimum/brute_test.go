package optimum

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
)

// The optimum against a search that tries everything, minute by minute, with machines
// that boot, are lost and are paid for one by one, and no graph.

func TestNoSearchFindsLessThanTheOptimumOfOneUnitNorMissesIt(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	for seed := range 150 {
		tp := randomTape(r, 2, 14, 1)
		if want, got := bruteStar(tp, 1, true), int64(Star(tp, wish(1)).J); got != want {
			t.Fatalf("seed %d: J* %d, a search finds %d", seed, got, want)
		}
		if want, got := bruteNoWarning(tp, 1), int64(NoWarning(tp, wish(1)).J); got != want {
			t.Fatalf("seed %d: J_nw %d, a search finds %d", seed, got, want)
		}
	}
}

func TestTwoUnitsAgainstASearch(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	below := 0
	for seed := range 10 {
		tp := randomTape(r, 2, 7, 2)
		tp.Boot = min(tp.Boot, 2*time.Minute)
		got := int64(Star(tp, wish(2)).J)
		if want := bruteStar(tp, 2, false); got != want {
			t.Fatalf("seed %d: J* %d, a search in which boots use no room finds %d", seed, got, want)
		}
		if real := bruteStar(tp, 2, true); got > real {
			t.Fatalf("seed %d: J* %d is no lower bound: a search finds %d", seed, got, real)
		} else if got < real {
			below++
		}
		if want, got := bruteNoWarning(tp, 2), int64(NoWarning(tp, wish(2)).J); got != want {
			t.Fatalf("seed %d: J_nw %d, a search finds %d", seed, got, want)
		}
	}
	t.Logf("J* is below what can be done on %d of 10 tapes of two units", below)
}

// kind is a machine: where (the pool, or len(pools) for on-demand) and how many minutes
// of its boot are left.
type kind struct{ where, boot int }

// fleet holds machines, sorted.
type fleet []kind

// key is one byte for each machine: there are few pools, and boots are short.
func (f fleet) key() string {
	b := make([]byte, len(f))
	for i, k := range f {
		b[i] = byte(k.where*8 + k.boot)
	}
	return string(b)
}

func (f fleet) with(k kind) fleet {
	out := append(slices.Clone(f), k)
	slices.SortFunc(out, func(a, b kind) int { return (a.where-b.where)*100 + a.boot - b.boot })
	return out
}

// brute is a search over fleets.
type brute struct {
	tape      *tape.Tape
	units     int
	bootsRoom bool // what boots uses room
	// may is whether a fleet may be held; nil: any of at most twice the units.
	may func(fleet) bool
}

const step = time.Minute

func bruteStar(t *tape.Tape, units int, bootsRoom bool) int64 {
	b := brute{tape: t, units: units, bootsRoom: bootsRoom}
	b.may = func(f fleet) bool { return len(f) <= 2*units }
	return b.least()
}

// least goes through the tape minute by minute with the least cost of every fleet.
func (b *brute) least() int64 {
	type reached struct {
		fleet fleet
		cost  int64
	}
	now := map[string]reached{"": {}}
	for at := time.Duration(0); at < b.tape.Length; at += step {
		next := map[string]reached{}
		for _, from := range now {
			for _, chosen := range b.choices(from.fleet, at) {
				after, cost := b.minute(chosen, at)
				key := after.key()
				if old, seen := next[key]; !seen || from.cost+cost < old.cost {
					next[key] = reached{after, from.cost + cost}
				}
			}
		}
		now = next
	}
	least := int64(math.MaxInt64)
	for _, r := range now {
		least = min(least, r.cost)
	}
	return least
}

// choices are the fleets that can be had from one: any machines given up, any others
// ordered. Losses are choices too: who keeps more than there is room for has none.
func (b *brute) choices(f fleet, at time.Duration) []fleet {
	boot := int(b.tape.Boot / step)
	seen := map[string]fleet{}
	var add func(fleet)
	add = func(f fleet) {
		key := f.key()
		if seen[key] != nil || len(f) > 0 && (!b.may(f) || !b.fits(f, at)) {
			return
		}
		seen[key] = append(fleet{}, f...)
		for where := range len(b.tape.Pools) + 1 {
			add(f.with(kind{where, boot}))
		}
	}
	for kept := range 1 << len(f) {
		var k fleet
		for i := range f {
			if kept>>i&1 == 1 {
				k = append(k, f[i])
			}
		}
		if k == nil {
			k = fleet{}
		}
		add(k)
	}
	out := make([]fleet, 0, len(seen))
	for _, f := range seen {
		out = append(out, f)
	}
	return out
}

func (b *brute) fits(f fleet, at time.Duration) bool {
	for p := range b.tape.Pools {
		n, any := 0, false
		for _, k := range f {
			if k.where == p {
				any = true
				if k.boot == 0 || b.bootsRoom {
					n++
				}
			}
		}
		if free := b.tape.Pools[p].Free.At(at); n > free || any && free == 0 {
			return false
		}
	}
	return true
}

// minute is what a minute costs, and what the fleet is after it.
func (b *brute) minute(f fleet, at time.Duration) (fleet, int64) {
	var out fleet
	var cost int64
	ready := 0
	for _, k := range f {
		if k.where < len(b.tape.Pools) {
			cost += int64(b.tape.Pools[k.where].Price.At(at).For(step))
		} else {
			cost += int64(b.tape.OnDemand.For(step))
		}
		if k.boot == 0 {
			ready++
		}
		out = out.with(kind{k.where, max(k.boot-1, 0)})
	}
	return out, cost + int64(max(b.units-ready, 0))*int64(b.tape.Penalty.For(step))
}

// pair is one unit of the buyer who is not warned: at most one spot machine and one
// on-demand machine; where is -1 for none.
type pair struct{ spot, onDemand kind }

var none = kind{-1, 0}

func bruteNoWarning(t *tape.Tape, units int) int64 {
	b := &brute{tape: t, units: units, bootsRoom: true}
	type state [2]pair
	start := state{{none, none}, {none, none}}
	now := map[state]int64{start: 0}
	for at := time.Duration(0); at < t.Length; at += step {
		next := map[state]int64{}
		for from, sofar := range now {
			second := []pair{{none, none}}
			if units == 2 {
				second = b.pairs(from[1])
			}
			for _, p := range b.pairs(from[0]) {
				for _, q := range second {
					var f fleet
					for _, k := range []kind{p.spot, p.onDemand, q.spot, q.onDemand} {
						if k != none {
							f = append(f, k)
						}
					}
					if !b.fits(f, at) {
						continue
					}
					cost := sofar + b.unitMinute(p, at)
					if units == 2 {
						cost += b.unitMinute(q, at)
					}
					key := state{p.after(), q.after()}
					if old, seen := next[key]; !seen || cost < old {
						next[key] = cost
					}
				}
			}
		}
		now = next
	}
	least := int64(math.MaxInt64)
	for _, c := range now {
		least = min(least, c)
	}
	return least
}

// pairs are what a unit may have next: it keeps or gives up what it has, orders spot if
// it has none, and on-demand only where it has no spot.
func (b *brute) pairs(p pair) []pair {
	boot := int(b.tape.Boot / step)
	od := len(b.tape.Pools)
	spots := []kind{none}
	if p.spot != none {
		spots = append(spots, p.spot)
	}
	for where := range od {
		spots = append(spots, kind{where, boot})
	}
	var out []pair
	for _, s := range spots {
		out = append(out, pair{s, none})
		if p.onDemand != none && (s == none || s.boot > 0) {
			out = append(out, pair{s, p.onDemand})
		}
		if s == none {
			out = append(out, pair{s, kind{od, boot}})
		}
	}
	return out
}

func (b *brute) unitMinute(p pair, at time.Duration) int64 {
	one := brute{tape: b.tape, units: 1}
	var f fleet
	for _, k := range []kind{p.spot, p.onDemand} {
		if k != none {
			f = append(f, k)
		}
	}
	_, cost := one.minute(f, at)
	return cost
}

func (p pair) after() pair {
	p.spot.boot, p.onDemand.boot = max(p.spot.boot-1, 0), max(p.onDemand.boot-1, 0)
	return p
}
