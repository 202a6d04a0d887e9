// Package backtest lets the daemon buy on a recorded market. It plays a tape through
// in-memory adapters in market's terms, drives the daemon's own cycle with a ledger
// of its own on a virtual clock, and adds up, from the market's side, what came of
// it.
//
// It must not decide anything about buying, read files of traces (package trace), or
// know the future (package optimum). Of a ledger it makes a trace: see Recorded.
//
// Invariants:
//   - The same policies, tape and cycle give the same result, byte for byte.
//   - Nothing is asked of, or said to, any market but the tape's.
package backtest
