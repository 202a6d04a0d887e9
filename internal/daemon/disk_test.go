package daemon

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// disk is where the ledger of a rig is; its commits fail while full says so.
type disk struct {
	commits int
	full    func(commit int) bool
}

func (d *disk) fault() error {
	d.commits++
	if d.full != nil && d.full(d.commits) {
		return syscall.ENOSPC
	}
	return nil
}

func always(int) bool { return true }

// onDisk gives a rig a ledger on a disk.
func onDisk(t testing.TB, d *disk) func(*Options) {
	return func(o *Options) {
		l, err := ledger.Open(ledger.Options{Path: filepath.Join(t.TempDir(), "on-disk.db"), NoSync: true, Fault: d.fault})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		o.Ledger = l
	}
}

// try is turn on a disk that may fail.
func (r *rig) try() (plan.Report, error) {
	r.Helper()
	report, err := r.cycle(context.Background())
	if err != nil && !errors.Is(err, ledger.ErrWrite) {
		r.Fatal(err)
	}
	r.clock.Set(r.clock.Now().Add(time.Minute))
	return report, err
}

func (r *rig) target(n int) {
	r.Helper()
	r.write(one("live", n))
	if err := r.Reload(true); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) alive() int {
	r.market.mu.Lock()
	defer r.market.mu.Unlock()
	return len(r.market.machines)
}

// deploys are the names that were ordered, none of them twice.
func (r *rig) deploys() (names []string) {
	r.Helper()
	for _, w := range r.market.writes() {
		if name, ok := strings.CutPrefix(w, "deploy "); ok {
			if slices.Contains(names, name) {
				r.Errorf("%s was ordered twice", name)
			}
			names = append(names, name)
		}
	}
	return names
}

// gauge reads a metric without labels.
func (r *rig) gauge(name string) float64 {
	r.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue() + f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	r.Fatalf("no metric %s", name)
	return 0
}

func TestAFullDiskStopsEveryWriteAndNoLookAndIsOverByItself(t *testing.T) {
	d := &disk{}
	r := newRig(t, one("live", 3), onDisk(t, d))
	looks := 0
	r.market.instances = func() (list []market.Instance, err error) {
		looks++
		for _, i := range r.market.machines {
			list = append(list, i)
		}
		return list, nil
	}
	d.full = always
	for i := range 5 {
		rep, err := r.try()
		if !errors.Is(err, syscall.ENOSPC) && !strings.Contains(fmt.Sprint(err), "no space left") {
			t.Fatalf("cycle %d: %v", i, err)
		}
		if looks != i+1 || len(r.market.writes()) != 0 {
			t.Fatalf("%d looks, sent %q", looks, r.market.writes())
		}
		last := rep.Plan.Holds[len(rep.Plan.Holds)-1]
		if last.Reason.Code != plan.HoldLedger || !strings.Contains(rep.Problem, ledger.ErrWrite.Error()) {
			t.Fatalf("problem %q, holds %+v", rep.Problem, rep.Plan.Holds)
		}
		if i > 0 && len(rep.Input.Verdicts) > 0 {
			t.Errorf("the market was asked %d questions in vain", len(rep.Input.Verdicts))
		}
	}
	s, err := r.Status()
	if err != nil || s.Unwritable == "" || s.Problem == "" || r.Ready() == nil || r.logged("hold") == 0 {
		t.Errorf("nobody is told: %+v, %v", s, err)
	}
	if ok, bad := r.gauge("tdscaler_ledger_writable"), r.gauge("tdscaler_ledger_commit_failures_total"); ok != 0 || bad < 5 {
		t.Errorf("writable %v, %v failures", ok, bad)
	}
	if n := testutil.ToFloat64(r.metrics.holds.WithLabelValues("", plan.HoldLedger)); n != 1 {
		t.Errorf("the hold's metric is %v", n)
	}
	if err := SetPause(r.o.Ledger, plan.Pause{Since: noon}); !errors.Is(err, ledger.ErrWrite) {
		t.Errorf("a pause that is not on disk: %v", err)
	}

	d.full = nil
	r.turn()
	if r.alive() != 3 || len(r.deploys()) != 3 || r.Ready() != nil || r.gauge("tdscaler_ledger_writable") != 1 {
		t.Errorf("%d machines, ready: %v, %v", r.alive(), r.Ready(), r.gauge("tdscaler_ledger_writable"))
	}
	if s, err := r.Status(); err != nil || s.Unwritable != "" || s.Problem != "" || len(s.Pauses) > 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

// An order that the market took, and whose answer could not be put on record, is
// on disk as an open intent: the next look that can be booked finds its machine.
func TestAnAnswerThatCouldNotBeBookedIsFoundByTheNextLook(t *testing.T) {
	d := &disk{}
	r := newRig(t, one("live", 3), onDisk(t, d))
	r.market.deploy = func(context.Context, market.Order) (market.Deployed, error) {
		d.full = always
		return market.Deployed{ID: "id-1"}, nil
	}
	for range 4 {
		if _, err := r.try(); !errors.Is(err, ledger.ErrWrite) {
			t.Fatal(err)
		}
		open, err := r.o.Ledger.Intents(ledger.Filter{OpenOnly: true})
		if err != nil || len(open) != 1 || open[0].State != plan.IntentOpen || len(r.market.writes()) != 1 {
			t.Fatalf("%+v, %v, sent %q", open, err, r.market.writes())
		}
	}
	d.full, r.market.deploy = nil, nil
	for range 3 {
		r.turn()
	}
	in, err := r.o.Ledger.Intent(1)
	if err != nil || in.State != plan.IntentConfirmed || r.alive() != 3 || len(r.deploys()) != 3 {
		t.Errorf("%+v, %v, %d machines, sent %q", in, err, r.alive(), r.market.writes())
	}
	h, err := r.o.Ledger.History()
	if m := h.Machine(in.Machine); err != nil || m == nil || m.ID != "id-1" || m.Adopted || m.DeployIntent != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestWhicheverCommitFailsNothingIsBoughtTwiceOrForgotten lets every commit of a
// small life fail in turn, alone and with the nine that follow.
func TestWhicheverCommitFailsNothingIsBoughtTwiceOrForgotten(t *testing.T) {
	live := func(full func(int) bool) (*rig, int) {
		d := &disk{full: full}
		r := newRig(t, one("live", 3), onDisk(t, d))
		for _, n := range []int{3, 1, 2} {
			r.target(n)
			for range 16 {
				if _, err := r.try(); err != nil && r.Ready() == nil {
					t.Errorf("commit %d failed, and nobody is told", d.commits)
				}
			}
			if r.alive() != n {
				t.Errorf("%d machines instead of %d after commit %d", r.alive(), n, d.commits)
			}
		}
		commits := d.commits
		d.full = nil
		r.turn()
		return r, commits
	}
	_, commits := live(nil)
	for k := 1; k <= commits; k++ {
		for _, more := range []int{0, 9} {
			r, _ := live(func(n int) bool { return n >= k && n <= k+more })
			h, err := r.o.Ledger.History()
			if err != nil || len(h.Machines) != 2 || len(r.deploys()) != 4 || r.Ready() != nil {
				t.Fatalf("commits %d to %d failed: %d machines in the books, sent %q, ready: %v", k, k+more, len(h.Machines), r.market.writes(), r.Ready())
			}
			for _, m := range h.Machines {
				if m.Adopted || m.Phase != plan.PhaseLive {
					t.Errorf("commits %d to %d failed: %+v", k, k+more, m)
				}
			}
		}
	}
}

func TestWhatAFullDiskDidNotMeterIsMeteredAfterwards(t *testing.T) {
	spent := func(full func(int) bool) market.Amount {
		d := &disk{}
		r := newRig(t, one("live", 3), onDisk(t, d))
		for i := range 40 {
			d.full = nil
			if full(i) {
				d.full = always
			}
			_, _ = r.try()
		}
		h, err := r.o.Ledger.History()
		if err != nil {
			t.Fatal(err)
		}
		return h.Spent("", r.clock.Now()).Day
	}
	want := spent(func(int) bool { return false })
	for name, full := range map[string]func(int) bool{
		"for half an hour": func(i int) bool { return i >= 5 && i < 35 },
		"again and again":  func(i int) bool { return i > 2 && i%3 != 0 && i < 39 },
	} {
		if got := spent(full); got != want || got == 0 {
			t.Errorf("full %s: %s were metered instead of %s", name, got, want)
		}
	}
}

// A refusal that could not be booked leaves the order open too: it holds its place
// and money until enough looks have not shown the machine, and then it is bought.
func TestARefusalThatCouldNotBeBookedIsGivenUpByTheLooks(t *testing.T) {
	d := &disk{}
	r := newRig(t, one("live", 1), onDisk(t, d))
	r.market.deploy = func(_ context.Context, o market.Order) (market.Deployed, error) {
		d.full = always
		r.market.mu.Lock()
		defer r.market.mu.Unlock()
		clear(r.market.machines)
		return market.Deployed{}, &market.Error{Op: "deploy", Class: market.ClassNoCapacity, Detail: "sold out"}
	}
	if _, err := r.try(); !errors.Is(err, ledger.ErrWrite) {
		t.Fatal(err)
	}
	d.full, r.market.deploy = nil, nil
	r.turn()
	if h, err := r.o.Ledger.History(); err != nil || len(h.Machines) != 1 || h.Reserved() == 0 || len(r.deploys()) != 1 {
		t.Fatalf("its place is not held: %+v, %v, sent %q", h.Machines, err, r.market.writes())
	}
	for range 15 {
		r.turn()
	}
	in, err := r.o.Ledger.Intent(1)
	if err != nil || in.State != plan.IntentExpired || r.alive() != 1 || len(r.deploys()) != 2 {
		t.Errorf("%+v, %v, sent %q", in, err, r.market.writes())
	}
}

func TestACycleWhoseCommitFailedUnderWayIsOnRecordWhenTheDiskIsWellAtItsEnd(t *testing.T) {
	d := &disk{full: func(n int) bool { return n == 2 }} // the first intent
	r := newRig(t, one("live", 2), onDisk(t, d))
	rep, err := r.try()
	if !errors.Is(err, ledger.ErrWrite) || len(r.market.writes()) != 0 || r.Ready() == nil {
		t.Fatalf("%v, sent %q", err, r.market.writes())
	}
	kept, err := r.o.Ledger.Report(rep.Cycle)
	if err != nil || !strings.Contains(kept.Problem, "no space left") || len(kept.Plan.Actions) == 0 {
		t.Errorf("%v, problem %q", err, kept.Problem)
	}
	if again := plan.Compute(kept.Input); len(again.Holds) != len(kept.Plan.Holds) {
		t.Errorf("the plan on record is not that of its input: %+v", kept.Plan.Holds)
	}
	if r.turn(); r.alive() != 2 || r.Ready() != nil {
		t.Errorf("%d machines, ready: %v", r.alive(), r.Ready())
	}
}

func TestADiskThatFillsUpBetweenTwoCyclesIsToldAtOnce(t *testing.T) {
	d := &disk{}
	r := newRig(t, one("live", 1), onDisk(t, d))
	r.turn()
	d.full = always
	if err := SetPause(r.o.Ledger, plan.Pause{Since: noon}); !errors.Is(err, ledger.ErrWrite) {
		t.Fatal(err)
	}
	if s, err := r.Status(); err != nil || s.Unwritable == "" || r.Ready() == nil {
		t.Errorf("%+v, %v, ready: %v", s, err, r.Ready())
	}
	d.full = nil
	if r.turn(); r.Ready() != nil {
		t.Error(r.Ready())
	}
}

// The restore of docs/operations.md: an old backup is put back, and the machines
// that were bought since are found by their names.
func TestARestoredBackupAdoptsWhatWasBoughtSince(t *testing.T) {
	r := newRig(t, one("live", 1))
	r.turn()
	r.turn()
	copied := filepath.Join(t.TempDir(), "copy.db")
	if _, err := r.o.Ledger.Backup(copied, false); err != nil {
		t.Fatal(err)
	}
	r.target(3)
	r.turn()
	r.turn()
	sent := len(r.market.writes())
	restored, err := ledger.Open(ledger.Options{Path: copied, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := restored.Close(); err != nil {
			t.Error(err)
		}
	})
	after := newRig(t, one("live", 3), func(o *Options) { o.Ledger, o.Connect, o.Clock = restored, r.dial, r.clock })
	for range 5 {
		if _, err := after.cycle(context.Background()); err != nil {
			t.Fatal(err)
		}
		r.clock.Set(r.clock.Now().Add(time.Minute))
	}
	h, err := restored.History()
	adopted := 0
	for _, m := range h.Machines {
		if m.Adopted {
			adopted++
		}
	}
	if err != nil || len(h.Machines) != 3 || adopted != 2 || len(r.market.writes()) != sent {
		t.Errorf("%d machines, %d adopted, sent %q, %v", len(h.Machines), adopted, r.market.writes()[sent:], err)
	}
	after.target(6)
	for range 3 {
		if _, err := after.cycle(context.Background()); err != nil {
			t.Fatal(err)
		}
		r.clock.Set(r.clock.Now().Add(time.Minute))
	}
	if len(r.deploys()) != 6 || r.alive() != 6 { // deploys wants every name once
		t.Errorf("sent %q", r.market.writes())
	}
}
