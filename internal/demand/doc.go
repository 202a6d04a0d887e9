// Package demand says how many machines a policy wants at a moment, and why: of its
// number, the windows of its schedule and the signals that it follows, the most,
// between its min and max; or what somebody has set by hand.
//
// It is pure: the same policies, readings, memories and time give the same answer. It
// asks nobody, it remembers nothing, and it knows nothing of offers and money.
//
// Invariant: what is wanted is never above Policy.MaxTarget, whatever a signal says
// and whoever sets it, and never below 0.
//
// Invariant: resolving again at the same moment, with the memories of the first time
// and no new readings, changes nothing.
package demand
