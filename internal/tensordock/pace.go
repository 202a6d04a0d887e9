package tensordock

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tdscaler/tdscaler/internal/clock"
)

const (
	maxBurst        = 5
	defaultPause    = 5 * time.Second // after a 429 that does not say how long
	maxPause        = 2 * time.Minute
	retryAfterField = "Retry-After"
)

// pacer spaces the requests to one API, reads and writes together, and stops
// them all while the API says that they are too many.
type pacer struct {
	clk   clock.Clock
	limit *rate.Limiter

	mu    sync.Mutex
	until time.Time // no request before this
}

// newPacer allows perSecond requests a second, and in a burst as many as fit
// into one second, at most five.
func newPacer(clk clock.Clock, perSecond float64) *pacer {
	burst := min(maxBurst, max(1, int(perSecond)))
	return &pacer{clk: clk, limit: rate.NewLimiter(rate.Limit(perSecond), burst)}
}

// wait returns when the next request may go out.
func (p *pacer) wait(ctx context.Context) error {
	now := p.clk.Now()
	r := p.limit.ReserveN(now, 1)
	for d := max(r.DelayFrom(now), p.paused()); d > 0; d = p.paused() {
		if err := p.clk.Sleep(ctx, d); err != nil {
			r.CancelAt(p.clk.Now())
			return err
		}
	}
	return ctx.Err()
}

// pause stops all requests for d from now; a longer pause in force stays.
func (p *pacer) pause(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if end := p.clk.Now().Add(d); end.After(p.until) {
		p.until = end
	}
}

// paused is how much of the pause is left. A clock set back must not make it
// longer than a pause can be.
func (p *pacer) paused() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clk.Now()
	if latest := now.Add(maxPause); p.until.After(latest) {
		p.until = latest
	}
	return p.until.Sub(now)
}

// retryAfter reads the header in seconds or as a date, at most maxPause; 0 if it
// says nothing.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get(retryAfterField)
	if n, err := strconv.ParseFloat(text, 64); err == nil && n >= 0 {
		return time.Duration(min(n, maxPause.Seconds()) * float64(time.Second))
	}
	t, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return max(0, min(t.Sub(now), maxPause))
}
