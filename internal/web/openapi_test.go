package web

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

var update = flag.Bool("update", false, "write openapi.json")

// object is a piece of JSON.
type object = map[string]any

// describer makes schemas of types, in the words of their comments.
type describer struct {
	t     *testing.T
	said  map[string]string   // "package.Type" and "package.Type.Field" to comment
	known map[string][]string // "package.Type" to its constants
	read  map[string]bool     // packages
	defs  object
}

const module = "github.com/tdscaler/tdscaler/"

// words reads the comments and constants of a package.
func (d *describer) words(pkg string) {
	if d.read[pkg] || !strings.HasPrefix(pkg, module) {
		return
	}
	d.read[pkg] = true
	files, err := filepath.Glob(filepath.Join("../..", strings.TrimPrefix(pkg, module), "*.go"))
	if err != nil || len(files) == 0 {
		d.t.Fatalf("%s: %v", pkg, err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			d.t.Fatal(err)
		}
		for _, decl := range f.Decls {
			if g, ok := decl.(*ast.GenDecl); ok {
				d.declared(pkg, g)
			}
		}
	}
}

func (d *describer) declared(pkg string, g *ast.GenDecl) {
	for _, spec := range g.Specs {
		switch s := spec.(type) {
		case *ast.TypeSpec:
			key := pkg + "." + s.Name.Name
			d.said[key] = comment(s.Doc, g.Doc)
			if st, ok := s.Type.(*ast.StructType); ok {
				for _, f := range st.Fields.List {
					for _, n := range f.Names {
						d.said[key+"."+n.Name] = comment(f.Doc, f.Comment)
					}
				}
			}
		case *ast.ValueSpec:
			id, named := s.Type.(*ast.Ident)
			for _, v := range s.Values {
				if lit, ok := v.(*ast.BasicLit); ok && named && g.Tok == token.CONST && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil && text != "" {
						d.known[pkg+"."+id.Name] = append(d.known[pkg+"."+id.Name], text)
					}
				}
			}
		}
	}
}

// comment is the first of comments, as one paragraph each; a drawing after a blank line
// is left out.
func comment(all ...*ast.CommentGroup) string {
	for _, c := range all {
		if text := strings.TrimSpace(c.Text()); text != "" {
			text, _, _ = strings.Cut(text, "\n\n")
			text = strings.Join(strings.Fields(text), " ")
			return strings.ToUpper(text[:1]) + text[1:]
		}
	}
	return ""
}

var notInNames = regexp.MustCompile(`[\w./-]*\.|[^A-Za-z0-9]`)

// name is what a type is called in the document.
func name(t reflect.Type) string {
	pkg := t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:]
	own, of, _ := strings.Cut(t.Name(), "[")
	own += notInNames.ReplaceAllString(of, "")
	if pkg == "web" {
		return own
	}
	return strings.ToUpper(pkg[:1]) + pkg[1:] + strings.ToUpper(own[:1]) + own[1:]
}

// units are the numbers whose type says what they count.
func units() map[reflect.Type]object {
	return map[reflect.Type]object{
		reflect.TypeFor[time.Time]():     {"type": "string", "format": "date-time"},
		reflect.TypeFor[time.Duration](): {"type": "integer", "format": "int64", "description": "Nanoseconds."},
		reflect.TypeFor[market.Rate]():   {"type": "number", "description": "US dollars per hour, exact to the ninth digit."},
		reflect.TypeFor[market.Amount](): {"type": "number", "description": "US dollars, exact to the ninth digit."},
		reflect.TypeFor[plan.Faded]():    {"type": "number", "minimum": 0, "description": "A count that fades: what happened a week ago counts half."},
		reflect.TypeFor[plan.Span]():     {"type": "number", "minimum": 0, "description": "Seconds."},
	}
}

// schema describes a type where it is used; structs and named texts once, by reference.
func (d *describer) schema(t reflect.Type) object {
	if u, ok := units()[t]; ok {
		return merged(u, nil)
	}
	d.words(t.PkgPath())
	if t.PkgPath() == reflect.TypeFor[market.Shape]().PkgPath() && strings.HasPrefix(t.Name(), "Maybe[") {
		f, _ := t.FieldByName("value")
		return nullable(d.schema(f.Type))
	}
	if t.Implements(reflect.TypeFor[json.Marshaler]()) || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		d.t.Fatalf("%s writes itself as JSON: say how in units", t)
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Interface:
		return object{}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Int, reflect.Int64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Uint64:
		return object{"type": "integer", "format": "int64", "minimum": 0}
	case reflect.String:
		return d.text(t)
	case reflect.Struct:
		return d.structure(t)
	}
	d.t.Fatalf("nobody knows how to describe %s", t)
	return nil
}

func (d *describer) text(t reflect.Type) object {
	key := t.PkgPath() + "." + t.Name()
	if t.PkgPath() == "" || d.said[key] == "" && d.known[key] == nil {
		return object{"type": "string"}
	}
	if d.defs[name(t)] == nil {
		s := object{"type": "string"}
		said := d.said[key]
		if values := d.known[key]; values != nil {
			said = strings.TrimSpace(said + " One of " + strings.Join(values, ", ") + "; others may come.")
		}
		s["description"] = said
		d.defs[name(t)] = s
	}
	return object{"$ref": "#/components/schemas/" + name(t)}
}

func (d *describer) structure(t reflect.Type) object {
	if d.defs[name(t)] == nil {
		s := object{"type": "object"}
		d.defs[name(t)] = s // it may hold itself
		if said := d.said[t.PkgPath()+"."+strings.Split(t.Name(), "[")[0]]; said != "" {
			s["description"] = said
		}
		properties, required := object{}, []string{}
		d.fields(t, properties, &required)
		s["properties"] = properties
		if slices.Sort(required); len(required) > 0 {
			s["required"] = required
		}
	}
	return object{"$ref": "#/components/schemas/" + name(t)}
}

// fields describes the fields of a struct, and those of what it embeds.
func (d *describer) fields(t reflect.Type, properties object, required *[]string) {
	d.words(t.PkgPath())
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case tag == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && tag == "":
			d.fields(f.Type, properties, required)
			continue
		}
		if tag == "" {
			d.t.Errorf("%s.%s has no name in JSON", t, f.Name)
		}
		optional := strings.HasPrefix(options, "omit")
		s := d.schema(f.Type)
		if k := f.Type.Kind(); !optional && (k == reflect.Slice || k == reflect.Map || k == reflect.Pointer) {
			s = nullable(s)
		} else {
			*required = slices.DeleteFunc(*required, func(s string) bool { return s == tag })
			if !optional {
				*required = append(*required, tag)
			}
		}
		if said := d.said[t.PkgPath()+"."+strings.Split(t.Name(), "[")[0]+"."+f.Name]; said != "" {
			said = strings.TrimSuffix(said, ".") + "."
			if unit, ok := s["description"].(string); ok {
				said += " " + unit
			}
			s["description"] = said
		}
		properties[tag] = s
	}
}

// nullable lets a value be null.
func nullable(s object) object {
	if ref, ok := s["$ref"]; ok {
		return object{"oneOf": []any{object{"$ref": ref}, object{"type": "null"}}}
	}
	if kind, ok := s["type"].(string); ok {
		return merged(s, object{"type": []any{kind, "null"}})
	}
	return s
}

func merged(a, b object) object {
	out := object{}
	for _, m := range []object{a, b} {
		for k, v := range m {
			out[k] = v
		}
	}
	return out
}

// parameter describes one parameter of a query.
func (p *param) describe() object {
	s := map[kind]object{
		wordParam: {"type": "string", "maxLength": mostWord}, globsParam: {"type": "array", "maxItems": mostGlobs, "items": object{"type": "string", "minLength": 1, "maxLength": mostWord}},
		countParam: {"type": "integer", "minimum": p.least, "maximum": p.most}, numberParam: {"type": "integer", "minimum": 1}, yesNoParam: {"type": "boolean", "default": false},
		momentParam: {"type": "string", "maxLength": mostWord, "examples": []any{"24h", "2026-01-31", "2026-01-31T03:00:00Z"}},
	}[p.kind]
	if p.values != nil {
		s["enum"] = p.values
	}
	if p.usual > 0 {
		s["default"] = p.usual
	}
	if p.usualBack > 0 {
		s["default"] = strconv.Itoa(int(p.usualBack.Hours())) + "h"
	}
	return object{"name": p.name, "in": "query", "required": p.required, "description": p.doc, "schema": s}
}

var inPath = regexp.MustCompile(`\{(\w+)\}`)

// operation describes one route.
func (d *describer) operation(rt *route) object {
	said := rt.summary
	if rt.command != "" {
		said += " The same JSON as `" + rt.command + "`."
	}
	var params []any
	for _, m := range inPath.FindAllStringSubmatch(rt.path, -1) {
		s := object{"type": "string", "minLength": 1}
		if m[1] == "id" {
			s = object{"type": "integer", "minimum": 1}
		}
		params = append(params, object{"name": m[1], "in": "path", "required": true, "schema": s})
	}
	for i := range rt.params {
		params = append(params, rt.params[i].describe())
	}
	answer := object{"type": "object"}
	if rt.path != "/openapi.json" {
		answer = d.schema(reflect.TypeOf(rt.answer))
	}
	media, headers := "application/json", object{"ETag": object{"$ref": "#/components/headers/ETag"}}
	if slices.ContainsFunc(rt.params, func(p param) bool { return p.name == "before" }) {
		headers["Link"] = object{"$ref": "#/components/headers/Link"}
	}
	if rt.media != "" {
		media, answer, headers = rt.media, object{"type": "string", "description": "Events named cycle; the id is the cycle's number, the data " + name(reflect.TypeOf(rt.answer)) + " as JSON."}, object{}
		d.schema(reflect.TypeOf(rt.answer))
	}
	responses := object{
		"200": object{"description": rt.summary, "headers": headers, "content": object{media: object{"schema": answer}}},
	}
	for status, what := range map[string]string{"304": "NotModified", "400": "BadParameter", "404": "NotFound", "405": "NotAllowed", "500": "Failed", "503": "NotNow"} {
		if rt.media == "" || status != "304" {
			responses[status] = object{"$ref": "#/components/responses/" + what}
		}
	}
	op := object{"operationId": operationID(rt.path), "summary": rt.summary, "description": said, "responses": responses}
	if params != nil {
		op["parameters"] = params
	}
	return object{"get": op}
}

func operationID(path string) string {
	id := "get"
	for _, w := range strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune("/.{}", r) }) {
		id += strings.ToUpper(w[:1]) + w[1:]
	}
	return id
}

// everything are the routes of a daemon.
func everything() []route { return Options{Desk: &shared{}}.routes() }

// described is the document, made of the routes and of the types that they answer.
func described(t *testing.T) []byte {
	d := &describer{t: t, said: map[string]string{}, known: map[string][]string{}, read: map[string]bool{}, defs: object{}}
	paths := object{}
	for _, rt := range everything() {
		paths[prefix+rt.path] = d.operation(&rt)
	}
	wrong := func(what string) object {
		return object{"description": what, "content": object{"application/problem+json": object{"schema": d.schema(reflect.TypeFor[problem]())}}}
	}
	later := wrong("There is no answer yet, or too much is asked at once.")
	later["headers"] = object{"Retry-After": object{"description": "Seconds.", "schema": object{"type": "integer"}}}
	notAllowed := wrong("Nothing can be changed over HTTP.")
	notAllowed["headers"] = object{"Allow": object{"description": "GET, HEAD.", "schema": object{"type": "string"}}}
	b, err := json.MarshalIndent(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "tdscaler", "version": "1", "license": object{"name": "see LICENSE"},
			"description": "Everything that a tdscaler daemon knows, to be read. HEAD works wherever GET does. Within version 1 fields and values may come; none goes, and none changes its meaning.",
		},
		"servers": []any{object{"url": "/"}}, "security": []any{},
		"paths": paths,
		"components": object{
			"schemas": d.defs,
			"headers": object{
				"ETag": object{"description": "For If-None-Match: the answer is 304 as long as it is the same.", "schema": object{"type": "string"}},
				"Link": object{"description": "Where there may be more: the next page, as rel=\"next\".", "schema": object{"type": "string"}},
			},
			"responses": object{
				"NotModified": object{"description": "The answer is what If-None-Match names."}, "BadParameter": wrong("A parameter is wrong; the problem names it."),
				"NotFound": wrong("There is no such thing."), "NotAllowed": notAllowed, "Failed": wrong("It could not be answered."), "NotNow": later,
			},
		},
	}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return append(b, '\n')
}

func TestTheDocumentIsWhatTheCodeSays(t *testing.T) {
	want := described(t)
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(want, document) {
		t.Error("openapi.json is older than the code: go test ./internal/web -run TestTheDocument -update")
	}
}
