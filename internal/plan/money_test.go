package plan

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// hour is what the usual machine costs in one.
var hour = market.Amount(usd("0.205"))

// one is a world with one running machine, looked at once.
func one(t *testing.T) (Input, market.Instance) {
	t.Helper()
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	in.History.Machines = []Machine{newMachine(p, 1, "a", "0.20")}
	inst := shown(in.History.Machines[0])
	observed(&in, inst)
	return in, inst
}

// glance looks again, when the clock says now and up has truly passed since t0.
func glance(in *Input, now time.Time, up time.Duration, list ...market.Instance) []Event {
	in.Now = now
	l := look(*in)
	l.Snapshot.Instances.Value, l.Snapshot.Instances.At = list, now
	l.Up = t0.Sub(t0.AddDate(-1, 0, 0)) + up
	return Observe(&in.History, l)
}

func TestAClockThatIsSetNeitherForgivesNorDoublesSpend(t *testing.T) {
	for name, step := range map[string]time.Duration{
		"an hour forward": time.Hour, "an hour back": -time.Hour, "two days forward": 48 * time.Hour, "a day back": -24 * time.Hour,
		"a month forward": 31 * 24 * time.Hour, "half a year back": -4380 * time.Hour,
	} {
		in, inst := one(t)
		glance(&in, t0.Add(time.Hour), time.Hour, inst)
		events := glance(&in, t0.Add(2*time.Hour+step), 2*time.Hour, inst)
		if s := in.History.Spent("p", in.Now); s != (Spent{2 * hour, 2 * hour, 2 * hour}) {
			t.Errorf("%s: %+v", name, s)
		}
		if !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == EventClock }) {
			t.Errorf("%s: nobody was told", name)
		}
		glance(&in, t0.Add(3*time.Hour), 3*time.Hour, inst) // somebody sets it right
		if s := in.History.Spent("p", in.Now); s != (Spent{3 * hour, 3 * hour, 3 * hour}) {
			t.Errorf("%s, and set right: %+v in %+v", name, s, in.History.Spend)
		}
	}
}

func TestAClockThatIsSetAddsNoOtherDaysSpendToThePresentOne(t *testing.T) {
	for name, step := range map[string]time.Duration{
		"an hour forward": time.Hour, "a day back": -24 * time.Hour, "a day forward": 24 * time.Hour, "nine days back": -9 * 24 * time.Hour,
		"ten days back": -10 * 24 * time.Hour, "a month back": -28 * 24 * time.Hour, "a month forward": 31 * 24 * time.Hour, "three weeks forward": 21 * 24 * time.Hour,
		"two years forward": 731 * 24 * time.Hour,
	} {
		in, inst := one(t)
		for d := t0.AddDate(0, 0, -25); d.Before(t0); d = d.AddDate(0, 0, 1) { // a dollar on each day before the tenth of March
			in.History.Spend = append(in.History.Spend, Spend{d.Format(time.DateOnly), "p", dollars(1)})
		}
		check := func(when string, hours market.Amount) {
			t.Helper()
			if s := in.History.Spent("p", in.Now); s.Day != hours*hour || s.Month != hours*hour+dollars(9) {
				t.Errorf("%s, %s: %+v in %+v", name, when, s, in.History.Spend)
			}
		}
		glance(&in, t0.Add(time.Hour), time.Hour, inst)
		check("before", 1)
		glance(&in, t0.Add(2*time.Hour+step), 2*time.Hour, inst)
		check("set", 2)
		glance(&in, t0.Add(3*time.Hour+step), 3*time.Hour, inst)
		check("later", 3)
		glance(&in, t0.Add(4*time.Hour), 4*time.Hour, inst)
		check("set right", 4)
	}
}

func TestAClockThatIsSetMakesNothingOlder(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 8, "0.35")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	observed(&in)
	intent, err := Begin(&in.History, Compute(in).Actions[0], in.CapsFor("p"), 1, 1, nameOf("p", 1), in.Now)
	if err != nil {
		t.Fatal(err)
	}
	Lose(&in.History, &intent, "timeout", in.Now)
	for i := range 20 { // a lost order, and a clock that runs away between the looks
		d := time.Duration(i+1) * time.Second
		glance(&in, t0.Add(d).AddDate(0, 0, i), d)
	}
	if in.History.Machine(intent.Machine) == nil {
		t.Fatal("an order of twenty seconds ago was given up: it would be bought again")
	}
	glance(&in, t0.Add(11*time.Minute), 11*time.Minute)
	if in.History.Machine(intent.Machine) != nil {
		t.Fatal("an order of eleven minutes ago, in none of many lists, was kept")
	}
}

func TestARestartKnowsHowLongItWasDownAndARebootBelievesTheClock(t *testing.T) {
	in, inst := one(t)
	glance(&in, t0.Add(5*time.Hour), 5*time.Hour, inst) // the same boot: it was down for five hours
	if s := in.History.Spent("p", in.Now); s.Day != 5*hour {
		t.Fatalf("%+v", s)
	}
	reboot := func(now time.Time) {
		in.Now = now
		l := look(in)
		l.Snapshot.Instances.Value, l.Snapshot.Instances.At = []market.Instance{inst}, now
		l.Boot, l.Up = "another "+now.String(), time.Minute
		Observe(&in.History, l)
	}
	reboot(t0.Add(6 * time.Hour))
	if s := in.History.Spent("p", in.Now); s.Day != 6*hour {
		t.Fatalf("after a reboot of an hour: %+v", s)
	}
	reboot(t0) // its clock was set back; how long it took nobody knows
	if s := in.History.Spent("p", in.Now); s.Day != 6*hour {
		t.Fatalf("%+v", s)
	}
	in.History.Clock.Boot = ""
	in.Now = t0.Add(time.Hour)
	l := look(in)
	l.Boot, l.Snapshot.Instances.Value = "", []market.Instance{inst}
	Observe(&in.History, l)
	if s := in.History.Spent("p", in.Now); s.Day != 7*hour {
		t.Fatalf("an hour later the machine was not charged: %+v", s)
	}
}

func TestAPauseIsNeverShortenedByAClockThatIsSet(t *testing.T) {
	in, inst := one(t)
	in.History.Pauses = []Pause{{Since: t0, Until: t0.Add(2 * time.Hour)}}
	glance(&in, t0.Add(24*time.Hour), time.Hour, inst)
	if in.History.PausedBy("p", in.Now) == nil {
		t.Error("a clock set forward ended a pause")
	}
	glance(&in, t0.Add(time.Hour), time.Hour, inst)
	if in.History.PausedBy("p", in.Now) == nil {
		t.Error("a clock set back ended a pause")
	}
}

func TestDaysAndMonthsBeginInTheirTimeZone(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	in.Budget.Zone = "Asia/Tokyo" // nine hours ahead: midnight is at 15:00 UTC
	m := newMachine(p, 1, "a", "0.20")
	m.MeteredAt = time.Date(2026, 3, 31, 14, 0, 0, 0, time.UTC)
	in.History.Machines = []Machine{m}
	in.Now = time.Date(2026, 3, 31, 17, 0, 0, 0, time.UTC)
	observed(&in, shown(m))
	tokyo := in.Now.In(in.Budget.Zone.Location())
	if s := in.History.Spent("p", tokyo); s != (Spent{2 * hour, 2 * hour, 3 * hour}) {
		t.Errorf("%+v in %+v", s, in.History.Spend)
	}
	in.Budget.MaxDaily = market.Some(2*hour + 1)
	wantActions(t, Compute(in), "delete "+nameOf("p", 1)+" over_budget")
	in.Budget.Zone = "" // by UTC three hours were spent on the 31st
	in.Budget.MaxDaily = market.Some(20 * hour)
	wantActions(t, Compute(in))
}

func TestAWholeLifesMoneyEndsAPolicy(t *testing.T) {
	p := newPolicy("p", 2)
	in := newInput([]market.Host{newHost("b", 8, "0.35")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "b", "0.20")}
	in.History.Machines = []Machine{newMachine(p, 1, "a", "0.30")}
	in.Policies[0].Budget.MaxTotal = market.Some(dollars(5))
	spent := func(cents int64) Plan {
		in.History.Totals = []Total{{Policy: "p", Amount: market.Amount(cents * market.Cent)}, {Policy: "q", Amount: dollars(900)}}
		return Compute(in)
	}
	wantActions(t, spent(480), "deploy b below_target")
	wantHold(t, spent(483), HoldBudget)
	wantActions(t, spent(494)) // 0.305 for 11 minutes is 0.056
	wantActions(t, spent(495), "delete "+nameOf("p", 1)+" over_budget")
}

func TestADayThatEndsSoonIsNotSavedFor(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	in.Now = time.Date(2026, 3, 10, 23, 59, 0, 0, time.UTC)
	in.History.Machines = []Machine{newMachine(p, 1, "a", "0.30")}
	in.Budget.MaxDaily = market.Some(dollars(5))
	in.History.Spend = []Spend{{"2026-03-10", "p", dollars(5) - market.Amount(2*market.Cent)}}
	wantActions(t, Compute(in)) // one minute costs half a cent
	in.History.Spend[0].Amount = dollars(5) - market.Amount(market.Cent/10)
	wantActions(t, Compute(in), "delete "+nameOf("p", 1)+" over_budget")
}

func TestOrdersThatNoLookHasShownAreShedFor(t *testing.T) {
	p := newPolicy("p", 2)
	in := newInput(nil, p)
	lost := newMachine(p, 2, "b", "0.30")
	lost.Phase, lost.ID, lost.Status = PhaseUnknown, "", market.StatusUnknown
	in.History.Machines = []Machine{newMachine(p, 1, "a", "0.30"), lost}
	in.Budget.MaxDaily = market.Some(dollars(5))
	in.History.Spend = []Spend{{"2026-03-10", "p", dollars(5) - market.Amount(10*market.Cent)}}
	wantActions(t, Compute(in), "delete "+nameOf("p", 1)+" over_budget") // 0.61 for 11 minutes is 0.112
}

func TestAShortBalanceIsShedForByPriority(t *testing.T) {
	low, high := newPolicy("low", 1), newPolicy("high", 1)
	high.Priority = 5
	in := newInput(nil, low, high)
	in.History.Machines = []Machine{newMachine(low, 1, "a", "0.20"), newMachine(high, 2, "a", "0.30")}
	believed := func(b policy.Budget, cents int64) Plan {
		in.Budget, in.History.Account.Balance = b, market.Some(market.Amount(cents*market.Cent))
		return Compute(in)
	}
	deleteLow, deleteHigh := "delete "+nameOf("low", 1)+" over_budget", "delete "+nameOf("high", 2)+" over_budget"
	runway := policy.Budget{MinRunway: 10 * time.Hour} // 0.51 an hour are 5.10
	wantActions(t, believed(runway, 510))
	wantActions(t, believed(runway, 509), deleteLow)
	wantActions(t, believed(runway, 304), deleteLow, deleteHigh)
	least := policy.Budget{MinBalance: market.Some(dollars(3))} // 0.51 for 11 minutes are 0.094
	wantActions(t, believed(least, 310))
	wantActions(t, believed(least, 309), deleteLow)
	wantActions(t, believed(least, 299), deleteLow, deleteHigh)
	wantActions(t, believed(policy.Budget{}, 1)) // nobody asked for anything to be kept
	in.History.Account.Others, in.History.Account.Sure = usd("900"), usd("0.20")
	wantActions(t, believed(runway, 510), deleteLow)
	in.Snapshot.Instances.Complete = false
	wantActions(t, believed(runway, 510), deleteLow) // time is money, whatever the market answers
}

func TestABalanceThatEndsBeforeTheNextLookIsShedFor(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	in.History.Machines = []Machine{newMachine(p, 1, "a", "0.20")}
	in.Budget, in.History.Account.Balance = policy.Budget{MinRunway: time.Hour}, market.Some(dollars(1))
	wantActions(t, Compute(in))
	in.Interval = 6 * time.Hour // 0.205 for that long are 1.26: at nothing, the market stops everything
	wantActions(t, Compute(in), "delete "+nameOf("p", 1)+" over_budget")
}

func TestMachinesOfARemovedPolicyAreShedFirstWhereTheyCouldNotBeRemoved(t *testing.T) {
	p, gone := newPolicy("p", 1), newPolicy("gone", 1)
	for name, stop := range map[string]func(*Input){
		"no list":                func(in *Input) { in.Snapshot.Instances.Complete = false },
		"all writes stand still": func(in *Input) { in.History.Breakers = []Breaker{{Code: BreakerSecondDaemon, All: true}} },
	} {
		in := newInput(nil, p)
		in.History.Machines = []Machine{newMachine(p, 1, "a", "0.20"), newMachine(gone, 2, "a", "0.20")}
		in.Budget.MaxDaily = market.Some(dollars(5))
		in.History.Spend = []Spend{{"2026-03-10", "p", dollars(5) - market.Amount(5*market.Cent)}} // 0.41 for 11 minutes are 0.075
		stop(&in)
		t.Log(name)
		wantActions(t, Compute(in), "delete "+nameOf("p", 1)+" over_budget") // this ledger never knew the other one
		in.History.Known = []string{"gone"}
		wantActions(t, Compute(in), "delete "+nameOf("gone", 2)+" over_budget")
		in.History.Pauses = []Pause{{Policy: "gone"}}
		wantActions(t, Compute(in), "delete "+nameOf("p", 1)+" over_budget")
	}
}

func TestAnOutbidMachineOfAnUnknownPolicyHoldsEverything(t *testing.T) {
	in := newInput(nil, newPolicy("p", 1))
	m := newMachine(newPolicy("unknown", 1), 1, "a", "0.20")
	inst := shown(m)
	inst.Status, inst.Compute, inst.Total = market.StatusOutbid, market.Maybe[market.Rate]{}, market.Some(usd("0.005"))
	observed(&in, inst)
	if r := in.History.Reserved(); r != market.MaxRate {
		t.Errorf("%s reserved for what can win again at a bid that nobody knows", r)
	}
}

func TestABalanceThatFallsAtOnceIsBelievedOnlyWhenRepeated(t *testing.T) {
	in, inst := one(t)
	in.Budget.MinBalance = market.Some(dollars(10))
	read := func(d time.Duration, balance int64) Plan {
		in.Snapshot.Balance.Value.Balance = market.Some(dollars(balance))
		glance(&in, t0.Add(d), d, inst)
		return Compute(in)
	}
	wantActions(t, read(time.Minute, 100))
	wantActions(t, read(2*time.Minute, 0)) // a lie of one answer ends nothing
	wantActions(t, read(3*time.Minute, 100))
	wantActions(t, read(4*time.Minute, 0))
	wantActions(t, read(5*time.Minute, 0))
	wantActions(t, read(6*time.Minute, 0), "delete "+nameOf("p", 1)+" over_budget")
	wantActions(t, read(7*time.Minute, 100), "delete "+nameOf("p", 1)+" over_budget") // nor does one mend it
	read(8*time.Minute, 100)
	wantActions(t, read(9*time.Minute, 100))
	in.Snapshot.Balance.Complete = false // unread, it goes down by what is spent
	wantActions(t, read(500*time.Hour, 0), "delete "+nameOf("p", 1)+" over_budget")
}

func TestGrowthUsesTheLowerOfWhatIsReadAndBelieved(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 8, "0.35")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	in.Budget.MinBalance = market.Some(dollars(10))
	for _, c := range []struct{ read, believed, buys int64 }{{100, 100, 1}, {100, 5, 0}, {5, 100, 0}} {
		in.Snapshot.Balance.Value.Balance = market.Some(dollars(c.read))
		in.History.Account.Balance = market.Some(dollars(c.believed))
		if n := len(actions(Compute(in), Deploy)); n != int(c.buys) {
			t.Errorf("read %d, believed %d: %d deploys", c.read, c.believed, n)
		}
	}
}

func TestTheRestOfTheAccountCountsWhereItIsAskedTo(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 8, "0.35")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	in.HourlyCap = usd("1")
	in.Budget = policy.Budget{MaxHourly: market.Some(usd("1")), MaxDaily: market.Some(dollars(10))}
	foreign := market.Instance{ID: "f", Name: "my own", Status: market.StatusRunning, Total: market.Some(usd("0.60"))}
	observed(&in, foreign)
	in.Now = in.Now.Add(time.Hour)
	in.Snapshot.Balance.Value.Hourly = market.Some(usd("0.90")) // and 0.30 that no list shows
	observed(&in, foreign)
	if a := in.History.Account; a.Others != usd("0.90") || a.Sure != usd("0.60") {
		t.Fatalf("%+v", a)
	}
	for range 2 {
		in.Now = in.Now.Add(30 * time.Minute)
		observed(&in, foreign)
	}
	if a := in.History.Account; a.Others != usd("0.90") || a.Sure != usd("0.90") {
		t.Fatalf("%+v", a)
	}
	if s := in.History.SpentInScope(policy.ScopeAccount, in.Now); s.Day != market.Amount(usd("1.50")) || in.History.Spent("", in.Now).Day != 0 {
		t.Fatalf("%+v", in.History.Spend)
	}
	in.Verdicts[0].At = in.Now
	in.History.Gap = market.Maybe[Gap]{} // that only delays, and is another rule's matter
	wantActions(t, Compute(in), "deploy a below_target")
	in.Budget.Scope = policy.ScopeAccount
	wantActions(t, Compute(in))
	wantHold(t, Compute(in), HoldBudget)
	in.HourlyCap, in.Budget.MaxHourly = usd("2"), market.Some(usd("2"))
	wantActions(t, Compute(in), "deploy a below_target")
	in.Budget.MaxDaily = market.Some(dollars(1))
	wantActions(t, Compute(in))
}

func TestOneAnswerAboutTheBillEndsNoMachineAndSpendsNoBudget(t *testing.T) {
	in, inst := one(t)
	in.Budget = policy.Budget{
		Scope: policy.ScopeAccount, MaxHourly: market.Some(usd("1")), MaxDaily: market.Some(dollars(20)),
		MinRunway: 10 * time.Hour, MinBalance: market.Some(dollars(5)),
	}
	in.HourlyCap = usd("1")
	bill := func(d time.Duration, hourly string) Plan {
		in.Snapshot.Balance.Value.Hourly = market.Some(usd(hourly))
		glance(&in, t0.Add(d), d, inst)
		return Compute(in)
	}
	wantActions(t, bill(time.Minute, "0.205"))
	wantActions(t, bill(2*time.Minute, "90000")) // an answer gone wrong
	wantActions(t, bill(3*time.Minute, "0.205"))
	if s := in.History.SpentInScope(policy.ScopeAccount, in.Now); s.Day >= market.Amount(usd("0.205")) {
		t.Fatalf("%s were booked for it", s.Day)
	}
	for i := range 10 {
		wantActions(t, bill(time.Duration(4+i)*time.Minute, "90"))
	}
	wantActions(t, bill(14*time.Minute, "90"), "delete "+nameOf("p", 1)+" over_budget") // it is the bill
	if s := in.History.SpentInScope(policy.ScopeAccount, in.Now); s.Day < market.Amount(usd("90")/6) {
		t.Fatalf("%s were booked for ten minutes at 90 dollars an hour", s.Day)
	}
}

func TestABillAboveTheBooksIsReportedAndThenStopsGrowth(t *testing.T) {
	for name, c := range map[string]struct {
		perHour string // by how much the balance falls
		bill    int    // events that tell of it
		trips   bool
	}{
		"as booked": {"2.05", 0, false}, "less": {"0", 0, false}, "a little more": {"2.40", 1, false}, "much more": {"4.00", 0, true},
	} {
		in, inst := one(t)
		in.History.Machines[0].Bid, in.History.Machines[0].Reserved = market.Some(usd("2.045")), usd("2.05")
		inst.Compute = market.Some(usd("2.045"))
		balance, told := dollars(100), 0
		for i := range 30 {
			d := time.Duration(i+1) * 10 * time.Minute
			balance = balance.Sub(usd(c.perHour).For(10 * time.Minute))
			in.Snapshot.Balance.Value.Balance = market.Some(balance)
			for _, e := range glance(&in, t0.Add(d), d, inst) {
				if e.Kind == EventBill {
					told++
				}
			}
		}
		b := in.History.OpenBreaker(in.Now)
		if (b != nil) != c.trips || told != c.bill || b != nil && b.Code != BreakerBill {
			t.Errorf("%s: breaker %+v, told %d times; %+v", name, b, told, in.History.Account)
		}
		if !c.trips {
			continue
		}
		for i := range 200 { // the bill fits again
			d := time.Duration(i+31) * 10 * time.Minute
			balance = balance.Sub(usd("2.05").For(10 * time.Minute))
			in.Snapshot.Balance.Value.Balance = market.Some(balance)
			glance(&in, t0.Add(d), d, inst)
		}
		if b := in.History.OpenBreaker(in.Now); b != nil {
			t.Errorf("%s: it does not close by itself: %+v", name, b)
		}
	}
}

func TestABillThatDoesNotFitKeepsGrowthStoppedFromOneDayToTheNext(t *testing.T) {
	in, inst := one(t)
	in.History.Machines[0].Bid, in.History.Machines[0].Reserved = market.Some(usd("2.045")), usd("2.05")
	inst.Compute = market.Some(usd("2.045"))
	balance, open := dollars(900), false
	for i := range 50 * 6 {
		d := time.Duration(i+1) * 10 * time.Minute
		balance = balance.Sub(usd("4.00").For(10 * time.Minute))
		if i == 100 {
			balance += dollars(50) // nor does a deposit explain it
		}
		in.Snapshot.Balance.Value.Balance = market.Some(balance)
		glance(&in, t0.Add(d), d, inst)
		if in.History.OpenBreaker(in.Now) != nil {
			open = true
		} else if open {
			t.Fatalf("growth went on after %s: %+v", d, in.History.Account)
		}
	}
	if !open {
		t.Fatal("it was never stopped")
	}
}

func TestWhatTheOperatorHasSeenOfTheBillIsAcceptedAndNothingMore(t *testing.T) {
	in, inst := one(t)
	balance, passed := dollars(900), time.Duration(0)
	open := func(hours int, perHour string) (open bool) {
		for range 6 * hours {
			passed += 10 * time.Minute
			balance = balance.Sub(usd(perHour).For(10 * time.Minute))
			in.Snapshot.Balance.Value.Balance = market.Some(balance)
			glance(&in, t0.Add(passed), passed, inst)
			open = open || in.History.OpenBreaker(in.Now) != nil
		}
		return open
	}
	if !open(5, "1.205") { // a container of a dollar an hour that no list and no bill shows
		t.Fatal("not noticed")
	}
	in.History.CloseBreakers()
	if open(60, "1.205") {
		t.Fatalf("what was accepted stops growth again: %+v", in.History.Account)
	}
	if !open(30, "1.50") {
		t.Fatalf("more than was accepted is not noticed: %+v", in.History.Account)
	}
	in.History.CloseBreakers()
	open(60, "0.205") // the container is gone
	if a := in.History.Account.Accepted; a > usd("0.01") || !open(30, "0.60") {
		t.Errorf("%s is accepted for ever", a)
	}
}

func TestABookingCountsWhatWasSpentSinceTheLook(t *testing.T) {
	p := newPolicy("p", 2)
	in := newInput([]market.Host{newHost("b", 8, "0.35")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "b", "0.20")}
	m := newMachine(p, 1, "a", "0.30")
	in.History.Machines = []Machine{m}
	observed(&in, shown(m))
	in.Policies[0].Budget.MaxTotal = market.Some(dollars(5))
	in.History.Totals = []Total{{Policy: "p", Amount: market.Amount(480 * market.Cent)}} // 0.51 for 21 minutes are 0.1785
	deploy := actions(Compute(in), Deploy)
	if len(deploy) != 1 {
		t.Fatal("nothing is bought")
	}
	for after, want := range map[time.Duration]error{4 * time.Minute: nil, 5 * time.Minute: ErrBudget} { // 0.305 for four minutes are 0.0203
		h := in.History
		h.Machines = slices.Clone(h.Machines)
		if _, err := Begin(&h, deploy[0], in.CapsFor("p"), 1, 1, nameOf("p", 2), in.Now.Add(after)); !errors.Is(err, want) {
			t.Errorf("after %s: %v", after, err)
		}
	}
}

func TestADepositIsNoMismatch(t *testing.T) {
	in, inst := one(t)
	balance := dollars(20)
	for i := range 60 {
		d := time.Duration(i+1) * 10 * time.Minute
		balance = balance.Sub(usd("0.205").For(10 * time.Minute))
		if i == 20 {
			balance += dollars(50)
		}
		in.Snapshot.Balance.Value.Balance = market.Some(balance)
		glance(&in, t0.Add(d), d, inst)
	}
	if b := in.History.OpenBreaker(in.Now); b != nil {
		t.Errorf("%+v", b)
	}
	if got, _ := in.History.Account.Balance.Get(); got != balance {
		t.Errorf("believed %s, it is %s", got, balance)
	}
}

func TestMachinesThatNeverRunOpenTheBreaker(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	s := &in.Safety
	fail := func(i int, at time.Duration) {
		m := newMachine(p, i, "a", "0.20")
		m.ReadyAt, m.SeenAt, m.Phase, m.DeployIntent, m.Status = time.Time{}, t0, PhaseDeleting, uint64(i), market.StatusStarting
		m.Leaving = &PendingDelete{Intent: uint64(100 + i), At: t0, Code: ReasonBootTimeout}
		in.History.Machines = append(in.History.Machines, m)
		in.Snapshot.Gone = []string{m.ID}
		glance(&in, t0.Add(at), at)
	}
	for i := range s.BreakerNeverUp - 1 {
		fail(i, time.Duration(i)*time.Hour)
	}
	if b := in.History.OpenBreaker(in.Now); b != nil {
		t.Fatalf("too early: %+v", b)
	}
	fail(10, 10*time.Hour)
	if b := in.History.OpenBreaker(in.Now); b == nil || b.Code != BreakerNeverUp {
		t.Fatalf("%+v, %d duds", b, in.History.Duds)
	}
	glance(&in, t0.Add(11*time.Hour), 11*time.Hour)
	if b := in.History.OpenBreaker(in.Now); b != nil {
		t.Fatalf("it does not close: %+v", b)
	}
	fail(11, 12*time.Hour)
	if in.History.OpenBreaker(in.Now) == nil {
		t.Fatal("one more that never runs does not open it again")
	}
	m := newMachine(p, 12, "a", "0.20")
	m.ReadyAt, m.Status = time.Time{}, market.StatusStarting
	in.History.Machines = []Machine{m}
	inst := shown(m)
	inst.Status = market.StatusRunning
	glance(&in, t0.Add(13*time.Hour), 13*time.Hour, inst)
	if in.History.Duds != 0 {
		t.Errorf("%d duds after a machine that runs", in.History.Duds)
	}
}

func TestPricesThatAllMoveAtOnceAreNotBelieved(t *testing.T) {
	p := newPolicy("p", 1)
	hosts := func(price string) (out []market.Host) {
		for _, id := range []string{"a", "b", "c"} {
			out = append(out, newHost(id, 8, price))
		}
		return out
	}
	for _, to := range []string{"0.0035", "35", "0.11"} {
		in := newInput(hosts("0.35"), p)
		in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
		glance(&in, t0, 0)
		in.Snapshot.Hosts.Value = hosts(to)
		glance(&in, t0.Add(time.Minute), time.Minute)
		if b := in.History.OpenBreaker(in.Now); b == nil || b.Code != BreakerPrices {
			t.Fatalf("from 0.35 to %s: %+v", to, b)
		}
		wantActions(t, Compute(in))
		for i := range 20 { // they stay: it is the market
			d := time.Duration(i+2) * time.Minute
			glance(&in, t0.Add(d), d)
		}
		if b := in.History.OpenBreaker(in.Now); b != nil {
			t.Fatalf("from 0.35 to %s: it does not close: %+v", to, b)
		}
	}
	in := newInput(hosts("0.35"), p)
	glance(&in, t0, 0)
	in.Snapshot.Hosts.Value = hosts("0.60")
	in.Snapshot.Hosts.Value[0].GPUs[0].Price = market.Some(usd("0.001")) // one host's own affair
	glance(&in, t0.Add(time.Minute), time.Minute)
	if b := in.History.OpenBreaker(in.Now); b != nil {
		t.Errorf("%+v", b)
	}
}

func TestAMachineChargedDearerThanItWasSoldOpensTheBreaker(t *testing.T) {
	in, inst := one(t)
	inst.Total = market.Some(usd("0.25"))
	glance(&in, t0.Add(time.Minute), time.Minute, inst)
	if b := in.History.OpenBreaker(in.Now); b != nil {
		t.Fatalf("a market's rounding: %+v", b)
	}
	inst.Total = market.Some(usd("0.50"))
	glance(&in, t0.Add(2*time.Minute), 2*time.Minute, inst)
	if b := in.History.OpenBreaker(in.Now); b == nil || b.Code != BreakerPrices {
		t.Fatalf("%+v", b)
	}
	wantActions(t, Compute(in)) // one wrong list costs no machine
	glance(&in, t0.Add(3*time.Minute), 3*time.Minute, inst)
	wantActions(t, Compute(in))
	glance(&in, t0.Add(4*time.Minute), 4*time.Minute, inst)
	if m := in.History.Machines[0]; m.Reserved != usd("0.50") {
		t.Errorf("%s reserved for a machine that costs 0.50", m.Reserved)
	}
	wantActions(t, Compute(in), "delete "+nameOf("p", 1)+" over_ceiling")
	in.History.CloseBreakers()
	glance(&in, t0.Add(5*time.Minute), 5*time.Minute, inst)
	if b := in.History.OpenBreaker(in.Now); b != nil {
		t.Errorf("what the operator has seen opens it again: %+v", b)
	}
}

func TestAListThatShowsAHigherBidOrOnlyASumOpensTheBreakerToo(t *testing.T) {
	for name, dearer := range map[string]func(*market.Instance){
		"a bid we never made": func(i *market.Instance) { i.Compute = market.Some(usd("0.50")) },
		"a sum":               func(i *market.Instance) { i.Compute, i.Total = market.Maybe[market.Rate]{}, market.Some(usd("0.50")) },
		"dearer storage":      func(i *market.Instance) { i.Storage = market.Some(usd("0.30")) },
	} {
		in, inst := one(t)
		dearer(&inst)
		glance(&in, t0.Add(time.Minute), time.Minute, inst)
		if b := in.History.OpenBreaker(in.Now); b == nil || b.Code != BreakerPrices {
			t.Errorf("%s: %+v", name, b)
		}
	}
	in, inst := one(t) // a bid of ours is no surprise
	if _, err := Begin(&in.History, Action{Kind: Rebid, Policy: "p", Machine: inst.Name, Bid: usd("0.38"), Rate: usd("0.385")}, in.CapsFor("p"), 1, 1, "", in.Now); err != nil {
		t.Fatal(err)
	}
	inst.Compute = market.Some(usd("0.38"))
	glance(&in, t0.Add(time.Minute), time.Minute, inst)
	if b := in.History.OpenBreaker(in.Now); b != nil {
		t.Errorf("our own raise: %+v", b)
	}
}

func TestWhatIsDeadStillCostsItsDisk(t *testing.T) {
	for status, perHour := range map[market.Status]market.Rate{
		market.StatusOutbid: usd("0.005"), market.StatusReleased: usd("0.005"), market.StatusStopped: usd("0.205"), market.StatusRunning: usd("0.205"),
		market.StatusUnknown: usd("0.205"), market.StatusTerminated: 0,
	} {
		in, inst := one(t)
		in.History.Machines[0].Status = status
		inst.Status = status
		if status == market.StatusTerminated {
			glance(&in, t0.Add(time.Hour), time.Hour)
		} else {
			glance(&in, t0.Add(time.Hour), time.Hour, inst)
		}
		if s := in.History.Spent("p", in.Now); s.Day != market.Amount(perHour) {
			t.Errorf("an hour of %s was charged %s, want %s", status, s.Day, perHour)
		}
	}
}

func TestAnOldListLowersNoReservation(t *testing.T) {
	in, inst := one(t)
	inst.Compute = market.Some(usd("0.25"))
	glance(&in, t0.Add(time.Minute), time.Minute, inst)
	inst.Compute = market.Some(usd("0.20")) // from before the raise
	glance(&in, t0.Add(2*time.Minute), 2*time.Minute, inst)
	inst.Status, inst.Compute = market.StatusOutbid, market.Maybe[market.Rate]{}
	glance(&in, t0.Add(3*time.Minute), 3*time.Minute, inst)
	if m := in.History.Machines[0]; m.Reserved != usd("0.255") {
		t.Errorf("%s reserved for a machine that can win again at 0.25", m.Reserved)
	}
}

func TestABidThatMayHaveBeenAppliedStaysReserved(t *testing.T) {
	for status, want := range map[market.Status]market.Rate{market.StatusOutbid: usd("0.255"), market.StatusRunning: usd("0.205")} {
		in, inst := one(t)
		m := &in.History.Machines[0]
		m.Status, inst.Status = status, status
		m.Rebid, m.Reserved = &PendingRebid{Bid: usd("0.25"), At: t0}, usd("0.255")
		for i := range 5 {
			d := time.Duration(i+1) * time.Minute
			glance(&in, t0.Add(d), d, inst)
		}
		if m := in.History.Machines[0]; m.Rebid != nil || m.Reserved != want {
			t.Errorf("%s: %s reserved, want %s; %+v", status, m.Reserved, want, m.Rebid)
		}
	}
}

// TestARaiseOfUnknownOutcomeProtectsNoMachineFromOurOwnBids: it is reserved, since it
// may have been applied, and no other bid of ours relies on it, since it may not.
func TestARaiseOfUnknownOutcomeProtectsNoMachineFromOurOwnBids(t *testing.T) {
	for name, shows := range map[string]bool{"the list shows the old bid": true, "the list shows none": false} {
		p := newPolicy("p", 3)
		in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
		ran, out := newMachine(p, 1, "a", "0.20"), newMachine(p, 2, "a", "0.20")
		ran.Status = market.StatusOutbid
		ran.Rebid, ran.Reserved = &PendingRebid{Bid: usd("0.25"), At: t0}, usd("0.255")
		in.History.Machines = []Machine{ran, out}
		was, lost := shown(ran), shown(out)
		for i := range 5 {
			glance(&in, t0.Add(time.Duration(i+1)*time.Minute), time.Duration(i+1)*time.Minute, was, lost)
		}
		was.Status, lost.Status = market.StatusRunning, market.StatusOutbid
		if !shows {
			was.Compute, was.Total = market.Maybe[market.Rate]{}, market.Maybe[market.Rate]{}
		}
		glance(&in, t0.Add(6*time.Minute), 6*time.Minute, was, lost)
		if m := in.History.Machines[0]; m.Reserved != usd("0.255") {
			t.Fatalf("%s: %s reserved for what may run at 0.25", name, m.Reserved)
		}
		in.Snapshot.Hosts.At = in.Now
		in.Verdicts = []market.Verdict{accepted(p, "a", "0.22")}
		for _, free := range []int{4, 0} {
			in.Snapshot.Hosts.Value[0].GPUs[0].Free = free
			plan := Compute(in)
			for _, a := range plan.Actions {
				if a.Kind != Delete {
					t.Errorf("%s, %d free: %s at %s beside one of ours that may run at 0.20", name, free, a.Kind, a.Bid)
				}
			}
			for _, q := range plan.Questions {
				if q.Bid > usd("0.20") {
					t.Errorf("%s, %d free: asks about %s beside one of ours that may run at 0.20", name, free, q.Bid)
				}
			}
		}
	}
}

func TestANewcomerNeverBidsAboveOneOfOursOnTheSameHost(t *testing.T) {
	p := newPolicy("p", 2)
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	in.History.Machines = []Machine{newMachine(p, 1, "a", "0.20")}
	in.Verdicts = []market.Verdict{won(p, "a", "0.25")}
	plan := Compute(in)
	if len(plan.Actions) > 0 || len(plan.Questions) != 1 || plan.Questions[0].Bid > usd("0.20") {
		t.Errorf("%+v %+v", plan.Actions, plan.Questions)
	}
	in.Verdicts = append(in.Verdicts, refused(p, "a", "0.20"))
	plan = Compute(in)
	if wantActions(t, plan); plan.Standings[0].Funnel.Sibling != 1 {
		t.Errorf("%+v", plan.Standings[0].Funnel)
	}
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	wantActions(t, Compute(in), "deploy a below_target")
}

func TestNothingIsRaisedOnAHostWhileAnotherMachineOfOursLeavesIt(t *testing.T) {
	for name, leave := range map[string]func(m *Machine){
		"in this plan":   func(m *Machine) { m.Reserved = usd("9") }, // far above the ceiling
		"since a while":  func(m *Machine) { m.Leaving = &PendingDelete{At: t0} },
		"elsewhere":      func(m *Machine) { m.Host, m.Reserved = "b", usd("9") },
		"nothing leaves": func(*Machine) {},
	} {
		p := newPolicy("p", 2)
		in := newInput([]market.Host{newHost("a", 4, "0.40")}, p)
		in.HourlyCap = usd("20")
		outbid, other := newMachine(p, 1, "a", "0.20"), newMachine(p, 2, "a", "0.30")
		outbid.Status = market.StatusOutbid
		leave(&other)
		in.History.Machines = []Machine{outbid, other}
		in.Verdicts = []market.Verdict{accepted(p, "a", "0.25")}
		raised := slices.ContainsFunc(Compute(in).Actions, func(a Action) bool { return a.Kind == Rebid })
		if want := name == "elsewhere" || name == "nothing leaves"; raised != want {
			t.Errorf("%s: raised %v; %+v", name, raised, Compute(in))
		}
	}
}
