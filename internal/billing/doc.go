// Package billing is pure: it sums up what machines cost, holds it against the
// market's bill and against on-demand, and reckons what the market's terms give for
// outages.
//
// It must not decide anything, and knows neither the ledger nor the market: records
// come in, lines to be shown go out.
//
// Invariants:
//   - The lines of a sum add up to its total.
//   - What is not known is not compared: it is told beside the figure.
package billing
