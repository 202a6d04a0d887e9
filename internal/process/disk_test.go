package process

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tdscaler/tdscaler/internal/ledger"
)

// limit lets the files of the running program grow to so many bytes: at 0 no
// write to a file succeeds, as on a disk that was mounted read-only.
func (p *program) limit(bytes uint64) {
	p.Helper()
	must(p, unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil))
}

func (p *program) until(what string, fn func() bool) {
	p.Helper()
	if !eventually(30*time.Second, fn) {
		p.Fatalf("never: %s\n%s", what, p.log.String())
	}
}

// says is what a command prints beside the running program; a failure is part of
// the answer.
func (p *program) says(args ...string) string {
	out, _ := p.command(append(args, "--config", "p.yaml")...).CombinedOutput()
	return string(out)
}

// TestTheRealProgramOnADiskThatCannotBeWrittenBuysNothingAndGoesOnByItself takes
// the disk away from the running program and gives it back.
func TestTheRealProgramOnADiskThatCannotBeWrittenBuysNothingAndGoesOnByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about twenty seconds")
	}
	b := openMarket(t, 6)
	p := newProgram(t)
	t.Cleanup(func() {
		if p.cmd != nil {
			p.end(syscall.SIGKILL)
		}
		if t.Failed() {
			t.Log(p.log.String())
		}
	})
	want := func(gpus int) {
		p.write("p.yaml", strings.Replace(hasty(b.server.URL, gpus), `listen: ""`, `listen: "127.0.0.1:0"`, 1))
	}
	want(3)
	p.begin()
	addr := p.said("listening", "addr")
	p.settle(b, 3, 30*time.Second)
	for _, limit := range []uint64{0, 8192} { // not a byte; the meta pages alone
		p.limit(limit)
		want(6)
		p.until("it is not ready", func() bool { return strings.Contains(page(t, addr, "/readyz"), "not ready: ") })
		p.until("the metric says so", func() bool { return count(scrape(t, addr), "tdscaler_ledger_writable") == 0 })
		p.until("the status says so", func() bool { return strings.Contains(p.says("status"), "ledger_unwritable") })
		if out := p.says("pause"); !strings.Contains(out, ledger.ErrWrite.Error()) {
			t.Errorf("a pause that cannot be kept: %s", out)
		}
		cycles := count(scrape(t, addr), "tdscaler_cycles_total")
		p.until("it looks on", func() bool { return count(scrape(t, addr), "tdscaler_cycles_total") >= cycles+2 })
		if n := len(b.keys()); n != 3 {
			t.Errorf("limited to %d bytes, it has ordered %d machines", limit, n)
		}
	}
	p.limit(unix.RLIM_INFINITY)
	p.settle(b, 6, 30*time.Second)
	if m := scrape(t, addr); count(m, "tdscaler_ledger_writable") != 1 || count(m, "tdscaler_ledger_commit_failures_total") < 4 || !strings.Contains(page(t, addr, "/readyz"), "is ready") {
		t.Error("it does not say that it can write again")
	}
	p.end(syscall.SIGTERM)
	if n := len(b.keys()); n != 6 {
		t.Errorf("%d machines were ordered, want 6", n)
	}
	b.judge(t, hourly)
	p.audit(b)
}

func TestTheRealProgramDoesNotStartWithoutALedgerThatItCanWrite(t *testing.T) {
	p := newProgram(t)
	p.write("p.yaml", hasty("http://127.0.0.1:1", 1))
	c := p.command()
	shell := exec.Command("sh", "-c", fmt.Sprintf("ulimit -f 0; exec %s run --config p.yaml", c.Path))
	shell.Dir, shell.Env = c.Dir, c.Env
	out, err := shell.CombinedOutput()
	if shell.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "no daemon runs without a ledger that it can write") {
		t.Errorf("%v, %s", err, out)
	}
	left, err := os.ReadDir(p.dir)
	if err != nil || len(left) != 1 || left[0].Name() != "p.yaml" {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
