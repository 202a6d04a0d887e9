package monitoring

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// metric is what docs/metrics.md says of one, which a test of internal/docs holds to the
// code.
type metric struct {
	kind   string
	labels []string // nil: not known
}

// catalogue is every metric that an expression may name: the daemon's, those of the Go
// runtime and the process, and what the recording rules make.
func catalogue(t testing.TB) map[string]metric {
	t.Helper()
	out := map[string]metric{
		"up": {kind: "gauge", labels: []string{}}, "process_start_time_seconds": {kind: "gauge", labels: []string{}},
		"process_resident_memory_bytes": {kind: "gauge", labels: []string{}}, "process_cpu_seconds_total": {kind: "counter", labels: []string{}},
		"process_open_fds": {kind: "gauge", labels: []string{}}, "process_max_fds": {kind: "gauge", labels: []string{}},
		"go_goroutines": {kind: "gauge", labels: []string{}}, "go_memstats_heap_inuse_bytes": {kind: "gauge", labels: []string{}},
	}
	row := regexp.MustCompile("(?m)^\\| `(tdscaler_\\w+)` \\| (\\w+) \\| ([\\w, ]*) \\|")
	for _, m := range row.FindAllStringSubmatch(read(t, root("docs", "metrics.md")), -1) {
		names := []string{}
		if m[3] != "" {
			names = strings.Split(strings.TrimSpace(m[3]), ", ")
		}
		out[m[1]] = metric{kind: m[2], labels: names}
	}
	if len(out) < 60 {
		t.Fatalf("only %d metrics were found: the search is broken", len(out))
	}
	// What Prometheus itself says of alerts: with the labels of each.
	out["ALERTS"] = metric{kind: "gauge"}
	for _, r := range rules(t) {
		if r.Record != "" {
			out[r.Record] = metric{kind: "gauge"}
		}
	}
	return out
}

// faults of an expression: what it names that does not exist, and functions of counters
// on what is none. Dashboards are held to the same.
func faults(known map[string]metric, expr string) (out []string) {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return []string{err.Error()}
	}
	parser.Inspect(parsed, func(n parser.Node, path []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			out = append(out, selectorFaults(known, n, path)...)
		case *parser.AggregateExpr:
			out = append(out, labelFaults(known, n.Expr, n.Grouping, n.Without)...)
		}
		return nil
	})
	return out
}

// selectorFaults are those of one metric where it stands.
func selectorFaults(known map[string]metric, s *parser.VectorSelector, path []parser.Node) (out []string) {
	m, part, ok := lookup(known, s.Name)
	if !ok {
		return []string{fmt.Sprintf("there is no metric %q", s.Name)}
	}
	for _, l := range s.LabelMatchers {
		if l.Name != "__name__" && !hasLabel(m, part, l.Name) {
			out = append(out, fmt.Sprintf("%s has no label %s", s.Name, l.Name))
		}
	}
	called := innermost(path)
	rising := m.kind == "counter" || part != ""
	switch {
	case m.kind == "histogram" && part == "":
		out = append(out, s.Name+" is a histogram: it has series _bucket, _sum and _count")
	case slices.Contains([]string{"rate", "irate", "increase", "resets"}, called) && !rising:
		out = append(out, fmt.Sprintf("%s of %s, which is a %s", called, s.Name, m.kind))
	case rising && !slices.Contains([]string{"rate", "irate", "increase", "resets"}, called):
		out = append(out, fmt.Sprintf("%s only rises: put rate or increase around it", s.Name))
	}
	if callers := calls(path); slices.Contains(callers, "histogram_quantile") && part != "_bucket" {
		out = append(out, "histogram_quantile of "+s.Name+", which is no _bucket")
	}
	return out
}

// lookup finds a metric, and which part of a histogram the name is.
func lookup(known map[string]metric, name string) (m metric, part string, ok bool) {
	if m, ok := known[name]; ok {
		return m, "", true
	}
	for _, part := range []string{"_bucket", "_sum", "_count"} {
		if m, ok := known[strings.TrimSuffix(name, part)]; ok && m.kind == "histogram" && strings.HasSuffix(name, part) {
			return m, part, true
		}
	}
	return metric{}, "", false
}

// hasLabel also knows what a scrape adds.
func hasLabel(m metric, part, label string) bool {
	return m.labels == nil || label == "job" || label == "instance" || part == "_bucket" && label == "le" || slices.Contains(m.labels, label)
}

// calls are the functions around a node, the outermost first.
func calls(path []parser.Node) (out []string) {
	for _, n := range path {
		if c, ok := n.(*parser.Call); ok {
			out = append(out, c.Func.Name)
		}
	}
	return out
}

func innermost(path []parser.Node) string {
	if all := calls(path); len(all) > 0 {
		return all[len(all)-1]
	}
	return ""
}

// labelFaults are labels by which is grouped and that nothing below has.
func labelFaults(known map[string]metric, below parser.Node, grouping []string, without bool) (out []string) {
	if without {
		return nil
	}
	var names []string
	had := map[string]bool{}
	parser.Inspect(below, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			m, part, _ := lookup(known, s.Name)
			names = append(names, s.Name)
			for _, l := range grouping {
				had[l] = had[l] || hasLabel(m, part, l)
			}
		}
		return nil
	})
	for _, l := range grouping {
		if !had[l] {
			out = append(out, fmt.Sprintf("grouped by %s, which %s does not have", l, strings.Join(names, ", ")))
		}
	}
	return out
}

func TestEveryExpressionOfTheRulesNamesWhatExists(t *testing.T) {
	known := catalogue(t)
	quoted := regexp.MustCompile(`tdscaler_\w+`)
	for _, r := range rules(t) {
		for _, f := range faults(known, r.Expr) {
			t.Errorf("%s: %s", r.name(), f)
		}
		for _, text := range r.Annotations {
			for _, name := range quoted.FindAllString(text, -1) {
				if _, _, ok := lookup(known, name); !ok {
					t.Errorf("%s: there is no metric %q, which an annotation asks for", r.name(), name)
				}
			}
		}
	}
}

func TestFaultsOfExpressionsAreFound(t *testing.T) {
	known := catalogue(t)
	for expr, want := range map[string]string{
		`sum(`:                                       "parse error",
		`tdscaler_nothing`:                           "no metric",
		`tdscaler_policy_gpus{colour="red"}`:         "no label colour",
		`rate(tdscaler_balance_dollars[5m])`:         "which is a gauge",
		`tdscaler_cycles_total > 3`:                  "only rises",
		`sum by (gpu) (tdscaler_policy_gpus)`:        "grouped by gpu",
		`tdscaler_cycle_duration_seconds`:            "is a histogram",
		`tdscaler_cycle_duration_seconds_bucket > 1`: "only rises",
		`histogram_quantile(0.9, rate(tdscaler_cycle_duration_seconds_sum[5m]))`:                        "no _bucket",
		`max_over_time(tdscaler_cycles_total[5m])`:                                                      "only rises",
		`histogram_quantile(0.9, sum by (le) (rate(tdscaler_api_request_duration_seconds_bucket[5m])))`: "",
		`sum by (job, instance, policy) (tdscaler_policy_gpus{state="ready"})`:                          "",
	} {
		got := strings.Join(faults(known, expr), "; ")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", expr, got, want)
		}
	}
}
