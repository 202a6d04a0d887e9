package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const unitFile = "../../deploy/systemd/tdscaler.service"

// analyze runs systemd-analyze.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip(`no systemd-analyze here; "make test-systemd" gets it`)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	return string(out), err
}

// version is systemd's, as a number.
func version(t *testing.T) int {
	t.Helper()
	out, err := analyze(t, "--version")
	must(t, err)
	return systemdVersion(t, out)
}

func systemdVersion(t testing.TB, said string) int {
	t.Helper()
	m := regexp.MustCompile(`^systemd (\d+)`).FindStringSubmatch(said)
	if m == nil {
		t.Fatalf("no version: %s", said)
	}
	n, err := strconv.Atoi(m[1])
	must(t, err)
	return n
}

// TestTheUnitIsAsShutAsItSays holds the unit to an exposure of 1.5 of 10.
func TestTheUnitIsAsShutAsItSays(t *testing.T) {
	out, err := analyze(t, "security", "--no-pager", "--offline=true", "--threshold=15", unitFile)
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSystemdUnderstandsEveryLine reads the unit with the drop-ins that this systemd is new
// enough for.
func TestSystemdUnderstandsEveryLine(t *testing.T) {
	v := version(t)
	for dropIn, since := range map[string]int{"": 252, "notify-reload.conf": 253, "restart-backoff.conf": 254} {
		if v < since {
			t.Logf("%s wants systemd %d, this is %d", dropIn, since, v)
			continue
		}
		dir := t.TempDir()
		unit, err := os.ReadFile(unitFile)
		must(t, err)
		here := strings.Replace(string(unit), "/usr/bin/tdscaler ", "/bin/true ", 1) // it is not installed
		must(t, os.WriteFile(filepath.Join(dir, "tdscaler.service"), []byte(here), 0o644))
		if dropIn != "" {
			b, err := os.ReadFile("../../deploy/systemd/" + dropIn)
			must(t, err)
			must(t, os.Mkdir(filepath.Join(dir, "tdscaler.service.d"), 0o755))
			must(t, os.WriteFile(filepath.Join(dir, "tdscaler.service.d", dropIn), b, 0o644))
		}
		if out, err := analyze(t, "verify", "--man=no", filepath.Join(dir, "tdscaler.service")); err != nil || out != "" {
			t.Errorf("with %q: %v\n%s", dropIn, err, out)
		}
	}
}

// TestTheMeterOfMoneyIsNotHidden: with ProcSubset=pid the unit would be shut a little more, and a
// clock that is set would move the budgets.
func TestTheMeterOfMoneyIsNotHidden(t *testing.T) {
	unit, err := os.ReadFile(unitFile)
	must(t, err)
	if strings.Contains(string(unit), "\nProcSubset=pid") {
		t.Error("/proc/uptime cannot be read under this unit")
	}
}
