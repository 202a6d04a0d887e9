// Package tape is a market without a will: what spot pools had to give and at what
// price, second by second, and what on-demand costs beside them. The backtest's market
// plays it, the optimum and the baselines read it, so that all of them meet the same
// market.
//
// It owns no file formats and no clock, and decides nothing.
package tape

import (
	"slices"
	"sort"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Tape is what is played. Times are counted from its beginning.
//
// Invariant: every series begins at 0; pools are sorted by name.
type Tape struct {
	Start  time.Time // the time of day of its beginning: for days, months and reports
	Length time.Duration
	Pools  []Pool
	// OnDemand is the price of a GPU-hour, all-in, of machines that are never lost and
	// always to be had; 0 if there are none.
	OnDemand market.Rate
	// Boot is how long every machine takes from its order until it delivers. It is
	// paid for.
	Boot time.Duration
	// Penalty is what a GPU-hour that is not delivered costs in J. It is the same for
	// all who play the tape: twice the on-demand price.
	Penalty market.Rate
	// FirstPrice says that a spot machine costs what was bid for it, and not the pool's
	// price. The price is still the least bid that wins.
	FirstPrice bool
}

// Pool is the spot market of one host, or of one zone.
type Pool struct {
	Name  string
	Model market.GPUModel
	// Free is how many GPUs it has for us: those that we hold are among them. Where it
	// falls below what we hold, the newest machines are lost, booting ones like others.
	Free Series[int]
	// Price is the all-in price of a GPU-hour: what every machine there costs at that
	// moment, whatever was bid for it. A machine whose bid is below it is lost.
	Price Series[market.Rate]
}

// Series is a step function.
type Series[T comparable] []Step[T]

// Step holds from At until the next one.
type Step[T comparable] struct {
	At    time.Duration
	Value T
}

// Constant is a series that never changes.
func Constant[T comparable](v T) Series[T] { return Series[T]{{0, v}} }

// At is the value at a moment; that of the first step before it.
func (s Series[T]) At(t time.Duration) T {
	i := sort.Search(len(s), func(i int) bool { return s[i].At > t })
	return s[max(i-1, 0)].Value
}

// Changes are the moments at which anything changes, in order, without 0 and without
// what lies at or beyond the end.
func (t *Tape) Changes() []time.Duration {
	var out []time.Duration
	add := func(at time.Duration) {
		if at > 0 && at < t.Length {
			out = append(out, at)
		}
	}
	for i := range t.Pools {
		for _, s := range t.Pools[i].Free {
			add(s.At)
		}
		for _, s := range t.Pools[i].Price {
			add(s.At)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
