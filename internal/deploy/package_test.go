package deploy

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// packages builds two versions of the package; the second one's policy file differs.
func packages(t *testing.T, nfpm, kind string) (older, newer string) {
	t.Helper()
	dir := t.TempDir()
	stage := filepath.Join(dir, "stage")
	in := func(where, name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Env = where, append(os.Environ(), "SOURCE_DATE_EPOCH=1700000000", "DIST_ARCH=amd64")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	in("../..", "make", "-s", "build", "install", "BIN="+dir, "DESTDIR="+stage, "PREFIX=/usr")
	in("../..", "cp", "-r", "deploy", dir)
	pack := func(version string) string {
		name := "tdscaler_" + version + "." + kind
		in(dir, "env", "DIST_VERSION="+version, nfpm, "package", "-f", "deploy/packages/nfpm.yaml", "-p", kind, "-t", filepath.Join(dir, name))
		return filepath.Join(dir, name)
	}
	older = pack("1.0.0")
	file := filepath.Join(stage, policy)
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
	p.computer = newComputer(t)
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/rpm", "var/log"} {
		must(t, os.MkdirAll(filepath.Join(p.root, dir), 0o755))
	}
	for _, file := range []string{"/var/lib/dpkg/status", "/var/lib/dpkg/available"} {
		p.write(file, "", 0o644)
	}
	for _, file := range []string{p.older, p.newer} {
		p.copy(file, "/packages/"+filepath.Base(file), 0o644)
	}
	p.start()
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
	if !p.exists(policy) {
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
	if !p.exists(policy + ".rpmsave") {
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
	_, err := os.Lstat(p.path(path))
	return err == nil
}

func (p *packaged) installs() {
	if out := p.manage(p.manager.install, p.older); !strings.Contains(out, "neither enabled nor started") {
		p.Error("the installation does not say what to do")
	}
	if state := p.property("ActiveState") + " " + p.property("UnitFileState"); state != "inactive disabled" {
		p.Errorf("after the installation the service is %s", state)
	}
	if out := p.run("tdscaler", "check", policy); !strings.Contains(out, "ok") {
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
	p.write(policy, fmt.Sprintf(`%s
version: 1
daemon: {mode: live, schedule: "@every 1s", ledger: /var/lib/tdscaler/tdscaler.db, listen: ""}
tensordock: {marketplace_url: "http://127.0.0.1:%[2]d", instances_url: "http://127.0.0.1:%[2]d", marketplace_rps: 1000, instances_rpm: 60000}
budget: {max_hourly: 5.00}
policies: [{name: train, target: {gpus: 2}, shape: {gpus: 1}, max_gpu_hour: 1.00}]
`, edited, p.market), 0o644)
}

func (p *packaged) runs() {
	p.run("systemd-run", "--unit=market", "/usr/bin/tdscaler", "simulator", "--listen", fmt.Sprintf("127.0.0.1:%d", p.market))
	p.write("/etc/tdscaler/api_key", "key\n", 0o600)
	p.write("/etc/tdscaler/api_token", "token\n", 0o600)
	p.configure()
	p.run("systemctl", "enable", "--now", "tdscaler")
	p.until(2*time.Minute, "two machines", func() bool { return len(p.machines()) == 2 })
}

func (p *packaged) machines() []string {
	out, _ := p.try("tdscaler", "machines", "--config", policy)
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
	if text := p.run("cat", policy); !strings.HasPrefix(text, edited) {
		p.Errorf("the upgrade replaced the policy file:\n%s", text)
	}
	p.until(2*time.Minute, "the new version runs", func() bool {
		return p.property("ActiveState") == "active" && p.property("MainPID") != before
	})
	if n := len(p.machines()); n != 2 || p.property("UnitFileState") != "enabled" {
		p.Errorf("%d machines, %s", n, p.property("UnitFileState"))
	}
}

func (p *packaged) keepsTheOldOneWhereTheNewOneWouldRefuseTheFile() {
	before := p.property("MainPID")
	p.write(policy, edited+"\nversion: 1\npolicys: []\n", 0o644)
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
	p.until(2*time.Minute, "it ends with 2 and stays down", func() bool {
		return p.property("ActiveState") == "failed" && p.property("ExecMainStatus") == "2"
	})
	p.configure()
	p.run("sh", "-c", "tdscaler check "+policy+" && systemctl restart tdscaler")
	p.until(2*time.Minute, "it runs with the file that was mended", func() bool { return p.property("ActiveState") == "active" })
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
	if p.exists(policy) || !p.kept() || !p.exists("etc/tdscaler/api_key") {
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
