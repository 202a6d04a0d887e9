package policy

import (
	"cmp"
	"reflect"
	"regexp"
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

// LedgerOf is where the ledger of a file is that may have errors elsewhere: the way to a
// daemon that goes on with what the file was before. false where the file does not tell.
func LedgerOf(name string, data []byte) (path string, ok bool) {
	d := newDecoder(name, data)
	var f file
	raw := reflect.ValueOf(&f).Elem()
	root, ok := d.document(data)
	if ok {
		d.value(root, "", rules{}, raw)
	}
	d.fillDefaults("", raw)
	l := &f.Daemon.Ledger
	if !ok { // it is no YAML any more: the one line that names it counts
		named := regexp.MustCompile(`[\s{,]ledger:[ \t]+["']?([^\s"'{},#]+)`).FindAllSubmatch(data, -1)
		if len(named) > 0 {
			return string(named[0][1]), len(named) == 1
		}
	}
	return l.v, l.ok && l.v != ""
}
