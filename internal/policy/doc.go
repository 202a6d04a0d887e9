// Package policy reads the one YAML file that says what the user wants: Parse
// turns a name and bytes into a Set and every Problem at once, each with its
// line, column, hint and stable code.
//
// It is pure: it reads no file, no clock and no environment, and never logs. It
// owns what a key means, its unit, its default and its bounds; what follows from
// the values is decided on the floors above.
//
// Invariants:
//   - A Set returned without errors is complete: every default is filled in.
//   - Nothing is rounded to make it fit; a value that does not fit is a Problem.
//   - A Set holds no secrets: keys and passwords are named by file only, and no
//     Problem repeats what somebody wrote in their place.
//
// file.go has the file's shape (its tags are the source of defaults, bounds, JSON
// Schema and the tables of docs/policy.md); decode.go and values.go read nodes
// into it, check.go compares values with each other, build.go makes the Set.
package policy
