package daemon

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// demandMetrics are of targets that are more than a number.
type demandMetrics struct {
	most     *prometheus.GaugeVec
	override *prometheus.GaugeVec
	asked    *prometheus.GaugeVec
	value    *prometheus.GaugeVec
	age      *prometheus.GaugeVec
	fresh    *prometheus.GaugeVec
}

func newDemandMetrics(gauges newGauges) demandMetrics {
	return demandMetrics{
		most:     gauges("demand_max_gpus", "The most GPUs that the policy can ever want, where its target moves.", "policy"),
		override: gauges("demand_override", "Whether the policy's target is set by hand: 1 or 0.", "policy"),
		asked:    gauges("demand_signal_gpus", "GPUs that the signal asks for, after its windows.", "policy", "signal"),
		value:    gauges("demand_signal_value", "The signal's last value.", "policy", "signal"),
		age:      gauges("demand_signal_age_seconds", "How old the signal's last value was at the last look.", "policy", "signal"),
		fresh:    gauges("demand_signal_fresh", "Whether the signal has a value that is young enough to count: 1 or 0, where on_error decides.", "policy", "signal"),
	}
}

func (m *demandMetrics) all() gaugeVecs {
	return gaugeVecs{m.most, m.override, m.asked, m.value, m.age, m.fresh}
}

// report sets everything anew, so that a series never outlives its policy or signal.
func (m *demandMetrics) report(all []plan.Standing) {
	m.all().reset()
	for i := range all {
		if o := all[i].Demand; o != nil {
			m.outcome(o)
		}
	}
}

func (m *demandMetrics) outcome(o *demand.Outcome) {
	m.most.WithLabelValues(o.Policy).Set(float64(o.Max))
	m.override.WithLabelValues(o.Policy).Set(oneIf(o.Override != nil))
	for _, p := range o.Parts {
		if p.Source != demand.Signal {
			continue
		}
		m.asked.WithLabelValues(o.Policy, p.Name).Set(float64(p.GPUs))
		m.fresh.WithLabelValues(o.Policy, p.Name).Set(oneIf(p.Fresh))
		if p.Fresh || p.Age > 0 { // there was a value once
			m.value.WithLabelValues(o.Policy, p.Name).Set(p.Value)
			m.age.WithLabelValues(o.Policy, p.Name).Set(p.Age.Seconds())
		}
	}
}
