package campaign

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// rival is a second daemon with a ledger of its own, on the same market and with
// the same configuration.
func (w *world) rival() *world {
	w.Helper()
	o := newWitness(w.TB)
	o.plot, o.clock, o.engine, o.dir = w.plot, w.clock, w.engine, w.TempDir()
	o.called, o.alive, o.born, o.ran, o.everBought = w.called, w.alive, w.born, w.ran, w.everBought
	w.daemons++
	o.wire = newWire(w.engine.Handler(simulator.FaceOptions{Shape: w.plot.shape, Key: apiKey, Token: apiToken}))
	o.wire.judge, o.wire.done, o.wire.listed = o.judge, o.written, o.looks
	o.write(w.plot.config)
	o.start()
	return o
}

// once lets the daemon do one cycle.
func (w *world) once() {
	w.Helper()
	w.must(w.run(func(plan.Report) bool { return true }))
}

func (w *world) stopped() bool {
	w.Helper()
	h, err := w.ledger.History()
	w.must(err)
	b := h.OpenBreaker(w.clock.Now())
	return b != nil && b.Code == plan.BreakerSecondDaemon
}

// alternate lets two daemons do so many cycles in turn, a minute a turn.
func alternate(a, b *world, turns int) {
	for range turns {
		a.once()
		b.once()
		a.clock.Set(a.clock.Now().Add(time.Minute))
	}
}

// duel is two daemons of which each buys the whole target in the same round: the
// second one's cycle lies between the first one's look and its first order.
func duel(t *testing.T, config string) (a, b *world) {
	a = newWorld(t, plot{config: config, sim: simulator.Options{Scenario: field(4), Boot: sure()}})
	b = a.rival()
	done := false
	a.wire.before = func(op string) {
		if strings.Contains(op, "/deploy/single") && !done {
			done = true
			b.once()
		}
	}
	a.once()
	if n := a.gpus("train"); n != 6 {
		t.Fatalf("the round of both bought %d machines", n)
	}
	a.clock.Set(a.clock.Now().Add(time.Minute))
	return a, b
}

func TestTwoDaemonsUnderOneOwnerStopUntilOneIsStoppedByHand(t *testing.T) {
	a, b := duel(t, few(3))
	alternate(a, b, 1)
	if !a.stopped() || !b.stopped() {
		t.Fatalf("stopped: %v and %v", a.stopped(), b.stopped())
	}
	sent := len(a.wire.writesSent()) + len(b.wire.writesSent())
	alternate(a, b, 20)
	a.restart()
	b.restart()
	alternate(a, b, 20)
	if more := len(a.wire.writesSent()) + len(b.wire.writesSent()) - sent; more != 0 {
		t.Errorf("stopped, they sent %d writes", more)
	}
	if n := len(a.engine.Fleet()); n != 6 {
		t.Errorf("%d machines were made for three", n)
	}
	b.halt() // the operator finds the other one, and stops it
	_, closed, err := daemon.Resume(a.ledger, "")
	if err != nil || len(closed) != 1 || closed[0].Code != plan.BreakerSecondDaemon {
		t.Errorf("resumed %+v, %v", closed, err)
	}
	a.settle(30 * time.Minute)
	a.pass(time.Hour)
	if n := a.running("train"); n != 3 || a.stopped() || len(a.engine.Fleet()) != 6 {
		t.Errorf("%d GPUs run of %d ever made, stopped %v", n, len(a.engine.Fleet()), a.stopped())
	}
	a.whole()
	a.end()
}

func TestWithTwoDaemonsStoppedDestroyStillEndsTheBill(t *testing.T) {
	a, b := duel(t, few(3))
	alternate(a, b, 1)
	if _, err := a.daemon.Destroy(a.Context(), "train", "test"); err != nil {
		t.Error(err)
	}
	alternate(a, b, 5)
	if n := a.gpus("train"); n != 0 {
		t.Errorf("%d GPUs are left", n)
	}
	b.halt()
	a.whole()
	a.end()
}

// TestASecondDaemonThatOnlyWatchesStopsNobody: what was there before the first look
// proves nothing; the first purchase under its eyes does, before it buys itself.
func TestASecondDaemonStopsAtTheFirstPurchaseOfTheOther(t *testing.T) {
	a := newWorld(t, plot{config: few(3), sim: simulator.Options{Scenario: field(4), Boot: sure()}})
	a.settle(10 * time.Minute)
	b := a.rival()
	alternate(a, b, 10)
	if a.stopped() || b.stopped() {
		t.Fatalf("nothing was bought, and stopped are %v and %v", a.stopped(), b.stopped())
	}
	a.must(a.engine.Delete(a.engine.Instances()[0].ID))
	alternate(a, b, 20)
	if a.stopped() || !b.stopped() || len(b.wire.writesSent()) != 0 {
		t.Errorf("stopped: %v and %v; the second one sent %q", a.stopped(), b.stopped(), b.wire.writesSent())
	}
	if n := a.running("train"); n != 3 {
		t.Errorf("%d GPUs run", n)
	}
	b.halt()
	a.whole()
	a.end()
}

func TestWhatComesLateFromAnOrderOfOursStopsNobody(t *testing.T) {
	// Lost by everybody for longer than an order is looked for, then there.
	faults := "lost:deploy:n1,empty:list:1:10s-8m,empty:v2_list:1:10s-8m,no_balance:balance:1"
	w := newWorld(t, plot{config: few(1), faults: faults, sim: simulator.Options{Scenario: field(2), Boot: sure()}})
	w.daemons = 2 // the one that was given up, and the one that replaced it
	w.pass(20 * time.Minute)
	w.settle(10 * time.Minute)
	if n := len(w.engine.Fleet()); n != 2 || w.stopped() {
		t.Errorf("%d machines were made, stopped %v: %+v", n, w.stopped(), w.last.Input.History.Breakers)
	}
	w.whole()
	w.end()
}

func TestAFreshLedgerDoesNotBuyOnTopOfWhatItsFirstListsHide(t *testing.T) {
	config := eight("0.60", "budget: {max_hourly: 4.80}")
	w := newWorld(t, plot{config: config, sim: simulator.Options{Scenario: field(4), Boot: sure()}})
	w.settle(15 * time.Minute)
	w.halt()
	w.must(os.Remove(w.ledger.Path()))
	faults, err := simulator.ParseFaults("empty:list:n1-4,partial:list:n5-8,empty:v2_list:1")
	w.must(err)
	w.wire.reset(w.engine.Handler(simulator.FaceOptions{Shape: w.plot.shape, Key: apiKey, Token: apiToken, Faults: faults}))
	w.start()
	w.once()
	told := false
	for _, h := range w.last.Plan.Holds {
		told = told || h.Reason.Code == plan.HoldDisagrees
	}
	if !told {
		t.Errorf("nobody says that the bill disagrees: %+v", w.last.Plan.Holds)
	}
	w.pass(30 * time.Minute)
	w.settle(30 * time.Minute)
	if n := len(w.engine.Fleet()); n != 8 || w.stopped() {
		t.Errorf("%d machines were made for eight, stopped %v", n, w.stopped())
	}
	w.whole()
	w.end()
}
