package daemon

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// busy is a rig that has seen machines bought, refused, outbid and deleted.
func busy(t *testing.T) *rig {
	r := newRig(t, one("live", 4))
	n := 0
	r.market.deploy = func(context.Context, market.Order) (market.Deployed, error) {
		if n++; n == 2 {
			return market.Deployed{}, &market.Error{Op: "deploy", Class: market.ClassAmbiguous, Detail: "lost"}
		}
		return market.Deployed{ID: fmt.Sprintf("id-%d", n)}, nil
	}
	for range 3 {
		r.turn()
	}
	r.market.mu.Lock()
	for id, m := range r.market.machines {
		m.Status = market.StatusOutbid
		r.market.machines[id] = m
		break
	}
	r.market.machines["theirs"] = market.Instance{ID: "theirs", Name: "tds-main-gone-abcd1234", Status: market.StatusRunning}
	r.market.mu.Unlock()
	for range 3 {
		r.turn()
	}
	return r
}

func TestEveryMetricFollowsPrometheusConventions(t *testing.T) {
	r := busy(t)
	problems, err := testutil.GatherAndLint(r.reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetHelp() == "" || !strings.HasSuffix(f.GetHelp(), ".") || !strings.HasPrefix(f.GetName(), "tdscaler_") {
			t.Errorf("%s: help %q", f.GetName(), f.GetHelp())
		}
	}
}

// TestNoLabelCarriesAnIDAHostOrAText: labels hold policies and words of our own.
func TestNoLabelCarriesAnIDAHostOrAText(t *testing.T) {
	r := busy(t)
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	allowed := map[string]bool{
		"policy": true, "state": true, "action": true, "outcome": true, "answer": true, "event": true,
		"reason": true, "price": true, "breaker": true, "errand": true, "section": true, "mode": true, "result": true, "version": true, "revision": true, "goversion": true, "le": true,
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				v := l.GetValue()
				if !allowed[l.GetName()] || strings.Contains(v, "id-") || strings.Contains(v, "tds-") || l.GetName() != "goversion" && strings.Contains(v, " ") {
					t.Errorf("%s has the label %s=%q", f.GetName(), l.GetName(), v)
				}
			}
		}
	}
}

func TestTheMetricsAreTheReportsNumbers(t *testing.T) {
	r := newRig(t, one("live", 4))
	for range 3 {
		r.turn()
	}
	if got, want := testutil.ToFloat64(r.metrics.reserved), r.last.Input.History.Reserved().Float(); got != want || want == 0 {
		t.Errorf("reserved %v, want %v", got, want)
	}
	for state, want := range map[string]float64{"ready": 4, "booting": 0, "dead": 0, "leaving": 0} {
		if got := testutil.ToFloat64(r.metrics.gpus.WithLabelValues("train", state)); got != want {
			t.Errorf("%s: %v GPUs, want %v", state, got, want)
		}
	}
	if got := testutil.ToFloat64(r.metrics.actions.WithLabelValues("train", "deploy", "accepted")); got != 4 {
		t.Errorf("%v deploys accepted", got)
	}
	if got := testutil.ToFloat64(r.metrics.cycles.WithLabelValues("ok")); got != 3 {
		t.Errorf("%v cycles", got)
	}
}

func TestTheMetricsTellHowOldWhatWasReadIsAndWhenTheNextCycleIsDue(t *testing.T) {
	r := newRig(t, one("live", 1))
	r.turn()
	first := shown(t, r.reg, "tdscaler_section_last_complete_timestamp_seconds")
	if first["hosts"] == 0 || first["machines"] == 0 || first["balance"] == 0 || len(first) != 3 {
		t.Errorf("%v after a complete look", first)
	}
	r.clock.Set(r.clock.Now().Add(time.Hour))
	r.market.hosts = func() ([]market.Host, error) {
		return nil, &market.Error{Op: "list hosts", Class: market.ClassUnavailable}
	}
	r.turn()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	r.sleep(ctx) // it is stopped at once, and knows what it would have waited for
	if next, now := shown(t, r.reg, "tdscaler_next_cycle_timestamp_seconds")[""], unix(r.clock.Now()); next <= now || next > now+61 {
		t.Errorf("the next cycle is due %v seconds from now", next-now)
	}
	second := shown(t, r.reg, "tdscaler_section_last_complete_timestamp_seconds")
	if second["hosts"] != first["hosts"] || second["machines"] < first["machines"]+3600 {
		t.Errorf("%v, and %v after a look an hour later that could not list the hosts", first, second)
	}
}

func TestASeriesNeverOutlivesItsPolicy(t *testing.T) {
	r := newRig(t, one("live", 1))
	r.turn()
	r.write(strings.ReplaceAll(one("live", 1), "train", "other"))
	if err := r.Reload(true); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		r.turn()
	}
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetValue() == "train" && f.GetName() != "tdscaler_actions_total" {
					t.Errorf("%s still has a series of the policy that is gone", f.GetName())
				}
			}
		}
	}
}

func TestHoldsAreLoggedWhenTheyAreNewAndCyclesAlways(t *testing.T) {
	r := newRig(t, one("live", 20)) // more than the host has
	for range 5 {
		r.turn()
	}
	if n := r.logs.FilterMessage("hold").FilterField(zap.String("reason", plan.HoldNoOffer)).Len(); n != 1 {
		t.Errorf("the same hold was logged %d times", n)
	}
	if n := r.logged("cycle"); n != 5 {
		t.Errorf("%d lines for five cycles", n)
	}
}

// A bucket's exemplar leads from a slow cycle to its report.
func TestTheDurationsOfCyclesNameTheirCycle(t *testing.T) {
	r := busy(t)
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, f := range families {
		for _, b := range f.GetMetric()[0].GetHistogram().GetBucket() {
			if f.GetName() == "tdscaler_cycle_duration_seconds" && b.GetExemplar() != nil {
				found += fmt.Sprint(b.GetExemplar().GetLabel())
			}
		}
	}
	if want := fmt.Sprintf(`name:"cycle" value:"%d"`, r.last.Cycle); !strings.Contains(strings.ReplaceAll(found, "  ", " "), want) {
		t.Errorf("exemplars %q, want %s", found, want)
	}
	if r.Underway() != 0 {
		t.Errorf("cycle %d is still under way", r.Underway())
	}
}
