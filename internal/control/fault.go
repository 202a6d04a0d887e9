package control

import (
	"context"
	"errors"
	"io/fs"
	"net/http"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
)

// Class sorts faults by what a command does about them.
type Class string

// Classes of faults.
const (
	Usage        Class = "usage"          // the request makes no sense, or its file is bad
	NoSuchPolicy Class = "no_such_policy" // Fault.Known says which there are
	NotFound     Class = "not_found"      // no such intent or cycle
	DryRun       Class = "dry_run"        // it would have to write
	Unauthorized Class = "unauthorized"   // TensorDock refuses the credentials
	// NoCredentials: there are none to ask TensorDock with.
	NoCredentials Class = "no_credentials"
	NoDaemon      Class = "no_daemon"   // only a running daemon can do it
	Locked        Class = "locked"      // another process holds the ledger
	Interrupted   Class = "interrupted" // the asker went away, or time ran out
	Unreachable   Class = "unreachable" // the daemon went away before it answered
	Forbidden     Class = "forbidden"   // the files are somebody else's
	Held          Class = "held"        // an operator has decided otherwise
	Replayed      Class = "replayed"    // a signed request that was taken before
	Failed        Class = "failed"
)

// Fault is why a Desk did not answer. It travels over the socket as it is.
type Fault struct {
	Class   Class    `json:"class"`
	Message string   `json:"message"`
	Word    string   `json:"word,omitempty"`  // the policy that there is not
	Known   []string `json:"known,omitempty"` // the policies there are
}

func (f *Fault) Error() string { return f.Message }

// ExitCode is the exit code of a command that ends with this fault.
func (f *Fault) ExitCode() int {
	if f.Class == Usage || f.Class == NoSuchPolicy {
		return 2
	}
	return 1
}

// status is the HTTP status that a fault is answered with.
func (f *Fault) status() int {
	switch f.Class {
	case Usage:
		return http.StatusBadRequest
	case NoSuchPolicy, NotFound:
		return http.StatusNotFound
	case DryRun, NoDaemon, Locked:
		return http.StatusConflict
	case Interrupted:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// ClassOf is the class of an error of a Desk; Failed for others, "" for nil.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	return faultOf(err).Class
}

// faultOf gives every error its class.
func faultOf(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	f = &Fault{Class: Failed, Message: err.Error()}
	for _, c := range []struct {
		err   error
		class Class
	}{
		{daemon.ErrConfig, Usage},
		{daemon.ErrNoSuchPolicy, NoSuchPolicy},
		{daemon.ErrTarget, Usage},
		{ErrReplayed, Replayed},
		{daemon.ErrDryRun, DryRun},
		{daemon.ErrUnauthorized, Unauthorized},
		{ledger.ErrNoSuchIntent, NotFound},
		{ledger.ErrNoSuchCycle, NotFound},
		{ledger.ErrLocked, Locked},
		{ledger.ErrExists, Usage},
		{fs.ErrPermission, Forbidden},
		{daemon.ErrCredentials, NoCredentials},
		{context.Canceled, Interrupted},
		{context.DeadlineExceeded, Interrupted},
	} {
		if errors.Is(err, c.err) {
			f.Class = c.class
			break
		}
	}
	return f
}
