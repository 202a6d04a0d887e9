package ledger

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// full is a ledger with something of everything.
func full(t testing.TB, o Options) *Ledger {
	t.Helper()
	l := mustOpen(t, o)
	w := newWorld(20, 3, 2)
	must(t, l.Update(func(tx *Tx) error {
		*tx.History() = fullHistory()
		for range 300 { // more than one batch
			if err := tx.PutIntent(plan.Intent{ID: tx.NextIntent(), At: start, State: plan.IntentConfirmed}); err != nil {
				return err
			}
		}
		if err := tx.PutIntent(plan.Intent{ID: tx.NextIntent(), State: plan.IntentOpen}); err != nil {
			return err
		}
		must(t, tx.PutQuotes(newWorld(2, 0, 0).hosts, start))
		return tx.PutPrices([]plan.Price{{At: start, Host: "a", Model: "l40-pcie-48gb", Shape: market.Shape{GPUs: 1}, Bid: market.USD(0, 30), Answer: market.Accepted}})
	}))
	for range groupLen + 5 { // two groups
		must(t, l.PutReport(w.next()))
	}
	return l
}

func wantPrivate(t testing.TB, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%s: %v, %v", path, info.Mode(), err)
	}
}

// wantAlone fails where anything but these files is in the directory of the first.
func wantAlone(t testing.TB, paths ...string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(filepath.Dir(paths[0]), "*"))
	must(t, err)
	hidden, err := filepath.Glob(filepath.Join(filepath.Dir(paths[0]), ".*"))
	must(t, err)
	for _, p := range append(all, hidden...) {
		if !slices.Contains(paths, p) {
			t.Errorf("%s was left behind", p)
		}
	}
}

func TestABackupIsAWholeLedgerOfItsOwn(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	l := full(t, Options{Path: path, NoSync: true})
	wantPrivate(t, path)
	to := filepath.Join(filepath.Dir(path), "backup.db")
	c := must1(l.Backup(to, false))
	if want := l.Contents(); c.Path != to || c.Schema != want.Schema || c.Intents != 301 || c.OpenIntents != 1 || c.Reports != groupLen+5 || c.Machines != want.Machines {
		t.Errorf("%+v instead of %+v", c, want)
	}
	wantPrivate(t, to)
	wantAlone(t, path, to)
	if got := must1(VerifyFile(to, time.Second)); got != c {
		t.Errorf("%+v instead of %+v", got, c)
	}
	restored := mustOpen(t, Options{Path: to, NoSync: true})
	if a, b := must1(l.History()), must1(restored.History()); !reflect.DeepEqual(a, b) {
		t.Errorf("%+v instead of %+v", b, a)
	}
	if a, b := must1(l.Report(64)), must1(restored.Report(64)); asJSON(t, a) != asJSON(t, b) {
		t.Error("another report")
	}
	// What the one has given out since, the other must not give out again.
	names := func(l *Ledger) (name string) {
		must(t, l.Update(func(tx *Tx) error { name = tx.NewName("main", "pool").String(); return nil }))
		return name
	}
	if a, b := names(l), names(restored); a == b {
		t.Errorf("both give out %s", a)
	}
	must(t, restored.Verify())
	must(t, l.Verify())
}

func TestABackupReplacesNothingUnaskedAndNeverTheLedger(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	dir := filepath.Dir(path)
	l := full(t, Options{Path: path, NoSync: true})
	there, link, hard := filepath.Join(dir, "there"), filepath.Join(dir, "link"), filepath.Join(dir, "hard")
	must(t, os.WriteFile(there, []byte("mine"), 0o644))
	must(t, os.Symlink(path, link))
	must(t, os.Link(path, hard))
	for _, c := range []struct {
		path  string
		force bool
	}{{there, false}, {path, true}, {path, false}, {link, true}, {hard, true}, {dir, true}} {
		if _, err := l.Backup(c.path, c.force); !errors.Is(err, ErrExists) {
			t.Errorf("%s: %v", c.path, err)
		}
	}
	if b, err := os.ReadFile(there); err != nil || string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := l.Backup(filepath.Join(dir, "no", "dir"), false); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	wantAlone(t, path, there, link, hard)
	must1(l.Backup(there, true))
	wantPrivate(t, there)
	must(t, l.Verify())
}

func TestABackupOfALedgerThatIsWrittenToIsOfOneMoment(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	l := mustOpen(t, Options{Path: path, NoSync: true})
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		w := newWorld(30, 3, 2)
		for {
			select {
			case <-stop:
				done <- nil
				return
			case <-time.After(5 * time.Millisecond): // more would be more to verify, not more to prove
			}
			err := l.Update(func(tx *Tx) error {
				id := tx.NextIntent()
				tx.History().Machines = []plan.Machine{{Name: fmt.Sprint("m", id), DeployIntent: id}}
				return errors.Join(tx.PutIntent(plan.Intent{ID: id, State: plan.IntentOpen}), tx.PutReport(w.next()))
			})
			if err != nil {
				done <- err
				return
			}
		}
	}()
	for l.Stats().Intents == 0 {
		time.Sleep(time.Millisecond)
	}
	last := int64(0)
	for i := range 10 {
		to := path + fmt.Sprint(".", i)
		c := must1(l.Backup(to, false))
		b := mustOpen(t, Options{Path: to, ReadOnly: true})
		h := must1(b.History())
		if c.Intents < last || c.Intents != c.Reports || c.Intents > 0 && h.Machines[0].DeployIntent != uint64(c.Intents) {
			t.Errorf("%+v, %+v", c, h.Machines)
		}
		last = c.Intents
		must(t, l.Verify())
	}
	close(stop)
	must(t, <-done)
	if last == 0 {
		t.Error("nothing was written meanwhile")
	}
}

// lines reads an export.
func lines(t testing.TB, l *Ledger, reports bool) (kinds map[string]int, all []map[string]any) {
	t.Helper()
	var out bytes.Buffer
	must(t, l.Export(&out, reports))
	kinds = map[string]int{}
	sc := bufio.NewScanner(&out)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var v map[string]any
		if err := json.Unmarshal(sc.Bytes(), &v); err != nil {
			t.Fatalf("%s: %v", sc.Text(), err)
		}
		kinds[v["kind"].(string)]++
		all = append(all, v)
	}
	must(t, sc.Err())
	return kinds, all
}

func TestAnExportHasEveryRecord(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	l := full(t, Options{Path: path, NoSync: true})
	h := must1(l.History())
	kinds, all := lines(t, l, true)
	want := map[string]int{
		"meta": 1, "machine": len(h.Machines), "spend": len(h.Spend), "host": len(h.Hosts), "backoff": len(h.Backoffs), "pause": len(h.Pauses), "breaker": len(h.Breakers),
		"failure": len(h.Failures), "scaled": len(h.Scaled), "known_policy": len(h.Known), "intent": 301,
		"cycle": groupLen + 5, "report": groupLen + 5, "price": 1, "quote": 2,
	}
	for kind, n := range want {
		if kinds[kind] != n || n == 0 {
			t.Errorf("%d lines of kind %s instead of %d", kinds[kind], kind, n)
		}
	}
	// Every field of the History that holds something has a kind: those above, or
	// the name of its list in the books.
	lists := 0
	must(t, l.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(bucketBooks)).ForEach(func(k, _ []byte) error {
			if lists++; kinds[bookKind(string(k))] == 0 {
				t.Errorf("no line of %s", k)
			}
			return nil
		})
	}))
	if fields := reflect.TypeFor[plan.History]().NumField(); lists+3 < fields {
		t.Errorf("%d lists in the books, machines, hosts and spend, for %d fields of the History", lists, fields)
	}
	if all[0]["kind"] != "meta" || all[0]["schema"] == nil || all[0]["machines"] == nil || all[0]["id"] != nil {
		t.Errorf("%v", all[0])
	}
	if short, _ := lines(t, l, false); short["report"] != 0 || short["cycle"] != groupLen+5 {
		t.Errorf("%v", short)
	}
	broken := errors.New("the reader went away")
	if err := l.Export(failing{broken}, true); !errors.Is(err, broken) {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestThePageListsEveryKind holds docs/cli.md against an export.
func TestThePageListsEveryKind(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/cli.md")
	must(t, err)
	kinds, _ := lines(t, full(t, Options{Path: tempPath(t), NoSync: true}), true)
	for kind := range kinds {
		if !strings.Contains(string(page), "| `"+kind+"` |") {
			t.Errorf("docs/cli.md does not list the kind %s", kind)
		}
	}
}

func TestCompactGivesBackWhatIsFreeAndKeepsTheRest(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	l := full(t, Options{Path: path, NoSync: true})
	w := newWorld(60, 2, 1)
	w.cycle, w.churn = 1000, 0.5
	for range 3 * groupLen {
		must(t, l.PutReport(w.next()))
	}
	l.opts.Retention = time.Hour
	must(t, l.Prune(w.now.Add(24*time.Hour)))
	l.opts.Retention = 0
	before, history := l.Stats(), must1(l.History())
	if _, err := Compact(Options{Path: path, Timeout: time.Millisecond}); !errors.Is(err, ErrLocked) {
		t.Errorf("in use: %v", err)
	}
	must(t, l.Close())
	c := must1(Compact(Options{Path: path}))
	if c.After >= c.Before || c.After == 0 || c.Before < before.FileSize {
		t.Errorf("%+v", c)
	}
	wantPrivate(t, path)
	wantAlone(t, path)
	l = mustOpen(t, Options{Path: path, NoSync: true})
	must(t, l.Verify())
	after := l.Stats()
	if after.Intents != before.Intents || after.Reports != before.Reports || after.DataSize != before.DataSize || !reflect.DeepEqual(history, must1(l.History())) {
		t.Errorf("%+v instead of %+v", after, before)
	}
	must(t, l.PutReport(w.next()))
	must(t, l.Verify())
	if _, err := Compact(Options{Path: filepath.Join(t.TempDir(), "none.db")}); !errors.Is(err, ErrNotExist) {
		t.Error(err)
	}
}

// Whoever waits for the lock while the ledger is compacted must get the new file.
func TestWhoWaitsForALedgerThatIsReplacedGetsTheNewOne(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	l := full(t, Options{Path: path, NoSync: true})
	copied := path + ".new"
	must1(l.Backup(copied, false))
	got := make(chan *Ledger, 1)
	go func() {
		late, err := Open(Options{Path: path, NoSync: true, Timeout: 10 * time.Second})
		if err != nil {
			t.Error(err)
		}
		got <- late
	}()
	time.Sleep(200 * time.Millisecond) // it waits now, on the old file
	must(t, os.Rename(copied, path))
	must(t, l.Close())
	late := <-got
	if late == nil {
		return
	}
	named, err := os.Stat(path)
	must(t, err)
	ours, err := late.file.Stat()
	must(t, err)
	if !os.SameFile(named, ours) {
		t.Error("it works on a file without a name")
	}
	must(t, late.Close())
}

// A ledger that is found damaged while it is open takes no more changes: whoever
// acts on it must stop, as at a start.
func TestVerifyOfADamagedOpenLedgerEndsAllChanges(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	l := full(t, Options{Path: path, NoSync: true})
	must(t, l.Verify())
	b, err := os.ReadFile(path)
	must(t, err)
	at := bytes.Index(b, []byte("l40-pcie-48gb"))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	for ; at >= 0 && l.Verify() == nil; at += 1 + bytes.Index(b[at+1:], []byte("l40-pcie-48gb")) { // some are in free pages
		_, err = f.WriteAt([]byte("L"), int64(at))
		must(t, err)
	}
	must(t, f.Close())
	if err := l.Verify(); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	if err := l.Update(func(*Tx) error { return nil }); !errors.Is(err, ErrCorrupt) || l.Trouble() == nil {
		t.Errorf("it is still written to: %v", err)
	}
	if _, err := l.Backup(path+".copy", false); !errors.Is(err, ErrCorrupt) {
		t.Errorf("it is copied: %v", err)
	}
	wantAlone(t, path)
}

// TestWhatRootDoesToALedgerLeavesItToItsOwner: a daemon with a user of its own could not open it
// otherwise.
func TestWhatRootDoesToALedgerLeavesItToItsOwner(t *testing.T) {
	const daemon = 64510
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	dir := t.TempDir()
	must(t, os.Chown(dir, daemon, daemon))
	path := filepath.Join(dir, "tdscaler.db")
	owner := func(path string) uint32 {
		info, err := os.Stat(path)
		must(t, err)
		return info.Sys().(*syscall.Stat_t).Uid
	}
	l, err := Open(Options{Path: path})
	must(t, err)
	if owner(path) != daemon {
		t.Errorf("a ledger that root has made is user %d's", owner(path))
	}
	backup := filepath.Join(t.TempDir(), "backup.db")
	_, err = l.Backup(backup, false)
	must(t, err)
	must(t, l.Close())
	if owner(backup) != 0 {
		t.Errorf("root's backup is user %d's", owner(backup))
	}
	_, err = Compact(Options{Path: path})
	must(t, err)
	if owner(path) != daemon {
		t.Errorf("a ledger that root has compacted is user %d's", owner(path))
	}
}
