package plan

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func TestTheSearchEndsWithinACentOrTwoPercentOfTheLowestWinningBid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPolicy("p", 1)
		p.Shape.GPUs = pick(t, "gpus", 1, 2, 4)
		p.MaxGPUHour = drawRate(t, "ceiling", 3000, 9000)
		in := newInput([]market.Host{newHost("a", 8, "0.35")}, p)
		theta := drawRate(t, "theta", 1000, 20000)
		asked := 0
		in, plan := converse(in, func(q market.Question) bool { asked++; return q.Bid >= theta })
		onDemand := usd("0.35").Mul(p.Shape.GPUs) + usd("0.012") + usd("0.032")
		least := max(theta.CeilCent(), onDemand.Scale(lowestFloor, 100)) // no bid is made below that
		if asked > 12 {
			t.Fatalf("%d questions", asked)
		}
		for _, a := range plan.Actions {
			if a.Bid < theta || a.Bid > max(least+market.Cent, least.Scale(103, 100)) {
				t.Fatalf("bids %s where %s wins (%d questions: %+v)", a.Bid, theta, asked, in.Verdicts)
			}
		}
		if len(plan.Actions) == 0 && theta <= p.BidCeiling(usd("0.005")) {
			t.Fatalf("%s wins, and nothing is bought: %+v", theta, plan.Holds)
		}
	})
}

// What was found in one cycle is confirmed by one question in the next.
func TestWhatWonBeforeIsAskedAboutAgainAndThenUsed(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	wins := func(q market.Question) bool { return q.Bid >= usd("0.18") }
	in, first := converse(in, wins)
	Learn(&in.History, in.Safety, in.Snapshot.Hosts.Value, in.Verdicts, in.Now)
	in.Verdicts, in.Now = nil, in.Now.Add(time.Minute)
	in, again := converse(in, wins)
	if len(in.Verdicts) != 1 || again.Actions[0].Bid != first.Actions[0].Bid || again.Actions[0].Bid != usd("0.18") {
		t.Errorf("asked %+v, then %+v after %+v", in.Verdicts, again.Actions, first.Actions)
	}
	// The market has moved up: the old yes is void, and the search goes on above it.
	Learn(&in.History, in.Safety, in.Snapshot.Hosts.Value, in.Verdicts, in.Now)
	in.Verdicts, in.Now = nil, in.Now.Add(time.Minute)
	_, moved := converse(in, func(q market.Question) bool { return q.Bid >= usd("0.26") })
	if len(moved.Actions) != 1 || moved.Actions[0].Bid < usd("0.26") || moved.Actions[0].Bid > usd("0.27") {
		t.Errorf("%+v", moved.Actions)
	}
}

func TestRefusalsAgeAndBracketsAreForgotten(t *testing.T) {
	p := newPolicy("p", 1)
	var h History
	at := func(v market.Verdict, d time.Duration) market.Verdict { v.At = t0.Add(d); return v }
	h.remember([]market.Verdict{at(refused(p, "a", "0.18"), 0), at(won(p, "a", "0.20"), time.Second), at(refused(p, "b", "0.39"), 0)}, t0)
	if len(h.Brackets) != 1 || h.Brackets[0].Lo != usd("0.18") || h.Brackets[0].Hi != usd("0.20") || h.Brackets[0].Floor != usd("0.20") {
		t.Fatalf("%+v", h.Brackets) // of b nothing is kept but a pause: it may have been full
	}
	key := h.Brackets[0].key()
	if b := recall(h.Brackets, t0.Add(loLasts-time.Second))[key]; b.lo != usd("0.18") || b.hi != usd("0.20") || b.fresh {
		t.Errorf("%+v", b)
	}
	if b := recall(h.Brackets, t0.Add(loLasts))[key]; b.lo != 0 || b.hi != usd("0.20") {
		t.Errorf("%+v", b)
	}
	h.remember([]market.Verdict{at(refused(p, "a", "0.21"), time.Hour)}, t0.Add(time.Hour))
	if b := h.Brackets[0]; b.Hi != 0 || b.Lo != usd("0.21") || b.Floor != usd("0.20") {
		t.Errorf("%+v", b)
	}
	h.forget(t0.Add(time.Hour + bracketLasts + time.Second))
	if len(h.Brackets) != 0 {
		t.Errorf("%+v", h.Brackets)
	}
	for i := range mostBrackets + 10 {
		v := won(p, nameOf("h", i), "0.20")
		v.At = t0.Add(time.Duration(i) * time.Second)
		h.remember([]market.Verdict{v}, t0)
	}
	if len(h.Brackets) != mostBrackets || slices.ContainsFunc(h.Brackets, func(b Bracket) bool { return b.At.Equal(t0) }) {
		t.Errorf("%d brackets", len(h.Brackets))
	}
}

func TestAPriceThatWillNotHoldStillIsNotChased(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	in.Verdicts = []market.Verdict{
		won(p, "a", "0.20"), refused(p, "a", "0.22"), won(p, "a", "0.21"), // moved up, and down again
	}
	for i := range in.Verdicts {
		in.Verdicts[i].At = t0.Add(time.Duration(i) * time.Second)
	}
	plan := Compute(in)
	if wantActions(t, plan, "deploy a below_target"); plan.Actions[0].Bid != usd("0.21") {
		t.Errorf("%+v", plan.Actions)
	}
}

// The search has no more questions: what has won so far is used.
func TestWithoutQuestionsTheLowestBidThatWonIsUsed(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	in.Limits.MaxProbes = 2
	in, plan := converse(in, func(q market.Question) bool { return q.Bid >= usd("0.19") })
	wantActions(t, plan, "deploy a below_target")
	if plan.Actions[0].Bid != usd("0.20") || len(in.Verdicts) != 2 {
		t.Errorf("%+v after %+v", plan.Actions, in.Verdicts)
	}
}

func TestAnAlternativeBoundsWhatIsAskedOfOthers(t *testing.T) {
	p := newPolicy("p", 1)
	p.MaxGPUHour = usd("0.90")
	in := newInput([]market.Host{newHost("a", 4, "0.35"), newHost("b", 4, "0.40")}, p)
	in.Verdicts = []market.Verdict{refused(p, "a", "0.20"), accepted(p, "b", "0.23")}
	in, plan := converse(in, func(q market.Question) bool { return q.Host == "b" })
	for _, v := range in.Verdicts {
		if v.Host == "a" && v.Bid > usd("0.23") {
			t.Errorf("asks a about %s, b can be had for 0.23", v.Bid)
		}
	}
	wantActions(t, plan, "deploy b below_target")
}

func TestHostsShownAsTakenAreTriedWhereNoneOfOursStands(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 0, "0.35")}, p)
	wins := func(q market.Question) bool { return q.Bid >= usd("0.22") }
	_, plan := converse(in, wins)
	wantActions(t, plan, "deploy a below_target")
	q := newPolicy("q", 1)
	for name, m := range map[string]Machine{"one of ours": newMachine(q, 1, "a", "0.30"), "one of ours, nobody knows where": newMachine(q, 1, "", "0.30")} {
		in := newInput([]market.Host{newHost("a", 0, "0.35")}, p, q)
		in.History.Machines = []Machine{m}
		if _, plan := converse(in, wins); len(plan.Actions) != 0 {
			t.Errorf("%s: %+v", name, plan.Actions)
		}
	}
	// A quarter of the questions, no more.
	var hosts []market.Host
	for i := range 20 {
		hosts = append(hosts, newHost(nameOf("h", i), 0, "0.35"))
	}
	in = newInput(hosts, newPolicy("p", 20))
	in.Limits.MaxProbes = 16
	if in, _ = converse(in, func(market.Question) bool { return false }); len(in.Verdicts) != 4 {
		t.Errorf("%d questions to hosts that are shown as full", len(in.Verdicts))
	}
}

func TestNamedBidsAreMadeAsWrittenOrNotAtAll(t *testing.T) {
	for _, c := range []struct {
		b     policy.Bidding
		theta string
		want  string // the bid; none where it does not win
	}{
		{policy.Bidding{Strategy: policy.Fixed, Price: usd("0.30")}, "0.15", "0.30"},
		{policy.Bidding{Strategy: policy.Fixed, Price: usd("0.30")}, "0.31", ""},
		{policy.Bidding{Strategy: policy.Fixed, Price: usd("0.80")}, "0.15", "0.39"}, // never above the ceiling
		{policy.Bidding{Strategy: policy.Fraction, Fraction: 0.6}, "0.15", "0.23"},   // of 0.394
		{policy.Bidding{Strategy: policy.Fraction, Fraction: 0.6}, "0.24", ""},
	} {
		p := newPolicy("p", 1)
		p.Bidding = c.b
		in, plan := converse(newInput([]market.Host{newHost("a", 4, "0.35")}, p), func(q market.Question) bool { return q.Bid >= usd(c.theta) })
		if len(in.Verdicts) != 1 || (c.want != "") != (len(plan.Actions) == 1) {
			t.Errorf("%+v at %s: %+v after %+v", c.b, c.theta, plan.Actions, in.Verdicts)
		} else if c.want != "" && plan.Actions[0].Bid != usd(c.want) {
			t.Errorf("%+v at %s bids %s", c.b, c.theta, plan.Actions[0].Bid)
		}
	}
}

// An outbid machine of a policy that names its bid is raised to that, or replaced.
func TestANamedBidIsNotRaisedAboveItself(t *testing.T) {
	p := newPolicy("p", 1)
	p.Bidding = policy.Bidding{Strategy: policy.Fixed, Price: usd("0.25")}
	for theta, want := range map[string]string{"0.24": "rebid", "0.26": "delete"} {
		in := newInput([]market.Host{newHost("a", 0, "0.35")}, p)
		m := newMachine(p, 1, "a", "0.20")
		m.Status = market.StatusOutbid
		in.History.Machines = []Machine{m}
		_, plan := converse(in, func(q market.Question) bool { return q.Bid >= usd(theta) })
		if len(plan.Actions) != 1 || string(plan.Actions[0].Kind) != want || want == "rebid" && plan.Actions[0].Bid != usd("0.25") {
			t.Errorf("at %s: %+v", theta, plan.Actions)
		}
	}
}

func TestProbesTakeAtMostHalfOfThePaceThatIsLeft(t *testing.T) {
	for _, c := range []struct {
		interval time.Duration
		rps      float64
		want     int
	}{
		{time.Minute, 1, 27}, {time.Minute, 0.5, 12}, {time.Second, 1, 6}, {5 * time.Minute, 50, 7497}, {0, 1, math.MaxInt}, {time.Minute, 0, math.MaxInt},
	} {
		if n := ProbesWithin(c.interval, c.rps, 6); n != c.want {
			t.Errorf("%s at %g a second: %d, want %d", c.interval, c.rps, n, c.want)
		}
	}
}

func TestAHostThatRefusedWhileItsGPUsWereTakenIsAskedAgainWhenTheyAreFree(t *testing.T) {
	for name, c := range map[string]struct {
		then, now int // free GPUs
		asks      bool
	}{"taken, and free": {0, 1, true}, "taken, and still": {0, 0, false}, "free, and free": {1, 1, false}} {
		p := newPolicy("p", 1)
		in := newInput([]market.Host{newHost("a", c.then, "0.40")}, p)
		in.Verdicts = []market.Verdict{refused(p, "a", "0.39")}
		Learn(&in.History, in.Safety, in.Snapshot.Hosts.Value, in.Verdicts, in.Now)
		in.Verdicts, in.Now = nil, in.Now.Add(10*time.Second)
		in.Snapshot.Hosts.Value = []market.Host{newHost("a", c.now, "0.40")}
		if got := Compute(in); (len(got.Questions) > 0) != c.asks {
			t.Errorf("%s: %+v %+v", name, got.Questions, got.Holds)
		}
	}
}

func TestAMarketThatWasTooDearIsAskedAgainWhenTheBackoffEnds(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 8, "0.40")}, p)
	in.History.Brackets = []Bracket{{Host: "a", Model: rtx4090, Shape: p.Shape, Hi: usd("0.22"), HiAt: t0, HiSince: t0, Floor: usd("0.22"), At: t0}}
	in.Verdicts = []market.Verdict{refused(p, "a", "0.22"), refused(p, "a", "0.39")} // all that the ceiling allows
	Learn(&in.History, in.Safety, in.Snapshot.Hosts.Value, in.Verdicts, in.Now)
	in.Verdicts = nil
	for _, c := range []struct {
		after time.Duration
		asks  bool
	}{{10 * time.Second, false}, {2 * time.Minute, true}} {
		in.Now = t0.Add(c.after)
		if got := Compute(in); (len(got.Questions) > 0) != c.asks {
			t.Errorf("after %s: %+v %+v", c.after, got.Questions, got.Holds)
		}
	}
}

// What no word is known of may be as cheap as what was found, so it is asked about before a
// price is narrowed down: the first machine is not bought where the first answer came from.
func TestEveryOfferThatMayBeCheaperIsAskedAboutBeforeOneIsBought(t *testing.T) {
	p := newPolicy("p", 1)
	hosts := []market.Host{newHost("a", 4, "0.35"), newHost("b", 4, "0.36"), newHost("c", 4, "0.37"), newHost("d", 4, "0.60")}
	least := map[string]market.Rate{"a": usd("0.20"), "b": usd("0.21"), "c": usd("0.16"), "d": usd("0.10")}
	in, got := converse(newInput(hosts, p), func(q market.Question) bool { return q.Bid >= least[q.Host] })
	wantActions(t, got, "deploy c below_target")
	asked := map[string]int{}
	for _, v := range in.Verdicts {
		asked[v.Host]++
	}
	if asked["b"] == 0 || asked["d"] != 0 || len(in.Verdicts) > 12 {
		t.Errorf("asked %v", asked)
	}
}

// A price that was found high is one of that hour.
func TestAnOldPriceIsAskedAboutFromTheLeastThatTheHostEverTook(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	b := Bracket{Host: "a", Model: market.GPUModel("geforcertx4090-pcie-24gb"), Shape: p.Shape, Hi: usd("0.30"), HiAt: t0, Floor: usd("0.18"), At: t0}
	for age, want := range map[time.Duration]string{loLasts - time.Second: "0.30", loLasts: "0.18"} {
		in.Now, in.History.Brackets = t0.Add(age), []Bracket{b}
		got := Compute(in)
		if len(got.Questions) != 1 || got.Questions[0].Bid != usd(want) {
			t.Errorf("after %s: %+v, want %s", age, got.Questions, want)
		}
		in.Verdicts = []market.Verdict{refused(p, "a", "0.18")}
		if got := Compute(in); len(got.Questions) != 1 || got.Questions[0].Bid != usd("0.30") {
			t.Errorf("after %s, and 0.18 refused: %+v", age, got.Questions)
		}
		in.Verdicts = nil
	}
}
