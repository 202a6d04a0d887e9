package plan

import (
	"fmt"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Wish is what the list of hosts is watched for between two cycles: offers, which the
// last cycle has not seen, for policies that lack spot machines.
type Wish struct {
	wants []want
	free  map[recordKey]int // GPUs that the last cycle has seen
}

type want struct {
	p     *policy.Policy
	match *policy.Matcher
}

// NewWish is the wish after a cycle that has seen those hosts and left those
// standings. What may not buy wishes for nothing.
func NewWish(h *History, policies []policy.Policy, left []Standing, hosts []market.Host, now time.Time) Wish {
	var w Wish
	if h.OpenBreaker(now) != nil {
		return w
	}
	for i := range left {
		for j := range policies {
			if p := &policies[j]; p.Name == left[i].Policy && p.Kind == policy.VM && p.Buys(market.Spot) &&
				h.spotOf(p)+p.Shape.GPUs <= left[i].Target && h.PausedBy(p.Name, now) == nil {
				w.wants = append(w.wants, want{p, policy.NewMatcher(p.Match)})
			}
		}
	}
	if len(w.wants) == 0 {
		return w
	}
	w.free = make(map[recordKey]int, len(hosts))
	for i := range hosts {
		for _, g := range hosts[i].GPUs {
			w.free[recordKey{hosts[i].ID, g.Model}] = onOffer(&hosts[i], g)
		}
	}
	return w
}

// onOffer is how many GPUs a host has to sell.
func onOffer(h *market.Host, g market.HostGPU) int {
	if !h.Online || !h.Listed || h.Reserved {
		return 0
	}
	return g.Free
}

// Any says whether there is anything to watch for.
func (w *Wish) Any() bool { return len(w.wants) > 0 }

// News are the offers in a list that fulfil the wish.
func (w *Wish) News(hosts []market.Host) (news []string) {
	for i := range hosts {
		for _, g := range hosts[i].GPUs {
			is, was := onOffer(&hosts[i], g), w.free[recordKey{hosts[i].ID, g.Model}]
			for j := range w.wants {
				if t := &w.wants[j]; is > was && is >= t.p.Shape.GPUs && was < t.p.Shape.GPUs && t.suits(&hosts[i], g) {
					news = append(news, fmt.Sprintf("host %s offers %s to %s", hosts[i].ID, g.Model, t.p.Name))
				}
			}
		}
	}
	return news
}

// suits says whether the policy may like the offer: the cycle looks closer.
func (t *want) suits(h *market.Host, g market.HostGPU) bool {
	_, model := t.match.GPU(g)
	compute, priced := h.OnDemandCompute(g, t.p.Shape).Get()
	limit := t.p.BidCeiling(h.Storage.Price.Or(0).Mul(t.p.Shape.Storage))
	return model && t.match.HostID(h.ID) && t.match.Place(h.Location) && priced && limit >= compute.Scale(lowestFloor, 100)
}
