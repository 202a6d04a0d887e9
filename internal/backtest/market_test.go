package backtest

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// stall is a market with a clock, for one policy called p that wants two GPUs.
type stall struct {
	t *testing.T
	context.Context
	*Market
	clock *clock.Virtual
}

func newStall(t *testing.T, tp *tape.Tape) *stall {
	c := clock.NewVirtual(tp.Start)
	return &stall{t: t, Context: t.Context(), Market: NewMarket(c, tp, []policy.Policy{{Name: "p", Target: 2, Shape: market.Shape{GPUs: 1}, Capacity: policy.SpotWithFallback}}), clock: c}
}

func (s *stall) pass(d time.Duration) {
	s.t.Helper()
	if err := s.clock.Sleep(s, d); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stall) buy(key, host string, gpus int, bid market.Rate) string {
	s.t.Helper()
	o := market.Order{Name: "tds-main-p-" + key, Host: host, Model: "gpu", Shape: market.Shape{GPUs: gpus}, Capacity: market.Spot, Bid: bid}
	if host == OnDemandHost {
		o.Capacity, o.Bid = market.OnDemand, 0
	}
	d, err := s.Deploy(s, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return d.ID
}

func (s *stall) status(id string) market.Status {
	s.t.Helper()
	inst, err := s.Instance(s, id)
	if err != nil {
		s.t.Fatal(err)
	}
	return inst.Status
}

func (s *stall) free(host string) int {
	s.t.Helper()
	hosts, err := s.Hosts(s)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range hosts {
		if h.ID == host {
			return h.GPUs[0].Free
		}
	}
	s.t.Fatalf("no host %s", host)
	return 0
}

func cents(n int64) market.Rate { return market.USD(0, n) }

func TestSpotCostsThePostedPriceWhateverIsBid(t *testing.T) {
	s := newStall(t, constant(10*time.Hour, 2))
	s.buy("aaaaaaaa", "a", 1, market.USD(3, 0))
	s.pass(time.Hour)
	r := s.Result("x") // to the end of the tape
	if r.Cost != 9_180_000_000 || r.Overpay != 0 || r.Delivered != 9.95 || r.Target != 20 || r.Starts != 1 {
		t.Errorf("%+v", r)
	}
	if want := market.Amount(9_180_000_000 + 61_506_000_000); r.J != want { // 10.05 x 6.12
		t.Errorf("J %s, want %s", r.J, want)
	}
}

func TestBidsAreJudgedByPriceAndRoom(t *testing.T) {
	s := newStall(t, constant(time.Hour, 2))
	for _, c := range []struct {
		host string
		gpus int
		bid  market.Rate
		want market.Answer
		hint market.Maybe[market.Rate]
	}{
		{"a", 1, 918_000_000, market.Accepted, market.Maybe[market.Rate]{}},
		{"a", 1, 917_999_999, market.Refused, market.Some(spotPrice)},
		{"a", 2, 918_000_000, market.Refused, market.Some(spotPrice.Mul(2))},
		{"a", 3, market.USD(9, 0), market.Refused, market.Maybe[market.Rate]{}},
		{OnDemandHost, 1, market.USD(9, 0), market.Refused, market.Maybe[market.Rate]{}},
		{"nowhere", 1, market.USD(9, 0), market.Refused, market.Maybe[market.Rate]{}},
	} {
		v, err := s.ValidateNew(s, market.Question{Host: c.host, Model: "gpu", Shape: market.Shape{GPUs: c.gpus}, Bid: c.bid})
		if err != nil || v.Answer != c.want || v.Hint != c.hint {
			t.Errorf("%+v: %+v, %v", c, v, err)
		}
	}
	if s.buy("aaaaaaaa", "a", 1, cents(92)); s.free("a") != 1 {
		t.Errorf("%d free", s.free("a"))
	}
	_, err := s.Deploy(s, market.Order{Host: "a", Model: "gpu", Shape: market.Shape{GPUs: 2}, Capacity: market.Spot, Bid: market.USD(9, 0)})
	if market.ClassOf(err) != market.ClassNoCapacity {
		t.Errorf("two GPUs where one is left: %v", err)
	}
	_, err = s.Deploy(s, market.Order{Host: "a", Model: "gpu", Shape: market.Shape{GPUs: 1}, Capacity: market.OnDemand})
	if market.ClassOf(err) != market.ClassNoCapacity {
		t.Errorf("on demand from a pool: %v", err)
	}
}

func TestWhatIsLostIsShownAsTerminatedForAWhileAndItsPlaceIsFreeAgain(t *testing.T) {
	tp := constant(10*time.Hour, 2)
	tp.Pools[0].Free = tape.Series[int]{{At: 0, Value: 2}, {At: time.Hour, Value: 1}, {At: 2 * time.Hour, Value: 2}}
	s := newStall(t, tp)
	old := s.buy("aaaaaaaa", "a", 1, cents(92))
	s.pass(time.Second)
	young := s.buy("bbbbbbbb", "a", 1, cents(99))
	s.pass(time.Hour)
	if s.status(old) != market.StatusRunning || s.status(young) != market.StatusTerminated || s.free("a") != 0 {
		t.Errorf("%s %s, %d free", s.status(old), s.status(young), s.free("a"))
	}
	s.pass(shownFor)
	list, err := s.Instances(s)
	if err != nil || len(list) != 1 || list[0].ID != old {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := s.Instance(s, young); market.ClassOf(err) != market.ClassNotFound {
		t.Errorf("it is still there: %v", err)
	}
	s.pass(time.Hour)
	if s.free("a") != 1 {
		t.Errorf("%d free", s.free("a"))
	}
	if r := s.Result("x"); r.Interruptions != 1 || r.Starts != 2 {
		t.Errorf("%+v", r)
	}
}

func TestAMachineThatIsLostWhileItBootsIsNoInterruption(t *testing.T) {
	tp := constant(time.Hour, 1)
	tp.Pools[0].Free = tape.Series[int]{{At: 0, Value: 1}, {At: 2 * time.Minute, Value: 0}}
	s := newStall(t, tp)
	s.buy("aaaaaaaa", "a", 1, cents(92))
	if r := s.Result("x"); r.Interruptions != 0 || r.Delivered != 0 || r.Cost != spotPrice.For(2*time.Minute) {
		t.Errorf("%+v", r)
	}
}

// auction is a tape of one host whose price moves.
func auction() *tape.Tape {
	tp := constant(10*time.Hour, 8)
	tp.FirstPrice = true
	tp.Pools[0].Price = tape.Series[market.Rate]{{At: 0, Value: cents(40)}, {At: time.Hour, Value: cents(60)}, {At: 2 * time.Hour, Value: cents(30)}}
	return tp
}

func TestAnOutbidMachineCostsNothingAndWinsAgainByItself(t *testing.T) {
	s := newStall(t, auction())
	id := s.buy("aaaaaaaa", "a", 2, cents(90)) // 45 cents a GPU
	s.pass(90 * time.Minute)
	if s.status(id) != market.StatusOutbid || s.free("a") != 8 {
		t.Fatalf("%s, %d free", s.status(id), s.free("a"))
	}
	if b, err := s.Balance(s); err != nil || b.Hourly.Or(9) != 0 || b.Balance.Or(0) != openingBalance-900_000_000 {
		t.Errorf("%+v, %v", b, err)
	}
	s.pass(31 * time.Minute)
	if s.status(id) != market.StatusStarting {
		t.Errorf("%s", s.status(id))
	}
	s.pass(3 * time.Minute)
	if s.status(id) != market.StatusRunning {
		t.Errorf("%s", s.status(id))
	}
	r := s.Result("x")
	if r.Cost != 9*900_000_000 || r.Interruptions != 1 || r.Starts != 1 || r.Delivered != 2*(0.95+7.95) {
		t.Errorf("%+v", r)
	}
	// An hour at 45 instead of 40 cents, eight at 45 instead of 30.
	if want := (0.125 + 8*0.5) / 9; r.Overpay < want-1e-9 || r.Overpay > want+1e-9 {
		t.Errorf("overpaid %f, want %f", r.Overpay, want)
	}
}

func TestWhoWasOutbidWaitsForRoom(t *testing.T) {
	tp := auction()
	tp.Pools[0].Free = tape.Constant(1)
	s := newStall(t, tp)
	old := s.buy("aaaaaaaa", "a", 1, cents(50))
	s.pass(90 * time.Minute)
	young := s.buy("bbbbbbbb", "a", 1, cents(70))
	s.pass(time.Hour)
	if s.status(old) != market.StatusOutbid || s.status(young) != market.StatusRunning || s.free("a") != 0 {
		t.Errorf("%s %s, %d free", s.status(old), s.status(young), s.free("a"))
	}
	if err := s.Delete(s, young); err != nil || s.status(old) != market.StatusStarting {
		t.Errorf("%v, %s", err, s.status(old))
	}
}

func TestABidIsRaisedAndLoweredAtOnceAndNeverBelowThePrice(t *testing.T) {
	s := newStall(t, auction())
	id := s.buy("aaaaaaaa", "a", 1, cents(50))
	s.pass(61 * time.Minute)
	if v, err := s.ValidateExisting(s, id, cents(59)); err != nil || v.Answer != market.Refused || v.Hint.Known() {
		t.Errorf("%+v, %v", v, err)
	}
	if err := s.ModifyBid(s, id, "gpu", market.Shape{GPUs: 1}, cents(59)); market.ClassOf(err) != market.ClassBidRefused {
		t.Errorf("too low: %v", err)
	}
	if err := s.ModifyBid(s, id, "gpu", market.Shape{GPUs: 1}, cents(60)); err != nil || s.status(id) != market.StatusStarting {
		t.Errorf("%v, %s", err, s.status(id))
	}
	s.pass(time.Hour)
	if err := s.ModifyBid(s, id, "gpu", market.Shape{GPUs: 1}, cents(31)); err != nil || s.status(id) != market.StatusRunning {
		t.Errorf("%v, %s", err, s.status(id))
	}
	if inst, err := s.Instance(s, id); err != nil || inst.Compute.Or(0) != cents(31) {
		t.Errorf("%+v, %v", inst, err)
	}
	if err := s.ModifyBid(s, "nobody", "gpu", market.Shape{}, 1); market.ClassOf(err) != market.ClassNotFound {
		t.Errorf("%v", err)
	}
}

func TestWhatIsDeletedEndsAtOnceAndMoreThanTheTargetDeliversNothing(t *testing.T) {
	s := newStall(t, constant(10*time.Hour, 8))
	id := s.buy("aaaaaaaa", "a", 3, market.USD(9, 0))
	other := s.buy("bbbbbbbb", OnDemandHost, 1, 0)
	s.pass(5 * time.Hour)
	for _, d := range []string{id, other} {
		if err := s.Delete(s, d); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(s, d); market.ClassOf(err) != market.ClassNotFound {
			t.Errorf("%v", err)
		}
	}
	if r := s.Result("x"); r.Cost != 5*(3*918_000_000+3_060_000_000) || r.Delivered != 2*4.95 || r.Interruptions != 0 {
		t.Errorf("%+v", r)
	}
}

func TestAListThatWasHandedOutIsNotChanged(t *testing.T) {
	s := newStall(t, constant(time.Hour, 2))
	before, err := s.Hosts(s)
	if err != nil {
		t.Fatal(err)
	}
	s.buy("aaaaaaaa", "a", 1, cents(92))
	if s.free("a") != 1 || before[1].ID != "a" || before[1].GPUs[0].Free != 2 {
		t.Errorf("%d free now, %+v before", s.free("a"), before[1])
	}
}

// Whatever is ordered, raised, deleted and lost: no pool has more of ours than it has,
// the list tells what is left, and what was metered is what the machines' lives cost.
func TestNoPoolEverHoldsMoreThanItHas(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		tp := randomTape(r)
		c := clock.NewVirtual(tp.Start)
		m := NewMarket(c, tp, []policy.Policy{{Name: "p", Target: 3, Shape: market.Shape{GPUs: 1}, Capacity: policy.SpotWithFallback}})
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			if err := c.Sleep(t.Context(), time.Duration(rapid.IntRange(0, 900).Draw(r, "seconds"))*time.Second); err != nil {
				r.Fatal(err)
			}
			act(t.Context(), r, m)
			hosts, _ := m.Hosts(t.Context())
			for _, h := range hosts {
				if p, ok := m.index[h.ID]; ok && (h.GPUs[0].Free != m.pools[p].free-m.pools[p].used || h.GPUs[0].Free < 0) {
					r.Fatalf("%s lists %d free, has %d, %d of them ours", h.ID, h.GPUs[0].Free, m.pools[p].free, m.pools[p].used)
				}
			}
		}
		got, lives := m.Result("x"), tp.Score(3, m.Lives())
		if diff := got.Cost - lives.Cost; diff < -1e4 || diff > 1e4 {
			r.Fatalf("metered %s, the lives cost %s", got.Cost, lives.Cost)
		}
		if want := lives.Delivered.Hours(); got.Delivered != want || got.Interruptions != lives.Interruptions {
			r.Fatalf("delivered %f and lost %d, by the lives %f and %d", got.Delivered, got.Interruptions, want, lives.Interruptions)
		}
	})
}

func randomTape(r *rapid.T) *tape.Tape {
	tp := constant(6*time.Hour, rapid.IntRange(0, 4).Draw(r, "a"), rapid.IntRange(0, 4).Draw(r, "b"))
	for i := range tp.Pools {
		p := &tp.Pools[i]
		for at := time.Duration(0); at < tp.Length; {
			at += time.Duration(rapid.IntRange(1, 7200).Draw(r, "until")) * time.Second
			p.Free = append(p.Free, tape.Step[int]{At: at, Value: rapid.IntRange(0, 4).Draw(r, "free")})
			p.Price = append(p.Price, tape.Step[market.Rate]{At: at, Value: cents(int64(rapid.IntRange(50, 99).Draw(r, "price")))})
		}
	}
	return tp
}

// act asks something of the market; what it answers does not matter.
func act(ctx context.Context, r *rapid.T, m *Market) {
	bid := cents(int64(rapid.IntRange(40, 99).Draw(r, "bid")))
	list, _ := m.Instances(ctx)
	if what := rapid.IntRange(0, 3).Draw(r, "what"); what > 1 || len(list) == 0 {
		o := market.Order{Name: "tds-main-p-aaaaaaaa", Model: "gpu", Shape: market.Shape{GPUs: 1}, Capacity: market.Spot, Bid: bid}
		if o.Host = rapid.SampledFrom([]string{"a", "b", OnDemandHost}).Draw(r, "host"); o.Host == OnDemandHost {
			o.Capacity = market.OnDemand
		}
		_, _ = m.Deploy(ctx, o)
	} else if id := list[rapid.IntRange(0, len(list)-1).Draw(r, "which")].ID; what == 1 {
		_ = m.Delete(ctx, id)
	} else {
		_ = m.ModifyBid(ctx, id, "gpu", market.Shape{GPUs: 1}, bid)
	}
}
