package simulator

import (
	"math"
	"math/rand/v2"
	"time"
)

// The statistics that prices and rivals follow. Each was measured once on public
// price records and is checked by a test against them where they are at hand.
// docs/design/simulator.md says how each is measured.
const (
	// fast: best asks of single GPU types on a peer-to-peer marketplace (H100 and
	// H200, March to April 2026) change about every 100 minutes, stray about 11 %
	// around their median and are back half-way in well under an hour.
	fastPerHour  = 0.6
	fastSD       = 0.10
	fastHalfLife = 0.6 // hours

	// slow: the moving pools of a large cloud's GPU spot market (spring 2021) change
	// about every 20 hours by a third of a percent, and stray about 5 % over weeks.
	slowPerHour  = 0.05
	slowSD       = 0.05
	slowHalfLife = 500.0 // hours

	// ownersReprice is how often an hour a host's owner changes what it asks on
	// demand. It is not fitted to anything.
	ownersReprice = 1.0 / 96

	// Half of the variance is shared by all pools of a GPU model.
	sharedWeight = 0.5
)

// path is a mean-reverting process of log price that changes only at Poisson
// times and forgets half of its distance in halfLife hours.
type path struct {
	rng                   *rand.Rand
	perHour, sd, halfLife float64
	x                     float64
	last, next            time.Time
}

func newPath(rng *rand.Rand, start time.Time, perHour, sd, halfLife float64) *path {
	p := &path{rng: rng, perHour: perHour, sd: sd, halfLife: halfLife, last: start}
	p.x = rng.NormFloat64() * sd
	p.next = start.Add(exponential(rng, perHour))
	return p
}

// at is the value at t; t must not go back.
func (p *path) at(t time.Time) float64 {
	for !p.next.After(t) {
		memory := math.Exp2(-p.next.Sub(p.last).Hours() / p.halfLife)
		p.x = memory*p.x + math.Sqrt(1-memory*memory)*p.sd*p.rng.NormFloat64()
		p.last, p.next = p.next, p.next.Add(exponential(p.rng, p.perHour))
	}
	return p.x
}

// mood is r(t): what GPUs are worth now against their usual worth, around 1.
type mood struct{ fast, slow, sharedFast, sharedSlow *path }

func (m *mood) at(t time.Time) float64 {
	if m == nil {
		return 1
	}
	own := m.fast.at(t) + m.slow.at(t)
	shared := m.sharedFast.at(t) + m.sharedSlow.at(t)
	return math.Exp(math.Sqrt(1-sharedWeight)*own + math.Sqrt(sharedWeight)*shared)
}

// moods makes a mood per pool that shares half of its movement within a model.
type moods struct {
	seed   uint64
	start  time.Time
	shared map[string][2]*path
}

func (ms *moods) pool(host, model string) *mood {
	s, ok := ms.shared[model]
	if !ok {
		s = [2]*path{ms.fast("shared/" + model), ms.slow("shared/" + model)}
		ms.shared[model] = s
	}
	own := host + "/" + model
	return &mood{fast: ms.fast(own), slow: ms.slow(own), sharedFast: s[0], sharedSlow: s[1]}
}

func (ms *moods) fast(name string) *path {
	return newPath(stream(ms.seed, "fast/"+name), ms.start, fastPerHour, fastSD, fastHalfLife)
}

func (ms *moods) slow(name string) *path {
	return newPath(stream(ms.seed, "slow/"+name), ms.start, slowPerHour, slowSD, slowHalfLife)
}

// stream is a random source of its own for a name.
func stream(seed uint64, name string) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed, h))
}

// exponential is the wait for the next of events that come perHour times an hour.
func exponential(rng *rand.Rand, perHour float64) time.Duration {
	if perHour <= 0 {
		return math.MaxInt64 / 4
	}
	return hours(rng.ExpFloat64() / perHour)
}

func lognormal(rng *rand.Rand, median time.Duration, sigma float64) time.Duration {
	return hours(median.Hours() * math.Exp(sigma*rng.NormFloat64()))
}

func hours(h float64) time.Duration {
	return time.Duration(min(h, 1e6) * float64(time.Hour))
}
