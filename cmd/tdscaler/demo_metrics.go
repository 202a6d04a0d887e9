package main

import (
	"bufio"
	"errors"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/demo"
	"github.com/tdscaler/tdscaler/internal/signals"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// history writes what a Prometheus would have scraped from a daemon in virtual time, in
// the form that promtool makes blocks of.
type history struct {
	file *os.File
	w    *bufio.Writer
	reg  *prometheus.Registry
	err  error // the first one
}

// recordHistory makes a demo write its metrics into a file. Whoever plays it must close
// what is returned.
func recordHistory(o *demo.Options, faults *simulator.Faults, path string) (*history, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	h := &history{file: f, w: bufio.NewWriterSize(f, 1<<20), reg: prometheus.NewRegistry()}
	h.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	webhookMetrics(h.reg) // at zero: nobody calls here
	canary := daemon.NewCanary(clock.System{})
	o.Registerer, o.Scrape, o.Canary = h.reg, h.scrape, canary
	o.Connect = simulatorConnector(faults, watched(apiMetrics(h.reg, func() uint64 { return 0 }), canary))
	asked := signalMetrics(h.reg)
	o.Signals = func(c clock.Clock) daemon.Signals { return signals.New(signals.Options{Clock: c, Asked: asked}) }
	return h, nil
}

func (h *history) scrape(now time.Time) {
	if h.err != nil {
		return
	}
	families, err := h.reg.Gather()
	if err != nil {
		h.err = err
		return
	}
	for _, f := range append(families, up()) {
		if h.err = h.write(f, now); h.err != nil {
			return
		}
	}
}

// up is what Prometheus itself adds to what it scrapes.
func up() *dto.MetricFamily {
	name, kind, value := "up", dto.MetricType_GAUGE, 1.0
	return &dto.MetricFamily{Name: &name, Type: &kind, Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &value}}}}
}

// write puts a family down with the time and the labels that a scrape gives it.
func (h *history) write(f *dto.MetricFamily, now time.Time) error {
	at, job, instance := now.UnixMilli(), "tdscaler", "tdscaler:9877"
	jobName, instanceName := "job", "instance"
	for _, m := range f.Metric {
		m.TimestampMs = &at
		for _, b := range m.GetHistogram().GetBucket() {
			b.Exemplar = nil // its time is the wall's, not the market's
		}
		m.Label = append(m.Label, &dto.LabelPair{Name: &instanceName, Value: &instance}, &dto.LabelPair{Name: &jobName, Value: &job})
	}
	_, err := expfmt.MetricFamilyToOpenMetrics(h.w, f)
	return err
}

// Close ends the file.
func (h *history) Close() error {
	_, err := expfmt.FinalizeOpenMetrics(h.w)
	return errors.Join(h.err, err, h.w.Flush(), h.file.Close())
}
