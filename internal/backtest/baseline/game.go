package baseline

import (
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

// nowhere is no pool.
const nowhere = -2

// machine is one that runs or boots.
type machine struct {
	id int // in the order of orders
	tape.Span
	most market.Rate // lost where the price is above it; 0 is no limit
}

// game is a tape being played.
//
// Invariant: running is in the order of orders; held[p] is the sum of the GPUs of
// those in pool p.
type game struct {
	Options
	tape        *tape.Tape
	now         time.Duration
	free, price []int // the steps that hold now, by pool
	held        []int
	running     []machine
	ended       []tape.Span
	lost        []int         // pools that lost a machine since the last look, in order
	next        int           // id
	counted     time.Duration // up to here
	worked      time.Duration // GPU-time up to the last look, where work is wanted
}

func newGame(t *tape.Tape, o Options) *game {
	n := len(t.Pools)
	return &game{Options: o, tape: t, free: make([]int, n), price: make([]int, n), held: make([]int, n)}
}

// run plays the tape to its end.
func (g *game) run(p policy) {
	changes := g.tape.Changes()
	for ; g.now < g.tape.Length; g.now += g.Cycle {
		for len(changes) > 0 && changes[0] <= g.now {
			g.change(changes[0])
			changes = changes[1:]
		}
		if g.done() {
			for len(g.running) > 0 {
				g.end(0, g.now, false)
			}
			break
		}
		p.decide(g)
		g.lost = g.lost[:0]
	}
	for _, at := range changes {
		g.change(at)
	}
	for len(g.running) > 0 {
		g.end(0, g.tape.Length, false)
	}
}

// done counts what was worked since the look before, and says whether it is all that is
// wanted. What was lost meanwhile counts for nothing.
func (g *game) done() bool {
	if g.Work <= 0 {
		return false
	}
	var since time.Duration
	for _, m := range g.running {
		since += time.Duration(m.GPUs) * max(g.now-max(g.counted, m.From+g.tape.Boot), 0)
	}
	g.worked += min(since, time.Duration(g.Units*g.GPUs)*(g.now-g.counted))
	g.counted = g.now
	return g.worked >= g.Work
}

// change moves all pools to a moment, and takes what they cannot keep.
func (g *game) change(at time.Duration) {
	for p := range g.tape.Pools {
		g.free[p] = advance(g.tape.Pools[p].Free, g.free[p], at)
		g.price[p] = advance(g.tape.Pools[p].Price, g.price[p], at)
		for i := len(g.running) - 1; i >= 0 && g.held[p] > 0; i-- {
			m := g.running[i]
			if m.Pool == p && (g.held[p] > g.roomIn(p) || m.most > 0 && g.priceIn(p) > m.most) {
				g.end(i, at, true)
				g.lost = append(g.lost, p)
			}
		}
	}
}

func advance[T comparable](s tape.Series[T], i int, at time.Duration) int {
	for i+1 < len(s) && s[i+1].At <= at {
		i++
	}
	return i
}

func (g *game) roomIn(p int) int             { return g.tape.Pools[p].Free[g.free[p]].Value }
func (g *game) priceIn(p int) market.Rate    { return g.tape.Pools[p].Price[g.price[p]].Value }
func (g *game) ready(m machine) bool         { return m.From+g.tape.Boot <= g.now }
func (g *game) below(price market.Rate) bool { return g.Ceiling == 0 || price <= g.Ceiling }

// open is whether a pool would take one more machine that pays up to `most`.
func (g *game) open(p int, most market.Rate) bool {
	return g.Spot && g.roomIn(p) >= g.held[p]+g.GPUs && g.below(g.priceIn(p)) && (most == 0 || g.priceIn(p) <= most)
}

// cheapest is the open pool of the lowest price, the first among equals, or nowhere.
func (g *game) cheapest(most market.Rate) int {
	best := nowhere
	for p := range g.tape.Pools {
		if g.open(p, most) && (best == nowhere || g.priceIn(p) < g.priceIn(best)) {
			best = p
		}
	}
	return best
}

// order orders a machine of a pool at the market's price, or on-demand, and returns
// its id. On-demand is not to be had where it is not allowed: the id is -1.
func (g *game) order(pool int) int {
	if pool == tape.OnDemand && !(g.OnDemand && g.tape.OnDemand > 0 && g.below(g.tape.OnDemand)) {
		return -1
	}
	return g.add(machine{Span: tape.Span{Pool: pool}, most: g.Ceiling})
}

func (g *game) add(m machine) int {
	m.id, m.GPUs, m.From, m.Until = g.next, g.GPUs, g.now, g.tape.Length
	g.next++
	g.running = append(g.running, m)
	if m.Pool != tape.OnDemand {
		g.held[m.Pool] += m.GPUs
	}
	return m.id
}

// end ends the life of one of the running machines.
func (g *game) end(i int, at time.Duration, lost bool) {
	m := g.running[i]
	g.running = slices.Delete(g.running, i, i+1)
	if m.Pool != tape.OnDemand {
		g.held[m.Pool] -= m.GPUs
	}
	m.Until, m.Lost = at, lost
	g.ended = append(g.ended, m.Span)
}

// spot and onDemand count machines: all of them, and those that are ready.
func (g *game) spot() (all, ready int) {
	return g.count(func(p int) bool { return p != tape.OnDemand })
}

func (g *game) onDemand() (all, ready int) {
	return g.count(func(p int) bool { return p == tape.OnDemand })
}

func (g *game) count(which func(pool int) bool) (all, ready int) {
	for _, m := range g.running {
		if which(m.Pool) {
			all++
			if g.ready(m) {
				ready++
			}
		}
	}
	return all, ready
}

// shed gives up so many on-demand machines, the newest first: what boots delivers
// nothing yet.
func (g *game) shed(n int) {
	for i := len(g.running) - 1; i >= 0 && n > 0; i-- {
		if g.running[i].Pool == tape.OnDemand {
			g.end(i, g.now, false)
			n--
		}
	}
}

// keepOnDemand holds at least and at most so many on-demand machines.
func (g *game) keepOnDemand(least, most int) {
	all, _ := g.onDemand()
	for ; all < least && g.order(tape.OnDemand) >= 0; all++ {
	}
	g.shed(all - max(most, least))
}
