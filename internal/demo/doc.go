// Package demo runs the real daemon on the simulated market: a week in virtual
// time in well under a minute, or in real time with everything open.
//
// It composes; it owns nothing but the figures it reports, and those are taken
// from the market's side, not from the daemon's own books.
package demo
