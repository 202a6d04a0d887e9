package simulator

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Account is the prepaid money as the market keeps it.
type Account struct {
	Balance market.Amount
	Spent   market.Amount
	Burn    market.Rate // of all machines now
	Peak    market.Rate // the highest burn there ever was
}

// Account is the state of the account now.
func (e *Engine) Account() Account {
	defer e.lock()()
	return Account{Balance: e.balance(), Spent: e.deposited.Sub(e.balance()), Burn: e.burn, Peak: e.peak}
}

// Balance is what billing/balance says.
func (e *Engine) Balance() market.Balance {
	defer e.lock()()
	return market.Balance{Balance: market.Some(e.balance()), Hourly: market.Some(e.burn)}
}

// Deposit adds money. Machines that stopped for lack of it stay stopped.
func (e *Engine) Deposit(a market.Amount) {
	defer e.lock()()
	e.deposited = e.deposited.Add(a)
	e.emit(Event{Kind: Deposited})
	e.checkBalance()
}

func (e *Engine) balance() market.Amount {
	b := e.deposited.Sub(e.settled)
	for _, m := range e.alive {
		compute, storage := m.open.until(e.now).cost()
		b = b.Sub(compute).Sub(storage)
	}
	return b
}

// checkBalance plans the moment at which the money ends. Every change of burn or
// balance plans it anew.
func (e *Engine) checkBalance() {
	e.brokeGen++
	if !e.spending() {
		return
	}
	gen := e.brokeGen
	left := max(e.balance(), 0)
	// Seconds until nothing is left, rounded up; a balance is never checked more
	// often than once a second. Nor is it planned for more than a day: a full purse
	// would leave a plan behind at every change, for years.
	wait := max(hours(float64(left)/float64(e.burn)).Truncate(time.Second), time.Second)
	wait = min(wait, 24*time.Hour)
	e.after(wait, func() {
		switch {
		case gen != e.brokeGen:
		case e.balance() > 0:
			e.checkBalance()
		default:
			e.stopForMoney()
		}
	})
}

// spending says whether anything runs that the end of the money would stop.
func (e *Engine) spending() bool {
	return slices.ContainsFunc(e.alive, func(m *machine) bool { return !m.unpaid })
}

// stopForMoney stops every machine at a balance of zero; what is still unpaid
// 96 hours later is deleted.
func (e *Engine) stopForMoney() {
	e.emit(Event{Kind: OutOfMoney})
	for _, m := range e.alive {
		if m.unpaid {
			continue
		}
		m.bootGen++
		m.unpaid = true
		e.turn(m, market.StatusStopped)
		e.release(m)
		e.report(Stopped, m)
		e.after(keptWhenUnpaid, func() {
			if m.unpaid && m.status != market.StatusTerminated && e.balance() <= 0 {
				e.delete(m)
			}
		})
	}
}

// Machine is everything there is to know about a machine that the account ever
// made.
type Machine struct {
	ID, Name    string
	API         market.API
	Host        string
	Model       market.GPUModel
	Shape       market.Shape
	Capacity    market.Capacity
	Container   string      // the container it is a replica of, if any
	Bid         market.Rate // current compute rate; for spot the bid
	Bids        []market.Rate
	Status      market.Status
	Created     time.Time
	Deleted     time.Time // zero while it lives
	Running     time.Duration
	Billed      time.Duration // with compute, whole seconds
	Compute     market.Amount
	Storage     market.Amount
	Outbids     int
	NeverComes  bool // it will never come up
	StorageRate market.Rate
}

// Fleet is every machine the account ever made, in the order of their making.
func (e *Engine) Fleet() []Machine {
	defer e.lock()()
	fleet := make([]Machine, 0, len(e.machines))
	for _, m := range e.machines {
		fleet = append(fleet, e.describe(m))
	}
	return fleet
}

func (e *Engine) describe(m *machine) Machine {
	d := Machine{
		ID: m.id, Name: m.order.Name, API: m.api, Host: m.order.Host, Model: m.order.Model, Shape: m.order.Shape,
		Capacity: m.order.Capacity, Bid: m.rate, Bids: slices.Clone(m.bids), Status: m.status,
		Created: m.created, Deleted: m.deleted, Outbids: m.outbids, NeverComes: m.neverUp, StorageRate: m.storage,
	}
	if m.container != nil {
		d.Container = m.container.id
	}
	for _, s := range append(slices.Clip(m.past), m.open.until(e.now)) {
		compute, storage := s.cost()
		d.Compute, d.Storage = d.Compute.Add(compute), d.Storage.Add(storage)
		if s.running {
			d.Running += s.to.Sub(s.from)
		}
		if s.compute > 0 {
			d.Billed += s.billed()
		}
	}
	return d
}

// Instances is what client/list shows: the account's living machines by id,
// without the replicas of containers unless Options.Replicas lists them.
func (e *Engine) Instances() []market.Instance {
	defer e.lock()()
	var out []market.Instance
	for _, m := range e.living() {
		out = append(out, m.instance())
	}
	return out
}

// name is what lists call the machine.
func (m *machine) name() string { return cmp.Or(m.alias, m.order.Name) }

// living is the account's machines that exist, sorted by id, without replicas unless
// they are listed.
func (e *Engine) living() []*machine {
	var out []*machine
	for _, m := range e.alive {
		if m.container == nil || e.opts.Replicas != ReplicasHidden {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *machine) int { return strings.Compare(a.id, b.id) })
	return out
}

func (m *machine) instance() market.Instance {
	h := m.pool.host
	return market.Instance{
		ID: m.id, API: m.api, Name: m.name(), Status: m.status, RawStatus: rawStatus(m.status), Capacity: m.order.Capacity,
		Host: h.id, Location: market.Location{ID: h.locID, Country: h.place.country, Region: h.place.region, City: h.place.city},
		Model: m.order.Model, Shape: m.order.Shape,
		Compute: market.Some(m.rate), Storage: market.Some(m.storage), Total: market.Some(m.rate.Add(m.storage)),
		IP: h.ip, User: "user", Ports: slices.Clone(m.order.Ports), Created: m.created,
	}
}
