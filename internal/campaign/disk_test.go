package campaign

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// limit lets the files of the running program grow to so many bytes: at 0 no
// write to a file succeeds, as on a disk that was mounted read-only.
func (p *process) limit(bytes uint64) {
	p.Helper()
	if err := unix.Prlimit(p.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: bytes, Max: unix.RLIM_INFINITY}, nil); err != nil {
		p.Fatal(err)
	}
}

func get(url string) string {
	res, err := http.Get(url)
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return err.Error()
	}
	return res.Status + "\n" + string(b)
}

// eventually waits for fn to be true.
func (p *process) eventually(what string, fn func() bool) {
	p.Helper()
	for range 300 {
		if fn() {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	p.end(syscall.SIGKILL)
	p.Fatalf("never: %s\n%s", what, p.out)
}

// ask runs a command beside the program.
func (p *process) ask(args ...string) string {
	out, _ := exec.Command(p.binary, append(args, "--config", filepath.Join(p.dir, "p.yaml"))...).CombinedOutput() // a failure is part of the answer
	return string(out)
}

func TestTheRealProgramOnADiskThatCannotBeWrittenBuysNothingAndGoesOnByItself(t *testing.T) {
	if testing.Short() {
		t.Skip("takes about twenty seconds")
	}
	w := &world{TB: t, clock: clock.NewVirtual(epoch), alive: map[string]simulator.Event{}, foreign: map[string]bool{}, targets: map[string]int{"train": 6}, names: map[string]string{}}
	engine, err := simulator.New(simulator.Options{
		Scenario: field(3), Boot: simulator.BootModel{Median: 300 * time.Millisecond}, Observe: w.observe,
	})
	w.must(err)
	w.engine = engine
	server := httptest.NewServer(engine.Handler(simulator.FaceOptions{Key: apiKey, Token: apiToken}))
	defer server.Close()
	dir, err := os.MkdirTemp("", "tds") // short: a unix socket's path may have 108 bytes
	w.must(err)
	defer func() { w.must(os.RemoveAll(dir)) }()
	p := &process{TB: t, binary: build(t), dir: dir, url: server.URL, out: &bytes.Buffer{}}
	w.dir = dir

	free, err := net.Listen("tcp", "127.0.0.1:0")
	w.must(err)
	base := "http://" + free.Addr().String()
	w.must(free.Close())
	want := func(gpus int) {
		p.config("3.60", gpus)
		path := filepath.Join(dir, "p.yaml")
		b, err := os.ReadFile(path)
		w.must(err)
		w.must(os.WriteFile(path, bytes.Replace(b, []byte(`listen: ""`), []byte("listen: "+strings.TrimPrefix(base, "http://")), 1), 0o600))
	}
	want(3)
	p.begin()
	p.eventually("three machines", func() bool { return w.running("train") == 3 && strings.HasPrefix(get(base+"/readyz"), "200") })

	for _, limit := range []uint64{0, 8192} { // not a byte; the meta pages alone
		p.limit(limit)
		want(6)
		p.eventually("it says that it is not ready", func() bool { return strings.HasPrefix(get(base+"/readyz"), "503") })
		p.eventually("the metric", func() bool { return strings.Contains(get(base+"/metrics"), "\ntdscaler_ledger_writable 0\n") })
		p.eventually("the status", func() bool { return strings.Contains(p.ask("status"), "ledger_unwritable") })
		if out := p.ask("pause"); !strings.Contains(out, ledger.ErrWrite.Error()) {
			t.Errorf("a pause that cannot be kept: %s", out)
		}
		cycle := p.ask("status")
		time.Sleep(2500 * time.Millisecond) // two more looks
		if p.ask("status") == cycle {
			t.Errorf("it looks no more:\n%s", cycle)
		}
		if n := len(engine.Fleet()); n != 3 {
			t.Errorf("limited to %d bytes, it has bought %d machines", limit, n)
		}
	}
	want(6)
	p.limit(unix.RLIM_INFINITY)
	p.eventually("six machines", func() bool { return w.running("train") == 6 && strings.HasPrefix(get(base+"/readyz"), "200") })
	if !strings.Contains(get(base+"/metrics"), "\ntdscaler_ledger_writable 1\n") {
		t.Error("the metric says that it cannot write")
	}
	time.Sleep(2500 * time.Millisecond) // the last ones are confirmed
	p.end(syscall.SIGTERM)
	w.ledger, err = ledger.Open(ledger.Options{Path: filepath.Join(dir, "ledger.db"), ReadOnly: true})
	w.must(err)
	w.must(w.ledger.Verify())
	if n := len(engine.Fleet()); n != 6 {
		t.Errorf("%d machines were made, want 6", n)
	}
	w.whole()
	w.close()
	if t.Failed() {
		t.Logf("%s", p.out)
	}
}

func TestTheRealProgramDoesNotStartWithoutALedgerThatItCanWrite(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	dir := t.TempDir()
	p := &process{TB: t, binary: build(t), dir: dir, url: "http://127.0.0.1:1", out: &bytes.Buffer{}}
	p.config("3.60", 1)
	shell := exec.Command("sh", "-c", "ulimit -f 0; exec "+p.binary+" run --config "+filepath.Join(dir, "p.yaml"))
	shell.Env = append(os.Environ(), "TENSORDOCK_API_KEY="+apiKey, "TENSORDOCK_API_TOKEN="+apiToken)
	out, err := shell.CombinedOutput()
	if shell.ProcessState.ExitCode() != 1 || !strings.Contains(string(out), "no daemon runs without a ledger that it can write") {
		t.Errorf("%v, %s", err, out)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*ledger*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
