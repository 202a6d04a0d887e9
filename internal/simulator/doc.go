// Package simulator is a believable TensorDock marketplace: an Engine in
// market's terms (hosts, auction, rivals, machines, money) and an HTTP face over
// it that answers as v0 and v2 do, in the recorded or in the documented shape,
// with faults on request.
//
// It owns its world and nothing else: it imports only market, clock and secret,
// opens no socket (Handler and Transport are for the caller to serve or call) and
// never reads the system's time.
//
// Invariants:
//   - The same Options and the same sequence of calls at the same times give the
//     same events, ids and answers. Every random stream has its own seed, so one
//     more machine does not change the rivals of another host.
//   - A pool (one GPU model of one host) keeps the spot set of greatest revenue in
//     the GPUs that on-demand leaves; on a tie the set that holds stays.
//   - Money is exact: a machine costs rate x whole seconds (rounded up) for each
//     stretch of unchanged rate, however often the account is looked at.
//   - Every method is safe for concurrent use; the observer runs under the
//     engine's lock and must not call back.
package simulator
