package monitoring

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
)

// rule is a recording or an alerting rule.
type rule struct {
	Record, Alert, Expr, For string
	Labels, Annotations      map[string]string
}

func (r *rule) name() string { return r.Record + r.Alert }

// patience is how long it must hold before it fires.
func (r *rule) patience(t testing.TB) time.Duration {
	t.Helper()
	if r.For == "" {
		return 0
	}
	d, err := time.ParseDuration(r.For)
	must(t, err)
	return d
}

func rules(t testing.TB) (out []rule) {
	t.Helper()
	for _, path := range ruleFiles(t) {
		var file struct{ Groups []struct{ Rules []rule } }
		must(t, yaml.Unmarshal([]byte(read(t, path)), &file))
		for _, g := range file.Groups {
			out = append(out, g.Rules...)
		}
	}
	if len(out) < 40 {
		t.Fatalf("only %d rules were found: the search is broken", len(out))
	}
	return out
}

func alerts(t testing.TB) []rule {
	t.Helper()
	return slices.DeleteFunc(rules(t), func(r rule) bool { return r.Alert == "" })
}

func TestEveryAlertSaysHowGraveItIsWhatItIsAndWhatToDo(t *testing.T) {
	for _, a := range alerts(t) {
		if !slices.Contains([]string{"page", "ticket", "info"}, a.Labels["severity"]) {
			t.Errorf("%s: severity %q", a.Alert, a.Labels["severity"])
		}
		page := "docs/runbooks/" + a.Alert + ".md"
		if a.Annotations["runbook_url"] != "https://github.com/tdscaler/tdscaler/blob/main/"+page {
			t.Errorf("%s: runbook_url %q", a.Alert, a.Annotations["runbook_url"])
		}
		if !strings.Contains(a.Annotations["summary"], "$labels.instance") && a.Alert != "TdscalerAbsent" {
			t.Errorf("%s: its summary does not say whose it is", a.Alert)
		}
		if perPolicy := strings.Contains(a.Expr, "policy:") || strings.Contains(a.Expr, "instance, policy)"); perPolicy && !strings.Contains(a.Annotations["summary"], "$labels.policy") {
			t.Errorf("%s: its summary does not name the policy", a.Alert)
		}
		if !strings.HasSuffix(a.Annotations["description"], ".") && !strings.Contains(a.Annotations["description"], "tdscaler ") {
			t.Errorf("%s: its description neither ends nor names a command: %q", a.Alert, a.Annotations["description"])
		}
	}
}

func TestRecordingRulesAreNamedByLevelMetricAndOperation(t *testing.T) {
	form := regexp.MustCompile(`^(instance|policy|api):tdscaler_[a-z_]+:[a-z0-9_]+$`)
	for _, r := range rules(t) {
		if r.Record != "" && !form.MatchString(r.Record) {
			t.Errorf("%s is not named level:metric:operation", r.Record)
		}
	}
}

// trial is what a unit test of promtool expects at one moment.
type trial struct {
	EvalTime  string `yaml:"eval_time"`
	Alertname string
	Exp       []struct {
		Labels map[string]string `yaml:"exp_labels"`
	} `yaml:"exp_alerts"`
}

func trials(t *testing.T) (out []trial) {
	t.Helper()
	files, err := filepath.Glob(root("deploy", "prometheus", "tests", "*_test.yaml"))
	must(t, err)
	for _, path := range files {
		var file struct {
			Tests []struct {
				Alerts []trial `yaml:"alert_rule_test"`
			}
		}
		must(t, yaml.Unmarshal([]byte(read(t, path)), &file))
		for _, one := range file.Tests {
			out = append(out, one.Alerts...)
		}
	}
	return out
}

func TestEveryAlertHasAUnitTestInWhichItFiresAndOneInWhichItWaits(t *testing.T) {
	all := trials(t)
	for _, a := range alerts(t) {
		fires := slices.ContainsFunc(all, func(x trial) bool { return x.Alertname == a.Alert && expects(x, a.Labels) })
		waits := slices.ContainsFunc(all, func(x trial) bool { return x.Alertname == a.Alert && len(x.Exp) == 0 })
		if !fires || !waits {
			t.Errorf("%s %v: a unit test in which it fires: %t, in which it does not yet: %t", a.Alert, a.Labels, fires, waits)
		}
	}
}

// expects says whether an alert of exactly these labels is to fire.
func expects(x trial, labels map[string]string) bool {
	for _, e := range x.Exp {
		all := true
		for k, v := range labels {
			all = all && e.Labels[k] == v
		}
		if all {
			return true
		}
	}
	return false
}

func TestPromtoolAcceptsTheRulesAndTheirUnitTests(t *testing.T) {
	promtool := tool(t, "promtool")
	run(t, promtool, append([]string{"check", "rules"}, ruleFiles(t)...)...)
	run(t, promtool, "check", "config", root("deploy", "prometheus", "prometheus.yml"))
	files, err := filepath.Glob(root("deploy", "prometheus", "tests", "*_test.yaml"))
	must(t, err)
	run(t, promtool, append([]string{"test", "rules"}, files...)...)
}

func routes() string { return root("deploy", "alertmanager", "alertmanager.yml") }

// examples takes the # from the examples of receivers of some kinds, such as slack.
func examples(config string, kinds ...string) string {
	lines, on := strings.Split(config, "\n"), false
	for i, line := range lines {
		if m := regexp.MustCompile(`^    #(\w+)_configs:$`).FindStringSubmatch(line); m != nil {
			on = slices.Contains(kinds, m[1])
		} else if !strings.HasPrefix(line, "    #  ") {
			on = false
		}
		if on {
			lines[i] = strings.Replace(line, "#", "", 1)
		}
	}
	return strings.Join(lines, "\n")
}

// A target that nobody listens on is an error a minute in Alertmanager's log, and looks
// as if somebody were told.
func TestTheReceiversAsShippedHaveNoTargetAndTheirExamplesAreRight(t *testing.T) {
	type file struct{ Receivers []map[string]any }
	var bare, full file
	kinds := []string{"pagerduty", "slack", "email", "webhook"}
	all := examples(read(t, routes()), kinds...)
	must(t, yaml.Unmarshal([]byte(read(t, routes())), &bare))
	must(t, yaml.Unmarshal([]byte(all), &full))
	if len(bare.Receivers) != 3 || len(full.Receivers) != 3 {
		t.Fatalf("%v, %v", bare, full)
	}
	seen := map[string]bool{}
	for i, r := range bare.Receivers {
		if len(r) != 1 {
			t.Errorf("as shipped it has a target: %v", r)
		}
		if _, ok := full.Receivers[i]["webhook_configs"]; !ok {
			t.Errorf("%v has no example of a webhook", r["name"])
		}
		for key := range full.Receivers[i] {
			seen[strings.TrimSuffix(key, "_configs")] = true
		}
	}
	for _, kind := range kinds {
		if !seen[kind] {
			t.Errorf("there is no example of %s", kind)
		}
	}
	run(t, tool(t, "amtool"), "check-config", write(t, filepath.Join(t.TempDir(), "all.yml"), all))
}

func TestAmtoolAcceptsTheRoutes(t *testing.T) {
	config := routes()
	amtool := tool(t, "amtool")
	run(t, amtool, "check-config", config)
	for labels, want := range map[string]string{
		"alertname=TdscalerDown severity=page":              "page",
		"alertname=TdscalerTargetMissed severity=ticket":    "ticket",
		"alertname=TdscalerOverrideForgotten severity=info": "info",
		"alertname=SomebodyElses":                           "ticket",
	} {
		out, err := exec.Command(amtool, append([]string{"config", "routes", "test", "--config.file=" + config}, strings.Fields(labels)...)...).Output()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%s goes to %s %v, not to %s", labels, strings.TrimSpace(string(out)), err, want)
		}
	}
}
