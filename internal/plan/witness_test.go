package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// ordered is a world with one order whose answer was lost.
func ordered() Input {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	m.ID, m.Phase, m.Status, m.SeenAt, m.ReadyAt, m.OrderedAt, m.DeployIntent = "", PhaseUnknown, market.StatusUnknown, time.Time{}, time.Time{}, t0, 1
	in.History.Machines = []Machine{m}
	return in
}

func noV2(in *Input) {
	in.Snapshot.V2 = market.Section[[]string]{At: in.Now, Problem: "list instances: unauthorized", Class: market.ClassUnauthorized}
}

// expiredAfter lets a minute pass with every look, and tells which one gave the
// order up.
func expiredAfter(t *testing.T, in *Input, change func(i int)) int {
	t.Helper()
	for i := 1; i <= 100; i++ {
		in.Now = in.Now.Add(time.Minute)
		change(i)
		if events := observed(in); len(events) > 0 {
			if events[0].Kind != EventExpired || len(in.History.Machines) != 0 {
				t.Fatalf("look %d: %+v", i, events)
			}
			return i
		}
	}
	t.Fatal("the order is held for ever")
	return 0
}

func TestALostOrderExpiresByBothListsOrByV0AloneAfterThreeTimesAsLong(t *testing.T) {
	for name, c := range map[string]struct {
		down func(look int) bool
		want int
	}{
		"both lists":                         {func(int) bool { return false }, 10},
		"v2 is down for ever":                {func(int) bool { return true }, 30},
		"v2 is down for a while":             {func(i int) bool { return i < 9 }, 11},
		"v2 is back for too few looks":       {func(i int) bool { return i > 2 }, 30},
		"v2 answers every other time":        {func(i int) bool { return i%2 == 0 }, 10},
		"v2 answers at the last moment, too": {func(i int) bool { return i < 28 }, 30},
	} {
		in := ordered()
		got := expiredAfter(t, &in, func(i int) {
			in.Snapshot.V2 = market.Section[[]string]{At: in.Now, Complete: true}
			if c.down(i) {
				noV2(&in)
			}
		})
		if got != c.want {
			t.Errorf("%s: given up by look %d, want %d", name, got, c.want)
		}
	}
}

func TestAnOrderThatWaitsForV0AloneSaysSo(t *testing.T) {
	in := ordered()
	in.Now = in.Now.Add(time.Minute)
	noV2(&in)
	observed(&in)
	held := holds(Compute(in), HoldBooting)
	if len(held) != 1 || !strings.Contains(held[0].Reason.Text, "3 times as long") || !strings.Contains(held[0].Reason.Text, "unauthorized") {
		t.Errorf("held because %+v", held)
	}
}

func TestWhatOnlyV2ShowsIsConfirmedAndMissedByV2Alone(t *testing.T) {
	in := ordered()
	inst := shown(in.History.Machines[0])
	inst.ID, inst.API, inst.Status = "id-1", market.V2, market.StatusRunning
	if events := observed(&in, inst); len(events) == 0 || events[0].Kind != EventConfirmed || in.History.Machines[0].API != market.V2 {
		t.Fatalf("not confirmed through v2: %+v", in.History.Machines)
	}
	for range 20 { // v0 never showed it: what it leaves out says nothing
		in.Now = in.Now.Add(time.Minute)
		noV2(&in)
		if events := observed(&in); len(events) != 0 {
			t.Fatalf("without v2's list: %+v", events)
		}
	}
	for i := 1; i <= 3; i++ {
		in.Now = in.Now.Add(time.Minute)
		in.Snapshot.V2 = market.Section[[]string]{At: in.Now, Complete: true}
		if events := observed(&in); len(events) > 0 != (i == 3) {
			t.Fatalf("look %d of v2: %+v", i, events)
		}
	}
	if len(in.History.Machines) != 0 {
		t.Errorf("still there: %+v", in.History.Machines)
	}
}

func TestWhatV0HasShownOnceIsV0sAndAMassVanishingFromV2IsNotBelieved(t *testing.T) {
	p := newPolicy("p", 2)
	in := newInput(nil, p)
	for i := range 2 {
		m := newMachine(p, i, "a", "0.20")
		m.API = market.V2
		in.History.Machines = append(in.History.Machines, m)
	}
	noV2(&in)
	if events := observed(&in); len(events) != 0 || in.History.OpenBreaker(in.Now) != nil {
		t.Errorf("without v2's list: %+v", events)
	}
	in.Snapshot.V2 = market.Section[[]string]{At: in.Now, Complete: true}
	if observed(&in); in.History.OpenBreaker(in.Now) == nil {
		t.Error("two of two vanished from v2's complete list, and it is believed")
	}
	for _, api := range []market.API{market.V0, market.V2} {
		inst := shown(in.History.Machines[0])
		inst.API = api
		if observed(&in, inst); in.History.Machines[0].API != market.V0 {
			t.Errorf("shown by v0, then by v2: %s", in.History.Machines[0].API)
		}
	}
}

func TestWhatOnlyV2ShowsIsDeletedThroughV2AndNeverBidFor(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	m.API, m.Status = market.V2, market.StatusOutbid
	in.History.Machines = []Machine{m}
	plan := Compute(in)
	if len(plan.Actions) != 1 || plan.Actions[0].Kind != Delete || plan.Actions[0].API != market.V2 || len(plan.Questions) != 0 {
		t.Fatalf("%+v", plan)
	}
	intent, err := Begin(&in.History, plan.Actions[0], Caps{Hourly: market.MaxRate}, 2, 1, "", in.Now)
	if err != nil || intent.API != market.V2 {
		t.Errorf("%+v, %v", intent, err)
	}
}
