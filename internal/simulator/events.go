package simulator

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// EventKind says what happened.
type EventKind string

// What can happen.
const (
	Deployed   EventKind = "deployed"
	Running    EventKind = "running"
	Outbid     EventKind = "outbid"
	WonBack    EventKind = "won back"
	Rebid      EventKind = "rebid"
	Stopped    EventKind = "stopped"
	Released   EventKind = "released"
	Started    EventKind = "started"
	Modified   EventKind = "modified"
	Deleted    EventKind = "deleted"
	Renamed    EventKind = "renamed"
	OutOfMoney EventKind = "out of money"
	Deposited  EventKind = "deposited"
	// PriceMoved is a change of the least winning bid for one GPU. It goes to the
	// observer only: there are too many to keep.
	PriceMoved EventKind = "price moved"
)

// Event is one thing that happened, as the market itself knows it.
type Event struct {
	At       time.Time
	Kind     EventKind
	Machine  string // id, where it is about a machine
	Name     string
	Host     string
	Model    market.GPUModel
	GPUs     int
	Capacity market.Capacity
	Rate     market.Rate // the machine's compute rate, or the pool's price
	Storage  market.Rate // the machine's disk
	Burn     market.Rate // what the machine costs from now on
}

// Events are all events since the start but price moves.
func (e *Engine) Events() []Event {
	defer e.lock()()
	return append([]Event(nil), e.events...)
}

func (e *Engine) report(kind EventKind, m *machine) {
	e.emit(Event{
		Kind: kind, Machine: m.id, Name: m.order.Name, Host: m.pool.host.id,
		Model: m.pool.model, GPUs: m.order.Shape.GPUs, Capacity: m.order.Capacity, Rate: m.rate,
		Storage: m.storage, Burn: m.open.compute.Add(m.open.storage),
	})
}

func (e *Engine) emit(ev Event) {
	ev.At = e.now
	if ev.Kind != PriceMoved && !e.opts.Forget {
		e.events = append(e.events, ev)
	}
	if e.opts.Observe != nil {
		e.opts.Observe(ev)
	}
}

// reportPrice tells the observer where the price of one GPU went; an unwinnable
// pool has the price 0.
func (e *Engine) reportPrice(p *pool) {
	if e.opts.Observe == nil {
		return
	}
	price, _ := p.threshold(1, nil)
	if price != p.lastPrice {
		p.lastPrice = price
		e.emit(Event{Kind: PriceMoved, Host: p.host.id, Model: p.model, GPUs: 1, Rate: price})
	}
}
