package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// table prints lines and columns for people. Nothing that came from the market
// can move the cursor or break a line.
type table struct {
	w     io.Writer
	width int      // of a line at most, in characters; 0 is any
	rows  [][]cell // whose columns are not over yet
	errs  []error
}

// cell is one column of a row; the text of the last gives way to its hint, the command
// that helps.
type cell struct {
	shade
	hint string
}

func newTable(w io.Writer) *table { return &table{w: w} }

// line prints a sentence; it ends the columns before it.
func (t *table) line(format string, args ...any) { t.say(unstyled, format, args...) }

// say is line in a style.
func (t *table) say(s style, format string, args ...any) {
	t.align()
	t.print(paint(t.w, s, t.cut(clean(fmt.Sprintf(format, args...)), 0)))
}

func (t *table) print(line string) {
	_, err := fmt.Fprintln(t.w, line)
	t.errs = append(t.errs, err)
}

// gap is an empty line between two parts.
func (t *table) gap() { t.line("") }

// row prints one line of columns. The last is free text of any length.
func (t *table) row(cells ...any) {
	row := make([]cell, len(cells))
	for i, c := range cells {
		switch c := c.(type) {
		case cell:
			row[i] = c
		case shade:
			row[i].shade = c
		}
		row[i].text = cmp.Or(clean(fmt.Sprint(c)), "-")
	}
	t.rows = append(t.rows, row)
}

// cut is a text that stands at a column, shortened to the table's width.
func (t *table) cut(text string, column int) string {
	if t.width <= 0 {
		return text
	}
	return shorten(text, max(t.width-column, 1))
}

// align prints the rows there are, in columns that are two blanks apart. A style has
// no width.
func (t *table) align() {
	widths := columns(t.rows)
	for _, row := range t.rows {
		var b strings.Builder
		column := 0
		for i, c := range row {
			if i == len(row)-1 || t.width > 0 && column+widths[i]+2 >= t.width { // what has no room is left out
				b.WriteString(t.last(c, column))
				break
			}
			b.WriteString(paint(t.w, c.style, c.text))
			b.WriteString(strings.Repeat(" ", widths[i]+2-utf8.RuneCountInString(c.text)))
			column += widths[i] + 2
		}
		t.print(b.String())
	}
	t.rows = nil
}

// last is the last cell of a row: what is too long is cut before its hint, unless that
// would leave next to nothing of it.
func (t *table) last(c cell, column int) string {
	const least = 20
	hint := " -> " + c.hint
	if c.hint == "" || t.width > 0 && t.width-column-utf8.RuneCountInString(hint) < min(least, utf8.RuneCountInString(c.text)) {
		return paint(t.w, c.style, t.cut(c.text, column))
	}
	return paint(t.w, c.style, t.cut(c.text, column+utf8.RuneCountInString(hint))) + hint
}

// columns are the widths of all columns but the last of each row.
func columns(rows [][]cell) []int {
	var widths []int
	for _, row := range rows {
		for i, c := range row[:max(len(row)-1, 0)] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(c.text))
		}
	}
	return widths
}

func (t *table) flush() error {
	t.align()
	return errors.Join(t.errs...)
}

// clean replaces what a terminal would obey.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || !unicode.IsPrint(r) && !unicode.IsSpace(r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) {
			return '?'
		}
		return r
	}, s)
}

// ago prints how long ago something was: "12s", "5m", "3h20m", "2d4h".
func ago(d time.Duration) string {
	d = max(0, d.Round(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm%s", d/time.Minute, rest(d%time.Minute/time.Second, "s"))
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%s", d/time.Hour, rest(d%time.Hour/time.Minute, "m"))
	}
	return fmt.Sprintf("%dd%s", d/(24*time.Hour), rest(d%(24*time.Hour)/time.Hour, "h"))
}

func rest(n time.Duration, unit string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%d%s", n, unit)
}

func seconds(n int64) string { return ago(time.Duration(n) * time.Second) }

// stamp prints a point in time, for people who compare it with a log.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// owned prints money that we have, spent money that is gone, to the cent and
// rounded against us.
func owned(m market.Maybe[market.Amount]) string {
	a, ok := m.Get()
	if !ok {
		return "unknown"
	}
	return market.Amount(market.Rate(a).FloorCent()).String()
}

func spent(a market.Amount) string { return market.Amount(market.Rate(a).CeilCent()).String() }

// gpus prints "4x geforcertx4090-pcie-24gb".
func gpus(m market.GPUModel, s market.Shape) string {
	if s.GPUs == 0 {
		return string(m)
	}
	return fmt.Sprintf("%dx %s", s.GPUs, m)
}

// sized prints what an action is about: of a container, the number of replicas sent.
func sized(k plan.ActionKind, replicas int, size string) string {
	switch k {
	case plan.ContainerDeploy:
		return fmt.Sprintf("%d x %s", replicas, size)
	case plan.ContainerScale:
		return fmt.Sprintf("send %d: %s", replicas, size)
	}
	return size
}

// bid prints a spot bid, or that there is none.
func bid(r market.Rate) string {
	if r == 0 {
		return "-"
	}
	return r.String()
}

func fleet(policy string) string {
	if policy == "" {
		return "(all)"
	}
	return policy
}

// standings prints where each policy is.
func (t *table) standings(all []plan.Standing) {
	if len(all) == 0 {
		t.line("no policies")
		return
	}
	t.row("POLICY", "TARGET", "READY", "BOOTING", "OUTBID/STOPPED", "LEAVING", "NOW", "AFTER", "STATE")
	for _, s := range all {
		state := shade{caution, "open"}
		if s.Satisfied {
			state = shade{good, "satisfied"}
		}
		t.row(s.Policy, s.Target, s.Ready, s.Booting, s.Dead, s.Leaving, s.Before, s.After, state)
	}
	t.moved(all)
}

// notDone prints the holds, if there are any, as a part of their own.
func (t *table) notDone(all []plan.Hold) {
	if len(all) > 0 {
		t.gap()
		t.line("not done:")
		t.holds(all)
	}
}

func (t *table) holds(all []plan.Hold) {
	t.row("POLICY", "MACHINE", "REASON", "WHY")
	for _, h := range all {
		t.row(fleet(h.Policy), h.Machine, h.Reason.Code, h.Reason.Text)
	}
}

func (t *table) pauses(all []plan.Pause, now time.Time) {
	for i := range all {
		t.say(caution, "  %s", pausedText(&all[i], now))
	}
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// place is where a machine stands.
func place(m *control.Machine) string {
	if s := m.Location.String(); s != "" {
		return s
	}
	return m.Host
}
