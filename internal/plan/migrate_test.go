package plan

import (
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// mover has two machines at 0.30 on host a and may move one an hour.
func mover() (policy.Policy, Input) {
	p := newPolicy("p", 2)
	p.Migrate = policy.Migrate{MaxPerHour: 1, MinSaving: 0.1, Payback: time.Hour}
	in := newInput([]market.Host{newHost("a", 0, "0.50"), newHost("b", 8, "0.40")}, p)
	in.HourlyCap = usd("9")
	in.History.Machines = []Machine{newMachine(p, 1, "a", "0.30"), newMachine(p, 2, "a", "0.35")}
	return p, in
}

// wins says that a bid wins from that price on.
func wins(from string) func(market.Question) bool {
	return func(q market.Question) bool { return q.Bid >= usd(from) }
}

func TestTheDearestMachineMovesToWhereItPays(t *testing.T) {
	for name, c := range map[string]struct {
		change func(in *Input)
		from   string
		want   []string
	}{
		"a third cheaper":         {nil, "0.22", []string{"deploy b migrate"}},
		"hardly cheaper":          {nil, "0.33", nil},
		"dearer":                  {nil, "0.37", nil},
		"moves are not asked for": {func(in *Input) { in.Policies[0].Migrate.MaxPerHour = 0 }, "0.22", nil},
		"only just bought": {func(in *Input) {
			in.History.Machines[1].OrderedAt = t0.Add(-20 * time.Minute)
			in.History.Machines[0].OrderedAt = t0
		}, "0.22", nil},
		"protected":        {func(in *Input) { in.Policies[0].Protected = []string{nameOf("p", 1), nameOf("p", 2)} }, "0.22", nil},
		"something boots":  {func(in *Input) { in.History.Machines[0] = booting(in.History.Machines[0], time.Minute) }, "0.22", nil},
		"no room for both": {func(in *Input) { in.HourlyCap = usd("0.70") }, "0.22", nil},
		"moved already": {func(in *Input) {
			in.History.Machines[0].Replaces, in.History.Machines[0].OrderedAt = "gone", t0.Add(-40*time.Minute)
		}, "0.22", nil},
		"that host is lossy": {func(in *Input) {
			in.History.Hosts = []HostRecord{
				{Host: "a", Model: rtx4090, At: t0, Hours: 200 * Once},
				{Host: "b", Model: rtx4090, At: t0, Hours: 20 * Once, Losses: 200 * Once},
			}
		}, "0.22", nil},
	} {
		_, in := mover()
		if c.change != nil {
			c.change(&in)
		}
		_, got := converse(in, wins(c.from))
		var acts []string
		for _, a := range got.Actions {
			acts = append(acts, string(a.Kind)+" "+a.Host+" "+a.Reason.Code)
			if a.Replaces != nameOf("p", 2) {
				t.Errorf("%s: it replaces %q, not the dearest", name, a.Replaces)
			}
		}
		wantTexts(t, name, acts, c.want)
	}
}

func TestTheOldMachineGoesWhenTheNewOneRunsAndNoSooner(t *testing.T) {
	p, in := mover()
	in.Policies[0].Migrate.MaxPerHour = 1
	young := booting(newMachine(p, 3, "b", "0.22"), time.Minute)
	young.Replaces = nameOf("p", 2)
	in.History.Machines = append(in.History.Machines, young)
	_, got := converse(in, wins("0.22"))
	wantActions(t, got)
	in.History.Machines[2].Status, in.History.Machines[2].ReadyAt = market.StatusRunning, t0
	_, got = converse(in, wins("0.22"))
	wantActions(t, got, "delete "+nameOf("p", 2)+" "+ReasonMigrated)
	in.History.Machines[1].Leaving = &PendingDelete{At: t0, Code: ReasonMigrated}
	_, got = converse(in, wins("0.22"))
	wantActions(t, got)
}

func TestASuccessorWhoseForerunnerIsLostTakesItsPlaceAtOnce(t *testing.T) {
	p, in := mover()
	young := booting(newMachine(p, 3, "b", "0.22"), time.Minute)
	young.Replaces = nameOf("p", 2)
	in.History.Machines = []Machine{in.History.Machines[0], young}
	_, got := converse(in, wins("0.22"))
	wantActions(t, got) // two of two
}

func TestASuccessorThatIsOutbidBeforeItRunsGoes(t *testing.T) {
	p, in := mover()
	young := newMachine(p, 3, "b", "0.22")
	young.Replaces, young.Status = nameOf("p", 2), market.StatusOutbid
	in.History.Machines = append(in.History.Machines, young)
	_, got := converse(in, never)
	wantActions(t, got, "delete "+nameOf("p", 3)+" "+ReasonOutbidForGood)
}

func TestASuccessorOfWhatWillNotGoIsOneTooMany(t *testing.T) {
	for name, change := range map[string]func(in *Input){
		"protected since": func(in *Input) { in.Policies[0].Protected = []string{nameOf("p", 2), nameOf("p", 1)} },
		"renamed since": func(in *Input) {
			in.History.Machines[1].Renamed = "mine"
			in.Policies[0].Protected = []string{nameOf("p", 1)}
		},
	} {
		p, in := mover()
		young := newMachine(p, 3, "b", "0.22")
		young.Replaces = nameOf("p", 2)
		in.History.Machines = append(in.History.Machines, young)
		change(&in)
		_, got := converse(in, never)
		if len(got.Actions) != 1 || got.Actions[0].Machine != young.Name || got.Actions[0].Reason.Code != ReasonOverTarget {
			t.Errorf("%s: %+v %+v", name, got.Actions, got.Holds)
		}
	}
}

func TestTheSurplusCountsWhatStandsToTakeAMachinesPlace(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	old, next, other := newMachine(p, 1, "a", "0.30"), newMachine(p, 2, "b", "0.20"), newMachine(p, 3, "c", "0.25")
	next = booting(next, time.Minute)
	next.Replaces = old.Name
	in.History.Machines = []Machine{old, next, other}
	got := actions(Compute(in), Delete) // two of one are wanted, and one that boots beside them
	if len(got) != 2 || got[0].Machine != old.Name && got[1].Machine != old.Name {
		t.Fatalf("%+v", got)
	}
	in.Policies[0].Target = 0 // now the successor is too much as well, and not only a plan later
	if got := actions(Compute(in), Delete); len(got) != 3 {
		t.Fatalf("%+v", got)
	}
}
