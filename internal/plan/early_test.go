package plan

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// watched is a market where one machine bids 0.40, 0.30 wins, the margin is 10 % and
// asking about a bid of ours is known to apply nothing. No newcomer wins below our bid.
func watched() *bazaar {
	b := tooHigh()
	p := &b.in.Policies[0]
	p.Bidding = policy.Bidding{Strategy: policy.Discover, MaxStep: 0.2, Margin: market.Some(0.1)}
	b.theta["a"] = usd("0.38")
	b.in.History.AskApplies = market.Some(Lesson{false, t0})
	return b
}

// follow lives through minutes while the price is what theta says, and returns the bids
// asked about and the early raises. Every raise is checked against what may be.
func (b *bazaar) follow(t interface{ Fatalf(string, ...any) }, minutes int, theta func(i int) market.Rate, refuse func(a Action) market.Class) (asked, raised []Action) {
	var yes, no time.Time
	if b.in.History.Machines[0].Watch.Won != 0 {
		yes = b.in.Now
	}
	for i := range minutes {
		b.in.Now = b.in.Now.Add(time.Minute)
		b.look(b.list(), true)
		in, p := converse(b.in, func(q market.Question) bool { return q.Bid > usd("0.60") })
		b.in = in
		for _, a := range p.Actions {
			intent, ok := b.begin(a)
			if !ok {
				t.Fatalf("the books refuse %+v", a)
			}
			switch a.Reason.Code {
			case ReasonWatch:
				asked = append(asked, a)
			case ReasonAboutToBe:
				if a.Rate > b.in.Policies[0].Ceiling() || yes.IsZero() || b.in.Now.Sub(no) > b.in.Interval+watchKept {
					t.Fatalf("raised to %s; last yes %s, last no %s, now %s", a.Bid, yes, no, b.in.Now)
				}
				yes, no, raised = time.Time{}, time.Time{}, append(raised, a)
			}
			class := market.Class("")
			if a.Bid < theta(i) {
				class = market.ClassBidRefused
			}
			if c := refuse(a); class == "" {
				class = c
			}
			watch := a.Reason.Code == ReasonWatch
			if class != "" {
				if watch && class == market.ClassBidRefused {
					no = b.in.Now
				}
				Refuse(&b.in.History, testSafety(), &intent, class, "no", b.in.Now)
				continue
			}
			if watch {
				yes = b.in.Now
			}
			Accept(&b.in.History, &intent, b.effect(a, intent), b.in.Now)
		}
		if again := Compute(b.in); len(p.Actions) > 0 && b.in.History.Machines[0].Rebid != nil && len(again.Actions) > 0 {
			t.Fatalf("after %+v it asks for more: %+v", p.Actions, again.Actions)
		}
		Learn(&b.in.History, b.in.Safety, b.in.Snapshot.Hosts.Value, b.in.Verdicts, b.in.Now)
	}
	return asked, raised
}

func noTrouble(Action) market.Class { return "" }

func steadily(theta string) func(int) market.Rate { return func(int) market.Rate { return usd(theta) } }

func TestAMachineIsRaisedBeforeItIsOutbid(t *testing.T) {
	b := watched()
	asked, raised := b.follow(t, 10, steadily("0.36"), noTrouble)
	if len(asked) < 4 || len(raised) != 0 || asked[0].Bid != usd("0.38") || !asked[0].AskOnly {
		t.Fatalf("%+v %+v", asked, raised)
	}
	if m := b.in.History.Machines[0]; m.Bid.Or(0) != usd("0.40") || m.Reserved != usd("0.405") {
		t.Errorf("asking changed it: %+v", m)
	}
	_, raised = b.follow(t, 10, steadily("0.39"), noTrouble)
	if len(raised) != 1 || raised[0].Bid != usd("0.44") || raised[0].Reserve != usd("0.445") {
		t.Fatalf("%+v", raised)
	}
	if m := b.in.History.Machines[0]; m.Bid.Or(0) != usd("0.44") || m.Reserved != usd("0.445") {
		t.Errorf("not read back: %+v", m)
	}
	if _, raised = b.follow(t, 60, steadily("0.39"), noTrouble); len(raised) != 0 {
		t.Errorf("and again: %+v", raised)
	}
}

// Where the market takes no bid below the present one, whatever it is, every question is
// refused. That says nothing, and must not drive the bid to the ceiling.
func TestARefusalSaysNothingWhereNoLowerBidWasEverTaken(t *testing.T) {
	b := watched()
	lower := func(a Action) market.Class {
		if a.Bid < b.in.History.Machines[0].Bid.Or(0) {
			return market.ClassBidRefused
		}
		return ""
	}
	asked, raised := b.follow(t, 120, steadily("0.10"), lower)
	if len(asked) == 0 || len(asked) > 13 || len(raised) != 0 {
		t.Errorf("%d asked, raised %+v", len(asked), raised)
	}
}

func TestNothingIsAskedWhereItIsNotKnownToBeHarmlessOrHasNoUse(t *testing.T) {
	for name, change := range map[string]func(*bazaar){
		"asking applies":       func(b *bazaar) { b.in.History.AskApplies = market.Some(Lesson{true, t0}) },
		"nobody knows":         func(b *bazaar) { b.in.History.AskApplies = market.Maybe[Lesson]{} },
		"bids do not apply":    func(b *bazaar) { b.in.History.RebidApplies = market.Some(Lesson{false, t0}) },
		"no margin":            func(b *bazaar) { b.in.Policies[0].Bidding.Margin = market.Some(0.0) },
		"none was learnt":      func(b *bazaar) { b.in.Policies[0].Bidding.Margin = market.Maybe[float64]{} },
		"no bids are lowered":  func(b *bazaar) { b.in.Policies[0].Bidding.MaxStep = 0 },
		"a policy is paused":   func(b *bazaar) { b.in.History.Pauses = []Pause{{Since: t0}} },
		"no questions allowed": func(b *bazaar) { b.in.Limits.MaxProbes = 0 },
		"just started":         func(b *bazaar) { b.in.History.Machines[0].StatusAt = t0 },
	} {
		b := watched()
		change(b)
		b.in.History.Machines[0].Watch = Watch{At: t0.Add(30 * time.Second), Won: usd("0.38"), Lost: usd("0.39")}
		b.in.Now = b.in.Now.Add(2 * time.Minute)
		limits := b.in.Limits
		b.look(b.list(), true)
		b.in.Limits = limits
		if name == "no questions allowed" {
			b.in.History.Machines[0].Watch = Watch{}
		}
		for _, a := range Compute(b.in).Actions {
			if a.Reason.Code == ReasonWatch || a.Reason.Code == ReasonAboutToBe {
				t.Errorf("%s: %+v", name, a)
			}
		}
	}
}

// Trouble of another kind than the price is no refusal of a bid, and costs no raises.
func TestOnlyARefusedBidSaysThatAMachineIsAboutToBeOutbid(t *testing.T) {
	for _, class := range []market.Class{market.ClassNoCapacity, market.ClassRateLimited, market.ClassUnauthorized, market.ClassUnavailable, market.ClassRefused} {
		b := watched()
		b.follow(t, 4, steadily("0.36"), noTrouble)
		_, raised := b.follow(t, 30, steadily("0.36"), func(a Action) market.Class {
			if a.AskOnly {
				return class
			}
			return ""
		})
		if m := b.in.History.Machines[0]; len(raised) != 0 || m.RebidIgnored || m.Bid.Or(0) != usd("0.40") {
			t.Errorf("%s: %+v, %+v", class, raised, m)
		}
	}
}

func TestWhateverThePriceDoesEarlyRaisesKeepToTheCeilingAndToAWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := watched()
		b.in.Policies[0].MaxGPUHour = usd(rapid.SampledFrom([]string{"0.41", "0.45", "0.60"}).Draw(t, "ceiling"))
		price := usd("0.36")
		var path []market.Rate
		for _, by := range rapid.SliceOfN(rapid.IntRange(-3, 3), 8, 8).Draw(t, "moves in cents, every five minutes") {
			price = max(price.Add(market.Rate(market.Cent).Mul(by)), usd("0.20"))
			path = append(path, price, price, price, price, price)
		}
		asked, raised := b.follow(t, len(path), func(i int) market.Rate { return path[i] }, noTrouble)
		if len(asked) > len(path) || 2*len(raised) > len(asked) {
			t.Fatalf("%d raises on %d questions", len(raised), len(asked))
		}
	})
}
