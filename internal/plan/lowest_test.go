package plan

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
)

// The lowest price is that of the listing, of what stands open with enough GPUs.
func TestTheLowestPriceIsThatOfAnOfferThePolicyMatches(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		got := LowestPrices(&in.Snapshot, in.Policies)
		for _, p := range in.Policies {
			want, found := market.MaxRate, false
			for _, l := range List(in, p) {
				out := l.Reason.Code == OfferKind || strings.HasPrefix(l.Host, siteV2("")) || l.Instant != "" && !suits(&p, ready(in, l.Instant)) || l.Reason.Code == OfferModel || l.Reason.Code == OfferPlace || l.Reason.Code == OfferOffline
				if r, ok := l.OnDemand.Get(); ok && !out && l.Free >= p.Shape.GPUs {
					want, found = min(want, r.PerGPU(p.Shape.GPUs)), true
				}
			}
			if r, ok := got[p.Name]; ok != found || ok && r != want {
				t.Fatalf("%s: %s (%v), want %s (%v)", p.Name, r, ok, want, found)
			}
		}
	})
}
