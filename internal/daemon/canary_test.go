package daemon

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func lost(field string, stops market.Stop) []market.Drift {
	return []market.Drift{{Kind: market.DriftMissing, Field: field, Stops: stops}}
}

func TestTheGateStopsWhatRestsOnAnAnswerThatHasDrifted(t *testing.T) {
	for stop, stopped := range map[market.Stop][]plan.Action{
		market.StopWrites:  {{Kind: plan.Deploy}, {Kind: plan.Rebid}, {Kind: plan.Delete}, {Kind: plan.Delete, API: market.V2}},
		market.StopGrowth:  {{Kind: plan.Deploy}, {Kind: plan.Rebid}},
		market.StopV2:      {{Kind: plan.Delete, API: market.V2}},
		market.StopNothing: nil,
	} {
		r := newRig(t, one("live", 1))
		canary := NewCanary(r.clock)
		canary.Saw(market.V0, "list machines", false, lost("name", stop))
		g := &gate{ledger: r.o.Ledger, clock: r.clock, canary: canary}
		want := map[string]bool{}
		for _, a := range stopped {
			want[fmt.Sprint(a.Kind, a.API)] = true
		}
		for _, a := range []plan.Action{{Kind: plan.Deploy}, {Kind: plan.Rebid}, {Kind: plan.Delete}, {Kind: plan.Delete, API: market.V2}} {
			err := g.Allow(a)
			if want[fmt.Sprint(a.Kind, a.API)] != (err != nil) || err != nil && (!errors.Is(err, ErrGate) || !strings.Contains(err.Error(), "lost the member name")) {
				t.Errorf("%s stops %s %s: %v", stop, a.Kind, a.API, err)
			}
		}
		g.operator = true
		if err := g.Allow(plan.Action{Kind: plan.Delete}); err != nil {
			t.Errorf("what an operator destroys goes on: %v", err)
		}
	}
}

func TestAStopEndsWithTheNextAnswerThatIsAsItWas(t *testing.T) {
	c := NewCanary(clock.NewVirtual(noon))
	c.Saw(market.V0, "list machines", false, lost("name", market.StopWrites))
	c.Saw(market.V0, "list machines", false, nil) // no answer says nothing about its form
	c.Saw(market.V0, "list hosts", true, nil)     // nor does another operation's
	if c.forbids(plan.Action{Kind: plan.Deploy}) == "" {
		t.Fatal("the stop has ended too early")
	}
	c.Saw(market.V0, "list machines", true, []market.Drift{{Kind: market.DriftUnknown, Field: "novelty"}})
	if why := c.forbids(plan.Action{Kind: plan.Deploy}); why != "" {
		t.Error(why)
	}
}

func TestADriftIsToldOnceAndCountedAlways(t *testing.T) {
	c := NewCanary(clock.NewVirtual(noon))
	novelty := []market.Drift{{Kind: market.DriftUnknown, Field: "novelty"}}
	for range 3 {
		c.Saw(market.V0, "list hosts", true, novelty)
	}
	if n := c.news(); len(n) != 1 || n[0].Field != "novelty" || n[0].Operation != "list hosts" || n[0].API != market.V0 {
		t.Errorf("%+v", n)
	}
	c.Saw(market.V0, "list hosts", true, lost("specs.gpu", ""))
	c.Saw(market.V0, "list hosts", false, lost("specs.gpu", market.StopGrowth)) // it has become grave: told again
	c.Saw(market.V0, "list hosts", false, lost("specs.gpu", market.StopGrowth))
	if n := c.news(); len(n) != 2 || n[1].Stops != market.StopGrowth {
		t.Errorf("%+v", n)
	}
	if all := c.all(); len(all) != 2 || all[0].Answers != 3 || all[1].Answers != 3 {
		t.Errorf("%+v", all)
	}
	for i := range 2 * mostDrifts {
		c.Saw(market.V0, "list hosts", true, []market.Drift{{Kind: market.DriftUnknown, Field: fmt.Sprint(i)}})
	}
	if n := len(c.all()); n != mostDrifts {
		t.Errorf("%d drifts are remembered", n)
	}
	if n := c.counted()[driftCount{"list hosts", market.DriftUnknown}]; n != 3+2*mostDrifts {
		t.Errorf("%d are counted", n)
	}
}

func TestADaemonHoldsAndTellsWhatItsCanarySaw(t *testing.T) {
	var canary *Canary
	r := newRig(t, one("live", 1), func(o *Options) {
		canary = NewCanary(o.Clock)
		o.Canary = canary
	})
	canary.Saw(market.V0, "list machines", false, lost("name", market.StopWrites))
	if err := r.Run(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if n := len(r.market.machines); n != 0 {
		t.Errorf("%d machines were bought on answers that have drifted", n)
	}
	s, err := r.Status()
	if err != nil || len(s.Drift) != 1 || s.Drift[0].Field != "name" {
		t.Fatalf("%+v, %v", s.Drift, err)
	}
	found := false
	for _, h := range s.Holds {
		found = found || h.Reason.Code == plan.HoldContract && strings.Contains(h.Reason.Text, `the answers to "list machines" have lost the member name: nothing is sent`)
	}
	if !found {
		t.Errorf("no hold: %+v", s.Holds)
	}
	if n := r.logs.FilterMessage("TensorDock's answers have changed their form").Len(); n != 1 {
		t.Errorf("it is logged %d times", n)
	}
	if n := testutil.ToFloat64(r.metrics.contracts.drift.WithLabelValues("list machines", market.DriftMissing)); n != 1 {
		t.Errorf("counted %g times", n)
	}
	if n := testutil.ToFloat64(r.metrics.contracts.stops.WithLabelValues("list machines", "writes")); n != 1 {
		t.Errorf("the stop is shown as %g", n)
	}
	canary.Saw(market.V0, "list machines", true, nil)
	if err := r.Run(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if n := len(r.market.machines); n != 1 {
		t.Errorf("%d machines after the answers were as before", n)
	}
}
