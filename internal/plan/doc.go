// Package plan decides. It is pure: the same Input gives the same Plan, byte for
// byte, in whatever order its parts arrive; it never waits, logs, reads a clock
// or asks the market anything.
//
//	Observe(History, Snapshot) -> History, Events   what the look taught us
//	Compute(Input)             -> Plan              what to do, ask and hold, and why
//
// It owns the state of a machine in our books (Phase), the rules of absence, the
// choice of offers, the bid ladder and the arithmetic of budgets. It must not
// know how anything is stored or sent.
//
// Invariants, each a property test over random worlds:
//   - No plan reserves more than a cap leaves.
//   - Everything that may exist counts as capacity and as spend until it is
//     proven gone.
//   - Only machines with our mark and owner appear in actions.
//   - After a plan was carried out in a market that accepts everything, the next
//     plan is empty.
//   - Every action has a reason; every policy has an action, a hold or is
//     satisfied.
package plan
