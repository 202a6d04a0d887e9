package daemon

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// sluggish is a market that answers after ten minutes: after its pace, pauses and tries.
type sluggish struct {
	*fake
	clock clock.Clock
}

func (s *sluggish) Instances(ctx context.Context) ([]market.Instance, error) {
	if err := s.clock.Sleep(ctx, 10*time.Minute); err != nil {
		return nil, err
	}
	return s.fake.Instances(ctx)
}

// TestAPulseGoesOnThroughAllPatienceAndStopsWhereTheLedgerHangs runs a day with a cycle every two hours
// and answers that take minutes, and then lets a commit hang.
func TestAPulseGoesOnThroughAllPatienceAndStopsWhereTheLedgerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const step = time.Minute
		var hangs atomic.Bool
		free := make(chan struct{})
		l, err := ledger.Open(ledger.Options{Path: filepath.Join(t.TempDir(), "other.db"), NoSync: true, Fault: func() error {
			if hangs.Load() {
				<-free
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		clk := clock.Pulsed{Clock: clock.System{}}
		pulse := clock.NewPulse(clk, step)
		var cycles atomic.Int64
		config := fmt.Sprintf("%s\nlimits: {max_actions_per_cycle: 1}\n", one("live", 3))
		r := newRig(t, config, func(o *Options) {
			o.Ledger, o.Clock, o.Pulse = l, clk, pulse
			o.Report = func(plan.Report) { cycles.Add(1) }
			o.Config.Set.Daemon.Schedule, o.Config.Set.Daemon.Watch = "0 */2 * * *", 0
			dial := o.Connect
			o.Connect = func(c Config) (Market, error) {
				m, err := dial(c)
				m.Reader = &sluggish{m.Reader.(*fake), clk}
				return m, err
			}
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx, false) }()

		for began := time.Now(); time.Since(began) < 25*time.Hour; time.Sleep(time.Second) {
			if last, alive := pulse.Last(); !alive {
				t.Fatalf("stuck after %s, since %s", time.Since(began), last)
			}
		}
		if n := cycles.Load(); n < 12 {
			t.Fatalf("%d cycles in a day", n)
		}
		hangs.Store(true)
		began := time.Now()
		for alive := true; alive; time.Sleep(time.Second) {
			if _, alive = pulse.Last(); time.Since(began) > 3*time.Hour {
				t.Fatal("a commit hangs, and it goes on")
			}
		}
		if n := time.Since(began); n > 2*time.Hour+10*time.Minute+2*step {
			t.Errorf("found out after %s", n)
		}
		close(free)
		synctest.Wait()
		if _, alive := pulse.Last(); !alive {
			t.Error("it went on, and is thought to be stuck")
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestWhatDestroyDoesIsNoStandstillOfTheCycle: the cycle waits for its action, and no longer than
// that may take.
func TestWhatDestroyDoesIsNoStandstillOfTheCycle(t *testing.T) {
	r := newRig(t, one("live", 1))
	r.o.Pulse = clock.NewPulse(r.clock, time.Minute)
	r.turn()
	clk := clock.Pulsed{Clock: r.clock}
	var during, acting bool
	c, m, _ := r.composed()
	m.Writer = &lazy{r.market, func(ctx context.Context) {
		_, done := clk.WithTimeout(ctx, 150*time.Second)
		r.clock.Set(r.clock.Now().Add(2 * time.Minute))
		_, during = r.o.Pulse.Last()
		acting = r.Acting()
		done()
	}}
	act := r.actuator(&c, m, &books{ledger: r.o.Ledger, set: &c.Set, clock: r.clock, caps: func(string) plan.Caps { return plan.Caps{} }}, &gate{ledger: r.o.Ledger, clock: r.clock, operator: true})
	h, err := r.o.Ledger.History()
	if err != nil || len(h.Machines) != 1 {
		t.Fatal(err, len(h.Machines))
	}
	a := plan.Action{Kind: plan.Delete, Policy: "train", Machine: h.Machines[0].Name, Reason: plan.Reason{Code: plan.ReasonDestroy}}
	if _, err := r.act(context.Background(), act, a); err != nil {
		t.Fatal(err)
	}
	if !during || !acting || r.Acting() {
		t.Errorf("under way: alive %v, acting %v; afterwards acting %v", during, acting, r.Acting())
	}
}

// lazy does something before each deletion.
type lazy struct {
	*fake
	before func(context.Context)
}

func (l *lazy) Delete(ctx context.Context, id string) error {
	l.before(ctx)
	return l.fake.Delete(ctx, id)
}
