// Package daemon runs cycles: observe, decide, ask, act, report, on a schedule,
// never two at once. It composes the floors below and decides nothing itself.
//
// It owns the order of a cycle, what survives a reload, the write gate and the
// answers to the control socket. Ledger, metrics, log and status are projections
// of the one plan.Report of each cycle.
//
// Invariants:
//   - A dry run holds no writer: it is composed from readers only.
//   - Every write of every path (cycle, destroy) goes through the same actuator.
//   - No decision lives only in memory: a cycle begins with the ledger and a
//     fresh scan.
package daemon
