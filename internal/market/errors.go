package market

import "errors"

// Class sorts every failure of the market by what the caller does next.
type Class string

// Classes of failure.
const (
	// ClassDone: the state asked for already holds (stopping what is stopped,
	// deleting what is gone). Callers treat it as success.
	ClassDone Class = "already_done"
	// ClassNoCapacity: this host cannot serve the order now; try the next offer.
	ClassNoCapacity Class = "no_capacity"
	// ClassBidRefused: the bid is too low or the GPUs are taken; raise or go on.
	ClassBidRefused Class = "bid_refused"
	// ClassUnauthorized: the credentials are wrong; nothing else will work either.
	ClassUnauthorized Class = "unauthorized"
	// ClassRateLimited: too many requests; wait, the request had no effect.
	ClassRateLimited Class = "rate_limited"
	// ClassNotFound: the machine or host does not exist (any more).
	ClassNotFound Class = "not_found"
	// ClassAmbiguous: a write was sent and its answer was lost or unreadable: it
	// may have happened. Never retried; a later look decides.
	ClassAmbiguous Class = "ambiguous"
	// ClassShapeChanged: a read was answered in a form we do not understand.
	ClassShapeChanged Class = "shape_changed"
	// ClassRefused: a definite no for another reason (a bad parameter, too little
	// balance); the request had no effect.
	ClassRefused Class = "refused"
	// ClassUnavailable: no usable answer to a read, or a write that certainly was
	// not sent; try again later.
	ClassUnavailable Class = "unavailable"
)

// Error is a failure of the market with its class. Its text never holds secrets.
type Error struct {
	Op     string // the operation, e.g. "deploy", "list machines"
	Class  Class
	Detail string      // what the market said, bounded and redacted
	Hint   Maybe[Rate] // a price the market named in a refusal
	Err    error       // underlying cause, may be nil
}

func (e *Error) Error() string {
	s := e.Op + ": " + string(e.Class)
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// ClassOf is the class of an error of the market; ClassUnavailable for others,
// and "" for nil.
func ClassOf(err error) Class {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return ClassUnavailable
}
