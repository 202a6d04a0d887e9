package optimum

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

// bruteDue tries every fleet in every minute, of one unit, with what was worked.
func bruteDue(t *tape.Tape, work int) int64 {
	b := brute{tape: t, bootsRoom: true, may: func(f fleet) bool { return len(f) <= 2 }}
	type key struct {
		fleet  string
		worked int
	}
	type reached struct {
		fleet fleet
		cost  int64
	}
	now := map[key]reached{{}: {}}
	for at := time.Duration(0); at < t.Length; at += step {
		next := map[key]reached{}
		for k, from := range now {
			for _, chosen := range b.choices(from.fleet, at) {
				after, cost := b.minute(chosen, at)
				ready := 0
				for _, m := range chosen {
					if m.boot == 0 {
						ready = 1
					}
				}
				to := key{after.key(), min(k.worked+ready, work)}
				if old, seen := next[to]; !seen || from.cost+cost < old.cost {
					next[to] = reached{after, from.cost + cost}
				}
			}
		}
		now = next
	}
	least := int64(math.MaxInt64)
	for k, r := range now {
		least = min(least, r.cost+int64(work-k.worked)*int64(t.Penalty.For(step)))
	}
	return least
}

// rounding is by how much a bound may be above what can be done: each arc's cost is
// rounded up to a nano-dollar, and the price of a GPU-hour is whole nano-dollars.
const rounding = 1000

// dueWish wants so many minutes of one GPU by the end.
func dueWish(minutes int) Wish {
	w := wish(1)
	w.Work = time.Duration(minutes) * time.Minute
	return w
}

func TestNobodyDoesTheWorkForLessThanTheBound(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	exact, sum, bounds := 0, 0.0, 0.0
	for seed := range 120 {
		tp := randomTape(r, 2, 12, 1)
		work := 1 + r.IntN(12)
		want, got := bruteDue(tp, work), int64(Star(tp, dueWish(work)).J)
		if got > want+rounding {
			t.Fatalf("seed %d: the bound is %d, a search finds %d", seed, got, want)
		}
		if nw := int64(NoWarning(tp, dueWish(work)).J); nw < got-rounding {
			t.Fatalf("seed %d: who is not warned pays %d, less than %d", seed, nw, got)
		}
		if got >= want-rounding {
			exact++
		}
		sum, bounds = sum+float64(want), bounds+float64(got)
	}
	if bounds < 0.9*sum || exact < 40 {
		t.Errorf("the bound is %.3f of what can be done, and it on %d of 120 tapes: of little use", bounds/sum, exact)
	}
	t.Logf("exact on %d of 120 tapes; %.3f of what can be done", exact, bounds/sum)
}

func TestWorkOfTheWholeTapeIsAConstantTarget(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	for range 50 {
		tp := randomTape(r, 3, 30, 1)
		w := dueWish(int(tp.Length / time.Minute))
		for which, solve := range both() {
			if got, want := solve(tp, w).J, solve(tp, wish(1)).J; got != want {
				t.Fatalf("%s: %s, and with a constant target %s", which, got, want)
			}
		}
	}
}

func TestTheBoundOfWorkByHand(t *testing.T) {
	// An hour at 3 units, half of it wanted: one boot that is paid for, and half an hour.
	tp := tapeOf(time.Hour, 3*unit, tape.Constant(1))
	if got, want := Star(tp, dueWish(30)).J, minutes(33, 3*unit); got > want+rounding || got < minutes(30, 3*unit) {
		t.Errorf("%s, at most %s", got, want)
	}
	// Half of the time it costs five times as much: the cheap half is bought.
	tp.Pools[0].Price = tape.Series[market.Rate]{{At: 0, Value: 10 * unit}, {At: 30 * time.Minute, Value: 2 * unit}}
	if got, want := Star(tp, dueWish(30)).J, minutes(30, 2*unit)+minutes(3, 10*unit); got > want+rounding || got < minutes(30, 2*unit) {
		t.Errorf("%s, at most %s", got, want)
	}
}
