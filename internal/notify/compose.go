package notify

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// mostItems are written out in one message; the others are counted.
const mostItems = 12

func (c *Condition) item(s Status, since time.Time) Item {
	return Item{
		Event: c.Event, Policy: c.Policy, Detail: c.Detail, Status: s, Severity: c.Severity, Since: since.UTC(),
		Title: line(c.Title), Reason: cut(line(c.Reason), mostReason), Figures: c.Figures, Command: c.Command, Runbook: c.Runbook,
	}
}

// mostReason is how many characters of a reason are told: markets and disks have much to
// say.
const mostReason = 400

// compose makes the message of one event. late is how many messages were held back before
// it, because enough were sent.
func compose(e policy.NotifyEvent, owner string, mode policy.Mode, now time.Time, items []Item, late int) Message {
	slices.SortStableFunc(items, func(a, b Item) int {
		return cmp.Or(statusOrder(a.Status)-statusOrder(b.Status), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Detail, b.Detail))
	})
	m := Message{Event: e, Status: Resolved, Severity: policy.Info, Owner: owner, Mode: mode, At: now.UTC(), Items: items}
	if len(items) > 0 {
		m.Status, m.Policy = items[0].Status, items[0].Policy
	}
	for _, i := range items {
		if i.Status == m.Status && i.Severity.AtLeast(m.Severity) {
			m.Severity = i.Severity
		}
		if i.Policy != m.Policy {
			m.Policy = ""
		}
	}
	m.Title = "tdscaler " + owner + ": " + titleOf(e, items)
	m.Body = bodyOf(items, now, late)
	return m.identified()
}

// statusOrder has what goes on first.
func statusOrder(s Status) int { return slices.Index([]Status{Firing, Notice, Resolved}, s) }

func titleOf(e policy.NotifyEvent, items []Item) string {
	if len(items) == 1 {
		return over(&items[0]) + items[0].Title
	}
	var parts []string
	for _, s := range []Status{Firing, Notice, Resolved} {
		var whose []string
		n := 0
		for _, i := range items {
			if i.Status == s {
				n++
				whose = append(whose, cmp.Or(strings.Trim(i.Policy+" "+i.Detail, " "), "all"))
			}
		}
		if n == 0 {
			continue
		}
		whose = slices.Compact(whose)
		if len(whose) > mostItems {
			whose = append(whose[:mostItems], fmt.Sprintf("and %d more", len(whose)-mostItems))
		}
		word := ""
		if s == Resolved {
			word = "over: "
		}
		parts = append(parts, word+strings.Join(whose, ", "))
	}
	return ruleOf(e).Name + ": " + strings.Join(parts, "; ")
}

func over(i *Item) string {
	if i.Status == Resolved {
		return "over: "
	}
	return ""
}

func bodyOf(items []Item, now time.Time, late int) string {
	var blocks []string
	for i := range items {
		if i == mostItems {
			blocks = append(blocks, fmt.Sprintf("and %d more: tdscaler status", len(items)-i))
			break
		}
		blocks = append(blocks, block(&items[i], now))
	}
	if late > 0 {
		blocks = append(blocks, fmt.Sprintf("This comes late: more than notifications.max_per_hour messages were due. Changes held back meanwhile: %d.", late))
	}
	return strings.Join(blocks, "\n\n")
}

func block(i *Item, now time.Time) string {
	out := []string{over(i) + i.Title + lasted(i, now)}
	if i.Reason != "" {
		out = append(out, "why: "+i.Reason)
	}
	var figures []string
	for _, f := range i.Figures {
		figures = append(figures, f.Name+" "+f.Value)
	}
	if len(figures) > 0 {
		out = append(out, strings.Join(figures, ", "))
	}
	if i.Status == Resolved {
		return strings.Join(out, "\n")
	}
	if i.Command != "" {
		out = append(out, "type: "+i.Command)
	}
	if i.Runbook != "" {
		out = append(out, "see: "+i.Runbook)
	}
	return strings.Join(out, "\n")
}

// lasted says since when, and for how long.
func lasted(i *Item, now time.Time) string {
	end := now
	if i.Status == Resolved {
		end = i.Until
	}
	d := end.Sub(i.Since).Round(time.Minute)
	switch {
	case i.Status == Notice:
		return ""
	case i.Status == Resolved:
		return fmt.Sprintf(" (from %s, for %s)", i.Since.Format("2006-01-02 15:04 UTC"), brief(d))
	case d < time.Minute:
		return " (since " + i.Since.Format("15:04 UTC") + ")"
	}
	return fmt.Sprintf(" (since %s, %s ago)", i.Since.Format("2006-01-02 15:04 UTC"), brief(d))
}

// brief is a duration in whole minutes, without its seconds.
func brief(d time.Duration) string {
	h, m := int(d/time.Hour), int(d%time.Hour/time.Minute)
	switch {
	case h == 0:
		return fmt.Sprintf("%dm", m)
	case m == 0 || h >= 24:
		return fmt.Sprintf("%dh", h)
	}
	return fmt.Sprintf("%dh%02dm", h, m)
}
