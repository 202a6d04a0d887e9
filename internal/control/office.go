package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// backend is what differs between a running daemon and none.
type backend interface {
	// config is the configuration in use.
	config() daemon.Config
	running() bool
	wake() // asks for a cycle now
	status() (daemon.Status, error)
	plan(ctx context.Context, c daemon.Config, fresh bool) (daemon.PlanAnswer, error)
	// look is what a decision under a configuration would be made on, and what of the
	// market could not be read for it. It may hold no more than the hosts.
	look(ctx context.Context, c daemon.Config, fresh bool) (in plan.Input, problem string, err error)
	destroy(ctx context.Context, policy, reason string, gentle bool) ([]daemon.Destroyed, error)
	adopt(ctx context.Context, a daemon.Adoption) (plan.Container, error)
	reload() error
	// read calls fn with the ledger, or returns ledger.ErrNotExist; change makes
	// the ledger where there is none.
	read(fn func(*ledger.Ledger) error) error
	change(fn func(*ledger.Ledger) error) error
}

// Options of an Office.
type Options struct {
	Clock       clock.Clock
	Credentials *credentials.Store
	PauseFile   string // stops all writes while it exists; "" is none
}

// Office is the Desk in process.
type Office struct {
	b backend
	o Options
}

// Status implements Desk.
func (f *Office) Status(_ context.Context, _ StatusRequest) (Status, error) {
	s, err := f.b.status()
	if err != nil {
		return Status{}, faultOf(err)
	}
	out := Status{Running: f.b.running(), Status: s}
	out.Config = absolute(s.Config)
	if _, err := os.Stat(f.o.PauseFile); err == nil {
		out.PauseFile = absolute(f.o.PauseFile)
	}
	return out, nil
}

// absolute is a path that means the same to the asker, wherever they stand.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// Plan implements Desk.
func (f *Office) Plan(ctx context.Context, r PlanRequest) (Plan, error) {
	c, err := f.file(r)
	if err != nil {
		return Plan{}, err
	}
	p, _, err := f.plan(ctx, c, r.Fresh)
	return p, err
}

// file is the configuration that a request is about.
func (f *Office) file(r PlanRequest) (daemon.Config, error) {
	if r.Path == "" && r.File == nil {
		return f.b.config(), nil
	}
	return readFile(r)
}

func readFile(r PlanRequest) (daemon.Config, error) {
	c, problems, err := daemon.ReadSent(r.Path, r.File)
	if err == nil {
		return c, nil
	}
	lines := []string{r.Path + ": " + err.Error()}
	for _, p := range problems {
		if p.Severity == policy.SeverityError {
			lines = append(lines, p.String())
		}
	}
	return c, &Fault{Class: Usage, Message: strings.Join(lines, "\n")}
}

// plan is the plan under a configuration, and what it was made of.
func (f *Office) plan(ctx context.Context, c daemon.Config, fresh bool) (Plan, plan.Input, error) {
	a, err := f.b.plan(ctx, c, fresh)
	if err != nil {
		return Plan{}, plan.Input{}, faultOf(err)
	}
	return Plan{
		Mode: a.Mode, LookedAt: a.LookedAt, AgeSeconds: f.age(a.LookedAt), Problem: a.Problem,
		Actions: list(a.Plan.Actions), Holds: list(a.Plan.Holds), Drains: list(a.Plan.Drains), Policies: list(a.Plan.Standings),
		Before: a.Plan.Before, After: a.Plan.After, Verdicts: list(a.Questions), Questions: a.Plan.Questions,
		Shadows: a.Shadows,
	}, a.Input, nil
}

// age is in whole seconds, never negative: clocks jump.
func (f *Office) age(t time.Time) int64 {
	return max(0, int64(f.o.Clock.Now().Sub(t)/time.Second))
}

// list is a list that JSON writes as [] when it is empty.
func list[T any](l []T) []T {
	if l == nil {
		return []T{}
	}
	return l
}

// Explain implements Desk.
func (f *Office) Explain(ctx context.Context, r ExplainRequest) (Explanation, error) {
	c, err := f.file(r.PlanRequest)
	if err != nil {
		return Explanation{}, err
	}
	p, ok := c.Set.Find(r.Policy)
	if s, shadow := c.Set.FindShadow(r.Policy); shadow {
		return f.explainShadow(ctx, c, s, r)
	}
	if !ok {
		return Explanation{}, noSuchPolicy(r.Policy, daemon.KnownPolicies(&c, &plan.History{}))
	}
	all, in, err := f.plan(ctx, c, r.Fresh)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Plan: only(all, r.Policy), Policy: *p}
	if e.Machines, err = f.machines(r.Policy); err != nil {
		return Explanation{}, err
	}
	if e.Containers, err = f.containers(r.Policy); err != nil {
		return Explanation{}, err
	}
	target := p.GPUs()
	for _, s := range e.Policies {
		e.Funnel, target = s.Funnel, s.Target
	}
	if e.Funnel.Offers == 0 && e.Problem == "" {
		e.OneMore = true
		if e.Funnel, in, err = f.oneMore(ctx, c, r.Policy, target); err != nil {
			return Explanation{}, err
		}
	}
	e.tell(in, r.Offers)
	return e, f.wait(&e, in)
}

// explainShadow tells of a policy that is decided and never acted on.
func (f *Office) explainShadow(ctx context.Context, c daemon.Config, p *policy.Policy, r ExplainRequest) (Explanation, error) {
	all, in, err := f.plan(ctx, c, r.Fresh)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Plan: only(all, p.Name), Policy: *p, Shadow: true, Machines: []Machine{}}
	for _, s := range e.Shadows {
		e.beShadow(&s)
	}
	e.tell(in, r.Offers)
	h, err := f.history()
	for _, s := range h.Shadows {
		for _, m := range s.Machines {
			if s.Policy == p.Name {
				e.Machines = append(e.Machines, Machine{Machine: m, Burn: m.Burn(), AgeSeconds: f.age(m.OrderedAt)})
			}
		}
	}
	return e, err
}

// only leaves in a plan what concerns one policy, and the whole fleet.
func only(p Plan, name string) Plan {
	p.Actions = slices.DeleteFunc(p.Actions, func(a plan.Action) bool { return a.Policy != name })
	p.Holds = slices.DeleteFunc(p.Holds, func(h plan.Hold) bool { return h.Policy != name && h.Policy != "" })
	p.Drains = slices.DeleteFunc(p.Drains, func(s plan.Draining) bool { return s.Policy != name })
	p.Policies = slices.DeleteFunc(p.Policies, func(s plan.Standing) bool { return s.Policy != name })
	p.Shadows = slices.DeleteFunc(slices.Clone(p.Shadows), func(s plan.ShadowReport) bool { return s.Policy != name })
	return p
}

// oneMore is the funnel of a policy that needs no offers: of the same look, as if
// it wanted one machine more. Nothing is asked for it.
func (f *Office) oneMore(ctx context.Context, c daemon.Config, name string, target int) (plan.Funnel, plan.Input, error) {
	c.Set.Limits.MaxProbes = 0
	c.Set.Policies = slices.Clone(c.Set.Policies)
	for i := range c.Set.Policies {
		if p := &c.Set.Policies[i]; p.Name == name {
			p.Target, p.Demand.Fixed = target/max(p.Shape.GPUs, 1)+1, true
		}
	}
	more, in, err := f.plan(ctx, c, false)
	if err != nil {
		return plan.Funnel{}, in, err
	}
	for _, s := range more.Policies {
		if s.Policy == name {
			return s.Funnel, in, nil
		}
	}
	return plan.Funnel{}, in, nil
}

// Intents implements Desk.
func (f *Office) Intents(_ context.Context, r IntentsRequest) ([]plan.Intent, error) {
	return listed(f, func(l *ledger.Ledger) ([]plan.Intent, error) {
		return l.Intents(ledger.Filter{
			Policy: r.Policy, Kind: r.Action, State: r.State, Machine: r.Machine, Since: r.Since, Until: r.Until, OpenOnly: r.Open, Limit: r.Limit,
			Before: r.Before,
		})
	})
}

// question reads the ledger; one that does not exist is empty.
func (f *Office) question(fn func(*ledger.Ledger) error) error {
	if err := f.b.read(fn); err != nil && !errors.Is(err, ledger.ErrNotExist) {
		return faultOf(err)
	}
	return nil
}

// Intent implements Desk.
func (f *Office) Intent(_ context.Context, r IntentRequest) (plan.Intent, error) {
	var in plan.Intent
	err := f.b.read(func(l *ledger.Ledger) (err error) {
		in, err = l.Intent(r.ID)
		return err
	})
	if errors.Is(err, ledger.ErrNoSuchIntent) || errors.Is(err, ledger.ErrNotExist) {
		return in, &Fault{Class: NotFound, Message: fmt.Sprintf("the ledger has no intent %d (any more)", r.ID)}
	}
	return in, fail(err)
}

// fail is faultOf for errors that may be nil.
func fail(err error) error {
	if err == nil {
		return nil
	}
	return faultOf(err)
}

// Cycles implements Desk.
func (f *Office) Cycles(_ context.Context, r CyclesRequest) ([]ledger.ReportSummary, error) {
	var found []ledger.ReportSummary
	err := f.question(func(l *ledger.Ledger) error {
		to := r.By
		if !to.IsZero() {
			to = to.Add(1) // that very moment, too
		}
		return l.ReportsBefore(r.Before, to, r.Limit, func(s ledger.ReportSummary) error {
			found = append(found, s)
			return nil
		})
	})
	return list(found), err
}

// Cycle implements Desk.
func (f *Office) Cycle(_ context.Context, r CycleRequest) (plan.Report, error) {
	var found plan.Report
	err := f.b.read(func(l *ledger.Ledger) (err error) {
		if r.Cycle == 0 {
			found, err = lastReport(l)
		} else {
			found, err = l.Report(r.Cycle)
		}
		return err
	})
	if errors.Is(err, ledger.ErrNoSuchCycle) || errors.Is(err, ledger.ErrNotExist) {
		return found, &Fault{Class: NotFound, Message: "the ledger has no report of such a cycle (any more); \"tdscaler ledger cycles\" lists those it has"}
	}
	return found, fail(err)
}

// lastReport is the newest report, or ErrNoSuchCycle.
func lastReport(l *ledger.Ledger) (plan.Report, error) {
	newest := uint64(0)
	err := l.Reports(time.Time{}, time.Time{}, 1, func(s ledger.ReportSummary) error {
		newest = s.Cycle
		return nil
	})
	if err != nil {
		return plan.Report{}, err
	}
	return l.Report(newest)
}

// Machines implements Desk.
func (f *Office) Machines(_ context.Context, r MachinesRequest) ([]Machine, error) {
	if err := f.knows(r.Policy); err != nil {
		return nil, err
	}
	return f.machines(r.Policy)
}

func (f *Office) machines(policy string) ([]Machine, error) {
	out := []Machine{}
	h, err := f.history()
	if err != nil {
		return out, err
	}
	for i := range h.Machines {
		if m := &h.Machines[i]; policy == "" || policy == m.Policy {
			out = append(out, f.machine(m))
		}
	}
	slices.SortFunc(out, func(a, b Machine) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func (f *Office) machine(m *plan.Machine) Machine {
	return Machine{Machine: *m, Burn: m.Burn(), AgeSeconds: f.age(m.OrderedAt), PasswordFile: f.passwordFile(m.Name)}
}

func (f *Office) passwordFile(machine string) string {
	path := f.o.Credentials.Path(machine)
	if path == "" {
		return ""
	}
	return absolute(path)
}

// listed asks the ledger for a list.
func listed[T any](f *Office, ask func(*ledger.Ledger) ([]T, error)) ([]T, error) {
	var found []T
	err := f.question(func(l *ledger.Ledger) (err error) {
		found, err = ask(l)
		return err
	})
	return list(found), err
}

func (f *Office) history() (h plan.History, err error) {
	err = f.question(func(l *ledger.Ledger) (err error) {
		h, err = l.History()
		return err
	})
	return h, err
}

// knows refuses a policy that nobody has heard of: a slip of the pen must not
// look like success. "" is all policies.
func (f *Office) knows(name string) error {
	h, err := f.history()
	if err != nil || name == "" {
		return err
	}
	c := f.b.config()
	known := daemon.KnownPolicies(&c, &h)
	if slices.Contains(known, name) || slices.ContainsFunc(h.Pauses, func(p plan.Pause) bool { return p.Policy == name }) {
		return nil
	}
	return noSuchPolicy(name, known)
}

func noSuchPolicy(name string, known []string) *Fault {
	return &Fault{Class: NoSuchPolicy, Message: fmt.Sprintf("there is no policy %q", name), Word: name, Known: known}
}

// Verify implements Desk. Unlike other questions it wants a ledger.
func (f *Office) Verify(_ context.Context, _ VerifyRequest) (c ledger.Contents, err error) {
	err = f.b.read(func(l *ledger.Ledger) error {
		err := l.Verify()
		c = l.Contents()
		c.Path = absolute(c.Path)
		return err
	})
	return c, fail(err)
}

// Backup implements Desk.
func (f *Office) Backup(_ context.Context, r BackupRequest) (c ledger.Contents, err error) {
	if !filepath.IsAbs(r.Path) {
		return c, &Fault{Class: Usage, Message: fmt.Sprintf("the path of a backup must be absolute, not %q", r.Path)}
	}
	err = f.b.read(func(l *ledger.Ledger) (err error) {
		c, err = l.Backup(r.Path, r.Force)
		return err
	})
	return c, fail(err)
}

// Destroy implements Desk.
func (f *Office) Destroy(ctx context.Context, r DestroyRequest) (Destruction, error) {
	if err := f.knows(r.Policy); err != nil {
		return Destruction{}, err
	}
	done, err := f.b.destroy(ctx, r.Policy, cmp.Or(r.Reason, "destroyed by the operator"), !r.Now)
	if fault := fail(err); fault != nil && ClassOf(err) != Failed {
		return Destruction{}, fault
	}
	d := Destruction{Machines: list(done), Unconfirmed: []string{}}
	if err != nil {
		d.Problem = err.Error()
	}
	left, err := f.machines(r.Policy)
	for _, m := range left {
		d.Unconfirmed = append(d.Unconfirmed, m.Name)
	}
	if err == nil {
		err = f.unconfirmedContainers(r.Policy, &d)
	}
	return d, err
}

// Pause implements Desk.
func (f *Office) Pause(_ context.Context, r PauseRequest) ([]plan.Pause, error) {
	now := f.o.Clock.Now()
	if !r.Until.IsZero() && !r.Until.After(now) {
		return nil, &Fault{Class: Usage, Message: fmt.Sprintf("a pause until %s would be over already", r.Until.Format(time.RFC3339))}
	}
	if err := f.knows(r.Policy); err != nil {
		return nil, err
	}
	var h plan.History
	err := f.b.change(func(l *ledger.Ledger) (err error) {
		if err = daemon.SetPause(l, plan.Pause{Policy: r.Policy, Since: now, Until: r.Until, Reason: r.Reason}); err != nil {
			return err
		}
		h, err = l.History()
		return err
	})
	return list(h.Pauses), fail(err)
}

// Resume implements Desk.
func (f *Office) Resume(_ context.Context, r ResumeRequest) (Resumed, error) {
	var out Resumed
	if err := f.knows(r.Policy); err != nil {
		return out, err
	}
	h, err := f.history()
	if err != nil {
		return out, err
	}
	if len(h.Pauses)+len(h.Breakers) > 0 {
		err = f.b.change(func(l *ledger.Ledger) (err error) {
			if out.Pauses, out.Breakers, err = daemon.Resume(l, r.Policy); err != nil {
				return err
			}
			h, err = l.History()
			return err
		})
	}
	return Resumed{Pauses: list(out.Pauses), Breakers: list(out.Breakers), Left: list(h.Pauses)}, fail(err)
}

// Protect implements Desk.
func (f *Office) Protect(_ context.Context, r ProtectRequest) (Machine, error) {
	now := f.o.Clock.Now()
	if !r.Until.IsZero() && !r.Until.After(now) {
		return Machine{}, &Fault{Class: Usage, Message: fmt.Sprintf("a protection until %s would be over already", r.Until.Format(time.RFC3339))}
	}
	var shield *plan.Shield
	if !r.None {
		shield = &plan.Shield{Since: now.Round(0), Until: r.Until.Round(0), Reason: r.Reason}
	}
	h, err := f.history()
	if err != nil {
		return Machine{}, err
	}
	if h.Machine(r.Machine) == nil {
		return Machine{}, &Fault{Class: NotFound, Message: fmt.Sprintf("there is no machine %q; \"tdscaler machines\" lists those there are", r.Machine)}
	}
	err = f.b.change(func(l *ledger.Ledger) error { return daemon.SetShield(l, r.Machine, shield) })
	if err != nil {
		return Machine{}, faultOf(err)
	}
	if h, err = f.history(); err != nil {
		return Machine{}, err
	}
	if m := h.Machine(r.Machine); m != nil {
		return f.machine(m), nil
	}
	return Machine{}, &Fault{Class: NotFound, Message: r.Machine + " has just gone"}
}

// Reload implements Desk.
func (f *Office) Reload(_ context.Context, _ ReloadRequest) (Reloaded, error) {
	if err := f.b.reload(); err != nil {
		return Reloaded{}, faultOf(err)
	}
	c := f.b.config()
	return Reloaded{Config: absolute(c.Path), Hash: c.Hash()}, nil
}
