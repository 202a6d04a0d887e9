package plan

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Bracket is what is remembered of the lowest winning bid for one machine shape on
// one host, from one cycle to the next.
type Bracket struct {
	Host  string          `json:"host"`
	Model market.GPUModel `json:"gpu_model"`
	Shape market.Shape    `json:"shape"`
	// Lo is the highest bid that lost, Hi the lowest above it that won; 0 if none.
	Lo   market.Rate `json:"lo_usd_hour,omitempty"`
	LoAt time.Time   `json:"lo_at,omitzero"`
	Hi   market.Rate `json:"hi_usd_hour,omitempty"`
	HiAt time.Time   `json:"hi_at,omitzero"`
	// HiSince is since when every word of the market has been that Hi, or less, wins.
	HiSince time.Time `json:"hi_since,omitzero"`
	// Floor is the least that this host was seen to take, or said it takes: where the
	// next search begins.
	Floor market.Rate `json:"floor_usd_hour,omitempty"`
	At    time.Time   `json:"at,omitzero"` // of the last word
}

func (b *Bracket) key() bracketKey { return bracketKey{b.Host, b.Model, b.Shape} }

const (
	// loLasts is how long a refusal is believed: prices fall again, half-way back
	// within about an hour.
	loLasts = 10 * time.Minute
	// bracketLasts is how long a bracket is kept that nobody asks about.
	bracketLasts = 24 * time.Hour
	// mostBrackets bounds what is remembered; the oldest go first.
	mostBrackets = 1000
)

// recall makes brackets of what is remembered. The caller's verdicts of this cycle
// come on top of them.
func recall(known []Bracket, now time.Time) map[bracketKey]bracket {
	out := make(map[bracketKey]bracket, len(known))
	for i := range known {
		k := &known[i]
		b := bracket{hi: k.Hi, floor: k.Floor, stale: now.Sub(k.At) >= loLasts}
		if now.Sub(k.LoAt) < loLasts && k.LoAt.Sub(now) < loLasts {
			b.lo = k.Lo
		}
		out[k.key()] = b
	}
	return out
}

// lane bounds the search for a bid.
type lane struct {
	open   market.Rate // the first bid to ask about
	least  market.Rate // below which no bid is known to win
	top    market.Rate // the highest bid that may be made
	enough market.Rate // what is left between loss and win that is not worth a question
	named  bool        // top is the only bid that the policy makes
	// What the margin follows from; of no policy, there is none.
	w        *world
	share    market.Maybe[float64] // the margin, where the policy fixes it
	host     string
	model    market.GPUModel
	onDemand market.Rate
}

// probe is the next step of a search.
type probe struct {
	bid market.Rate // to ask about; to make, where settled
	// hope is the least that may turn out to win: offers are compared by it.
	hope    market.Rate
	settled bool
	won     market.Rate // the bid that has won in this cycle; 0 if none did
	margin  market.Rate // what it pays to bid above that, as far as is allowed
	climb   bool        // bid is as much as is allowed: a cheaper alternative bounds it
}

// settleShare is the share of a price, in percent, that is not searched for.
const settleShare = 2

// search is the next step towards the lowest winning bid; ok is false where the
// market has refused all that the lane allows.
//
//	nothing known, or refused below the opening   ask about the opening
//	refused, and the market names a price         ask about that
//	refused                                       ask about the most that is allowed: is it to be had at all?
//	accepted in an earlier cycle                  ask about it again
//	accepted long ago, and once less              ask about the least: prices fall again
//	accepted now, not known how much lower        ask about the geometric mean of loss and win
//	accepted now, within a cent or 2 %            that is it
//	accepted now, and moved twice meanwhile       that is it: it will not hold still
func (b bracket) search(l lane) (probe, bool) {
	if l.top < market.MinBid || b.lo >= l.top {
		return probe{}, false
	}
	if l.named {
		p := probe{bid: l.top, hope: l.top}
		if b.fresh && b.hi <= l.top {
			p.settled, p.won = true, l.top
		}
		return p, true
	}
	open := min(max(l.open, market.MinBid), l.top)
	if b.hi != 0 && b.hi <= l.top && (!b.stale || b.hi <= open) {
		return b.narrow(l), true
	}
	if b.lo < open && b.hint <= open {
		return probe{bid: open, hope: b.promise(l, open)}, true
	}
	if b.hint != 0 {
		bid := max(b.hint.CeilCent(), market.MinBid)
		return probe{bid: bid, hope: bid}, bid <= l.top
	}
	return probe{bid: l.top, hope: min(b.lo.Add(market.Cent).CeilCent(), l.top), climb: true}, true
}

// promise is what an offer is taken to cost that is to be asked about its opening: the
// least it is known to take, else what would be asked next if the opening won. So
// one of which nothing is known is asked about before another one's price is narrowed down.
func (b bracket) promise(l lane, open market.Rate) market.Rate {
	if b.floor != 0 {
		return open
	}
	lo := max(b.lo, min(l.least, open).Sub(market.Cent))
	return max(between(lo, open), market.MinBid)
}

// narrow goes on where a bid is known to have won.
func (b bracket) narrow(l lane) probe {
	if !b.fresh {
		return probe{bid: b.hi, hope: b.hi}
	}
	lo := max(b.lo, min(max(l.least, b.hint), b.hi).Sub(market.Cent), market.MinBid-market.Cent)
	gap := b.hi.Sub(lo)
	bid := between(lo, b.hi)
	if gap <= max(market.Cent, b.hi.Scale(settleShare, 100), l.enough) || b.moves >= 2 || bid <= lo || bid >= b.hi {
		return b.made(l)
	}
	return probe{bid: bid, hope: bid, won: b.hi}
}

// made is the bid to make, now that one has won: that, and the margin.
func (b bracket) made(l lane) probe {
	bid := min(l.top, b.hi.Add(l.margin(b.hi)).CeilCent())
	if l.named {
		bid = l.top
	}
	return probe{bid: bid, hope: bid, settled: true, won: b.hi, margin: bid.Sub(b.hi)}
}

// between is the geometric mean in whole cents.
func between(lo, hi market.Rate) market.Rate {
	a, b := float64(max(lo, 0)/market.Cent), float64(hi/market.Cent)
	return market.Rate(math.Sqrt(a*b)) * market.Cent
}

// lane is where bids for a machine of the policy lie on a host with that on-demand
// compute price: from the least that hosts are known to take to the top.
func (w *world) lane(p *policy.Policy, c *candidate, b bracket) lane {
	onDemand, top := c.onDemand, c.top
	l := lane{
		open: opening(onDemand), least: onDemand.Scale(lowestFloor, 100), top: top, enough: worthless(onDemand),
		w: w, share: p.Bidding.Margin, host: c.host.ID, model: c.gpu.Model, onDemand: onDemand,
	}
	if b.floor != 0 {
		l.open, l.least = b.floor, min(l.least, b.floor)
	}
	if bid, named := p.Bidding.Named(p.Shape.GPUs, onDemand); named {
		l.top, l.named = min(top, bid), true
	}
	return l
}

const (
	// missingFactor is what a missing GPU-hour is worth, in on-demand prices.
	missingFactor = 2
	// questionTakes is about how long the market takes for one answer.
	questionTakes = 3 * time.Second
	// shortHold is how long a machine is held at least, as a rule: what a search saves,
	// it saves for so long.
	shortHold = time.Hour
)

// worthless is how far a bid may be from the lowest that wins before finding out
// costs more, in GPUs missing meanwhile, than it saves: a quarter of the gap is what
// one more question saves in the mean.
func worthless(onDemand market.Rate) market.Rate {
	return onDemand.Scale(4*missingFactor*int64(questionTakes), int64(shortHold))
}

// remember joins the verdicts of a cycle to what is known. What was refused
// altogether is left to the backoff and sets no lower bound: it may be that nothing
// was free.
func (h *History) remember(verdicts []market.Verdict, now time.Time) {
	at := map[bracketKey]int{}
	for i := range h.Brackets {
		at[h.Brackets[i].key()] = i
	}
	for _, v := range inOrder(verdicts) {
		if v.Answer == market.Silent || v.Bid == 0 { // no word, or none about bids
			continue
		}
		k := bracketKey{v.Host, v.Model, v.Shape}
		i, ok := at[k]
		if !ok {
			i = len(h.Brackets)
			at[k] = i
			h.Brackets = append(h.Brackets, Bracket{Host: v.Host, Model: v.Model, Shape: v.Shape})
		}
		h.Brackets[i].take(v)
	}
	h.Brackets = slices.DeleteFunc(h.Brackets, func(b Bracket) bool { return b.Hi == 0 && b.Floor == 0 && !h.standsOn(b.Host) })
	h.forget(now)
}

// standsOn says whether a machine of ours is on a host: what is asked there is asked
// about its bid.
func (h *History) standsOn(host string) bool {
	return slices.ContainsFunc(h.Machines, func(m Machine) bool { return m.Host == host })
}

// outbids says whether a machine of ours there bids more than that: then the question
// was about lowering its bid, and a no keeps nobody away.
func (h *History) outbids(k bracketKey, bid market.Rate) bool {
	return slices.ContainsFunc(h.Machines, func(m Machine) bool {
		return m.Host == k.host && m.Model == k.model && m.Shape == k.shape && m.Bid.Or(0) > bid
	})
}

func (b *Bracket) take(v market.Verdict) {
	b.At = v.At
	if v.Answer == market.Accepted {
		stale := v.At.Sub(b.HiAt) > loLasts
		if b.Hi == 0 || v.Bid < b.Hi || v.Bid > b.Hi && stale {
			b.Hi, b.HiSince = v.Bid, v.At
		}
		if v.Bid <= b.Hi {
			b.HiAt = v.At
		}
		if v.Bid <= b.Lo {
			b.Lo, b.LoAt = 0, time.Time{}
		}
		if b.Floor == 0 || v.Bid < b.Floor {
			b.Floor = v.Bid
		}
		b.named(v)
		return
	}
	if v.Bid >= b.Lo || v.At.Sub(b.LoAt) >= loLasts {
		b.Lo, b.LoAt = v.Bid, v.At
	}
	if b.Hi != 0 && b.Hi <= v.Bid {
		b.Hi, b.HiAt, b.HiSince = 0, time.Time{}, time.Time{}
	}
	b.named(v)
}

// named takes the least that wins from the market's own word, where it gives one.
func (b *Bracket) named(v market.Verdict) {
	hint, ok := v.Hint.Get()
	if !ok || hint <= 0 || (hint > v.Bid) == (v.Answer == market.Accepted) {
		return // none, or one that contradicts the answer
	}
	b.Floor = max(hint.CeilCent(), market.MinBid)
	b.Lo, b.LoAt = max(b.Lo, b.Floor.Sub(market.Cent)), v.At
}

// forget drops brackets that are too old or too many.
func (h *History) forget(now time.Time) {
	h.Brackets = slices.DeleteFunc(h.Brackets, func(b Bracket) bool { return now.Sub(b.At) > bracketLasts })
	if len(h.Brackets) > mostBrackets {
		slices.SortFunc(h.Brackets, func(a, b Bracket) int { return cmp.Or(b.At.Compare(a.At), compareBrackets(&a, &b)) })
		h.Brackets = h.Brackets[:mostBrackets]
	}
	slices.SortFunc(h.Brackets, func(a, b Bracket) int { return compareBrackets(&a, &b) })
}

func compareBrackets(a, b *Bracket) int {
	return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Model, b.Model), compareShapes(a.Shape, b.Shape))
}

func compareShapes(a, b market.Shape) int {
	return cmp.Or(cmp.Compare(a.GPUs, b.GPUs), cmp.Compare(a.VCPUs, b.VCPUs), cmp.Compare(a.RAM, b.RAM), cmp.Compare(a.Storage, b.Storage))
}

// ProbesWithin is how many questions a cycle may ask: half of the requests that the
// pace allows in an interval, less those that looks and writes take. A cycle that is
// too short for its own look lasts longer than its interval; then as many as that look
// takes. An unknown interval or pace is no bound.
func ProbesWithin(interval time.Duration, perSecond float64, others int) int {
	if interval <= 0 || perSecond <= 0 {
		return math.MaxInt
	}
	all := interval.Seconds() * perSecond
	return max(int(min(all, math.MaxInt32))-others, 2*others) / 2
}

// seek takes over what a search says of an offer.
func (c *candidate) seek(b bracket, next probe) {
	c.bid, c.verified, c.climb, c.refused = next.bid, next.settled, next.climb, b.lo
	c.won, c.margin = next.won, next.margin
	c.price = next.hope.Add(c.storage)
}

// settle takes what has won already, where no question is left to find a lower bid.
func (g *growth) settle(c *candidate) bool {
	if c.won == 0 {
		return false
	}
	b := bracket{hi: c.won}
	c.buyAt(b.made(g.w.lane(g.d.p, c, b)))
	return true
}

// buyAt takes a bid that has won for the one to make.
func (c *candidate) buyAt(made probe) {
	c.bid, c.won, c.verified, c.margin = made.bid, made.won, true, made.margin
	price := c.bid.Add(c.storage)
	c.weighted = c.weighted.Add(price.Sub(c.price))
	c.price = price
}

// bound keeps the search from asking about bids that are dearer than what is known to
// be had elsewhere: the price of the last machine still wanted, if all were bought at
// bids that have won in this cycle.
func (g *growth) bound() {
	type had struct {
		price market.Rate
		slots int
	}
	var known []had
	for i := range g.cands.list {
		if c := &g.cands.list[i]; c.won != 0 {
			known = append(known, had{c.won.Add(c.storage), c.slots})
		}
	}
	slices.SortFunc(known, func(a, b had) int { return cmp.Compare(a.price, b.price) })
	left := g.left
	for _, k := range known {
		if left -= k.slots; left > 0 {
			continue
		}
		for i := range g.cands.list {
			if c := &g.cands.list[i]; c.climb {
				c.bid = min(c.bid, max(k.price.Sub(c.storage), c.price.Sub(c.storage)).FloorCent())
			}
		}
		return
	}
}

// affordable keeps a question within the budget; false where what is left buys none of
// the bids that may still win.
func (g *growth) affordable(c *candidate) bool {
	most := g.room
	if c.price > most && g.swap != nil {
		most = most.Add(g.swap.Reserved)
	}
	c.bid = min(c.bid, most.Sub(c.storage).FloorCent())
	return c.bid > c.refused && c.bid >= market.MinBid
}

// crowdedShare is the share of a cycle's questions, one in so many, that may go to
// hosts whose GPUs are shown as taken.
const crowdedShare = 4

// mayCrowd says whether a host may be tried although its GPUs are shown as taken: they
// may be held by machines that can be outbid. Never where one of ours stands, or may
// stand.
func (w *world) mayCrowd(d *desk, t *taken) bool {
	return d.buying == market.Spot && t == nil && !w.shelf.homeless
}

// mayAskCrowded counts the questions of this cycle that went to such hosts.
func (w *world) mayAskCrowded() bool {
	if w.crowd == nil {
		w.crowd = w.countCrowded()
	}
	if *w.crowd <= 0 {
		return false
	}
	*w.crowd--
	return true
}

func (w *world) countCrowded() *int {
	free := map[bracketKey]int{}
	for i := range w.shelf.offers {
		o := &w.shelf.offers[i]
		free[bracketKey{host: o.host.ID, model: o.gpu.Model}] = o.gpu.Free
	}
	n := 0
	for _, v := range w.in.Verdicts {
		if free[bracketKey{host: v.Host, model: v.Model}] < v.Shape.GPUs {
			n++
		}
	}
	left := (w.in.Limits.MaxProbes+len(w.in.Verdicts))/crowdedShare - n
	return &left
}

// raiseLane is where the bid of an outbid machine can go. It begins a step above the
// bid that lost: prices mostly move by less, and an answer is worth more now than a
// cent is.
func (w *world) raiseLane(d *desk, m *Machine, bid, top market.Rate) lane {
	onDemand := w.onDemand(m).Or(bid.Mul(2))
	l := lane{
		open: bid.Scale(100+firstStep, 100).CeilCent(), top: top, enough: worthless(onDemand),
		w: w, share: d.p.Bidding.Margin, host: m.Host, model: m.Model, onDemand: onDemand,
	}
	if bid, named := d.p.Bidding.Named(d.gpus(m), onDemand); named {
		l.top, l.named = min(top, bid), true
	}
	return l
}

// firstStep is how much above a bid that lost the search for a higher one begins, in
// percent.
const firstStep = 15

// onDemand is the on-demand compute price of a machine like this on its host.
func (w *world) onDemand(m *Machine) market.Maybe[market.Rate] {
	for i := range w.in.Snapshot.Hosts.Value {
		h := &w.in.Snapshot.Hosts.Value[i]
		if h.ID != m.Host {
			continue
		}
		g, ok := h.GPU(m.Model)
		if !ok {
			break
		}
		return h.OnDemandCompute(g, m.Shape)
	}
	return market.Maybe[market.Rate]{}
}
