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
	w    io.Writer
	rows [][]shade // whose columns are not over yet
	errs []error
}

func newTable(w io.Writer) *table { return &table{w: w} }

// line prints a sentence; it ends the columns before it.
func (t *table) line(format string, args ...any) { t.say(unstyled, format, args...) }

// say is line in a style.
func (t *table) say(s style, format string, args ...any) {
	t.align()
	t.print(paint(t.w, s, clean(fmt.Sprintf(format, args...))))
}

func (t *table) print(line string) {
	_, err := fmt.Fprintln(t.w, line)
	t.errs = append(t.errs, err)
}

// gap is an empty line between two parts.
func (t *table) gap() { t.line("") }

// row prints one line of columns. The last is free text of any length.
func (t *table) row(cells ...any) {
	row := make([]shade, len(cells))
	for i, c := range cells {
		row[i], _ = c.(shade)
		row[i].text = cmp.Or(clean(fmt.Sprint(c)), "-")
	}
	t.rows = append(t.rows, row)
}

// align prints the rows there are, in columns that are two blanks apart. A style has
// no width.
func (t *table) align() {
	widths := columns(t.rows)
	for _, row := range t.rows {
		var b strings.Builder
		for i, c := range row {
			b.WriteString(paint(t.w, c.style, c.text))
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]+2-utf8.RuneCountInString(c.text)))
			}
		}
		t.print(b.String())
	}
	t.rows = nil
}

// columns are the widths of all columns but the last of each row.
func columns(rows [][]shade) []int {
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
	for _, p := range all {
		until := "until resumed"
		if !p.Until.IsZero() {
			until = "until " + stamp(p.Until)
		}
		what := "paused"
		if p.Teardown {
			what = "torn down and paused"
		}
		t.say(caution, "  %s: %s %s ago, %s%s", fleet(p.Policy), what, ago(now.Sub(p.Since)), until, because(p.Reason))
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
