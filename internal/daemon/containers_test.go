package daemon

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

const withBox = `version: 1
policies:
  - name: web
    kind: container
    image: a/b:1
    target: {replicas: 1}
    max_gpu_hour: 1
    ports: [8000]
    container:
      registry: private
      project_id: p1
      env: {MODEL: small}
      env_files: {API_TOKEN: secrets/api}
      arguments: [-v]
      volumes: [/data]
`

func TestAContainersOrderHasItsEnvironmentAndNoReportHasIt(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "secrets/api", "hush-hush\n")
	put(t, dir, "p.yaml", withBox)
	c, problems, err := LoadConfig(filepath.Join(dir, "p.yaml"))
	if err != nil {
		t.Fatal(err, problems)
	}
	o := outfitter{set: &c.Set, materials: c.Materials}
	a := plan.Action{Policy: "web", Image: "a/b:1", Models: []market.GPUModel{"m"}, Shape: c.Set.Policies[0].Shape, Replicas: 2, Ceiling: market.USD(1, 0)}
	order, err := o.OutfitContainer(a, "tds-main-web-abcd1234")
	if err != nil || order.Env["API_TOKEN"] != "hush-hush" || order.Env["MODEL"] != "small" || !order.Private || order.Project != "p1" ||
		order.Replicas != 2 || order.MaxRate != market.USD(1, 0) || order.Ports[0] != 8000 || order.Arguments[0] != "-v" || order.Volumes[0] != "/data" {
		t.Errorf("%+v, %v", order, err)
	}
	policies, err := json.Marshal(c.Set.Policies)
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%+v %s", c.Materials, policies); strings.Contains(text, "hush") || strings.Contains(text, "small") {
		t.Errorf("the environment is told: %s", text)
	}
	if _, err := o.OutfitContainer(plan.Action{Policy: "other"}, "n"); err == nil {
		t.Error("a policy that is not there")
	}
}

func TestAFileOfTheEnvironmentThatIsMissingIsAnErrorThatNamesIt(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "p.yaml", withBox)
	_, problems, err := LoadConfig(filepath.Join(dir, "p.yaml"))
	if err == nil || len(problems) == 0 || !strings.Contains(fmt.Sprint(problems), "API_TOKEN") {
		t.Errorf("%v, %v", err, problems)
	}
}
