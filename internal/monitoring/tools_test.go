package monitoring

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// everything says that the tests with real servers are to run, and that a program which is
// missing is a failure: `make test-monitoring` gets them.
func everything() bool { return os.Getenv("TDSCALER_MONITORING") != "" }

// serversWanted skips a test that needs more than a second or two, unless it was asked for.
func serversWanted(t *testing.T) {
	t.Helper()
	if !everything() {
		t.Skip("needs real servers and a minute: 'make test-monitoring' runs it")
	}
}

// tool finds a program of Prometheus or Alertmanager in bin/tools or in the path.
func tool(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		for _, path := range []string{root("bin", "tools", name), name} {
			if found, err := exec.LookPath(path); err == nil {
				return found
			}
		}
	}
	missing := fmt.Sprintf("no %s in bin/tools or in the path: 'make test-monitoring' gets it and runs this test", strings.Join(names, " or "))
	if everything() {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// root is a path below the project's folder.
func root(parts ...string) string {
	path, err := filepath.Abs(filepath.Join(append([]string{"..", ".."}, parts...)...))
	if err != nil {
		panic(err) // there is no working directory
	}
	return path
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

func write(t testing.TB, path, text string) string {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// run runs a program to its end and returns what it printed.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
	return string(out)
}

// scratch is the folder of what all tests share; TestMain removes it.
var scratch = struct {
	sync.Once
	dir string
	err error
}{}

func shared(t testing.TB, parts ...string) string {
	t.Helper()
	scratch.Do(func() { scratch.dir, scratch.err = os.MkdirTemp("", "tdm") })
	must(t, scratch.err)
	return filepath.Join(append([]string{scratch.dir}, parts...)...)
}

var builder sync.Once

// tdscaler is the program, built once.
func tdscaler(t testing.TB) string {
	t.Helper()
	path := shared(t, "tdscaler")
	builder.Do(func() {
		cmd := exec.Command("go", "build", "-o", path, "./cmd/tdscaler")
		cmd.Dir = root()
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
	})
	return path
}

// process is a server that was started.
type process struct {
	cmd  *exec.Cmd
	said chan string // each line it prints, as long as somebody takes them
	done chan error
}

// start starts a server, which dies with us.
func start(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, said: make(chan string, 1000), done: make(chan error, 1)}
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = cmd.Stdout
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			select {
			case p.said <- lines.Text():
			default:
			}
		}
		p.done <- cmd.Wait()
	}()
	return p
}

// last is what it said last, for who wonders why it does not do as it should.
func (p *process) last() (line string) {
	for {
		select {
		case line = <-p.said:
		default:
			return line
		}
	}
}

// stop asks it to end, and waits until it has.
func (p *process) stop() error {
	if p.cmd == nil {
		return nil
	}
	cmd := p.cmd
	p.cmd = nil
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return <-p.done
}

// freeAddress is one that nobody listens on.
func freeAddress(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	must(t, ln.Close())
	return ln.Addr().String()
}

// eventually tries until it is as it should be; problem says what is wrong until then.
func eventually(t testing.TB, limit time.Duration, problem func() string) {
	t.Helper()
	why := ""
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if why = problem(); why == "" {
			return
		}
	}
	t.Fatalf("after %s: %s", limit, why)
}

// ready waits until a server answers a path with 200.
func (p *process) ready(t testing.TB, url string) {
	t.Helper()
	said := ""
	eventually(t, 30*time.Second, func() string {
		why := unready(url)
		if last := p.last(); last != "" {
			said = last
		}
		if why == "" {
			return ""
		}
		return why + "; it said: " + said
	})
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, stop := range atExit {
		if err := stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	if scratch.dir != "" {
		_ = os.RemoveAll(scratch.dir) // in the system's temporary directory, at worst for its broom
	}
	os.Exit(code)
}

// atExit stops servers that several tests share.
var atExit []func() error
