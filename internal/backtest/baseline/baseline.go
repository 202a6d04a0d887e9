package baseline

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

// Options are what is to be bought, under which limits, and how often to look.
type Options struct {
	// Units machines of GPUs each are wanted at every moment.
	Units, GPUs int
	// Cycle is the time between two looks at the market; a minute if it is 0.
	Cycle time.Duration
	// Spot and OnDemand say what may be bought; Ceiling is the most that a GPU-hour may
	// cost, all-in, and 0 is none. On-demand above it is not to be had.
	Spot, OnDemand bool
	Ceiling        market.Rate
	// Work, if it is not 0, is the GPU-time that is wanted by the end of the tape: Units
	// is then the most at once, and who has delivered it gives everything up.
	Work time.Duration
}

// Played is a policy's name, what it came to, and the machines that it had.
type Played struct {
	Name     string
	Sum      tape.Sum
	Machines []tape.Span
}

// Parameters of the policies. Those that published none got what serves them best on
// average over many tapes, or the customary.
const (
	// spares is how many more spot machines than wanted SpotHedge keeps.
	spares = 1
	// bidShare is the share of the on-demand price that the fixed bid offers, in percent.
	bidShare = 50
	// moves is by how much cheaper another pool must be for the greedy to move, in percent.
	moves = 10
	// workShare is how much of the tape's length uniform progress must work for, in
	// percent: its deadline is the end of the tape.
	workShare = 95
)

// Names are the policies, in the order of All.
func Names() []string {
	return []string{"on_demand_only", "one_fixed_host", "greedy", "greedy_with_fallback", "spothedge", "uniform_progress", "fixed_bid"}
}

// All plays every policy.
func All(t *tape.Tape, o Options) []Played {
	out := make([]Played, 0, len(Names()))
	for _, name := range Names() {
		out = append(out, Play(t, name, o))
	}
	return out
}

// Play plays one of Names on a tape; another name buys nothing.
func Play(t *tape.Tape, name string, o Options) Played {
	if o.Cycle <= 0 {
		o.Cycle = time.Minute
	}
	g := newGame(t, o)
	g.run(policyOf(name, o))
	s := t.Score(o.Units*o.GPUs, g.ended)
	if o.Work > 0 {
		s.Target, s.Delivered = o.Work, min(s.Delivered, o.Work)
	}
	return Played{name, s, g.ended}
}

// policy decides what to order and to give up, once a cycle.
type policy interface{ decide(g *game) }

func policyOf(name string, o Options) policy {
	switch name {
	case "on_demand_only":
		return onDemandOnly{}
	case "one_fixed_host":
		return &oneFixedHost{pool: nowhere}
	case "greedy":
		return greedy{}
	case "greedy_with_fallback":
		return greedyWithFallback{}
	case "spothedge":
		return &spotHedge{}
	case "uniform_progress":
		return &uniformProgress{unit: make([]machineOf, o.Units)}
	case "fixed_bid":
		return fixedBid{}
	}
	return idle{}
}

type idle struct{}

func (idle) decide(*game) {}
