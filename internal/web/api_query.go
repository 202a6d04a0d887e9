package web

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// Bounds of a question.
const (
	mostQuery = 2048 // bytes
	mostWord  = 128  // bytes
	mostGlobs = 16
)

// kind is what a parameter is.
type kind string

const (
	wordParam   kind = "word"   // text, or one of values
	globsParam  kind = "globs"  // patterns with * and ?, between commas or given again
	countParam  kind = "count"  // a number from least to most; usual where it is not given
	numberParam kind = "number" // any positive number
	momentParam kind = "moment" // RFC 3339, a date, or a duration back; usualBack where it is not given
	yesNoParam  kind = "flag"   // true or false
)

// param is one parameter of a question.
type param struct {
	name, doc          string
	kind               kind
	values             []string
	least, most, usual int
	usualBack          time.Duration
	required           bool
}

// query is what was asked, by name: text, lists of text, numbers, times, as their
// parameters say. What was not given is left out, or its usual value.
type query map[string]any

func (q query) word(name string) string    { return get[string](q, name) }
func (q query) globs(name string) []string { return get[[]string](q, name) }
func (q query) count(name string) int      { return get[int](q, name) }
func (q query) number(name string) uint64  { return get[uint64](q, name) }
func (q query) time(name string) time.Time { return get[time.Time](q, name) }
func (q query) flag(name string) bool      { return get[bool](q, name) }

func get[T any](q query, name string) T {
	v, _ := q[name].(T)
	return v
}

// parse holds the text of a query to its parameters.
func parse(params []param, raw string, now time.Time) (query, *problem) {
	refuse := func(name, hint, format string, args ...any) (query, *problem) {
		return nil, &problem{Type: badParameter, Status: http.StatusBadRequest, Parameter: name, Detail: fmt.Sprintf(format, args...), Hint: hint}
	}
	if len(raw) > mostQuery {
		return refuse("", "", "the query has %d bytes; %d are the most", len(raw), mostQuery)
	}
	given, err := url.ParseQuery(raw)
	if err != nil {
		return refuse("", "", "the query cannot be read: %v", err)
	}
	names := make([]string, len(params))
	for i := range params {
		names[i] = params[i].name
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(names, name) {
			return refuse(name, didYouMean(name, names), "there is no parameter %q", name)
		}
	}
	q := query{}
	for _, p := range params {
		v, err := p.read(given[p.name], now)
		if err != nil {
			return refuse(p.name, "", "%s %v", p.name, err)
		}
		if v != nil {
			q[p.name] = v
		}
	}
	return q, nil
}

// read reads what was given for the parameter; nil where there is nothing.
func (p *param) read(all []string, now time.Time) (any, error) {
	all = slices.DeleteFunc(slices.Clone(all), func(s string) bool { return s == "" && p.kind != yesNoParam })
	switch {
	case p.kind == globsParam:
		return p.patterns(all)
	case len(all) > 1:
		return nil, fmt.Errorf("is given %d times", len(all))
	case len(all) == 1:
		return p.one(all[0], now)
	case p.required:
		return nil, fmt.Errorf("is missing: %s", p.doc)
	case p.kind == countParam && p.usual > 0:
		return p.usual, nil
	case p.kind == momentParam && p.usualBack > 0:
		return now.Add(-p.usualBack), nil
	}
	return nil, nil
}

func (p *param) one(s string, now time.Time) (any, error) {
	if len(s) > mostWord {
		return nil, fmt.Errorf("has %d bytes; %d are the most", len(s), mostWord)
	}
	switch p.kind {
	case countParam:
		n, err := strconv.Atoi(s)
		if err != nil || n < p.least || n > p.most {
			return nil, fmt.Errorf("is a number from %d to %d, not %q", p.least, p.most, s)
		}
		return n, nil
	case numberParam:
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("is a positive number, not %q", s)
		}
		return n, nil
	case yesNoParam:
		if s != "" && s != "true" && s != "false" {
			return nil, fmt.Errorf("is true or false, not %q", s)
		}
		return s != "false", nil
	case momentParam:
		return pointInTime(s, now)
	}
	if p.values != nil && !slices.Contains(p.values, s) {
		return nil, fmt.Errorf("is one of %s, not %q", strings.Join(p.values, ", "), s)
	}
	return s, nil
}

func (p *param) patterns(all []string) (any, error) {
	var out []string
	for _, s := range all {
		out = append(out, strings.Split(s, ",")...)
	}
	if len(out) > mostGlobs {
		return nil, fmt.Errorf("has %d values; %d are the most", len(out), mostGlobs)
	}
	if slices.ContainsFunc(out, func(s string) bool { return s == "" || len(s) > mostWord }) {
		return nil, fmt.Errorf("has a value that is empty, or longer than %d bytes", mostWord)
	}
	if out == nil {
		return nil, nil
	}
	return out, nil
}

// longestBack is how far back a duration may reach.
const longestBack = 100 * 365 * 24 * time.Hour

// pointInTime reads RFC 3339, a date (UTC), or a duration back from now.
func pointInTime(s string, now time.Time) (any, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d > longestBack {
		return nil, fmt.Errorf("is a duration back (24h), a date (2026-01-31) or a time (2026-01-31T03:00:00Z), not %q", s)
	}
	return now.Add(-d), nil
}

func nearest(name string, known []string) (string, bool) { return policy.Nearest(name, known) }
