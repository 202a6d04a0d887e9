package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/web"
)

// healthOf runs the command and returns its exit code and what it printed.
func healthOf(args ...string) (code int, stdout, stderr string) {
	var out, errw strings.Builder
	code = run(append([]string{"health"}, args...), strings.NewReader(""), &out, &errw)
	return code, out.String(), errw.String()
}

func TestHealthTellsOverHTTPWhatTheDaemonSays(t *testing.T) {
	var trouble error
	s := httptest.NewServer(web.Handler(web.Options{Gatherer: prometheus.NewRegistry(), Checks: func() []daemon.Check {
		if trouble == nil {
			return nil
		}
		return []daemon.Check{{Name: daemon.CheckLook, Reason: trouble.Error()}}
	}}))
	defer s.Close()
	file := filepath.Join(t.TempDir(), "p.yaml")
	text := fmt.Sprintf("version: 1\ndaemon: {listen: %q}\npolicies: [{name: a, target: {gpus: 1}, max_gpu_hour: 1.00}]\n", strings.TrimPrefix(s.URL, "http://"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, by := range [][]string{{"--url", s.URL}, {"--url", s.URL + "/"}, {"--config", file}} {
		trouble = nil
		if code, out, errw := healthOf(by...); code != 0 || out != "tdscaler is ready.\n" || errw != "" {
			t.Errorf("%v: %d %q %q", by, code, out, errw)
		}
		trouble = errors.New("hosts: the market says \x1b[31mno\nand more")
		code, out, errw := healthOf(by...)
		if want := "tdscaler: tdscaler is not ready: hosts: the market says [31mno\n"; code != 1 || out != "" || errw != want {
			t.Errorf("%v: %d %q %q, want %q", by, code, out, errw, want)
		}
		if code, out, _ := healthOf(append(by, "--live")...); code != 0 || out != "tdscaler is healthy.\n" {
			t.Errorf("%v --live: %d %q", by, code, out)
		}
	}
}

func TestHealthDoesNotFollowAServerElsewhereNorWaitForEver(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "fine") }))
	defer elsewhere.Close()
	s := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer s.Close()
	if code, out, errw := healthOf("--url", s.URL); code != 1 || out != "" || !strings.Contains(errw, "answers 302") {
		t.Errorf("a redirect: %d %q %q", code, out, errw)
	}
	asked := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-asked }))
	defer silent.Close()
	defer close(asked)
	start := time.Now()
	if code, _, errw := healthOf("--url", silent.URL, "--timeout", "100ms"); code != 1 || !strings.Contains(errw, "no answer") || time.Since(start) > 5*time.Second {
		t.Errorf("silence: %d %q after %s", code, errw, time.Since(start))
	}
}

func TestWhichAddressHealthAsks(t *testing.T) {
	for listen, want := range map[string]string{
		"127.0.0.1:9877": "http://127.0.0.1:9877", "0.0.0.0:9877": "http://127.0.0.1:9877", ":9877": "http://127.0.0.1:9877",
		"[::]:9877": "http://[::1]:9877", "[::1]:9877": "http://[::1]:9877", "monitor.example:80": "http://monitor.example:80",
		"127.0.0.1:0": "", "": "",
	} {
		if got, ok := visitable(listen); got != want || ok != (want != "") {
			t.Errorf("%q: %q, want %q", listen, got, want)
		}
	}
	for _, bad := range []string{"9877", "127.0.0.1:9877", "ftp://a", "http://", "http://a/readyz", "http://a?b", "http://u:p@a", "http://a b"} {
		if got, err := healthURL(bad); err == nil {
			t.Errorf("--url %q is taken for %q", bad, got)
		}
	}
}

func TestHealthPrintsEveryCheckAndItsReason(t *testing.T) {
	at := time.Date(2026, 3, 2, 3, 0, 0, 0, time.UTC)
	checks := []daemon.Check{
		{Name: daemon.CheckLook, Reason: "the list of machines: 502", Since: at},
		{Name: daemon.CheckLedger, Reason: "the ledger cannot be written: full", Since: at},
		{Name: daemon.CheckConfig, OK: true, Reason: "a slip", Since: at},
	}
	s := httptest.NewServer(web.Handler(web.Options{Checks: func() []daemon.Check { return checks }}))
	defer s.Close()
	why := "tdscaler: tdscaler is not ready: the list of machines: 502; the ledger cannot be written: full\n"
	code, out, errw := healthOf("--url", s.URL, "--verbose")
	if code != 1 || errw != why || !strings.Contains(out, "look    false  2026-03-02 03:00:00Z  the list of machines: 502\n") || !strings.Contains(out, "config  true   2026-03-02 03:00:00Z  a slip\n") {
		t.Errorf("%d %q\n%s", code, errw, out)
	}
	code, out, errw = healthOf("--url", s.URL, "--json")
	var got verdict
	if err := json.Unmarshal([]byte(out), &got); err != nil || code != 1 || errw != why || got.Ready || len(got.Checks) != 3 || got.Checks[1] != checks[1] {
		t.Errorf("%d %q %v\n%s", code, errw, err, out)
	}
	checks = checks[2:]
	if code, out, errw := healthOf("--url", s.URL, "--json"); code != 0 || errw != "" || !strings.Contains(out, `"ready": true`) {
		t.Errorf("%d %q\n%s", code, errw, out)
	}
}
