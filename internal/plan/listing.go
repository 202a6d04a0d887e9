package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Codes of what becomes of an offer, in the order of the checks: the steps of the
// Funnel, and the end of it.
const (
	OfferKind     = "kind"
	OfferModel    = "model"
	OfferPlace    = "place"
	OfferOffline  = "offline"
	OfferUptime   = "uptime"
	OfferCapacity = "capacity"
	OfferSpread   = "spread"
	OfferShape    = "shape"
	OfferNoPrice  = "no_price"
	OfferCeiling  = "ceiling"
	OfferBackoff  = "backoff"
	OfferFickle   = "fickle"
	OfferRefused  = "refused"
	OfferSibling  = "sibling"
	OfferIn       = "in"
)

// OfferCodes lists them, the one that is bought first.
func OfferCodes() []string {
	return []string{
		OfferIn, OfferKind, OfferModel, OfferPlace, OfferOffline, OfferUptime, OfferCapacity, OfferSpread, OfferShape, OfferNoPrice, OfferCeiling,
		OfferBackoff, OfferFickle, OfferRefused, OfferSibling,
	}
}

// Listing is one offer as a policy sees it. Rates are of the machine that the host
// sells, the whole of it, but for PerGPU and Effective.
type Listing struct {
	Host    string `json:"host"`
	Instant string `json:"instant_vm,omitempty"` // a ready-made machine; Shape is its own
	// Shape is else the cheapest machine there with at least what the policy wants, and
	// Rounded says what it has more. Where the host sells none, it is the least that would do.
	Shape    market.Shape          `json:"shape"`
	Rounded  string                `json:"rounded,omitempty"`
	Location market.Location       `json:"location"`
	Model    market.GPUModel       `json:"gpu_model"`
	VRAM     market.Maybe[int]     `json:"vram_gb,omitzero"`
	Free     int                   `json:"free_gpus"` // as the market lists them
	Uptime   market.Maybe[float64] `json:"uptime,omitzero"`
	Ours     int                   `json:"machines_of_ours,omitempty"`
	Fits     int                   `json:"machines_that_fit,omitempty"`

	// The parts of the on-demand price, and their sum; unknown where one is missing, the
	// sum also where no such machine is sold.
	GPU      market.Maybe[market.Rate] `json:"gpu_usd_hour,omitzero"`
	VCPU     market.Maybe[market.Rate] `json:"vcpu_usd_hour,omitzero"`
	RAM      market.Maybe[market.Rate] `json:"ram_usd_hour,omitzero"`
	Storage  market.Maybe[market.Rate] `json:"storage_usd_hour,omitzero"`
	OnDemand market.Maybe[market.Rate] `json:"on_demand_usd_hour,omitzero"`
	// Bid is what would be asked about or bid; Verified says that it wins. Only of
	// offers that are in, on spot.
	Bid      market.Rate `json:"bid_usd_hour,omitempty"`
	Verified bool        `json:"verified,omitempty"`
	// What is remembered of bids for this shape: the highest that lost, the lowest above
	// it that won, the least that was ever seen to win. 0 where nothing is.
	LostAt market.Rate `json:"lost_at_usd_hour,omitempty"`
	WonAt  market.Rate `json:"won_at_usd_hour,omitempty"`
	Floor  market.Rate `json:"floor_usd_hour,omitempty"`
	// Price is what the machine would cost all-in: at that bid, or on demand.
	Price  market.Maybe[market.Rate] `json:"price_usd_hour,omitzero"`
	PerGPU market.Maybe[market.Rate] `json:"price_per_gpu_usd_hour,omitzero"`
	// Effective is what the planner compares offers by, per GPU-hour.
	Effective market.Maybe[market.Rate] `json:"effective_per_gpu_usd_hour,omitzero"`

	// Hazard is the losses expected per running hour, Seconds how long a machine takes
	// to run.
	Hazard     float64   `json:"hazard_per_hour"`
	Seconds    int64     `json:"seconds_to_ready"`
	Strikes    int       `json:"strikes,omitempty"`
	Quarantine time.Time `json:"quarantine_until,omitzero"`

	In     bool   `json:"in"`
	Reason Reason `json:"reason"`
}

// List tells of every offer what a policy makes of it now, whether it needs one or
// not: those it could take first, by what the planner compares, then the others by
// price. A policy that buys spot is listed as it buys spot, and one without a name, which
// nobody has, as if it bought hosts' and ready-made machines alike. The policies of the
// input do not matter.
func List(in Input, p policy.Policy) []Listing {
	in.Policies = []policy.Policy{p}
	w := newWorld(&in)
	d := &w.desks[0]
	if d.buying = market.OnDemand; p.Buys(market.Spot) {
		d.buying = market.Spot
	}
	w.candidates(d, nil) // makes the shelf
	out := make([]Listing, 0, len(w.shelf.offers)+len(w.shelf.ready))
	for _, offers := range [][]offer{w.shelf.offers, w.shelf.ready} {
		for i := range offers {
			if offers[i].atSite != "" && !p.MayUseV2() {
				continue
			}
			out = append(out, w.list(d, &offers[i]))
		}
	}
	slices.SortFunc(out, compareListings)
	return out
}

func compareListings(a, b Listing) int {
	in := func(l *Listing) int {
		if l.In {
			return 0
		}
		return 1
	}
	price := func(l *Listing) market.Rate { return l.Effective.Or(l.PerGPU.Or(market.MaxRate)) }
	return cmp.Or(cmp.Compare(in(&a), in(&b)), cmp.Compare(price(&a), price(&b)), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Model, b.Model),
		cmp.Compare(a.Instant, b.Instant))
}

func (w *world) list(d *desk, o *offer) Listing {
	l := w.parts(d, o)
	rank, wanted := d.match.GPU(w.shelf.models[o.model])
	if !wanted || !d.keeps(o.gpu.Model) {
		rank = -1
	}
	if d.p.Name != "" && (o.ready != nil) != (d.p.Kind == policy.Instant) { // nobody's policy takes both kinds
		l.Reason = Reason{OfferKind, "the policy buys kind " + string(d.p.Kind)}
		return l
	}
	if o.atSite != "" && !w.siteSells(d) {
		l.Reason = Reason{OfferKind, "v2 finds hosts for on-demand machines only, and not now"}
		return l
	}
	var f Funnel
	c, ok := w.sift(d, o, rank, d.match.Place(w.shelf.places[o.place]), &f)
	n := l.Shape.GPUs
	if l.In = ok; ok {
		l.Bid, l.Verified, l.Fits = c.bid, c.verified, c.slots
		l.Price, l.Effective = market.Some(c.price), market.Some(c.weighted.PerGPU(n))
	}
	if r, known := l.Price.Get(); known {
		l.PerGPU = market.Some(r.PerGPU(n))
	}
	l.Reason = w.outcome(d, o, &l, &f)
	return l
}

// parts tells what the offer is, whoever looks at it.
func (w *world) parts(d *desk, o *offer) Listing {
	if o.ready != nil {
		return w.readyParts(o)
	}
	h, g := o.host, o.gpu
	s, sold := solve(h, d.p.Shape)
	l := Listing{
		Host: h.ID, Shape: s, Rounded: roundedText(h, d.p.Shape), Location: h.Location, Model: g.Model, VRAM: w.shelf.models[o.model].VRAM, Free: g.Free, Uptime: h.Uptime,
		GPU: times(g.Price, s.GPUs), VCPU: times(h.CPU.Price, s.VCPUs), RAM: times(h.RAM.Price, s.RAM), Storage: times(h.Storage.Price, s.Storage),
		Hazard:  w.records.Hazard(h.ID, g.Model),
		Seconds: int64(w.records.TimeToReady(h.ID, g.Model).Round(time.Second) / time.Second),
	}
	if !l.VRAM.Known() {
		l.VRAM = g.Model.VRAM()
	}
	b := w.brackets[bracketKey{h.ID, g.Model, s}]
	l.LostAt, l.WonAt, l.Floor = b.lo, b.hi, b.floor
	r := w.records.Of(h.ID, g.Model)
	l.Strikes, l.Quarantine = r.Strikes, w.records.Quarantined(h.ID, g.Model)
	if t := w.shelf.taken[h.ID]; t != nil {
		for _, n := range t.ofPolicy {
			l.Ours += n
		}
	}
	if compute, ok := h.OnDemandCompute(*g, s).Get(); ok && o.priced && sold {
		l.OnDemand = market.Some(compute.Add(l.Storage.Or(0)))
		l.Price = l.OnDemand
	}
	return l
}

func times(r market.Maybe[market.Rate], n int) market.Maybe[market.Rate] {
	if v, ok := r.Get(); ok {
		return market.Some(v.Mul(n))
	}
	return r
}

// outcome says where in the funnel the offer fell out, in words.
func (w *world) outcome(d *desk, o *offer, l *Listing, f *Funnel) Reason {
	p, h := d.p, o.host
	switch {
	case l.In:
		return Reason{OfferIn, inText(l)}
	case f.Model > 0:
		return Reason{OfferModel, "the policy wants another GPU model or more memory"}
	case f.Place > 0:
		return Reason{OfferPlace, "the policy wants another place or host"}
	case f.Offline > 0:
		return Reason{OfferOffline, offlineText(h)}
	case f.Uptime > 0:
		return Reason{OfferUptime, fmt.Sprintf("its uptime is %.4g, min_uptime is %.4g", h.Uptime.Or(0), p.Match.MinUptime)}
	case f.Capacity > 0:
		return Reason{OfferCapacity, w.capacityText(p, o)}
	case f.Spread > 0:
		return Reason{OfferSpread, w.shelf.crowdedText(p, o)}
	case f.Shape > 0:
		if o.ready != nil {
			return Reason{OfferShape, readyText(p, o.ready)}
		}
		return Reason{OfferShape, shapeText(p, o, w.shelf.taken[h.ID])}
	case f.NoPrice > 0:
		return Reason{OfferNoPrice, "a price is missing"}
	case f.Ceiling > 0:
		return Reason{OfferCeiling, fmt.Sprintf("%s a GPU on demand: too dear for a ceiling of %s", l.PerGPU.Or(0), p.CeilingOf(d.buying, 1))}
	case f.Backoff > 0:
		return Reason{OfferBackoff, w.backoffText(d, o, l)}
	case f.Fickle > 0:
		return Reason{OfferFickle, w.backoffText(d, o, l)}
	case f.Refused > 0:
		return Reason{OfferRefused, "the market refuses every bid under the ceiling"}
	case f.Sibling > 0:
		return Reason{OfferSibling, "only a bid above that of a machine of ours there would win"}
	}
	return Reason{OfferShape, "it does not fit"}
}

func inText(l *Listing) string {
	text := fmt.Sprintf("%s fit", machinesText(l.Fits))
	if l.Bid != 0 && l.Free == 0 {
		text = "its GPUs are shown as taken"
	}
	switch {
	case l.Bid != 0 && l.Verified:
		text += fmt.Sprintf("; a bid of %s wins", l.Bid)
	case l.Bid != 0:
		text += fmt.Sprintf("; a bid of %s would be asked about next", l.Bid)
	}
	if l.Rounded != "" {
		text += "; with " + l.Rounded
	}
	return text
}

func machinesText(n int) string {
	if n == 1 {
		return "1 machine would"
	}
	return fmt.Sprintf("%d machines would", n)
}

func offlineText(h *market.Host) string {
	switch {
	case !h.Online:
		return "the host is offline"
	case !h.Listed:
		return "the host is not listed"
	}
	return "the host is reserved for somebody else"
}

func (w *world) capacityText(p *policy.Policy, o *offer) string {
	t := w.shelf.taken[o.host.ID]
	if t != nil && t.blocked {
		return "a machine of ours there is dead or leaving"
	}
	switch {
	case o.ready != nil && w.shelf.ordered[o.ready.ID]:
		return "an order of ours has taken it"
	case o.ready != nil && w.fallsUponOurs(o, t):
		return "it may take its GPUs from a spot machine of ours there"
	}
	return fmt.Sprintf("%d GPUs are free, a machine needs %d", max(freeGPUs(o, t), 0), p.Shape.GPUs)
}

func machinesOn(n int) string {
	if n == 1 {
		return "1 machine stands there"
	}
	return fmt.Sprintf("%d machines stand there", n)
}

func (w *world) backoffText(d *desk, o *offer, l *Listing) string {
	if !l.Quarantine.IsZero() {
		return fmt.Sprintf("%d failures in a row: left alone until %s", l.Strikes, l.Quarantine.UTC().Format(time.RFC3339))
	}
	b := w.shelf.backed[backoffKey{o.site(), o.gpu.Model, d.p.Shape.GPUs}]
	if b == nil {
		return "it failed lately"
	}
	return fmt.Sprintf("%s: left alone until %s", b.Reason, b.Until.UTC().Format(time.RFC3339))
}
