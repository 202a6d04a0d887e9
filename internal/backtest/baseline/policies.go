package baseline

import (
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

// onDemandOnly has all units on demand, from the first cycle to the last.
type onDemandOnly struct{}

func (onDemandOnly) decide(g *game) { g.keepOnDemand(g.Units, g.Units) }

// oneFixedHost goes to the cheapest pool that has room when it first looks, and never
// to another.
type oneFixedHost struct{ pool int }

func (p *oneFixedHost) decide(g *game) {
	if p.pool == nowhere {
		p.pool = g.cheapest(0)
	}
	for all, _ := g.spot(); p.pool != nowhere && all < g.Units && g.open(p.pool, 0); all++ {
		g.order(p.pool)
	}
}

// greedy has spot where it is cheapest: it orders there what is missing, and moves a
// ready machine to where a GPU costs a tenth less, at the price of a boot.
type greedy struct{}

func (greedy) decide(g *game) {
	for i := len(g.running) - 1; i >= 0; i-- {
		m := g.running[i]
		if p := g.cheapest(0); m.Pool >= 0 && p != nowhere && g.ready(m) && g.priceIn(p) < g.priceIn(m.Pool).Scale(100-moves, 100) {
			g.end(i, g.now, false)
			g.order(p)
		}
	}
	for all, _ := g.spot(); all < g.Units; all++ {
		p := g.cheapest(0)
		if p == nowhere {
			return
		}
		g.order(p)
	}
}

// greedyWithFallback is greedy, with on-demand for what no spot machine is there or on
// its way for, until it is ready.
type greedyWithFallback struct{}

func (greedyWithFallback) decide(g *game) {
	greedy{}.decide(g)
	all, ready := g.spot()
	g.keepOnDemand(g.Units-all, g.Units-ready)
}

// fixedBid orders what is missing where spot is cheapest, with one bid for everything,
// which is what it pays where the market takes bids at their word.
type fixedBid struct{}

func (fixedBid) decide(g *game) {
	bid := g.tape.OnDemand.Scale(bidShare, 100)
	if !g.below(bid) {
		bid = g.Ceiling
	}
	var paid market.Rate
	if g.tape.FirstPrice {
		paid = bid
	}
	for all, _ := g.spot(); all < g.Units; all++ {
		p := g.cheapest(bid)
		if p == nowhere {
			return
		}
		g.add(machine{Span: tape.Span{Pool: p, Rate: paid}, most: bid})
	}
}

// spotHedge is SkyServe's. Spot machines, a spare among them, are spread over the
// pools that are not known to take them back: a pool is active until it takes a
// machine or refuses one, and again when it gives one; once fewer than two are left,
// all are. On-demand covers whatever is not ready of the units and the spare, but
// never more than the units.
type spotHedge struct{ avoided []int }

func (p *spotHedge) decide(g *game) {
	for _, pool := range g.lost {
		p.avoid(g, pool)
	}
	for _, m := range g.running {
		if m.Pool != tape.OnDemand && g.ready(m) {
			p.trust(m.Pool)
		}
	}
	for all, _ := g.spot(); all < g.Units+spares && p.launch(g); all++ {
	}
	_, ready := g.spot()
	covered := min(g.Units, g.Units+spares-ready)
	g.keepOnDemand(covered, covered)
}

func (p *spotHedge) avoid(g *game, pool int) {
	if !slices.Contains(p.avoided, pool) {
		p.avoided = append(p.avoided, pool)
	}
	if len(g.tape.Pools)-len(p.avoided) < min(2, len(g.tape.Pools)) {
		p.avoided = nil
	}
}

func (p *spotHedge) trust(pool int) {
	p.avoided = slices.DeleteFunc(p.avoided, func(other int) bool { return other == pool })
}

// launch orders one machine in the active pool that holds the fewest of ours, the
// cheapest among those; it tries every pool at most once.
func (p *spotHedge) launch(g *game) bool {
	tried := make([]bool, len(g.tape.Pools))
	for {
		best := nowhere
		for i := range g.tape.Pools {
			if !tried[i] && !slices.Contains(p.avoided, i) && (best == nowhere || p.better(g, i, best)) {
				best = i
			}
		}
		switch {
		case best == nowhere:
			return false
		case g.open(best, 0):
			g.order(best)
			return true
		}
		tried[best] = true
		p.avoid(g, best)
	}
}

func (p *spotHedge) better(g *game, a, b int) bool {
	if g.held[a] != g.held[b] {
		return g.held[a] < g.held[b]
	}
	return g.priceIn(a) < g.priceIn(b)
}

// uniformProgress is the deadline rule of "Can't Be Late", for every unit by itself:
// each is a job of workShare of the tape, or of its part of the wanted work, that is due
// at the end. It takes spot where
// there is any, waits for it while it is ahead of even progress, and takes on-demand
// once it is behind; from there it goes back to spot only when it will still be ahead
// two boots later. When on-demand can just make it to the deadline, it waits for
// nothing else.
type uniformProgress struct {
	unit []machineOf
	last time.Duration // the look before
}

// machineOf is what a unit has: ids of running machines, or -1, and what it has worked.
type machineOf struct {
	begun          bool
	spot, onDemand int
	worked         time.Duration
}

func (p *uniformProgress) decide(g *game) {
	for i := range p.unit {
		u := &p.unit[i]
		if !u.begun {
			*u = machineOf{begun: true, spot: -1, onDemand: -1}
		}
		u.look(g, p.last)
		u.decide(g)
	}
	p.last = g.now
}

// look forgets what was lost, and counts what was worked since the look before: what
// the lost machine did in between was not saved.
func (u *machineOf) look(g *game, last time.Duration) {
	spot, onDemand := g.find(u.spot), g.find(u.onDemand)
	if spot < 0 {
		u.spot = -1
	}
	var since time.Duration
	for _, i := range []int{spot, onDemand} {
		if i >= 0 {
			since = max(since, g.now-max(last, g.running[i].From+g.tape.Boot))
		}
	}
	u.worked += since
	if spot >= 0 && onDemand >= 0 && g.ready(g.running[spot]) {
		g.end(onDemand, g.now, false)
		u.onDemand = -1
	}
}

func (u *machineOf) decide(g *game) {
	work, boot := g.share(g.tape.Length), g.tape.Boot
	due := u.worked < work && work-u.worked+2*boot >= g.tape.Length-g.now
	ahead := u.onDemand < 0 || u.worked >= g.share(g.now+2*boot)
	pool := g.cheapest(0)
	switch {
	case u.spot >= 0:
	case pool != nowhere && ahead && !due:
		u.spot = g.order(pool)
	case u.onDemand < 0 && (due || u.worked < g.share(g.now)):
		u.onDemand = g.order(tape.OnDemand)
	}
}

// share is how much a unit should have worked by a moment.
func (g *game) share(d time.Duration) time.Duration {
	if g.Work > 0 {
		of := g.Work.Seconds() / (float64(g.Units*g.GPUs) * g.tape.Length.Seconds())
		return time.Duration(min(of, 1) * float64(d))
	}
	return d * workShare / 100
}

// find is where among the running a machine is, or -1.
func (g *game) find(id int) int {
	return slices.IndexFunc(g.running, func(m machine) bool { return m.id == id })
}
