// Package web serves the read-only HTTP port: metrics, health, service discovery, and the pages that people look at.
//
// It owns what may be seen from outside, also as JSON: api*.go has the questions, openapi.json
// (written by go test -update) describes them, shared.go is the desk as visitors have it.
// Nothing can be changed over it, and nothing secret passes through it: it is given values,
// not the daemon. No visitor causes a request to TensorDock.
package web
