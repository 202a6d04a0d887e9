package daemon

import (
	"context"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// HostReader reads what is on offer, which is public.
type HostReader interface {
	Hosts(ctx context.Context) ([]market.Host, error)
	Instants(ctx context.Context) ([]market.Instant, error)
}

// Look is what a decision under a configuration would be made on now, and what of
// the market could not be read for it: the last look, or with fresh the next.
func (d *Daemon) Look(ctx context.Context, c Config, fresh bool) (in plan.Input, problem string, err error) {
	seen, err := d.lastLook(ctx, fresh)
	if err != nil {
		return in, "", err
	}
	h, err := d.o.Ledger.History()
	if err != nil {
		return in, "", err
	}
	in = inputOf(&c.Set, plan.Look{Now: seen.At, Snapshot: seen.Snapshot}, h)
	in.Verdicts = seen.Verdicts
	return in, seen.Problem, nil
}

// LookAtHosts reads what is on offer for a command that runs without a daemon, and
// without credentials. Machines and balance are not looked at.
func LookAtHosts(ctx context.Context, clk clock.Clock, r HostReader, c *Config, h plan.History) (in plan.Input, problem string) {
	hosts, err := r.Hosts(ctx)
	snap := market.Snapshot{Hosts: market.Section[[]market.Host]{Value: hosts, At: clk.Now(), Complete: err == nil}}
	if err != nil {
		problem = "the list of hosts: " + err.Error()
	}
	if c.Set.Wants(policy.Instant) {
		list, err := r.Instants(ctx)
		snap.Instants = market.Section[[]market.Instant]{Value: list, At: clk.Now(), Complete: err == nil}
		if err != nil {
			problem = "the list of ready-made machines: " + err.Error()
		}
	}
	return inputOf(&c.Set, plan.Look{Now: clk.Now().Round(0), Snapshot: snap}, h), problem
}

// sites are v2's locations as the last cycle knew them: they need not be read for
// every look.
func (d *Daemon) sites() market.Section[[]market.Site] {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.last.Input.Snapshot.Sites; s.Complete {
		return s
	}
	return market.Section[[]market.Site]{}
}
