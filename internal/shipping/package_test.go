package shipping

import (
	"bytes"
	"fmt"
	"net"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// computer is a systemd that was booted in a namespace, with a dpkg of its own. Its
// /usr lies over this machine's, and what is written to it goes elsewhere.
type computer struct {
	*testing.T
	root   string
	leader int // the process id of its systemd
}

// sh runs a command of this machine.
func (c *computer) sh(name string, args ...string) string {
	c.Helper()
	out, err := osexec.Command(name, args...).CombinedOutput()
	if err != nil {
		c.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// try runs a command in the computer.
func (c *computer) try(args ...string) (string, error) {
	out, err := osexec.Command("nsenter", append([]string{"-t", strconv.Itoa(c.leader), "-m", "-u", "-i", "-n", "-p", "--", "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND=noninteractive"}, args...)...).CombinedOutput()
	return string(out), err
}

func (c *computer) run(args ...string) string {
	c.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *computer) write(path, text string) {
	c.Helper()
	path = filepath.Join(c.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
}

func (c *computer) until(what string, fn func() bool) {
	c.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(300 * time.Millisecond) {
		if fn() {
			return
		}
	}
	log, _ := c.try("journalctl", "--no-pager", "-n", "40")
	c.Fatalf("it never came about: %s\n%s", what, log)
}

// boot makes the tree and starts its systemd.
func boot(t *testing.T) *computer {
	t.Helper()
	c := &computer{T: t, root: filepath.Join(t.TempDir(), "computer")}
	for _, dir := range []string{"usr", "etc", "var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/rpm", "var/log", "run", "proc", "sys", "dev", "tmp", "root", "packages"} {
		if err := os.MkdirAll(filepath.Join(c.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "sbin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+dir, filepath.Join(c.root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	c.sh("cp", "-rL", "/etc/os-release", "/etc/passwd", "/etc/group", "/etc/shadow", "/etc/nsswitch.conf", "/etc/dbus-1", "/etc/pam.d", filepath.Join(c.root, "etc"))
	c.write("etc/machine-id", strings.Repeat("5eed", 8)+"\n") // not a first boot, which would enable all there is
	c.write("var/lib/dpkg/status", "")
	c.write("var/lib/dpkg/available", "")
	c.overlay()
	c.start()
	return c
}

// overlay puts a /usr that can be written over this machine's.
func (c *computer) overlay() {
	c.Helper()
	upper, usr := c.TempDir(), filepath.Join(c.root, "usr")
	for _, dir := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(upper, dir), 0o755); err != nil {
			c.Fatal(err)
		}
	}
	c.sh("mount", "-t", "tmpfs", "tmpfs", upper) // the disk below may be an overlay itself
	c.Cleanup(func() { c.sh("umount", upper) })
	c.sh("mkdir", upper+"/upper", upper+"/work")
	c.sh("mount", "-t", "overlay", "overlay", "-o", "lowerdir=/usr,upperdir="+upper+"/upper,workdir="+upper+"/work", usr)
	c.Cleanup(func() { c.sh("umount", usr) })
}

func (c *computer) start() {
	c.Helper()
	var console bytes.Buffer
	nspawn := osexec.Command("systemd-nspawn", "-q", "-D", c.root, "--boot", "--register=no", "--keep-unit", "-M", "tdscaler-packages", "--console=pipe")
	nspawn.Stdout, nspawn.Stderr = &console, &console
	if err := nspawn.Start(); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		if c.leader != 0 {
			_ = osexec.Command("kill", "-s", "RTMIN+4", strconv.Itoa(c.leader)).Run() // halt
		}
		forced := time.AfterFunc(30*time.Second, func() { _ = nspawn.Process.Kill() })
		defer forced.Stop()
		_ = nspawn.Wait() // that it was halted is no failure
	})
	booted := func() bool {
		if c.leader == 0 {
			out, _ := osexec.Command("pgrep", "-P", strconv.Itoa(nspawn.Process.Pid), "-x", "systemd").Output()
			c.leader, _ = strconv.Atoi(strings.TrimSpace(string(out)))
		}
		state, _ := c.try("systemctl", "is-system-running")
		return c.leader != 0 && (strings.Contains(state, "running") || strings.Contains(state, "degraded"))
	}
	for end := time.Now().Add(time.Minute); !booted(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			c.Fatalf("systemd does not boot:\n%s", console.String())
		}
	}
}

// packages builds two versions of the package; the second one's policy file differs.
func packages(t *testing.T, nfpm, kind string) (older, newer string) {
	t.Helper()
	dir := t.TempDir()
	stage := filepath.Join(dir, "stage")
	in := func(where, name string, args ...string) {
		t.Helper()
		cmd := osexec.Command(name, args...)
		cmd.Dir, cmd.Env = where, append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "DIST_ARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	in(root, "make", "-s", "build", "install", "BIN="+dir, "DESTDIR="+stage, "PREFIX=/usr")
	in(root, "cp", "-r", "deploy", dir)
	pack := func(version string) string {
		name := "tdscaler_" + version + "." + kind
		in(dir, "env", "DIST_VERSION="+version, nfpm, "package", "-f", "deploy/packages/nfpm.yaml", "-p", kind, "-t", filepath.Join(dir, name))
		return filepath.Join(dir, name)
	}
	older = pack("1.0.0")
	file := filepath.Join(stage, configPath)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, "# of the new version\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	return older, pack("1.1.0")
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// manager is a program that installs packages, by what it is asked for.
type manager struct{ install, upgrade, downgrade, remove []string }

// packaged is the package in a computer.
type packaged struct {
	*computer
	manager      manager
	older, newer string
	market       int
}

// newPackaged boots a computer beside which two versions of a package lie.
func newPackaged(t *testing.T, kind string, m manager) *packaged {
	t.Helper()
	nfpm := os.Getenv("TDSCALER_PACKAGES")
	if nfpm == "" {
		t.Skip("boots a systemd and installs the package in it: make test-packages")
	}
	p := &packaged{market: freePort(t), manager: m}
	p.older, p.newer = packages(t, nfpm, kind)
	p.computer = boot(t)
	for _, file := range []string{p.older, p.newer} {
		p.sh("cp", file, filepath.Join(p.root, "packages"))
	}
	return p
}

func TestThePackageIsInstalledRunUpgradedRemovedAndPurgedWithoutASurprise(t *testing.T) {
	install := []string{"dpkg", "--force-confold", "-i"}
	p := newPackaged(t, "deb", manager{install, install, install, []string{"dpkg", "--remove", "tdscaler"}})
	p.installs()
	p.runs()
	p.upgrades()
	p.keepsTheOldOneWhereTheNewOneWouldRefuseTheFile()
	p.removes()
	if !p.exists(configPath) {
		p.Error("a removal takes the policy file")
	}
	p.purges()
	p.findsItsMachinesAgain()
}

func TestThePackageOfRPMDoesTheSame(t *testing.T) {
	rpm := func(args ...string) []string { return append([]string{"rpm", "--force-debian", "--nodeps"}, args...) }
	p := newPackaged(t, "rpm", manager{rpm("-i"), rpm("-U"), rpm("-U", "--oldpackage"), rpm("-e", "tdscaler")})
	p.installs()
	p.runs()
	p.upgrades()
	p.keepsTheOldOneWhereTheNewOneWouldRefuseTheFile()
	p.removes()
	if !p.exists(configPath + ".rpmsave") {
		p.Error("a removal takes the policy file, and leaves no copy")
	}
	p.findsItsMachinesAgain()
}

// manage runs the manager on a package's file, or on none.
func (p *packaged) manage(words []string, file string) string {
	p.Helper()
	if file != "" {
		words = append(slices.Clone(words), "/packages/"+filepath.Base(file))
	}
	out := p.run(words...)
	p.Logf("%s\n%s", strings.Join(words, " "), out)
	return out
}

func (p *packaged) property(name string) string {
	p.Helper()
	out, _ := p.try("systemctl", "show", "--value", "-p", name, "tdscaler")
	return strings.TrimSpace(out)
}

func (p *packaged) exists(path string) bool {
	_, err := os.Stat(filepath.Join(p.root, path))
	return err == nil
}

func (p *packaged) installs() {
	if out := p.manage(p.manager.install, p.older); !strings.Contains(out, "neither enabled nor started") {
		p.Error("the installation does not say what to do")
	}
	if state := p.property("ActiveState") + " " + p.property("UnitFileState"); state != "inactive disabled" {
		p.Errorf("after the installation the service is %s", state)
	}
	if out := p.run("tdscaler", "check", configPath); !strings.Contains(out, "ok") {
		p.Errorf("the policy file as installed: %s", out)
	}
	for _, path := range []string{"usr/share/man/man1/tdscaler.1.gz", "usr/share/man/man5/tdscaler-policies.5.gz", "usr/share/bash-completion/completions/tdscaler", "usr/share/doc/tdscaler/examples/policies.example.yaml"} {
		if !p.exists(path) {
			p.Errorf("%s is missing", path)
		}
	}
}

const edited = "# edited by hand"

func (p *packaged) configure() {
	p.write(configPath, fmt.Sprintf(`%s
version: 1
daemon: {mode: live, schedule: "@every 1s", ledger: %s/tdscaler.db, listen: ""}
tensordock: {marketplace_url: "http://127.0.0.1:%[3]d", instances_url: "http://127.0.0.1:%[3]d", marketplace_rps: 1000, instances_rpm: 60000}
budget: {max_hourly: 5.00}
policies: [{name: train, target: {gpus: 2}, shape: {gpus: 1}, max_gpu_hour: 1.00}]
`, edited, statePath, p.market))
	p.run("chmod", "0644", configPath)
}

func (p *packaged) runs() {
	p.run("systemd-run", "--unit=market", "/usr/bin/tdscaler", "simulator", "--listen", fmt.Sprintf("127.0.0.1:%d", p.market))
	p.write("etc/tdscaler/api_key", "key\n")
	p.write("etc/tdscaler/api_token", "token\n")
	p.configure()
	p.run("systemctl", "enable", "--now", "tdscaler")
	p.until("two machines", func() bool { return len(p.machines()) == 2 })
}

func (p *packaged) machines() []string {
	out, _ := p.try("tdscaler", "machines", "--config", configPath)
	var names []string
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, "tds-") {
			names = append(names, strings.Fields(line)[0])
		}
	}
	return names
}

func (p *packaged) upgrades() {
	before := p.property("MainPID")
	p.manage(p.manager.upgrade, p.newer)
	if text := p.run("cat", configPath); !strings.HasPrefix(text, edited) {
		p.Errorf("the upgrade replaced the policy file:\n%s", text)
	}
	p.until("the new version runs", func() bool {
		return p.property("ActiveState") == "active" && p.property("MainPID") != before
	})
	if n := len(p.machines()); n != 2 || p.property("UnitFileState") != "enabled" {
		p.Errorf("%d machines, %s", n, p.property("UnitFileState"))
	}
}

func (p *packaged) keepsTheOldOneWhereTheNewOneWouldRefuseTheFile() {
	before := p.property("MainPID")
	p.write(configPath, edited+"\nversion: 1\npolicys: []\n")
	out := p.manage(p.manager.downgrade, p.older)
	for _, told := range []string{"URGENT", "policys", "in memory only", "NOT TRIED AGAIN", "systemctl restart tdscaler"} {
		if !strings.Contains(out, told) {
			p.Errorf("it is not told of %q", told)
		}
	}
	if now := p.property("MainPID"); now != before || p.property("ActiveState") != "active" {
		p.Errorf("process %s became %s", before, now)
	}
	// It is as urgent as it says, and what it says to do helps.
	p.run("kill", "-9", before)
	p.until("it ends with 2 and stays down", func() bool {
		return p.property("ActiveState") == "failed" && p.property("ExecMainStatus") == "2"
	})
	p.configure()
	p.run("sh", "-c", "tdscaler check "+configPath+" && systemctl restart tdscaler")
	p.until("it runs with the file that was mended", func() bool { return p.property("ActiveState") == "active" })
}

func (p *packaged) removes() {
	names := p.machines()
	out := p.manage(p.manager.remove, "")
	if len(names) != 2 || !strings.Contains(out, "GO ON RUNNING AND COSTING") || !strings.Contains(out, names[0]) || !strings.Contains(out, names[1]) {
		p.Errorf("it is not told that %v go on", names)
	}
	if p.exists("usr/bin/tdscaler") || !p.kept() {
		p.Error("a removal takes the program, and leaves the ledger")
	}
	if state := p.property("ActiveState"); state != "inactive" {
		p.Errorf("the service is %s", state)
	}
}

func (p *packaged) kept() bool { return p.exists("var/lib/private/tdscaler/tdscaler.db") }

func (p *packaged) purges() {
	if out := p.manage([]string{"dpkg", "--purge", "tdscaler"}, ""); !strings.Contains(out, "is KEPT") || !strings.Contains(out, "GO ON COSTING MONEY") || !strings.Contains(out, "api_key is kept") {
		p.Error("it is not told what is kept, and why")
	}
	if p.exists(configPath) || !p.kept() || !p.exists("etc/tdscaler/api_key") {
		p.Error("a purge takes the policy file, and leaves ledger and credentials")
	}
}

func (p *packaged) findsItsMachinesAgain() {
	p.manage(p.manager.install, p.newer)
	p.configure()
	if n := len(p.machines()); n != 2 {
		p.Errorf("%d machines in the ledger that was kept", n)
	}
}

func TestShellsUnderstandTheScriptsAndNfpmFindsWhatItIsTold(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join(root, "deploy/packages/scripts/*.sh"))
	if err != nil || len(scripts) != 3 {
		t.Fatalf("%v, %v", scripts, err)
	}
	config := read(t, "deploy/packages/nfpm.yaml")
	for _, s := range scripts {
		if out, err := osexec.Command("sh", "-n", s).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", s, out)
		}
		if path := strings.TrimPrefix(filepath.ToSlash(s), root+"/"); !strings.Contains(config, ": "+path+"\n") {
			t.Errorf("the packages do not have %s", path)
		}
	}
	for _, s := range []string{"dist.sh", "licenses.sh"} {
		if out, err := osexec.Command("bash", "-n", filepath.Join(root, "deploy/packages", s)).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", s, out)
		}
	}
	if !strings.Contains(config, "dst: "+configPath+", type: config|noreplace") {
		t.Error("an upgrade would replace the policy file")
	}
}

func TestThePolicyFileOfThePackagesBuysNothing(t *testing.T) {
	s := settings(t, "deploy/packages/policies.yaml")
	if s.Daemon.Mode != policy.DryRun || len(s.Policies) > 0 || filepath.Dir(s.Daemon.Ledger) != statePath || s.Daemon.Listen != "127.0.0.1:9877" {
		t.Errorf("%+v", s)
	}
	if unit := read(t, "deploy/systemd/tdscaler.service"); !strings.Contains(unit, "ExecStart="+binaryPath+" run --config "+configPath+"\n") || !strings.Contains(unit, "StateDirectory="+filepath.Base(statePath)+"\n") {
		t.Error("the unit starts something else")
	}
}
