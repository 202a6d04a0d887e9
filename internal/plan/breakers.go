package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Level is the price level of one GPU model: the median of what the hosts ask for a
// GPU, on demand.
type Level struct {
	Model market.GPUModel `json:"gpu_model"`
	Price market.Rate     `json:"median_usd_hour"`
}

// trip opens a breaker, or keeps an open one open for another cooldown. The event
// tells of it once.
func (o *observer) trip(code, reason string) {
	until := o.l.Now.Add(o.l.Safety.BreakerCooldown)
	if b := o.h.breaker(code); b != nil {
		b.Until, b.Reason = until, reason
		return
	}
	o.events = append(o.events, o.h.open(Breaker{Code: code, Since: o.l.Now, Until: until, Reason: reason}))
}

// breaker is the breaker of that code, also one that has cooled down and was not
// dropped yet; nil if there is none.
func (h *History) breaker(code string) *Breaker {
	i := slices.IndexFunc(h.Breakers, func(b Breaker) bool { return b.Code == code })
	if i < 0 {
		return nil
	}
	return &h.Breakers[i]
}

// open adds a breaker, and returns the event that tells of it.
func (h *History) open(b Breaker) Event {
	h.Breakers = append(h.Breakers, b)
	stops := "no growth until " + b.Until.UTC().Format(time.RFC3339)
	if b.All {
		stops = "no writes until then"
	}
	return Event{Kind: EventBreaker, At: b.Since, Text: b.Reason + "; " + stops}
}

// dud counts a machine that was ordered and never ran. Too many in a row, and it is
// not the hosts: the breaker opens, and after its cooldown a single one more opens it
// again.
func (o *observer) dud() {
	o.h.Duds++
	if n := o.l.Safety.BreakerNeverUp; n > 0 && o.h.Duds >= n {
		o.trip(BreakerNeverUp, fmt.Sprintf("%d machines in a row were ordered and never ran", o.h.Duds))
	}
}

// overcharged tells once of a machine that is charged more than it was sold for by
// safety.bill_tolerance, and opens the breaker where it is by a quarter:
// buying more of them would be spending what nobody agreed to. It says that the
// price is not to be believed yet: one list that is wrong must not cost a machine
// that is over its ceiling only there, nor others that a cap then has no room for.
// Shown in safety.absent_looks lists in a row it is what the machine costs.
func (o *observer) overcharged(m *Machine, total market.Rate) (doubted bool) {
	sold := m.Reserved
	if bid, ok := m.Bid.Get(); ok && m.Capacity == market.Spot {
		sold = max(sold, bid.Add(m.Storage.Or(0)))
	}
	if m.Adopted || sold <= 0 || total <= sold.Scale(5, 4).Add(market.Cent) {
		m.Dear = 0
		if tolerated := sold.Scale(int64(1000*(1+o.l.Safety.BillTolerance)), 1000).Add(market.Cent); !m.Adopted && sold > 0 && total > tolerated {
			o.emit(EventBill, m, "it is charged %s, it was sold for %s", total, sold)
		}
		return false
	}
	if !o.l.Early || m.Dear == 0 {
		m.Dear++
	}
	if m.Dear == 1 {
		o.trip(BreakerPrices, fmt.Sprintf("%s is charged %s, it was sold for %s", m.Name, total, sold))
	}
	return m.Dear < o.l.Safety.AbsentLooks
}

// leastHosts is how many hosts must price a model before its median says anything.
const leastHosts = 3

// levels compares the price level of each model with that of the last look. Where
// at least half of them moved by the factor of safety.price_outlier at once, it is
// not the market that moved but what we are told: the breaker opens, and the new
// levels are believed when it has cooled down.
func (o *observer) levels() {
	f := o.l.Safety.PriceOutlier
	if !o.l.Snapshot.Hosts.Complete || f <= 1 {
		return
	}
	now := medians(o.l.Snapshot.Hosts.Value)
	moved, compared, example := 0, 0, ""
	for _, was := range o.h.Levels {
		is, ok := now[was.Model]
		if !ok || was.Price <= 0 {
			continue
		}
		compared++
		if r := float64(is) / float64(was.Price); r >= f || r <= 1/f {
			moved++
			example = fmt.Sprintf("%s from %s to %s", was.Model, was.Price, is)
		}
	}
	open := o.h.breaker(BreakerPrices)
	if moved > 0 && moved*2 >= compared {
		if open == nil {
			o.trip(BreakerPrices, fmt.Sprintf("the prices of %d of %d GPU models moved by a factor of %g or more at once: %s", moved, compared, f, example))
		}
		if open == nil || o.l.Now.Before(open.Until) {
			return
		}
	}
	o.h.Levels = o.h.Levels[:0]
	for model, price := range now {
		o.h.Levels = append(o.h.Levels, Level{model, price})
	}
	slices.SortFunc(o.h.Levels, func(a, b Level) int { return cmp.Compare(a.Model, b.Model) })
}

// medians are the price levels of the models that enough hosts price.
func medians(hosts []market.Host) map[market.GPUModel]market.Rate {
	prices := map[market.GPUModel][]market.Rate{}
	for i := range hosts {
		for _, g := range hosts[i].GPUs {
			if p, ok := g.Price.Get(); ok && p > 0 {
				prices[g.Model] = append(prices[g.Model], p)
			}
		}
	}
	out := map[market.GPUModel]market.Rate{}
	for model, ps := range prices {
		if len(ps) >= leastHosts {
			slices.Sort(ps)
			out[model] = ps[len(ps)/2]
		}
	}
	return out
}
