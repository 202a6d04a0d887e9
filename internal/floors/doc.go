// Package floors holds no code, only the test of the project's layout: which
// package may import which, who may tell the time, and who may touch the world.
//
// The test parses the sources itself. It must not ask `go list`: the answer of a
// program is no input of the test cache, which would go on saying "ok".
package floors
