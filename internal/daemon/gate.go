package daemon

import (
	"errors"
	"fmt"
	"os"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// ErrGate is wrapped by every refusal of the gate.
var ErrGate = errors.New("the gate is shut")

// gate is the one place that every write passes: pauses (in the ledger or as a
// file), breakers. The mode needs no check here, because a dry run has no writer;
// the budget is checked in the transaction that writes the intent; the pace is
// kept by the client.
type gate struct {
	ledger    *ledger.Ledger
	clock     clock.Clock
	pauseFile string
	// operator lets deletions through pauses: the destroy command.
	operator bool
}

// Allow implements actuator.Gate. It reads the ledger anew for every write, so a
// pause holds from the next write on, not from the next cycle.
func (g *gate) Allow(a plan.Action) error {
	if g.operator && a.Kind == plan.Delete {
		return nil
	}
	if paused, err := fileExists(g.pauseFile); err != nil || paused {
		return errors.Join(fmt.Errorf("%w: the pause file %s exists", ErrGate, g.pauseFile), err)
	}
	h, err := g.ledger.History()
	if err != nil {
		return fmt.Errorf("%w: the ledger cannot be read: %w", ErrGate, err)
	}
	now := g.clock.Now()
	if p := h.PausedBy(a.Policy, now); p != nil && !(p.Teardown && a.Kind == plan.Delete) {
		return fmt.Errorf("%w: policy %s is paused", ErrGate, a.Policy)
	}
	if b := h.OpenBreaker(now); b != nil && a.Kind != plan.Delete {
		return fmt.Errorf("%w: breaker %s is open: %s", ErrGate, b.Code, b.Reason)
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
