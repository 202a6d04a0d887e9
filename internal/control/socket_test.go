package control_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func TestMain(m *testing.M) {
	// A server ends a connection whose request it gave up half a second later.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("net/http.(*conn).closeWriteAndWait"))
}

func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "td")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func TestTheSocketStandsBesideTheLedgerForItsUserAlone(t *testing.T) {
	path := filepath.Join(shortDir(t), "tdscaler.db")
	ln, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path + ".sock")
	if err != nil || info.Mode().Perm() != 0o600 || info.Mode().Type() != os.ModeSocket {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".sock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket outlives its listener: %v", err)
	}
}

func TestALedgerWithALongPathGetsAShortSocket(t *testing.T) {
	run := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", run)
	dir := filepath.Join(shortDir(t), strings.Repeat("long/", 30))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "tdscaler.db")
	ln, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, ln, http.NotFoundHandler())
	c, err := control.Dial(t.Context(), path, clock.System{})
	if err != nil || filepath.Dir(c.Path()) != filepath.Join(run, "tdscaler") || len(c.Path()) > 107 {
		t.Errorf("%+v, %v", c, err)
	}
	info, err := os.Stat(filepath.Join(run, "tdscaler"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := control.Dial(t.Context(), filepath.Join(dir, "other.db"), clock.System{}); !errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("another ledger: %v", err)
	}
}

func TestADirectoryThatOthersCanWriteToIsNotTrusted(t *testing.T) {
	run := shortDir(t)
	t.Setenv("XDG_RUNTIME_DIR", run)
	t.Setenv("TMPDIR", filepath.Join(run, strings.Repeat("x", 108))) // no second choice there
	if err := os.Mkdir(filepath.Join(run, "tdscaler"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(run, "tdscaler"), 0o777); err != nil {
		t.Fatal(err)
	}
	path := "/" + strings.Repeat("long/", 30) + "tdscaler.db"
	ln, err := control.Listen(path)
	if err != nil {
		t.Fatal(err) // /tmp is the last choice
	}
	t.Cleanup(func() { _ = os.Remove(filepath.Dir(ln.Addr().String())) }) // unless somebody uses it
	serve(t, ln, http.NotFoundHandler())
	if strings.HasPrefix(ln.Addr().String(), run) {
		t.Errorf("listens on %s", ln.Addr())
	}
	if c, err := control.Dial(t.Context(), path, clock.System{}); err != nil || c.Path() != ln.Addr().String() {
		t.Errorf("%+v, %v", c, err)
	}
}

// leaveBehind makes the socket file of a daemon that was killed.
func leaveBehind(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWhatAKilledDaemonLeftIsNoDaemonAndIsReplaced(t *testing.T) {
	path := filepath.Join(shortDir(t), "tdscaler.db")
	if _, err := control.Dial(t.Context(), path, clock.System{}); !errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("no file: %v", err)
	}
	leaveBehind(t, path+".sock")
	if _, err := control.Dial(t.Context(), path, clock.System{}); !errors.Is(err, control.ErrNoDaemon) {
		t.Errorf("a stale file: %v", err)
	}
	ln, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, ln, http.NotFoundHandler())
	if _, err := control.Dial(t.Context(), path, clock.System{}); err != nil {
		t.Error(err)
	}
}

func TestWhatIsNotAnAbandonedSocketIsNeverRemoved(t *testing.T) {
	path := filepath.Join(shortDir(t), "tdscaler.db")
	if err := os.WriteFile(path+".sock", []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := control.Listen(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file: %v", err)
	}
	if b, err := os.ReadFile(path + ".sock"); string(b) != "mine" {
		t.Errorf("the file is gone: %v", err)
	}
	other := filepath.Join(filepath.Dir(path), "other.db")
	ln, err := control.Listen(other)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, ln, http.NotFoundHandler())
	if _, err := control.Listen(other); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a socket in use: %v", err)
	}
}

func TestTheProtocolRefusesWhatItDoesNotKnow(t *testing.T) {
	w := overTheSocket(t)
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", w.path+".sock")
	}}}
	defer client.CloseIdleConnections()
	for _, c := range []struct {
		name, method, path, body string
		status                   int
	}{
		{"an unknown name", "POST", "/v1/launch", `{}`, 400},
		{"another method", "GET", "/v1/status", ``, 400},
		{"another version", "POST", "/v2/status", `{}`, 400},
		{"an unknown key", "POST", "/v1/status", `{"x":1}`, 400},
		{"no JSON", "POST", "/v1/status", `status`, 400},
		{"nothing", "POST", "/v1/status", ``, 400},
		{"two values", "POST", "/v1/status", `{}{}`, 400},
		{"too much", "POST", "/v1/plan", `{"file":"` + strings.Repeat("A", 5<<20) + `"}`, 400},
		{"a good request", "POST", "/v1/status", `{}`, 200},
	} {
		req, err := http.NewRequestWithContext(t.Context(), c.method, "http://x"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(res.Body); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != c.status || c.status != 200 && !strings.Contains(b.String(), `"class":"usage"`) {
			t.Errorf("%s: %s: %s", c.name, res.Status, b.String())
		}
	}
}

func TestADaemonThatDiesMidAnswerIsUnreachable(t *testing.T) {
	path := filepath.Join(shortDir(t), "tdscaler.db")
	ln, err := control.Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, ln, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	c, err := control.Dial(t.Context(), path, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Status(t.Context(), control.StatusRequest{})
	wantClass(t, err, control.Unreachable, path)
}

func TestAQuestionMakesNoLedger(t *testing.T) {
	s := newShop(t)
	d := s.alone()
	must[control.Plan](t)(d.Plan(t.Context(), larger()))
	answersOfNothing(t, d)
	must[control.Resumed](t)(d.Resume(t.Context(), control.ResumeRequest{}))
	if _, err := os.Stat(s.cfg.Set.Daemon.Ledger); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a question made a ledger: %v", err)
	}
}

func answersOfNothing(t *testing.T, d control.Desk) {
	t.Helper()
	if s := must[control.Status](t)(d.Status(t.Context(), control.StatusRequest{})); s.Cycle != 0 || s.Running {
		t.Errorf("%+v", s)
	}
	if l, err := d.Intents(t.Context(), control.IntentsRequest{}); err != nil || l == nil || len(l) != 0 {
		t.Errorf("intents: %v, %v", l, err)
	}
	if l, err := d.Cycles(t.Context(), control.CyclesRequest{}); err != nil || l == nil || len(l) != 0 {
		t.Errorf("cycles: %v, %v", l, err)
	}
	if l, err := d.Machines(t.Context(), control.MachinesRequest{}); err != nil || l == nil || len(l) != 0 {
		t.Errorf("machines: %v, %v", l, err)
	}
	if r, err := d.Report(t.Context(), control.ReportRequest{Since: time.Unix(0, 0)}); err != nil || len(r.Missing) != 1 || r.Total.Spent != 0 {
		t.Errorf("report: %+v, %v", r, err)
	}
	_, err := d.Cycle(t.Context(), control.CycleRequest{})
	wantClass(t, err, control.NotFound, "")
}

// visitor dials the socket that is named in the environment as another user.
const visitorEnv = "TDSCALER_TEST_VISIT"

func TestAVisitor(t *testing.T) {
	path := os.Getenv(visitorEnv)
	if path == "" {
		t.Skip("run by another test, as another user")
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")
	b, _ := io.ReadAll(conn)
	fmt.Printf("heard %d bytes\n", len(b))
}

func TestAnotherUserIsNotHeardEvenWhereTheFilesModeLetsThem(t *testing.T) {
	if os.Getuid() != 0 || runtime.GOOS != "linux" {
		t.Skip("needs root, to become somebody else")
	}
	dir := shortDir(t)
	ln, err := control.Listen(filepath.Join(dir, "tdscaler.db"))
	if err != nil {
		t.Fatal(err)
	}
	asked := false
	serve(t, ln, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked = true; fmt.Fprint(w, "a secret") }))
	// The test's own program, where the other user can read it.
	program := filepath.Join(dir, "visitor")
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, self, 0o755); err != nil { //nolint:gosec // for the other user
		t.Fatal(err)
	}
	sock := filepath.Join(dir, "tdscaler.db.sock")
	for path, mode := range map[string]os.FileMode{dir: 0o755, sock: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	visit := exec.Command(program, "-test.run=^TestAVisitor$", "-test.v")
	visit.Env, visit.Dir = []string{visitorEnv + "=" + sock}, "/"
	visit.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := visit.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "heard 0 bytes") || asked {
		t.Errorf("%v: %s", err, out)
	}
}

func TestRequestsOfAnySizeAreBounded(t *testing.T) {
	dir := shortDir(t)
	ln, err := control.Listen(filepath.Join(dir, "tdscaler.db"))
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int32
	serve(t, ln, control.Handler(nobody{asked: &asked}, clock.System{}))
	for name, body := range map[string]string{
		"huge text":     `{"reason":"` + strings.Repeat("x", 5<<20) + `"}`,
		"deep nesting":  `{"reason":` + strings.Repeat("[", 1<<20),
		"many keys":     "{" + strings.Repeat(`"policy":"x",`, 400_000) + `"policy":"x"}`,
		"two values":    `{} {}`,
		"nothing":       ``,
		"not an object": `"x"`,
	} {
		conn, err := net.Dial("unix", filepath.Join(dir, "tdscaler.db.sock"))
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			_, _ = fmt.Fprintf(conn, "POST /v1/pause HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		}()
		b, _ := io.ReadAll(conn) // a server that has read enough may reset
		if len(b) > 4096 || len(b) > 0 && !strings.Contains(string(b), "read the request") {
			t.Errorf("%s: %.300q", name, b)
		}
		_ = conn.Close()
		if asked.Swap(0) > 0 {
			t.Errorf("%s: the desk was asked", name)
		}
	}
}

// nobody is a Desk that must not be asked.
type nobody struct {
	control.Desk
	asked *atomic.Int32
}

func (n nobody) Pause(context.Context, control.PauseRequest) ([]plan.Pause, error) {
	n.asked.Add(1)
	return nil, nil
}
