package tensordock

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/permit"
)

func TestReadsAndWritesShareOnePacePerAPI(t *testing.T) {
	f := answers(t, 200, `{"success":true,"virtualmachines":{},"data":[]}`)
	c, vc := client(t, f.URL)
	for range 5 {
		if _, err := c.Instances(bg); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(bg, "vm-1"); err != nil {
			t.Fatal(err)
		}
	}
	eq(t, "time for ten calls at 1 rps", vc.Now().Sub(start), 9*time.Second)
	if _, err := c.InstancesV2(bg); err != nil {
		t.Fatal(err)
	}
	eq(t, "time for the other API", vc.Now().Sub(start), 9*time.Second)
}

func TestAWriteAsksForPermitWhenItsTurnHasComeAndAReadDoesNot(t *testing.T) {
	f := answers(t, 200, `{"success":true,"virtualmachines":{},"data":[]}`)
	c, vc := client(t, f.URL)
	shut := errors.New("paused")
	var asked []time.Duration
	ctx := permit.With(bg, func() error {
		asked = append(asked, vc.Now().Sub(start))
		return shut
	})
	if _, err := c.Instances(ctx); err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func() error{
		"delete":    func() error { return c.Delete(ctx, "vm-1") },
		"delete v2": func() error { return c.DeleteInstance(ctx, "vm-1") },
		"deploy": func() error {
			_, err := c.Deploy(ctx, market.Order{Name: "n", Host: "h", Model: "m", Shape: market.Shape{GPUs: 1, VCPUs: 2, RAM: 4, Storage: 20}, Capacity: market.OnDemand, SSHKey: "k"})
			return err
		},
		"modify":   func() error { return c.ModifyBid(ctx, "vm-1", "m", market.Shape{}, 1) },
		"validate": func() error { _, err := c.ValidateExisting(ctx, "vm-1", 1); return err },
	} {
		before := len(asked)
		err := write()
		class(t, err, market.ClassUnavailable)
		if len(asked) != before+1 || !strings.Contains(err.Error(), shut.Error()) {
			t.Errorf("%s: asked at %v; %v", name, asked, err)
		}
	}
	eq(t, "requests that left", f.count(), 1)
	if last := slices.Max(asked); last < 3*time.Second {
		t.Errorf("asked at %v: before its turn", asked)
	}
}

func TestBurstsHoldAtMostFiveRequests(t *testing.T) {
	for rps, want := range map[float64]int{0.2: 1, 1: 1, 2.5: 2, 5: 5, 1000: 5} {
		eq(t, "burst", newPacer(clock.System{}, rps).limit.Burst(), want)
	}
}

func TestTooManyRequestsPauseEveryCallUntilRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"": defaultPause, "7": 7 * time.Second, "86400": maxPause, "soon": defaultPause,
		start.Add(30 * time.Second).Format(http.TimeFormat): 30 * time.Second,
	} {
		f := serve(t, func(w http.ResponseWriter, _ *http.Request, n int) {
			if n == 1 {
				w.Header().Set("Retry-After", header)
				w.WriteHeader(429)
				return
			}
			_, _ = w.Write([]byte(`{"success":true,"balance":"1"}`))
		})
		c, vc := client(t, f.URL)
		class(t, c.Delete(bg, "vm-1"), market.ClassRateLimited)
		eq(t, "requests of a write", f.count(), 1)
		if _, err := c.Balance(bg); err != nil {
			t.Fatal(err)
		}
		eq(t, "pause after "+header, vc.Now().Sub(start), want)
	}
}

func TestAReadIsRetriedWithGrowingJitterAndThenGivenUp(t *testing.T) {
	var at []time.Time
	vc := clock.NewVirtual(start)
	f := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		at = append(at, vc.Now())
		w.WriteHeader(503)
	})
	c, _ := client(t, f.URL, func(o *Options) { o.Clock, o.MarketplaceRPS = vc, 1000 })
	_, err := c.Hosts(bg)
	class(t, err, market.ClassUnavailable)
	if len(at) != maxAttempts {
		t.Fatalf("%d attempts", len(at))
	}
	first, second := at[1].Sub(at[0]), at[2].Sub(at[1])
	if first < 500*time.Millisecond || first > 1500*time.Millisecond || second < time.Second || second > 3*time.Second {
		t.Errorf("waited %v and %v", first, second)
	}
}

func TestARetriedReadSucceedsAndHonoursRetryAfter(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n == 1 {
			w.Header().Set("Retry-After", "20")
			w.WriteHeader(503)
			return
		}
		_, _ = w.Write([]byte(`{"success":"true","balance":"12.5"}`))
	})
	c, vc := client(t, f.URL)
	b, err := c.Balance(bg)
	if err != nil {
		t.Fatal(err)
	}
	known(t, "balance", b.Balance, market.Amount(12_500_000_000))
	eq(t, "wait", vc.Now().Sub(start), 20*time.Second)
}

func TestACancelledWaitSendsNothing(t *testing.T) {
	f := answers(t, 200, `{"success":true}`)
	c, vc := client(t, f.URL)
	c.v0.pace.pause(time.Minute)
	ctx, cancel := vc.WithTimeout(bg, time.Second)
	defer cancel()
	class(t, c.Delete(ctx, "vm-1"), market.ClassUnavailable)
	eq(t, "requests", f.count(), 0)
	if d := c.v0.pace.paused(); d > 59*time.Second {
		t.Errorf("pause is still %v", d)
	}
}

func TestAClockSetBackDoesNotPauseForEver(t *testing.T) {
	vc := clock.NewVirtual(start)
	p := newPacer(vc, 1)
	p.pause(time.Minute)
	vc.Set(start.Add(-24 * time.Hour))
	if d := p.paused(); d > maxPause {
		t.Errorf("pause is %v", d)
	}
}

func TestAClockSetBackEndsAPauseAfterTheLongestThatThereIs(t *testing.T) {
	vc := clock.NewVirtual(start)
	p := newPacer(vc, 1000)
	p.pause(time.Minute)
	vc.Set(start.Add(-24 * time.Hour))
	if err := p.wait(bg); err != nil {
		t.Fatal(err)
	}
	if waited := vc.Now().Sub(start.Add(-24 * time.Hour)); waited > maxPause {
		t.Errorf("a clock set back by a day made it wait %s", waited)
	}
}

func TestManyCallersKeepThePace(t *testing.T) {
	f := answers(t, 200, `{"success":true,"balance":1}`)
	c, _ := client(t, f.URL, func(o *Options) { o.Clock, o.MarketplaceRPS = clock.System{}, 100 })
	begin := clock.System{}.Now()
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			if _, err := c.Balance(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// 30 requests in bursts of 5 at 100 per second take at least a quarter second.
	if d := (clock.System{}).Now().Sub(begin); d < 240*time.Millisecond {
		t.Errorf("30 requests in %v", d)
	}
}
