package daemon

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tdscaler/tdscaler/internal/market"
)

// shown is every series of a gauge, as policy and other labels -> value.
func shown(t *testing.T, reg *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			out[strings.Join(labels, " ")] = m.GetGauge().GetValue()
		}
	}
	return out
}

func wantSeries(t *testing.T, reg *prometheus.Registry, name string, want map[string]float64) {
	t.Helper()
	got := shown(t, reg, name)
	if len(got) != len(want) {
		t.Errorf("%s: %v, want %v", name, got, want)
		return
	}
	for k, v := range want {
		if g, ok := got[k]; !ok || g-v > 1e-9 || v-g > 1e-9 {
			t.Errorf("%s{%s}: %v, want %v", name, k, g, v)
		}
	}
}

func TestCapsAreShownWhereThereAreAnyAndAbsentWhereNot(t *testing.T) {
	r := newRig(t, strings.Replace(one("live", 1), "max_gpu_hour: 0.80", "max_gpu_hour: 0.80, budget: {max_daily: 9, max_hourly: 2.5, max_total: 500}", 1)+"budget: {max_hourly: 3, max_monthly: 70}\n")
	r.turn()
	wantSeries(t, r.reg, "tdscaler_budget_daily_dollars", nil)
	wantSeries(t, r.reg, "tdscaler_budget_monthly_dollars", map[string]float64{"": 70})
	wantSeries(t, r.reg, "tdscaler_policy_budget_hourly_dollars_per_hour", map[string]float64{"train": 2.5})
	wantSeries(t, r.reg, "tdscaler_policy_budget_daily_dollars", map[string]float64{"train": 9})
	wantSeries(t, r.reg, "tdscaler_policy_budget_monthly_dollars", nil)
	wantSeries(t, r.reg, "tdscaler_policy_budget_lifetime_dollars", map[string]float64{"train": 500})
}

func TestWhatCountsAgainstTheCapsIsThereForPoliciesThatAreGoneToo(t *testing.T) {
	r := newRig(t, one("live", 1))
	for range 30 {
		r.turn()
	}
	spent := shown(t, r.reg, "tdscaler_spend_today_dollars")["train"]
	if spent <= 0 {
		t.Fatalf("spent %v", spent)
	}
	wantSeries(t, r.reg, "tdscaler_budget_spent_today_dollars", map[string]float64{"": spent})
	r.write(strings.ReplaceAll(one("live", 1), "train", "other"))
	if err := r.Reload(true); err != nil {
		t.Fatal(err)
	}
	r.turn()
	for _, name := range []string{"tdscaler_budget_spent_today_dollars", "tdscaler_budget_spent_month_dollars"} {
		if got := shown(t, r.reg, name)[""]; got < spent {
			t.Errorf("%s: %v, less than the %v that were spent by a policy that is gone", name, got, spent)
		}
	}
}

// The fake host asks a dollar for a GPU, more than the policy pays, and has eight.
func TestPricesAreShownPerPolicy(t *testing.T) {
	r := newRig(t, one("live", 2))
	for range 3 {
		r.turn()
	}
	disk := market.Rate(market.Cent).Float() / 100 * 100 // of 100 GB
	wantSeries(t, r.reg, "tdscaler_policy_ceiling_dollars_per_gpu_hour", map[string]float64{"train": 0.8})
	wantSeries(t, r.reg, "tdscaler_policy_lowest_price_dollars_per_gpu_hour", map[string]float64{"train": 1 + disk})
	wantSeries(t, r.reg, "tdscaler_policy_offered_gpus", map[string]float64{"train within": 0, "train above": 8})
	wantSeries(t, r.reg, "tdscaler_policy_on_demand_dollars_per_hour", map[string]float64{"train": 2 * (1 + disk)})
	wantSeries(t, r.reg, "tdscaler_policy_burn_dollars_per_hour", map[string]float64{"train": testutil.ToFloat64(r.metrics.burn)})
	if got := testutil.ToFloat64(r.metrics.burn); got <= 0 {
		t.Errorf("two machines burn %v", got)
	}
}
