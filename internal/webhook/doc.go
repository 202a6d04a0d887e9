// Package webhook lets programs set targets by hand, with signed requests, on a listener
// of its own.
//
// It can do what "tdscaler target set" and "target clear" can, and less: never without
// an end, never for longer than a week, and never against what an operator has set. It
// must not carry out a request twice, nor one that is older than a few minutes, nor one
// that was signed with another secret.
package webhook
