package policy

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Schedule says when cycles start. It is a pure function of time.
type Schedule interface {
	// Next is the first run after now.
	Next(now time.Time) time.Time
	// Interval is the longest time between two runs from now on: how long money
	// can be spent before anybody looks again.
	Interval(now time.Time) time.Duration
}

// ParseSchedule reads "@every DURATION" (whole seconds, at least one), another
// descriptor such as "@hourly", or a cron line of five fields. A line may begin
// with "CRON_TZ=ZONE " or "TZ=ZONE "; it is UTC otherwise.
//
// It guards robfig/cron, which panics on a zone without a line, takes every
// nonsense interval for one second and accepts days that never come.
func ParseSchedule(spec string) (Schedule, error) {
	zone, line, err := splitZone(strings.TrimSpace(spec))
	if err != nil {
		return nil, err
	}
	if every, ok := strings.CutPrefix(line, "@every"); ok {
		return parseEvery(strings.TrimSpace(every))
	}
	parsed, err := parseCron("CRON_TZ=" + zone + " " + line)
	if err != nil {
		return nil, err
	}
	s, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("%q is not a cron line", spec)
	}
	// Any year will do to find out whether there is a next run at all; a leap year
	// lies ahead of this one.
	if s.Next(time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)).IsZero() {
		return nil, errors.New("it never fires: there is no such day")
	}
	return cronLine{s}, nil
}

func splitZone(spec string) (zone, line string, err error) {
	rest, tz := strings.CutPrefix(spec, "CRON_TZ=")
	if !tz {
		rest, tz = strings.CutPrefix(spec, "TZ=")
	}
	if !tz {
		return "UTC", spec, nil
	}
	zone, line, ok := strings.Cut(rest, " ")
	if line = strings.TrimSpace(line); !ok || line == "" {
		return "", "", errors.New("there is a time zone but no schedule after it")
	}
	if !knownZone(zone) {
		return "", "", fmt.Errorf("unknown time zone %q", short(zone))
	}
	return zone, line, nil
}

// knownZone says whether the database has a zone of this name. "Local" would mean
// something else on every machine.
func knownZone(name string) bool {
	_, err := time.LoadLocation(name)
	return err == nil && name != "" && name != "Local"
}

func parseEvery(s string) (Schedule, error) {
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("@every takes a duration like 1m, not %q", short(s))
	case d < time.Second:
		return nil, fmt.Errorf("@every %s is too often: at least 1s", s)
	case d%time.Second != 0:
		return nil, fmt.Errorf("@every %s is not a whole number of seconds", s)
	}
	return everyLine{cron.ConstantDelaySchedule{Delay: d}}, nil
}

func parseCron(spec string) (s cron.Schedule, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("it is not a cron line")
		}
	}()
	return cron.ParseStandard(spec)
}

type everyLine struct{ cron.ConstantDelaySchedule }

func (e everyLine) Interval(time.Time) time.Duration { return e.Delay }

type cronLine struct{ *cron.SpecSchedule }

// Interval looks four years ahead: a leap year is among them. The longest gap is
// within a day or between the last run of one day and the first of another.
func (c cronLine) Interval(now time.Time) time.Duration {
	const horizon = 4*366*24*time.Hour + 24*time.Hour
	first := c.Next(now)
	if first.IsZero() {
		return horizon
	}
	longest := c.withinDay(first)
	for t := first; t.Before(now.Add(horizon)); {
		end := c.lastOfDay(t)
		next := c.Next(end)
		if next.IsZero() {
			return max(longest, horizon)
		}
		longest = max(longest, next.Sub(end))
		t = next
	}
	return longest
}

// withinDay is the longest gap between the runs of one day; every day that has
// runs has the same.
func (c cronLine) withinDay(t time.Time) time.Duration {
	t = t.In(c.zone())
	start := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
	tomorrow := start.AddDate(0, 0, 1)
	t = start.Add(-time.Second)
	longest := time.Duration(0)
	for t = c.Next(t); ; {
		next := c.Next(t)
		if next.IsZero() || !next.Before(tomorrow) {
			return longest
		}
		longest, t = max(longest, next.Sub(t)), next
	}
}

func (c cronLine) lastOfDay(t time.Time) time.Time {
	const stars = 1<<63 - 1 // bit 63 marks a "*"
	highest := func(b uint64) int { return bits.Len64(b&stars) - 1 }
	l := t.In(c.zone())
	end := time.Date(l.Year(), l.Month(), l.Day(), highest(c.Hour), highest(c.Minute), highest(c.Second), 0, l.Location())
	if end.Before(t) { // a day on which the clock changed
		return t
	}
	return end
}

func (c cronLine) zone() *time.Location { return c.Location }
