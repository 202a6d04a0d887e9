package monitoring

import (
	"testing"
	"time"
)

// What the alerts and dashboards are tried on must itself be worth something.
func TestTheDayThatIsPlayedHasSomethingOfEverything(t *testing.T) {
	s := day(t)
	for _, expr := range []string{
		`increase(tdscaler_events_total{event="outbid"}[1d]) > 3`,
		`sum by (action) (increase(tdscaler_actions_total{outcome="accepted", action="rebid"}[1d])) > 10`,
		`tdscaler_policy_gpus{policy="serve", state="ready"} == 2`,
		`tdscaler_policy_gpus{policy="quick", state="ready"} == 1`,
		`tdscaler_container_replicas{policy="web", state="ready"} == 2`,
		`tdscaler_demand_signal_value{policy="render"}`,
		`tdscaler_shadow_gpus{policy="thrift", state="ready"} > 0`,
		`max_over_time(tdscaler_holds{policy="dream"}[1d]) > 0`,
		`increase(tdscaler_errands_total{errand="probe", result="ok"}[1d]) > 1`,
		`increase(tdscaler_demand_queries_total{result="error"}[1d]) > 1`,
		`sum by (operation) (rate(tdscaler_api_requests_total[5m])) > 0`,
		`histogram_quantile(0.9, sum by (le) (rate(tdscaler_cycle_duration_seconds_bucket[5m]))) > 0`,
		`up == 1`,
	} {
		if got := s.query(t, expr, dayEnd); len(got) == 0 {
			t.Errorf("nothing is found by %s", expr)
		}
	}
	if got := s.queryRange(t, "tdscaler_burn_dollars_per_hour", dayStart.Add(time.Hour), dayEnd, time.Minute); len(got) != 1 || got[0].values < 23*60 {
		t.Errorf("%v: there are gaps in the day", got)
	}
}
