package simulator

import (
	"reflect"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

func TestAnOutbidMachineCostsStorageOnlyAndComesBackWhenItWinsAgain(t *testing.T) {
	f := start(t, Options{Scenario: oneHost(
		Rival{GPUs: 4, Bid: market.USD(2, 50), From: time.Hour, Stay: 30 * time.Minute},
	)}, FaceOptions{})
	id := f.buy("m", 1, market.USD(0, 60))
	f.wantStatus(id, market.StatusStarting)
	f.pass(3 * time.Minute)
	f.wantStatus(id, market.StatusRunning)
	f.pass(57 * time.Minute)
	f.wantStatus(id, market.StatusOutbid)
	f.pass(30 * time.Minute)
	f.wantStatus(id, market.StatusStarting)
	f.pass(30 * time.Minute)
	f.wantStatus(id, market.StatusRunning)

	m := f.look(id)
	// An hour and a half hour of compute at 60 cents, two hours of storage at one.
	if want := market.Amount(90 * market.Cent); m.Compute != want {
		t.Errorf("compute %v, want %v", m.Compute, want)
	}
	if want := market.Amount(2 * market.Cent); m.Storage != want {
		t.Errorf("storage %v, want %v", m.Storage, want)
	}
	if want := 84 * time.Minute; m.Running != want || m.Outbids != 1 {
		t.Errorf("ran %v with %d outbids, want %v and 1", m.Running, m.Outbids, want)
	}
}

func TestYouPayYourBidToTheSecond(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	id := f.buy("m", 1, market.USD(0, 72)) // 72 cents an hour is 0.02 cents a second
	f.pass(10 * time.Second)
	f.Fleet() // looking must not round
	f.pass(1500 * time.Millisecond)
	if err := f.Rebid(id, market.USD(1, 44)); err != nil {
		t.Fatal(err)
	}
	f.pass(5 * time.Second)
	if err := f.Delete(id); err != nil {
		t.Fatal(err)
	}
	f.pass(time.Hour)
	m := f.look(id)
	// 11.5 s count as 12 at the first bid, then 5 s at the second.
	if want := market.Amount((12*2 + 5*4) * market.Cent / 100); m.Compute != want {
		t.Errorf("compute %v, want %v", m.Compute, want)
	}
	if m.Billed != 17*time.Second {
		t.Errorf("billed %v, want 17s", m.Billed)
	}
	if want := market.Rate(market.Cent).For(12*time.Second) + market.Rate(market.Cent).For(5*time.Second); m.Storage != want {
		t.Errorf("storage %v, want %v", m.Storage, want)
	}
	a := f.Account()
	if a.Spent != m.Compute+m.Storage || a.Burn != 0 || a.Peak != market.USD(1, 45) {
		t.Errorf("account %+v does not match the machine %+v", a, m)
	}
}

func TestStoppedKeepsItsGPUsAndItsPriceAndReleasedDoesNot(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	id := f.buy("m", 4, 0)
	f.pass(time.Hour)
	if err := f.Stop(id, false); err != nil {
		t.Fatal(err)
	}
	if b := f.Account().Burn; b != market.USD(4, 1) {
		t.Errorf("a stopped machine burns %v, want its full rate", b)
	}
	if _, ok := f.ThresholdFor(hostA, gpu4, 1); ok {
		t.Error("a stopped machine gave its GPUs away")
	}
	if err := f.Stop(id, true); err != nil {
		t.Fatal(err)
	}
	if b := f.Account().Burn; b != market.USD(0, 1) {
		t.Errorf("a released machine burns %v, want its storage", b)
	}
	other := f.buy("other", 1, 0)
	if err := f.Start(id); market.ClassOf(err) != market.ClassNoCapacity {
		t.Errorf("start without room: %v", err)
	}
	if err := f.Delete(other); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(id); err != nil {
		t.Errorf("start with room: %v", err)
	}
}

func TestEverythingStopsWhenTheMoneyEndsAndIsDeletedFourDaysLater(t *testing.T) {
	f := start(t, Options{Balance: 2 * market.Dollar}, FaceOptions{})
	id := f.buy("m", 1, market.USD(0, 99)) // a dollar an hour with its storage
	f.pass(2*time.Hour - time.Second)
	f.wantStatus(id, market.StatusRunning)
	f.pass(2 * time.Second)
	f.wantStatus(id, market.StatusStopped)
	if a := f.Account(); a.Balance > 0 || a.Balance < -market.Amount(market.Cent) || a.Burn != market.USD(0, 1) {
		t.Errorf("account at zero: %+v", a)
	}
	if err := f.Start(id); market.ClassOf(err) != market.ClassRefused {
		t.Errorf("start without money: %v", err)
	}
	if _, err := f.Deploy(order("n", 1, 0)); market.ClassOf(err) != market.ClassRefused {
		t.Errorf("deploy without money: %v", err)
	}
	f.pass(96 * time.Hour)
	f.wantStatus(id, market.StatusTerminated)
}

func TestADepositKeepsStoppedMachinesFromDeletion(t *testing.T) {
	f := start(t, Options{Balance: market.Dollar}, FaceOptions{})
	id := f.buy("m", 1, market.USD(0, 99))
	f.pass(2 * time.Hour)
	f.wantStatus(id, market.StatusStopped)
	f.Deposit(10 * market.Dollar)
	f.pass(100 * time.Hour)
	f.wantStatus(id, market.StatusStopped)
	if err := f.Start(id); err != nil {
		t.Fatal(err)
	}
	f.pass(time.Hour)
	f.wantStatus(id, market.StatusRunning)
}

func TestADeployNeedsADollar(t *testing.T) {
	f := start(t, Options{Balance: market.Dollar - 1}, FaceOptions{})
	if _, err := f.Deploy(order("m", 1, 0)); market.ClassOf(err) != market.ClassRefused {
		t.Fatalf("got %v", err)
	}
}

func TestAMachineThatNeverComesUpStaysStartingAndIsBilled(t *testing.T) {
	f := start(t, Options{Boot: BootModel{Median: time.Minute, Fails: 1}}, FaceOptions{})
	id := f.buy("m", 1, market.USD(0, 50))
	f.pass(10 * time.Hour)
	f.wantStatus(id, market.StatusStarting)
	if m := f.look(id); m.Compute != 5*market.Dollar || m.Running != 0 || !m.NeverComes {
		t.Errorf("machine %+v", m)
	}
}

func TestOnDemandOutranksSpot(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	spot := f.buy("spot", 2, market.USD(50, 0))
	f.buy("one", 2, 0)
	f.pass(time.Minute)
	f.wantStatus(spot, market.StatusStarting)
	f.buy("two", 2, 0)
	f.wantStatus(spot, market.StatusOutbid)
	if _, ok := f.ThresholdFor(hostA, gpu4, 1); ok {
		t.Error("a full host has a price")
	}
	if _, err := f.Deploy(order("three", 1, 0)); market.ClassOf(err) != market.ClassNoCapacity {
		t.Errorf("on-demand beyond the GPUs: %v", err)
	}
}

func TestOurOwnSecondMachineCanDisplaceTheFirst(t *testing.T) {
	f := start(t, Options{Scenario: oneHost(Rival{GPUs: 2, Bid: market.USD(3, 0)}, Rival{GPUs: 1, Bid: market.USD(2, 0)})}, FaceOptions{})
	first := f.buy("first", 1, market.USD(0, 50))
	q := market.Question{Host: hostA, Model: gpu4, Shape: order("", 1, 0).Shape, Bid: market.USD(0, 51)}
	if v := f.Validate(q); v.Answer != market.Accepted {
		t.Fatalf("validation counts our machine as a rival: %+v", v)
	}
	f.buy("second", 1, market.USD(0, 51))
	f.wantStatus(first, market.StatusOutbid)
}

func TestARebidIsAppliedByTheOneCallThatTheMarketAppliesItBy(t *testing.T) {
	high, low := market.USD(0, 90), market.USD(0, 60)
	for mode, want := range map[RebidMode][2]market.Rate{
		ByModify: {low, high}, ByValidateExisting: {high, high}, Never: {low, low},
	} {
		f := start(t, Options{RebidApplies: mode}, FaceOptions{})
		id := f.buy("m", 1, low)
		if v, err := f.ValidateExisting(id, high); err != nil || v.Answer != market.Accepted {
			t.Fatalf("%s: %+v, %v", mode, v, err)
		}
		afterValidate := f.look(id).Bid
		if err := f.Rebid(id, high); err != nil {
			t.Fatalf("%s: %v", mode, err)
		}
		if got := [2]market.Rate{afterValidate, f.look(id).Bid}; got != want {
			t.Errorf("%s: bids after validation and after modify %v, want %v", mode, got, want)
		}
	}
}

func TestAHigherBidBringsAnOutbidMachineBack(t *testing.T) {
	f := start(t, Options{Scenario: oneHost(Rival{GPUs: 4, Bid: market.USD(3, 0), From: time.Minute})}, FaceOptions{})
	id := f.buy("m", 1, market.USD(0, 60))
	f.pass(time.Hour)
	f.wantStatus(id, market.StatusOutbid)
	// For a newcomer the outbid machine fills what the bundle leaves; for the
	// machine itself nothing does.
	if least, ok := f.ThresholdFor(hostA, gpu4, 1); !ok || least != market.USD(2, 41) {
		t.Fatalf("one more GPU costs %v, %v", least, ok)
	}
	least := market.USD(3, 1)
	if err := f.Rebid(id, least-market.Cent); market.ClassOf(err) != market.ClassBidRefused {
		t.Fatalf("a bid that ties was taken: %v", err)
	}
	if err := f.Rebid(id, least); err != nil {
		t.Fatal(err)
	}
	f.wantStatus(id, market.StatusStarting)
}

func TestABidBelowTheFloorIsToldTheMinimumAndAnOutbidOneIsNot(t *testing.T) {
	f := start(t, Options{Scenario: oneHost(Rival{GPUs: 4, Bid: market.USD(8, 0)})}, FaceOptions{})
	_, err := f.Deploy(order("m", 2, market.USD(0, 79)))
	if r, is := err.(*Refusal); !is || r.Hint.Or(0) != market.USD(0, 80) {
		t.Errorf("below the floor: %#v", err)
	}
	_, err = f.Deploy(order("m", 2, market.USD(1, 0)))
	if r, is := err.(*Refusal); !is || r.Hint.Known() || r.Class != market.ClassBidRefused {
		t.Errorf("outbid: %#v", err)
	}
}

func TestTheSameSeedAndCallsGiveTheSameEventsAndAnotherSeedDoesNot(t *testing.T) {
	run := func(seed uint64) (log []Event) {
		f := start(t, Options{Seed: seed, Scenario: &World{}, Observe: func(e Event) { log = append(log, e) }}, FaceOptions{})
		e, err := New(Options{Clock: f.clock, Seed: seed, Observe: func(e Event) { log = append(log, e) }})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 200 {
			for _, h := range e.Hosts() {
				o := order("m", 1, 0)
				o.Host, o.Model, o.Capacity = h.ID, h.GPUs[0].Model, market.Spot
				if least, ok := e.ThresholdFor(h.ID, o.Model, 1); ok && i%40 == 0 {
					o.Bid = least
					_, _ = e.Deploy(o) // whether it is taken is part of the log
				}
			}
			f.pass(17 * time.Minute)
		}
		e.Now()
		return log
	}
	a, b, c := run(1), run(1), run(2)
	if len(a) < 1000 {
		t.Fatalf("only %d events: nothing moves", len(a))
	}
	if !reflect.DeepEqual(a, b) {
		t.Error("two runs of one seed differ")
	}
	if reflect.DeepEqual(a, c) {
		t.Error("two seeds gave one run")
	}
}

func TestAClockThatJumpsBackNeitherEarnsNorRepeats(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	f.buy("m", 1, market.USD(0, 60))
	f.pass(time.Hour)
	before, events := f.Account(), len(f.Events())
	f.pass(-30 * time.Minute)
	if got := f.Account(); got != before || len(f.Events()) != events {
		t.Errorf("account %+v after the jump, %+v before", got, before)
	}
}

func TestAContainerKeepsItsReplicasWithinItsRate(t *testing.T) {
	f := start(t, Options{}, FaceOptions{})
	o := ContainerOrder{
		Name: "web", Image: "nginx", Models: []market.GPUModel{gpu4}, Replicas: 2, MaxRate: market.USD(1, 1),
		Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100},
	}
	id, err := f.DeployContainer(o)
	if err != nil {
		t.Fatal(err)
	}
	replicas := func() int {
		ms, err := f.Replicas(id)
		if err != nil {
			t.Fatal(err)
		}
		return len(ms)
	}
	if n := replicas(); n != 2 || f.Account().Burn != market.USD(2, 2) {
		t.Fatalf("%d replicas at %v", n, f.Account().Burn)
	}
	if err := f.ScaleContainer(id, 1, false); err != nil || replicas() != 3 {
		t.Fatalf("a delta of one: %v, %d replicas", err, replicas())
	}
	if err := f.ScaleContainer(id, 1, true); err != nil || replicas() != 1 {
		t.Fatalf("an absolute one: %v, %d replicas", err, replicas())
	}
	if err := f.ScaleContainer(id, 4, true); err != nil || replicas() != 4 {
		t.Fatalf("four: %v, %d replicas", err, replicas())
	}
	if n := len(f.Instances()); n != 0 {
		t.Errorf("%d replicas stand in the list of machines", n)
	}
	if err := f.StopContainer(id); err != nil {
		t.Fatal(err)
	}
	if a := f.Account(); a.Burn != 0 {
		t.Errorf("a stopped container burns %v", a.Burn)
	}
	o.MaxRate = market.USD(1, 0)
	if id, err = f.DeployContainer(o); err != nil {
		t.Fatal(err)
	}
	if n := replicas(); n != 0 {
		t.Errorf("%d replicas above their rate", n)
	}
}
