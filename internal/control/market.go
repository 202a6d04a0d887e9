package control

import (
	"cmp"
	"context"
	"time"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// MarketRequest asks for the offers of the market, as a policy of a file sees them,
// or with "" as anybody does who buys a machine of Shape on demand.
type MarketRequest struct {
	PlanRequest
	Policy    string       `json:"policy,omitempty"`
	Shape     market.Shape `json:"shape,omitzero"`       // without a policy; what is 0 is the usual
	Models    []string     `json:"gpu_models,omitempty"` // only of these, with * and ?
	Countries []string     `json:"countries,omitempty"`  // only in these
}

// Market is what there is to buy.
type Market struct {
	LookedAt   time.Time     `json:"looked_at"`
	AgeSeconds int64         `json:"age_seconds"`
	Problem    string        `json:"problem,omitempty"` // what of the market could not be read
	Policy     policy.Policy `json:"policy"`
	// Offers are those that could be bought first, by what the planner compares.
	Offers []plan.Listing `json:"offers"`
}

// Market implements Desk.
func (f *Office) Market(ctx context.Context, r MarketRequest) (Market, error) {
	c, err := f.file(r.PlanRequest)
	if err != nil {
		return Market{}, err
	}
	p, err := buyer(&c, r)
	if err != nil {
		return Market{}, err
	}
	in, problem, err := f.b.look(ctx, c, r.Fresh)
	if err != nil {
		return Market{}, faultOf(err)
	}
	m := Market{LookedAt: in.Now, AgeSeconds: f.age(in.Now), Problem: problem, Policy: p, Offers: []plan.Listing{}}
	only := policy.NewMatcher(policy.Match{GPUModels: r.Models, Countries: r.Countries})
	for _, l := range plan.List(in, p) {
		if _, ok := only.Model(l.Model); ok && only.Place(l.Location) {
			m.Offers = append(m.Offers, l)
		}
	}
	return m, nil
}

// buyer is the policy that the market is looked at for.
func buyer(c *daemon.Config, r MarketRequest) (policy.Policy, error) {
	if r.Policy == "" {
		return anybody(r.Shape), nil
	}
	p, ok := c.Set.Find(r.Policy)
	if !ok {
		return policy.Policy{}, noSuchPolicy(r.Policy, daemon.KnownPolicies(c, &plan.History{}))
	}
	return *p, nil
}

// anybody is a policy that takes every offer on demand, whatever it costs.
func anybody(s market.Shape) policy.Policy {
	return policy.Policy{Kind: policy.VM, Capacity: market.OnDemand, Target: 1, MaxGPUHour: market.MaxRate, Shape: filled(s)}
}

// filled is a shape with the usual in the place of what is not said.
func filled(s market.Shape) market.Shape {
	usual := policy.UsualShape(max(s.GPUs, 1))
	return market.Shape{
		GPUs: usual.GPUs, VCPUs: cmp.Or(s.VCPUs, usual.VCPUs), RAM: cmp.Or(s.RAM, usual.RAM), Storage: cmp.Or(s.Storage, usual.Storage),
	}
}
