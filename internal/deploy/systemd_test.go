package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	unit   = "tdscaler.service"
	policy = "/etc/tdscaler/policies.yaml"
)

// policies is a policy file for a market in which everything takes milliseconds, with all
// that the unit's sandbox could be in the way of.
func policies(url string, gpus int) string {
	return fmt.Sprintf(`version: 1
daemon:
  schedule: "@every 1s"
  mode: live
  listen: "127.0.0.1:0"
  webhook: {listen: "127.0.0.1:0", secret_file: /run/credentials/tdscaler.service/webhook}
tensordock: {marketplace_url: %q, instances_url: %[1]q, marketplace_rps: 1000}
budget: {max_hourly: 3.60}
safety: {unknown_looks: 2, unknown_age: 3s, absent_looks: 2, absent_age: 500ms, backoff_min: 100ms, backoff_max: 400ms}
policies:
  - name: train
    target: {gpus: %d}
    shape: {gpus: 1}
    max_gpu_hour: 0.60
    ssh_key_file: id_ed25519.pub
    on_ready: {command: [sh, -c, "echo $TDSCALER_MACHINE >> /var/lib/tdscaler/hooked"]}
`, url, gpus)
}

// service is the unit on a booted computer, and the market that it looks at.
type service struct {
	*computer
	market *bazaar
}

// install puts in place what a package would, and what its owner would, and boots.
func install(t *testing.T, prepare ...func(*service)) *service {
	t.Helper()
	wanted(t)
	s := &service{newComputer(t), openMarket(t)}
	for _, fn := range prepare {
		fn(s)
	}
	s.copy(program(t), "/usr/bin/tdscaler", 0o755)
	s.copy("../../deploy/systemd/tdscaler.service", "/usr/lib/systemd/system/"+unit, 0o644)
	s.dropIn("test.conf", "[Service]\nRestartSec=1s\nLoadCredential=webhook:/etc/tdscaler/webhook\n")
	s.configure(2)
	s.write("/etc/tdscaler/id_ed25519.pub", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0bq1bJcYxqv0V1XqGm0y0FQZ0k6m3b0M2l1o8H4l9f test\n", 0o644)
	for name, text := range map[string]string{"api_key": apiKey, "api_token": apiToken, "webhook": "sixteen bytes or more"} {
		s.write("/etc/tdscaler/"+name, text+"\n", 0o600)
	}
	s.start()
	return s
}

func (s *service) configure(gpus int) { s.write(policy, policies(s.market.server.URL, gpus), 0o644) }

func (s *service) dropIn(name, text string) {
	s.write("/etc/systemd/system/"+unit+".d/"+name, text, 0o644)
}

// property is what systemd says of the unit.
func (s *service) property(name string) string {
	s.Helper()
	return strings.TrimSpace(s.run("systemctl", "show", "--value", "--property="+name, unit))
}

func (s *service) number(name string) int {
	s.Helper()
	n, err := strconv.Atoi(s.property(name))
	must(s, err)
	return n
}

func (s *service) journal(args ...string) string {
	s.Helper()
	return s.run(append([]string{"journalctl", "--unit=" + unit, "--output=cat", "--no-pager"}, args...)...)
}

// says waits until the status has this text.
func (s *service) says(text string) {
	s.Helper()
	last := ""
	defer func() {
		if s.Failed() {
			s.Logf("the status is %q; the journal:\n%s", last, s.journal("--lines=40"))
		}
	}()
	s.until(40*time.Second, "the status says "+strconv.Quote(text), func() bool {
		last = s.property("StatusText")
		return strings.Contains(last, text)
	})
	s.Logf("status: %s", last)
}

// has waits until the market has so many machines of ours that run.
func (s *service) has(n int) []string {
	s.Helper()
	s.until(30*time.Second, fmt.Sprintf("%d machines run", n), func() bool { return len(s.market.machines()) == n })
	return s.market.machines()
}

// again waits until it was restarted once more than before, and is there.
func (s *service) again(restarts int) {
	s.Helper()
	s.until(40*time.Second, "it was restarted", func() bool { return s.number("NRestarts") == restarts+1 && s.property("ActiveState") == "active" })
}

// TestTheUnitUnderARealSystemd plays a unit's life on one booted computer; each part goes on
// where the one before has ended.
func TestTheUnitUnderARealSystemd(t *testing.T) {
	s := install(t)
	parts := []struct {
		name string
		play func(*service)
	}{
		{"it starts, is ready at once and says how it does", starts},
		{"nothing of the sandbox is in its way", works},
		{"root asks it, and nobody else", asks},
		{"a bad file changes nothing and is told with its place", reloadsBad},
		{"a good file is taken", reloadsGood},
		{"killed, it comes back and finds its machines", killed},
		{"stuck, it is ended by the watchdog and comes back", stuck},
		{"it is ready although the market is down, and waits for it", down},
		{"what root does to its files leaves them its own", rooted},
		{"the drop-ins for newer versions do what they say", newer},
		{"a stop waits for the answer to an order", patient},
		{"it stops, and its machines stay", stops},
		{"a bad file at the start ends it once", refused},
	}
	for _, p := range parts {
		ok := t.Run(p.name, func(t *testing.T) {
			c := *s.computer
			c.TB = t
			p.play(&service{&c, s.market})
		})
		if !ok {
			t.Fatal("what comes next builds on this")
		}
	}
}

func starts(s *service) {
	s.run("systemctl", "enable", "--now", unit)
	if got := s.property("ActiveState"); got != "active" {
		s.Fatalf("it is %s", got)
	}
	s.has(2)
	s.says("live; 2 of 2 GPUs ready on 2 machines")
	if out := s.run("systemctl", "status", "--no-pager", "--lines=0", unit); !strings.Contains(out, `Status: "live; `) {
		s.Errorf("systemctl status shows no status:\n%s", out)
	}
}

func works(s *service) {
	pid := s.property("MainPID")
	status := s.run("cat", "/proc/"+pid+"/status")
	if uid := regexp.MustCompile(`(?m)^Uid:\s+(\d+)`).FindStringSubmatch(status); uid == nil || uid[1] == "0" {
		s.Errorf("it runs as %v", uid)
	}
	if !strings.Contains(status, "NoNewPrivs:\t1") || !strings.Contains(status, "Seccomp:\t2") {
		s.Errorf("it is not sandboxed:\n%s", status)
	}
	// Money is metered by these where somebody sets the clock.
	s.run("nsenter", "--target", pid, "--mount", "cat", "/proc/uptime", "/proc/sys/kernel/random/boot_id")
	s.until(20*time.Second, "the hook was called for both machines", func() bool {
		out, err := s.try("cat", "/var/lib/tdscaler/hooked")
		return err == nil && slices.Equal(strings.Fields(sortLines(out)), s.market.machines())
	})
	if j := s.journal(); !strings.Contains(j, "webhook listening") || !strings.Contains(j, `"msg":"listening"`) {
		s.Errorf("it does not listen:\n%s", j)
	}
	if j := s.journal("--priority=warning"); j != "" && !strings.Contains(j, "-- No entries --") {
		s.Errorf("the journal has warnings:\n%s", j)
	}
}

func sortLines(text string) string {
	lines := strings.Fields(text)
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func asks(s *service) {
	if out := s.run("tdscaler", "status", "--config", policy); !strings.Contains(out, "a daemon runs") {
		s.Errorf("root is told:\n%s", out)
	}
	if out, err := s.try("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "tdscaler", "status", "--config", policy); err == nil {
		s.Errorf("nobody is told:\n%s", out)
	}
	if out := s.run("stat", "--format=%a %U", "/var/lib/private/tdscaler/tdscaler.db", "/var/lib/private/tdscaler/tdscaler.db.sock"); out != "600 tdscaler\n600 tdscaler\n" && !strings.HasPrefix(out, "600 ") {
		s.Errorf("ledger and socket: %s", out)
	}
	s.run("tdscaler", "ledger", "backup", "/var/lib/tdscaler/backup.db", "--config", policy)
	s.run("tdscaler", "ledger", "verify", "--file", "/var/lib/tdscaler/backup.db")
	s.run("env", "CREDENTIALS_DIRECTORY=/etc/tdscaler", "tdscaler", "auth", "--config", policy)
}

func reloadsBad(s *service) {
	s.write(policy, "version: 1\npolicies:\n  - {name: train, target: {gpus: many}}\n", 0o644)
	s.run("systemctl", "reload", unit)
	s.says("FILE NOT RELOADED")
	if got := s.property("StatusText"); !strings.Contains(got, policy+":3:") {
		s.Errorf("the status does not say where: %s", got)
	}
	if j := s.journal("--priority=err"); !strings.Contains(j, policy+":3:") {
		s.Errorf("the journal does not say where:\n%s", j)
	}
	if got := s.property("ActiveState"); got != "active" {
		s.Errorf("it is %s", got)
	}
	s.has(2)
}

func reloadsGood(s *service) {
	s.configure(3)
	s.run("systemctl", "reload", unit)
	s.has(3)
	s.says("live; 3 of 3 GPUs ready on 3 machines")
	if n := s.number("NRestarts"); n != 0 {
		s.Errorf("it was restarted %d times", n)
	}
}

func killed(s *service) {
	before, orders, restarts := s.has(3), s.market.ordered(), s.number("NRestarts")
	s.run("systemctl", "kill", "--signal=KILL", unit)
	s.again(restarts)
	s.says("live; 3 of 3 GPUs ready on 3 machines")
	if after := s.has(3); !slices.Equal(after, before) || s.market.ordered() != orders {
		s.Errorf("it has %v, it had %v, and bought %d", after, before, s.market.ordered()-orders)
	}
}

func stuck(s *service) {
	s.dropIn("watchdog.conf", "[Service]\nWatchdogSec=4s\n")
	s.run("systemctl", "daemon-reload")
	s.run("systemctl", "restart", unit)
	s.says("3 of 3 GPUs ready")
	restarts, pid := s.number("NRestarts"), s.property("MainPID")
	time.Sleep(9 * time.Second) // more than twice the watchdog's time
	if s.property("MainPID") != pid {
		s.Fatalf("it was restarted although it works:\n%s", s.journal("--lines=20"))
	}
	s.run("kill", "-STOP", pid)
	s.again(restarts)
	s.stood()
	s.has(3)
}

// stood: the journal has where it was stuck.
func (s *service) stood() {
	s.Helper()
	if j := s.journal(); !strings.Contains(j, "SIGABRT: abort") || !strings.Contains(j, "daemon.(*Daemon).Run") {
		s.Error("the journal does not tell where it stood")
	}
}

// TestACommitThatHangsIsFoundOutAndEndsInARestart lets the disk under the ledger hang, which
// nothing in the process can be told to give up.
func TestACommitThatHangsIsFoundOutAndEndsInARestart(t *testing.T) {
	var disk string
	s := install(t, func(s *service) { disk = s.disk("/var/lib/private/tdscaler") })
	s.dropIn("watchdog.conf", "[Service]\nWatchdogSec=4s\n")
	s.run("systemctl", "daemon-reload")
	s.run("systemctl", "start", unit)
	before := s.has(2)
	s.says("live; 2 of 2 GPUs ready on 2 machines")
	thaw := sync.OnceFunc(func() { outside(t, "fsfreeze", "--unfreeze", disk) })
	t.Cleanup(thaw) // else nothing that touched it could ever end
	began := time.Now()
	outside(t, "fsfreeze", "--freeze", disk)
	s.until(40*time.Second, "it knows that it is stuck", func() bool { return strings.Contains(s.journal("--priority=err"), "the cycle is stuck") })
	t.Logf("it knew after %s", time.Since(began).Round(100*time.Millisecond))
	s.until(40*time.Second, "systemd ends it", func() bool { return s.property("Result") == "watchdog" || s.property("ActiveState") != "active" })
	t.Logf("systemd knew after %s", time.Since(began).Round(100*time.Millisecond))
	thaw()
	s.again(0)
	s.stood()
	s.says("live; 2 of 2 GPUs ready on 2 machines")
	if after := s.has(2); !slices.Equal(after, before) || s.market.ordered() != 2 {
		t.Errorf("it has %v, it had %v, and bought %d", after, before, s.market.ordered())
	}
}

// disk puts a folder on a disk of its own, and returns where that is seen from outside.
func (s *service) disk(path string) string {
	s.Helper()
	image, at := filepath.Join(s.TempDir(), "disk"), filepath.Join(s.root, path)
	must(s, os.WriteFile(image, nil, 0o600))
	must(s, os.Truncate(image, 64<<20))
	must(s, os.MkdirAll(at, 0o700))
	outside(s, "mkfs.ext4", "-q", image)
	outside(s, "mount", "-o", "loop", image, at)
	s.Cleanup(func() { outside(s, "umount", at) })
	return at
}

// outside runs a command on this computer.
func outside(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func down(s *service) {
	url := s.market.server.Listener.Addr().String()
	s.run("systemctl", "stop", unit)
	s.write(policy, strings.ReplaceAll(policies(s.market.server.URL, 3), url, "127.0.0.1:9"), 0o644)
	s.run("systemctl", "start", unit)
	s.says("PROBLEM: the list of machines")
	restarts := s.number("NRestarts")
	time.Sleep(9 * time.Second)
	if n := s.number("NRestarts"); n != restarts || s.property("ActiveState") != "active" {
		s.Errorf("it was restarted %d times for a market that is down", n-restarts)
	}
	s.configure(3)
	s.run("systemctl", "reload", unit)
	s.says("live; 3 of 3 GPUs ready on 3 machines")
}

// rooted is what an administrator does beside the daemon.
func rooted(s *service) {
	s.run("systemctl", "stop", unit)
	s.run("tdscaler", "ledger", "compact", "--config", policy)
	s.run("systemctl", "start", unit)
	s.says("live; 3 of 3 GPUs ready on 3 machines")
	s.run("tdscaler", "ledger", "backup", "/var/lib/tdscaler/copy.db", "--config", policy)
	s.run("systemctl", "stop", unit)
	s.run("cp", "--remove-destination", "/var/lib/tdscaler/copy.db", "/var/lib/tdscaler/tdscaler.db") // root's now
	s.run("chown", "root:root", "/var/lib/private/tdscaler")                                          // systemd gives all below back
	s.run("systemctl", "start", unit)
	s.says("live; 3 of 3 GPUs ready on 3 machines")
	s.run("systemctl", "stop", unit)
	s.run("rm", "/var/lib/tdscaler")
	s.run("mv", "/var/lib/private/tdscaler", "/var/lib/tdscaler") // as one that was moved here
	s.run("chown", "--recursive", "root:root", "/var/lib/tdscaler")
	s.run("systemctl", "start", unit)
	s.says("live; 3 of 3 GPUs ready on 3 machines")
}

// newer plays with what this systemd is new enough for.
func newer(s *service) {
	v := systemdVersion(s, s.run("systemctl", "--version"))
	for dropIn, since := range map[string]int{"notify-reload.conf": 253, "restart-backoff.conf": 254} {
		if v < since {
			s.Logf("%s wants systemd %d, this is %d", dropIn, since, v)
			continue
		}
		s.copy("../../deploy/systemd/"+dropIn, "/etc/systemd/system/"+unit+".d/"+dropIn, 0o644)
	}
	s.run("systemctl", "daemon-reload")
	if out := s.run("systemd-analyze", "verify", "--man=no", unit); out != "" {
		s.Errorf("not understood:\n%s", out)
	}
	s.run("systemctl", "restart", unit)
	s.says("live; 3 of 3 GPUs ready on 3 machines")
	if v < 253 {
		return
	}
	s.write(policy, "version: 1\npolicies: {}\n", 0o644)
	began := time.Now()
	s.run("systemctl", "reload", unit)
	if got := s.property("StatusText"); !strings.Contains(got, "FILE NOT RELOADED") || s.property("ActiveState") != "active" {
		s.Errorf("a reload did not wait for the daemon: %s", got)
	}
	s.Logf("a reload took %s", time.Since(began).Round(10*time.Millisecond))
	s.configure(3)
	s.run("systemctl", "reload", unit)
	if got := s.property("StatusText"); strings.Contains(got, "FILE NOT RELOADED") {
		s.Errorf("a reload did not wait for the daemon: %s", got)
	}
}

// patient stops it while an order is under way, with less time than that takes.
func patient(s *service) {
	s.dropIn("stop.conf", "[Service]\nTimeoutStopSec=2s\n")
	s.run("systemctl", "daemon-reload")
	s.market.slow.Store(int64(5 * time.Second))
	s.configure(4)
	s.run("systemctl", "reload", unit)
	<-s.market.asked
	s.market.slow.Store(0)
	began := time.Now()
	s.run("systemctl", "stop", unit)
	s.Logf("it stopped within %s", time.Since(began).Round(10*time.Millisecond))
	if got := s.property("Result"); got != "success" || time.Since(began) < 3*time.Second {
		s.Errorf("its end is %s after %s", got, time.Since(began))
	}
	if j := s.journal("--lines=10"); !strings.Contains(j, `"state":"accepted"`) {
		s.Errorf("the answer was not waited for:\n%s", j)
	}
	s.run("systemctl", "start", unit)
	s.says("live; 4 of 4 GPUs ready on 4 machines")
}

func stops(s *service) {
	began := time.Now()
	s.run("systemctl", "stop", unit)
	s.Logf("it stopped within %s", time.Since(began).Round(10*time.Millisecond))
	if got := s.property("ActiveState") + " " + s.property("Result"); got != "inactive success" {
		s.Errorf("it is %s", got)
	}
	s.has(4)
	if n := s.market.ordered(); n != 4 {
		s.Errorf("%d machines were bought in all", n)
	}
}

func refused(s *service) {
	s.write(policy, "version: 1\npolicies: {}\n", 0o644)
	if out, err := s.try("systemctl", "start", unit); err == nil {
		s.Errorf("it starts: %s", out)
	}
	time.Sleep(3 * time.Second) // RestartSec is one
	if got := s.property("ActiveState") + " " + s.property("ExecMainStatus"); got != "failed 2" || s.number("NRestarts") != 0 {
		s.Errorf("it is %s after %d restarts", got, s.number("NRestarts"))
	}
	if j := s.journal("--lines=10"); !strings.Contains(j, policy+":2:") {
		s.Errorf("the journal does not say where:\n%s", j)
	}
}
