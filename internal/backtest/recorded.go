package backtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/trace"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Recorded makes a trace of what a ledger has on record of the offers that a policy
// takes, at the all-in price of the policy's machines. What wins is known from
// answers to bids: the lowest that was accepted, above what was refused since. Where
// nobody asked it is taken to be half of the on-demand price, or a cent above what
// was refused. GPUs are those that were listed as free. The error wraps
// trace.ErrTrace where there is nothing of use.
func Recorded(l *ledger.Ledger, p *policy.Policy) (trace.Trace, error) {
	match := policy.NewMatcher(p.Match)
	out := trace.Trace{Kind: trace.Price}
	var onDemand []market.Rate
	err := l.EachSeries(func(s plan.Series) error {
		if _, ok := match.Model(s.Model); !ok || !match.Place(s.Location) || !match.HostID(s.Host) {
			return nil
		}
		r := recording{Series: trace.Series{Host: s.Host, Model: s.Model}, shape: p.Shape}
		if r.play(&s); len(r.Points) > 0 {
			out.Series = append(out.Series, r.Series)
			onDemand = append(onDemand, r.asked...)
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	if len(onDemand) == 0 {
		return out, fmt.Errorf("%w: ledger %s has no prices on record that policy %s matches", trace.ErrTrace, l.Path(), p.Name)
	}
	slices.Sort(onDemand)
	out.OnDemand = market.Some(onDemand[len(onDemand)/2])
	h, err := l.History()
	out.Until = h.LookedAt.Truncate(time.Second) // as the rest of the record
	return out, err
}

// recording is one offer's as it is played back.
type recording struct {
	trace.Series
	shape market.Shape
	asked []market.Rate // on demand, per GPU, all-in

	compute, storage market.Rate // of the newest quote, for a whole machine
	lost, won        market.Rate // the highest bid refused, the lowest accepted above it; 0 is none
}

// play goes through quotes and answers in the order of time.
func (r *recording) play(s *plan.Series) {
	q, a := s.Quotes, s.Prices
	for len(q) > 0 || len(a) > 0 {
		if len(a) == 0 || len(q) > 0 && !q[0].At.After(a[0].At) {
			r.quote(&q[0])
			q = q[1:]
		} else {
			r.answer(&a[0])
			a = a[1:]
		}
	}
}

func (r *recording) quote(q *plan.Quote) {
	all, ok := q.AllIn(r.shape).Get()
	free := 0
	if ok && q.Open {
		free = q.Free
		r.storage = q.Storage.Or(0).Mul(r.shape.Storage)
		r.compute = all.Sub(r.storage)
		r.asked = append(r.asked, all.PerGPU(r.shape.GPUs))
		r.point(q.At)
	}
	r.Free = append(r.Free, trace.Count{At: q.At, GPUs: free})
}

// answer learns from bids for machines of the same number of GPUs; a bracket never
// carries to another number.
func (r *recording) answer(p *plan.Price) {
	if p.GPUs != r.shape.GPUs {
		return
	}
	switch p.Answer {
	case market.Accepted:
		r.won = p.Bid
		if r.lost >= p.Bid {
			r.lost = 0
		}
	case market.Refused, plan.PriceOutbid:
		r.lost = p.Bid
		if r.won <= p.Bid {
			r.won = 0
		}
	default:
		return
	}
	if r.compute > 0 {
		r.point(p.At)
	}
}

// point notes what wins from now on.
func (r *recording) point(at time.Time) {
	bid := r.won
	if bid == 0 {
		bid = max(r.compute.Scale(1, 2), r.lost.Add(market.Cent))
	}
	r.Points = append(r.Points, trace.Point{At: at, Price: bid.Add(r.storage).PerGPU(r.shape.GPUs)})
}
