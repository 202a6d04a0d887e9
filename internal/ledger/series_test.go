package ledger

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func drawRate(t *rapid.T, label string) market.Maybe[market.Rate] {
	if rapid.IntRange(0, 9).Draw(t, label+" is unknown") == 0 {
		return market.Maybe[market.Rate]{}
	}
	return market.Some(market.Rate(rapid.OneOf(rapid.Int64Range(0, 5e9), rapid.Int64Range(0, math.MaxInt64-1)).Draw(t, label)))
}

func drawSeries(t *rapid.T) plan.Series {
	s := plan.Series{
		Host: rapid.StringN(0, 40, 40).Draw(t, "host"), Model: "l40-pcie-48gb",
		Location: market.Location{Country: "Norway", City: rapid.StringN(0, 20, 20).Draw(t, "city")}, Quotes: []plan.Quote{}, Prices: []plan.Price{},
	}
	at := start
	for range rapid.IntRange(0, 40).Draw(t, "quotes") {
		at = at.Add(time.Duration(rapid.IntRange(-5, 1e6).Draw(t, "later")) * time.Second)
		q := plan.Quote{At: at, Free: rapid.IntRange(0, 1000).Draw(t, "free"), Open: rapid.Bool().Draw(t, "open")}
		q.GPU, q.VCPU, q.RAM, q.Storage = drawRate(t, "gpu"), drawRate(t, "vcpu"), drawRate(t, "ram"), drawRate(t, "storage")
		s.Quotes = append(s.Quotes, q)
	}
	for range rapid.IntRange(0, 40).Draw(t, "prices") {
		at = at.Add(time.Duration(rapid.IntRange(-5, 1e6).Draw(t, "later")) * time.Second)
		n := func(label string) int { return rapid.IntRange(0, 5000).Draw(t, label) }
		s.Prices = append(s.Prices, plan.Price{
			At: at, Host: s.Host, Model: s.Model, Shape: market.Shape{GPUs: n("gpus"), VCPUs: n("vcpus"), RAM: n("ram"), Storage: n("storage")},
			Bid: market.Rate(rapid.Int64Range(0, math.MaxInt64).Draw(t, "bid")), Answer: rapid.SampledFrom(plan.PriceAnswers()).Draw(t, "answer"),
			Seconds: int64(n("seconds")),
		})
	}
	return s
}

func TestASeriesIsReadBackAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSeries(t)
		b, err := pack(&s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := unpack(b)
		if d := cmp.Diff(asJSONOf(got), asJSONOf(s)); err != nil || d != "" {
			t.Fatal(err, d)
		}
		for n := range b {
			if _, err := unpack(b[:n]); err == nil {
				t.Fatalf("cut to %d of %d bytes it is still read", n, len(b))
			}
		}
	})
	if _, err := pack(&plan.Series{Prices: []plan.Price{{Answer: "perhaps"}}}); err == nil {
		t.Error("an answer that nobody knows is stored")
	}
}

func FuzzWhateverIsReadAsASeriesIsBounded(f *testing.F) {
	b, err := pack(&plan.Series{Host: "a", Quotes: []plan.Quote{{At: start, Free: 1}}, Prices: []plan.Price{{Answer: market.Accepted}}})
	must(f, err)
	f.Add(b)
	f.Add([]byte{1, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := unpack(b)
		if err == nil && (len(s.Quotes) > len(b) || len(s.Prices) > len(b)) {
			t.Errorf("%d bytes hold %d quotes and %d prices", len(b), len(s.Quotes), len(s.Prices))
		}
	})
}

func series(tb testing.TB, l *Ledger) map[string]plan.Series {
	tb.Helper()
	out := map[string]plan.Series{}
	must(tb, l.EachSeries(func(s plan.Series) error {
		out[s.Host] = s
		return nil
	}))
	return out
}

func putQuotes(tb testing.TB, l *Ledger, at time.Time, hosts ...market.Host) {
	tb.Helper()
	must(tb, l.Update(func(tx *Tx) error { return tx.PutQuotes(hosts, at) }))
}

func TestOnlyWhatChangedOfTheOffersIsWritten(t *testing.T) {
	path := tempPath(t)
	l := mustOpen(t, Options{Path: path, NoSync: true})
	hosts := newWorld(3, 0, 0).hosts
	at := start
	look := func(hosts ...market.Host) {
		at = at.Add(time.Minute)
		putQuotes(t, l, at, hosts...)
	}
	look(hosts...)
	before := l.state.Load().counts.clone()
	look(hosts...)
	if d := cmp.Diff(before, l.state.Load().counts); d != "" {
		t.Errorf("a look that shows nothing new: %s", d)
	}
	hosts[1].GPUs[0].Price = market.Some(market.USD(1, 23))
	look(hosts...)
	look(hosts[0], hosts[1])
	look() // an empty list says nothing
	must(t, l.Close())
	l = mustOpen(t, Options{Path: path, NoSync: true}) // and what was last seen is known again
	look(hosts[0], hosts[1])
	look(hosts...)
	all := series(t, l)
	for i, want := range []int{1, 2, 3} {
		s := all[hosts[i].ID]
		if len(s.Quotes) != want || s.Location != hosts[i].Location || s.Model != hosts[i].GPUs[0].Model {
			t.Errorf("host %d: %+v", i, s)
		}
	}
	q := all[hosts[1].ID].Quotes[1]
	if want := plan.QuoteOf(&hosts[1], &hosts[1].GPUs[0], start.Add(3*time.Minute)); q != want {
		t.Errorf("%+v, want %+v", q, want)
	}
	if gone := all[hosts[2].ID].Quotes[1]; gone.Open || gone.Free != 0 || !gone.At.Equal(start.Add(4*time.Minute)) {
		t.Errorf("%+v", gone)
	}
	must(t, l.Verify())
}

func TestAChangeOfOffersThatIsRolledBackIsWrittenTheNextTime(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true})
	hosts := newWorld(1, 0, 0).hosts
	err := l.Update(func(tx *Tx) error {
		must(t, tx.PutQuotes(hosts, start))
		return fmt.Errorf("no")
	})
	if err == nil || len(series(t, l)) != 0 {
		t.Fatal(err)
	}
	putQuotes(t, l, start, hosts...)
	if len(series(t, l)) != 1 {
		t.Error("it was forgotten")
	}
}

func TestAnOfferThatFlickersIsThinnedBeforeItIsForgotten(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true})
	h := newWorld(1, 0, 0).hosts[0]
	must(t, l.Update(func(tx *Tx) error {
		for i := range 20_000 {
			h.GPUs = slices.Clone(h.GPUs)
			h.GPUs[0].Free = 1 + i%7
			if i%500 == 0 {
				h.GPUs[0].Price = market.Some(market.Rate(i + 1))
			}
			must(t, tx.changeSeries("test", []seriesKey{keyOf(h.ID, h.GPUs[0].Model)}, func(_ seriesKey, s *plan.Series) {
				s.Quotes = append(s.Quotes, plan.QuoteOf(&h, &h.GPUs[0], start.Add(time.Duration(i)*time.Minute)))
			}))
		}
		return nil
	}))
	s := series(t, l)[h.ID]
	prices := map[market.Rate]bool{}
	for _, q := range s.Quotes {
		prices[q.GPU.Or(0)] = true
	}
	if n := l.state.Load().counts.Sizes[bucketPrices].Bytes; n > longestRun+seriesIDLen+sealLen || len(prices) < 35 || s.Quotes[len(s.Quotes)-1].Free != 1+19_999%7 {
		t.Errorf("%d bytes, %d quotes, %d prices", n, len(s.Quotes), len(prices))
	}
}

func TestTheHistoryOfPricesIsBoundedInAll(t *testing.T) {
	const most = 256 << 10
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true, MaxSize: most})
	w := newWorld(100, 0, 0)
	w.churn = 1
	at := start
	for range 500 {
		at = at.Add(time.Minute)
		w.next()
		putQuotes(t, l, at, w.hosts...)
	}
	if n := l.state.Load().counts.Sizes[bucketPrices]; n.Records != 100 || n.Bytes > most/seriesShare+100*(seriesIDLen+sealLen) || n.Bytes < most/seriesShare/4 {
		t.Errorf("%+v", n)
	}
	must(t, l.Verify())
}

func TestPricesAreForgottenButNotWhatHoldsSince(t *testing.T) {
	l := mustOpen(t, Options{Path: tempPath(t), NoSync: true, Retention: time.Hour})
	hosts := newWorld(2, 0, 0).hosts
	putQuotes(t, l, start, hosts...)
	hosts[0].GPUs[0].Free += 3
	putQuotes(t, l, start.Add(time.Minute), hosts[0]) // the other is gone
	must(t, l.PutPrices([]plan.Price{{At: start, Host: hosts[1].ID, Model: hosts[1].GPUs[0].Model, Answer: plan.PriceOutbid}}))
	must(t, l.Prune(start.Add(24*time.Hour)))
	all := series(t, l)
	if s := all[hosts[0].ID]; len(all) != 1 || len(s.Quotes) != 1 || s.Quotes[0].Free != hosts[0].GPUs[0].Free {
		t.Errorf("%+v", all)
	}
	putQuotes(t, l, start.Add(25*time.Hour), hosts...) // it is back
	if all := series(t, l); len(all) != 2 || len(all[hosts[0].ID].Quotes) != 1 {
		t.Errorf("%+v", all)
	}
	must(t, l.Verify())
}

func TestPricesOfAnOlderLedgerAreGathered(t *testing.T) {
	o := Options{Path: tempPath(t), NoSync: true}
	l, err := openAs(o, 2, migrations()[:1])
	must(t, err)
	p := plan.Price{Host: "a", Model: "l40-pcie-48gb", Answer: market.Refused}
	must(t, l.Update(func(tx *Tx) error {
		must(t, tx.w.tx.DeleteBucket([]byte(bucketHosts)))
		for i := range 9 {
			p.At, p.Bid, p.Shape.GPUs = start.Add(time.Duration(i)*time.Minute), market.Rate(i), 1+i%2
			must(t, tx.w.putJSON(bucketPrices, []byte(strings.Repeat("k", 31)+fmt.Sprint(i)), p))
		}
		return nil
	}))
	must(t, l.Close())
	if l, err = openAs(o, 2, migrations()[:1]); err != nil || len(must1(l.Prices(PriceFilter{}))) != 9 {
		t.Fatal(err)
	}
	must(t, l.Verify())
	must(t, l.Close())
	l = mustOpen(t, o)
	all := must1(l.Prices(PriceFilter{}))
	if s := series(t, l); len(s) != 1 || len(all) != 9 || all[0] != p {
		t.Errorf("%+v, want %+v", all, p)
	}
	must(t, l.Verify())
}

// BenchmarkPutQuotes1000Hosts is what the price history costs a cycle.
func BenchmarkPutQuotes1000Hosts(b *testing.B) {
	for _, churn := range []float64{0, 0.01, 0.1} {
		b.Run(fmt.Sprintf("churn=%g", churn), func(b *testing.B) {
			l := mustOpen(b, Options{Path: tempPath(b), NoSync: true})
			w := newWorld(1000, 0, 0)
			w.churn = churn
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				w.next()
				b.StartTimer()
				putQuotes(b, l, w.now, w.hosts...)
			}
			b.ReportMetric(float64(l.state.Load().counts.Sizes[bucketPrices].Bytes)/float64(b.N), "kept/cycle")
		})
	}
}
