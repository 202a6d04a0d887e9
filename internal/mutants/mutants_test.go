package mutants

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the list into docs/testing.md")

// mutant is one deliberate breakage of a rule.
type mutant struct {
	rule    int    // of the twelve in docs/ARCHITECTURE.md; 0 for what stands beside them
	breaks  string // what the broken code does, in words
	file    string // under the project's root
	old     string // occurs exactly once in the file ...
	new     string // ... and is replaced by this
	pkg     string // where the test is
	test    string // that must fail
	because string // a text that its output must hold; "" for any failure
}

// all are the breakages of every list.
func all() []mutant { return slices.Concat(list(), ofDemand(), ofService()) }

const root = "../.."

func TestEveryMutantFitsTheCodeAndNamesATest(t *testing.T) {
	covered := map[int]bool{}
	for _, m := range all() {
		covered[m.rule] = true
		source, err := os.ReadFile(filepath.Join(root, m.file))
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), m.old); n != 1 {
			t.Errorf("%s: %q occurs %d times in %s, want once", m.breaks, m.old, n, m.file)
		}
		if !declares(t, m.pkg, m.test) {
			t.Errorf("%s: there is no %s in %s", m.breaks, m.test, m.pkg)
		}
	}
	for rule := 1; rule <= 12; rule++ {
		if !covered[rule] {
			t.Errorf("no mutant breaks rule %d", rule)
		}
	}
}

func declares(t *testing.T, pkg, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		source, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile(`(?m)^func ` + test + `\(`).Match(source) {
			return true
		}
	}
	return false
}

// Where the list stands in docs/testing.md.
const (
	page  = root + "/docs/testing.md"
	begin = "<!-- mutants: written by go test ./internal/mutants -update -->\n"
	end   = "<!-- end of mutants -->"
)

func TestThePageListsEveryMutant(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(text), begin)
	was, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the list: %s ... %s", page, begin, end)
	}
	is := table()
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+is+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if was != is {
		t.Errorf("the list in %s is not up to date: go test ./internal/mutants -update", page)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("| rule | broken so that | in | found by |\n|---|---|---|---|\n")
	for _, m := range all() {
		rule := fmt.Sprint(m.rule)
		if m.rule == 0 {
			rule = ""
		}
		fmt.Fprintf(&b, "| %s | %s | `%s` | `%s` |\n", rule, m.breaks, m.file, m.test)
	}
	return b.String()
}

func TestEveryMutantIsFound(t *testing.T) {
	if os.Getenv("TDSCALER_MUTANTS") == "" {
		t.Skip("minutes of compiling: set TDSCALER_MUTANTS=1, or run make mutants")
	}
	for _, m := range all() {
		t.Run(m.test+"/"+m.breaks, func(t *testing.T) {
			out, err := m.run(t)
			switch {
			case err == nil:
				t.Errorf("%s survived %s:\n%s", m.breaks, m.test, out)
			case !strings.Contains(out, "--- FAIL: "+m.test) && !strings.Contains(out, "panic:"):
				t.Errorf("%s: the test did not run:\n%s", m.breaks, out)
			case !strings.Contains(out, m.because):
				t.Errorf("%s: %s failed for another reason than %q:\n%s", m.breaks, m.test, m.because, out)
			}
		})
	}
}

// run compiles the package with the mutant in it, and runs the one test.
func (m *mutant) run(t *testing.T) (string, error) {
	t.Helper()
	abs, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(abs, m.file)
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	broken, overlay := filepath.Join(dir, "broken.go"), filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(broken, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(map[string]map[string]string{"Replace": {file: broken}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(overlay, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	// A broken rule may make a test run for ever, and rapid shrinks what it found.
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-run", "^"+m.test+"$", "-timeout", "5m", "-count=1", "./"+m.pkg)
	cmd.Dir = abs
	cmd.Env = append(os.Environ(), "TDSCALER_MUTANTS=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
