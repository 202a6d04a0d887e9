package signals

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// program finds a Prometheus server: TDSCALER_PROMETHEUS names it, else it is looked for
// in bin/tools and the path. With TDSCALER_PROMETHEUS_REQUIRED it must be there.
func program(t *testing.T) string {
	t.Helper()
	tool, err := filepath.Abs("../../bin/tools/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{os.Getenv("TDSCALER_PROMETHEUS"), tool, "prometheus"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "no prometheus program: neither TDSCALER_PROMETHEUS, nor bin/tools/prometheus, nor one in the path; 'make test-prometheus' gets one and runs this test"
	if os.Getenv("TDSCALER_PROMETHEUS_REQUIRED") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// realPrometheus starts a server that scrapes a page every second.
func realPrometheus(t *testing.T, page func() string) (url string) {
	t.Helper()
	path := program(t)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, page()) }))
	t.Cleanup(app.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	config := file(t, fmt.Sprintf("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs: [{job_name: app, static_configs: [{targets: [%q]}]}]\n", strings.TrimPrefix(app.URL, "http://")))
	cmd := exec.Command(path, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(t.TempDir(), "data"), "--web.listen-address="+addr, "--log.level=error")
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + addr
}

// eventually reads until it is as it should be.
func eventually(t *testing.T, q policy.Prometheus, ok func(demand.Reading) bool) demand.Reading {
	t.Helper()
	var got demand.Reading
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if got = read(t, q); ok(got) {
			return got
		}
	}
	t.Fatalf("%s never came to it: %+v", q.Query, got)
	return got
}

func TestARealPrometheusIsUnderstood(t *testing.T) {
	var queue atomic.Int64
	queue.Store(830)
	url := realPrometheus(t, func() string {
		return fmt.Sprintf("queue_depth{q=\"a\"} %d\nqueue_depth{q=\"b\"} 0\nempty 0\n", queue.Load())
	})
	eventually(t, policy.Prometheus{URL: url, Query: "sum(queue_depth)"}, func(r demand.Reading) bool { return r.Problem == "" && r.Value == 830 })
	for query, want := range map[string]string{
		"queue_depth":                   "2 series",
		"nothing_at_all":                "no data",
		"sum(empty) / sum(empty)":       "NaN",
		"sum(queue_depth) / sum(empty)": "infinite",
		"queue_depth[5m]":               "put a function around it",
		"sum(":                          "the server refuses the query",
		`"text"`:                        "string",
	} {
		if got := read(t, policy.Prometheus{URL: url, Query: query}); !strings.Contains(got.Problem, want) {
			t.Errorf("%s: %+v does not say %q", query, got, want)
		}
	}
	for query, want := range map[string]float64{"nothing_at_all or vector(0)": 0, "42": 42, "max(queue_depth)": 830} {
		if got := read(t, policy.Prometheus{URL: url, Query: query}); got.Problem != "" || got.Value != want || time.Since(got.At) > time.Minute {
			t.Errorf("%s: %+v", query, got)
		}
	}
	queue.Store(100)
	ranged := policy.Prometheus{URL: url, Query: "sum(queue_depth)", Range: 20 * time.Second, Step: time.Second}
	for how, ok := range map[string]func(float64) bool{
		"max": func(f float64) bool { return f == 830 }, "last": func(f float64) bool { return f == 100 },
		"min": func(f float64) bool { return f == 100 }, "avg": func(f float64) bool { return f > 100 && f < 830 },
	} {
		q := ranged
		q.Reduce = how
		eventually(t, q, func(r demand.Reading) bool { return r.Problem == "" && ok(r.Value) })
	}
	if got := read(t, policy.Prometheus{URL: url, Query: "nothing_at_all", Range: time.Minute, Step: time.Second, Reduce: "avg"}); !strings.Contains(got.Problem, "no data") {
		t.Errorf("%+v", got)
	}
}

// What a fleet would want, from a real server through to the target.
func TestATargetFollowsARealPrometheus(t *testing.T) {
	var queue atomic.Int64
	url := realPrometheus(t, func() string { return fmt.Sprintf("queue_depth %d\n", queue.Load()) })
	p := policy.Policy{Name: "train", Shape: market.Shape{GPUs: 2}, Demand: policy.Demand{Max: 8, Signals: []policy.Signal{{
		Name: "queue", PerGPU: 100, Max: 8, Down: 3 * time.Second, Tolerance: 0.1, OnError: policy.OnErrorHold, MaxAge: 2 * time.Second,
		Prometheus: policy.Prometheus{URL: url, Query: "sum(queue_depth)", Timeout: 5 * time.Second, Interval: 100 * time.Millisecond},
	}}}}
	r := reader(t, clock.System{})
	var memories []demand.Memory
	want := func(gpus int, why string) {
		t.Helper()
		var got demand.Outcome
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			out := demand.Resolve(demand.Input{
				Now: time.Now(), Policies: []policy.Policy{p}, Readings: r.Read(context.Background(), []policy.Policy{p}), Memories: memories,
				Fleet: func(string) demand.Fleet { return demand.Fleet{} },
			})
			memories, got = out.Memories, out.Outcomes[0]
			if got.GPUs == gpus && strings.Contains(got.Why, why) {
				return
			}
			if got.GPUs > 16 {
				t.Fatalf("above max: %+v", got)
			}
		}
		t.Fatalf("%d GPUs are never wanted because of %q: %+v", gpus, why, got)
	}
	want(0, "activation threshold")
	queue.Store(830)
	want(10, "830 / 100 per GPU -> 10 GPUs")
	queue.Store(1e9)
	want(16, "-> 16 GPUs")
	queue.Store(100)
	want(16, "held at 16 by the down window")
	want(2, "100 / 100 per GPU -> 2 GPUs")
	p.Demand.Signals[0].Prometheus.URL = "http://127.0.0.1:1"
	want(2, "connection refused; on_error: hold -> 2 GPUs")
}
