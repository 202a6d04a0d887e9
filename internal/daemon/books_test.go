package daemon

import (
	"errors"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func booksOf(r *rig, fleet, own market.Rate) *books {
	set := r.current().Set
	set.Budget.MaxHourly = market.Some(fleet)
	set.Policies = append([]policy.Policy(nil), set.Policies...)
	if own > 0 {
		set.Policies[0].Budget.MaxHourly = market.Some(own)
	}
	in := input(&set, plan.Look{Now: r.clock.Now()}, plan.History{})
	return &books{ledger: r.o.Ledger, clock: r.clock, set: &set, caps: in.CapsFor}
}

func deployAt(rate, reserve market.Rate) plan.Action {
	return plan.Action{
		Kind: plan.Deploy, Policy: "train", Host: "host", Model: gpu, Shape: market.Shape{GPUs: 1},
		Capacity: market.Spot, Bid: rate, Rate: rate, Reserve: reserve,
	}
}

// TestTheBooksRefuseWhatACapDoesNotLeaveWhateverThePlanThought: the caps hold in
// the transaction that writes the intent, also against a plan made before another
// booking.
func TestTheBooksRefuseWhatACapDoesNotLeaveWhateverThePlanThought(t *testing.T) {
	for name, c := range map[string]struct{ fleet, own market.Rate }{
		"the fleet's":  {market.USD(1, 0), 0},
		"the policy's": {market.USD(9, 0), market.USD(1, 0)},
	} {
		r := newRig(t, one("live", 4))
		b := booksOf(r, c.fleet, c.own)
		first, err := b.Begin(deployAt(market.USD(0, 60), market.USD(0, 80)))
		if err != nil || first.Reserved != market.USD(0, 80) || first.State != plan.IntentOpen {
			t.Fatalf("%s: %+v, %v", name, first, err)
		}
		if _, err := b.Begin(deployAt(market.USD(0, 60), market.USD(0, 80))); !errors.Is(err, plan.ErrBudget) {
			t.Errorf("%s cap was passed: %v", name, err)
		}
		h, err := r.o.Ledger.History()
		if err != nil || len(h.Machines) != 1 || h.Reserved() != market.USD(0, 80) {
			t.Errorf("%s: a refused booking left a trace: %+v, %v", name, h.Machines, err)
		}
		// What was agreed is less than the ceiling: now there is room for a small one.
		if _, err := b.Accept(first, market.Deployed{ID: "id", Total: market.Some(market.USD(0, 60))}, ""); err != nil {
			t.Fatal(err)
		}
		small, err := b.Begin(deployAt(market.USD(0, 40), market.USD(0, 80)))
		if err != nil || small.Reserved != market.USD(0, 40) {
			t.Errorf("%s: %+v, %v", name, small, err)
		}
		if small.Machine == first.Machine || small.ID == first.ID {
			t.Errorf("%s: %s and %s", name, first.Machine, small.Machine)
		}
	}
}

func TestARefusalLeavesNoReservationAndBlamesTheHostOnlyForItsOwnFault(t *testing.T) {
	for class, c := range map[market.Class]struct {
		host, breaker bool
		state         plan.IntentState
	}{
		market.ClassNoCapacity:   {true, false, plan.IntentRefused},
		market.ClassRefused:      {true, true, plan.IntentRefused},
		market.ClassNotFound:     {true, false, plan.IntentRefused},
		market.ClassBidRefused:   {false, false, plan.IntentRefused},
		market.ClassRateLimited:  {false, false, plan.IntentRefused},
		market.ClassUnauthorized: {false, true, plan.IntentRefused},
		market.ClassUnavailable:  {false, true, plan.IntentFailed},
	} {
		r := newRig(t, one("live", 4))
		b := booksOf(r, market.USD(9, 0), 0)
		in, err := b.Begin(deployAt(market.USD(0, 60), market.USD(0, 80)))
		if err != nil {
			t.Fatal(err)
		}
		if in, err = b.Refuse(in, class, "because"); err != nil || in.State != c.state || in.Detail != "because" {
			t.Errorf("%s: %+v, %v", class, in, err)
		}
		h, err := r.o.Ledger.History()
		if err != nil || len(h.Machines) != 0 || (len(h.Backoffs) == 1 && h.Backoffs[0].Failures == 1) != c.host || (len(h.Failures) == 1) != c.breaker {
			t.Errorf("%s: %+v, %v", class, h, err)
		}
	}
}

func TestTooManyFailedWritesOpenTheBreakerAndSayItOnce(t *testing.T) {
	r := newRig(t, one("live", 4))
	b := booksOf(r, market.USD(99, 0), 0)
	var told []plan.Event
	b.notice = func(e []plan.Event) { told = append(told, e...) }
	var intents []plan.Intent
	for range r.current().Set.Safety.BreakerFailures + 2 {
		in, err := b.Begin(deployAt(market.USD(0, 60), market.USD(0, 80)))
		if err != nil {
			t.Fatal(err)
		}
		intents = append(intents, in)
	}
	for _, in := range intents {
		var err error
		if in, err = b.Lose(in, "no answer"); err != nil || in.State != plan.IntentUnknown {
			t.Fatalf("%+v, %v", in, err)
		}
		r.clock.Set(r.clock.Now().Add(time.Second))
	}
	h, err := r.o.Ledger.History()
	if err != nil || len(told) != 1 || told[0].Kind != plan.EventBreaker || h.OpenBreaker(r.clock.Now()) == nil {
		t.Errorf("told %+v, %v", told, err)
	}
	// What was lost stays booked: it may exist.
	if len(h.Machines) != r.current().Set.Safety.BreakerFailures+2 {
		t.Errorf("%d machines are booked", len(h.Machines))
	}
}

func TestALookSettlesAnIntentOnceAndKeepsWhatTheMarketSaid(t *testing.T) {
	r := newRig(t, one("live", 1))
	r.turn()
	r.turn()
	list, err := r.o.Ledger.Intents(ledger.Filter{})
	if err != nil || len(list) != 1 || list[0].State != plan.IntentConfirmed {
		t.Fatalf("%+v, %v", list, err)
	}
	settled := list[0].SettledAt
	r.turn()
	if list, err = r.o.Ledger.Intents(ledger.Filter{}); err != nil || !list[0].SettledAt.Equal(settled) {
		t.Errorf("settled again: %+v, %v", list, err)
	}
}

func TestADeletionAskedForAgainSettlesTheOneBefore(t *testing.T) {
	r := newRig(t, one("live", 1))
	r.turn()
	r.turn()
	b := booksOf(r, market.USD(9, 0), 0)
	a := plan.Action{Kind: plan.Delete, Policy: "train", Machine: r.last.Input.History.Machines[0].Name, Instance: "id-1"}
	first, err := b.Begin(a)
	if err != nil {
		t.Fatal(err)
	}
	second, err := b.Begin(a) // the process died in between, and an operator destroys
	if err != nil || second.ID == first.ID {
		t.Fatalf("%+v, %v", second, err)
	}
	open, err := r.o.Ledger.Intents(ledger.Filter{OpenOnly: true})
	if err != nil || len(open) != 1 || open[0].ID != second.ID {
		t.Errorf("open: %+v, %v", open, err)
	}
	if was, err := r.o.Ledger.Intent(first.ID); err != nil || was.State != plan.IntentFailed || was.Detail != "asked for again" {
		t.Errorf("the first: %+v, %v", was, err)
	}
}
