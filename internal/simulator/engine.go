package simulator

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"sort"
	"sync"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Engine is the marketplace. Its time is the clock's: every call first lives
// through what happened since the last one.
type Engine struct {
	opts Options

	mu    sync.Mutex
	now   time.Time // Invariant: never goes back, even where the clock does
	queue queue
	seq   uint64 // of events and bidders

	hosts    []*host // sorted by id
	hostByID map[string]*host
	hostsVer uint64 // changes with anything an answer about hosts shows

	machines   []*machine // all there ever were, in the order of their making
	alive      []*machine // those not deleted, in that order
	machine    map[string]*machine
	containers []*container
	ids        *rand.Rand

	deposited market.Amount // Invariant: balance = deposited - settled - open stretches
	settled   market.Amount
	burn      market.Rate // Invariant: sum of the open stretches' rates
	peak      market.Rate
	brokeGen  uint64
	executed  int // deployments, for execution ids

	dealt  map[market.GPUModel]int // how many pools of a model replay a series
	events []Event
}

// New makes a marketplace.
func New(o Options) (*Engine, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	e := &Engine{
		opts: o, now: o.Start, deposited: o.Balance,
		hostByID: map[string]*host{}, machine: map[string]*machine{}, dealt: map[market.GPUModel]int{}, ids: stream(o.Seed, "ids"),
	}
	if err := e.populate(); err != nil {
		return nil, err
	}
	e.checkBalance()
	return e, nil
}

func (e *Engine) populate() error {
	if e.opts.Scenario != nil {
		return e.build(e.opts.Scenario)
	}
	e.generate()
	return nil
}

func (e *Engine) addHost(h *host) {
	e.hosts = append(e.hosts, h)
	e.hostByID[h.id] = h
	sort.Slice(e.hosts, func(i, j int) bool { return e.hosts[i].id < e.hosts[j].id })
}

// lock takes the engine and brings it to the clock's time.
func (e *Engine) lock() func() {
	e.mu.Lock()
	e.advance(e.opts.Clock.Now())
	return e.mu.Unlock
}

func (e *Engine) advance(to time.Time) {
	for len(e.queue) > 0 && !e.queue[0].at.After(to) {
		next := heap.Pop(&e.queue).(*happening)
		if next.at.After(e.now) {
			e.now = next.at
		}
		next.do()
	}
	if to.After(e.now) {
		e.now = to
	}
}

// after schedules do; what is due at one time happens in the order of scheduling.
func (e *Engine) after(d time.Duration, do func()) { e.at(e.now.Add(d), do) }

func (e *Engine) at(t time.Time, do func()) {
	e.seq++
	heap.Push(&e.queue, &happening{at: t, seq: e.seq, do: do})
}

type happening struct {
	at  time.Time
	seq uint64
	do  func()
}

type queue []*happening

func (q queue) Len() int      { return len(q) }
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q queue) Less(i, j int) bool {
	if !q[i].at.Equal(q[j].at) {
		return q[i].at.Before(q[j].at)
	}
	return q[i].seq < q[j].seq
}
func (q *queue) Push(x any) { *q = append(*q, x.(*happening)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}

// newID makes a version 4 UUID.
func newID(rng *rand.Rand) string {
	hi, lo := rng.Uint64(), rng.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x",
		hi>>32, hi>>16&0xffff, hi&0xfff, lo>>48&0x3fff|0x8000, lo&0xffffffffffff)
}

// settle holds the pool's auction again and tells the account's machines what
// became of them. It is called whenever anything in the pool changes.
func (e *Engine) settle(p *pool) {
	chosen := keep(p.book, p.floor, p.total-p.held)
	var lost, won []*bidder
	for i, b := range p.book {
		switch {
		case b.kept && !chosen[i]:
			lost = append(lost, b)
		case !b.kept && chosen[i]:
			won = append(won, b)
		}
		b.kept = chosen[i]
	}
	e.showPool(p)
	for _, b := range lost {
		if b.machine != nil {
			e.outbid(b.machine)
		}
	}
	for _, b := range won {
		if b.machine != nil {
			e.winBack(b.machine)
		}
	}
	e.reportPrice(p)
}

// showPool touches the host if who holds its GPUs changed: most moves of rivals'
// bids change nothing that an answer shows.
func (e *Engine) showPool(p *pool) {
	rivals, ours := p.spotHeld()
	if now := [3]int{p.held, rivals, ours}; now != p.holders {
		p.holders = now
		e.touch(p.host)
	}
}

// touch notes that the host no longer answers as before.
func (e *Engine) touch(h *host) {
	h.version++
	e.hostsVer++
}

// enter puts a spot machine into the pool's book; the caller settles.
func (e *Engine) enter(p *pool, b *bidder) {
	e.seq++
	b.seq = e.seq
	p.book = append(p.book, b)
}

func (p *pool) leave(b *bidder) {
	for i := range p.book {
		if p.book[i] == b {
			p.book = append(p.book[:i], p.book[i+1:]...)
			return
		}
	}
}

// ThresholdFor is the least bid, in whole cents, that a new machine with that
// many GPUs needs now; ok is false where none would do.
func (e *Engine) ThresholdFor(hostID string, model market.GPUModel, gpus int) (market.Rate, bool) {
	defer e.lock()()
	p := e.pool(hostID, model)
	if p == nil {
		return 0, false
	}
	return p.threshold(gpus, nil)
}

// Room is how many GPUs of a pool are not held on demand: those that the auction is
// about.
func (e *Engine) Room(hostID string, model market.GPUModel) int {
	defer e.lock()()
	p := e.pool(hostID, model)
	if p == nil {
		return 0
	}
	return max(p.total-p.held, 0)
}

// Needs is the least bid, in whole cents, with which a spot machine of the account
// would hold its GPUs now; ok is false where none would do.
func (e *Engine) Needs(id string) (market.Rate, bool) {
	defer e.lock()()
	m := e.machine[id]
	if m == nil || m.bidder == nil {
		return 0, false
	}
	return m.pool.threshold(m.order.Shape.GPUs, m.bidder)
}

func (e *Engine) pool(hostID string, model market.GPUModel) *pool {
	h := e.hostByID[hostID]
	if h == nil {
		return nil
	}
	return h.pool(model)
}

// Now is the engine's time.
func (e *Engine) Now() time.Time {
	defer e.lock()()
	return e.now
}

// HostView is what the market shows of a host now.
func (e *Engine) HostView(id string) (market.Host, bool) {
	defer e.lock()()
	h := e.hostByID[id]
	if h == nil {
		return market.Host{}, false
	}
	return h.view(), true
}

// Hosts is what the market lists now, sorted by id.
func (e *Engine) Hosts() []market.Host {
	defer e.lock()()
	views := make([]market.Host, 0, len(e.hosts))
	for _, h := range e.hosts {
		views = append(views, h.view())
	}
	return views
}

// SetHost takes a host on or off the market. Its machines go on.
func (e *Engine) SetHost(id string, online, listed bool) error {
	defer e.lock()()
	h := e.hostByID[id]
	if h == nil {
		return refuse("set host", market.ClassNotFound, "unknown host %s", id)
	}
	h.online, h.listed = online, listed
	e.touch(h)
	return nil
}
