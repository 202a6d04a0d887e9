// Package optimum says what the best buyer could have come to on a tape who knew all
// of it beforehand: every capacity, every price and the boot time. Nobody who has to
// live through the tape can promise to do better, so it is what policies are measured
// against. It owns no clock and no market, and decides nothing that is ever done.
//
// # What is minimised
//
// J = what the machines cost, and the tape's penalty for every GPU-hour of the target
// that is not delivered. A machine is paid for from its order until it is given up or
// lost, its boot included, at the tape's price of every moment; it delivers from the
// end of its boot. Nothing runs at the beginning, so the first boot is not delivered.
// Nobody boots faster, delivers while booting, or sees an on-demand price of its own.
// A pool cannot be held while it has no room, or while its price is above the ceiling;
// buying nothing is always possible.
//
// # The two optima
//
// J* (Star) may order a machine before another is lost, so that it loses nothing but
// the price of the boot. What is booting uses no room of its pool there. For a target
// of one unit it is exactly the least that any buyer can come to; above that it is a
// lower bound for every buyer.
//
// J_nw (NoWarning) may not order the replacement of a spot machine before that is lost
// or given up: leaving a spot machine costs a boot that delivers nothing. Leaving
// on-demand for spot is foreseen by everybody, and may overlap. What is booting uses
// room. Every unit of the target is on its own: it holds at most one spot machine, and
// no on-demand machine beside one that is ready. For such buyers it is exact. It is no
// bound for those who keep spares, and a fleet can, above one unit, come below it by
// swapping: an on-demand machine whose spot successor is ready may cover another unit
// whose spot machine was lost meanwhile.
//
// J* <= J_nw on every tape.
//
// # Work by a time
//
// Where work is wanted by the end of the tape, whenever it is delivered, both are lower
// bounds: see due.
//
// # Why it is exact
//
// Each unit of the target walks through a graph of (moment, state): it has nothing, a
// machine of one pool, or one on-demand. Staying costs the price, or the penalty for
// having nothing, and a pool's room bounds how many may stay in it. Boots become the
// cost of an arc at one moment: in J* a unit enters a pool when the machine is ready
// and pays for the boot behind it; in J_nw it enters when the machine is ordered and
// pays the penalty of the boot before it, or, from on-demand, that of the overlap. (An
// entry that does not live through its boot is charged all of it. Nobody wants one:
// having stayed was cheaper, as long as the penalty is at most twice the on-demand
// price.) Integral flows of least cost are found by successive shortest paths.
//
// Between two neighbouring moments of the graph, every cost is linear in the time of a
// move and all room is constant, so moves may be shifted to either end without loss.
// These moments are the tape's changes, and for J*, where the price of the boot behind
// changes one boot later, those moments as well. No grid is involved.
//
// Costs are rounded up to whole nano-dollars per arc, which is the only inexactness.
package optimum
