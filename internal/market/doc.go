// Package market holds the nouns every other package speaks in: money, hosts,
// machines, bids and the Snapshot of one look at the marketplace.
//
// It owns meaning and units. It has no I/O, no clock, no logger and imports
// nothing but the standard library, so every floor above may depend on it.
//
// Invariants:
//   - Money is integer nano-USD. A Rate is per hour, an Amount is absolute; the
//     two do not mix without a time.Duration between them.
//   - Unknown is never zero: what the market may leave out is a Maybe.
//   - Rounding is against us: costs round up, money we own rounds down.
//   - A status we cannot read is StatusUnknown, which is never "gone".
package market
