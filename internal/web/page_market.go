package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/prices"
)

type marketPage struct {
	Model, Country, Span string
	Models, Countries    []choice
	Spans                []choice
	Charts               []priceChart
	More                 int // models that are not drawn
	Groups               []prices.Group
	MoreGroups           int
	Depths               []depthChart
	Since                time.Time
	Shape                market.Shape
}

// priceChart is the history of one GPU model.
type priceChart struct {
	Figure figure
	Model  market.GPUModel
	Rows   []priceRow
}

// priceRow is one point of it, for those who read.
type priceRow struct {
	At       time.Time
	OnDemand market.Maybe[market.Rate]
	Ours     market.Maybe[market.Rate] // the highest of ours
}

// depthChart is the depth under the ceiling of one policy.
type depthChart struct {
	Policy string
	Figure figure
	Rows   []depthRow
}

const (
	mostModels = 6
	mostGroups = 60
	mostDepths = 6
	// pricePoints are the points of a price history.
	pricePoints = 168
)

func marketSpans() []choice {
	return []choice{{"24h", "24 hours", false}, {"72h", "3 days", false}, {"168h", "7 days", false}, {"720h", "30 days", false}}
}

func (s *site) market(v *visitor) (any, error) {
	q := v.URL.Query()
	m := marketPage{Model: q.Get("model"), Country: q.Get("country"), Span: cmp.Or(q.Get("span"), "72h")}
	span, err := time.ParseDuration(m.Span)
	if err != nil || span < time.Hour || span > 366*24*time.Hour {
		return nil, &control.Fault{Class: control.Usage, Message: "the span is a time such as 72h, an hour at least"}
	}
	m.Spans, m.Since = chosen(marketSpans(), m.Span), v.now.Add(-span)
	all, err := s.o.Desk.Prices(v.ctx, control.PricesRequest{Since: m.Since, Steps: pricePoints})
	if err != nil {
		return nil, err
	}
	m.Shape = all.Shape
	m.choices(all.Groups)
	m.Groups = slices.DeleteFunc(slices.Clone(all.Groups), func(g prices.Group) bool {
		return m.Model != "" && string(g.Model) != m.Model || m.Country != "" && g.Country != m.Country
	})
	intents, err := s.o.Desk.Intents(v.ctx, control.IntentsRequest{Limit: 3000})
	if err != nil {
		return nil, err
	}
	m.histories(v, intents)
	if n := len(m.Groups); n > mostGroups {
		m.Groups, m.MoreGroups = m.Groups[:mostGroups], n-mostGroups
	}
	return m, s.depths(v, &m)
}

// choices are the models and countries there are.
func (m *marketPage) choices(groups []prices.Group) {
	models, countries := map[string]bool{}, map[string]bool{}
	for _, g := range groups {
		models[string(g.Model)], countries[g.Country] = true, true
	}
	m.Models, m.Countries = named(models, m.Model), named(countries, m.Country)
}

func named(all map[string]bool, value string) []choice {
	out := []choice{}
	for name := range all {
		if name != "" {
			out = append(out, choice{name, name, name == value})
		}
	}
	slices.SortFunc(out, func(a, b choice) int { return cmp.Compare(a.Value, b.Value) })
	return out
}

// histories draws the models: those first that we bid for, and then those with most offers.
func (m *marketPage) histories(v *visitor, intents []plan.Intent) {
	by := map[market.GPUModel][]prices.Group{}
	for _, g := range m.Groups {
		by[g.Model] = append(by[g.Model], g)
	}
	weight := func(model market.GPUModel) (n int) {
		for _, g := range by[model] {
			n += g.Offers + 100*(g.Asked+g.Ran)
		}
		return n
	}
	models := make([]market.GPUModel, 0, len(by))
	for model := range by {
		models = append(models, model)
	}
	slices.SortFunc(models, func(a, b market.GPUModel) int { return cmp.Or(cmp.Compare(weight(b), weight(a)), cmp.Compare(a, b)) })
	if n := len(models); n > mostModels {
		models, m.More = models[:mostModels], n-mostModels
	}
	for i, model := range models {
		m.Charts = append(m.Charts, history(v, m.Since, i, model, by[model], intents))
	}
}

// history is one model: the lowest price on demand, our bids as steps, and the lowest bid
// that won.
func history(v *visitor, since time.Time, i int, model market.GPUModel, groups []prices.Group, intents []plan.Intent) priceChart {
	list := series{Name: "on demand, the cheapest", Class: "s2"}
	floor := market.MaxRate
	step := v.now.Sub(since) / pricePoints
	for n := range pricePoints {
		low := market.MaxRate
		for _, g := range groups {
			if n < len(g.Trend) {
				low = min(low, g.Trend[n].Or(market.MaxRate))
			}
		}
		list.add(since.Add(step*time.Duration(n)), float(low))
	}
	for _, g := range groups {
		floor = min(floor, g.Accepted.Or(market.MaxRate))
	}
	list.trim()
	if len(list.At) > 0 {
		since = list.At[0]
	}
	p := plot{ID: fmt.Sprintf("model-%d", i), Title: string(model), From: since, To: v.now, Unit: dollars, Slices: 48, Lines: []series{list}}
	p.Lines = append(p.Lines, ours(since, v.now, model, intents)...)
	if floor < market.MaxRate {
		p.Levels = append(p.Levels, level{"lowest bid that won", floor.Float(), "s3"})
	}
	c := priceChart{Model: model}
	if !slices.ContainsFunc(list.V, func(v float64) bool { return !math.IsNaN(v) }) && len(p.Lines) == 1 {
		p.Lines = nil
	}
	p.Desc = fmt.Sprintf("Price per GPU-hour of %s, all-in: the cheapest on demand, and what our machines pay.", model)
	for n := range 12 {
		at := since.Add(v.now.Sub(since) * time.Duration(n+1) / 12).Add(-time.Second)
		row := priceRow{At: at, OnDemand: rateOf(list.value(at))}
		top := math.NaN()
		for j := 1; j < len(p.Lines); j++ {
			if x := p.Lines[j].value(at); math.IsNaN(top) || x > top {
				top = x
			}
		}
		row.Ours = rateOf(top)
		c.Rows = append(c.Rows, row)
	}
	c.Figure = p.figure()
	return c
}

// trim drops the points before the first value.
func (l *series) trim() {
	first := slices.IndexFunc(l.V, func(v float64) bool { return !math.IsNaN(v) })
	if first < 0 {
		first = len(l.V)
	}
	l.At, l.V = l.At[first:], l.V[first:]
}

func float(r market.Rate) float64 {
	if r >= market.MaxRate {
		return math.NaN()
	}
	return r.Float()
}

func rateOf(v float64) market.Maybe[market.Rate] {
	if math.IsNaN(v) {
		return market.Maybe[market.Rate]{}
	}
	return market.Some(market.Rate(math.Round(v * 1e9)))
}

// ours are what our machines of a model pay per GPU, all-in as the market agreed: a step at
// each order and each new bid, and an end at the deletion. At most a dozen machines, the
// newest.
func ours(since, now time.Time, model market.GPUModel, intents []plan.Intent) (out []series) {
	const most = 12
	of := map[string]*series{}
	var names []string
	for _, in := range slices.Backward(intents) {
		l := of[in.Machine]
		switch {
		case in.Kind == plan.Deploy && in.Model == model, in.Kind == plan.Rebid && l != nil:
			r, known := in.Agreed.Get()
			if !known || in.Shape.GPUs == 0 || in.State == plan.IntentRefused || in.State == plan.IntentFailed || in.State == plan.IntentExpired {
				continue
			}
			if l == nil {
				l = &series{Name: "ours, all-in", Class: "s1", Thin: true}
				of[in.Machine], names = l, append(names, in.Machine)
			}
			l.add(in.At, r.PerGPU(in.Shape.GPUs).Float())
		case in.Kind == plan.Delete && l != nil:
			l.add(in.At, math.NaN())
		}
	}
	for _, name := range slices.Backward(names) {
		l := of[name]
		if n := len(l.V); math.IsNaN(l.V[n-1]) && l.At[n-1].Before(since) || len(out) == most {
			continue
		}
		out = append(out, *l)
	}
	return out
}

// depths draws how much there is under the ceiling of each policy.
func (s *site) depths(v *visitor, m *marketPage) error {
	if v.status.Cycle == 0 && v.status.Running {
		return nil
	}
	for i, name := range policyNames(&v.status) {
		if i == mostDepths {
			break
		}
		r := control.MarketRequest{Policy: name}
		if m.Model != "" {
			r.Models = []string{m.Model}
		}
		if m.Country != "" {
			r.Countries = []string{m.Country}
		}
		found, err := s.o.Desk.Market(v.ctx, r)
		if err != nil {
			return err
		}
		f, rows := depthOf(fmt.Sprintf("depth-%d", i), name, &found)
		m.Depths = append(m.Depths, depthChart{name, f, rows})
	}
	return nil
}
