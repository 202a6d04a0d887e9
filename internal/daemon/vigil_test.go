package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tdscaler/tdscaler/internal/market"
)

// watchedRig has a machine that runs, and waits for its next cycle.
func watchedRig(t *testing.T, extra string) *rig {
	t.Helper()
	r := newRig(t, strings.Replace(one("live", 1), "daemon: {", "daemon: {"+extra, 1))
	r.turn()
	r.turn()
	r.clock.Set(r.clock.Now().Add(-time.Minute)) // the cycle is just over
	return r
}

// during lets something happen at the market so long after now.
func (r *rig) during(after time.Duration, change func(map[string]market.Instance)) {
	at := r.clock.Now().Add(after)
	r.market.instances = func() (list []market.Instance, _ error) {
		if !at.IsZero() && !r.clock.Now().Before(at) {
			change(r.market.machines)
			at = time.Time{}
		}
		for _, m := range r.market.machines {
			list = append(list, m)
		}
		return list, nil
	}
}

func outbidAll(ms map[string]market.Instance) {
	for id, m := range ms {
		m.Status = market.StatusOutbid
		ms[id] = m
	}
}

// wait waits for the next cycle and says how long it took.
func (r *rig) wait() time.Duration {
	r.Helper()
	began := r.clock.Now()
	if !r.sleep(context.Background()) {
		r.Fatal("it was stopped")
	}
	return r.clock.Now().Sub(began)
}

func (r *rig) looks(result string) int {
	return int(testutil.ToFloat64(r.metrics.early.WithLabelValues(result)))
}

func TestALossIsActedOnAtTheNextLookAndNotAtTheNextCycle(t *testing.T) {
	r := watchedRig(t, "")
	r.during(12*time.Second, outbidAll)
	if took := r.wait(); took != 20*time.Second || r.looks(lookQuiet) != 1 || r.looks(lookNews) != 1 {
		t.Fatalf("a cycle after %s, %d quiet looks", took, r.looks(lookQuiet))
	}
	rep := r.turn()
	if !strings.HasSuffix(rep.Early, "is outbid") || len(rep.Intents) == 0 {
		t.Errorf("early for %q, did %+v", rep.Early, rep.Intents)
	}
	if rep = r.turn(); rep.Early != "" {
		t.Errorf("the cycle after it is early too: %q", rep.Early)
	}
}

func TestAQuietWatchWritesNothingAndEndsWithTheSchedule(t *testing.T) {
	r := watchedRig(t, "")
	before, failed := r.o.Ledger.Stats(), r.o.Ledger.Failed()
	if took := r.wait(); took != time.Minute || r.looks(lookQuiet) != 5 || r.looks(lookNews) != 0 {
		t.Errorf("a cycle after %s, %d quiet looks", took, r.looks(lookQuiet))
	}
	if after := r.o.Ledger.Stats(); after != before || r.o.Ledger.Failed() != failed {
		t.Errorf("the ledger changed: %+v, %+v", before, after)
	}
}

func TestNothingIsWatchedWhereThereIsNothingToSeeOrNoRoom(t *testing.T) {
	for name, extra := range map[string]string{"switched off": "watch: 0s, ", "a schedule of hours": `schedule: "@every 1h", `, "no more often than the cycles": `watch: 1m, `} {
		r := watchedRig(t, extra)
		if r.wait(); r.looks(lookQuiet)+r.looks(lookNews) != 0 {
			t.Errorf("%s: %d looks", name, r.looks(lookQuiet))
		}
	}
	r := newRig(t, one("live", 0))
	if r.turn(); r.wait() != time.Minute || r.looks(lookQuiet) != 0 {
		t.Error("no machine, and looked at")
	}
	r = newRig(t, one("live", 1)+"tensordock: {marketplace_rps: 0.25}\n")
	r.turn()
	r.turn()
	if took := r.wait(); took != time.Minute || r.looks(lookQuiet) != 2 { // a fifth of a request in four seconds
		t.Errorf("%d looks at a quarter of a request a second", r.looks(lookQuiet))
	}
}

// A list that cannot be read says nothing about the machines: no cycle, no breaker,
// no absence, and no second try before the next cycle.
func TestAWatchThatFailsIsCountedAndSilent(t *testing.T) {
	r := watchedRig(t, "")
	r.blind(true)
	before, err := r.o.Ledger.History()
	if err != nil {
		t.Fatal(err)
	}
	if took := r.wait(); took != time.Minute || r.looks(lookFailed) != 1 {
		t.Errorf("a cycle after %s, %d failed looks", took, r.looks(lookFailed))
	}
	after, err := r.o.Ledger.History()
	if err != nil || len(after.Breakers) != 0 || after.Machines[0].Missed != before.Machines[0].Missed || len(after.Failures) != 0 {
		t.Errorf("%+v, %v", after, err)
	}
}

// A list that says something else every time doubles the cycles at most.
func TestNewsWithoutEndBringsNoCyclesWithoutEnd(t *testing.T) {
	r := watchedRig(t, "")
	n := 0
	r.market.instances = func() (list []market.Instance, _ error) {
		for _, m := range r.market.machines {
			if n++; n%2 == 0 {
				m.Status = market.StatusStopped
			}
			list = append(list, m)
		}
		return list, nil
	}
	early, began, cycles := 0, r.clock.Now(), 0
	for r.clock.Now().Sub(began) < time.Hour {
		r.wait()
		rep, err := r.cycle(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		cycles++
		if rep.Early != "" {
			early++
		}
	}
	if early == 0 || early > cycles-early+mostEarly {
		t.Errorf("%d of %d cycles in an hour began early", early, cycles)
	}
}

func TestAWakeAndAStopEndTheWatch(t *testing.T) {
	r := watchedRig(t, "")
	r.during(time.Second, func(map[string]market.Instance) { r.Wake() })
	if took := r.wait(); took != 10*time.Second || r.looks(lookNews) != 0 {
		t.Errorf("woken after %s", took)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.during(time.Second, func(map[string]market.Instance) { stop() })
	if r.sleep(ctx) {
		t.Error("a stop during a look begins another cycle")
	}
}

// One list that leaves a machine out is no proof: the early cycle counts one look,
// and nothing is bought before safety.absent_looks and absent_age.
func TestAMachineThatAWatchMissesIsNotReplacedAtOnce(t *testing.T) {
	r := watchedRig(t, "")
	hide := false
	r.market.instances = func() (list []market.Instance, _ error) {
		for _, m := range r.market.machines {
			if !hide {
				list = append(list, m)
			}
		}
		return list, nil
	}
	hide = true
	if took := r.wait(); took != 10*time.Second {
		t.Fatalf("a cycle after %s", took)
	}
	writes := len(r.market.writes())
	rep, err := r.cycle(context.Background())
	if err != nil || rep.Early == "" || len(r.market.writes()) != writes {
		t.Fatalf("%q: %v, %v", rep.Early, r.market.writes(), err)
	}
	if took := r.wait(); took != time.Minute {
		t.Errorf("what a cycle has missed is news again after %s", took)
	}
}

// A policy that lacks a machine learns of a new offer at the next look.
func TestAnOfferThatAppearsIsTakenAtTheNextLook(t *testing.T) {
	r := newRig(t, one("live", 2))
	hosts, _ := r.market.Hosts(context.Background())
	free := 1
	r.market.hosts = func() ([]market.Host, error) {
		h := hosts[0]
		h.GPUs = []market.HostGPU{{Model: gpu, Free: free, Price: h.GPUs[0].Price}}
		if free == 0 { // somebody displaces nobody there
			h.Online = false
		}
		return []market.Host{h}, nil
	}
	r.turn()
	free = 0
	r.turn()
	if n := len(r.market.writes()); n != 1 {
		t.Fatalf("%d machines, where one GPU was free", n)
	}
	if took := r.wait(); took != time.Minute || r.looks(lookQuiet) != 5 {
		t.Fatalf("nothing is offered, and a cycle begins after %s", took)
	}
	r.turn()
	free = 1
	if took := r.wait(); took != 10*time.Second {
		t.Fatalf("a cycle after %s", took)
	}
	if rep := r.turn(); !strings.Contains(rep.Early, "host host offers") || len(r.market.writes()) != 2 {
		t.Errorf("early for %q, %q", rep.Early, r.market.writes())
	}
}
