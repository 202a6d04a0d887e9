package plan

import (
	"slices"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// proving wants n machines that take a connection to port 22.
func proving(n int) policy.Policy {
	p := newPolicy("p", n)
	p.Ready = policy.Ready{TCP: 22, Deadline: 15 * time.Minute, Interval: 15 * time.Second, Timeout: time.Second}
	return p
}

// fresh is a machine that was ordered a minute ago and runs for the first time.
func fresh(p policy.Policy) Machine {
	m := newMachine(p, 1, "a", "0.20")
	m.OrderedAt, m.ReadyAt, m.StatusAt, m.Status = t0.Add(-time.Minute), time.Time{}, t0.Add(-time.Minute), market.StatusStarting
	m.DeployIntent, m.IP, m.Ports = 7, "203.0.113.7", []market.PortForward{{External: 30022, Internal: 22}}
	return m
}

func running(m Machine) market.Instance {
	m.Status = market.StatusRunning
	return shown(m)
}

// after lets a machine run for so long, with a finding where there is one, and plans.
func after(in *Input, m Machine, d time.Duration, found *Finding) ([]Event, Plan) {
	in.Now = t0.Add(d)
	in.Snapshot.Instances.Value, in.Snapshot.Instances.At = []market.Instance{running(m)}, in.Now
	l := look(*in)
	if found != nil {
		found.Machine, found.ID = m.Name, m.ID
		if found.At.IsZero() {
			found.At = in.Now.Add(-time.Second)
		}
		l.Findings = []Finding{*found}
	}
	events := Observe(&in.History, l)
	_, p := converse(*in, never)
	return events, p
}

func TestAMachineCountsAsDeliveredWhenItRunsAndHasPassedItsProbeOnce(t *testing.T) {
	p := proving(1)
	in, m := newInput([]market.Host{newHost("a", 8, "0.40")}, p), fresh(p)
	in.History.Machines = []Machine{m}
	events, got := after(&in, m, 0, nil)
	if slices.Contains(kinds(events), EventReady) || got.Standings[0].Ready != 0 || got.Standings[0].Booting != 1 || got.Standings[0].Satisfied {
		t.Errorf("it runs, and that is all: %v %+v", kinds(events), got.Standings)
	}
	wantActions(t, got)
	wantHold(t, got, HoldProbe)
	errands := in.History.Errands(in.Policies, in.Now)
	if len(errands) != 1 || errands[0].Kind != ErrandProbe || errands[0].Address != "203.0.113.7:30022" {
		t.Fatalf("%+v", errands)
	}
	events, got = after(&in, m, time.Minute, &Finding{Kind: ErrandProbe, Text: "connection refused"})
	if slices.Contains(kinds(events), EventReady) || got.Standings[0].Ready != 0 {
		t.Errorf("it failed: %v", kinds(events))
	}
	events, got = after(&in, m, 3*time.Minute, &Finding{Kind: ErrandProbe, OK: true, HostKey: "ssh-ed25519 AAAA"})
	if !slices.Contains(kinds(events), EventReady) || got.Standings[0].Ready != 1 || !got.Standings[0].Satisfied {
		t.Errorf("it passed: %v %+v %+v", kinds(events), got.Standings, got.Holds)
	}
	if one := in.History.Machines[0]; !one.ReadyAt.Equal(in.Now) || one.HostKey == "" {
		t.Errorf("%+v", one)
	}
	if r := in.History.Record("a", rtx4090, in.Now); r.BootHours != hours(4*time.Minute) {
		t.Errorf("it took %s to be ready, the record says %v hours", 4*time.Minute, r.BootHours.Float())
	}
	if left := in.History.Errands(in.Policies, in.Now); len(left) != 0 {
		t.Errorf("it is probed again: %+v", left)
	}
	// It stays ready whatever a later probe would say, and was before one was wanted.
	if _, got = after(&in, m, 4*time.Minute, &Finding{Kind: ErrandProbe, Text: "no"}); got.Standings[0].Ready != 1 {
		t.Errorf("%+v", got.Standings)
	}
}

func TestAMachineThatNeverPassesIsDeletedAtTheDeadlineAndItsHostLeftAlone(t *testing.T) {
	p := proving(1)
	in, m := newInput([]market.Host{newHost("b", 8, "0.40")}, p), fresh(p)
	in.History.Machines = []Machine{m}
	after(&in, m, 0, nil)
	_, got := after(&in, m, 14*time.Minute, &Finding{Kind: ErrandProbe, Text: "connection refused"})
	wantActions(t, got)
	// Nobody probed it since: that is not its fault.
	_, got = after(&in, m, 40*time.Minute, nil)
	wantActions(t, got)
	_, got = after(&in, m, 41*time.Minute, &Finding{Kind: ErrandProbe, Text: "connection refused"})
	wantActions(t, got, "delete "+m.Name+" "+ReasonNotReady)

	in.History.Machines[0].Leaving = &PendingDelete{Intent: 9, At: in.Now, Code: ReasonNotReady}
	in.History.Machines[0].Phase = PhaseDeleting
	in.Now = in.Now.Add(time.Minute)
	observed(&in, stranger())
	in.Now = in.Now.Add(time.Minute)
	events := observed(&in, stranger())
	i := slices.IndexFunc(events, func(e Event) bool { return e.Kind == EventWasted })
	if i < 0 || events[i].Amount != m.Reserved.For(44*time.Minute) {
		t.Errorf("the waste: %+v", events)
	}
	if at := in.History.Records(in.Now).Quarantined("a", rtx4090); at.Before(in.Now.Add(5 * time.Hour)) {
		t.Errorf("its host is left alone until %s", at)
	}
	if in.History.Duds != 1 {
		t.Errorf("%d duds", in.History.Duds)
	}
}

func TestAFindingAboutAnotherMachineOrAnOlderOneSaysNothing(t *testing.T) {
	p := proving(1)
	in, m := newInput(nil, p), fresh(p)
	in.History.Machines = []Machine{m}
	after(&in, m, time.Minute, &Finding{Kind: ErrandProbe, Text: "refused"})
	l := look(in)
	l.Findings = []Finding{
		{Kind: ErrandProbe, Machine: m.Name, ID: "another", At: in.Now, OK: true},
		{Kind: ErrandProbe, Machine: m.Name, ID: m.ID, At: in.Now.Add(-time.Hour), OK: true},
		{Kind: ErrandReady, Machine: "nobody", ID: m.ID, At: in.Now, OK: true},
	}
	Observe(&in.History, l)
	if one := in.History.Machines[0]; !one.Unproven || one.Probe.Failed != 1 {
		t.Errorf("%+v", one)
	}
}

func TestOnDemandGoesOnUntilSpotHasPassedItsProbe(t *testing.T) {
	p := both(1)
	p.Ready = policy.Ready{TCP: 22, Deadline: 15 * time.Minute}
	cover, spot := demanded(p, 1), onSpot(p, 2)
	spot.Unproven, spot.ReadyAt = true, time.Time{}
	in := newInput([]market.Host{newHost("a", 8, "0.40")}, p)
	in.History.Machines = []Machine{cover, spot}
	_, got := converse(in, never)
	wantActions(t, got)
	in.History.Machines[1].Unproven, in.History.Machines[1].ReadyAt = false, t0
	_, got = converse(in, never)
	wantActions(t, got, "delete "+cover.Name+" "+ReasonSpotReady)
}

func TestAPortThatNothingLeadsToIsAProbeThatCannotPass(t *testing.T) {
	m := fresh(proving(1))
	if _, problem := m.reach(9100); problem == "" {
		t.Error("no forward")
	}
	m.IP = ""
	if _, problem := m.reach(22); problem == "" {
		t.Error("no address")
	}
	m.IP, m.Ports, m.API = "2001:db8::1", nil, market.V2
	if at, _ := m.reach(22); at != "[2001:db8::1]:22" {
		t.Errorf("an address of its own: %s", at)
	}
}
