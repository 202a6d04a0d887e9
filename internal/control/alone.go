package control

import (
	"context"
	"errors"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// AloneOptions are what an Office without a daemon works with.
type AloneOptions struct {
	Config daemon.Config
	// Open opens the ledger; it is closed again after each use, so that a daemon
	// can start in between.
	Open func(readOnly bool) (*ledger.Ledger, error)
	// Reader connects to the market for looking and asking only.
	Reader func(daemon.Config) (daemon.Reader, error)
	// Hosts connects for reading the list of hosts, which needs no credentials.
	Hosts func(daemon.Config) (daemon.HostReader, error)
	// Signals reads the signals that targets follow.
	Signals func(daemon.Config) daemon.Signals
	// Compose makes a daemon that does not run, for destroy.
	Compose func(daemon.Config, *ledger.Ledger) (*daemon.Daemon, error)
}

// Alone makes the Office that commands use when no daemon runs.
func Alone(o Options, a AloneOptions) *Office {
	return &Office{b: &alone{AloneOptions: a, clock: o.Clock}, o: o}
}

type alone struct {
	AloneOptions
	clock clock.Clock
	// seen is the look of this process, so that one command looks once.
	seen    *daemon.Seen
	history plan.History // with seen observed into it
}

func (a *alone) config() daemon.Config { return a.Config }
func (a *alone) running() bool         { return false }
func (a *alone) wake()                 {}

func (a *alone) signals(c daemon.Config) daemon.Signals {
	if a.Signals == nil {
		return nil
	}
	return a.Signals(c)
}

func (a *alone) reload() error {
	return &Fault{Class: NoDaemon, Message: "no daemon runs on the ledger " + a.Config.Set.Daemon.Ledger}
}

func (a *alone) read(fn func(*ledger.Ledger) error) error   { return a.with(true, fn) }
func (a *alone) change(fn func(*ledger.Ledger) error) error { return a.with(false, fn) }

func (a *alone) with(readOnly bool, fn func(*ledger.Ledger) error) error {
	l, err := a.Open(readOnly)
	if err != nil {
		return err
	}
	return errors.Join(fn(l), l.Close())
}

// status is that of the last cycle in the ledger.
func (a *alone) status() (daemon.Status, error) {
	var last plan.Report
	var h plan.History
	err := a.read(func(l *ledger.Ledger) (err error) {
		if last, err = lastReport(l); err != nil && !errors.Is(err, ledger.ErrNoSuchCycle) {
			return err
		}
		h, err = l.History()
		return err
	})
	if errors.Is(err, ledger.ErrNotExist) {
		err = nil
	}
	return daemon.StatusAfter(&a.Config, &last, &h, a.clock.Now()), err
}

// plan looks at the market itself, with a connection that cannot write.
func (a *alone) plan(ctx context.Context, c daemon.Config, fresh bool) (daemon.PlanAnswer, error) {
	r, err := a.Reader(c)
	if err != nil {
		return daemon.PlanAnswer{}, err
	}
	if a.seen == nil || fresh {
		if err := a.lookAround(ctx, r, &c); err != nil {
			return daemon.PlanAnswer{}, err
		}
	}
	return daemon.PlanOn(ctx, a.clock, r, &c, *a.seen, a.history, daemon.Readings(ctx, a.signals(c), &c.Set)), nil
}

// books are what the ledger knows; nothing where there is none.
func (a *alone) books() (h plan.History, err error) {
	err = a.read(func(l *ledger.Ledger) (err error) {
		h, err = l.History()
		return err
	})
	if errors.Is(err, ledger.ErrNotExist) {
		err = nil
	}
	return h, err
}

// look reads the hosts alone: what there is to buy is public.
func (a *alone) look(ctx context.Context, c daemon.Config, _ bool) (in plan.Input, problem string, err error) {
	h, err := a.books()
	if err != nil {
		return in, "", err
	}
	r, err := a.Hosts(c)
	if err != nil {
		return in, "", err
	}
	in, problem = daemon.LookAtHosts(ctx, a.clock, r, &c, h)
	return in, problem, ctx.Err()
}

func (a *alone) lookAround(ctx context.Context, r daemon.Reader, c *daemon.Config) error {
	h, err := a.books()
	if err != nil {
		return err
	}
	seen, err := daemon.LookAlone(ctx, a.clock, r, c, &h)
	if err == nil {
		a.seen, a.history = &seen, h
	}
	return err
}

// destroy works as the daemon does, with a ledger and a client of its own. Nothing is
// drained: who would call the hooks does not run.
func (a *alone) destroy(ctx context.Context, name, reason string, _ bool) (out []daemon.Destroyed, err error) {
	if a.Config.Set.Daemon.Mode != policy.Live {
		return nil, daemon.ErrDryRun
	}
	err = a.change(func(l *ledger.Ledger) error {
		d, err := a.Compose(a.Config, l)
		if err == nil {
			out, err = d.Destroy(ctx, name, reason)
		}
		return err
	})
	return out, err
}
