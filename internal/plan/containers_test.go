package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// boxed makes a policy one for containers.
func boxed(p policy.Policy) policy.Policy {
	return policy.Policy{
		Name: p.Name, Kind: policy.Container, Capacity: market.OnDemand, Priority: p.Priority, Target: p.Target, Shape: p.Shape,
		MaxGPUHour: p.MaxGPUHour, Image: "a/b", Budget: p.Budget, Cooldown: p.Cooldown, BootTimeout: 20 * time.Minute,
		Match: policy.Match{GPUModels: p.Match.GPUModels, MinVRAM: p.Match.MinVRAM},
	}
}

// drawContainers puts containers of the first policy into a world, in any state.
func drawContainers(t *rapid.T, in *Input) {
	if len(in.Policies) == 0 || !chance(t, "any container", 50) {
		return
	}
	if chance(t, "learnt", 50) {
		in.History.Scaling = ScaleLesson{pick(t, "meaning", ScaleAbsolute, ScaleDelta), t0.Add(-time.Hour)}
	}
	for i := range 1 + upTo(t, "containers", 1) {
		p := &in.Policies[0]
		c := Container{
			Name: nameOf(p.Name, 70+i), Policy: p.Name, ID: fmt.Sprintf("box-%d", i), Phase: PhaseLive, Image: pick(t, "image", p.Image, p.Image, "other"), Shape: p.Shape,
			Models: []market.GPUModel{rtx4090}, Ceiling: p.Ceiling(), OrderedAt: t0.Add(-time.Hour), SeenAt: t0.Add(-time.Minute), MeteredAt: t0.Add(-time.Minute), DeployIntent: 3,
		}
		c.Guesses = in.History.bothMeanings(1 + upTo(t, "asked for", 4))
		for r := range upTo(t, "shown", c.Most()) {
			c.Replicas = append(c.Replicas, ReplicaSeen{Status: market.StatusRunning, Replica: market.Replica{
				Machine: fmt.Sprintf("%s-r%d", c.ID, r), IP: "10.0.0.1", Rate: market.Some(c.Ceiling.Scale(9, 10)),
			}})
		}
		switch upTo(t, "state", 5) {
		case 0:
			c.ID, c.Phase, c.Replicas, c.SeenAt, c.Alarm = "", PhaseUnknown, nil, time.Time{}, "unknown"
		case 1:
			c.Phase, c.Leaving = PhaseDeleting, &PendingDelete{Intent: 5, At: t0.Add(-time.Minute)}
		case 2:
			c.Scale = &PendingScale{Intent: 6, Sent: 1 + upTo(t, "sent", 3), From: slices.Clone(c.Guesses), At: t0.Add(-time.Minute), Accepted: rapid.Bool().Draw(t, "answered")}
			c.Guesses = tidyGuesses(append(afterAll(c.Scale.From, c.Scale.Sent), c.Scale.From...))
		case 3:
			c.Alarm = "too many"
		}
		c.reserve()
		in.History.Containers = append(in.History.Containers, c)
		if c.ID != "" && chance(t, "asked", 80) {
			look := market.ReplicaList{Container: c.ID, Gone: chance(t, "gone", 10)}
			look.Replicas.Complete = !look.Gone && chance(t, "answered", 80)
			for _, r := range c.Replicas {
				look.Replicas.Value = append(look.Replicas.Value, r.Replica)
			}
			in.Snapshot.Containers = append(in.Snapshot.Containers, look)
		}
	}
}

// box is the market's side of one container, and the account that it is paid from.
type box struct {
	*rapid.T
	in       Input
	meaning  ScaleMeaning
	room     bool // the market has room, and its list shows it
	exists   bool
	id       string
	wanted   int
	replicas int
	intents  uint64
}

func newBox(t *rapid.T, p policy.Policy) *box {
	b := &box{T: t, in: newInput([]market.Host{newHost("a", 64, "0.20")}, p), room: true}
	b.meaning = pick(t, "the market reads", ScaleAbsolute, ScaleDelta)
	b.in.HourlyCap = p.Ceiling().Mul(p.Target)
	return b
}

// look lets a minute pass and books what is shown.
func (b *box) look(answered bool) {
	b.in.Now = b.in.Now.Add(time.Minute)
	b.in.Snapshot.Instances.At = b.in.Now
	b.in.Snapshot.Hosts.Value[0].GPUs[0].Free = 64
	if !b.room {
		b.in.Snapshot.Hosts.Value[0].GPUs[0].Free = 0
	}
	if !b.exists {
		b.replicas = 0
	} else if b.replicas > b.wanted || b.room {
		b.replicas = b.wanted
	}
	b.in.Snapshot.Containers = nil
	for i := range b.in.History.Containers {
		c := &b.in.History.Containers[i]
		if c.ID == "" {
			continue
		}
		l := market.ReplicaList{Container: c.ID, Gone: !b.exists && answered}
		l.Replicas.Complete = b.exists && answered
		for r := range b.replicas {
			l.Replicas.Value = append(l.Replicas.Value, market.Replica{Machine: fmt.Sprintf("r%d", r), IP: "1.2.3.4", Rate: market.Some(c.Ceiling)})
		}
		b.in.Snapshot.Containers = append(b.in.Snapshot.Containers, l)
	}
	Observe(&b.in.History, look(b.in))
	b.hold()
}

// hold is what must be true at every moment: the books hold all that the market was
// asked for, and no more than the cap.
func (b *box) hold() {
	most, reserved := 0, b.in.History.Reserved()
	for i := range b.in.History.Containers {
		most += b.in.History.Containers[i].Most()
	}
	if b.exists && max(b.wanted, b.replicas) > most {
		b.Fatalf("the market was asked for %d and runs %d, the books hold %d: %+v", b.wanted, b.replicas, most, b.in.History.Containers)
	}
	if reserved > b.in.HourlyCap {
		b.Fatalf("%s reserved, the cap is %s", reserved, b.in.HourlyCap)
	}
}

// act carries out a plan: each request takes effect or not, and is answered or not.
func (b *box) act(p Plan, loses int64) {
	for _, a := range p.Actions {
		b.intents++
		intent, err := Begin(&b.in.History, a, b.in.CapsFor(a.Policy), b.intents, 1, nameOf(a.Policy, 30+int(b.intents)), b.in.Now)
		if err != nil {
			b.Fatalf("%+v: %v", a, err)
		}
		b.hold()
		lost := chance(b.T, "lost", loses)
		if happens := !lost || rapid.Bool().Draw(b.T, "happens all the same"); happens {
			b.happen(a)
		}
		b.hold()
		switch {
		case lost:
			Lose(&b.in.History, &intent, "timeout", b.in.Now)
		case a.Kind == ContainerDeploy:
			Accept(&b.in.History, &intent, market.Deployed{ID: b.id}, b.in.Now)
		default:
			Accept(&b.in.History, &intent, market.Deployed{}, b.in.Now)
		}
		b.hold()
	}
}

func (b *box) happen(a Action) {
	switch a.Kind {
	case ContainerDeploy:
		if b.exists {
			b.Fatal("a second container was ordered")
		}
		b.exists, b.id, b.wanted = true, fmt.Sprintf("box-%d", b.intents), a.Replicas
	case ContainerScale:
		b.wanted = Guess{b.meaning, b.wanted}.after(a.Replicas).Wanted
	case ContainerStop:
		b.exists, b.wanted = false, 0
	default:
		b.Fatalf("%+v", a)
	}
}

// doubt says whether an operator would be asked.
func (b *box) doubt() bool {
	return slices.ContainsFunc(b.in.History.Containers, func(c Container) bool { return c.Alarm != "" })
}

func TestTheBooksHoldAllThatAContainerCanBecomeAndItEndsAtItsTarget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := boxed(newPolicy("web", 2+upTo(t, "target", 4)))
		b := newBox(t, p)
		for range 40 {
			b.room = chance(t, "room", 85)
			b.look(chance(t, "answered", 85))
			if b.doubt() { // the answer to the order was lost: an operator looks
				b.told()
			}
			if chance(t, "another target", 10) {
				b.in.Policies[0].Target = upTo(t, "target", p.Target)
			}
			b.act(Compute(b.in), 20)
		}
		b.room = true
		for range 60 {
			b.look(true)
			if b.doubt() {
				b.told()
			}
			b.act(Compute(b.in), 0)
		}
		plan := Compute(b.in)
		if want := b.in.Policies[0].Target; b.replicas != want && len(holds(plan, HoldUnlearnt)) == 0 || len(plan.Actions) > 0 {
			t.Fatalf("%d replicas, want %d; %+v\n%+v", b.replicas, want, plan, b.in.History.Containers)
		}
		if m := b.in.History.Scaling.Meaning; m != "" && m != b.meaning {
			t.Fatalf("learnt %s of a market that means %s", m, b.meaning)
		}
	})
}

// told is an operator's word about the container in doubt.
func (b *box) told() {
	var err error
	if b.exists {
		_, _, err = b.in.History.AdoptContainer(&b.in.Policies[0], b.id, b.wanted, "unused", b.in.Now)
	} else {
		_, _, err = b.in.History.DisownContainer(b.in.Policies[0].Name, b.in.Now)
	}
	if err != nil {
		b.Fatal(err)
	}
	b.hold()
}

// ran is a world with a container of n replicas that run as it was asked, in a market
// with room.
func ran(n, target int) Input {
	p := boxed(newPolicy("web", target))
	in := newInput([]market.Host{newHost("a", 64, "0.20")}, p)
	in.HourlyCap = p.Ceiling().Mul(10)
	c := Container{
		Name: nameOf("web", 1), Policy: "web", ID: "box", Phase: PhaseLive, Image: p.Image, Shape: p.Shape, Models: []market.GPUModel{rtx4090}, Ceiling: p.Ceiling(),
		OrderedAt: t0.Add(-time.Hour), SeenAt: t0, ReadyAt: t0, MeteredAt: t0, DeployIntent: 1, Guesses: in.History.bothMeanings(n),
	}
	in.History.Containers = []Container{c}
	in.History.Containers[0].reserve()
	listed(&in, n)
	Observe(&in.History, look(in))
	return in
}

// listed shows so many replicas in the next look.
func listed(in *Input, n int) {
	l := market.ReplicaList{Container: "box"}
	l.Replicas.Complete = true
	for r := range n {
		l.Replicas.Value = append(l.Replicas.Value, market.Replica{Machine: fmt.Sprintf("r%d", r), IP: "1.2.3.4", Rate: market.Some(usd("0.35"))})
	}
	in.Snapshot.Containers = []market.ReplicaList{l}
}

// shows lets looks pass, a minute each, that show so many replicas.
func shows(in *Input, n, looks int) (events []Event) {
	for range looks {
		in.Now = in.Now.Add(time.Minute)
		in.Snapshot.Instances.At = in.Now
		listed(in, n)
		events = append(events, Observe(&in.History, look(*in))...)
	}
	return events
}

// carriedOut books the only action of a plan as accepted.
func carriedOut(t *testing.T, in *Input) Action {
	t.Helper()
	p := Compute(*in)
	if len(p.Actions) != 1 {
		t.Fatalf("%+v", p)
	}
	intent, err := Begin(&in.History, p.Actions[0], in.CapsFor("web"), 9, 1, nameOf("web", 9), in.Now)
	if err != nil {
		t.Fatal(err)
	}
	Accept(&in.History, &intent, market.Deployed{ID: "box"}, in.Now)
	return p.Actions[0]
}

func TestTheFirstRequestToScaleSendsThePresentCountAndOnlyAtOneReplica(t *testing.T) {
	in := ran(1, 3)
	a := carriedOut(t, &in)
	if a.Kind != ContainerScale || a.Replicas != 1 || a.Reason.Code != ReasonLearnScale || in.History.Reserved() != usd("0.80") {
		t.Errorf("sends %+v, %s are reserved", a, in.History.Reserved())
	}
	in = ran(2, 3)
	if p := Compute(in); len(p.Actions) > 0 || len(holds(p, HoldUnlearnt)) != 1 {
		t.Errorf("at two replicas: %+v", p)
	}
	in = ran(1, 3)
	in.HourlyCap = usd("0.79")
	if p := Compute(in); len(p.Actions) > 0 || len(holds(p, HoldBudget)) != 1 {
		t.Errorf("without money for two: %+v", p)
	}
	if p := Compute(ran(1, 1)); len(p.Actions) > 0 || !p.Standings[0].Satisfied {
		t.Errorf("where one is enough: %+v", p)
	}
}

func TestTwoListsWithASecondReplicaMeanADifferenceAndTenMinutesWithoutTheNewCount(t *testing.T) {
	in := ran(1, 3)
	carriedOut(t, &in)
	shows(&in, 2, 1)
	if in.History.Scaling.Meaning != "" {
		t.Error("learnt from one list")
	}
	shows(&in, 2, 1)
	if in.History.Scaling.Meaning != ScaleDelta {
		t.Errorf("learnt %+v", in.History.Scaling)
	}
	if a := carriedOut(t, &in); a.Replicas != 1 {
		t.Errorf("from 2 to 3 by a difference it sends %d", a.Replicas)
	}

	in = ran(1, 3)
	carriedOut(t, &in)
	shows(&in, 1, 9)
	if in.History.Scaling.Meaning != "" || in.History.Reserved() != usd("0.80") {
		t.Errorf("learnt too early: %+v, %s reserved", in.History.Scaling, in.History.Reserved())
	}
	shows(&in, 1, 2)
	if in.History.Scaling.Meaning != ScaleAbsolute || in.History.Reserved() != usd("0.40") {
		t.Errorf("learnt %+v, %s reserved", in.History.Scaling, in.History.Reserved())
	}
	if a := carriedOut(t, &in); a.Replicas != 3 {
		t.Errorf("from 1 to 3 by the count it sends %d", a.Replicas)
	}
}

func TestAReplicaThatIsNotThereSaysNothingWhereTheMarketHasNoRoom(t *testing.T) {
	in := ran(1, 3)
	carriedOut(t, &in)
	in.Snapshot.Hosts.Value[0].GPUs[0].Free = 0
	shows(&in, 1, 60)
	if in.History.Scaling.Meaning != "" || in.History.Reserved() != usd("0.80") {
		t.Errorf("learnt %+v from a market without room, %s reserved", in.History.Scaling, in.History.Reserved())
	}
	in.Snapshot.Hosts.Value[0].GPUs[0].Free, in.Snapshot.Hosts.Value[0].GPUs[0].Price = 64, market.Some(usd("0.50"))
	shows(&in, 1, 60)
	if in.History.Scaling.Meaning != "" {
		t.Error("learnt from a market without room within the ceiling")
	}
}

func TestAReplicaThatIsNotThereSaysNothingWhileTheAccountIsEmpty(t *testing.T) {
	for what, empty := range map[string]func(*Input){
		"it is": func(in *Input) { in.Snapshot.Balance.Value.Balance = market.Some(dollars(0)) },
		"it was, as far as is known": func(in *Input) {
			in.Snapshot.Balance = market.Section[market.Balance]{}
			in.History.Account.Balance = market.Some(dollars(0))
		},
		"nobody knows": func(in *Input) {
			in.Snapshot.Balance = market.Section[market.Balance]{}
			in.History.Account.Balance = market.Maybe[market.Amount]{}
		},
	} {
		in := ran(1, 3)
		carriedOut(t, &in)
		empty(&in)
		shows(&in, 1, 60)
		if in.History.Scaling.Meaning != "" || in.History.Reserved() != usd("0.80") {
			t.Errorf("%s: learnt %+v, %s reserved: what was asked for comes with the next deposit", what, in.History.Scaling, in.History.Reserved())
		}
	}
}

func TestEmptyAndFailedListsOfReplicasCauseNothing(t *testing.T) {
	for _, failed := range []bool{false, true} {
		in := ran(3, 3)
		in.History.Scaling.Meaning = ScaleAbsolute
		for range 100 {
			in.Now = in.Now.Add(time.Minute)
			in.Snapshot.Instances.At = in.Now
			listed(&in, 0)
			if failed {
				in.Snapshot.Containers[0].Replicas = market.Section[[]market.Replica]{At: in.Now, Problem: "a web page", Class: market.ClassShapeChanged}
			}
			Observe(&in.History, look(in))
			if p := Compute(in); len(p.Actions) > 0 || len(p.Holds) == 0 {
				t.Fatalf("failed %v: %+v", failed, p)
			}
		}
		if c := in.History.Containers; len(c) != 1 || c[0].Most() != 3 || in.History.Reserved() != usd("1.20") {
			t.Errorf("failed %v: %+v", failed, c)
		}
	}
}

func TestMoreReplicasThanAnythingExplainsUnlearnHoldAndAskAnOperator(t *testing.T) {
	in := ran(3, 5)
	in.History.Scaling = ScaleLesson{ScaleAbsolute, t0}
	in.History.Containers[0].Guesses = []Guess{{ScaleAbsolute, 3}}
	if a := carriedOut(t, &in); a.Replicas != 5 {
		t.Fatalf("%+v", a)
	}
	events := shows(&in, 8, 2) // it was a difference
	if in.History.Scaling.Meaning != "" || in.History.Containers[0].Alarm == "" || in.History.Reserved() != usd("3.20") {
		t.Errorf("%+v, %s reserved", in.History.Containers, in.History.Reserved())
	}
	if i := slices.IndexFunc(events, func(e Event) bool { return e.Kind == EventAlarm }); i < 0 || !strings.Contains(events[i].Text, "container adopt web") {
		t.Errorf("%+v", events)
	}
	if p := Compute(in); len(p.Actions) > 0 || len(holds(p, HoldAlarm)) != 1 {
		t.Errorf("%+v", p)
	}
	in.Budget.MaxHourly, in.HourlyCap = market.Some(usd("2.00")), usd("2.00")
	if p := Compute(in); len(p.Actions) != 1 || p.Actions[0].Kind != ContainerStop || p.Actions[0].Reason.Code != ReasonOverBudget {
		t.Errorf("over a cap it is stopped all the same: %+v", p)
	}
}

func TestADifferenceThatTheMarketTakesForTheCountIsNoticed(t *testing.T) {
	in := ran(4, 5)
	in.History.Scaling = ScaleLesson{ScaleDelta, t0}
	in.History.Containers[0].Guesses = []Guess{{ScaleDelta, 4}}
	if a := carriedOut(t, &in); a.Replicas != 1 {
		t.Fatalf("%+v", a)
	}
	shows(&in, 1, 11)
	if in.History.Scaling.Meaning != "" || in.History.Containers[0].Alarm == "" {
		t.Errorf("%+v", in.History.Containers)
	}
}

func TestALostRequestToScaleIsHeldBothWaysAndNeverRepeated(t *testing.T) {
	for _, c := range []struct {
		shown    int
		wanted   int
		settled  IntentState
		reserved string
	}{{5, 5, IntentConfirmed, "2.00"}, {3, 3, IntentFailed, "1.20"}} {
		in := ran(3, 5)
		in.History.Scaling = ScaleLesson{ScaleDelta, t0}
		in.History.Containers[0].Guesses = []Guess{{ScaleDelta, 3}}
		p := Compute(in)
		intent, err := Begin(&in.History, p.Actions[0], in.CapsFor("web"), 9, 1, "", in.Now)
		if err != nil {
			t.Fatal(err)
		}
		Lose(&in.History, &intent, "timeout", in.Now)
		var state IntentState
		for i := range 12 {
			for _, e := range shows(&in, c.shown, 1) {
				if e.Intent == 9 {
					state = e.State
				}
			}
			if n := in.History.Containers[0].Scale; n != nil && len(Compute(in).Actions) > 0 {
				t.Fatalf("look %d: repeated: %+v", i, Compute(in).Actions)
			}
			if i < 1 && in.History.Reserved() != usd("2.00") {
				t.Errorf("look %d: %s are reserved", i, in.History.Reserved())
			}
		}
		if n, known := in.History.Containers[0].Wanted(); n != c.wanted || !known || state != c.settled || in.History.Reserved() != usd(c.reserved) {
			t.Errorf("%d shown: %+v, intent %s, %s reserved", c.shown, in.History.Containers[0], state, in.History.Reserved())
		}
	}
}

func TestAReplicasMachineIsNeitherOursToTouchNorSomebodyElsesCost(t *testing.T) {
	in := ran(2, 2)
	nameless := market.Instance{ID: "r0", Name: "vm-1", Status: market.StatusRunning, Total: market.Some(usd("0.35"))}
	named := market.Instance{ID: "r1", Name: nameOf("web", 1) + "-1", Status: market.StatusRunning, Total: market.Some(usd("0.35"))}
	in.Snapshot.Instances.Value = []market.Instance{nameless, named}
	in.Snapshot.Balance.Value.Hourly = market.Some(usd("0.70"))
	shows(&in, 2, 3)
	if len(in.History.Machines) > 0 || in.History.Account.Others > 0 || in.History.Gap.Known() || len(in.History.Strangers) > 0 {
		t.Errorf("%+v, others %s, gap %v", in.History.Machines, in.History.Account.Others, in.History.Gap)
	}
	if p := Compute(in); len(p.Actions) > 0 || !p.Standings[0].Satisfied {
		t.Errorf("%+v", p)
	}
	in.Snapshot.Instances.Value = append(in.Snapshot.Instances.Value, market.Instance{ID: "x", Name: "mine", Status: market.StatusRunning, Total: market.Some(usd("0.10"))})
	if shows(&in, 2, 1); in.History.Account.Others != usd("0.10") || !slices.Equal(in.History.Strangers, []string{"x"}) {
		t.Errorf("others %s, strangers %v", in.History.Account.Others, in.History.Strangers)
	}
}

func TestAContainerIsGoneOnlyWhereItsMachinesAreGoneToo(t *testing.T) {
	gone := func(in *Input, looks int) {
		for range looks {
			in.Now = in.Now.Add(time.Minute)
			in.Snapshot.Instances.At = in.Now
			in.Snapshot.Containers = []market.ReplicaList{{Container: "box", Gone: true}}
			Observe(&in.History, look(*in))
		}
	}
	in := ran(2, 2)
	in.Snapshot.Instances.Value = []market.Instance{{ID: "r0", Name: "vm-1", Status: market.StatusRunning}}
	gone(&in, 60)
	if c := in.History.Containers; len(c) != 1 || c[0].Alarm == "" {
		t.Errorf("its machine is listed: %+v", c)
	}
	in = ran(2, 2)
	gone(&in, 9)
	if p := Compute(in); len(in.History.Containers) != 1 || len(p.Actions) > 0 || len(holds(p, HoldReplicas)) != 1 {
		t.Errorf("after nine minutes: %+v", p)
	}
	gone(&in, 3)
	if p := Compute(in); len(in.History.Containers) != 0 || len(p.Actions) != 1 || p.Actions[0].Kind != ContainerDeploy {
		t.Errorf("after twelve: %+v", p)
	}
}

func TestAContainerOrderBeginsWithOneUntilTheMeaningIsKnownAndTakesConcreteModels(t *testing.T) {
	in := ran(1, 3)
	in.History.Containers = nil
	in.Policies[0].Match.GPUModels = []string{"*rtx4090*", "geforcertx3090-pcie-24gb"}
	p := Compute(in)
	if len(p.Actions) != 1 {
		t.Fatalf("%+v", p)
	}
	a := p.Actions[0]
	if a.Kind != ContainerDeploy || a.Replicas != 1 || !slices.Equal(a.Models, []market.GPUModel{"geforcertx3090-pcie-24gb", rtx4090}) || a.Ceiling != usd("0.40") || a.Rate != usd("0.40") || a.Image != "a/b" {
		t.Errorf("%+v", a)
	}
	in.History.Scaling = ScaleLesson{ScaleDelta, t0}
	if a := Compute(in).Actions[0]; a.Replicas != 3 || a.Rate != usd("1.20") {
		t.Errorf("%+v", a)
	}
	in.HourlyCap = usd("0.85")
	if a := Compute(in).Actions[0]; a.Replicas != 2 {
		t.Errorf("%+v", a)
	}
}

func TestWhatAnOperatorSaysMustFitToAContainerInDoubt(t *testing.T) {
	in := ran(2, 2)
	p := &in.Policies[0]
	if _, _, err := in.History.DisownContainer("web", t0); err == nil {
		t.Error("a container that is well was given up")
	}
	if _, _, err := in.History.AdoptContainer(p, "other", 1, "n", t0); err == nil {
		t.Error("a second container was taken in")
	}
	other := boxed(newPolicy("api", 1))
	if _, _, err := in.History.AdoptContainer(&other, "box", 1, "n", t0); err == nil {
		t.Error("another policy's container was taken in")
	}
	if _, _, err := in.History.AdoptContainer(&other, "new", 0, "n", t0); err == nil {
		t.Error("taken in without a count")
	}
	if c, _, err := in.History.AdoptContainer(&other, "new", 4, nameOf("api", 1), t0); err != nil || c.Reserved != usd("1.60") || c.Phase != PhaseAccepted {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestBeginOfAContainerRefusesWhatTheCapsDoNotLeaveAndASecondOne(t *testing.T) {
	in := ran(1, 3)
	deploy := Action{Kind: ContainerDeploy, Policy: "api", Replicas: 4, Ceiling: usd("0.50"), Rate: usd("2.00"), Shape: in.Policies[0].Shape}
	scale := Action{Kind: ContainerScale, Policy: "web", Machine: in.History.Containers[0].Name, Instance: "box", Replicas: 1}
	for _, c := range []struct {
		a   Action
		cap string
		ok  bool
	}{{deploy, "2.39", false}, {deploy, "2.40", true}, {scale, "0.79", false}, {scale, "0.80", true}} {
		h := in.History.Clone()
		_, err := Begin(&h, c.a, Caps{Hourly: usd(c.cap)}, 9, 1, nameOf("api", 1), t0)
		if ok := err == nil; ok != c.ok || !ok && !errors.Is(err, ErrBudget) || !ok && asJSON(t, h) != asJSON(t, in.History) {
			t.Errorf("%s of %s: %v", c.a.Kind, c.cap, err)
		}
	}
	h := in.History.Clone()
	if _, err := Begin(&h, Action{Kind: ContainerDeploy, Policy: "web", Replicas: 1, Ceiling: 1}, Caps{Hourly: market.MaxRate}, 9, 1, nameOf("web", 2), t0); !errors.Is(err, ErrStale) {
		t.Errorf("a second container of one policy: %v", err)
	}
	h.Containers[0].Scale = &PendingScale{Sent: 1, From: h.Containers[0].Guesses}
	if _, err := Begin(&h, scale, Caps{Hourly: market.MaxRate}, 9, 1, "", t0); !errors.Is(err, ErrStale) {
		t.Errorf("a request after one whose answer is not known: %v", err)
	}
}

func TestReplicasThatAreToGoAreHeldUntilALookShowsThemGone(t *testing.T) {
	in := ran(3, 2)
	in.History.Scaling = ScaleLesson{ScaleAbsolute, t0}
	in.History.Containers[0].Guesses = []Guess{{ScaleAbsolute, 3}}
	shows(&in, 1, 1) // two are lost, and may come up again
	if a := carriedOut(t, &in); a.Replicas != 2 || in.History.Reserved() != usd("1.20") {
		t.Errorf("%+v, %s reserved", a, in.History.Reserved())
	}
	if shows(&in, 1, 1); in.History.Reserved() != usd("0.80") {
		t.Errorf("%s reserved", in.History.Reserved())
	}
}

func TestReplicasUnderTheNameOfAContainerWithoutARecordAreFoundAndNoOtherMachineIsTakenForOne(t *testing.T) {
	in := ran(2, 2)
	in.History.Containers = nil
	in.Policies = append(in.Policies, newPolicy("web-k0000002", 1))
	replica := market.Instance{ID: "r0", Name: nameOf("web", 1) + "-0", Status: market.StatusRunning, Shape: market.Shape{GPUs: 1}}
	machine := market.Instance{ID: "m0", Name: nameOf("web-k0000002", 3), Status: market.StatusRunning, Shape: market.Shape{GPUs: 1}}
	in.Snapshot.Instances.Value = []market.Instance{replica, machine}
	in.Snapshot.Containers = nil
	in.Now = in.Now.Add(time.Minute)
	in.Snapshot.Instances.At = in.Now
	Observe(&in.History, look(in))
	if h := in.History; len(h.Machines) != 1 || h.Machines[0].ID != "m0" || len(h.Containers) != 1 || h.Containers[0].Name != nameOf("web", 1) || h.Containers[0].Alarm == "" {
		t.Fatalf("%+v, %+v", h.Machines, h.Containers)
	}
	if p := Compute(in); len(actions(p, ContainerDeploy)) > 0 || len(holds(p, HoldContainer)) != 1 {
		t.Errorf("%+v", p)
	}
	word, _, err := in.History.AdoptContainer(&in.Policies[0], "box", 2, "unused", in.Now)
	if err != nil || word.Name != nameOf("web", 1) || word.Reserved != usd("0.80") {
		t.Errorf("%+v, %v", word, err)
	}
}
