package policy

import (
	"reflect"
	"strings"
)

// Key is one key of the file, as the pages about it show it.
type Key struct {
	// Path is the key with the sections it is in; "[]" stands for each entry of a list.
	// Section is Path without the last word, "" at the top.
	Path, Section string
	// Value is what may stand there, in words; Words are the only ones that may.
	Value string
	Words []string
	// Default is in force where the key is left out, if HasDefault.
	Default              string
	HasDefault, Required bool
	// Bounds are "above X", "from X" and "to X"; Meaning says what the key does.
	Bounds, Meaning string
}

// Keys are all keys of the file, in the file's order, a section before its keys.
func Keys() []Key {
	var keys []Key
	var walk func(section string, t reflect.Type)
	walk = func(section string, t reflect.Type) {
		for _, f := range fieldsOf(t) {
			k := keyOf(section, &f)
			k.Meaning = t.Field(f.index).Tag.Get("jsonschema_description")
			keys = append(keys, k)
			path, typ := k.Path, f.typ
			if typ.Kind() == reflect.Slice {
				path, typ = path+"[]", typ.Elem()
			}
			if !reflect.PointerTo(typ).Implements(reflect.TypeFor[leaf]()) {
				walk(path, typ)
			}
		}
	}
	walk("", reflect.TypeFor[file]())
	return keys
}

func keyOf(section string, f *rawField) Key {
	r := f.rules
	k := Key{
		Path: join(section, f.key), Section: section, Value: valueOf(f.typ), Words: r.enum,
		Default: r.def, HasDefault: r.hasDefault, Required: r.required && !r.hasDefault,
	}
	var bounds []string
	for _, p := range [][2]string{{"above", r.above}, {"from", r.min}, {"to", r.max}} {
		if p[1] != "" {
			bounds = append(bounds, p[0]+" "+p[1])
		}
	}
	k.Bounds = strings.Join(bounds, " ")
	return k
}

// valueOf says in words what may stand at a key.
func valueOf(t reflect.Type) string {
	switch reflect.New(t).Interface().(type) {
	case *text:
		return "text"
	case *integer:
		return "whole number"
	case *number:
		return "number"
	case *boolean:
		return "true or false"
	case *money:
		return "dollars"
	case *duration:
		return "duration"
	case *moment:
		return "time"
	case *size:
		return "size"
	case *share:
		return "percentage, or machines"
	case *texts, *words:
		return "list of texts"
	case *ports:
		return "list of ports"
	case *labels:
		return "names and texts"
	}
	return "section"
}
