package shipping

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// The paths that the image, the compose files, the manifests and the packages agree on.
const (
	binaryPath = "/usr/bin/tdscaler"
	configPath = "/etc/tdscaler/policies.yaml"
	statePath  = "/var/lib/tdscaler"
	user       = "65532"
)

// instruction is one of a Dockerfile.
type instruction struct{ name, rest string }

// instructions reads a Dockerfile, by stages.
func instructions(text string) (stages [][]instruction) {
	text = regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`\\\n\s*`).ReplaceAllString(text, " ")
	for _, line := range strings.Split(text, "\n") {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case name == "":
			continue
		case name == "FROM":
			stages = append(stages, nil)
		case len(stages) == 0:
			continue
		}
		stages[len(stages)-1] = append(stages[len(stages)-1], instruction{name, strings.TrimSpace(rest)})
	}
	return stages
}

// last is what the last of its instructions says.
func last(stage []instruction, name string) string {
	rest := ""
	for _, in := range stage {
		if in.name == name {
			rest = in.rest
		}
	}
	return rest
}

// exec reads the JSON form of a command, which needs no shell; the image has none.
func exec(t *testing.T, where, text string) []string {
	t.Helper()
	var words []string
	if err := json.Unmarshal([]byte(text), &words); err != nil {
		t.Errorf("%s is not in the exec form: %s", where, text)
	}
	return words
}

func TestTheImageRunsTheDaemonAsNobodyInParticularAndChecksItselfWithoutAShell(t *testing.T) {
	stages := instructions(read(t, "deploy/docker/Dockerfile"))
	if len(stages) != 2 {
		t.Fatalf("%d stages", len(stages))
	}
	final := stages[1]
	if base := last(final, "FROM"); base != "scratch" {
		t.Errorf("the image is based on %s", base)
	}
	base := strings.Fields(strings.TrimPrefix(last(stages[0], "FROM"), "--platform=$BUILDPLATFORM "))[0]
	if !pinned.MatchString(base) {
		t.Errorf("the base %s has no fixed tag", base)
	}
	if want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "go.mod"))[1]; !strings.HasSuffix(base, "golang:"+want) {
		t.Errorf("%s is not Go %s", base, want)
	}
	if got := last(final, "USER"); got != user+":"+user {
		t.Errorf("USER %s", got)
	}
	if last(final, "VOLUME") != statePath || last(final, "WORKDIR") != statePath {
		t.Errorf("VOLUME %s, WORKDIR %s", last(final, "VOLUME"), last(final, "WORKDIR"))
	}
	if got := exec(t, "ENTRYPOINT", last(final, "ENTRYPOINT")); !slices.Equal(got, []string{binaryPath}) {
		t.Errorf("ENTRYPOINT %q", got)
	}
	if got := last(final, "ENV"); got != "TDSCALER_CONFIG="+configPath {
		t.Errorf("ENV %s: a command in the container must know its file", got)
	}
	cmd := exec(t, "CMD", last(final, "CMD"))
	if command(t, "CMD", cmd); flagged(cmd, "--config") != configPath {
		t.Errorf("CMD %q", cmd)
	}
	_, check, _ := strings.Cut(last(final, "HEALTHCHECK"), " CMD ")
	probe := exec(t, "HEALTHCHECK", strings.TrimSpace(check))
	if command(t, "HEALTHCHECK", probe[1:]); probe[0] != binaryPath || flagged(probe, "--url") != "http://127.0.0.1:"+last(final, "EXPOSE") {
		t.Errorf("HEALTHCHECK %q", probe)
	}
}

func TestTheImageSaysWhatItIs(t *testing.T) {
	final := instructions(read(t, "deploy/docker/Dockerfile"))[1]
	labels := last(final, "LABEL")
	for _, name := range []string{"title", "description", "source", "url", "documentation", "version", "revision", "created", "licenses", "vendor"} {
		if !strings.Contains(labels, "org.opencontainers.image."+name+"=\"") {
			t.Errorf("no label %s", name)
		}
	}
	for _, arg := range regexp.MustCompile(`\$(\w+)`).FindAllStringSubmatch(labels, -1) {
		if !slices.ContainsFunc(final, func(in instruction) bool { return in.name == "ARG" && strings.HasPrefix(in.rest, arg[1]+"=") }) {
			t.Errorf("the labels use $%s, which is no ARG of the stage", arg[1])
		}
	}
	if page := regexp.MustCompile(`\$SOURCE/blob/main/(docs/\S+\.md)`).FindStringSubmatch(labels); page == nil || read(t, page[1]) == "" {
		t.Errorf("the label documentation leads nowhere: %v", page)
	}
}

func TestWhatIsAUsersOwnStaysOutOfTheBuild(t *testing.T) {
	ignored := strings.Split(read(t, ".dockerignore"), "\n")
	for _, line := range strings.Split(read(t, ".gitignore"), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !slices.Contains(ignored, line) && !slices.Contains(ignored, "**/"+line) && !slices.Contains(ignored, "**/"+strings.TrimSuffix(line, "pause")+"*") {
			t.Errorf("git ignores %s, .dockerignore does not", line)
		}
	}
}

func TestThePoliciesOfTheComposeFilesFitTheImage(t *testing.T) {
	exposed := last(instructions(read(t, "deploy/docker/Dockerfile"))[1], "EXPOSE")
	for path, mode := range map[string]policy.Mode{"deploy/docker/simulator/policies.yaml": policy.Live, "deploy/docker/tensordock/policies.yaml": policy.DryRun} {
		s := settings(t, path)
		if s.Daemon.Mode != mode || s.Daemon.Ledger != statePath+"/tdscaler.db" || s.Daemon.Listen != "0.0.0.0:"+exposed {
			t.Errorf("%s: %s, %s, %s", path, s.Daemon.Mode, s.Daemon.Ledger, s.Daemon.Listen)
		}
	}
	real := settings(t, "deploy/docker/tensordock/policies.yaml")
	if real.TensorDock.APIKeyFile != "/run/secrets/api-key" || real.TensorDock.APITokenFile != "/run/secrets/api-token" {
		t.Errorf("%+v", real.TensorDock)
	}
	if toy := settings(t, "deploy/docker/simulator/policies.yaml"); toy.TensorDock.MarketplaceURL != "http://simulator:8080" || toy.TensorDock.InstancesURL != "http://simulator:8080" {
		t.Errorf("the demo is not on the simulator: %+v", toy.TensorDock)
	}
}
