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

// manners are the rules of dashboards for queries, beside what holds for every
// expression: each chooses job and instance, and rates are over Grafana's own interval.
func manners(known map[string]metric, expr string) (out []string) {
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		return nil // a fault already
	}
	parser.Inspect(parsed, func(n parser.Node, path []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			out = append(out, chosen(known, n)...)
		case *parser.MatrixSelector:
			call, own := innermost(path), n.Range.String() == "5m1s"
			switch {
			case own && slices.Contains([]string{"rate", "irate", "increase"}, call):
			case !own && call != "rate" && call != "irate":
			default:
				out = append(out, fmt.Sprintf("target-rate-interval: %s over %s", call, n.Range))
			}
		}
		return nil
	})
	return out
}

// chosen are the matchers that a selector lacks.
func chosen(known map[string]metric, s *parser.VectorSelector) (out []string) {
	want := map[string]string{"job": "=~.+", "instance": "=~.+"}
	if slices.Contains(known[s.Name].labels, "policy") {
		want["policy"] = "=~.*"
	}
	have := map[string]string{}
	for _, m := range s.LabelMatchers {
		have[m.Name] = m.Type.String() + m.Value
	}
	for _, label := range []string{"job", "instance", "policy"} {
		switch is := have[label]; {
		case is == want[label]:
		case label == "policy" && is == "": // all of them
		case s.Name == "ALERTS": // some have neither
		case s.Name == "tdscaler_build_info" && label == "instance": // which chooses the instance
		default:
			out = append(out, fmt.Sprintf("target-%s: %s has %q", label, s.Name, is))
		}
	}
	return out
}

func TestEveryQueryOfTheDashboardsIsSoundAndAboutMetricsThatThereAre(t *testing.T) {
	known := catalogue(t)
	for _, q := range targets(t) {
		if left := regexp.MustCompile(`\$\w+`).FindString(q.filled()); left != "" {
			t.Errorf("%s: nobody fills in %s", q.where, left)
		}
		problems := manners(known, q.filled())
		if !strings.HasPrefix(q.expr, "{__name__") { // of several metrics
			problems = append(problems, faults(known, q.filled())...)
		}
		for _, p := range problems {
			t.Errorf("%s: %s\n\t%s", q.where, p, q.expr)
		}
	}
}

func TestEachRuleOfQueriesFindsWhatBreaksIt(t *testing.T) {
	known := catalogue(t)
	for expr, want := range map[string]string{
		`tdscaler_burn_dollars_per_hour{job=~"$job"}`:                                     "target-instance",
		`tdscaler_burn_dollars_per_hour{instance=~"$instance"}`:                           "target-job",
		`tdscaler_policy_gpus{$self, policy="train"}`:                                     "target-policy",
		`rate(tdscaler_cycles_total{$self}[5m])`:                                          "target-rate-interval",
		`avg_over_time(tdscaler_policy_gpus{$self}[$__rate_interval])`:                    "target-rate-interval",
		`sum by (result) (increase(tdscaler_cycles_total{$self}[$__rate_interval]))`:      "",
		`sum by (result) (increase(tdscaler_cycles_total{$self}[1d])) or vector(0)`:       "",
		`avg_over_time((sum(tdscaler_policy_gpus{$self, policy=~"$policy"}))[$__range:])`: "",
	} {
		filled := variables().Replace(strings.ReplaceAll(expr, "$self", `job=~"$job", instance=~"$instance"`))
		got := strings.Join(append(manners(known, filled), faults(known, filled)...), "\n")
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
