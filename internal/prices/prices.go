package prices

import (
	"cmp"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Query says what is to be summed up.
type Query struct {
	Shape        market.Shape // of the machine whose price is told; at least one GPU
	Since, Until time.Time
	Steps        int // points of each trend
	// Wants says whether a model at a place is wanted; nil wants all.
	Wants func(market.GPUModel, market.Location) bool
}

// Group is one GPU model in one country. Rates are all-in, per GPU and hour, of a
// machine of the query's shape.
type Group struct {
	Model   market.GPUModel `json:"gpu_model"`
	Country string          `json:"country"`
	Offers  int             `json:"offers"`         // hosts that offered it at any time
	Open    int             `json:"open_offers"`    // at the end
	Fits    int             `json:"fitting_offers"` // of these, with enough GPUs free
	// Of the on-demand prices, each for as long as it was offered.
	Min market.Maybe[market.Rate] `json:"min_usd_hour,omitzero"`
	P10 market.Maybe[market.Rate] `json:"p10_usd_hour,omitzero"`
	P50 market.Maybe[market.Rate] `json:"p50_usd_hour,omitzero"`
	P90 market.Maybe[market.Rate] `json:"p90_usd_hour,omitzero"`
	// Now is the lowest at the end, of hosts with enough GPUs free.
	Now market.Maybe[market.Rate] `json:"now_usd_hour,omitzero"`

	// What bids for as many GPUs came to: the lowest that won, the highest that lost.
	Accepted market.Maybe[market.Rate] `json:"lowest_accepted_usd_hour,omitzero"`
	Refused  market.Maybe[market.Rate] `json:"highest_refused_usd_hour,omitzero"`
	Asked    int                       `json:"answers"` // that were not the same as before
	Outbids  int                       `json:"outbids"`
	Lost     int                       `json:"lost"`
	Failed   int                       `json:"failed"`
	Ran      int                       `json:"ran"`
	// Boot is the median of how long machines took to run, in seconds; 0 where none did.
	Boot int64 `json:"boot_seconds,omitempty"`

	// Trend is the lowest price with enough GPUs free, in steps from Since to Until.
	Trend []market.Maybe[market.Rate] `json:"trend_usd_hour"`

	spans []span
	boots []int64
}

// span is a price and for how long it was offered.
type span struct {
	rate market.Rate
	took time.Duration
}

// Sum sums up, sorted by the median price; groups without a price come last.
func Sum(q Query, all []plan.Series) []Group {
	groups := map[[2]string]*Group{}
	for i := range all {
		s := &all[i]
		if q.Wants != nil && !q.Wants(s.Model, s.Location) {
			continue
		}
		k := [2]string{string(s.Model), s.Location.Country}
		if groups[k] == nil {
			groups[k] = &Group{Model: s.Model, Country: s.Location.Country, Trend: make([]market.Maybe[market.Rate], max(q.Steps, 0))}
		}
		groups[k].quotes(&q, s)
		groups[k].prices(&q, s)
	}
	out := make([]Group, 0, len(groups))
	for _, g := range groups {
		if g.Offers+g.Asked+g.Outbids+g.Lost+g.Failed+g.Ran > 0 {
			g.finish()
			out = append(out, *g)
		}
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.P50.Or(market.MaxRate), b.P50.Or(market.MaxRate)), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Country, b.Country))
	})
	return out
}

// quotes adds what a host offered.
func (g *Group) quotes(q *Query, s *plan.Series) {
	offered, present := false, -1
	for i := range s.Quotes {
		if !s.Quotes[i].At.After(q.Until) {
			present = i
		}
	}
	for i := range s.Quotes {
		x := &s.Quotes[i]
		from, to := x.At, q.Until
		if i+1 < len(s.Quotes) {
			to = earlier(s.Quotes[i+1].At, to)
		}
		if from.Before(q.Since) {
			from = q.Since
		}
		rate, priced := x.AllIn(q.Shape).Get()
		if !x.Open || !priced || from.After(to) || from.Equal(to) && i != present {
			continue
		}
		offered = true
		rate = rate.PerGPU(q.Shape.GPUs)
		g.spans = append(g.spans, span{rate, max(to.Sub(from), time.Second)})
		if x.Free >= q.Shape.GPUs {
			g.trend(q, rate, from, to)
		}
		if i == present {
			g.now(rate, x.Free >= q.Shape.GPUs)
		}
	}
	if offered {
		g.Offers++
	}
}

func (g *Group) now(rate market.Rate, fits bool) {
	g.Open++
	if fits {
		g.Fits++
		g.Now = lowest(g.Now, rate)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func lowest(m market.Maybe[market.Rate], r market.Rate) market.Maybe[market.Rate] {
	return market.Some(min(m.Or(r), r))
}

// trend notes the price in each step that it was offered in.
func (g *Group) trend(q *Query, rate market.Rate, from, to time.Time) {
	n, all := len(g.Trend), q.Until.Sub(q.Since)
	if n == 0 || all <= 0 {
		return
	}
	step := max(all/time.Duration(n), 1)
	for i := int(from.Sub(q.Since) / step); i < n && !q.Since.Add(time.Duration(i)*step).After(to); i++ {
		g.Trend[i] = lowest(g.Trend[i], rate)
	}
}

// prices adds what was learnt there.
func (g *Group) prices(q *Query, s *plan.Series) {
	var disk market.Maybe[market.Rate]
	if n := len(s.Quotes); n > 0 {
		disk = s.Quotes[n-1].Storage
	}
	for i := range s.Prices {
		p := &s.Prices[i]
		if p.At.Before(q.Since) || p.At.After(q.Until) {
			continue
		}
		rate := p.Bid.Add(disk.Or(0).Mul(p.Storage)).PerGPU(p.GPUs)
		same := p.GPUs == q.Shape.GPUs && p.Bid > 0
		switch p.Answer {
		case market.Accepted, market.Refused:
			g.Asked++
			switch {
			case same && p.Answer == market.Accepted:
				g.Accepted = lowest(g.Accepted, rate)
			case same:
				g.Refused = market.Some(max(g.Refused.Or(0), rate))
			}
		case plan.PriceOutbid:
			g.Outbids++
		case plan.PriceLost:
			g.Lost++
		case plan.PriceFailed:
			g.Failed++
		case plan.PriceReady:
			g.Ran++
			if p.Seconds > 0 {
				g.boots = append(g.boots, p.Seconds)
			}
		}
	}
}

func (g *Group) finish() {
	slices.SortFunc(g.spans, func(a, b span) int { return cmp.Or(cmp.Compare(a.rate, b.rate), cmp.Compare(a.took, b.took)) })
	g.Min, g.P10, g.P50, g.P90 = g.quantile(0), g.quantile(10), g.quantile(50), g.quantile(90)
	slices.Sort(g.boots)
	if n := len(g.boots); n > 0 {
		g.Boot = g.boots[(n-1)/2]
	}
	g.spans, g.boots = nil, nil
}

// quantile is the price at or below which the offers stood for so much of the time.
func (g *Group) quantile(percent int64) market.Maybe[market.Rate] {
	var all, so time.Duration
	for _, s := range g.spans {
		all += s.took / 1000 // milliseconds and less do not matter, overflow would
	}
	for _, s := range g.spans {
		if so += s.took / 1000; int64(so) >= int64(all)/100*percent {
			return market.Some(s.rate)
		}
	}
	return market.Maybe[market.Rate]{}
}
