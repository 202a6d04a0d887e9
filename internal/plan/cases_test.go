package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// --- observing ---

func observed(in *Input, list ...market.Instance) []Event {
	in.Snapshot.Instances = market.Section[[]market.Instance]{Value: list, At: in.Now, Complete: true}
	return Observe(&in.History, look(*in))
}

func kinds(events []Event) (out []EventKind) {
	for _, e := range events {
		out = append(out, e.Kind)
	}
	return out
}

func stranger() market.Instance { return market.Instance{ID: "s", Name: "somebody's machine"} }

func TestAbsenceNeedsEnoughLooksAndEnoughTime(t *testing.T) {
	for name, c := range map[string]struct {
		every time.Duration
		gone  int // the look that gives it up
	}{
		"looks bind": {5 * time.Minute, 3}, "time binds": {30 * time.Second, 5},
	} {
		p := newPolicy("p", 1)
		in := newInput(nil, p)
		in.History.Machines = []Machine{newMachine(p, 1, "a", "0.20")}
		for i := 1; i <= c.gone; i++ {
			in.Now = in.Now.Add(c.every)
			observed(&in, stranger())
			if got := len(in.History.Machines) == 0; got != (i == c.gone) {
				t.Errorf("%s: gone after look %d: %v", name, i, got)
			}
		}
	}
}

func TestAMachineSeenAgainStartsAnewToBeMissed(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	in.History.Machines = []Machine{m}
	for i := range 12 {
		in.Now = in.Now.Add(5 * time.Minute)
		if i%3 == 2 {
			observed(&in, shown(m))
		} else {
			observed(&in, stranger())
		}
	}
	if len(in.History.Machines) != 1 {
		t.Fatal("it was given up although it was seen")
	}
}

func TestAMassDisappearanceOpensTheBreakerAndNothingGrows(t *testing.T) {
	p := newPolicy("p", 4)
	in := newInput([]market.Host{newHost("a", 8, "0.20")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	for i := range 3 {
		in.History.Machines = append(in.History.Machines, newMachine(p, i, "z", "0.20"))
	}
	first := observed(&in)
	if !slices.Contains(kinds(first), EventSuspicious) {
		t.Fatalf("events %v", kinds(first))
	}
	for range 14 {
		wantActions(t, Compute(in))
		wantHold(t, Compute(in), HoldBreaker)
		in.Now = in.Now.Add(time.Minute)
		observed(&in)
	}
	if len(in.History.Machines) != 3 {
		t.Fatalf("%d machines are left while the breaker is open", len(in.History.Machines))
	}
	for range 4 { // it has cooled down, and they are still absent
		in.Now = in.Now.Add(time.Minute)
		observed(&in)
	}
	if len(in.History.Machines) != 0 {
		t.Fatalf("%d machines are believed in for ever", len(in.History.Machines))
	}
	observed(&in)
	if len(in.History.Breakers) != 0 || len(actions(Compute(in), Deploy)) != 4 {
		t.Fatalf("breakers %+v, plan %+v", in.History.Breakers, Compute(in))
	}
}

// lostOrder is a world whose one order was sent, and its answer lost; and the name of
// the machine that may exist.
func lostOrder(t *testing.T) (Input, string) {
	t.Helper()
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.20")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	intent, err := Begin(&in.History, Compute(in).Actions[0], Caps{Hourly: in.HourlyCap}, 1, 1, nameOf("p", 1), in.Now)
	if err != nil {
		t.Fatal(err)
	}
	Lose(&in.History, &intent, "timeout", in.Now)
	return in, intent.Machine
}

func TestAnUnknownDeployIsGivenUpOnlyAfterLooksAndAge(t *testing.T) {
	in, _ := lostOrder(t)
	for i := 1; i <= 10; i++ {
		in.Now = in.Now.Add(time.Minute)
		events := observed(&in)
		if i < 10 {
			wantActions(t, Compute(in))
			continue
		}
		if len(events) != 1 || events[0].Kind != EventExpired || events[0].State != IntentExpired || events[0].Intent != 1 {
			t.Fatalf("events %+v", events)
		}
	}
	if len(in.History.Machines) != 0 || len(in.History.Backoffs) != 1 {
		t.Fatalf("%+v", in.History)
	}
}

func TestAnUnknownDeployIsNotGivenUpByItsAgeAlone(t *testing.T) {
	in, name := lostOrder(t)
	for i := range in.Safety.UnknownLooks - 1 {
		in.Now = in.Now.Add(time.Hour)
		if observed(&in); in.History.Machine(name) == nil {
			t.Fatalf("given up after %d looks", i+1)
		}
	}
}

func TestWhichTwinIsWhichDoesNotHangOnTheOrderOfTheList(t *testing.T) {
	p := newPolicy("p", 2)
	a := shown(newMachine(p, 1, "a", "0.20"))
	b := a
	b.ID, b.Host = a.ID+"-twin", "b"
	books := func(list ...market.Instance) string {
		in := newInput(nil, p)
		events := observed(&in, list...)
		return asJSON(t, in.History) + asJSON(t, events)
	}
	if x, y := books(a, b), books(b, a); x != y {
		t.Errorf("%s\n%s", x, y)
	}
}

func TestAListMadeBeforeTheOrderDoesNotMissTheMachine(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	m.Phase, m.SeenAt, m.OrderedAt = PhaseUnknown, time.Time{}, t0
	in.History.Machines = []Machine{m}
	in.Now = t0.Add(time.Hour)
	in.Snapshot.Instances = market.Section[[]market.Instance]{At: t0.Add(-time.Second), Complete: true}
	for range 5 {
		Observe(&in.History, look(in))
	}
	if len(in.History.Machines) != 1 || in.History.Machines[0].Missed != 0 {
		t.Fatalf("%+v", in.History.Machines)
	}
}

func TestADeletionIsConfirmedByTwoLooksOrByTheMarketsWord(t *testing.T) {
	p := newPolicy("p", 1)
	for name, c := range map[string]struct {
		list []market.Instance
		gone []string
		look int
	}{
		"lists without it":           {[]market.Instance{stranger()}, nil, 2},
		"empty lists":                {nil, nil, 2},
		"the market says it is gone": {nil, []string{"id-1"}, 1},
		"another is said to be gone": {nil, []string{"id-2"}, 2},
	} {
		in := newInput(nil, p)
		m := newMachine(p, 1, "a", "0.20")
		m.ID, m.Phase, m.Leaving = "id-1", PhaseDeleting, &PendingDelete{Intent: 9, At: t0}
		in.History.Machines = []Machine{m}
		in.Snapshot.Gone = c.gone
		for i := 1; i <= c.look; i++ {
			in.Now = in.Now.Add(time.Minute)
			events := observed(&in, c.list...)
			if gone := len(in.History.Machines) == 0; gone != (i == c.look) {
				t.Errorf("%s: gone after look %d: %v", name, i, gone)
			}
			if i == c.look && (len(events) != 1 || events[0].Kind != EventDeleted || events[0].Intent != 9 || events[0].State != IntentConfirmed) {
				t.Errorf("%s: events %+v", name, events)
			}
		}
	}
}

func TestADeletionThatDidNotHappenIsAskedForAgain(t *testing.T) {
	p := newPolicy("p", 0)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	in.History.Machines = []Machine{m}
	del := Compute(in).Actions[0]
	intent, err := Begin(&in.History, del, Caps{}, 5, 1, "", in.Now)
	if err != nil {
		t.Fatal(err)
	}
	Accept(&in.History, &intent, market.Deployed{}, in.Now)
	for i := 1; i <= 3; i++ {
		wantActions(t, Compute(in))
		wantHold(t, Compute(in), HoldDeleting)
		in.Now = in.Now.Add(time.Minute)
		events := observed(&in, shown(m))
		if i == 3 && (len(events) != 1 || events[0].Intent != 5 || events[0].State != IntentFailed) {
			t.Fatalf("events %+v", events)
		}
	}
	wantActions(t, Compute(in), "delete "+m.Name+" over_target")
}

func TestAHostToBlameForADeletionIsAvoided(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.20")}, p)
	m := newMachine(p, 1, "a", "0.20")
	m.Status, m.StatusAt, m.ReadyAt, m.DeployIntent = market.StatusStarting, t0.Add(-21*time.Minute), time.Time{}, 4
	in.History.Machines = []Machine{m}
	plan := Compute(in)
	wantActions(t, plan, "delete "+m.Name+" boot_timeout")
	intent, err := Begin(&in.History, plan.Actions[0], Caps{}, 5, 1, "", in.Now)
	if err != nil {
		t.Fatal(err)
	}
	Accept(&in.History, &intent, market.Deployed{}, in.Now)
	in.Now, in.Snapshot.Gone = in.Now.Add(time.Minute), []string{m.ID}
	observed(&in, stranger())
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	plan = Compute(in)
	wantActions(t, plan)
	if plan.Standings[0].Funnel.Backoff != 1 {
		t.Fatalf("funnel %+v", plan.Standings[0].Funnel)
	}
	if r := in.History.Record("a", rtx4090, in.Now); r.Strikes != 1 || r.Launches != Once || r.Boots != 0 {
		t.Errorf("the market's word that it is gone, because we deleted it, excuses the host: %+v", r)
	}
}

func TestOneOfOursWithoutARecordIsAdoptedAndATwinToo(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.20")}, p)
	m := newMachine(p, 1, "a", "0.20")
	bare := market.Instance{ID: "x1", Name: m.Name, Status: market.StatusRunning}
	events := observed(&in, bare)
	if !slices.Contains(kinds(events), EventAdopted) || len(in.History.Machines) != 1 || in.History.Machines[0].Reserved != p.Ceiling() {
		t.Fatalf("%v, %+v", kinds(events), in.History.Machines)
	}
	wantActions(t, Compute(in)) // it counts as one GPU although the list does not say so
	if s := Compute(in).Standings[0]; !s.Satisfied || s.Ready != 1 {
		t.Fatalf("%+v", s)
	}
	in.Now = in.Now.Add(time.Minute)
	twin := bare
	twin.ID = "x2"
	observed(&in, bare, twin)
	if len(in.History.Machines) != 2 || in.History.Machine(m.Name+"~x2") == nil {
		t.Fatalf("%+v", in.History.Machines)
	}
	wantActions(t, Compute(in)) // one list may be wrong
	in.Now = in.Now.Add(time.Minute)
	observed(&in, bare)
	wantActions(t, Compute(in)) // it was
	in.Now = in.Now.Add(time.Minute)
	observed(&in, bare, twin)
	plan := Compute(in)
	if len(plan.Actions) != 1 || plan.Actions[0].Reason.Code != ReasonOverTarget {
		t.Fatalf("%+v", plan.Actions)
	}
}

func TestANameThatTheListLeavesOutIsNoAbsence(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	in.History.Machines = []Machine{m}
	for range 9 {
		in.Now = in.Now.Add(5 * time.Minute)
		observed(&in, market.Instance{ID: m.ID, Status: market.StatusRunning})
	}
	if len(in.History.Machines) != 1 || in.History.Machines[0].Name != m.Name {
		t.Fatalf("%+v", in.History.Machines)
	}
}

// Four machines are outbid, and the cap does not allow to raise any of them: each
// holds a part of it that would buy a cheaper one elsewhere.
func TestACapThatAllowsNoRaiseIsNoDeadlock(t *testing.T) {
	p := newPolicy("p", 4)
	in := newInput(nil, p)
	in.HourlyCap = usd("0.83")
	in.Budget.MaxHourly = market.Some(in.HourlyCap)
	for i := 1; i <= 4; i++ {
		m := newMachine(p, i, string(rune('a'+i)), "0.20")
		m.Status = market.StatusOutbid
		in.History.Machines = append(in.History.Machines, m)
		in.Verdicts = append(in.Verdicts, refused(p, m.Host, "0.22"))
	}
	plan := Compute(in)
	wantActions(t, plan, "delete "+in.History.Machines[0].Name+" outbid_beyond_ceiling")
	wantHold(t, plan, HoldBudget)
	in.Budget.MinRunway, in.HourlyCap = 1000*time.Hour, usd("9")
	in.Snapshot.Balance = market.Section[market.Balance]{Complete: true, Value: market.Balance{Balance: market.Some(market.Amount(10 * market.Dollar))}}
	wantActions(t, Compute(in)) // money that is short for all is no reason to give a disk up
}

func TestAPortThatAMachineOfOursHasIsNeverAskedForAgain(t *testing.T) {
	p := newPolicy("p", 2)
	in := newInput([]market.Host{newHost("a", 8, "0.35")}, p)
	m := newMachine(p, 1, "a", "0.20")
	m.Ports = []market.PortForward{{External: 20001, Internal: 22}} // the host's list still shows it
	in.History.Machines = []Machine{m}
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	got := Compute(in).Actions
	if len(got) != 1 || len(got[0].Ports) != 1 || got[0].Ports[0].External != 20002 {
		t.Fatalf("%+v", got)
	}
}

func TestARenamedMachineCountsAndIsNotTouched(t *testing.T) {
	for _, called := range []string{"mine now", "tds-other-p-k0000001"} {
		p := newPolicy("p", 1)
		in := newInput([]market.Host{newHost("b", 8, "0.35")}, p)
		m := newMachine(p, 1, "a", "0.20")
		in.History.Machines = []Machine{m}
		for range 9 {
			in.Now = in.Now.Add(5 * time.Minute)
			observed(&in, market.Instance{ID: m.ID, Name: called, Status: market.StatusRunning})
		}
		wantActions(t, Compute(in))
		if in.History.Reserved() != m.Reserved {
			t.Errorf("%s reserved", in.History.Reserved())
		}
		in.Policies[0].Target = 0
		plan := Compute(in)
		wantActions(t, plan)
		wantHold(t, plan, HoldRenamed)
		observed(&in, market.Instance{ID: m.ID, Name: m.Name, Status: market.StatusRunning})
		wantActions(t, Compute(in), "delete "+m.Name+" over_target")
	}
}

func TestASpellingIsNoReasonToReplaceAMachine(t *testing.T) {
	p := newPolicy("p", 1)
	p.Match.GPUModels, p.Match.Cities = []string{string(rtx4090)}, []string{"Bodø"}
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	in.History.Machines = []Machine{m}
	inst := shown(m)
	inst.Model, inst.Capacity, inst.Location = "NVIDIA GeForce RTX 4090", market.OnDemand, market.Location{Country: "NO", City: "Bodo"}
	inst.Storage = market.Some(usd("0.0051"))
	observed(&in, inst)
	wantActions(t, Compute(in))
}

func TestAnOutbidMachineKeepsItsReservationWhateverTheListShows(t *testing.T) {
	p := newPolicy("p", 1)
	for name, change := range map[string]func(*market.Instance){
		"nothing": func(i *market.Instance) {
			i.Compute, i.Storage = market.Maybe[market.Rate]{}, market.Maybe[market.Rate]{}
		},
		"less than its bid": func(i *market.Instance) { i.Compute = market.Some(usd("0.10")) },
		"no compute rate":   func(i *market.Instance) { i.Compute = market.Some(market.Rate(0)) },
		"only the disk": func(i *market.Instance) {
			i.Compute, i.Total = market.Maybe[market.Rate]{}, market.Some(usd("0.005"))
		},
		"the whole bid": func(*market.Instance) {},
	} {
		in := newInput([]market.Host{newHost("b", 4, "0.20")}, p)
		in.Verdicts = []market.Verdict{accepted(p, "b", "0.20")}
		m := newMachine(p, 1, "a", "0.25")
		in.History.Machines = []Machine{m}
		inst := shown(m)
		inst.Status = market.StatusOutbid
		change(&inst)
		observed(&in, inst)
		got := in.History.Machines[0]
		if got.Reserved != usd("0.255") || got.Burn() != usd("0.005") {
			t.Errorf("%s: reserved %s, burns %s", name, got.Reserved, got.Burn())
		}
		if len(actions(Compute(in), Deploy)) > 0 {
			t.Errorf("%s: a replacement although it still exists", name)
		}
	}
}

func TestARebidIsConfirmedOnlyByALookThatShowsIt(t *testing.T) {
	for name, c := range map[string]struct {
		lost, applied, shown bool
		event                EventKind
		learnt               market.Maybe[bool]
	}{
		"applied":                  {applied: true, shown: true, event: EventRebidApplied, learnt: market.Some(true)},
		"ignored":                  {shown: true, event: EventRebidIgnored, learnt: market.Some(false)},
		"lost, and so not applied": {lost: true, shown: true, event: EventRebidIgnored},
		"never shown":              {event: EventRebidIgnored},
	} {
		p := newPolicy("p", 1)
		in := newInput(nil, p)
		m := newMachine(p, 1, "a", "0.20")
		m.Status = market.StatusOutbid
		in.History.Machines = []Machine{m}
		in.Verdicts = []market.Verdict{accepted(p, "a", "0.30")}
		plan := Compute(in)
		wantActions(t, plan, "rebid "+m.Name+" outbid")
		intent, err := Begin(&in.History, plan.Actions[0], Caps{Hourly: in.HourlyCap}, 3, 1, "", in.Now)
		if err != nil {
			t.Fatal(err)
		}
		if in.History.Reserved() != usd("0.305") {
			t.Errorf("%s: %s reserved while the raise is under way", name, in.History.Reserved())
		}
		if c.lost {
			Lose(&in.History, &intent, "timeout", in.Now)
		} else {
			Accept(&in.History, &intent, market.Deployed{}, in.Now)
		}
		inst := shown(m)
		if c.applied {
			inst.Compute = market.Some(usd("0.30"))
		}
		if !c.shown {
			inst.Compute, inst.Total = market.Maybe[market.Rate]{}, market.Maybe[market.Rate]{}
		}
		var last Event
		for i := 0; i < 5 && last.Intent == 0; i++ {
			wantHold(t, Compute(in), HoldRebid)
			in.Now = in.Now.Add(time.Minute)
			if events := observed(&in, inst); len(events) > 0 {
				last = events[len(events)-1]
			}
		}
		var learnt market.Maybe[bool]
		if l, ok := in.History.RebidApplies.Get(); ok {
			learnt = market.Some(l.Holds)
		}
		if last.Kind != c.event || last.Intent != 3 || learnt != c.learnt {
			t.Errorf("%s: %+v, learnt %v", name, last, in.History.RebidApplies)
		}
		if name == "never shown" {
			wantActions(t, Compute(in), "delete "+m.Name+" rebid_ignored")
		}
	}
}

func TestAQuestionThatCannotBeAskedTeachesNothingOfNewBids(t *testing.T) {
	for _, ask := range []bool{true, false} {
		p := newPolicy("p", 1)
		in := newInput(nil, p)
		in.History.Machines = []Machine{newMachine(p, 1, "a", "0.20")}
		m := &in.History.Machines[0]
		a := Action{Kind: Rebid, Policy: "p", Machine: m.Name, Bid: usd("0.21"), Rate: usd("0.215"), AskOnly: ask, Reason: Reason{ReasonRebidProof, "a cent more"}}
		intent, err := Begin(&in.History, a, Caps{Hourly: in.HourlyCap}, 3, 1, "", in.Now)
		if err != nil {
			t.Fatal(err)
		}
		Refuse(&in.History, in.Safety, &intent, market.ClassRefused, "bad request", in.Now)
		if m.RebidIgnored == ask || m.Rebid != nil || m.Reserved != usd("0.205") {
			t.Errorf("only asked: %v; %+v", ask, m)
		}
	}
}

// --- money over time ---

func TestTheDearerOfTwoStatesIsCharged(t *testing.T) {
	for name, states := range map[string][2]market.Status{
		"running, then outbid": {market.StatusRunning, market.StatusOutbid}, "outbid, then running": {market.StatusOutbid, market.StatusRunning},
	} {
		p := newPolicy("p", 1)
		in := newInput(nil, p)
		m := newMachine(p, 1, "a", "0.20")
		m.Status = states[0]
		in.History.Machines = []Machine{m}
		in.Now = in.Now.Add(time.Hour)
		inst := shown(m)
		inst.Status = states[1]
		observed(&in, inst)
		if s := in.History.Spent("p", in.Now); s.Day != market.Amount(usd("0.205")) {
			t.Errorf("%s: charged %s", name, s.Day)
		}
	}
}

func TestSpendIsSplitAtMidnightAndOldMonthsAreForgotten(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	m.MeteredAt = time.Date(2026, 3, 31, 22, 0, 0, 0, time.UTC)
	in.History.Machines = []Machine{m}
	in.History.Spend = []Spend{{"2026-02-28", "p", dollars(9)}, {"bad", "p", 1}, {"2026-03-30", "p", dollars(2)}}
	in.Now = time.Date(2026, 3, 31, 23, 0, 0, 0, time.UTC)
	observed(&in, shown(m))
	if s := in.History.Spent("p", in.Now); s.Day != market.Amount(usd("0.205")) || s.Month != dollars(2)+s.Day {
		t.Fatalf("%+v in %+v", s, in.History.Spend)
	}
	in.Now = time.Date(2026, 4, 1, 3, 0, 0, 0, time.FixedZone("CEST", 7200)) // 01:00 UTC
	observed(&in, shown(m))
	if s := in.History.Spent("p", in.Now.UTC()); s.Day != market.Amount(usd("0.205")) || s.Month != s.Day || s.Total != 3*s.Day {
		t.Fatalf("%+v in %+v", s, in.History.Spend)
	}
}

func TestBackoffsDoubleUpToACapAndAreForgiven(t *testing.T) {
	s := testSafety()
	var h History
	last := time.Duration(0)
	for i := range 9 {
		Penalise(&h, s, "a", rtx4090, 1, market.MaxRate, "failed", t0)
		got := h.Backoffs[0].Until.Sub(t0)
		full := min(s.BackoffMin<<i, s.BackoffMax)
		if got > full || got < full*3/4 || got < last*3/4 {
			t.Fatalf("failure %d: %s, want up to %s", i+1, got, full)
		}
		last = got
	}
	Penalise(&h, s, "b", rtx4090, 1, usd("0.20"), "refused", t0)
	Forgive(&h, "a", rtx4090, 1)
	if len(h.Backoffs) != 1 || h.Backoffs[0].Host != "b" {
		t.Fatalf("%+v", h.Backoffs)
	}
}

// A host that says of every bid that it wins, and takes no order: once may be a price
// that moved, and then it is asked again; twice it is not.
func TestAHostThatDeniesWhatItSaidTwiceIsLeftAloneForLongerAndLonger(t *testing.T) {
	p, s := newPolicy("p", 1), testSafety()
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	h, now := &in.History, t0
	Deny(h, s, "a", rtx4090, 1, now.Add(time.Second))
	if got := Compute(in); len(got.Actions) != 1 {
		t.Fatalf("denied once: %+v", got)
	}
	for i, full := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		Deny(h, s, "a", rtx4090, 1, now)
		got := h.Backoffs[0].Until.Sub(now)
		if full *= time.Minute; got > full || got < full*3/4 {
			t.Fatalf("denied %d times: left alone for %s, want up to %s", i+2, got, full)
		}
		in.Now = now
		plan := Compute(in)
		if len(plan.Actions)+len(plan.Questions) != 0 || plan.Standings[0].Funnel.Fickle != 1 {
			t.Fatalf("%+v", plan)
		}
		if held := holds(plan, HoldNoOffer); len(held) != 1 || !strings.Contains(held[0].Reason.Text, "1 took no order at bids they had said win") {
			t.Fatalf("it is held for %+v", plan.Holds)
		}
		refusals := []market.Verdict{refused(p, "a", "0.20")}
		if Learn(h, s, in.Snapshot.Hosts.Value, refusals, now); !h.Backoffs[0].Fickle || h.Backoffs[0].Failures != i+1 {
			t.Fatalf("the refusals of the cycle count once more: %+v", h.Backoffs)
		}
		now = h.Backoffs[0].Until.Add(time.Minute)
	}
	Deny(h, s, "a", rtx4090, 1, h.Backoffs[0].Until.Add(deniedLasts))
	in.Now = h.Backoffs[0].Until.Add(deniedLasts)
	if got := Compute(in); len(got.Actions) != 1 {
		t.Errorf("denied long after the last time: %+v", got)
	}
}

func TestABackoffHoldsForItsBidsOnly(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	in.History.Backoffs = []Backoff{{Host: "a", Model: rtx4090, GPUs: 1, Bid: usd("0.25"), Failures: 1, Until: t0.Add(time.Minute)}}
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")} // accepted below what failed: not to be trusted
	plan := Compute(in)
	wantActions(t, plan)
	if len(plan.Questions) != 1 || plan.Questions[0].Bid != usd("0.39") {
		t.Fatalf("questions %+v", plan.Questions)
	}
	in.History.Backoffs[0].Bid = market.MaxRate
	if plan = Compute(in); len(plan.Questions) != 0 || plan.Standings[0].Funnel.Backoff != 1 {
		t.Fatalf("%+v", plan)
	}
}

func TestFailuresOpenTheBreakerOnceWithinTheirWindow(t *testing.T) {
	s := testSafety()
	var h History
	for i, want := range []int{0, 0, 0, 1, 0} {
		at := t0.Add([]time.Duration{-time.Hour, 0, time.Minute, 2 * time.Minute, 3 * time.Minute}[i])
		if got := len(Fail(&h, s, at)); got != want {
			t.Fatalf("failure %d opens %d breakers", i, got)
		}
	}
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	in.History, in.Verdicts, in.Now = h, []market.Verdict{accepted(p, "a", "0.20")}, t0.Add(5*time.Minute)
	wantActions(t, Compute(in))
	wantHold(t, Compute(in), HoldBreaker)
	in.Now = t0.Add(18 * time.Minute)
	wantActions(t, Compute(in), "deploy a below_target")
}

// --- deciding ---

func TestFourGPUsArePaidPerMachineAndCappedPerGPU(t *testing.T) {
	p := newPolicy("p", 1)
	p.Shape, p.MaxGPUHour = market.Shape{GPUs: 4, VCPUs: 16, RAM: 64, Storage: 200}, usd("0.30")
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	// On-demand: 4 x 0.35 + 16 x 0.003 + 64 x 0.002 = 1.576; half of it, in whole cents, is 0.79.
	if q := Compute(in).Questions; len(q) != 1 || q[0].Bid != usd("0.79") {
		t.Fatalf("opens with %+v", q)
	}
	// Ceiling 1.20, disk 0.01: bids end at 1.19.
	top := market.Rate(0)
	_, plan := converse(in, func(q market.Question) bool { top = max(top, q.Bid); return false })
	if top != usd("1.19") || plan.Standings[0].Funnel.Refused != 1 {
		t.Fatalf("ends with %s, %+v", top, plan.Standings[0].Funnel)
	}
	_, plan = converse(in, func(q market.Question) bool { return q.Bid >= usd("0.95") })
	wantActions(t, plan, "deploy a below_target")
	if a := plan.Actions[0]; a.Bid != usd("0.96") || a.Storage != usd("0.01") || a.Rate != usd("0.97") || a.Reserve != usd("1.20") {
		t.Fatalf("%+v", a)
	}
}

func TestTheSearchFollowsTheMarketsHint(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	v := refused(p, "a", "0.20")
	for hint, want := range map[string]string{"0.235": "0.24", "0.39": "0.39"} {
		v.Hint = market.Some(usd(hint))
		in.Verdicts = []market.Verdict{v}
		if q := Compute(in).Questions; len(q) != 1 || q[0].Bid != usd(want) {
			t.Errorf("hint %s leads to %+v", hint, q)
		}
	}
	v.Hint = market.Some(usd("0.395"))
	in.Verdicts = []market.Verdict{v}
	if plan := Compute(in); len(plan.Questions) != 0 || plan.Standings[0].Funnel.Refused != 1 {
		t.Errorf("asks beyond the ceiling: %+v", plan)
	}
}

func TestTheNewerWordOfTheMarketCounts(t *testing.T) {
	p := newPolicy("p", 1)
	at := func(v market.Verdict, s int) market.Verdict { v.At = t0.Add(time.Duration(s) * time.Second); return v }
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	in.Verdicts = []market.Verdict{at(refused(p, "a", "0.25"), 2), at(accepted(p, "a", "0.22"), 1)}
	if plan := Compute(in); len(plan.Actions) != 0 || len(plan.Questions) != 1 {
		t.Fatalf("%+v", plan)
	}
	in.Verdicts = []market.Verdict{at(refused(p, "a", "0.25"), 1), at(accepted(p, "a", "0.22"), 2)}
	wantActions(t, Compute(in), "deploy a below_target")
}

func TestARefusedOnDemandDeployIsNotTriedAgainInTheCycle(t *testing.T) {
	p := newPolicy("p", 1)
	p.Capacity, p.MaxGPUHour = market.OnDemand, usd("0.50")
	in := newInput([]market.Host{newHost("a", 4, "0.35"), newHost("b", 4, "0.36")}, p)
	wantActions(t, Compute(in), "deploy a below_target")
	v := refused(p, "a", "0")
	in.Verdicts = []market.Verdict{v}
	wantActions(t, Compute(in), "deploy b below_target")
}

func TestScaleDownTakesTheDeadFirstAndThenTheDearest(t *testing.T) {
	p := newPolicy("p", 2)
	in := newInput(nil, p)
	for i, bid := range []string{"0.20", "0.30", "0.25", "0.21"} {
		in.History.Machines = append(in.History.Machines, newMachine(p, i, "a", bid))
	}
	in.History.Machines[3].Status = market.StatusOutbid
	wantActions(t, Compute(in), "delete "+nameOf("p", 3)+" over_target", "delete "+nameOf("p", 1)+" over_target")

	in.Policies[0].Protected = []string{nameOf("p", 1)}
	plan := Compute(in)
	wantActions(t, plan, "delete "+nameOf("p", 3)+" over_target", "delete "+nameOf("p", 2)+" over_target")
	wantHold(t, plan, HoldProtected)

	in.Policies[0].Protected, in.Policies[0].MinLifetime = nil, 2*time.Hour
	plan = Compute(in)
	wantActions(t, plan)
	wantHold(t, plan, HoldMinLifetime)

	in.Policies[0].MinLifetime, in.Policies[0].Cooldown = 0, 10*time.Minute
	in.History.Scaled = []Scaled{{"p", t0.Add(-9 * time.Minute)}}
	plan = Compute(in)
	wantActions(t, plan)
	wantHold(t, plan, HoldCooldown)
	in.History.Scaled[0].At = t0.Add(-10 * time.Minute)
	wantActions(t, Compute(in), "delete "+nameOf("p", 3)+" over_target", "delete "+nameOf("p", 1)+" over_target")
}

func TestACooldownDoesNotStopTheCycleThatStartedIt(t *testing.T) {
	p := newPolicy("p", 2)
	p.Cooldown = time.Hour
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	intent, err := Begin(&in.History, Compute(in).Actions[0], Caps{Hourly: in.HourlyCap}, 1, 1, nameOf("p", 1), t0.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	Accept(&in.History, &intent, market.Deployed{ID: "x"}, t0.Add(2*time.Second))
	wantActions(t, Compute(in), "deploy a below_target")
	in.Now = t0.Add(time.Minute)
	wantActions(t, Compute(in))
	wantHold(t, Compute(in), HoldCooldown)
}

func TestPausedMeansNoActionUnlessToTearDown(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 8, "0.35")}, p)
	m := newMachine(p, 1, "a", "0.90") // beyond its ceiling
	in.History.Machines = []Machine{m}
	for name, pause := range map[string]Pause{"the policy": {Policy: "p", Since: t0}, "all": {Since: t0, Until: t0.Add(time.Hour)}} {
		in.History.Pauses = []Pause{pause}
		plan := Compute(in)
		if len(plan.Actions) != 0 || len(holds(plan, HoldPaused)) == 0 {
			t.Errorf("%s: %+v", name, plan)
		}
	}
	in.History.Pauses = append(in.History.Pauses, Pause{Policy: "p", Since: t0, Teardown: true})
	wantActions(t, Compute(in), "delete "+m.Name+" destroy")
	in.History.Pauses = []Pause{{Policy: "other", Since: t0}, {Policy: "p", Since: t0.Add(-time.Hour), Until: t0}}
	wantActions(t, Compute(in), "delete "+m.Name+" over_ceiling")
}

func TestMachinesOfARemovedPolicyGoOnlyIfTheLedgerKnewIt(t *testing.T) {
	in := newInput(nil, newPolicy("p", 0))
	m := newMachine(newPolicy("old", 1), 1, "a", "0.20")
	in.History.Machines = []Machine{m}
	wantActions(t, Compute(in))
	wantHold(t, Compute(in), HoldOrphan)
	in.History.Remember([]policy.Policy{newPolicy("old", 1)})
	wantActions(t, Compute(in), "delete "+m.Name+" policy_removed")
}

func TestTooDearAFleetIsShedByPriorityThenPrice(t *testing.T) {
	low, high := newPolicy("low", 2), newPolicy("high", 2)
	high.Priority = 5
	in := newInput(nil, low, high)
	in.History.Machines = []Machine{newMachine(low, 1, "a", "0.20"), newMachine(low, 2, "a", "0.30"), newMachine(high, 3, "a", "0.35"), newMachine(high, 4, "a", "0.25")}
	capped := func(text string) Plan {
		in.HourlyCap = usd(text)
		in.Budget.MaxHourly = market.Some(in.HourlyCap)
		return Compute(in)
	}
	wantActions(t, capped("1.12"))
	wantActions(t, capped("1.00"), "delete "+nameOf("low", 2)+" over_budget")
	wantActions(t, capped("0.60"), "delete "+nameOf("low", 2)+" over_budget", "delete "+nameOf("low", 1)+" over_budget", "delete "+nameOf("high", 3)+" over_budget")
	in.Policies[0].Protected = []string{nameOf("low", 2)}
	wantActions(t, capped("1.00"), "delete "+nameOf("low", 1)+" over_budget")
}

// An old list may show what has been deleted: it must not cost us a machine that runs.
func TestWhatMayBeGoneIsGivenUpBeforeAMachineThatIsNot(t *testing.T) {
	p := newPolicy("p", 2)
	in := newInput(nil, p)
	for i, bid := range []string{"0.20", "0.30", "0.25"} {
		in.History.Machines = append(in.History.Machines, newMachine(p, i, "a", bid))
	}
	h := &in.History
	end, err := Begin(h, Action{Kind: Delete, Policy: "p", Machine: nameOf("p", 0), Instance: "id-p-0", Reason: Reason{ReasonOutbid, "x"}}, Caps{}, 1, 1, "", t0.Add(-50*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	Lose(h, &end, "the connection ended", t0.Add(-50*time.Minute))
	h.Machines[0].Leaving = nil // the next cycle
	got := Compute(in)
	wantActions(t, got, "delete "+nameOf("p", 0)+" over_target")
	if text := got.Actions[0].Reason.Text; !strings.Contains(text, "may be gone") {
		t.Error(text)
	}
	in.Now = t0.Add(11 * time.Minute) // it is there, after all
	for i := range h.Machines {
		h.Machines[i].SeenAt = in.Now
	}
	wantActions(t, Compute(in), "delete "+nameOf("p", 1)+" over_target")
}

func TestTheDaysMoneyEndsWhatItCannotPay(t *testing.T) {
	p := newPolicy("p", 2)
	in := newInput([]market.Host{newHost("b", 8, "0.35")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "b", "0.20")}
	in.History.Machines = []Machine{newMachine(p, 1, "a", "0.30")}
	in.Budget.MaxDaily = market.Some(dollars(5))
	spent := func(cents int64) Plan {
		in.History.Spend = []Spend{{"2026-03-10", "p", market.Amount(cents * market.Cent)}}
		return Compute(in)
	}
	wantActions(t, spent(480), "deploy b below_target")
	wantHold(t, spent(483), HoldBudget) // 0.51 an hour for 21 minutes is more than 0.17
	wantActions(t, spent(483))
	wantActions(t, spent(494)) // 0.305 for 11 minutes is 0.056
	wantActions(t, spent(495), "delete "+nameOf("p", 1)+" over_budget")
	in.Budget.MaxDaily = market.Maybe[market.Amount]{}
	in.Policies[0].Budget.MaxMonthly = market.Some(dollars(5))
	wantActions(t, spent(495), "delete "+nameOf("p", 1)+" over_budget")
	in.Policies[0].Budget = policy.Budget{MaxHourly: market.Some(usd("0.30"))}
	wantActions(t, spent(0), "delete "+nameOf("p", 1)+" over_budget")
}

// What a policy has counts against its own hourly cap: nine machines to a cap of $2.00.
func TestAPolicyIsBoughtUpToItsOwnHourlyCapLessWhatItHas(t *testing.T) {
	p := newPolicy("p", 20)
	p.Budget.MaxHourly = market.Some(usd("2.00"))
	in := newInput([]market.Host{newHost("a", 16, "0.35"), newHost("b", 16, "0.35")}, p)
	in.Limits.MaxActions = 20
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20"), accepted(p, "b", "0.20")}
	for n := range 10 {
		in.History.Machines = nil
		for i := range n {
			in.History.Machines = append(in.History.Machines, newMachine(p, i+1, "c", "0.20"))
		}
		got := Compute(in)
		if bought := len(got.Actions); n+bought != 9 {
			t.Errorf("has %d machines and buys %d, 9 of $0.205 fit into $2.00", n, bought)
		}
		wantHold(t, got, HoldBudget)
	}
}

func TestAMachineThatDoesNotBootIsReplacedEvenIfItRanBefore(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	for _, s := range []market.Status{market.StatusStarting, market.StatusRelocating, market.StatusStopping} {
		m.Status, m.StatusAt = s, t0.Add(-20*time.Minute)
		in.History.Machines = []Machine{m}
		wantActions(t, Compute(in))
		wantHold(t, Compute(in), HoldBooting)
		in.History.Machines[0].StatusAt = t0.Add(-21 * time.Minute)
		wantActions(t, Compute(in), "delete "+m.Name+" boot_timeout")
	}
}

func TestAStoppedMachineWaitsForMoneyAndElseGoes(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	for _, s := range []market.Status{market.StatusStopped, market.StatusReleased, market.StatusError} {
		m.Status = s
		in.History.Machines = []Machine{m}
		in.Snapshot.Balance.Complete = true
		in.Snapshot.Balance.Value.Balance = market.Some(dollars(50))
		wantActions(t, Compute(in), "delete "+m.Name+" stopped")
		in.Snapshot.Balance.Value.Balance = market.Some(market.Amount(-1))
		wantActions(t, Compute(in))
		wantHold(t, Compute(in), HoldBalance)
		in.Snapshot.Balance = market.Section[market.Balance]{}
		wantActions(t, Compute(in))
		wantHold(t, Compute(in), HoldBalance)
	}
}

func TestAnUnknownStatusIsCapacityAndSpend(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("b", 8, "0.35")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "b", "0.20")}
	m := newMachine(p, 1, "a", "0.20")
	m.Status = market.StatusUnknown
	in.History.Machines = []Machine{m}
	wantActions(t, Compute(in))
	wantHold(t, Compute(in), HoldUnknown)
	if m.Burn() != m.Reserved {
		t.Fatalf("burns %s", m.Burn())
	}
}

func TestAReplacementComesAfterTheDeletionIsConfirmed(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("b", 8, "0.35")}, p)
	in.HourlyCap = usd("5") // it is not for want of money
	m := newMachine(p, 1, "a", "0.39")
	m.Status = market.StatusOutbid
	in.History.Machines = []Machine{m}
	in.Verdicts = []market.Verdict{accepted(p, "b", "0.20")}
	plan := Compute(in)
	wantActions(t, plan, "delete "+m.Name+" outbid_beyond_ceiling")
	intent, err := Begin(&in.History, plan.Actions[0], Caps{}, 1, 1, "", in.Now)
	if err != nil {
		t.Fatal(err)
	}
	wantActions(t, Compute(in))
	Accept(&in.History, &intent, market.Deployed{}, in.Now)
	wantActions(t, Compute(in))
	if in.History.Reserved() != usd("0.395") {
		t.Fatalf("%s reserved", in.History.Reserved())
	}
	in.Snapshot.Gone = []string{m.ID}
	observed(&in, stranger())
	wantActions(t, Compute(in), "deploy b below_target")
}

func TestNoRaiseDisplacesAnotherMachineOfOurs(t *testing.T) {
	p := newPolicy("p", 3)
	in := newInput([]market.Host{newHost("a", 0, "0.35")}, p)
	out, running := newMachine(p, 1, "a", "0.20"), newMachine(p, 2, "a", "0.30")
	out.Status = market.StatusOutbid
	in.History.Machines = []Machine{out, running}
	in.Verdicts = []market.Verdict{won(p, "a", "0.32")}
	wantActions(t, Compute(in)) // 0.32 would beat our own 0.30; bids up to 0.29 are still open
	if q := Compute(in).Questions; len(q) != 1 || q[0].Bid > usd("0.29") {
		t.Fatalf("%+v", q)
	}
	in.Verdicts = []market.Verdict{refused(p, "a", "0.29")}
	wantActions(t, Compute(in), "delete "+out.Name+" outbid_beyond_ceiling")
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.28")}
	wantActions(t, Compute(in), "rebid "+out.Name+" outbid")
	in.History.Machines[1].Shape.GPUs = 2 // another size: nothing is certain
	in.Policies[0].Protected, in.Policies[0].MinLifetime = nil, 2*time.Hour
	wantActions(t, Compute(in), "delete "+out.Name+" outbid_beyond_ceiling")
	in.Snapshot.Hosts.Value[0].GPUs[0].Free = 1 // provably free: nobody is displaced
	wantActions(t, Compute(in), "rebid "+out.Name+" outbid")
	second := newMachine(p, 3, "a", "0.21")
	second.Status = market.StatusOutbid
	in.History.Machines = []Machine{out, second}
	in.Policies[0].MinLifetime = 0
	plan := Compute(in)
	wantActions(t, plan, "rebid "+second.Name+" outbid")
	wantHold(t, plan, HoldRebid)
}

func TestMachinesSpreadWhereItCostsLittleAndMaxShareBinds(t *testing.T) {
	p := newPolicy("p", 4)
	in := newInput([]market.Host{newHost("a", 8, "0.35"), newHost("b", 8, "0.35"), newHost("c", 8, "0.35")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.200"), accepted(p, "b", "0.20"), accepted(p, "c", "0.39")}
	wantActions(t, Compute(in), "deploy a below_target", "deploy b below_target", "deploy a below_target", "deploy b below_target")
	in.Policies[0].Spread.MaxShare = 0.25
	plan := Compute(in)
	wantActions(t, plan, "deploy a below_target", "deploy b below_target", "deploy c below_target")
	wantHold(t, plan, HoldSpread)
}

func TestPreferOrderComesBeforePriceAndNeverLeavesATargetUnmet(t *testing.T) {
	p := newPolicy("p", 1)
	p.Match = policy.Match{GPUModels: []string{string(rtx4090), string(rtx3090)}, PreferOrder: true}
	cheap := newHost("b", 8, "0.20")
	cheap.GPUs[0].Model = rtx3090
	in := newInput([]market.Host{newHost("a", 8, "0.35"), cheap}, p)
	v := accepted(p, "b", "0.12")
	v.Model = rtx3090
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.30"), v}
	wantActions(t, Compute(in), "deploy a below_target")
	in.HourlyCap = usd("0.20") // enough for the second choice only
	wantActions(t, Compute(in), "deploy b below_target")
	in.HourlyCap = usd("0.10")
	wantHold(t, Compute(in), HoldBudget)
	in.HourlyCap, in.Policies[0].Match.PreferOrder = usd("1"), false
	wantActions(t, Compute(in), "deploy b below_target")
}

func TestPortsAreNeverGivenTwice(t *testing.T) {
	p := newPolicy("p", 4)
	p.Ports = []int{22, 80}
	h := newHost("a", 8, "0.35")
	h.Ports = market.Some([]int{20003, 20001, 20002, 20002, 20004})
	in := newInput([]market.Host{h}, p)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	other := newMachine(newPolicy("q", 1), 1, "a", "0.20")
	other.Phase, other.Ports = PhaseAccepted, []market.PortForward{{External: 20001, Internal: 22}}
	in.History.Machines = []Machine{other}
	plan := Compute(in)
	wantActions(t, plan, "deploy a below_target")
	if got := fmt.Sprint(plan.Actions[0].Ports); got != "[{20002 22} {20003 80}]" {
		t.Fatalf("ports %s", got)
	}
	in.Snapshot.Hosts.Value[0].Ports = market.Some([]int{})
	wantActions(t, Compute(in))
	in.Snapshot.Hosts.Value[0].Ports = market.Maybe[[]int]{}
	if got := actions(Compute(in), Deploy); len(got) != 4 || got[0].Ports != nil {
		t.Fatalf("%+v", got)
	}
}

func TestTwoModelsOfOneHostShareItsCPUsAndItsShareOfTheTarget(t *testing.T) {
	p := newPolicy("p", 6)
	h := newHost("a", 4, "0.35")
	h.GPUs = append([]market.HostGPU{{Model: rtx3090, Free: 4, Price: market.Some(usd("0.35"))}}, h.GPUs...)
	h.CPU.Free = market.Some(15) // for three machines
	in := newInput([]market.Host{h}, p)
	v := accepted(p, "a", "0.20")
	v.Model = rtx3090
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20"), v}
	if got := actions(Compute(in), Deploy); len(got) != 3 {
		t.Fatalf("%d machines on 15 vCPUs", len(got))
	}
	in.Policies[0].Spread.MaxShare = 0.34
	if got := actions(Compute(in), Deploy); len(got) != 2 {
		t.Fatalf("%d machines of 6 at a share of 0.34", len(got))
	}
}

func TestAHostThatStatesOtherMemoryThanItsModelIsNotBoughtForEver(t *testing.T) {
	p := newPolicy("p", 1)
	p.Match.MinVRAM = 30
	h := newHost("a", 4, "0.35")
	h.GPUs[0].VRAM = market.Some(48) // the name says 24, and a machine there would be judged by its name
	in := newInput([]market.Host{h}, p)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	if plan := Compute(in); len(plan.Actions) != 0 || plan.Standings[0].Funnel.Model != 1 {
		t.Fatalf("%+v", plan)
	}
}

func TestWeirdInputNeverPanics(t *testing.T) {
	p := policy.Policy{Name: "zero"}
	q := newPolicy("q", 3)
	q.MaxGPUHour = market.MaxRate
	hosts := []market.Host{{}, newHost("a", -3, "0.35"), newHost("b", 3, "0.35")}
	hosts[2].GPUs[0].Price, hosts[2].Storage.Price = market.Some(market.MaxRate), market.Some(market.MaxRate)
	in := newInput(hosts, p, q)
	in.History = History{
		Machines: []Machine{{}, {Name: "x", Policy: "q", Phase: PhaseDeleting}, {Name: "y", Policy: "zero", Phase: PhaseLive, Status: market.StatusOutbid, Reserved: market.MaxRate}},
		Spend:    []Spend{{}, {Day: "x"}},
	}
	for _, in := range []Input{{}, in} {
		in.Snapshot.Instances = market.Section[[]market.Instance]{Complete: true, Value: []market.Instance{{}, {Name: nameOf("q", 1)}, {ID: "i", Name: nameOf("zero", 1)}}}
		in.Snapshot.Hosts.Complete = true
		Observe(&in.History, look(in))
		Compute(in)
	}
}

// --- booking ---

func TestBeginSeesAPauseOrABreakerThatCameUp(t *testing.T) {
	p := newPolicy("p", 1)
	m := newMachine(p, 1, "a", "0.20")
	raise := Action{Kind: Rebid, Policy: "p", Machine: m.Name, Bid: usd("0.25"), Rate: usd("0.255")}
	for name, h := range map[string]History{
		"a pause": {Pauses: []Pause{{Policy: "p"}}}, "a breaker": {Breakers: []Breaker{{Code: BreakerFailures}}},
	} {
		h.Machines = []Machine{m}
		if _, err := Begin(&h, raise, Caps{Hourly: usd("10")}, 1, 1, "", t0); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoRaiseGoesAboveTheCeilingWhateverWins(t *testing.T) {
	p := newPolicy("p", 1) // bids up to 0.39 where storage costs 0.005
	in := newInput(nil, p)
	in.HourlyCap = usd("5")
	m := newMachine(p, 1, "a", "0.20")
	m.Status = market.StatusOutbid
	in.History.Machines = []Machine{m}
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.39")}
	wantActions(t, Compute(in), "rebid "+m.Name+" outbid")
	in.Verdicts = []market.Verdict{refused(p, "a", "0.39"), accepted(p, "a", "0.40")}
	wantActions(t, Compute(in), "delete "+m.Name+" outbid_beyond_ceiling")
}

func TestBeginSeesThatTheMachineChanged(t *testing.T) {
	p := newPolicy("p", 1)
	m := newMachine(p, 1, "a", "0.20")
	caps := Caps{Hourly: usd("10")}
	raise := Action{Kind: Rebid, Policy: "p", Machine: m.Name, Bid: usd("0.25"), Rate: usd("0.255")}
	del := Action{Kind: Delete, Policy: "p", Machine: m.Name}
	for name, c := range map[string]struct {
		change func(*Machine)
		a      Action
	}{
		"raise what is raised":          {func(m *Machine) { m.Rebid = &PendingRebid{} }, raise},
		"raise what leaves":             {func(m *Machine) { m.Leaving = &PendingDelete{} }, raise},
		"raise what is deleted":         {func(m *Machine) { m.Phase = PhaseDeleting }, raise},
		"raise what is gone":            {func(m *Machine) { m.Name = "other" }, raise},
		"delete what is deleted":        {func(m *Machine) { m.Phase = PhaseDeleting }, del},
		"delete what nobody ever named": {func(m *Machine) { m.ID = "" }, del},
	} {
		m := m
		c.change(&m)
		h := History{Machines: []Machine{m}}
		if _, err := Begin(&h, c.a, caps, 1, 1, "", t0); !errors.Is(err, ErrStale) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := History{Machines: []Machine{m}}
	for name, a := range map[string]Action{
		"lower bid": {Kind: Rebid, Policy: "p", Machine: m.Name, Bid: usd("0.20"), Rate: usd("0.205")},
		"same name": {Kind: Deploy, Policy: "p", Rate: usd("0.10")},
		"nonsense":  {Kind: "burn"},
	} {
		if _, err := Begin(&h, a, caps, 1, 1, m.Name, t0); err == nil {
			t.Errorf("%s was booked", name)
		}
	}
	if asJSON(t, h) != asJSON(t, History{Machines: []Machine{m}}) {
		t.Error("what was refused changed the books")
	}
}

func TestAReservationIsLoweredToWhatWasAgreedAndNeverBelow(t *testing.T) {
	a := Action{Kind: Deploy, Policy: "p", Capacity: market.Spot, Bid: usd("0.20"), Storage: usd("0.005"), Rate: usd("0.205"), Reserve: usd("0.40")}
	for name, c := range map[string]struct {
		d    market.Deployed
		want string
	}{
		"nothing said":       {market.Deployed{ID: "x"}, "0.205"},
		"less than the bid":  {market.Deployed{ID: "x", Total: market.Some(usd("0.10"))}, "0.205"},
		"more than the bid":  {market.Deployed{ID: "x", Total: market.Some(usd("0.21"))}, "0.21"},
		"a dearer disk":      {market.Deployed{ID: "x", Storage: market.Some(usd("0.02"))}, "0.22"},
		"an on-demand price": {market.Deployed{ID: "x", Total: market.Some(usd("0.35"))}, "0.35"},
	} {
		var h History
		in, err := Begin(&h, a, Caps{Hourly: usd("1")}, 1, 1, "m", t0)
		if err != nil || h.Reserved() != usd("0.40") {
			t.Fatalf("%v, %s reserved", err, h.Reserved())
		}
		Accept(&h, &in, c.d, t0)
		if h.Reserved() != usd(c.want) || in.State != IntentAccepted {
			t.Errorf("%s: %s reserved, want %s", name, h.Reserved(), c.want)
		}
	}
	var h History
	in, _ := Begin(&h, a, Caps{Hourly: usd("0.30")}, 1, 1, "m", t0)
	if in.Reserved != usd("0.30") {
		t.Errorf("%s reserved beyond the cap", in.Reserved)
	}
	Refuse(&h, testSafety(), &in, market.ClassNoCapacity, "no", t0)
	if len(h.Machines) != 0 || in.State != IntentRefused || !in.State.Settled() {
		t.Errorf("a refusal left %+v", h.Machines)
	}
}

func TestRefusalsOfACycleAreLearntOncePerHost(t *testing.T) {
	p, big := newPolicy("p", 1), newPolicy("p", 1)
	big.Shape.Storage = 500
	var h History
	Learn(&h, testSafety(), []market.Host{newHost("a", 8, "0.40"), newHost("b", 8, "0.40")}, []market.Verdict{refused(p, "a", "0.20"), refused(p, "a", "0.23"), refused(big, "a", "0.21"), refused(p, "b", "0.20"), accepted(p, "b", "0.25")}, t0)
	if len(h.Backoffs) != 1 || h.Backoffs[0].Host != "a" || h.Backoffs[0].Bid != usd("0.23") || h.Backoffs[0].Failures != 1 {
		t.Fatalf("%+v", h.Backoffs)
	}
}

func TestTheFunnelTellsWhereEveryOfferFellOut(t *testing.T) {
	p := newPolicy("p", 1)
	q := newPolicy("q", 1)
	p.Match = policy.Match{GPUModels: []string{"*4090*"}, Countries: []string{"NO"}, MinUptime: 0.9}
	offer := func(id string, change func(*market.Host)) market.Host {
		h := newHost(id, 4, "0.35")
		change(&h)
		return h
	}
	in := newInput([]market.Host{
		offer("a", func(h *market.Host) { h.GPUs[0].Model = rtx3090 }), offer("b", func(h *market.Host) { h.Location.Country = "Spain" }),
		offer("c", func(h *market.Host) { h.Online = false }), offer("d", func(h *market.Host) { h.Uptime = market.Maybe[float64]{} }),
		offer("e", func(h *market.Host) { h.GPUs[0].Free = 0 }), offer("f", func(h *market.Host) { h.RAM.Free = market.Some(8) }),
		offer("g", func(h *market.Host) { h.RAM.Price = market.Maybe[market.Rate]{} }), offer("h", func(h *market.Host) { h.GPUs[0].Price = market.Some(usd("9")) }),
		offer("i", func(*market.Host) {}), offer("j", func(*market.Host) {}), offer("k", func(h *market.Host) {
			h.Limits = map[int]market.Restriction{1: {Storage: market.Some(market.Bounds{Min: 20, Max: 99})}}
		}),
	}, p, q)
	in.History.Machines = []Machine{newMachine(q, 1, "e", "0.20")} // where one of ours stands, taken is taken
	in.History.Backoffs = []Backoff{{Host: "i", Model: rtx4090, GPUs: 1, Bid: market.MaxRate, Until: t0.Add(time.Hour)}}
	in.Verdicts = []market.Verdict{refused(p, "j", "0.39")}
	plan := Compute(in)
	want := Funnel{Offers: 11, Model: 1, Place: 1, Offline: 1, Uptime: 1, Capacity: 1, Shape: 2, NoPrice: 1, Ceiling: 1, Backoff: 1, Refused: 1}
	if got := plan.Standings[0].Funnel; got != want {
		t.Fatalf("%+v", got)
	}
	if text := plan.Holds[0].Reason.Text; !strings.Contains(text, "of 11 offers, 1 are other GPUs") || !strings.Contains(text, "0 are left") {
		t.Fatalf("%s", text)
	}
}

func TestTwoPoliciesDoNotSpendTheSameRunwayTwice(t *testing.T) {
	p, q := newPolicy("p", 1), newPolicy("q", 1)
	in := newInput([]market.Host{newHost("a", 8, "0.35")}, p, q)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	in.Budget.MinRunway = 10 * time.Hour
	in.Snapshot.Balance.Value = market.Balance{Balance: market.Some(dollars(10))}
	in.History.Account.Others = usd("0.70")
	plan := Compute(in) // 0.26 an hour are left: one machine of 0.205
	wantActions(t, plan, "deploy a below_target")
	if h := holds(plan, HoldBudget); len(h) != 1 || h[0].Policy != "q" {
		t.Fatalf("%+v", plan.Holds)
	}
}

func TestAPauseHoldsForAPolicyThatIsNotInTheFile(t *testing.T) {
	m := newMachine(newPolicy("old", 1), 1, "a", "0.20")
	in := newInput(nil)
	in.History.Machines, in.History.Known = []Machine{m}, []string{"old"}
	in.History.Pauses = []Pause{{Policy: "old", Since: t0}}
	wantActions(t, Compute(in))
	wantHold(t, Compute(in), HoldPaused)
	in.History.Pauses[0].Teardown = true
	wantActions(t, Compute(in), "delete "+m.Name+" destroy")
}
