// Package clock is the only source of time for everything that waits or asks
// what time it is: daemon, clients, pacing, retries and simulator. The system
// clock serves in production; Virtual lets demo, backtest and tests run weeks in
// seconds on the very same code.
//
// Invariant: no other package calls time.Now, time.Sleep, time.After or
// context.WithTimeout for a duration that the market can notice.
package clock

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Clock tells and passes time.
//
// There is no NewTimer: whoever waits for "this long, or until woken" calls
// Wait, which a virtual clock can serve without guessing which goroutine sleeps.
type Clock interface {
	Now() time.Time
	// Uptime tells how much time passed, whoever sets the clock meanwhile.
	Uptime() Uptime
	// Sleep returns after d, or earlier with ctx's error.
	Sleep(ctx context.Context, d time.Duration) error
	// Wait returns true as soon as something can be received from wake, or false
	// after d; an error only when ctx ends first.
	Wait(ctx context.Context, d time.Duration, wake <-chan struct{}) (woken bool, err error)
	// WithTimeout is context.WithTimeout on this clock.
	WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc)
}

// System is the machine's own clock.
type System struct{}

// Now implements Clock.
func (System) Now() time.Time { return time.Now() }

// Sleep implements Clock.
func (s System) Sleep(ctx context.Context, d time.Duration) error {
	_, err := s.Wait(ctx, d, nil)
	return err
}

// Wait implements Clock.
func (System) Wait(ctx context.Context, d time.Duration, wake <-chan struct{}) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-wake:
		return true, nil
	case <-t.C:
		return false, nil
	}
}

// WithTimeout implements Clock.
func (System) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, d)
}

// Virtual is a clock that moves only when somebody sleeps on it: Sleep jumps.
// It serves one goroutine at a time that does the work (a daemon whose HTTP
// transport calls the simulator in process); Now is safe from any goroutine.
type Virtual struct {
	mu        sync.Mutex
	start     time.Time
	now       time.Time
	deadlines map[*deadline]struct{}
}

// NewVirtual starts a virtual clock at the given time.
func NewVirtual(start time.Time) *Virtual {
	return &Virtual{start: start, now: start, deadlines: map[*deadline]struct{}{}}
}

// Now implements Clock.
func (v *Virtual) Now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// Set moves the time, for everybody and without waking anybody: nobody was there.
// A clock that somebody sets, while time goes on, is a Clock around this one
// whose Now differs.
func (v *Virtual) Set(t time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.now = t
}

// Sleep implements Clock. A deadline of ctx that lies before now+d ends the
// sleep at the deadline, with context.DeadlineExceeded.
func (v *Virtual) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	v.mu.Lock()
	end := v.now
	if d > 0 {
		end = end.Add(d)
	}
	mine, cut := ctx.Value(deadlineKey{}).(*deadline)
	if cut && !mine.at.After(end) {
		end = mine.at
	}
	if end.After(v.now) {
		v.now = end
	}
	var due []*deadline
	for dl := range v.deadlines {
		if !dl.at.After(v.now) {
			due = append(due, dl)
			delete(v.deadlines, dl)
		}
	}
	v.mu.Unlock()
	for _, dl := range due {
		dl.expire()
	}
	// A context derived from one with a deadline is told only that it was
	// cancelled; the cause says by what.
	if err := ctx.Err(); err == nil || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return err
	}
	return context.DeadlineExceeded
}

// Wait implements Clock: it takes a pending wake first, else jumps.
func (v *Virtual) Wait(ctx context.Context, d time.Duration, wake <-chan struct{}) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	select {
	case <-wake:
		return true, nil
	default:
	}
	return false, v.Sleep(ctx, d)
}

// WithTimeout implements Clock.
func (v *Virtual) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancelCause(ctx)
	dl := &deadline{Context: inner, cancel: cancel}
	v.mu.Lock()
	dl.at = v.now.Add(d)
	v.deadlines[dl] = struct{}{}
	v.mu.Unlock()
	// The nearest of nested deadlines is the one that Sleep looks for.
	if outer, ok := ctx.Value(deadlineKey{}).(*deadline); ok && outer.at.Before(dl.at) {
		dl.at = outer.at
	}
	return dl, func() {
		v.mu.Lock()
		delete(v.deadlines, dl)
		v.mu.Unlock()
		cancel(context.Canceled)
	}
}

type deadlineKey struct{}

// deadline is a context that ends when the virtual clock passes at.
type deadline struct {
	context.Context
	at      time.Time
	cancel  context.CancelCauseFunc
	mu      sync.Mutex
	expired bool
}

func (d *deadline) expire() {
	d.mu.Lock()
	d.expired = true
	d.mu.Unlock()
	d.cancel(context.DeadlineExceeded)
}

// Deadline reports the virtual deadline. It is not handed to net/http, which
// would compare it with the machine's clock: see Err.
func (d *deadline) Deadline() (time.Time, bool) { return time.Time{}, false }

// Err is DeadlineExceeded after the virtual deadline, as with a real one.
func (d *deadline) Err() error {
	err := d.Context.Err()
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil && d.expired {
		return context.DeadlineExceeded
	}
	return err
}

// Value lets Sleep find the deadline through derived contexts.
func (d *deadline) Value(key any) any {
	if _, ok := key.(deadlineKey); ok {
		return d
	}
	return d.Context.Value(key)
}
