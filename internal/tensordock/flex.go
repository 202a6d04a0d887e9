package tensordock

import (
	"bytes"
	"encoding/json"
	"iter"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tdscaler/tdscaler/internal/market"
)

// value is one JSON value as its text, known to be valid; nil is a value that is
// not there. Its methods never fail: what cannot be read is unknown or empty.
type value []byte

// parse checks a whole answer. Only objects and arrays are answers. Bytes that are
// no UTF-8 are replaced here, once: a name that is kept as JSON would come back as
// another one.
func parse(body []byte) (value, bool) {
	v := value(bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))))
	if !utf8.Valid(v) {
		v = bytes.ToValidUTF8(v, []byte("\uFFFD"))
	}
	return v, (v.isObject() || v.isArray()) && json.Valid(v)
}

func (v value) isObject() bool { return len(v) > 1 && v[0] == '{' }
func (v value) isArray() bool  { return len(v) > 1 && v[0] == '[' }
func (v value) isString() bool { return len(v) > 1 && v[0] == '"' }
func (v value) isNull() bool   { return len(v) == 0 || v[0] == 'n' }
func (v value) isNumber() bool {
	return len(v) > 0 && (v[0] == '-' || v[0] >= '0' && v[0] <= '9')
}

// fields walks the members of an object in order; other values have none.
func (v value) fields() iter.Seq2[[]byte, value] {
	return func(yield func([]byte, value) bool) {
		if !v.isObject() {
			return
		}
		for i := skipSpace(v, 1); i < len(v) && v[i] == '"'; {
			end := skipValue(v, i)
			key := unescape(v[i:end])
			i = skipSpace(v, skipSpace(v, end)+1) // over the colon
			end = skipValue(v, i)
			if i >= end || !yield(key, v[i:end]) {
				return
			}
			i = skipSpace(v, skipSpace(v, end)+1) // over the comma or the brace
		}
	}
}

// items walks the elements of an array; other values have none.
func (v value) items() iter.Seq[value] {
	return func(yield func(value) bool) {
		if !v.isArray() {
			return
		}
		for i := skipSpace(v, 1); i < len(v) && v[i] != ']'; {
			end := skipValue(v, i)
			if i >= end || !yield(v[i:end]) {
				return
			}
			i = skipSpace(v, skipSpace(v, end)+1)
		}
	}
}

// entries walks a collection that is either a map from id to object or an array
// of objects that carry their id.
func (v value) entries() iter.Seq2[string, value] {
	return func(yield func(string, value) bool) {
		for k, f := range v.fields() {
			if !yield(string(k), f) {
				return
			}
		}
		for f := range v.items() {
			if !yield(f.get("id", "uuid", "server").text(), f) {
				return
			}
		}
	}
}

// get returns the first of the named members that is there and not null.
func (v value) get(names ...string) value {
	best, found := len(names), value(nil)
	for k, f := range v.fields() {
		if i := slices.Index(names[:best], string(k)); i >= 0 && !f.isNull() {
			best, found = i, f
		}
		if best == 0 {
			break // nothing can be better
		}
	}
	return found
}

// pick returns the named members in one pass, nil for those that are missing or
// null: for answers that are long.
func (v value) pick(names ...string) []value {
	out := make([]value, len(names))
	for k, f := range v.fields() {
		if i := slices.Index(names, string(k)); i >= 0 && !f.isNull() {
			out[i] = f
		}
	}
	return out
}

func skipSpace(v value, i int) int {
	for i < len(v) && (v[i] == ' ' || v[i] == '\n' || v[i] == '\t' || v[i] == '\r') {
		i++
	}
	return i
}

const (
	opens = iota + 1
	closes
	quotes
)

// nesting tells the few bytes that matter for finding a value's end.
var nesting = [256]uint8{'{': opens, '[': opens, '}': closes, ']': closes, '"': quotes}

// skipValue returns the index after the value that begins at i.
func skipValue(v value, i int) int {
	if i >= len(v) {
		return len(v)
	}
	if v[i] != '{' && v[i] != '[' && v[i] != '"' {
		return skipScalar(v, i)
	}
	for depth := 0; i < len(v); i++ {
		switch nesting[v[i]] {
		case opens:
			depth++
		case closes:
			depth--
		case quotes:
			i = skipString(v, i) - 1
		default:
			continue
		}
		if depth <= 0 {
			return min(i+1, len(v))
		}
	}
	return len(v)
}

func skipString(v value, i int) int {
	for i++; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(v)
}

func skipScalar(v value, i int) int {
	for i < len(v) {
		switch v[i] {
		case ',', ':', '}', ']', ' ', '\n', '\t', '\r':
			return i
		}
		i++
	}
	return i
}

// unescape returns the text of a JSON string.
func unescape(quoted value) []byte {
	if len(quoted) < 2 {
		return nil
	}
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1]
	}
	var s string
	if json.Unmarshal(quoted, &s) != nil {
		return nil
	}
	return []byte(s)
}

// text is a string's text or a number's digits; "" for everything else.
func (v value) text() string {
	switch {
	case v.isString():
		return string(unescape(v))
	case v.isNumber():
		return string(v)
	}
	return ""
}

// Bounds of what one answer may make us keep; an answer's size bounds the rest.
const (
	maxWord    = 255     // bytes of a name, an id, a place
	maxListed  = 10_000  // hosts or machines of a list
	maxModels  = 64      // GPU models of a host or a machine
	maxEntries = 1 << 16 // ports, forwards and restrictions of one
)

// word is text that is kept and shown: a name, a place, a state. One that is too
// long is not told, and what a terminal would obey is replaced.
func (v value) word() string { return printable(v.text()) }

func printable(s string) string {
	if len(s) > maxWord {
		return ""
	}
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return unicode.ReplacementChar
	}, s)
}

// isSegment says whether an id, escaped, stays where it is put in a path.
func isSegment(s string) bool { return s != "" && s != "." && s != ".." }

// isID says whether an id of the market's may be kept and sent back.
func isID(s string) bool {
	return isSegment(s) && printable(s) == s && !strings.ContainsAny(s, " /\\?#%\"<>&;")
}

// integer reads a whole number, quoted or not; fractions are cut off, as what is
// counted here (GB, vCPUs, GPUs) is sold in whole units.
func (v value) integer() market.Maybe[int] {
	if n, ok := v.digits(); ok { // most are, and port lists are long
		return market.Some(n)
	}
	s := strings.TrimSpace(v.text())
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 1e12 { // no GB, no port; sums must not overflow
		return market.Maybe[int]{}
	}
	return market.Some(int(f))
}

// digits reads a small plain number without allocating.
func (v value) digits() (n int, ok bool) {
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, len(v) > 0 && len(v) < 10
}

// count is an integer that is not negative.
func (v value) count() market.Maybe[int] {
	if n, ok := v.integer().Get(); ok && n >= 0 {
		return market.Some(n)
	}
	return market.Maybe[int]{}
}

// rate reads dollars per hour from the digits, exactly, rounding up.
func (v value) rate() market.Maybe[market.Rate] {
	if !v.isNumber() && !v.isString() {
		return market.Maybe[market.Rate]{}
	}
	r, err := market.ParseRate(strings.TrimPrefix(strings.TrimSpace(v.text()), "$"))
	if err != nil {
		return market.Maybe[market.Rate]{}
	}
	return market.Some(r)
}

// price is a rate that is not negative: a negative price is no price.
func (v value) price() market.Maybe[market.Rate] {
	if r, ok := v.rate().Get(); ok && r >= 0 {
		return market.Some(r)
	}
	return market.Maybe[market.Rate]{}
}

// amount reads dollars from the digits, exactly, rounding down.
func (v value) amount() market.Maybe[market.Amount] {
	a, err := market.ParseAmount(strings.TrimPrefix(strings.TrimSpace(v.text()), "$"))
	if err != nil {
		return market.Maybe[market.Amount]{}
	}
	return market.Some(a)
}

// flag reads true and false, quoted or as 1 and 0.
func (v value) flag() market.Maybe[bool] {
	if len(v) > 0 && (v[0] == 't' || v[0] == 'f') {
		return market.Some(v[0] == 't')
	}
	switch strings.ToLower(strings.TrimSpace(v.text())) {
	case "true", "1", "yes":
		return market.Some(true)
	case "false", "0", "no":
		return market.Some(false)
	}
	return market.Maybe[bool]{}
}

// fraction reads an uptime: 0..1, or a percentage above 1.
func (v value) fraction() market.Maybe[float64] {
	f, err := strconv.ParseFloat(strings.TrimSpace(v.text()), 64)
	if err != nil || !(f >= 0 && f <= 100) {
		return market.Maybe[float64]{}
	}
	if f > 1 {
		f /= 100
	}
	return market.Some(f)
}

// integers reads an array of whole numbers, skipping what is none. Unknown
// unless it is an array.
func (v value) integers() market.Maybe[[]int] {
	if !v.isArray() {
		return market.Maybe[[]int]{}
	}
	out := make([]int, 0, min(bytes.Count(v, []byte{','})+1, maxEntries))
	for item := range v.items() {
		if len(out) == maxEntries {
			break
		}
		if n, ok := item.integer().Get(); ok {
			out = append(out, n)
		}
	}
	return market.Some(out)
}

// texts reads an array of strings, or one string as an array of one.
func (v value) texts() []string {
	if s := v.text(); s != "" {
		return []string{s}
	}
	var out []string
	for item := range v.items() {
		if s := item.text(); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// moment reads a point in time in the forms the market writes; zero if none.
func (v value) moment() time.Time {
	s := v.text()
	for _, layout := range []string{time.RFC1123, time.RFC1123Z, time.RFC3339Nano, "2006-01-02 15:04:05.999999", "2006-01-02T15:04:05.999999"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 && n < 1<<40 {
		return time.Unix(n, 0).UTC()
	}
	return time.Time{}
}

// firstKnown returns the first value that is known.
func firstKnown[T any](all ...market.Maybe[T]) market.Maybe[T] {
	for _, m := range all {
		if m.Known() {
			return m
		}
	}
	return market.Maybe[T]{}
}
