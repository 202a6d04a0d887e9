package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

const (
	leastToDeploy  = market.Amount(market.Dollar)
	keptWhenUnpaid = 96 * time.Hour
)

// machine is one virtual machine that the account ever made.
type machine struct {
	id    string
	index int
	order market.Order
	api   market.API
	pool  *pool

	status  market.Status
	rate    market.Rate // compute; for spot the bid
	storage market.Rate
	bidder  *bidder // spot that takes part in the auction
	holding bool    // on-demand that holds GPUs
	unpaid  bool    // stopped for lack of money: its GPUs are gone and not billed
	network bool    // network storage: not tied to its host, can be modified
	boot    BootModel
	neverUp bool
	bootGen int
	boots   int

	version          uint64 // changes with anything an answer about it shows
	created, deleted time.Time
	seated           bool // counts in the host's used vCPUs and RAM
	open             stretch
	past             []stretch
	outbids          int
	bids             []market.Rate
	container        *container
	alias            string // what lists call it, where that is not its name
}

// stretch is a time of unchanged rates.
type stretch struct {
	from, to         time.Time
	compute, storage market.Rate
	running          bool
}

// billed is what is charged for: whole seconds, a begun one counts.
func (s stretch) billed() time.Duration {
	d := s.to.Sub(s.from)
	return (d + time.Second - 1).Truncate(time.Second)
}

func (s stretch) cost() (compute, storage market.Amount) {
	return s.compute.For(s.billed()), s.storage.For(s.billed())
}

// until is the open stretch as if it ended at t.
func (s stretch) until(t time.Time) stretch {
	s.to = t
	return s
}

// turn gives the machine a status and opens the stretch of its rates. It is the
// one place where billing, burn and the host's used resources change.
func (e *Engine) turn(m *machine, status market.Status) {
	e.closeStretch(m)
	m.status = status
	m.version++
	next := stretch{from: e.now, storage: m.storage, running: status == market.StatusRunning}
	if status.BillsCompute() && !m.unpaid {
		next.compute = m.rate
	}
	if status == market.StatusTerminated {
		next.storage = 0
	}
	m.open = next
	e.burn = e.burn.Add(next.compute).Add(next.storage)
	e.peak = max(e.peak, e.burn)
	e.seat(m, next.compute > 0)
	e.checkBalance()
}

func (e *Engine) closeStretch(m *machine) {
	if m.open.from.IsZero() {
		return
	}
	e.burn = e.burn.Sub(m.open.compute).Sub(m.open.storage)
	done := m.open.until(e.now)
	compute, storage := done.cost()
	e.settled = e.settled.Add(compute).Add(storage)
	if done.billed() > 0 {
		m.past = append(m.past, done)
	}
}

func (e *Engine) seat(m *machine, seated bool) {
	if m.seated == seated {
		return
	}
	m.seated = seated
	sign := 1
	if !seated {
		sign = -1
	}
	h := m.pool.host
	h.cpu.used += sign * m.order.Shape.VCPUs
	h.ram.used += sign * m.order.Shape.RAM
	e.touch(h)
}

// startBoot boots a machine that has its GPUs.
func (e *Engine) startBoot(m *machine) {
	e.turn(m, market.StatusStarting)
	m.boots++
	m.bootGen++
	if m.neverUp {
		return
	}
	gen := m.bootGen
	rng := stream(e.opts.Seed, fmt.Sprintf("boot/%d/%d", m.index, m.boots))
	e.after(lognormal(rng, m.boot.Median, m.boot.Sigma), func() {
		if m.bootGen == gen && m.status == market.StatusStarting {
			e.turn(m, market.StatusRunning)
			e.report(Running, m)
		}
	})
}

// outbid and winBack are called by settle.
func (e *Engine) outbid(m *machine) {
	m.bootGen++
	m.outbids++
	e.turn(m, market.StatusOutbid)
	e.report(Outbid, m)
}

func (e *Engine) winBack(m *machine) {
	if m.status != market.StatusOutbid {
		return // it is just being bought or started
	}
	e.startBoot(m)
	e.report(WonBack, m)
}

// take gives the machine its GPUs; the caller has checked that it gets them.
func (e *Engine) take(m *machine) {
	m.unpaid = false
	if m.order.Capacity == market.Spot {
		m.bidder = &bidder{gpus: m.order.Shape.GPUs, bid: m.rate, machine: m}
		e.enter(m.pool, m.bidder)
	} else {
		m.holding = true
		m.pool.held += m.order.Shape.GPUs
		m.pool.ours += m.order.Shape.GPUs
	}
	e.settle(m.pool)
}

// release gives the GPUs back; the caller turns the machine first.
func (e *Engine) release(m *machine) {
	switch {
	case m.bidder != nil:
		m.pool.leave(m.bidder)
		m.bidder = nil
	case m.holding:
		m.holding = false
		m.pool.held -= m.order.Shape.GPUs
		m.pool.ours -= m.order.Shape.GPUs
	default:
		return
	}
	e.settle(m.pool)
}

// seats says whether the machine would get GPUs now.
func (p *pool) seats(o *market.Order, bid market.Rate) bool {
	if o.Capacity == market.Spot {
		return p.wins(o.Shape.GPUs, bid, nil)
	}
	return p.held+o.Shape.GPUs <= p.total
}

func (e *Engine) find(op, id string) (*machine, error) {
	m := e.machine[id]
	switch {
	case m == nil:
		return nil, refuse(op, market.ClassNotFound, "Server not found")
	case m.status == market.StatusTerminated && op == "delete":
		return nil, refuse(op, market.ClassDone, "Server is already terminated")
	case m.status == market.StatusTerminated:
		return nil, refuse(op, market.ClassNotFound, "Server not found")
	}
	return m, nil
}

// rename gives the first living machine, by id, that is not called so yet another
// name, as its owner can in the dashboard; "" is a name of the dashboard's choice.
func (e *Engine) rename(name string) {
	defer e.lock()()
	if name == "" {
		name = "My TensorDock Server"
	}
	var first *machine
	for _, m := range e.alive {
		if m.order.Name != name && (first == nil || m.id < first.id) {
			first = m
		}
	}
	if first != nil {
		e.call(first, name)
	}
}

func (e *Engine) call(m *machine, name string) {
	m.order.Name = name
	m.version++
	e.report(Renamed, m)
}

// Rename gives a machine another name, as its owner can in the dashboard.
func (e *Engine) Rename(id, name string) error {
	defer e.lock()()
	m, err := e.find("rename", id)
	if err != nil {
		return err
	}
	e.call(m, name)
	return nil
}

// rawStatus is the status in v0's spelling.
func rawStatus(s market.Status) string {
	switch s {
	case market.StatusReleased:
		return "StoppedDisassociated"
	case market.StatusStarting, market.StatusRunning, market.StatusStopped, market.StatusOutbid, market.StatusTerminated:
		return strings.ToUpper(string(s[:1])) + string(s[1:])
	}
	return string(s)
}

func cannot(op, verb string, m *machine) *Refusal {
	return refuseWith(http.StatusInternalServerError, op, market.ClassDone,
		"Machine is %s, therefore it cannot be %s", strings.ToLower(rawStatus(m.status)), verb)
}

// Start starts a stopped machine. One that gave its GPUs back may not get them.
func (e *Engine) Start(id string) error {
	defer e.lock()()
	m, err := e.find("start", id)
	if err != nil {
		return err
	}
	switch {
	case m.status == market.StatusRunning || m.status == market.StatusStarting:
		return cannot("start", "started", m)
	case e.balance() <= 0:
		return refuse("start", market.ClassRefused, "Insufficient balance to start this server")
	case m.bidder == nil && !m.holding && !m.pool.seats(&m.order, m.rate),
		m.status == market.StatusOutbid: // if it could win, it would have
		return refuse("start", market.ClassNoCapacity, "Not enough resources are available on the hostnode to start this server")
	}
	if m.bidder == nil && !m.holding {
		e.take(m)
	}
	e.startBoot(m)
	e.report(Started, m)
	return nil
}

// Stop stops a machine; release gives its GPUs back, so that only storage is billed.
func (e *Engine) Stop(id string, release bool) error {
	defer e.lock()()
	m, err := e.find("stop", id)
	if err != nil {
		return err
	}
	if m.status == market.StatusReleased || m.status == market.StatusOutbid && !release ||
		m.status == market.StatusStopped && (!release || m.unpaid) {
		return cannot("stop", "stopped", m)
	}
	m.bootGen++
	if release {
		e.turn(m, market.StatusReleased)
		e.release(m)
		e.report(Released, m)
		return nil
	}
	e.turn(m, market.StatusStopped)
	e.report(Stopped, m)
	return nil
}

// Delete ends a machine and its bill. Deleting it again is refused with
// market.ClassDone.
func (e *Engine) Delete(id string) error {
	defer e.lock()()
	m, err := e.find("delete", id)
	if err != nil {
		return err
	}
	e.delete(m)
	return nil
}

func (e *Engine) delete(m *machine) {
	m.bootGen++
	m.deleted = e.now
	e.alive = slices.DeleteFunc(e.alive, func(o *machine) bool { return o == m })
	e.turn(m, market.StatusTerminated)
	e.release(m)
	h := m.pool.host
	h.storage.used -= m.order.Shape.Storage
	h.returnPorts(m.order.Ports)
	e.touch(h)
	e.report(Deleted, m)
	if e.opts.Forget {
		delete(e.machine, m.id)
		e.machines = slices.DeleteFunc(e.machines, func(o *machine) bool { return o == m })
	}
}

// Modify changes the size of a stopped machine on network storage.
func (e *Engine) Modify(id string, model market.GPUModel, s market.Shape) error {
	defer e.lock()()
	m, err := e.find("modify", id)
	if err != nil {
		return err
	}
	if !m.network || m.status != market.StatusStopped && m.status != market.StatusReleased {
		return refuse("modify", market.ClassRefused, "VM must be of type network storage and stopped before modifying")
	}
	return e.modify(m, model, s)
}

func (e *Engine) modify(m *machine, model market.GPUModel, s market.Shape) error {
	changed := m.order
	changed.Shape, changed.Model = s, model
	h := m.pool.host
	p := h.pool(model)
	if p == nil {
		return refuse("modify", market.ClassRefused, "GPU model not available on this hostnode")
	}
	e.turn(m, market.StatusReleased) // its own resources do not stand in its way
	e.release(m)
	h.storage.used -= m.order.Shape.Storage
	err := e.checkShape("modify", p, &changed)
	if err == nil && s.Storage < m.order.Shape.Storage {
		err = refuse("modify", market.ClassRefused, "Storage can only be increased")
	}
	if err == nil {
		m.order, m.pool = changed, p
		m.rate, m.storage = p.onDemand(s), h.storage.price.Mul(s.Storage)
	}
	h.storage.used += m.order.Shape.Storage
	e.turn(m, market.StatusReleased)
	if err == nil {
		e.report(Modified, m)
	}
	return err
}

// onDemand is the compute price of a machine without a bid.
func (p *pool) onDemand(s market.Shape) market.Rate {
	return p.price.Mul(s.GPUs).Add(p.host.cpu.price.Mul(s.VCPUs)).Add(p.host.ram.price.Mul(s.RAM))
}
