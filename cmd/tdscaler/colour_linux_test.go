package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal is both ends of a terminal: what is written to the one is read from the
// other.
func openTerminal(t *testing.T) (outside, inside *os.File) {
	t.Helper()
	outside, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	t.Cleanup(func() { _ = outside.Close() })
	if err := unix.IoctlSetPointerInt(int(outside.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(outside.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	inside, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return outside, inside
}

// onTerminal is what a command writes to a terminal.
func onTerminal(t *testing.T, args ...string) string {
	t.Helper()
	outside, inside := openTerminal(t)
	run(args, strings.NewReader(""), inside, inside)
	fmt.Fprint(inside, "\x04end")
	if err := inside.Close(); err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	buf := make([]byte, 4096)
	for !strings.Contains(all.String(), "\x04end") {
		n, err := outside.Read(buf)
		if err != nil {
			t.Fatalf("%v after %q", err, all.String())
		}
		all.Write(buf[:n])
	}
	return all.String()
}

func TestATerminalGetsColoursUnlessSomebodyMinds(t *testing.T) {
	warned, wrong := twoFiles(t)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	got := onTerminal(t, "check", warned, wrong)
	for _, want := range []string{"\x1b[33mwarning TD", "\x1b[31merror TD", "\x1b[33m^\x1b[0m", "\x1b[31m^\x1b[0m", ": \x1b[32mok\x1b[0m"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
	if got := onTerminal(t, "status", "--config", "/nowhere.yaml"); !strings.Contains(got, "\x1b[31mtdscaler:\x1b[0m") {
		t.Errorf("an error is not marked: %q", got)
	}
	none := func(why string, args ...string) {
		t.Helper()
		if got := onTerminal(t, args...); strings.Contains(got, "\x1b") {
			t.Errorf("%s: %q", why, got)
		}
	}
	none("--no-color", "check", "--no-color", warned, wrong)
	none("JSON", "check", "--json", warned, wrong)
	t.Setenv("NO_COLOR", "1")
	none("NO_COLOR", "check", warned, wrong)
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "dumb")
	none("TERM=dumb", "check", warned, wrong)
}
