package plan

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// shelf is the market's offers in the form the filters want: made once per
// Compute, in time linear in hosts, and read once per policy. Places and models
// are numbered so that a policy's matching is done once per place and model, not
// once per host.
type shelf struct {
	offers []offer
	ready  []offer // machines that wait ready-made
	// onHosts is how many of the offers are of hosts; the others are of v2's locations.
	onHosts int
	places  []market.Location
	// placeAt and modelAt number places and models.
	placeAt map[market.Location]int
	modelAt map[market.HostGPU]int
	ordered map[string]bool // ready-made machines that orders of ours have taken
	// bidAt are the places where spot machines of ours stand, as far as is known.
	bidAt    map[market.Location]bool
	models   []market.HostGPU  // model and memory only
	taken    map[string]*taken // per host
	backed   map[backoffKey]*Backoff
	together *together // nil where no policy bounds places or groups
	// homeless: there is a machine of ours of which we do not know where it stands.
	homeless bool
}

// offer is one GPU model on one host.
type offer struct {
	host         *market.Host
	gpu          *market.HostGPU
	ready        *market.Instant // where it is a ready-made machine
	atSite       string          // the location, where v2 is to find the host
	place, model int
	// Prices per unit; priced is false where one of them is missing.
	gpuRate, cpu, ram, disk market.Rate
	priced                  bool
	open                    bool // online, listed, not reserved
}

// taken is what our own orders use of a host beyond what the list of hosts shows.
type taken struct {
	gpus                map[market.GPUModel]int
	vcpus, ram, storage int
	ports               map[int]bool
	blocked             bool // a machine of ours here is dead or leaving
	ofPolicy            map[string]int
	// lowest is the lowest bid of ours that may be running there, per GPU.
	lowest map[market.GPUModel]market.Rate
}

type backoffKey struct {
	host  string
	model market.GPUModel
	gpus  int
}

func emptyShelf() *shelf {
	return &shelf{
		taken: map[string]*taken{}, backed: map[backoffKey]*Backoff{}, placeAt: map[market.Location]int{}, modelAt: map[market.HostGPU]int{}, ordered: map[string]bool{}, bidAt: map[market.Location]bool{},
	}
}

func newShelf(in *Input, machines []*Machine) *shelf {
	s := emptyShelf()
	s.fill(in.Snapshot.Hosts.Value)
	s.spread(in.Snapshot.Sites.Value)
	s.stock(in.Snapshot.Instants.Value)
	s.seat(in.Snapshot.Hosts.Value, in.Policies)
	for _, m := range machines {
		s.occupy(in, m)
		s.ordered[m.Instant] = true
	}
	for i := range in.History.Backoffs {
		b := &in.History.Backoffs[i]
		if in.Now.Before(b.Until) {
			s.backed[backoffKey{b.Host, b.Model, b.GPUs}] = b
		}
	}
	return s
}

func (s *shelf) fill(hosts []market.Host) {
	n := 0
	for i := range hosts {
		n += len(hosts[i].GPUs)
	}
	s.offers = make([]offer, 0, n)
	for i := range hosts {
		h := &hosts[i]
		place := s.place(h.Location)
		for j := range h.GPUs {
			g := &h.GPUs[j]
			s.offers = append(s.offers, newOffer(h, g, place, s.model(g)))
		}
	}
}

func (s *shelf) place(l market.Location) int {
	return ordinal(s.placeAt, &s.places, city(l))
}

func (s *shelf) model(g *market.HostGPU) int {
	return ordinal(s.modelAt, &s.models, market.HostGPU{Model: g.Model, VRAM: g.VRAM})
}

// ordinal is a thing's place in the list, where it is put if it is new.
func ordinal[T comparable](at map[T]int, list *[]T, v T) int {
	i, ok := at[v]
	if !ok {
		i = len(*list)
		at[v] = i
		*list = append(*list, v)
	}
	return i
}

func newOffer(h *market.Host, g *market.HostGPU, place, model int) offer {
	o := offer{host: h, gpu: g, place: place, model: model, open: h.Online && h.Listed && !h.Reserved}
	var ok [4]bool
	o.gpuRate, ok[0] = g.Price.Get()
	o.cpu, ok[1] = h.CPU.Price.Get()
	o.ram, ok[2] = h.RAM.Price.Get()
	o.disk, ok[3] = h.Storage.Price.Get()
	o.priced = ok[0] && ok[1] && ok[2] && ok[3]
	return o
}

// compute is what a machine of this shape costs on demand, without its storage; a
// ready-made one costs what it costs.
func (o *offer) compute(s market.Shape) market.Rate {
	if o.ready != nil {
		return o.gpuRate
	}
	return o.gpuRate.Mul(s.GPUs).Add(o.cpu.Mul(s.VCPUs)).Add(o.ram.Mul(s.RAM))
}

func (o *offer) storage(s market.Shape) market.Rate {
	if o.ready != nil {
		return o.disk
	}
	return o.disk.Mul(s.Storage)
}

func (s *shelf) on(host string) *taken {
	t := s.taken[host]
	if t == nil {
		t = &taken{gpus: map[market.GPUModel]int{}, ports: map[int]bool{}, ofPolicy: map[string]int{}, lowest: map[market.GPUModel]market.Rate{}}
		s.taken[host] = t
	}
	return t
}

// occupy notes what a machine of ours uses on its host. The list of hosts already
// accounts for machines that were seen before it was made, but for their ports it
// need not: one of ours is never asked for twice.
func (s *shelf) occupy(in *Input, m *Machine) {
	s.counts(m)
	if m.Capacity == market.Spot {
		s.bidAt[m.Location] = true
	}
	host := m.Host
	if host == "" && m.Site != "" {
		host = siteV2(m.Site)
	}
	if host == "" {
		s.homeless = true
		return
	}
	t := s.on(host)
	t.ofPolicy[m.Policy]++
	if m.Leaving != nil || m.Phase == PhaseLive && !m.Status.BillsCompute() && m.Parked == nil {
		t.blocked = true
	} else if bid, ok := m.sureBid().Get(); ok && m.Capacity == market.Spot && m.Shape.GPUs > 0 {
		per := bid.Scale(1, int64(m.Shape.GPUs))
		if was, ok := t.lowest[m.Model]; !ok || per < was {
			t.lowest[m.Model] = per
		}
	}
	starting := m.Parked != nil && m.Parked.Start != 0
	if m.Phase == PhaseLive && m.OrderedAt.Before(in.Snapshot.Hosts.At) && !starting {
		t.use(m.Model, market.Shape{}, m.Ports)
		return
	}
	t.use(m.Model, m.Shape, m.Ports)
}

func (t *taken) use(model market.GPUModel, s market.Shape, ports []market.PortForward) {
	t.gpus[model] += s.GPUs
	t.vcpus += s.VCPUs
	t.ram += s.RAM
	t.storage += s.Storage
	for _, p := range ports {
		t.ports[p.External] = true
	}
}

// freePorts counts the ports of a host's list that no machine of ours has; t may be
// nil, where there is none of ours.
func (t *taken) freePorts(list []int) int {
	n := len(list)
	if t == nil || len(t.ports) == 0 {
		return n
	}
	for _, p := range list {
		if t.ports[p] {
			n--
		}
	}
	return n
}

// candidate is an offer that a policy could take, at the price it would try next.
type candidate struct {
	*offer
	shape    market.Shape // of the machine that the host sells
	rank     int          // by the policy's preference of models
	bid      market.Rate  // spot: to ask about, or accepted
	storage  market.Rate
	price    market.Rate // all-in, whole machine, at that bid
	weighted market.Rate // price, made a little dearer by every machine we have there
	verified bool        // may be deployed without another question
	refused  market.Rate // the highest bid known to lose
	won      market.Rate // a bid that has won in this cycle; 0 if none did
	margin   market.Rate // of bid, above that
	onDemand market.Rate // compute
	top      market.Rate // the highest bid that may be made
	climb    bool        // bid asks whether it is to be had at all
	crowded  bool        // its GPUs are shown as taken
	slots    int         // machines that still fit
}

// spreadPercent is how much dearer, for choosing only, a host looks for every
// machine of the policy that already stands on it: enough to spread over hosts of
// about the same price, never enough to leave a target unmet.
const spreadPercent = 2

// lowestFloor is the percentage of the on-demand price below which no host is
// known to accept a bid: such offers are not worth a question.
const lowestFloor = 35

// grow buys what the policy lacks: cheapest offers first, as far as evidence,
// limits and budget go.
func (w *world) grow(d *desk) {
	if d.p.Kind == policy.Container {
		w.growContainer(d)
		return
	}
	if d.p.Capacity == policy.SpotWithFallback {
		w.growBoth(d)
		return
	}
	need := d.need + w.surge(d)
	w.resizeParked(d)
	if need <= 0 {
		if !w.resize(d) {
			w.migrate(d)
		}
		return
	}
	if !w.mayGrow(d, need) {
		return
	}
	g := w.buy(d, d.p.Capacity, need)
	if code, text := g.explain(); code != "" {
		w.hold(d, nil, code, "%s", text)
	}
}

// surge is how many GPUs may be bought in the place of lost ones whose deletion is
// not confirmed yet.
func (w *world) surge(d *desk) int {
	lost := 0
	for _, m := range d.machines {
		if !d.covers(m) && (m.Leaving != nil || m.Phase == PhaseDeleting || w.going[m.Name]) {
			lost += d.gpus(m)
		}
	}
	return min(d.p.Surge*d.p.Shape.GPUs, lost)
}

// buy takes what is best for so many GPUs, bought so.
func (w *world) buy(d *desk, c market.Capacity, need int) *growth {
	g := w.growth(d, c, need)
	g.run()
	return g
}

func (w *world) growth(d *desk, c market.Capacity, need int) *growth {
	d.buying = c
	w.cands = w.candidates(d, w.cands[:0])
	g := growth{w: w, d: d, need: need, left: need / d.p.Shape.GPUs, cands: candidates{list: w.cands, prefer: d.p.Match.PreferOrder}}
	bound := w.room(d)
	g.room, g.why = bound.room, bound.why
	return &g
}

// mayGrow checks what stops all growth of a policy, and holds it.
func (w *world) mayGrow(d *desk, need int) bool {
	if w.pausedBy(d.p.Name) != nil {
		return false // held already
	}
	if why := w.noGrowth(d); why.Code != "" {
		w.hold(d, nil, why.Code, "%d GPUs are missing; %s", need, why.Text)
		return false
	}
	return !w.cooling(d)
}

// noGrowth is what stops all growth of a policy; zero if nothing does.
func (w *world) noGrowth(d *desk) Reason {
	if b := w.in.History.OpenBreaker(w.in.Now); b != nil {
		return Reason{HoldBreaker, breakerText(b)}
	}
	if doubt := w.doubted(); doubt != "" {
		return Reason{HoldDisagrees, doubt}
	}
	if d.p.Kind == policy.Instant && !w.in.Snapshot.Instants.Complete {
		return Reason{HoldReadyMade, "the list of ready-made machines could not be read: " + w.in.Snapshot.Instants.Problem}
	}
	if d.p.Kind != policy.Instant && !w.in.Snapshot.Hosts.Complete {
		return Reason{HoldHosts, "the list of hosts could not be read: " + w.in.Snapshot.Hosts.Problem}
	}
	return Reason{}
}

// stock is the shelf, made when somebody first looks at it.
func (w *world) stock() *shelf {
	if w.shelf == nil {
		w.shelf = newShelf(w.in, w.machines)
	}
	return w.shelf
}

// candidates filters the shelf for one policy, into out; the funnel says what fell
// out where.
func (w *world) candidates(d *desk, out []candidate) []candidate {
	s := w.stock()
	match := d.match
	ranks := make([]int, len(s.models))
	for i, m := range s.models {
		ranks[i] = -1
		if r, ok := match.GPU(m); ok && d.keeps(m.Model) {
			ranks[i] = r
		}
	}
	places := make([]bool, len(s.places))
	for i := range s.places {
		places[i] = match.Place(s.places[i])
	}
	offers := s.offersFor(d.p)
	d.st.Funnel = Funnel{Offers: len(offers)}
	f := &d.st.Funnel
	for i := range offers {
		o := &offers[i]
		if o.atSite != "" && !w.siteSells(d) {
			f.Offers--
			continue
		}
		if c, ok := w.sift(d, o, ranks[o.model], places[o.place], f); ok {
			out = append(out, c)
		}
	}
	f.Candidates = len(out)
	return out
}

// sift looks at one offer; the funnel says where it fell out. rank is that of its
// model, negative for one that is not wanted, and place whether its place is.
func (w *world) sift(d *desk, o *offer, rank int, place bool, f *Funnel) (c candidate, ok bool) {
	switch {
	case rank < 0:
		f.Model++
	case !place || !d.match.HostID(o.host.ID):
		f.Place++
	case !o.open:
		f.Offline++
	case d.p.Match.MinUptime > 0 && o.host.Uptime.Or(0) < d.p.Match.MinUptime:
		f.Uptime++
	case !w.records.Quarantined(o.host.ID, o.gpu.Model).IsZero(), w.settles(d, o):
		f.Backoff++
	default:
		c, ok = w.consider(d, o, f)
		c.rank = rank
	}
	return c, ok
}

// consider looks at size, price and evidence of an offer that matches.
func (w *world) consider(d *desk, o *offer, f *Funnel) (candidate, bool) {
	if o.ready != nil {
		return w.considerReady(d, o, f)
	}
	t := w.shelf.taken[o.host.ID]
	slots := w.shares(d, o, t)
	if slots <= 0 {
		f.Capacity++
		return candidate{}, false
	}
	if slots = min(slots, w.shelf.room(d.p, o)); slots <= 0 {
		f.Spread++
		return candidate{}, false
	}
	shape, sold := solve(o.host, d.p.Shape)
	if slots = min(slots, fits(d.p, o, t)); slots <= 0 || !sold {
		f.Shape++
		return candidate{}, false
	}
	if !o.priced {
		f.NoPrice++
		return candidate{}, false
	}
	compute := o.compute(shape)
	c := candidate{offer: o, shape: shape, storage: o.storage(shape), slots: slots, crowded: freeGPUs(o, t) < shape.GPUs}
	if !w.price(d, &c, compute, f) {
		return candidate{}, false
	}
	c.weighted = w.effective(d, &c, compute.Add(c.storage)).Scale(int64(100+spreadPercent*ours(t, d.p.Name)), 100)
	if d.buying == market.OnDemand && bids(t, o.gpu.Model) {
		c.weighted = c.weighted.Scale(100+besideBids, 100)
	}
	return c, true
}

// besideBids is how much dearer, for choosing only, on-demand looks on a host where a
// machine of ours stands by its bid: an order without a bid goes before every bid, and
// falls upon ours if the host is less free than its list says.
const besideBids = 10

// bidsAt says whether a spot machine of ours may stand at a location, by its id or, where
// one of them has none, by its city.
func (s *shelf) bidsAt(l market.Location) bool {
	for at := range s.bidAt {
		if at.ID != "" && at.ID == l.ID || (at.ID == "" || l.ID == "") && at.Country == l.Country && at.Region == l.Region && at.City == l.City {
			return true
		}
	}
	return false
}

// bids says whether a spot machine of ours may be running on the host.
func bids(t *taken, model market.GPUModel) bool {
	if t == nil {
		return false
	}
	_, there := t.lowest[model]
	return there
}

// shares counts the machines that the free GPUs of a host allow; none where a machine
// of ours is dead or leaving.
func (w *world) shares(d *desk, o *offer, t *taken) int {
	p := d.p
	if t != nil && t.blocked {
		return 0
	}
	if o.atSite != "" && w.shelf.bidsAt(o.host.Location) {
		return 0 // v2 may choose the very host
	}
	if d.buying == market.OnDemand && bids(t, o.gpu.Model) && t.gpus[o.gpu.Model] > 0 {
		return 0 // until a look shows what is free beside our own newcomer: see besideBids
	}
	n := max(freeGPUs(o, t), 0) / p.Shape.GPUs
	if n == 0 && w.mayCrowd(d, t) {
		n = 1
	}
	return n
}

func freeGPUs(o *offer, t *taken) int {
	if t == nil {
		return o.gpu.Free
	}
	return o.gpu.Free - t.gpus[o.gpu.Model]
}

func ours(t *taken, name string) int {
	if t == nil {
		return 0
	}
	return t.ofPolicy[name]
}

// price finds what the policy would pay here, and whether it may.
func (w *world) price(d *desk, c *candidate, compute market.Rate, f *Funnel) bool {
	b := w.brackets[bracketKey{c.host.ID, c.gpu.Model, c.shape}]
	back := w.shelf.backed[backoffKey{c.site(), c.gpu.Model, d.p.Shape.GPUs}]
	if back != nil && back.Taken && freeGPUs(c.offer, w.shelf.taken[c.host.ID]) >= d.p.Shape.GPUs {
		back = nil // what was taken is free
	}
	if d.buying == market.OnDemand {
		c.price, c.verified = compute.Add(c.storage), true
		return passes(&f.Ceiling, c.price > d.p.CeilingOf(market.OnDemand, d.p.Shape.GPUs)) &&
			passes(&f.Backoff, back != nil && back.Bid == market.MaxRate) && passes(&f.Refused, b.refused)
	}
	limit := d.p.BidCeiling(c.storage)
	_, named := d.p.Bidding.Named(d.p.Shape.GPUs, compute)
	if !passes(&f.Ceiling, limit == 0 || !named && limit < compute.Scale(lowestFloor, 100)) ||
		!passes(&f.Fickle, back != nil && back.Fickle) || !passes(&f.Backoff, back != nil && limit <= back.Bid) {
		return false
	}
	// A newcomer that bids above one of ours falls upon it where the host is less free
	// than its list says. At the same price it can only fall out itself.
	own, sibling := market.Rate(0), false
	if t := w.shelf.taken[c.host.ID]; t != nil {
		own, sibling = t.lowest[c.gpu.Model]
	}
	if own = own.Mul(d.p.Shape.GPUs).CeilCent(); sibling && own < limit {
		limit = own
	} else {
		sibling = false
	}
	if back != nil {
		b.loses(back.Bid)
	}
	c.onDemand, c.top = compute, limit
	next, ok := b.search(w.lane(d.p, c, b))
	if !passes(&f.Sibling, !ok && sibling) || !passes(&f.Refused, !ok || b.silent) {
		return false
	}
	c.seek(b, next)
	return true
}

// passes counts an offer that falls out.
func passes(counter *int, out bool) bool {
	if out {
		*counter++
	}
	return !out
}

// growth takes candidates until the need is met or nothing is left to take.
type growth struct {
	w       *world
	d       *desk
	cands   candidates
	need    int // GPUs wanted
	left    int // machines still wanted
	bought  int // machines ordered by this plan
	room    market.Rate
	why     string      // what binds room
	dear    market.Rate // the cheapest machine that the room is too small for; 0 if none
	asked   int         // machines that a yes would bring
	hoped   int         // of these, what the room would pay for
	hopes   market.Rate // and what they would cost, at best
	unasked int         // candidates that no question was left for
	spread  int         // candidates that the spread left no room for, once others were taken
	swap    *Machine    // on-demand that may make room for spot
	// voluntary: beyond repairs machines, what is bought replaces what goes on delivering.
	voluntary bool
	repairs   int
	// replaces is the machine that moves, worth what it really costs.
	replaces *Machine
	worth    market.Rate
	drift    string // what it lacks, where that is why it is replaced
}

func (g *growth) run() {
	g.startParked()
	g.bound()
	heap.Init(&g.cands)
	for g.left > 0 && g.cands.Len() > 0 {
		g.take(&g.cands.list[0])
	}
	g.tell()
}

// hope counts the machines that a yes would bring and the caps leave room for.
func (g *growth) hope(c *candidate, n int) {
	for ; n > 0 && g.hopes.Add(c.price) <= g.room; n-- {
		g.hoped++
		g.hopes = g.hopes.Add(c.price)
	}
}

// tell notes how growth ended. What moves a machine is no growth, and on-demand that covers
// is a part of what spot was wanted for.
func (g *growth) tell() {
	if g.replaces != nil {
		return
	}
	end := &g.d.grew
	end.need, end.got = max(end.need, g.need), end.got+(g.bought+g.hoped)*g.d.p.Shape.GPUs
	if g.dear != 0 && (end.dear == 0 || g.dear < end.dear) {
		end.dear, end.at = g.dear, g.w.position(g.d)
	}
}

// take uses the best candidate once: deploys on it, or asks about it.
func (g *growth) take(c *candidate) {
	if !g.pays(c) {
		g.cands.drop()
		return
	}
	if c.price > g.room && !g.swaps(c) {
		g.drop(g.room)
		return
	}
	if g.churns() && !g.w.mayChurn(g.d, g.replaces) {
		g.left = 0
		return
	}
	// Another model of the same host may have been taken since it was counted.
	t := g.w.shelf.taken[c.host.ID]
	room := g.w.shelf.room(g.d.p, c.offer)
	if room <= 0 {
		g.spread++
	}
	if c.ready != nil {
		c.slots = min(c.slots, room, g.w.readySlots(g.d, c.offer))
	} else {
		c.slots = min(c.slots, room, g.w.shares(g.d, c.offer, t), fits(g.d.p, c.offer, t))
	}
	switch {
	case c.slots <= 0:
		g.cands.drop()
	case c.verified && c.price > g.room:
		g.swapFor(c)
	case c.verified && g.deploy(c):
		c.slots--
		c.weighted = c.weighted.Add(c.price.Scale(spreadPercent, 100))
		heap.Fix(&g.cands, 0)
	case c.verified:
		g.cands.drop()
	case g.w.probes <= 0 && !g.w.asked[g.question(c)] && g.settle(c):
		heap.Fix(&g.cands, 0)
	case g.w.probes <= 0 && !g.w.asked[g.question(c)]:
		g.unasked++
		g.cands.drop()
	case c.crowded && !g.w.mayAskCrowded() || !g.affordable(c):
		g.cands.drop()
	default:
		// A yes would serve for every machine that fits here.
		g.w.ask(g.d, g.question(c))
		n := min(c.slots, g.left)
		g.hope(c, n)
		g.asked += n
		g.left -= n
		g.cands.drop()
	}
}

func (g *growth) question(c *candidate) market.Question {
	return market.Question{Host: c.host.ID, Model: c.gpu.Model, Shape: c.shape, Bid: c.bid}
}

// drop leaves out all candidates that the room is too small for.
func (g *growth) drop(room market.Rate) {
	kept := g.cands.list[:0]
	for _, c := range g.cands.list {
		switch {
		case c.price <= room:
			kept = append(kept, c)
		case g.dear == 0 || c.price < g.dear:
			g.dear = c.price
		}
	}
	g.cands.list = kept
	heap.Init(&g.cands)
}

// deploy plans one machine; false where the host has too few free ports after all.
func (g *growth) deploy(c *candidate) bool {
	p := g.d.p
	t := g.w.shelf.on(c.host.ID)
	a := Action{
		Kind: Deploy, Policy: p.Name, Host: c.host.ID, Location: c.host.Location, Model: c.gpu.Model, Shape: c.shape,
		Capacity: g.d.buying, Bid: c.bid, Storage: c.storage, Rate: c.price, Reserve: p.CeilingOf(g.d.buying, p.Shape.GPUs),
		Reason: g.reason(c), Replaces: g.replaced(), Asked: p.Shape,
	}
	var ok bool
	if c.ready != nil {
		a.Via, a.Instant, a.Many = market.ViaInstant, c.ready.ID, c.ready.Many
		a.Ports = g.w.portsOf(c.offer, t, p.Ports)
		g.w.shelf.ordered[c.ready.ID] = true
	} else if c.atSite != "" {
		a.Via, a.Site, a.Host, a.Ports = market.ViaV2, c.atSite, "", sitePorts(p.Ports)
	} else if a.Ports, ok = pickPorts(c.host, t, p.Ports); !ok {
		return false
	} else {
		a.Via = g.w.via(g.d, c, a.Ports)
	}
	t.use(c.gpu.Model, c.shape, a.Ports)
	g.w.shelf.stands(c.offer, p.Name)
	g.w.plan.Actions = append(g.w.plan.Actions, a)
	g.w.reserve(g.d, c.price)
	g.room = g.room.Sub(c.price)
	g.account()
	g.left--
	g.bought++
	g.d.busy = true
	return true
}

// replaced is the name of the machine that moves; "" if none does.
func (g *growth) replaced() string {
	if g.replaces == nil {
		return ""
	}
	return g.replaces.Name
}

func (g *growth) reason(c *candidate) Reason {
	d, n := g.d, g.d.p.Shape.GPUs
	if g.drift != "" {
		return Reason{ReasonResize, fmt.Sprintf("in the place of %s, which %s", g.replaces.Name, g.drift)}
	}
	if g.replaces != nil {
		return Reason{ReasonMigrate, fmt.Sprintf("%s a GPU instead of the %s of %s, which goes when this one runs",
			c.price.PerGPU(n), g.replaces.Reserved.PerGPU(n), g.replaces.Name)}
	}
	text := fmt.Sprintf("%d of %d GPUs; %s a GPU, the ceiling is %s",
		d.st.Target-g.left*n, d.st.Target, c.price.PerGPU(n), d.p.CeilingOf(d.buying, n).PerGPU(n))
	if rounded := roundedText(c.host, d.p.Shape); c.ready == nil && rounded != "" {
		text += "; with " + rounded
	}
	if d.p.Capacity == policy.SpotWithFallback && d.buying == market.OnDemand {
		return Reason{ReasonFallback, text + "; on spot, " + d.spotSays}
	}
	if c.won != 0 {
		text += "; " + wonText(c.won, c.margin)
	}
	return Reason{ReasonBelowTarget, text}
}

// pickPorts takes the lowest free external ports of the host, one for each
// internal port; none where the host does not list its ports. ok is false where
// it lists too few.
func pickPorts(h *market.Host, t *taken, internal []int) (out []market.PortForward, ok bool) {
	free, known := h.Ports.Get()
	if !known {
		return nil, true
	}
	free = slices.Clone(free)
	slices.Sort(free)
	free = slices.Compact(free)
	for _, ext := range free {
		if len(out) == len(internal) {
			break
		}
		if !t.ports[ext] {
			out = append(out, market.PortForward{External: ext, Internal: internal[len(out)]})
		}
	}
	return out, len(out) == len(internal)
}

// explain says why a policy is left below its target; "" if it is not.
func (g *growth) explain() (code, text string) {
	n := g.d.p.Shape.GPUs
	missing := g.left * n
	switch {
	case g.left > 0 && g.dear > 0:
		return HoldBudget, fmt.Sprintf("%d GPUs are missing; the next machine costs %s and %s are left: %s", missing, g.dear, g.room, g.why)
	case g.left > 0 && g.unasked > 0:
		return HoldProbes, fmt.Sprintf("%d GPUs are missing; %d offers are left to ask about, but no questions in this cycle", missing, g.unasked)
	case g.left > 0 && g.d.st.Funnel.Spread+g.spread > 0:
		return HoldSpread, fmt.Sprintf("%d GPUs are missing; %s; %s", missing, g.w.spreadText(g.d), g.d.st.Funnel)
	case g.left > 0:
		return HoldNoOffer, fmt.Sprintf("%d GPUs are missing; %s", missing, g.d.st.Funnel)
	case g.asked > 0:
		return HoldAsking, "asking the market which bids win"
	case g.need%n > 0:
		return HoldNoOffer, fmt.Sprintf("%d GPUs are missing, less than one machine of %d", g.need%n, n)
	}
	return "", ""
}

// String tells the funnel in one line.
func (f Funnel) String() string {
	parts := []string{fmt.Sprintf("of %d offers", f.Offers)}
	for _, s := range []struct {
		n    int
		text string
	}{
		{f.Model, "are other GPUs"},
		{f.Place, "stand elsewhere"},
		{f.Offline, "are offline"},
		{f.Uptime, "have too little uptime"},
		{f.Capacity, "have too few GPUs free"},
		{f.Spread, "are left out by spread"},
		{f.Shape, "do not fit the shape"},
		{f.NoPrice, "have no price"},
		{f.Ceiling, "are above the ceiling"},
		{f.Backoff, "failed lately"},
		{f.Fickle, "took no order at bids they had said win"},
		{f.Refused, "refused every bid"},
		{f.Sibling, "would need a bid above that of a machine of ours there"},
	} {
		if s.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", s.n, s.text))
		}
	}
	return strings.Join(append(parts, fmt.Sprintf("%d are left", f.Candidates)), ", ")
}

// candidates is a heap, the best first.
type candidates struct {
	list   []candidate
	prefer bool // by the policy's order of models before any price
}

func (c *candidates) Len() int      { return len(c.list) }
func (c *candidates) Swap(i, j int) { c.list[i], c.list[j] = c.list[j], c.list[i] }
func (c *candidates) Push(x any)    { c.list = append(c.list, x.(candidate)) }

// Pop implements heap.Interface; drop is what is used, as it boxes nothing.
func (c *candidates) Pop() any {
	last := c.list[len(c.list)-1]
	c.list = c.list[:len(c.list)-1]
	return last
}

// drop removes the best candidate.
func (c *candidates) drop() {
	n := len(c.list) - 1
	c.list[0] = c.list[n]
	c.list = c.list[:n]
	if n > 0 {
		heap.Fix(c, 0)
	}
}

func (c *candidates) Less(i, j int) bool {
	a, b := &c.list[i], &c.list[j]
	if c.prefer && a.rank != b.rank {
		return a.rank < b.rank
	}
	return a.before(b) < 0
}

// before orders offers by price, ties by name.
func (c *candidate) before(o *candidate) int {
	return cmp.Or(cmp.Compare(c.weighted, o.weighted), cmp.Compare(c.host.ID, o.host.ID), cmp.Compare(c.gpu.Model, o.gpu.Model))
}
