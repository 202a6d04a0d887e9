package policy

import (
	"cmp"
	"reflect"
	"slices"
)

// Parse reads a file. It returns every problem at once, sorted by place; the Set
// can be used if and only if none of them is an error, and is empty otherwise.
// name is only repeated in the problems.
func Parse(name string, data []byte) (Set, []Problem) {
	d := newDecoder(name, data)
	var f file
	if root, ok := d.document(data); ok {
		raw := reflect.ValueOf(&f).Elem()
		d.value(root, "", rules{}, raw)
		d.fillDefaults("", raw)
		d.check(&f)
	}
	slices.SortStableFunc(d.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Path, b.Path))
	})
	if HasErrors(d.problems) {
		return Set{}, d.problems
	}
	return f.build(), d.problems
}
