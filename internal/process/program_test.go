package process

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/transcript"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := built.dir, built.err; dir != "" && err == nil {
		_ = os.RemoveAll(dir) // in the system's temporary directory, at worst for its broom
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// built is the program, made once for all tests.
var built struct {
	once sync.Once
	dir  string
	err  error
}

func binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "tdb"); built.err != nil {
			return
		}
		out, err := exec.Command("go", "build", "-o", filepath.Join(built.dir, "tdscaler"), "github.com/tdscaler/tdscaler/cmd/tdscaler").CombinedOutput()
		if err != nil {
			built.err = fmt.Errorf("build: %w\n%s", err, out)
		}
	})
	must(t, built.err)
	return filepath.Join(built.dir, "tdscaler")
}

// program is the real daemon in a folder of its own.
type program struct {
	testing.TB
	dir string
	log transcript.Log
	cmd *exec.Cmd
	// manager is the socket of the service manager, if there is one.
	manager string
}

func newProgram(t testing.TB) *program {
	t.Helper()
	dir, err := os.MkdirTemp("", "tds") // short: a unix socket's path may have 108 bytes
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return &program{TB: t, dir: dir}
}

func (p *program) path(name string) string { return filepath.Join(p.dir, name) }

func (p *program) write(name, text string) {
	p.Helper()
	must(p, os.WriteFile(p.path(name), []byte(text), 0o600))
}

// command prepares the program with our credentials in its environment.
func (p *program) command(args ...string) *exec.Cmd {
	p.Helper()
	c := exec.Command(binary(p), args...)
	c.Dir = p.dir
	c.Env = append(os.Environ(), "TENSORDOCK_API_KEY="+apiKey, "TENSORDOCK_API_TOKEN="+apiToken, "XDG_RUNTIME_DIR="+p.dir, "NOTIFY_SOCKET="+p.manager)
	return c
}

func (p *program) begin() {
	p.Helper()
	p.cmd = p.command("run", "--config", "p.yaml")
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	must(p, p.cmd.Start())
}

// end stops the process; SIGKILL gives it no chance.
func (p *program) end(sig syscall.Signal) {
	p.Helper()
	if p.cmd == nil {
		return
	}
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.Fatalf("%v\n%s", err, p.log.String())
	}
	err := p.cmd.Wait()
	p.cmd = nil
	var exit *exec.ExitError
	if sig == syscall.SIGTERM && err != nil || err != nil && !errors.As(err, &exit) {
		p.Fatalf("%v: %v\n%s", sig, err, p.log.String())
	}
}

// said waits for a line of the log and returns one of its fields.
func (p *program) said(message, field string) string {
	p.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		lines := bufio.NewScanner(strings.NewReader(p.log.String()))
		for lines.Scan() {
			var line map[string]any
			if json.Unmarshal(lines.Bytes(), &line) == nil && line["msg"] == message {
				return fmt.Sprint(line[field])
			}
		}
	}
	p.Fatalf("%q was never logged:\n%s", message, p.log.String())
	return ""
}

// eventually waits until fn holds.
func eventually(d time.Duration, fn func() bool) bool {
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if fn() {
			return true
		}
	}
	return fn()
}

// settle waits until the market has shown the target for a few cycles on end.
func (p *program) settle(b *bazaar, target int, d time.Duration) {
	p.Helper()
	since := time.Now()
	if !eventually(d, func() bool {
		if b.running() != target || len(b.ours()) != target {
			since = time.Now()
		}
		return time.Since(since) > 4*time.Second
	}) {
		p.Errorf("%d GPUs run on %d machines, %d are wanted", b.running(), len(b.ours()), target)
	}
}

// audit compares the books with the market: nothing leaked, nothing imagined, no
// intent left open, no password without its machine.
func (p *program) audit(b *bazaar) {
	p.Helper()
	l, err := ledger.Open(ledger.Options{Path: p.path("tdscaler.db"), ReadOnly: true})
	must(p, err)
	defer func() { must(p, l.Close()) }()
	if err := l.Verify(); err != nil {
		p.Errorf("the ledger: %v", err)
	}
	h, err := l.History()
	must(p, err)
	ours, names := b.ours(), map[string]bool{}
	for _, m := range ours {
		names[m.Name] = true
	}
	for _, m := range h.Machines {
		if _, ok := ours[m.ID]; !ok {
			p.Errorf("the books hold %s (%s, %s), which does not exist", m.Name, m.ID, m.Phase)
		}
		delete(ours, m.ID)
	}
	for _, m := range ours {
		p.Errorf("leaked: %s (%s) is not in the books", m.Name, m.ID)
	}
	open, err := l.Intents(ledger.Filter{OpenOnly: true})
	must(p, err)
	for _, in := range open {
		p.Errorf("intent %d (%s %s) is still %s", in.ID, in.Kind, in.Machine, in.State)
	}
	p.passwords(l, names)
}

func (p *program) passwords(l *ledger.Ledger, alive map[string]bool) {
	p.Helper()
	files, err := os.ReadDir(p.path("credentials"))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	must(p, err)
	for _, f := range files {
		last, err := l.Intents(ledger.Filter{Machine: f.Name(), Limit: 1})
		must(p, err)
		expired := len(last) > 0 && last[0].State == plan.IntentExpired // it may show up late
		if !alive[f.Name()] && !expired {
			p.Errorf("the password of %s outlived its machine", f.Name())
		}
	}
}

// hasty is a policy file for a market in which everything takes milliseconds.
func hasty(url string, gpus int) string {
	return fmt.Sprintf(`
version: 1
daemon: {schedule: "@every 1s", mode: live, listen: "", log_level: debug}
tensordock: {marketplace_url: %q, instances_url: %[1]q, marketplace_rps: 1000}
budget: {max_hourly: %s}
safety:
  {unknown_looks: 2, unknown_age: 3s, absent_looks: 2, absent_age: 500ms, backoff_min: 100ms, backoff_max: 400ms, breaker_cooldown: 500ms}
policies:
  - {name: train, target: {gpus: %d}, shape: {gpus: 1}, max_gpu_hour: 0.60}
`, url, hourly.Decimal(), gpus)
}

// hourly is the cap of the hasty file.
var hourly = market.USD(3, 60)
