package web

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// words are what templates may call.
func (s *site) words() template.FuncMap {
	return template.FuncMap{
		"ago": ago, "when": when, "stamp": stamp, "clock": shortTime, "machine": zeroTime,
		"rate": rate, "maybeRate": maybeRate, "spent": spent, "owned": owned, "gpus": gpus, "state": stateOf, "place": placeOf,
		"policyPath": policyPath, "machinePath": machinePath, "asset": s.asset,
		"plural": plural, "command": command, "join": strings.Join, "seconds": func(n int64) string { return ago(time.Duration(n) * time.Second) },
		"intentMood": intentMood, "actionWord": actionWord, "fleetOf": fleetOf, "hasProblem": func(t []trouble) bool { return len(t) > 0 && t[0].Mood != calm },
		"percent": func(part, whole float64) string { return percentOf(part, whole) }, "list": func(all ...string) []string { return all },
		"short": shortened, "stateMood": stateMood, "addr": func(m control.Machine) *control.Machine { return &m },
	}
}

// asset is the path of a file in static, under a name that changes with it.
func (s *site) asset(name string) string { return "/static/" + name + "?v=" + s.versions[name] }

// ago prints how long something took, or is past: "12s", "5m", "3h20m", "2d4h".
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

// stamp prints a point in time, for people who compare it with a log.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// shortTime prints a point in time without the day if it is of the same day.
func shortTime(t, now time.Time) string {
	if t.UTC().Format(time.DateOnly) == now.UTC().Format(time.DateOnly) {
		return t.UTC().Format("15:04:05")
	}
	return t.UTC().Format("Jan 2 15:04")
}

func zeroTime(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// moment is a point in time as a <time> shows it.
type moment struct {
	At   time.Time
	Text string
}

// when says how long ago something was, or in how long it will be.
func when(t, now time.Time) moment {
	switch {
	case t.IsZero():
		return moment{}
	case t.After(now):
		return moment{t, "in " + ago(t.Sub(now))}
	}
	return moment{t, ago(now.Sub(t)) + " ago"}
}

// rate prints an hourly rate to a tenth of a cent.
func rate(r market.Rate) string {
	if r >= market.MaxRate {
		return "unknown"
	}
	return fmt.Sprintf("$%.3f/h", r.Float())
}

func maybeRate(m market.Maybe[market.Rate]) string {
	if r, ok := m.Get(); ok {
		return rate(r)
	}
	return "–"
}

// owned prints money that we have, spent money that is gone, to the cent and rounded
// against us.
func owned(m market.Maybe[market.Amount]) string {
	a, ok := m.Get()
	if !ok {
		return "unknown"
	}
	return market.Amount(market.Rate(a).FloorCent()).String()
}

func spent(a market.Amount) string { return market.Amount(market.Rate(a).CeilCent()).String() }

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	if strings.HasSuffix(word, "y") {
		return fmt.Sprintf("%d %sies", n, word[:len(word)-1])
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func percentOf(part, whole float64) string {
	if whole == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*part/whole)
}

// gpus prints "4 × geforcertx4090-pcie-24gb".
func gpus(m market.GPUModel, s market.Shape) string {
	switch {
	case m == "" && s.GPUs == 0:
		return "–"
	case s.GPUs == 0:
		return string(m)
	case m == "":
		return plural(s.GPUs, "GPU")
	}
	return fmt.Sprintf("%d × %s", s.GPUs, m)
}

// short is a name that is too long for a column: its two ends.
func shortened(s string) string {
	if r := []rune(s); len(r) > 24 {
		return string(r[:10]) + "…" + string(r[len(r)-8:])
	}
	return s
}

func placeOf(m *control.Machine) string {
	if s := m.Location.String(); s != "" {
		return s
	}
	return m.Host
}

// stateOf is the market's word for a machine, or ours where the market has none.
func stateOf(m *control.Machine) string {
	switch {
	case m.Leaving != nil:
		return "deleting"
	case m.SeenAt.IsZero():
		return "ordered"
	case m.Unproven && m.Status == market.StatusRunning:
		return "running, unproven"
	case m.Drain != nil:
		return "draining"
	case m.Parked == nil:
	case m.Parked.Start != 0:
		return "starting again"
	case m.Parked.Done:
		return "parked, " + string(m.Status)
	default:
		return "parking"
	}
	return string(m.Status)
}

// Moods are how things are marked, always beside a word that says the same.
type mark string

const (
	calm    mark = "calm"
	good    mark = "good"
	caution mark = "caution"
	bad     mark = "bad"
)

func stateMood(word string) mark {
	switch market.Status(word) {
	case market.StatusRunning:
		return good
	case market.StatusOutbid, market.StatusUnknown, market.StatusError:
		return bad
	}
	return caution
}

func intentMood(s plan.IntentState) mark {
	switch s {
	case plan.IntentConfirmed:
		return good
	case plan.IntentUnknown, plan.IntentFailed, plan.IntentExpired:
		return bad
	case plan.IntentRefused:
		return caution
	}
	return calm
}

// actionWord says what an action does as people would.
func actionWord(k plan.ActionKind) string { return strings.ReplaceAll(string(k), "_", " ") }

func fleetOf(policy string) string {
	if policy == "" {
		return "whole fleet"
	}
	return policy
}

func policyPath(name string) string  { return "/policies/" + url.PathEscape(name) }
func machinePath(name string) string { return "/machines/" + url.PathEscape(name) }

// command is what is typed on the machine that tdscaler runs on.
func command(s control.Status, words ...string) string {
	parts := append([]string{"tdscaler"}, words...)
	if s.Config != "" {
		parts = append(parts, "--config", s.Config)
	}
	for i, p := range parts {
		parts[i] = quoted(p)
	}
	return strings.Join(parts, " ")
}

// quoted is a word as a shell reads it.
func quoted(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@,+", r)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// wanted is a machine of a policy in one line.
func wanted(p *policy.Policy) string {
	s := p.Shape
	return fmt.Sprintf("%s, %s, at least %d vCPUs, %d GB of RAM and %d GB of disk each", plural(s.GPUs, "GPU"), p.Capacity, s.VCPUs, s.RAM, s.Storage)
}
