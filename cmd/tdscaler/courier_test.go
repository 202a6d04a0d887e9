package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/notify"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/report"
)

// post is a mailbox on a virtual clock.
type mailbox struct {
	clock  *clock.Virtual
	path   string
	cfg    daemon.Config
	broken []string // sinks that take nothing
	asked  error
	crash  bool     // when something is sent
	got    []string // sink, window
	window string
}

func newMailbox(t *testing.T) *mailbox {
	t.Helper()
	set, problems := policy.Parse("p.yaml", []byte(`version: 1
notifications:
  sinks: [{name: ops, type: webhook, url: "https://example.com/"}, {name: boss, type: webhook, url: "https://example.com/"}, {name: loud, type: webhook, url: "https://example.com/", min_severity: critical}]
report: {schedule: "0 8 * * *"}
policies: []
`))
	if policy.HasErrors(problems) {
		t.Fatal(problems)
	}
	b := &mailbox{clock: clock.NewVirtual(time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)), path: filepath.Join(t.TempDir(), "ledger.db.report"), cfg: daemon.Config{Set: set}}
	for _, s := range set.Notifications.Sinks {
		b.cfg.Sinks = append(b.cfg.Sinks, notify.SinkConfig{Sink: s})
	}
	return b
}

// courier is one after a restart.
func (b *mailbox) courier() *courier {
	return &courier{
		clock: b.clock, config: func() daemon.Config { return b.cfg }, state: b.path, log: zap.NewNop(), done: func(notify.Outcome) {},
		ask: func(_ context.Context, r control.ReportRequest) (report.Report, error) {
			b.window = r.Since.Format("02T15") + "-" + r.Until.Format("02T15")
			return report.Make(report.Input{From: r.Since, To: r.Until, Now: b.clock.Now(), Owner: "main", Mode: policy.Live}), b.asked
		},
		post: func(_ context.Context, c *daemon.Config, m notify.Message, want func(*notify.SinkConfig) bool) (out []notify.Outcome, err error) {
			if b.crash {
				panic("killed")
			}
			for i := range c.Sinks {
				if s := &c.Sinks[i]; want(s) {
					o := notify.Outcome{Sink: s.Name}
					if slices.Contains(b.broken, s.Name) {
						o.Err = errors.New("503")
					} else {
						b.got = append(b.got, s.Name+" "+b.window)
					}
					out = append(out, o)
				}
			}
			if m.Event != policy.NotifyReport || !strings.Contains(m.Title, "main") || m.Body == "" {
				err = fmt.Errorf("a strange message: %+v", m)
			}
			return out, err
		},
	}
}

// pass lets couriers work for so long, with a restart each hour, and returns what came.
func (b *mailbox) pass(t *testing.T, d time.Duration) string {
	t.Helper()
	b.got = nil
	for end := b.clock.Now().Add(d); b.clock.Now().Before(end); {
		c := b.courier()
		for range 60 {
			if err := c.turn(t.Context()); err != nil && b.asked == nil {
				t.Fatal(err)
			}
			if err := b.clock.Sleep(t.Context(), courierLooks); err != nil {
				t.Fatal(err)
			}
		}
	}
	return strings.Join(b.got, ", ")
}

func TestEachReportThatIsDueIsSentOnceWhateverRestarts(t *testing.T) {
	b := newMailbox(t)
	if got := b.pass(t, 48*time.Hour); got != "ops 02T08-03T08, boss 02T08-03T08, ops 03T08-04T08, boss 03T08-04T08" {
		t.Error(got)
	}
	if info, err := os.Stat(b.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}

func TestAReportThatWasMissedIsSentLateOnceOfItsOwnTime(t *testing.T) {
	b := newMailbox(t)
	b.pass(t, time.Hour)
	b.clock.Set(b.clock.Now().Add(70 * time.Hour)) // down over three of them
	if got := b.pass(t, 2*time.Hour); got != "ops 04T08-05T08, boss 04T08-05T08" {
		t.Error(got)
	}
}

func TestASinkThatFailsIsTriedAgainAloneAndThenGivenUp(t *testing.T) {
	b := newMailbox(t)
	b.broken = []string{"ops"}
	if got := b.pass(t, 20*time.Hour+20*time.Minute); got != "boss 02T08-03T08" {
		t.Error(got)
	}
	b.broken = nil
	if got := b.pass(t, time.Hour); got != "" {
		t.Errorf("given up after an hour, and then sent: %s", got)
	}
	b.broken = []string{"boss"}
	b.clock.Set(time.Date(2026, 3, 4, 7, 59, 0, 0, time.UTC))
	c := b.courier()
	for range 3 {
		if err := c.turn(t.Context()); err != nil {
			t.Fatal(err)
		}
		b.clock.Set(b.clock.Now().Add(time.Minute))
	}
	b.broken = nil
	if got := b.pass(t, time.Hour); got != "boss 03T08-04T08" {
		t.Error(got)
	}
}

func TestAReportThatCannotBeMadeIsOwedToAll(t *testing.T) {
	b := newMailbox(t)
	b.pass(t, 19*time.Hour)
	b.asked = errors.New("the ledger cannot be read")
	if got := b.pass(t, time.Hour+5*time.Minute); got != "" {
		t.Error(got)
	}
	b.asked = nil
	b.clock.Set(time.Date(2026, 3, 3, 8, 30, 0, 0, time.UTC))
	if got := b.pass(t, time.Hour); got != "" {
		t.Errorf("given up after an hour, and then sent: %s", got)
	}
	b.asked = errors.New("the ledger cannot be read")
	b.clock.Set(time.Date(2026, 3, 4, 8, 0, 0, 0, time.UTC))
	if err := b.courier().turn(t.Context()); err == nil {
		t.Error("nobody says that it was not sent")
	}
	b.asked = nil
	b.clock.Set(time.Date(2026, 3, 4, 8, 20, 0, 0, time.UTC))
	if got := b.pass(t, time.Hour); got != "ops 03T08-04T08, boss 03T08-04T08" {
		t.Error(got)
	}
}

func TestTheFileSaysWhoGetsReportsAndACrashSendsNoneTwice(t *testing.T) {
	b := newMailbox(t)
	b.cfg.Set.Report.Sinks = []string{"loud"}
	b.pass(t, time.Hour)
	b.clock.Set(time.Date(2026, 3, 3, 8, 0, 0, 0, time.UTC))
	b.crash = true
	func() {
		defer func() {
			if recover() == nil {
				t.Error("nothing was sent")
			}
		}()
		_ = b.courier().turn(t.Context())
	}()
	b.crash = false
	if got := b.pass(t, time.Hour); got != "" {
		t.Errorf("sent after a crash: %s", got)
	}
	if got := b.pass(t, 24*time.Hour); got != "loud 03T08-04T08" {
		t.Error(got)
	}
	b.cfg.Set.Report.Schedule = ""
	if got := b.pass(t, 48*time.Hour); got != "" {
		t.Errorf("without a schedule: %s", got)
	}
	if err := os.WriteFile(b.path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.cfg.Set.Report.Schedule = "0 8 * * *"
	if err := b.courier().turn(t.Context()); err == nil {
		t.Error("what was sent cannot be read, and nobody says so")
	}
}

func TestAReportIsSentInItsFormat(t *testing.T) {
	r := report.Make(report.Input{From: time.Unix(0, 0), To: time.Unix(86400, 0), Now: time.Unix(86400, 0), Owner: "main"})
	for format, want := range map[string]struct {
		columns, page bool
		begins        string
	}{"text": {true, false, "last 24 h"}, "html": {true, true, "last 24 h"}, "markdown": {false, false, "**last 24 h"}} {
		m, err := messageOf(&r, format)
		if err != nil || m.Columns != want.columns || strings.HasPrefix(m.HTML, "<!DOCTYPE html>") != want.page || !strings.HasPrefix(m.Body, want.begins) {
			t.Errorf("%s: %v %v %.20q %.20q", format, err, m.Columns, m.HTML, m.Body)
		}
	}
}

func TestAReportIsSentToTheSinksOfTheFileAndSaysWhoDidNotTakeIt(t *testing.T) {
	world(t)
	code, body := http.StatusOK, ""
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		body = string(b)
		w.WriteHeader(code)
	}))
	defer srv.Close()
	file := fmt.Sprintf("version: 1\ndaemon: {ledger: s.db}\nnotifications: {sinks: [{name: ops, type: webhook, url: %q}]}\nreport: {sinks: [ops]}\npolicies: []\n", srv.URL)
	if err := os.WriteFile("s.yaml", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := tdscaler("report", "--send", "-c", "s.yaml"); d.code != exitOK || !strings.Contains(d.out, "ops  webhook  sent") {
		t.Errorf("%+v", d)
	}
	if !strings.Contains(body, `"event":"report"`) || !strings.Contains(body, "last 24 h: no cycle is on record") {
		t.Errorf("sent was %s", body)
	}
	code = http.StatusBadRequest
	if d := tdscaler("report", "--send", "-c", "s.yaml"); d.code != exitFailure || !strings.Contains(d.out, "not taken") {
		t.Errorf("%+v", d)
	}
}
