package demo

import (
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tdscaler/tdscaler/internal/actuator"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/simulator"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func connect(cfg daemon.Config, c clock.Clock, e *simulator.Engine) (daemon.Reader, actuator.Writer, error) {
	client, err := tensordock.NewClient(tensordock.Options{
		MarketplaceURL: cfg.Set.TensorDock.MarketplaceURL, InstancesURL: cfg.Set.TensorDock.InstancesURL, Key: cfg.Key, Token: cfg.Token,
		Clock: c, Transport: simulator.Transport(e.Handler(simulator.FaceOptions{
			Latency: simulator.Latency{Read: 500 * time.Millisecond, Write: 3 * time.Second, Sigma: 0.5},
		})),
	})
	if err != nil {
		return nil, nil, err
	}
	return client.Reader, client, nil
}

func TestADemoDayDeliversWithinTheBudgetAndIsTheSameEveryTime(t *testing.T) {
	var scrapes []time.Time
	o := Options{
		Seed: 1, Length: 24 * time.Hour, Hosts: 60, Connect: connect, schedule: "@every 5m",
		Scrape: func(now time.Time) { scrapes = append(scrapes, now) },
	}
	a, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if a.Peak > a.Cap {
		t.Errorf("the market saw a burn of %s, %s were allowed", a.Peak, a.Cap)
	}
	if share := a.Total.Delivered / a.Total.Target; share < 0.8 {
		t.Errorf("only %.0f %% of the wanted hours were delivered", 100*share)
	}
	for _, p := range a.Policies {
		if p.Delivered > p.Target {
			t.Errorf("%s got %f GPU-hours, more than the %f it wanted", p.Policy, p.Delivered, p.Target)
		}
	}
	if n := len(scrapes); n < 24*60 || !scrapes[24*60-1].Equal(Start().Add(24*time.Hour)) {
		t.Errorf("a day is scraped %d times, and the day's last time at another minute than its last", n)
	}
	o.Scrape = nil // who only looks changes nothing
	b, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if a.Total != b.Total || a.Cycles != b.Cycles || a.Peak != b.Peak {
		t.Errorf("two runs of one seed differ:\n%+v\n%+v", a, b)
	}
}

func TestTheDemoPoliciesHaveNoErrors(t *testing.T) {
	if _, problems := policy.Parse("demo.yaml", Policies); policy.HasErrors(problems) {
		t.Fatal(problems)
	}
}

func TestADemoStopsWhenItIsToldTo(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	o := Options{Seed: 1, Length: 7 * 24 * time.Hour, Hosts: 10, Connect: connect, Progress: func(done float64) {
		if done > 0.01 {
			cancel()
		}
	}}
	if _, err := Run(ctx, o); err == nil {
		t.Fatal("a demo that was stopped claims to have finished")
	}
}

// BenchmarkDemo reports simulated days per second: daemon, client, simulator and
// ledger together.
func BenchmarkDemo(b *testing.B) {
	for range b.N {
		if _, err := Run(context.Background(), Options{Seed: 1, Length: 24 * time.Hour, Hosts: 60, Connect: connect}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "days/s")
}
