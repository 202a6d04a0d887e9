package shipping

import (
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tdscaler/tdscaler/internal/policy"
)

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
