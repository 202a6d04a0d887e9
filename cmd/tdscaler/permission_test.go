package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAnotherUserIsToldWhoseCommandTheseAre runs the program as nobody, on the files of
// root.
func TestAnotherUserIsToldWhoseCommandsTheseAre(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can be two users")
	}
	world(t)
	if d := tdscaler("pause", "-c", "c.yaml"); d.code != exitOK { // makes the ledger
		t.Fatalf("%+v", d)
	}
	dir, err := os.MkdirTemp("/tmp", "tdscaler-nobody-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "tdscaler")
	for from, to := range map[string]string{os.Args[0]: program, "c.yaml": filepath.Join(dir, "c.yaml"), "t.db": filepath.Join(dir, "t.db")} {
		copyFile(t, from, to)
	}
	nobody := func(args ...string) (int, string) {
		c := exec.Command(program, args...)
		c.Dir = dir
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		out, err := c.CombinedOutput()
		if _, ok := err.(*exec.ExitError); !ok {
			t.Fatalf("%v: %s", err, out)
		}
		return c.ProcessState.ExitCode(), string(out)
	}
	const hint = `permission denied: run this as the daemon's user or as root, as in "sudo tdscaler ..."`
	if code, out := nobody("status", "-c", "c.yaml"); code != exitFailure || !strings.Contains(out, hint) {
		t.Errorf("a ledger of root's: %d %s", code, out)
	}
	if err := os.Chmod(filepath.Join(dir, "c.yaml"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := nobody("status", "-c", "c.yaml"); code != exitUsage || !strings.Contains(out, hint) {
		t.Errorf("a configuration of root's: %d %s", code, out)
	}
}

// copyFile copies a file, which everybody may read and run; ledgers stay as they are.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	mode := os.FileMode(0o755)
	if filepath.Ext(from) == ".db" {
		mode = 0o600
	}
	r, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, mode)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, r); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
