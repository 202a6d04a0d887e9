package simulator

import (
	"math"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// How rivals behave. The loads are set so that, over a week, about 35 % of
// host-hours can be had at the floor, 40 % between floor and on-demand, and 25 %
// not at all; a test measures it.
const (
	loadMedian = 1.45 // demanded GPUs over GPUs there are, of the usual pool
	loadSigma  = 0.45

	stayMedian = 6 * time.Hour
	staySigma  = 1.0

	valueNoise   = 0.15 // sigma of what a rival's GPUs are worth to it
	staticShade  = 0.8  // of its value that a rival bids who bids once
	tenantShare  = 0.20 // on-demand
	trackerShare = 0.30 // bid a cent above the threshold, up to their value
	quietLoad    = 0.6  // of the usual demand, in a quiet market

	// Price paths without rivals: the usual price over on-demand, per pool.
	levelMedian = 0.64
	levelSigma  = 0.65
)

// rival is somebody else's machine in a pool.
type rival struct {
	gpus    int
	tenant  bool
	tracker bool
	worth   float64 // value in nano-USD per hour at a mood of 1
	gone    bool
	bidder  *bidder // nil for a tenant
}

// startRivals fills the pool as if it had been open for long, and keeps rivals
// coming.
func (e *Engine) startRivals(p *pool) {
	switch {
	case p.total == 0:
	case e.opts.Regime == TraceDriven:
		e.followPath(p)
	case e.opts.Regime == Replay:
		e.followSeries(p)
	default:
		for range p.rng.IntN(1 + int(2*p.arrivals()*meanStay())) {
			e.arrive(p)
		}
		e.expectArrival(p)
	}
}

func meanStay() float64 { return stayMedian.Hours() * math.Exp(staySigma*staySigma/2) }

// arrivals is the number of rivals an hour that make the pool's load.
func (p *pool) arrivals() float64 {
	return p.load * float64(p.total) / (meanStay() * meanSize(p.total))
}

var rivalSizes = []struct {
	gpus int
	p    float64
}{{1, 0.6}, {2, 0.2}, {4, 0.15}, {8, 0.05}}

func meanSize(most int) float64 {
	sum, weight := 0.0, 0.0
	for _, s := range rivalSizes {
		if s.gpus <= most {
			sum, weight = sum+s.p*float64(s.gpus), weight+s.p
		}
	}
	return sum / weight
}

func (p *pool) rivalSize() int {
	for {
		u := p.rng.Float64()
		for _, s := range rivalSizes {
			if u -= s.p; u < 0 {
				if s.gpus <= p.total {
					return s.gpus
				}
				break
			}
		}
	}
}

func (e *Engine) expectArrival(p *pool) {
	e.after(exponential(p.rng, p.arrivals()), func() {
		e.arrive(p)
		e.expectArrival(p)
	})
}

// arrive brings one rival, who stays if it is a tenant that finds room, or bids.
func (e *Engine) arrive(p *pool) {
	r := &rival{gpus: p.rivalSize()}
	kind := p.rng.Float64()
	r.tenant = kind < tenantShare
	r.tracker = !r.tenant && kind < tenantShare+trackerShare && e.opts.Regime != Quiet
	r.worth = float64(p.reference()) * float64(r.gpus) * math.Exp(valueNoise*p.rng.NormFloat64())
	stay := lognormal(p.rng, stayMedian, staySigma)
	if r.tenant {
		e.rent(p, r, stay)
		return
	}
	bid := cents(staticShade * r.value(p, e.now))
	if r.tracker {
		bid = p.floor.Mul(r.gpus)
	}
	if bid < p.floor.Mul(r.gpus) {
		return // not worth it here
	}
	e.join(p, r, bid, stay)
	if r.tracker {
		e.track(p, r)
	}
	e.settle(p)
}

func (r *rival) value(p *pool, now time.Time) float64 { return r.worth * p.mood.at(now) }

func cents(nano float64) market.Rate { return market.Rate(nano).CeilCent() }

// rent gives a tenant GPUs that no other tenant has; spot machines make room.
func (e *Engine) rent(p *pool, r *rival, stay time.Duration) {
	if p.held+r.gpus > p.total {
		return
	}
	p.held += r.gpus
	e.settle(p)
	e.after(stay, func() {
		p.held -= r.gpus
		e.settle(p)
	})
}

// join puts a rival's bid into the book until it leaves; the caller settles.
func (e *Engine) join(p *pool, r *rival, bid market.Rate, stay time.Duration) {
	r.bidder = &bidder{gpus: r.gpus, bid: bid, rival: r}
	e.enter(p, r.bidder)
	e.after(stay, func() { e.retire(p, r) })
}

func (e *Engine) retire(p *pool, r *rival) {
	if r.gone {
		return
	}
	r.gone = true
	p.leave(r.bidder)
	e.settle(p)
}

// track sets the rival's bid a cent above what it needs, up to its value, now and
// every 10 to 60 minutes.
func (e *Engine) track(p *pool, r *rival) {
	if r.gone {
		return
	}
	limit := cents(r.value(p, e.now)).FloorCent()
	want := limit
	if need, ok := p.threshold(r.gpus, r.bidder); ok {
		want = min(limit, need+market.Cent)
	}
	want = max(want, p.floor.Mul(r.gpus))
	if want != r.bidder.bid {
		r.bidder.bid = want
		e.settle(p)
	}
	e.after(time.Duration(10+p.rng.IntN(51))*time.Minute, func() { e.track(p, r) })
}

// followPath lets phantoms bid the pool's price path, one for each GPU, so that
// the price of n GPUs is n times the path and no bid of ours moves it.
func (e *Engine) followPath(p *pool) {
	phantoms := e.phantoms(p)
	var step func()
	step = func() {
		price := float64(p.reference()) * p.level * p.mood.at(e.now)
		e.reprice(p, phantoms, market.Rate(price).FloorCent())
		e.after(exponential(p.rng, 2*(fastPerHour+slowPerHour)), step)
	}
	step()
}

func (e *Engine) phantoms(p *pool) []*bidder {
	phantoms := make([]*bidder, p.total)
	for i := range phantoms {
		phantoms[i] = &bidder{gpus: 1, rival: &rival{gpus: 1}}
		e.enter(p, phantoms[i])
	}
	return phantoms
}

// reprice sets what the phantoms bid. Below the floor they stand aside.
func (e *Engine) reprice(p *pool, phantoms []*bidder, price market.Rate) {
	if phantoms[0].bid == price {
		return
	}
	for _, b := range phantoms {
		b.bid = price
	}
	e.settle(p)
}

// script lets a rival of an explicit world come and go.
func (e *Engine) script(p *pool, r Rival) {
	stay := r.Stay
	if stay <= 0 {
		stay = hours(1e6)
	}
	begin := func() {
		if r.OnDemand {
			e.rent(p, &rival{gpus: r.GPUs, tenant: true}, stay)
			return
		}
		e.join(p, &rival{gpus: r.GPUs}, r.Bid, stay)
		e.settle(p)
	}
	if r.From <= 0 {
		begin()
		return
	}
	e.after(r.From, begin)
}

// AddRival lets a rival in now, for tests and demonstrations. From is ignored.
func (e *Engine) AddRival(hostID string, r Rival) error {
	defer e.lock()()
	p := e.pool(hostID, r.Model)
	if p == nil || r.GPUs < 1 || r.GPUs > p.total {
		return refuse("add rival", market.ClassRefused, "host %s has no %d x %s", hostID, r.GPUs, r.Model)
	}
	r.From = 0
	e.script(p, r)
	return nil
}
