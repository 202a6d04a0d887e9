package campaign

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
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
	dying  bool // a commit was the last thing it did
	death  func()
}

var errKilled = errors.New("killed")

func (f *fuse) point(where string) {
	if f.dying {
		f.death()
	}
	if !f.armed {
		return
	}
	f.points++
	if f.points == f.at {
		f.armed, f.where = false, where
		f.death()
	}
}

// commit is the point before a commit. A ledger cannot be left in the middle of
// one: the commit fails, and the process dies at its next step.
func (f *fuse) commit() error {
	if !f.armed {
		return nil
	}
	f.points++
	if f.points != f.at {
		return nil
	}
	f.armed, f.dying, f.where = false, true, "before a commit"
	return errKilled
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
daemon: {schedule: "@every 1m", mode: live, ledger: ledger.db, listen: "", watch: 0s}
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
	rebid   simulator.RebidMode
	budget  string                                         // of the policy
	do      func(w *world, cycles func(n int) error) error // what happens with the fuse armed; four cycles by default
	again   func(*world)                                   // what the operator does after the crash
	config  func(n int) string                             // few by default
	runs    func(*world) int                               // what runs in the end; the GPUs of train by default
}

// onDemand wants n machines on demand, of a size that v2 sells.
func onDemand(n int, shape, more string) string {
	return strings.NewReplacer("{gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100}", shape, "0.60", "1.50").Replace(few(n)) + `    capacity: on_demand
    ssh_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvciB0ZXN0cyBvbmx5IGZvciB0ZXN0cyBvbmx5IG9r me@here
` + more
}

const (
	small = "{gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100}"
	large = "{gpus: 1, vcpus: 6, ram_gb: 32, storage_gb: 120}"
)

// otherWays are the scenes of what is bought otherwise than v0's own size on a host, and
// of what becomes of it.
func otherWays() []scene {
	plain := func(n int) string { return onDemand(n, small, "") }
	parks := func(n int) string { return onDemand(n, small, "    scale_down: release\n") }
	becomes := func(config string, n int) func(*world, func(int) error) error {
		return func(w *world, cycles func(int) error) error {
			w.write(config)
			return errors.Join(w.reload(true), cycles(n))
		}
	}
	had := func(config string) func(*world) {
		return func(w *world) {
			w.write(config)
			w.restart()
			w.settle(30 * time.Minute)
		}
	}
	ready := func(n int) string {
		return strings.NewReplacer("    shape: "+small+"\n", "", "0.60", "1.50").Replace(few(n)) + "    kind: instant\n"
	}
	return []scene{
		{name: "order through v2", target: 3, prepare: nobody, config: plain},
		{name: "order through v2 whose answers are lost", target: 3, prepare: nobody, config: plain, faults: "lost:v2_create:n1,lost_request:v2_create:n2,late500:v2_create:n3"},
		{name: "ready-made machines", target: 2, prepare: nobody, config: ready, faults: "lost:deploy_instant:n1"},
		{name: "release and start", target: 3, prepare: had(parks(3)), config: parks, faults: "lost:stop:n1,lost:v2_stop:n1,lost:start:n1,lost:v2_start:n1", do: func(w *world, cycles func(int) error) error {
			return errors.Join(becomes(parks(1), 6)(w, cycles), becomes(parks(3), 8)(w, cycles))
		}, again: func(w *world) { w.write(parks(3)); w.must(w.reload(true)) }},
		{
			name: "resize", target: 2, prepare: func(w *world) { had(plain(2))(w); w.reshaped = true }, config: plain, faults: "lost:v2_modify:n1,lost_request:v2_modify:n2", do: becomes(onDemand(2, large, ""), 14),
			again: func(w *world) { w.write(onDemand(2, large, "")); w.must(w.reload(true)) },
		},
		{
			name: "container", target: 3, prepare: nobody, config: func(n int) string { return web(n, "") }, faults: "lost:container_scale:n1-2",
			do: func(_ *world, cycles func(int) error) error { return cycles(30) }, again: theOperatorKnows, runs: func(w *world) int { _, all := w.replicas(); return all },
		},
	}
}

func nobody(*world) {}

// theOperatorKnows says of every container in doubt what the dashboard shows.
func theOperatorKnows(w *world) {
	w.Helper()
	w.must(w.cycles(1))
	h, err := w.ledger.History()
	w.must(err)
	for _, c := range h.Containers {
		if c.ID != "" {
			continue
		}
		word := daemon.Adoption{Policy: c.Policy, None: true}
		for _, is := range w.engine.Containers() {
			word = daemon.Adoption{Policy: c.Policy, ID: is.ID}
		}
		_, err := w.daemon.AdoptContainer(w.Context(), word)
		w.must(err)
	}
}

func scenes() []scene {
	bought := func(n int) func(*world) {
		return func(w *world) {
			w.write(few(n))
			w.restart()
			w.settle(30 * time.Minute)
		}
	}
	nothing := func(*world) {}
	destroyed := func(w *world, cycles func(int) error) error {
		w.destroying = true
		_, err := w.daemon.Destroy(w.Context(), "train", "test")
		w.destroying = false
		return errors.Join(err, cycles(3))
	}
	destroy := func(w *world) { w.must(destroyed(w, func(int) error { return nil })) }
	return []scene{
		{name: "deploy", target: 3, prepare: nothing},
		{name: "deploy whose answers are lost", target: 3, prepare: nothing, faults: "lost:deploy:n1-2,lost_request:deploy:n3"},
		{name: "deploy that is refused", target: 3, prepare: nothing, faults: "price_move=10m:validate:n1-2"},
		{name: "delete", target: 1, prepare: bought(3)},
		{name: "drain and delete", target: 1, prepare: bought(3), do: func(w *world, cycles func(int) error) error {
			w.write(few(1) + "    drain: {webhook: {url: \"https://hooks.example.com/x\"}, grace: 1m, deadline: 4m}\n")
			return errors.Join(w.reload(true), cycles(8))
		}},
		{name: "delete whose answers are lost", target: 1, prepare: bought(3), faults: "lost:delete:n1,late500:delete:n2"},
		{name: "rebid by modify", target: 3, prepare: outbid(bought(3), 55), rebid: simulator.ByModify},
		{name: "rebid by validate", target: 3, prepare: outbid(bought(3), 55), rebid: simulator.ByValidateExisting},
		{name: "rebid whose answers are lost", target: 3, prepare: outbid(bought(3), 55), faults: "lost:modify:n1,lost:validate_existing:n2"},
		{name: "rebid without effect", target: 3, prepare: outbid(bought(3), 55), rebid: simulator.Never},
		{name: "replace", target: 3, prepare: outbid(bought(3), 90)},
		{name: "adopt", target: 3, prepare: func(w *world) {
			bought(3)(w)
			w.halt()
			w.must(os.Remove(w.ledger.Path()))
			w.start()
		}},
		{name: "adopt and give up", target: 2, prepare: func(w *world) {
			bought(3)(w)
			w.halt()
			w.must(os.Remove(w.ledger.Path()))
			w.start()
		}},
		{name: "shed for budget", target: 1, prepare: bought(3), budget: "{max_hourly: 0.70}"},
		{name: "destroy", target: 0, prepare: bought(3), again: destroy, do: destroyed},
		{name: "destroy whose answers are lost", target: 0, prepare: bought(3), again: destroy, faults: "lost:delete:n1,lost_request:delete:n2", do: destroyed},
		{name: "pause and resume", target: 3, prepare: nothing, again: resume, do: func(w *world, cycles func(int) error) error {
			if err := cycles(1); err != nil {
				return err
			}
			if err := daemon.SetPause(w.ledger, plan.Pause{Since: w.clock.Now(), Reason: "test"}); err != nil {
				return err
			}
			if err := cycles(1); err != nil {
				return err
			}
			if _, _, err := daemon.Resume(w.ledger, ""); err != nil {
				return err
			}
			return cycles(2)
		}},
	}
}

func resume(w *world) {
	w.Helper()
	_, _, err := daemon.Resume(w.ledger, "")
	w.must(err)
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
	wants := few
	if s.config != nil {
		wants = s.config
	}
	config := wants(s.target)
	if s.target == 0 || s.budget != "" { // what it was before stays wished for
		config = few(3)
	}
	w := newWorld(t, plot{
		config: config, faults: s.faults, sim: simulator.Options{Scenario: field(4), Boot: sure(), RebidApplies: s.rebid},
		clock: func(c clock.Clock) clock.Clock { return mortal{c, f} }, commit: f.commit,
	})
	w.wire.before = func(op string) { f.point("before " + op) }
	w.wire.after = func(op string) { f.point("after " + op) }
	s.prepare(w)
	if s.budget != "" {
		config = strings.TrimRight(config, " \n") + "\n    budget: " + s.budget + "\n"
	}
	w.write(config)
	w.restart()
	return w
}

// live runs the scene with the fuse armed; killed says that the daemon died.
func (s *scene) live(w *world, f *fuse) bool {
	return w.mortally(f, func() error {
		if s.do == nil {
			return w.cycles(4)
		}
		return s.do(w, w.cycles)
	})
}

// live runs some cycles with the fuse armed.
func (w *world) live(f *fuse, cycles int) bool {
	return w.mortally(f, func() error { return w.cycles(cycles) })
}

func (w *world) cycles(most int) error {
	n := 0
	return w.run(func(plan.Report) bool { n++; return n == most })
}

func (w *world) mortally(f *fuse, do func() error) (killed bool) {
	defer func() {
		if r := recover(); r != nil {
			if r != any(errKilled) {
				panic(r)
			}
			killed = true
		}
	}()
	f.armed = true
	err := do()
	f.armed = false
	if err != nil && !errors.Is(err, ledger.ErrClosed) && !errors.Is(err, ledger.ErrWrite) && !errors.Is(err, daemon.ErrUnauthorized) {
		w.Fatal(err)
	}
	return err != nil || f.dying
}

// TestKilledAnywhereItNeverBuysTwiceNorLeaks cuts every scene at every point (with
// TDSCALER_CAMPAIGN_STRIDE=1, which is make sim-crash; else at every 97th), and
// lets another process go on with the same ledger.
func TestKilledAnywhereItNeverBuysTwiceNorLeaks(t *testing.T) {
	stride := envNumber(t, "STRIDE", 97)
	var cuts atomic.Int64
	t.Run("scenes", func(t *testing.T) {
		for _, s := range append(scenes(), otherWays()...) {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				count := &fuse{death: func() {}}
				w := s.world(t, count)
				s.live(w, count)
				w.rest(time.Hour)
				w.end()
				if count.points < 50 {
					t.Fatalf("only %d points", count.points)
				}
				n := 0
				for at := 1 + len(s.name)%stride; at <= count.points; at += stride {
					// A test of its own, whose world goes when it ends: they come by the thousand.
					if !t.Run(strconv.Itoa(at), func(t *testing.T) { cutAt(t, &s, at) }) {
						return
					}
					n++
				}
				cuts.Add(int64(n))
				if stride == 1 {
					fmt.Printf("%-32s %d points\n", s.name, n)
				}
			})
		}
	})
	if stride == 1 {
		fmt.Printf("%d points in all\n", cuts.Load())
	}
}

func cutAt(t *testing.T, s *scene, at int) {
	f := &fuse{at: at, death: func() { panic(errKilled) }}
	w := s.world(t, f)
	if !s.live(w, f) && f.where != "" {
		t.Fatalf("point %d (%s) did not kill", at, f.where)
	}
	f.armed, f.dying = false, false
	w.writing, w.destroying = nil, false
	w.restart()
	if s.again != nil {
		s.again(w)
	}
	if s.runs != nil { // what lists of replicas prove takes its time, and to wait for it is rest
		w.pass(time.Hour)
	}
	w.rest(time.Hour)
	n := w.running("train")
	if s.runs != nil {
		n = s.runs(w)
	}
	if n != s.target {
		t.Errorf("%d GPUs run, want %d", n, s.target)
	}
	w.whole()
	w.close()
	if t.Failed() {
		t.Fatalf("killed at point %d: %s", at, f.where)
	}
}

// rest lets the daemon go on until nothing is pending, at most for d.
func (w *world) rest(d time.Duration) {
	w.Helper()
	end := w.clock.Now().Add(d)
	quiet := 0
	w.must(w.run(func(r plan.Report) bool {
		if quiet++; !resting(w, &r) && !torndown(w, &r) {
			quiet = 0
		}
		return quiet > 1 || r.FinishedAt.After(end)
	}))
	if quiet == 0 {
		w.Errorf("not at rest after %s: %+v\nholds %+v\nproblem %q", d, w.last.Plan.Standings, w.last.Plan.Holds, w.last.Problem)
	}
}

// torndown: the policy is destroyed, and nothing of it is left.
func torndown(w *world, r *plan.Report) bool {
	p := r.Input.History.PausedBy("train", r.Input.Now)
	return p != nil && p.Teardown && len(r.Input.History.Machines) == 0 && len(r.Intents) == 0 && w.ledger.Stats().OpenIntents == 0
}

// TestWhenTheLedgerCannotBeWrittenNothingMoreIsSent cuts the ledger off instead of
// the daemon: from then on no intent can be written, so no write may leave.
func TestWhenTheLedgerCannotBeWrittenNothingMoreIsSent(t *testing.T) {
	s := scenes()[0]
	for at := 1; ; at++ {
		f := &fuse{at: at}
		w := s.world(t, f)
		// A ledger cannot be closed from inside its own transaction.
		w.plot.clock, w.plot.commit = nil, nil
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
