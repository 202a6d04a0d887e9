package plan

import (
	"fmt"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Gap is that the account is charged for more than the list of machines, and what
// we know of beside it, can cost: the list may hide machines, and what is bought on
// top of them would be bought twice. It is no proof, since an account may have what
// no list shows (containers), so it only delays.
//
//	the bill is above what is known     growth is held
//	the bill agrees again               the doubt is gone
//	looks and age of an unknown order   the gap is believed to be something else, as
//	                                    long as it does not widen
//	as many looks, and nobody pays it   a bill that does not show in the balance is none
type Gap struct {
	Since time.Time   `json:"since"`
	Looks int         `json:"looks"` // complete lists since
	Rate  market.Rate `json:"rate_usd_hour"`
	// Start is the balance when it began.
	Start market.Maybe[market.Amount] `json:"start_usd,omitzero"`
	// Unpaid: the balance has fallen by less than a tenth of what the gap alone costs.
	Unpaid bool `json:"unpaid,omitempty"`
	// Counted: what it cost before it was believed is in the books.
	Counted bool `json:"counted,omitempty"`
}

// gapTolerance is by how much a bill may be above the prices in a list: those are
// rounded, each to a tenth of a cent.
const gapTolerance = 2 * market.Cent

// Holds says whether the doubt is still young enough to keep us from buying.
func (g Gap) Holds(s policy.Safety, now time.Time) bool {
	return g.Looks < s.UnknownLooks || !g.Unpaid && now.Sub(g.Since) < s.UnknownAge
}

// weigh compares the bill with a complete list. Where the bill is not known, nothing
// is learnt; what is doubted already waits for no bill.
func (o *observer) weigh() {
	b, now := &o.l.Snapshot.Balance, o.l.Now
	charged, known := b.Value.Hourly.Get()
	known = known && b.Complete
	d, doubted := o.h.Gap.Get()
	gap := charged.Sub(explained(o.h, o.l.Snapshot.Instances.Value))
	switch {
	case !known && !doubted:
		return
	case known && gap <= gapTolerance:
		o.h.Gap = market.Maybe[Gap]{}
		return
	case known && (!doubted || gap > d.Rate.Add(gapTolerance)):
		d = Gap{Since: now, Rate: gap, Start: b.Value.Balance}
	case known:
		d.Rate = min(d.Rate, gap)
	}
	if !o.l.Early {
		d.Looks++
	}
	start, ok1 := d.Start.Get()
	left, ok2 := b.Value.Balance.Get()
	d.Unpaid = b.Complete && ok1 && ok2 && start.Sub(left) < d.Rate.Scale(1, 10).For(now.Sub(d.Since))
	o.h.Gap = market.Some(d)
}

// explained is the most that the account can be charged for what is known: each
// listed machine, ours and others, and each of ours that the list leaves out. A
// price that nobody knows explains everything.
func explained(h *History, list []market.Instance) market.Rate {
	var sum market.Rate
	listed := map[string]market.Rate{}
	for i := range list {
		if list[i].Status != market.StatusTerminated {
			listed[list[i].ID] = priceOf(&list[i])
		}
	}
	for i := range h.Machines {
		m := &h.Machines[i]
		shown := listed[m.ID]
		if shown == market.MaxRate { // the books know it better
			shown = 0
		}
		sum = sum.Add(max(m.Reserved, shown))
		delete(listed, m.ID)
	}
	for i := range h.Containers {
		c := &h.Containers[i]
		var shown market.Rate
		for j := range list {
			if r, ok := listed[list[j].ID]; ok && c.runsOn(&list[j]) {
				shown = shown.Add(r)
				delete(listed, list[j].ID)
			}
		}
		sum = sum.Add(max(c.Reserved, shown))
	}
	for _, r := range listed {
		sum = sum.Add(r)
	}
	return sum
}

// priceOf is what a listed machine may cost now; MaxRate where the list does not say.
func priceOf(i *market.Instance) market.Rate {
	storage, stored := i.Storage.Get()
	compute, computed := i.Compute.Get()
	switch {
	case !i.Status.BillsCompute() && stored:
		return storage
	case i.Total.Known():
		return max(i.Total.Or(0), compute.Add(storage))
	case computed && stored:
		return compute.Add(storage)
	}
	return market.MaxRate
}

// doubted says so while the bill says that the list hides machines; "" if it does not.
func (w *world) doubted() string {
	doubt, ok := w.in.History.Gap.Get()
	if !ok || !doubt.Holds(w.in.Safety, w.in.Now) {
		return ""
	}
	return fmt.Sprintf("the account is charged %s more than all known machines cost: the list may hide some (looked %d times since %s)",
		doubt.Rate, doubt.Looks, doubt.Since.UTC().Format(time.RFC3339))
}
