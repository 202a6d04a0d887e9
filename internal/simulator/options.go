package simulator

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

// Options of New. The zero value is a running market with the default regime on
// the system's clock.
type Options struct {
	Clock   clock.Clock       // default clock.System{}
	Seed    uint64            // of everything random
	Start   time.Time         // default Clock.Now()
	Hosts   int               // number of generated hosts, default 60
	Models  []market.GPUModel // of the generated hosts; none: all of the catalogue
	Balance market.Amount     // prepaid, default $500; negative starts overdrawn
	Boot    BootModel         // zero: median 180 s, sigma 0.5, 3 % never come up
	Regime  Regime            // default Reactive
	Replay  []Series          // prices for the Replay regime, see ReadSeries
	// RebidApplies says which call changes a running machine's bid.
	RebidApplies RebidMode
	// SpotShownFree is the share of hosts whose advertised amounts count GPUs held
	// by spot machines as free. Default 0: an amount of 0 may still be winnable.
	SpotShownFree float64
	// Replicas says whether the list of machines shows those that run containers.
	Replicas ReplicaListing
	// Scenario replaces the generated world: explicit hosts and rivals, for tests.
	Scenario *World
	// Forget keeps neither machines that are deleted nor events: for runs so long
	// that what the market remembers would be most of the memory. Fleet is then
	// what exists.
	Forget bool
	// Observe is called for every event, under the engine's lock.
	Observe func(Event)
}

// BootModel is how long a machine takes from bought to running: lognormal. The
// zero value is the default; with any field set, all are taken as they are.
type BootModel struct {
	Median time.Duration
	Sigma  float64 // of the logarithm; 0 makes every boot take Median
	Fails  float64 // share of new machines that never come up
}

// Regime is how prices move.
type Regime string

// Regimes.
const (
	Reactive    Regime = "reactive" // rivals come and go; some answer our bids
	Quiet       Regime = "quiet"    // few rivals, none of which answers
	TraceDriven Regime = "trace"    // a price path per pool that nobody's bid moves
	Replay      Regime = "replay"   // as TraceDriven, with the paths of Options.Replay
)

// RebidMode is the call that changes the bid of an existing machine. The other
// calls answer success and change nothing, as reported of the real market.
type RebidMode string

// Rebid modes.
const (
	ByModify           RebidMode = "modify"
	ByValidateExisting RebidMode = "validate_existing"
	Never              RebidMode = "never"
)

// World is an explicit market for tests.
type World struct {
	Hosts []WorldHost
}

// WorldHost is one host of a World. Free amounts of Host are its totals.
type WorldHost struct {
	Host   market.Host
	Floor  map[market.GPUModel]market.Rate // least bid per GPU; absent: half of the GPU's price
	Rivals []Rival
}

// Rival is a scripted competitor.
type Rival struct {
	Model    market.GPUModel
	GPUs     int
	Bid      market.Rate   // whole machine; ignored for on-demand
	OnDemand bool          // outranks every bid
	From     time.Duration // after the engine's start
	Stay     time.Duration // 0: for ever
}

// ParseRegime reads a regime's name.
func ParseRegime(s string) (Regime, error) {
	return parseOne("regime", s, Reactive, Quiet, TraceDriven, Replay)
}

// ParseRebidMode reads a rebid mode's name.
func ParseRebidMode(s string) (RebidMode, error) {
	return parseOne("rebid mode", s, ByModify, ByValidateExisting, Never)
}

// ParseShape reads a shape's name.
func ParseShape(s string) (Shape, error) { return parseOne("shape", s, Real, Seed) }

func parseOne[T ~string](what, s string, known ...T) (T, error) {
	s = strings.ReplaceAll(s, "-", "_")
	names := make([]string, 0, len(known))
	for _, k := range known {
		if string(k) == s {
			return k, nil
		}
		names = append(names, string(k))
	}
	var none T
	return none, fmt.Errorf("parse %s: %q is none of %s", what, s, strings.Join(names, ", "))
}

var errOptions = errors.New("simulator options")

func (o *Options) fill() error {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Start.IsZero() {
		o.Start = o.Clock.Now()
	}
	if o.Hosts == 0 {
		o.Hosts = 60
	}
	if o.Balance == 0 {
		o.Balance = 500 * market.Dollar
	}
	if o.Boot == (BootModel{}) {
		o.Boot = BootModel{Median: 180 * time.Second, Sigma: 0.5, Fails: 0.03}
	}
	if o.Regime == "" {
		o.Regime = Reactive
	}
	if o.RebidApplies == "" {
		o.RebidApplies = ByModify
	}
	return o.check()
}

func (o *Options) check() error {
	if o.Hosts < 0 || o.Hosts > 1_000_000 {
		return fmt.Errorf("%w: %d hosts", errOptions, o.Hosts)
	}
	if o.Boot.Median < 0 || o.Boot.Sigma < 0 || o.Boot.Fails < 0 || o.Boot.Fails > 1 {
		return fmt.Errorf("%w: a boot model needs a median and sigma of at least 0 and fails within 0 to 1", errOptions)
	}
	if e := (&Engine{opts: *o}); o.Hosts > 0 && len(e.kinds()) == 0 {
		return fmt.Errorf("%w: none of the models is in the catalogue", errOptions)
	}
	if o.Regime == Replay && len(o.Replay) == 0 {
		return fmt.Errorf("%w: the replay regime needs a price file", errOptions)
	}
	if _, err := ParseRegime(string(o.Regime)); err != nil {
		return fmt.Errorf("%w: %w", errOptions, err)
	}
	if _, err := ParseRebidMode(string(o.RebidApplies)); err != nil {
		return fmt.Errorf("%w: %w", errOptions, err)
	}
	return nil
}
