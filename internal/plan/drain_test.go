package plan

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// drained is a policy whose machines are drained.
func drained(n int) policy.Policy {
	p := newPolicy("p", n)
	p.Drain = policy.Drain{Hook: policy.Hook{Kind: policy.HookWeb}, Grace: 5 * time.Minute, Deadline: 15 * time.Minute}
	p.OnReady = policy.Hook{Kind: policy.HookWeb}
	return p
}

// way is a machine on its way out, minute by minute.
type way struct {
	*testing.T
	in     Input
	minute int
}

func newWay(t *testing.T, p policy.Policy, ms ...Machine) *way {
	w := &way{T: t, in: newInput([]market.Host{newHost("a", 8, "0.40")}, p)}
	w.in.History.Machines = ms
	return w
}

// next plans the next minute and books the plan's drains. found answers what was asked.
func (w *way) next(found ...Finding) Plan {
	w.Helper()
	w.in.Now = t0.Add(time.Duration(w.minute) * time.Minute)
	w.minute++
	var list []market.Instance
	for i := range w.in.History.Machines {
		list = append(list, shown(w.in.History.Machines[i]))
	}
	w.in.Snapshot.Instances.Value, w.in.Snapshot.Instances.At = list, w.in.Now
	l := look(w.in)
	for _, f := range found {
		m := w.in.History.Machine(f.Machine)
		f.ID, f.At = m.ID, w.in.Now.Add(-time.Second)
		l.Findings = append(l.Findings, f)
	}
	Observe(&w.in.History, l)
	_, p := converse(w.in, never)
	BookDrains(&w.in.History, p.Drains, w.in.Now)
	return p
}

func (w *way) asked() (out []Errand) {
	for _, e := range w.in.History.Errands(w.in.Policies, w.in.Now) {
		if e.Kind == ErrandDrain {
			out = append(out, e)
		}
	}
	return out
}

func TestAMachineTooManyIsDrainedBeforeItGoes(t *testing.T) {
	p := drained(1)
	keep, dear := newMachine(p, 1, "a", "0.20"), newMachine(p, 2, "b", "0.30")
	w := newWay(t, p, keep, dear)
	got := w.next()
	wantActions(t, got)
	wantHold(t, got, HoldDraining)
	asked := w.asked()
	if len(asked) != 1 || asked[0].Machine != dear.Name {
		t.Fatalf("asked: %+v", asked)
	}
	facts := asked[0].Facts
	if facts.Reason.Code != ReasonOverTarget || !facts.GoesBy.Equal(t0.Add(15*time.Minute)) || facts.Rate != dear.Reserved {
		t.Errorf("%+v", facts)
	}
	if got := w.next(); got.Standings[0].Ready != 2 {
		t.Errorf("it counts until it goes: %+v", got.Standings[0])
	}
	wantActions(t, w.next(Finding{Kind: ErrandDrain, Machine: dear.Name, OK: true})) // 12:02
	for w.minute < 6 {
		wantActions(t, w.next())
	}
	if len(w.asked()) != 0 {
		t.Error("asked again after a yes")
	}
	w.next()
	wantActions(t, w.next(), "delete "+dear.Name+" "+ReasonOverTarget) // 12:07
}

func TestAHookThatSaysNoKeepsTheMachineUntilTheDeadline(t *testing.T) {
	for name, no := range map[string]Finding{"a veto": {Veto: true, Text: "busy"}, "a failure": {Text: "refused"}} {
		p := drained(0)
		m := newMachine(p, 1, "a", "0.20")
		w := newWay(t, p, m)
		w.next()
		no.Kind, no.Machine = ErrandDrain, m.Name
		for w.minute < 15 {
			if got := w.next(no); len(got.Actions) > 0 {
				t.Fatalf("%s, minute %d: %v", name, w.minute, does(got))
			}
		}
		wantActions(t, w.next(no), "delete "+m.Name+" "+ReasonOverTarget)
	}
}

func TestAMachineWhoseHookNobodyCalledDoesNotGoAtTheDeadline(t *testing.T) {
	p := drained(0)
	m := newMachine(p, 1, "a", "0.20")
	w := newWay(t, p, m)
	for w.minute <= 29 {
		wantActions(t, w.next())
	}
	w.next()
	wantActions(t, w.next(), "delete "+m.Name+" "+ReasonOverTarget)
}

func TestADrainThatIsNotWantedAnyMoreIsCalledOffAndTheMachineToldAnew(t *testing.T) {
	p := drained(0)
	m := newMachine(p, 1, "a", "0.20")
	m.Told.DoneAt = t0.Add(-time.Hour)
	w := newWay(t, p, m)
	w.next()
	w.in.Policies = slices.Clone(w.in.Policies)
	w.in.Policies[0].Target = 1
	wantHold(t, w.next(), HoldDraining)
	for w.minute < 6 {
		wantActions(t, w.next())
	}
	one := w.in.History.Machines[0]
	if one.Drain != nil || one.Spared != 1 {
		t.Fatalf("%+v", one.Drain)
	}
	told := w.in.History.Errands(w.in.Policies, w.in.Now)
	if len(told) != 1 || told[0].Kind != ErrandReady {
		t.Errorf("%+v", told)
	}
}

func TestWhatNeedNotWaitGoesAtOnce(t *testing.T) {
	p := drained(2)
	for name, c := range map[string]struct {
		change func(in *Input, m *Machine)
		want   string
	}{
		"a cap":            {func(in *Input, _ *Machine) { in.Budget.MaxHourly, in.HourlyCap = market.Some(usd("0.25")), usd("0.25") }, ReasonOverBudget},
		"a removed policy": {func(in *Input, m *Machine) { in.Policies, in.History.Known = nil, []string{"p"} }, ReasonPolicyRemoved},
		"destroy --now":    {func(in *Input, _ *Machine) { in.History.Pauses = []Pause{{Policy: "p", Teardown: true}} }, ReasonDestroy},
		"it does not run":  {func(_ *Input, m *Machine) { m.Status, m.StatusAt = market.StatusStopped, t0.Add(-time.Hour) }, ReasonStopped},
		"it was never ready": {func(in *Input, m *Machine) {
			in.Policies = slices.Clone(in.Policies)
			in.Policies[0].Target, in.Policies[0].Ready, m.Unproven = 1, policy.Ready{TCP: 22, Deadline: time.Hour}, true
		}, ReasonOverTarget},
	} {
		keep, m := newMachine(p, 1, "a", "0.20"), newMachine(p, 2, "b", "0.30")
		in := newInput(nil, p)
		c.change(&in, &m)
		in.History.Machines = []Machine{keep, m}
		_, got := converse(in, never)
		if !slices.ContainsFunc(got.Actions, func(a Action) bool { return a.Machine == m.Name && a.Kind == Delete && a.Reason.Code == c.want }) {
			t.Errorf("%s: %v %v", name, got.Actions, got.Holds)
		}
	}
}

func TestAGentleDestroyDrainsToo(t *testing.T) {
	p := drained(1)
	m := newMachine(p, 1, "a", "0.20")
	w := newWay(t, p, m)
	w.in.History.Pauses = []Pause{{Policy: "p", Since: t0, Teardown: true, Gentle: true}}
	wantActions(t, w.next())
	if len(w.asked()) != 1 {
		t.Error("nobody is asked")
	}
	w.next(Finding{Kind: ErrandDrain, Machine: m.Name, OK: true})
	for w.minute < 6 {
		wantActions(t, w.next())
	}
	w.next()
	wantActions(t, w.next(), "delete "+m.Name+" "+ReasonDestroy)
}

func TestWhatAnOperatorProtectsStaysUntilThatEnds(t *testing.T) {
	p := newPolicy("p", 0)
	m := newMachine(p, 1, "a", "0.20")
	m.Shield = &Shield{Since: t0, Until: t0.Add(3 * time.Minute)}
	w := newWay(t, p, m)
	for w.minute < 3 {
		got := w.next()
		wantActions(t, got)
		wantHold(t, got, HoldProtected)
	}
	wantActions(t, w.next(), "delete "+m.Name+" "+ReasonOverTarget)
}

func TestAHookIsCalledUntilItHasSucceededOnceMoreAndMoreRarely(t *testing.T) {
	p := drained(1)
	w := newWay(t, p, newMachine(p, 1, "a", "0.20"))
	calls, fails := []int{}, 6
	var answer []Finding
	for range 60 {
		w.next(answer...)
		answer = nil
		for _, e := range w.in.History.Errands(w.in.Policies, w.in.Now) {
			calls = append(calls, w.minute-1)
			answer = append(answer, Finding{Kind: e.Kind, Machine: e.Machine, OK: len(calls) > fails, Text: "refused"})
		}
		if got := w.in.History.Machines[0].Told.Failed; got > 0 {
			_, p := converse(w.in, never)
			wantHold(t, p, HoldHook)
			if !p.Standings[0].Satisfied {
				t.Error("a hook that fails makes a fleet no less complete")
			}
		}
	}
	if want := []int{0, 2, 4, 6, 8, 11, 15}; !slices.Equal(calls, want) {
		t.Errorf("called at %v, want %v", calls, want)
	}
}

func TestNoVoluntaryTeardownComesBeforeTheDrain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		for i := range in.Policies { // something to give up, and all of it to be drained
			in.Policies[i].Drain = policy.Drain{Grace: 5 * time.Minute, Deadline: 15 * time.Minute}
			in.Policies[i].Target /= 3
		}
		_, got := converse(in, always)
		for _, a := range append(actions(got, Delete), actions(got, Stop)...) {
			m, p := in.History.Machine(a.Machine), policyOf(in.Policies, a.Policy)
			if !drainable(a.Reason.Code) || p == nil || a.Reason.Code == ReasonDestroy || m.Drained(p, in.Now) {
				continue
			}
			t.Fatalf("%s goes at once (%s), drain %+v", m.Name, a.Reason.Code, m.Drain)
		}
		for _, a := range actions(got, Rebid) {
			if in.History.Machine(a.Machine).Drain != nil {
				t.Fatalf("%s is raised or lowered while it drains", a.Machine)
			}
		}
	})
}

// drawDrain gives some policies a probe and a drain.
func drawDrain(t *rapid.T, p *policy.Policy) {
	if chance(t, "proves", 20) {
		p.Ready = policy.Ready{TCP: 22, Deadline: 15 * time.Minute, Interval: 15 * time.Second}
	}
	if chance(t, "drains", 30) {
		p.Drain = policy.Drain{Hook: policy.Hook{Kind: pick(t, "hook", "", policy.HookWeb)}, Grace: 5 * time.Minute, Deadline: 15 * time.Minute}
	}
	if chance(t, "tells", 20) {
		p.OnReady = policy.Hook{Kind: policy.HookCommand}
	}
}

// drawDraining makes some machines unproven, or on their way out.
func drawDraining(t *rapid.T, m *Machine) {
	if m.Phase != PhaseLive || m.Leaving != nil {
		return
	}
	ago := func(label string) time.Time { return t0.Add(-time.Duration(upTo(t, label, 20)) * time.Minute) }
	switch {
	case chance(t, "unproven", 10):
		m.Unproven, m.ReadyAt = true, time.Time{}
		m.Probe = Tries{At: ago("probed"), Failed: 1, Text: "refused"}
	case chance(t, "draining", 15):
		m.Drain = &Drain{Since: ago("since"), Wanted: ago("wanted"), Reason: Reason{ReasonOverTarget, "too many"}}
		if chance(t, "answered", 50) {
			m.Drain.Asked = Tries{At: ago("asked"), DoneAt: ago("agreed")}
		}
	case chance(t, "shielded", 5):
		m.Shield = &Shield{Since: t0.Add(-time.Hour)}
	}
}
