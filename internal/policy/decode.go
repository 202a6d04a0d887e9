package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// MaxFileSize is how many bytes a policy file may have.
const MaxFileSize = 1 << 20

const (
	maxSourceRunes  = 160
	maxMessageRunes = 1000
	maxEntries      = 1000 // of a list
	maxProblems     = 200  // nobody reads more
)

// at is where a value was written. A value with ok can be used: it was written
// well, or it is the default.
type at struct {
	line, col int
	path      string
	set, ok   bool
}

func (a *at) place() *at { return a }

// leaf is a value that reads itself from a node.
type leaf interface {
	read(d *decoder, n *yaml.Node, r rules)
	place() *at
}

// decoder turns nodes into raw file types and collects what is wrong. It never
// stops at the first problem.
type decoder struct {
	file     string
	lines    []string
	places   map[string]at // by path, for what is no leaf
	problems []Problem
	failed   bool // one of them is an error
	keyed    bool // there is a "key:" somewhere; without it the file may be a secret
}

func newDecoder(file string, data []byte) *decoder {
	return &decoder{file: file, lines: splitLines(string(data)), keyed: bytes.ContainsRune(data, ':'), places: map[string]at{}}
}

func (d *decoder) report(s Severity, code string, a at, hint, format string, args ...any) {
	if len(d.problems) >= maxProblems && (d.failed || s != SeverityError) {
		return
	}
	d.failed = d.failed || s == SeverityError
	d.problems = append(d.problems, Problem{
		File: d.file, Line: a.line, Column: a.col, Severity: s, Code: code, Path: a.path,
		Message: printable(fmt.Sprintf(format, args...)), Hint: printable(hint), Source: d.source(a.line),
	})
}

func (d *decoder) fail(code string, a at, hint, format string, args ...any) {
	d.report(SeverityError, code, a, hint, format, args...)
}

func (d *decoder) warn(code string, a at, hint, format string, args ...any) {
	d.report(SeverityWarning, code, a, hint, format, args...)
}

// document reads the bytes as one YAML document; ok is false where there is none
// to look into.
func (d *decoder) document(data []byte) (root *yaml.Node, ok bool) {
	start := at{line: 1, col: 1}
	if len(data) > MaxFileSize {
		d.fail(CodeTooLarge, at{}, "is it the right file?", "the file has more than %d bytes", MaxFileSize)
		return nil, false
	}
	if !utf8.Valid(data) {
		d.fail(CodeEncoding, d.invalidAt(data), "save the file as UTF-8", "this byte is not UTF-8")
		return nil, false
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, second yaml.Node
	err := decodeNode(dec, &doc)
	switch {
	case errors.Is(err, io.EOF):
		d.fail(CodeEmpty, start, "write at least 'version: 1'", "the file is empty")
		return nil, false
	case err != nil:
		d.syntax(string(data), err)
		return nil, false
	}
	if err := decodeNode(dec, &second); err == nil {
		d.fail(CodeDocuments, at{line: second.Line, col: second.Column}, "put everything into one document", "a second document starts here")
	} else if !errors.Is(err, io.EOF) {
		d.syntax(string(data), err)
		return nil, false
	}
	root = doc.Content[0]
	switch {
	case root.Kind == yaml.ScalarNode && root.Tag == "!!null":
		d.fail(CodeEmpty, start, "write at least 'version: 1'", "the file is empty")
		return nil, false
	case root.Kind == yaml.ScalarNode:
		// Perhaps the file of a key or a password, so it is not repeated.
		d.fail(CodeType, start, "is it the right file?", "the file must be a section of keys, not a text")
		return nil, false
	}
	return root, true
}

// decodeNode turns the parser's panics, if it has any left, into errors.
func decodeNode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	return dec.Decode(n)
}

// value reads one node into a raw type.
func (d *decoder) value(n *yaml.Node, path string, r rules, out reflect.Value) {
	where := at{line: n.Line, col: n.Column, path: path, set: true}
	d.places[path] = where
	l, isLeaf := out.Addr().Interface().(leaf)
	if p, ok := out.Addr().Interface().(interface{ place() *at }); ok {
		*p.place() = where
	}
	switch {
	case !d.plain(n, where):
	case isLeaf:
		l.read(d, n, r)
	case out.Kind() == reflect.Slice:
		d.sequence(n, where, out)
	default:
		d.section(n, where, out)
	}
}

// plain refuses what must not stand anywhere in the file.
func (d *decoder) plain(n *yaml.Node, where at) bool {
	const hint = "write the value out"
	switch {
	case n.Kind == yaml.AliasNode:
		d.fail(CodeFeature, where, hint, "aliases (*%s) are not supported", n.Value)
	case n.Anchor != "":
		d.fail(CodeFeature, where, hint, "anchors (&%s) are not supported", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		d.fail(CodeFeature, where, hint, "tags (%s) are not supported", n.Tag)
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.fail(CodeNoValue, where, "write a value, or remove the key", "%s has no value", last(where.path))
	default:
		return true
	}
	return false
}

func (d *decoder) sequence(n *yaml.Node, where at, out reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.fail(CodeType, where, "begin each entry with '- '", "%s must be a list, not %s", last(where.path), kindOf(n))
		return
	}
	if !d.countable(n, where) {
		return
	}
	where.ok = true
	d.places[where.path] = where
	out.Set(reflect.MakeSlice(out.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, fmt.Sprintf("%s[%d]", where.path, i), rules{}, out.Index(i))
	}
}

// countable bounds a list: the checks compare entries with each other.
func (d *decoder) countable(n *yaml.Node, where at) bool {
	if len(n.Content) <= maxEntries {
		return true
	}
	d.fail(CodeBounds, where, "", "%s has %d entries, at most %d are read", last(where.path), len(n.Content), maxEntries)
	return false
}

func (d *decoder) section(n *yaml.Node, where at, out reflect.Value) {
	if n.Kind != yaml.MappingNode {
		what := "the file"
		if where.path != "" {
			what = last(where.path)
		}
		d.fail(CodeType, where, "write 'key: value' lines", "%s must be a section of keys, not %s", what, kindOf(n))
		return
	}
	out.Addr().Interface().(interface{ place() *at }).place().ok = true
	fields := fieldsOf(out.Type())
	seen := map[string]bool{}
	d.pairs(n, where.path, func(key string, k at, v *yaml.Node) {
		f, known := fields.find(key)
		if !known {
			d.unknownKey(key, k, fields)
			return
		}
		seen[key] = true
		d.value(v, k.path, f.rules, out.Field(f.index))
	})
	for _, f := range fields {
		if f.rules.required && !seen[f.key] {
			d.fail(CodeMissing, where, fmt.Sprintf("add '%s: ...'", f.key), "%s is missing", join(where.path, f.key))
		}
	}
}

// pairs calls do for each key of a mapping that is a plain text and not written
// before.
func (d *decoder) pairs(n *yaml.Node, path string, do func(key string, k at, v *yaml.Node)) {
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		where := at{line: k.Line, col: k.Column, path: join(path, k.Value)}
		switch {
		case k.Tag == "!!merge":
			d.fail(CodeFeature, where, "write the keys out", "merge keys (<<) are not supported")
		case k.Kind != yaml.ScalarNode:
			where.path = path
			d.fail(CodeType, where, "", "a key must be a text, not %s", kindOf(k))
		case k.Anchor != "" || k.Style&yaml.TaggedStyle != 0:
			d.fail(CodeFeature, where, "write the key alone", "anchors and tags are not supported")
		case lines[k.Value] != 0:
			d.fail(CodeDuplicate, where, "remove one of the two", "%s is already written in line %d", where.path, lines[k.Value])
		default:
			lines[k.Value] = k.Line
			do(k.Value, where, v)
		}
	}
}

var secretKey = regexp.MustCompile(`(?i)(key|token|password|secret)`)

func (d *decoder) unknownKey(key string, where at, fields fieldList) {
	if d.failed && len(d.problems) >= maxProblems {
		return
	}
	hint := ""
	switch near, ok := Nearest(key, fields.keys()); {
	case ok:
		hint = fmt.Sprintf("did you mean %s?", near)
	case secretKey.MatchString(key):
		hint = "secrets are never written here: name a file (api_key_file, api_token_file, password_file) or use the environment"
	default:
		if home := elsewhere(key); home != "" {
			hint = fmt.Sprintf("%s is the place of this key", home)
		} else {
			hint = "known here: " + strings.Join(fields.keys(), ", ")
		}
	}
	d.fail(CodeUnknownKey, where, hint, "unknown key %q", short(key))
}

// elsewhere finds where in the file a key would be right.
func elsewhere(key string) string {
	for _, p := range keyPaths() {
		if last(p) == key {
			return p
		}
	}
	return ""
}

// fillDefaults gives every value that was not written its default.
func (d *decoder) fillDefaults(path string, out reflect.Value) {
	if out.Kind() == reflect.Slice {
		for i := range out.Len() {
			d.fillDefaults(fmt.Sprintf("%s[%d]", path, i), out.Index(i))
		}
		return
	}
	for _, f := range fieldsOf(out.Type()) {
		v := out.Field(f.index)
		l, isLeaf := v.Addr().Interface().(leaf)
		if !isLeaf {
			d.fillDefaults(join(path, f.key), v)
			continue
		}
		if l.place().path == "" {
			l.place().path = join(path, f.key)
		}
		if f.rules.hasDefault && !l.place().set {
			var n yaml.Node
			n.SetString(f.rules.def)
			n.Tag = "" // as if written plainly
			n.Tag = n.ShortTag()
			l.read(d, &n, f.rules)
		}
	}
}

// rules are what a raw field's tags say.
type rules struct {
	required, hasDefault, emptyOK bool
	def, min, max, above          string
	enum                          []string
}

func rulesOf(tag reflect.StructTag) rules {
	r := rules{min: tag.Get("min"), max: tag.Get("max"), emptyOK: tag.Get("empty") == "ok"}
	for _, part := range strings.Split(tag.Get("jsonschema"), ",") {
		k, v, _ := strings.Cut(part, "=")
		switch k {
		case "required":
			r.required = true
		case "default":
			r.def, r.hasDefault = v, true
		case "minimum":
			r.min = v
		case "maximum":
			r.max = v
		case "exclusiveMinimum":
			r.above = v
		case "enum":
			r.enum = append(r.enum, v)
		}
	}
	return r
}

// rawField is one key that a section may have.
type rawField struct {
	key   string
	index int
	rules rules
	typ   reflect.Type
}

type fieldList []rawField

func fieldsOf(t reflect.Type) fieldList {
	var fs fieldList
	for i := range t.NumField() {
		if key := t.Field(i).Tag.Get("yaml"); key != "" {
			fs = append(fs, rawField{key: key, index: i, rules: rulesOf(t.Field(i).Tag), typ: t.Field(i).Type})
		}
	}
	return fs
}

func (fs fieldList) find(key string) (rawField, bool) {
	i := slices.IndexFunc(fs, func(f rawField) bool { return f.key == key })
	if i < 0 {
		return rawField{}, false
	}
	return fs[i], true
}

func (fs fieldList) keys() []string {
	keys := make([]string, len(fs))
	for i, f := range fs {
		keys[i] = f.key
	}
	return keys
}

// keyPaths lists every key of the file, "policies[].match.deny.hosts" and so on,
// sections before what is in them.
func keyPaths() []string {
	var paths []string
	for _, k := range Keys() {
		paths = append(paths, k.Path)
	}
	return paths
}

var (
	inlineSecret = regexp.MustCompile(`(?i)((?:key|token|password|secret)["']?\s*:\s*|password_file["']?\s*:\s*)[^\s#].*`)
	// A path or a query may be a key, as in the addresses of chats.
	inlineAddress = regexp.MustCompile(`(?i)(\burl["']?\s*:\s*["']?[a-z]+://[^/?\s"',}]+[/?])[^\s"',}]+`)
	userInfo      = regexp.MustCompile(`://[^/\s]*@`)
)

// source is the line as written: bounded, printable, and without what looks like
// a secret that somebody wrote into the wrong place.
func (d *decoder) source(line int) string {
	if line < 1 || line > len(d.lines) || !d.keyed {
		return ""
	}
	s := d.lines[line-1]
	if r := []rune(s); len(r) > maxSourceRunes {
		s = string(r[:maxSourceRunes]) + "…"
	}
	s = userInfo.ReplaceAllString(s, "://[redacted]@")
	s = inlineAddress.ReplaceAllString(s, "${1}[redacted]")
	s = inlineSecret.ReplaceAllString(s, "${1}[redacted]")
	return printable(s)
}

// printable replaces what a terminal would obey, and bounds what an error repeats
// of the file.
func printable(s string) string {
	if r := []rune(s); len(r) > maxMessageRunes {
		s = string(r[:maxMessageRunes]) + "…"
	}
	return strings.Map(func(r rune) rune {
		if r != '\t' && r != '\n' && !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// splitLines breaks lines where YAML does.
func splitLines(s string) []string {
	s = strings.TrimPrefix(s, "\uFEFF")
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n", "\u0085", "\n", "\u2028", "\n", "\u2029", "\n").Replace(s)
	return strings.Split(s, "\n")
}

func (d *decoder) invalidAt(data []byte) at {
	i := 0
	for i < len(data) {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		i += n
	}
	lines := splitLines(string(data[:i]))
	return at{line: len(lines), col: utf8.RuneCountInString(lines[len(lines)-1]) + 1}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func last(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// short bounds a text of the file that is repeated in a message.
func short(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return s
}

func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!str":
		return "the text " + fmt.Sprintf("%q", short(n.Value))
	case n.Tag == "!!int" || n.Tag == "!!float":
		return "the number " + short(n.Value)
	}
	return short(n.Value)
}
