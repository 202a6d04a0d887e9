// Package shadow plays a policy beside the market: what it would have, if it had been
// bought. It decides by the same plan.Observe and plan.Compute as everybody, on the
// same looks, and on books of its own; the market that answers it is made of what is
// on record. It sends nothing, and cannot: it is pure.
//
// It owns what that market is taken to do:
//
//   - GPUs that are listed as free are to be had; so are those that machines of ours
//     took later than the shadow did.
//   - What wins is the lowest bid on record that did; where none is, what the host was
//     seen to take, or half of its on-demand price, and in any case a cent above what
//     was refused.
//   - A machine is ready after the time that its host usually takes. It is outbid while
//     its bid does not win, and lost when its host has shown no room for it in
//     safety.absent_looks looks in a row.
//
// Invariants:
//   - Nothing it is given is changed.
//   - Its machines and intents are in no books but the shadow's own.
package shadow
