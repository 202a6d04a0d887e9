package monitoring

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// target is one query of a dashboard, as Grafana would send it.
type target struct {
	where string // dashboard, panel and query
	kind  string // of the panel
	expr  string // with its variables
	table bool   // asked for one moment
	mark  bool   // an annotation, which mostly has nothing to show
}

// variables are what Grafana puts in the place of its variables.
func variables() *strings.Replacer {
	return strings.NewReplacer(
		"${datasource}", "prometheus", "$job", ".+", "$instance", ".+", "$policy", ".*",
		"$__rate_interval", rateInterval, "$__range_s", "86400", "$__range", "24h", "$__interval", "5m",
	)
}

// rateInterval is what no range is written as by hand, so that it shows where it was a
// variable; with a scrape each minute Grafana would take four minutes.
const rateInterval = "301s"

func (t *target) filled() string { return variables().Replace(t.expr) }

var labelValues = regexp.MustCompile(`^label_values\((.+), \w+\)$`)

// targets are all queries of all dashboards, those of their variables too.
func targets(t testing.TB) (out []target) {
	t.Helper()
	files, err := filepath.Glob(root("deploy", "grafana", "dashboards", "*.json"))
	must(t, err)
	for _, f := range files {
		var d struct {
			Title  string
			Panels []struct {
				Type, Title string
				Targets     []struct {
					Expr, RefID string
					Instant     bool
				}
			}
			Annotations struct {
				List []struct{ Name, Expr string }
			}
			Templating struct {
				List []struct{ Name, Query string }
			}
		}
		must(t, json.Unmarshal([]byte(read(t, f)), &d))
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				out = append(out, target{where: fmt.Sprintf("%s: %s, %s", d.Title, p.Title, q.RefID), kind: p.Type, expr: q.Expr, table: q.Instant})
			}
		}
		for _, a := range d.Annotations.List {
			if a.Expr != "" {
				out = append(out, target{where: d.Title + ": marks, " + a.Name, expr: a.Expr, mark: true})
			}
		}
		for _, v := range d.Templating.List {
			if m := labelValues.FindStringSubmatch(v.Query); m != nil && m[1] != "tdscaler_build_info" { // the first chooses the job
				out = append(out, target{where: d.Title + ": variable " + v.Name, expr: m[1], table: true})
			}
		}
	}
	if len(out) < 150 {
		t.Fatalf("only %d queries were found: the search is broken", len(out))
	}
	return out
}

// documented are the metrics of docs/metrics.md, which a test holds to the registry, and
// those of Go, of the process and of the scrape that are known to be there.
func documented(t testing.TB) (kind map[string]string, labels map[string][]string) {
	t.Helper()
	kind, labels = map[string]string{
		"up": "gauge", "process_start_time_seconds": "gauge", "process_resident_memory_bytes": "gauge", "process_open_fds": "gauge",
		"process_cpu_seconds_total": "counter", "go_goroutines": "gauge", "go_memstats_heap_inuse_bytes": "gauge",
	}, map[string][]string{}
	row := regexp.MustCompile("(?m)^\\| `(tdscaler_[a-z_]+)` \\| ([a-z]+) \\| ([a-z, ]*) \\|")
	for _, m := range row.FindAllStringSubmatch(read(t, root("docs", "metrics.md")), -1) {
		kind[m[1]] = m[2]
		labels[m[1]] = strings.Split(strings.TrimSpace(m[3]), ", ")
	}
	if len(kind) < 60 {
		t.Fatalf("only %d metrics were found: the search is broken", len(kind))
	}
	return kind, labels
}

// judge holds queries to what is known of the metrics.
type judge struct {
	kind   map[string]string
	labels map[string][]string
}

// problems are what is wrong with a query whose variables are filled in.
func (j *judge) problems(expr string) (out []string) {
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return []string{"target-promql: " + err.Error()}
	}
	bad := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	parser.Inspect(e, func(n parser.Node, path []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			j.selector(n, bad)
			if j.isCounter(n.Name) && len(path) > 0 {
				if call := caller(path); !slices.Contains([]string{"rate", "irate", "increase"}, call) {
					bad("target-counter-agg: %s is a counter, and stands in %q", n.Name, call)
				}
			}
		case *parser.MatrixSelector:
			j.window(n, caller(path), bad)
		case *parser.AggregateExpr:
			j.grouping(n, bad)
		}
		return nil
	})
	return out
}

// caller is the function that a selector stands in directly; "" for none.
func caller(path []parser.Node) string {
	for i := len(path) - 1; i >= 0; i-- {
		switch n := path[i].(type) {
		case *parser.Call:
			return n.Func.Name
		case parser.Expressions, *parser.MatrixSelector:
		default:
			return ""
		}
	}
	return ""
}

// base is the metric that a series is of: histograms have three of them.
func (j *judge) base(name string) (string, bool) {
	if j.kind[name] != "" {
		return name, j.kind[name] != "histogram"
	}
	for _, end := range []string{"_bucket", "_sum", "_count"} {
		if b, ok := strings.CutSuffix(name, end); ok && j.kind[b] == "histogram" {
			return b, true
		}
	}
	return name, false
}

func (j *judge) isCounter(name string) bool {
	b, _ := j.base(name)
	return j.kind[b] == "counter" || j.kind[b] == "histogram"
}

func (j *judge) selector(s *parser.VectorSelector, bad func(string, ...any)) {
	base, known := j.base(s.Name)
	if !known && s.Name != "" {
		bad("metric: there is no %q", s.Name)
	}
	own := append([]string{"__name__", "job", "instance"}, j.labels[base]...)
	if j.kind[base] == "histogram" {
		own = append(own, "le")
	}
	asked := map[string]string{}
	for _, m := range s.LabelMatchers {
		asked[m.Name] = m.Type.String() + m.Value
		if !slices.Contains(own, m.Name) {
			bad("label: %s has no label %q", s.Name, m.Name)
		}
	}
	if asked["job"] != "=~.+" {
		bad("target-job: %s is of any job", s.Name)
	}
	if asked["instance"] != "=~.+" && s.Name != "tdscaler_build_info" { // which chooses the instance
		bad("target-instance: %s is of any instance", s.Name)
	}
	if slices.Contains(own, "policy") && asked["policy"] != "" && asked["policy"] != "=~.*" {
		bad("target-policy: %s asks for policy%s", s.Name, asked["policy"])
	}
}

// window wants Grafana's own interval in what is drawn over time, and functions of
// counters on counters alone.
func (j *judge) window(m *parser.MatrixSelector, call string, bad func(string, ...any)) {
	s, ok := m.VectorSelector.(*parser.VectorSelector)
	if !ok {
		return
	}
	ofCounters := slices.Contains([]string{"rate", "irate", "increase"}, call)
	if ofCounters && !j.isCounter(s.Name) {
		bad("%s of %s, which is no counter", call, s.Name)
	}
	if (call == "rate" || call == "irate") && m.Range.String() != "5m1s" {
		bad("target-rate-interval: %s over %s", call, m.Range)
	}
	if !ofCounters && m.Range.String() == "5m1s" {
		bad("target-rate-interval: $__rate_interval in %s", call)
	}
}

// grouping wants labels that the metric below has.
func (j *judge) grouping(a *parser.AggregateExpr, bad func(string, ...any)) {
	have := map[string]bool{"job": true, "instance": true, "le": true}
	parser.Inspect(a.Expr, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			base, _ := j.base(s.Name)
			for _, l := range j.labels[base] {
				have[l] = true
			}
		}
		return nil
	})
	for _, l := range a.Grouping {
		if !have[l] {
			bad("label: %s by %q, which nothing in it has", a.Op, l)
		}
	}
}

func TestEveryQueryOfTheDashboardsIsSoundAndAboutMetricsThatThereAre(t *testing.T) {
	kind, labels := documented(t)
	j := judge{kind, labels}
	for _, q := range targets(t) {
		if left := regexp.MustCompile(`\$\w+`).FindString(q.filled()); left != "" {
			t.Errorf("%s: nobody fills in %s", q.where, left)
		}
		for _, p := range j.problems(q.filled()) {
			t.Errorf("%s: %s\n\t%s", q.where, p, q.expr)
		}
	}
}

func TestEachRuleOfQueriesFindsWhatBreaksIt(t *testing.T) {
	kind, labels := documented(t)
	j := judge{kind, labels}
	for expr, want := range map[string]string{
		`sum(tdscaler_burn_dollars_per_hour{$self}`:                                       "target-promql",
		`tdscaler_burn_dollars{$self}`:                                                    "there is no",
		`tdscaler_cycle_duration_seconds{$self}`:                                          "there is no",
		`tdscaler_burn_dollars_per_hour{job=~"$job"}`:                                     "target-instance",
		`tdscaler_burn_dollars_per_hour{instance=~"$instance"}`:                           "target-job",
		`tdscaler_policy_gpus{$self, status="ready"}`:                                     `no label "status"`,
		`tdscaler_policy_gpus{$self, policy="train"}`:                                     "target-policy",
		`sum by (region) (tdscaler_policy_gpus{$self})`:                                   `by "region"`,
		`sum(tdscaler_cycles_total{$self})`:                                               "target-counter-agg",
		`max_over_time(tdscaler_cycles_total{$self}[1h])`:                                 "target-counter-agg",
		`rate(tdscaler_policy_gpus{$self}[$__rate_interval])`:                             "no counter",
		`rate(tdscaler_cycles_total{$self}[5m])`:                                          "target-rate-interval",
		`avg_over_time(tdscaler_policy_gpus{$self}[$__rate_interval])`:                    "target-rate-interval",
		`histogram_quantile(0.9, tdscaler_cycle_duration_seconds_bucket{$self})`:          "target-counter-agg",
		`sum by (result) (increase(tdscaler_cycles_total{$self}[$__rate_interval]))`:      "",
		`sum by (result) (increase(tdscaler_cycles_total{$self}[1d])) or vector(0)`:       "",
		`avg_over_time((sum(tdscaler_policy_gpus{$self, policy=~"$policy"}))[$__range:])`: "",
	} {
		filled := variables().Replace(strings.ReplaceAll(expr, "$self", `job=~"$job", instance=~"$instance"`))
		got := strings.Join(j.problems(filled), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}

// TestEveryPanelShowsSomethingOfTheDay asks what each panel asks, as it asks it, of the
// day that was played. What is no number is nothing.
func TestEveryPanelShowsSomethingOfTheDay(t *testing.T) {
	s := day(t)
	for _, q := range targets(t) {
		if q.mark && !strings.Contains(q.where, "Starts") && !strings.Contains(q.where, "Reloads") {
			s.query(t, q.filled(), dayEnd) // it must be understood; a day without trouble has no marks
			continue
		}
		var got []series
		if numbers := "(" + q.filled() + ") >= -Inf"; q.table {
			got = s.query(t, numbers, dayEnd)
		} else {
			got = s.queryRange(t, numbers, dayStart.Add(time.Hour), dayEnd, 5*time.Minute)
		}
		if len(got) == 0 {
			t.Errorf("%s shows nothing of the day:\n\t%s", q.where, q.expr)
		}
	}
}
