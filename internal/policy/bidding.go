package policy

import "github.com/tdscaler/tdscaler/internal/market"

// Strategy is how a policy finds its bids.
type Strategy string

// Strategies. The zero value is Discover.
const (
	// Discover searches for the lowest bid that wins, and adds what it pays to add.
	Discover Strategy = "discover"
	// Fixed bids the same price per GPU everywhere.
	Fixed Strategy = "fixed"
	// Fraction bids the same share of the on-demand price everywhere.
	Fraction Strategy = "fraction"
)

// Bidding is how a policy bids on spot machines.
type Bidding struct {
	Strategy Strategy    `json:"strategy,omitempty"`
	Price    market.Rate `json:"price_usd_gpu_hour,omitempty"` // fixed: compute only, per GPU
	Fraction float64     `json:"fraction,omitempty"`           // fraction: of the on-demand compute price
	// Margin is what is added to the lowest bid that wins, as a share of it; learnt where
	// it is not known. Discover only.
	Margin market.Maybe[float64] `json:"margin,omitzero"`
	// MaxStep is the greatest share by which a bid is lowered at once; 0 lowers none.
	MaxStep float64 `json:"max_step,omitempty"`
}

// Named is the one bid of a strategy that names it, for a machine with that
// on-demand compute price, in whole cents and never more than was written; ok is
// false where bids are discovered.
func (b *Bidding) Named(gpus int, onDemand market.Rate) (bid market.Rate, ok bool) {
	switch b.Strategy {
	case Fixed:
		return b.Price.Mul(gpus).FloorCent(), true
	case Fraction:
		return onDemand.Scale(int64(b.Fraction*1e6), 1e6).FloorCent(), true
	}
	return 0, false
}

// checkBidding refuses a number that belongs to another strategy: somebody counts
// on it.
func (d *decoder) checkBidding(p *filePolicy) {
	b := &p.Bidding
	if !b.ok || !b.Strategy.ok {
		return
	}
	s := Strategy(b.Strategy.v)
	switch {
	case s == Fixed && !b.Price.set:
		d.fail(CodeBidding, b.Strategy.at, "add price: dollars per GPU-hour", "strategy fixed needs a price")
	case s != Fixed && b.Price.set:
		d.fail(CodeBidding, b.Price.at, "set strategy: fixed, or remove price", "price has no meaning for strategy %s", s)
	case s != Fraction && b.Fraction.set:
		d.fail(CodeBidding, b.Fraction.at, "set strategy: fraction, or remove fraction", "fraction has no meaning for strategy %s", s)
	case s != Discover && b.Margin.set:
		d.fail(CodeBidding, b.Margin.at, "set strategy: discover, or remove margin", "margin has no meaning for strategy %s", s)
	case s != Discover && b.MaxStep.set:
		d.fail(CodeBidding, b.MaxStep.at, "set strategy: discover, or remove max_step", "max_step has no meaning for strategy %s", s)
	case b.Price.ok && p.MaxGPUHour.ok && b.Price.v >= p.MaxGPUHour.v:
		d.fail(CodeBidding, b.Price.at, "the ceiling holds storage too", "a bid of %s a GPU can never be made under max_gpu_hour (%s)", market.Rate(b.Price.v), market.Rate(p.MaxGPUHour.v))
	}
}

func (p *filePolicy) bidding() Bidding {
	f := &p.Bidding
	b := Bidding{Strategy: Strategy(f.Strategy.v)}
	switch b.Strategy {
	case Fixed:
		b.Price = market.Rate(f.Price.v)
	case Fraction:
		b.Fraction = f.Fraction.v
	default:
		b.MaxStep = f.MaxStep.v
		if f.Margin.ok {
			b.Margin = market.Some(f.Margin.v)
		}
	}
	return b
}
