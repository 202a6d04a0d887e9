package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// listener keeps what is posted to it.
type listener struct {
	*httptest.Server
	mu  sync.Mutex
	got []string
}

func listen(t *testing.T, status int) *listener {
	t.Helper()
	l := &listener{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.got = append(l.got, r.URL.Path+" "+r.Header.Get(secret.HeaderSignature)+" "+string(b))
		w.WriteHeader(status)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *listener) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.got
}

func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestASampleReachesEverySinkOrItIsSaidWhichNot(t *testing.T) {
	good, bad := listen(t, 200), listen(t, 404)
	dir := t.TempDir()
	put(t, dir, map[string]string{
		"slack": good.URL + "/services/T0/B0/s3cr3tt0ken", "chat": bad.URL + "/api/webhooks/1/s3cr3tt0ken", "hmac": "0123456789abcdef",
		"p.yaml": fmt.Sprintf(`version: 1
notifications:
  sinks:
    - {name: ops, type: slack, url_file: slack, min_severity: critical, events: [bill_mismatch]}
    - {name: bus, type: webhook, url: %q, secret_file: hmac}
    - {name: chat, type: discord, url_file: chat}
policies: [{name: train, target: {gpus: 1}, max_gpu_hour: 0.40}]
`, good.URL+"/bus"),
	})
	file := filepath.Join(dir, "p.yaml")
	notify := func(args ...string) (int, string, string) {
		var out, errw bytes.Buffer
		code := run(append([]string{"notify"}, append(args, "--config", file)...), strings.NewReader(""), &out, &errw)
		return code, out.String(), errw.String()
	}
	code, out, errw := notify("test")
	if code != exitFailure || !strings.Contains(errw, "1 of 3 sinks did not take the sample") {
		t.Errorf("%d %s", code, errw)
	}
	for _, want := range []string{"ops +slack +delivered +1 ", "bus +webhook +delivered +1 ", "chat +discord +failed +1 .* answers 404"} {
		finds(t, out, want)
	}
	if strings.Contains(out+errw, "s3cr3t") {
		t.Errorf("a secret is told: %s%s", out, errw)
	}
	if got := strings.Join(good.all(), "\n"); !strings.Contains(got, "/bus sha256=") || !strings.Contains(got, "[dry-run] tdscaler main: this is a test") {
		t.Errorf("%s", got)
	}
	if code, out, errw = notify("test", "--sink", "bus", "--event", "target_missed", "--json"); code != exitOK || len(good.all()) != 3 {
		t.Errorf("%d %s, %d messages", code, errw, len(good.all()))
	}
	var all []tried
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 || !all[0].Delivered {
		t.Errorf("%v %s", err, out)
	}
	for _, problem := range formProblems("notify test", out) {
		t.Error(problem)
	}
	for _, args := range [][]string{{"test", "--sink", "nobody"}, {"test", "--event", "nothing"}} {
		if code, _, errw := notify(args...); code != exitUsage || !strings.Contains(errw, "there are ") {
			t.Errorf("%v: %d %s", args, code, errw)
		}
	}
	if code, out, _ := notify("list"); code != exitOK || !strings.Contains(out, "nothing fires") {
		t.Errorf("%d %s", code, out)
	} else {
		finds(t, out, "target_missed +warning +30m0s +bus,chat +GPUs missing")
		finds(t, out, "bill_mismatch +warning +1h0m0s +bus,chat ")
	}
}

func TestASinkThatCannotWorkIsAProblemWithItsPlace(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, map[string]string{
		"mail": "https://not.a.mail.server/s3cr3tt0ken", "short": "short",
		"p.yaml": `version: 1
notifications:
  sinks:
    - name: a
      type: email
      url_file: mail
    - {name: b, type: webhook, url: "https://example.com/", secret_file: short, template: "{{.Nothing}}"}
    - {name: c, type: slack, url_file: nowhere}
policies: [{name: train, target: {gpus: 1}, max_gpu_hour: 0.40}]
`,
	})
	var out, errw bytes.Buffer
	code := run([]string{"check", filepath.Join(dir, "p.yaml")}, strings.NewReader(""), &out, &errw)
	if code != exitUsage || strings.Contains(errw.String(), "s3cr3t") {
		t.Errorf("%d %s", code, errw.String())
	}
	for _, want := range []string{
		"p.yaml:6:17: error TD440: url_file: the address must begin with smtp", "p.yaml:7:74: error TD206: secret_file: it must hold at least 16 bytes",
		"p.yaml:7:91: error TD441: template: .*can't evaluate field Nothing", "p.yaml:8:40: error TD206: url_file: .*nowhere",
	} {
		finds(t, errw.String(), want)
	}
}

// TestADaemonTellsOfWhatItFinds runs the daemon twice: the second
// time its ledger is another, and what the first bought is found without a record.
func TestADaemonTellsOfWhatItFinds(t *testing.T) {
	o := simulator.Options{Clock: clock.System{}, Seed: 1, Hosts: 60, Balance: market.Amount(market.USD(500, 0)), Regime: simulator.Quiet}
	o.Boot.Median = time.Millisecond
	e, err := simulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(e.Handler(simulator.FaceOptions{}))
	defer srv.Close()
	ears := listen(t, 200)
	dir := t.TempDir()
	for _, ledger := range []string{"one.db", "two.db"} {
		put(t, dir, map[string]string{"p.yaml": fmt.Sprintf(worldFile, "live", ledger, srv.URL, srv.URL) +
			fmt.Sprintf("notifications: {group_wait: 1h, sinks: [{name: ops, type: webhook, url: %q}]}\n", ears.URL)})
		t.Setenv("TENSORDOCK_API_KEY", testKey)
		t.Setenv("TENSORDOCK_API_TOKEN", testToken)
		for range 2 {
			var out, errw bytes.Buffer
			if code := run([]string{"run", "--once", "--config", filepath.Join(dir, "p.yaml")}, strings.NewReader(""), &out, &errw); code != exitOK {
				t.Fatalf("%d %s", code, errw.String())
			}
		}
	}
	got := ears.all()
	if len(got) != 1 || !strings.Contains(got[0], `"event":"orphan_adopted"`) || !strings.Contains(got[0], "tdscaler machines") || strings.Contains(got[0], "[dry-run]") {
		t.Errorf("%d messages: %q", len(got), got)
	}
}

func finds(t *testing.T, text, want string) {
	t.Helper()
	if !regexp.MustCompile(want).MatchString(text) {
		t.Errorf("no %q in\n%s", want, text)
	}
}
