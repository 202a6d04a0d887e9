package backtest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/permit"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// OnDemandHost is the id of the host that sells what is never lost.
const OnDemandHost = "(on demand)"

const (
	// onDemandGPUs is how many it has: more than anybody wants.
	onDemandGPUs = 1_000_000
	// shownFor is how long a machine that was lost is listed as terminated.
	shownFor = 10 * time.Minute
	// openingBalance is what the account begins with: money is no object here.
	openingBalance market.Amount = 1_000_000_000 * market.Dollar
)

// Market plays a tape to whoever speaks market's terms: a machine is had as long as
// its pool has room and its bid is not below the price. It answers at once; time
// passes between requests only.
//
// It is the witness too: what machines cost and deliver is added up here, to the
// second, and not taken from anybody's books.
type Market struct {
	clock clock.Clock
	tape  *tape.Tape
	pools []pool
	index map[string]int // of a pool by its host's id
	hosts []market.Host  // sorted by id; replaced, never changed
	dirty bool           // the hosts' free GPUs are to be told anew

	steps []step // of all pools, in order
	boots []boot // in order: all machines take equally long
	live  []*machine
	lives []tape.Span // of machines that ended
	born  int

	meter meter
}

// pool is where a tape's pool stands now.
type pool struct {
	*tape.Pool
	free  int // ours included
	price market.Rate
	used  int // by ours
	host  int // index
}

// step is a change of one pool.
type step struct {
	at    time.Duration
	pool  int
	free  int
	price market.Rate // -1 where free is what changes
}

type boot struct {
	at time.Duration
	m  *machine
	n  int // which of the machine's boots
}

// machine is one of ours, from its order until it is not listed any more.
type machine struct {
	market.Instance
	pool   int // -1 on demand
	bid    market.Rate
	policy string
	boots  int
	began  time.Duration // had its GPUs
	ended  time.Duration // terminated
}

// NewMarket prepares the market of a tape that begins now, for policies: more GPUs
// than one of them wants deliver nothing.
func NewMarket(c clock.Clock, t *tape.Tape, policies []policy.Policy) *Market {
	m := &Market{clock: c, tape: t, index: map[string]int{}, meter: newMeter(policies)}
	for i := range t.Pools {
		p := &t.Pools[i]
		m.index[p.Name] = i
		m.pools = append(m.pools, pool{Pool: p, free: p.Free.At(0), price: p.Price.At(0), host: i})
		for _, s := range p.Free {
			m.steps = append(m.steps, step{s.At, i, s.Value, -1})
		}
		for _, s := range p.Price {
			m.steps = append(m.steps, step{s.At, i, 0, s.Value})
		}
	}
	m.steps = slices.DeleteFunc(m.steps, func(s step) bool { return s.at <= 0 || s.at >= t.Length })
	slices.SortStableFunc(m.steps, func(a, b step) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.pool, b.pool)) })
	m.list(slices.ContainsFunc(policies, func(p policy.Policy) bool { return p.Buys(market.OnDemand) }))
	return m
}

// list makes the hosts. What those of the tape ask for on demand, of which they have
// none to sell, is a little more than at the host where it is bought; or, where nobody
// buys any, twice what their spot usually costs, as hosts do.
func (m *Market) list(sells bool) {
	model := market.GPUModel("gpu")
	for i := range m.pools {
		p := &m.pools[i]
		asks := m.tape.OnDemand.Scale(101, 100)
		if !sells {
			asks = min(asks, usual(p.Price).Mul(2))
		}
		model = p.Model
		m.hosts = append(m.hosts, newHost(p.Name, p.Model, p.free, asks))
	}
	if m.tape.OnDemand > 0 {
		m.hosts = append(m.hosts, newHost(OnDemandHost, model, onDemandGPUs, m.tape.OnDemand))
	}
	slices.SortFunc(m.hosts, func(a, b market.Host) int { return cmp.Compare(a.ID, b.ID) })
	for i := range m.hosts {
		if p, ok := m.index[m.hosts[i].ID]; ok {
			m.pools[p].host = i
		}
	}
}

// usual is the median of the prices.
func usual(s tape.Series[market.Rate]) market.Rate {
	var all []market.Rate
	for _, one := range s {
		all = append(all, one.Value)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// newHost is a host whose GPU price is all there is to pay.
func newHost(id string, model market.GPUModel, free int, price market.Rate) market.Host {
	none := market.Component{Price: market.Some(market.Rate(0))}
	return market.Host{
		ID: id, Online: true, Listed: true, Uptime: market.Some(1.0), CPU: none, RAM: none, Storage: none,
		GPUs: []market.HostGPU{{Model: model, Free: free, Price: market.Some(price)}},
	}
}

func (m *Market) now() time.Duration { return m.clock.Now().Sub(m.tape.Start) }

// request brings the market to the present and counts a request.
func (m *Market) request() {
	m.meter.requests++
	m.advance(m.now())
}

// advance plays the tape up to a moment.
func (m *Market) advance(to time.Duration) {
	to = min(to, m.tape.Length)
	for {
		switch {
		case len(m.steps) > 0 && m.steps[0].at <= to && (len(m.boots) == 0 || m.steps[0].at <= m.boots[0].at):
			m.meter.pass(m.steps[0].at)
			m.apply(m.steps[0])
			m.steps = m.steps[1:]
		case len(m.boots) > 0 && m.boots[0].at <= to:
			m.meter.pass(m.boots[0].at)
			m.up(m.boots[0])
			m.boots = m.boots[1:]
		default:
			m.meter.pass(to)
			return
		}
	}
}

func (m *Market) apply(s step) {
	p := &m.pools[s.pool]
	if s.price >= 0 {
		p.price = s.price
	} else {
		p.free, m.dirty = s.free, true
	}
	m.settle(s.pool)
	m.weigh()
}

func (m *Market) up(b boot) {
	if b.m.Status == market.StatusStarting && b.m.boots == b.n {
		b.m.Status = market.StatusRunning
		m.weigh()
	}
}

// holds says whether a machine has its GPUs.
func (x *machine) holds() bool {
	return x.Status == market.StatusStarting || x.Status == market.StatusRunning
}

// wins says whether a bid for n GPUs is at least the pool's price.
func (p *pool) wins(bid market.Rate, n int) bool { return bid >= p.price.Mul(n) }

// settle takes from a pool's machines what the pool has no more: first whose bid is
// below the price, which is outbid; then the newest while there are too many, which
// end. Who was outbid and could run again does, the oldest first.
func (m *Market) settle(i int) {
	p := &m.pools[i]
	for _, x := range m.live {
		if x.pool == i && x.holds() && !p.wins(x.bid, x.Shape.GPUs) {
			m.lose(x, market.StatusOutbid)
		}
	}
	for j := len(m.live) - 1; j >= 0 && p.used > p.free; j-- {
		if x := m.live[j]; x.pool == i && x.holds() {
			m.lose(x, market.StatusTerminated)
		}
	}
	for _, x := range m.live {
		if x.pool == i && x.Status == market.StatusOutbid && p.wins(x.bid, x.Shape.GPUs) && p.free-p.used >= x.Shape.GPUs {
			m.start(x)
		}
	}
}

func (m *Market) lose(x *machine, s market.Status) {
	if x.Status == market.StatusRunning {
		m.meter.interruptions++
	}
	m.end(x, true)
	x.Status, x.ended = s, m.meter.at
}

// end takes a machine's GPUs.
func (m *Market) end(x *machine, lost bool) {
	if x.pool >= 0 {
		m.pools[x.pool].used -= x.Shape.GPUs
		m.dirty = true
	}
	m.lives = append(m.lives, m.life(x, lost))
}

// life is how long a machine has had its GPUs, until now.
func (m *Market) life(x *machine, lost bool) tape.Span {
	s := tape.Span{Pool: x.pool, GPUs: x.Shape.GPUs, From: x.began, Until: m.meter.at, Lost: lost}
	if x.pool >= 0 && m.tape.FirstPrice {
		s.Rate = x.bid.PerGPU(x.Shape.GPUs)
	}
	return s
}

// Lives are the machines so far, each from when it got its GPUs until it had them no
// more, in order of their ends. One that was outbid and won again is there twice.
func (m *Market) Lives() []tape.Span {
	out := slices.Clone(m.lives)
	for _, x := range m.live {
		if x.holds() {
			out = append(out, m.life(x, false))
		}
	}
	return out
}

// start gives a machine its GPUs and boots it.
func (m *Market) start(x *machine) {
	if x.pool >= 0 {
		m.pools[x.pool].used += x.Shape.GPUs
		m.dirty = true
	}
	x.boots++
	x.Status, x.began = market.StatusStarting, m.meter.at
	m.boots = append(m.boots, boot{m.meter.at + m.tape.Boot, x, x.boots})
}

// rate is what a machine that has its GPUs costs at this moment.
func (m *Market) rate(x *machine) market.Rate {
	switch {
	case x.pool < 0:
		return m.tape.OnDemand.Mul(x.Shape.GPUs)
	case m.tape.FirstPrice:
		return x.bid
	}
	return m.pools[x.pool].price.Mul(x.Shape.GPUs)
}

// weigh tells the meter what there is from now on.
func (m *Market) weigh() {
	m.meter.begin()
	for _, x := range m.live {
		if !x.holds() {
			continue
		}
		rate, threshold := m.rate(x), market.Rate(0)
		if x.pool >= 0 {
			threshold = m.pools[x.pool].price.Mul(x.Shape.GPUs)
		}
		m.meter.add(x.policy, x.Shape.GPUs, x.Status == market.StatusRunning, rate, threshold)
	}
}

// Result ends the tape and says what all of it came to.
func (m *Market) Result(name string) tape.Result {
	m.advance(m.tape.Length)
	return m.tape.Result(name, m.meter.sum())
}

// Hosts implements scanner.Reader.
func (m *Market) Hosts(context.Context) ([]market.Host, error) {
	m.request()
	if m.dirty {
		m.hosts, m.dirty = slices.Clone(m.hosts), false
		for i := range m.pools {
			p := &m.pools[i]
			h := &m.hosts[p.host]
			if free := p.free - p.used; free != h.GPUs[0].Free {
				h.GPUs = slices.Clone(h.GPUs)
				h.GPUs[0].Free = free
			}
		}
	}
	return slices.Clone(m.hosts), nil
}

// Instances implements scanner.Reader.
func (m *Market) Instances(context.Context) ([]market.Instance, error) {
	m.request()
	m.forget()
	out := make([]market.Instance, 0, len(m.live))
	for _, x := range m.live {
		out = append(out, m.view(x))
	}
	return out, nil
}

// forget drops what has been listed as terminated for long enough.
func (m *Market) forget() {
	m.live = slices.DeleteFunc(m.live, func(x *machine) bool {
		return x.Status == market.StatusTerminated && m.meter.at-x.ended >= shownFor
	})
}

// view is a machine as it is listed: a spot machine with its bid, as the market
// does it.
func (m *Market) view(x *machine) market.Instance {
	out := x.Instance
	compute := x.bid
	if x.pool < 0 {
		compute = m.tape.OnDemand.Mul(x.Shape.GPUs)
	}
	out.RawStatus = string(x.Status)
	out.Compute, out.Storage, out.Total = market.Some(compute), market.Some(market.Rate(0)), market.Some(compute)
	if !x.holds() {
		out.Total = market.Some(market.Rate(0))
	}
	return out
}

// Instance implements scanner.Reader.
func (m *Market) Instance(_ context.Context, id string) (market.Instance, error) {
	m.request()
	x, err := m.find("get machine", id)
	if err != nil {
		return market.Instance{}, err
	}
	return m.view(x), nil
}

// Instants implements scanner.Reader: tapes tell of none.
func (m *Market) Instants(context.Context) ([]market.Instant, error) { return nil, nil }

// Locations implements scanner.Reader: tapes tell of none.
func (m *Market) Locations(context.Context) ([]market.Site, error) { return nil, nil }

// InstancesV2 implements scanner.Reader: the same machines.
func (m *Market) InstancesV2(ctx context.Context) ([]market.Instance, error) { return m.Instances(ctx) }

// InstanceV2 implements scanner.Reader.
func (m *Market) InstanceV2(ctx context.Context, id string) (market.Instance, error) {
	return m.Instance(ctx, id)
}

// Balance implements scanner.Reader.
func (m *Market) Balance(context.Context) (market.Balance, error) {
	m.request()
	return market.Balance{Balance: market.Some(openingBalance.Sub(m.meter.cost)), Hourly: market.Some(m.meter.burn)}, nil
}

// AuthTest implements daemon.Reader.
func (m *Market) AuthTest(context.Context) error { return nil }

func (m *Market) find(op, id string) (*machine, error) {
	i := slices.IndexFunc(m.live, func(x *machine) bool { return x.ID == id })
	if i < 0 {
		return nil, &market.Error{Op: op, Class: market.ClassNotFound, Detail: "no machine " + id}
	}
	return m.live[i], nil
}

// ValidateNew implements bidder.Asker.
func (m *Market) ValidateNew(_ context.Context, q market.Question) (market.Verdict, error) {
	m.request()
	v := market.Verdict{Question: q, Answer: market.Accepted, At: m.clock.Now()}
	if no := m.refuses("validate", q); no != nil {
		v.Answer, v.Hint, v.Detail = market.Refused, no.Hint, no.Detail
	}
	return v, nil
}

// refuses says why a spot bid for a new machine does not win, if so. A posted price
// is told; what others have bid is not.
func (m *Market) refuses(op string, q market.Question) *market.Error {
	no := func(class market.Class, format string, args ...any) *market.Error {
		return &market.Error{Op: op, Class: class, Detail: fmt.Sprintf(format, args...)}
	}
	i, ok := m.index[q.Host]
	switch {
	case q.Host == OnDemandHost:
		return no(market.ClassBidRefused, "this host takes no bids")
	case !ok:
		return no(market.ClassNotFound, "no host %s", q.Host)
	}
	p := &m.pools[i]
	switch {
	case q.Model != p.Model || q.Shape.GPUs <= 0:
		return no(market.ClassRefused, "no %d x %s here", q.Shape.GPUs, q.Model)
	case p.free-p.used < q.Shape.GPUs:
		return no(market.ClassNoCapacity, "%d GPUs are free", max(p.free-p.used, 0))
	case !p.wins(q.Bid, q.Shape.GPUs):
		return m.tooLow(p, q.Shape.GPUs, no(market.ClassBidRefused, "the bid is too low"))
	}
	return nil
}

func (m *Market) tooLow(p *pool, n int, err *market.Error) *market.Error {
	if !m.tape.FirstPrice {
		err.Hint = market.Some(p.price.Mul(n))
	}
	return err
}

// Deploy implements actuator.Writer.
func (m *Market) Deploy(ctx context.Context, o market.Order) (market.Deployed, error) {
	if err := permit.Ask(ctx); err != nil {
		return market.Deployed{}, &market.Error{Op: "deploy", Class: market.ClassUnavailable, Err: err, Detail: err.Error()}
	}
	m.request()
	q := market.Question{Host: o.Host, Model: o.Model, Shape: o.Shape, Bid: o.Bid}
	onDemand := o.Host == OnDemandHost && m.tape.OnDemand > 0
	if o.Capacity != market.OnDemand {
		if no := m.refuses("deploy", q); no != nil {
			return market.Deployed{}, no
		}
	} else if !onDemand || o.Shape.GPUs <= 0 {
		return market.Deployed{}, &market.Error{Op: "deploy", Class: market.ClassNoCapacity, Detail: "nothing is sold on demand here"}
	}
	x := m.create(&o)
	v := m.view(x)
	return market.Deployed{ID: x.ID, Compute: v.Compute, Storage: v.Storage, Total: v.Total, IP: x.IP, Ports: x.Ports}, nil
}

func (m *Market) create(o *market.Order) *machine {
	m.born++
	m.meter.starts++
	x := &machine{pool: -1, Instance: market.Instance{
		ID: fmt.Sprintf("m-%07d", m.born), API: market.V0, Name: o.Name, Capacity: o.Capacity, Host: o.Host, Model: o.Model, Shape: o.Shape,
		Ports: o.Ports, Created: m.clock.Now(), IP: fmt.Sprintf("10.%d.%d.%d", m.born>>16&255, m.born>>8&255, m.born&255), User: "user",
	}}
	if n, ok := market.ParseMachineName(o.Name); ok {
		x.policy = n.Policy
	}
	if i, ok := m.index[o.Host]; ok {
		x.pool, x.bid = i, o.Bid
	}
	m.live = append(m.live, x)
	m.start(x)
	m.weigh()
	return x
}

// Delete implements actuator.Writer. A deleted machine is gone at once.
func (m *Market) Delete(ctx context.Context, id string) error {
	if err := permit.Ask(ctx); err != nil {
		return &market.Error{Op: "delete", Class: market.ClassUnavailable, Err: err, Detail: err.Error()}
	}
	m.request()
	x, err := m.find("delete", id)
	if err != nil {
		return err
	}
	if x.holds() {
		m.end(x, false)
	}
	x.Status = market.StatusTerminated
	m.live = slices.DeleteFunc(m.live, func(o *machine) bool { return o == x })
	if x.pool >= 0 {
		m.settle(x.pool)
	}
	m.weigh()
	return nil
}

// DeleteInstance implements actuator.Writer.
func (m *Market) DeleteInstance(ctx context.Context, id string) error { return m.Delete(ctx, id) }

// Stop implements actuator.Writer: machines of a tape run or end.
func (m *Market) Stop(context.Context, string, bool) error { return runsOrEnds("stop") }

// Start implements actuator.Writer.
func (m *Market) Start(context.Context, string) error { return runsOrEnds("start") }

// StopInstance implements actuator.Writer.
func (m *Market) StopInstance(context.Context, string) error { return runsOrEnds("stop") }

// StartInstance implements actuator.Writer.
func (m *Market) StartInstance(context.Context, string) error { return runsOrEnds("start") }

// ModifyInstance implements actuator.Writer.
func (m *Market) ModifyInstance(context.Context, string, market.GPUModel, market.Shape) error {
	return runsOrEnds("modify")
}

func runsOrEnds(op string) error {
	return &market.Error{Op: op, Class: market.ClassRefused, Detail: "a machine of a tape runs or ends"}
}

// ValidateExisting implements actuator.Writer. It changes nothing.
func (m *Market) ValidateExisting(ctx context.Context, id string, bid market.Rate) (market.Verdict, error) {
	x, p, err := m.bidder(ctx, "validate existing", id)
	if err != nil {
		return market.Verdict{}, err
	}
	v := market.Verdict{
		Question: market.Question{Host: x.Host, Model: x.Model, Shape: x.Shape, Bid: bid}, Answer: market.Accepted, At: m.clock.Now(),
	}
	if no := m.refusesRebid(x, p, bid); no != nil {
		v.Answer, v.Hint, v.Detail = market.Refused, no.Hint, no.Detail
	}
	return v, nil
}

// bidder is a machine whose bid can be changed, and its pool.
func (m *Market) bidder(ctx context.Context, op, id string) (*machine, *pool, error) {
	if err := permit.Ask(ctx); err != nil {
		return nil, nil, &market.Error{Op: op, Class: market.ClassUnavailable, Err: err, Detail: err.Error()}
	}
	m.request()
	x, err := m.find(op, id)
	switch {
	case err != nil:
		return nil, nil, err
	case x.pool < 0 || x.Status == market.StatusTerminated:
		return nil, nil, &market.Error{Op: op, Class: market.ClassRefused, Detail: "not a spot machine that could run"}
	}
	return x, &m.pools[x.pool], nil
}

// refusesRebid judges a new bid as if the machine had the old one no more.
func (m *Market) refusesRebid(x *machine, p *pool, bid market.Rate) *market.Error {
	room := p.free - p.used
	if x.holds() {
		room += x.Shape.GPUs
	}
	switch {
	case room < x.Shape.GPUs:
		return &market.Error{Op: "rebid", Class: market.ClassBidRefused, Detail: fmt.Sprintf("%d GPUs are free", max(room, 0))}
	case !p.wins(bid, x.Shape.GPUs):
		return m.tooLow(p, x.Shape.GPUs, &market.Error{Op: "rebid", Class: market.ClassBidRefused, Detail: "the bid is too low"})
	}
	return nil
}

// ModifyBid implements actuator.Writer. It applies to running machines too.
func (m *Market) ModifyBid(ctx context.Context, id string, _ market.GPUModel, _ market.Shape, bid market.Rate) error {
	x, p, err := m.bidder(ctx, "modify", id)
	if err != nil {
		return err
	}
	if no := m.refusesRebid(x, p, bid); no != nil {
		return no
	}
	x.bid = bid
	m.settle(x.pool)
	m.weigh()
	return nil
}
