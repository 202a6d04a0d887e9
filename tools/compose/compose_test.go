// Package compose holds the compose files against the schema of compose, and against
// what they mount.
package compose

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

const folder = "../../deploy/docker/"

func load(files ...string) (*types.Project, error) {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f
		if !filepath.IsAbs(f) {
			paths[i] = folder + f
		}
	}
	o, err := cli.NewProjectOptions(paths, cli.WithResolvedPaths(true), cli.WithConsistency(true))
	if err != nil {
		return nil, err
	}
	return o.LoadProject(context.Background())
}

func mustLoad(t *testing.T, files ...string) *types.Project {
	t.Helper()
	p, err := load(files...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheSimulatedSystemIsCompleteAndHardened(t *testing.T) {
	p := mustLoad(t, "compose.yaml")
	want := []string{"alertmanager", "grafana", "prometheus", "simulator", "tdscaler"}
	if got := slices.Sorted(maps.Keys(p.Services)); !slices.Equal(got, want) {
		t.Fatalf("services %v, want %v", got, want)
	}
	for _, s := range p.Services {
		hardened(t, &s)
		mounted(t, p, &s)
		for _, port := range s.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s is open to others on port %s", s.Name, port.Published)
			}
		}
		for other, d := range s.DependsOn {
			if d.Condition != types.ServiceConditionHealthy || p.Services[other].HealthCheck == nil {
				t.Errorf("%s does not wait until %s is healthy", s.Name, other)
			}
		}
	}
}

// movesByItself is a tag that another image may have tomorrow.
var movesByItself = regexp.MustCompile(`^[^:]*$|:(latest|main|master|edge|stable)$`)

func hardened(t *testing.T, s *types.ServiceConfig) {
	t.Helper()
	if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Privileged || s.MemLimit == 0 || s.PidsLimit == 0 {
		t.Errorf("%s is not hardened: %+v", s.Name, s)
	}
	if s.HealthCheck == nil || len(s.HealthCheck.Test) == 0 || s.HealthCheck.Test[0] != "CMD" || s.HealthCheck.Timeout == nil {
		t.Errorf("%s: healthcheck %+v", s.Name, s.HealthCheck)
	}
	if movesByItself.MatchString(s.Image) {
		t.Errorf("%s: the image %s is not pinned", s.Name, s.Image)
	}
}

// mounted holds that what is mounted exists, is not written to, and that the only
// places to write are volumes.
func mounted(t *testing.T, p *types.Project, s *types.ServiceConfig) {
	t.Helper()
	for _, v := range s.Volumes {
		switch v.Type {
		case types.VolumeTypeBind:
			if _, err := os.Stat(v.Source); err != nil || !v.ReadOnly {
				t.Errorf("%s mounts %s: read-only %t, %v", s.Name, v.Source, v.ReadOnly, err)
			}
		case types.VolumeTypeVolume:
			if _, ok := p.Volumes[v.Source]; !ok {
				t.Errorf("%s: no volume %s", s.Name, v.Source)
			}
		default:
			t.Errorf("%s: a mount of type %s", s.Name, v.Type)
		}
	}
}

// called is a service and its port in a configuration file.
var called = regexp.MustCompile(`\b([a-z]+):([0-9]{4,5})\b`)

func TestWhatTheMountedConfigurationsCallIsAServiceThatListensThere(t *testing.T) {
	p := mustLoad(t, "compose.yaml")
	found := 0
	for _, file := range []string{"../prometheus/prometheus.yml", "../grafana/provisioning/datasources/prometheus.yml", "simulator/policies.yaml"} {
		text, err := os.ReadFile(folder + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range called.FindAllStringSubmatch(string(text), -1) {
			if m[1] == "localhost" {
				continue
			}
			found++
			s, ok := p.Services[m[1]]
			check := strings.Join(s.HealthCheck.Test, " ") // which asks the port that it listens on
			if !ok || !strings.Contains(check, ":"+m[2]) {
				t.Errorf("%s calls %s, which is not checked there: %s", file, m[0], check)
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d calls were found: the search is broken", found)
	}
	home := *p.Services["grafana"].Environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
	if _, err := os.Stat(folder + "../grafana/dashboards/" + filepath.Base(home)); err != nil || filepath.Dir(home) != "/var/lib/grafana/dashboards" {
		t.Errorf("the first dashboard is %s: %v", home, err)
	}
}

func TestOnTheRealMarketNothingOfTheSimulatedOneIsLeft(t *testing.T) {
	toy, p := mustLoad(t, "compose.yaml"), mustLoad(t, "compose.yaml", "compose.tensordock.yaml")
	if _, runs := p.Services["simulator"]; runs || p.Name == toy.Name {
		t.Errorf("project %s with %v", p.Name, p.ServiceNames())
	}
	s := p.Services["tdscaler"]
	hardened(t, &s)
	mounted(t, p, &s)
	if len(s.Environment) > 0 || len(s.DependsOn) > 0 || len(s.Secrets) != 2 {
		t.Errorf("environment %v, depends on %v, secrets %v", s.Environment, s.DependsOn, s.Secrets)
	}
	for _, v := range s.Volumes {
		if slices.ContainsFunc(toy.Services["tdscaler"].Volumes, func(o types.ServiceVolumeConfig) bool { return o.Source == v.Source }) {
			t.Errorf("%s is the simulator's too", v.Source)
		}
	}
	for name, secret := range p.Secrets {
		if filepath.Base(secret.File) != name || !strings.Contains(filepath.ToSlash(secret.File), "deploy/docker/secrets/") {
			t.Errorf("the secret %s is in %s", name, secret.File)
		}
	}
}

func TestATypoInAComposeFileIsFound(t *testing.T) {
	text, err := os.ReadFile(folder + "compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ right, wrong string }{
		{"read_only: true", "raed_only: true"},
		{"condition: service_healthy", "condition: service_helthy"},
		{"- ledger:/var", "- legder:/var"},
	} {
		bad := filepath.Join(t.TempDir(), "compose.yaml")
		broken := strings.Replace(string(text), c.right, c.wrong, 1)
		if broken == string(text) {
			t.Fatalf("%q is not in the file", c.right)
		}
		if err := os.WriteFile(bad, []byte(broken), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := load(bad); err == nil {
			t.Errorf("%q is taken", c.wrong)
		}
	}
}
