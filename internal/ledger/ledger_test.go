package ledger

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func putIntent(tb testing.TB, l *Ledger, change func(*plan.Intent)) (id uint64) {
	tb.Helper()
	must(tb, l.Update(func(tx *Tx) error {
		id = tx.NextIntent()
		in := plan.Intent{ID: id, At: start, Kind: plan.Deploy, State: plan.IntentOpen, Policy: "pool"}
		change(&in)
		return tx.PutIntent(in)
	}))
	return id
}

func TestANewLedgerIsForItsOwnerOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "tdscaler.db")
	l := mustOpen(t, Options{Path: path})
	for p, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700 | fs.ModeDir} {
		info, err := os.Stat(p)
		must(t, err)
		if info.Mode() != want {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
	}
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(l.ID()) {
		t.Errorf("id %q", l.ID())
	}
	names, err := os.ReadDir(filepath.Dir(path))
	must(t, err)
	if len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestTheIDStaysAndDiffersBetweenLedgers(t *testing.T) {
	path := tempPath(t)
	l := mustOpen(t, Options{Path: path})
	id := l.ID()
	must(t, l.Close())
	if again := mustOpen(t, Options{Path: path}); again.ID() != id {
		t.Error("the id changed")
	}
	if other := mustOpen(t, Options{Path: tempPath(t)}); other.ID() == id {
		t.Error("two ledgers with one id")
	}
}

func TestASecondOpenFailsSoonAndSaysWhy(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	mustOpen(t, Options{Path: path})
	for _, o := range []Options{{Path: path, Timeout: 100 * time.Millisecond}, {Path: path, Timeout: 100 * time.Millisecond, ReadOnly: true}, {Path: path}} {
		began := time.Now()
		_, err := Open(o)
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "another tdscaler") {
			t.Error(err)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("waited %v", d)
		}
	}
}

func TestReadersShareAndWriteNothing(t *testing.T) {
	path := tempPath(t)
	must(t, mustOpen(t, Options{Path: path}).Close())
	a := mustOpen(t, Options{Path: path, ReadOnly: true})
	b := mustOpen(t, Options{Path: path, ReadOnly: true})
	if a.ID() != b.ID() {
		t.Error("two ids")
	}
	if err := a.Update(func(*Tx) error { return nil }); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	if _, err := a.NextCycle(); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	must(t, a.Verify())
}

func TestReadOnlyNeverCreatesAFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "no", "tdscaler.db")
	if _, err := Open(Options{Path: path, ReadOnly: true}); !errors.Is(err, ErrNotExist) {
		t.Error(err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Error(names, err)
	}
}

func TestAnErrorRollsEverythingBack(t *testing.T) {
	path := tempPath(t)
	l := mustOpen(t, Options{Path: path})
	must(t, l.Update(func(tx *Tx) error {
		tx.History().Machines = []plan.Machine{{Name: "tds-main-a-00000001", Rebid: &plan.PendingRebid{Bid: 5}}}
		return nil
	}))
	before := asJSON(t, must1(l.History()))
	no := errors.New("no")
	var name market.MachineName
	err := l.Update(func(tx *Tx) error {
		h := tx.History()
		h.Machines[0].Rebid.Bid = 7
		h.Machines[0].Status = market.StatusOutbid
		h.Machines = append(h.Machines, plan.Machine{Name: "b"})
		h.Pauses = []plan.Pause{{Policy: "a"}}
		name = tx.NewName("main", "a")
		must(t, tx.PutIntent(plan.Intent{ID: tx.NextIntent(), State: plan.IntentOpen}))
		must(t, tx.PutReport(newWorld(1, 1, 1).next()))
		return no
	})
	if err != no {
		t.Fatal(err)
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = l.Update(func(tx *Tx) error {
			tx.History().Machines = nil
			panic("a bug of the caller")
		})
	}()
	for range 2 {
		if after := asJSON(t, must1(l.History())); after != before {
			t.Errorf("%s became %s", before, after)
		}
		if _, err := l.Intent(1); !errors.Is(err, ErrNoSuchIntent) {
			t.Error(err)
		}
		if _, err := l.Report(1); !errors.Is(err, ErrNoSuchCycle) {
			t.Error(err)
		}
		must(t, l.Verify())
		must(t, l.Close())
		l = mustOpen(t, Options{Path: path})
	}
	must(t, l.Update(func(tx *Tx) error {
		if got := tx.NewName("main", "a"); got != name {
			t.Errorf("%v is not the name rolled back, %v", got, name)
		}
		return nil
	}))
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestHistoryIsACopy(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t)})
	must(t, l.Update(func(tx *Tx) error {
		*tx.History() = fullHistory()
		return nil
	}))
	a := must1(l.History())
	want := asJSON(t, a)
	a.Machines[0].Ports[0].Internal = 99
	a.Machines[0].Rebid.Looks = 99
	a.Machines[0].Name = "x"
	a.Known[0] = "x"
	if got := asJSON(t, must1(l.History())); got != want {
		t.Errorf("%s became %s", want, got)
	}
}

func TestTwoMachinesOfOneNameAreRefused(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t)})
	err := l.Update(func(tx *Tx) error {
		tx.History().Machines = []plan.Machine{{Name: "a"}, {Name: "a"}}
		return nil
	})
	if err == nil {
		t.Error("taken")
	}
	if h := must1(l.History()); len(h.Machines) > 0 {
		t.Error(h)
	}
}

func TestOnlyChangedRecordsAreWritten(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t)})
	h := fullHistory()
	must(t, l.Update(func(tx *Tx) error { *tx.History() = h; return nil }))
	must(t, l.Update(func(tx *Tx) error {
		tx.History().Machines[0].Missed++
		must(t, tx.saveHistory())
		st := tx.w.tx.Stats()
		if n := st.GetNodeCount(); n != 1 {
			t.Errorf("%d pages were touched for one machine", n)
		}
		return nil
	}))
}

func TestIntentsAreFoundByTheirFilters(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true})
	states := []plan.IntentState{plan.IntentOpen, plan.IntentAccepted, plan.IntentUnknown, plan.IntentConfirmed, plan.IntentRefused, plan.IntentFailed, plan.IntentExpired}
	for i := range 21 {
		putIntent(t, l, func(in *plan.Intent) {
			in.At = start.Add(time.Duration(i) * time.Minute)
			in.State = states[i%7]
			in.Policy = []string{"a", "b"}[i%2]
			in.Kind = []plan.ActionKind{plan.Deploy, plan.Rebid, plan.Delete}[i%3]
			in.Machine = []string{"m", "n", "o", "p"}[i%4]
		})
	}
	for name, c := range map[string]struct {
		f     Filter
		n     int
		first uint64
	}{
		"all":     {Filter{}, 21, 21},
		"policy":  {Filter{Policy: "b"}, 10, 20},
		"kind":    {Filter{Kind: plan.Rebid}, 7, 20},
		"state":   {Filter{State: plan.IntentRefused}, 3, 19},
		"machine": {Filter{Machine: "p"}, 5, 20},
		"since":   {Filter{Since: start.Add(18 * time.Minute)}, 3, 21},
		"until":   {Filter{Until: start.Add(18 * time.Minute)}, 18, 18},
		"open":    {Filter{OpenOnly: true}, 9, 17},
		"limit":   {Filter{Limit: 4, Policy: "a"}, 4, 21},
		"nothing": {Filter{Policy: "z"}, 0, 0},
	} {
		got := must1(l.Intents(c.f))
		if len(got) != c.n || c.n > 0 && got[0].ID != c.first {
			t.Errorf("%s: %d intents, %v", name, len(got), got)
		}
	}
	must(t, l.Update(func(tx *Tx) error {
		in, ok, err := tx.Intent(17)
		if err != nil || !ok {
			t.Fatal(err)
		}
		in.State = plan.IntentConfirmed
		return tx.PutIntent(in)
	}))
	if got := must1(l.Intents(Filter{OpenOnly: true})); len(got) != 8 || l.Stats().OpenIntents != 8 {
		t.Error(len(got))
	}
	must(t, l.Verify())
}

func TestAnIntentNeedsAnIDThatWasGivenOut(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t)})
	for _, id := range []uint64{0, 1, 99} {
		err := l.Update(func(tx *Tx) error { return tx.PutIntent(plan.Intent{ID: id}) })
		if err == nil {
			t.Errorf("id %d was taken", id)
		}
	}
}

func TestNamesAreUniqueAndBelongToTheirLedger(t *testing.T) {
	path := tempPath(t)
	l := mustOpen(t, Options{Path: path, NoSync: true})
	other := mustOpen(t, Options{Path: tempPath(t), NoSync: true})
	seen := map[string]bool{}
	for range 20 {
		must(t, l.Update(func(tx *Tx) error {
			for range 50 {
				n := tx.NewName("main", "pool")
				if _, ok := market.ParseMachineName(n.String()); !ok || seen[n.Key] {
					t.Fatalf("name %s", n)
				}
				seen[n.Key] = true
			}
			return nil
		}))
		must(t, l.Close())
		l = mustOpen(t, Options{Path: path, NoSync: true})
	}
	must(t, other.Update(func(tx *Tx) error {
		for range 1000 {
			if n := tx.NewName("main", "pool"); seen[n.Key] {
				t.Fatalf("name %s is of both ledgers", n)
			}
		}
		return nil
	}))
}

func TestANameOfAnAdoptedMachineIsNotGivenOutAgain(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t)})
	must(t, l.Update(func(tx *Tx) error {
		next := market.MachineName{Owner: "main", Policy: "old", Key: nameKey(l.ID(), 1)}
		tx.History().Machines = []plan.Machine{{Name: next.String(), Adopted: true}}
		if n := tx.NewName("main", "pool"); n.Key != nameKey(l.ID(), 2) {
			t.Errorf("name %s", n)
		}
		return nil
	}))
}

func TestCycleNumbersSurviveWithWhatCarriesThem(t *testing.T) {
	path := tempPath(t)
	l := mustOpen(t, Options{Path: path})
	reopen := func() {
		must(t, l.Close())
		l = mustOpen(t, Options{Path: path})
	}
	for range 3 {
		must1(l.NextCycle())
	}
	reopen()
	if c := must1(l.NextCycle()); c != 1 {
		t.Errorf("cycle %d: no record carried a number", c)
	}
	putIntent(t, l, func(in *plan.Intent) { in.Cycle = 5 })
	reopen()
	if c := must1(l.NextCycle()); c != 6 {
		t.Errorf("cycle %d after an intent of 5", c)
	}
	r := newWorld(1, 1, 1).next()
	r.Cycle = 9
	must(t, l.PutReport(r))
	if err := l.PutReport(r); err == nil {
		t.Error("one cycle was reported twice")
	}
	reopen()
	if c := must1(l.NextCycle()); c != 10 {
		t.Errorf("cycle %d after a report of 9", c)
	}
}

func TestAFailedCommitChangesNothingAndReadingGoesOn(t *testing.T) {
	path := tempPath(t)
	l := mustOpen(t, Options{Path: path})
	r := newWorld(20, 3, 2).next()
	must(t, l.Update(func(tx *Tx) error {
		*tx.History() = fullHistory()
		return tx.PutReport(r)
	}))
	before := asJSON(t, must1(l.History()))
	must(t, l.file.Close()) // every write fails from here on; the pages stay mapped
	for range 3 {
		err := l.Update(func(tx *Tx) error {
			tx.History().Machines = nil
			return tx.PutIntent(plan.Intent{ID: tx.NextIntent()})
		})
		if !errors.Is(err, ErrWrite) || !strings.Contains(err.Error(), path) {
			t.Fatal(err)
		}
		if got := asJSON(t, must1(l.History())); got != before {
			t.Errorf("%s became %s", before, got)
		}
		if _, err := l.Intent(1); !errors.Is(err, ErrNoSuchIntent) {
			t.Error(err)
		}
		if got := must1(l.Report(1)); asJSON(t, got) != asJSON(t, r) {
			t.Error("another report")
		}
	}
	if err := l.Close(); err == nil {
		t.Error("the closed file went unnoticed")
	}
	again := mustOpen(t, Options{Path: path, Timeout: time.Second})
	if got := asJSON(t, must1(again.History())); got != before {
		t.Errorf("%s became %s", before, got)
	}
}

func TestAClosedLedgerSaysSo(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t)})
	must(t, l.Close())
	must(t, l.Close())
	for _, err := range []error{l.Update(func(*Tx) error { return nil }), l.Verify(), err1(l.Intent(1)), err1(l.Intents(Filter{}))} {
		if !errors.Is(err, ErrClosed) {
			t.Error(err)
		}
	}
}

func err1[T any](_ T, err error) error { return err }

func BenchmarkUpdateIntent(b *testing.B) {
	l := mustOpen(b, Options{Path: tempPath(b)})
	w := newWorld(1000, 100, 100)
	must(b, l.Update(func(tx *Tx) error { *tx.History() = w.hist.Clone(); return nil }))
	b.ReportAllocs()
	for b.Loop() {
		putIntent(b, l, func(in *plan.Intent) { in.State = plan.IntentConfirmed })
	}
}
