package web

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// entry is one line of the timeline.
type entry struct {
	At      time.Time
	Kind    string // action, event, hold, cycle
	Word    string // which of them
	Mood    mark
	Policy  string
	Machine string
	Text    string
	Code    string
	State   string // of an action
	Intent  uint64
	Cycle   uint64
	Lasted  string // of a hold
}

type timeline struct {
	Entries  []entry
	More     int // that are not shown
	Policy   string
	Kind     string
	Since    string
	Text     string
	Policies []string
	Kinds    []choice
	Spans    []choice
	From, To time.Time
	Cycles   int
	Older    string // the link to what was before; "" if nothing was
	Newer    bool   // this is not the newest
	Live     bool
}

// choice is one of a list to choose from.
type choice struct {
	Value, Title string
	Chosen       bool
}

const (
	// window is how many cycles one page tells of, unless it is asked for a time.
	window = 360
	// mostEntries bounds a page.
	mostEntries = 400
)

// spans are the times that can be asked for.
func spans() []choice {
	return []choice{{"", "6 hours or so", false}, {"1h", "the last hour", false}, {"6h", "the last 6 hours", false}, {"24h", "the last 24 hours", false}}
}

func kinds() []choice {
	return []choice{{"", "everything", false}, {"action", "actions", false}, {"event", "events", false}, {"hold", "holds", false}, {"problem", "problems only", false}}
}

func chosen(all []choice, value string) []choice {
	for i := range all {
		all[i].Chosen = all[i].Value == value
	}
	return all
}

func (s *site) timeline(v *visitor) (any, error) {
	q := v.URL.Query()
	t := timeline{Policy: q.Get("policy"), Kind: q.Get("kind"), Since: q.Get("since"), Text: q.Get("q"), Policies: policyNames(&v.status)}
	t.Kinds, t.Spans = chosen(kinds(), t.Kind), chosen(spans(), t.Since)
	before, err := number(q.Get("before"), v.status.Cycle+1)
	if err != nil {
		return nil, err
	}
	t.Newer, t.Live = before <= v.status.Cycle, before > v.status.Cycle
	chapters, err := s.window(v, before, t.Since)
	if err != nil {
		return nil, err
	}
	t.Cycles = len(chapters)
	if len(chapters) > 0 {
		oldest := chapters[len(chapters)-1]
		t.From, t.To = oldest.StartedAt, chapters[0].StartedAt
		if oldest.Cycle > 1 && t.Since == "" {
			q.Set("before", strconv.FormatUint(oldest.Cycle, 10))
			t.Older = "?" + q.Encode()
		}
	}
	intents, err := s.intentsOf(v, chapters, t.Live)
	if err != nil {
		return nil, err
	}
	t.Entries = slices.DeleteFunc(storyOf(chapters, intents), func(e entry) bool { return !t.wants(&e) })
	if n := len(t.Entries); n > mostEntries {
		t.Entries, t.More = t.Entries[:mostEntries], n-mostEntries
	}
	return t, nil
}

// number reads a number of a query; missing it is the usual one.
func number(text string, usual uint64) (uint64, error) {
	if text == "" {
		return usual, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil || n == 0 {
		return 0, &control.Fault{Class: control.Usage, Message: "a cycle is a number from 1 on"}
	}
	return n, nil
}

// window are the cycles before one that a page tells of.
func (s *site) window(v *visitor, before uint64, since string) ([]control.Chapter, error) {
	n, first := window, time.Time{}
	if d, err := time.ParseDuration(since); err == nil && d > 0 {
		n, first = control.MaxChapters, v.now.Add(-d)
		if d <= time.Hour {
			n = window
		}
	}
	all, err := s.book.chapters(v.ctx, before, n)
	return slices.DeleteFunc(all, func(c control.Chapter) bool { return c.StartedAt.Before(first) }), err
}

// intentsOf are the actions of some cycles.
func (s *site) intentsOf(v *visitor, chapters []control.Chapter, live bool) ([]plan.Intent, error) {
	if len(chapters) == 0 {
		return nil, nil
	}
	from, to := chapters[len(chapters)-1], chapters[0]
	r := control.IntentsRequest{Since: from.StartedAt, Limit: 2000}
	if !live {
		r.Until = to.StartedAt.Add(time.Hour) // a cycle's actions are of its number, not of its minute
	}
	all, err := s.o.Desk.Intents(v.ctx, r)
	return slices.DeleteFunc(all, func(in plan.Intent) bool { return in.Cycle < from.Cycle || !live && in.Cycle > to.Cycle }), err
}

func (t *timeline) wants(e *entry) bool {
	if t.Policy != "" && e.Policy != t.Policy && e.Policy != "" {
		return false
	}
	switch t.Kind {
	case "":
	case "problem":
		if e.Mood != bad && e.Mood != caution {
			return false
		}
	default:
		if e.Kind != t.Kind {
			return false
		}
	}
	text := strings.ToLower(t.Text)
	return text == "" || strings.Contains(strings.ToLower(strings.Join([]string{e.Word, e.Policy, e.Machine, e.Text, e.Code, e.State}, " ")), text)
}

// storyOf makes one list of what was done, seen and held back, the newest first. A hold that
// goes on from cycle to cycle is one entry, where it began.
func storyOf(chapters []control.Chapter, intents []plan.Intent) (out []entry) {
	for i := range intents {
		out = append(out, actionEntry(&intents[i]))
	}
	held := map[plan.Hold]int{} // by where it is among the entries
	for i, c := range slices.Backward(chapters) {
		if c.Problem != "" {
			out = append(out, entry{At: c.StartedAt, Kind: "event", Word: "cycle ended early", Mood: bad, Text: c.Problem, Cycle: c.Cycle})
		}
		for _, e := range c.Events {
			out = append(out, eventEntry(&c, &e))
		}
		now := map[plan.Hold]int{}
		for _, h := range c.Holds {
			k := plan.Hold{Policy: h.Policy, Machine: h.Machine, Reason: plan.Reason{Code: h.Reason.Code}}
			at, on := held[k]
			if !on {
				at = len(out)
				out = append(out, entry{At: c.StartedAt, Kind: "hold", Word: "held back", Mood: calm, Policy: h.Policy, Machine: h.Machine, Text: h.Reason.Text, Code: h.Reason.Code, Cycle: c.Cycle})
			}
			now[k] = at
			out[at].Text = h.Reason.Text
			if i == 0 {
				out[at].Lasted = "still"
			}
		}
		for k, at := range held {
			if _, on := now[k]; !on {
				out[at].Lasted = "for " + ago(c.StartedAt.Sub(out[at].At))
			}
		}
		held = now
	}
	slices.SortStableFunc(out, func(a, b entry) int {
		return cmp.Or(b.At.Compare(a.At), cmp.Compare(b.Cycle, a.Cycle), cmp.Compare(b.Intent, a.Intent))
	})
	return out
}

func actionEntry(in *plan.Intent) entry {
	e := entry{
		At: in.At, Kind: "action", Word: actionWord(in.Kind), Mood: intentMood(in.State), Policy: in.Policy, Machine: in.Machine,
		Text: in.Reason.Text, Code: in.Reason.Code, State: string(in.State), Intent: in.ID, Cycle: in.Cycle,
	}
	if in.Detail != "" && !in.State.Settled() || e.Mood == bad || e.Mood == caution {
		e.Text = strings.TrimSuffix(e.Text+"; "+in.Detail, "; ")
	}
	return e
}

func eventEntry(c *control.Chapter, e *plan.Event) entry {
	return entry{
		At: e.At, Kind: "event", Word: strings.ReplaceAll(string(e.Kind), "_", " "), Mood: eventMood(e.Kind), Policy: e.Policy, Machine: e.Machine,
		Text: e.Text, Intent: e.Intent, Cycle: c.Cycle,
	}
}

func eventMood(k plan.EventKind) mark {
	switch k {
	case plan.EventReady, plan.EventWonBack, plan.EventClosed:
		return good
	case plan.EventOutbid, plan.EventAdopted, plan.EventExpired, plan.EventRebidIgnored, plan.EventNotParked, plan.EventNotStarted, plan.EventNotResized, plan.EventVeto, plan.EventWasted:
		return caution
	case plan.EventLost, plan.EventSuspicious, plan.EventBreaker, plan.EventBill, plan.EventOutage, plan.EventAlarm, plan.EventHookFailed, plan.EventClock:
		return bad
	}
	return calm
}

func cyclePath(n uint64) string { return "/cycles/" + strconv.FormatUint(n, 10) }

// intentPage is one entry of the ledger.
type intentPage struct {
	plan.Intent
	Took time.Duration
	Run  string
}

func (i intentPage) title() string { return fmt.Sprintf("Action %d", i.ID) }

func (s *site) intent(v *visitor) (any, error) {
	id, err := strconv.ParseUint(v.PathValue("id"), 10, 63)
	if err != nil {
		return nil, nobody("an action is known by its number")
	}
	in, err := s.o.Desk.Intent(v.ctx, control.IntentRequest{ID: id})
	p := intentPage{Intent: in, Run: command(v.status, "ledger", "show", strconv.FormatUint(id, 10))}
	if !in.AnswerAt.IsZero() {
		p.Took = in.AnswerAt.Sub(in.At)
	}
	return p, err
}

// cyclePage is what was decided in one cycle, and on what.
type cyclePage struct {
	R        *plan.Report
	Took     time.Duration
	Prev     uint64
	Next     uint64
	Hosts    int
	Machines int
	Commands []step
}

func (c cyclePage) title() string { return fmt.Sprintf("Cycle %d", c.R.Cycle) }

func (s *site) cycle(v *visitor) (any, error) {
	n, err := strconv.ParseUint(v.PathValue("cycle"), 10, 63)
	if err != nil || n == 0 {
		return nil, nobody("a cycle is known by its number")
	}
	r, err := s.o.Desk.Cycle(v.ctx, control.CycleRequest{Cycle: n})
	if err != nil {
		return nil, err
	}
	p := cyclePage{R: &r, Took: r.FinishedAt.Sub(r.StartedAt), Prev: n - 1, Hosts: len(r.Input.Snapshot.Hosts.Value), Machines: len(r.Input.History.Machines)}
	if n < v.status.Cycle {
		p.Next = n + 1
	}
	for i := range r.Input.Policies {
		name := r.Input.Policies[i].Name
		p.Commands = append(p.Commands, step{"Why " + name + " was decided so", command(v.status, "explain", name, "--cycle", strconv.FormatUint(n, 10))})
	}
	p.Commands = p.Commands[:min(len(p.Commands), 12)]
	return p, nil
}

// timelineOf is the path of the timeline of one policy.
func timelineOf(policy string) string {
	return "/timeline?" + url.Values{"policy": {policy}}.Encode()
}
