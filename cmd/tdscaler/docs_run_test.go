package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// A shell block of the documents is run as it stands, in a folder with a configuration,
// a ledger and a simulated market of its own. Not run, but held to the commands and
// flags there are, is
//
//   - a block with a command of elsewhere: the machine's services, packages, containers,
//     or the network; and
//   - a block below a line <!-- not run: WHY -->.
var elsewhere = []string{
	"apt", "apt-get", "dpkg", "rpm", "dnf", "systemctl", "systemd-run", "systemd-creds", "systemd-analyze", "journalctl", "nsenter", "useradd", "docker", "podman", "docker-compose",
	"kubectl", "helm", "git", "ssh", "scp", "rsync", "go", "promtool", "amtool", "prometheus", "alertmanager", "grafana-cli", "chown", "man", "loginctl", "cosign", "wget",
}

// notEverywhere are commands without which a block is only parsed, too.
var notEverywhere = []string{"curl", "findmnt", "jq"}

func installed(name string) bool {
	_, err := exec.LookPath(name)
	return err == nil
}

// block is a piece of shell on a page.
type block struct {
	line   int
	text   string
	notRun string // why it is not run
}

var (
	fence  = regexp.MustCompile("^ *```([a-z]*)")
	marker = regexp.MustCompile(`^ *<!-- not run: (.+) -->$`)
)

// shellBlocks are the pieces of shell on a page; problems are blocks of no language that
// look like some.
func shellBlocks(page string) (blocks []block, problems []string) {
	lines := strings.Split(page, "\n")
	last := "" // line with something on it
	for i := 0; i < len(lines); i++ {
		m := fence.FindStringSubmatch(lines[i])
		if m == nil {
			if strings.TrimSpace(lines[i]) != "" {
				last = lines[i]
			}
			continue
		}
		b := block{line: i + 1}
		for i++; i < len(lines) && !fence.MatchString(lines[i]); i++ {
			b.text += lines[i] + "\n"
		}
		if m[1] == "console" { // a transcript: what was typed, and what was said
			b.text = typed(b.text)
		}
		switch m[1] {
		case "sh", "bash", "shell", "console":
			if why := marker.FindStringSubmatch(last); why != nil {
				b.notRun = why[1]
			}
			blocks = append(blocks, b)
		case "":
			if regexp.MustCompile(`(?m)^ *(sudo |\$ )?(bin/)?tdscaler [a-z]`).MatchString(b.text) {
				problems = append(problems, fmt.Sprintf("line %d: a call of tdscaler in a block that is not marked as sh", b.line))
			}
		}
		last = ""
	}
	return blocks, problems
}

// typed is what stands behind the prompts of a transcript.
func typed(text string) string {
	out := ""
	for _, m := range regexp.MustCompile(`(?m)^\s*\$ (.*)$`).FindAllStringSubmatch(text, -1) {
		out += m[1] + "\n"
	}
	return out
}

// pagesOfDocs are the pages people read, by path from the root of the project.
func pagesOfDocs(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, top := range []string{"README.md", "CONTRIBUTING.md", "docs", "deploy"} {
		err := filepath.WalkDir(filepath.Join("../..", top), func(p string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() || !strings.HasSuffix(p, ".md") {
				return err
			}
			b, err := os.ReadFile(p)
			rel, _ := filepath.Rel("../..", p) // both are relative
			out[filepath.ToSlash(rel)] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(out) < 15 {
		t.Fatalf("only %d pages were found", len(out))
	}
	return out
}

// runnable says whether a block can be run here.
func runnable(b *block) bool {
	if b.notRun != "" {
		return false
	}
	for _, words := range shellWords(b.text) {
		for len(words) > 1 && (words[0] == "sudo" || strings.Contains(words[0], "=")) {
			words = words[1:]
		}
		name := filepath.Base(words[0])
		if slices.Contains(elsewhere, name) || slices.Contains(notEverywhere, name) && !installed(name) {
			return false
		}
	}
	return true
}

func TestEveryShellBlockOfTheDocsIsRunOrParsed(t *testing.T) {
	if runtime.GOOS != "linux" || !installed("bash") {
		t.Skip("the documents are for bash on Linux")
	}
	var ran, parsed atomic.Int64
	t.Run("pages", func(t *testing.T) {
		for name, pages := range together(pagesOfDocs(t)) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var s *stage
				for _, p := range pages {
					blocks, problems := shellBlocks(p.text)
					for _, problem := range problems {
						t.Errorf("%s %s", p.path, problem)
					}
					for i := range blocks {
						b := &blocks[i]
						parse(t, p.path, b)
						if !runnable(b) || isPlayed(p.text) { // played elsewhere
							parsed.Add(1)
							continue
						}
						ran.Add(1)
						if s == nil {
							s = newStage(t)
							switch name {
							case runbooks:
								s.runDaemon(t)
							case apiPage:
								s.listen(t)
								s.runDaemon(t)
								if !eventually(func() bool { _, err := s.play(t, "tdscaler health --config policies.yaml"); return err == nil }) {
									t.Fatal("the daemon was never ready")
								}
							}
						}
						if out, err := s.play(t, b.text); err != nil {
							t.Errorf("%s line %d: %v\n%s\n%s", p.path, b.line, err, b.text, out)
						}
					}
				}
			})
		}
	})
	t.Logf("%d blocks were run, %d only parsed", ran.Load(), parsed.Load())
	if ran.Load() < 20 {
		t.Errorf("only %d blocks were run: the search is broken", ran.Load())
	}
}

type page struct{ path, text string }

// runbooks are read while a daemon runs, and an alarm with it.
const runbooks = "docs/runbooks/"

// apiPage asks a daemon's port.
const apiPage = "docs/api.md"

// together parts the pages by the stage they are played on: the runbooks share one, and
// every other page with shell has its own.
func together(all map[string]string) map[string][]page {
	out := map[string][]page{}
	for _, path := range slices.Sorted(maps.Keys(all)) {
		name := path
		if strings.HasPrefix(path, runbooks) {
			name = runbooks
		}
		if blocks, problems := shellBlocks(all[path]); len(blocks)+len(problems) > 0 {
			out[name] = append(out[name], page{path, all[path]})
		}
	}
	return out
}

// parse holds a block to the grammar of the shell, and its calls of tdscaler to the
// commands and flags there are.
func parse(t *testing.T, page string, b *block) {
	t.Helper()
	c := exec.Command("bash", "-n")
	c.Stdin = strings.NewReader(b.text)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s line %d: %s", page, b.line, out)
	}
	for _, words := range shellWords(b.text) {
		if args, ok := ownWords(words); ok {
			if err := misused(args); err != nil {
				t.Errorf("%s line %d: tdscaler %s: %v", page, b.line, strings.Join(args, " "), err)
			}
		}
	}
}

func TestEveryCallInALineOfTheDocsIsOne(t *testing.T) {
	inline := regexp.MustCompile("`((?:sudo )?(?:env [^`]*)?(?:bin/)?tdscaler [a-z][^`]*)`")
	calls := 0
	for page, text := range pagesOfDocs(t) {
		for _, m := range inline.FindAllStringSubmatch(regexp.MustCompile("(?ms)^ *```.*?^ *```").ReplaceAllString(text, ""), -1) {
			for _, words := range shellWords(strings.NewReplacer("...", "", "\n", " ").Replace(m[1])) {
				args, ok := ownWords(words)
				if !ok || strings.HasPrefix(args[0], "is") { // what it says, not how it is called
					continue
				}
				calls++
				if err := misusedInALine(args); err != nil {
					t.Errorf("%s: `%s`: %v", page, m[1], err)
				}
			}
		}
	}
	if calls < 50 {
		t.Errorf("only %d calls were found: the search is broken", calls)
	}
	t.Logf("%d calls", calls)
}

// misusedInALine is for calls that stand for what they are, as "tdscaler target set", or
// "tdscaler backtest --compare", and not for all that they take.
func misusedInALine(args []string) error {
	for i, a := range args {
		if a == "N" && i > 0 && strings.HasPrefix(args[i-1], "--") {
			args[i] = "1"
		}
	}
	c, rest, err := root().Find(args)
	if err == nil && len(rest) == 0 && c.HasParent() {
		return nil // its name alone
	}
	err = misused(args)
	if err != nil && strings.HasPrefix(args[len(args)-1], "--") {
		return misused(append(args, "1"))
	}
	return err
}

// stage is where the blocks of a page are played, one after the other.
type stage struct {
	dir  string
	env  []string
	here *strings.Replacer
}

// newStage makes a folder like that of somebody who has built the program, has machines,
// and follows a page.
func newStage(t *testing.T) *stage {
	t.Helper()
	o := simulator.Options{Clock: clock.System{}, Seed: 1, Hosts: 60, Balance: market.Amount(market.USD(500, 0)), Regime: simulator.Quiet}
	o.Boot.Median = time.Millisecond
	e, err := simulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(e.Handler(simulator.FaceOptions{}))
	t.Cleanup(srv.Close)
	ears := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	t.Cleanup(ears.Close)
	program, err := exec.LookPath("tdscaler")
	if err != nil {
		t.Fatal(err)
	}
	makefile, err := filepath.Abs("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	shims := filepath.Join(dir, "bin")
	if err := errors.Join(os.Mkdir(shims, 0o755), os.Mkdir(filepath.Join(dir, "backup"), 0o755)); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{program: filepath.Join(shims, "tdscaler"), makefile: filepath.Join(dir, "Makefile")} {
		if err := os.Symlink(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		filepath.Join(shims, "make"):          "#!/bin/sh\nfor target; do grep -q \"^$target:\" Makefile || exit 2; done\n", // it is there; building is not what a page is about
		filepath.Join(shims, "sudo"):          "#!/bin/sh\n[ \"$1\" != -u ] || shift 2\nexec \"$@\"\n",
		filepath.Join(dir, "policies.yaml"):   fmt.Sprintf(worldFile, "live", "tdscaler.db", srv.URL, srv.URL) + fmt.Sprintf("notifications: {sinks: [{name: ops, type: webhook, url: %q}]}\n", ears.URL),
		filepath.Join(dir, "id_ed25519.pub"):  "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFake me@example\n",
		filepath.Join(dir, ".docs-is-a-test"): "",
	} {
		if err := os.WriteFile(name, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s := &stage{dir: dir, here: here(t)}
	s.env = append(os.Environ(), "PATH="+shims+":"+os.Getenv("PATH"), marketVariable+"="+srv.URL, listenVariable+"="+s.here.Replace("127.0.0.1:9877"),
		"TENSORDOCK_API_KEY="+testKey, "TENSORDOCK_API_TOKEN="+testToken, "XDG_CONFIG_HOME="+filepath.Join(dir, "xdg"), configVariable+"=", "HOME="+dir, "TERM=dumb", "GORACE="+briefRaces)
	for range 2 {
		if out, err := s.play(t, "tdscaler run --once --config policies.yaml"); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return s
}

// runDaemon has a daemon run until the test is over.
func (s *stage) runDaemon(t *testing.T) {
	t.Helper()
	c := exec.Command(filepath.Join(s.dir, "bin", "tdscaler"), "run", "--config", "policies.yaml")
	c.Dir, c.Env = s.dir, s.env
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM) // it may have ended
		if err := c.Wait(); err != nil {
			t.Errorf("the daemon: %v", err)
		}
	})
	if !eventually(func() bool {
		out, err := s.play(t, "tdscaler status --config policies.yaml")
		return err == nil && strings.Contains(string(out), "a daemon runs")
	}) {
		t.Fatal("no daemon runs")
	}
}

// listen opens the port that the documents speak of.
func (s *stage) listen(t *testing.T) {
	t.Helper()
	path := filepath.Join(s.dir, "policies.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), `listen: ""`, s.here.Replace(`listen: "127.0.0.1:9877"`), 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// here replaces what the documents say by what there is on the stage: addresses by ones
// that are free, the service's files by those of the folder, and a policy by one of it.
func here(t *testing.T) *strings.Replacer {
	t.Helper()
	var pairs []string
	for _, port := range []string{"9877", "9878", "6060", "8080"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, "127.0.0.1:"+port, ln.Addr().String())
		defer ln.Close()
	}
	return strings.NewReplacer(append(pairs, "/etc/tdscaler/policies.yaml", "policies.yaml", "/var/lib/tdscaler", ".", "/backup/", "backup/", " POLICY", " train")...)
}

// play runs a piece of shell in the folder; what it leaves in the background is ended.
func (s *stage) play(t *testing.T, text string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", "-eu", "-o", "pipefail", "-c", s.here.Replace(text))
	c.Dir, c.Env = s.dir, s.env
	// Who runs in the background has /dev/null for its input, and is not ended early.
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer out.Close()
	c.Stdin = in
	log, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	err = c.Run()
	if c.Process != nil {
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGTERM) // there may be nothing left; a shell makes its background ignore SIGINT
		awaitGroup(c.Process.Pid)
	}
	if _, serr := log.Seek(0, io.SeekStart); serr != nil {
		t.Fatal(serr)
	}
	b, rerr := io.ReadAll(log)
	if rerr != nil {
		t.Fatal(rerr)
	}
	return b, err
}

// awaitGroup waits until nothing of a process group is left.
func awaitGroup(pid int) {
	eventually(func() bool { return syscall.Kill(-pid, 0) != nil })
}

// A program that plays a page asks this market, and serves at this address.
const (
	marketVariable = "TDSCALER_TEST_MARKET"
	listenVariable = "TDSCALER_TEST_LISTEN"
)

// onStage turns the configurations that a page wrote to the simulated market, and ends a
// daemon in the foreground as somebody at a keyboard would.
func onStage(args []string) {
	url := os.Getenv(marketVariable)
	if url == "" {
		return
	}
	for _, a := range append(args, "policies.yaml") {
		b, err := os.ReadFile(a)
		if err != nil || !strings.HasSuffix(a, ".yaml") {
			continue
		}
		if text := turned(string(b), url, os.Getenv(listenVariable)); text != string(b) { // others may be reading it
			next := fmt.Sprintf("%s.%d", a, os.Getpid())
			_ = errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Rename(next, a)) // the command itself says what is wrong
		}
	}
	lasting := len(args) > 0 && (args[0] == "run" && !slices.Contains(args, "--once") || args[0] == "simulator" || slices.Contains(args, "--serve"))
	if in, err := os.Readlink("/proc/self/fd/0"); lasting && err == nil && in != "/dev/null" {
		time.AfterFunc(3*time.Second, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGINT) })
	}
}

// turned is a configuration that asks a market, and listens, elsewhere.
func turned(text, url, listen string) string {
	text = regexp.MustCompile(`((?:marketplace|instances)_url: *)"?https?://[^\s,}"]+"?`).ReplaceAllString(text, `$1"`+url+`"`)
	text = regexp.MustCompile(`(?m)^( *listen: *)"?127\.0\.0\.1:9877"?`).ReplaceAllString(text, `$1"`+listen+`"`)
	if !strings.Contains(text, "marketplace_url:") {
		text = underSection(text, "tensordock", fmt.Sprintf(`marketplace_url: "%s"`, url), fmt.Sprintf(`instances_url: "%s"`, url), "marketplace_rps: 1000", "instances_rpm: 60000")
	}
	if !regexp.MustCompile(`[{ ]listen:`).MatchString(text) {
		text = underSection(text, "daemon", fmt.Sprintf(`listen: "%s"`, listen))
	}
	return text
}

// underSection adds keys to a section of a configuration, whichever way it is written.
func underSection(text, section string, keys ...string) string {
	switch at := regexp.MustCompile(`(?m)^` + section + `: *(\{)?.*$`).FindStringSubmatchIndex(text); {
	case at == nil:
		return strings.TrimRight(text, "\n") + "\n" + section + ": {" + strings.Join(keys, ", ") + "}\n"
	case at[2] >= 0:
		return text[:at[3]] + strings.Join(keys, ", ") + ", " + text[at[3]:]
	default:
		return text[:at[1]] + "\n  " + strings.Join(keys, "\n  ") + text[at[1]:]
	}
}
