package policy

import (
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

var yamlLine = regexp.MustCompile(`^line (\d+): `)

// syntax reports what the YAML parser stumbled over. The parser names the line
// where the surrounding block began, if any: so the first line that cannot be
// added to the ones before is looked for.
func (d *decoder) syntax(text string, err error) {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits by the pattern
		msg = msg[len(m[0]):]
	}
	if !d.keyed {
		msg = "is it the right file?" // the parser repeats some words
	}
	if n := breaksAt(text); n > 0 {
		line = n
	}
	line = min(max(line, 1), len(d.lines))
	src := d.lines[line-1]
	indent := src[:len(src)-len(strings.TrimLeft(src, " \t"))]
	where, hint := at{line: line, col: utf8.RuneCountInString(indent) + 1}, "look at this line and the one above it"
	if i := strings.IndexByte(indent, '\t'); i >= 0 {
		where.col, hint = i+1, "indent with spaces: YAML knows no tabs"
	}
	d.fail(CodeSyntax, where, hint, "not YAML: %s", msg)
}

// breaksAt is the number of the first line that no later line can mend, found by
// halving; 0 where that would take too long.
func breaksAt(text string) int {
	const maxBytes, lookAhead = 128 << 10, 40
	if len(text) > maxBytes {
		return 0
	}
	var ends []int // of each line
	for i, c := range []byte(text) {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	if ends = append(ends, len(text)); ends[0] == len(text) {
		return 1
	}
	good, bad := 0, len(ends) // lines that parse; lines that do not
	for bad-good > 1 {
		if mid := (good + bad) / 2; parses(text[:ends[mid-1]]) {
			good = mid
		} else {
			bad = mid
		}
		// A quote or a bracket that is closed later breaks only for some lines.
		for n := bad; bad-good == 1 && n < min(bad+lookAhead, len(ends)); n++ {
			if parses(text[:ends[n-1]]) {
				good, bad = n, len(ends)
			}
		}
	}
	return good + 1
}

func parses(text string) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	var n yaml.Node
	return yaml.Unmarshal([]byte(text), &n) == nil
}
