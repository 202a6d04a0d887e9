package simulator

import (
	"errors"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	world := func(change func(*WorldHost)) *World {
		w := oneHost()
		change(&w.Hosts[0])
		return w
	}
	twice := oneHost()
	twice.Hosts = append(twice.Hosts, oneHost().Hosts...)
	for name, o := range map[string]Options{
		"negative hosts":           {Hosts: -1},
		"boots before they begin":  {Boot: BootModel{Median: -time.Second}},
		"more failures than boots": {Boot: BootModel{Fails: 1.1}},
		"unknown regime":           {Regime: "chaos"},
		"unknown rebid mode":       {RebidApplies: "telepathy"},
		"replay without a file":    {Regime: Replay},
		"a host twice":             {Scenario: twice},
		"too many GPUs":            {Scenario: world(func(h *WorldHost) { h.Host.GPUs[0].Free = 64 })},
		"a rival for no model":     {Scenario: world(func(h *WorldHost) { h.Rivals = []Rival{{Model: "none", GPUs: 1}} })},
		"a rival that is too big":  {Scenario: oneHost(Rival{GPUs: 5})},
	} {
		o.Clock = clock.NewVirtual(epoch)
		if _, err := New(o); !errors.Is(err, errOptions) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNamesOfSettingsAreReadBackAndOthersRefused(t *testing.T) {
	if s, err := ParseShape("seed"); s != Seed || err != nil {
		t.Errorf("%v, %v", s, err)
	}
	if m, err := ParseRebidMode("validate-existing"); m != ByValidateExisting || err != nil {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := ParseShape("round"); err == nil {
		t.Error("a round shape")
	}
	if _, err := ParseRegime(""); err == nil {
		t.Error("no regime")
	}
}

func TestAHostTakenOffTheMarketTakesNoOrdersAndItsMachinesGoOn(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	id := f.buy("m", 1, market.USD(0, 50))
	if err := f.SetHost(hostA, false, true); err != nil {
		t.Fatal(err)
	}
	if v, ok := f.HostView(hostA); !ok || v.Online {
		t.Errorf("shown as %+v", v)
	}
	if _, err := f.Deploy(order("n", 1, 0)); market.ClassOf(err) != market.ClassNoCapacity {
		t.Errorf("deploy: %v", err)
	}
	f.pass(time.Hour)
	f.wantStatus(id, market.StatusRunning)
	is := f.Instances()
	if len(is) != 1 || is[0].ID != id || is[0].Compute.Or(0) != market.USD(0, 50) || is[0].RawStatus != "Running" {
		t.Errorf("instances %+v", is)
	}
	if err := f.SetHost("none", true, true); market.ClassOf(err) != market.ClassNotFound {
		t.Errorf("an unknown host: %v", err)
	}
}

func TestARivalLetInTakesGPUsAndAnAmountOfZeroCanStillBeWon(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	if err := f.AddRival(hostA, Rival{Model: gpu4, GPUs: 4, Bid: market.USD(2, 0), Stay: time.Hour}); err != nil {
		t.Fatal(err)
	}
	v, _ := f.HostView(hostA)
	if v.GPUs[0].Free != 0 {
		t.Errorf("%d GPUs shown free", v.GPUs[0].Free)
	}
	f.buy("m", 4, market.USD(2, 1))
	if err := f.AddRival(hostA, Rival{Model: "none", GPUs: 1}); err == nil {
		t.Error("a rival for no model")
	}
	if _, err := f.Deploy(order("n", 1, market.USD(1_000_000, 0))); market.ClassOf(err) != market.ClassRefused {
		t.Errorf("a bid of a million: %v", err)
	}
}

func TestAHostMayShowSpotGPUsAsFree(t *testing.T) {
	free := func(share float64) (n int) {
		e, err := New(Options{Clock: clock.NewVirtual(epoch), Seed: 2, SpotShownFree: share})
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range e.Hosts() {
			for _, g := range h.GPUs {
				n += g.Free
			}
		}
		return n
	}
	if taken, shown := free(0), free(1); shown <= taken {
		t.Errorf("%d GPUs free with spot as taken, %d with spot as free", taken, shown)
	}
}
