package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/bidder"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/scanner"
)

// ErrDryRun is returned where a command would have to write in a dry run.
var ErrDryRun = errors.New("mode is dry-run: nothing may be changed")

// ErrNoSuchPolicy is returned for a policy that neither the file nor any machine
// knows.
var ErrNoSuchPolicy = errors.New("no such policy")

// Status is the daemon at a glance.
type Status struct {
	Mode       policy.Mode     `json:"mode"`
	Owner      string          `json:"owner"`
	Config     string          `json:"config"`
	Reload     reloadState     `json:"reload"`
	Cycle      uint64          `json:"cycle"`
	FinishedAt time.Time       `json:"finished_at,omitzero"`
	NextAt     time.Time       `json:"next_at,omitzero"`
	Problem    string          `json:"problem,omitempty"`
	Policies   []plan.Standing `json:"policies,omitempty"`
	Holds      []plan.Hold     `json:"holds,omitempty"`
	Pauses     []plan.Pause    `json:"pauses,omitempty"`
	Breakers   []plan.Breaker  `json:"breakers,omitempty"`
	HourlyCap  market.Rate     `json:"hourly_cap_usd_hour"`
	Reserved   market.Rate     `json:"reserved_usd_hour"`
	SpentToday market.Amount   `json:"spent_today_usd"`
	SpentMonth market.Amount   `json:"spent_month_usd"`
	Balance    market.Balance  `json:"balance"`
}

// Status tells where things stand after the last cycle.
func (d *Daemon) Status() (Status, error) {
	h, err := d.o.Ledger.History()
	if err != nil {
		return Status{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{
		Mode: d.config.Set.Daemon.Mode, Owner: d.config.Set.Daemon.Owner, Config: d.config.Path, Reload: d.reload,
		Cycle: d.last.Cycle, FinishedAt: d.last.FinishedAt, NextAt: d.next, Problem: d.last.Problem,
		Policies: d.last.Plan.Standings, Holds: d.last.Plan.Holds, Pauses: h.Pauses, Breakers: h.Breakers,
		HourlyCap: d.config.Set.HourlyCap(), Reserved: h.Reserved(), Balance: d.last.Input.Snapshot.Balance.Value,
	}
	s.SpentToday, s.SpentMonth = h.Spent("", d.o.Clock.Now())
	return s, nil
}

// Ready says why the daemon is not ready to be relied on; nil when it is: its
// ledger is open and the last look read the list of machines.
func (d *Daemon) Ready() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.last.Cycle == 0:
		return errors.New("no cycle has finished yet")
	case d.last.Problem != "":
		return errors.New(d.last.Problem)
	}
	return nil
}

// PlanAnswer is a plan made on demand.
type PlanAnswer struct {
	Plan      plan.Plan        `json:"plan"`
	Mode      policy.Mode      `json:"mode"`
	LookedAt  time.Time        `json:"looked_at"` // when the market was looked at
	Questions []market.Verdict `json:"verdicts"`  // what was asked and answered for it
}

// Plan says what would be done under a configuration, which need not be the one
// in use, and does nothing. It uses the last look, or with fresh waits for the
// next; a daemon that is not running looks itself.
func (d *Daemon) Plan(ctx context.Context, c Config, fresh bool) (PlanAnswer, error) {
	seen, err := d.lastLook(ctx, fresh)
	if err != nil {
		return PlanAnswer{}, err
	}
	h, err := d.o.Ledger.History()
	if err != nil {
		return PlanAnswer{}, err
	}
	return d.PlanOn(ctx, c, seen.Snapshot, seen.Now, h, seen.Verdicts), nil
}

// PlanOn makes a plan from a snapshot and a history that the caller has.
func (d *Daemon) PlanOn(ctx context.Context, c Config, s market.Snapshot, at time.Time, h plan.History, known []market.Verdict) PlanAnswer {
	look := plan.Look{Now: at, Owner: c.Set.Daemon.Owner, Safety: c.Set.Safety, Policies: c.Set.Policies, Snapshot: s}
	in := input(&c.Set, look, h)
	in.Verdicts = slices.Clone(known)
	in, p := bidder.Converse(ctx, d.o.Clock, d.connection().Reader, in)
	return PlanAnswer{Plan: p, Mode: c.Set.Daemon.Mode, LookedAt: at, Questions: in.Verdicts}
}

func (d *Daemon) lastLook(ctx context.Context, fresh bool) (plan.Input, error) {
	d.mu.Lock()
	seen, wait := d.seen, d.fresh
	d.mu.Unlock()
	if !fresh && !seen.Now.IsZero() {
		return seen, nil
	}
	d.Wake()
	select {
	case <-ctx.Done():
		return plan.Input{}, fmt.Errorf("wait for the next look at the market: %w", ctx.Err())
	case <-wait:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen.Now.IsZero() {
		return plan.Input{}, fmt.Errorf("the market could not be looked at: %s", d.last.Problem)
	}
	return d.seen, nil
}

// Look scans the market once, without booking anything: for commands that run
// without a daemon.
func (d *Daemon) Look(ctx context.Context) (market.Snapshot, error) {
	h, err := d.o.Ledger.History()
	if err != nil {
		return market.Snapshot{}, err
	}
	return scanner.New(d.connection().Reader, d.o.Clock).Scan(ctx, expected(&h)), nil
}

// Destroyed says what became of one machine.
type Destroyed struct {
	Machine  string `json:"machine"`
	Instance string `json:"instance,omitempty"`
	Outcome  string `json:"outcome"` // accepted, unknown, refused, failed, waiting
	Detail   string `json:"detail,omitempty"`
}

// Destroy ends the bill of one policy, or of all with policy "": it pauses it for
// good, deletes every machine that is known, looks for more and deletes those. A
// machine whose order is still unanswered cannot be named to the market yet: it
// is deleted as soon as a look shows it, because the pause keeps tearing down.
//
// It works while paused and with an open breaker, and waits for no cycle.
func (d *Daemon) Destroy(ctx context.Context, name, reason string) ([]Destroyed, error) {
	c, m := d.current(), d.connection()
	if m.Writer == nil {
		return nil, ErrDryRun
	}
	if err := d.knows(&c, name); err != nil {
		return nil, err
	}
	now := d.o.Clock.Now()
	if err := SetPause(d.o.Ledger, plan.Pause{Policy: name, Since: now, Reason: reason, Teardown: true}); err != nil {
		return nil, err
	}
	done := map[string]Destroyed{}
	err := d.deleteAll(ctx, &c, m, name, done)
	if err == nil {
		err = d.lookAndDelete(ctx, &c, m, name, done)
	}
	out := make([]Destroyed, 0, len(done))
	for _, one := range done {
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Destroyed) int { return cmp.Compare(a.Machine, b.Machine) })
	return out, err
}

func (d *Daemon) knows(c *Config, name string) error {
	if _, ok := c.Set.Find(name); ok || name == "" {
		return nil
	}
	h, err := d.o.Ledger.History()
	if err != nil {
		return err
	}
	if slices.Contains(h.Known, name) || slices.ContainsFunc(h.Machines, func(m plan.Machine) bool { return m.Policy == name }) {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNoSuchPolicy, name)
}

func (d *Daemon) deleteAll(ctx context.Context, c *Config, m Market, name string, done map[string]Destroyed) error {
	h, err := d.o.Ledger.History()
	if err != nil {
		return err
	}
	act := d.actuator(c, m, 0, true, nil)
	for i := range h.Machines {
		one := &h.Machines[i]
		if name != "" && one.Policy != name || one.Phase == plan.PhaseDeleting {
			continue
		}
		if one.ID == "" {
			done[one.Name] = Destroyed{Machine: one.Name, Outcome: "waiting", Detail: "ordered, but not seen yet: it is deleted when it shows up"}
			continue
		}
		a := plan.Action{Kind: plan.Delete, Policy: one.Policy, Machine: one.Name, Instance: one.ID, Host: one.Host, Model: one.Model,
			Shape: one.Shape, Capacity: one.Capacity, Rate: one.Reserved, Reason: plan.Reason{Code: plan.ReasonDestroy, Text: "destroyed by the operator"}}
		res, err := d.act(ctx, act, a)
		if err != nil {
			return err
		}
		d.metrics.acted(a, res)
		d.logResult(0, a, res)
		done[one.Name] = Destroyed{Machine: one.Name, Instance: one.ID, Outcome: outcomeOf(string(res.Intent.State), res.Skipped), Detail: cmp.Or(res.Skipped, res.Intent.Detail)}
	}
	return ctx.Err()
}

func outcomeOf(state, skipped string) string {
	if skipped != "" {
		return "failed"
	}
	return state
}

// lookAndDelete finds machines of ours that the books do not know, and deletes
// them too. A look that fails is reported, not fatal: what was known is deleted.
func (d *Daemon) lookAndDelete(ctx context.Context, c *Config, m Market, name string, done map[string]Destroyed) error {
	snap, err := d.Look(ctx)
	if err != nil {
		return err
	}
	if !snap.Instances.Complete {
		return fmt.Errorf("what is known was deleted, but whether there is more could not be seen: %s", snap.Instances.Problem)
	}
	look := plan.Look{Now: d.o.Clock.Now(), Owner: c.Set.Daemon.Owner, Safety: c.Set.Safety, Policies: c.Set.Policies, Snapshot: snap}
	err = d.o.Ledger.Update(func(tx *ledger.Tx) error {
		_, err := book(tx, look, c.Set.Policies)
		return err
	})
	if err != nil {
		return err
	}
	return d.deleteAll(ctx, c, m, name, done)
}

// SetPause pauses a policy, or all with Policy "", replacing an earlier pause of
// the same policy. A teardown is not weakened by a plain pause.
func SetPause(l *ledger.Ledger, p plan.Pause) error {
	return l.Update(func(tx *ledger.Tx) error {
		h := tx.History()
		for _, old := range h.Pauses {
			p.Teardown = p.Teardown || old.Policy == p.Policy && old.Teardown
		}
		h.Pauses = slices.DeleteFunc(h.Pauses, func(old plan.Pause) bool { return old.Policy == p.Policy })
		h.Pauses = append(h.Pauses, p)
		return nil
	})
}

// Resume ends the pauses of a policy, or with "" every pause, and closes the
// breakers. It returns what it ended.
func Resume(l *ledger.Ledger, name string) (pauses []plan.Pause, breakers []plan.Breaker, err error) {
	err = l.Update(func(tx *ledger.Tx) error {
		h := tx.History()
		pauses, breakers = nil, nil
		h.Pauses = slices.DeleteFunc(h.Pauses, func(p plan.Pause) bool {
			end := name == "" || p.Policy == name
			if end {
				pauses = append(pauses, p)
			}
			return end
		})
		if name == "" {
			breakers, h.Breakers, h.Failures = h.Breakers, nil, nil
		}
		return nil
	})
	return pauses, breakers, err
}
