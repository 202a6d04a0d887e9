package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/signals"
)

// signalReader reads what targets follow; reg may be nil.
func signalReader(c clock.Clock, reg prometheus.Registerer) *signals.Reader {
	o := signals.Options{Clock: c}
	if reg != nil {
		o.Asked = signalMetrics(reg)
	}
	return signals.New(o)
}

// signalMetrics counts the queries that signals are read by.
func signalMetrics(reg prometheus.Registerer) func(took time.Duration, problem string) {
	queries := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tdscaler", Name: "demand_queries_total",
		Help: "Queries of signals, by result: ok, or error where there was no value.",
	}, []string{"result"})
	duration := prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "tdscaler", Name: "demand_query_duration_seconds",
		Help: "How long the queries of signals took.", Buckets: []float64{.01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	})
	reg.MustRegister(queries, duration)
	queries.WithLabelValues("ok")
	queries.WithLabelValues("error")
	return func(took time.Duration, problem string) {
		result := "ok"
		if problem != "" {
			result = "error"
		}
		queries.WithLabelValues(result).Inc()
		duration.Observe(took.Seconds())
	}
}
