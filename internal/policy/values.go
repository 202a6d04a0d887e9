package policy

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"gopkg.in/yaml.v3"
)

// The kinds of values a file is made of. Each knows how it is written.
type (
	text struct {
		at
		v string
	}
	integer struct {
		at
		v int
	}
	number struct {
		at
		v float64
	}
	boolean struct {
		at
		v bool
	}
	money struct { // nano-USD
		at
		v int64
	}
	duration struct {
		at
		v time.Duration
	}
	share struct {
		at
		v Share
	}
	moment struct {
		at
		v time.Time
	}
	size struct { // bytes
		at
		v int64
	}
	texts struct {
		at
		items []text
	}
	ports struct {
		at
		items []integer
	}
	labels struct {
		at
		keys  []text
		items map[string]string
	}
)

func (v *text) read(d *decoder, n *yaml.Node, r rules) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		hint, what := "", kindOf(n)
		switch {
		case secretKey.MatchString(last(v.path)): // somebody may have written the secret itself
			hint, what = "put it in quotes", "this"
		case n.Kind == yaml.ScalarNode:
			hint = fmt.Sprintf("put it in quotes: %q", short(n.Value))
		}
		d.fail(CodeType, v.at, hint, "%s must be a text, not %s", last(v.path), what)
		return
	}
	if strings.TrimSpace(n.Value) == "" && !r.emptyOK {
		d.fail(CodeNoValue, v.at, "write a value, or remove the key", "%s is empty", last(v.path))
		return
	}
	if len(r.enum) > 0 && !slices.Contains(r.enum, n.Value) {
		hint := ""
		if near, ok := Nearest(n.Value, r.enum); ok {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		d.fail(CodeChoice, v.at, hint, "%s must be one of %s, not %q", last(v.path), strings.Join(r.enum, ", "), short(n.Value))
		return
	}
	v.v, v.ok = n.Value, true
}

func (v *moment) read(d *decoder, n *yaml.Node, _ rules) {
	if n.Kind == yaml.ScalarNode && (n.Tag == "!!str" || n.Tag == "!!timestamp") {
		if t, err := time.Parse(time.RFC3339, n.Value); err == nil {
			v.v, v.ok = t, true
			return
		}
	}
	d.fail(CodeType, v.at, "for example 2027-01-31T18:00:00Z", "%s must be a date, a time and a time zone, not %s", last(v.path), kindOf(n))
}

var (
	wholeNumber   = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)
	decimalNumber = regexp.MustCompile(`^-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)
	plainMoney    = regexp.MustCompile(`^-?((0|[1-9][0-9]*)(\.[0-9]+)?|\.[0-9]+)$`)
)

// isNumber checks that a node is written as a number, and says what else it is.
func isNumber(d *decoder, a at, n *yaml.Node, form *regexp.Regexp, what string) bool {
	hint := ""
	switch {
	case n.Kind != yaml.ScalarNode:
	case n.Tag == "!!str" && form.MatchString(n.Value):
		hint = "remove the quotes"
	case n.Tag != "!!int" && n.Tag != "!!float":
	case isNotFinite(n.Value):
		d.fail(CodeBounds, a, "write a number", "%s must be a finite number, not %s", last(a.path), n.Value)
		return false
	case form.MatchString(n.Value):
		return true
	default:
		hint = "write it in plain decimal digits"
	}
	d.fail(CodeType, a, hint, "%s must be %s, not %s", last(a.path), what, kindOf(n))
	return false
}

func isNotFinite(s string) bool {
	s = strings.ToLower(strings.TrimLeft(s, "+-"))
	return s == ".nan" || s == ".inf"
}

func (v *integer) read(d *decoder, n *yaml.Node, r rules) {
	if !isNumber(d, v.at, n, wholeNumber, "a whole number") {
		return
	}
	i, err := strconv.Atoi(n.Value)
	if err != nil {
		d.fail(CodeBounds, v.at, "", "%s is too large: %s", last(v.path), short(n.Value))
		return
	}
	if len(r.enum) > 0 && !slices.Contains(r.enum, n.Value) {
		d.fail(CodeChoice, v.at, "", "%s must be %s, not %d", last(v.path), strings.Join(r.enum, " or "), i)
		return
	}
	v.v, v.ok = i, inBounds(d, v.at, float64(i), n.Value, r)
}

func (v *number) read(d *decoder, n *yaml.Node, r rules) {
	if !isNumber(d, v.at, n, decimalNumber, "a number") {
		return
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
		d.fail(CodeBounds, v.at, "", "%s is too large: %s", last(v.path), short(n.Value))
		return
	}
	v.v, v.ok = f, inBounds(d, v.at, f, n.Value, r)
}

func inBounds(d *decoder, a at, f float64, written string, r rules) bool {
	bound := func(s string) float64 { b, _ := strconv.ParseFloat(s, 64); return b } // from our own tags
	var want string
	switch {
	case r.above != "" && f <= bound(r.above):
		want = "above " + r.above
	case r.min != "" && f < bound(r.min):
		want = "at least " + r.min
	case r.max != "" && f > bound(r.max):
		want = "at most " + r.max
	default:
		return true
	}
	hint := ""
	if r.max == "1" && f > 1 && f <= 100 {
		hint = fmt.Sprintf("%s %% is %s", written, strconv.FormatFloat(f/100, 'g', 6, 64))
	}
	d.fail(CodeBounds, a, hint, "%s must be %s, not %s", last(a.path), want, short(written))
	return false
}

var plainPercent = regexp.MustCompile(`^((0|[1-9][0-9]?)(\.[0-9]+)?|100)%$`)

func (v *share) read(d *decoder, n *yaml.Node, _ rules) {
	const hint = "a percentage of the target, such as 50%, or a number of machines"
	percent, isPercent := strings.CutSuffix(n.Value, "%")
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!int" && wholeNumber.MatchString(n.Value):
		v.v.Machines, _ = strconv.Atoi(n.Value) // what is too large stays the greatest there is
	case n.Kind == yaml.ScalarNode && isPercent && plainPercent.MatchString(n.Value):
		v.v.Percent, _ = strconv.ParseFloat(percent, 64) // its form was checked
	case n.Kind == yaml.ScalarNode && isPercent:
		d.fail(CodeBounds, v.at, "", "%s must be above 0%% and at most 100%%, not %s", last(v.path), short(n.Value))
		return
	default:
		d.fail(CodeType, v.at, shareHint(n, hint), "%s must be a percentage or a number of machines, not %s", last(v.path), kindOf(n))
		return
	}
	if v.v.Machines <= 0 && v.v.Percent <= 0 {
		d.fail(CodeBounds, v.at, "one machine is always allowed: write 1", "%s must be above 0, not %s", last(v.path), short(n.Value))
		return
	}
	v.ok = true
}

// shareHint guesses that a fraction was meant as a percentage.
func shareHint(n *yaml.Node, hint string) string {
	if f, err := strconv.ParseFloat(n.Value, 64); err == nil && n.Tag == "!!float" && f > 0 && f < 1 {
		return "write " + strconv.FormatFloat(100*f, 'g', 6, 64) + "%"
	}
	return hint
}

func (v *boolean) read(d *decoder, n *yaml.Node, _ rules) {
	if n.Kind != yaml.ScalarNode || n.Tag != "!!bool" {
		d.fail(CodeType, v.at, "write true or false", "%s must be true or false, not %s", last(v.path), kindOf(n))
		return
	}
	v.v, v.ok = strings.EqualFold(n.Value, "true"), true
}

func (v *money) read(d *decoder, n *yaml.Node, r rules) {
	what, hint := moneyFault(n)
	if what != "" {
		d.fail(CodeMoney, v.at, hint, "%s must be dollars as a decimal number: %s", last(v.path), what)
		return
	}
	nano, err := market.ParseNano(n.Value, market.RoundDown) // exact: at most nine decimals
	switch {
	case err != nil:
		d.fail(CodeMoney, v.at, "", "%s is too large: %s", last(v.path), short(n.Value))
	case nano < 0:
		d.fail(CodeMoney, v.at, "", "%s must not be negative", last(v.path))
	case nano == 0 && r.above != "":
		d.fail(CodeMoney, v.at, "to buy nothing, set the target to 0 or use mode dry-run", "%s must be above 0", last(v.path))
	default:
		v.v, v.ok = nano, true
	}
}

var moneyInside = regexp.MustCompile(`[0-9]+([.,][0-9]+)?`)

// moneyFault says why a node is not a plain decimal number, "" if it is one.
func moneyFault(n *yaml.Node) (what, hint string) {
	if n.Kind != yaml.ScalarNode {
		return "this is " + kindOf(n), ""
	}
	s := n.Value
	_, frac, _ := strings.Cut(s, ".")
	switch {
	case n.Tag == "!!str" && plainMoney.MatchString(s):
		return "this is a text", "remove the quotes"
	case n.Tag == "!!str":
		if m := moneyInside.FindString(s); m != "" {
			hint = fmt.Sprintf("write %s, in dollars", strings.Replace(m, ",", ".", 1))
		}
		return fmt.Sprintf("not %q", short(s)), hint
	case n.Tag != "!!int" && n.Tag != "!!float" || isNotFinite(s):
		return "not " + short(s), ""
	case !plainMoney.MatchString(s):
		return "not " + short(s), "no exponents, signs, underscores, hexadecimal or octal numbers"
	case len(frac) > 9:
		return "it has more than nine decimals", "a nano-dollar is the smallest unit"
	}
	return "", ""
}

var (
	plainDuration = regexp.MustCompile(`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`)
	wordyDuration = regexp.MustCompile(`^(-?[0-9.]+)\s*(milliseconds?|msecs?|ms|seconds?|secs?|sec|s|minutes?|mins?|min|m|hours?|hrs?|hr|h|days?|d|weeks?|w)$`)
)

func (v *duration) read(d *decoder, n *yaml.Node, r rules) {
	if n.Kind != yaml.ScalarNode || !plainDuration.MatchString(n.Value) {
		d.fail(CodeDuration, v.at, durationHint(n), "%s must be a duration like 90s or 1h30m, not %s", last(v.path), kindOf(n))
		return
	}
	t, err := time.ParseDuration(n.Value)
	if err != nil {
		d.fail(CodeDuration, v.at, "", "%s is too long: %s", last(v.path), short(n.Value))
		return
	}
	if least, err := time.ParseDuration(r.min); err == nil && t < least {
		d.fail(CodeBounds, v.at, "", "%s must be at least %s, not %s", last(v.path), r.min, n.Value)
		return
	}
	v.v, v.ok = t, true
}

// durationHint guesses what was meant.
func durationHint(n *yaml.Node) string {
	s := strings.ToLower(strings.TrimSpace(n.Value))
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	if strings.HasPrefix(s, "-") {
		return "durations are not negative"
	}
	if wholeNumber.MatchString(s) {
		return fmt.Sprintf("add a unit: %ss or %sm", s, s)
	}
	m := wordyDuration.FindStringSubmatch(s)
	if m == nil {
		return "units are ms, s, m and h"
	}
	if f, err := strconv.ParseFloat(m[1], 64); err == nil && (m[2][0] == 'd' || m[2][0] == 'w') {
		hours := 24.0
		if m[2][0] == 'w' {
			hours = 7 * 24
		}
		return fmt.Sprintf("write %sh: there are no days and weeks", strconv.FormatFloat(f*hours, 'f', -1, 64))
	}
	unit := m[2][:1]
	if strings.HasPrefix(m[2], "mil") || strings.HasPrefix(m[2], "ms") {
		unit = "ms"
	}
	return fmt.Sprintf("write %s%s", m[1], unit)
}

var (
	plainSize = regexp.MustCompile(`^([0-9]+)(KiB|MiB|GiB|TiB|KB|MB|GB|TB)$`)
	sizeUnits = map[string]int64{
		"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
		"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
	}
)

func (v *size) read(d *decoder, n *yaml.Node, r rules) {
	bytes, ok := parseSize(n.Value)
	if n.Kind != yaml.ScalarNode || !ok {
		d.fail(CodeSize, v.at, "a whole number and KiB, MiB, GiB, TiB, KB, MB, GB or TB", "%s must be a size like 1GiB, not %s", last(v.path), kindOf(n))
		return
	}
	if least, ok := parseSize(r.min); ok && bytes < least {
		d.fail(CodeBounds, v.at, "", "%s must be at least %s, not %s", last(v.path), r.min, n.Value)
		return
	}
	v.v, v.ok = bytes, true
}

func parseSize(s string) (int64, bool) {
	m := plainSize.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	unit := sizeUnits[m[2]]
	if err != nil || n > math.MaxInt64/unit {
		return 0, false
	}
	return n * unit, true
}

func listHint(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	return fmt.Sprintf("write [%s]", short(n.Value))
}

func (v *texts) read(d *decoder, n *yaml.Node, _ rules) {
	if n.Kind != yaml.SequenceNode {
		d.fail(CodeType, v.at, listHint(n), "%s must be a list, not %s", last(v.path), kindOf(n))
		return
	}
	if !d.countable(n, v.at) {
		return
	}
	lines := map[string]int{}
	for i, item := range n.Content {
		t := text{at: at{line: item.Line, col: item.Column, path: fmt.Sprintf("%s[%d]", v.path, i), set: true}}
		if d.plain(item, t.at) {
			t.read(d, item, rules{})
		}
		if t.ok && lines[t.v] != 0 {
			d.fail(CodeRepeated, t.at, "remove one of the two", "%q is already listed in line %d", short(t.v), lines[t.v])
		}
		lines[t.v] = item.Line
		v.items = append(v.items, t)
	}
	v.ok = true
}

// values are the texts that could be read.
func (v *texts) values() []string {
	var out []string
	for _, t := range v.items {
		if t.ok {
			out = append(out, t.v)
		}
	}
	return out
}

func (v *ports) read(d *decoder, n *yaml.Node, r rules) {
	if n.Kind != yaml.SequenceNode {
		d.fail(CodeType, v.at, listHint(n), "%s must be a list, not %s", last(v.path), kindOf(n))
		return
	}
	if !d.countable(n, v.at) {
		return
	}
	lines := map[int]int{}
	for i, item := range n.Content {
		p := integer{at: at{line: item.Line, col: item.Column, path: fmt.Sprintf("%s[%d]", v.path, i), set: true}}
		if d.plain(item, p.at) {
			p.read(d, item, r)
		}
		if p.ok && lines[p.v] != 0 {
			d.fail(CodeRepeated, p.at, "remove one of the two", "port %d is already listed in line %d", p.v, lines[p.v])
		}
		lines[p.v] = item.Line
		v.items = append(v.items, p)
	}
	v.ok = true
}

func (v *labels) read(d *decoder, n *yaml.Node, _ rules) {
	if n.Kind != yaml.MappingNode {
		d.fail(CodeType, v.at, "write 'name: value' lines", "%s must be a section of names and values, not %s", last(v.path), kindOf(n))
		return
	}
	v.items = map[string]string{}
	d.pairs(n, v.path, func(key string, k at, item *yaml.Node) {
		t := text{at: at{line: item.Line, col: item.Column, path: k.path, set: true}}
		if d.plain(item, t.at) {
			t.read(d, item, rules{emptyOK: true})
		}
		k.set, k.ok = true, t.ok
		v.keys = append(v.keys, text{at: k, v: key})
		v.items[key] = t.v
	})
	v.ok = true
}
