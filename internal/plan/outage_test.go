package plan

import (
	"fmt"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// onDemand is a machine of its own kind, which ran for an hour, on the host h1.
func onDemand(in *Input) Machine {
	p := newPolicy("p", 1)
	p.Capacity = market.OnDemand
	*in = newInput([]market.Host{newHost("h1", 0, "0.40")}, p)
	m := newMachine(p, 1, "h1", "0.20")
	m.Bid, m.Reserved = market.Maybe[market.Rate]{}, usd("0.449")
	in.History.Machines = []Machine{m}
	return m
}

func TestAnOutageHasItsTimesItsRateAndItsProof(t *testing.T) {
	var in Input
	m := onDemand(&in)
	witnesses(&in, time.Minute, as(m, market.StatusRunning)) // 12:01, well
	stopped := as(m, market.StatusReleased)
	stopped.RawStatus = "StoppedDisassociated"
	if begun := witnesses(&in, time.Minute, stopped); told(begun, EventOutage) != 1 || told(begun, EventOutageOver) != 0 { // 12:02, down
		t.Errorf("%+v", begun.Events)
	}
	if u := in.History.Machines[0].Outage; u == nil || !u.From.Equal(t0.Add(2*time.Minute)) || !u.WellAt.Equal(t0.Add(time.Minute)) {
		t.Fatalf("%+v", u)
	}
	for range 28 {
		if over := witnesses(&in, time.Minute, stopped).Outages; len(over) > 0 {
			t.Fatalf("%+v", over)
		}
	}
	end := witnesses(&in, time.Minute, as(m, market.StatusRunning)) // 12:31
	over := end.Outages
	if len(over) != 1 || in.History.Machines[0].Outage != nil {
		t.Fatalf("%+v", over)
	}
	if told(end, EventOutage) != 0 || told(end, EventOutageOver) != 1 {
		t.Errorf("whoever counts outages counts this one twice, or misses its end: %+v", end.Events)
	}
	u := over[0]
	if u.Cause != "released" || u.End != "running" || u.Lasted() != 29*time.Minute || u.Looks != 29 || u.DataLost || u.Rate != market.Some(usd("0.449")) ||
		u.ID != m.ID || u.Host != "h1" || !u.LastAt.Equal(t0.Add(30*time.Minute)) {
		t.Errorf("%+v", u)
	}
	want := "[{12:01 running  } {12:02 released StoppedDisassociated online} {12:31 running  online}]"
	if got := proofText(u.Proof); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// told counts the events of a kind.
func told(w Witnessed, kind EventKind) (n int) {
	for i := range w.Events {
		if w.Events[i].Kind == kind {
			n++
		}
	}
	return n
}

func proofText(all []Proof) string {
	out := []string{}
	for _, p := range all {
		out = append(out, fmt.Sprintf("{%s %s %s %s}", p.At.Format("15:04"), p.Status, p.Raw, p.Host))
	}
	return fmt.Sprint(out)
}

func TestAHostThatIsListedAsOfflineIsAnOutageOfWhatRunsThere(t *testing.T) {
	var in Input
	m := onDemand(&in)
	in.Snapshot.Hosts.Value[0].Online = false
	witnesses(&in, time.Minute, as(m, market.StatusRunning))
	if u := in.History.Machines[0].Outage; u == nil || u.Cause != OutageHost {
		t.Fatalf("%+v", u)
	}
	in.Snapshot.Hosts.Complete = false // says nothing, so nothing ends
	if over := witnesses(&in, time.Minute, as(m, market.StatusRunning)).Outages; len(over) > 0 {
		t.Errorf("an unreadable list of hosts was taken for its being online: %+v", over)
	}
	in.Snapshot.Hosts.Complete, in.Snapshot.Hosts.Value[0].Online = true, true
	if over := witnesses(&in, time.Minute, as(m, market.StatusRunning)).Outages; len(over) != 1 || over[0].Lasted() != 2*time.Minute {
		t.Errorf("%+v", over)
	}
}

func TestWhatIsNotTheHostsDoingIsNoOutage(t *testing.T) {
	for name, change := range map[string]func(in *Input, m *Machine) market.Instance{
		"outbid": func(_ *Input, m *Machine) market.Instance {
			m.Capacity, m.Bid = market.Spot, market.Some(usd("0.20"))
			return as(*m, market.StatusOutbid)
		},
		"we asked for its deletion": func(in *Input, m *Machine) market.Instance {
			m.Leaving = &PendingDelete{Intent: 1, At: in.Now}
			return as(*m, market.StatusStopped)
		},
		"it never ran": func(_ *Input, m *Machine) market.Instance {
			m.ReadyAt = time.Time{}
			return as(*m, market.StatusStopped)
		},
		"the account is empty": func(in *Input, m *Machine) market.Instance {
			in.Snapshot.Balance.Value.Balance = market.Some(market.Amount(0))
			return as(*m, market.StatusStopped)
		},
		"its state cannot be read": func(_ *Input, m *Machine) market.Instance { return as(*m, market.StatusUnknown) },
	} {
		t.Run(name, func(t *testing.T) {
			var in Input
			m := onDemand(&in)
			inst := change(&in, &m)
			in.History.Machines = []Machine{m}
			if over := witnesses(&in, time.Minute, inst).Outages; len(over) > 0 || in.History.Machines[0].Outage != nil {
				t.Errorf("%+v, %+v", over, in.History.Machines[0].Outage)
			}
		})
	}
}

func TestAnOutageThatWeEndLastsUntilWeAskedForTheDeletion(t *testing.T) {
	var in Input
	m := onDemand(&in)
	witnesses(&in, time.Minute, as(m, market.StatusStopped))
	witnesses(&in, 10*time.Minute, as(m, market.StatusStopped))
	in.History.Machines[0].Leaving = &PendingDelete{Intent: 1, At: in.Now.Add(30 * time.Second)}
	over := witnesses(&in, 5*time.Minute, as(m, market.StatusStopped)).Outages
	if len(over) != 1 || over[0].End != OutageDeleted || over[0].Lasted() != 10*time.Minute+30*time.Second {
		t.Fatalf("%+v", over)
	}
	if again := witnesses(&in, time.Minute, as(m, market.StatusStopped)).Outages; len(again) > 0 || in.History.Machines[0].Outage != nil {
		t.Errorf("%+v", again)
	}
}

func TestAnOutageIsOnRecordHoweverItsMachineLeavesTheBooks(t *testing.T) {
	for name, change := range map[string]func(in *Input, m *Machine){
		"deleted, and the market says at once that it is gone": func(in *Input, m *Machine) {
			m.Phase, m.Leaving = PhaseDeleting, &PendingDelete{Intent: 1, At: in.Now.Add(time.Second)}
			in.Snapshot.Gone = []string{m.ID}
		},
		"a deletion was asked for, and its answer is open": func(in *Input, m *Machine) {
			m.Leaving = &PendingDelete{Intent: 1, At: in.Now.Add(time.Second)}
		},
		"the account runs empty, and it is deleted for that": func(in *Input, m *Machine) {
			in.Snapshot.Balance.Value.Balance = market.Some(market.Amount(0))
		},
		"it vanishes": func(*Input, *Machine) {},
	} {
		t.Run(name, func(t *testing.T) {
			var in Input
			m := onDemand(&in)
			witnesses(&in, time.Minute, as(m, market.StatusStopped))
			change(&in, &in.History.Machines[0])
			var over []Outage
			for range 4 {
				over = append(over, witnesses(&in, time.Minute).Outages...)
			}
			if len(over) != 1 || over[0].To.IsZero() || over[0].End == "" {
				t.Errorf("%+v; %d machines are left", over, len(in.History.Machines))
			}
		})
	}
}

func TestAnOnDemandMachineThatVanishesIsAnOutageWithItsDisk(t *testing.T) {
	var in Input
	m := onDemand(&in)
	var over []Outage
	for range 4 {
		over = append(over, witnesses(&in, time.Minute).Outages...)
	}
	if len(over) != 1 || over[0].Cause != OutageGone || over[0].End != OutageGone || !over[0].DataLost || !over[0].From.Equal(t0.Add(time.Minute)) || !over[0].WellAt.Equal(m.SeenAt) {
		t.Fatalf("%+v", over)
	}
	m = onDemand(&in)
	m.Capacity, m.Bid = market.Spot, market.Some(usd("0.20"))
	in.History.Machines = []Machine{m}
	for range 4 {
		if over := witnesses(&in, time.Minute).Outages; len(over) > 0 {
			t.Errorf("spot that the market ends is the auction's doing: %+v", over)
		}
	}
}

func TestTheProofOfAnOutageIsBounded(t *testing.T) {
	var in Input
	m := onDemand(&in)
	for i := range 100 {
		inst := as(m, market.StatusStopped)
		inst.RawStatus = fmt.Sprint("odd ", i)
		witnesses(&in, time.Minute, inst)
	}
	u := in.History.Machines[0].Outage
	if len(u.Proof) != maxProof || u.Looks != 100 || u.Proof[1].Raw != "odd 0" || u.Proof[maxProof-1].Raw != "odd 99" {
		t.Errorf("%d looks, %d proofs: %+v", u.Looks, len(u.Proof), u.Proof)
	}
}
