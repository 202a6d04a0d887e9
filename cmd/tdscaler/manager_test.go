package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/demo"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/simulator"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

// supervisor hears what is said to the service manager.
type supervisor struct {
	testing.TB
	mu   sync.Mutex
	said []string
}

func newSupervisor(t *testing.T) *supervisor {
	t.Helper()
	dir, err := os.MkdirTemp("", "tds") // short: a unix socket's path may have 108 bytes
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	path := filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	s := &supervisor{TB: t}
	var wg sync.WaitGroup
	wg.Go(func() {
		for b := make([]byte, 8192); ; {
			n, err := conn.Read(b)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.said = append(s.said, strings.TrimSpace(string(b[:n])))
			s.mu.Unlock()
		}
	})
	t.Cleanup(func() { must(t, conn.Close()); wg.Wait() })
	t.Setenv("NOTIFY_SOCKET", path)
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// hears waits for a message that matches, after the first so many, and returns the number of
// messages up to it.
func (s *supervisor) hears(after int, pattern string) int {
	s.Helper()
	re := regexp.MustCompile("(?s)^(?:" + pattern + ")$")
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		said := slices.Clone(s.said)
		s.mu.Unlock()
		if i := slices.IndexFunc(said[min(after, len(said)):], re.MatchString); i >= 0 {
			return after + i + 1
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Fatalf("%q was not said; after %d messages:\n%s", pattern, after, strings.Join(s.said, "\n--\n"))
	return 0
}

func (s *supervisor) heard() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.said)
}

func managed(t *testing.T) (cfg daemon.Config, connect func(daemon.Config) (daemon.Market, error)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "tds")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	path := filepath.Join(dir, "p.yaml")
	must(t, os.WriteFile(path, []byte(managedFile), 0o600))
	cfg, err = loadConfig(path, io.Discard)
	must(t, err)
	cfg.Key, cfg.Token = demo.Credentials()
	engine, err := simulator.New(simulator.Options{Clock: clock.System{}, Seed: 1, Balance: demo.Balance})
	must(t, err)
	return cfg, func(c daemon.Config) (daemon.Market, error) {
		o := clientOptions(&c, clock.System{}, nil)
		o.Transport = simulator.Transport(engine.Handler(simulator.FaceOptions{}))
		client, err := tensordock.NewClient(o)
		must(t, err)
		return daemon.Market{Reader: client.Reader, Writer: client}, nil
	}
}

const managedFile = `version: 1
daemon: {listen: "", mode: live}
tensordock: {marketplace_rps: 1000}
policies:
  - {name: train, target: {gpus: 1}, max_gpu_hour: 2.00}
`

func TestTheServiceManagerIsToldOfEachStep(t *testing.T) {
	s := newSupervisor(t)
	cfg, connect := managed(t)
	ctx, cancel := context.WithCancel(t.Context())
	ready := false
	done := make(chan error, 1)
	go func() {
		done <- runWith(ctx, &cfg, false, io.Discard, func(c daemon.Config) (daemon.Market, error) {
			if ready {
				return daemon.Market{}, errors.New("connected twice")
			}
			ready = true
			if _, err := os.Stat(c.Set.Daemon.Ledger); err != nil || s.heard() > 0 {
				t.Errorf("before the ledger is open (%v), %d messages were sent", err, s.heard())
			}
			return connect(c)
		})
	}()
	n := s.hears(0, `READY=1\nSTATUS=live; 0 machines in the books, .*; the first cycle is under way`)
	if n != 1 {
		t.Errorf("%d messages before it was ready", n-1)
	}
	n = s.hears(n, `STATUS=live; .* of 1 GPUs ready on 1 machine, .*; cycle 1 at .*`)

	must(t, os.WriteFile(cfg.Path, []byte("version: 1\npolicies: {}\n"), 0o600))
	must(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	n = s.hears(n, `RELOADING=1\nMONOTONIC_USEC=\d+`)
	n = s.hears(n, `READY=1\nSTATUS=live; FILE NOT RELOADED: [^\n]*p\.yaml:2:\d+: [^\n]*`)

	must(t, os.WriteFile(cfg.Path, []byte(managedFile+"limits: {max_actions_per_cycle: 3}\n"), 0o600))
	must(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	n = s.hears(n, `RELOADING=1\nMONOTONIC_USEC=\d+`)
	n = s.hears(n, `READY=1\nSTATUS=live; \d of 1 GPUs [^\n]*`)

	cancel()
	must(t, <-done)
	s.hears(n, `STOPPING=1\nSTATUS=stopping; [^\n]*`)
}

// Reloads and cycles tell the service manager side by side; the race detector listens.
func TestAReloadIsToldBesideTheCycles(t *testing.T) {
	cfg, connect := managed(t)
	l, err := openLedger(&cfg)
	must(t, err)
	defer closeLedger(l, zap.NewNop())
	d, err := daemon.New(daemonOptions(&cfg, l, connect))
	must(t, err)
	m := newManager(zap.NewNop())
	m.every = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { m.attend(ctx, d) })
	reloads := 0
	for range 50 {
		m.reported(plan.Report{})
		m.reloading(d, func() { reloads++ })
	}
	cancel()
	wg.Wait()
	if reloads != 50 || m.last() != statusWord("stopping; machines are left as they are, and cost") {
		t.Errorf("%d reloads, and then %q", reloads, m.last())
	}
}

func TestWhoDoesNotStartIsNeverReady(t *testing.T) {
	s := newSupervisor(t)
	cfg, connect := managed(t)
	must(t, os.WriteFile(cfg.Set.Daemon.Ledger, []byte("no ledger"), 0o600))
	if err := runWith(t.Context(), &cfg, false, io.Discard, connect); err == nil {
		t.Error("it runs on a file that is no ledger")
	}
	must(t, os.WriteFile(cfg.Path, []byte("version: 1\npolicies: {}\n"), 0o600))
	if err := runDaemon(t.Context(), foundConfig{path: cfg.Path}, false, "", io.Discard); err == nil {
		t.Error("it runs on a bad file")
	}
	if n := s.heard(); n > 0 {
		t.Errorf("%d messages: %q", n, s.said)
	}
}

func TestTheWatchdogIsFedByAPulseAndByNothingElse(t *testing.T) {
	s := newSupervisor(t)
	v := clock.NewVirtual(time.Date(2026, 4, 1, 3, 0, 0, 0, time.UTC))
	core, logs := observer.New(zap.InfoLevel)
	m := &manager{log: zap.New(core), pulse: clock.NewPulse(v, time.Minute)}
	m.alive()
	n := s.hears(0, "WATCHDOG=1")
	v.Set(v.Now().Add(61 * time.Second))
	m.alive()
	if s.heard() != n || logs.FilterMessageSnippet("stuck").Len() != 1 {
		t.Errorf("a stuck cycle: %q, %v", s.said, logs.All())
	}
	m.pulse.Beat()
	m.alive()
	s.hears(n, "WATCHDOG=1")
}

func TestTheWatchdogOfSomebodyElseIsNotOurs(t *testing.T) {
	for name, c := range map[string]struct {
		pid, usec string
		watched   bool
	}{
		"ours":            {"", "4000000", true},
		"another process": {"1", "4000000", false},
		"nobody's":        {"", "", false},
		"no number":       {"", "soon", false},
	} {
		t.Setenv("WATCHDOG_USEC", c.usec)
		t.Setenv("WATCHDOG_PID", c.pid)
		if c.usec == "" {
			must(t, os.Unsetenv("WATCHDOG_USEC"))
		}
		if c.pid == "" {
			must(t, os.Unsetenv("WATCHDOG_PID"))
		}
		m := newManager(zap.NewNop())
		if m.pulse != nil != c.watched || c.watched && m.every != time.Second {
			t.Errorf("%s: watched %v, every %s", name, m.pulse != nil, m.every)
		}
	}
}

func TestTheHeadlineSaysWhatNeedsSomebody(t *testing.T) {
	now := time.Date(2026, 4, 1, 3, 12, 30, 0, time.UTC)
	s := daemon.Status{
		Mode: "live", Cycle: 812, FinishedAt: now.Add(-25 * time.Second), NextAt: now.Add(35 * time.Second), Machines: 3,
		Policies: []plan.Standing{{Target: 4, Ready: 3}, {Target: 1}},
	}
	s.Reload.Successful = true
	quiet := headline(&s, now)
	if want := "live; 3 of 5 GPUs ready on 3 machines, $0.0000/h of at most $0.0000/h; cycle 812 at 03:12:05Z, next at 03:13:05Z"; quiet != want {
		t.Errorf("%s\n%s", quiet, want)
	}
	s.Reload.Successful, s.Reload.Problem = false, "bad:\np.yaml:1:2: no\n    quoted\n    ^"
	s.Unwritable, s.Problem = "disk full", "the list of machines: 502"
	s.Pauses = []plan.Pause{{Policy: "train", Reason: "by hand"}, {Until: now.Add(-time.Hour)}}
	s.Breakers = []plan.Breaker{{Code: "mass_disappearance", All: true}, {Code: "failures", Until: now.Add(-time.Minute)}}
	for range 3 {
		s.Holds = append(s.Holds, plan.Hold{Policy: "train", Reason: plan.Reason{Code: plan.HoldNoOffer, Text: strings.Repeat("dear ", 100)}})
	}
	loud := statusWord(headline(&s, now))
	for _, want := range []string{
		"STATUS=live; FILE NOT RELOADED: bad:; p.yaml:1:2: no; LEDGER NOT WRITTEN: disk full", "PAUSED train: by hand;",
		"BREAKER mass_disappearance, no writes at all until resumed;", "PROBLEM: the list of machines: 502; 3 of 5", "train waits, no_offer: dear", "1 more hold",
	} {
		if !strings.Contains(loud, want) {
			t.Errorf("%q is not in %s", want, loud)
		}
	}
	if strings.Contains(loud, "failures") || strings.Contains(loud, "PAUSED (all)") || strings.Contains(loud, "quoted") || strings.Contains(loud, "\n") || len(loud) > 800 {
		t.Error(loud)
	}
}

func TestJournaldIsToldHowGraveALineIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal")
	f, err := os.Create(path)
	must(t, err)
	defer func() { must(t, f.Close()) }()
	info, err := f.Stat()
	must(t, err)
	st := info.Sys().(*syscall.Stat_t)
	t.Setenv("JOURNAL_STREAM", "1:2")
	cfg, _ := managed(t)
	elsewhere, err := newLogger(cfg.Set.Daemon, f)
	must(t, err)
	elsewhere.Info("a terminal")
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	log, err := newLogger(cfg.Set.Daemon, f)
	must(t, err)
	log.With(zap.Int("n", 1)).Warn("a journal")
	log.Error("worse")
	b, err := os.ReadFile(path)
	must(t, err)
	lines := strings.Split(string(b), "\n")
	if !strings.HasPrefix(lines[0], `{"level":"info","time":`) || lines[1] != `<4>{"level":"warn","msg":"a journal","n":1}` || lines[2] != `<3>{"level":"error","msg":"worse"}` {
		t.Errorf("%q", lines)
	}
}
