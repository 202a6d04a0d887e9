package daemon

import (
	"errors"
	"fmt"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// books is the actuator's Book over the ledger: every step is one transaction
// that writes the intent together with the change to the fleet's books.
type books struct {
	ledger *ledger.Ledger
	// clock goes on from the look as time does: what is booked until the next one fits to
	// it, whoever sets the clock meanwhile. That one finds out, and moves all of it.
	clock  clock.Clock
	set    *policy.Set
	cycle  uint64
	caps   func(policy string) plan.Caps
	notice func([]plan.Event) // what a booking set off: a breaker
}

// Begin implements actuator.Book. A deletion that was asked for before, and never
// answered, is settled by the one that is asked for now.
func (b *books) Begin(a plan.Action) (in plan.Intent, err error) {
	err = b.ledger.Update(func(tx *ledger.Tx) error {
		name := a.Machine
		if a.Kind == plan.Deploy || a.Kind == plan.ContainerDeploy {
			name = tx.NewName(b.set.Daemon.Owner, a.Policy).String()
		}
		var before *plan.PendingDelete
		if m := tx.History().Machine(a.Machine); a.Kind == plan.Delete && m != nil {
			before = m.Leaving
		}
		superseded := tx.History().OpenContainerIntent(a)
		in, err = plan.Begin(tx.History(), a, b.caps(a.Policy), tx.NextIntent(), b.cycle, name, b.clock.Now())
		if err != nil {
			return err
		}
		if before != nil {
			err = settleIntent(tx, plan.Event{Intent: before.Intent, State: plan.IntentFailed, Text: "asked for again"}, b.clock.Now())
		}
		if superseded != 0 {
			err = errors.Join(err, settleIntent(tx, plan.Event{Intent: superseded, State: plan.IntentFailed, Text: "another request took its place"}, b.clock.Now()))
		}
		return errors.Join(err, tx.PutIntent(in))
	})
	return in, err
}

// Accept implements actuator.Book.
func (b *books) Accept(in plan.Intent, d market.Deployed, detail string) (plan.Intent, error) {
	return b.settle(in, func(h *plan.History, in *plan.Intent) []plan.Event {
		in.Detail = detail
		plan.Accept(h, in, d, b.clock.Now())
		return nil
	})
}

// Refuse implements actuator.Book. A host that refused a deploy for another
// reason than the bid is left alone for a while; a failure that is not about
// price or capacity counts toward the breaker, and is not held against the host. What
// v2 refuses counts no further than v2: v0 is asked instead.
func (b *books) Refuse(in plan.Intent, class market.Class, detail string) (plan.Intent, error) {
	return b.settle(in, func(h *plan.History, in *plan.Intent) (events []plan.Event) {
		now := b.clock.Now()
		plan.Refuse(h, b.set.Safety, in, class, detail, now)
		if in.Kind == plan.Deploy && in.Via == market.ViaV2 && class != market.ClassRateLimited {
			plan.Shun(h, b.set.Safety, in, class, detail)
			return nil
		}
		switch class {
		case market.ClassUnavailable, market.ClassUnauthorized, market.ClassShapeChanged:
			return plan.Fail(h, b.set.Safety, now)
		case market.ClassBidRefused:
			if in.Kind == plan.Deploy {
				plan.Deny(h, b.set.Safety, in.Host, in.Model, in.Shape.GPUs, now)
			}
			return nil
		case market.ClassRateLimited:
			return nil
		}
		if in.Kind == plan.ContainerDeploy || in.Kind == plan.ContainerScale {
			plan.PenaliseContainer(h, b.set.Safety, in.Policy, detail, now)
		}
		if in.Kind == plan.Deploy {
			plan.Shun(h, b.set.Safety, in, class, detail)
		}
		if in.Kind == plan.Deploy && class == market.ClassRefused {
			// Neither price nor capacity: it may be the order, and then every host
			// refuses it, one after the other.
			return plan.Fail(h, b.set.Safety, now)
		}
		return nil
	})
}

// Lose implements actuator.Book.
func (b *books) Lose(in plan.Intent, detail string) (plan.Intent, error) {
	return b.settle(in, func(h *plan.History, in *plan.Intent) []plan.Event {
		now := b.clock.Now()
		plan.Lose(h, in, detail, now)
		return plan.Fail(h, b.set.Safety, now)
	})
}

func (b *books) settle(in plan.Intent, change func(*plan.History, *plan.Intent) []plan.Event) (plan.Intent, error) {
	var events []plan.Event
	err := b.ledger.Update(func(tx *ledger.Tx) error {
		events = change(tx.History(), &in)
		return tx.PutIntent(in)
	})
	if err == nil && b.notice != nil {
		b.notice(events)
	}
	return in, err
}

// book writes what a look taught us: the machines and the intents that it
// settles, in one transaction.
func book(tx *ledger.Tx, look plan.Look, known []policy.Policy) ([]plan.Event, error) {
	h := tx.History()
	h.Remember(known)
	seen := plan.Witness(h, look)
	events := seen.Events
	if err := errors.Join(takeIn(tx, events), tx.PutCosts(seen.Costs), tx.PutOutages(seen.Outages)); err != nil {
		return nil, err
	}
	if b, ok := seen.Balance.Get(); ok {
		if err := tx.PutBalance(b); err != nil {
			return nil, err
		}
	}
	for _, e := range events {
		if err := settleIntent(tx, e, look.Now); err != nil {
			return nil, err
		}
	}
	return events, nil
}

func settleIntent(tx *ledger.Tx, e plan.Event, now time.Time) error {
	if e.Intent == 0 {
		return nil
	}
	in, ok, err := tx.Intent(e.Intent)
	if err != nil {
		return err
	}
	if !ok || in.State.Settled() {
		return nil // retention has dropped it, or it was settled by an answer
	}
	in.State, in.SettledAt = e.State, now
	if in.Detail == "" {
		in.Detail = e.Text
	}
	if err := tx.PutIntent(in); err != nil {
		return fmt.Errorf("settle intent %d: %w", in.ID, err)
	}
	return nil
}
