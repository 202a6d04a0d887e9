package scanner

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
)

const (
	// patience bounds how long a look waits for one list that only some policies or
	// machines need, all attempts together.
	patience = 45 * time.Second
	// A list that could not be read is left alone for restFactor times as long as the
	// attempt took, and so much longer for each other that rests, at most for longestRest: all
	// that hangs takes about a fifth of the time from what goes on without it, and what
	// answers at once is asked again at once.
	restFactor  = 4
	longestRest = 15 * time.Minute
)

// Rests remembers which lists that not everything needs could not be read, from one look
// to the next. The zero value is ready for use; nil remembers nothing.
type Rests struct {
	mu sync.Mutex
	of map[string]rest
}

type rest struct {
	since clock.Steady
	lasts time.Duration
	err   error
}

// Clear forgets all of it: the market is asked elsewhere, or by somebody else.
func (r *Rests) Clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of = nil
}

// left is how long a list still rests, and why.
func (r *Rests) left(what string) (time.Duration, error) {
	if r == nil {
		return 0, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	was, ok := r.of[what]
	if !ok {
		return 0, nil
	}
	passed := was.since.Now().Sub(was.since.At)
	if passed < 0 || passed >= was.lasts { // where only the time of day is known, it may have been set back
		return 0, nil
	}
	return was.lasts - passed, was.err
}

// note books what became of a list that was asked for.
func (r *Rests) note(c clock.Clock, what string, took time.Duration, err error) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !unclear(err) {
		delete(r.of, what)
		return
	}
	if r.of == nil {
		r.of = map[string]rest{}
	}
	delete(r.of, what)
	together := time.Duration(len(r.of) + 1)
	r.of[what] = rest{since: clock.SteadyFrom(c), lasts: min(restFactor*together*took, longestRest), err: err}
}

// aside reads a list that not everything needs. Its failure is its own, and so is the time
// that it takes to fail.
func aside[T any](ctx context.Context, s *Scanner, what string, read func(context.Context) (T, error)) (T, error) {
	if left, err := s.rests.left(what); err != nil {
		var none T
		return none, fmt.Errorf("%w; it is asked for again in %s", err, left.Round(time.Second))
	}
	ctx, stop := s.clock.WithTimeout(ctx, patience)
	defer stop()
	began := clock.SteadyFrom(s.clock)
	list, err := read(ctx)
	s.rests.note(s.clock, what, began.Now().Sub(began.At), err)
	return list, err
}
