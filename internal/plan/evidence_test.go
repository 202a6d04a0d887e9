package plan

import (
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// billed is a policy that wants one machine of an account that is charged hourly.
func billed(hourly string) Input {
	in := newInput([]market.Host{newHost("a", 4, "0.20")}, newPolicy("p", 1))
	in.Snapshot.Balance.Value.Hourly = market.Some(usd(hourly))
	return in
}

// heldByTheBill lets a minute pass with a look, and says whether growth is held. The
// bill is paid.
func heldByTheBill(in *Input, list ...market.Instance) bool {
	in.Now = in.Now.Add(time.Minute)
	b := &in.Snapshot.Balance.Value
	if left, ok := b.Balance.Get(); ok {
		b.Balance = market.Some(left.Sub(b.Hourly.Or(0).For(time.Minute)))
	}
	observed(in, list...)
	return len(holds(Compute(*in), HoldDisagrees)) > 0
}

func TestABillThatNobodyPaysIsNotWaitedFor(t *testing.T) {
	in := billed("0.856")
	for n := 1; ; n++ {
		in.Now = in.Now.Add(time.Second)
		observed(&in)
		if len(holds(Compute(in), HoldDisagrees)) > 0 {
			continue
		}
		if n != in.Safety.UnknownLooks {
			t.Errorf("held for %d looks while the balance stays what it is, want %d", n, in.Safety.UnknownLooks)
		}
		return
	}
}

func TestABillAboveTheListHoldsGrowthForAWhile(t *testing.T) {
	in := billed("0.50")
	n := 0
	for heldByTheBill(&in) {
		if n++; n > 100 {
			t.Fatal("growth is held for ever")
		}
	}
	if n != 10 {
		t.Errorf("held for %d looks, want as long as an order is looked for: 10", n)
	}
	in.Snapshot.Balance.Value.Hourly = market.Some(usd("0.51"))
	if heldByTheBill(&in) {
		t.Error("the same gap, give or take a cent, holds it again")
	}
	in.Snapshot.Balance.Value.Hourly = market.Some(usd("0.90"))
	if !heldByTheBill(&in) {
		t.Error("a wider gap does not")
	}
	in.Snapshot.Balance.Value.Hourly = market.Some(usd("0.02"))
	if heldByTheBill(&in) || in.History.Gap.Known() {
		t.Errorf("the bill agrees: %+v", in.History.Gap)
	}
	in.Snapshot.Balance.Value.Hourly = market.Some(usd("0.50"))
	if !heldByTheBill(&in) {
		t.Error("and disagrees again")
	}
}

func TestWhatIsKnownExplainsTheBill(t *testing.T) {
	some := func(s string) market.Maybe[market.Rate] { return market.Some(usd(s)) }
	one := func(change func(*market.Instance)) []market.Instance {
		i := stranger()
		i.Status, i.Compute, i.Storage = market.StatusRunning, some("0.49"), some("0.01")
		change(&i)
		return []market.Instance{i}
	}
	for name, c := range map[string]struct {
		hourly string
		list   []market.Instance
		books  bool
		held   bool
	}{
		"nothing listed, nothing charged":            {hourly: "0"},
		"nothing listed, two cents charged":          {hourly: "0.02"},
		"nothing listed, more than that":             {hourly: "0.021", held: true},
		"a stranger's machine":                       {hourly: "0.50", list: one(func(*market.Instance) {})},
		"a stranger's machine, and more":             {hourly: "0.53", list: one(func(*market.Instance) {}), held: true},
		"a stranger's machine by its total":          {hourly: "0.60", list: one(func(i *market.Instance) { i.Total = some("0.60") })},
		"a stranger's machine that is outbid":        {hourly: "0.50", list: one(func(i *market.Instance) { i.Status = market.StatusOutbid }), held: true},
		"a stranger's machine without a price":       {hourly: "9.00", list: one(func(i *market.Instance) { i.Compute = market.Maybe[market.Rate]{} })},
		"a machine of ours that the list leaves out": {hourly: "0.20", books: true},
		"the same, and more":                         {hourly: "0.25", books: true, held: true},
	} {
		in := billed(c.hourly)
		in.Policies[0].Target = 2
		in.HourlyCap = usd("5")
		if c.books {
			in.History.Machines = []Machine{newMachine(in.Policies[0], 1, "a", "0.20")}
		}
		if got := heldByTheBill(&in, c.list...); got != c.held {
			t.Errorf("%s: held %v, doubt %+v", name, got, in.History.Gap)
		}
	}
}

func TestABillThatIsNotKnownRaisesNoDoubtAndKeepsNoneForEver(t *testing.T) {
	in := billed("0.50")
	in.Snapshot.Balance.Value.Hourly = market.Maybe[market.Rate]{}
	if heldByTheBill(&in) {
		t.Error("held by a bill that nobody knows")
	}
	in.Snapshot.Balance.Value.Hourly = market.Some(usd("0.50"))
	if !heldByTheBill(&in) {
		t.Fatal("not held by a bill above the list")
	}
	in.Snapshot.Balance.Complete = false
	for n := 1; heldByTheBill(&in); n++ {
		if n > 20 {
			t.Fatal("held for ever by a bill that cannot be read any more")
		}
	}
	in = billed("0.50")
	heldByTheBill(&in)
	in.Now = in.Now.Add(-48 * time.Hour)
	for n := 1; heldByTheBill(&in); n++ {
		if n > 20 {
			t.Fatal("a clock that was set back holds it for days")
		}
	}
}
