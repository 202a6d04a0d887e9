package plan

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
)

// witnesses lets so much time pass, shows the machines again and says what was learnt.
func witnesses(in *Input, after time.Duration, list ...market.Instance) Witnessed {
	in.Now = in.Now.Add(after)
	in.Snapshot.Instances = market.Section[[]market.Instance]{Value: list, At: in.Now, Complete: true}
	return Witness(&in.History, look(*in))
}

func TestTheCostsOfADayAndPolicyAddUpToItsSpend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Snapshot.Instances.Value = drawList(t, in)
		in.History = in.History.Clone()
		sum := map[spendKey]market.Amount{}
		for _, s := range in.History.Spend {
			sum[spendKey{s.Day, s.Policy}] = s.Amount
		}
		for range 3 {
			in.Now = in.Now.Add(rapid.SampledFrom([]time.Duration{0, time.Minute, 20 * time.Hour}).Draw(t, "passes"))
			for _, c := range Witness(&in.History, look(in)).Costs {
				k := spendKey{c.Day, c.Policy}
				sum[k] = sum[k].Add(c.Amount)
				if c.Billed < 0 || c.Stored < 0 || c.Unpriced > c.Billed {
					t.Fatalf("impossible times: %+v", c)
				}
			}
			for _, s := range in.History.Spend {
				if sum[spendKey{s.Day, s.Policy}] != s.Amount {
					t.Fatalf("%s of %s cost %s, its spend is %s", s.Day, s.Policy, sum[spendKey{s.Day, s.Policy}], s.Amount)
				}
			}
		}
	})
}

func TestACostSaysWhatTheSameTimeWouldHaveBeenOnDemand(t *testing.T) {
	p := newPolicy("p", 1)
	host := newHost("h1", 0, "0.40") // all-in 0.449 on demand
	in := newInput([]market.Host{host}, p)
	m := newMachine(p, 1, "h1", "0.20")
	in.History.Machines = []Machine{m}
	got := witnesses(&in, time.Hour, as(m, market.StatusRunning)).Costs
	if len(got) != 1 || got[0].Machine != m.Name || got[0].ID != m.ID || got[0].Host != "h1" || got[0].Model != rtx4090 || got[0].GPUs != 1 ||
		got[0].Capacity != market.Spot || got[0].Day != "2026-03-10" {
		t.Fatalf("%+v", got)
	}
	c := got[0]
	if c.Amount != usd("0.205").For(time.Hour) || c.OnDemand != usd("0.449").For(time.Hour) || c.Billed != Span(time.Hour) || c.Unpriced != 0 {
		t.Errorf("%+v", c)
	}
	// The host leaves the list: it is taken to ask what it did. Outbid, the disk alone
	// is charged, and is compared with nothing.
	in.Snapshot.Hosts.Value = nil
	c = witnesses(&in, time.Hour, as(m, market.StatusRunning)).Costs[0]
	if c.OnDemand != usd("0.449").For(time.Hour) {
		t.Errorf("%+v", c)
	}
	witnesses(&in, time.Minute, as(m, market.StatusOutbid))
	c = witnesses(&in, time.Hour, as(m, market.StatusOutbid)).Costs[0]
	if c.Stored != Span(time.Hour) || c.Billed != 0 || c.OnDemand != 0 || c.Amount != usd("0.005").For(time.Hour) {
		t.Errorf("%+v", c)
	}
}

func TestWhatIsPaidForNothingIsIdleAndAPolicysTotalsAreTheSumsOfItsCosts(t *testing.T) {
	p := newPolicy("p", 2)
	host := newHost("h1", 2, "0.40")
	in := newInput([]market.Host{host}, p)
	runs, lost := newMachine(p, 1, "h1", "0.20"), newMachine(p, 2, "h1", "0.20")
	in.History.Machines = []Machine{runs, lost}
	sum := Cost{}
	idle := func(d time.Duration, second market.Status) market.Amount {
		was := sum.Idle
		for _, c := range witnesses(&in, d, as(runs, market.StatusRunning), as(lost, second)).Costs {
			if c.Idle > c.Amount || c.Machine == runs.Name && c.Idle != 0 {
				t.Errorf("%+v", c)
			}
			sum.Add(&c)
		}
		return sum.Idle.Sub(was)
	}
	if got := idle(time.Hour, market.StatusOutbid); got != 0 {
		t.Errorf("%s of an hour at whose beginning both ran", got)
	}
	if got, want := idle(time.Hour, market.StatusOutbid), usd("0.005").For(time.Hour); got != want {
		t.Errorf("%s of an hour outbid, want its disk's %s", got, want)
	}
	if got, want := idle(time.Minute, market.StatusRunning), usd("0.205").For(time.Minute); got != want {
		t.Errorf("%s of the minute in which it came back, want %s", got, want)
	}
	if got := idle(time.Hour, market.StatusRunning); got != 0 || sum.OnDemand == 0 {
		t.Errorf("%s of an hour in which both ran", got)
	}
	want := Total{Policy: "p", Amount: sum.Amount, OnDemand: sum.OnDemand, Uncompared: sum.Uncompared, Idle: sum.Idle}
	if got := in.History.Totals; len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestATimeWithoutAPriceOnDemandIsSaidToBe(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "h1", "0.20")
	in.History.Machines = []Machine{m}
	c := witnesses(&in, time.Hour, as(m, market.StatusRunning)).Costs[0]
	if c.Billed != Span(time.Hour) || c.Unpriced != Span(time.Hour) || c.OnDemand != 0 || c.Uncompared != c.Amount {
		t.Errorf("%+v", c)
	}
}

func TestADaysCostsEndAtItsMidnight(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "h1", "0.20")
	in.History.Machines = []Machine{m}
	got := witnesses(&in, 13*time.Hour, as(m, market.StatusRunning)).Costs
	if len(got) != 2 || got[0].Day != "2026-03-10" || got[0].Billed != Span(12*time.Hour) || got[1].Day != "2026-03-11" || got[1].Billed != Span(time.Hour) {
		t.Errorf("%+v", got)
	}
}

func TestASpanIsExactSecondsInJSON(t *testing.T) {
	b, err := json.Marshal(Span(90*time.Second + 250*time.Millisecond))
	if err != nil || string(b) != "90.25" {
		t.Fatalf("%s, %v", b, err)
	}
	var s Span
	if err := json.Unmarshal(b, &s); err != nil || s != Span(90*time.Second+250*time.Millisecond) {
		t.Errorf("%d, %v", s, err)
	}
}

func TestARateAboveTheAgreedOneIsToldOnceAndFromAQuarterOnStopsGrowth(t *testing.T) {
	for _, c := range []struct {
		charged       string
		told, stopped bool
	}{{"0.21", false, false}, {"0.24", true, false}, {"0.30", true, true}} {
		t.Run(c.charged, func(t *testing.T) {
			p := newPolicy("p", 1)
			in := newInput(nil, p)
			m := newMachine(p, 1, "h1", "0.195") // sold for 0.20
			in.History.Machines = []Machine{m}
			inst := as(m, market.StatusRunning)
			inst.Compute, inst.Total = market.Maybe[market.Rate]{}, market.Some(usd(c.charged))
			told, stopped := 0, 0
			for range 3 {
				for _, e := range witnesses(&in, time.Minute, inst).Events {
					told += map[bool]int{true: 1}[e.Kind == EventBill]
					stopped += map[bool]int{true: 1}[e.Kind == EventBreaker]
				}
			}
			if told+stopped != map[bool]int{true: 1}[c.told] || stopped != map[bool]int{true: 1}[c.stopped] {
				t.Errorf("told %d times, stopped %d times", told, stopped)
			}
		})
	}
}

func TestTheBalanceOfADayBeginsWithTheLastReadingBeforeItAndKnowsDeposits(t *testing.T) {
	in := newInput(nil, newPolicy("p", 1))
	in.History.Account = Account{}
	var days []Balance
	at := func(after time.Duration, dollarsLeft int64) {
		in.Snapshot.Balance.Value.Balance = market.Some(dollars(dollarsLeft))
		if b, ok := witnesses(&in, after).Balance.Get(); ok {
			if n := len(days); n > 0 && days[n-1].Day == b.Day {
				days[n-1].Add(&b)
				return
			}
			days = append(days, b)
		}
	}
	at(time.Minute, 100)
	at(11*time.Hour, 100) // 23:01
	at(time.Minute, 150)  // a deposit: believed when it is repeated
	for range 4 {
		at(time.Minute, 150)
	}
	at(2*time.Hour, 150) // the next day
	if len(days) != 2 || days[0] != (Balance{Day: "2026-03-10", Open: dollars(100), Close: dollars(150), Deposits: dollars(50)}) || days[0].Fell() != 0 {
		t.Fatalf("%+v", days)
	}
	if days[1].Open != dollars(150) || days[1].Day != "2026-03-11" {
		t.Errorf("%+v", days[1])
	}
}
