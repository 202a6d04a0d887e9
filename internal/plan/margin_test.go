package plan

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// exponentialRises are n rises of mean sigma of a bid hi, as evenly spread as can be.
func exponentialRises(n int, sigma float64) []step {
	out := make([]step, n)
	for i := range out {
		out[i] = step{share: int64(-sigma * math.Log((float64(i)+0.5)/float64(n)) * float64(Once)), seen: Once, own: true}
	}
	return out
}

// Where rises come as a Poisson process with rate nu, and are exponential with mean
// sigma, the best margin is sigma x max(0, ln(nu x loss / sigma)).
func TestTheMarginIsTheBestOneForPoissonRisesOfExponentialSize(t *testing.T) {
	hi := usd("1.00")
	for _, c := range []struct{ nu, sigma, loss float64 }{
		{0.1, 0.05, 2}, {0.1, 0.05, 1}, {0.1, 0.05, 0.6}, {0.1, 0.05, 0.3}, {0.02, 0.03, 5}, {0.5, 0.04, 1}, {0.5, 0.04, 0.05}, {0.2, 0.1, 0.6},
	} {
		want := c.sigma * max(0, math.Log(c.nu*c.loss/c.sigma))
		for _, n := range []int{200, 1000} {
			hours := Faded(float64(n) / c.nu * float64(Once))
			got, hazard := margin(hi, market.Amount(c.loss*market.Dollar), exponentialRises(n, c.sigma), hours, hours)
			if math.Abs(got.Float()-want) > 0.02 {
				t.Errorf("nu %g, sigma %g, loss %g, %d rises: margin %s, want %.3f", c.nu, c.sigma, c.loss, n, got, want)
			}
			if left := c.nu * math.Exp(-got.Float()/c.sigma); math.Abs(hazard.Float()-left) > 0.25*left+0.001 {
				t.Errorf("nu %g, sigma %g, loss %g, %d rises: %.4f losses an hour at %s, want %.4f", c.nu, c.sigma, c.loss, n, hazard.Float(), got, left)
			}
		}
	}
}

func TestAQuietMarketIsGivenNoMargin(t *testing.T) {
	for _, hours := range []Faded{0, Once, 1000 * Once} {
		if d, _ := margin(usd("0.30"), dollars(1), nil, hours, hours); d != 0 {
			t.Errorf("%s after %g quiet hours", d, hours.Float())
		}
	}
	// One rise long ago, among many quiet hours, is not worth a cent an hour.
	if d, _ := margin(usd("0.30"), dollars(1), []step{{share: int64(Once / 10), seen: Once, own: true}}, 1000*Once, 1000*Once); d != 0 {
		t.Errorf("%s for one rise in 1000 hours", d)
	}
}

func TestTheMarginStaysWithinAQuarterOfTheBid(t *testing.T) {
	steps := exponentialRises(200, 0.5)
	if d, _ := margin(usd("0.40"), dollars(100), steps, 100*Once, 100*Once); d > usd("0.10") || d < usd("0.08") {
		t.Errorf("%s on 0.40", d)
	}
}

// A host that is quiet among noisy ones of its model needs less and less of a margin.
func TestAHostsOwnHoursCountMoreThanItsModels(t *testing.T) {
	steps := exponentialRises(100, 0.05)
	for i := range steps {
		steps[i].own = false
	}
	last := usd("9")
	for _, own := range []Faded{0, 24 * Once, 200 * Once, 2000 * Once} {
		d, _ := margin(usd("1.00"), dollars(2), steps, own, 1000*Once)
		if d > last || own == 0 && d < usd("0.05") || own == 2000*Once && d != 0 {
			t.Errorf("%s after %g quiet hours of its own", d, own.Float())
		}
		last = d
	}
}

// The whole way: outbid, the search for a higher bid says how far the price rose, and
// the next bid on a host of that model has a margin.
func TestRisesAreLearntFromBeingOutbidAndPaidForInTheNextBid(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.35")}, p)
	at := func(theta string) func(market.Question) bool {
		return func(q market.Question) bool { return q.Bid >= usd(theta) }
	}
	for i := range 12 {
		in.Verdicts, in.Now = nil, in.Now.Add(time.Hour)
		in.History.remember([]market.Verdict{accepted(p, "a", "0.20")}, in.Now) // what it was bought at
		m := newMachine(p, i, "a", "0.20")
		m.RunAt, m.MeteredAt, m.SeenAt = in.Now.Add(-time.Hour), in.Now, in.Now
		in.History.Machines = []Machine{m}
		m.Status = market.StatusOutbid
		observed(&in, shown(m))
		in, _ = converse(in, at("0.23"))
		Learn(&in.History, in.Safety, in.Snapshot.Hosts.Value, in.Verdicts, in.Now)
		in.History.Brackets = nil
	}
	if n := len(in.History.Rises); n != 12 {
		t.Fatalf("%d rises", n)
	}
	for _, r := range in.History.Rises {
		if r.From != usd("0.20") || r.To < usd("0.23") || r.To > usd("0.24") {
			t.Errorf("%+v", r)
		}
	}
	in.Verdicts, in.Now = nil, in.Now.Add(time.Hour)
	in.History.Machines, in.History.Backoffs = nil, nil
	_, plan := converse(in, at("0.20"))
	wantActions(t, plan, "deploy a below_target")
	if bid := plan.Actions[0].Bid; bid < usd("0.23") || bid > usd("0.24") || !strings.Contains(plan.Actions[0].Reason.Text, "a margin of") {
		t.Errorf("%+v", plan.Actions)
	}
}
