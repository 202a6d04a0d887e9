package optimum

import (
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

// Wish is what is to be bought at every moment of the tape: Units machines of GPUs
// each.
type Wish struct {
	Units, GPUs int
	Limits      Limits
	// Work, if it is not 0, is the GPU-time that is wanted by the end of the tape,
	// whenever it is delivered; Units is then the most at once.
	Work time.Duration
}

// Limits are those of the policy that is compared.
type Limits struct {
	Spot, OnDemand bool
	// Ceiling is the most that a GPU-hour may cost, all-in; 0 is no ceiling.
	Ceiling market.Rate
}

// Optimum is the least J, and one way to get there.
type Optimum struct {
	J        market.Amount
	Machines []tape.Span
}

// Star is J*: the least J of a buyer who knows the whole tape and may replace a
// machine before it is lost.
func Star(t *tape.Tape, w Wish) Optimum {
	return due(t, w, func(t *tape.Tape) Optimum { return starGraph(t, w).solve() })
}

// NoWarning is J_nw: as Star, but a spot machine's replacement is not ordered before
// the machine is lost or given up.
func NoWarning(t *tape.Tape, w Wish) Optimum {
	return due(t, w, func(t *tape.Tape) Optimum { return noWarningGraph(t, w).solve() })
}

func starGraph(t *tape.Tape, w Wish) *graph {
	times := t.Changes()
	for _, at := range times[:len(times):len(times)] {
		times = append(times, at+t.Boot)
	}
	g := newGraph(t, w, append(times, t.Boot))
	for s := range g.states {
		g.enterReady(s)
	}
	return g
}

func noWarningGraph(t *tape.Tape, w Wish) *graph {
	g := newGraph(t, w, t.Changes())
	for s := range g.states {
		g.enterOrdered(s)
	}
	return g
}

// graph is the time-expanded graph. Its nodes are (moment, state), numbered moment x
// states + state, and so is everything that belongs to them.
//
// Invariant: state 0 has nothing, states 1 to len(pools) have a machine of that pool,
// and the last has one on-demand. Arcs lead from a state to itself at the next
// moment, and within a moment between nothing and the others, and from on-demand to
// the pools.
type graph struct {
	tape   *tape.Tape
	wish   Wish
	times  []time.Duration // from 0 to the end
	states int

	room  []int32 // how many may stay until the next moment
	stay  []int64 // what that costs
	enter []int64 // what it costs to come here from having nothing; forbidden if negative
	// handover is what it costs to come to a pool from on-demand, as in J_nw;
	// forbidden if negative. In J* it is the same as by way of nothing.
	handover int64

	staying []int32 // flow to the next moment
	entered []int32 // net flow from having nothing: what leaves for it is negative
	handed  []int32 // flow from on-demand
}

const (
	nothing   = 0
	forbidden = -1
)

func newGraph(t *tape.Tape, w Wish, times []time.Duration) *graph {
	g := &graph{tape: t, wish: w, times: moments(times, t.Length), states: len(t.Pools) + 2, handover: forbidden}
	n := len(g.times) * g.states
	g.room, g.stay, g.enter = make([]int32, n), make([]int64, n), make([]int64, n)
	g.staying, g.entered, g.handed = make([]int32, n), make([]int32, n), make([]int32, n)
	for i := range g.enter {
		g.enter[i] = forbidden
	}
	for s := range g.states {
		g.fill(s)
	}
	return g
}

// moments are the given ones and the tape's two ends, in order, once.
func moments(times []time.Duration, length time.Duration) []time.Duration {
	times = slices.DeleteFunc(append(times, 0, length), func(at time.Duration) bool { return at > length })
	slices.Sort(times)
	return slices.Compact(times)
}

// fill sets the room and the price of a state at every moment.
func (g *graph) fill(s int) {
	free, price := tape.Constant(g.wish.Units*g.wish.GPUs), tape.Constant(g.tape.Penalty)
	allowed := true
	switch {
	case s == g.onDemand():
		price = tape.Constant(g.tape.OnDemand)
		allowed = g.wish.Limits.OnDemand && g.tape.OnDemand > 0
	case s != nothing:
		free, price = g.tape.Pools[s-1].Free, g.tape.Pools[s-1].Price
		allowed = g.wish.Limits.Spot
	}
	f, p := 0, 0
	for i, at := range g.times[:len(g.times)-1] {
		f, p = advance(free, f, at), advance(price, p, at)
		v, n := price[p].Value, i*g.states+s
		g.stay[n] = int64(v.Mul(g.wish.GPUs).For(g.times[i+1] - at))
		if s == nothing || allowed && !g.tooDear(v) {
			g.room[n] = int32(min(free[f].Value/g.wish.GPUs, g.wish.Units))
		}
	}
}

func (g *graph) tooDear(price market.Rate) bool {
	return g.wish.Limits.Ceiling > 0 && price > g.wish.Limits.Ceiling
}

func (g *graph) onDemand() int { return g.states - 1 }

// advance moves on to the step that holds at a moment, which is not before that of
// the step that it comes from.
func advance[T comparable](s tape.Series[T], i int, at time.Duration) int {
	for i+1 < len(s) && s[i+1].At <= at {
		i++
	}
	return i
}

// enterReady lets units come to a state when a machine is ready that has been there
// to be had for all of its boot, for the price of that boot.
func (g *graph) enterReady(s int) {
	if s == nothing {
		return
	}
	since := time.Duration(0)
	for i, at := range g.times {
		n := i*g.states + s
		if g.room[n] == 0 {
			since = g.times[min(i+1, len(g.times)-1)]
			continue
		}
		if at-since >= g.tape.Boot {
			g.enter[n] = int64(g.price(s, at-g.tape.Boot, at))
		}
	}
}

// enterOrdered lets units come to a state when a machine is ordered that will be there
// to be had for all of its boot: what is not delivered meanwhile is what it costs
// beyond the machine. Coming from on-demand, that is held until the other is ready.
func (g *graph) enterOrdered(s int) {
	if s == nothing {
		return
	}
	g.handover = int64(g.tape.OnDemand.Mul(g.wish.GPUs).For(g.tape.Boot))
	gap := int64(g.tape.Penalty.Mul(g.wish.GPUs).For(g.tape.Boot))
	until := time.Duration(0) // where the room ends
	for i := len(g.times) - 1; i >= 0; i-- {
		n := i*g.states + s
		switch {
		case g.room[n] == 0:
			until = g.times[i]
		case until-g.times[i] >= g.tape.Boot:
			g.enter[n] = gap
		}
	}
}

// price is what one machine of a state costs between two moments.
func (g *graph) price(s int, from, until time.Duration) market.Amount {
	if s == g.onDemand() {
		return g.tape.OnDemand.Mul(g.wish.GPUs).For(until - from)
	}
	return g.tape.Pools[s-1].Cost(g.wish.GPUs, from, until)
}

// solve sends all units through the graph at the least cost.
func (g *graph) solve() Optimum {
	f := newFlow(g)
	var out Optimum
	for left := int32(g.wish.Units); left > 0; {
		sent, each := f.send(left)
		left -= sent
		out.J = out.J.Add(market.Amount(int64(sent) * each))
	}
	out.Machines = g.machines()
	return out
}
