package prices

import (
	"encoding/json"
	"math/rand"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

var t0 = time.Date(2031, 4, 5, 0, 0, 0, 0, time.UTC)

func usd(cents int64) market.Maybe[market.Rate] { return market.Some(market.USD(0, cents)) }

// quote asks so many cents for a GPU, one for a vCPU, nothing for RAM, and a tenth of a
// cent for a GB.
func quote(hour int, cents int64, free int) plan.Quote {
	return plan.Quote{
		At: t0.Add(time.Duration(hour) * time.Hour), GPU: usd(cents), VCPU: usd(1), RAM: usd(0), Storage: market.Some(market.Rate(market.Cent / 10)), Free: free, Open: true,
	}
}

func day(shape market.Shape) Query {
	return Query{Shape: shape, Since: t0, Until: t0.Add(24 * time.Hour), Steps: 24}
}

func four() market.Shape { return market.Shape{GPUs: 4, VCPUs: 8, RAM: 64, Storage: 100} }

func TestAPriceCountsForAsLongAsItWasOffered(t *testing.T) {
	s := plan.Series{Host: "a", Model: "x", Location: market.Location{Country: "Norway"}, Quotes: []plan.Quote{
		quote(-5, 20, 8), quote(12, 30, 8), quote(23, 90, 2),
	}}
	g := Sum(day(four()), []plan.Series{s})[0]
	// 8 vCPUs and 100 GB are 18 cents, 4.5 a GPU.
	for name, c := range map[string]struct {
		got  market.Maybe[market.Rate]
		want int64
	}{"min": {g.Min, 245}, "p10": {g.P10, 245}, "p50": {g.P50, 245}, "p90": {g.P90, 345}} {
		if got, ok := c.got.Get(); !ok || got != market.Rate(c.want)*market.Cent/10 {
			t.Errorf("%s is %s, want %d tenths of a cent", name, got, c.want)
		}
	}
	if g.Offers != 1 || g.Open != 1 || g.Fits != 0 || g.Now.Known() {
		t.Errorf("%+v", g)
	}
	// A step that begins with a price has it too; in the last hour too few are free.
	for i, want := range map[int]int64{0: 245, 11: 245, 12: 245, 13: 345, 22: 345, 23: 345} {
		if got := g.Trend[i].Or(0); got != market.Rate(want)*market.Cent/10 {
			t.Errorf("step %d: %s, want %d", i, got, want)
		}
	}
}

func TestWhatIsClosedOrUnpricedOrBeforeTheTimeIsNotOffered(t *testing.T) {
	closed, unpriced := quote(-1, 20, 8), quote(1, 20, 8)
	closed.Open, unpriced.RAM = false, market.Maybe[market.Rate]{}
	all := []plan.Series{
		{Host: "closed", Model: "x", Quotes: []plan.Quote{quote(-9, 1, 8), closed}},
		{Host: "unpriced", Model: "x", Quotes: []plan.Quote{unpriced}},
	}
	if got := Sum(day(four()), all); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	all = append(all, plan.Series{Host: "new", Model: "x", Quotes: []plan.Quote{quote(24, 50, 4)}}) // at the very end
	g := Sum(day(four()), all)
	if len(g) != 1 || g[0].Offers != 1 || g[0].Fits != 1 || !g[0].Now.Known() || g[0].Now != g[0].P50 {
		t.Errorf("%+v", g)
	}
}

func TestBidsAreComparedForTheSameNumberOfGPUsOnly(t *testing.T) {
	bid := func(hour, gpus int, cents int64, a market.Answer, seconds int64) plan.Price {
		s := four()
		s.GPUs = gpus
		return plan.Price{At: t0.Add(time.Duration(hour) * time.Hour), Shape: s, Bid: market.USD(0, cents), Answer: a, Seconds: seconds}
	}
	s := plan.Series{Host: "a", Model: "x", Quotes: []plan.Quote{quote(0, 20, 8)}, Prices: []plan.Price{
		bid(-1, 4, 1, market.Accepted, 0), // before the time
		bid(1, 4, 40, market.Refused, 0), bid(2, 4, 60, market.Accepted, 0), bid(3, 4, 50, market.Accepted, 0), bid(4, 4, 44, market.Refused, 0),
		bid(5, 1, 5, market.Accepted, 0), bid(5, 8, 500, market.Refused, 0),
		bid(6, 4, 50, plan.PriceReady, 100), bid(7, 4, 50, plan.PriceReady, 300), bid(8, 4, 50, plan.PriceReady, 200),
		bid(9, 4, 50, plan.PriceOutbid, 0), bid(9, 4, 50, plan.PriceLost, 0), bid(9, 4, 50, plan.PriceFailed, 0),
	}}
	g := Sum(day(four()), []plan.Series{s})[0]
	// The disk's ten cents are billed on top.
	if a, r := g.Accepted.Or(0), g.Refused.Or(0); a != market.USD(0, 60)/4 || r != market.USD(0, 54)/4 {
		t.Errorf("won at %s, lost at %s", a, r)
	}
	if g.Asked != 6 || g.Ran != 3 || g.Boot != 200 || g.Outbids != 1 || g.Lost != 1 || g.Failed != 1 {
		t.Errorf("%+v", g)
	}
}

func TestTheOrderOfTheSeriesChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []plan.Series
		for i := range rapid.IntRange(0, 12).Draw(t, "series") {
			s := plan.Series{Host: string(rune('a' + i)), Model: market.GPUModel(rapid.SampledFrom([]string{"x", "y"}).Draw(t, "model"))}
			s.Location.Country = rapid.SampledFrom([]string{"", "Norway"}).Draw(t, "country")
			hour := -10
			for range rapid.IntRange(0, 6).Draw(t, "quotes") {
				hour += rapid.IntRange(0, 9).Draw(t, "later")
				q := quote(hour, rapid.Int64Range(0, 500).Draw(t, "cents"), rapid.IntRange(0, 8).Draw(t, "free"))
				q.Open = rapid.Bool().Draw(t, "open")
				s.Quotes = append(s.Quotes, q)
			}
			all = append(all, s)
		}
		text := func() string {
			b, err := json.Marshal(Sum(day(four()), all))
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		before := text()
		for _, g := range Sum(day(four()), all) {
			if !slices.IsSorted([]market.Rate{g.Min.Or(0), g.P10.Or(0), g.P50.Or(0), g.P90.Or(0)}) || g.Fits > g.Open || g.Open > g.Offers || len(g.Trend) != 24 {
				t.Fatalf("%+v", g)
			}
		}
		rand.New(rand.NewSource(1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		if after := text(); after != before {
			t.Fatalf("%s\n%s", before, after)
		}
	})
}

// BenchmarkSum is a month of 1,000 offers that change 500 times each.
func BenchmarkSum(b *testing.B) {
	var all []plan.Series
	for i := range 1000 {
		s := plan.Series{Host: string(rune(i)), Model: "x"}
		for j := range 500 {
			s.Quotes = append(s.Quotes, quote(j*720/500, int64(20+j%30), j%8))
		}
		all = append(all, s)
	}
	q := Query{Shape: four(), Since: t0, Until: t0.Add(720 * time.Hour), Steps: 400}
	for b.Loop() {
		Sum(q, all)
	}
}
