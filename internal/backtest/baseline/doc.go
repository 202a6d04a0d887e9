// Package baseline plays published buying policies on a tape, to be measured beside
// ours. They are written anew from what their authors say, in their kindest reading:
// their orders take no time, never fail where there is room, and ask nothing of an
// API; where a policy leaves on-demand for spot, it keeps the on-demand machine until
// the other is ready; and where bids are paid, all but the fixed bid pay exactly what
// the pool asks at every moment, as if they knew it.
//
// The rules of the game are those of the tape. Policies look once a cycle, beginning
// at 0, and see room and prices as they are at that moment. Machines are lost at the
// very moment at which their pool's room falls below what is held, the newest first,
// booting ones like others, or at which the price rises above what they may pay; that
// is seen in the next cycle. Every machine is paid for from its order on.
//
// It owns no clock and no market, and knows nothing of our own policies.
package baseline
