package plan

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tdscaler/tdscaler/internal/market"
)

// raiseAll decides over the machines of a policy that lost their auction. While
// there are too many machines, and only a cooldown or the like keeps them, none is
// won back.
func (w *world) raiseAll(d *desk) {
	have := 0
	for _, m := range d.kept {
		if !w.going[m.Name] && !d.covers(m) {
			have += d.gpus(m)
		}
	}
	if have > d.st.Target {
		return
	}
	// The highest bid first: one that wins again by itself meanwhile is then the one that
	// is being raised, and not one that it falls upon.
	order := slices.Clone(d.kept)
	slices.SortStableFunc(order, func(a, b *Machine) int { return cmp.Compare(b.Bid.Or(0), a.Bid.Or(0)) })
	for _, m := range order {
		if m.Phase == PhaseLive && m.Status == market.StatusOutbid && !w.going[m.Name] && m.Drain == nil {
			w.outbid(d, m)
		}
	}
}

// outbid decides over a machine that lost its auction: raise it where a bid under
// the ceiling wins, else delete it, because its disk goes on costing and it may
// win again on its own.
func (w *world) outbid(d *desk, m *Machine) {
	if m.Renamed != "" {
		w.holdRenamed(m)
		return
	}
	if m.Rebid != nil {
		w.raising[m.Host], w.rescued[m.Name] = true, true
		w.hold(d, m, HoldRebid, "a bid of %s was submitted, no look has shown it yet", m.Rebid.Bid)
		return
	}
	if applies, known := w.in.History.RebidApplies.Get(); known && !applies.Holds || m.RebidIgnored || m.API == market.V2 { // v2 knows no bids
		d.busy = w.remove(m, Reason{ReasonRebidIgnored, "outbid, and the market does not apply new bids to it: to be replaced"}) || d.busy
		return
	}
	bid, ok1 := m.Bid.Get()
	storage, ok2 := m.Storage.Get()
	if !ok1 || !ok2 {
		d.busy = w.remove(m, Reason{ReasonOutbidForGood, "outbid, and its price is not known: to be replaced"}) || d.busy
		return
	}
	if b := w.in.History.OpenBreaker(w.in.Now); b != nil {
		w.hold(d, m, HoldBreaker, "outbid; %s", breakerText(b))
		return
	}
	w.raise(d, m, bid, storage)
}

func (w *world) raise(d *desk, m *Machine, bid, storage market.Rate) {
	if w.raising[m.Host] {
		w.hold(d, m, HoldRebid, "outbid at %s; another machine of ours on this host is raised first", bid)
		return
	}
	limit := w.raiseLimit(d, m, storage)
	bound := w.room(d)
	room, why := bound.room, bound.why
	top := min(limit, m.Reserved.Add(room).Sub(storage).FloorCent())
	b := w.brackets[bracketKey{m.Host, m.Model, m.Shape}]
	b.loses(bid) // it is outbid at its own bid: that much is known without asking
	l := w.raiseLane(d, m, bid, top)
	next, ok := b.search(l)
	if ok && !next.settled && b.fresh && w.probes <= 0 {
		next = b.made(l)
	}
	if ok && next.settled {
		next.bid = min(top, next.bid.Add(market.Rate(market.Cent).Mul(w.behind(d, m))))
	}
	switch {
	case ok && next.settled && w.frees(m.Host):
		w.hold(d, m, HoldRebid, "outbid at %s; another machine of ours on this host is being deleted, and what that frees may win it back, or one beside it", bid)
	case ok && next.settled && w.leave(d, m, &l, next.bid):
	case ok && next.settled:
		w.reserve(d, max(next.bid.Add(storage).Sub(m.Reserved), 0))
		d.busy, w.raising[m.Host], w.rescued[m.Name] = true, true, true
		w.plan.Actions = append(w.plan.Actions, Action{
			Kind: Rebid, Policy: m.Policy, Machine: m.Name, Instance: m.ID, Host: m.Host, Location: m.Location,
			Model: m.Model, Shape: m.Shape, Capacity: m.Capacity, Bid: next.bid, Storage: storage, Rate: next.bid.Add(storage),
			Reserve: next.bid.Add(storage),
			Reason:  Reason{ReasonOutbid, fmt.Sprintf("outbid at %s; %s, the ceiling allows %s", bid, wonText(next.won, next.bid.Sub(next.won)), top)},
		})
	case b.silent:
		w.hold(d, m, HoldNoAnswer, "outbid at %s; the market did not answer what would win", bid)
	case !ok && top < limit && b.lo < limit && (w.leaving() || !bound.hourly):
		w.hold(d, m, HoldBudget, "outbid at %s; a higher bid is under the ceiling, but %s", bid, why)
	case !ok && top < limit && b.lo < limit:
		// What it holds of the budget is not enough for it, but may buy another one.
		d.busy = w.remove(m, Reason{ReasonOutbidForGood, fmt.Sprintf("outbid at %s; a higher bid is under the ceiling, but %s: to be replaced", bid, why)}) || d.busy
	case !ok:
		d.busy = w.remove(m, Reason{ReasonOutbidForGood, fmt.Sprintf("outbid at %s, and no bid that we may make wins (up to %s): to be replaced", bid, limit)}) || d.busy
	case w.probes <= 0:
		w.hold(d, m, HoldProbes, "outbid at %s; no questions left in this cycle", bid)
	default:
		w.raising[m.Host], w.rescued[m.Name] = true, true
		w.ask(d, market.Question{Host: m.Host, Model: m.Model, Shape: m.Shape, Bid: next.bid})
		w.hold(d, m, HoldAsking, "outbid at %s; asking whether %s wins", bid, next.bid)
	}
}

// frees says whether a machine of ours is on its way out there: an outbid one may win
// again at that moment, and a raise would fall upon it.
func (w *world) frees(host string) bool {
	return slices.ContainsFunc(w.machines, func(m *Machine) bool {
		return m.Host == host && (w.going[m.Name] || m.Leaving != nil)
	})
}

// leaving says whether money is about to come free.
func (w *world) leaving() bool {
	return len(w.going) > 0 || slices.ContainsFunc(w.machines, func(m *Machine) bool { return m.Leaving != nil })
}

// raiseLimit is the highest bid that may be made for an outbid machine: under the
// ceiling, and below every running bid of ours on the same host; no higher than it
// where its GPUs are free by the list. Of two machines of the same size the lower bid is the one that
// falls out, so such a raise cannot displace the other; with different sizes
// nothing is certain. A bid of ours counts as low as it may be: a raise of it whose
// answer was lost is not relied upon.
func (w *world) raiseLimit(d *desk, m *Machine, storage market.Rate) market.Rate {
	limit := d.p.CeilingOf(market.Spot, d.gpus(m)).Sub(storage).FloorCent()
	for _, o := range w.machines {
		switch {
		case o == m || o.Host != m.Host || o.Host == "" || o.Capacity == market.OnDemand:
		case o.Leaving != nil || w.going[o.Name] || o.Phase == PhaseLive && !o.Status.BillsCompute():
		case w.freeOn(m) >= d.gpus(m):
			// So the list says; a rival may have come since. At the same price it cannot fall
			// upon ours.
			if o.Shape.GPUs == d.gpus(m) {
				limit = min(limit, o.sureBid().Or(limit).FloorCent())
			}
		case o.Shape.GPUs == d.gpus(m):
			limit = min(limit, o.sureBid().Or(0).Sub(market.Cent).FloorCent())
		default:
			limit = 0
		}
	}
	return limit
}

// behind counts the machines of the same size on the same host that are to be raised
// after this one: each of them has to stay a cent below the one before it, so the first
// leaves them room.
func (w *world) behind(d *desk, m *Machine) int {
	n := 0
	for _, o := range d.kept {
		if o != m && o.Host == m.Host && o.Phase == PhaseLive && o.Status == market.StatusOutbid && o.Rebid == nil && !w.going[o.Name] && d.gpus(o) == d.gpus(m) {
			n++
		}
	}
	return n
}

// freeOn is how many GPUs of the machine's model its host is known to have free.
func (w *world) freeOn(m *Machine) int {
	for i := range w.in.Snapshot.Hosts.Value {
		if h := &w.in.Snapshot.Hosts.Value[i]; h.ID == m.Host && w.in.Snapshot.Hosts.Complete {
			g, _ := h.GPU(m.Model)
			return g.Free
		}
	}
	return 0
}
