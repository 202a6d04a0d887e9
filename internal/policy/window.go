package policy

import (
	"errors"
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
)

// Window is a span of time that comes again and again, by the clock on the wall of
// its zone.
//
// It holds from a start up to, but without, its end: where one ends at the instant
// another begins, one of them holds. A start or end that the clock skips happens when
// it skips; one that the clock shows twice happens the first time.
type Window struct {
	From string `json:"from"` // cron, five fields
	// For is how long it lasts as time passes; Until is a cron line instead. Exactly one
	// of them is there.
	For      time.Duration `json:"for,omitempty"`
	Until    string        `json:"until,omitempty"`
	Zone     Zone          `json:"time_zone,omitempty"`
	Machines int           `json:"machines"`
}

// String tells when the window holds.
func (w *Window) String() string {
	zone := string(w.Zone)
	if zone == "" {
		zone = "UTC"
	}
	if w.Until != "" {
		return fmt.Sprintf("%q until %q %s", w.From, w.Until, zone)
	}
	return fmt.Sprintf("%q for %s %s", w.From, shortDuration(w.For), zone)
}

// shortDuration is without the zeros at the end: 12h, not 12h0m0s.
func shortDuration(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d%time.Minute == 0:
		return fmt.Sprintf("%dm", d/time.Minute)
	}
	return d.String()
}

// At says whether the window holds at that time, and then when it ends. Of windows
// that overlap themselves the last to begin counts: it ends last. The end is zero
// where there is none within five years.
func (w *Window) At(now time.Time) (holds bool, end time.Time) {
	from, err := wallCron(w.From)
	if err != nil { // the parser has refused it
		return false, time.Time{}
	}
	loc := w.Zone.Location()
	start, ok := lastRun(from, shownBy(now, loc))
	if !ok {
		return false, time.Time{}
	}
	if end = w.endOf(start, loc); end.IsZero() {
		return true, end
	}
	return now.Before(end), end
}

// endOf is when the window that begins at a reading of the wall clock ends.
func (w *Window) endOf(start time.Time, loc *time.Location) time.Time {
	if w.Until == "" {
		return shows(start, loc).Add(w.For)
	}
	until, err := wallCron(w.Until)
	if err != nil {
		return shows(start, loc)
	}
	wall := until.Next(start)
	if wall.IsZero() {
		return wall
	}
	return shows(wall, loc)
}

// Edge is when the window next begins or ends; zero where it never does again.
func (w *Window) Edge(now time.Time) time.Time {
	from, err := wallCron(w.From)
	if err != nil {
		return time.Time{}
	}
	loc := w.Zone.Location()
	next := from.Next(shownBy(now, loc))
	if !next.IsZero() {
		next = shows(next, loc)
	}
	if holds, end := w.At(now); holds && !end.IsZero() && (next.IsZero() || end.Before(next)) {
		next = end
	}
	return next
}

// A reading of a wall clock is kept as the same reading in UTC, where every minute
// comes once.

// wallCron reads a cron line as one of readings.
func wallCron(line string) (*cron.SpecSchedule, error) {
	parsed, err := parseCron("CRON_TZ=UTC " + line)
	if err != nil {
		return nil, err
	}
	s, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, errors.New("@every has no place on the clock: write five fields")
	}
	if s.Next(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, errors.New("it never fires: there is no such day")
	}
	return s, nil
}

// lastRun is the last run at or before a reading; there may be none in five years.
func lastRun(s *cron.SpecSchedule, at time.Time) (time.Time, bool) {
	lo, hi := at.AddDate(-5, 0, 0), at
	if first := s.Next(lo); first.IsZero() || first.After(at) {
		return time.Time{}, false
	}
	for {
		run := s.Next(lo)
		if next := s.Next(run); next.IsZero() || next.After(at) {
			return run, true
		}
		mid := run.Add(hi.Sub(run) / 2)
		if next := s.Next(mid); !next.IsZero() && !next.After(at) {
			lo = mid
		} else {
			lo, hi = run, mid
		}
	}
}

func wallOf(t time.Time, loc *time.Location) time.Time {
	_, offset := t.In(loc).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// shownBy is the latest reading that the wall clock has shown by that time: before a
// clock that was set back has caught up, the last one before it was.
func shownBy(now time.Time, loc *time.Location) time.Time {
	wall := wallOf(now, loc)
	if set, _ := now.In(loc).ZoneBounds(); !set.IsZero() {
		if before := wallOf(set.Add(-time.Nanosecond), loc); before.After(wall) {
			return before
		}
	}
	return wall
}

// shows is when the wall clock first shows a reading, or has skipped it.
func shows(wall time.Time, loc *time.Location) time.Time {
	const farthest = 15 * time.Hour // from UTC
	offsetAt := func(t time.Time) time.Duration {
		_, offset := t.In(loc).Zone()
		return time.Duration(offset) * time.Second
	}
	early := wall.Add(-offsetAt(wall.Add(-farthest)))
	late := wall.Add(-offsetAt(wall.Add(farthest)))
	for _, t := range []time.Time{early, late} { // set back: early is the first of two
		if wallOf(t, loc).Equal(wall) {
			return t
		}
	}
	set, _ := early.In(loc).ZoneBounds()
	if set.IsZero() {
		return late
	}
	return set.UTC()
}
