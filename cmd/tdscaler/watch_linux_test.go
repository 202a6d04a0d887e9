package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// display is a terminal with a program on it, as somebody sees it from outside.
type display struct {
	*exec.Cmd
	outside *os.File
	mu      sync.Mutex
	seen    strings.Builder
}

// onDisplay starts tdscaler on a terminal of its own, of this size.
func onDisplay(t *testing.T, width, height uint16, env []string, args ...string) *display {
	t.Helper()
	outside, inside := openTerminal(t)
	if err := unix.IoctlSetWinsize(int(inside.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: width, Row: height}); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(self, args...)
	c.Args[0] = "tdscaler" // as testscript runs us: see TestMain
	c.Env = append(append(os.Environ(), "TERM=xterm", "NO_COLOR="), env...)
	c.Stdin, c.Stdout, c.Stderr = inside, inside, inside
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	d := &display{Cmd: c, outside: outside}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill() })
	if err := inside.Close(); err != nil {
		t.Fatal(err)
	}
	go d.read()
	return d
}

func (d *display) read() {
	buf := make([]byte, 4096)
	for {
		n, err := d.outside.Read(buf)
		d.mu.Lock()
		d.seen.Write(buf[:n])
		d.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (d *display) text() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.seen.String()
}

// shows waits until the terminal has been sent this.
func (d *display) shows(t *testing.T, want string) {
	t.Helper()
	re := regexp.MustCompile(want)
	if !eventually(func() bool { return re.MatchString(d.text()) }) {
		t.Fatalf("the terminal never showed %s, but %q", want, d.text())
	}
}

// types types on its keyboard.
func (d *display) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := d.outside.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

// nowhere is a file whose ledger and daemon do not exist.
func nowhere(t *testing.T) string {
	t.Helper()
	t.Chdir(t.TempDir())
	b := "version: 1\nbudget: {max_hourly: 1}\npolicies:\n  - {name: train, target: {gpus: 1}, max_gpu_hour: 0.5}\n"
	if err := os.WriteFile("p.yaml", []byte(b), 0o600); err != nil {
		t.Fatal(err)
	}
	return "p.yaml"
}

func TestAWatchedStatusIsDrawnInPlaceAndLeavesTheTerminalAsItWas(t *testing.T) {
	for _, sent := range []os.Signal{nil, syscall.SIGTERM} {
		d := onDisplay(t, 60, 12, nil, "status", "--watch", "--every", "100ms", "--config", nowhere(t))
		d.shows(t, `\x1b\[\?1049h`)
		d.shows(t, `(?s)\x1b\[H.*no daemon runs.*\x1b\[H.*no daemon runs`) // drawn twice, each from the top
		if sent == nil {
			d.types(t, "\x03") // Ctrl-C
		} else if err := d.Process.Signal(sent); err != nil {
			t.Fatal(err)
		}
		if err := d.Wait(); err != nil {
			t.Errorf("ended by %v: %v", sent, err)
		}
		d.shows(t, `\x1b\[\?25h\x1b\[\?1049l$`)
		for _, line := range strings.Split(regexp.MustCompile(`\x1b\[[?0-9;]*[a-zA-Z]|\r`).ReplaceAllString(strings.ReplaceAll(d.text(), home, "\n"), ""), "\n") {
			if n := len([]rune(line)); n > 60 {
				t.Errorf("%d characters on a screen of 60: %q", n, line)
			}
		}
	}
}

func TestTopRunsOnATerminalAndLeavesItAsItWas(t *testing.T) {
	// The library closes its reader of keys while that still waits for one; by then our part
	// is over, and what the race detector says of it must not be the exit code.
	calm := "GORACE=exitcode=0 " + briefRaces
	for _, end := range []string{"q", "\x03", "SIGTERM"} {
		d := onDisplay(t, 70, 24, []string{"NO_COLOR=1", calm}, "top", "--every", "100ms", "--config", nowhere(t))
		d.shows(t, `70x24 is too small`)
		if err := unix.IoctlSetWinsize(int(d.outside.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 100, Row: 30}); err != nil {
			t.Fatal(err)
		}
		d.shows(t, `\[1 overview\](?s:.*)no daemon runs`)
		d.types(t, "2")
		d.shows(t, `no machines`)
		d.types(t, "?")
		d.shows(t, `No key changes anything`)
		if end == "SIGTERM" {
			if err := d.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
		} else {
			d.types(t, end)
		}
		if err := d.Wait(); err != nil {
			t.Errorf("ended by %q: %v, after %q", end, err, d.text())
		}
		d.shows(t, `\x1b\[\?1049l`)
		d.shows(t, `\x1b\[\?25h`)
		if colour := regexp.MustCompile(`\x1b\[3[0-9]m`).FindString(d.text()); colour != "" {
			t.Errorf("NO_COLOR is set, and there is %q", colour)
		}
	}
}
