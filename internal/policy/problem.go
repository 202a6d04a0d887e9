package policy

import (
	"fmt"
	"strings"
)

// Severity of a Problem. Warnings do not stop a Set from being used.
type Severity string

// Severities.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Problem is one thing wrong with a file, told so that it can be mended.
type Problem struct {
	File     string   `json:"file"`
	Line     int      `json:"line"` // from 1; 0 where the file as a whole is meant
	Column   int      `json:"column"`
	Severity Severity `json:"severity"`
	Code     string   `json:"code"`    // stable, e.g. "TD101"; each has a section in docs/problems.md
	Path     string   `json:"path"`    // e.g. "policies[0].max_gpu_hour"
	Message  string   `json:"message"` // what is wrong
	Hint     string   `json:"hint"`    // what to do
	Source   string   `json:"source"`  // the line as written
}

// String prints file:line:col, the message, the line, a caret and the hint.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", p.Line, p.Column)
	}
	fmt.Fprintf(&b, ": %s %s: %s", p.Severity, p.Code, p.Message)
	if p.Source != "" {
		// Tabs stay tabs so that the caret stands under what it means.
		pad := strings.Map(func(r rune) rune {
			if r == '\t' {
				return r
			}
			return ' '
		}, firstRunes(p.Source, p.Column-1))
		fmt.Fprintf(&b, "\n    %s\n    %s^", p.Source, pad)
	}
	if p.Hint != "" {
		fmt.Fprintf(&b, "\n    hint: %s", p.Hint)
	}
	return b.String()
}

// HasErrors says whether any Problem stops the Set from being used.
func HasErrors(ps []Problem) bool {
	for _, p := range ps {
		if p.Severity == SeverityError {
			return true
		}
	}
	return false
}

func firstRunes(s string, n int) string {
	for i := range s {
		if n <= 0 {
			return s[:i]
		}
		n--
	}
	return s
}
