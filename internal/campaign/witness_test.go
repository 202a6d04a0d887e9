package campaign

import (
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// calls counts the requests that went to a path so far.
func (w *wire) calls(op string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sent {
		if s == op {
			n++
		}
	}
	return n
}

const listV2 = "GET /api/v2/instances"

func TestAnOrderThatV0LosesAndV2ShowsIsNotBoughtAgain(t *testing.T) {
	for name, faults := range map[string]string{
		"v0 shows nothing for an hour":            "lost:deploy:n1,empty:list:1:10s-60m",
		"the same, and v2's list is old at first": "lost:deploy:n1,empty:list:1:10s-60m,empty:v2_list:n1-2",
		"the same, and v2 is down in between":     "lost:deploy:n1,empty:list:1:10s-60m,json500:v2_*:1:5m-50m",
		"the same, and v2's list lies":            "lost:deploy:n1,empty:list:1:10s-60m,empty:v2_list:1:5m-55m",
		"the same, and v2 tells no numbers":       "lost:deploy:n1,empty:list:1:10s-60m,no_gpu_count:v2_list:1,no_gpu_count:v2_get:1",
	} {
		w := newWorld(t, plot{config: few(1), faults: faults, sim: simulator.Options{Scenario: field(2), Boot: sure()}})
		w.pass(4 * time.Minute)
		if h := w.last.Input.History; len(h.Machines) != 1 || h.Machines[0].Phase != plan.PhaseLive || h.Machines[0].API != market.V2 {
			t.Errorf("%s: not confirmed through v2: %+v", name, h.Machines)
		}
		w.pass(70 * time.Minute)
		w.settle(10 * time.Minute)
		if made := len(w.engine.Fleet()); made != 1 {
			t.Errorf("%s: %d machines were made for one", name, made)
		}
		if m := w.last.Input.History.Machines[0]; m.API != market.V0 {
			t.Errorf("%s: v0 shows it again, and it is %s's", name, m.API)
		}
		w.whole()
		w.end()
	}
}

func TestALostOrderIsGivenUpSoonerWhereBothAPIsCanBeAsked(t *testing.T) {
	for faults, want := range map[string]time.Duration{
		"lost_request:deploy:n1":                3 * time.Minute,
		"lost_request:deploy:n1,json500:v2_*:1": 9 * time.Minute,
		"lost_request:deploy:n1,auth:v2_*:1":    9 * time.Minute,
		"lost_request:deploy:n1,html200:v2_*:1": 9 * time.Minute,
	} {
		w := newWorld(t, plot{config: few(1), faults: faults, sim: simulator.Options{Scenario: field(2), Boot: sure()}})
		var after time.Duration
		w.must(w.run(func(r plan.Report) bool {
			for _, e := range r.Events {
				if e.Kind == plan.EventExpired {
					after = r.StartedAt.Sub(epoch)
				}
			}
			return after > 0 || r.StartedAt.Sub(epoch) > time.Hour
		}))
		if after < want || after > want+2*time.Minute {
			t.Errorf("%s: given up after %s, want %s", faults, after, want)
		}
		w.settle(20 * time.Minute)
		w.whole()
		w.end()
	}
}

func TestV2IsAskedOnceACycleAndWithinItsPace(t *testing.T) {
	config := strings.Replace(few(1), "@every 1m", "@every 1s", 1)
	w := newWorld(t, plot{config: config, faults: "lost_request:deploy:n1", sim: simulator.Options{Scenario: field(2), Boot: sure()}})
	w.pass(2 * time.Minute)
	cycles, asked := w.reports, w.wire.calls(listV2)
	if asked == 0 || asked > cycles || asked > 201 {
		t.Errorf("v2's list was asked for %d times in two minutes and %d cycles", asked, cycles)
	}
	w.settle(10 * time.Minute)
	before := w.wire.calls(listV2)
	w.pass(2 * time.Minute)
	if more := w.wire.calls(listV2) - before; more != 0 {
		t.Errorf("a fleet that v0 shows whole asked v2 %d times", more)
	}
	w.whole()
	w.end()
}

// toV2 counts all requests to v2.
func (w *wire) toV2() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, op := range w.sent {
		if strings.Contains(op, "/api/v2/") {
			n++
		}
	}
	return n
}

func TestV2IsAskedAHundredTimesAMinuteAtMostThoughOnlyItShowsTheFleetAndTellsNoAddress(t *testing.T) {
	config := strings.NewReplacer("@every 1m", "@every 1s", "max_gpu_hour", "capacity: on_demand\n    ssh_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvciB0ZXN0cyBvbmx5IGZvciB0ZXN0cyBvbmx5IG9r me@here\n    max_gpu_hour", "0.60", "1.50").Replace(few(3))
	w := newWorld(t, plot{config: config, faults: "empty:list:1,json500:get:1,drop=ipAddress:v2_get:1,drop=ipAddress:v2_list:1", sim: simulator.Options{Scenario: field(3), Boot: sure()}})
	w.pass(30 * time.Second)
	asked, reports := w.wire.toV2(), w.reports
	for range 3 {
		w.pass(time.Minute)
		more, looks := w.wire.toV2()-asked, w.reports-reports
		asked, reports = asked+more, reports+looks
		if more > 100 || looks < 50 {
			t.Errorf("v2 was sent %d requests in a minute with %d looks", more, looks)
		}
	}
	w.end()
}

func TestWhatOnlyV2ShowsIsDestroyedThroughV2(t *testing.T) {
	w := newWorld(t, plot{config: few(1), faults: "lost:deploy:n1,empty:list:1:10s-", sim: simulator.Options{Scenario: field(2), Boot: sure()}})
	w.pass(4 * time.Minute)
	done, err := w.daemon.Destroy(w.Context(), "train", "test")
	if err != nil || len(done) != 1 || done[0].Outcome != "accepted" {
		t.Errorf("%+v, %v", done, err)
	}
	w.pass(3 * time.Minute)
	if n := len(w.engine.Instances()); n != 0 {
		t.Errorf("%d machines are left", n)
	}
	for _, op := range w.wire.writesSent() {
		if strings.Contains(op, "/delete/single") {
			t.Errorf("v0 was asked to delete what it has never shown: %s", op)
		}
	}
	w.whole()
	w.end()
}
