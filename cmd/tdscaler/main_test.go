package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// The credentials of every script. No output of any command in any script may
// show them: see guard.
const (
	testKey   = "key-4d3f9a71c2"
	testToken = "token-b8e05f6617"
)

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) != "tdscaler" {
		// The scripts wait more than they work; a -parallel of the caller's still wins.
		os.Args = slices.Insert(os.Args, 1, "-test.parallel=8")
	}
	testscript.Main(m, map[string]func(){"tdscaler": func() {
		onStage(os.Args[1:])
		os.Exit(run(os.Args[1:], os.Stdin, guard{os.Stdout}, guard{os.Stderr}))
	}})
}

// guard ends a command that is about to print a secret.
type guard struct{ screen }

// leaked is the exit code of such a command.
const leaked = 99

func (g guard) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte(testKey)) || bytes.Contains(b, []byte(testToken)) {
		fmt.Fprintln(os.Stderr, "a secret was about to be printed")
		os.Exit(leaked)
	}
	return g.screen.Write(b)
}

// TestScripts runs the command line in testdata/script. Beside testscript's own
// commands there are
//
//	market FILE...         wait for the simulator whose output is in sim.log, and
//	                       write its address into the files
//	until REGEXP CMD...    run a command until its output matches; it becomes stdout
//	code N CMD...          run a command that must exit with N
//	hold FILE N CMD...     code N CMD while another process would hold the file's
//	                       lock, within five seconds
//	damage FILE            overwrite the middle of a file
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireUniqueNames: true,
		Setup: setupScript,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"market": awaitMarket, "until": until, "code": code, "hold": hold, "damage": damage,
		},
	})
}

// setupScript gives every script a live configuration with a market to be filled
// in, and its dry run.
func setupScript(e *testscript.Env) error {
	e.Setenv("TENSORDOCK_API_KEY", testKey)
	e.Setenv("TENSORDOCK_API_TOKEN", testToken)
	e.Setenv("GORACE", briefRaces)
	e.Setenv("XDG_RUNTIME_DIR", e.WorkDir)
	e.Setenv("XDG_CONFIG_HOME", filepath.Join(e.WorkDir, "xdg"))
	e.Setenv(configVariable, "")
	b, err := os.ReadFile(filepath.Join("testdata", "live.yaml"))
	if err != nil {
		return err
	}
	dry := strings.Replace(string(b), "mode: live", "mode: dry-run", 1)
	for name, text := range map[string]string{"live.yaml": string(b), "dry.yaml": dry} {
		if err := os.WriteFile(filepath.Join(e.WorkDir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// briefRaces has a program under the race detector end within a moment. It waits a second
// for late reports unless told otherwise, and hundreds of commands are run here.
const briefRaces = "atexit_sleep_ms=50"

// patience is how long a script waits for anything.
const patience = 30 * time.Second

// eventually calls fn until it is true.
func eventually(fn func() bool) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if fn() {
			return true
		}
	}
	return false
}

func awaitMarket(ts *testscript.TestScript, _ bool, files []string) {
	address := regexp.MustCompile(`http://[0-9.:]+`)
	var found []byte
	if !eventually(func() bool {
		b, err := os.ReadFile(ts.MkAbs("sim.log"))
		found = address.Find(b)
		return err == nil && found != nil
	}) {
		ts.Fatalf("no simulator has told its address")
	}
	for _, f := range files {
		b, err := os.ReadFile(ts.MkAbs(f))
		ts.Check(err)
		ts.Check(os.WriteFile(ts.MkAbs(f), bytes.ReplaceAll(b, []byte("http://127.0.0.1:1"), found), 0o600))
	}
}

func until(ts *testscript.TestScript, _ bool, args []string) {
	want := regexp.MustCompile("(?m)" + args[0])
	var out []byte
	if !eventually(func() bool {
		out, _ = output(ts, args[1:]).Output() // a failure may be what is waited for to end
		return want.Match(out)
	}) {
		ts.Fatalf("%v never printed %s, but\n%s", args[1:], args[0], out)
	}
	_, err := ts.Stdout().Write(out)
	ts.Check(err)
}

// output prepares a command in the script's directory and environment.
func output(ts *testscript.TestScript, args []string) *exec.Cmd {
	c := exec.Command(args[0], args[1:]...)
	c.Dir = ts.MkAbs(".")
	c.Env = os.Environ()
	for _, name := range []string{"TENSORDOCK_API_KEY", "TENSORDOCK_API_TOKEN", "GORACE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", configVariable} {
		c.Env = append(c.Env, name+"="+ts.Getenv(name))
	}
	return c
}

func code(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if exit, ok := err.(*exec.ExitError); ok {
		got = fmt.Sprint(exit.ExitCode())
	} else {
		ts.Check(err)
	}
	if got != args[0] {
		ts.Fatalf("%v exits with %s, want %s", args[1:], got, args[0])
	}
}

func hold(ts *testscript.TestScript, neg bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	ts.Check(unix.Flock(int(f.Fd()), unix.LOCK_EX))
	start := time.Now()
	code(ts, neg, args[1:])
	if took := time.Since(start); took > 5*time.Second {
		ts.Fatalf("%v took %s on a locked file", args[2:], took)
	}
}

func damage(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	copy(b[len(b)/4:], bytes.Repeat([]byte{0xa5}, len(b)/2))
	ts.Check(os.WriteFile(path, b, 0o600))
}
