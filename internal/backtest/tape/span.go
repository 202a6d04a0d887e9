package tape

import (
	"cmp"
	"slices"
	"sort"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// OnDemand is the Pool of a Span that is no pool of the tape.
const OnDemand = -1

// Span is the life of one machine, from its order until it was given up or lost. It
// is paid for all of that time, and delivers from the end of its boot.
type Span struct {
	Pool        int // which of the tape's pools, or OnDemand
	GPUs        int
	From, Until time.Duration
	// Rate is what a GPU-hour costs its holder; 0 is the market's price at every moment.
	Rate market.Rate
	Lost bool
}

// Score is what the machines came to that were held while `target` GPUs were wanted,
// to the nanosecond: what is beyond the end of the tape, or beyond the target at a
// moment, delivers nothing.
func (t *Tape) Score(target int, spans []Span) Sum {
	s := Sum{Target: time.Duration(target) * t.Length, Starts: len(spans), Delivered: t.delivered(target, spans)}
	var spot, threshold market.Amount
	for _, one := range spans {
		atMarket, paid := t.cost(one)
		s.Cost = s.Cost.Add(paid)
		if one.Pool != OnDemand {
			spot, threshold = spot.Add(paid), threshold.Add(atMarket)
		}
		if one.Lost && one.Until > one.From+t.Boot {
			s.Interruptions++
		}
	}
	if threshold > 0 {
		s.Overpay = float64(spot)/float64(threshold) - 1
	}
	return s
}

// cost is what a machine costs at the market's price, and what its holder pays.
func (t *Tape) cost(s Span) (atMarket, paid market.Amount) {
	until := min(s.Until, t.Length)
	if s.Pool == OnDemand {
		atMarket = t.OnDemand.Mul(s.GPUs).For(until - s.From)
	} else {
		atMarket = t.Pools[s.Pool].Cost(s.GPUs, s.From, until)
	}
	if s.Rate > 0 {
		return atMarket, s.Rate.Mul(s.GPUs).For(until - s.From)
	}
	return atMarket, atMarket
}

// Cost is what so many GPUs of the pool cost between two moments, at its price.
func (p *Pool) Cost(gpus int, from, until time.Duration) market.Amount {
	var sum market.Amount
	i := max(sort.Search(len(p.Price), func(i int) bool { return p.Price[i].At > from })-1, 0)
	for ; i < len(p.Price) && from < until; i++ {
		end := until
		if i+1 < len(p.Price) {
			end = min(until, p.Price[i+1].At)
		}
		sum = sum.Add(p.Price[i].Value.Mul(gpus).For(end - from))
		from = max(from, end)
	}
	return sum
}

// delivered is for how long GPUs were ready, at most `target` of them at a time.
func (t *Tape) delivered(target int, spans []Span) time.Duration {
	type change struct {
		at   time.Duration
		gpus int
	}
	changes := make([]change, 0, 2*len(spans)+1)
	for _, s := range spans {
		if from := s.From + t.Boot; from < min(s.Until, t.Length) {
			changes = append(changes, change{from, s.GPUs}, change{min(s.Until, t.Length), -s.GPUs})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	var sum, at time.Duration
	ready := 0
	for _, c := range changes {
		sum += time.Duration(min(ready, target)) * (c.at - at)
		at, ready = c.at, ready+c.gpus
	}
	return sum
}
