// Package prices sums up the price history: what each GPU model cost in each
// country over a time, how it spread, and what bids won or lost there.
//
// It is pure: series in, groups out. It reads no ledger and knows no clock.
//
// Invariants:
//   - The order of the series changes nothing.
//   - A price counts for as long as it was offered, not for how often it was written.
//   - A bid is compared only with bids for the same number of GPUs.
package prices
