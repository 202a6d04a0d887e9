// Package ledger is the daemon's memory: one bbolt file with the machines and
// the money in our books, the intents and what became of them, the reports of
// the cycles and the prices seen.
//
// It stores the values of package plan and runs their transitions inside one
// transaction; it decides nothing, asks nobody, and knows no clock: whoever
// calls says what time it is. docs/design/ledger.md has buckets and formats.
//
// Invariants:
//   - What Update acknowledged is on disk; what it refused left no trace.
//   - A record that is not exactly what was written is ErrCorrupt: every value
//     carries a checksum of its key and contents, and the number and size of
//     the records are themselves on record.
//   - A damaged or foreign file is never changed, truncated or replaced.
//   - A report can be read as long as its summary is listed: its keyframe is not
//     pruned before it.
//   - At most one process has the file open for writing.
package ledger
