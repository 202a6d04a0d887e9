// Package web serves the read-only HTTP port: metrics, health, service discovery and a landing page.
//
// It owns what may be seen from outside. Nothing can be changed over it, and
// nothing secret passes through it: it is given values, not the daemon.
package web
