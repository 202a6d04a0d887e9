package optimum

import (
	"math/big"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

// mostPrices bounds the prices that due tries; each is an optimum of the whole tape.
const mostPrices = 32

// due bounds from below what work costs that is wanted by the end of the tape, whenever
// it is delivered. A price on every GPU-hour that is not delivered, between nothing and
// the penalty, makes an optimum of the usual kind:
//
//	cost + penalty x missing  >=  cost + price x (work - delivered)
//
// for whatever anybody does, so the least of the right side bounds the left. With
// everything possible delivered, the right side is the usual J at that price, less the
// price of all that was never wanted. The best price is where the optimum delivers the
// work, or jumps across it; the bound is concave in the price, and is followed upwards
// along its tangents.
func due(t *tape.Tape, w Wish, solve func(*tape.Tape) Optimum) Optimum {
	if w.Work <= 0 {
		return solve(t)
	}
	all := time.Duration(w.Units*w.GPUs) * t.Length
	at := func(price market.Rate) tangent {
		priced := *t
		priced.Penalty = price
		best := solve(&priced)
		return tangent{
			Optimum: Optimum{J: best.J.Sub(price.For(all - w.Work)), Machines: best.Machines},
			price:   price, lacks: w.Work - t.Score(w.Units*w.GPUs, best.Machines).Delivered,
		}
	}
	low, high := at(0), at(t.Penalty)
	if high.lacks >= 0 {
		return high.Optimum
	}
	best := low
	for range mostPrices {
		price := low.meets(&high)
		if price <= low.price || price >= high.price {
			break
		}
		mid := at(price)
		if mid.J > best.J {
			best = mid
		}
		if mid.lacks >= 0 {
			low = mid
		} else {
			high = mid
		}
	}
	if high.J > best.J {
		best = high
	}
	// What is shown delivers the work, where any optimum does.
	best.Machines = high.Machines
	return best.Optimum
}

// tangent is the bound at a price, and how much of the work its optimum lacks: the
// slope there.
type tangent struct {
	Optimum
	price market.Rate
	lacks time.Duration
}

// meets is the price at which two tangents meet.
func (a *tangent) meets(b *tangent) market.Rate {
	num := func(v int64) *big.Int { return big.NewInt(v) }
	hours := func(r market.Rate, d time.Duration) *big.Int { return new(big.Int).Mul(num(int64(r)), num(int64(d))) }
	// a.J + (p - a.price) a.lacks = b.J + (p - b.price) b.lacks, lacks in hours
	sum := new(big.Int).Mul(num(int64(b.J)-int64(a.J)), num(int64(time.Hour)))
	sum.Add(sum, hours(a.price, a.lacks))
	sum.Sub(sum, hours(b.price, b.lacks))
	slope := num(int64(a.lacks - b.lacks))
	if slope.Sign() <= 0 {
		return a.price
	}
	return market.Rate(sum.Div(sum, slope).Int64())
}
