// Package stage has the real daemon play some days on a simulated market in virtual time,
// and serves the read-only port over it: for tests of what people see there. Tests alone
// import it.
package stage
