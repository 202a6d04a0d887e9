package plan

import (
	"cmp"
	"slices"

	"github.com/tdscaler/tdscaler/internal/market"
)

// bracket is what is known of the lowest winning bid for one machine shape on one
// host: it loses at lo and won at hi. It never carries from one number of GPUs to
// another, because the threshold is not linear in them.
type bracket struct {
	lo     market.Rate // highest refused; 0 if none
	hi     market.Rate // lowest accepted above lo; 0 if none
	hint   market.Rate // a price the market named above lo; 0 if none
	silent bool        // asked, no usable answer: not again in this cycle
	// refused is the newest word on an order without a bid: on-demand.
	refused bool
}

type bracketKey struct {
	host  string
	model market.GPUModel
	shape market.Shape
}

// brackets reads the verdicts in the order they came. A refusal at or above an
// accepted bid means that the market moved: the newer word counts.
func brackets(vs []market.Verdict) map[bracketKey]bracket {
	if len(vs) == 0 {
		return nil
	}
	vs = slices.Clone(vs)
	slices.SortStableFunc(vs, func(a, b market.Verdict) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Bid, b.Bid), cmp.Compare(a.Answer, b.Answer), cmp.Compare(a.Hint.Or(0), b.Hint.Or(0)))
	})
	out := map[bracketKey]bracket{}
	for _, v := range vs {
		k := bracketKey{v.Host, v.Model, v.Shape}
		b := out[k]
		b.take(v)
		out[k] = b
	}
	return out
}

func (b *bracket) take(v market.Verdict) {
	if v.Bid == 0 { // on-demand: it says nothing about bids
		b.refused = v.Answer == market.Refused
		return
	}
	switch v.Answer {
	case market.Accepted:
		if b.hi == 0 || v.Bid < b.hi {
			b.hi = v.Bid
		}
		if v.Bid <= b.lo {
			b.lo = 0
		}
		b.silent = false
	case market.Refused:
		b.lo = max(b.lo, v.Bid)
		if b.hi != 0 && b.hi <= b.lo {
			b.hi = 0
		}
		b.hint = 0
		if h, ok := v.Hint.Get(); ok && h > b.lo {
			b.hint = h
		}
	default:
		b.silent = true
	}
}

// next is the bid to ask about next, from the opening bid up to the cap; ok is
// false when the market has refused everything the cap allows.
//
// The ladder opens at half of the on-demand price, where hosts usually put their
// minimum, follows the market's hint where it gives one, and else climbs by 15 %:
// few enough questions to stay within the pace, small enough steps that the
// winning bid is at most that much too high.
func (b bracket) next(opening, top market.Rate) (market.Rate, bool) {
	if top < market.MinBid || b.lo >= top {
		return 0, false
	}
	switch {
	case b.lo == 0:
		return min(max(opening, market.MinBid), top), true
	case b.hint > top:
		return 0, false
	case b.hint != 0:
		bid := max(b.hint.CeilCent(), market.MinBid)
		return bid, bid <= top
	}
	bid := max(b.lo.Scale(115, 100).CeilCent(), market.MinBid)
	if bid.Scale(105, 100) >= top {
		bid = top // a last step this small is not worth a question of its own
	}
	return bid, true
}

// opening is the first bid to ask about: half of the on-demand compute price.
func opening(onDemand market.Rate) market.Rate { return onDemand.Scale(1, 2).CeilCent() }
