package daemon

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/actuator"
	"github.com/tdscaler/tdscaler/internal/bidder"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/scanner"
)

// maxRounds bounds how often one cycle plans anew after a refusal.
const maxRounds = 10

// turn is one cycle under way.
type turn struct {
	*Daemon
	c Config
	m Market
	// generation is that of c and m: what was planned under it is not carried out
	// under another.
	generation uint64
	r          plan.Report
	look       plan.Look
	looked     bool // the market was looked at
	booked     bool // what the look taught is in the ledger
}

// cycle is one turn: observe, decide, ask, act, report. An error means that our
// own books failed; what went wrong at the market is in the report.
func (d *Daemon) cycle(ctx context.Context) (plan.Report, error) {
	t := turn{Daemon: d}
	t.c, t.m, t.generation = d.composed()
	t.r = plan.Report{StartedAt: d.o.Clock.Now(), Mode: t.c.Set.Daemon.Mode, Version: Build().String(), Early: d.vigil.take()}
	err := t.finish(t.run(ctx))
	if t.looked {
		d.saw(t.generation, &t.r.Input)
		if err := d.forgetPasswords(); err != nil {
			d.o.Log.Warn("passwords of machines that are gone could not be deleted", zap.Error(err))
		}
		d.publish(t.r)
		d.sendOut(ctx, &t.c, t.m)
	}
	return t.r, err
}

// finish ends the cycle in the books. Where they could not be written under way it
// tries all the same: a disk may be full for a moment only, and then what was seen,
// spent and done is on record. Where they still cannot be, the report says so to
// everybody but the ledger.
func (t *turn) finish(err error) error {
	t.r.FinishedAt = t.o.Clock.Now()
	if err != nil {
		t.r.Problem = err.Error()
	}
	if t.looked && (err == nil || errors.Is(err, ledger.ErrWrite)) {
		if last := t.o.Ledger.Update(t.record); err == nil && last != nil {
			err = last
			t.r.Problem = err.Error()
		}
	}
	if t.looked {
		t.r.Plan.Holds = append(slices.Clip(t.r.Plan.Holds), t.o.Canary.holds()...)
	}
	if trouble := t.o.Ledger.Trouble(); t.looked && trouble != nil {
		t.r.Plan.Holds = append(slices.Clip(t.r.Plan.Holds), unwritable(trouble))
	}
	return err
}

// unwritable is the hold on everything while nothing can be put on record.
func unwritable(err error) plan.Hold {
	return plan.Hold{Reason: plan.Reason{
		Code: plan.HoldLedger,
		Text: "nothing is bought, raised or deleted until it can be put on record: " + err.Error(),
	}}
}

func (t *turn) run(ctx context.Context) error {
	var err error
	if t.r.Cycle, err = t.o.Ledger.NextCycle(); err != nil {
		return err
	}
	t.underway.Store(t.r.Cycle)
	defer t.underway.Store(0)
	h, err := t.o.Ledger.History()
	if err != nil {
		return err
	}
	readings := t.readSignals(ctx)
	snap := scan(ctx, t.m.Reader, t.o.Clock, &t.c.Set, &h, t.sites(), &t.rests)
	said := readings()
	if ctx.Err() != nil {
		return nil // a scan that was cut short is no look
	}
	s := &t.c.Set
	if t.look, err = t.Daemon.look(&t.c, t.generation, snap, &h); err != nil {
		return err
	}
	t.look.Early = t.r.Early != ""
	t.looked, t.r.Problem = true, problemOf(&snap)
	t.c.Set = resolve(&t.c.Set, &t.look, &h, said)
	h.Remember(s.Policies)
	if err := t.pauseByFile(&h); err != nil {
		return err
	}
	t.r.Events = plan.Observe(&h, t.look)
	in := input(s, t.look, h)
	if err := t.probe(); err != nil {
		t.r.Input, t.r.Plan = in, plan.Compute(in)
		return err
	}
	return t.rounds(ctx, in)
}

// probe finds out, where the last change could not be written, whether the disk is
// well again, before the market is asked anything for a plan that cannot be carried
// out.
func (t *turn) probe() error {
	if t.o.Ledger.Trouble() == nil {
		return nil
	}
	err := t.o.Ledger.Update(t.book)
	t.booked = err == nil
	return err
}

// lookAt is a look at a snapshot, made now. Its time is the time of day alone: what
// truly passed is told by its reading of the other clock.
func lookAt(c clock.Clock, s *policy.Set, snap market.Snapshot) plan.Look {
	now, up := c.Now().Round(0), c.Uptime()
	return plan.Look{
		Now: now, Boot: up.Boot, Up: up.At, Owner: s.Daemon.Owner, Safety: s.Safety, Policies: s.Policies, Zone: s.Budget.Zone, Snapshot: snap,
	}
}

// pauseByFile makes the pause file a pause like any other in what is decided on, so
// that plan and holds tell of it.
func (t *turn) pauseByFile(h *plan.History) error {
	paused, err := fileExists(t.o.PauseFile)
	if paused {
		h.Pauses = append(h.Pauses, plan.Pause{Since: t.look.Now, Reason: "the file " + t.o.PauseFile + " exists"})
	}
	return err
}

// book writes what the look taught us, unless that is done: before the first
// action, or together with the report, so that a quiet cycle costs one commit.
// The observation is repeated inside the transaction, on what the ledger holds
// then: a pause that came in meanwhile is not overwritten.
func (t *turn) book(tx *ledger.Tx) error {
	if t.booked {
		return nil
	}
	_, err := book(tx, t.look, t.c.Set.Policies)
	return err
}

// record ends the cycle in the ledger, in one transaction: the look, what the
// questions taught, the offers that changed, the report.
func (t *turn) record(tx *ledger.Tx) error {
	if err := t.book(tx); err != nil {
		return err
	}
	plan.Learn(tx.History(), t.c.Set.Safety, t.r.Input.Snapshot.Hosts.Value, t.r.Input.Verdicts, t.r.FinishedAt)
	if err := t.shadows(tx); err != nil {
		return err
	}
	if hosts := &t.look.Snapshot.Hosts; hosts.Complete {
		if err := tx.PutQuotes(hosts.Value, hosts.At); err != nil {
			return err
		}
	}
	if err := tx.PutPrices(plan.Lessons(t.r.Input.Verdicts, t.r.Intents, t.r.Events)); err != nil {
		return err
	}
	r := t.r
	if t.m.Writer != nil {
		r.Events = append(slices.Clip(r.Events), plan.BookDrains(tx.History(), r.Plan.Drains, t.look.Now)...)
	}
	if err := tx.PutReport(r); err != nil {
		return err
	}
	t.r.Events = r.Events
	return nil
}

// forgetPasswords drops the passwords of machines that are gone. It goes by the
// books and not by this cycle's events, which a crash may have swallowed; what
// this ledger never ordered is left alone.
func (d *Daemon) forgetPasswords() error {
	names, err := d.o.Credentials.Names()
	if err != nil || len(names) == 0 {
		return err
	}
	h, err := d.o.Ledger.History()
	if err != nil {
		return err
	}
	for _, name := range names {
		if h.Machine(name) != nil {
			continue
		}
		last, lerr := d.o.Ledger.Intents(ledger.Filter{Machine: name, Limit: 1})
		if lerr == nil && len(last) > 0 && !d.mayShowUp(&last[0]) {
			lerr = d.o.Credentials.Delete(name)
		}
		err = errors.Join(err, lerr)
	}
	return err
}

// lateAge is how long the password of an order that was given up is kept: should the
// machine show up after all, it is adopted, and somebody may want to log in.
const lateAge = 7 * 24 * time.Hour

func (d *Daemon) mayShowUp(last *plan.Intent) bool {
	return last.State == plan.IntentExpired && d.o.Clock.Now().Sub(last.SettledAt) < lateAge
}

// addressTakes is how long v2 may take to tell a running machine's address, and
// addressEvery how often it is asked for it meanwhile: v2 takes a hundred requests a
// minute, and cycles may be a second apart.
const (
	addressTakes = time.Minute
	addressEvery = 15 * time.Second
)

// described says whether v2's details of a machine are known as far as they will be, or were
// asked for lately.
func described(m *plan.Machine, now time.Time) bool {
	age, seen := now.Sub(m.StatusAt), m.SeenAt.Sub(m.StatusAt)
	return m.IP != "" || age > addressTakes || age/addressEvery == seen/addressEvery
}

// scan looks at the market with what the books expect to see: what the market said
// yes to, and what it has been asked to take away.
func scan(ctx context.Context, r scanner.Reader, c clock.Clock, s *policy.Set, h *plan.History, sites market.Section[[]market.Site], rests *scanner.Rests) market.Snapshot {
	e := scanner.Expected{Owner: s.Daemon.Owner, Instants: s.Wants(policy.Instant), V2: s.MayUseV2(), Sites: sites, Told: map[string]market.Status{}}
	for i := range h.Machines {
		m := &h.Machines[i]
		if m.Phase == plan.PhaseUnknown || m.Phase == plan.PhaseAccepted {
			e.Ordered = append(e.Ordered, m.Name)
		}
		switch {
		case m.ID == "":
			continue
		case m.Phase == plan.PhaseDeleting || m.Leaving != nil:
			e.Leaving = append(e.Leaving, m.ID)
		default:
			e.Known = append(e.Known, m.ID)
		}
		if m.API == market.V2 {
			e.Second = append(e.Second, m.ID)
			if m.Phase == plan.PhaseLive && described(m, c.Now()) {
				e.Told[m.ID] = m.Status
			}
		}
	}
	for i := range h.Containers {
		if id := h.Containers[i].ID; id != "" {
			e.Containers = append(e.Containers, id)
		}
	}
	return scanner.New(r, c, rests).Scan(ctx, e)
}

func problemOf(s *market.Snapshot) string {
	switch {
	case !s.Instances.Complete:
		return "the list of machines: " + s.Instances.Problem
	case !s.Hosts.Complete:
		return "the list of hosts: " + s.Hosts.Problem
	case s.Instants.Problem != "":
		return "the list of ready-made machines: " + s.Instants.Problem
	}
	return ""
}

// input puts together what a decision depends on. The targets of s are resolved.
func input(s *policy.Set, look plan.Look, h plan.History) plan.Input {
	h.Shadows = nil // what they would have is no reason for anything
	in := plan.Input{
		Now: look.Now, Owner: s.Daemon.Owner, Policies: s.Policies, Shadows: s.ShadowNames(), Budget: s.Budget, HourlyCap: s.HourlyCap(),
		Limits: s.Limits, Safety: s.Safety, Snapshot: look.Snapshot, History: h, Demand: look.Demand.Outcomes, Findings: look.Findings,
	}
	if sched, err := policy.ParseSchedule(s.Daemon.Schedule); err == nil {
		in.Interval = sched.Interval(look.Now)
	}
	if in.Interval <= longestWatch {
		in.Watch = watchEvery(s, 1)
	}
	in.Limits.MaxProbes = min(in.Limits.MaxProbes, plan.ProbesWithin(in.Interval, s.TensorDock.MarketplaceRPS, otherRequests))
	return in
}

// otherRequests is about what a cycle asks of the marketplace besides questions about
// bids: its lists, the balance, a few machines one by one, a write or two.
const otherRequests = 6

// rounds decides and acts. A refusal does not cost the cycle: what it taught
// joins the input, and the plan is made again.
func (t *turn) rounds(ctx context.Context, in plan.Input) error {
	var act *actuator.Actuator
	late := func() bool { return false }
	p := plan.Compute(in)
	if t.m.Writer != nil {
		b, g := t.books(&in), t.gate(t.generation)
		late = func() bool { return b.clock.Now().Sub(t.look.Now) > lookLasts }
		g.late = late
		act = t.actuator(&t.c, t.m, b, g)
		var err error
		if p, err = t.shedFirst(ctx, act, &in, p); err != nil {
			return err
		}
	}
	for i := range maxRounds {
		if i > 0 && late() {
			return nil // the next look is due
		}
		if i > 0 {
			p = plan.Compute(in)
		}
		t.r.Input, t.r.Plan = bidder.Continue(ctx, t.o.Clock, t.m.Reader, in, p)
		if act == nil || len(t.r.Plan.Actions) == 0 || ctx.Err() != nil {
			return nil
		}
		if err := t.o.Ledger.Update(t.book); err != nil {
			return err
		}
		t.booked = true
		again, err := t.carryOut(ctx, act, &in)
		if err != nil || !again {
			return err
		}
	}
	return nil
}

// shedFirst gives up what a cap demands before the market is asked anything: the
// questions of the rest of the plan may take minutes, and money flows meanwhile. It
// takes the plan of the input as it is, and returns that of the input as it leaves it.
func (t *turn) shedFirst(ctx context.Context, act *actuator.Actuator, in *plan.Input, p plan.Plan) (plan.Plan, error) {
	if len(p.Questions) == 0 {
		return p, nil // it is carried out at once
	}
	shed := p
	shed.Actions = slices.DeleteFunc(slices.Clone(p.Actions), func(a plan.Action) bool { return a.Reason.Code != plan.ReasonOverBudget })
	if len(shed.Actions) == 0 {
		return p, nil
	}
	if err := t.o.Ledger.Update(t.book); err != nil {
		return p, err
	}
	t.booked = true
	t.r.Input, t.r.Plan = *in, shed
	_, err := t.carryOut(ctx, act, in)
	if err != nil {
		return p, err
	}
	in.History, err = t.o.Ledger.History()
	return plan.Compute(*in), err
}

// books are those of this cycle: the caps are what they were when it looked.
func (t *turn) books(in *plan.Input) *books {
	looked := *in
	return &books{
		ledger: t.o.Ledger, set: &t.c.Set, cycle: t.r.Cycle, caps: looked.CapsFor,
		clock:  clock.Steady{Clock: t.o.Clock, At: t.look.Now, Up: clock.Uptime{Boot: t.look.Boot, At: t.look.Up}},
		notice: func(e []plan.Event) { t.r.Events = append(t.r.Events, e...) },
	}
}

// carryOut acts on the plan in order; again says that another plan may do better.
func (t *turn) carryOut(ctx context.Context, act *actuator.Actuator, in *plan.Input) (again bool, err error) {
	*in = t.r.Input
	refused := map[string]bool{} // hosts that are planned anew
	for _, a := range t.r.Plan.Actions {
		if ctx.Err() != nil {
			return false, nil
		}
		if a.Kind == plan.Deploy && refused[a.Host] {
			continue
		}
		res, err := t.act(ctx, act, a)
		if err != nil {
			return false, err
		}
		t.metrics.acted(a, res)
		t.logResult(t.r.Cycle, a, res)
		if res.Skipped != "" {
			continue
		}
		in.Limits.MaxActions--
		t.r.Intents = append(t.r.Intents, res.Intent)
		if v, ok := res.Verdict.Get(); ok {
			in.Verdicts = append(in.Verdicts, v)
		}
		if res.Retry() {
			again, refused[a.Host] = true, true
		}
		if res.Class == market.ClassUnauthorized || res.Class == market.ClassRateLimited {
			return false, nil // nothing else would fare better
		}
	}
	if again { // Now stays: the cycle is one moment to the planner
		in.History, err = t.o.Ledger.History()
	}
	return again && in.Limits.MaxActions > 0, err
}

// publish hands the report to everybody who projects it.
func (d *Daemon) publish(r plan.Report) {
	d.metrics.report(&r, d.o.Ledger)
	d.metrics.contract(d.o.Canary)
	d.logReport(&r)
	d.logDrift()
	d.mu.Lock()
	d.last = r
	if r.Input.Snapshot.Instances.Complete {
		d.seen = r.Input
	}
	close(d.fresh)
	d.fresh = make(chan struct{})
	d.mu.Unlock()
	d.Checks() // a change counts from the cycle that found it, whether somebody asks or not
	if d.o.Report != nil {
		d.o.Report(r)
	}
}

func (d *Daemon) logResult(cycle uint64, a plan.Action, res actuator.Result) {
	f := []zap.Field{
		zap.Uint64("cycle", cycle), zap.String("policy", a.Policy), zap.String("action", string(a.Kind)),
		zap.String("reason", a.Reason.Code), zap.String("why", a.Reason.Text), zap.String("host", a.Host),
		zap.String("rate", a.Rate.String()),
	}
	if res.Skipped != "" {
		d.o.Log.Info("action skipped", append(f, zap.String("because", res.Skipped))...)
		return
	}
	f = append(f, zap.Uint64("intent", res.Intent.ID), zap.String("machine", res.Intent.Machine), zap.String("state", string(res.Intent.State)))
	if a.Bid > 0 && a.Kind != plan.Delete {
		f = append(f, zap.String("bid", a.Bid.String()))
	}
	if res.Intent.Detail != "" {
		f = append(f, zap.String("detail", res.Intent.Detail))
	}
	if res.Class != "" {
		d.o.Log.Warn("action failed", append(f, zap.String("class", string(res.Class)))...)
		return
	}
	d.o.Log.Info("action done", f...)
}

// logDrift tells once of each way in which the market's answers have changed.
func (d *Daemon) logDrift() {
	for _, s := range d.o.Canary.news() {
		d.o.Log.Warn("TensorDock's answers have changed their form", zap.String("api", string(s.API)), zap.String("operation", s.Operation),
			zap.String("kind", s.Kind), zap.String("field", s.Field), zap.String("stops", string(s.Stops)))
	}
}

// logReport writes what changed: events always, plans in a dry run, holds when
// they are new.
func (d *Daemon) logReport(r *plan.Report) {
	for _, e := range r.Events {
		d.o.Log.Info("event", zap.Uint64("cycle", r.Cycle), zap.String("event", string(e.Kind)), zap.String("policy", e.Policy),
			zap.String("machine", e.Machine), zap.String("text", e.Text))
	}
	if r.Mode == policy.DryRun {
		for _, a := range r.Plan.Actions {
			d.o.Log.Info("would act", zap.Uint64("cycle", r.Cycle), zap.String("policy", a.Policy), zap.String("action", string(a.Kind)),
				zap.String("reason", a.Reason.Code), zap.String("why", a.Reason.Text), zap.String("host", a.Host), zap.String("rate", a.Rate.String()))
		}
	}
	for i := range r.Shadows {
		for _, a := range r.Shadows[i].Actions {
			d.o.Log.Info("shadow would act", zap.Uint64("cycle", r.Cycle), zap.String("policy", a.Policy), zap.String("action", string(a.Kind)),
				zap.String("reason", a.Reason.Code), zap.String("why", a.Reason.Text), zap.String("host", a.Host), zap.String("rate", a.Rate.String()))
		}
	}
	now := map[string]bool{}
	for _, h := range r.Plan.Holds {
		key := h.Policy + "/" + h.Machine + "/" + h.Reason.Code
		now[key] = true
		if !d.holds[key] {
			d.o.Log.Info("hold", zap.Uint64("cycle", r.Cycle), zap.String("policy", h.Policy), zap.String("machine", h.Machine),
				zap.String("reason", h.Reason.Code), zap.String("why", h.Reason.Text))
		}
	}
	d.holds = now
	level := zap.InfoLevel
	if r.Problem != "" {
		level = zap.WarnLevel
	}
	d.o.Log.Log(level, "cycle", zap.Uint64("cycle", r.Cycle), zap.Duration("took", r.FinishedAt.Sub(r.StartedAt).Round(time.Millisecond)),
		zap.Int("actions", len(r.Intents)), zap.Int("holds", len(r.Plan.Holds)), zap.String("rate", r.Plan.Before.String()),
		zap.String("problem", r.Problem))
}
