package policy

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tdscaler/tdscaler/internal/market"
)

func TestATargetThatMovesCountsWholeMachines(t *testing.T) {
	s := mustParse(t, `version: 1
policies:
  - name: train
    shape: {gpus: 4}
    max_gpu_hour: 0.50
    target:
      gpus: 4
      min: 4
      max: 32
      schedule:
        - {from: "0 8 * * mon-fri", for: 12h, time_zone: Europe/Berlin, gpus: 16}
      signals:
        - {prometheus: {url: "http://127.0.0.1:9090/prom/", query: sum(q), range: 10m}, per_gpu: 100, max: 24}
        - {name: use, prometheus: {url: "https://p", query: avg(u)}, target_value: 0.8, down: {stabilization_window: 10m}}
`)
	p := s.Policies[0]
	want := Demand{
		Min: 1, Max: 8,
		Schedule: []Window{{From: "0 8 * * mon-fri", For: 12 * time.Hour, Zone: "Europe/Berlin", Machines: 4}},
		Signals: []Signal{
			{
				Name: "signal1", PerGPU: 100, Max: 6, Down: 5 * time.Minute, Tolerance: 0.1, OnError: OnErrorHold, MaxAge: 2 * time.Minute,
				Prometheus: Prometheus{URL: "http://127.0.0.1:9090/prom", Query: "sum(q)", Range: 10 * time.Minute, Step: 30 * time.Second, Reduce: "avg", Interval: 15 * time.Second, Timeout: 5 * time.Second},
			},
			{
				Name: "use", TargetValue: 0.8, Max: 8, Down: 10 * time.Minute, Tolerance: 0.1, OnError: OnErrorHold, MaxAge: 2 * time.Minute,
				Prometheus: Prometheus{URL: "https://p", Query: "avg(u)", Interval: 15 * time.Second, Timeout: 5 * time.Second},
			},
		},
	}
	if diff := cmp.Diff(want, p.Demand); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if p.Target != 1 || p.MaxTarget() != 8 {
		t.Errorf("target %d, at most %d", p.Target, p.MaxTarget())
	}
	if got := s.HourlyCap(); got != market.USD(16, 0) {
		t.Errorf("the cap is %s: it is not that of the greatest target", got)
	}
}

func TestAScheduleAloneIsBoundedByItsGreatestNumber(t *testing.T) {
	p := mustParse(t, `version: 1
policies:
  - name: train
    max_gpu_hour: 0.50
    target: {schedule: [{from: "@daily", for: 2h, instances: 3}, {from: "@hourly", for: 1m, instances: 5}]}
`).Policies[0]
	if p.Target != 0 || p.MaxTarget() != 5 || !p.Demand.Moves() {
		t.Errorf("target %d, at most %d", p.Target, p.MaxTarget())
	}
}

func TestANumberAloneMovesNothing(t *testing.T) {
	if p := mustParse(t, least).Policies[0]; p.Demand.Moves() || p.Demand.Max != 0 || p.MaxTarget() != p.Target {
		t.Errorf("%+v", p.Demand)
	}
}
