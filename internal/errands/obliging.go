package errands

import (
	"context"
	"sync"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Obliging stands in for a Runner where no machine is real: every probe passes and every
// hook agrees, at once, and nobody is called.
type Obliging struct {
	Clock clock.Clock
	mu    sync.Mutex
	found []plan.Finding
}

// Start says yes to all.
func (o *Obliging) Start(_ context.Context, jobs []Job) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.found = nil
	for _, j := range jobs {
		o.found = append(o.found, plan.Finding{Kind: j.Kind, Machine: j.Machine, ID: j.ID, At: o.Clock.Now().Round(0), OK: true})
	}
}

// Findings are those of the last Start.
func (o *Obliging) Findings() []plan.Finding {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.found
}

// Wait returns at once.
func (o *Obliging) Wait() {}
