package campaign

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// hasty is a policy file for a market in which everything happens in milliseconds.
const hasty = `
version: 1
daemon: {schedule: "@every 1s", mode: live, ledger: ledger.db, listen: ""}
tensordock: {marketplace_url: %q, marketplace_rps: 1000}
budget: {max_hourly: %s}
safety:
  unknown_looks: 2
  unknown_age: 500ms
  absent_looks: 2
  absent_age: 500ms
  backoff_min: 100ms
  backoff_max: 400ms
  breaker_cooldown: 500ms
policies:
  - {name: train, target: {gpus: %d}, shape: {gpus: 1}, max_gpu_hour: 0.60}
`

// process is the real program against the simulator over loopback HTTP.
type process struct {
	testing.TB
	binary, dir string
	url         string
	out         *bytes.Buffer
	cmd         *exec.Cmd
}

func build(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tdscaler")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/tdscaler/tdscaler/cmd/tdscaler").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

func (p *process) config(budget string, gpus int) {
	p.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, "p.yaml"), fmt.Appendf(nil, hasty, p.url, budget, gpus), 0o600); err != nil {
		p.Fatal(err)
	}
}

func (p *process) begin() {
	p.Helper()
	p.cmd = exec.Command(p.binary, "run", "--config", filepath.Join(p.dir, "p.yaml"))
	p.cmd.Env = append(os.Environ(), "TENSORDOCK_API_KEY="+apiKey, "TENSORDOCK_API_TOKEN="+apiToken)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		p.Fatal(err)
	}
}

// end stops the process; kill gives it no chance.
func (p *process) end(sig syscall.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.Fatal(err, p.out.String())
	}
	err := p.cmd.Wait()
	if sig == syscall.SIGTERM && err != nil {
		p.Fatalf("SIGTERM: %v\n%s", err, p.out)
	}
}

// TestTheRealProgramKilledAgainAndAgainNeverBuysTwiceNorLeaks is the crash matrix
// with the real program, real time and real sockets.
func TestTheRealProgramKilledAgainAndAgainNeverBuysTwiceNorLeaks(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about twenty seconds")
	}
	w := &world{TB: t, clock: clock.NewVirtual(epoch), alive: map[string]simulator.Event{}, foreign: map[string]bool{}, targets: map[string]int{"train": 6}, names: map[string]string{}}
	engine, err := simulator.New(simulator.Options{
		Scenario: field(3), Boot: simulator.BootModel{Median: 300 * time.Millisecond}, Observe: w.observe,
	})
	w.must(err)
	w.engine = engine
	faults, err := simulator.ParseFaults("lost:deploy:0.15,lost_request:deploy:0.1,lost:delete:0.1,price_move=1s:validate:0.1")
	w.must(err)
	server := httptest.NewServer(engine.Handler(simulator.FaceOptions{
		Key: apiKey, Token: apiToken, Faults: faults, Latency: simulator.Latency{Read: time.Millisecond, Write: 30 * time.Millisecond, Sigma: 0.5},
	}))
	defer server.Close()
	dir, err := os.MkdirTemp("", "tds") // short: a unix socket's path may have 108 bytes
	w.must(err)
	defer func() { w.must(os.RemoveAll(dir)) }()
	p := &process{TB: t, binary: build(t), dir: dir, url: server.URL, out: &bytes.Buffer{}}
	w.dir = dir
	p.config("3.60", 6)
	for i := range 10 {
		if i == 5 {
			p.config("3.60", 2) // at start this is no reload: down to two
		}
		if i == 7 {
			p.config("3.60", 6)
		}
		p.begin()
		time.Sleep(time.Duration(150+rand.IntN(1200)) * time.Millisecond)
		p.end(syscall.SIGKILL)
	}
	p.begin()
	quiet := 0
	for range 300 {
		time.Sleep(100 * time.Millisecond)
		if quiet++; w.running("train") != 6 {
			quiet = 0
		}
		if quiet == 40 { // four cycles
			break
		}
	}
	p.end(syscall.SIGTERM)
	w.ledger, err = ledger.Open(ledger.Options{Path: filepath.Join(dir, "ledger.db"), ReadOnly: true})
	w.must(err)
	if n := w.running("train"); n != 6 {
		t.Errorf("%d GPUs run, want 6", n)
	}
	t.Logf("%d machines were made in %d lives", len(engine.Fleet()), 11)
	w.whole()
	if peak := engine.Account().Peak; peak > market.USD(3, 60) {
		t.Errorf("the account burnt %s", peak)
	}
	w.close()
	for _, secret := range []string{apiKey, apiToken} {
		if strings.Contains(p.out.String(), secret) {
			t.Error("a secret is in the output")
		}
	}
	if t.Failed() {
		t.Logf("%s", p.out)
	}
}
