package plan

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// onV2 is a world in which a policy's one on-demand machine can be had through v2.
func onV2() Input {
	p := newPolicy("p", 1)
	p.Capacity, p.HasKey, p.ImageV2, p.Ports = market.OnDemand, true, "ubuntu2204", []int{22}
	p.Shape = market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100}
	in := newInput([]market.Host{newHost("h", 2, "0.20")}, p)
	in.Snapshot.Hosts.Value[0].Ports = market.Some([]int{30000, 30001})
	in.Snapshot.V2 = market.Section[[]string]{At: t0, Complete: true}
	return in
}

func orderedBy(t *testing.T, in Input) market.Via {
	t.Helper()
	got := actions(Compute(in), Deploy)
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	return got[0].Via
}

func TestOnDemandIsBoughtThroughV2WhereItSellsWhatIsWanted(t *testing.T) {
	if by := orderedBy(t, onV2()); by != market.ViaV2 {
		t.Fatalf("bought by %q", by)
	}
	for name, spoil := range map[string]func(in *Input, p *policy.Policy){
		"no SSH key":               func(_ *Input, p *policy.Policy) { p.HasKey = false },
		"an image v2 has not":      func(_ *Input, p *policy.Policy) { p.ImageV2 = "" },
		"no port to log in":        func(_ *Input, p *policy.Policy) { p.Ports = []int{8080} },
		"less disk than v2 sells":  func(_ *Input, p *policy.Policy) { p.Shape.Storage = 80 },
		"memory v2 does not sell":  func(_ *Input, p *policy.Policy) { p.Shape.RAM = 24 },
		"v2 cannot be read":        func(in *Input, _ *policy.Policy) { in.Snapshot.V2.Complete = false },
		"the host tells no ports":  func(in *Input, _ *policy.Policy) { in.Snapshot.Hosts.Value[0].Ports = market.Maybe[[]int]{} },
		"v2 has refused it here":   func(in *Input, p *policy.Policy) { shunned(in, p, market.ClassNoCapacity) },
		"v2 has refused the order": func(in *Input, p *policy.Policy) { shunned(in, p, market.ClassRefused) },
	} {
		in := onV2()
		spoil(&in, &in.Policies[0])
		if by := orderedBy(t, in); by != market.ViaHost {
			t.Errorf("%s: bought by %q", name, by)
		}
	}
}

// shunned has v2 refuse the order.
func shunned(in *Input, p *policy.Policy, class market.Class) {
	intent := Intent{Kind: Deploy, Via: market.ViaV2, Host: "h", Model: rtx4090, Shape: p.Shape, AnswerAt: in.Now}
	Shun(&in.History, in.Safety, &intent, class, "no")
}

func TestWhatV2RefusesHereItMaySellElsewhere(t *testing.T) {
	in := onV2()
	in.Snapshot.Hosts.Value = append(in.Snapshot.Hosts.Value, newHost("i", 2, "0.19"))
	in.Snapshot.Hosts.Value[1].Ports = market.Some([]int{30000})
	shunned(&in, &in.Policies[0], market.ClassNoCapacity) // on h
	if a := actions(Compute(in), Deploy)[0]; a.Host != "i" || a.Via != market.ViaV2 {
		t.Errorf("%+v", a)
	}
	shunned(&in, &in.Policies[0], market.ClassRefused)
	if a := actions(Compute(in), Deploy)[0]; a.Host != "i" || a.Via != market.ViaHost {
		t.Errorf("%+v", a)
	}
}

func TestAnOrderThroughV2IsLookedForInV2sList(t *testing.T) {
	in := onV2()
	a := actions(Compute(in), Deploy)[0]
	if _, err := Begin(&in.History, a, Caps{Hourly: in.HourlyCap}, 1, 1, nameOf("p", 1), in.Now); err != nil {
		t.Fatal(err)
	}
	if m := in.History.Machines[0]; m.API != market.V2 {
		t.Errorf("%+v", m)
	}
}

func TestV2SellsOnlyOnDemandAndOnlyWhatItCan(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		for _, a := range actions(Compute(in), Deploy) {
			if a.Via == market.ViaV2 && (a.Capacity != market.OnDemand || !in.Snapshot.V2.Complete || !sellsV2(find(in, a.Policy), a.Shape, a.Ports)) {
				t.Fatalf("%+v", a)
			}
		}
	})
}

// atSite is a world in which only a location of v2 has what is wanted.
func atSite() Input {
	in := onV2()
	in.Snapshot.Hosts.Value[0].GPUs[0].Free = 0
	some := func(text string) market.Maybe[market.Rate] { return market.Some(usd(text)) }
	in.Snapshot.Sites = market.Section[[]market.Site]{At: t0, Complete: true, Value: []market.Site{{
		Location: market.Location{ID: "loc-9", Country: "Norway", City: "Bodø"},
		GPUs: []market.SiteGPU{{
			Model: rtx4090, Max: market.Some(2), Price: some("0.20"), MaxVCPUs: market.Some(32), MaxRAM: market.Some(128), MaxStorage: market.Some(500),
			PerVCPU: some("0.003"), PerRAM: some("0.002"), PerStorage: some("0.00005"),
		}},
	}}}
	return in
}

func TestALocationOfV2ServesWhereNoHostOfItIsListedAsFree(t *testing.T) {
	in := atSite()
	a := actions(Compute(in), Deploy)
	if len(a) != 1 || a[0].Site != "loc-9" || a[0].Host != "" || a[0].Via != market.ViaV2 || a[0].Location.City != "Bodø" ||
		len(a[0].Ports) != 1 || a[0].Ports[0].Internal != 22 || a[0].Rate != usd("0.249") {
		t.Fatalf("%+v", a)
	}
	in.Snapshot.Hosts.Value[0].GPUs[0].Free, in.Snapshot.Hosts.Value[0].Location.ID = 1, "loc-9"
	if a := actions(Compute(in), Deploy); len(a) != 1 || a[0].Host != "h" || a[0].Site != "" {
		t.Errorf("the host itself is the surer offer: %+v", a)
	}
	for name, spoil := range map[string]func(in *Input){
		"no key":               func(in *Input) { in.Policies[0].HasKey = false },
		"sold out":             func(in *Input) { in.Snapshot.Sites.Value[0].GPUs[0].Max = market.Some(0) },
		"v2 cannot be read":    func(in *Input) { in.Snapshot.V2.Complete = false },
		"not read":             func(in *Input) { in.Snapshot.Sites.Complete = false },
		"no port is forwarded": func(in *Input) { in.Snapshot.Sites.Value[0].GPUs[0].Forwards = market.Some(false) },
		"it refused": func(in *Input) {
			Shun(&in.History, in.Safety, &Intent{Via: market.ViaV2, Site: "loc-9", Model: rtx4090, Shape: in.Policies[0].Shape, AnswerAt: t0}, market.ClassNoCapacity, "sold out")
		},
		"on spot":        func(in *Input) { in.Policies[0].Capacity = market.Spot },
		"a certain host": func(in *Input) { in.Policies[0].Match.Hosts = []string{"h"} },
	} {
		in := atSite()
		spoil(&in)
		if a := actions(Compute(in), Deploy); len(a) != 0 {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

func TestAnOrderAtALocationTakesItsPlaceThereUntilItsHostIsKnown(t *testing.T) {
	in := atSite()
	in.Policies[0].Target, in.HourlyCap = 3, usd("5")
	got := actions(Compute(in), Deploy)
	if len(got) != 2 { // two GPUs at most are sold there
		t.Fatalf("%+v", got)
	}
	if _, err := Begin(&in.History, got[0], in.CapsFor("p"), 1, 1, nameOf("p", 1), in.Now); err != nil {
		t.Fatal(err)
	}
	if m := in.History.Machines[0]; m.Site != "loc-9" || m.API != market.V2 || m.site() != siteV2("loc-9") {
		t.Errorf("%+v", m)
	}
	if got := actions(Compute(in), Deploy); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestV2IsNotLeftToChooseAHostWhereASpotMachineOfOursStands(t *testing.T) {
	in := atSite()
	q := newPolicy("q", 1)
	m := newMachine(q, 1, "x", "0.20")
	m.Location = market.Location{ID: "loc-9", City: "Bodø, as the list spells it"}
	in.Policies, in.History.Machines, in.HourlyCap = append(in.Policies, q), []Machine{m}, usd("5")
	if got := actions(Compute(in), Deploy); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
	in.History.Machines[0].Location = market.Location{ID: "loc-8", Country: "Norway", City: "Bodø"}
	if got := actions(Compute(in), Deploy); len(got) != 1 || got[0].Site != "loc-9" {
		t.Fatalf("%+v", got)
	}
	in.History.Machines[0].Location.ID = ""
	if got := actions(Compute(in), Deploy); len(got) != 0 {
		t.Fatalf("%+v", got)
	}
}
