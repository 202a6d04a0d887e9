package campaign

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// fuse kills the daemon at the n-th point: before and after each request to the
// market, and at each look at the clock, which the daemon takes inside every
// transaction and between the steps of a cycle.
type fuse struct {
	armed  bool
	at     int // 0: never, only count
	points int
	where  string
	death  func()
}

var errKilled = errors.New("killed")

func (f *fuse) point(where string) {
	if !f.armed {
		return
	}
	f.points++
	if f.points == f.at {
		f.armed, f.where = false, where
		f.death()
	}
}

// mortal is a clock that kills.
type mortal struct {
	clock.Clock
	f *fuse
}

func (m mortal) Now() time.Time {
	m.f.point("look at the clock")
	return m.Clock.Now()
}

// Uptime is what a look and every booking begin with.
func (m mortal) Uptime() clock.Uptime {
	m.f.point("look at the uptime")
	return m.Clock.Uptime()
}

func (m mortal) Wait(ctx context.Context, d time.Duration, wake <-chan struct{}) (bool, error) {
	m.f.point("wait")
	return m.Clock.Wait(ctx, d, wake)
}

// three wants n GPUs, one a machine.
func few(n int) string {
	return fmt.Sprintf(`
version: 1
daemon: {schedule: "@every 1m", mode: live, ledger: ledger.db, listen: ""}
tensordock: {marketplace_rps: 1000}
safety: {unknown_age: 2m, absent_age: 1m, breaker_cooldown: 2m, backoff_max: 1m}
policies:
  - name: train
    target: {gpus: %d}
    shape: {gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100}
    max_gpu_hour: 0.60
`, n)
}

// scene is a stretch of a daemon's life that is cut at every point.
type scene struct {
	name    string
	prepare func(*world) // before the fuse is armed
	faults  string
	target  int
}

func scenes() []scene {
	bought := func(n int) func(*world) {
		return func(w *world) {
			w.write(few(n))
			w.restart()
			w.settle(30 * time.Minute)
		}
	}
	return []scene{
		{name: "deploy", target: 3, prepare: func(*world) {}},
		{name: "deploy whose answers are lost", target: 3, prepare: func(*world) {}, faults: "lost:deploy:n1-2,lost_request:deploy:n3"},
		{name: "deploy that is refused", target: 3, prepare: func(*world) {}, faults: "price_move=10m:validate:n1-2"},
		{name: "delete", target: 1, prepare: bought(3)},
		{name: "delete whose answers are lost", target: 1, prepare: bought(3), faults: "lost:delete:n1,late500:delete:n2"},
		{name: "rebid", target: 3, prepare: outbid(bought(3), 55)},
		{name: "rebid whose answers are lost", target: 3, prepare: outbid(bought(3), 55), faults: "lost:modify:n1,lost:validate_existing:n2"},
		{name: "replace", target: 3, prepare: outbid(bought(3), 90)},
	}
}

// outbid lets rivals take all GPUs of the hosts where our machines are.
func outbid(before func(*world), cents int64) func(*world) {
	return func(w *world) {
		before(w)
		hosts := map[string]bool{}
		for _, i := range w.engine.Instances() {
			hosts[i.Host] = true
		}
		for n := range 4 {
			if id := hostID(n + 1); hosts[id] {
				for range 4 {
					w.must(w.engine.AddRival(id, simulator.Rival{Model: a5000, GPUs: 1, Bid: market.USD(0, cents)}))
				}
			}
		}
	}
}

func (s *scene) world(t testing.TB, f *fuse) *world {
	w := newWorld(t, plot{
		config: few(s.target), faults: s.faults, sim: simulator.Options{Scenario: field(4), Boot: sure()},
		clock: func(c clock.Clock) clock.Clock { return mortal{c, f} },
	})
	w.wire.before = func(op string) { f.point("before " + op) }
	w.wire.after = func(op string) { f.point("after " + op) }
	s.prepare(w)
	w.write(few(s.target))
	w.restart()
	return w
}

// live runs the scene for some cycles with the fuse armed; killed says that the
// daemon died.
func (w *world) live(f *fuse, cycles int) (killed bool) {
	defer func() {
		if r := recover(); r != nil {
			if r != any(errKilled) {
				panic(r)
			}
			killed = true
		}
	}()
	f.armed = true
	n := 0
	err := w.run(func(plan.Report) bool { n++; return n == cycles })
	f.armed = false
	if err != nil && !errors.Is(err, ledger.ErrClosed) && !errors.Is(err, ledger.ErrWrite) && !errors.Is(err, daemon.ErrUnauthorized) {
		w.Fatal(err)
	}
	return err != nil
}

// TestKilledAnywhereItNeverBuysTwiceNorLeaks cuts every scene at every point (with
// TDSCALER_CAMPAIGN_STRIDE=1; else at every eleventh), and lets another process go
// on with the same ledger.
func TestKilledAnywhereItNeverBuysTwiceNorLeaks(t *testing.T) {
	for _, s := range scenes() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			count := &fuse{death: func() {}}
			w := s.world(t, count)
			w.live(count, 4)
			w.settle(time.Hour)
			w.end()
			if count.points < 50 {
				t.Fatalf("only %d points", count.points)
			}
			stride := envNumber(t, "STRIDE", 11)
			for at := 1 + len(s.name)%stride; at <= count.points; at += stride {
				cutAt(t, &s, at)
			}
		})
	}
}

func cutAt(t *testing.T, s *scene, at int) {
	f := &fuse{at: at, death: func() { panic(errKilled) }}
	w := s.world(t, f)
	if !w.live(f, 4) && f.where != "" {
		t.Fatalf("point %d (%s) did not kill", at, f.where)
	}
	w.restart()
	w.settle(time.Hour)
	if n := w.running("train"); n != s.target {
		t.Errorf("%d GPUs run, want %d", n, s.target)
	}
	w.whole()
	w.close()
	if t.Failed() {
		t.Fatalf("killed at point %d: %s", at, f.where)
	}
}

// TestWhenTheLedgerCannotBeWrittenNothingMoreIsSent cuts the ledger off instead of
// the daemon: from then on no intent can be written, so no write may leave.
func TestWhenTheLedgerCannotBeWrittenNothingMoreIsSent(t *testing.T) {
	s := scenes()[0]
	for at := 1; ; at++ {
		f := &fuse{at: at}
		w := s.world(t, f)
		// A ledger cannot be closed from inside its own transaction.
		w.plot.clock = nil
		w.restart()
		sent := -1
		f.death = func() {
			w.must(w.ledger.Close())
			sent = len(w.wire.writesSent())
		}
		w.live(f, 3)
		if sent < 0 {
			w.end()
			break
		}
		if more := w.wire.writesSent()[sent:]; len(more) > 0 {
			t.Errorf("after the ledger was gone (%s), it sent %q", f.where, more)
		}
		w.wrongs = nil // judge could not read the ledger either
		w.restart()
		w.settle(time.Hour)
		w.whole()
		w.end()
	}
}
