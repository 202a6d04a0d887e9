package shipping

import (
	"encoding/json"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// composed is what the compose file uses of a service. That it is compose at all is held
// in tools/compose.
type composed struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Volumes     []string          `yaml:"volumes"`
	Networks    []string          `yaml:"networks"`
	Ports       []string          `yaml:"ports"`
	CapDrop     []string          `yaml:"cap_drop"`
	SecurityOpt []string          `yaml:"security_opt"`
	ReadOnly    bool              `yaml:"read_only"`
	MemLimit    string            `yaml:"mem_limit"`
	PidsLimit   string            `yaml:"pids_limit"`
	Healthcheck struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
	DependsOn map[string]any `yaml:"depends_on"`
}

// system is a compose file that podman plays, with what compose would do to it.
type system struct {
	*podman
	services map[string]composed
	up       []string
}

const prefix = "tdscaler-compose-"

func newSystem(p *podman) *system {
	p.Helper()
	var file struct {
		Services map[string]composed `yaml:"services"`
		Networks map[string]any      `yaml:"networks"`
		Volumes  map[string]any      `yaml:"volumes"`
	}
	if err := yaml.Unmarshal([]byte(read(p.T, "deploy/docker/compose.yaml")), &file); err != nil {
		p.Fatal(err)
	}
	for name := range file.Networks {
		p.must("network", "create", prefix+name)
		p.later("network", "rm", "--force", prefix+name)
	}
	for name := range file.Volumes {
		p.must("volume", "create", prefix+name)
		p.later("volume", "rm", "--force", prefix+name)
	}
	return &system{podman: p, services: file.Services}
}

// start starts a service after what it depends on, and waits until it is healthy.
func (s *system) start(name string) {
	s.Helper()
	if slices.Contains(s.up, name) {
		return
	}
	service := s.services[name]
	for other := range service.DependsOn {
		s.start(other)
	}
	s.must(s.arguments(name, &service)...)
	s.later("rm", "--force", "--volumes", "--time", "1", prefix+name)
	s.up = append(s.up, name)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(time.Second) {
		out, err := s.try("healthcheck", "run", prefix+name)
		if err == nil {
			return
		}
		if time.Now().After(end) || strings.Contains(out, "is not running") {
			s.Fatalf("%s never became healthy: %s\n%s", name, out, s.must("logs", "--tail", "30", prefix+name))
		}
	}
}

// arguments are those of podman for a service. Ports are published on free ones.
func (s *system) arguments(name string, c *composed) []string {
	s.Helper()
	check, err := json.Marshal(c.Healthcheck.Test[1:])
	if err != nil {
		s.Fatal(err)
	}
	args := []string{"run", "--detach", "--name", prefix + name, "--memory", c.MemLimit, "--pids-limit", c.PidsLimit, "--health-cmd", string(check), "--health-interval", "disable"}
	if c.ReadOnly {
		args = append(args, "--read-only", "--read-only-tmpfs=false")
	}
	for _, v := range c.CapDrop {
		args = append(args, "--cap-drop", v)
	}
	for _, v := range c.SecurityOpt {
		args = append(args, "--security-opt", strings.TrimSuffix(v, ":true"))
	}
	for k, v := range c.Environment {
		args = append(args, "--env", k+"="+v)
	}
	for _, n := range c.Networks {
		args = append(args, "--network", prefix+n+":alias="+name)
	}
	for _, v := range c.Ports {
		args = append(args, "--publish", "127.0.0.1::"+v[strings.LastIndex(v, ":")+1:])
	}
	for _, v := range c.Volumes {
		args = append(args, "--volume", s.volume(v))
	}
	used := c.Image
	if strings.HasPrefix(used, "tdscaler:") {
		used = image
	}
	return append(append(args, used), c.Command...)
}

// volume is a folder relative to the file, or a volume of its own.
func (s *system) volume(v string) string {
	s.Helper()
	if !strings.HasPrefix(v, ".") {
		return prefix + v
	}
	source, rest, _ := strings.Cut(v, ":")
	path, err := filepath.Abs(filepath.Join(root, "deploy/docker", source))
	if err != nil {
		s.Fatal(err)
	}
	return path + ":" + rest
}

// ask gets an answer of a service's API, as one line.
func (s *system) ask(name, port, page string) string {
	s.Helper()
	return get(s.T, "http://"+s.must("port", prefix+name, port+"/tcp")+page)
}

// holds asks Prometheus whether an expression has a value.
func (s *system) holds(expression string) bool {
	s.Helper()
	return strings.Contains(s.ask("prometheus", "9090", "/api/v1/query?query="+url.QueryEscape(expression)), `"value"`)
}

// program stands in for a service's image: this machine's own program, the libraries
// that it wants, and wget for the health check. As in the real ones nobody runs it.
func (p *podman) program(image, name, path, folder string) {
	p.Helper()
	tree := p.TempDir()
	for _, dir := range []string{"etc", "bin", "lib", folder} {
		if err := os.MkdirAll(filepath.Join(tree, dir), 0o755); err != nil {
			p.Fatal(err)
		}
	}
	if err := os.Symlink("lib", filepath.Join(tree, "lib64")); err != nil {
		p.Fatal(err)
	}
	if err := os.Chown(filepath.Join(tree, folder), 65534, 65534); err != nil {
		p.Fatal(err)
	}
	wget, err := osexec.LookPath("wget")
	if err != nil {
		p.Fatal(err)
	}
	for to, from := range map[string]string{name: path, "wget": wget} {
		p.copied(from, filepath.Join(tree, "bin", to))
		libraries, err := osexec.Command("ldd", from).Output()
		if err != nil {
			p.Fatal(err)
		}
		for _, word := range strings.Fields(string(libraries)) {
			if strings.HasPrefix(word, "/") {
				p.copied(word, filepath.Join(tree, "lib", filepath.Base(word)))
			}
		}
	}
	// Debian's Alertmanager has its templates beside it.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		p.Fatal(err)
	}
	if share := filepath.Join(filepath.Dir(real), "../share/prometheus"); name == "alertmanager" {
		if err := os.CopyFS(filepath.Join(tree, "usr/share/prometheus"), os.DirFS(share)); err != nil {
			p.Fatal(err)
		}
	}
	archive := filepath.Join(p.TempDir(), "tree.tar")
	if out, err := osexec.Command("tar", "-C", tree, "-cf", archive, ".").CombinedOutput(); err != nil {
		p.Fatalf("%v: %s", err, out)
	}
	p.must("import", "--change", `ENTRYPOINT ["/bin/`+name+`"]`, "--change", "ENV PATH=/bin", "--change", "ENV LD_LIBRARY_PATH=/lib", "--change", "USER 65534:65534",
		"--change", "WORKDIR /"+folder, archive, image)
	p.later("rmi", "--force", image)
}

func (p *podman) copied(from, to string) {
	p.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		p.Fatal(err)
	}
	if err := os.WriteFile(to, b, 0o755); err != nil {
		p.Fatal(err)
	}
}

func TestTheComposeFileShowsALivingSystem(t *testing.T) {
	p := newPodman(t)
	p.build(image)
	s := newSystem(p)
	for name, path := range map[string]string{"prometheus": "prometheus", "alertmanager": "prometheus-alertmanager"} {
		found, err := osexec.LookPath(path)
		if err != nil {
			t.Fatal(err)
		}
		p.program(s.services[name].Image, name, found, name)
	}
	s.start("prometheus") // and all but Grafana, of which this machine has none
	if want := []string{"alertmanager", "prometheus", "simulator", "tdscaler"}; !slices.Equal(slices.Sorted(slices.Values(s.up)), want) {
		t.Fatalf("%v were started", s.up)
	}
	t.Cleanup(func() {
		if t.Failed() && len(s.up) == 4 {
			t.Log(s.ask("prometheus", "9090", "/api/v1/targets?state=active"))
			t.Log(s.must("logs", "--tail", "15", prefix+"prometheus"))
		}
	})
	p.eventually("Prometheus sees machines", time.Minute, func() bool {
		return s.holds(`sum(tdscaler_actions_total{action="deploy",outcome="accepted"}) > 0`)
	})
	p.eventually("Prometheus knows Alertmanager", time.Minute, func() bool {
		return strings.Contains(s.ask("prometheus", "9090", "/api/v1/alertmanagers"), "http://alertmanager:9093/")
	})
	for _, job := range []string{"tdscaler", "prometheus", "alertmanager"} {
		p.eventually(job+" is scraped", time.Minute, func() bool {
			return s.holds(`up{job="` + job + `"} == 1`)
		})
	}
	if rules := s.ask("prometheus", "9090", "/api/v1/rules"); strings.Count(rules, `"type":"alerting"`) < 10 || strings.Contains(rules, `"health":"err"`) {
		t.Errorf("the rules: %s", rules)
	}
}
