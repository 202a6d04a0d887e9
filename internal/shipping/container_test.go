package shipping

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// podman runs what the test needs of containers, with a configuration of its own:
// what a machine allows to a container is not what podman asks for by default.
type podman struct {
	*testing.T
	env []string
}

func newPodman(t *testing.T) *podman {
	t.Helper()
	if os.Getenv("TDSCALER_CONTAINERS") == "" {
		t.Skip("builds and runs the image with podman: make test-containers")
	}
	conf := filepath.Join(t.TempDir(), "containers.conf")
	text := "[containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n[engine]\nruntime = \"runc\"\nhelper_binaries_dir = [\"/usr/lib/podman\"]\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &podman{t, append(os.Environ(), "CONTAINERS_CONF="+conf)}
}

// try runs one command and returns its output.
func (p *podman) try(args ...string) (string, error) {
	cmd := osexec.Command("podman", args...)
	cmd.Env = p.env
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (p *podman) must(args ...string) string {
	p.Helper()
	out, err := p.try(args...)
	if err != nil {
		p.Fatalf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// later cleans up, whatever became of the test.
func (p *podman) later(args ...string) {
	p.Cleanup(func() {
		if out, err := p.try(args...); err != nil {
			p.Errorf("podman %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	})
}

func (p *podman) eventually(what string, limit time.Duration, fn func() bool) {
	p.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		if fn() {
			return
		}
	}
	p.Fatalf("it never came about: %s", what)
}

func goEnv(t *testing.T, name string) string {
	t.Helper()
	out, err := osexec.Command("go", "env", name).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// standIn gives the name of the build's base to an empty tree into which the build
// mounts this machine's own /usr, Go and caches: a test needs no registry.
func (p *podman) standIn(base string) []string {
	p.Helper()
	tree := p.TempDir()
	for _, dir := range []string{"etc/ssl/certs", "usr", "tmp", "root/go/pkg/mod", "root/.cache/go-build", "goroot"} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			p.Fatal(err)
		}
	}
	for _, dir := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+dir, filepath.Join(tree, dir)); err != nil {
			p.Fatal(err)
		}
	}
	certificates, err := os.ReadFile("/etc/ssl/certs/ca-certificates.crt")
	if err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "etc/ssl/certs/ca-certificates.crt"), certificates, 0o600); err != nil {
		p.Fatal(err)
	}
	archive := filepath.Join(p.TempDir(), "tree.tar")
	if out, err := osexec.Command("tar", "-C", tree, "-cf", archive, ".").CombinedOutput(); err != nil {
		p.Fatalf("%v: %s", err, out)
	}
	p.must("import", "--change", "ENV PATH=/goroot/bin:/usr/bin:/bin", "--change", "ENV HOME=/root", "--change", "ENV GOTOOLCHAIN=local",
		"--change", "ENV GOPROXY="+goEnv(p.T, "GOPROXY"), archive, base)
	p.later("rmi", "--force", base)
	return []string{
		"--volume", "/usr:/usr:ro", "--volume", goEnv(p.T, "GOROOT") + ":/goroot:ro",
		"--volume", goEnv(p.T, "GOMODCACHE") + ":/root/go/pkg/mod", "--volume", goEnv(p.T, "GOCACHE") + ":/root/.cache/go-build",
	}
}

// build makes the image from the Dockerfile as it is.
func (p *podman) build(name string) {
	p.Helper()
	base := regexp.MustCompile(`FROM --platform=\S+ (\S+) AS`).FindStringSubmatch(read(p.T, "deploy/docker/Dockerfile"))[1]
	args := []string{"build", "--format", "docker", "--pull=never", "--network=host", "--file", filepath.Join(root, "deploy/docker/Dockerfile"), "--tag", name}
	for _, arg := range []string{"VERSION=v1.2.3", "REVISION=abc", "CREATED=2026-01-02T03:04:05Z"} {
		args = append(args, "--build-arg", arg)
	}
	p.must(append(append(args, p.standIn(base)...), root)...)
	p.later("rmi", "--force", name)
}

const image = "localhost/tdscaler-test:under-test"

func TestTheImageBuysOnASimulatedMarketWithAReadOnlyRootAndNoCapability(t *testing.T) {
	p := newPodman(t)
	p.build(image)
	p.labelled()
	p.minimal()
	net, volume := "tdscaler-test", "tdscaler-test-state"
	p.must("network", "create", net)
	p.later("network", "rm", "--force", net)
	p.must("volume", "create", volume)
	p.later("volume", "rm", "--force", volume)
	hardened := []string{"run", "--detach", "--network", net, "--read-only", "--read-only-tmpfs=false", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--memory=512m", "--pids-limit=256"}

	p.must(append(hardened, "--name", "tdscaler-test-market", "--network-alias", "simulator", image, "simulator", "--listen", "0.0.0.0:8080", "--seed", "7", "--write-latency", "200ms")...)
	p.later("rm", "--force", "--volumes", "tdscaler-test-market")
	policies := folderOf(t, map[string]string{"policies.yaml": strings.Replace(read(t, "deploy/docker/simulator/policies.yaml"),
		"\ntensordock:\n", "\ntensordock:\n  api_key_file: /run/secrets/api-key\n  api_token_file: /run/secrets/api-token\n", 1)})
	secrets := folderOf(t, map[string]string{"api-key": "k\n", "api-token": "t\n"})
	daemon := documented(t, "--network="+net, "--read-only-tmpfs=false")
	replaced(t, daemon, map[string]string{
		"tdscaler": "tdscaler-test", "tdscaler:devel": image, "127.0.0.1:9877:9877": "127.0.0.1::9877", "/srv/tdscaler:/etc/tdscaler:ro": policies + ":/etc/tdscaler:ro",
		"tdscaler-ledger:" + statePath: volume + ":" + statePath, "/srv/tdscaler-secrets:/run/secrets:ro": secrets + ":/run/secrets:ro",
	})
	p.must(daemon...)
	p.later("rm", "--force", "--volumes", "tdscaler-test")
	p.lives("tdscaler-test")
	p.stopsAndGoesOn("tdscaler-test")
}

// documented is the "docker run" of docs/docker.md, with more options.
func documented(t *testing.T, more ...string) []string {
	t.Helper()
	m := regexp.MustCompile(`(?m)^docker run -d((?:.*\\\n)*.*)$`).FindStringSubmatch(read(t, "docs/docker.md"))
	if m == nil {
		t.Fatal("docs/docker.md runs nothing")
	}
	return append(append([]string{"run", "-d"}, more...), strings.Fields(strings.ReplaceAll(m[1], "\\\n", " "))...)
}

// replaced puts what is here in the place of words, each of which must be there.
func replaced(t *testing.T, words []string, by map[string]string) {
	t.Helper()
	for from, to := range by {
		i := slices.Index(words, from)
		if i < 0 {
			t.Fatalf("no %s in %q", from, words)
		}
		words[i] = to
	}
}

// folderOf has these files, which the image's user can read.
func folderOf(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	err := os.Chmod(dir, 0o755)
	for name, text := range files {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// lives waits until the container is healthy by its own check, and has bought.
func (p *podman) lives(name string) {
	p.Helper()
	p.eventually("healthy", time.Minute, func() bool {
		_, err := p.try("healthcheck", "run", name)
		return err == nil
	})
	p.eventually("machines bought", time.Minute, func() bool { return p.machines(name) > 0 })
	address := p.must("port", name, "9877/tcp")
	bought := regexp.MustCompile(`(?m)^tdscaler_actions_total\{action="deploy",outcome="accepted",policy="\w+"\} [1-9]`)
	if !bought.MatchString(get(p.T, "http://"+address+"/metrics")) {
		p.Errorf("no deploy in the metrics on %s", address)
	}
	if out := p.must("top", name, "huser", "user", "args"); !strings.Contains(out, user+" ") {
		p.Errorf("it does not run as %s:\n%s", user, out)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	res, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, res.Status, err)
	}
	return string(b)
}

func (p *podman) machines(name string) int {
	p.Helper()
	out, err := p.try("exec", name, "tdscaler", "status", "--json")
	var st struct {
		Machines int  `json:"machines"`
		Running  bool `json:"daemon_running"`
	}
	if err != nil || json.Unmarshal([]byte(out), &st) != nil || !st.Running {
		return 0
	}
	return st.Machines
}

// stopsAndGoesOn stops the container, which exits with 0 within its grace, starts it
// again, and holds that its state outlived it.
func (p *podman) stopsAndGoesOn(name string) {
	p.Helper()
	had := p.machines(name)
	p.must("stop", "--time", "30", name)
	if code := p.must("inspect", "--format", "{{.State.ExitCode}}", name); code != "0" {
		p.Errorf("it exits with %s:\n%s", code, p.must("logs", "--tail", "20", name))
	}
	if log := p.must("logs", name); !strings.Contains(log, "machines are left as they are") {
		p.Errorf("it was not stopped in an orderly way:\n%s", log)
	}
	p.must("start", name)
	p.eventually("the machines of before", time.Minute, func() bool { return p.machines(name) >= had })
	p.Logf("%d machines before the restart, %d after it", had, p.machines(name))
}

func (p *podman) labelled() {
	p.Helper()
	var labels map[string]string
	if err := json.Unmarshal([]byte(p.must("inspect", "--format", "{{json .Config.Labels}}", image)), &labels); err != nil {
		p.Fatal(err)
	}
	for name, want := range map[string]string{"version": "v1.2.3", "revision": "abc", "created": "2026-01-02T03:04:05Z", "licenses": "Apache-2.0", "url": "https://github.com/tdscaler/tdscaler"} {
		if got := labels["org.opencontainers.image."+name]; got != want {
			p.Errorf("label %s is %q, want %q", name, got, want)
		}
	}
}

// minimal holds that there is no shell in the image, but certificates and the bill of
// materials.
func (p *podman) minimal() {
	p.Helper()
	if out, err := p.try("run", "--rm", "--entrypoint", "/bin/sh", image, "-c", "true"); err == nil {
		p.Errorf("there is a shell: %s", out)
	}
	id := p.must("create", image)
	p.later("rm", "--volumes", id)
	dir := p.TempDir()
	for path, least := range map[string]int{"/etc/ssl/certs/ca-certificates.crt": 100_000, "/usr/share/doc/tdscaler/sbom.cdx.json": 5_000, "/usr/share/doc/tdscaler/LICENSE": 10_000, "/usr/share/doc/tdscaler/third-party-licenses": 50_000} {
		to := filepath.Join(dir, filepath.Base(path))
		p.must("cp", id+":"+path, to)
		if b, err := os.ReadFile(to); err != nil || len(b) < least {
			p.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
	}
	sbom, err := os.ReadFile(filepath.Join(dir, "sbom.cdx.json"))
	if err != nil || !strings.Contains(string(sbom), `"name": "go.etcd.io/bbolt"`) {
		p.Errorf("the bill of materials: %v", err)
	}
	p.Logf("the image has %s bytes", p.must("inspect", "--format", "{{.Size}}", image))
}
