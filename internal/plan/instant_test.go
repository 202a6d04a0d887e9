package plan

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func ready(in Input, id string) *market.Instant {
	for i := range in.Snapshot.Instants.Value {
		if in.Snapshot.Instants.Value[i].ID == id {
			return &in.Snapshot.Instants.Value[i]
		}
	}
	return nil
}

func newInstant(id, host, price string) market.Instant {
	return market.Instant{
		ID: id, Host: host, Model: rtx4090, Shape: market.Shape{GPUs: 1, VCPUs: 6, RAM: 24, Storage: 80}, Image: "Ubuntu 22.04 LTS",
		Compute: market.Some(usd(price)), Storage: market.Some(usd("0.01")),
	}
}

func readyMade(n int, list ...market.Instant) Input {
	p := newPolicy("p", n)
	p.Kind, p.Capacity, p.Shape, p.Image, p.Ports = policy.Instant, market.OnDemand, market.Shape{GPUs: 1}, "", []int{22}
	in := newInput(nil, p)
	in.Snapshot.Instants = market.Section[[]market.Instant]{Value: list, At: t0, Complete: true}
	return in
}

func TestReadyMadeMachinesAreTakenTheCheapestAllInFirst(t *testing.T) {
	cheap := newInstant("b", "", "0.25")
	cheap.Storage = market.Some(usd("0.10")) // all-in it is the dearer one
	in := readyMade(2, newInstant("a", "h1", "0.30"), cheap, newInstant("c", "h2", "0.29"), newInstant("d", "h3", "0.90"))
	got := actions(Compute(in), Deploy)
	if len(got) != 2 || got[0].Instant != "c" || got[1].Instant != "a" || got[0].Rate != usd("0.30") {
		t.Fatalf("%+v", got)
	}
	a := got[0]
	if a.Via != market.ViaInstant || a.Capacity != market.OnDemand || a.Shape.VCPUs != 6 || a.Host != "h2" || a.Storage != usd("0.01") {
		t.Errorf("%+v", a)
	}
}

func TestAReadyMadeMachineThatWasOrderedIsNotOrderedAgainWhileTheListStillShowsIt(t *testing.T) {
	in := readyMade(2, newInstant("a", "", "0.30"))
	first := actions(Compute(in), Deploy)
	if len(first) != 1 {
		t.Fatalf("%+v", first)
	}
	if _, err := Begin(&in.History, first[0], Caps{Hourly: in.HourlyCap}, 1, 1, nameOf("p", 1), in.Now); err != nil {
		t.Fatal(err)
	}
	p := Compute(in)
	wantActions(t, p)
	wantHold(t, p, HoldNoOffer)
}

func TestAReadyMadeSizeServesManyTimes(t *testing.T) {
	size := newInstant("size", "", "0.30")
	size.Many = true
	got := actions(Compute(readyMade(3, size)), Deploy)
	if len(got) != 3 || !got[2].Many {
		t.Fatalf("%+v", got)
	}
}

func TestPortsOfAReadyMadeMachineAreThoseOfItsHostWhereThatIsListed(t *testing.T) {
	in := readyMade(1, newInstant("a", "h1", "0.30"))
	h := newHost("h1", 0, "0.20")
	h.Ports = market.Some([]int{30001, 30000})
	in.Snapshot.Hosts.Value = []market.Host{h}
	if got := actions(Compute(in), Deploy); len(got) != 1 || len(got[0].Ports) != 1 || got[0].Ports[0] != (market.PortForward{External: 30000, Internal: 22}) {
		t.Fatalf("%+v", got)
	}
}

func TestAFailedListOfReadyMadeMachinesHoldsOnlyThosePolicies(t *testing.T) {
	in := readyMade(1, newInstant("a", "", "0.30"))
	in.Snapshot.Instants.Complete = false
	other := newPolicy("q", 1)
	in.Policies = append(in.Policies, other)
	in.Snapshot.Hosts.Value = []market.Host{newHost("h", 1, "0.20")}
	in.Verdicts = []market.Verdict{accepted(other, "h", "0.15")}
	p := Compute(in)
	wantHold(t, p, HoldReadyMade)
	if got := actions(p, Deploy); len(got) != 1 || got[0].Policy != "q" {
		t.Errorf("%+v", got)
	}
}

func TestAReadyMadeMachineIsNotTakenWhereItMayFallUponASpotMachineOfOurs(t *testing.T) {
	p := newPolicy("q", 1)
	for _, c := range []struct {
		what    string
		free    int // GPUs of the host, as listed
		ready   market.Instant
		ordered bool // ours, since the list
		want    string
	}{
		{what: "the host has no other GPU", ready: newInstant("a", "h1", "0.30")},
		{what: "the host has another", free: 1, ready: newInstant("a", "h1", "0.30"), want: "a"},
		{what: "ours was ordered since the list", free: 1, ready: newInstant("a", "h1", "0.30"), ordered: true},
		{what: "it stands elsewhere", ready: newInstant("a", "h2", "0.30"), want: "a"},
		{what: "nobody says where it stands", ready: newInstant("a", "", "0.30"), want: "a"},
	} {
		in := readyMade(1, c.ready)
		in.Policies, in.HourlyCap = append(in.Policies, p), usd("5")
		in.Snapshot.Hosts.Value = []market.Host{newHost("h1", c.free, "0.20")}
		m := newMachine(p, 1, "h1", "0.15")
		if c.ordered {
			m.Phase, m.SeenAt, m.OrderedAt = PhaseAccepted, time.Time{}, in.Now
		}
		in.History.Machines = []Machine{m}
		got := ""
		for _, a := range actions(Compute(in), Deploy) {
			got += a.Instant
		}
		if got != c.want {
			t.Errorf("%s: %q is ordered, want %q", c.what, got, c.want)
		}
		for _, l := range List(in, in.Policies[0]) {
			if l.Instant == "a" && (l.In != (c.want != "") || !l.In && !strings.Contains(l.Reason.Text, "spot machine of ours")) {
				t.Errorf("%s: listed as %+v", c.what, l.Reason)
			}
		}
	}
	in := readyMade(1, newInstant("a", "h1", "0.30"), newInstant("b", "h2", "0.31"))
	in.Snapshot.Hosts.Value = []market.Host{newHost("h1", 1, "0.20")}
	in.Policies, in.HourlyCap, in.History.Machines = append(in.Policies, p), usd("5"), []Machine{newMachine(p, 1, "h1", "0.15")}
	if got := actions(Compute(in), Deploy); len(got) != 1 || got[0].Instant != "b" {
		t.Errorf("beside a spot machine of ours, although one costs hardly more where we have none: %+v", got)
	}
}

func TestARefusedReadyMadeMachineIsLeftAlone(t *testing.T) {
	in := readyMade(1, newInstant("a", "", "0.30"), newInstant("b", "", "0.31"))
	intent := Intent{Instant: "a", Model: rtx4090, Shape: market.Shape{GPUs: 1}}
	Penalise(&in.History, in.Safety, intent.site(), rtx4090, 1, market.MaxRate, "gone", in.Now)
	if got := actions(Compute(in), Deploy); len(got) != 1 || got[0].Instant != "b" {
		t.Fatalf("%+v", got)
	}
}

func TestTheMarketListsReadyMadeMachinesBesideHostsByPrice(t *testing.T) {
	big := newInstant("big", "", "0.50")
	big.Shape.GPUs = 2
	in := readyMade(1, newInstant("a", "", "0.30"), big)
	in.Snapshot.Hosts.Value = []market.Host{newHost("h", 1, "0.20")}
	got := List(in, in.Policies[0])
	if len(got) != 3 || !got[0].In || got[0].Instant != "a" || got[1].Reason.Code != OfferKind && got[2].Reason.Code != OfferKind {
		t.Fatalf("%+v", got)
	}
	for _, l := range got {
		if l.Instant == "big" && (l.Reason.Code != OfferShape || !strings.Contains(l.Reason.Text, "2 GPUs")) {
			t.Errorf("%+v", l.Reason)
		}
	}
	nobody := policy.Policy{Kind: policy.VM, Capacity: market.OnDemand, Target: 1, MaxGPUHour: market.MaxRate, Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 80}}
	for price, first := range map[string]string{"0.20": "", "0.40": "a"} {
		in.Snapshot.Hosts.Value = []market.Host{newHost("h", 1, price)}
		if got := List(in, nobody); !got[0].In || !got[1].In || got[2].In || got[0].Instant != first {
			t.Errorf("a host at %s, a ready-made machine at 0.31: %+v", price, got)
		}
	}
}

func TestAReadyMadeOrderIsOfOneThatSuitsAndIsTakenOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		taken := map[string]bool{}
		for _, m := range in.History.Machines {
			taken[m.Instant] = true
		}
		for _, a := range actions(Compute(in), Deploy) {
			pol := find(in, a.Policy)
			if (a.Via == market.ViaInstant) != (pol.Kind == policy.Instant) {
				t.Fatalf("policy of kind %s: %+v", pol.Kind, a)
			}
			if a.Via != market.ViaInstant {
				continue
			}
			r := ready(in, a.Instant)
			price, known := r.Price().Get()
			if !known || a.Rate != price || a.Shape != r.Shape || a.Many != r.Many || !suits(pol, r) || taken[r.ID] && !r.Many || !in.Snapshot.Instants.Complete {
				t.Fatalf("%+v for %+v", a, r)
			}
			taken[r.ID] = true
		}
	})
}
