package simulator

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sort"

	"github.com/tdscaler/tdscaler/internal/market"
)

// host is one hostnode. Totals are what it owns; what is free follows from who is
// on it.
type host struct {
	id       string
	place    place
	locID    string
	dc       *datacentre
	online   bool
	listed   bool
	reserved bool
	uptime   float64
	report   string
	cpuType  string
	cpu      component
	ram      component
	storage  component
	limits   map[int]market.Restriction
	ports    []int // free external ports, sorted
	speed    int   // Mbps
	ip       string
	pools    []*pool // sorted by model

	spotShownFree bool
	tellsMinimum  bool // names its minimum to who bids below it
	version       uint64
}

type component struct {
	total, used int // used by machines of the account
	price       market.Rate
}

type datacentre struct {
	name string
	tier int
}

// pool is one GPU model of one host: the ground of one auction.
type pool struct {
	host  *host
	model market.GPUModel
	total int
	price market.Rate // on-demand, per GPU
	usual market.Rate // what price moves around
	floor market.Rate // least bid per GPU
	vram  int

	held int       // GPUs of on-demand machines, ours and others'
	ours int       // of held, those of the account
	book []*bidder // Invariant: ordered by seq; holds every spot machine that bids

	holders [3]int // GPUs held on demand, by rivals' and by our spot, as last shown

	mood      *mood
	rng       *rand.Rand
	load      float64 // rivals' demand in GPUs over the GPUs there are
	level     float64 // usual price over on-demand, for price paths
	lastPrice market.Rate
	scratch   []market.Rate
}

// reference is what one GPU with a usual share of the machine costs on demand:
// what rivals reckon with.
func (p *pool) reference() market.Rate {
	return p.usual.Add(p.host.cpu.price.Mul(4)).Add(p.host.ram.price.Mul(16))
}

func (p *pool) spotHeld() (rivals, ours int) {
	for _, b := range p.book {
		switch {
		case b.kept && b.machine == nil:
			rivals += b.gpus
		case b.kept:
			ours += b.gpus
		}
	}
	return rivals, ours
}

// shown is the number of free GPUs that the market advertises.
func (p *pool) shown() int {
	rivals, ours := p.spotHeld()
	if p.host.spotShownFree {
		rivals = 0
	}
	return p.total - p.held - rivals - ours
}

func (h *host) pool(model market.GPUModel) *pool {
	for _, p := range h.pools {
		if p.model == model {
			return p
		}
	}
	return nil
}

func (h *host) gpus() int {
	n := 0
	for _, p := range h.pools {
		n += p.total
	}
	return n
}

// othersShare is what tenants with that many GPUs take of a component.
func (h *host) othersShare(c component, gpus int) int {
	if all := h.gpus(); all > 0 && gpus > 0 {
		return c.total * 3 * gpus / (4 * all)
	}
	return 0
}

// free is what is left of a component beside the account's machines and the
// tenants that the predicate counts.
func (h *host) free(c component, withSpot bool) int {
	others := 0
	for _, p := range h.pools {
		rivals, _ := p.spotHeld()
		others += p.held - p.ours
		if withSpot {
			others += rivals
		}
	}
	return max(c.total-c.used-h.othersShare(c, others), 0)
}

// view is the host as the market shows it.
func (h *host) view() market.Host {
	withSpot := !h.spotShownFree
	v := market.Host{
		ID:       h.id,
		Location: market.Location{ID: h.locID, Country: h.place.country, Region: h.place.region, City: h.place.city},
		Online:   h.online, Listed: h.listed, Reserved: h.reserved,
		Uptime:  market.Some(h.uptime),
		CPUType: h.cpuType,
		CPU:     offer(h.free(h.cpu, withSpot), h.cpu.price),
		RAM:     offer(h.free(h.ram, withSpot), h.ram.price),
		Storage: offer(h.storage.total-h.storage.used, h.storage.price),
		Ports:   market.Some(slices.Clone(h.ports)),
		Limits:  maps.Clone(h.limits),
	}
	for _, p := range h.pools {
		v.GPUs = append(v.GPUs, market.HostGPU{
			Model: p.model, Free: p.shown(), Price: market.Some(p.price), VRAM: market.Some(p.vram),
		})
	}
	return v
}

func offer(free int, price market.Rate) market.Component {
	return market.Component{Free: market.Some(free), Price: market.Some(price)}
}

// build makes the hosts of an explicit world.
func (e *Engine) build(w *World) error {
	for i, wh := range w.Hosts {
		h, err := fromWorld(i, wh)
		if err != nil {
			return err
		}
		if e.hostByID[h.id] != nil {
			return fmt.Errorf("%w: host %s is there twice", errOptions, h.id)
		}
		e.addHost(h)
		for _, r := range wh.Rivals {
			p := h.pool(r.Model)
			if p == nil || r.GPUs < 1 || r.GPUs > p.total {
				return fmt.Errorf("%w: a rival of host %s fits no GPUs of model %q", errOptions, h.id, r.Model)
			}
			e.script(p, r)
		}
	}
	return nil
}

func fromWorld(i int, wh WorldHost) (*host, error) {
	m := wh.Host
	h := &host{
		id: m.ID, locID: m.Location.ID,
		place:  place{city: m.Location.City, region: m.Location.Region, country: m.Location.Country, tier: 2},
		online: m.Online, listed: m.Listed, reserved: m.Reserved, uptime: m.Uptime.Or(1),
		cpuType: m.CPUType, cpu: total(m.CPU), ram: total(m.RAM), storage: total(m.Storage),
		limits: m.Limits, ports: slices.Sorted(slices.Values(m.Ports.Or(nil))), speed: 1000,
		tellsMinimum: true, ip: fmt.Sprintf("192.0.2.%d", i%250+1), report: reportPage(fmt.Sprintf("%032x", i)),
	}
	for _, g := range m.GPUs {
		if g.Free < 0 || g.Free > 60 {
			return nil, fmt.Errorf("%w: host %s has %d GPUs, want 0 to 60", errOptions, m.ID, g.Free)
		}
		p := &pool{host: h, model: g.Model, total: g.Free, price: g.Price.Or(0), usual: g.Price.Or(0), vram: g.VRAM.Or(g.Model.VRAM().Or(0))}
		floor, ok := wh.Floor[g.Model]
		if !ok {
			floor = p.price.Scale(1, 2).CeilCent()
		}
		p.floor = floor
		h.pools = append(h.pools, p)
	}
	sortPools(h)
	return h, nil
}

func total(c market.Component) component {
	return component{total: c.Free.Or(0), price: c.Price.Or(0)}
}

func sortPools(h *host) {
	sort.Slice(h.pools, func(i, j int) bool { return h.pools[i].model < h.pools[j].model })
}

func reportPage(hex string) string {
	return "https://monitor.example.invalid/report/uptime/" + hex + "/"
}

// generate makes the hosts of a market that looks like the real one: a few large
// machines in data centres, many small ones in homes and small racks.
func (e *Engine) generate() {
	ms := &moods{seed: e.opts.Seed, start: e.now, shared: map[string][2]*path{}}
	locations := map[string]string{}
	for i := range e.opts.Hosts {
		rng := stream(e.opts.Seed, fmt.Sprintf("host/%d", i))
		h := e.newHost(rng, i, locations)
		e.addHost(h)
		for _, p := range h.pools {
			if e.opts.Regime != Quiet {
				p.mood = ms.pool(h.id, string(p.model))
			}
			p.rng = stream(e.opts.Seed, "rivals/"+h.id+"/"+string(p.model))
		}
	}
	for _, h := range e.hosts {
		for _, p := range h.pools {
			e.startRivals(p)
		}
		if e.opts.Regime != Quiet {
			e.repriceSometimes(h, stream(e.opts.Seed, "prices/"+h.id))
		}
	}
}

// repriceSometimes lets the owner change the on-demand prices by up to a tenth,
// every few days. Machines keep the price they were bought at.
func (e *Engine) repriceSometimes(h *host, rng *rand.Rand) {
	e.after(exponential(rng, ownersReprice), func() {
		for _, p := range h.pools {
			p.price = max(p.usual.Scale(900+int64(rng.IntN(201)), 1000), market.Cent).CeilCent()
		}
		e.touch(h)
		e.repriceSometimes(h, rng)
	})
}

func (e *Engine) newHost(rng *rand.Rand, i int, locations map[string]string) *host {
	kinds := e.kinds()
	kind := kinds[pickWeighted(rng, kinds)]
	at := places[rng.IntN(len(places))]
	if kind.dear { // dear GPUs stand in data centres
		for at.tier < 2 {
			at = places[rng.IntN(len(places))]
		}
	}
	h := &host{
		id: newID(rng), place: at, online: true, listed: true,
		uptime: 1 - math.Pow(rng.Float64(), 4)*0.1, report: reportPage(fmt.Sprintf("%016x%016x", rng.Uint64(), rng.Uint64())),
		cpuType: cpuTypes[rng.IntN(len(cpuTypes))], speed: []int{500, 1000, 1000, 2500, 10000}[rng.IntN(5)],
		ip:            fmt.Sprintf("198.51.100.%d", i%250+1),
		spotShownFree: rng.Float64() < e.opts.SpotShownFree, tellsMinimum: rng.IntN(2) == 0,
	}
	if rng.IntN(3) == 0 {
		h.ip = fmt.Sprintf("%s-%c.marketplace.example.invalid", slug(at.city), 'a'+rune(i%26))
	}
	if locations[at.city] == "" {
		locations[at.city] = newID(rng)
	}
	h.locID = locations[at.city]
	if at.tier > 0 {
		h.dc = &datacentre{name: at.dc, tier: at.tier}
	}
	e.equip(h, rng, i, kind)
	return h
}

// kinds are those of the catalogue that are wanted.
func (e *Engine) kinds() []gpuKind {
	if len(e.opts.Models) == 0 {
		return catalogue
	}
	return slices.DeleteFunc(slices.Clone(catalogue), func(k gpuKind) bool { return !slices.Contains(e.opts.Models, k.model) })
}

func (e *Engine) equip(h *host, rng *rand.Rand, i int, kind gpuKind) {
	gpus := []int{1, 1, 2, 2, 4, 4, 8}[rng.IntN(7)]
	if kind.dear {
		gpus = []int{2, 4, 8, 8}[rng.IntN(4)]
	}
	h.pools = append(h.pools, e.newPool(h, rng, kind, gpus))
	if i%17 == 9 { // a few hosts mix two models
		second := catalogue[(slices.IndexFunc(catalogue, func(k gpuKind) bool { return k.model == kind.model })+1)%len(catalogue)]
		h.pools = append(h.pools, e.newPool(h, rng, second, 1+rng.IntN(2)))
	}
	all := h.gpus()
	h.cpu = component{total: all * (8 + 2*rng.IntN(9)), price: market.Rate(3_000_000)}
	h.ram = component{total: all * (32 + 16*rng.IntN(5)), price: market.Rate(2_000_000)}
	h.storage = component{total: 600 + all*(400+rng.IntN(1600)), price: market.Rate(50_000)}
	if rng.IntN(3) == 0 {
		h.limits = restrictions(h, all)
	}
	if i%30 != 7 { // one host in thirty has no port left and cannot be used
		h.ports = portRange(rng)
	}
	e.blemish(h, i)
	sortPools(h)
	for _, p := range h.pools {
		p.floor = p.reference().Scale(400+int64(rng.IntN(201)), 1000).CeilCent()
	}
}

// blemish makes some hosts useless, as some of the real ones are.
func (e *Engine) blemish(h *host, i int) {
	switch i % 40 {
	case 11:
		h.online = false
	case 23:
		h.listed = false
	case 35:
		h.reserved = true
	case 19: // the entry is there, its GPUs are not
		h.pools[0].total = 0
	}
}

func (e *Engine) newPool(h *host, rng *rand.Rand, kind gpuKind, gpus int) *pool {
	p := &pool{host: h, model: kind.model, total: gpus, vram: kind.model.VRAM().Or(0)}
	p.price = market.Rate(kind.price).Scale(900+int64(rng.IntN(301)), 1000).CeilCent()
	p.usual = p.price
	p.load = loadMedian * math.Exp(loadSigma*rng.NormFloat64())
	if e.opts.Regime == Quiet {
		p.load *= quietLoad
	}
	p.level = levelMedian * math.Exp(levelSigma*rng.NormFloat64())
	return p
}

func restrictions(h *host, gpus int) map[int]market.Restriction {
	limits := map[int]market.Restriction{}
	for n := range gpus + 1 {
		share := max(n, 1)
		limits[n] = market.Restriction{
			VCPUs:   market.Some(market.Bounds{Min: 2, Max: h.cpu.total * share / gpus}),
			RAM:     market.Some(market.Bounds{Min: 4, Max: h.ram.total * share / gpus}),
			Storage: market.Some(market.Bounds{Min: 20, Max: h.storage.total}),
		}
	}
	return limits
}

func portRange(rng *rand.Rand) []int {
	first := 10000 + 100*rng.IntN(480)
	ports := make([]int, 0, 60)
	for p := first; p < first+100 && len(ports) < 60; p++ {
		if rng.IntN(8) > 0 {
			ports = append(ports, p)
		}
	}
	return ports
}

func pickWeighted(rng *rand.Rand, kinds []gpuKind) int {
	sum := 0
	for _, k := range kinds {
		sum += k.weight
	}
	n := rng.IntN(sum)
	for i, k := range kinds {
		if n -= k.weight; n < 0 {
			return i
		}
	}
	return len(kinds) - 1
}
