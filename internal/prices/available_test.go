package prices

import (
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func TestAnOfferCountsAsThereForAsLongAsAnyHostHadIt(t *testing.T) {
	closed, full := quote(18, 20, 8), quote(6, 20, 3)
	closed.Open = false
	all := []plan.Series{
		{Host: "a", Model: "x", Quotes: []plan.Quote{quote(0, 20, 8), full, quote(12, 20, 8), closed}}, // 0 to 6, 12 to 18
		{Host: "b", Model: "x", Quotes: []plan.Quote{quote(3, 20, 8), quote(8, 90, 8)}},                // 3 to 8, then too dear
		{Host: "c", Model: "y", Quotes: []plan.Quote{quote(0, 20, 8)}},
	}
	q := day(four())
	q.Wants = func(m market.GPUModel, _ market.Location) bool { return m == "x" }
	ceiling := market.USD(1, 0) // 80 cents, and 18 for vCPUs and disk
	a := Available(q, ceiling, true, all)
	if a.Share < 14.0/24-1e-9 || a.Share > 14.0/24+1e-9 || !a.Last.Equal(t0.Add(18*time.Hour)) || !a.Since.Equal(t0) {
		t.Errorf("%+v", a)
	}
	if a := Available(q, ceiling, false, all); a.Share < 1-1e-9 || !a.Last.Equal(q.Until) {
		t.Errorf("on spot the list price bounds nothing: %+v", a)
	}
	if a := Available(q, ceiling-market.Rate(3*market.Cent), true, all); a.Share != 0 || !a.Last.IsZero() {
		t.Errorf("under the price: %+v", a)
	}
	if a := Available(q, ceiling, true, nil); a.Share != 0 || !a.Since.IsZero() {
		t.Errorf("of no record: %+v", a)
	}
}

func TestTheShareIsOfTheTimeOnRecord(t *testing.T) {
	all := []plan.Series{{Host: "a", Model: "x", Quotes: []plan.Quote{quote(12, 20, 8), quote(18, 20, 0)}}}
	if a := Available(day(four()), market.MaxRate, true, all); a.Share != 0.5 || !a.Since.Equal(t0.Add(12*time.Hour)) {
		t.Errorf("%+v", a)
	}
}

func TestAnswersToBidsThatTheCeilingAllowsAreCounted(t *testing.T) {
	bid := func(hour int, cents int64, a market.Answer) plan.Price {
		return plan.Price{At: t0.Add(time.Duration(hour) * time.Hour), Shape: four(), Bid: market.USD(0, cents), Answer: a}
	}
	s := plan.Series{Host: "a", Model: "x", Quotes: []plan.Quote{quote(0, 20, 8)}, Prices: []plan.Price{
		bid(-1, 40, market.Accepted), bid(1, 40, market.Refused), bid(2, 50, market.Accepted), bid(3, 60, market.Accepted), bid(4, 50, plan.PriceOutbid),
	}}
	if a := Available(day(four()), market.USD(0, 60), false, []plan.Series{s}); a.Answers != 2 || a.Yes != 1 { // ten cents of disk on top
		t.Errorf("%+v", a)
	}
}
