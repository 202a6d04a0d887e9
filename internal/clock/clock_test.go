package clock

import (
	"context"
	"errors"
	"testing"
	"time"
)

var epoch = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func TestVirtualSleepJumpsAndADeadlineCutsIt(t *testing.T) {
	v := NewVirtual(epoch)
	if err := v.Sleep(context.Background(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if got := v.Now(); !got.Equal(epoch.Add(time.Hour)) {
		t.Fatalf("now %v after an hour's sleep", got)
	}
	ctx, cancel := v.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	derived, stop := context.WithCancel(ctx)
	defer stop()
	if err := v.Sleep(derived, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the deadline", err)
	}
	if got := v.Now(); !got.Equal(epoch.Add(time.Hour + 30*time.Second)) {
		t.Fatalf("the sleep went past its deadline: %v", got)
	}
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the context says %v", err)
	}
}

func TestVirtualDeadlinesNestAndReleaseThemselves(t *testing.T) {
	v := NewVirtual(epoch)
	outer, cancelOuter := v.WithTimeout(context.Background(), time.Second)
	defer cancelOuter()
	inner, cancelInner := v.WithTimeout(outer, time.Hour)
	defer cancelInner()
	if err := v.Sleep(inner, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the outer deadline did not hold: %v", err)
	}
	_, cancel := v.WithTimeout(context.Background(), time.Hour)
	cancel()
	if n := len(v.deadlines); n != 0 {
		t.Fatalf("%d deadlines left", n)
	}
}

func TestWaitPrefersAPendingWake(t *testing.T) {
	wake := make(chan struct{}, 1)
	for name, c := range map[string]Clock{"virtual": NewVirtual(epoch), "system": System{}} {
		wake <- struct{}{}
		before := c.Now()
		woken, err := c.Wait(context.Background(), time.Hour, wake)
		if !woken || err != nil {
			t.Fatalf("%s: woken %v, err %v", name, woken, err)
		}
		if c.Now().Sub(before) > time.Minute {
			t.Fatalf("%s: waited although woken", name)
		}
	}
}

func TestSystemWaitEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (System{}).Sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestUptimeGoesOnWithTimeAndKnowsItsBoot(t *testing.T) {
	v := NewVirtual(epoch)
	before := v.Uptime()
	if err := v.Sleep(context.Background(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if d, ok := v.Uptime().Since(before); !ok || d != time.Hour {
		t.Errorf("an hour's sleep: %v %v", d, ok)
	}
	if _, ok := before.Since(v.Uptime()); ok {
		t.Error("a reading compares with a later one")
	}
	if _, ok := v.Uptime().Since(Uptime{Boot: "another"}); ok {
		t.Error("readings of two boots compare")
	}
	if _, ok := (Uptime{}).Since(Uptime{}); ok {
		t.Error("no reading compares with none")
	}
	first := System{}.Uptime()
	if first.Boot == "" {
		t.Skip("this system does not name its boot")
	}
	if d, ok := (System{}).Uptime().Since(first); !ok || d < 0 {
		t.Errorf("the system's uptime: %v %v", d, ok)
	}
}
