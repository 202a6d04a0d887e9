package control_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

const file = `version: 1
daemon: {mode: live, schedule: "@every 1s", listen: ""}
budget: {max_hourly: 20.00}
policies:
  - name: train
    target: {gpus: 4}
    shape: {gpus: 2}
    max_gpu_hour: 1.00
`

// world is a ledger that a daemon has bought two machines into, on a simulated
// market, and a desk to ask about it.
type world struct {
	control.Desk
	running bool
	path    string // of the ledger
	// cycle runs the daemon once, where there is one.
	cycle func()
}

// shop is a simulated market with everything that connects to it.
type shop struct {
	t      *testing.T
	client *tensordock.Client
	cfg    daemon.Config
	office control.Options
}

func newShop(t *testing.T) *shop {
	t.Helper()
	dir, err := os.MkdirTemp("", "td") // short: socket paths have a limit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	e, err := simulator.New(simulator.Options{Clock: clock.System{}, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	client, err := tensordock.NewClient(tensordock.Options{
		Key: secret.New("key"), Token: secret.New("token"), MarketplaceRPS: 1000, InstancesRPM: 60000,
		Transport: simulator.Transport(e.Handler(simulator.FaceOptions{})),
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "policies.yaml")
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems, err := daemon.LoadConfig(path)
	if err != nil {
		t.Fatal(err, problems)
	}
	return &shop{t: t, client: client, cfg: cfg, office: control.Options{
		Clock: clock.System{}, Credentials: credentials.New(filepath.Join(dir, "credentials")), PauseFile: filepath.Join(dir, "tdscaler.db.pause"),
	}}
}

func (s *shop) open(readOnly bool) (*ledger.Ledger, error) {
	return ledger.Open(ledger.Options{Path: s.cfg.Set.Daemon.Ledger, NoSync: true, ReadOnly: readOnly})
}

func (s *shop) compose(c daemon.Config, l *ledger.Ledger) (*daemon.Daemon, error) {
	return daemon.New(daemon.Options{
		Config: c, Ledger: l, Credentials: s.office.Credentials, Clock: clock.System{}, Log: zap.NewNop(), Registerer: prometheus.NewRegistry(),
		Connect: func(daemon.Config) (daemon.Market, error) {
			return daemon.Market{Reader: s.client.Reader, Writer: s.client}, nil
		},
		PauseFile: s.office.PauseFile,
	})
}

// daemon opens the ledger and runs two cycles: one buys, one sees what was bought.
func (s *shop) daemon() (*daemon.Daemon, *ledger.Ledger) {
	s.t.Helper()
	l, err := s.open(false)
	if err != nil {
		s.t.Fatal(err)
	}
	d, err := s.compose(s.cfg, l)
	if err != nil {
		s.t.Fatal(err)
	}
	for range 2 {
		if err := d.Run(context.Background(), true); err != nil {
			s.t.Fatal(err)
		}
	}
	return d, l
}

func (s *shop) alone() *control.Office {
	return control.Alone(s.office, control.AloneOptions{
		Config: s.cfg, Open: s.open, Compose: s.compose,
		Hosts:  func(daemon.Config) (daemon.HostReader, error) { return s.client.Reader, nil },
		Reader: func(daemon.Config) (daemon.Reader, error) { return s.client.Reader, nil },
	})
}

func inProcess(t *testing.T) world {
	s := newShop(t)
	d, l := s.daemon()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	once := func() {
		if err := d.Run(context.Background(), true); err != nil {
			t.Error(err)
		}
	}
	return world{Desk: control.Running(s.office, d, l), running: true, path: l.Path(), cycle: once}
}

func overTheSocket(t *testing.T) world {
	w := inProcess(t)
	w.Desk = socketTo(t, w.Desk, w.path)
	return w
}

func withoutDaemon(t *testing.T) world {
	s := newShop(t)
	_, l := s.daemon()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return world{Desk: s.alone(), path: s.cfg.Set.Daemon.Ledger, cycle: func() {}}
}

// socketTo serves a desk on the socket of a ledger and dials it.
func socketTo(t *testing.T, d control.Desk, path string) *control.Client {
	t.Helper()
	ln, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, ln, control.Handler(d, clock.System{}))
	c, err := control.Dial(context.Background(), path, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func serve(t *testing.T, ln net.Listener, h http.Handler) {
	srv := &http.Server{Handler: h}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}
