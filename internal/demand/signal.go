package demand

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// signal says what a signal asks for now, and remembers it.
//
//	no value young enough    -> on_error: what it asked for before, its min, or what
//	                            the last value asks for
//	up to the activation     -> nothing
//	within the tolerance     -> what it asked for before
//	per_gpu                  -> value / per_gpu GPUs, rounded up to machines
//	target_value             -> machines that run x value / target_value, rounded up;
//	                            while none runs nothing can be measured: as before,
//	                            one at least
//
// between its min and max; then its windows: not more than the least of the up
// window, not less than the most of the down window.
func (r *resolver) signal(s *policy.Signal) part {
	m := r.memory(s)
	raw, why, fresh := r.asks(s, &m)
	held := m.take(s, raw, r.in.Now)
	if held != "" {
		why += fmt.Sprintf(", held at %d by the %s", m.Want*max(r.p.Shape.GPUs, 1), held)
	}
	r.memories = append(r.memories, m)
	p := part{Part: Part{Source: Signal, Name: s.Name, Why: "signal " + s.Name + ": " + why, Fresh: fresh}, machines: m.Want}
	if !m.At.IsZero() {
		p.Value, p.Age = m.Value, r.age(&m)
	}
	return p
}

// memory is what is known of a signal by now. One that is new begins with what the
// policy has: what runs is neither deleted nor doubled before the windows have passed.
func (r *resolver) memory(s *policy.Signal) Memory {
	m := Memory{Reading: Reading{Policy: r.p.Name, Signal: s.Name}}
	same := func(o *Reading) bool { return o.Policy == m.Policy && o.Signal == m.Signal }
	if i := slices.IndexFunc(r.in.Memories, func(o Memory) bool { return same(&o.Reading) }); i >= 0 {
		m = r.in.Memories[i]
		m.Highs, m.Lows = slices.Clone(m.Highs), slices.Clone(m.Lows)
	} else {
		m.Want = min(r.in.Fleet(r.p.Name).Machines, s.Max)
		m.Highs = []Level{{m.Want, r.in.Now}}
		m.Lows = []Level{{m.Want, r.in.Now}}
	}
	if m.ResolvedAt.Equal(r.in.Now) {
		m.Want = m.Before
	}
	m.Before, m.ResolvedAt = m.Want, r.in.Now
	asks := s.Prometheus.Asks()
	if m.Asks != asks { // another question: its answers say nothing about this one
		m.Reading = Reading{Policy: m.Policy, Signal: m.Signal, Asks: asks}
	}
	if i := slices.IndexFunc(r.in.Readings, func(o Reading) bool { return same(&o) && o.Asks == asks }); i >= 0 {
		m.learn(&r.in.Readings[i])
	}
	return m
}

// learn takes a reading in. A value that is no number is none, whoever let it pass.
func (m *Memory) learn(o *Reading) {
	m.Problem = clip(o.Problem)
	switch {
	case o.At.IsZero() || o.At.Before(m.At):
	case math.IsNaN(o.Value) || math.IsInf(o.Value, 0):
		m.Problem = "the value is not a number"
	default:
		m.Value, m.At = o.Value, o.At
	}
}

func (r *resolver) age(m *Memory) time.Duration { return max(0, r.in.Now.Sub(m.At)) }

// asks says how many machines a signal asks for before its windows, and why.
func (r *resolver) asks(s *policy.Signal, m *Memory) (machines int, why string, fresh bool) {
	fresh = !m.At.IsZero() && r.age(m) <= s.MaxAge
	if fresh {
		machines, why = r.wants(s, m)
		if m.Problem != "" {
			why += fmt.Sprintf(" (as of %s; %s)", stamp(m.At), m.Problem)
		}
		return machines, why, true
	}
	why = "it was not asked yet"
	switch {
	case m.Problem != "":
		why = m.Problem
	case !m.At.IsZero():
		why = fmt.Sprintf("its last value is of %s, older than %s", stamp(m.At), s.MaxAge)
	}
	r.problems = append(r.problems, fmt.Sprintf("signal %s: %s (on_error: %s)", s.Name, why, s.OnError))
	switch {
	case s.OnError == policy.OnErrorMin:
		machines = min(s.Min, s.Max)
	case s.OnError == policy.OnErrorLast && !m.At.IsZero():
		machines, _ = r.wants(s, m)
	default:
		machines = min(m.Want, s.Max)
	}
	return machines, fmt.Sprintf("%s; on_error: %s -> %d GPUs", why, s.OnError, machines*max(r.p.Shape.GPUs, 1)), false
}

// wants says how many machines a value asks for.
func (r *resolver) wants(s *policy.Signal, m *Memory) (machines int, why string) {
	gpus := max(r.p.Shape.GPUs, 1)
	if m.Value <= s.Activation {
		return 0, fmt.Sprintf("%s is not above its activation threshold %s -> 0 GPUs", number(m.Value), number(s.Activation))
	}
	var exact, ratio float64 // machines; value to what the machines asked for would take
	if s.PerGPU > 0 {
		exact = m.Value / s.PerGPU / float64(gpus)
		ratio = exact / float64(max(m.Want, 1))
		why = fmt.Sprintf("%s / %s per GPU", number(m.Value), number(s.PerGPU))
	} else {
		running := r.in.Fleet(r.p.Name).Ready
		ratio = m.Value / s.TargetValue
		exact = float64(running) * ratio
		why = fmt.Sprintf("%d GPUs x %s / %s", running*gpus, number(m.Value), number(s.TargetValue))
		if running == 0 {
			exact, ratio = float64(max(m.Want, 1)), 1
			why = fmt.Sprintf("%s, but nothing runs that it could measure", number(m.Value))
		}
	}
	machines = between(exact, max(s.Min, 1), s.Max)
	if kept := min(max(m.Want, s.Min), s.Max); m.Want > 0 && kept != machines && math.Abs(ratio-1) <= s.Tolerance {
		return kept, fmt.Sprintf("%s, within the tolerance of %d GPUs", why, kept*gpus)
	}
	return machines, fmt.Sprintf("%s -> %d GPUs", why, machines*gpus)
}

// between rounds up to whole machines and keeps to the bounds, most above all: a
// value may be as large as it likes.
func between(exact float64, least, most int) int {
	const almost = 1e-9 // 9.000000000000002 is 9: it comes from dividing
	switch {
	case exact >= float64(most):
		return most
	case !(exact > 0): // and NaN
		return min(least, most)
	}
	return min(max(int(math.Ceil(exact-almost)), least), most)
}

func number(f float64) string {
	if math.Abs(f) >= 1e15 {
		return strconv.FormatFloat(f, 'g', 4, 64)
	}
	return strconv.FormatFloat(math.Round(f*1000)/1000, 'f', -1, 64)
}

// take brings what is asked for through the windows, into Want, and says which of
// them holds it.
func (m *Memory) take(s *policy.Signal, raw int, now time.Time) (held string) {
	m.Highs = push(m.Highs, raw, now, s.Down, func(old int) bool { return old <= raw })
	m.Lows = push(m.Lows, raw, now, s.Up, func(old int) bool { return old >= raw })
	before := m.Want
	m.Want = min(max(m.Want, m.Lows[0].Machines), m.Highs[0].Machines)
	m.Want = min(m.Want, s.Max)
	switch {
	case m.Want > raw && before >= m.Want:
		return "down window until " + stamp(released(m.Highs, func(n int) bool { return n >= m.Want }).Add(s.Down))
	case m.Want < raw:
		return "up window until " + stamp(released(m.Lows, func(n int) bool { return n <= m.Want }).Add(s.Up))
	}
	return ""
}

// push notes that raw is asked for from now on. What was asked for before lasted until
// now; what is dominated can never again be the extreme of a window that ends later,
// and what ended before the window began is forgotten.
func push(levels []Level, raw int, now time.Time, window time.Duration, dominated func(int) bool) []Level {
	if n := len(levels); n > 0 {
		levels[n-1].Until = now
	}
	levels = slices.DeleteFunc(levels, func(l Level) bool { return !l.Until.After(now.Add(-window)) })
	for n := len(levels); n > 0 && dominated(levels[n-1].Machines); n-- {
		levels = levels[:n-1]
	}
	levels = append(levels, Level{raw, now})
	for len(levels) > maxLevels { // the one that holds longest holds a little longer
		levels[1].Machines = levels[0].Machines
		levels = levels[1:]
	}
	return levels
}

// maxLevels bounds what is kept of a window.
const maxLevels = 100

// released is until when the last of those levels lasted that hold a want.
func released(levels []Level, holds func(int) bool) (until time.Time) {
	for _, l := range levels {
		if holds(l.Machines) {
			until = l.Until
		}
	}
	return until
}
