// Package control lets commands talk to the daemon, and do the same work without
// one.
//
// Desk is what a command can ask. It has two implementations: Office works in
// process, on a running daemon or on the ledger alone, and Client asks an Office
// behind a unix socket. One contract suite runs against both, so that a command
// answers the same whether a daemon runs or not.
//
// The protocol is JSON over HTTP on the socket: POST /v1/NAME with a request,
// answered by the answer or by a Fault. Sizes and times are bounded. Who may open
// the socket (mode 0600) may do everything: there is no other authentication.
//
// It owns the protocol, where the socket is and what is left of one after a
// crash. It must not decide anything about money nor print anything.
//
// Invariants:
//   - A question (status, plan, explain, lists) writes nothing, and makes no
//     ledger where there is none.
//   - No answer holds a secret: passwords are told as the path of their file.
//   - A socket file is removed only when nobody listens behind it.
package control
