package daemon

import "github.com/prometheus/client_golang/prometheus"

// contractMetrics project what the canary has seen.
type contractMetrics struct {
	drift *prometheus.CounterVec
	stops *prometheus.GaugeVec
	known map[driftCount]uint64 // of which drift knows
}

func newContractMetrics() contractMetrics {
	return contractMetrics{
		drift: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "tdscaler", Name: "contract_drift_total",
			Help: "Members of TensorDock's answers that departed from the known form, once for each answer, by operation and kind: unknown, missing, unreadable.",
		}, []string{"operation", "kind"}),
		stops: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "tdscaler", Name: "contract_stopped",
			Help: "Operations whose newest answer has lost what safety rests on, so that writes are stopped: writes, growth or v2. Always 1.",
		}, []string{"operation", "stops"}),
		known: map[driftCount]uint64{},
	}
}

func (m *metrics) contract(c *Canary) {
	for k, n := range c.counted() {
		m.contracts.drift.WithLabelValues(k.op, k.kind).Add(float64(n - m.contracts.known[k]))
		m.contracts.known[k] = n
	}
	m.contracts.stops.Reset()
	for op, d := range c.stopped() {
		m.contracts.stops.WithLabelValues(op, string(d.Stops)).Set(1)
	}
}
