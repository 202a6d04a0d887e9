package dashboards

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// grafana is a dashboard as Grafana reads it: what the rules look at.
type grafana struct {
	UID, Title, Description, Timezone, Refresh string
	Tags                                       []string
	Editable                                   bool
	SchemaVersion                              int
	Panels                                     []panelJSON
	Templating                                 struct{ List []variable }
	Annotations                                struct {
		List []struct {
			Name, Expr string
			BuiltIn    int
			Datasource source
		}
	}
	Links []struct {
		Type, URL             string
		Tags                  []string
		IncludeVars, KeepTime bool
	}
}

type source struct{ Type, UID string }

type variable struct {
	Name, Label, Type, Query, AllValue string
	Multi, IncludeAll                  bool
	Refresh                            int
	Datasource                         source
}

type panelJSON struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               source
	FieldConfig              struct {
		Defaults struct {
			Unit       string
			Thresholds struct{ Steps []struct{ Value *float64 } }
		}
		Overrides []struct {
			Properties []struct {
				ID    string
				Value any
			}
		}
	}
	Options struct{ Legend *struct{ ShowLegend bool } }
	Targets []struct {
		Expr, LegendFormat, RefID string
		Datasource                source
		Instant, Range            bool
	}
}

// shipped are the dashboards as they stand in deploy/grafana.
func shipped(t *testing.T) []grafana {
	t.Helper()
	files, err := filepath.Glob("../../deploy/grafana/dashboards/*.json")
	if err != nil {
		t.Fatal(err)
	}
	var out []grafana
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var d grafana
		if err := json.Unmarshal(b, &d); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		out = append(out, d)
	}
	if len(out) != len(all()) {
		t.Fatalf("%d dashboards were found: the search is broken", len(out))
	}
	return out
}

// problems are what Grafana's dashboard linter and a person who looks would object to.
func (d *grafana) problems() []string {
	var out []string
	bad := func(rule, format string, args ...any) {
		out = append(out, d.UID+": "+rule+": "+fmt.Sprintf(format, args...))
	}
	d.checkItself(bad)
	d.checkVariables(bad)
	ids := map[int]bool{}
	for i := range d.Panels {
		p := &d.Panels[i]
		if ids[p.ID] || p.ID == 0 {
			bad("panel-id", "%q has the id %d", p.Title, p.ID)
		}
		ids[p.ID] = true
		if p.Type != "row" {
			p.check(bad)
		}
	}
	d.checkGrid(bad)
	return out
}

type complain func(rule, format string, args ...any)

func (d *grafana) checkItself(bad complain) {
	if d.Editable {
		bad("uneditable-dashboard", "it can be edited in place")
	}
	if d.Timezone != "browser" || d.Refresh != "30s" || d.SchemaVersion < 39 || d.SchemaVersion > 42 || d.Description == "" || !slices.Contains(d.Tags, tag) {
		bad("dashboard", "%q %q %d %q", d.Timezone, d.Refresh, d.SchemaVersion, d.Tags)
	}
	if len(d.Links) == 0 || d.Links[0].Type != "dashboards" || !slices.Contains(d.Links[0].Tags, tag) || !d.Links[0].IncludeVars || !d.Links[0].KeepTime {
		bad("links", "nothing leads to the other dashboards")
	}
	for _, a := range d.Annotations.List {
		if a.BuiltIn == 0 && (a.Expr == "" || a.Datasource.UID != "${datasource}") {
			bad("annotations", "%q", a.Name)
		}
	}
}

func (d *grafana) variable(name string) variable {
	for _, v := range d.Templating.List {
		if v.Name == name {
			return v
		}
	}
	return variable{}
}

func (d *grafana) checkVariables(bad complain) {
	if v := d.variable("datasource"); v.Type != "datasource" || v.Label != "Data source" || v.Query != "prometheus" {
		bad("template-datasource", "%+v", v)
	}
	for name, label := range map[string]string{"job": "Job", "instance": "Instance", "policy": "Policy"} {
		v := d.variable(name)
		if v.Type != "query" || v.Label != label || v.Datasource.UID != "${datasource}" || !v.Multi || !v.IncludeAll || name != "policy" && v.AllValue != ".+" {
			bad("template-"+name, "%+v", v)
		}
		if v.Refresh != 2 {
			bad("template-on-time-change-reload", "%s", name)
		}
		if !strings.HasPrefix(v.Query, "label_values(") {
			bad("template-label-promql", "%s: %q", name, v.Query)
		}
	}
}

// kinds are the panels of today, and those that draw a legend.
func kinds() map[string]bool {
	return map[string]bool{"timeseries": true, "state-timeline": true, "stat": false, "table": false, "heatmap": false, "bargauge": false}
}

// units are those that the dashboards use; a new one must be in Grafana's list.
func units() []string {
	return []string{"short", "none", "s", "bytes", "percentunit", "currencyUSD", "reqps", "dateTimeAsIso"}
}

func (p *panelJSON) check(bad complain) {
	legend, known := kinds()[p.Type]
	if !known {
		bad("panel-kind", "%q is of kind %q", p.Title, p.Type)
	}
	if p.Title == "" || len(p.Description) < 40 || !strings.HasSuffix(p.Description, ".") {
		bad("panel-title-description", "%q: %q", p.Title, p.Description)
	}
	if p.Datasource.UID != "${datasource}" || p.Datasource.Type != "prometheus" {
		bad("panel-datasource", "%q: %+v", p.Title, p.Datasource)
	}
	p.checkUnits(bad)
	if len(p.Targets) == 0 {
		bad("panel-no-targets", "%q", p.Title)
	}
	if legend && (p.Options.Legend == nil || !p.Options.Legend.ShowLegend) {
		bad("panel-legend", "%q", p.Title)
	}
	for _, t := range p.Targets {
		if t.Expr == "" || t.Datasource.UID != "${datasource}" || t.Instant == t.Range || t.Instant != (p.Type == "table") || p.Type != "table" && t.LegendFormat == "" {
			bad("target", "%q %s: %+v", p.Title, t.RefID, t)
		}
		if left := regexp.MustCompile(`\$(self|ours)`).FindString(t.Expr); left != "" {
			bad("target", "%q: %s was not written out", p.Title, left)
		}
	}
	for i, s := range p.FieldConfig.Defaults.Thresholds.Steps {
		if (i == 0) != (s.Value == nil) || i > 1 && *s.Value <= *p.FieldConfig.Defaults.Thresholds.Steps[i-1].Value {
			bad("panel-thresholds", "%q: step %d", p.Title, i)
		}
	}
}

func (p *panelJSON) checkUnits(bad complain) {
	used := []string{p.FieldConfig.Defaults.Unit}
	for _, o := range p.FieldConfig.Overrides {
		for _, q := range o.Properties {
			if q.ID == "unit" {
				used = append(used, fmt.Sprint(q.Value))
			}
		}
	}
	for _, u := range used {
		if !slices.Contains(units(), u) {
			bad("panel-units", "%q: %q", p.Title, u)
		}
	}
}

// checkGrid wants every panel within the width, none upon another, and no holes.
func (d *grafana) checkGrid(bad complain) {
	taken := map[[2]int]string{}
	width := map[int]int{}
	for _, p := range d.Panels {
		g := p.GridPos
		if g.W < 4 && p.Type != "row" || g.X < 0 || g.X+g.W > 24 || g.H < 1 {
			bad("grid", "%q at %+v", p.Title, g)
		}
		for y := g.Y; y < g.Y+g.H; y++ {
			width[y] += g.W
			for x := g.X; x < g.X+g.W; x++ {
				if other, ok := taken[[2]int{x, y}]; ok {
					bad("grid", "%q lies upon %q", p.Title, other)
					return
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	for y := range len(width) {
		if width[y] != 24 {
			bad("grid", "line %d is %d wide", y, width[y])
		}
	}
}

func TestTheDashboardsKeepTheRulesOfDashboards(t *testing.T) {
	ds := shipped(t)
	uids := map[string]bool{}
	for i := range ds {
		for _, p := range ds[i].problems() {
			t.Error(p)
		}
		uids[ds[i].UID] = true
	}
	if len(uids) != len(ds) {
		t.Errorf("the same uid twice: %v", uids)
	}
}

func (d *grafana) first(kind string) *panelJSON {
	return &d.Panels[slices.IndexFunc(d.Panels, func(p panelJSON) bool { return p.Type == kind })]
}

func TestEachRuleFindsWhatBreaksIt(t *testing.T) {
	for rule, spoil := range map[string]func(*grafana){
		"uneditable-dashboard":           func(d *grafana) { d.Editable = true },
		"dashboard:":                     func(d *grafana) { d.SchemaVersion = 16 },
		"links":                          func(d *grafana) { d.Links[0].IncludeVars = false },
		"annotations":                    func(d *grafana) { d.Annotations.List[1].Expr = "" },
		"template-datasource":            func(d *grafana) { d.Templating.List[0].Label = "DS" },
		"template-job":                   func(d *grafana) { d.Templating.List[1].Multi = false },
		"template-instance":              func(d *grafana) { d.Templating.List[2].AllValue = ".*" },
		"template-on-time-change-reload": func(d *grafana) { d.Templating.List[1].Refresh = 1 },
		"template-label-promql":          func(d *grafana) { d.Templating.List[1].Query = "up" },
		"panel-id":                       func(d *grafana) { d.Panels[2].ID = d.Panels[1].ID },
		"panel-kind":                     func(d *grafana) { d.Panels[1].Type = "graph" },
		"panel-title-description":        func(d *grafana) { d.Panels[1].Description = "GPUs" },
		"panel-datasource":               func(d *grafana) { d.Panels[1].Datasource.UID = "prometheus" },
		"panel-units":                    func(d *grafana) { d.Panels[1].FieldConfig.Defaults.Unit = "dollars" },
		"panel-no-targets":               func(d *grafana) { d.Panels[1].Targets = nil },
		"panel-legend":                   func(d *grafana) { d.first("timeseries").Options.Legend.ShowLegend = false },
		"panel-thresholds":               func(d *grafana) { d.Panels[1].FieldConfig.Defaults.Thresholds.Steps[0].Value = new(float64) },
		"target:":                        func(d *grafana) { d.Panels[1].Targets[0].Expr = "up{$self}" },
		"lies upon":                      func(d *grafana) { d.Panels[2].GridPos.X-- },
		"wide":                           func(d *grafana) { d.Panels[2].GridPos.H-- },
	} {
		t.Run(rule, func(t *testing.T) {
			d := shipped(t)[2]
			spoil(&d)
			if got := strings.Join(d.problems(), "\n"); !strings.Contains(got, rule) {
				t.Errorf("nothing said %q: %s", rule, got)
			}
		})
	}
}

// TestEveryMetricIsOnADashboard: what nobody sees nobody needs.
func TestEveryMetricIsOnADashboard(t *testing.T) {
	b, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	kindOf := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(tdscaler_[a-z_]+)` \\| ([a-z]+) \\|").FindAllStringSubmatch(string(b), -1) {
		kindOf[m[1]] = m[2]
	}
	if len(kindOf) < 60 {
		t.Fatalf("only %d metrics were found: the search is broken", len(kindOf))
	}
	seen := map[string]bool{}
	for _, d := range shipped(t) {
		for _, p := range d.Panels {
			for _, q := range p.Targets {
				for _, name := range regexp.MustCompile(`tdscaler_[a-z_]+`).FindAllString(q.Expr, -1) {
					base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
					if kindOf[base] == "histogram" {
						name = base
					}
					if kindOf[name] == "" {
						t.Errorf("%s: %q asks for %s, which there is not", d.UID, p.Title, name)
					}
					seen[name] = true
				}
			}
		}
	}
	for name := range kindOf {
		if !seen[name] {
			t.Errorf("%s is on no dashboard", name)
		}
	}
}

func TestWhatIsProvisionedIsWhatTheDashboardsAskFor(t *testing.T) {
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		Datasources []struct {
			Name, Type, UID, URL string
			IsDefault            bool `yaml:"isDefault"`
			JSON                 struct {
				TimeInterval string `yaml:"timeInterval"`
			} `yaml:"jsonData"`
		}
	}
	readYAML(t, "grafana/provisioning/datasources/prometheus.yml", &sources)
	var scrapes struct {
		Global struct {
			Interval string `yaml:"scrape_interval"`
		}
	}
	readYAML(t, "prometheus/prometheus.yml", &scrapes)
	if s := sources.Datasources; sources.APIVersion != 1 || len(s) == 0 || s[0].UID != "prometheus" || s[0].Type != "prometheus" || s[0].URL != "http://prometheus:9090" || !s[0].IsDefault {
		t.Errorf("%+v", sources)
	}
	if got := sources.Datasources[0].JSON.TimeInterval; got != scrapes.Global.Interval {
		t.Errorf("Grafana takes scrapes to come every %s, and they come every %s", got, scrapes.Global.Interval)
	}
	var providers struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name, Type     string
			AllowUIUpdates bool `yaml:"allowUiUpdates"`
			Options        struct{ Path string }
		}
	}
	readYAML(t, "grafana/provisioning/dashboards/tdscaler.yml", &providers)
	if p := providers.Providers; providers.APIVersion != 1 || len(p) != 1 || p[0].Type != "file" || p[0].Options.Path != "/var/lib/grafana/dashboards" || p[0].AllowUIUpdates {
		t.Errorf("%+v", providers)
	}
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	b, err := os.ReadFile("../../deploy/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
