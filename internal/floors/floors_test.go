package floors

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/tdscaler/tdscaler/"

// floorOf places every package. Imports point to a lower number only; packages
// on the same floor do not know each other.
func floorOf() map[string]int {
	return map[string]int{
		"internal/secret": 0, "internal/clock": 0, "internal/permit": 0, "internal/plot": 0,
		"internal/market": 1, // floor 0 too, but it speaks of secrets

		"internal/policy": 10, "internal/backtest/tape": 10,
		"internal/backtest/optimum": 12, "internal/backtest/baseline": 12, "internal/backtest/report": 12, "internal/backtest/trace": 12,
		"internal/demand": 15,
		"internal/plan":   20, "internal/prices": 25, "internal/shadow": 25, "internal/billing": 25, "internal/report": 25,

		"internal/tensordock": 30, "internal/simulator": 30, "internal/credentials": 30, // floor 3a
		"internal/errands": 35, "internal/notify": 35, "internal/scanner": 35, "internal/bidder": 35, "internal/signals": 35, "internal/actuator": 35, "internal/ledger": 35,

		"internal/daemon":  40,
		"internal/control": 45, "internal/webhook": 47, "internal/web": 47, "internal/demo": 45, "internal/backtest": 45, // they drive the daemon

		"cmd/tdscaler": 50,
		// Tests only.
		"internal/stage": 49, "internal/stage/serve": 50, "internal/browser": 50, "internal/transcript": 49,
		"internal/bench": 50, "internal/campaign": 50, "internal/contract": 50, "internal/dashboards": 50, "internal/docs": 50, "internal/floors": 50, "internal/mutants": 50,
		"internal/process": 50, "internal/monitoring": 50, // a module of its own
		"internal/shipping": 50, "internal/deploy": 50, "internal/sbom": 50, "tools/site": 50, // programs of the build
	}
}

// pure packages decide. They get values, and know nothing of the world.
func pure() []string {
	return []string{"internal/market", "internal/policy", "internal/demand", "internal/plan", "internal/shadow", "internal/report"}
}

// world is what pure packages must not import, folders below included.
func world() []string {
	return []string{
		"context", "os", "net", "log", "io/fs", "io/ioutil", "syscall", "os/exec", "math/rand", "database/sql",
		"go.uber.org/zap", "github.com/prometheus", "golang.org/x/sys", "go.etcd.io/bbolt",
	}
}

// homes are libraries that one package alone may use: what they can do to us, or
// what we should have to change with them, stays in one place.
func homes() map[string]string {
	return map[string]string{
		"gopkg.in/yaml.v3":            "internal/policy",
		"github.com/robfig/cron":      "internal/policy",
		"go.etcd.io/bbolt":            "internal/ledger",
		"golang.org/x/time":           "internal/tensordock",
		"golang.org/x/crypto":         "internal/errands",
		"github.com/cenkalti":         "internal/tensordock",
		"github.com/spf13/cobra":      "cmd/tdscaler",
		"github.com/fsnotify":         "cmd/tdscaler",
		"charm.land":                  "cmd/tdscaler",
		"github.com/coreos/go-system": "cmd/tdscaler",
	}
}

// ticking is what makes or spends time outside the injected clock.
func ticking() map[string][]string {
	return map[string][]string{
		"time":                  {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
		"context":               {"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause"},
		"golang.org/x/sys/unix": {"Nanosleep", "Poll", "Select"},
	}
}

// exceptions are violations that are right, as "package: what", and why.
func exceptions() map[string]string {
	return map[string]string{
		"internal/policy: net":                  "SplitHostPort and ParseIP read daemon.listen; neither touches a network",
		"internal/tensordock: gopkg.in/yaml.v3": "v2 wants a cloud-init file as a JSON object",
		"internal/policy: net/url":              "reads tensordock.*_url; touches no network",
		"internal/ledger: unix.Poll":            "another process lets go of the file's lock in real time",
	}
}

// source is one Go file that is not a test.
type source struct {
	dir, name string // slash-separated; dir relative to the module
	text      []byte
}

// checker collects violations, and which exceptions were needed.
type checker struct {
	found []string
	used  map[string]bool
}

func check(sources []source) *checker {
	c := &checker{used: map[string]bool{}}
	for _, s := range sources {
		f, err := parser.ParseFile(token.NewFileSet(), s.name, s.text, parser.SkipObjectResolution)
		if err != nil {
			c.found = append(c.found, fmt.Sprintf("%s/%s: %v", s.dir, s.name, err))
			continue
		}
		c.imports(s, f)
		c.time(s, f)
	}
	slices.Sort(c.found)
	c.found = slices.Compact(c.found)
	return c
}

func (c *checker) report(s source, what, why string) {
	for _, key := range []string{s.dir + ": " + what, s.dir + ": *"} {
		if _, ok := exceptions()[key]; ok {
			c.used[key] = true
			return
		}
	}
	c.found = append(c.found, fmt.Sprintf("%s: %s: %s", s.dir, what, why))
}

func (c *checker) imports(s source, f *ast.File) {
	own, placed := floorOf()[s.dir]
	if !placed {
		c.report(s, "has no floor", "give it one in floorOf")
		return
	}
	for _, spec := range f.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			c.report(s, spec.Path.Value, err.Error())
			continue
		}
		if dir, ours := strings.CutPrefix(imported, module); ours {
			c.floor(s, own, dir)
			continue
		}
		c.library(s, imported)
	}
}

func (c *checker) floor(s source, own int, dir string) {
	switch other, placed := floorOf()[dir]; {
	case !placed:
		c.report(s, dir, "imports a package without a floor")
	case other > own:
		c.report(s, dir, "imports upwards")
	case other == own:
		c.report(s, dir, "imports sideways")
	}
}

func (c *checker) library(s source, imported string) {
	if slices.Contains(pure(), s.dir) && slices.ContainsFunc(world(), func(p string) bool { return below(imported, p) }) {
		c.report(s, imported, "a pure package must not know the world")
	}
	external := strings.Contains(strings.SplitN(imported, "/", 2)[0], ".")
	if external && floorOf()[s.dir] <= floorOf()["internal/market"] {
		c.report(s, imported, "floor 0 imports nothing but the standard library")
	}
	for lib, home := range homes() {
		if strings.HasPrefix(imported, lib) && s.dir != home {
			c.report(s, imported, "only "+home+" uses it")
		}
	}
}

func below(imported, p string) bool { return imported == p || strings.HasPrefix(imported, p+"/") }

// time finds every use of a function that tells or spends time, called or not.
func (c *checker) time(s source, f *ast.File) {
	if s.dir == "internal/clock" || strings.HasPrefix(s.dir, "cmd/") {
		return
	}
	names := map[string][]string{} // of packages in this file -> their functions that tick
	for _, spec := range f.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		funcs, ok := ticking()[imported]
		switch {
		case !ok:
		case spec.Name == nil:
			names[path.Base(imported)] = funcs
		case spec.Name.Name == ".":
			c.report(s, ". "+imported, "a dot import hides who tells the time")
		default:
			names[spec.Name.Name] = funcs
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(names[x.Name], sel.Sel.Name) {
				c.report(s, x.Name+"."+sel.Sel.Name, "time is injected: use a clock.Clock")
			}
		}
		return true
	})
}

// project reads every Go file of the module that is not a test.
func project(t *testing.T) []source {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	var out []source
	err = filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && p != root && (strings.HasPrefix(e.Name(), ".") || strings.HasPrefix(e.Name(), "_") || e.Name() == "testdata" || e.Name() == "bin"):
			return filepath.SkipDir
		case e.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(p))
		out = append(out, source{dir: filepath.ToSlash(rel), name: e.Name(), text: text})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImportsOnlyPointDownAndTimeIsInjected(t *testing.T) {
	sources := project(t)
	if len(sources) < 50 {
		t.Fatalf("only %d files were found: the walk is broken", len(sources))
	}
	c := check(sources)
	for _, v := range c.found {
		t.Error(v)
	}
	for key, why := range exceptions() {
		if !c.used[key] {
			t.Errorf("the exception %q (%s) is not needed any more: remove it", key, why)
		}
	}
}

func TestTheCheckerFindsEveryKindOfViolation(t *testing.T) {
	ours := func(dir string) string { return `import _ "` + module + dir + `"` }
	for _, c := range []struct{ name, dir, code, want string }{
		{"down is fine", "internal/plan", ours("internal/policy"), ""},
		{"market may know secret", "internal/market", ours("internal/secret"), ""},
		{"secret may not know market", "internal/secret", ours("internal/market"), "imports upwards"},
		{"clock may not know secret", "internal/clock", ours("internal/secret"), "imports sideways"},
		{"up", "internal/policy", ours("internal/plan"), "imports upwards"},
		{"up from the bottom", "internal/market", ours("internal/policy"), "imports upwards"},
		{"sideways on floor 3", "internal/bidder", ours("internal/ledger"), "imports sideways"},
		{"sideways on floor 3a", "internal/tensordock", ours("internal/simulator"), "imports sideways"},
		{"3a does not know 3", "internal/simulator", ours("internal/scanner"), "imports upwards"},
		{"sideways on floor 4b", "internal/web", ours("internal/webhook"), "imports sideways"},
		{"the daemon does not know its drivers", "internal/daemon", ours("internal/demo"), "imports upwards"},
		{"nobody imports main", "internal/demo", ours("cmd/tdscaler"), "imports upwards"},
		{"a new package needs a floor", "internal/helpers", `import _ "fmt"`, "has no floor"},
		{"importing one without a floor", "internal/daemon", ours("internal/helpers"), "without a floor"},
		{"a library on floor 0", "internal/secret", `import _ "go.uber.org/zap"`, "floor 0 imports nothing"},
		{"a library in market", "internal/market", `import _ "golang.org/x/text"`, "floor 0 imports nothing"},
		{"files in a pure package", "internal/plan", `import _ "os"`, "must not know the world"},
		{"below a forbidden package", "internal/plan", `import _ "net/http"`, "must not know the world"},
		{"similar name", "internal/plan", `import _ "network"`, ""},
		{"a logger in a pure package", "internal/policy", `import _ "go.uber.org/zap/zapcore"`, "must not know the world"},
		{"slog", "internal/plan", `import _ "log/slog"`, "must not know the world"},
		{"metrics in a pure package", "internal/plan", `import _ "github.com/prometheus/client_golang/prometheus"`, "must not know the world"},
		{"a context in a pure package", "internal/plan", `import _ "context"`, "must not know the world"},
		{"yaml outside its home", "internal/daemon", `import _ "gopkg.in/yaml.v3"`, "only internal/policy uses it"},
		{"time.Now", "internal/plan", "import \"time\"\nvar x = time.Now()", "time.Now: time is injected"},
		{"time.Now as a value", "internal/daemon", "import \"time\"\nvar now = time.Now", "time.Now: time is injected"},
		{"under another name", "internal/daemon", "import t \"time\"\nfunc f() { t.Sleep(1) }", "t.Sleep: time is injected"},
		{"dot import", "internal/daemon", "import . \"time\"\nvar x = Now()", "dot import"},
		{"time.After", "internal/scanner", "import \"time\"\nvar x = time.After(1)", "time.After: time is injected"},
		{"a timeout", "internal/bidder", "import \"context\"\nvar x, _ = context.WithTimeout(nil, 1)", "context.WithTimeout: time is injected"},
		{"a deadline", "internal/actuator", "import \"context\"\nvar x = context.WithDeadline", "context.WithDeadline: time is injected"},
		{"durations are fine", "internal/daemon", "import \"time\"\nvar x = time.Second", ""},
		{"main may tell the time", "cmd/tdscaler", "import \"time\"\nvar x = time.Now()", ""},
		{"a field named like it", "internal/daemon", "type c struct{ Now int }\nvar time c\nvar x = time.Now", ""},
		{"broken source", "internal/plan", "func {", "expected"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := check([]source{{dir: c.dir, name: "x.go", text: []byte("package x\n" + c.code)}}).found
			switch {
			case c.want == "" && len(got) > 0:
				t.Errorf("unexpected: %q", got)
			case c.want != "" && (len(got) == 0 || !strings.Contains(strings.Join(got, "\n"), c.want)):
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
