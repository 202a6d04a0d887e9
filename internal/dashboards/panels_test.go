package dashboards

import (
	"math"
	"strings"
)

// dashboard is one page of Grafana.
type dashboard struct {
	uid, title string
	what       string // the questions that it answers
	sections   []section
}

// section is a row of Grafana with the panels below it.
type section struct {
	title  string
	repeat string // the variable that it is repeated for, if any
	panels []panel
}

// panel is one picture. Its size is in Grafana's grid, which is 24 wide.
type panel struct {
	kind, title, what string
	w, h              int
	unit              string
	decimals          int // -1 lets Grafana choose
	queries           []query
	columns           []column // of a table

	stacked, bars bool
	steps         []step
	values        []value
	empty         string // what stands there where there is nothing
	textOnly      bool   // of a stat: the name of the series is its message
	sorted        string // of a table: the column whose greatest value stands first
	lowest        *float64
	overrides     []object
}

// query is one expression. In it $self stands for what chooses the daemon, and $ours for
// that and the policy.
type query struct{ legend, expr string }

// column is a column of a table, by its query; the labels of all queries become columns
// too, and join the rows.
type column struct {
	name, expr, unit string
	steps            []step
	values           []value
}

// step is a threshold: from this value on it has that colour. What is below the first
// one is good, unless that begins below everything.
type step struct {
	from   float64
	colour string
}

// value is what a number means.
type value struct {
	number, text, colour string
}

func q(legend, expr string) query { return query{legend, selectors(expr)} }

// selectors writes out $self and $ours.
func selectors(expr string) string {
	const self = `job=~"$job", instance=~"$instance"`
	return strings.NewReplacer("$self", self, "$ours", self+`, policy=~"$policy"`).Replace(expr)
}

func newPanel(kind, title, what, unit string, w, h int, qs []query) panel {
	return panel{kind: kind, title: title, what: what, unit: unit, w: w, h: h, decimals: -1, queries: qs}
}

// stat is one number, with its course behind it.
func stat(title, what, unit string, qs ...query) panel {
	return newPanel("stat", title, what, unit, 4, 4, qs)
}

// lines are courses over time.
func lines(title, what, unit string, qs ...query) panel {
	return newPanel("timeseries", title, what, unit, 12, 8, qs)
}

// stack are courses that add up.
func stack(title, what, unit string, qs ...query) panel {
	p := lines(title, what, unit, qs...)
	p.stacked = true
	return p
}

// counts are how many of something there were in each few minutes: queries of increase.
func counts(title, what string, qs ...query) panel {
	p := stack(title, what, "short", qs...)
	p.bars = true
	return p
}

// states is a bar for each series that shows what it was when.
func states(title, what string, means []value, qs ...query) panel {
	p := newPanel("state-timeline", title, what, "none", 12, 8, qs)
	p.values = means
	return p
}

// gauges is a bar for each series.
func gauges(title, what, unit string, qs ...query) panel {
	return newPanel("bargauge", title, what, unit, 12, 8, qs)
}

// heat is how the observations of a histogram spread over time.
func heat(title, what, unit, expr string) panel {
	return newPanel("heatmap", title, what, unit, 12, 8, []query{q("{{le}}", expr)})
}

func table(title, what string, columns ...column) panel {
	p := newPanel("table", title, what, "none", 24, 8, nil)
	for _, c := range columns {
		p.queries = append(p.queries, q("", c.expr))
	}
	p.columns = columns
	return p
}

func (p panel) size(w, h int) panel { p.w, p.h = w, h; return p }

func (p panel) digits(n int) panel { p.decimals = n; return p }

func (p panel) at(steps ...step) panel { p.steps = steps; return p }

func (p panel) meaning(v ...value) panel { p.values = v; return p }

func (p panel) or(empty string) panel { p.empty = empty; return p }

func (p panel) sort(column string) panel { p.sorted = column; return p }

func (p panel) names() panel { p.textOnly = true; return p }

func (p panel) from(least float64) panel { p.lowest = &least; return p }

// bound draws the series of these names as what the others are held against: a dashed
// line that adds to nothing.
func (p panel) bound(regex string) panel {
	return p.override("byRegexp", regex,
		property("custom.stacking", object{"group": "A", "mode": "none"}),
		property("custom.fillOpacity", 0),
		property("custom.drawStyle", "line"),
		property("custom.lineWidth", 2),
		property("custom.lineStyle", object{"dash": []int{10, 10}, "fill": "dash"}))
}

// coloured gives the series of a name a colour.
func (p panel) coloured(name, colour string) panel {
	return p.override("byName", name, property("color", object{"fixedColor": colour, "mode": "fixed"}))
}

// right draws a series against an axis of its own.
func (p panel) right(name, unit string) panel {
	return p.override("byName", name, property("unit", unit), property("custom.axisPlacement", "right"))
}

// link makes the cells of a column lead to a page.
func (p panel) link(column, title, url string) panel {
	return p.override("byName", column, property("links", []object{{"targetBlank": true, "title": title, "url": url}}))
}

func (p panel) override(by, what string, properties ...object) panel {
	p.overrides = append(p.overrides[:len(p.overrides):len(p.overrides)], object{"matcher": object{"id": by, "options": what}, "properties": properties})
	return p
}

func property(id string, value any) object { return object{"id": id, "value": value} }

// Colours, by what they ask of somebody who looks.
const (
	good  = "green"
	fine  = "blue"
	watch = "orange"
	act   = "red"
	faint = "text"
)

// worst begins the thresholds of what is bad when it is low.
func worst(colour string) step { return step{math.Inf(-1), colour} }

func yes(text, colour string) value { return value{"1", text, colour} }
func no(text, colour string) value  { return value{"0", text, colour} }

// gpuStates colours the states of policy_gpus.
func gpuStates(p panel) panel {
	return p.coloured("ready", good).coloured("booting", fine).coloured("dead", act).coloured("leaving", watch)
}
