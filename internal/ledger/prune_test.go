package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// readable counts the reports listed, each of which must be whole.
func readable(t *testing.T, l *Ledger) (n int, oldest uint64) {
	t.Helper()
	must(t, l.Reports(time.Time{}, time.Time{}, 0, func(s ReportSummary) error {
		n, oldest = n+1, s.Cycle
		if n%17 > 0 && s.Cycle != s.Keyframe {
			return nil
		}
		_, err := l.Report(s.Cycle)
		return err
	}))
	must(t, l.Verify())
	return n, oldest
}

func TestRetentionDropsWholeGroupsAndSettledIntents(t *testing.T) {
	o := Options{Path: tempPath(t), NoSync: true, Retention: 3 * time.Hour}
	l := mustOpen(t, o)
	w := newWorld(5, 2, 1)
	must(t, l.Update(func(tx *Tx) error {
		for i := range 400 {
			in := plan.Intent{ID: tx.NextIntent(), At: start.Add(time.Duration(i) * time.Minute), State: plan.IntentConfirmed}
			in.SettledAt = in.At
			if i%100 == 7 {
				in.State, in.SettledAt = plan.IntentUnknown, time.Time{}
			}
			must(t, tx.PutIntent(in))
		}
		tx.History().Machines = []plan.Machine{{Name: "m", DeployIntent: 3, Rebid: &plan.PendingRebid{Intent: 4}, Leaving: &plan.PendingDelete{Intent: 5}}}
		return nil
	}))
	for range 400 {
		must(t, l.PutReport(w.next()))
	}
	if n, oldest := readable(t, l); n < 180 || n > 301 || (oldest-1)%groupLen != 0 {
		t.Errorf("%d reports are kept, the oldest is %d", n, oldest)
	}
	must(t, l.Prune(start.Add(400*time.Minute)))
	ids := map[uint64]bool{}
	for _, in := range must1(l.Intents(Filter{})) {
		ids[in.ID] = true
	}
	for id, want := range map[uint64]bool{1: false, 3: true, 4: true, 5: true, 8: true, 108: true, 100: false, 220: false, 221: true, 400: true} {
		if ids[id] != want {
			t.Errorf("intent %d: kept is %v", id, ids[id])
		}
	}
	must(t, l.Prune(start.Add(1000*time.Hour)))
	if n, oldest := readable(t, l); n != 40 || oldest != 361 {
		t.Errorf("of the newest group %d are left, from %d", n, oldest)
	}
	r := w.next() // the group goes on
	must(t, l.PutReport(r))
	if d := cmp.Diff(asJSON(t, must1(l.Report(401))), asJSON(t, r)); d != "" {
		t.Error(d)
	}
}

func TestTheFileStopsGrowingAtItsMaximum(t *testing.T) {
	const most = 384 << 10
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true, MaxSize: most})
	w := newWorld(40, 4, 2)
	w.churn = 0.3
	for range 500 {
		must(t, l.PutReport(w.next()))
	}
	if s := l.Stats(); s.UsedSize > most*5/4 || s.FileSize > 2*most || s.Reports < 100 {
		t.Errorf("%+v", s)
	}
	must(t, l.Prune(w.now))
	if s := l.Stats(); s.UsedSize > most {
		t.Errorf("%+v", s)
	}
	readable(t, l)
}

func TestOnlyChangesOfAPriceAreKept(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true, Retention: time.Hour})
	at := func(m int) time.Time { return start.Add(time.Duration(m) * time.Minute) }
	p := func(m int, host string, gpus int, bid market.Rate, a market.Answer) plan.Price {
		return plan.Price{At: at(m), Host: host, Model: "l40-pcie-48gb", Shape: market.Shape{GPUs: gpus}, Bid: bid, Answer: a}
	}
	must(t, l.PutPrices([]plan.Price{
		p(0, "a", 1, 5, market.Refused), p(1, "a", 1, 5, market.Refused), p(2, "a", 1, 6, market.Accepted), p(3, "a", 1, 6, market.Accepted),
		p(4, "a", 2, 6, market.Accepted), p(5, "b", 1, 6, market.Accepted), p(6, "a", 1, 5, market.Refused),
	}))
	minutes := func(f PriceFilter) (ms []int) {
		for _, p := range must1(l.Prices(f)) {
			ms = append(ms, int(p.At.Sub(start)/time.Minute))
		}
		return ms
	}
	for name, c := range map[string]struct {
		f    PriceFilter
		want []int
	}{
		"all":   {PriceFilter{}, []int{6, 5, 4, 2, 0}},
		"host":  {PriceFilter{Host: "b"}, []int{5}},
		"gpus":  {PriceFilter{GPUs: 2}, []int{4}},
		"model": {PriceFilter{Model: "x"}, nil},
		"since": {PriceFilter{Since: at(4), Until: at(6)}, []int{5, 4}},
		"limit": {PriceFilter{Limit: 2}, []int{6, 5}},
	} {
		if d := cmp.Diff(minutes(c.f), c.want); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	must(t, l.Prune(at(63)))
	if d := cmp.Diff(minutes(PriceFilter{}), []int{6, 5, 4}); d != "" {
		t.Error(d)
	}
	var many []plan.Price
	for i := range 5000 {
		many = append(many, p(10, "c", 1, market.Rate(i), market.Refused))
	}
	must(t, l.PutPrices(many))
	kept := must1(l.Prices(PriceFilter{Host: "c"}))
	if n := len(kept); n < longestRun/32 || n > longestRun/8 || kept[n-1].Bid < 4500 {
		t.Errorf("%d prices of one offer, the oldest %+v", n, kept[n-1])
	}
	must(t, l.Verify())
}
