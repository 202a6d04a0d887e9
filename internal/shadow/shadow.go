package shadow

import (
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// World is what a shadow lives beside: the configuration, this cycle's look, and what
// is on record after it.
type World struct {
	Set      *policy.Set
	Look     plan.Look
	Interval time.Duration    // longest time to the next look
	History  *plan.History    // the real books; read only
	Verdicts []market.Verdict // what the real policies were answered in this cycle
	Cycle    uint64
}

// Step takes a shadow from its last look to this one and lets its policy decide. It
// returns the shadow as it is then, what there is to tell, and an intent, settled and
// without an id, for everything that would have been done. s is the zero Shadow at
// first.
func Step(w World, p policy.Policy, s plan.Shadow) (plan.Shadow, plan.ShadowReport, []plan.Intent) {
	w.Look.Now = w.Look.Now.Round(0)
	p.Ready, p.OnReady, p.Drain = policy.Ready{}, policy.Hook{}, policy.Drain{} // what does not exist is not probed, and nobody is asked
	t := turn{World: w, p: p, s: s, h: books(w.History, &s)}
	t.market = newMarket(&w, t.h.Machines)
	if t.s.Since.IsZero() {
		t.s.Policy, t.s.Since = p.Name, w.Look.Now
	}
	t.observe()
	pl := t.decide()
	done := t.act(pl.Actions)
	t.keep()
	return t.s, t.report(&pl), done
}

// turn is one step of one shadow.
type turn struct {
	World
	p      policy.Policy
	s      plan.Shadow
	h      plan.History // its own
	market *virtual
	in     plan.Input // of its last decision
}

// books are a shadow's: its own machines and money, and what everybody knows of the
// market. Nothing in it is shared.
func books(real *plan.History, s *plan.Shadow) plan.History {
	h := plan.History{
		Machines: plan.CloneMachines(s.Machines), Spend: slices.Clone(s.Spend), Totals: slices.Clone(s.Totals), Scaled: slices.Clone(s.Scaled),
		Churn: slices.Clone(s.Churn), Short: slices.Clone(s.Short), Settling: slices.Clone(s.Settling), Progress: slices.Clone(s.Progress), Brackets: slices.Clone(s.Brackets),
		Backoffs: slices.Clone(real.Backoffs), Clock: s.Clock, LookedAt: s.LookedAt,
		Pauses: slices.Clone(real.Pauses), Breakers: slices.Clone(real.Breakers), Hosts: slices.Clone(real.Hosts), Rises: slices.Clone(real.Rises),
		Levels: slices.Clone(real.Levels), RebidApplies: real.RebidApplies,
		// Its machines cannot be asked about: it shades by what newcomers are told.
		AskApplies: market.Some(plan.Lesson{Holds: true, At: s.Since}),
	}
	if !h.RebidApplies.Known() {
		h.RebidApplies = market.Some(plan.Lesson{Holds: true, At: s.Since})
	}
	if s.Since.IsZero() {
		h.Brackets = slices.Clone(real.Brackets)
	}
	for _, b := range s.Backoffs {
		if !slices.ContainsFunc(h.Backoffs, func(o plan.Backoff) bool { return o.Host == b.Host && o.Model == b.Model && o.GPUs == b.GPUs }) {
			h.Backoffs = append(h.Backoffs, b)
		}
	}
	return h
}

// observe books what the virtual market shows now.
func (t *turn) observe() {
	was := t.ready()
	looked := t.h.LookedAt
	l := t.Look
	l.Policies, l.Strange, l.Watched = []policy.Policy{t.p}, nil, time.Time{}
	l.Snapshot, t.s.Missing = t.market.look(&t.World, t.s.Missing)
	for _, e := range plan.Observe(&t.h, l) {
		if e.Kind == plan.EventLost || e.Kind == plan.EventOutbid {
			t.s.Losses++
		}
	}
	t.Look.Snapshot = l.Snapshot
	if span := t.h.LookedAt.Sub(looked); !looked.IsZero() && span > 0 {
		t.s.Up += span
		t.s.Delivered += span * time.Duration(min(was, t.ready(), t.s.Target))
		t.s.Wanted += span * time.Duration(t.s.Target)
	}
}

// ready is how many GPUs its machines deliver.
func (t *turn) ready() (gpus int) {
	for i := range t.h.Machines {
		if m := &t.h.Machines[i]; m.Ready() {
			gpus += m.Shape.GPUs
		}
	}
	return gpus
}

// decide plans as a daemon does that has this policy alone. What it asks is answered
// by the virtual market.
func (t *turn) decide() plan.Plan {
	alone := policy.Set{Budget: t.Set.Budget, Policies: []policy.Policy{t.p}}
	// The account is not its own: what is in it says nothing.
	alone.Budget.MinBalance, alone.Budget.MinRunway, alone.Budget.Scope = market.Maybe[market.Amount]{}, 0, policy.ScopeOwner
	t.in = plan.Input{
		Now: t.Look.Now, Owner: t.Look.Owner, Interval: t.Interval, Policies: alone.Policies, Budget: alone.Budget, HourlyCap: alone.HourlyCap(),
		Limits: t.Set.Limits, Safety: t.Set.Safety, Snapshot: t.Look.Snapshot, History: t.h, Verdicts: slices.Clone(t.Verdicts),
		Demand: t.Look.Demand.Outcomes,
	}
	for {
		p := plan.Compute(t.in)
		if len(p.Questions) == 0 {
			return p
		}
		for _, q := range p.Questions {
			if t.in.Limits.MaxProbes > 0 {
				t.in.Limits.MaxProbes--
				t.in.Verdicts = append(t.in.Verdicts, t.market.answer(q, t.Look.Now))
			}
		}
	}
}

// act books what would have been done, as if the market had said yes to all that wins.
func (t *turn) act(actions []plan.Action) (done []plan.Intent) {
	for _, a := range actions {
		if a.AskOnly {
			continue
		}
		t.s.Given++
		name := a.Machine
		if a.Kind == plan.Deploy {
			name = market.MachineName{Owner: t.Look.Owner, Policy: t.p.Name, Key: fmt.Sprintf("s%07d", t.s.Given%1e7)}.String()
		}
		in, err := plan.Begin(&t.h, a, t.in.CapsFor(t.p.Name), t.s.Given, t.Cycle, name, t.Look.Now)
		if err != nil {
			continue // a cap or a machine that is not there any more: the next look plans anew
		}
		t.answer(&in, &a)
		in.ID, in.State, in.SettledAt = 0, plan.IntentShadow, t.Look.Now
		done = append(done, in)
	}
	return done
}

func (t *turn) answer(in *plan.Intent, a *plan.Action) {
	wins, _ := t.market.wins(a.Host, a.Model, a.Shape)
	if a.Kind == plan.Deploy && a.Capacity == market.Spot && a.Bid < wins {
		plan.Refuse(&t.h, t.Set.Safety, in, market.ClassBidRefused, "would be refused: "+wins.String()+" wins", t.Look.Now)
		return
	}
	if a.Kind == plan.Deploy {
		t.s.Starts++
	}
	plan.Accept(&t.h, in, market.Deployed{ID: in.Machine, Storage: market.Some(a.Storage), Total: market.Some(a.Rate)}, t.Look.Now)
}

// keep takes over what lasts until the next look.
func (t *turn) keep() {
	if hosts := &t.Look.Snapshot.Hosts; hosts.Complete {
		plan.Learn(&t.h, t.Set.Safety, hosts.Value, t.in.Verdicts, t.Look.Now)
	}
	h, s := &t.h, &t.s
	s.Machines, s.Spend, s.Totals, s.Scaled, s.Short = h.Machines, h.Spend, h.Totals, h.Scaled, h.Short
	s.Settling, s.Progress, s.Brackets, s.Backoffs = h.Settling, h.Progress, h.Brackets, h.Backoffs
	s.Churn, s.Clock, s.LookedAt = h.Churn, h.Clock, h.LookedAt
}

func (t *turn) report(p *plan.Plan) plan.ShadowReport {
	r := plan.ShadowReport{
		Policy: t.p.Name, Since: t.s.Since, Actions: p.Actions, Holds: p.Holds, Rate: t.h.Reserved(),
		Delivered: t.s.Delivered, Wanted: t.s.Wanted, Starts: t.s.Starts, Losses: t.s.Losses, Asked: t.market.asked, Assumed: t.market.assumed,
		Cost: t.h.Spent(t.p.Name, t.Look.Now).Total,
	}
	for i := range p.Standings {
		r.Standing = p.Standings[i]
	}
	t.s.Target = r.Standing.Target
	return r
}
