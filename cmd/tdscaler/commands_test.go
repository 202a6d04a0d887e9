package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/demo"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// does is one run of a command.
type does struct {
	code     int
	out, err string
}

func tdscaler(args ...string) does {
	var out, errw bytes.Buffer
	code := run(args, strings.NewReader(""), &out, &errw)
	return does{code, out.String(), errw.String()}
}

// leaves are all commands that do something, by the words after "tdscaler".
func leaves() map[string]*cobra.Command {
	all := map[string]*cobra.Command{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Runnable() && (!c.HasSubCommands() || c.Flags().Lookup("json") != nil) {
			all[strings.TrimPrefix(c.CommandPath(), "tdscaler ")] = c
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root())
	return all
}

// world is a folder with a configuration, on a simulated market.
func world(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv("TENSORDOCK_API_KEY", testKey)
	t.Setenv("TENSORDOCK_API_TOKEN", testToken)
	t.Setenv(configVariable, "")
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	o := simulator.Options{Clock: clock.System{}, Seed: 1, Hosts: 60, Balance: market.Amount(market.USD(500, 0)), Regime: simulator.Quiet}
	o.Boot.Median = time.Millisecond
	e, err := simulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(e.Handler(simulator.FaceOptions{}))
	t.Cleanup(srv.Close)
	for name, text := range map[string]string{
		"c.yaml":       fmt.Sprintf(worldFile, "live", "t.db", srv.URL, srv.URL),
		"dry.yaml":     fmt.Sprintf(worldFile, "dry-run", "t.db", srv.URL, srv.URL),
		"damaged.yaml": fmt.Sprintf(worldFile, "live", "damaged.db", srv.URL, srv.URL),
		"bad.yaml":     "version: 1\npolicys: []\n",
		"damaged.db":   strings.Repeat("no ledger", 4096),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const worldFile = `version: 1
daemon: {mode: %s, schedule: "@every 1s", listen: "", ledger: %s}
tensordock: {marketplace_url: "%s", instances_url: "%s", marketplace_rps: 1000, instances_rpm: 60000}
budget: {max_hourly: 20.00}
policies:
  - {name: train, target: {gpus: 2}, max_gpu_hour: 1.00, match: {gpu_models: ["*"]}}
  - {name: idle, target: {gpus: 0}, max_gpu_hour: 1.00, shadow: true}
`

// lived is a world in which machines were bought.
func lived(t *testing.T) (machine string) {
	t.Helper()
	world(t)
	for range 2 {
		if d := tdscaler("run", "--once", "-c", "c.yaml"); d.code != exitOK {
			t.Fatalf("%+v", d)
		}
	}
	machine = regexp.MustCompile(`tds-main-train-\w+`).FindString(tdscaler("machines", "-c", "c.yaml").out)
	if machine == "" {
		t.Fatal("nothing was bought")
	}
	return machine
}

// answers are arguments with which every command that knows --json answers at once. A
// command that is missing here fails the tests.
func answers(machine string) map[string][]string {
	c := []string{"-c", "c.yaml"}
	at := func(args ...string) []string { return append(args, c...) }
	return map[string][]string{
		"check": {"c.yaml"}, "plan": at(), "reload": at(), "health": at(), "status": at(), "machines": at(), "explain": at("train"),
		"container list": at(), "container adopt": at("train", "--none"), "cost": at(), "claim": at(), "report": at(),
		"ledger list": at(), "ledger show": at("1"), "ledger cycles": at(), "ledger cycle": at("last"), "ledger verify": at(),
		"ledger backup": at("copy.db"), "ledger hosts": at(), "ledger compact": at(),
		"target": at(), "target set": at("train", "1"), "target clear": at("train"),
		"pause": at("train"), "resume": at("train"), "protect": at(machine), "destroy": at("--all", "--yes"),
		"market": at(), "prices": at(), "auth": at(), "revenue": at("--since", "24h"),
		"backtest": at("--generate", "2", "--days", "1", "--no-optimum"),
		"version":  {},

		"notify list": at(),
	}
}

// withoutJSON are the commands that have no result to print as JSON.
func withoutJSON() []string {
	// Each line of an export is JSON anyway; the demo takes too long, a sample
	// wants sinks, and both have their tests.
	return []string{"run", "simulator", "completion", "man", "ledger export", "demo", "notify test", "top"}
}

// refusing are those of the commands above that cannot succeed in that world: no daemon
// runs, and no container is in doubt.
func refusing() []string { return []string{"reload", "container adopt", "health"} }

func TestEveryCommandThatTellsSomethingTellsItAsJSON(t *testing.T) {
	t.Run("of an empty world", func(t *testing.T) {
		world(t)
		tellAsJSON(t, answers("tds-main-train-aaaaaaaa"), append(refusing(), "protect", "ledger show", "ledger cycle"))
	})
	t.Run("of a fleet", func(t *testing.T) { tellAsJSON(t, answers(lived(t)), refusing()) })
}

// tellAsJSON runs every command with --json; those in failing have nothing to tell.
func tellAsJSON(t *testing.T, args map[string][]string, failing []string) {
	// What changes the books comes last, and the machine's end at the very end.
	names := slices.SortedFunc(maps.Keys(leaves()), func(a, b string) int {
		return cmp.Or(order(a)-order(b), cmp.Compare(a, b))
	})
	for _, name := range names {
		a, ok := args[name]
		if !ok {
			if !slices.Contains(withoutJSON(), name) {
				t.Errorf("%s: nobody knows whether it prints JSON", name)
			}
			continue
		}
		d := tdscaler(slices.Concat(strings.Fields(name), a, []string{"--json"})...)
		if slices.Contains(failing, name) {
			if d.code != exitFailure || d.out != "" {
				t.Errorf("%s: %+v", name, d)
			}
			continue
		}
		if d.code != exitOK {
			t.Errorf("%s: %+v", name, d)
		}
		for _, problem := range formProblems(name, d.out) {
			t.Error(problem)
		}
	}
}

func TestTheDemoTellsItsResultAsJSONToo(t *testing.T) {
	var b bytes.Buffer
	if err := printJSON(&b, demo.Result{Policies: []demo.PolicyResult{{}}}); err != nil {
		t.Fatal(err)
	}
	for _, problem := range formProblems("demo", b.String()) {
		t.Error(problem)
	}
}

func order(name string) int {
	switch name {
	case "destroy":
		return 3
	case "pause", "target set", "protect":
		return 1
	case "resume", "target clear":
		return 2
	}
	return 0
}

// formProblems are departures of JSON from the form that docs/cli.md promises.
func formProblems(at, text string) []string {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return []string{fmt.Sprintf("%s: %v in %s", at, err, text)}
	}
	return slices.Compact(slices.Sorted(slices.Values(departures(at, v))))
}

var (
	fieldName = regexp.MustCompile(`^([a-z][a-z0-9_]*|[0-9]+)$`) // numbers are keys of what is counted
	// Only figures may be unknown; all else is left out, and a list is [].
	mayBeNull = regexp.MustCompile(`(_usd|_usd_hour|_seconds|balance|\.j_[a-z_]+|\.trend_usd_hour\[\])$`)
)

func departures(at string, v any) (problems []string) {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if !fieldName.MatchString(k) {
				problems = append(problems, fmt.Sprintf("%s: the field %q", at, k))
			}
			problems = append(problems, departures(at+"."+k, x)...)
		}
	case []any:
		for _, x := range v {
			problems = append(problems, departures(at+"[]", x)...)
		}
	case nil:
		if !mayBeNull.MatchString(at) {
			problems = append(problems, at+" is null")
		}
	}
	return problems
}

func TestEveryCommandEndsWithTheCodeThatThePageSays(t *testing.T) {
	world(t)
	args := answers("tds-main-train-aaaaaaaa")
	args["run"], args["ledger export"], args["health"] = []string{"--once", "-c", "c.yaml"}, []string{"-c", "c.yaml"}, []string{"-c", "c.yaml"}
	for name, c := range leaves() {
		words := strings.Fields(name)
		ends := func(code int, want string, more ...string) {
			t.Helper()
			d := tdscaler(slices.Concat(words, more)...)
			if d.code != code || !strings.Contains(d.err, want) {
				t.Errorf("%s %v: %d, want %d and %q; %s", name, more, d.code, code, want, d.err)
			}
		}
		see := fmt.Sprintf("See %q.", "tdscaler "+name+" --help")
		ends(exitUsage, see, "--no-such-flag")
		ends(exitOK, "", "--help")
		if c.Args != nil && c.Args(c, []string{"1", "2", "3", "4"}) != nil {
			ends(exitUsage, see, "1", "2", "3", "4")
		}
		a := args[name]
		if i := slices.Index(a, "c.yaml"); i > 0 {
			with := func(file string) []string {
				b := slices.Clone(a)
				b[i] = file
				return b
			}
			ends(exitUsage, "TD101", with("bad.yaml")...)
			ends(exitUsage, "no such file", with("nowhere.yaml")...)
			ends(exitUsage, "no configuration: name one with --config FILE", slices.Delete(slices.Clone(a), i-1, i+1)...)
			if asksLedger(name) {
				ends(exitFailure, "damaged.db", with("damaged.yaml")...)
			}
		}
	}
}

// asksLedger: the others need no ledger, or ask whether there is one first.
func asksLedger(name string) bool {
	return !slices.Contains([]string{"auth", "revenue", "backtest", "health", "notify list"}, name)
}

func TestErrorsSayWhatToDo(t *testing.T) {
	world(t)
	taken := httptest.NewServer(nil)
	defer taken.Close()
	t.Setenv("TERM", "dumb")
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"reload", "-c", "c.yaml"}, exitFailure, `no daemon runs on the ledger .*: start one with "tdscaler run --config c.yaml"`},
		{[]string{"explain", "trian", "-c", "c.yaml"}, exitUsage, `did you mean train\?`},
		{[]string{"explian", "train"}, exitUsage, `did you mean explain\?`},
		{[]string{"explain"}, exitUsage, `name a policy, or a cycle with --cycle or --at`},
		{[]string{"status", "--confg", "c.yaml"}, exitUsage, `unknown flag: --confg; did you mean --config\?`},
		{[]string{"destroy", "train", "-c", "dry.yaml", "--yes"}, exitFailure, `set "mode: live"`},
		{[]string{"destroy", "train", "-c", "c.yaml"}, exitUsage, `nothing was deleted: add --yes`},
		{[]string{"simulator", "--listen", strings.TrimPrefix(taken.URL, "http://")}, exitFailure, `another program listens there`},
		{[]string{"ledger", "backup", "c.yaml", "-c", "c.yaml"}, exitFailure, `there is no ledger`},
		{[]string{"completion", "tcsh"}, exitUsage, `bash, zsh or fish`},
	} {
		d := tdscaler(c.args...)
		if d.code != c.code || !regexp.MustCompile(c.want).MatchString(d.err) {
			t.Errorf("%v: %d %s", c.args, d.code, d.err)
		}
	}
	t.Setenv("TENSORDOCK_API_KEY", "")
	if d := tdscaler("run", "-c", "c.yaml"); d.code != exitFailure || !strings.Contains(d.err, "set TENSORDOCK_API_KEY in the environment") {
		t.Errorf("%+v", d)
	}
	for _, f := range []string{"t.db", "t.db.sock"} {
		if _, err := os.Lstat(filepath.Join(".", f)); err == nil {
			t.Errorf("questions left %s behind", f)
		}
	}
}
