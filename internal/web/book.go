package web

import (
	"context"
	"sync"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// book keeps what cycles had to tell, and the report of the newest: to read them costs
// about a millisecond each, and what is on record of a cycle does not change.
type book struct {
	desk Desk

	mu sync.Mutex
	// before is the newest chapter before a cycle.
	before map[uint64]control.Chapter
	newest uint64 // the highest cycle that is kept
	last   plan.Report
}

// bookSize bounds what is kept: some hundred bytes a cycle where nothing happens.
const bookSize = 4 * control.MaxChapters

// report is the report of the newest cycle, or an empty one before the first.
func (b *book) report(ctx context.Context, newest uint64) (*plan.Report, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if newest == 0 {
		return &plan.Report{}, nil
	}
	if b.last.Cycle != newest {
		r, err := b.desk.Cycle(ctx, control.CycleRequest{Cycle: newest})
		if control.ClassOf(err) == control.NotFound {
			return &plan.Report{}, nil // it could not be written
		}
		if err != nil {
			return nil, err
		}
		b.last = r
	}
	r := b.last
	return &r, nil
}

// chapters tells of the newest n cycles before one, newest first; fewer where there are no
// more.
func (b *book) chapters(ctx context.Context, before uint64, n int) (out []control.Chapter, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.before == nil || len(b.before) > bookSize {
		b.before, b.newest = map[uint64]control.Chapter{}, 0
	}
	for len(out) < n {
		if c, ok := b.before[before]; ok {
			out, before = append(out, c), c.Cycle
			continue
		}
		limit := n - len(out)
		if b.newest > 0 && before > b.newest+1 { // what is new, and then what is kept
			limit = min(limit, int(before-1-b.newest))
		}
		found, err := b.desk.Chronicle(ctx, control.ChronicleRequest{Before: before, Limit: min(limit, control.MaxChapters)})
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return out, nil
		}
		for _, c := range found {
			b.before[before] = c
			b.newest = max(b.newest, c.Cycle)
			out, before = append(out, c), c.Cycle
		}
	}
	return out, nil
}
