package optimum

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

// unit is a dollar an hour of which a minute costs a whole number of nano-dollars.
const unit = market.Rate(3_600_000_000)

// tapeOf has pools of a single-GPU machine at `spot`, on-demand at 10 units and a
// boot of 3 minutes.
func tapeOf(length time.Duration, spot market.Rate, free ...tape.Series[int]) *tape.Tape {
	t := &tape.Tape{Length: length, OnDemand: 10 * unit, Penalty: 20 * unit, Boot: 3 * time.Minute}
	for i, f := range free {
		t.Pools = append(t.Pools, tape.Pool{Name: fmt.Sprint("pool", i), Free: f, Price: tape.Constant(spot)})
	}
	return t
}

func wish(units int) Wish {
	return Wish{Units: units, GPUs: 1, Limits: Limits{Spot: true, OnDemand: true}}
}

// minutes is the price of so many minutes at a rate.
func minutes(n int, r market.Rate) market.Amount { return r.For(time.Duration(n) * time.Minute) }

func TestByHand(t *testing.T) {
	hour := tape.Series[int]{{At: 0, Value: 1}}
	lostAtHalf := tape.Series[int]{{At: 0, Value: 1}, {At: 30 * time.Minute, Value: 0}}
	fromTenth := tape.Series[int]{{At: 0, Value: 0}, {At: 10 * time.Minute, Value: 1}}
	never := tape.Constant(0)
	firstBoot := minutes(3, 20*unit)
	for name, c := range map[string]struct {
		tape     *tape.Tape
		star, nw market.Amount
	}{
		"a pool that stays costs one boot that delivers nothing, and its price": {
			tapeOf(time.Hour, 3*unit, hour), firstBoot + minutes(60, 3*unit), firstBoot + minutes(60, 3*unit),
		},
		"a loss with another pool free costs the boot's price, or its gap": {
			tapeOf(time.Hour, 3*unit, lostAtHalf, fromTenth),
			firstBoot + minutes(60, 3*unit) + minutes(3, 3*unit),
			2*firstBoot + minutes(60, 3*unit),
		},
		"without spot on-demand runs from the beginning": {
			tapeOf(time.Hour, 3*unit, never), firstBoot + minutes(60, 10*unit), firstBoot + minutes(60, 10*unit),
		},
		"spot that comes late is ordered as soon as it is there, with on-demand until it is ready": {
			tapeOf(time.Hour, 3*unit, fromTenth),
			firstBoot + minutes(13, 10*unit) + minutes(50, 3*unit),
			firstBoot + minutes(13, 10*unit) + minutes(50, 3*unit),
		},
		"a pool that goes for a minute every ten is not worth its boots to who is not warned, nor to who is": {
			tapeOf(time.Hour, 9*unit, flicker(time.Hour, 9*time.Minute, time.Minute)),
			firstBoot + minutes(60, 10*unit), firstBoot + minutes(60, 10*unit),
		},
		"a cheap pool that flickers is worth an on-demand machine between": {
			tapeOf(20*time.Minute, unit, flicker(20*time.Minute, 9*time.Minute, time.Minute)),
			// Spot, on-demand booted in time and kept until the second boot is through.
			firstBoot + minutes(9, unit) + minutes(3+1+3, 10*unit) + minutes(9, unit) + minutes(1, 20*unit),
			2*firstBoot + minutes(9, unit) + minutes(9, unit) + minutes(2, 20*unit),
		},
	} {
		if got := Star(c.tape, wish(1)).J; got != c.star {
			t.Errorf("%s: J* %s, want %s", name, got, c.star)
		}
		if got := NoWarning(c.tape, wish(1)).J; got != c.nw {
			t.Errorf("%s: J_nw %s, want %s", name, got, c.nw)
		}
	}
}

// flicker is there for `on`, gone for `off`, and so on.
func flicker(length, on, off time.Duration) tape.Series[int] {
	var s tape.Series[int]
	for at := time.Duration(0); at < length; at += on + off {
		s = append(s, tape.Step[int]{At: at, Value: 1}, tape.Step[int]{At: at + on, Value: 0})
	}
	return s
}

func TestLimitsAreKept(t *testing.T) {
	spot := tapeOf(time.Hour, 3*unit, tape.Constant(1))
	spot.Pools[0].Price = append(spot.Pools[0].Price, tape.Step[market.Rate]{At: 30 * time.Minute, Value: 5 * unit})
	boot := minutes(3, 20*unit)
	for name, c := range map[string]struct {
		limits Limits
		want   market.Amount
	}{
		"nothing allowed":              {Limits{}, minutes(60, 20*unit)},
		"a ceiling below every price":  {Limits{true, true, 2 * unit}, minutes(60, 20*unit)},
		"a ceiling between the prices": {Limits{true, true, 4 * unit}, boot + minutes(30, 3*unit) + minutes(30, 20*unit)},
		"a ceiling at the prices":      {Limits{true, false, 5 * unit}, boot + minutes(30, 3*unit) + minutes(30, 5*unit)},
		"on-demand only":               {Limits{false, true, 0}, boot + minutes(60, 10*unit)},
		"on-demand under the ceiling":  {Limits{false, true, 10 * unit}, boot + minutes(60, 10*unit)},
	} {
		for which, solve := range both() {
			if got := solve(spot, Wish{Units: 1, GPUs: 1, Limits: c.limits}).J; got != c.want {
				t.Errorf("%s, %s: %s, want %s", name, which, got, c.want)
			}
		}
	}
}

func both() map[string]func(*tape.Tape, Wish) Optimum {
	return map[string]func(*tape.Tape, Wish) Optimum{"J*": Star, "J_nw": NoWarning}
}

func TestATargetOfFourWithRoomForAllCostsFourTimesOne(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		one := randomTape(r, 3, 40, 1)
		four := *one
		four.Pools = slices.Clone(one.Pools)
		for i := range four.Pools {
			four.Pools[i].Free = scale(one.Pools[i].Free, 8) // two GPUs each
		}
		for name, solve := range both() {
			if got, want := solve(&four, Wish{Units: 4, GPUs: 2, Limits: wish(1).Limits}).J, 8*solve(one, wish(1)).J; got != want {
				t.Errorf("%s: %s for four of two GPUs, want %s", name, got, want)
			}
		}
	}
}

func scale(s tape.Series[int], n int) tape.Series[int] {
	s = slices.Clone(s)
	for i := range s {
		s[i].Value *= n
	}
	return s
}

func TestMoreRoomNeverCostsMore(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 100 {
		less := randomTape(r, 3, 40, 2)
		more := *less
		more.Pools = slices.Clone(less.Pools)
		p := r.IntN(len(more.Pools))
		more.Pools[p].Free = slices.Clone(more.Pools[p].Free)
		for i := range more.Pools[p].Free {
			more.Pools[p].Free[i].Value += r.IntN(2)
		}
		for name, solve := range both() {
			if before, after := solve(less, wish(3)).J, solve(&more, wish(3)).J; after > before {
				t.Errorf("%s rose from %s to %s", name, before, after)
			}
		}
	}
}

// The machines that the flow stands for score exactly what the flow costs: the tape's
// own arithmetic finds nothing forgotten and nothing paid twice.
func TestTheMachinesOfTheOptimumScoreWhatItSays(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for range 200 {
		tp := randomTape(r, 3, 60, 3)
		units := 1 + r.IntN(3)
		star, nw := Star(tp, wish(units)), NoWarning(tp, wish(units))
		if star.J > nw.J {
			t.Errorf("J* %s is above J_nw %s", star.J, nw.J)
		}
		for name, o := range map[string]Optimum{"J*": star, "J_nw": nw} {
			if got := tp.Result(name, tp.Score(units, o.Machines)); got.J != o.J {
				t.Errorf("%s: its machines score %s, it says %s: %+v", name, got.J, o.J, o.Machines)
			}
		}
		for at := time.Duration(0); at < tp.Length; at += 30 * time.Second {
			for p := range tp.Pools {
				if held, free := holding(nw.Machines, p, at), tp.Pools[p].Free.At(at); held > free {
					t.Errorf("J_nw holds %d of %s at %s, which has %d", held, tp.Pools[p].Name, at, free)
				}
			}
		}
	}
}

func holding(spans []tape.Span, pool int, at time.Duration) (n int) {
	for _, s := range spans {
		if s.Pool == pool && s.From <= at && at < s.Until {
			n += s.GPUs
		}
	}
	return n
}

// randomTape changes at whole minutes, so that a search minute by minute finds its
// optimum.
func randomTape(r *rand.Rand, pools, length, most int) *tape.Tape {
	t := &tape.Tape{
		Length: time.Duration(length) * time.Minute, Boot: time.Duration(1+r.IntN(3)) * time.Minute,
		OnDemand: 10 * unit, Penalty: 20 * unit,
	}
	often := 1 + r.IntN(6)
	for i := range pools {
		p := tape.Pool{Name: fmt.Sprint("pool", i), Free: tape.Constant(r.IntN(most + 1)), Price: tape.Constant(unit * market.Rate(1+r.IntN(12)))}
		for at := 1; at < length; at++ {
			if r.IntN(2*often) == 0 {
				p.Free = append(p.Free, tape.Step[int]{At: time.Duration(at) * time.Minute, Value: r.IntN(most + 1)})
			}
			if r.IntN(3*often) == 0 {
				p.Price = append(p.Price, tape.Step[market.Rate]{At: time.Duration(at) * time.Minute, Value: unit * market.Rate(1+r.IntN(12))})
			}
		}
		t.Pools = append(t.Pools, p)
	}
	return t
}
