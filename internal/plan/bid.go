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
	hint   market.Rate // the least that wins, by the market's word; above lo; 0 if none
	floor  market.Rate // the least that the host was seen to take; 0 if not known
	fresh  bool        // hi was accepted in this cycle
	stale  bool        // the last word is too old to tell what does not win
	moves  int         // contradictions in this cycle
	silent bool        // asked, no usable answer: not again in this cycle
	// refused is the newest word on an order without a bid: on-demand.
	refused bool
}

type bracketKey struct {
	host  string
	model market.GPUModel
	shape market.Shape
}

// brackets adds the verdicts to what is remembered, in the order they came. A
// refusal at or above an accepted bid means that the market moved: the newer word
// counts.
func brackets(known map[bracketKey]bracket, vs []market.Verdict) map[bracketKey]bracket {
	for _, v := range inOrder(vs) {
		k := bracketKey{v.Host, v.Model, v.Shape}
		b := known[k]
		b.take(v)
		known[k] = b
	}
	return known
}

func inOrder(vs []market.Verdict) []market.Verdict {
	vs = slices.Clone(vs)
	slices.SortStableFunc(vs, func(a, b market.Verdict) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Bid, b.Bid), cmp.Compare(a.Answer, b.Answer), cmp.Compare(a.Hint.Or(0), b.Hint.Or(0)))
	})
	return vs
}

func (b *bracket) take(v market.Verdict) {
	if v.Bid == 0 { // on-demand: it says nothing about bids
		b.refused = v.Answer == market.Refused
		return
	}
	b.stale = b.stale && v.Answer == market.Silent
	switch v.Answer {
	case market.Accepted:
		if b.hi == 0 || v.Bid <= b.hi || !b.fresh {
			b.hi, b.fresh = v.Bid, true
		}
		if v.Bid <= b.lo {
			b.lo = 0
			b.moves++
		}
		b.hint = 0
		if h, ok := v.Hint.Get(); ok && h > b.lo && h <= v.Bid {
			b.hint = h
		}
		b.silent = false
	case market.Refused:
		b.lo = max(b.lo, v.Bid)
		if b.hi != 0 && b.hi <= b.lo {
			if b.fresh {
				b.moves++
			}
			b.hi, b.fresh = 0, false
		}
		b.hint = 0
		if h, ok := v.Hint.Get(); ok && h > b.lo {
			b.hint = h
		}
	default:
		b.silent = true
	}
}

// loses raises the bid that is known to lose.
func (b *bracket) loses(bid market.Rate) {
	b.lo = max(b.lo, bid)
	if b.hi <= b.lo {
		b.hi, b.fresh = 0, false
	}
	if b.hint <= b.lo {
		b.hint = 0
	}
}

// opening is the first bid to ask about: half of the on-demand compute price.
func opening(onDemand market.Rate) market.Rate { return onDemand.Scale(1, 2).CeilCent() }
