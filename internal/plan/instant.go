package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// stock puts the ready-made machines on the shelf, beside what hosts offer: each with
// a host and GPUs of its own, made of what its entry tells.
func (s *shelf) stock(list []market.Instant) {
	s.ready = make([]offer, 0, len(list))
	for i := range list {
		r := &list[i]
		host := &market.Host{ID: r.Host, Location: r.Location, Uptime: r.Uptime, Online: true, Listed: true}
		gpu := &market.HostGPU{Model: r.Model, VRAM: r.Model.VRAM(), Free: r.Shape.GPUs}
		o := offer{host: host, gpu: gpu, ready: r, place: s.place(r.Location), model: s.model(gpu), open: true}
		var price market.Rate
		if price, o.priced = r.Price().Get(); o.priced {
			o.priced = price > 0
			o.disk = min(r.Storage.Or(0), price)
			o.gpuRate = price.Sub(o.disk)
		}
		s.ready = append(s.ready, o)
	}
}

// offersFor is what a policy chooses among.
func (s *shelf) offersFor(p *policy.Policy) []offer {
	switch {
	case p.Kind == policy.Instant:
		return s.ready
	case p.MayUseV2():
		return s.offers
	}
	return s.offers[:s.onHosts]
}

// considerReady looks at size, price and evidence of a ready-made machine that matches:
// it has the policy's GPUs, and of everything else at least what the policy asks for.
func (w *world) considerReady(d *desk, o *offer, f *Funnel) (candidate, bool) {
	c := candidate{offer: o, shape: o.ready.Shape, storage: o.disk, slots: w.readySlots(d, o)}
	room := w.shelf.room(d.p, o)
	if !passes(&f.Capacity, c.slots <= 0) || !passes(&f.Spread, room <= 0) || !passes(&f.Shape, !suits(d.p, o.ready)) || !passes(&f.NoPrice, !o.priced) ||
		!w.price(d, &c, o.gpuRate, f) {
		return candidate{}, false
	}
	c.slots = min(c.slots, room)
	c.weighted = w.effective(d, &c, c.price).Scale(int64(100+spreadPercent*ours(w.shelf.taken[o.host.ID], d.p.Name)), 100)
	if bids(w.shelf.taken[o.host.ID], o.gpu.Model) {
		c.weighted = c.weighted.Scale(100+besideBids, 100)
	}
	return c, true
}

// readySlots is how often a ready-made machine can be had: once, as long as no order of
// ours has taken it, or the GPUs that it may share with others on its host.
func (w *world) readySlots(d *desk, o *offer) int {
	switch t := w.shelf.taken[o.host.ID]; {
	case o.ready.Many:
		return d.p.Target
	case w.shelf.ordered[o.ready.ID], o.host.ID != "" && freeGPUs(o, t) < o.ready.Shape.GPUs, w.fallsUponOurs(o, t):
		return 0
	}
	return 1
}

// fallsUponOurs says whether a ready-made machine may take its GPUs from a spot machine of
// ours: one stands on its host, which is not listed with so many free, or where it may
// stand, as far as is known.
func (w *world) fallsUponOurs(o *offer, t *taken) bool {
	if o.host.ID == "" {
		return o.host.Location != (market.Location{}) && w.shelf.bidsAt(o.host.Location)
	}
	if !bids(t, o.gpu.Model) {
		return false
	}
	return slices.IndexFunc(w.shelf.offers[:w.shelf.onHosts], func(h offer) bool {
		return h.host.ID == o.host.ID && h.gpu.Model == o.gpu.Model && freeGPUs(&h, t) >= o.ready.Shape.GPUs
	}) < 0
}

func suits(p *policy.Policy, r *market.Instant) bool {
	return largeEnough(r.Shape, p.Shape) && (p.Image == "" || r.Image == "" || strings.EqualFold(p.Image, r.Image))
}

// largeEnough says whether a shape has the GPUs of another and at least its other parts.
func largeEnough(s, want market.Shape) bool {
	return s.GPUs == want.GPUs && s.VCPUs >= want.VCPUs && s.RAM >= want.RAM && s.Storage >= want.Storage
}

// site is what a refusal of an order is held against: the host, or the offer itself
// where that does not tell its host.
func (o *offer) site() string {
	switch {
	case o.ready != nil:
		return cmp.Or(o.host.ID, o.ready.ID)
	case o.atSite != "":
		return siteV2(o.atSite)
	}
	return o.host.ID
}

// site is the same of an intent.
func (in *Intent) site() string {
	if in.Via == market.ViaV2 {
		return siteV2(cmp.Or(in.Host, in.Site))
	}
	return cmp.Or(in.Host, in.Instant)
}

// site is the same of a machine.
func (m *Machine) site() string {
	if m.Host == "" && m.Site != "" {
		return siteV2(m.Site)
	}
	return cmp.Or(m.Host, m.Instant)
}

// portsOf picks ports for a ready-made machine where its host is listed; where it is
// not, the market gives what it will.
func (w *world) portsOf(o *offer, t *taken, internal []int) []market.PortForward {
	hosts := w.in.Snapshot.Hosts.Value
	i := slices.IndexFunc(hosts, func(h market.Host) bool { return h.ID == o.host.ID })
	if i < 0 {
		return nil
	}
	if ports, ok := pickPorts(&hosts[i], t, internal); ok {
		return ports
	}
	return nil
}

// readyParts tells what a ready-made machine is, whoever looks at it.
func (w *world) readyParts(o *offer) Listing {
	r := o.ready
	l := Listing{
		Host: r.Host, Instant: r.ID, Shape: r.Shape, Location: r.Location, Model: r.Model, VRAM: r.Model.VRAM(), Free: r.Shape.GPUs, Uptime: r.Uptime,
		Storage: r.Storage, OnDemand: r.Price(), Price: r.Price(), Hazard: w.records.Hazard(r.Host, r.Model),
		Seconds: int64(w.records.TimeToReady(r.Host, r.Model) / time.Second),
	}
	if p, known := l.Price.Get(); known {
		l.PerGPU = market.Some(p.PerGPU(r.Shape.GPUs))
	}
	return l
}

// readyText says what of the shape or image a ready-made machine has otherwise.
func readyText(p *policy.Policy, r *market.Instant) string {
	s, want := r.Shape, p.Shape
	if largeEnough(s, want) {
		return fmt.Sprintf("it comes with %s, the policy wants %s", r.Image, p.Image)
	}
	return fmt.Sprintf("it has %d GPUs, %d vCPUs, %d GB of RAM and %d GB of storage; the policy wants %d GPUs and at least %d, %d and %d",
		s.GPUs, s.VCPUs, s.RAM, s.Storage, want.GPUs, want.VCPUs, want.RAM, want.Storage)
}
