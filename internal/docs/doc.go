// Package docs holds no code, only the tests that hold the pages in docs and
// beside it to the program: metrics, reason codes, links, and the tests that the
// pages name.
package docs
