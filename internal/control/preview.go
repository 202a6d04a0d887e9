package control

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Preview is what the market would make of a file that nothing runs under yet.
type Preview struct {
	LookedAt time.Time       `json:"looked_at"`
	Problem  string          `json:"problem,omitempty"` // what of the market could not be read
	Policies []PolicyPreview `json:"policies"`
}

// PolicyPreview is one policy of it.
type PolicyPreview struct {
	Policy   string          `json:"policy"`
	Capacity market.Capacity `json:"capacity"`
	Target   int             `json:"target_gpus"`
	Headline string          `json:"headline"`
	// Buys would be ordered at once, on demand; Asks are the offers whose bids would be asked
	// about first, at best at their price.
	Buys        []plan.Action     `json:"buys"`
	Asks        []plan.Listing    `json:"asks"`
	Funnel      plan.Funnel       `json:"funnel"`
	FunnelSteps []plan.FunnelStep `json:"funnel_steps"`
	FunnelText  string            `json:"funnel_text"`
	// Counterfactuals are what would bring the GPUs that would be missing.
	Counterfactuals []plan.Counterfactual `json:"counterfactuals"`
}

// PreviewOf plans every policy of a file on a look at the market as if nothing ran yet:
// with no machines, no money spent, and a balance that suffices. Nothing is asked.
func PreviewOf(in plan.Input, problem string, shadows []policy.Policy) Preview {
	in.Snapshot.Instances.Complete, in.History = true, plan.History{}
	in.Snapshot.Balance = market.Section[market.Balance]{}
	in.Budget.MinBalance, in.Budget.MinRunway = market.Maybe[market.Amount]{}, 0
	// All that is wanted, not what one cycle may do.
	in.Limits.MaxActions, in.Limits.MaxProbes = math.MaxInt32, math.MaxInt32
	v := Preview{LookedAt: in.Now, Problem: problem, Policies: []PolicyPreview{}}
	p := plan.Compute(in)
	for _, s := range p.Standings {
		v.Policies = append(v.Policies, previewOf(&in, &p, &s))
	}
	for _, s := range shadows { // each alone: they take nothing from each other
		alone := in
		alone.Policies = []policy.Policy{s}
		alone.HourlyCap = (&policy.Set{Budget: in.Budget, Policies: alone.Policies}).HourlyCap()
		p := plan.Compute(alone)
		v.Policies = append(v.Policies, previewOf(&alone, &p, &p.Standings[0]))
	}
	slices.SortStableFunc(v.Policies, func(a, b PolicyPreview) int { return cmp.Compare(a.Policy, b.Policy) })
	return v
}

func previewOf(in *plan.Input, p *plan.Plan, s *plan.Standing) PolicyPreview {
	i := slices.IndexFunc(in.Policies, func(o policy.Policy) bool { return o.Name == s.Policy })
	o := in.Policies[i]
	v := PolicyPreview{
		Policy: s.Policy, Capacity: o.Capacity, Target: s.Target, Buys: []plan.Action{}, Asks: []plan.Listing{}, Funnel: s.Funnel,
		FunnelSteps: list(s.Funnel.Steps()), FunnelText: s.Funnel.Sentence(o.Capacity, 0), Counterfactuals: list(plan.Counterfactuals(*in, s.Policy)),
	}
	for _, a := range p.Actions {
		if a.Policy == s.Policy {
			v.Buys = append(v.Buys, a)
		}
	}
	if s.Funnel.Offers > 0 && o.Buys(market.Spot) {
		alone := *in
		alone.Policies = []policy.Policy{o} // whose questions they are
		p := plan.Compute(alone)
		v.Asks = asks(&p, plan.List(alone, o))
	}
	gpus := v.gpus(&o)
	switch {
	case s.Target == 0:
		v.Headline = "wants nothing now"
	case gpus >= s.Target && len(v.Asks) > 0:
		v.Headline = "bids for all of it would be asked about; whether one wins is not asked here"
	case gpus >= s.Target:
		v.Headline = "all of it would be bought now"
	default:
		v.Headline = s.Headline(nil, p.Holds)
	}
	return v
}

// asks are the offers that a plan asks about, the best first.
func asks(p *plan.Plan, all []plan.Listing) []plan.Listing {
	out := []plan.Listing{}
	for _, l := range all {
		q := func(q market.Question) bool { return q.Host == l.Host && q.Model == l.Model && q.Shape == l.Shape }
		if l.In && slices.ContainsFunc(p.Questions, q) {
			out = append(out, l)
		}
	}
	return out
}

// gpus is how many would be bought, or asked about.
func (v *PolicyPreview) gpus(p *policy.Policy) (n int) {
	for i := range v.Buys {
		n += v.Buys[i].Shape.GPUs * max(v.Buys[i].Replicas, 1)
	}
	for i := range v.Asks {
		n += v.Asks[i].Fits * p.Shape.GPUs
	}
	return n
}
