package plan

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// tooHigh is a market where one machine bids 0.40 and 0.20 would win.
func tooHigh() *bazaar {
	p := newPolicy("p", 1)
	p.MaxGPUHour, p.Bidding = usd("0.60"), policy.Bidding{Strategy: policy.Discover, MaxStep: 0.2}
	b := newBazaar(newInput([]market.Host{newHost("a", 3, "0.35")}, p))
	b.theta["a"] = usd("0.20")
	m := newMachine(p, 1, "a", "0.40")
	b.in.History.Machines = []Machine{m}
	inst := shown(m)
	b.machines[m.ID] = &inst
	b.in.History.RebidApplies = market.Some(Lesson{true, t0})
	return b
}

// minute lets the daemon live through one, and returns what it did.
func (b *bazaar) minute(t *testing.T) Plan {
	t.Helper()
	b.in.Now = b.in.Now.Add(time.Minute)
	b.look(b.list(), true)
	in, p := converse(b.in, b.wins)
	b.in = in
	for _, a := range p.Actions {
		intent, ok := b.begin(a)
		switch {
		case !ok:
			t.Fatalf("the books refuse %+v", a)
		case a.Kind == Rebid && a.Bid < b.theta[a.Host]:
			Refuse(&b.in.History, testSafety(), &intent, market.ClassBidRefused, "too low", b.in.Now)
		default:
			Accept(&b.in.History, &intent, b.effect(a, intent), b.in.Now)
		}
	}
	Learn(&b.in.History, b.in.Safety, b.in.Snapshot.Hosts.Value, b.in.Verdicts, b.in.Now)
	return p
}

func TestABidIsLoweredInStepsOnTwoWordsFiveMinutesApart(t *testing.T) {
	b := tooHigh()
	bids, last, asked := []market.Rate{usd("0.40")}, t0, 0
	var words []market.Verdict
	for range 240 {
		p := b.minute(t)
		asked += len(b.in.Verdicts)
		words = append(words, b.in.Verdicts...)
		for _, a := range p.Actions {
			if a.AskOnly {
				continue
			}
			was := bids[len(bids)-1]
			if a.Kind != Rebid || a.Reason.Code != ReasonPriceFell || a.Bid >= was || a.Bid < was.Scale(4, 5) || a.Bid < usd("0.20") {
				t.Fatalf("from %s: %+v", was, a)
			}
			proven := func(since, until time.Time) bool {
				return slices.ContainsFunc(words, func(v market.Verdict) bool {
					return v.Answer == market.Accepted && v.Bid <= a.Bid && !v.At.Before(since) && !v.At.After(until)
				})
			}
			if !proven(t0, b.in.Now.Add(-cutProof)) || !proven(b.in.Now, b.in.Now) {
				t.Errorf("lowered to %s on no word, or on one: %+v", a.Bid, words)
			}
			if len(bids) > 1 && b.in.Now.Sub(last) < cutEvery {
				t.Errorf("lowered to %s after %s", a.Bid, b.in.Now.Sub(last))
			}
			bids, last = append(bids, a.Bid), b.in.Now
		}
	}
	if end := bids[len(bids)-1]; end > usd("0.21") || len(bids) < 4 {
		t.Errorf("bids went %v", bids)
	}
	if asked > 30 {
		t.Errorf("%d questions in four hours", asked)
	}
}

// What others asked about counts too, and may be far below: one step at a time all the same.
func TestOneWordIsNotEnoughAndNoStepIsTooGreat(t *testing.T) {
	for since, want := range map[time.Duration]int{time.Minute: 0, cutProof - time.Second: 0, cutProof: 1, 50 * time.Minute: 1} {
		b := tooHigh()
		b.in.Now = b.in.Now.Add(time.Hour)
		p := b.in.Policies[0]
		b.in.History.remember([]market.Verdict{{Question: won(p, "a", "0.20").Question, Answer: market.Accepted, At: b.in.Now.Add(-since)}}, b.in.Now)
		b.look(b.list(), true)
		v := won(p, "a", "0.20")
		v.At = b.in.Now
		b.in.Verdicts = []market.Verdict{v}
		plan := Compute(b.in)
		if len(plan.Actions) != want {
			t.Errorf("known for %s: %+v", since, plan.Actions)
		}
		for _, a := range plan.Actions {
			if a.Bid != usd("0.32") {
				t.Errorf("from 0.40 to %s at once", a.Bid)
			}
		}
	}
}

func TestALowerBidFreesNothingBeforeTwoLooksShowIt(t *testing.T) {
	b := tooHigh()
	m := func() *Machine { return &b.in.History.Machines[0] }
	for range 30 {
		p := b.minute(t)
		if len(p.Actions) == 0 {
			continue
		}
		low := p.Actions[0].Bid
		if m().Reserved != usd("0.405") || m().sureBid().Or(0) != low {
			t.Fatalf("submitted: %+v", m())
		}
		b.in.Now = b.in.Now.Add(time.Minute)
		b.look(b.list(), true)
		if m().Reserved != usd("0.405") || m().Bid.Or(0) != usd("0.40") || m().sureBid().Or(0) != low || m().Rebid == nil {
			t.Fatalf("shown once: %+v", m())
		}
		b.in.Now = b.in.Now.Add(time.Minute)
		b.look(b.list(), true)
		if m().Reserved != low.Add(usd("0.005")) || m().Bid.Or(0) != low || m().Rebid != nil {
			t.Fatalf("shown twice: %+v", m())
		}
		return
	}
	t.Fatal("never lowered")
}

func TestNoBidIsLoweredWhereThatWouldNotWorkOrMustNotBe(t *testing.T) {
	for name, change := range map[string]func(b *bazaar){
		"they do not":              func(b *bazaar) { b.in.History.RebidApplies = market.Some(Lesson{false, t0}) },
		"the policy forbids it":    func(b *bazaar) { b.in.Policies[0].Bidding.MaxStep = 0 },
		"the lower bid would lose": func(b *bazaar) { b.theta["a"] = usd("0.40") },
		"a breaker is open":        func(b *bazaar) { b.in.History.Breakers = []Breaker{{Code: BreakerFailures, Since: t0, Reason: "x"}} },
		"the policy is paused":     func(b *bazaar) { b.in.History.Pauses = []Pause{{Policy: "p", Since: t0}} },
		"another of ours there is outbid": func(b *bazaar) {
			q := newPolicy("q", 1)
			m := newMachine(q, 2, "a", "0.15")
			m.Status = market.StatusOutbid
			listed := shown(m)
			b.machines[m.ID] = &listed
			b.in.Policies, b.in.History.Machines = append(b.in.Policies, q), append(b.in.History.Machines, m)
			b.in.History.Pauses = []Pause{{Policy: "q", Since: t0}} // so it stays as it is
		},
		"a raise is not yet proven": func(b *bazaar) { b.in.History.Machines[0].NoCutBefore = t0.Add(2 * time.Hour) },
	} {
		b := tooHigh()
		change(b)
		for range 60 {
			p := b.minute(t)
			if p.Actions = slices.DeleteFunc(p.Actions, func(a Action) bool { return name == "the lower bid would lose" && a.AskOnly }); len(p.Actions) != 0 {
				t.Errorf("%s: %+v", name, p.Actions)
				break
			}
		}
	}
}

// Whether the market applies new bids is found out with a cent more, once.
func TestACentMoreShowsWhetherNewBidsApply(t *testing.T) {
	for _, applies := range []bool{true, false} {
		b := tooHigh()
		b.in.History.RebidApplies, b.rebids = market.Maybe[Lesson]{}, applies
		var did []Action
		for range 60 {
			did = append(did, b.minute(t).Actions...)
		}
		if len(did) < 2 { // first whether asking does it, then whether submitting does
			t.Fatalf("%+v", did)
		}
		for i, a := range did[:2] {
			if a.Reason.Code != ReasonRebidProof || a.Bid != usd("0.41") || a.AskOnly != (i == 0) {
				t.Errorf("%+v", did)
			}
		}
		if !applies && len(did) > 2 {
			t.Errorf("it does nothing, and yet: %+v", did[2:])
		}
		if applies && (len(did) < 4 || did[2].Reason.Code != ReasonPriceFell || did[2].Bid != usd("0.33")) {
			t.Errorf("%+v", did)
		}
		if l, ok := b.in.History.AskApplies.Get(); !ok || l.Holds {
			t.Errorf("asking: %+v", l)
		}
	}
}

// Where all GPUs of a host are ours, no newcomer wins below our bid, and the market is
// asked about our own machine: only where that is known to apply nothing.
func TestWhereNoNewcomerCouldTellTheMarketIsAskedAboutOurOwnBid(t *testing.T) {
	b := tooHigh()
	newcomer := usd("0.41")
	wins := func(q market.Question) bool { return q.Bid >= newcomer }
	var bids, asks []market.Rate
	for range 240 {
		b.in.Now = b.in.Now.Add(time.Minute)
		b.look(b.list(), true)
		in, p := converse(b.in, wins)
		b.in = in
		for _, a := range p.Actions {
			if a.Bid < usd("0.40") {
				if l, ok := b.in.History.AskApplies.Get(); !ok || l.Holds {
					t.Fatalf("a bid below ours is sent before it is known what that does: %+v", a)
				}
			}
			intent, ok := b.begin(a)
			if !ok {
				t.Fatalf("the books refuse %+v", a)
			}
			if a.Bid < usd("0.25") {
				Refuse(&b.in.History, testSafety(), &intent, market.ClassBidRefused, "too low", b.in.Now)
				continue
			}
			Accept(&b.in.History, &intent, b.effect(a, intent), b.in.Now)
			if a.AskOnly {
				asks = append(asks, a.Bid)
			} else {
				bids = append(bids, a.Bid)
				if !slices.Contains(asks, a.Bid) {
					t.Errorf("%s was not asked about before: %v", a.Bid, asks)
				}
			}
		}
		Learn(&b.in.History, b.in.Safety, b.in.Snapshot.Hosts.Value, b.in.Verdicts, b.in.Now)
	}
	if len(bids) < 2 || !slices.IsSortedFunc(bids, func(a, b market.Rate) int { return int(b - a) }) || bids[len(bids)-1] > usd("0.27") {
		t.Errorf("bids went %v, asked %v", bids, asks)
	}
	if b.in.History.Machines[0].Reserved != bids[len(bids)-1].Add(usd("0.005")) {
		t.Errorf("%+v", b.in.History.Machines[0])
	}
}

// Other work comes first, and what runs is asked about when there is none.
func TestQuestionsAboutWhatRunsWaitForAllOthers(t *testing.T) {
	b := tooHigh()
	q := newPolicy("q", 1)
	b.in.Policies = append(b.in.Policies, q)
	b.in.Snapshot.Hosts.Value = append(b.in.Snapshot.Hosts.Value, newHost("b", 4, "0.35"))
	b.theta["b"], b.in.HourlyCap = usd("0.90"), usd("2")
	b.in.Now = b.in.Now.Add(time.Minute)
	b.look(b.list(), true)
	if p := Compute(b.in); len(p.Questions) != 1 || p.Questions[0].Host != "b" && p.Questions[0].Host != "a" || p.Questions[0].Bid > usd("0.20") {
		t.Errorf("%+v", p.Questions)
	}
}

func TestWhatBecomesOfALowerBidThatIsNotShown(t *testing.T) {
	pending := func() *bazaar {
		b := tooHigh()
		b.rebids = false
		for range 30 {
			if p := b.minute(t); len(p.Actions) > 0 {
				return b
			}
		}
		t.Fatal("never lowered")
		return nil
	}
	b := pending()
	for range 60 {
		if p := b.minute(t); len(p.Actions) > 0 {
			t.Fatalf("tried again after it was ignored: %+v", p.Actions)
		}
	}
	if m := b.in.History.Machines[0]; m.Rebid != nil || m.Bid.Or(0) != usd("0.40") || m.sureBid().Or(0) != usd("0.40") || m.Reserved != usd("0.405") {
		t.Errorf("ignored: %+v", m)
	}
	if l, _ := b.in.History.RebidApplies.Get(); !l.Holds {
		t.Error("a cut that was ignored says nothing about raises")
	}
	b = pending()
	low := b.in.History.Machines[0].Rebid.Bid
	for _, inst := range b.machines {
		inst.Status, inst.Compute = market.StatusOutbid, market.Some(market.Rate(0))
	}
	b.in.Now = b.in.Now.Add(time.Minute)
	b.look(b.list(), true)
	// It may win again at either of the two.
	if m := b.in.History.Machines[0]; m.Rebid != nil || m.Reserved != usd("0.405") || m.Bid.Or(0) != usd("0.40") || m.sureBid().Or(0) != low {
		t.Errorf("outbid meanwhile: %+v", m)
	}
}

func TestOnlyALowerBidIsBookedAsOne(t *testing.T) {
	b := tooHigh()
	a := Action{Kind: Rebid, Policy: "p", Machine: b.in.History.Machines[0].Name, Bid: usd("0.40"), Rate: usd("0.405"), Reason: Reason{ReasonPriceFell, "x"}}
	if _, err := Begin(&b.in.History, a, b.in.CapsFor("p"), 1, 1, "", t0); !errors.Is(err, ErrStale) {
		t.Errorf("%v", err)
	}
	a.Bid, a.Reason.Code = usd("0.30"), ReasonOutbid
	if _, err := Begin(&b.in.History, a, b.in.CapsFor("p"), 1, 1, "", t0); err == nil {
		t.Error("a raise went down")
	}
	a.Reason.Code = ReasonPriceFell
	in, err := Begin(&b.in.History, a, b.in.CapsFor("p"), 1, 1, "", t0)
	if m := b.in.History.Machines[0]; err != nil || m.Reserved != usd("0.405") || in.Reserved != usd("0.405") || m.sureBid().Or(0) != usd("0.30") {
		t.Fatalf("%v %+v", err, m)
	}
	Refuse(&b.in.History, testSafety(), &in, market.ClassBidRefused, "too low", t0)
	if m := b.in.History.Machines[0]; m.Rebid != nil || m.Reserved != usd("0.405") || m.sureBid().Or(0) != usd("0.40") || m.NoCutBefore.Before(t0.Add(cutEvery)) {
		t.Errorf("%+v", m)
	}
}
