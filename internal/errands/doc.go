// Package errands does what is to be done for machines between two cycles and is no
// write to the market: it probes whether they deliver, and calls the user's hooks.
//
// It owns the I/O of that, how many at once and for how long. It decides nothing: what
// is due is plan.Errand, what comes of it plan.Finding, which a later look takes in.
//
// Invariants:
//   - No caller waits: Start returns at once, and every errand has an end.
//   - One errand of a kind is under way for a machine at a time.
//   - No secret is in a Finding, and a command gets none of the daemon's environment.
//   - Machines are reached where the market says they are, so nothing of this computer
//     or its network's inside is, unless Options say so.
package errands
