package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// twoFiles are one with a warning and one with an error.
func twoFiles(t *testing.T) (warned, wrong string) {
	t.Helper()
	dir := t.TempDir()
	warned, wrong = filepath.Join(dir, "warned.yaml"), filepath.Join(dir, "wrong.yaml")
	for path, text := range map[string]string{
		warned: "version: 1\npolicies: [{name: a, target: {gpus: 1}, max_gpu_hour: 1}]\n",
		wrong:  "version: 1\npolicys: []\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return warned, wrong
}

func TestAFileGetsNoColours(t *testing.T) {
	warned, wrong := twoFiles(t)
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "")
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	run([]string{"check", warned, wrong}, strings.NewReader(""), out, out)
	b, err := os.ReadFile(out.Name())
	if err != nil || !strings.Contains(string(b), "warning TD") || strings.Contains(string(b), "\x1b") {
		t.Errorf("%v, %q", err, b)
	}
}

// Columns stay under each other whatever the colours.
func TestAStyleHasNoWidth(t *testing.T) {
	lay := func(w interface{ Write([]byte) (int, error) }) {
		tab := newTable(w)
		tab.row("STATE", "N")
		tab.row(shade{good, "running"}, 1)
		tab.row(shade{bad, "outbid"}, shade{caution, "2"})
		if err := tab.flush(); err != nil {
			t.Fatal(err)
		}
	}
	var bare, coloured bytes.Buffer
	lay(&bare)
	lay(tinted{held{&coloured}})
	if want := "STATE    N\nrunning  1\noutbid   2\n"; bare.String() != want {
		t.Errorf("%q", bare.String())
	}
	if want := "STATE    N\n\x1b[32mrunning\x1b[0m  1\n\x1b[31moutbid\x1b[0m   \x1b[33m2\x1b[0m\n"; coloured.String() != want {
		t.Errorf("%q", coloured.String())
	}
}

// held is a screen in memory.
type held struct{ *bytes.Buffer }

func (held) Fd() uintptr { return ^uintptr(0) }
