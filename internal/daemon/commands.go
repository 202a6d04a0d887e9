package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/actuator"
	"github.com/tdscaler/tdscaler/internal/bidder"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// ErrDryRun is returned where a command would have to write in a dry run.
var ErrDryRun = errors.New("mode is dry-run: nothing may be changed")

// ErrNoSuchPolicy is returned for a policy that neither the file nor any machine
// knows.
var ErrNoSuchPolicy = errors.New("no such policy")

// Status is the daemon at a glance.
type Status struct {
	Mode       policy.Mode `json:"mode"`
	Owner      string      `json:"owner"`
	Config     string      `json:"config"`
	Reload     reloadState `json:"reload"`
	Cycle      uint64      `json:"cycle"`
	FinishedAt time.Time   `json:"finished_at,omitzero"`
	NextAt     time.Time   `json:"next_at,omitzero"`
	Problem    string      `json:"problem,omitempty"`
	// Unread are lists that only some policies and machines need and that the last look
	// could not read.
	Unread []Unread `json:"unread,omitempty"`
	// Unwritable is why the last change of the ledger could not be written; "" if it
	// could.
	Unwritable string            `json:"ledger_unwritable,omitempty"`
	Policies   []plan.Standing   `json:"policies,omitempty"`
	Holds      []plan.Hold       `json:"holds,omitempty"`
	Pauses     []plan.Pause      `json:"pauses,omitempty"`
	Breakers   []plan.Breaker    `json:"breakers,omitempty"`
	Overrides  []demand.Override `json:"overrides,omitempty"`
	HourlyCap  market.Rate       `json:"hourly_cap_usd_hour"`
	Reserved   market.Rate       `json:"reserved_usd_hour"`
	Machines   int               `json:"machines"`
	// Containers, and how the market reads a request to scale one, as far as known.
	Containers []plan.Container `json:"containers,omitempty"`
	Scaling    plan.ScaleLesson `json:"scaling,omitzero"`
	Burn       market.Rate      `json:"burn_usd_hour"` // of all machines as last seen
	Zone       policy.Zone      `json:"time_zone"`     // of today and this month
	SpentToday market.Amount    `json:"spent_today_usd"`
	SpentMonth market.Amount    `json:"spent_month_usd"`
	SpentEver  market.Amount    `json:"spent_ever_usd"`
	Others     market.Rate      `json:"others_usd_hour"` // what the account is charged for beside our machines
	// Runway is how long the balance lasts if everything costs what is reserved for
	// it; 0 where that is not known.
	Runway  time.Duration  `json:"runway,omitempty"`
	Bill    plan.Bill      `json:"bill,omitzero"` // the balance against the books
	Balance market.Balance `json:"balance"`
	// Shadows are the policies that are decided and never acted on.
	Shadows []plan.ShadowReport `json:"shadows,omitempty"`
	// Budgets are what the fleet may cost and does, then the policies with caps of their own.
	Budgets []Budget `json:"budgets,omitempty"`
	// Short are the policies that are not at their targets, the widest gap first.
	Short []plan.Shortfall `json:"short,omitempty"`
	// Waits are what it waits for, worst first, at most MostWaits; MoreWaits are left out.
	Waits     []plan.Wait `json:"waits_for,omitempty"`
	MoreWaits int         `json:"waits_for_more,omitempty"`
	// Drift is how TensorDock's answers departed from the form in which they are known,
	// since the daemon started.
	Drift []DriftSeen `json:"contract_drift,omitempty"`
	// Checks say whether the daemon can be relied on; none where none runs.
	Checks []Check `json:"checks,omitempty"`
}

// Unread is a list that the last look could not read.
type Unread struct {
	List string `json:"list"`
	Why  string `json:"why"`
}

// unread are the lists, beside those of machines and hosts, that a look failed to read.
func unread(s *market.Snapshot) (out []Unread) {
	note := func(list string, at time.Time, complete bool, why string) {
		if !at.IsZero() && !complete {
			out = append(out, Unread{list, why})
		}
	}
	note("v2's machines", s.V2.At, s.V2.Complete, s.V2.Problem)
	note("v2's locations", s.Sites.At, s.Sites.Complete, s.Sites.Problem)
	note("ready-made machines", s.Instants.At, s.Instants.Complete, s.Instants.Problem)
	for i := range s.Containers {
		c := &s.Containers[i]
		note("replicas of "+c.Container, c.Replicas.At, c.Replicas.Complete, c.Replicas.Problem)
	}
	return out
}

// Status tells where things stand after the last cycle.
func (d *Daemon) Status() (Status, error) {
	h, err := d.o.Ledger.History()
	if err != nil {
		return Status{}, err
	}
	checks := d.Checks()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := StatusAfter(&d.config, &d.last, &h, d.o.Clock.Now())
	s.Reload, s.NextAt, s.Drift = d.reload, d.next, d.o.Canary.all()
	s.Checks = checks
	if err := d.o.Ledger.Trouble(); err != nil {
		s.Unwritable = err.Error()
	}
	return s, nil
}

// StatusAfter tells where things stand after a cycle, as far as its report and
// the books say: also without a daemon.
func StatusAfter(c *Config, last *plan.Report, h *plan.History, now time.Time) Status {
	s := Status{
		Mode: c.Set.Daemon.Mode, Owner: c.Set.Daemon.Owner, Config: c.Path,
		Cycle: last.Cycle, FinishedAt: last.FinishedAt, Problem: last.Problem,
		Policies: last.Plan.StandingsSince(&last.Input.History, h), Holds: last.Plan.Holds, Pauses: h.Pauses, Breakers: h.Breakers,
		Overrides: activeOverrides(h, now), HourlyCap: c.Set.HourlyCap(), Reserved: h.Reserved(), Machines: len(h.Machines), Balance: last.Input.Snapshot.Balance.Value,
		Shadows: last.Shadows, Unread: unread(&last.Input.Snapshot),
	}
	s.Burn = h.Burn()
	s.Containers, s.Scaling = h.Containers, h.Scaling
	s.Zone = c.Set.Budget.Zone
	spent := h.Spent("", now.In(s.Zone.Location()))
	s.SpentToday, s.SpentMonth, s.SpentEver = spent.Day, spent.Month, spent.Total
	s.Others, s.Bill = h.Account.Others, h.Account.Bill
	s.Runway, _ = h.Runway().Get()
	s.Budgets, s.Short = budgets(c, h, now), plan.Shortfalls(s.Policies, s.Holds)
	s.waits(c, last, h, now)
	return s
}

// PlanAnswer is a plan made on demand.
type PlanAnswer struct {
	Plan      plan.Plan        `json:"plan"`
	Input     plan.Input       `json:"-"` // that it was made of
	Mode      policy.Mode      `json:"mode"`
	LookedAt  time.Time        `json:"looked_at"` // when the market was looked at
	Questions []market.Verdict `json:"verdicts"`  // what was asked and answered for it
	// Problem is what of the market could not be read; "" if all of it could.
	Problem string `json:"problem,omitempty"`
	// Shadows are what the shadow policies would do.
	Shadows []plan.ShadowReport `json:"shadows,omitempty"`
}

// Seen is a look at the market that a plan can be made on.
type Seen struct {
	At       time.Time
	Snapshot market.Snapshot
	Verdicts []market.Verdict
	Problem  string // what is missing, or why there is no newer look
}

// Plan says what would be done under a configuration, which need not be the one
// in use, and does nothing. It uses the last look, or with fresh waits for the
// next.
func (d *Daemon) Plan(ctx context.Context, c Config, fresh bool) (PlanAnswer, error) {
	seen, err := d.lastLook(ctx, fresh)
	if err != nil {
		return PlanAnswer{}, err
	}
	h, err := d.o.Ledger.History()
	if err != nil {
		return PlanAnswer{}, err
	}
	return PlanOn(ctx, d.o.Clock, d.connection().Reader, &c, seen, h, Readings(ctx, d.o.Signals, &c.Set)), nil
}

// PlanOn makes a plan from a look, the history into which it was observed, and what
// signals say.
func PlanOn(ctx context.Context, clk clock.Clock, ask bidder.Asker, c *Config, seen Seen, h plan.History, said []demand.Reading) PlanAnswer {
	look := plan.Look{Now: seen.At, Snapshot: seen.Snapshot}
	resolved := *c
	resolved.Set = resolveOn(&c.Set, &look, &h, said)
	c = &resolved
	in := input(&c.Set, look, h)
	in.Verdicts = slices.Clone(seen.Verdicts)
	in, p := bidder.Converse(ctx, clk, ask, in)
	return PlanAnswer{
		Plan: p, Input: in, Mode: c.Set.Daemon.Mode, LookedAt: seen.At, Questions: in.Verdicts, Problem: seen.Problem, Shadows: shadowsOn(c, &seen, in, &h),
	}
}

// LookAlone looks at the market for a command that runs without a daemon, and
// observes what it saw into h, a copy: nothing is booked. It returns
// ErrUnauthorized where the market refuses the credentials.
func LookAlone(ctx context.Context, clk clock.Clock, r Reader, c *Config, h *plan.History) (Seen, error) {
	snap := scan(ctx, r, clk, &c.Set, h, market.Section[[]market.Site]{}, nil)
	if err := ctx.Err(); err != nil {
		return Seen{}, fmt.Errorf("look at the market: %w", err)
	}
	if unauthorized(ctx, r, &snap) {
		return Seen{}, fmt.Errorf("%w: %s", ErrUnauthorized, snap.Instances.Problem)
	}
	look := lookAt(clk, &c.Set, snap)
	look.Policies = targets(&c.Set, &look, h)
	plan.Observe(h, look)
	return Seen{At: look.Now, Snapshot: snap, Problem: problemOf(&snap)}, nil
}

func (d *Daemon) lastLook(ctx context.Context, fresh bool) (Seen, error) {
	if err := d.awaitLook(ctx, fresh); err != nil {
		return Seen{}, fmt.Errorf("wait for the next look at the market: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen.Now.IsZero() {
		return Seen{}, fmt.Errorf("the market could not be looked at: %s", d.last.Problem)
	}
	return Seen{At: d.seen.Now, Snapshot: d.seen.Snapshot, Verdicts: d.seen.Verdicts, Problem: d.last.Problem}, nil
}

// awaitLook waits for a cycle to end: for the first, or with fresh for one that
// began after now.
func (d *Daemon) awaitLook(ctx context.Context, fresh bool) error {
	asked := d.o.Clock.Now()
	for {
		d.mu.Lock()
		done, wait := d.last.Cycle != 0 && (!fresh || !d.last.StartedAt.Before(asked)), d.fresh
		d.mu.Unlock()
		if done {
			return nil
		}
		d.Wake()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wait:
		}
	}
}

// Published is closed when the next cycle has been reported; ask again for the one after.
func (d *Daemon) Published() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fresh
}

// Config is the configuration in use.
func (d *Daemon) Config() Config { return d.current() }

// ReadConfig is LoadConfig without the files that the policies name: for
// commands that buy nothing and must work when such a file is gone.
func ReadConfig(path string) (Config, []policy.Problem, error) {
	raw, err := readConfig(path)
	if err != nil {
		return Config{}, nil, err
	}
	return ReadSent(path, raw)
}

// ReadLedgerOf reads of a file with errors no more than where its ledger is: a daemon may
// go on with what the file was before, and can still be asked and stopped.
func ReadLedgerOf(path string) (Config, bool) {
	raw, err := readConfig(path)
	if err != nil {
		return Config{}, false
	}
	c := Config{Path: path, Raw: raw}
	ledger, ok := policy.LedgerOf(path, raw)
	c.Set.Daemon.Ledger = c.resolveState(ledger)
	return c, ok
}

// ReadSent is ReadConfig for a file that was read already.
func ReadSent(path string, raw []byte) (Config, []policy.Problem, error) {
	set, problems := policy.Parse(path, raw)
	if policy.HasErrors(problems) {
		return Config{}, problems, ErrConfig
	}
	c := Config{Path: path, Raw: raw, Set: set, Problems: problems}
	c.Set.Daemon.Ledger = c.resolveState(set.Daemon.Ledger)
	c.resolveDemand()
	return c, problems, nil
}

// KnownPolicies are the names of all policies that the file, the ledger or a
// machine knows, sorted.
func KnownPolicies(c *Config, h *plan.History) []string {
	names := slices.Clone(h.Known)
	for i := range c.Set.Policies {
		names = append(names, c.Set.Policies[i].Name)
	}
	names = append(names, c.Set.ShadowNames()...)
	for i := range h.Machines {
		names = append(names, h.Machines[i].Policy)
	}
	for i := range h.Containers {
		names = append(names, h.Containers[i].Policy)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Destroyed says what became of one machine.
type Destroyed struct {
	Machine  string `json:"machine"`
	Instance string `json:"instance,omitempty"`
	Outcome  string `json:"outcome"` // accepted, unknown, refused, failed, waiting, draining
	Detail   string `json:"detail,omitempty"`
}

// Destroy ends the bill of one policy, or of all with policy "": it pauses it for
// good, deletes every machine that is known, looks for more and deletes those. A
// machine whose order is still unanswered cannot be named to the market yet: it
// is deleted as soon as a look shows it, because the pause keeps tearing down.
//
// It works while paused and with an open breaker, and waits for no cycle.
func (d *Daemon) Destroy(ctx context.Context, name, reason string) ([]Destroyed, error) {
	return d.destroy(ctx, name, reason, false)
}

// DestroyGently is Destroy, but what its policy drains is drained first, by the next
// cycles.
func (d *Daemon) DestroyGently(ctx context.Context, name, reason string) ([]Destroyed, error) {
	return d.destroy(ctx, name, reason, true)
}

func (d *Daemon) destroy(ctx context.Context, name, reason string, gentle bool) ([]Destroyed, error) {
	c, m, _ := d.composed()
	if m.Writer == nil {
		return nil, ErrDryRun
	}
	if err := d.knows(&c, name); err != nil {
		return nil, err
	}
	now := d.o.Clock.Now()
	if err := SetPause(d.o.Ledger, plan.Pause{Policy: name, Since: now, Reason: reason, Teardown: true, Gentle: gentle}); err != nil {
		return nil, err
	}
	done := map[string]Destroyed{}
	err := d.deleteAll(ctx, &c, m, name, done)
	if err == nil {
		err = d.lookAndDelete(ctx, &c, m, name, done)
	}
	d.Wake() // hooks are called after a cycle
	out := make([]Destroyed, 0, len(done))
	for _, one := range done {
		out = append(out, one)
	}
	slices.SortFunc(out, func(a, b Destroyed) int { return cmp.Compare(a.Machine, b.Machine) })
	return out, err
}

func (d *Daemon) knows(c *Config, name string) error {
	h, err := d.o.Ledger.History()
	if err != nil {
		return err
	}
	if name == "" || slices.Contains(KnownPolicies(c, &h), name) {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNoSuchPolicy, name)
}

func (d *Daemon) deleteAll(ctx context.Context, c *Config, m Market, name string, done map[string]Destroyed) error {
	h, err := d.o.Ledger.History()
	if err != nil {
		return err
	}
	act := d.actuator(c, m, &books{ledger: d.o.Ledger, clock: d.o.Clock, set: &c.Set, caps: byHand}, &gate{operator: true, dryRun: func() bool { return d.connection().Writer == nil }})
	for i := range h.Machines {
		one := &h.Machines[i]
		if name != "" && one.Policy != name || one.Phase == plan.PhaseDeleting {
			continue
		}
		if one.Renamed != "" {
			done[one.Name] = Destroyed{Machine: one.Name, Instance: one.ID, Outcome: "failed", Detail: "is called " + one.Renamed + " on the market, which is not ours to touch: delete it by hand"}
			continue
		}
		if one.ID == "" {
			done[one.Name] = Destroyed{Machine: one.Name, Outcome: "waiting", Detail: "ordered, but not seen yet: it is deleted when it shows up"}
			continue
		}
		if why := h.Spares(one, c.Set.Policies, d.o.Clock.Now()); why != "" {
			done[one.Name] = Destroyed{Machine: one.Name, Instance: one.ID, Outcome: "draining", Detail: why}
			continue
		}
		a := plan.Action{
			Kind: plan.Delete, Policy: one.Policy, Machine: one.Name, Instance: one.ID, API: one.API, Host: one.Host, Model: one.Model,
			Shape: one.Shape, Capacity: one.Capacity, Rate: one.Reserved, Reason: plan.Reason{Code: plan.ReasonDestroy, Text: "destroyed by the operator"},
		}
		if done[one.Name], err = d.destroyOne(ctx, act, a); err != nil {
			return err
		}
	}
	return d.stopAll(ctx, func(a plan.Action) (Destroyed, error) { return d.destroyOne(ctx, act, a) }, &h, name, done)
}

func (d *Daemon) destroyOne(ctx context.Context, act *actuator.Actuator, a plan.Action) (Destroyed, error) {
	res, err := d.act(ctx, act, a)
	if err != nil {
		return Destroyed{}, err
	}
	d.metrics.acted(a, res)
	d.logResult(0, a, res)
	return Destroyed{Machine: a.Machine, Instance: a.Instance, Outcome: outcomeOf(string(res.Intent.State), res.Skipped), Detail: cmp.Or(res.Skipped, res.Intent.Detail)}, nil
}

// byHand bounds nothing: an operator only deletes.
func byHand(string) plan.Caps { return plan.Caps{Operator: true} }

func outcomeOf(state, skipped string) string {
	if skipped != "" {
		return "failed"
	}
	return state
}

// lookAndDelete finds machines of ours that the books do not know, and deletes
// them too. A look that fails is reported, not fatal: what was known is deleted.
func (d *Daemon) lookAndDelete(ctx context.Context, c *Config, m Market, name string, done map[string]Destroyed) error {
	_, _, generation := d.composed()
	h, err := d.o.Ledger.History()
	if err != nil {
		return err
	}
	snap := scan(ctx, m.Reader, d.o.Clock, &c.Set, &h, d.sites(), nil)
	if !snap.Instances.Complete {
		return fmt.Errorf("what is known was deleted, but whether there is more could not be seen: %s", snap.Instances.Problem)
	}
	look, err := d.look(c, generation, snap, &h)
	if err != nil {
		return err
	}
	look.Policies = targets(&c.Set, &look, &h)
	err = d.o.Ledger.Update(func(tx *ledger.Tx) error {
		_, err := book(tx, look, c.Set.Policies)
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(d.forgetPasswords(), d.deleteAll(ctx, c, m, name, done))
}

// SetPause pauses a policy, or all with Policy "", replacing an earlier pause of
// the same policy. A teardown is not weakened by a plain pause, nor does it end
// with one.
func SetPause(l *ledger.Ledger, p plan.Pause) error {
	return l.Update(func(tx *ledger.Tx) error {
		h := tx.History()
		for _, old := range h.Pauses {
			if old.Policy == p.Policy && old.Teardown {
				p.Gentle = old.Gentle && (p.Gentle || !p.Teardown) // nor does it wait again
				p.Teardown, p.Until = true, old.Until
			}
		}
		h.Pauses = slices.DeleteFunc(h.Pauses, func(old plan.Pause) bool { return old.Policy == p.Policy })
		h.Pauses = append(h.Pauses, p)
		return nil
	})
}

// SetShield protects a machine on an operator's word; nil takes that back. A machine
// that is gone meanwhile needs none.
func SetShield(l *ledger.Ledger, machine string, s *plan.Shield) error {
	return l.Update(func(tx *ledger.Tx) error {
		if m := tx.History().Machine(machine); m != nil {
			m.Shield = s
		}
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
			breakers = h.CloseBreakers()
		}
		return nil
	})
	return pauses, breakers, err
}
