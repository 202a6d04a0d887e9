package process

import (
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// storm is how long the tests below go on: TDSCALER_CHAOS, or a few seconds.
func storm(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("TDSCALER_CHAOS")
	if text == "" {
		return 4 * time.Second
	}
	d, err := time.ParseDuration(text)
	must(t, err)
	return d
}

// TestTheRealProgramNeverBuysTwiceNorLeaks runs the built program against a market
// over real sockets, kills it at random moments, breaks the network between them,
// and both at once; then gives it peace and compares the market with the target,
// the cap and the books.
func TestTheRealProgramNeverBuysTwiceNorLeaks(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about twenty seconds")
	}
	binary(t)
	for name, c := range map[string]struct {
		kill bool
		bad  float64 // share of reads that meet a fault; of writes, five times as many
	}{
		"killed again and again":         {true, 0},
		"behind a broken network":        {false, 0.12},
		"killed behind a broken network": {true, 0.08},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			t.Logf("seed %d of the faults; the moments are real", seed)
			weather(t, c.kill, c.bad, seed)
		})
	}
}

func weather(t *testing.T, kill bool, bad float64, seed uint64) {
	const most = 6
	b := openMarket(t, most)
	road := newProxy(t, strings.TrimPrefix(b.server.URL, "http://"), seed)
	road.set(bad)
	p := newProgram(t)
	t.Cleanup(func() {
		if p.cmd != nil {
			p.end(syscall.SIGKILL)
		}
		if t.Failed() {
			t.Logf("%s\n%s", p.log.String(), road.summary())
		}
	})
	rng := rand.New(rand.NewPCG(seed, 2))
	some := func(from, to int) time.Duration { return time.Duration(from+rng.IntN(to-from)) * time.Millisecond }
	lives := 0
	for end := time.Now().Add(storm(t)); time.Now().Before(end); lives++ {
		p.write("p.yaml", hasty("http://"+road.addr, []int{most, most, 2}[rng.IntN(min(3, 1+lives))])) // a reload, or at the next start
		if p.cmd == nil {
			p.begin()
		}
		if !kill {
			time.Sleep(some(50, 400))
			_ = p.command("reload", "--config", "p.yaml").Run() // confirms what would be held; it may find no socket yet
		}
		time.Sleep(some(100, 1500))
		if rng.IntN(2) == 0 {
			b.vanish(t, rng)
		}
		if bad > 0 && rng.IntN(4) == 0 {
			road.outage(t, some(100, 700))
		}
		if kill {
			p.end(syscall.SIGKILL)
		}
	}
	road.set(0)
	p.write("p.yaml", hasty("http://"+road.addr, most))
	if p.cmd == nil {
		p.begin()
	}
	p.settle(b, most, 45*time.Second)
	p.end(syscall.SIGTERM)
	b.judge(t, hourly)
	p.audit(b)
	for _, secret := range []string{apiKey, apiToken} {
		if strings.Contains(p.log.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
	t.Logf("%d rounds; %d machines were ordered, at most %d GPUs at once\n%s", lives, len(b.keys()), most, road.summary())
}
