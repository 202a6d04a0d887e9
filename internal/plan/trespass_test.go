package plan

import (
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// appeared is a world in which a machine of ours without a record has appeared.
func appeared() (Input, Look) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	in.History.Machines = []Machine{newMachine(p, 1, "a", "0.20")}
	alien := shown(newMachine(p, 2, "b", "0.20"))
	in.Snapshot.Instances.Value = []market.Instance{shown(in.History.Machines[0]), alien}
	l := look(in)
	l.Strange, l.Watched = []string{alien.Name}, t0.Add(-time.Hour)
	return in, l
}

func TestAMachineThatSomebodyElseBoughtUnderOurOwnerStopsEverything(t *testing.T) {
	in, l := appeared()
	events := Observe(&in.History, l)
	b := in.History.OpenBreaker(in.Now)
	if b == nil || b.Code != BreakerSecondDaemon || !b.All || !b.Until.IsZero() || len(in.History.Machines) != 2 {
		t.Fatalf("breaker %+v, machines %+v", b, in.History.Machines)
	}
	if k := kinds(events); len(k) < 2 || k[0] != EventAdopted || k[1] != EventBreaker {
		t.Errorf("events %v", k)
	}
	for _, word := range []string{l.Strange[0], `"main"`, "another daemon", "daemon.owner", "resume"} {
		if !strings.Contains(b.Reason, word) {
			t.Errorf("the reason lacks %s: %s", word, b.Reason)
		}
	}
	p := Compute(in)
	wantActions(t, p) // not even the machine too many
	wantHold(t, p, HoldBreaker)
	for _, kind := range []ActionKind{Deploy, Rebid, Delete} {
		if in.History.Forbids(Action{Kind: kind, Policy: "p"}, in.Now) == "" {
			t.Errorf("a %s would go out", kind)
		}
	}
	in.Now, l.Now = in.Now.Add(100*24*time.Hour), in.Now.Add(100*24*time.Hour)
	if Observe(&in.History, l); in.History.OpenBreaker(in.Now) == nil || len(in.History.Breakers) != 1 {
		t.Errorf("after a hundred days: %+v", in.History.Breakers)
	}
}

func TestACapIsHeldEvenWhereAllWritesStop(t *testing.T) {
	in, l := appeared()
	in.Policies[0].Target = 2
	Observe(&in.History, l)
	in.Budget.MaxDaily = market.Some(dollars(5))
	in.History.Spend = []Spend{{"2026-03-10", "p", dollars(5) - market.Amount(5*market.Cent)}}
	p := Compute(in) // 0.41 for eleven minutes is 0.075
	wantActions(t, p, "delete "+in.History.Machines[0].Name+" over_budget")
	if why := in.History.Forbids(p.Actions[0], in.Now); why != "" {
		t.Error(why)
	}
}

func TestWhatIsNoProofOfASecondDaemonIsAdoptedInPeace(t *testing.T) {
	for name, change := range map[string]func(*Look){
		"the first look of a process":      func(l *Look) { l.Watched = time.Time{} },
		"a machine made long before it":    func(l *Look) { l.Snapshot.Instances.Value[1].Created = t0.Add(-2 * time.Hour) },
		"a name that this ledger knows":    func(l *Look) { l.Strange = nil },
		"a machine of another owner":       func(l *Look) { l.Snapshot.Instances.Value[1].Name = "tds-other-p-k0000002" },
		"a twin of a machine that we know": func(l *Look) { l.Snapshot.Instances.Value[1].Name = l.Snapshot.Instances.Value[0].Name },
		"a machine that has ended":         func(l *Look) { l.Snapshot.Instances.Value[1].Status = market.StatusTerminated },
		"a list that is not complete":      func(l *Look) { l.Snapshot.Instances.Complete = false },
	} {
		in, l := appeared()
		change(&l)
		if Observe(&in.History, l); len(in.History.Breakers) != 0 {
			t.Errorf("%s: %+v", name, in.History.Breakers)
		}
	}
}

func TestWhatAnOperatorDestroyedGoesAlsoWhileEverythingIsStopped(t *testing.T) {
	in, l := appeared()
	Observe(&in.History, l)
	in.History.Pauses = []Pause{{Policy: "p", Since: in.Now, Teardown: true}}
	p := Compute(in)
	if n := len(actions(p, Delete)); n != 2 || len(p.Actions) != 2 {
		t.Fatalf("%+v", p)
	}
	if why := in.History.Forbids(p.Actions[0], in.Now); why != "" {
		t.Errorf("and it may not be sent: %s", why)
	}
	in.Policies = nil // the file has forgotten the policy
	if n := len(actions(Compute(in), Delete)); n != 2 {
		t.Errorf("%d deletions of a policy that left the file", n)
	}
}
