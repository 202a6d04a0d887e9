package daemon

import (
	"context"
	"net/netip"
	"net/url"
	"path/filepath"

	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/errands"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Errands does what is to be done for machines between cycles. None of its methods but
// Wait waits for anything.
type Errands interface {
	// Start begins errands in the background.
	Start(ctx context.Context, jobs []errands.Job)
	// Findings are what came of those that have ended and that no Start has followed.
	Findings() []plan.Finding
	// Wait returns when nothing is under way.
	Wait()
}

// sendOut begins the errands that are due by the books. While these cannot be written
// nothing is begun: nobody would remember that it was done.
func (d *Daemon) sendOut(ctx context.Context, c *Config, m Market) {
	if d.o.Errands == nil || m.Writer == nil || d.o.Ledger.Trouble() != nil {
		return
	}
	h, err := d.o.Ledger.History()
	if err != nil {
		d.o.Log.Warn("no machine is probed and no hook is called", zap.Error(err))
		return
	}
	var jobs []errands.Job
	for _, e := range h.Errands(c.Set.Policies, d.o.Clock.Now()) {
		jobs = append(jobs, c.job(e))
	}
	d.o.Errands.Start(ctx, jobs)
}

// Machines are those of the last whole look, with the policies that it was judged by;
// false before it. Neither may be changed.
func (d *Daemon) Machines() ([]plan.Machine, []policy.Policy, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen.History.Machines, d.seen.Policies, !d.seen.Now.IsZero()
}

// job completes an errand with what the planner must not know.
func (c *Config) job(e plan.Errand) errands.Job {
	j := errands.Job{Errand: e, Dir: filepath.Dir(c.Path), Locals: c.local()}
	p, ok := c.Set.Find(e.Policy)
	if !ok {
		return j
	}
	m := c.Materials[e.Policy]
	j.Ready = p.Ready
	switch e.Kind {
	case plan.ErrandProbe:
		j.Key = m.ProbeKey
	case plan.ErrandDrain:
		j.Hook, j.Key = p.Drain.Hook, m.DrainSecret
	default:
		j.Hook, j.Key = p.OnReady, m.ReadySecret
	}
	return j
}

// local says whether the market itself is on this computer: a simulator.
func (c *Config) local() bool {
	u, err := url.Parse(c.Set.TensorDock.MarketplaceURL)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// finishErrands waits for what a single cycle has begun and books it: there is no later
// look to do so.
func (d *Daemon) finishErrands(ctx context.Context) error {
	c, m, _ := d.composed()
	if d.o.Errands == nil || m.Writer == nil {
		return nil
	}
	d.o.Errands.Wait()
	look := lookAt(d.o.Clock, &c.Set, market.Snapshot{})
	if look.Findings = d.o.Errands.Findings(); len(look.Findings) == 0 || ctx.Err() != nil {
		return nil
	}
	return d.o.Ledger.Update(func(tx *ledger.Tx) error {
		look.Policies = targets(&c.Set, &look, tx.History())
		_, err := book(tx, look, c.Set.Policies)
		return err
	})
}
