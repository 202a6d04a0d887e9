package ledger

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// diary writes one more machine, intent and report per page.
type diary struct {
	l *Ledger
	w *world
}

func newDiary(l *Ledger) *diary {
	d := &diary{l, newWorld(40, 3, 2)}
	d.w.churn = 0.5
	return d
}

func (d *diary) page() error {
	r := d.w.next()
	return d.l.Update(func(tx *Tx) error {
		id := tx.NextIntent()
		h := tx.History()
		h.Machines = append(h.Machines, plan.Machine{Name: tx.NewName("main", "pool").String(), DeployIntent: id})
		if err := tx.PutIntent(plan.Intent{ID: id, State: plan.IntentOpen}); err != nil {
			return err
		}
		return tx.PutReport(r)
	})
}

// until writes pages until one fails, which must be within a thousand.
func (d *diary) until() (err error) {
	for range 1000 {
		if err = d.page(); err != nil {
			return err
		}
	}
	return nil
}

// outage runs a diary into a disk that fails, heals it, and says what was not as
// it should be.
func outage(path string, fail, heal func() error) error {
	l, err := Open(Options{Path: path})
	if err != nil {
		return err
	}
	d := newDiary(l)
	for range 20 {
		if err := d.page(); err != nil {
			return fmt.Errorf("on a disk that works: %w", err)
		}
	}
	if err := fail(); err != nil {
		return err
	}
	if err := d.until(); !errors.Is(err, ErrWrite) {
		return fmt.Errorf("on a disk that fails: %w", err)
	}
	before, err := l.History()
	if err != nil {
		return err
	}
	for range 5 {
		if err := d.page(); !errors.Is(err, ErrWrite) || l.Trouble() == nil {
			return fmt.Errorf("on a disk that still fails: %w", err)
		}
	}
	now, err := l.History()
	if err != nil || !reflect.DeepEqual(before, now) {
		return fmt.Errorf("memory moved on: %d machines instead of %d, %w", len(now.Machines), len(before.Machines), err)
	}
	if _, err := l.Report(uint64(len(before.Machines))); err != nil { // one report per machine
		return fmt.Errorf("reading on a disk that fails: %w", err)
	}
	if err := l.Verify(); err != nil { // memory against the disk, too
		return err
	}
	if err := heal(); err != nil {
		return err
	}
	if err := d.page(); err != nil || l.Trouble() != nil || l.Failed() < 6 {
		return fmt.Errorf("on a disk that works again: %w, %w", err, l.Trouble())
	}
	if err := errors.Join(l.Verify(), l.Close()); err != nil {
		return err
	}
	if l, err = Open(Options{Path: path}); err != nil {
		return err
	}
	again, err := l.History()
	if err == nil && len(again.Machines) != len(before.Machines)+1 {
		err = fmt.Errorf("%d machines on disk instead of %d", len(again.Machines), len(before.Machines)+1)
	}
	return errors.Join(err, l.Verify(), l.Close())
}

// limitVar makes the test binary a process that goes through an outage on the
// ledger it names: its files may not grow beyond a limit for a while.
const limitVar = "TDSCALER_LEDGER_LIMIT"

func childIsLimited(path string) error {
	signal.Ignore(syscall.SIGXFSZ)
	set := func(limit func(size uint64) uint64) func() error {
		return func() error {
			info, err := os.Stat(path)
			if err != nil {
				return err
			}
			return unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: limit(uint64(info.Size())), Max: unix.RLIM_INFINITY})
		}
	}
	heal := set(func(uint64) uint64 { return unix.RLIM_INFINITY })
	for name, limit := range map[string]func(uint64) uint64{
		"at its size":           func(size uint64) uint64 { return size },
		"within a page":         func(size uint64) uint64 { return size/2 + 100 },
		"at the meta pages":     func(uint64) uint64 { return 8192 },
		"within a meta page":    func(uint64) uint64 { return 4100 },
		"at nothing":            func(uint64) uint64 { return 0 },
		"a bit beyond its size": func(size uint64) uint64 { return size + 10_000 },
	} {
		if err := outage(path, set(limit), heal); err != nil {
			return fmt.Errorf("limited %s: %w", name, err)
		}
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

func TestALedgerThatMayNotGrowStaysAsItWasAndGoesOnWhenItMay(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), limitVar+"="+tempPath(t))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestAFileThatMayNotBeWrittenIsToldAndCanBeRead(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everything")
	}
	path := tempPath(t)
	must(t, mustOpen(t, Options{Path: path}).Close())
	must(t, os.Chmod(path, 0o400))
	if _, err := Open(Options{Path: path}); !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
	must(t, mustOpen(t, Options{Path: path, ReadOnly: true, Timeout: time.Second}).Verify())
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o500))
	if _, err := Open(Options{Path: filepath.Join(dir, "new.db")}); !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
}

// TestOverThousandsOfCyclesTheFileStopsGrowing: the file itself, not only what is
// in use of it.
func TestOverThousandsOfCyclesTheFileStopsGrowing(t *testing.T) {
	t.Parallel()
	cycles := 6000
	if testing.Short() {
		cycles = 2000
	}
	for name, o := range map[string]Options{
		"max_size":  {MaxSize: 1 << 20},
		"retention": {Retention: 4 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Path, o.NoSync = tempPath(t), true
			l := mustOpen(t, o)
			w := newWorld(40, 4, 2)
			w.churn = 0.3
			var half, most int64
			for i := range cycles {
				must(t, l.PutReport(w.next()))
				size := must1(fileSize(o.Path))
				if most = max(most, size); i == cycles/2 {
					half = most
				}
			}
			if s := l.Stats(); most > half || o.MaxSize > 0 && most > 3*o.MaxSize {
				t.Errorf("%d bytes after %d cycles, %d after half of them, %+v", most, cycles, half, s)
			}
			t.Logf("%d bytes, %+v", most, l.Stats())
			must(t, l.Verify())
		})
	}
}
