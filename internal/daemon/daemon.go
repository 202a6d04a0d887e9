package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/actuator"
	"github.com/tdscaler/tdscaler/internal/bidder"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/scanner"
)

// Reader is all of the market that a cycle looks at and asks.
type Reader interface {
	scanner.Reader
	bidder.Asker
	AuthTest(ctx context.Context) error
}

// Market is a connection to the market. Writer is nil in a dry run.
type Market struct {
	Reader Reader
	Writer actuator.Writer
}

// Options of a Daemon. All but Signals, Errands, PauseFile, Canary, Report, Pulse and Grace are needed.
type Options struct {
	Config      Config
	Ledger      *ledger.Ledger
	Credentials *credentials.Store
	Clock       clock.Clock
	Log         *zap.Logger
	Registerer  prometheus.Registerer
	// Connect makes the market's adapters for a configuration: at start, and again
	// when a reload changes mode, addresses or pace.
	Connect func(Config) (Market, error)
	// Signals reads the signals that targets follow; nil reads none.
	Signals Signals
	// PauseFile stops all writes while it exists; "" is none.
	PauseFile string
	// Canary, if set, is told of every answer by whoever connects.
	Canary *Canary
	// Report, if set, is called with every report after it was recorded.
	Report func(plan.Report)
	// Errands, if set, probes machines and calls hooks; a dry run does neither.
	Errands Errands
	// Pulse, if set, knows whether Run goes on. What waits between two of its steps does so
	// on a clock.Pulsed: Clock, and whatever Connect and Signals are made with.
	Pulse *clock.Pulse
	// Grace is how long a write that is under way may go on after a stop was asked
	// for. What it cuts off is resolved by the first look of the next start.
	Grace time.Duration
}

// ErrUnauthorized is returned by Run when the first look shows that the
// credentials are wrong.
var ErrUnauthorized = errors.New("TensorDock refuses the credentials")

// Daemon runs cycles. Its methods may be called from any goroutine.
type Daemon struct {
	o       Options
	metrics *metrics
	wake    chan struct{}

	// vigil is what looks between cycles have found; only Run uses it.
	vigil vigil
	// rests are the lists that are left alone after they failed.
	rests scanner.Rests

	// acting is held while one action is carried out, by a cycle or by destroy.
	acting sync.Mutex

	// underway is the number of the cycle that runs; 0 between two.
	underway atomic.Uint64

	// reloading is held while a configuration is read and adopted.
	reloading sync.Mutex

	mu     sync.Mutex // guards what follows
	config Config
	market Market
	// generation counts the configurations that were in use.
	generation uint64
	last       plan.Report // of the last cycle; zero before the first
	seen       plan.Input  // the last input with complete sections, for plans on demand
	next       time.Time   // of the next cycle
	fresh      chan struct{}
	// watching is one more than the generation under which the machines were seen
	// last, whole; 0 before that.
	watching uint64
	watchAt  time.Time // since when
	reload   reloadState
	checks   map[string]Check // as they were told last
	began    time.Time
	holds    map[string]bool // reasons of the last cycle, to log only what changed
}

// New connects to the market and prepares a Daemon; nothing is sent yet.
func New(o Options) (*Daemon, error) {
	m, err := o.Connect(o.Config)
	if err != nil {
		return nil, err
	}
	d := &Daemon{
		o: o, config: o.Config, market: m, metrics: newMetrics(o.Registerer),
		vigil: vigil{left: mostEarly}, wake: make(chan struct{}, 1), fresh: make(chan struct{}), holds: map[string]bool{}, checks: map[string]Check{}, began: o.Clock.Now(),
	}
	d.reload.ok(&d.config, o.Clock.Now())
	d.metrics.configure(&d.config.Set)
	d.metrics.reloaded(true, o.Clock.Now())
	return d, nil
}

// Run cycles on the schedule until ctx ends, which is success. The first cycle
// starts at once; with once it is the only one, and its failure is returned.
func (d *Daemon) Run(ctx context.Context, once bool) error {
	ctx = d.o.Pulse.Watch(ctx)
	for first := true; ; first = false {
		d.o.Pulse.Beat()
		r, err := d.cycle(ctx)
		d.o.Pulse.Beat()
		if once && err == nil {
			err = d.finishErrands(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case first && unauthorized(ctx, d.connection().Reader, &r.Input.Snapshot):
			return fmt.Errorf("%w: check TENSORDOCK_API_KEY and TENSORDOCK_API_TOKEN (%s)", ErrUnauthorized, r.Input.Snapshot.Instances.Problem)
		case err != nil && (once || errors.Is(err, ledger.ErrCorrupt)):
			return err
		case once && r.Problem != "":
			return errors.New(r.Problem)
		case once:
			return nil
		case err != nil:
			d.o.Log.Error("the cycle failed; it is tried again on the schedule", zap.Error(err))
		}
		if !d.sleep(ctx) {
			return nil
		}
	}
}

// unauthorized tells wrong credentials from other refusals: where the list of
// machines was refused, the market is asked about the credentials themselves.
func unauthorized(ctx context.Context, r Reader, s *market.Snapshot) bool {
	switch s.Instances.Class {
	case market.ClassUnauthorized:
		return true
	case market.ClassRefused:
		class := market.ClassOf(r.AuthTest(ctx))
		return class == market.ClassUnauthorized || class == market.ClassRefused
	}
	return false
}

// sleep waits for the next cycle; false when ctx ended.
func (d *Daemon) sleep(ctx context.Context) bool {
	c := d.current()
	s, err := policy.ParseSchedule(c.Set.Daemon.Schedule)
	if err != nil { // the parser has accepted this schedule before
		d.o.Log.Error("the schedule cannot be read any more", zap.Error(err))
		return false
	}
	now := d.o.Clock.Now()
	next := d.sooner(s.Next(now), now)
	d.mu.Lock()
	d.next = next
	d.mu.Unlock()
	d.metrics.nextCycle.Set(unix(next))
	return d.await(ctx, &c.Set, next.Sub(now))
}

// Wake asks for a cycle now instead of at the scheduled time.
func (d *Daemon) Wake() {
	select {
	case d.wake <- struct{}{}:
	default: // one is asked for already
	}
}

func (d *Daemon) current() Config {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config
}

// composed is the configuration in use, the market adapters made for it, and which
// of all configurations it is: the three belong together.
func (d *Daemon) composed() (Config, Market, uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.config, d.market, d.generation
}

// Acting says whether an action is being carried out: an answer may be on its way.
func (d *Daemon) Acting() bool {
	if d.acting.TryLock() {
		d.acting.Unlock()
		return false
	}
	return true
}

// gate is the gate of a cycle that began under the given generation.
func (d *Daemon) gate(generation uint64) *gate {
	return &gate{ledger: d.o.Ledger, clock: d.o.Clock, pauseFile: d.o.PauseFile, canary: d.o.Canary, outdated: func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.generation != generation
	}}
}

func (d *Daemon) connection() Market {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.market
}

// actuator composes the only way to write, for one cycle or command.
func (d *Daemon) actuator(c *Config, m Market, b *books, g *gate) *actuator.Actuator {
	return actuator.New(m.Writer, b, g, &outfitter{set: &c.Set, materials: c.Materials, store: d.o.Credentials})
}

// act carries out one action with a context that outlives a stop by Grace, so
// that an answer that is already on its way is not lost. The cycle may have to wait for
// what destroy does here, so that is watched like the cycle itself.
func (d *Daemon) act(ctx context.Context, a *actuator.Actuator, act plan.Action) (actuator.Result, error) {
	d.acting.Lock()
	defer d.acting.Unlock()
	ctx = d.o.Pulse.Watch(ctx)
	d.o.Pulse.Beat()
	defer d.o.Pulse.Beat()
	if err := ctx.Err(); err != nil { // stopped while somebody else acted
		return actuator.Result{Skipped: "not begun: " + err.Error()}, nil
	}
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		_ = d.o.Clock.Sleep(inner, d.o.Grace) // ends with inner, which is fine
		cancel()
	})
	defer stop()
	return a.Act(inner, act)
}
