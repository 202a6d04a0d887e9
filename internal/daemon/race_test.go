package daemon

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// TestCommandsReloadsAndCyclesAtOnceNeitherBlockNorBuyTooMuch lets everybody in at
// the same time; the race detector looks on.
func TestCommandsReloadsAndCyclesAtOnceNeitherBlockNorBuyTooMuch(t *testing.T) {
	r := newRig(t, one("live", 4), func(o *Options) { o.Clock = clock.System{} })
	most := 0
	r.market.deploy = func(_ context.Context, o market.Order) (market.Deployed, error) {
		time.Sleep(time.Millisecond)
		r.market.mu.Lock()
		defer r.market.mu.Unlock()
		most = max(most, len(r.market.machines))
		for id, m := range r.market.machines {
			if m.Name == o.Name {
				return market.Deployed{ID: id, Total: market.Some(market.USD(0, 51))}, nil
			}
		}
		return market.Deployed{}, &market.Error{Op: "deploy", Class: market.ClassAmbiguous}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := r.Run(ctx, false); err != nil {
			t.Error(err)
		}
	})
	for _, f := range []func() error{
		func() error { r.Wake(); return nil },
		func() error { _, err := r.Status(); return err },
		func() error { _ = r.Ready(); return nil },
		func() error { _, err := r.Plan(ctx, r.current(), rand.IntN(2) == 0); return err },
		func() error { return r.Reload(rand.IntN(2) == 0) },
		func() error { return SetPause(r.o.Ledger, plan.Pause{Policy: "train", Since: time.Now()}) },
		func() error { _, _, err := Resume(r.o.Ledger, "train"); return err },
		func() error { _, err := r.Destroy(ctx, "train", "test"); return err },
		func() error { _, err := r.reg.Gather(); return err },
	} {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := f(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
					return
				}
				time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("somebody waits for ever")
	}
	if most == 0 || most > 4 {
		t.Errorf("at most %d machines at once, the target is 4", most)
	}
}
