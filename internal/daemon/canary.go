package daemon

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Canary watches the form of the market's answers: what departs from what is known is
// counted and told once, and stops writes for as long as the newest answer of an
// operation has lost what safety rests on. It lives as long as the process. A nil Canary
// sees nothing.
type Canary struct {
	clock clock.Clock

	mu     sync.Mutex // guards what follows
	seen   map[driftKey]*DriftSeen
	fresh  []DriftSeen             // not told yet
	stops  map[string]market.Drift // by operation
	counts map[driftCount]uint64
}

// DriftSeen is one departure, since the process began.
type DriftSeen struct {
	API       market.API `json:"api"`
	Operation string     `json:"operation"`
	market.Drift
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Answers uint64    `json:"answers"` // that showed it
}

type driftKey struct{ op, kind, field string }

type driftCount struct{ op, kind string }

// mostDrifts bounds what is remembered: what comes beyond is counted alone.
const mostDrifts = 256

// NewCanary makes a Canary that has seen nothing.
func NewCanary(c clock.Clock) *Canary {
	return &Canary{clock: c, seen: map[driftKey]*DriftSeen{}, stops: map[string]market.Drift{}, counts: map[driftCount]uint64{}}
}

// Saw takes in what one answer showed; good says that it was understood and believed.
func (c *Canary) Saw(api market.API, op string, good bool, drift []market.Drift) {
	if c == nil || !good && len(drift) == 0 {
		return
	}
	now := c.clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.stops, op)
	for _, d := range drift {
		c.counts[driftCount{op, d.Kind}]++
		if _, ok := c.stops[op]; !ok && d.Stops != market.StopNothing {
			c.stops[op] = d
		}
		c.remember(api, op, d, now)
	}
}

func (c *Canary) remember(api market.API, op string, d market.Drift, now time.Time) {
	k := driftKey{op, d.Kind, d.Field}
	s := c.seen[k]
	if s == nil {
		if len(c.seen) >= mostDrifts {
			return
		}
		s = &DriftSeen{API: api, Operation: op, First: now}
		c.seen[k] = s
	}
	if s.Answers == 0 || d.Stops != market.StopNothing && s.Stops == market.StopNothing { // also what has become grave
		c.fresh = append(c.fresh, DriftSeen{API: api, Operation: op, Drift: d, First: s.First, Last: now, Answers: s.Answers + 1})
	}
	s.Drift, s.Last = d, now
	s.Answers++
}

// news is what nobody has been told of yet.
func (c *Canary) news() []DriftSeen {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.fresh
	c.fresh = nil
	return out
}

// all is everything seen, by operation, kind and member.
func (c *Canary) all() []DriftSeen {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []DriftSeen
	for _, s := range c.seen {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b DriftSeen) int {
		return cmp.Or(cmp.Compare(a.Operation, b.Operation), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Field, b.Field))
	})
	return out
}

// stopped is what stops writes now, by operation.
func (c *Canary) stopped() map[string]market.Drift {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.stops)
}

// counted is how many departures there were, by operation and kind.
func (c *Canary) counted() map[driftCount]uint64 {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.counts)
}

// forbids says why an action must not be sent on answers of this form; "" if it may.
func (c *Canary) forbids(a plan.Action) string {
	stops := c.stopped()
	for _, op := range slices.Sorted(maps.Keys(stops)) {
		if d := stops[op]; stopsAction(d.Stops, a) {
			return driftText(op, d)
		}
	}
	return ""
}

// stopsAction says whether an action rests on what has been lost.
//
//	stop     deploy, rebid, start, scale  delete, stop  anything through v2
//	writes   stops                        stops         stops
//	growth   stops
//	v2                                                  stops
func stopsAction(s market.Stop, a plan.Action) bool {
	switch s {
	case market.StopWrites:
		return true
	case market.StopGrowth:
		return a.Kind != plan.Delete && a.Kind != plan.Stop
	case market.StopV2:
		return a.API == market.V2
	}
	return false
}

// holds are what is not done because of it.
func (c *Canary) holds() []plan.Hold {
	var out []plan.Hold
	stops := c.stopped()
	for _, op := range slices.Sorted(maps.Keys(stops)) {
		out = append(out, plan.Hold{Reason: plan.Reason{Code: plan.HoldContract, Text: driftText(op, stops[op])}})
	}
	return out
}

func driftText(op string, d market.Drift) string {
	what := map[market.Stop]string{
		market.StopWrites: "nothing is sent", market.StopGrowth: "nothing is bought or raised", market.StopV2: "nothing is sent through v2",
	}[d.Stops]
	how := "cannot be read any more"
	switch d.Kind {
	case market.DriftMissing:
		how = "have lost the member " + d.Field
	case market.DriftUnknown:
		how = "have " + strings.Trim(d.Field, "()") + ", and so are not whole"
	}
	return fmt.Sprintf("the answers to %q %s: %s until they are as they were, or tdscaler knows the new form", op, how, what)
}
