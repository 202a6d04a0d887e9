package daemon

import (
	"context"
	"encoding/json"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

const beside = "  - {name: try, shadow: true, target: {gpus: 3}, shape: {gpus: 1}, max_gpu_hour: 0.90}\n"

func TestAShadowIsDecidedRecordedAndCountedAndSendsNothing(t *testing.T) {
	r := newRig(t, strings.Replace(one("live", 0), "  - {name: train", beside+"  - {name: train", 1))
	asked := 0
	r.market.ask = func() { asked++ }
	var last plan.Report
	for range 10 {
		last = r.turn()
	}
	if sent := r.market.writes(); len(sent) != 0 || asked != 0 {
		t.Fatalf("a shadow sent %v and asked %d questions", sent, asked)
	}
	h, err := r.o.Ledger.History()
	if err != nil {
		t.Fatal(err)
	}
	if len(h.Machines) != 0 || h.Reserved() != 0 || len(h.Spend) != 0 {
		t.Errorf("the books hold %d machines, %s and %v for it", len(h.Machines), h.Reserved(), h.Spend)
	}
	open, err := r.o.Ledger.Intents(ledger.Filter{OpenOnly: true})
	if err != nil || len(open) != 0 {
		t.Errorf("open intents: %v, %v", open, err)
	}
	all, err := r.o.Ledger.Intents(ledger.Filter{State: plan.IntentShadow})
	if err != nil || len(all) < 3 {
		t.Fatalf("the ledger lists %d of its decisions, %v", len(all), err)
	}
	for _, in := range all {
		if !in.State.Settled() || in.Policy != "try" || in.SettledAt.IsZero() {
			t.Errorf("%+v could be taken up", in)
		}
	}
	if len(last.Shadows) != 1 {
		t.Fatalf("%d shadows in the report", len(last.Shadows))
	}
	s := last.Shadows[0]
	if s.Standing.Ready != 3 || s.Starts != 3 || s.Cost <= 0 || s.Rate <= 0 || s.Delivered <= 0 || s.Delivered > s.Wanted || s.Losses != 0 {
		t.Errorf("it would have come to %+v", s)
	}
	if n := testutil.ToFloat64(r.metrics.shadows.actions.WithLabelValues("try", "deploy")); n != 3 {
		t.Errorf("%v orders counted", n)
	}
	if st := r.status(); len(st.Shadows) != 1 || len(st.Policies) != 1 || st.HourlyCap != 0 {
		t.Errorf("status: %+v", st)
	}
	if r.logged("shadow would act") < 3 {
		t.Error("the log does not tell of it")
	}
	p, err := r.Plan(context.Background(), r.current(), false)
	if err != nil || len(p.Shadows) != 1 || p.Shadows[0].Standing.Ready != 3 || len(p.Plan.Actions) != 0 {
		t.Errorf("plan: %+v, %v", p.Shadows, err)
	}
}

// What a shadow would hold is not held, so everybody else decides as if it were not
// there: over many cycles, to the letter.
func TestAShadowChangesNoDecisionOfAnybodyElse(t *testing.T) {
	for _, mode := range []string{"live", "dry-run"} {
		without, with := newRig(t, one(mode, 4)), newRig(t, one(mode, 4)+beside)
		for range 12 {
			a, b := without.turn(), with.turn()
			if x, y := real(t, a.Plan), real(t, b.Plan); x != y {
				t.Fatalf("%s: without a shadow it plans\n%s\nand with one\n%s", mode, x, y)
			}
			if len(b.Input.Shadows) != 1 || len(b.Input.History.Shadows) != 0 || !reflect.DeepEqual(a.Input.Policies, b.Input.Policies) || a.Input.HourlyCap != b.Input.HourlyCap {
				t.Fatalf("%s: the shadow is in what is decided on", mode)
			}
		}
		if x, y := len(without.market.writes()), len(with.market.writes()); x != y || mode == "live" && x != 4 {
			t.Errorf("%s: %d writes without it, %d with it", mode, x, y)
		}
	}
}

// real is a plan without the keys of names, which are drawn from the ledger.
func real(t *testing.T, p plan.Plan) string {
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	return regexp.MustCompile(`train-[a-z0-9]{8}`).ReplaceAllString(string(b), "train-X")
}

func TestAPolicyThatBecomesAShadowKeepsItsMachinesUntouchedAndSaysSo(t *testing.T) {
	r := newRig(t, one("live", 2))
	for range 4 {
		r.turn()
	}
	sent := len(r.market.writes())
	turned := strings.Replace(one("live", 2), "{name: train,", "{name: train, shadow: true,", 1)
	r.write(turned)
	if err := r.Reload(false); err != nil || !strings.Contains(r.status().Reload.Held, "becomes a shadow and has 2 machines") {
		t.Fatalf("from disk alone: %v, %q", err, r.status().Reload.Held)
	}
	if err := r.Reload(true); err != nil {
		t.Fatal(err)
	}
	var last plan.Report
	for range 10 {
		last = r.turn()
	}
	if n := len(r.market.writes()) - sent; n != 0 || len(r.market.machines) != 2 {
		t.Errorf("%d writes; %d machines are left", n, len(r.market.machines))
	}
	held := 0
	for _, h := range last.Plan.Holds {
		if h.Reason.Code == plan.HoldShadow {
			held++
		}
	}
	h, _ := r.o.Ledger.History()
	if held != 2 || len(h.Machines) != 2 || h.Reserved() == 0 {
		t.Errorf("%d held; %d machines and %s in the books", held, len(h.Machines), h.Reserved())
	}
	// A cap that has no room for them does not end them either: they are the operator's.
	r.write(turned + "budget: {max_hourly: 0.01}\n")
	if err := r.Reload(true); err != nil {
		t.Fatal(err)
	}
	r.turn()
	if len(r.market.machines) != 2 {
		t.Error("machines of a shadow were shed")
	}
	if _, err := r.Destroy(context.Background(), "train", "no longer wanted"); err != nil || len(r.market.machines) != 0 {
		t.Errorf("the operator cannot end them: %v", err)
	}
}

func TestAShadowSurvivesARestartAndIsForgottenWithItsPolicy(t *testing.T) {
	r := newRig(t, one("live", 0)+beside)
	for range 5 {
		r.turn()
	}
	before, _ := r.o.Ledger.History()
	if len(before.Shadows) != 1 || len(before.Shadows[0].Machines) != 3 {
		t.Fatalf("on record: %+v", before.Shadows)
	}
	r.clock.Set(r.clock.Now().Add(time.Hour))
	s := r.turn().Shadows[0]
	if s.Starts != 3 || !s.Since.Equal(before.Shadows[0].Since) {
		t.Errorf("it began anew: %+v", s)
	}
	if got := s.Cost; got < market.Amount(0) || s.Wanted < time.Hour {
		t.Errorf("the hour is not in it: %s, %s", got, s.Wanted)
	}
	r.write(one("live", 0))
	if err := r.Reload(true); err != nil {
		t.Fatal(err)
	}
	r.turn()
	if h, _ := r.o.Ledger.History(); len(h.Shadows) != 0 {
		t.Error("a shadow that is not in the file any more is still on record")
	}
}
