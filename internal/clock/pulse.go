package clock

import (
	"context"
	"sync"
	"time"
)

// Pulse tells work that goes on from work that is stuck. Work goes on while one step
// ends within Step after the other. Waiting on a clock for something that has an end
// (an answer, a turn, the next cycle) is no standstill before that end.
//
// A nil Pulse watches nothing.
type Pulse struct {
	clock Clock
	step  time.Duration

	mu    sync.Mutex
	last  time.Time          // of the last step
	waits map[*wait]struct{} // under way
}

// wait is for something that has come by its end.
type wait struct{ end time.Time }

// NewPulse allows each step so much time. The first begins now.
func NewPulse(c Clock, step time.Duration) *Pulse {
	return &Pulse{clock: c, step: step, last: c.Now(), waits: map[*wait]struct{}{}}
}

type pulseKey struct{}

// Watch marks a context: what is waited for under it, on a Pulsed clock, is known here.
func (p *Pulse) Watch(ctx context.Context) context.Context {
	if p == nil || ctx.Value(pulseKey{}) == p {
		return ctx
	}
	return context.WithValue(ctx, pulseKey{}, p)
}

// Beat says that a step has ended.
func (p *Pulse) Beat() {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = p.clock.Now()
}

// Last is when the last step ended, and whether the next one is not overdue.
func (p *Pulse) Last() (at time.Time, alive bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	due := p.last
	for w := range p.waits {
		if w.end.After(due) {
			due = w.end
		}
	}
	return p.last, !p.clock.Now().After(due.Add(p.step))
}

// begin notes a wait of at most d, until done is called; calling it again is harmless.
func (p *Pulse) begin(d time.Duration) (done func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &wait{end: p.clock.Now().Add(d)}
	p.waits[w] = struct{}{}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if _, under := p.waits[w]; under {
			delete(p.waits, w)
			p.last = p.clock.Now()
		}
	}
}

// Pulsed is a clock on which waiting under a watched context is known to its Pulse.
type Pulsed struct{ Clock }

func waiting(ctx context.Context, d time.Duration) (done func()) {
	if p, ok := ctx.Value(pulseKey{}).(*Pulse); ok {
		return p.begin(d)
	}
	return func() {}
}

// Sleep implements Clock.
func (c Pulsed) Sleep(ctx context.Context, d time.Duration) error {
	defer waiting(ctx, d)()
	return c.Clock.Sleep(ctx, d)
}

// Wait implements Clock.
func (c Pulsed) Wait(ctx context.Context, d time.Duration, wake <-chan struct{}) (bool, error) {
	defer waiting(ctx, d)()
	return c.Clock.Wait(ctx, d, wake)
}

// WithTimeout implements Clock: whatever the context is for has ended by then.
func (c Pulsed) WithTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	done := waiting(ctx, d)
	inner, cancel := c.Clock.WithTimeout(ctx, d)
	return inner, func() {
		cancel()
		done()
	}
}
