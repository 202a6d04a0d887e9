package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"sort"

	"github.com/tdscaler/tdscaler/internal/market"
)

// deployment is an order with what only the face knows.
type deployment struct {
	market.Order
	api       market.API
	location  string // instead of a host: any host there, network storage
	boot      BootModel
	container *container
	neverUp   bool // by a fault
}

// Deploy buys a machine. Success means accepted: it boots from now on.
func (e *Engine) Deploy(o market.Order) (market.Deployed, error) {
	defer e.lock()()
	m, err := e.deploy(deployment{Order: o, api: market.V0, boot: e.opts.Boot})
	if err != nil {
		return market.Deployed{}, err
	}
	return m.accepted(), nil
}

func (m *machine) accepted() market.Deployed {
	return market.Deployed{
		ID: m.id, Compute: market.Some(m.rate), Storage: market.Some(m.storage),
		Total: market.Some(m.rate.Add(m.storage)), IP: m.pool.host.ip, Ports: slices.Clone(m.order.Ports),
	}
}

func (e *Engine) deploy(d deployment) (*machine, error) {
	if e.balance() < leastToDeploy {
		return nil, refuse("deploy", market.ClassRefused, "You need at least $1 in your account to deploy a server")
	}
	p, err := e.choose(&d)
	if err != nil {
		return nil, err
	}
	if err := e.checkOrder(p, &d.Order); err != nil {
		return nil, err
	}
	m := e.make(p, d)
	e.take(m)
	e.startBoot(m)
	e.report(Deployed, m)
	return m, nil
}

// choose finds the pool that the order names, or the cheapest of its location.
func (e *Engine) choose(d *deployment) (*pool, error) {
	if d.Host == "" && d.location != "" {
		return e.chooseAt(d)
	}
	h := e.hostByID[d.Host]
	switch {
	case h == nil:
		return nil, refuse("deploy", market.ClassNotFound, "Hostnode not found")
	case !h.online || !h.listed || h.reserved:
		return nil, refuse("deploy", market.ClassNoCapacity, "Hostnode is not available for deployments")
	}
	p := h.pool(d.Model)
	if p == nil {
		return nil, refuse("deploy", market.ClassRefused, "GPU model %s is not available on this hostnode", d.Model)
	}
	return p, nil
}

func (e *Engine) chooseAt(d *deployment) (*pool, error) {
	if d.Capacity == market.Spot {
		return nil, refuse("deploy", market.ClassRefused, "Spot instances need a hostnode")
	}
	best := e.cheapest(&d.Order, func(h *host) bool { return h.locID == d.location })
	if best == nil {
		return nil, refuse("deploy", market.ClassNoCapacity, "No available nodes found")
	}
	d.Host = best.host.id
	return best, nil
}

// cheapest is the pool with the lowest on-demand price that takes the order.
func (e *Engine) cheapest(o *market.Order, fits func(*host) bool) *pool {
	var best *pool
	for _, h := range e.hosts {
		p := h.pool(o.Model)
		if p == nil || !h.online || !h.listed || h.reserved || !fits(h) || e.checkShape("deploy", p, o) != nil || !p.seats(o, 0) {
			continue
		}
		if best == nil || p.onDemand(o.Shape) < best.onDemand(o.Shape) {
			best = p
		}
	}
	return best
}

func (e *Engine) checkOrder(p *pool, o *market.Order) error {
	if o.Name == "" {
		return refuseWith(http.StatusBadRequest, "deploy", market.ClassRefused, "Missing parameter: name")
	}
	if o.Password.IsEmpty() && o.SSHKey == "" {
		return refuseWith(http.StatusBadRequest, "deploy", market.ClassRefused, "Missing parameter: password or ssh_key")
	}
	if err := e.checkShape("deploy", p, o); err != nil {
		return err
	}
	if err := p.host.checkPorts(o.Ports); err != nil {
		return err
	}
	if o.Capacity == market.Spot {
		return p.checkBid(o.Shape.GPUs, o.Bid, nil)
	}
	if !p.seats(o, 0) {
		return refuse("deploy", market.ClassNoCapacity, "Not enough GPUs are available on this hostnode")
	}
	return nil
}

// mostBid keeps sums of bids far from overflow.
const mostBid = market.Rate(100_000 * market.Dollar)

// checkBid refuses a bid below the host's minimum with the minimum, and one that
// merely does not win without a hint, as the marketplace does. except is the
// bidder whose new bid this is, nil for a newcomer.
func (p *pool) checkBid(gpus int, bid market.Rate, except *bidder) error {
	if least := max(p.floor.Mul(gpus), market.MinBid); bid < least {
		r := refuse("bid", market.ClassBidRefused, "Your bid is below the minimum bid of this hostnode")
		if p.host.tellsMinimum {
			r.Hint = market.Some(least)
		}
		return r
	}
	if bid > mostBid {
		return refuse("bid", market.ClassRefused, "Your bid is above the maximum bid")
	}
	if !p.wins(gpus, bid, except) {
		return refuse("bid", market.ClassBidRefused,
			"Your bid is too low or not enough resources are available on this hostnode")
	}
	return nil
}

func (e *Engine) checkShape(op string, p *pool, o *market.Order) error {
	bad := func(format string, args ...any) error {
		return refuseWith(http.StatusBadRequest, op, market.ClassRefused, format, args...)
	}
	s, h := o.Shape, p.host
	switch {
	case s.GPUs < 1:
		return bad("gpu_count must be at least 1")
	case s.GPUs > p.total:
		return refuse(op, market.ClassNoCapacity, "This hostnode has only %d GPUs of this model", p.total)
	case s.VCPUs < 2 || s.VCPUs%2 != 0:
		return bad("vcpus must be an even number of at least 2")
	case s.RAM < 2 || s.RAM%2 != 0:
		return bad("ram must be an even number of at least 2")
	case s.Storage < 20:
		return bad("storage must be at least 20")
	}
	if err := h.checkLimits(op, s); err != nil {
		return err
	}
	free := func(c component) int { return h.free(c, false) }
	if s.VCPUs > free(h.cpu) || s.RAM > free(h.ram) || s.Storage > h.storage.total-h.storage.used {
		return refuse(op, market.ClassNoCapacity, "Not enough resources are available on this hostnode")
	}
	return h.checkPart(op, s)
}

// checkPart keeps resources for the GPUs that a machine leaves free: it may have three
// quarters of what is advertised of each, where no restriction says how much.
func (h *host) checkPart(op string, s market.Shape) error {
	shown := 0
	for _, p := range h.pools {
		shown += max(p.shown(), 0)
	}
	if s.GPUs >= shown {
		return nil
	}
	limit, withSpot := h.limits[s.GPUs], !h.spotShownFree
	for _, c := range []struct {
		got, free int
		bounds    market.Maybe[market.Bounds]
	}{
		{s.VCPUs, h.free(h.cpu, withSpot), limit.VCPUs},
		{s.RAM, h.free(h.ram, withSpot), limit.RAM},
		{s.Storage, h.storage.total - h.storage.used, limit.Storage},
	} {
		if !c.bounds.Known() && 4*c.got > 3*c.free {
			return refuse(op, market.ClassNoCapacity, "Not enough resources are available on this hostnode for a part of its GPUs")
		}
	}
	return nil
}

func (h *host) checkLimits(op string, s market.Shape) error {
	limit, ok := h.limits[s.GPUs]
	if !ok {
		return nil
	}
	for _, c := range []struct {
		name   string
		got    int
		bounds market.Maybe[market.Bounds]
	}{{"vcpus", s.VCPUs, limit.VCPUs}, {"ram", s.RAM, limit.RAM}, {"storage", s.Storage, limit.Storage}} {
		if b, ok := c.bounds.Get(); ok && (c.got < b.Min || c.got > b.Max) {
			return refuseWith(http.StatusBadRequest, op, market.ClassRefused,
				"%s must be between %d and %d for %d GPUs on this hostnode", c.name, b.Min, b.Max, s.GPUs)
		}
	}
	return nil
}

func (h *host) checkPorts(want []market.PortForward) error {
	if len(h.ports) == 0 {
		return refuse("deploy", market.ClassNoCapacity, "No external ports are available on this hostnode")
	}
	seen := map[int]bool{}
	for _, f := range want {
		if _, free := slices.BinarySearch(h.ports, f.External); !free || seen[f.External] {
			return refuseWith(http.StatusBadRequest, "deploy", market.ClassRefused, "External port %d is not available", f.External)
		}
		if f.Internal < 1 || f.Internal > 65535 {
			return refuseWith(http.StatusBadRequest, "deploy", market.ClassRefused, "Internal port %d is invalid", f.Internal)
		}
		seen[f.External] = true
	}
	return nil
}

func (h *host) takePorts(taken []market.PortForward) {
	h.ports = slices.DeleteFunc(h.ports, func(p int) bool {
		return slices.ContainsFunc(taken, func(f market.PortForward) bool { return f.External == p })
	})
}

func (h *host) returnPorts(given []market.PortForward) {
	for _, f := range given {
		h.ports = append(h.ports, f.External)
	}
	sort.Ints(h.ports)
}

func (e *Engine) make(p *pool, d deployment) *machine {
	m := &machine{
		id: newID(e.ids), index: e.executed, order: d.Order, api: d.api, pool: p,
		created: e.now, network: d.location != "", boot: d.boot, container: d.container,
		rate: p.onDemand(d.Shape), storage: p.host.storage.price.Mul(d.Shape.Storage),
	}
	if d.Capacity == market.Spot {
		m.rate = d.Bid
		m.bids = append(m.bids, d.Bid)
	} else {
		m.order.Capacity = market.OnDemand
	}
	m.order.Host = p.host.id
	m.order.Ports = slices.Clone(d.Ports)
	m.neverUp = d.neverUp || stream(e.opts.Seed, fmt.Sprintf("fails/%d", m.index)).Float64() < d.boot.Fails
	e.machines = append(e.machines, m)
	e.alive = append(e.alive, m)
	e.machine[m.id] = m
	e.executed++
	p.host.storage.used += d.Shape.Storage
	p.host.takePorts(d.Ports)
	return m
}
