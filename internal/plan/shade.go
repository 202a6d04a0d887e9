package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

const (
	// cutEvery is the least time between two cuts of one bid.
	cutEvery = 10 * time.Minute
	// cutProof is for how long, at least, a lower bid must be known to win before it is
	// relied upon.
	cutProof = 5 * time.Minute
	// cutRetry is for how long a lower bid that was refused is not asked about again; a
	// higher one, still below ours, may be.
	cutRetry = time.Hour
	// askRetry is the same for what was asked about a machine of ours itself: that takes a
	// write.
	askRetry = 3 * time.Hour
	// cutIgnored is for how long a machine's bid is left alone after a cut that the
	// market accepted and never showed.
	cutIgnored = 6 * time.Hour
	// cutLooks is how many looks in a row must show a lower bid: one list may be an old
	// one, from before the bid was raised.
	cutLooks = 2
	// watchTakes is the pace of questions about machines that run: with more of them,
	// each is asked about less often.
	watchTakes = 2 * time.Second
)

// shadeAll lowers the bids of a policy's running machines that the market has fallen
// away from.
func (w *world) shadeAll(d *desk) {
	for _, m := range d.kept {
		if w.mayShade(d, m) {
			w.shade(d, m)
		}
	}
}

// mayShade says whether the bid of a machine can be lowered at all: by policy, and by
// what is known of the market and of the machine. Others of ours on its host do not
// matter: a lower bid of one that stays takes the same from all that hold
// GPUs together with it, so they stay too; and one that would not stay is refused. But
// where one of them is outbid, that one is to be raised, and a lower bid of this one
// would bound the raise.
func (w *world) mayShade(d *desk, m *Machine) bool {
	applies, known := w.in.History.RebidApplies.Get()
	now := w.in.Now
	switch {
	case d.p.Bidding.MaxStep <= 0 || known && !applies.Holds || w.pausedBy(d.p.Name) != nil || w.in.History.OpenBreaker(now) != nil:
	case !m.Ready() || m.Adopted || m.Capacity != market.Spot || m.API == market.V2 || m.Renamed != "" || m.ID == "" || w.going[m.Name] || m.Leaving != nil || m.Drain != nil:
	case m.Rebid != nil || m.RebidIgnored || now.Before(m.NoCutBefore) || now.Sub(m.StatusAt) < cutEvery || !m.SeenAt.Equal(now):
	case !m.Bid.Known() || !m.Storage.Known() || m.sureBid() != m.Bid || !w.offered(m) || !w.onDemand(m).Known():
	default:
		return !w.raising[m.Host] && !slices.ContainsFunc(w.machines, func(o *Machine) bool {
			return o.Host == m.Host && (o.Rebid != nil || o.Status == market.StatusOutbid)
		})
	}
	return false
}

// offered says whether the machine's host takes bids: what one that does not says of them
// means nothing.
func (w *world) offered(m *Machine) bool {
	return slices.ContainsFunc(w.in.Snapshot.Hosts.Value, func(h market.Host) bool {
		return h.ID == m.Host && h.Online && h.Listed && !h.Reserved
	})
}

// shade lowers a bid towards the lowest that wins and its margin.
//
//	the lowest bid that may win, and its margin,
//	  are within a cent or 2 % of ours          -> nothing to gain: nothing is asked
//	it is not known whether a lower one wins      -> ask, at most every five minutes
//	it was refused within the hour                -> ask about one between it and ours
//	it won, less than five minutes ago            -> wait, and ask again
//	it won then, and wins now                     -> a lower bid, by at most max_step
//
// What validation says of a host where we run is said of a newcomer beside our machine: where
// that would win below our bid, ours would not be the one to fall. Nothing follows where it would not.
func (w *world) shade(d *desk, m *Machine) {
	k := bracketKey{m.Host, m.Model, m.Shape}
	known := w.remembered(k)
	c, b := w.newCut(d, m, known), w.brackets[k]
	if c.since.IsZero() && w.shadeOwn(d, m, known) || c.to == 0 {
		return
	}
	switch {
	case b.fresh && b.hi <= c.wins && !c.since.IsZero() && w.in.Now.Sub(c.since) >= cutProof:
		w.lower(d, m, c)
	case !w.calm || b.fresh || b.silent || b.lo >= c.wins || w.in.Now.Before(c.askAfter) || w.probes <= 0:
	default:
		w.watch(market.Question{Host: m.Host, Model: m.Model, Shape: m.Shape, Bid: c.wins})
	}
}

// Lower is what the market said when it was asked about lower bids for a machine.
type Lower struct {
	Won    market.Rate `json:"won_usd_hour,omitempty"`
	WonAt  time.Time   `json:"won_at,omitzero"`
	Lost   market.Rate `json:"lost_usd_hour,omitempty"`
	LostAt time.Time   `json:"lost_at,omitzero"`
}

// shadeOwn goes on where a newcomer would not win below our bid, which says nothing of
// ours: the market is asked about this very machine. That is a write, for it may apply the bid, so it is
// done only where looks have shown that it does not. True if it was decided here.
func (w *world) shadeOwn(d *desk, m *Machine, k *Bracket) bool {
	c := w.ownCut(d, m)
	if c.to == 0 || k.Lo == 0 || w.in.Now.Sub(k.LoAt) >= cutRetry || w.proving {
		return false
	}
	applies, known := w.in.History.AskApplies.Get()
	switch {
	case !known || !w.in.History.RebidApplies.Known():
		w.prove(d, m, m.Storage.Or(0))
	case applies.Holds:
		return false
	case !c.since.IsZero():
		w.lower(d, m, c)
	case slices.ContainsFunc(w.machines, func(o *Machine) bool { return o.Rebid != nil && o.Rebid.AskOnly }):
		return true // one at a time: it takes a write
	default:
		w.proving = true
		w.lower(d, m, c)
		a := &w.plan.Actions[len(w.plan.Actions)-1]
		a.AskOnly, a.Bid, a.Rate = true, c.wins, c.wins.Add(a.Storage)
		a.Reason.Text = fmt.Sprintf("bids %s; asking whether %s would do", m.Bid.Or(0), c.wins)
	}
	return true
}

// ownCut is the next lower bid by the market's word about the machine itself.
func (w *world) ownCut(d *desk, m *Machine) cut {
	c := w.limits(d, m)
	now, l := w.in.Now, &m.Lower
	switch {
	case l.Won != 0 && l.Won >= l.Lost && now.Sub(l.WonAt) >= cutProof && now.Sub(l.WonAt) < cutRetry:
		c.wins, c.since = l.Won, l.WonAt
	case l.Lost >= c.wins && now.Sub(l.LostAt) < askRetry:
		c.wins = between(l.Lost, c.worth.Sub(c.lane.margin(c.worth)))
		if c.wins <= l.Lost {
			return cut{}
		}
	}
	return c.made()
}

// cut is a lower bid under consideration.
type cut struct {
	lane     lane
	worth    market.Rate // a bid from here on is left as it is
	lowest   market.Rate // a whole step below ours
	wins     market.Rate // the bid whose winning it rests on
	margin   market.Rate
	to       market.Rate // the bid to make; 0 if there is nothing to gain
	since    time.Time   // since when wins is known to win; zero if it is not
	askAfter time.Time
}

// limits is the cut that a whole step would be, and what it is about.
func (w *world) limits(d *desk, m *Machine) cut {
	bid, onDemand := m.Bid.Or(0), w.onDemand(m).Or(0)
	c := cut{
		lane:   w.raiseLane(d, m, bid, bid),
		worth:  bid.Sub(max(market.Cent, bid.Scale(settleShare, 100))),
		lowest: max(bid.Sub(bid.Scale(int64(d.p.Bidding.MaxStep*1e6), 1e6)).CeilCent(), market.MinBid),
	}
	least := max(onDemand.Scale(lowestFloor, 100).CeilCent(), market.MinBid)
	c.wins = max(c.lowest.Sub(c.lane.margin(c.lowest).CeilCent()).FloorCent(), least)
	return c
}

// made works out the bid that follows from the one that wins.
func (c cut) made() cut {
	c.margin = c.lane.margin(c.wins).CeilCent()
	if to := max(c.wins.Add(c.margin).CeilCent(), c.lowest); to < c.worth {
		c.to = to
	}
	return c
}

// newCut finds the next lower bid that is worth making: what is known to win where that
// is low enough, else what would have to win for a whole step.
func (w *world) newCut(d *desk, m *Machine, k *Bracket) cut {
	c := w.limits(d, m)
	pace := max(cutProof, watchTakes*time.Duration(len(w.machines)))
	c.askAfter = later(k.HiAt, k.LoAt).Add(pace)
	switch recent := w.in.Now.Sub(k.LoAt) < cutRetry; {
	case k.Hi != 0 && k.Hi.Add(c.lane.margin(k.Hi)) < c.worth && w.in.Now.Sub(k.HiAt) <= cutRetry:
		c.wins, c.since, c.askAfter = k.Hi, k.HiSince, k.HiAt.Add(pace)
	case recent && k.Lo >= c.wins:
		c.wins = between(k.Lo, c.worth.Sub(c.lane.margin(c.worth)))
		if c.wins <= k.Lo {
			return cut{}
		}
	}
	return c.made()
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// remembered is the bracket as earlier cycles left it.
func (w *world) remembered(k bracketKey) *Bracket {
	for i := range w.in.History.Brackets {
		if b := &w.in.History.Brackets[i]; b.key() == k {
			return b
		}
	}
	return &Bracket{}
}

// watch asks about a machine that runs: no policy waits for the answer.
func (w *world) watch(q market.Question) {
	if !w.asked[q] {
		w.asked[q] = true
		w.probes--
		w.plan.Questions = append(w.plan.Questions, q)
	}
}

// lower asks for a lower bid. Where nobody knows yet whether the market applies new
// bids at all, that is found out first, with a bid a cent higher: it can do no harm.
func (w *world) lower(d *desk, m *Machine, c cut) {
	storage := m.Storage.Or(0)
	if !w.in.History.RebidApplies.Known() {
		w.prove(d, m, storage)
		return
	}
	d.busy, w.raising[m.Host] = true, true
	w.plan.Actions = append(w.plan.Actions, Action{
		Kind: Rebid, Policy: m.Policy, Machine: m.Name, Instance: m.ID, Host: m.Host, Location: m.Location,
		Model: m.Model, Shape: m.Shape, Capacity: m.Capacity, Bid: c.to, Storage: storage, Rate: c.to.Add(storage), Reserve: m.Reserved,
		Reason: Reason{ReasonPriceFell, fmt.Sprintf("bids %s; for %s, %s", m.Bid.Or(0), w.in.Now.Sub(c.since).Round(time.Second), wonText(c.wins, c.margin))},
	})
}

// prove asks for a cent more, one machine at a time.
func (w *world) prove(d *desk, m *Machine, storage market.Rate) {
	to := m.Bid.Or(0).Add(market.Cent).CeilCent()
	ask := !w.in.History.AskApplies.Known()
	proving := slices.ContainsFunc(w.machines, func(o *Machine) bool { return o.Rebid != nil })
	if proving || w.proving || to > w.raiseLimit(d, m, storage) || to.Add(storage).Sub(m.Reserved) > w.room(d).room {
		return
	}
	w.reserve(d, max(to.Add(storage).Sub(m.Reserved), 0))
	d.busy, w.raising[m.Host], w.proving = true, true, true
	w.plan.Actions = append(w.plan.Actions, Action{
		Kind: Rebid, Policy: m.Policy, Machine: m.Name, Instance: m.ID, Host: m.Host, Location: m.Location,
		Model: m.Model, Shape: m.Shape, Capacity: m.Capacity, Bid: to, Storage: storage, Rate: to.Add(storage), Reserve: to.Add(storage), AskOnly: ask,
		Reason: Reason{ReasonRebidProof, fmt.Sprintf("bids %s, and could bid less: a cent more shows whether the market applies new bids", m.Bid.Or(0))},
	})
}

// beginCut books a lower bid. Nothing comes free before looks have shown it, and beside
// the machine it counts as if it were in force.
func beginCut(m *Machine, a Action, in *Intent) error {
	if bid, ok := m.Bid.Get(); !ok || a.Bid >= bid || m.Capacity != market.Spot {
		return fmt.Errorf("rebid %s: %s is not below the present bid: %w", a.Machine, a.Bid, ErrStale)
	}
	in.Reserved = m.Reserved
	m.Rebid = &PendingRebid{Intent: in.ID, Bid: a.Bid, At: in.At, AskOnly: a.AskOnly}
	m.SureBid = market.Some(min(m.sureBid().Or(0), a.Bid))
	m.NoCutBefore = in.At.Add(cutEvery)
	return nil
}

// cuts says whether the pending bid is a lower one.
func (m *Machine) cuts() bool { return m.Rebid != nil && m.Rebid.Bid < m.Bid.Or(0) }

// judgeCut judges a pending lower bid by what a look shows.
//
//	the lower bid, twice in a row          it is in force
//	only asked about, and not shown        it bids what it did
//	outbid, or not charged in full         not known: the higher bid stays reserved, the lower is what it bids at least
//	for long enough, the bid it had        the market ignores it
func (o *observer) judgeCut(m *Machine, now market.Status, shown market.Rate, known bool) {
	r := m.Rebid
	r.Looks++
	lower := known && now.BillsCompute() && shown <= r.Bid+rebidTolerance && shown >= r.Bid-rebidTolerance
	if r.Shown++; !lower {
		r.Shown = 0
	}
	old := r.Looks >= o.l.Safety.AbsentLooks && o.l.Now.Sub(r.At) >= o.l.Safety.AbsentAge
	switch {
	case r.Shown >= cutLooks:
		m.Rebid, m.Bid, m.SureBid = nil, market.Some(r.Bid), market.Some(r.Bid)
		o.h.RebidApplies = market.Some(Lesson{true, o.l.Now})
		if r.AskOnly {
			o.h.AskApplies = market.Some(Lesson{true, o.l.Now})
		}
		e := o.emit(EventRebidApplied, m, "the market shows the lower bid of %s", r.Bid)
		e.Intent, e.State = r.Intent, IntentConfirmed
	case r.AskOnly && !lower && known && now.BillsCompute():
		m.Rebid = nil
		e := o.emit(EventRebidIgnored, m, "a bid of %s was only asked about: it bids what it did", r.Bid)
		e.Intent, e.State = r.Intent, IntentConfirmed
	case !lower && (old || !now.BillsCompute()):
		m.Rebid, m.NoCutBefore = nil, o.l.Now.Add(cutIgnored)
		e := o.emit(EventRebidIgnored, m, "after %d looks the market does not show the lower bid of %s", r.Looks, r.Bid)
		e.Intent, e.State = r.Intent, IntentFailed
	}
}
