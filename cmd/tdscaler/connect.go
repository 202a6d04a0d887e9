package main

import (
	"errors"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

// connector composes the market's adapters: a reader alone in a dry run, so that
// nothing in the process can write.
func connector(c clock.Clock, observe func(tensordock.Call)) func(daemon.Config) (daemon.Market, error) {
	return func(cfg daemon.Config) (daemon.Market, error) {
		o := clientOptions(&cfg, c, observe)
		if cfg.Set.Daemon.Mode != policy.Live {
			r, err := tensordock.NewReader(o)
			return daemon.Market{Reader: r}, err
		}
		client, err := tensordock.NewClient(o)
		if err != nil {
			return daemon.Market{}, err
		}
		return daemon.Market{Reader: client.Reader, Writer: client}, nil
	}
}

// reader connects for looking and asking alone, whatever the mode.
func reader(cfg daemon.Config) (daemon.Reader, error) {
	if err := cfg.LoadCredentials(os.Getenv); err != nil {
		return nil, err
	}
	return tensordock.NewReader(clientOptions(&cfg, clock.System{}, nil))
}

// hostReader connects for the list of hosts: with credentials, where there are any,
// it also shows those that are reserved for us.
func hostReader(cfg daemon.Config) (daemon.HostReader, error) {
	if err := cfg.LoadCredentials(os.Getenv); err != nil && !errors.Is(err, daemon.ErrCredentials) {
		return nil, err
	}
	return tensordock.NewReader(clientOptions(&cfg, clock.System{}, nil))
}

func clientOptions(cfg *daemon.Config, c clock.Clock, observe func(tensordock.Call)) tensordock.Options {
	t := cfg.Set.TensorDock
	return tensordock.Options{
		MarketplaceURL: t.MarketplaceURL, InstancesURL: t.InstancesURL, AllowPlainHTTP: t.AllowPlainHTTP, Key: cfg.Key, Token: cfg.Token,
		MarketplaceRPS: t.MarketplaceRPS, InstancesRPM: t.InstancesRPM, Clock: c, Observe: observe,
		UserAgent: "tdscaler/" + daemon.Build().Version,
	}
}

// apiMetrics counts and times every request to the market; underway is the number of
// the cycle that runs.
func apiMetrics(reg prometheus.Registerer, underway func() uint64) func(tensordock.Call) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "tdscaler", Name: "api_requests_total",
		Help: "Requests to TensorDock, retries counted each, by API, operation, HTTP status (0: no answer) and class of failure (empty: success).",
	},
		[]string{"api", "operation", "code", "class"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: "tdscaler", Name: "api_request_duration_seconds",
		Help: "How long TensorDock took to answer.", Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 45, 90, 150},
	},
		[]string{"api", "operation"})
	reg.MustRegister(requests, duration)
	return func(c tensordock.Call) {
		requests.WithLabelValues(string(c.API), c.Op, strconv.Itoa(c.Code), string(c.Class)).Inc()
		daemon.ObserveIn(underway(), duration.WithLabelValues(string(c.API), c.Op), c.Duration)
	}
}

// watched tells the canary of each call, too.
func watched(observe func(tensordock.Call), canary *daemon.Canary) func(tensordock.Call) {
	return func(c tensordock.Call) {
		observe(c)
		canary.Saw(c.API, c.Op, c.Class == "", c.Drift)
	}
}

// grace is how long a write under way may go on after SIGTERM.
const grace = 10 * time.Second
