package main

import (
	"io"

	"golang.org/x/term"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// style is how a text looks where there are colours.
type style string

const (
	unstyled style = ""
	good     style = "32" // green: as it should be
	caution  style = "33" // yellow: on its way, or to be looked at
	bad      style = "31" // red: wrong
)

// tinted is an output that takes colours. Every other output stays as it is: this
// type is the only way to a colour.
type tinted struct{ screen }

// screen is an output that may be a terminal.
type screen interface {
	io.Writer
	Fd() uintptr
}

// tint is w with colours, if it is a terminal that takes them and nobody minds.
func tint(w io.Writer, refused bool, getenv func(string) string) io.Writer {
	s, ok := w.(screen)
	if !ok || refused || getenv("NO_COLOR") != "" || getenv("TERM") == "dumb" || !term.IsTerminal(int(s.Fd())) {
		return w
	}
	return tinted{s}
}

// paint is the text in its style, if w takes colours.
func paint(w io.Writer, s style, text string) string {
	if _, ok := w.(tinted); !ok || s == unstyled || text == "" {
		return text
	}
	return "\x1b[" + string(s) + "m" + text + "\x1b[0m"
}

// shade is a cell of a table with its style.
type shade struct {
	style style
	text  string
}

func (s shade) String() string { return s.text }

// shaded gives a word the style of those that it means.
func shaded[T ~string](word T, styleOf func(T) style) shade {
	return shade{styleOf(word), string(word)}
}

// machineStyle is for what statusOf says, too.
func machineStyle(s string) style {
	switch market.Status(s) {
	case market.StatusRunning:
		return good
	case market.StatusOutbid, market.StatusUnknown, market.StatusError:
		return bad
	}
	return caution
}

func intentStyle(s plan.IntentState) style {
	switch s {
	case plan.IntentConfirmed:
		return good
	case plan.IntentRefused, plan.IntentFailed, plan.IntentExpired:
		return bad
	case plan.IntentUnknown:
		return caution
	}
	return unstyled
}

func severityStyle(s policy.Severity) style {
	if s == policy.SeverityError {
		return bad
	}
	return caution
}
