package web

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

type policyPage struct {
	Policy     policy.Policy
	Standing   *plan.Standing
	State      string
	Mood       mark
	Bar        picture
	Shadow     bool
	Wanted     string
	Target     *demand.Outcome
	Machines   []control.Machine
	Containers []control.Container
	Holds      []plan.Hold
	Actions    []plan.Action // planned in the last cycle
	Verdicts   []market.Verdict
	Funnel     []sieve
	Offers     []plan.Listing // the best, in and out
	Left       int
	LookedAt   time.Time
	Problem    string
	Depth      figure
	DepthRows  []depthRow
	Intents    []plan.Intent
	Run        []step
	Timeline   string
	Ceiling    market.Rate
	Helps      []plan.Counterfactual // where it lacks GPUs
	Explain    string                // the command that says more
}

func (p policyPage) title() string { return "Policy " + p.Policy.Name }

// depthRow is one step of a depth curve.
type depthRow struct {
	Price market.Rate
	GPUs  int // at up to this price
	Under bool
}

// bestOffers is how many offers the page of a policy shows.
const bestOffers = 25

func (s *site) policy(v *visitor) (any, error) {
	name := v.PathValue("name")
	r, err := s.book.report(v.ctx, v.status.Cycle)
	if err != nil {
		return nil, err
	}
	p := policyPage{Timeline: timelineOf(name), State: "not decided yet", Mood: caution}
	if err := s.have(v, name, &p); err != nil {
		return nil, err
	}
	p.decided(&v.status, r, name)
	if err := s.offers(v, name, &p); err != nil {
		return nil, err
	}
	if p.Helps, err = s.helps(v, r, name); err != nil {
		return nil, err
	}
	p.Explain = command(v.status, "explain", name)
	p.Wanted, p.Ceiling = wanted(&p.Policy), p.Policy.Ceiling()
	p.Run = []step{
		{"Why each offer is in or out, from a fresh look", command(v.status, "explain", name)},
		{"Another target for two hours", command(v.status, "target", "set", name, fmt.Sprint(p.Policy.GPUs()), "--for", "2h")},
		{"No writes for this policy", command(v.status, "pause", name)},
		{"Delete its machines, and end their bills", command(v.status, "destroy", name, "--yes")},
	}
	return p, nil
}

// helps is what would bring a policy the GPUs that it lacks: the planner on the last look,
// with one condition changed at a time, once a cycle whoever asks.
func (s *site) helps(v *visitor, r *plan.Report, name string) ([]plan.Counterfactual, error) {
	return oncePerCycle(v.ctx, s.o.shared, fmt.Sprintf("helps %d %s", r.Cycle, name), func(context.Context) ([]plan.Counterfactual, error) {
		return plan.Counterfactuals(r.Input, name), nil
	})
}

// have is what the policy has, and what it wants.
func (s *site) have(v *visitor, name string, p *policyPage) (err error) {
	if p.Machines, err = s.o.Desk.Machines(v.ctx, control.MachinesRequest{Policy: name}); err != nil {
		return err
	}
	if p.Containers, err = s.o.Desk.Containers(v.ctx, control.MachinesRequest{Policy: name}); err != nil {
		return err
	}
	if p.Intents, err = s.o.Desk.Intents(v.ctx, control.IntentsRequest{Policy: name, Limit: 10}); err != nil {
		return err
	}
	targets, err := s.o.Desk.Targets(v.ctx, control.TargetsRequest{Policy: name})
	p.Target = demand.Find(targets, name)
	return err
}

// decided is what the last cycle made of the policy.
func (p *policyPage) decided(s *control.Status, r *plan.Report, name string) {
	for i := range s.Policies {
		if st := &s.Policies[i]; st.Policy == name {
			p.Standing, p.Bar = st, fleetBar(st)
			p.State, p.Mood = standingWord(st)
		}
	}
	for i := range s.Shadows {
		if sh := &s.Shadows[i]; sh.Policy == name {
			p.Shadow, p.Standing, p.Bar, p.Holds, p.Actions = true, &sh.Standing, fleetBar(&sh.Standing), sh.Holds, sh.Actions
			p.State, p.Mood = "shadow: decided, and never done", calm
		}
	}
	for _, h := range s.Holds {
		if h.Policy == name || h.Policy == "" {
			p.Holds = append(p.Holds, h)
		}
	}
	for _, a := range r.Plan.Actions {
		if a.Policy == name {
			p.Actions = append(p.Actions, a)
		}
	}
	if of := policyOf(r, name); of != nil {
		match := policy.NewMatcher(of.Match)
		for _, q := range r.Input.Verdicts {
			if _, ok := match.Model(q.Question.Model); ok && q.Question.Shape.GPUs == of.Shape.GPUs {
				p.Verdicts = append(p.Verdicts, q)
			}
		}
	}
	p.Verdicts = p.Verdicts[:min(len(p.Verdicts), 20)]
}

// offers sifts what the last look showed; before the first there is nothing.
func (s *site) offers(v *visitor, name string, p *policyPage) error {
	if v.status.Cycle == 0 && v.status.Running {
		p.Policy.Name = name
		p.Problem = "the market has not been looked at yet"
		return nil
	}
	m, err := s.o.Desk.Market(v.ctx, control.MarketRequest{Policy: name})
	if err != nil {
		return err
	}
	p.Policy, p.LookedAt, p.Problem = m.Policy, m.LookedAt, m.Problem
	p.Funnel, p.Left = funnel(m.Offers)
	p.Depth, p.DepthRows = depthOf("depth", name, &m)
	p.Offers = slices.DeleteFunc(slices.Clone(m.Offers), func(l plan.Listing) bool { return !l.In && l.Reason.Code != plan.OfferCeiling })
	p.Offers = p.Offers[:min(len(p.Offers), bestOffers)]
	return nil
}

// funnel counts the offers that each condition took, in the order of the checks.
func funnel(all []plan.Listing) (out []sieve, left int) {
	lost := map[string]int{}
	for i := range all {
		lost[all[i].Reason.Code]++
	}
	left = len(all)
	out = []sieve{{Label: plural(left, "offer") + " on the market", Left: left, Bar: sieveBar(left, 0, left)}}
	for _, c := range []struct{ code, label, why string }{
		{plan.OfferKind, "of the kind that it buys", "are of another kind"},
		{plan.OfferModel, "of a wanted GPU", "are other GPUs"},
		{plan.OfferPlace, "in a wanted place", "stand elsewhere"},
		{plan.OfferOffline, "online and listed", "are offline, unlisted or reserved"},
		{plan.OfferUptime, "with enough uptime", "have too little uptime"},
		{plan.OfferCapacity, "with enough GPUs free", "have too few GPUs free"},
		{plan.OfferSpread, "where spread allows another", "are left out by spread"},
		{plan.OfferShape, "that fit the shape", "do not fit the shape"},
		{plan.OfferNoPrice, "with a price", "have no price"},
		{plan.OfferCeiling, "under the ceiling", "are above the ceiling"},
		{plan.OfferBackoff, "that did not fail lately", "failed lately"},
		{plan.OfferFickle, "that take orders", "took no order at bids they had said win"},
		{plan.OfferRefused, "where a bid can win", "refused every bid"},
		{plan.OfferSibling, "that displace none of ours", "would need a bid above that of a machine of ours there"},
	} {
		n := lost[c.code]
		if n == 0 {
			continue
		}
		left -= n
		out = append(out, sieve{Label: c.label, Left: left, Lost: n, Why: c.why, Bar: sieveBar(left, n, len(all))})
	}
	return out, left
}

// depthOf is how many GPUs of the wanted kind there are up to which price.
func depthOf(id, name string, m *control.Market) (figure, []depthRow) {
	type step struct {
		price market.Rate
		gpus  int
	}
	var steps []step
	for i := range m.Offers {
		l := &m.Offers[i]
		price, known := l.PerGPU.Get()
		if !known || !l.In && l.Reason.Code != plan.OfferCeiling {
			continue
		}
		if n := max(l.Fits*l.Shape.GPUs, l.Free/max(l.Shape.GPUs, 1)*l.Shape.GPUs); n > 0 {
			steps = append(steps, step{price, n})
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Compare(a.price, b.price) })
	ceiling := m.Policy.MaxGPUHour
	d := depth{ID: id, Title: "Depth of the market for " + name, Ceiling: ceiling.Float(), Unit: dollars}
	var rows []depthRow
	sum, under := 0, 0
	for _, s := range steps {
		sum += s.gpus
		if s.price <= ceiling {
			under = sum
		}
		if n := len(rows); n > 0 && rows[n-1].Price == s.price {
			rows[n-1].GPUs, d.N[n-1] = sum, d.N[n-1]+s.gpus
			continue
		}
		d.X, d.N = append(d.X, s.price.Float()), append(d.N, s.gpus)
		rows = append(rows, depthRow{s.price, sum, s.price <= ceiling})
	}
	d.Desc = fmt.Sprintf("GPUs that could be had at up to each price, per GPU-hour all-in: %d under the ceiling of %s, %d in all.", under, dollars(ceiling.Float()), sum)
	return d.figure(), rows
}
