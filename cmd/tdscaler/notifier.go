package main

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/notify"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// announcer tells people about the cycles, by the configuration in use.
type announcer struct {
	*notify.Notifier
	metrics    *notificationMetrics
	log        *zap.Logger
	generation uint64
	known      bool // generation
}

func newAnnouncer(cfg *daemon.Config, reg prometheus.Registerer, log *zap.Logger) *announcer {
	m := newNotificationMetrics(reg)
	return &announcer{metrics: m, log: log, Notifier: notify.New(notify.Options{
		Clock: clock.System{}, Log: log, StateFile: notify.StateFile(cfg.Set.Daemon.Ledger), Done: m.done, Queue: m.queue,
	})}
}

// reported is told of every cycle; it only notes what is to be told.
func (a *announcer) reported(d *daemon.Daemon, r *plan.Report) {
	now := d.Announcing()
	if !a.known || now.Generation != a.generation {
		a.configure(now)
	}
	a.Reported(r, now.File)
}

// configure takes the sinks of the configuration in use. They were read when it was.
func (a *announcer) configure(now daemon.Announcing) {
	if err := a.Configure(now.Rules, now.Sinks); err != nil {
		a.log.Error("notifications go on as they were configured before", zap.Error(err))
		return
	}
	a.generation, a.known = now.Generation, true
	a.metrics.configure(now.Sinks)
}

// start tells what is due, from now on; stop tells what is left, for a moment.
func (a *announcer) start(ctx context.Context, d *daemon.Daemon) (stop func()) {
	a.configure(d.Announcing())
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // the last cycle has something to tell, too
	var wg sync.WaitGroup
	wg.Go(func() { a.Run(ctx) })
	return func() {
		cancel()
		wg.Wait()
	}
}

// notificationMetrics count what became of messages.
type notificationMetrics struct {
	total   *prometheus.CounterVec
	waiting *prometheus.GaugeVec
}

func newNotificationMetrics(reg prometheus.Registerer) *notificationMetrics {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tdscaler", Name: "notifications_total",
		Help: "Messages to a sink, by outcome: delivered, or failed where every try did.",
	}, []string{"sink", "outcome"})
	waiting := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "tdscaler", Name: "notification_queue",
		Help: "Messages that wait for a sink, the one under way included.",
	}, []string{"sink"})
	reg.MustRegister(total, waiting)
	return &notificationMetrics{total, waiting}
}

// configure has a series from the start for each sink: rates see its first failure.
func (m *notificationMetrics) configure(sinks []notify.SinkConfig) {
	for _, s := range sinks {
		for _, o := range []string{"delivered", "failed"} {
			m.total.WithLabelValues(s.Name, o)
		}
		m.waiting.WithLabelValues(s.Name)
	}
}

func (m *notificationMetrics) done(o notify.Outcome) {
	outcome := "delivered"
	if o.Err != nil {
		outcome = "failed"
	}
	m.total.WithLabelValues(o.Sink, outcome).Inc()
}

func (m *notificationMetrics) queue(sink string, n int) {
	m.waiting.WithLabelValues(sink).Set(float64(n))
}
