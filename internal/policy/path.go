package policy

import "reflect"

// PathProblem is what whoever reads the files that a policy names reports when one
// of them cannot be used: with its place in the file, as every other problem. key
// is e.g. "ssh_key_file"; why is told to the user.
func PathProblem(name string, data []byte, policy, key, why string) Problem {
	d := newDecoder(name, data)
	var f file
	if root, ok := d.document(data); ok {
		d.value(root, "", rules{}, reflect.ValueOf(&f).Elem())
	}
	where := at{}
	for i := range f.Policies {
		p := &f.Policies[i]
		if p.Name.v != policy {
			continue
		}
		where = p.at
		if key, ok := d.places[p.at.path+"."+key]; ok {
			where = key
		}
	}
	d.problems, d.failed = nil, false
	d.fail(CodePath, where, "paths are relative to this file's folder", "%s: %s", key, why)
	return d.problems[0]
}

// PlaceProblem is PathProblem for a key that is in no policy, such as
// "notifications.sinks[0].url_file".
func PlaceProblem(name string, data []byte, path, code, hint, why string) Problem {
	d := newDecoder(name, data)
	var f file
	if root, ok := d.document(data); ok {
		d.value(root, "", rules{}, reflect.ValueOf(&f).Elem())
	}
	where := d.places[path]
	d.problems, d.failed = nil, false
	d.fail(code, where, hint, "%s: %s", last(path), why)
	return d.problems[0]
}
