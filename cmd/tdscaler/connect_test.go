package main

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/tensordock"
	"github.com/tdscaler/tdscaler/internal/web"
)

// scraped is what a Prometheus gets that takes the given kind of text.
func scraped(reg *prometheus.Registry, accept string) string {
	r := httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	w := httptest.NewRecorder()
	web.Handler(web.Options{Gatherer: reg}).ServeHTTP(w, r)
	return w.Body.String()
}

func TestRequestsNameTheirCycleToWhoAsksForOpenMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	cycle := uint64(17)
	saw := apiMetrics(reg, func() uint64 { return cycle })
	saw(tensordock.Call{API: "v0", Op: "deploy", Code: 200, Duration: 7 * time.Second})
	cycle = 0 // between two cycles
	saw(tensordock.Call{API: "v0", Op: "list machines", Code: 200, Duration: time.Second})
	open := scraped(reg, "application/openmetrics-text; version=1.0.0")
	named := 0
	for _, line := range strings.Split(open, "\n") {
		if strings.Contains(line, "# {") {
			named++
			if !strings.HasPrefix(line, `tdscaler_api_request_duration_seconds_bucket{api="v0",operation="deploy",le="10.0"} 1 # {cycle="17"} 7.0`) {
				t.Error(line)
			}
		}
	}
	if named != 1 || !strings.HasSuffix(open, "# EOF\n") {
		t.Errorf("%d exemplars in\n%s", named, open)
	}
	if text := scraped(reg, "text/plain"); strings.Contains(text, "cycle=") || !strings.Contains(text, "tdscaler_api_request_duration_seconds_bucket") {
		t.Errorf("as plain text\n%s", text)
	}
}
