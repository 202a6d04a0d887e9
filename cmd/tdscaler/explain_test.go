package main

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// dearer is the world's file with another ceiling for train.
func dearer(t *testing.T, name, ceiling string) {
	t.Helper()
	text, err := os.ReadFile("c.yaml")
	if err != nil {
		t.Fatal(err)
	}
	old := "target: {gpus: 2}, max_gpu_hour: 1.00"
	changed := strings.Replace(string(text), old, "capacity: on_demand, target: {gpus: 2}, max_gpu_hour: "+ceiling, 1)
	if err := os.WriteFile(name, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestExplainSaysWhatIsInTheWayAndWhatWouldHelpAndThatHelps(t *testing.T) {
	world(t)
	dearer(t, "low.yaml", "0.12")
	d := tdscaler("explain", "train", "-c", "low.yaml")
	for _, want := range []string{
		`(?m)^short 2 GPUs: `, `(?m)^offers: \d+ offers, .*\d+ under the ceiling$`, `(?m)^ceiling .* too dear for a ceiling of \$0\.1200/h$`,
		`(?m)^ceiling +- .*and \d+ more$`, `(?m)^  max_gpu_hour 0\.\d+ would admit `, `(?m)^  capacity spot would admit .*; not asked: whether a bid wins`,
		`(?m)^  waiting costs nothing, as nothing is billed meanwhile; `,
	} {
		if d.code != exitOK || !regexp.MustCompile(want).MatchString(d.out) {
			t.Errorf("%d %s\nno %s in\n%s", d.code, d.err, want, d.out)
		}
	}
	if all := tdscaler("explain", "train", "-c", "low.yaml", "--offers").out; strings.Contains(all, " more\n") || strings.Count(all, "\nceiling") < 10 {
		t.Errorf("not every offer is listed:\n%s", all)
	}
	var e control.Explanation
	if d := tdscaler("explain", "train", "-c", "low.yaml", "--json"); json.Unmarshal([]byte(d.out), &e) != nil || len(e.Counterfactuals) < 3 || len(e.FunnelSteps) < 2 || e.Headline == "" {
		t.Fatalf("%+v", d)
	}
	listed := 0
	for _, g := range e.Offers {
		listed += len(g.Listed)
	}
	if listed != e.Funnel.Offers {
		t.Errorf("%d of %d offers are in the JSON", listed, e.Funnel.Offers)
	}
	// The file is changed as the first of them says.
	for _, c := range e.Counterfactuals {
		if c.Key == "max_gpu_hour" && c.Fills == 2 {
			dearer(t, "enough.yaml", c.Value)
			if d := tdscaler("plan", "-c", "enough.yaml", "--json"); strings.Count(d.out, `"action": "deploy"`) != 2 {
				t.Errorf("%s: %s", c.Text, d.out)
			}
			return
		}
	}
	t.Errorf("no ceiling is suggested that brings all: %+v", e.Counterfactuals)
}

func TestExplainTellsACycleOfThePastAndDecidesItAgain(t *testing.T) {
	lived(t)
	for _, args := range [][]string{
		{"explain", "train", "-c", "c.yaml", "--cycle", "1"},
		{"explain", "-c", "c.yaml", "--cycle", "2"},
		{"explain", "train", "-c", "c.yaml", "--at", "0s"},
		{"explain", "idle", "-c", "c.yaml", "--cycle", "1"},
	} {
		if d := tdscaler(args...); d.code != exitOK || !strings.HasSuffix(d.out, "recomputed: the same decision\n") {
			t.Errorf("%v: %+v", args, d)
		}
	}
	first := tdscaler("explain", "train", "-c", "c.yaml", "--cycle", "1").out
	if !strings.HasPrefix(first, "policy train in cycle 1 of ") || !strings.Contains(first, "\ndone:\n") || !strings.Contains(first, "short 2 GPUs: 2 machines to be ordered now") {
		t.Error(first)
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--cycle", "99", "train"}, exitFailure, "ledger cycles"},
		{[]string{"--cycle", "0", "train"}, exitUsage, "numbered from 1"},
		{[]string{"--cycle", "1", "trian"}, exitUsage, `cycle 1 knew no policy "trian"`},
		{[]string{"--at", "2020-01-01", "train"}, exitFailure, "no cycle that had begun by 2020-01-01"},
		{[]string{"--at", "soon", "train"}, exitUsage, "--at is a duration"},
		{[]string{"--at", "1h", "--cycle", "1"}, exitUsage, "none of the others can be"},
		{nil, exitUsage, "name a policy, or a cycle"},
	} {
		if d := tdscaler(append([]string{"explain", "-c", "c.yaml"}, c.args...)...); d.code != c.code || !strings.Contains(d.err, c.want) {
			t.Errorf("%v: %+v", c.args, d)
		}
	}
}

// A version that decides otherwise says so, what differs, and which version it was.
func TestExplainSaysWhereADecisionOnRecordIsNotMadeAgain(t *testing.T) {
	lived(t)
	rewrite(t, func(r *plan.Report) {
		r.Cycle, r.Version = 3, "v0.9.0"
		r.Plan.Holds = append(r.Plan.Holds, plan.Hold{Policy: "train", Reason: plan.Reason{Code: "of_old", Text: "a reason of old"}})
	})
	for _, args := range [][]string{{"explain", "train", "-c", "c.yaml", "--cycle", "3"}, {"explain", "-c", "c.yaml", "--cycle", "3"}} {
		d := tdscaler(args...)
		if d.code != exitFailure || !strings.Contains(d.err, "cycle 3: this version decides otherwise") {
			t.Errorf("%v: %+v", args, d)
		}
		if !regexp.MustCompile(`recomputed: another decision; it was made by v0\.9\.0, this is \S+`).MatchString(d.out) || !strings.Contains(d.out, `"of_old"`) {
			t.Errorf("%v: %s", args, d.out)
		}
	}
	if r := reportOf(t, 1); r.Version != daemon.Build().String() {
		t.Errorf("the report does not say which version made it: %q", r.Version)
	}
}

func reportOf(t *testing.T, cycle uint64) (r plan.Report) {
	t.Helper()
	l, err := ledger.Open(ledger.Options{Path: "t.db", ReadOnly: true})
	if err == nil {
		r, err = l.Report(cycle)
		defer l.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// rewrite writes a changed report of the last cycle under another number.
func rewrite(t *testing.T, change func(*plan.Report)) {
	t.Helper()
	r := reportOf(t, 2)
	change(&r)
	l, err := ledger.Open(ledger.Options{Path: "t.db"})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Update(func(tx *ledger.Tx) error { return tx.PutReport(r) }); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestCheckLooksAtTheMarketOnlyWhereItIsToldTo(t *testing.T) {
	world(t)
	t.Setenv("TENSORDOCK_API_KEY", "")
	t.Setenv("TENSORDOCK_API_TOKEN", "")
	dearer(t, "low.yaml", "0.12")
	dearer(t, "high.yaml", "5.00")
	d := tdscaler("check", "--market", "low.yaml", "high.yaml")
	for _, want := range []string{
		`(?m)^policy train wants 2 GPUs: short 2 GPUs: `, `(?m)^  max_gpu_hour 0\.\d+ would admit `,
		`(?m)^policy train wants 2 GPUs: all of it would be bought now$`, `(?m)^deploy +train .*\$0\.\d+/h`, `(?m)^policy idle wants 0 GPUs: wants nothing now$`,
	} {
		if d.code != exitOK || !regexp.MustCompile(want).MatchString(d.out) {
			t.Errorf("%d %s\nno %s in\n%s", d.code, d.err, want, d.out)
		}
	}
	if d := tdscaler("check", "--market", "c.yaml"); d.code != exitOK || !strings.Contains(d.out, "whether one wins is not asked here") || !strings.Contains(d.out, "would be asked about first:") {
		t.Errorf("of spot: %+v", d)
	}
	var all []filePreview
	d = tdscaler("check", "--market", "--json", "low.yaml", "high.yaml")
	if err := json.Unmarshal([]byte(d.out), &all); err != nil || len(all) != 2 || len(all[0].Policies) != 2 || len(all[1].Policies[1].Buys) != 2 {
		t.Errorf("%v: %+v", err, d)
	}
	if _, err := os.Stat("t.db"); err == nil {
		t.Error("a check has made a ledger")
	}
	if d := tdscaler("check", "--market", "bad.yaml"); d.code != exitUsage {
		t.Errorf("%+v", d)
	}
	nowhere := regexp.MustCompile(`_url: "[^"]*"`)
	text, err := os.ReadFile("c.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("nowhere.yaml", nowhere.ReplaceAll(text, []byte(`_url: "http://127.0.0.1:1"`)), 0o600); err != nil {
		t.Fatal(err)
	}
	if d := tdscaler("check", "--market", "nowhere.yaml"); d.code != exitFailure || !strings.Contains(d.err, "the market could not be read") {
		t.Errorf("%+v", d)
	}
	if d := tdscaler("check", "nowhere.yaml"); d.code != exitOK {
		t.Errorf("check alone asks the market: %+v", d)
	}
}
