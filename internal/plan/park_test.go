package plan

import (
	"errors"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// serving is a world with n running on-demand machines, of which target are wanted.
func serving(n, target int, down policy.ScaleDown) Input {
	p := newPolicy("p", target)
	p.Capacity, p.ScaleDown, p.StoppedTTL = market.OnDemand, down, 72*time.Hour
	in := newInput([]market.Host{newHost("h", 8, "0.20")}, p)
	in.HourlyCap = usd("5")
	for i := range n {
		m := newMachine(p, i, "h", "0.20")
		m.Capacity, m.Bid, m.Storage = market.OnDemand, market.Maybe[market.Rate]{}, market.Some(usd("0.01"))
		m.Reserved = usd("0.21")
		in.History.Machines = append(in.History.Machines, m)
	}
	return in
}

// carried books a plan's only action, as accepted.
func carried(t *testing.T, in *Input, kind ActionKind) (Action, Intent) {
	t.Helper()
	p := Compute(*in)
	if len(p.Actions) != 1 || p.Actions[0].Kind != kind {
		t.Fatalf("wanted one %s: %+v, holds %+v", kind, p.Actions, p.Holds)
	}
	a := p.Actions[0]
	intent, err := Begin(&in.History, a, in.CapsFor("p"), 5, 1, nameOf("p", 9), in.Now)
	if err != nil {
		t.Fatal(err)
	}
	Accept(&in.History, &intent, market.Deployed{}, in.Now)
	return a, intent
}

// seen is a look a minute later that shows the machines, the first with a status.
func seen(in *Input, first market.Status) []Event {
	in.Now = in.Now.Add(time.Minute)
	in.Snapshot.Hosts.At = in.Now
	var list []market.Instance
	for i, m := range in.History.Machines {
		inst := shown(m)
		if inst.Status = market.StatusRunning; i == 0 {
			inst.Status = first
		}
		list = append(list, inst)
	}
	return observed(in, list...)
}

// released is a world whose first machine stands released, none of it wanted.
func released(t *testing.T) Input {
	in := serving(1, 0, policy.ReleaseSurplus)
	seen(&in, market.StatusRunning)
	a, _ := carried(t, &in, Stop)
	if !a.Release {
		t.Fatalf("%+v", a)
	}
	if e := seen(&in, market.StatusReleased); len(kinds(e)) != 2 || e[1].Kind != EventParked || e[1].State != IntentConfirmed || e[1].Intent != 5 {
		t.Fatalf("%+v", e)
	}
	return in
}

func TestASurplusMachineIsReleasedKeptAndStartedAgainBeforeAnotherIsBought(t *testing.T) {
	in := released(t)
	m := &in.History.Machines[0]
	if m.Reserved != usd("0.01") || m.Burn() != usd("0.01") {
		t.Fatalf("released, it costs %s, %s are reserved", m.Burn(), m.Reserved)
	}
	for range 5 { // it is left alone
		seen(&in, market.StatusReleased)
		if p := Compute(in); len(p.Actions) != 0 || p.Standings[0].Parked != 1 || !p.Standings[0].Satisfied {
			t.Fatalf("%+v", p)
		}
	}
	in.Policies[0].Target = 1
	a, _ := carried(t, &in, Start)
	if a.Rate != usd("0.21") || m.Reserved < usd("0.21") {
		t.Fatalf("%+v, %s are reserved", a, m.Reserved)
	}
	wantActions(t, Compute(in))
	if e := seen(&in, market.StatusRunning); e[len(e)-1].Kind != EventStarted || e[len(e)-1].State != IntentConfirmed {
		t.Fatalf("%+v", e)
	}
	if p := Compute(in); len(p.Actions) != 0 || p.Standings[0].Ready != 1 || in.History.Machines[0].Parked != nil {
		t.Fatalf("%+v", p)
	}
}

func TestAStoppedMachineKeepsItsBillAndRunsAgainForNothingMore(t *testing.T) {
	in := serving(1, 0, policy.StopSurplus)
	seen(&in, market.StatusRunning)
	if a, _ := carried(t, &in, Stop); a.Release {
		t.Fatalf("%+v", a)
	}
	seen(&in, market.StatusStopped)
	if r := in.History.Machines[0].Reserved; r != usd("0.21") {
		t.Fatalf("%s are reserved", r)
	}
	in.Policies[0].Target = 1
	in.HourlyCap = usd("0.21") // no room for anything else
	in.Snapshot.Hosts.Value = []market.Host{newHost("cheap", 8, "0.05")}
	carried(t, &in, Start)
}

func TestAnOfferThatIsMuchCheaperIsBoughtInThePlaceOfAReleasedMachine(t *testing.T) {
	in := released(t)
	in.Policies[0].Target = 1
	in.Snapshot.Hosts.Value = []market.Host{newHost("cheap", 8, "0.05")}
	if got := Compute(in).Actions; len(got) != 1 || got[0].Kind != Deploy {
		t.Fatalf("%+v", got)
	}
	in.Snapshot.Hosts.Value = []market.Host{newHost("little", 8, "0.19")}
	if got := Compute(in).Actions; len(got) != 1 || got[0].Kind != Start {
		t.Fatalf("%+v", got)
	}
}

func TestAReleasedMachineThatIsRefusedAStartIsReplaced(t *testing.T) {
	in := released(t)
	in.Policies[0].Target = 1
	_, intent := carried(t, &in, Start)
	Refuse(&in.History, in.Safety, &intent, market.ClassNoCapacity, "taken", in.Now)
	m := &in.History.Machines[0]
	if m.Reserved != usd("0.01") || m.Parked.Start != 0 || !in.Now.Before(m.Parked.Until) {
		t.Fatalf("%+v", m)
	}
	if got := Compute(in).Actions; len(got) != 1 || got[0].Kind != Deploy {
		t.Fatalf("%+v", got)
	}
}

func TestAStartThatNoLookShowsIsGivenUp(t *testing.T) {
	in := released(t)
	in.Policies[0].Target = 1
	_, intent := carried(t, &in, Start)
	Lose(&in.History, &intent, "timeout", in.Now)
	var last []Event
	for range 5 {
		wantActions(t, Compute(in))
		if last = seen(&in, market.StatusReleased); len(last) > 0 {
			break
		}
	}
	if len(last) != 1 || last[0].Kind != EventNotStarted || last[0].Intent != 5 || last[0].State != IntentFailed || in.History.Machines[0].Reserved != usd("0.01") {
		t.Fatalf("%+v", last)
	}
}

func TestAMachineThatDoesNotStopIsAskedAgainAndNotDeleted(t *testing.T) {
	in := serving(1, 0, policy.ReleaseSurplus)
	seen(&in, market.StatusRunning)
	carried(t, &in, Stop)
	var last []Event
	for range 5 {
		wantActions(t, Compute(in))
		if last = seen(&in, market.StatusRunning); len(last) > 0 {
			break
		}
	}
	if len(last) != 1 || last[0].Kind != EventNotParked || last[0].State != IntentFailed {
		t.Fatalf("%+v", last)
	}
	wantActions(t, Compute(in))
	wantHold(t, Compute(in), HoldPark)
	in.Now = in.Now.Add(in.Safety.BackoffMin)
	seen(&in, market.StatusRunning)
	carried(t, &in, Stop)
}

func TestAParkedMachineIsDeletedWhenItsTimeIsOverOrNobodyWantsIt(t *testing.T) {
	for name, change := range map[string]func(in *Input){
		"stopped_ttl":      func(in *Input) { in.Now = in.Now.Add(72 * time.Hour) },
		"scale_down":       func(in *Input) { in.Policies[0].ScaleDown = policy.DeleteSurplus },
		"another GPU":      func(in *Input) { in.Policies[0].Match.GPUModels = []string{"h100*"} },
		"falls back on it": func(in *Input) { in.Policies[0].Capacity = policy.SpotWithFallback },
	} {
		in := released(t)
		change(&in)
		seen(&in, market.StatusReleased)
		if got := Compute(in).Actions; len(got) != 1 || got[0].Kind != Delete {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAStartReservesWhatTheMachineWillCost(t *testing.T) {
	in := released(t)
	in.Policies[0].Target = 1
	a := Compute(in).Actions[0]
	if _, err := Begin(&in.History, a, Caps{Hourly: usd("0.20")}, 6, 1, "", in.Now); !errors.Is(err, ErrBudget) {
		t.Errorf("started beyond the cap: %v", err)
	}
	in.HourlyCap = usd("0.20")
	wantActions(t, Compute(in))
	wantHold(t, Compute(in), HoldBudget)
}

func TestSpotMachinesAndThoseThatBootAreDeletedInAnyCase(t *testing.T) {
	in := serving(1, 0, policy.ReleaseSurplus)
	seen(&in, market.StatusStarting)
	if got := Compute(in).Actions; len(got) != 1 || got[0].Kind != Delete {
		t.Errorf("%+v", got)
	}
	p := newPolicy("p", 0)
	p.ScaleDown = policy.ReleaseSurplus
	in = newInput(nil, p)
	in.History.Machines = []Machine{newMachine(p, 0, "h", "0.20")}
	seen(&in, market.StatusRunning)
	if got := Compute(in).Actions; len(got) != 1 || got[0].Kind != Delete {
		t.Errorf("%+v", got)
	}
}

func TestStoppingOnPurposeIsNoFailureOfTheHost(t *testing.T) {
	in := released(t)
	if r := in.History.Records(in.Now).Of("h", rtx4090); r.Strikes != 0 || r.Losses != 0 || in.History.Machines[0].Outage != nil {
		t.Errorf("%+v", r)
	}
}

// growing is a world whose one on-demand machine was ordered for less than is wanted.
func growing(t *testing.T) Input {
	in := serving(1, 1, policy.DeleteSurplus)
	m := &in.History.Machines[0]
	m.Asked = m.Shape
	in.Policies[0].Shape.RAM, in.Policies[0].MaxGPUHour = 32, usd("0.60")
	in.Snapshot.V2.Value = []string{m.ID}
	seen(&in, market.StatusRunning)
	return in
}

func TestAMachineIsResizedWhereV2CanAndKeepsItsDisk(t *testing.T) {
	in := growing(t)
	if a, _ := carried(t, &in, Stop); !a.Resize || a.Release || a.Reason.Code != ReasonResize || a.Shape.RAM != 32 {
		t.Fatalf("%+v", a)
	}
	seen(&in, market.StatusStopped)
	a, _ := carried(t, &in, Modify)
	if a.Shape != in.Policies[0].Shape || a.Rate <= usd("0.21") || in.History.Machines[0].Reserved < a.Rate {
		t.Fatalf("%+v", a)
	}
	if p := Compute(in); len(p.Actions) != 0 || p.Standings[0].Booting != 1 {
		t.Fatalf("%+v", p)
	}
	m := &in.History.Machines[0]
	was := m.Shape
	m.Shape.RAM = 32 // as the next list shows it
	seen(&in, market.StatusStopped)
	in.History.Machines[0].Reserved = usd("0.25")
	carried(t, &in, Start)
	seen(&in, market.StatusRunning)
	if p := Compute(in); len(p.Actions) != 0 || p.Standings[0].Ready != 1 || in.History.Machines[0].Shape == was || len(in.History.Churn) != 1 {
		t.Fatalf("%+v", p)
	}
}

func TestAResizeIsSettledWhereSomebodyElseStartsTheMachineMeanwhile(t *testing.T) {
	for ram, want := range map[int]IntentState{16: IntentFailed, 32: IntentConfirmed} {
		in := growing(t)
		carried(t, &in, Stop)
		seen(&in, market.StatusStopped)
		_, intent := carried(t, &in, Modify)
		in.History.Machines[0].Shape.RAM = ram
		in.Now = in.Now.Add(time.Minute)
		list := shown(in.History.Machines[0])
		list.Status = market.StatusRunning
		in.Snapshot.Instances = market.Section[[]market.Instance]{Value: []market.Instance{list}, At: in.Now, Complete: true}
		settled := IntentState("")
		for _, e := range Observe(&in.History, look(in)) {
			if e.Intent == intent.ID {
				settled = e.State
			}
		}
		if settled != want || in.History.Machines[0].Parked != nil {
			t.Errorf("%d GB: the intent is %q, want %q", ram, settled, want)
		}
	}
}

func TestAResizeIsSettledWhereTheMachineIsGone(t *testing.T) {
	in := growing(t)
	carried(t, &in, Stop)
	seen(&in, market.StatusStopped)
	_, intent := carried(t, &in, Modify)
	settled := false
	for range 10 {
		in.Now = in.Now.Add(time.Minute)
		in.Snapshot.Instances = market.Section[[]market.Instance]{At: in.Now, Complete: true}
		for _, e := range Observe(&in.History, look(in)) {
			settled = settled || e.Intent == intent.ID && e.State == IntentFailed
		}
	}
	if !settled || len(in.History.Machines) != 0 {
		t.Errorf("the intent is still open; machines %+v", in.History.Machines)
	}
}

func TestAMachineIsNotResizedToWhatWouldCostMoreThanItsPolicyAllows(t *testing.T) {
	dear := func(in *Input) { in.Snapshot.Hosts.Value[0].RAM.Price = market.Some(usd("0.10")) }
	in := growing(t)
	dear(&in)
	p := Compute(in)
	wantActions(t, p)
	if len(p.Holds) == 0 {
		t.Error("nobody says why it stays as it is")
	}
	in = growing(t)
	carried(t, &in, Stop)
	dear(&in) // meanwhile
	seen(&in, market.StatusStopped)
	if a, _ := carried(t, &in, Start); a.Reason.Code != ReasonResize || in.History.Machines[0].Reserved > usd("0.60") {
		t.Errorf("%+v", a)
	}
}

func TestAMachineThatCannotBeResizedRunsOnUntilAnotherTakesItsPlace(t *testing.T) {
	in := growing(t)
	carried(t, &in, Stop)
	seen(&in, market.StatusStopped)
	_, intent := carried(t, &in, Modify)
	Refuse(&in.History, in.Safety, &intent, market.ClassRefused, "network storage only", in.Now)
	if m := &in.History.Machines[0]; m.Reserved != usd("0.21") || !m.NoModify {
		t.Fatalf("%+v", m)
	}
	carried(t, &in, Start)
	seen(&in, market.StatusRunning)
	got := Compute(in).Actions
	if len(got) != 1 || got[0].Kind != Deploy || got[0].Replaces != in.History.Machines[0].Name || got[0].Shape.RAM != 32 || got[0].Reason.Code != ReasonResize {
		t.Fatalf("%+v", got)
	}
}

func TestOnlyWhatWasOrderedForLessIsResizedAndOnlyWhereItIsWished(t *testing.T) {
	for name, change := range map[string]func(in *Input, m *Machine){
		"kept as it is":      func(in *Input, _ *Machine) { in.Policies[0].Resize = policy.KeepShape },
		"ordered for this":   func(in *Input, m *Machine) { m.Asked = in.Policies[0].Shape },
		"adopted":            func(_ *Input, m *Machine) { m.Asked = market.Shape{} },
		"has enough":         func(_ *Input, m *Machine) { m.Shape.RAM = 64 },
		"protected":          func(in *Input, m *Machine) { in.Policies[0].Protected = []string{m.Name} },
		"paused":             func(in *Input, _ *Machine) { in.History.Pauses = []Pause{{Since: t0}} },
		"no churn left":      func(in *Input, _ *Machine) { in.Limits.MaxChurn = market.Some(0) },
		"something is amiss": func(in *Input, _ *Machine) { in.Policies[0].Target = 2; in.HourlyCap = usd("0.22") },
	} {
		in := growing(t)
		change(&in, &in.History.Machines[0])
		if got := Compute(in).Actions; len(got) != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestAResizeThatTheCapsDoNotAllowWaits(t *testing.T) {
	in := growing(t)
	carried(t, &in, Stop)
	seen(&in, market.StatusStopped)
	in.HourlyCap = usd("0.211")
	p := Compute(in)
	wantActions(t, p)
	wantHold(t, p, HoldBudget)
	a := Action{Kind: Modify, Policy: "p", Machine: in.History.Machines[0].Name, Rate: usd("0.30")}
	if _, err := Begin(&in.History, a, Caps{Hourly: usd("0.25")}, 8, 1, "", in.Now); !errors.Is(err, ErrBudget) {
		t.Errorf("resized beyond the cap: %v", err)
	}
}

func TestAMachineThatStandsStoppedToBeResizedIsDeletedWhenItIsNotWantedAnyMore(t *testing.T) {
	in := growing(t)
	carried(t, &in, Stop)
	seen(&in, market.StatusStopped)
	if got := Compute(in).Actions; len(got) != 1 || got[0].Kind != Modify {
		t.Fatalf("it is wanted: %+v", got)
	}
	in.Policies[0].Target = 0
	if got := Compute(in).Actions; len(got) != 1 || got[0].Kind != Delete || got[0].Reason.Code != ReasonOverTarget {
		t.Fatalf("it is started for nothing: %+v", got)
	}
}

func TestAMachineIsDrainedBeforeItIsStoppedOnPurpose(t *testing.T) {
	for name, in := range map[string]Input{"too much": serving(1, 0, policy.ReleaseSurplus), "too small": growing(t)} {
		in.Policies[0].Drain = policy.Drain{Hook: policy.Hook{Command: []string{"true"}}, Grace: 5 * time.Minute, Deadline: 15 * time.Minute}
		seen(&in, market.StatusRunning)
		p := Compute(in)
		wantActions(t, p)
		wantHold(t, p, HoldDraining)
		if len(p.Drains) != 1 {
			t.Fatalf("%s: %+v", name, p.Drains)
		}
		for range 20 {
			BookDrains(&in.History, Compute(in).Drains, in.Now)
			seen(&in, market.StatusRunning)
		}
		if got := Compute(in).Actions; len(got) != 1 || got[0].Kind != Stop {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestACapDeletesWhatWouldOnlyHaveBeenStopped(t *testing.T) {
	in := serving(2, 1, policy.StopSurplus)
	seen(&in, market.StatusRunning)
	in.HourlyCap, in.Budget.MaxHourly = usd("0.21"), market.Some(usd("0.21"))
	got := Compute(in).Actions
	if len(got) != 1 || got[0].Kind != Delete || got[0].Reason.Code != ReasonOverBudget {
		t.Fatalf("%+v", got)
	}
}

func TestTheGPUOfAMachineThatIsBeingStartedIsNotGivenAway(t *testing.T) {
	in := released(t)
	in.Policies[0].Target = 1
	carried(t, &in, Start)
	q := newPolicy("q", 8)
	q.Capacity, q.MaxGPUHour = market.OnDemand, usd("0.60")
	in.Policies, in.HourlyCap = append(in.Policies, q), usd("9")
	if got := actions(Compute(in), Deploy); len(got) != 7 {
		t.Errorf("%d are bought where 8 GPUs are free and one is being started", len(got))
	}
}

func TestWhatWasReleasedIsNotStartedUponASpotMachineOfOurs(t *testing.T) {
	in := released(t)
	spot := newPolicy("q", 1)
	beside := newMachine(spot, 7, "h", "0.15")
	in.Policies, in.History.Machines = append(in.Policies, spot), append(in.History.Machines, beside)
	in.Policies[0].Target = 1
	if got := Compute(in).Actions; len(got) != 1 || got[0].Kind != Start {
		t.Fatalf("its GPU is free: %+v", got)
	}
	in.Snapshot.Hosts.Value = []market.Host{newHost("h", 0, "0.20")}
	p := Compute(in)
	wantActions(t, p)
	wantHold(t, p, HoldStart)
	in.History.Machines[0].Status = market.StatusStopped // it has kept its GPU
	in.History.Machines[0].Reserved = usd("0.21")
	if got := Compute(in).Actions; len(got) != 1 || got[0].Kind != Start {
		t.Fatalf("stopped: %+v", got)
	}
}

func TestTheDiskOfAMachineThatMayHaveBeenResizedIsReservedAsTheGreaterOne(t *testing.T) {
	in := growing(t)
	m := &in.History.Machines[0]
	in.Policies[0].Shape = m.Shape
	in.Policies[0].Shape.Storage = 2 * m.Shape.Storage
	carried(t, &in, Stop)
	seen(&in, market.StatusStopped)
	a, intent := carried(t, &in, Modify)
	if a.Storage != usd("0.02") {
		t.Fatalf("%+v", a)
	}
	in.History.Machines[0].Status = market.StatusReleased
	Refuse(&in.History, in.Safety, &intent, market.ClassRefused, "an answer that need not be true", in.Now)
	if m := &in.History.Machines[0]; m.Reserved != usd("0.02") {
		t.Errorf("%s are reserved for a disk of %s", m.Reserved, a.Storage)
	}
}
