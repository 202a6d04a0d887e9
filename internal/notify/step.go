package notify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// Delivery is a message for one sink. Whoever sends it calls Settle with what became of
// it.
type Delivery struct {
	Sink    string
	Event   policy.NotifyEvent
	Message Message
}

// Step decides what is told now. look is what the last cycle has found, nil where only
// time has passed. It is pure: the same arguments give the same result.
//
//	condition    since       then
//	-----------+-----------+------------------------------------------------------------
//	holds        < For       nothing is told
//	holds        >= For      it fires: told once to each sink that takes it, group_wait
//	                         after the first of its event, group_interval after the last
//	                         message; again when it is worse, and after repeat_interval
//	is over                  told to those who were told that it fires, and to no other
//	not judged               as it was
func Step(n *policy.Notifications, s State, look *Look, now time.Time) (State, []Delivery) {
	now = now.Round(0)
	s = s.clone()
	s.tidy(n, now)
	if look != nil {
		s.see(n, look, now)
	}
	var out []Delivery
	for i := range n.Sinks {
		out = append(out, s.tell(n, &n.Sinks[i], now)...)
	}
	s.forget(now.Add(-n.GroupInterval))
	return s, out
}

// Next is when Step has something to say without a look; zero is never.
func Next(n *policy.Notifications, s *State) (next time.Time) {
	for i := range n.Sinks {
		t := s.Sinks[n.Sinks[i].Name]
		if t == nil {
			continue
		}
		for _, g := range t.Groups {
			if g.next.IsZero() || g.flight != nil {
				continue
			}
			due := g.next
			if free := t.free(n.MaxPerHour); free.After(due) {
				due = free
			}
			if next.IsZero() || due.Before(next) {
				next = due
			}
		}
	}
	return next
}

// free is when another message may be sent; zero is now.
func (t *Told) free(most int) time.Time {
	if len(t.Sent) < most {
		return time.Time{}
	}
	return t.Sent[len(t.Sent)-most].Add(time.Hour)
}

// Settle notes what became of a delivery.
func Settle(n *policy.Notifications, s State, sink string, e policy.NotifyEvent, delivered bool, now time.Time) State {
	now = now.Round(0)
	s = s.clone()
	t := s.Sinks[sink]
	if t == nil || t.Groups[e] == nil || t.Groups[e].flight == nil {
		return s // the sink has left the file meanwhile
	}
	g := s.group(sink, e)
	f := g.flight
	g.flight = nil
	if !delivered {
		g.Retry = now.Add(n.GroupInterval)
		return s
	}
	g.At, g.Due, g.Retry, t.Late = now, time.Time{}, time.Time{}, 0
	g.Over = slices.DeleteFunc(g.Over, func(i Item) bool { return slices.ContainsFunc(f.over, i.same) })
	g.Notices, g.Lost = slices.Delete(g.Notices, 0, min(f.notices, len(g.Notices))), g.Lost-f.lost
	for key, was := range f.firing {
		if a := s.Alerts[key]; a != nil && a.Firing {
			g.Firing[key] = was
		} else if !slices.ContainsFunc(g.Over, func(i Item) bool { return i.key() == key && i.Since.Equal(was.Since) }) {
			delete(g.Firing, key)
			g.Over = append(g.Over, s.overItem(e, key, was, now)) // it ended while it was told
		}
	}
	return s
}

func (i *Item) key() string {
	c := Condition{Event: i.Event, Policy: i.Policy, Detail: i.Detail}
	return c.key()
}

// same says whether two items tell of the same end.
func (i Item) same(o Item) bool { return i.key() == o.key() && i.Until.Equal(o.Until) }

// tidy forgets what an hour has made old, and what a clock that was set would keep for
// ever.
func (s *State) tidy(n *policy.Notifications, now time.Time) {
	past := func(at time.Time) bool { return at.After(now) || now.Sub(at) >= time.Hour }
	s.Outbids = slices.DeleteFunc(s.Outbids, func(o Outbid) bool { return past(o.At) })
	for name, t := range s.Sinks {
		if !slices.ContainsFunc(n.Sinks, func(k policy.Sink) bool { return k.Name == name }) {
			delete(s.Sinks, name)
			continue
		}
		t.Sent = slices.DeleteFunc(t.Sent, past)
		for _, g := range t.Groups {
			if g.At.After(now) {
				g.At = now
			}
			for _, at := range []*time.Time{&g.Due, &g.Retry} {
				if latest := now.Add(max(n.GroupWait, n.GroupInterval)); at.After(latest) {
					*at = latest
				}
			}
		}
	}
	for _, a := range s.Alerts {
		if a.Since.After(now) {
			a.Since = now
		}
	}
}

// see takes in what a look has found.
func (s *State) see(n *policy.Notifications, l *Look, now time.Time) {
	s.Owner, s.Mode, s.Now = l.Owner, l.Mode, l.Now
	for _, name := range slices.Sorted(maps.Keys(l.Outbids)) {
		s.Outbids = append(s.Outbids, Outbid{At: now, Policy: name, N: l.Outbids[name]})
	}
	holds := map[string]bool{}
	for _, c := range append(slices.Clone(l.Conditions), s.outbidOften()...) {
		holds[c.key()] = true
		a := s.Alerts[c.key()]
		if a == nil {
			a = &Alert{Since: now}
			if !c.From.IsZero() && c.From.Before(now) {
				a.Since = c.From.Round(0)
			}
			s.Alerts[c.key()] = a
		}
		a.Condition = c
		a.Firing = a.Firing || now.Sub(a.Since) >= ruleOf(c.Event).For
		if a.Firing {
			s.firesAgain(c.key(), a)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(s.Alerts)) {
		if !holds[key] && !slices.Contains(l.Unknown, s.Alerts[key].Event) {
			s.end(key, now)
		}
	}
	for _, c := range l.Happened {
		s.happened(n, &c, now)
	}
}

// outbidOften is the condition that machines were outbid more often within the hour than
// is usual.
func (s *State) outbidOften() []Condition {
	sum, by := 0, map[string]int{}
	for _, o := range s.Outbids {
		sum, by[o.Policy] = sum+o.N, by[o.Policy]+o.N
	}
	if sum <= outbidsAHour {
		return nil
	}
	c := Condition{
		Event: policy.NotifyOutbidOften, Severity: ruleOf(policy.NotifyOutbidOften).Severity, Title: fmt.Sprintf("%d machines were outbid within the hour", sum),
		Reason:  "the market has become dearer than what is bid; a higher max_gpu_hour, or spot_with_fallback, buys peace",
		Command: "tdscaler prices", Runbook: runbook(ruleOf(policy.NotifyOutbidOften).Alert),
	}
	for _, name := range slices.Sorted(maps.Keys(by)) {
		c.Figures = append(c.Figures, Figure{name, fmt.Sprint(by[name])})
	}
	return []Condition{c}
}

// firesAgain takes back that something is over where no sink was told of that yet.
func (s *State) firesAgain(key string, a *Alert) {
	for _, t := range s.Sinks {
		g := t.Groups[a.Event]
		if g == nil || g.flight != nil {
			continue
		}
		i := slices.IndexFunc(g.Over, func(i Item) bool { return i.key() == key })
		if i < 0 {
			continue
		}
		g.Firing[key] = told{Severity: g.Over[i].Severity, Title: g.Over[i].Title, Since: g.Over[i].Since}
		if a.Since.After(g.Over[i].Since) {
			a.Since = g.Over[i].Since
		}
		g.Over = slices.Delete(g.Over, i, i+1)
	}
}

// end ends an alert: who was told of it is told that it is over.
func (s *State) end(key string, now time.Time) {
	e := s.Alerts[key].Event
	delete(s.Alerts, key)
	for _, t := range s.Sinks {
		if g := t.Groups[e]; g != nil {
			if was, knows := g.Firing[key]; knows {
				delete(g.Firing, key)
				g.Over = append(g.Over, s.overItem(e, key, was, now))
			}
		}
	}
}

func (s *State) overItem(e policy.NotifyEvent, key string, was told, now time.Time) Item {
	parts := strings.Split(key, "\x1f")
	i := Item{Event: e, Policy: parts[1], Detail: parts[2], Status: Resolved, Severity: was.Severity, Since: was.Since, Until: now.UTC(), Title: was.Title}
	if e == policy.NotifyTargetMissed || e == policy.NotifyNoCapacity {
		i.Reason = s.Now[i.Policy]
	}
	return i
}

// happened keeps something to be told to all who take it.
func (s *State) happened(n *policy.Notifications, c *Condition, now time.Time) {
	for i := range n.Sinks {
		k := &n.Sinks[i]
		if !k.Takes(c.Event, c.Severity, c.Policy) {
			continue
		}
		g := s.group(k.Name, c.Event)
		if len(g.Notices) >= mostNotices {
			g.Lost++
			continue
		}
		g.Notices = append(g.Notices, c.item(Notice, now))
	}
}

// tell makes the messages that are due at one sink.
func (s *State) tell(n *policy.Notifications, k *policy.Sink, now time.Time) (out []Delivery) {
	byEvent := map[policy.NotifyEvent][]string{} // keys of what fires and is taken here
	for _, key := range slices.Sorted(maps.Keys(s.Alerts)) {
		if a := s.Alerts[key]; a.Firing && k.Takes(a.Event, a.Severity, a.Policy) {
			byEvent[a.Event] = append(byEvent[a.Event], key)
			s.group(k.Name, a.Event)
		}
	}
	t := s.Sinks[k.Name]
	if t == nil {
		return nil
	}
	for _, e := range slices.Sorted(maps.Keys(t.Groups)) {
		g := t.Groups[e]
		if g.flight != nil || !s.due(n, t, g, byEvent[e], now) {
			continue
		}
		if now.Before(t.free(n.MaxPerHour)) {
			continue
		}
		t.Sent = append(t.Sent, now)
		out = append(out, Delivery{Sink: k.Name, Event: e, Message: s.message(t, g, e, byEvent[e], now)})
	}
	return out
}

// due sets when a group's next message is to be sent, and says whether that is by now.
func (s *State) due(n *policy.Notifications, t *Told, g *Group, keys []string, now time.Time) bool {
	news := len(g.Over) > 0 || len(g.Notices) > 0
	for _, key := range keys {
		was, knows := g.Firing[key]
		news = news || !knows || was.worse(s.Alerts[key])
	}
	switch {
	case !news:
		g.Due, g.next = time.Time{}, time.Time{}
		if len(g.Firing) > 0 && len(keys) > 0 {
			g.next = g.At.Add(n.RepeatInterval)
		}
	case g.Due.IsZero():
		g.Due = later(now.Add(n.GroupWait), g.At.Add(n.GroupInterval))
		if now.Before(t.free(n.MaxPerHour)) {
			t.Late++
		}
		g.next = g.Due
	default:
		g.next = g.Due
	}
	if g.next.IsZero() {
		return false
	}
	g.next = later(g.next, g.Retry)
	return !now.Before(g.next)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Hurry makes what waits for others of its kind due now, because we stop.
func Hurry(s State, now time.Time) State {
	s = s.clone()
	for _, t := range s.Sinks {
		for _, g := range t.Groups {
			if !g.Due.IsZero() {
				g.Due, g.Retry = now.Round(0), time.Time{}
			}
		}
	}
	return s
}

// message writes down what a group has to say, and marks it as under way.
func (s *State) message(t *Told, g *Group, e policy.NotifyEvent, keys []string, now time.Time) Message {
	f := &flight{firing: map[string]told{}, over: slices.Clone(g.Over), notices: len(g.Notices), lost: g.Lost}
	items := append(slices.Clone(g.Over), g.Notices...)
	for _, key := range keys {
		a := s.Alerts[key]
		i := a.item(Firing, a.Since)
		items = append(items, i)
		f.firing[key] = told{Severity: a.Severity, Level: a.Level, Title: i.Title, Since: i.Since}
	}
	g.flight = f
	return compose(e, s.Owner, s.Mode, now, items, t.Late+g.Lost)
}

// forget drops groups about which there is nothing to remember, and whose last message was
// sent before that: the next one waits for group_interval.
func (s *State) forget(before time.Time) {
	for name, t := range s.Sinks {
		for e, g := range t.Groups {
			if g.empty() && !g.At.After(before) {
				delete(t.Groups, e)
			}
		}
		if len(t.Groups) == 0 && len(t.Sent) == 0 {
			delete(s.Sinks, name)
		}
	}
}
