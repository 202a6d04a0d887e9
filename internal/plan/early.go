package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// A machine whose bid has a margin goes on running while the price rises below that bid. So it can be
// known to be about to be outbid, and raised before it is:
//
//	margin 0, or looks have not shown that asking applies nothing   nothing is asked
//	bid - margin/2 was not asked about for a while                  ask the market about the machine itself
//	it would still win                                              ask again, after a while
//	it would not, and one below our bid never would                 nothing: perhaps none is ever taken
//	it would not any more                                           raise: the bid that wins now, and its margin
//
// A newcomer cannot tell, for it would displace the very machine.
const (
	// watchEvery is the least time between two such questions about one machine.
	watchEvery = time.Minute
	// watchKept is for how long after the next cycle is due an answer is acted on.
	watchKept = time.Minute
)

// Watch is what the market said when it was last asked whether a machine is about to be
// outbid.
type Watch struct {
	At time.Time `json:"at,omitzero"`
	// Won is the last bid, below the machine's own, that would have won; 0 if none since it was
	// raised. A market that takes no lower bid for a machine at all never says so.
	Won market.Rate `json:"won_usd_hour,omitempty"`
	// Lost is the newest answer's bid, if it would not have won; 0 if it would, or once the
	// machine was raised.
	Lost market.Rate `json:"lost_usd_hour,omitempty"`
}

// watchful says whether the market may be asked about a machine, and its bid raised while
// it runs.
func (w *world) watchful(d *desk, m *Machine) bool {
	asks, known := w.in.History.AskApplies.Get()
	bids, proven := w.in.History.RebidApplies.Get()
	return known && !asks.Holds && proven && bids.Holds && w.steady(d, m) &&
		m.NoCutBefore.Sub(w.in.Now) <= cutEvery // else it ignored a bid
}

// watchBid is the bid by which it is told whether a machine is about to be outbid, half
// its margin below its own; 0 where it has no margin.
func (w *world) watchBid(d *desk, m *Machine) (at, margin market.Rate) {
	bid := m.Bid.Or(0)
	l := w.raiseLane(d, m, bid, bid)
	if margin = l.margin(bid); margin <= 0 {
		return 0, 0
	}
	return bid.Sub(max(margin.Scale(1, 2), 1)).FloorCent(), margin
}

// raiseEarly raises a machine that is about to be outbid. It need not be cheaper than one
// elsewhere: it runs.
func (w *world) raiseEarly(d *desk, m *Machine) {
	if m.Watch.Lost == 0 || m.Watch.Won == 0 || w.in.Now.Sub(m.Watch.At) > w.in.Interval+watchKept || !w.watchful(d, m) || w.frees(m.Host) {
		return
	}
	bid, storage := m.Bid.Or(0), m.Storage.Or(0)
	at, margin := w.watchBid(d, m)
	top := min(w.raiseLimit(d, m, storage), m.Reserved.Add(w.room(d).room).Sub(storage).FloorCent())
	to := min(top, bid.Add(margin).CeilCent())
	if at == 0 || m.Watch.Lost < at || to <= bid {
		return
	}
	w.reserve(d, max(to.Add(storage).Sub(m.Reserved), 0))
	d.busy, w.raising[m.Host] = true, true
	a := w.rebid(m, to, storage)
	a.Reserve = a.Rate
	a.Reason = Reason{ReasonAboutToBe, fmt.Sprintf("bids %s, and %s would not win any more: a margin of %s is added, the ceiling allows %s", bid, m.Watch.Lost, to.Sub(bid), top)}
	w.plan.Actions = append(w.plan.Actions, a)
}

func (w *world) rebid(m *Machine, to, storage market.Rate) Action {
	return Action{
		Kind: Rebid, Policy: m.Policy, Machine: m.Name, Instance: m.ID, Host: m.Host, Location: m.Location,
		Model: m.Model, Shape: m.Shape, Capacity: m.Capacity, Bid: to, Storage: storage, Rate: to.Add(storage),
	}
}

// keepWatch asks about the machine that was not asked about for longest: one in a cycle
// in which nothing else is to be done, for it takes a write.
func (w *world) keepWatch() {
	pending := func(m *Machine) bool { return m.Rebid != nil && m.Rebid.AskOnly }
	if !w.calm || w.proving || len(w.plan.Actions) > 0 || w.probes <= 0 || slices.ContainsFunc(w.machines, pending) {
		return
	}
	var next *Machine
	pace := max(watchEvery, watchTakes*time.Duration(len(w.machines)))
	for i := range w.desks {
		d := &w.desks[i]
		for _, m := range d.kept {
			if w.in.Now.Sub(m.Watch.At) < pace || m.Watch.Lost != 0 && w.in.Now.Sub(m.Watch.At) < cutEvery || !w.watchful(d, m) {
				continue
			}
			if at, _ := w.watchBid(d, m); at < market.MinBid {
				continue
			}
			if next == nil || cmp.Or(m.Watch.At.Compare(next.Watch.At), cmp.Compare(m.Name, next.Name)) < 0 {
				next = m
			}
		}
	}
	if next == nil {
		return
	}
	at, _ := w.watchBid(w.deskOf[next.Policy], next)
	a := w.rebid(next, at, next.Storage.Or(0))
	a.AskOnly, a.Reserve, a.Rate = true, next.Reserved, next.Reserved
	a.Reason = Reason{ReasonWatch, fmt.Sprintf("bids %s; asking whether %s would still win", next.Bid.Or(0), at)}
	w.probes--
	w.plan.Actions = append(w.plan.Actions, a)
}
