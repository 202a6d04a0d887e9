package demo

import (
	"context"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
)

// beat is a virtual clock that stops at every multiple of a period, also in the middle
// of a long sleep, and lets somebody look: as a scrape meets a daemon in whatever it is
// just doing.
type beat struct {
	*clock.Virtual
	every time.Duration
	look  func(now time.Time)
}

// Sleep implements clock.Clock.
func (b *beat) Sleep(ctx context.Context, d time.Duration) error {
	for end := b.Now().Add(d); ; {
		now := b.Now()
		next := now.Truncate(b.every).Add(b.every)
		if next.After(end) {
			return b.Virtual.Sleep(ctx, end.Sub(now))
		}
		if err := b.Virtual.Sleep(ctx, next.Sub(now)); err != nil {
			return err
		}
		b.look(next)
	}
}

// Wait implements clock.Clock.
func (b *beat) Wait(ctx context.Context, d time.Duration, wake <-chan struct{}) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	select {
	case <-wake:
		return true, nil
	default:
	}
	return false, b.Sleep(ctx, d)
}
