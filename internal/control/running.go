package control

import (
	"context"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Running makes the Office of a daemon that runs in this process. The daemon
// keeps the ledger open.
func Running(o Options, d *daemon.Daemon, l *ledger.Ledger) *Office {
	return &Office{b: &runningDaemon{d, l}, o: o}
}

type runningDaemon struct {
	d *daemon.Daemon
	l *ledger.Ledger
}

func (r *runningDaemon) config() daemon.Config                      { return r.d.Config() }
func (r *runningDaemon) running() bool                              { return true }
func (r *runningDaemon) wake()                                      { r.d.Wake() }
func (r *runningDaemon) status() (daemon.Status, error)             { return r.d.Status() }
func (r *runningDaemon) reload() error                              { return r.d.Reload(true) }
func (r *runningDaemon) read(fn func(*ledger.Ledger) error) error   { return fn(r.l) }
func (r *runningDaemon) change(fn func(*ledger.Ledger) error) error { return fn(r.l) }

func (r *runningDaemon) plan(ctx context.Context, c daemon.Config, fresh bool) (daemon.PlanAnswer, error) {
	return r.d.Plan(ctx, c, fresh)
}

func (r *runningDaemon) look(ctx context.Context, c daemon.Config, fresh bool) (plan.Input, string, error) {
	return r.d.Look(ctx, c, fresh)
}

func (r *runningDaemon) destroy(ctx context.Context, policy, reason string, gentle bool) ([]daemon.Destroyed, error) {
	if gentle {
		return r.d.DestroyGently(ctx, policy, reason)
	}
	return r.d.Destroy(ctx, policy, reason)
}
