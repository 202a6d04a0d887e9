package plan

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
)

// What is on offer is what the listing shows of it: what stands open with enough GPUs.
func TestTheSupplyIsWhatTheListingShowsOfWhatThePolicyMatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		got := Supplies(&in.Snapshot, in.Policies)
		for _, p := range in.Policies {
			var want Supply
			for _, l := range List(in, p) {
				out := l.Reason.Code == OfferKind || strings.HasPrefix(l.Host, siteV2("")) || l.Instant != "" && !suits(&p, ready(in, l.Instant)) || l.Reason.Code == OfferModel || l.Reason.Code == OfferPlace || l.Reason.Code == OfferOffline
				r, priced := l.OnDemand.Get()
				if !priced || out || l.Free < p.Shape.GPUs {
					continue
				}
				each, machines := r.PerGPU(p.Shape.GPUs), l.Free/p.Shape.GPUs
				if lowest, some := want.Lowest.Get(); !some || each < lowest {
					want.Lowest = market.Some(each)
				}
				if each <= p.CeilingOf(market.OnDemand, 1) {
					want.Within += machines * p.Shape.GPUs
				} else {
					want.Above += machines * p.Shape.GPUs
				}
			}
			if got[p.Name] != want {
				t.Fatalf("%s: %+v, want %+v", p.Name, got[p.Name], want)
			}
		}
	})
}
