package clock

import (
	"context"
	"testing"
	"time"
)

func TestAPulseStopsWhereAStepDoesNotEnd(t *testing.T) {
	v := NewVirtual(epoch)
	p := NewPulse(v, time.Minute)
	clk, ctx := Pulsed{v}, p.Watch(context.Background())
	expect := func(what string, want bool) {
		t.Helper()
		if _, alive := p.Last(); alive != want {
			t.Errorf("%s: alive is %v", what, alive)
		}
	}
	pass := func(d time.Duration) { v.Set(v.Now().Add(d)) }

	pass(time.Minute)
	expect("a step that takes its minute", true)
	pass(time.Second)
	expect("a step that takes longer", false)
	p.Beat()
	expect("a step has ended", true)

	request, answered := clk.WithTimeout(ctx, 150*time.Second)
	pass(3 * time.Minute)
	expect("a request within its time, and a step", true)
	pass(31 * time.Second)
	expect("a request that does not end with its time", false)
	if request.Err() == nil {
		answered()
	}
	answered()
	expect("it was answered", true)

	_, answered = clk.WithTimeout(ctx, 24*time.Hour)
	answered()
	answered() // as deferred functions do
	pass(61 * time.Second)
	expect("stuck after a long wait that ended early", false)

	p.Beat()
	_, forgotten := clk.WithTimeout(context.Background(), 24*time.Hour)
	defer forgotten()
	pass(61 * time.Second)
	expect("somebody else waits", false)
}

// TestWaitingOnAPulsedClockIsNoStandstill looks from the inside of each kind of wait.
func TestWaitingOnAPulsedClockIsNoStandstill(t *testing.T) {
	v := NewVirtual(epoch)
	p := NewPulse(v, time.Minute)
	ctx := p.Watch(context.Background())
	seen := 0
	peek := &peeking{Clock: v, look: func() {
		v.Set(v.Now().Add(30 * time.Minute))
		if _, alive := p.Last(); alive {
			seen++
		}
	}}
	clk := Pulsed{peek}
	if err := clk.Sleep(ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := clk.Wait(ctx, time.Hour, nil); err != nil {
		t.Fatal(err)
	}
	if seen != 2 {
		t.Errorf("alive in %d of 2 waits", seen)
	}
	var none *Pulse
	none.Beat()
	if none.Watch(ctx) != ctx {
		t.Error("no pulse changes the context")
	}
}

// peeking looks in the middle of every wait.
type peeking struct {
	Clock
	look func()
}

func (p *peeking) Sleep(context.Context, time.Duration) error { p.look(); return nil }

func (p *peeking) Wait(context.Context, time.Duration, <-chan struct{}) (bool, error) {
	p.look()
	return false, nil
}
