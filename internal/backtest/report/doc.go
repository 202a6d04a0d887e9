// Package report draws a backtest as one HTML page: what the market had, what
// everybody held and what it came to, and what happened to our machines.
//
// It computes nothing that is not on the tape or in the results, opens no file, and
// knows neither policies nor the daemon.
//
// Invariants:
//   - The page is self-contained: no script, no address, no font or picture from
//     elsewhere. It reads in light and in dark.
//   - Every name is escaped; it comes from files of others.
//   - The size of the page is bounded, however long the tape and however many pools.
package report
