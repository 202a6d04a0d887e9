// Package web serves the read-only HTTP port: metrics, health, service discovery, and the pages that people look at.
//
// It owns what may be seen from outside. Nothing can be changed over it, and
// nothing secret passes through it: it is given values, not the daemon.
package web
