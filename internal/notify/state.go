package notify

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// State is what is firing, and what each sink was told of it. It is all that a restart
// must not forget.
type State struct {
	Owner   string            `json:"owner,omitempty"`
	Mode    policy.Mode       `json:"mode,omitempty"`
	Alerts  map[string]*Alert `json:"alerts,omitempty"`  // by key
	Sinks   map[string]*Told  `json:"sinks,omitempty"`   // by name
	Outbids []Outbid          `json:"outbids,omitempty"` // of the last hour
	Now     map[string]string `json:"now,omitempty"`     // what policies have
}

// Alert is a condition that holds.
type Alert struct {
	Condition
	Since time.Time `json:"since"`
	// Firing: it has held for long enough to be told.
	Firing bool `json:"firing,omitempty"`
}

// Outbid counts the machines of a policy that were outbid at a look.
type Outbid struct {
	At     time.Time `json:"at"`
	Policy string    `json:"policy"`
	N      int       `json:"n"`
}

// Told is what one sink was told.
type Told struct {
	Groups map[policy.NotifyEvent]*Group `json:"groups,omitempty"`
	Sent   []time.Time                   `json:"sent,omitempty"` // messages of the last hour
	// Late counts the changes since messages are held back; 0 while they are not.
	Late int `json:"late,omitempty"`
}

// Group is what one sink was told of one event, and what it is still to be told.
//
// Invariant: Over holds nothing whose firing the sink was not told of.
type Group struct {
	Firing  map[string]told `json:"firing,omitempty"` // by key: that the sink knows of
	Over    []Item          `json:"over,omitempty"`
	Notices []Item          `json:"notices,omitempty"`
	Lost    int             `json:"lost,omitempty"` // notices beyond mostNotices
	Due     time.Time       `json:"due,omitzero"`   // when what is new is told; zero where nothing is
	At      time.Time       `json:"at,omitzero"`    // of the last message
	Retry   time.Time       `json:"retry,omitzero"` // not before: the last try failed
	// next is when there is something to say without a look; zero is never.
	next time.Time
	// flight is the message that is under way; after a restart it is sent again.
	flight *flight
}

// told is how a firing was told.
type told struct {
	Severity policy.NotifySeverity `json:"severity"`
	Level    int                   `json:"level,omitempty"`
	Title    string                `json:"title"` // for telling that it is over
	Since    time.Time             `json:"since"`
}

// worse says whether an alert has become worse since it was told.
func (t told) worse(a *Alert) bool {
	return a.Level > t.Level || a.Severity != t.Severity && a.Severity.AtLeast(t.Severity)
}

// flight is a message that was handed out and has no outcome yet.
type flight struct {
	firing  map[string]told
	over    []Item
	notices int
	lost    int
}

// mostNotices are kept for one message; what is more is counted.
const mostNotices = 50

// sound says whether Step can go on from what was read: a file that was tampered with must
// not end the process that holds the machines.
func (s *State) sound() bool {
	for _, a := range s.Alerts {
		if a == nil {
			return false
		}
	}
	for _, t := range s.Sinks {
		if t == nil {
			return false
		}
		for _, g := range t.Groups {
			if g == nil || slices.ContainsFunc(slices.Collect(maps.Keys(g.Firing)), func(key string) bool { return strings.Count(key, "\x1f") < 2 }) {
				return false
			}
		}
	}
	return true
}

// clone copies a State: Step changes no argument.
func (s State) clone() State {
	out := s
	out.Alerts = map[string]*Alert{}
	for k, a := range s.Alerts {
		c := *a
		out.Alerts[k] = &c
	}
	out.Sinks = map[string]*Told{}
	for name, t := range s.Sinks {
		c := *t
		c.Sent = slices.Clone(t.Sent)
		c.Groups = map[policy.NotifyEvent]*Group{}
		for e, g := range t.Groups {
			n := *g
			if n.Firing = maps.Clone(g.Firing); n.Firing == nil { // as it comes from the disk
				n.Firing = map[string]told{}
			}
			n.Over, n.Notices = slices.Clone(g.Over), slices.Clone(g.Notices)
			c.Groups[e] = &n
		}
		out.Sinks[name] = &c
	}
	out.Outbids = slices.Clone(s.Outbids)
	return out
}

// group finds or makes the group of an event at a sink.
func (s *State) group(sink string, e policy.NotifyEvent) *Group {
	t := s.Sinks[sink]
	if t == nil {
		t = &Told{}
		s.Sinks[sink] = t
	}
	if t.Groups == nil {
		t.Groups = map[policy.NotifyEvent]*Group{}
	}
	g := t.Groups[e]
	if g == nil {
		g = &Group{}
		t.Groups[e] = g
	}
	if g.Firing == nil {
		g.Firing = map[string]told{}
	}
	return g
}

// empty says whether there is nothing to remember of a group.
func (g *Group) empty() bool {
	return len(g.Firing) == 0 && len(g.Over) == 0 && len(g.Notices) == 0 && g.Lost == 0 && g.Due.IsZero() && g.flight == nil
}

// FiringAlerts are those that have held for long enough, by key.
func (s *State) FiringAlerts() (out []*Alert) {
	for _, key := range slices.Sorted(maps.Keys(s.Alerts)) {
		if a := s.Alerts[key]; a.Firing {
			out = append(out, a)
		}
	}
	return out
}

// ToldOf are the sinks that were told that an alert fires, sorted.
func (s *State) ToldOf(a *Alert) []string {
	out := []string{}
	for _, name := range slices.Sorted(maps.Keys(s.Sinks)) {
		if g := s.Sinks[name].Groups[a.Event]; g != nil {
			if _, knows := g.Firing[a.key()]; knows {
				out = append(out, name)
			}
		}
	}
	return out
}
