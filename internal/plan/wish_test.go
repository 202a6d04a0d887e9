package plan

import (
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func TestAnOfferIsNewsOnlyWhereItIsNewAndAPolicyLacksSpot(t *testing.T) {
	closed := newHost("a", 4, "0.35")
	closed.Online = false
	for _, c := range []struct {
		name     string
		was      market.Host
		is       market.Host
		change   func(*policy.Policy, *History)
		expected int
	}{
		{"GPUs come free", newHost("a", 0, "0.35"), newHost("a", 4, "0.35"), nil, 1},
		{"a host comes back", closed, newHost("a", 4, "0.35"), nil, 1},
		{"a host that was not there", newHost("b", 4, "0.35"), newHost("a", 4, "0.35"), nil, 1},
		{"it was there before", newHost("a", 1, "0.35"), newHost("a", 4, "0.35"), nil, 0},
		{"it goes", newHost("a", 4, "0.35"), newHost("a", 0, "0.35"), nil, 0},
		{"too dear for any bid", newHost("a", 0, "9"), newHost("a", 4, "9"), nil, 0},
		{"not wanted", newHost("a", 0, "0.35"), newHost("a", 4, "0.35"), func(p *policy.Policy, _ *History) { p.Match.Deny.Hosts = []string{"a"} }, 0},
		{"too few", newHost("a", 0, "0.35"), newHost("a", 1, "0.35"), func(p *policy.Policy, _ *History) { p.Shape.GPUs = 2 }, 0},
		{"spot is whole", newHost("a", 0, "0.35"), newHost("a", 4, "0.35"), func(p *policy.Policy, h *History) {
			h.Machines = []Machine{newMachine(*p, 1, "c", "0.30"), newMachine(*p, 2, "c", "0.30")}
		}, 0},
		{"paused", newHost("a", 0, "0.35"), newHost("a", 4, "0.35"), func(_ *policy.Policy, h *History) { h.Pauses = []Pause{{Since: t0}} }, 0},
		{"a breaker is open", newHost("a", 0, "0.35"), newHost("a", 4, "0.35"), func(_ *policy.Policy, h *History) {
			h.Breakers = []Breaker{{Code: BreakerFailures, Since: t0, Until: t0.Add(time.Hour)}}
		}, 0},
		{"on demand only", newHost("a", 0, "0.35"), newHost("a", 4, "0.35"), func(p *policy.Policy, _ *History) { p.Capacity = market.OnDemand }, 0},
	} {
		p := newPolicy("p", 2)
		var h History
		if c.change != nil {
			c.change(&p, &h)
		}
		w := NewWish(&h, []policy.Policy{p}, []Standing{{Policy: "p", Target: 2}}, []market.Host{c.was}, t0)
		if got := w.News([]market.Host{c.is}); len(got) != c.expected {
			t.Errorf("%s: %q", c.name, got)
		}
	}
}
