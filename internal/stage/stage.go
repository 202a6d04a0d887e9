package stage

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/errands"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
	"github.com/tdscaler/tdscaler/internal/tensordock"
	"github.com/tdscaler/tdscaler/internal/web"
)

// Policies are what is played: most get what they want, one has too low a ceiling.
//
//go:embed policies.yaml
var Policies []byte

// Stage is a daemon at a point in virtual time. Close ends it.
type Stage struct {
	Desk    *control.Office
	Handler http.Handler
	Engine  *simulator.Engine
	Clock   *clock.Virtual

	asked  atomic.Int64
	mu     sync.Mutex
	daemon *daemon.Daemon
	ledger *ledger.Ledger
}

// every is the time between two cycles, balance the account's when it begins.
const (
	every   = 3 * time.Minute
	balance = 900 * market.Dollar
)

// New sets the daemon up in a folder, and plays for a time.
func New(ctx context.Context, dir string, policies []byte, play time.Duration) (*Stage, error) {
	path := filepath.Join(dir, "policies.yaml")
	if err := os.WriteFile(path, policies, 0o600); err != nil {
		return nil, err
	}
	cfg, problems, err := daemon.LoadConfig(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", err, problems)
	}
	virtual := clock.NewVirtual(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))
	engine, err := simulator.New(simulator.Options{Clock: virtual, Seed: 3, Hosts: 80, Balance: balance})
	if err != nil {
		return nil, err
	}
	s := &Stage{Engine: engine, Clock: virtual}
	face := simulator.Transport(engine.Handler(simulator.FaceOptions{}))
	client, err := tensordock.NewClient(tensordock.Options{
		Key: secret.New("key"), Token: secret.New("token"), Clock: virtual, MarketplaceRPS: 1000, InstancesRPM: 60000,
		Transport: counted{face, &s.asked},
	})
	if err != nil {
		return nil, err
	}
	l, err := ledger.Open(ledger.Options{ID: fmt.Sprintf("%032x", 3), Path: filepath.Join(dir, "ledger.db"), NoSync: true})
	if err != nil {
		return nil, err
	}
	store := credentials.New(filepath.Join(dir, "credentials"))
	d, err := daemon.New(daemon.Options{
		Config: cfg, Ledger: l, Credentials: store, Clock: virtual, Log: zap.NewNop(), Registerer: prometheus.NewRegistry(), Errands: &errands.Obliging{Clock: virtual},
		Connect: func(daemon.Config) (daemon.Market, error) {
			return daemon.Market{Reader: client.Reader, Writer: client}, nil
		},
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.daemon, s.ledger = d, l
	s.Desk = control.Running(control.Options{Clock: virtual, Credentials: store, PauseFile: filepath.Join(dir, "ledger.db.pause")}, d, l)
	s.Handler = web.Handler(web.Options{Gatherer: prometheus.NewRegistry(), Machines: d.Machines, Desk: s.Desk, Published: d.Published, Clock: visitors{v: virtual}, Version: "v0.0.0-stage"})
	for end := virtual.Now().Add(play); virtual.Now().Before(end); {
		if err := s.Cycle(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

// visitors is the market's time of day for people who wait in their own: a visitor's
// waiting must not make days pass.
type visitors struct {
	clock.System
	v *clock.Virtual
}

// Now implements clock.Clock.
func (c visitors) Now() time.Time { return c.v.Now() }

// Cycle lets time pass, and the daemon do one cycle.
func (s *Stage) Cycle(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.Clock.Sleep(ctx, every); err != nil {
		return err
	}
	return s.daemon.Run(ctx, true)
}

// Asked is how many requests the market was sent.
func (s *Stage) Asked() int64 { return s.asked.Load() }

type counted struct {
	http.RoundTripper
	n *atomic.Int64
}

// RoundTrip implements http.RoundTripper.
func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.RoundTripper.RoundTrip(r)
}

// Close closes the ledger.
func (s *Stage) Close() error { return s.ledger.Close() }
