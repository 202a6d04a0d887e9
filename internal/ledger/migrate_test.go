package ledger

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// older makes a ledger of a schema with something of everything in it, as far as
// the types of today can say it, and returns its bytes.
func older(t testing.TB, path string, schema int) []byte {
	t.Helper()
	l, err := openAs(Options{Path: path, Timeout: time.Second}, schema, make([]migration, schema-1))
	must(t, err)
	must(t, l.Update(func(tx *Tx) error { *tx.History() = fullHistory(); return nil }))
	for range 5 {
		putIntent(t, l, func(in *plan.Intent) { in.State = plan.IntentOpen })
	}
	must(t, l.PutReport(newWorld(10, 2, 1).next()))
	must(t, l.Close())
	b, err := os.ReadFile(path)
	must(t, err)
	return b
}

func knows(name string) migration {
	return func(w *writer) error { return w.putJSON(bucketBooks, []byte(bookKnown), []string{name}) }
}

func TestAMigrationKeepsTheOldLedgerBesideTheNew(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	older(t, path, 1)
	l, err := openAs(Options{Path: path}, 3, []migration{knows("one"), knows("two")})
	must(t, err)
	if h := must1(l.History()); !reflect.DeepEqual(h.Known, []string{"two"}) || l.Contents().Schema != 3 || l.Stats().OpenIntents != 5 {
		t.Errorf("%+v, %+v", h.Known, l.Contents())
	}
	must(t, l.Verify())
	must(t, l.Close())
	kept := path + ".schema1.bak"
	wantAlone(t, path, kept)
	wantPrivate(t, kept)
	if c := must1(VerifyFile(kept, time.Second)); c.Schema != 1 || c.Intents != 5 {
		t.Errorf("%+v", c)
	}
	old := must1(openAs(Options{Path: kept}, 1, nil)) // the old program's again
	if h := must1(old.History()); !reflect.DeepEqual(h, fullHistory()) {
		t.Errorf("%+v", h)
	}
	must(t, old.Close())
	if _, err := openAs(Options{Path: path}, 1, nil); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "newer tdscaler (schema 3, this one knows 1): upgrade") {
		t.Error(err)
	}
}

func TestAMigrationThatFailsLeavesTheOldLedger(t *testing.T) {
	t.Parallel()
	no := errors.New("no")
	for name, c := range map[string]struct {
		o     Options
		steps []migration
		block bool // the copy's name is taken by a directory
		want  error
	}{
		"a step fails":          {steps: []migration{knows("one"), func(*writer) error { return no }}, want: no},
		"the disk fails":        {o: Options{Fault: func() error { return no }}, steps: []migration{knows("one"), knows("two")}, want: ErrWrite},
		"no copy can be made":   {steps: []migration{knows("one"), knows("two")}, block: true, want: ErrExists},
		"there is no such step": {steps: []migration{knows("one")}, want: ErrSchema},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := tempPath(t)
			before := older(t, path, 1)
			if c.block {
				must(t, os.Mkdir(path+".schema1.bak", 0o700))
			}
			c.o.Path = path
			if _, err := openAs(c.o, 3, c.steps); !errors.Is(err, c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("the file changed, %v", err)
			}
			l := must1(openAs(Options{Path: path, Timeout: time.Second}, 1, nil))
			if h := must1(l.History()); !reflect.DeepEqual(h, fullHistory()) {
				t.Errorf("%+v", h)
			}
			must(t, l.Close())
			if c.block {
				must(t, os.Remove(path+".schema1.bak"))
			}
			l, err := openAs(Options{Path: path}, 3, []migration{knows("one"), knows("two")}) // and then it works
			must(t, err)
			must(t, l.Close())
		})
	}
}

func TestAMigrationThatBreaksTheLedgerIsNoticed(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	older(t, path, 1)
	_, err := openAs(Options{Path: path}, 2, []migration{func(w *writer) error { return w.del(bucketOpen, number(1)) }})
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), path+".schema1.bak") {
		t.Error(err)
	}
	must1(VerifyFile(path+".schema1.bak", time.Second))
}

// migrateVar makes the test binary a process that dies while it migrates the
// ledger it names.
const migrateVar = "TDSCALER_LEDGER_MIGRATE"

func childMigrates(path string) error {
	die := func(*writer) error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) }
	_, err := openAs(Options{Path: path}, 3, []migration{knows("one"), die})
	return err
}

func TestAKillInTheMiddleOfAMigrationLeavesTheOldLedger(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	before := older(t, path, 1)
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), migrateVar+"="+path)
	if out, err := cmd.CombinedOutput(); err == nil || cmd.ProcessState.Exited() {
		t.Fatalf("it was to be killed: %v\n%s", err, out)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed, %v", err)
	}
	must1(VerifyFile(path, time.Second))
	l, err := openAs(Options{Path: path}, 3, []migration{knows("one"), knows("two")})
	must(t, err)
	must(t, l.Verify())
	must(t, l.Close())
}
