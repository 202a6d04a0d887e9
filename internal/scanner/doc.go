// Package scanner observes: it turns the market's lists into one
// market.Snapshot, each section with its own time and completeness.
//
// It owns what counts as a complete list. It decides nothing, writes nothing and
// holds a reader that cannot write.
//
// Invariants:
//   - A section that failed, in whole or in part, is not complete.
//   - One section's failure says nothing about another, and one that not everything needs
//     takes about a fifth of the time at most: it is left alone for a while (Rests).
//   - A list that leaves out a machine which the market shows when asked for by its
//     id is not complete: lists may be stale or partial.
//   - v2's list is asked only where the books hold an order that v0's leaves out, or a
//     machine that only v2 has shown, or a policy may buy through v2; at most once in a look.
package scanner
