// Package scanner observes: it turns the market's lists into one
// market.Snapshot, each section with its own time and completeness.
//
// It owns what counts as a complete list. It decides nothing, writes nothing and
// holds a reader that cannot write.
//
// Invariants:
//   - A section that failed, in whole or in part, is not complete.
//   - One section's failure says nothing about another.
//   - A list that leaves out a machine which the market shows when asked for by its
//     id is not complete: lists may be stale or partial.
package scanner
