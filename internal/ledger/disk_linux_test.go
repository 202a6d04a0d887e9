package ledger

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// mountTmpfs mounts a small disk of its own, or skips the test.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("a disk cannot be mounted here (it takes root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fillUp writes to a file until there is no room.
func fillUp(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	for b := make([]byte, 4096); err == nil; {
		_, err = f.Write(b)
	}
	if !errors.Is(err, unix.ENOSPC) {
		return err
	}
	return f.Close()
}

func TestAFullDiskLeavesTheLedgerAsItWas(t *testing.T) {
	dir := mountTmpfs(t, "size=2m")
	filler := filepath.Join(dir, "filler")
	path := filepath.Join(dir, "tdscaler.db")
	must(t, outage(path, func() error { return fillUp(filler) }, func() error { return os.Remove(filler) }))

	// A copy has no room either, and leaves nothing behind.
	l := mustOpen(t, Options{Path: path})
	must(t, fillUp(filler))
	if _, err := l.Backup(filepath.Join(dir, "copy.db"), false); err == nil || !strings.Contains(err.Error(), unix.ENOSPC.Error()) {
		t.Errorf("a backup: %v", err)
	}
	must(t, l.Close())
	if _, err := Compact(Options{Path: path}); err == nil || !strings.Contains(err.Error(), unix.ENOSPC.Error()) {
		t.Errorf("compact: %v", err)
	}
	if _, err := Open(Options{Path: filepath.Join(dir, "another.db")}); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a new ledger: %v", err)
	}
	wantAlone(t, path, filler)
	must(t, mustOpen(t, Options{Path: path}).Verify()) // opening needs no room
}

func TestAReadOnlyDiskIsToldAndCanBeRead(t *testing.T) {
	dir := mountTmpfs(t, "size=2m")
	path := filepath.Join(dir, "tdscaler.db")
	l := full(t, Options{Path: path})
	must(t, l.Close())
	must(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for _, p := range []string{path, filepath.Join(dir, "another.db")} {
		if _, err := Open(Options{Path: p}); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v", p, err)
		}
	}
	l = mustOpen(t, Options{Path: path, ReadOnly: true})
	must(t, l.Verify())
	must1(l.Backup(filepath.Join(t.TempDir(), "rescued.db"), false))
	if err := l.Update(func(*Tx) error { return nil }); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
}
