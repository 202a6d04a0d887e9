package docs

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
)

// update writes the generated pages anew.
func update() bool { return flag.Lookup("update").Value.String() == "true" }

func TestMain(m *testing.M) {
	flag.Bool("update", false, "write the generated part of docs/metrics.md")
	flag.Parse()
	os.Exit(m.Run())
}

// metric is one row of docs/metrics.md.
type metric struct {
	name, kind, help string
	labels           []string
}

// recorder is a Registerer that only listens.
type recorder struct {
	t     *testing.T
	found []metric
}

func (r *recorder) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc, 8)
	c.Describe(descs)
	close(descs)
	for d := range descs {
		r.found = append(r.found, describe(r.t, d, kindOf(r.t, c)))
	}
	return nil
}

func (r *recorder) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		_ = r.Register(c) // never fails
	}
}

func (r *recorder) Unregister(prometheus.Collector) bool { return false }

func kindOf(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	switch c.(type) {
	case prometheus.Gauge, *prometheus.GaugeVec: // before Counter, which a gauge satisfies too
		return "gauge"
	case prometheus.Counter, *prometheus.CounterVec:
		return "counter"
	case prometheus.Histogram, *prometheus.HistogramVec:
		return "histogram"
	}
	t.Fatalf("a metric of type %T: teach kindOf", c)
	return ""
}

// describe reads a Desc by its text, which is all that it shows of itself.
func describe(t *testing.T, d *prometheus.Desc, kind string) metric {
	t.Helper()
	m := regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: ("(?:[^"\\]|\\.)*"),.*? constLabels: \{(.*?)\}, variableLabels: \{(.*?)\}`).FindStringSubmatch(d.String())
	if m == nil {
		t.Fatalf("cannot read %s", d)
	}
	help, err := strconv.Unquote(m[2])
	if err != nil {
		t.Fatal(err)
	}
	out := metric{name: m[1], kind: kind, help: help}
	for _, l := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[3], -1) {
		out.labels = append(out.labels, l[1])
	}
	if m[4] != "" {
		out.labels = append(out.labels, strings.Split(m[4], ",")...)
	}
	return out
}

func daemonMetrics(t *testing.T) []metric {
	t.Helper()
	reg := &recorder{t: t}
	_, err := daemon.New(daemon.Options{
		Clock: clock.System{}, Log: zap.NewNop(), Registerer: reg,
		Connect: func(daemon.Config) (daemon.Market, error) { return daemon.Market{}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return reg.found
}

// mainMetrics reads the metrics that package main makes itself, from their
// literals, as nobody can import it.
func mainMetrics(t *testing.T) []metric {
	t.Helper()
	files, err := filepath.Glob("../../cmd/tdscaler/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var out []metric
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if m, ok := literalMetric(call); ok {
					out = append(out, m)
				}
			}
			return true
		})
	}
	return out
}

// literalMetric reads prometheus.NewKindVec(prometheus.KindOpts{...}, []string{...}).
func literalMetric(call *ast.CallExpr) (metric, bool) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return metric{}, false
	}
	kind := regexp.MustCompile(`^New(Counter|Gauge|Histogram)(Vec)?$`).FindStringSubmatch(sel.Sel.Name)
	opts, ok := call.Args[0].(*ast.CompositeLit)
	if kind == nil || !ok {
		return metric{}, false
	}
	field := map[string]string{}
	for _, e := range opts.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			field[fmt.Sprint(kv.Key)] = strings.Join(texts(kv.Value), "")
		}
	}
	m := metric{name: field["Namespace"] + "_" + field["Name"], kind: strings.ToLower(kind[1]), help: field["Help"]}
	if len(call.Args) > 1 {
		m.labels = texts(call.Args[1])
	}
	return m, true
}

// texts are the string literals below a node.
func texts(n ast.Node) (out []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			s, err := strconv.Unquote(l.Value)
			if err == nil {
				out = append(out, s)
			}
		}
		return true
	})
	return out
}

func table(ms []metric) string {
	slices.SortFunc(ms, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	var b strings.Builder
	b.WriteString("| metric | type | labels | meaning |\n|---|---|---|---|\n")
	for _, m := range ms {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, strings.Join(m.labels, ", "), m.help)
	}
	return b.String()
}

const (
	beginMark = "<!-- begin: written by `go test ./internal/docs -update` -->\n"
	endMark   = "<!-- end -->"
)

func TestEveryMetricIsDocumented(t *testing.T) {
	const page = "../../docs/metrics.md"
	ms := append(daemonMetrics(t), mainMetrics(t)...)
	for _, want := range []string{"tdscaler_cycles_total", "tdscaler_api_requests_total", "tdscaler_build_info"} {
		if !slices.ContainsFunc(ms, func(m metric) bool { return m.name == want }) {
			t.Fatalf("%s was not found in the code: the search is broken", want)
		}
	}
	for _, m := range ms {
		if m.help == "" || !strings.HasSuffix(m.help, ".") {
			t.Errorf("%s: the help must be a sentence: %q", m.name, m.help)
		}
	}
	old, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok1 := strings.Cut(string(old), beginMark)
	_, tail, ok2 := strings.Cut(rest, endMark)
	if !ok1 || !ok2 {
		t.Fatalf("%s has lost its marks", page)
	}
	want := []byte(head + beginMark + table(ms) + endMark + tail)
	if update() {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(old, want) {
		t.Errorf("docs/metrics.md is not what the code says: run go test ./internal/docs -update and look at the difference")
	}
}

// exposition shows every metric as if it had been scraped, one series each.
func exposition(ms []metric) string {
	var b strings.Builder
	for _, m := range ms {
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s %s\n", m.name, m.help, m.name, m.kind)
		labels := ""
		for _, l := range m.labels {
			labels += l + `="x",`
		}
		if m.kind == "histogram" {
			fmt.Fprintf(&b, "%s_bucket{%sle=\"+Inf\"} 1\n%s_sum{%s} 1\n%s_count{%s} 1\n", m.name, labels, m.name, labels, m.name, labels)
			continue
		}
		fmt.Fprintf(&b, "%s{%s} 1\n", m.name, labels)
	}
	return b.String()
}

func TestEveryMetricIsNamedAsPrometheusUsersExpect(t *testing.T) {
	text := exposition(append(daemonMetrics(t), mainMetrics(t)...))
	problems, err := promlint.New(strings.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
