// Package actuator carries out approved actions, one at a time: gate, intent on
// disk, request, outcome on disk.
//
// It owns the order of those four steps and the meaning of the market's answers
// for our books. It decides nothing: what to do, for whom and at what price is in
// the Action.
//
// Invariants:
//   - Nothing that costs money is requested before its intent is on disk.
//   - A lost answer is booked as Unknown and never retried.
//   - Every write passes the Gate.
package actuator
