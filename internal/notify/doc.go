// Package notify tells people what needs them: it turns the reports of the cycles into
// messages and brings these to chats, mailboxes and programs.
//
// What is told is decided by Step, which is pure: conditions that hold for long enough
// fire, are told once to every sink that wants them, together with others of their kind,
// again after a while, and once more when they are over. The Notifier runs Step between
// the cycles and sends what comes out of it, each sink by itself.
//
// It must not decide anything about machines or money, and nothing here is waited for by a
// cycle.
//
// Invariants: no message without a change or a repetition that is due; at most one
// recovery for each firing, and none where the firing was not told; what was told is on
// disk, and a restart neither repeats nor forgets it; no error, log line or message holds
// an address or a secret of a sink.
package notify
