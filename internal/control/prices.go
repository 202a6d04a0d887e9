package control

import (
	"context"
	"time"

	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/prices"
)

// PricesRequest asks what is on record of prices, for a machine of a policy of the
// file, or with "" of Shape.
type PricesRequest struct {
	PlanRequest
	Policy    string       `json:"policy,omitempty"`
	Shape     market.Shape `json:"shape,omitzero"` // without a policy; what is 0 is the usual
	Models    []string     `json:"gpu_models,omitempty"`
	Countries []string     `json:"countries,omitempty"`
	Since     time.Time    `json:"since"`
	Steps     int          `json:"steps,omitempty"` // points of each trend
}

// maxSteps bounds the points of a trend.
const maxSteps = 2000

// Prices is what is on record of prices between two times.
type Prices struct {
	Since  time.Time      `json:"since"`
	Until  time.Time      `json:"until"`
	Shape  market.Shape   `json:"shape"`
	Groups []prices.Group `json:"groups"`
}

// Prices implements Desk.
func (f *Office) Prices(_ context.Context, r PricesRequest) (Prices, error) {
	c, err := f.file(r.PlanRequest)
	if err != nil {
		return Prices{}, err
	}
	p, err := buyer(&c, MarketRequest{Policy: r.Policy, Shape: r.Shape})
	if err != nil {
		return Prices{}, err
	}
	now := f.o.Clock.Now()
	if r.Steps < 0 || r.Steps > maxSteps || !r.Since.Before(now) {
		return Prices{}, &Fault{Class: Usage, Message: "prices: the time must have begun, and be told in at most 2000 steps"}
	}
	own, only := policy.NewMatcher(p.Match), policy.NewMatcher(policy.Match{GPUModels: r.Models, Countries: r.Countries})
	q := prices.Query{Shape: p.Shape, Since: r.Since, Until: now, Steps: r.Steps, Wants: func(m market.GPUModel, l market.Location) bool {
		_, ok1 := own.Model(m)
		_, ok2 := only.Model(m)
		return ok1 && ok2 && own.Place(l) && only.Place(l)
	}}
	var all []plan.Series
	err = f.question(func(l *ledger.Ledger) error {
		return l.EachSeries(func(s plan.Series) error {
			all = append(all, s)
			return nil
		})
	})
	return Prices{Since: q.Since, Until: q.Until, Shape: p.Shape, Groups: prices.Sum(q, all)}, err
}
