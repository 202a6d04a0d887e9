package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// A price that has risen above a bid of ours mostly rose on that host alone. So an
// outbid machine is raised only where no other host is known to be cheaper, once the
// price of its raise is known:
//
//	the policy names its bids, protects the machine, or may buy nothing now   raise
//	a bid elsewhere has won in this cycle, and is cheaper by more than the
//	  longer absence and its disk are worth                                   delete it: to be replaced
//	one elsewhere may turn out to be                                          ask
//	otherwise, or no question is left                                         raise

// leave says whether a machine that the given bid would win back is given up, or
// whether the market has to be asked first.
func (w *world) leave(d *desk, m *Machine, l *lane, bid market.Rate) bool {
	if l.named || w.tied(d, m) {
		return false
	}
	storage := m.Storage.Or(0)
	raised := bid.Add(storage)
	raised = raised.Add(w.rework(m.Host, m.Model, raised, storage, l.onDemand.Add(storage)))
	known, open := w.elsewhere(d, m)
	switch {
	case known != nil && w.cheaper(known, raised):
		d.busy = w.remove(m, Reason{ReasonOutbidLeft, fmt.Sprintf("outbid; %s would win it back, and %s has just won elsewhere: to be replaced", bid, known.won)}) || d.busy
		return w.going[m.Name]
	case open != nil && w.probes > 0 && w.cheaper(open, raised):
		w.raising[m.Host], w.rescued[m.Name] = true, true
		w.ask(d, market.Question{Host: open.host.ID, Model: open.gpu.Model, Shape: d.p.Shape, Bid: open.bid})
		w.hold(d, m, HoldAsking, "outbid; %s would win it back, asking whether %s does elsewhere", bid, open.bid)
		return true
	}
	return false
}

// tied says whether an outbid machine is to be won back at any price that is allowed:
// it is protected, or nothing could be bought in its place now.
func (w *world) tied(d *desk, m *Machine) bool {
	gap, doubted := w.in.History.Gap.Get()
	return slices.Contains(d.p.Protected, m.Name) || w.in.Now.Sub(m.OrderedAt) < d.p.MinLifetime || d.gpus(m) != d.p.Shape.GPUs ||
		!w.in.Snapshot.Hosts.Complete || w.cools(d).Known() || doubted && gap.Holds(w.in.Safety, w.in.Now)
}

// setUp is the percentage of its price that a machine which is set up already may cost
// more than another: its disk is worth that, and a price found by bisection is no exact one.
const setUp = 10

// cheaper says whether a machine elsewhere costs less than one that is raised, by more
// than it costs that it comes later, and than what is on the old one's disk is worth.
func (w *world) cheaper(c *candidate, raised market.Rate) bool {
	_, held := w.marginOn(c.host.ID, c.gpu.Model, c.bid, w.lossOf(c.host.ID, c.gpu.Model, c.onDemand, c.bid))
	later := c.onDemand.Mul(missingFactor).For(w.in.Interval + apiTakes)
	return c.weighted.Add(market.Rate(mulDiv(int64(later), int64(time.Hour), int64(held)))) < raised.Scale(100-setUp, 100)
}

// elsewhere is the cheapest offer of the policy at which a bid has won in this cycle,
// beyond what those machines will take that are to be replaced already; and the one that
// may turn out cheapest of those of which that is not known. Either is nil if there is none.
func (w *world) elsewhere(d *desk, m *Machine) (known, open *candidate) {
	funnel, buying := d.st.Funnel, d.buying
	d.buying = market.Spot
	cands := w.candidates(d, nil)
	d.st.Funnel, d.buying = funnel, buying
	var had []*candidate
	for i := range cands {
		c := &cands[i]
		b := w.brackets[bracketKey{c.host.ID, c.gpu.Model, d.p.Shape}]
		switch {
		case c.host.ID == m.Host || c.crowded:
		case b.fresh && b.hi != 0 && b.hi <= c.top: // what was won before may have risen everywhere
			c.buyAt(b.made(w.lane(d.p, c, b)))
			had = append(had, c)
		case open == nil || c.before(open) < 0:
			open = c
		}
	}
	slices.SortFunc(had, (*candidate).before)
	ahead := w.ahead(d)
	for _, c := range had {
		if ahead -= c.slots; ahead < 0 {
			return c, open
		}
	}
	return nil, open
}

// ahead is how many machines of the policy are to be bought before another one is
// replaced.
func (w *world) ahead(d *desk) int {
	n := max(d.need, 0) / d.p.Shape.GPUs
	for _, m := range d.machines {
		if !d.covers(m) && (m.Leaving != nil || m.Phase == PhaseDeleting || w.going[m.Name]) {
			n++
		}
	}
	return n
}
