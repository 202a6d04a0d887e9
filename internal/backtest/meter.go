package backtest

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// meter adds up what machines cost and deliver. Between two changes nothing changes,
// so that every figure is a rate times a time.
type meter struct {
	at      time.Duration // up to here all is added up
	targets map[string]int
	wanted  int                      // GPUs, the sum of the targets at every moment
	work    map[string]time.Duration // GPU-time that is wanted, by policy, where that is by a time

	// What holds from at on.
	burn     market.Rate
	ready    map[string]int // GPUs
	delivers int            // GPUs of these, at most the target of each policy at every moment
	spot     int            // GPUs
	excess   float64        // by what share more than the threshold each is paid, added up

	cost              market.Amount
	delivered, target time.Duration
	worked            map[string]time.Duration
	spotTime, overpay float64 // GPU-seconds, and the same times excess

	interruptions, starts, requests int
}

func newMeter(policies []policy.Policy) meter {
	m := meter{targets: map[string]int{}, ready: map[string]int{}, work: map[string]time.Duration{}, worked: map[string]time.Duration{}}
	for i := range policies {
		p := &policies[i]
		m.targets[p.Name] = p.GPUs()
		if p.Deadline.Work > 0 {
			m.work[p.Name] = p.Deadline.Work
		} else {
			m.wanted += p.GPUs()
		}
	}
	return m
}

// pass adds up until a moment, of what holds until then.
func (m *meter) pass(to time.Duration) {
	d := to - m.at
	if d <= 0 {
		return
	}
	m.at = to
	m.cost = m.cost.Add(m.burn.For(d))
	m.delivered += d * time.Duration(m.delivers)
	for name, work := range m.work {
		m.worked[name] = min(m.worked[name]+d*time.Duration(min(m.ready[name], m.targets[name])), work)
	}
	m.target += d * time.Duration(m.wanted)
	m.spotTime += d.Seconds() * float64(m.spot)
	m.overpay += d.Seconds() * m.excess
}

// begin forgets what held, to be told anew.
func (m *meter) begin() {
	m.burn, m.delivers, m.spot, m.excess = 0, 0, 0, 0
	clear(m.ready)
}

// add tells of a machine that has its GPUs, what it costs, and the least that would
// do; 0 for one that bids for nothing.
func (m *meter) add(policy string, gpus int, ready bool, rate, threshold market.Rate) {
	m.burn = m.burn.Add(rate)
	if ready {
		before := min(m.ready[policy], m.targets[policy])
		m.ready[policy] += gpus
		if m.work[policy] == 0 {
			m.delivers += min(m.ready[policy], m.targets[policy]) - before
		}
	}
	if threshold > 0 {
		m.spot += gpus
		m.excess += float64(gpus) * (rate.Float()/threshold.Float() - 1)
	}
}

func (m *meter) sum() tape.Sum {
	s := tape.Sum{
		Cost: m.cost, Delivered: m.delivered, Target: m.target,
		Interruptions: m.interruptions, Starts: m.starts, Requests: m.requests,
	}
	for name, work := range m.work {
		s.Target += work
		s.Delivered += m.worked[name]
	}
	if m.spotTime > 0 {
		s.Overpay = m.overpay / m.spotTime
	}
	return s
}
