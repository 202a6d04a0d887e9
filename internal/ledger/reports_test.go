package ledger

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func asJSON(tb testing.TB, v any) string {
	tb.Helper()
	b, err := json.Marshal(v)
	must(tb, err)
	return string(b)
}

func TestAReportIsReadBackAsItWasStored(t *testing.T) {
	path := tempPath(t)
	l := mustOpen(t, Options{Path: path, NoSync: true})
	w := newWorld(25, 5, 3)
	w.churn = 0.2
	want := map[uint64]string{}
	for i := range 150 {
		r := w.next()
		switch i % 50 {
		case 10: // a list that could not be read
			r.Input.Snapshot.Hosts = market.Section[[]market.Host]{Problem: "an HTML page", Class: market.ClassShapeChanged}
		case 20: // an empty one that was
			r.Input.Snapshot.Hosts.Value = []market.Host{}
		case 30: // another order
			hs := append([]market.Host(nil), r.Input.Snapshot.Hosts.Value...)
			w.rng.Shuffle(len(hs), func(i, j int) { hs[i], hs[j] = hs[j], hs[i] })
			r.Input.Snapshot.Hosts.Value = hs
		case 40: // some gone, one twice
			hs := append([]market.Host(nil), r.Input.Snapshot.Hosts.Value[5:]...)
			r.Input.Snapshot.Hosts.Value = append(hs, hs[3])
		}
		r.Plan.Holds = []plan.Hold{{Policy: "pool-001", Reason: plan.Reason{Code: "paused", Text: "<because> " + w.now.String()}}}
		must(t, l.PutReport(r))
		want[r.Cycle] = asJSON(t, r)
		if i == 70 {
			must(t, l.Close())
			l = mustOpen(t, Options{Path: path, NoSync: true})
		}
	}
	for c, w := range want {
		if c%10 > 3 { // the special ones above are 11, 21, ...
			continue
		}
		got, err := l.Report(c)
		must(t, err)
		if d := cmp.Diff(w, asJSON(t, got)); d != "" {
			t.Fatalf("cycle %d: %s", c, d)
		}
	}
	must(t, l.Verify())
}

func TestAReportThatWasRolledBackLeavesNoTraceInThoseAfterIt(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true})
	a, b := newWorld(30, 3, 2), newWorld(31, 4, 2)
	no := errors.New("no")
	for range 3 {
		err := l.Update(func(tx *Tx) error {
			must(t, tx.PutReport(a.next()))
			must(t, tx.PutReport(a.next()))
			return no
		})
		if err != no {
			t.Fatal(err)
		}
	}
	for range 4 {
		must(t, l.Update(func(tx *Tx) error {
			must(t, tx.PutReport(b.next()))
			return tx.PutReport(b.next())
		}))
		if err := l.Update(func(tx *Tx) error { return errors.Join(tx.PutReport(b.next()), no) }); !errors.Is(err, no) {
			t.Fatal(err)
		}
		r := b.next()
		must(t, l.PutReport(r))
		if d := cmp.Diff(asJSON(t, must1(l.Report(r.Cycle))), asJSON(t, r)); d != "" {
			t.Fatal(d)
		}
	}
	must(t, l.Verify())
	if k := l.frames.chain; k.key != 1 || k.n != 12 {
		t.Errorf("a refused transaction began a new group: %d frames since %d", k.n, k.key)
	}
}

func TestAReportThatWasNotKeptIsNoSuchCycle(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t)})
	if _, err := l.Report(7); !errors.Is(err, ErrNoSuchCycle) {
		t.Fatal(err)
	}
}

func TestReportsAreListedNewestFirstWithinTheirTimes(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true})
	w := newWorld(3, 2, 1)
	for range 600 {
		must(t, l.PutReport(w.next()))
	}
	list := func(from, to time.Time, limit int) (cs []uint64) {
		must(t, l.Reports(from, to, limit, func(s ReportSummary) error {
			cs = append(cs, s.Cycle)
			return nil
		}))
		return cs
	}
	if got := list(time.Time{}, time.Time{}, 0); len(got) != 600 || got[0] != 600 || got[599] != 1 {
		t.Fatal(len(got))
	}
	if got := list(time.Time{}, time.Time{}, 2); len(got) != 2 || got[1] != 599 {
		t.Fatal(got)
	}
	if got := list(start.Add(10*time.Minute), start.Add(13*time.Minute), 0); cmp.Diff(got, []uint64{12, 11, 10}) != "" {
		t.Fatal(got)
	}
	enough := errors.New("enough")
	if err := l.Reports(time.Time{}, time.Time{}, 0, func(ReportSummary) error { return enough }); err != enough {
		t.Fatal(err)
	}
}

func TestWholeReportsAreReadBackwardsEachOnce(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true})
	w := newWorld(3, 2, 1)
	for range 150 { // more than two groups
		must(t, l.PutReport(w.next()))
	}
	for before, want := range map[uint64]uint64{0: 150, 151: 150, 150: 149, 61: 60, 60: 59, 2: 1, 1: 0} {
		next := want
		must(t, l.EachReport(before, func(r *plan.Report) error {
			if r.Cycle != next || len(r.Input.Snapshot.Hosts.Value) == 0 {
				t.Fatalf("before %d: cycle %d, want %d", before, r.Cycle, next)
			}
			next--
			return nil
		}))
		if next != 0 {
			t.Errorf("before %d: ended before cycle %d", before, next)
		}
	}
	enough := errors.New("enough")
	if err := l.EachReport(0, func(*plan.Report) error { return enough }); err != enough {
		t.Fatal(err)
	}
}

func TestASummaryHoldsWhatTheFleetCost(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true})
	r := newWorld(3, 2, 1).next()
	must(t, l.PutReport(r))
	must(t, l.Reports(time.Time{}, time.Time{}, 1, func(s ReportSummary) error {
		if got, known := s.Burn.Get(); !known || got == 0 || got != r.Input.History.Burn() {
			t.Errorf("%v, %v", got, known)
		}
		return nil
	}))
}

func BenchmarkPutReport1000Hosts(b *testing.B) {
	l := mustOpen(b, Options{Path: tempPath(b)})
	w := newWorld(1000, 100, 100)
	bytes := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		r := w.next()
		b.StartTimer()
		must(b, l.PutReport(r))
		bytes += max(l.frames.chain.size, l.frames.chain.keySize*(2-min(l.frames.chain.n, 2)))
	}
	b.ReportMetric(float64(bytes)/float64(b.N), "bytes/report")
	b.ReportMetric(float64(l.Stats().UsedSize)/float64(b.N), "used/report")
}
