package web

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/daemon"
)

// checking are the checks of a daemon that is ready, or is not for a reason.
func checking(ready error) func() []daemon.Check {
	return func() []daemon.Check {
		c := daemon.Check{Name: daemon.CheckLook, OK: ready == nil, Since: time.Date(2026, 3, 2, 3, 0, 0, 0, time.UTC)}
		if ready != nil {
			c.Reason = ready.Error()
		}
		return []daemon.Check{{Name: daemon.CheckFirstCycle, OK: true}, c, {Name: daemon.CheckConfig, OK: true, Reason: "a slip"}}
	}
}

func ask(t *testing.T, method, path string, ready error) (int, string, http.Header) {
	t.Helper()
	reg := prometheus.NewRegistry()
	g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "tdscaler_test", Help: "For this test."})
	reg.MustRegister(g)
	h := Handler(Options{Gatherer: reg, Checks: checking(ready), Version: "v1.2.3<script>"})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	b, err := io.ReadAll(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(b), w.Header()
}

func TestWhatIsServedAndWhatIsNot(t *testing.T) {
	notYet := errors.New("no cycle has finished yet")
	for _, c := range []struct {
		method, path string
		ready        error
		code         int
		text         string
	}{
		{"GET", "/", nil, 200, "<h1>tdscaler</h1>"},
		{"GET", "/metrics", nil, 200, "tdscaler_test 0"},
		{"GET", "/healthz", notYet, 200, "healthy"},
		{"GET", "/livez", notYet, 200, "healthy"},
		{"GET", "/-/healthy", notYet, 200, "healthy"},
		{"GET", "/readyz", nil, 200, "is ready"},
		{"GET", "/-/ready", notYet, 503, "not ready: no cycle"},
		{"GET", "/readyz", notYet, 503, "not ready: no cycle"},
		{"HEAD", "/metrics", nil, 200, ""},
		{"POST", "/", nil, 405, ""},
		{"POST", "/metrics", nil, 405, ""},
		{"DELETE", "/readyz", nil, 405, ""},
		{"POST", "/-/reload", nil, 404, ""},
		{"GET", "/debug/pprof/", nil, 404, ""},
		{"GET", "/nothing", nil, 404, ""},
	} {
		code, text, header := ask(t, c.method, c.path, c.ready)
		if code != c.code || !strings.Contains(text, c.text) {
			t.Errorf("%s %s: %d %q", c.method, c.path, code, text)
		}
		if header.Get("X-Frame-Options") != "DENY" || header.Get("Referrer-Policy") != "no-referrer" || header.Get("Cache-Control") != "no-store" ||
			header.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s %s: headers %v", c.method, c.path, header)
		}
	}
}

func TestOnlyGETAndHEADAreServed(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "LINK", "get"} {
		for _, path := range []string{"/", "/metrics", "/readyz", "/healthz", "/-/ready", "/-/healthy", "/livez", "/v1/pause", "/v1/destroy"} {
			if code, text, _ := ask(t, method, path, nil); code < 400 || strings.Contains(text, "tdscaler") {
				t.Errorf("%s %s: %d %q", method, path, code, text)
			}
		}
	}
}

func TestWordsOfTheMarketAreNeverServedAsAPage(t *testing.T) {
	code, text, header := ask(t, "GET", "/readyz", errors.New("<html><script>alert(1)</script>"))
	if code != 503 || header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d, %q: %s", code, header.Get("Content-Type"), text)
	}
}

func TestThePageEscapesWhatItShows(t *testing.T) {
	_, text, header := ask(t, "GET", "/", nil)
	if strings.Contains(text, "<script>") || !strings.Contains(text, "v1.2.3&lt;script&gt;") {
		t.Errorf("%s", text)
	}
	if !strings.HasPrefix(header.Get("Content-Type"), "text/html; charset=utf-8") {
		t.Errorf("content type %q", header.Get("Content-Type"))
	}
}
