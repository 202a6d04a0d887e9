package baseline

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

const (
	unit = market.Rate(3_600_000_000) // a minute costs a whole number of nano-dollars
	min1 = time.Minute
)

func tapeOf(length time.Duration, spot market.Rate, free ...tape.Series[int]) *tape.Tape {
	t := &tape.Tape{Length: length, OnDemand: 10 * unit, Penalty: 20 * unit, Boot: 3 * min1}
	for i, f := range free {
		t.Pools = append(t.Pools, tape.Pool{Name: fmt.Sprint("pool", i), Free: f, Price: tape.Constant(spot)})
	}
	return t
}

func options(units int) Options { return Options{Units: units, GPUs: 1, Spot: true, OnDemand: true} }

func steps(s ...tape.Step[int]) tape.Series[int] { return s }

// An hour with one pool that goes after 20 minutes and 30 seconds, another that comes
// at 30 minutes and 30 seconds, and one unit wanted: who has what, when.
func TestEveryPolicyByHand(t *testing.T) {
	tp := tapeOf(time.Hour, 3*unit,
		steps(tape.Step[int]{At: 0, Value: 1}, tape.Step[int]{At: 20*min1 + 30*time.Second, Value: 0}),
		steps(tape.Step[int]{At: 0, Value: 0}, tape.Step[int]{At: 30*min1 + 30*time.Second, Value: 1}))
	tp.FirstPrice = true
	first := tape.Span{Pool: 0, GPUs: 1, From: 0, Until: 20*min1 + 30*time.Second, Lost: true}
	second := tape.Span{Pool: 1, GPUs: 1, From: 31 * min1, Until: time.Hour}
	onDemand := func(from, until time.Duration) tape.Span {
		return tape.Span{Pool: tape.OnDemand, GPUs: 1, From: from, Until: until}
	}
	bid := func(s tape.Span) tape.Span { s.Rate = 5 * unit; return s }
	for name, want := range map[string][]tape.Span{
		"on_demand_only":       {onDemand(0, time.Hour)},
		"one_fixed_host":       {first},
		"greedy":               {first, second},
		"greedy_with_fallback": {first, onDemand(21*min1, 34*min1), second},
		// The spare finds no room; on-demand covers the unit until it is ready, and then
		// stays for the spare.
		"spothedge": {first, onDemand(0, time.Hour), second},
		// It could not make up for two more boots in an hour.
		"uniform_progress": {onDemand(0, time.Hour)},
		"fixed_bid":        {bid(first), bid(second)},
	} {
		got := Play(tp, name, options(1))
		if fmt.Sprint(got.Machines) != fmt.Sprint(want) {
			t.Errorf("%s had\n%v, want\n%v", name, got.Machines, want)
		}
		if got.Sum != tp.Score(1, want) || got.Name != name {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// Uniform progress has half an hour to spare in ten. It waits while the work of its
// first machine, but for the minute in which that was lost, is ahead of 95 % of the
// time; then it is on demand, and back on spot when it is ahead of where the even
// progress is two boots later.
func TestUniformProgressWaitsWhileItIsAhead(t *testing.T) {
	tp := tapeOf(10*time.Hour, 3*unit, steps(tape.Step[int]{At: 0, Value: 1}, tape.Step[int]{At: 5 * time.Hour, Value: 0}, tape.Step[int]{At: 6 * time.Hour, Value: 1}))
	want := []tape.Span{
		{Pool: 0, GPUs: 1, From: 0, Until: 5 * time.Hour, Lost: true},
		{Pool: tape.OnDemand, GPUs: 1, From: 312 * min1, Until: 497 * min1},
		{Pool: 0, GPUs: 1, From: 494 * min1, Until: 10 * time.Hour},
	}
	if got := Play(tp, "uniform_progress", options(1)); fmt.Sprint(got.Machines) != fmt.Sprint(want) {
		t.Errorf("had\n%v, want\n%v", got.Machines, want)
	}
}

func TestTheNewestMachineIsLostFirstAtTheMomentItHappens(t *testing.T) {
	tp := tapeOf(20*min1, unit, steps(tape.Step[int]{At: 0, Value: 1}, tape.Step[int]{At: 5 * min1, Value: 2}, tape.Step[int]{At: 10*min1 + time.Second, Value: 1}))
	got := Play(tp, "greedy", options(2))
	lost := tape.Span{Pool: 0, GPUs: 1, From: 5 * min1, Until: 10*min1 + time.Second, Lost: true}
	kept := tape.Span{Pool: 0, GPUs: 1, From: 0, Until: 20 * min1}
	if fmt.Sprint(got.Machines) != fmt.Sprint([]tape.Span{lost, kept}) || got.Sum.Interruptions != 1 {
		t.Errorf("%+v", got)
	}
}

// A pool whose price moves is left at the moment at which it costs more than may be
// paid; who bids a fixed price pays that, whatever the market asks, unless
// it posts its price.
func TestAPriceAboveTheLimitTakesTheMachine(t *testing.T) {
	tp := tapeOf(30*min1, 3*unit, tape.Constant(1))
	tp.Pools[0].Price = append(tp.Pools[0].Price, tape.Step[market.Rate]{At: 10*min1 + 1, Value: 6 * unit}, tape.Step[market.Rate]{At: 20 * min1, Value: 4 * unit})
	span := func(from, until time.Duration, lost bool) tape.Span {
		return tape.Span{Pool: 0, GPUs: 1, From: from, Until: until, Lost: lost}
	}
	o := options(1)
	o.Ceiling = 5 * unit
	want := []tape.Span{span(0, 10*min1+1, true), span(20*min1, 30*min1, false)}
	for _, name := range []string{"greedy", "one_fixed_host", "greedy_with_fallback"} {
		if got := Play(tp, name, o); fmt.Sprint(got.Machines) != fmt.Sprint(want) { // on-demand is above the ceiling
			t.Errorf("%s: %v", name, got.Machines)
		}
	}
	posted := Play(tp, "fixed_bid", options(1))
	tp.FirstPrice = true
	got := Play(tp, "fixed_bid", options(1))
	if posted.Sum.Overpay != 0 || posted.Sum.Cost >= got.Sum.Cost || posted.Sum.Delivered != got.Sum.Delivered {
		t.Errorf("where a price is posted, %+v; where bids are paid, %+v", posted.Sum, got.Sum)
	}
	if paid := (5 * unit).For(10*min1+1) + (5 * unit).For(10*min1); got.Sum.Cost != paid || got.Sum.Overpay < 0.4 {
		t.Errorf("the fixed bid paid %s, want %s: %+v", got.Sum.Cost, paid, got)
	}
}

// The greedy leave a pool for one that is more than a tenth cheaper; who sticks to a
// pool does not.
func TestTheGreedyMoveToWhatIsATenthCheaper(t *testing.T) {
	tp := tapeOf(30*min1, 10*unit/2, tape.Constant(1), steps(tape.Step[int]{At: 0, Value: 0}, tape.Step[int]{At: 10*min1 - 1, Value: 1}))
	tp.Pools[1].Price = tape.Series[market.Rate]{{At: 0, Value: 45 * unit / 10}, {At: 20 * min1, Value: 45*unit/10 - 1}}
	stay := []tape.Span{{Pool: 0, GPUs: 1, From: 0, Until: 30 * min1}}
	move := []tape.Span{{Pool: 0, GPUs: 1, From: 0, Until: 20 * min1}, {Pool: 1, GPUs: 1, From: 20 * min1, Until: 30 * min1}}
	for name, want := range map[string][]tape.Span{"greedy": move, "greedy_with_fallback": move, "one_fixed_host": stay} {
		if got := Play(tp, name, options(1)).Machines; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestNothingIsBoughtThatIsNotAllowed(t *testing.T) {
	tp := tapeOf(time.Hour, 3*unit, tape.Constant(4))
	for _, name := range Names() {
		o := options(2)
		o.Spot = false
		for _, s := range Play(tp, name, o).Machines {
			if s.Pool != tape.OnDemand {
				t.Errorf("%s bought spot: %+v", name, s)
			}
		}
		o.Spot, o.OnDemand = true, false
		for _, s := range Play(tp, name, o).Machines {
			if s.Pool == tape.OnDemand {
				t.Errorf("%s bought on-demand: %+v", name, s)
			}
		}
	}
}

// SpotHedge puts its units and a spare into different pools, and leaves the one that
// took a machine alone as long as two others are left.
func TestSpotHedgeSpreadsAndAvoidsWhatTookAMachine(t *testing.T) {
	tp := tapeOf(30*min1, 3*unit, steps(tape.Step[int]{At: 0, Value: 4}, tape.Step[int]{At: 10 * min1, Value: 0}, tape.Step[int]{At: 11 * min1, Value: 4}),
		tape.Constant(4), tape.Constant(4))
	var at [3]int
	for _, s := range Play(tp, "spothedge", options(2)).Machines {
		if s.Pool >= 0 {
			at[s.Pool]++
		}
	}
	if at != [3]int{1, 2, 1} {
		t.Errorf("machines by pool: %v", at)
	}
}

// Whatever is played, no pool holds more than it has, and at no more than the ceiling.
func TestNoPolicyHoldsMoreThanThereIs(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		tp := RandomTape(r, 3, 2*time.Hour)
		o := options(1 + r.IntN(4))
		o.GPUs, o.Ceiling = 1+r.IntN(2), unit*market.Rate(6+r.IntN(6))
		for _, played := range All(tp, o) {
			for at := time.Duration(0); at < tp.Length; at += 7 * time.Second {
				for p := range tp.Pools {
					held := 0
					for _, s := range played.Machines {
						if s.Pool == p && s.From <= at && at < s.Until {
							held += s.GPUs
						}
					}
					if free, price := tp.Pools[p].Free.At(at), tp.Pools[p].Price.At(at); held > free || held > 0 && price > o.Ceiling {
						t.Fatalf("%s holds %d of %s at %s: it has %d at %s", played.Name, held, tp.Pools[p].Name, at, free, price)
					}
				}
			}
		}
	}
}
