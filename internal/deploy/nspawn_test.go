package deploy

import (
	"bytes"
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// computer is a booted systemd in a namespace, around a tiny tree of its own. Its /usr is
// this computer's, or TDSCALER_SYSTEMD_USR, and what it changes there is gone with it. It
// shares our network.
type computer struct {
	testing.TB
	root  string // its tree, from outside
	usr   string // what differs from the given /usr, from outside
	boot  *exec.Cmd
	init  int // its systemd's process id, seen from here
	ended chan error
}

// wanted leaves a test out for which nobody asked: a boot and what is done then takes
// minutes.
func wanted(t testing.TB) {
	t.Helper()
	if os.Getenv("TDSCALER_SYSTEMD") == "" {
		t.Skip(`needs root and boots a systemd of its own: "make test-systemd" runs it`)
	}
}

// newComputer makes a computer that is not booted yet. It needs root and systemd-nspawn.
func newComputer(t testing.TB) *computer {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("booting a systemd needs root")
	}
	dir, err := os.MkdirTemp("/dev/shm", "tdsys")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	c := &computer{TB: t, root: filepath.Join(dir, "root"), usr: filepath.Join(dir, "usr"), ended: make(chan error, 1)}
	for _, d := range []string{"usr", "etc/systemd/system", "var/tmp", "run", "proc", "sys", "dev", "tmp", "root", "home", "srv", "opt"} {
		must(t, os.MkdirAll(filepath.Join(c.root, d), 0o755))
	}
	must(t, os.MkdirAll(c.usr, 0o755))
	for _, l := range []string{"bin", "sbin", "lib", "lib64"} {
		must(t, os.Symlink("usr/"+l, filepath.Join(c.root, l)))
	}
	for _, f := range []string{"os-release", "passwd", "group", "shadow", "nsswitch.conf", "ld.so.cache"} {
		b, err := os.ReadFile("/etc/" + f)
		must(t, err)
		c.write("/etc/"+f, string(b), 0o644)
	}
	for _, d := range []string{"/etc/dbus-1", "/etc/pam.d", "/etc/security"} {
		must(t, os.CopyFS(filepath.Join(c.root, d), os.DirFS(d)))
	}
	// With an id this is no first boot, which would enable every unit of this computer.
	c.write("/etc/machine-id", strings.Repeat("5e0a91c7", 4)+"\n", 0o444)
	return c
}

// write puts a file there, before or after the boot; one below /usr, before it.
func (c *computer) write(path, text string, mode fs.FileMode) {
	c.Helper()
	at := c.path(path)
	must(c, os.MkdirAll(filepath.Dir(at), 0o755))
	must(c, os.WriteFile(at, []byte(text), mode))
	must(c, os.Chmod(at, mode)) // whatever the umask is, and whatever was there
}

// path is where a file of its own is, from outside.
func (c *computer) path(path string) string {
	if below, ok := strings.CutPrefix(filepath.Join("/", path), "/usr/"); ok {
		return filepath.Join(c.usr, below)
	}
	return filepath.Join(c.root, path)
}

// copy puts a file of ours there.
func (c *computer) copy(from, to string, mode fs.FileMode) {
	c.Helper()
	b, err := os.ReadFile(from)
	must(c, err)
	c.write(to, string(b), mode)
}

// start boots it; the end of the test halts it.
func (c *computer) start() {
	c.Helper()
	console := &bytes.Buffer{}
	c.boot = exec.Command("systemd-nspawn", "--quiet", "--directory="+c.root, "--overlay="+cmp.Or(os.Getenv("TDSCALER_SYSTEMD_USR"), "/usr")+":"+c.usr+":/usr",
		"--boot", "--register=no", "--keep-unit", "--machine=tdscaler-test", "--console=pipe")
	c.boot.Stdout, c.boot.Stderr = console, console
	c.boot.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	must(c, c.boot.Start())
	go func() { c.ended <- c.boot.Wait() }()
	c.Cleanup(func() {
		c.halt()
		if c.Failed() {
			c.Log(console.String())
		}
	})
	began := time.Now()
	c.until(30*time.Second, "it boots", func() bool {
		c.init = child(c.boot.Process.Pid, "systemd")
		out, _ := c.try("systemctl", "is-system-running")
		return c.init != 0 && (strings.HasPrefix(out, "running") || strings.HasPrefix(out, "degraded"))
	})
	c.Logf("systemd runs %s after its start: %s", time.Since(began).Round(100*time.Millisecond), strings.SplitN(c.run("systemctl", "--version"), "\n", 2)[0])
}

func (c *computer) halt() {
	if c.init != 0 {
		_ = syscall.Kill(c.init, rtmin+4) // systemd's word for halt; it may be gone
	}
	select {
	case <-c.ended:
	case <-time.After(20 * time.Second):
		c.Error("it does not halt")
		_ = c.boot.Process.Kill()
		<-c.ended
	}
}

// rtmin is SIGRTMIN as the C library counts.
const rtmin = syscall.Signal(34)

// child is the process of this name that a process has begun; 0 if there is none.
func child(parent int, name string) int {
	list, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", parent))
	for _, f := range strings.Fields(string(list)) {
		if comm, _ := os.ReadFile("/proc/" + f + "/comm"); strings.TrimSpace(string(comm)) == name {
			pid, _ := strconv.Atoi(f)
			return pid
		}
	}
	return 0
}

// try runs a command in it, as root, and returns all that it prints.
func (c *computer) try(args ...string) (string, error) {
	cmd := exec.Command("nsenter", append([]string{"--target", strconv.Itoa(c.init), "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd", "--"}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin", "TERM=dumb", "LANG=C.UTF-8", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run is try for what must work.
func (c *computer) run(args ...string) string {
	c.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// until waits until fn holds.
func (c *computer) until(d time.Duration, what string, fn func() bool) {
	c.Helper()
	for end := time.Now().Add(d); !fn(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			c.Fatalf("not within %s: %s", d, what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
