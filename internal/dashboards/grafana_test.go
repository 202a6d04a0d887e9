package dashboards

import (
	"cmp"
	"fmt"
	"math"
	"strings"
)

// object is a JSON object; its keys are written in order.
type object = map[string]any

// The oldest form of dashboards that has all that is used here: Grafana 11 reads it as it
// is, later ones know how to read it.
const (
	schemaVersion = 39
	pluginVersion = "11.0.0"
)

const tag = "tdscaler"

func datasource() object { return object{"type": "prometheus", "uid": "${datasource}"} }

func (d *dashboard) json() object {
	return object{
		"annotations":          object{"list": annotations()},
		"description":          d.what,
		"editable":             false,
		"fiscalYearStartMonth": 0,
		"graphTooltip":         1, // one crosshair for all
		"links":                links(),
		"panels":               d.layout(),
		"refresh":              "30s",
		"schemaVersion":        schemaVersion,
		"tags":                 []string{tag},
		"templating":           object{"list": variables()},
		"time":                 object{"from": "now-6h", "to": "now"},
		"timepicker":           object{},
		"timezone":             "browser",
		"title":                d.title,
		"uid":                  d.uid,
		"version":              1,
		"weekStart":            "",
	}
}

func links() []object {
	link := func(title, icon string, more object) object {
		l := object{
			"asDropdown": false, "icon": icon, "includeVars": false, "keepTime": false, "tags": []string{}, "targetBlank": true,
			"title": title, "tooltip": "", "type": "link", "url": "",
		}
		for k, v := range more {
			l[k] = v
		}
		return l
	}
	return []object{
		link("tdscaler", "external link", object{"type": "dashboards", "tags": []string{tag}, "asDropdown": true, "includeVars": true, "keepTime": true, "targetBlank": false}),
		link("What the codes mean", "doc", object{"url": operations, "tooltip": "Reasons of holds and what to do"}),
	}
}

const operations = "https://github.com/tdscaler/tdscaler/blob/main/docs/operations.md#what-the-codes-mean"

func variables() []object {
	chosen := func(name, label, all, query string) object {
		return object{
			"allValue": all, "current": object{"selected": true, "text": []string{"All"}, "value": []string{"$__all"}},
			"datasource": datasource(), "definition": query, "hide": 0, "includeAll": true, "label": label, "multi": true, "name": name,
			"options": []object{}, "query": query, "refresh": 2, "regex": "", "skipUrlSync": false, "sort": 1, "type": "query",
		}
	}
	return []object{
		{
			"hide": 0, "includeAll": false, "label": "Data source", "multi": false, "name": "datasource",
			"options": []object{}, "query": "prometheus", "refresh": 1, "regex": "", "skipUrlSync": false, "type": "datasource",
		},
		chosen("job", "Job", ".+", "label_values(tdscaler_build_info, job)"),
		chosen("instance", "Instance", ".+", `label_values(tdscaler_build_info{job=~"$job"}, instance)`),
		// All takes in series that name no policy.
		chosen("policy", "Policy", ".*", selectors(`label_values({__name__=~"tdscaler_policy_target_gpus|tdscaler_shadow_target_gpus", $self}, policy)`)),
	}
}

func annotations() []object {
	mark := func(name, colour, expr, title, text string, valueIsTime bool) object {
		return object{
			"datasource": datasource(), "enable": true, "expr": selectors(expr), "hide": false, "iconColor": colour, "name": name,
			"step": "60s", "tagKeys": "instance", "textFormat": text, "titleFormat": title, "useValueForTime": valueIsTime,
		}
	}
	return []object{
		{
			"builtIn": 1, "datasource": object{"type": "grafana", "uid": "-- Grafana --"}, "enable": true, "hide": true,
			"iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard",
		},
		mark("Starts", fine, `process_start_time_seconds{$self} * 1000`, "Started", "{{instance}}", true),
		mark("Reloads", "purple", `tdscaler_config_last_reload_success_timestamp_seconds{$self} * 1000`, "Configuration loaded", "{{instance}}", true),
		mark("Cycles with problems", watch, `sum by (instance) (increase(tdscaler_cycles_total{$self, result="problem"}[2m])) > 0`, "A list could not be read", "{{instance}}", false),
		// Where the rules of deploy/prometheus are loaded. Some alerts are of no instance.
		mark("Alerts", act, `max by (alertname, severity) (ALERTS{alertname=~"Tdscaler.+", alertstate="firing"})`, "{{alertname}}", "{{severity}}", false),
		mark("Breakers", act, `max by (instance, breaker) (tdscaler_breaker_open{$self}) == 1`, "Breaker open", "{{breaker}}", false),
	}
}

// layout places panels from left to right, a section below the other.
func (d *dashboard) layout() []object {
	var out []object
	id, y := 0, 0
	place := func(o object, x, w, h int) {
		id++
		o["id"], o["gridPos"] = id, object{"h": h, "w": w, "x": x, "y": y}
		out = append(out, o)
	}
	for _, s := range d.sections {
		place(s.row(), 0, 24, 1)
		y++
		x, line := 0, 0
		for i := range s.panels {
			p := &s.panels[i]
			if x+p.w > 24 {
				x, y, line = 0, y+line, 0
			}
			place(p.json(), x, p.w, p.h)
			x, line = x+p.w, max(line, p.h)
		}
		y += line
	}
	return out
}

func (s *section) row() object {
	o := object{"collapsed": false, "panels": []object{}, "title": s.title, "type": "row"}
	if s.repeat != "" {
		o["repeat"] = s.repeat
	}
	return o
}

func (p *panel) json() object {
	o := object{
		"datasource": datasource(), "description": p.what, "fieldConfig": object{"defaults": p.defaults(), "overrides": p.allOverrides()},
		"options": p.options(), "pluginVersion": pluginVersion, "targets": p.targets(), "title": p.title, "type": p.kind,
	}
	if p.bars {
		o["interval"] = "5m"
	}
	if p.kind == "table" {
		o["transformations"] = p.transformations()
	}
	return o
}

func (p *panel) targets() []object {
	out := []object{}
	for i, q := range p.queries {
		t := object{
			"datasource": datasource(), "editorMode": "code", "expr": q.expr, "instant": p.kind == "table", "legendFormat": q.legend,
			"range": p.kind != "table", "refId": refID(i), "format": "time_series",
		}
		if p.kind == "timeseries" && strings.Contains(q.expr, "histogram_quantile") {
			t["exemplar"] = true // the cycle that took so long, where Prometheus keeps exemplars
		}
		switch p.kind {
		case "table":
			t["format"] = "table"
		case "heatmap":
			t["format"] = "heatmap"
		}
		out = append(out, t)
	}
	return out
}

func refID(i int) string { return string(rune('A' + i)) }

func (p *panel) defaults() object {
	o := object{
		"color": object{"mode": p.colourMode()}, "custom": p.custom(), "mappings": mappings(p.values), "unit": p.unit,
		"thresholds": thresholds(p.steps),
	}
	if p.decimals >= 0 {
		o["decimals"] = p.decimals
	}
	if p.empty != "" {
		o["noValue"] = p.empty
	}
	if p.lowest != nil {
		o["min"] = *p.lowest
	}
	return o
}

func (p *panel) colourMode() string {
	if p.kind == "timeseries" {
		return "palette-classic"
	}
	return "thresholds"
}

func thresholds(steps []step) object {
	list := []object{{"color": good, "value": nil}}
	if len(steps) == 0 {
		list[0]["color"] = faint
	}
	for _, s := range steps {
		if s == steps[0] && math.IsInf(s.from, -1) {
			list[0]["color"] = s.colour
			continue
		}
		list = append(list, object{"color": s.colour, "value": s.from})
	}
	return object{"mode": "absolute", "steps": list}
}

func mappings(values []value) []object {
	if len(values) == 0 {
		return []object{}
	}
	o := object{}
	for i, v := range values {
		o[v.number] = object{"color": v.colour, "index": i, "text": v.text}
	}
	return []object{{"options": o, "type": "value"}}
}

// custom is what each kind of panel adds to a field.
func (p *panel) custom() object {
	hidden := object{"legend": false, "tooltip": false, "viz": false}
	switch p.kind {
	case "timeseries":
		o := object{
			"axisBorderShow": false, "axisCenteredZero": false, "axisColorMode": "text", "axisLabel": "", "axisPlacement": "auto", "barAlignment": 0,
			"drawStyle": "line", "fillOpacity": 10, "gradientMode": "none", "hideFrom": hidden, "insertNulls": false, "lineInterpolation": "stepAfter",
			"lineWidth": 1, "pointSize": 5, "scaleDistribution": object{"type": "linear"}, "showPoints": "never", "spanNulls": false,
			"stacking": object{"group": "A", "mode": "none"}, "thresholdsStyle": object{"mode": "off"},
		}
		if p.stacked {
			o["stacking"], o["fillOpacity"] = object{"group": "A", "mode": "normal"}, 40
		}
		if p.bars {
			o["drawStyle"], o["fillOpacity"], o["lineInterpolation"] = "bars", 80, "linear"
		}
		if len(p.steps) > 0 {
			o["thresholdsStyle"] = object{"mode": "dashed"}
		}
		return o
	case "state-timeline":
		return object{"fillOpacity": 70, "hideFrom": hidden, "insertNulls": false, "lineWidth": 0, "spanNulls": false}
	case "heatmap":
		return object{"hideFrom": hidden, "scaleDistribution": object{"type": "linear"}}
	case "table":
		return object{"align": "auto", "cellOptions": object{"type": "auto"}, "inspect": false}
	}
	return object{}
}

func (p *panel) options() object {
	last := object{"calcs": []string{"lastNotNull"}, "fields": "", "values": false}
	switch p.kind {
	case "timeseries":
		calcs := []string{"lastNotNull", "min", "max"}
		if p.bars {
			calcs = []string{"sum"}
		}
		return object{
			"legend":  object{"calcs": calcs, "displayMode": "table", "placement": "bottom", "showLegend": true},
			"tooltip": object{"mode": "multi", "sort": "desc"},
		}
	case "stat":
		o := object{
			"colorMode": "value", "graphMode": "area", "justifyMode": "auto", "orientation": "auto", "percentChangeColorMode": "standard",
			"reduceOptions": last, "showPercentChange": false, "textMode": "auto", "wideLayout": true,
		}
		if p.textOnly {
			o["graphMode"], o["textMode"] = "none", "name"
		}
		if len(p.values) > 0 {
			o["graphMode"] = "none"
		}
		return o
	case "bargauge":
		return object{
			"displayMode": "basic", "legend": object{"calcs": []string{}, "displayMode": "list", "placement": "bottom", "showLegend": false},
			"maxVizHeight": 300, "minVizHeight": 16, "minVizWidth": 8, "namePlacement": "auto", "orientation": "horizontal",
			"reduceOptions": last, "showUnfilled": true, "sizing": "auto", "valueMode": "color",
		}
	case "state-timeline":
		return object{
			"alignValue": "left", "legend": object{"calcs": []string{}, "displayMode": "list", "placement": "bottom", "showLegend": true},
			"mergeValues": true, "rowHeight": 0.9, "showValue": "auto", "tooltip": object{"mode": "single", "sort": "none"},
		}
	case "heatmap":
		return object{
			"calculate": false, "cellGap": 1, "cellValues": object{"unit": "short"},
			"color":     object{"exponent": 0.5, "fill": "dark-orange", "mode": "scheme", "reverse": false, "scale": "exponential", "scheme": "Oranges", "steps": 64},
			"exemplars": object{"color": "rgba(255,0,255,0.7)"}, "filterValues": object{"le": 1e-9}, "legend": object{"show": true},
			"rowsFrame": object{"layout": "auto"}, "showValue": "never", "tooltip": object{"mode": "single", "showColorScale": false, "yHistogram": true},
			"yAxis": object{"axisPlacement": "left", "reverse": false, "unit": p.unit},
		}
	case "table":
		return object{
			"cellHeight": "sm", "footer": object{"countRows": false, "fields": []string{}, "reducer": []string{"sum"}, "show": false},
			"frameIndex": 0, "showHeader": true, "showTypeIcons": false, "sortBy": p.sortBy(),
		}
	}
	panic("no options are known for a panel of kind " + p.kind)
}

func (p *panel) sortBy() []object {
	if p.sorted == "" {
		return []object{}
	}
	return []object{{"desc": true, "displayName": p.sorted}}
}

// transformations join the columns of a table by their labels, and name them.
func (p *panel) transformations() []object {
	names, order := object{}, object{"policy": 0}
	for i, c := range p.columns {
		field := "Value #" + refID(i)
		if len(p.columns) == 1 {
			field = "Value"
		}
		names[field], order[field] = c.name, 10+i
	}
	for _, label := range []string{"policy", "reason", "action", "outcome", "event", "operation", "api", "instance", "version", "revision", "goversion"} {
		names[label] = capital(label)
	}
	return []object{
		{"id": "merge", "options": object{}},
		{"id": "organize", "options": object{"excludeByName": object{"Time": true}, "includeByName": object{}, "indexByName": order, "renameByName": names}},
	}
}

func capital(s string) string { return string(s[0]-'a'+'A') + s[1:] }

// allOverrides are those of the panel, after what the columns of a table bring.
func (p *panel) allOverrides() []object {
	all := panel{overrides: []object{}}
	for _, c := range p.columns {
		ps := []object{property("unit", cmp.Or(c.unit, "short"))}
		if len(c.steps) > 0 {
			ps = append(ps, property("thresholds", thresholds(c.steps)), property("custom.cellOptions", object{"type": "color-text"}))
		}
		if len(c.values) > 0 {
			ps = append(ps, property("mappings", mappings(c.values)), property("custom.cellOptions", object{"type": "color-text"}))
		}
		all = all.override("byName", c.name, ps...)
	}
	return append(all.overrides, p.overrides...)
}

func (d *dashboard) file() string {
	return fmt.Sprintf("../../deploy/grafana/dashboards/%s.json", d.uid)
}
