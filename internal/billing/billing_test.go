package billing

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func cents(n int64) market.Amount { return market.Amount(n * market.Cent) }

func hour(n int) plan.Span { return plan.Span(time.Duration(n) * time.Hour) }

// someCosts are of two machines of two policies, of what was spent before machines
// were on record, and of the rest of the account.
func someCosts() []plan.Cost {
	return []plan.Cost{
		{Day: "2026-03-01", Policy: "train", Amount: cents(700)},
		{Day: "2026-03-10", Policy: "train", Machine: "a", ID: "id-a", Host: "h1", Model: "x", GPUs: 2, Amount: cents(300), Billed: hour(10), OnDemand: cents(500)},
		{Day: "2026-03-10", Policy: "web", Machine: "b", ID: "id-b", Host: "h2", Model: "x", GPUs: 1, Amount: cents(100), Billed: hour(4), Stored: hour(2), OnDemand: cents(80), Unpriced: hour(1), Uncompared: cents(40)},
		{Day: "2026-03-11", Policy: "train", Machine: "a", ID: "id-a", Host: "h1", Model: "x", GPUs: 2, Amount: cents(60), Billed: hour(2), OnDemand: cents(100)},
		{Day: "2026-03-11", Policy: "~account", Amount: cents(1000)},
	}
}

func TestLinesAddUpToTheTotalWhateverTheyAreSummedBy(t *testing.T) {
	for _, by := range Ways() {
		for _, rest := range []bool{false, true} {
			s := Sum(by, "", "", someCosts(), rest)
			var amount, saved market.Amount
			for _, l := range s.Lines {
				amount, saved = amount.Add(l.Amount), saved.Add(l.Saved)
			}
			want := cents(1160)
			if rest {
				want = cents(2160)
			}
			if amount != want || s.Total.Amount != want || saved != s.Total.Saved || s.Total.Saved != cents(260) {
				t.Errorf("by %s: lines %s, total %s, saved %s, want %s", by, amount, s.Total.Amount, s.Total.Saved, want)
			}
		}
	}
}

func TestWhatHasNoPriceOnDemandIsNotCompared(t *testing.T) {
	s := Sum(ByPolicy, "2026-03-01", "2026-03-31", someCosts(), true)
	want := []Line{
		{Key: "train", Amount: cents(1060), GPUHours: 24, MachineHours: 12, OnDemand: cents(600), Uncompared: cents(700), Saved: cents(240)},
		{Key: Rest, Amount: cents(1000), Uncompared: cents(1000)},
		{Key: "web", Amount: cents(100), GPUHours: 4, MachineHours: 4, StoredHours: 2, OnDemand: cents(80), UnpricedHours: 1, Uncompared: cents(40), Saved: cents(20)},
	}
	if diff := cmp.Diff(want, s.Lines); diff != "" {
		t.Error(diff)
	}
	days := Sum(ByDay, "", "", someCosts(), true).Lines
	if len(days) != 3 || days[0].Key != "2026-03-01" || days[2].Key != "2026-03-11" || days[2].Amount != cents(1060) {
		t.Errorf("%+v", days)
	}
	box := []plan.Cost{{Day: "2026-03-01", Policy: "web", Machine: "tds-main-web-box", Amount: cents(5), Uncompared: cents(5)}}
	for by, want := range map[By]string{ByModel: Untold, ByHost: Untold, ByPolicy: "web", ByMachine: "tds-main-web-box"} {
		if got := Sum(by, "", "", box, false).Lines; len(got) != 1 || got[0].Key != want {
			t.Errorf("a container by %s: %+v, want %s", by, got, want)
		}
	}
	if m := Sum(ByModel, "", "", someCosts(), false).Lines; len(m) != 2 || m[0].Key != Unnamed || m[1].Key != "x" {
		t.Errorf("%+v", m)
	}
}

func TestTheBillIsHeldAgainstTheBooksMachineByMachine(t *testing.T) {
	line := func(kind, id string, n int64) BillLine {
		return BillLine{Kind: kind, Machine: id, Amount: market.Some(cents(n))}
	}
	c := Compare("2026-03", someCosts(), Bill{Lines: []BillLine{
		line("vm_expenses", "id-a", 500), line("storage_expenses", "id-a", 10), line("vm_expenses", "somebody-elses", 200),
		line("deposits", "", 5000),
		{Kind: "vm_expenses", Machine: "id-b"},
	}})
	want := []Row{
		{Machine: Unnamed, Policy: "train", Books: cents(700), Difference: cents(-700)},
		{ID: "id-a", Machine: "a", Policy: "train", Host: "h1", Books: cents(360), Bill: market.Some(cents(510)), Difference: cents(150)},
		{ID: "id-b", Machine: "b", Policy: "web", Host: "h2", Books: cents(100), Difference: cents(-100)},
	}
	if diff := cmp.Diff(want, c.Rows, cmp.Comparer(func(a, b market.Maybe[market.Amount]) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if c.Ours != cents(510) || c.Others != cents(200) || c.Books != cents(1160) || c.Rest != cents(1000) || c.Unread != 1 {
		t.Errorf("%+v", c)
	}
}

var begun = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

func outage(lasted time.Duration, rate int64) plan.Outage {
	u := plan.Outage{Machine: "a", Cause: "stopped", From: begun, LastAt: begun.Add(lasted), To: begun.Add(lasted)}
	if rate > 0 {
		u.Rate = market.Some(market.Rate(rate * market.Cent))
	}
	return u
}

func before(n int64) []plan.Cost {
	return []plan.Cost{{Day: "2026-02-28", Policy: "p", Amount: cents(n)}}
}

func TestACreditIsFiveOrTenTimesTheRateWithALeastAndAMost(t *testing.T) {
	for name, c := range map[string]struct {
		outages       []plan.Outage
		costs         []plan.Cost
		standard, top market.Amount
	}{
		"ten hours at 0.40":                                {[]plan.Outage{outage(10*time.Hour, 40)}, before(100_00), cents(20_00), cents(40_00)},
		"a minute is given the least":                      {[]plan.Outage{outage(time.Minute, 40)}, before(100_00), cents(5_00), cents(5_00)},
		"no more than was spent the month before":          {[]plan.Outage{outage(10*time.Hour, 40)}, before(30_00), cents(20_00), cents(30_00)},
		"the most is stronger than the least":              {[]plan.Outage{outage(time.Minute, 40)}, before(1_00), cents(1_00), cents(1_00)},
		"without a month before there is no most":          {[]plan.Outage{outage(10*time.Hour, 40)}, nil, cents(20_00), cents(40_00)},
		"an outage without a rate is counted with nothing": {[]plan.Outage{outage(10*time.Hour, 0)}, nil, 0, 0},
		"a lost disk is forty hours more": {[]plan.Outage{func() plan.Outage {
			u := outage(time.Hour, 40)
			u.DataLost = true
			return u
		}()}, nil, cents(18_00), cents(20_00)},
	} {
		t.Run(name, func(t *testing.T) {
			m := Reckon(c.outages, c.costs, time.UTC).Months
			if len(m) != 1 || m[0].Month != "2026-03" || m[0].Standard != c.standard || m[0].Top != c.top || m[0].Cap.Known() != (c.costs != nil) {
				t.Errorf("%+v", m)
			}
		})
	}
}

func TestAnOutageThatLastsIsClaimedUntilItsNewestLook(t *testing.T) {
	u := outage(2*time.Hour, 40)
	u.To = time.Time{}
	c := Reckon([]plan.Outage{u}, nil, time.UTC).Claims
	if len(c) != 1 || c[0].Seconds != 7200 || c[0].Standard != market.Some(cents(4_00)) || c[0].Loss.Known() {
		t.Errorf("%+v", c)
	}
}
