// Package campaign runs the whole daemon against the whole simulated market, in
// virtual time, and judges it from the market's side: what was bought, what it
// cost, what was touched, what leaked. It is made of tests only; nothing imports
// it.
//
// Invariants that every run here is held to, at every event of the market and
// after every cycle:
//   - The account never burns more than the hourly cap (beside what is not ours).
//   - There are never more machines of a policy than its target.
//   - Machines of other names and owners are untouched.
//   - No write leaves without an open intent on disk, no made-up password
//     without its file.
//   - No secret is in a log line, a report, an intent, the ledger or an error.
package campaign
