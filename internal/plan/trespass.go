package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// trespass opens a breaker where a machine that carries our mark and owner has
// appeared under our eyes and was never ordered by this ledger: somebody else buys
// under our owner. Two that count each other's machines as their own would buy, and
// worse, delete each other's for ever. So everything stops, deletions too, and only
// a person who has found the other one can let it go on. What a written cap does not
// allow is deleted all the same: nobody has allowed it to be spent.
//
//	first look after a start, or after a reload    adopted: a ledger was lost, or is an old copy
//	made before that look, says the market         adopted: the list had hidden it
//	a name that this ledger gave out               adopted: an order that was given up too early
//	a name that was taken in before                adopted: it was hidden, and is back
//	any other                                      adopted, and the breaker opens
func (o *observer) trespass(inst *market.Instance) {
	old := !inst.Created.IsZero() && inst.Created.Add(time.Second).Before(o.l.Watched) // the market tells whole seconds
	if o.l.Watched.IsZero() || old || !slices.Contains(o.l.Strange, inst.Name) ||
		o.h.breaker(BreakerSecondDaemon) != nil {
		return
	}
	o.events = append(o.events, o.h.open(Breaker{Code: BreakerSecondDaemon, Since: o.l.Now, All: true, Reason: fmt.Sprintf(
		"%s (%s) appeared, carries owner %q and was never ordered by this ledger: another daemon buys under this owner; "+
			"stop it or give it another daemon.owner, then resume", inst.Name, inst.ID, o.l.Owner)}))
}

// standStill is the plan while a breaker stops all writes: nothing is done but what
// an operator has destroyed, whose pause says so, and what a cap demands.
func (w *world) standStill(b *Breaker) Plan {
	for i := range w.desks {
		d := &w.desks[i]
		if p := w.pausedBy(d.p.Name); p != nil && w.in.Snapshot.Instances.Complete {
			w.tend(d)
			continue
		}
		w.count(d)
		w.hold(d, nil, HoldBreaker, "%s", breakerText(b))
	}
	for _, m := range w.machines {
		if p := w.pausedBy(m.Policy); p != nil && p.Teardown && w.in.Snapshot.Instances.Complete {
			w.remove(m, Reason{ReasonDestroy, pauseText(p)})
		}
	}
	for _, c := range w.in.History.allContainers() {
		if p := w.pausedBy(c.Policy); p != nil && p.Teardown && w.deskOf[c.Policy] == nil && w.in.Snapshot.Instances.Complete {
			w.stop(nil, c, Reason{ReasonDestroy, pauseText(p)})
		}
	}
	w.shed(w.in.Snapshot.Instances.Complete)
	return w.finish()
}
