package daemon

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// ErrGate is wrapped by every refusal of the gate.
var ErrGate = errors.New("the gate is shut")

// gate is the one place that every write passes: the configuration that it was
// planned under, pauses (in the ledger or as a file), breakers. Pauses and breakers
// are checked once more, and the budget, in the transaction that writes the intent;
// the pace is kept by the client.
//
// A dry run has no writer. Where a reload makes it one, or lowers a cap, the cycle
// under way still holds the old writer and the old caps: its generation is over,
// and nothing more of its plan is carried out.
type gate struct {
	ledger    *ledger.Ledger
	clock     clock.Clock
	pauseFile string
	// outdated says whether the configuration has been replaced since.
	outdated func() bool
	// late says whether the look that was planned on is too old to spend money on.
	late func() bool
	// operator lets deletions through pauses: the destroy command.
	operator bool
	// canary knows which of the market's answers have lost what safety rests on.
	canary *Canary
	// dryRun says whether a reload has made it one since.
	dryRun func() bool
}

// lookLasts is how long something is bought or raised on a look. The caps allow a
// slow cycle ten minutes until the next decision, and one write may take two and a
// half. Deletions are not held to it: they spend nothing.
const lookLasts = 7 * time.Minute

// Allow implements actuator.Gate. It reads the ledger anew for every write, so a
// pause holds from the next write on, not from the next cycle.
func (g *gate) Allow(a plan.Action) error {
	if g.dryRun != nil && g.dryRun() {
		return fmt.Errorf("%w: %w", ErrGate, ErrDryRun)
	}
	if g.operator && a.Kind.Ends() {
		return nil
	}
	if g.outdated != nil && g.outdated() {
		return fmt.Errorf("%w: the configuration was replaced; it is planned anew", ErrGate)
	}
	if !a.Kind.Ends() && g.late != nil && g.late() {
		return fmt.Errorf("%w: the market was looked at more than %s ago; it is planned anew", ErrGate, lookLasts)
	}
	if paused, err := fileExists(g.pauseFile); err != nil || paused {
		return errors.Join(fmt.Errorf("%w: the pause file %s exists", ErrGate, g.pauseFile), err)
	}
	if why := g.canary.forbids(a); why != "" {
		return fmt.Errorf("%w: %s", ErrGate, why)
	}
	h, err := g.ledger.History()
	if err != nil {
		return fmt.Errorf("%w: the ledger cannot be read: %w", ErrGate, err)
	}
	if why := h.Forbids(a, g.clock.Now()); why != "" {
		return fmt.Errorf("%w: %s", ErrGate, why)
	}
	return nil
}

func fileExists(path string) (bool, error) {
	if path == "" {
		return false, nil
	}
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
