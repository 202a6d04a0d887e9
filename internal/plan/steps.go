package plan

import (
	"fmt"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// stepTolerance is by how much the time of day may differ from the time that truly
// passed before it counts as set.
const stepTolerance = 2 * time.Second

// monthStep is how far the clock must be set for other days' spend to follow it. A
// second's correction at the turn of a month must not cost the new month's money.
const monthStep = time.Hour

// ClockMark is what a look left for the next one to tell whether the time of day was
// set meanwhile.
type ClockMark struct {
	Boot string        `json:"boot,omitempty"` // names the counting of Up
	Up   time.Duration `json:"up"`             // on a clock that nobody can set ...
	At   time.Time     `json:"at,omitzero"`    // ... when it was this time of day
	Seen time.Time     `json:"seen,omitzero"`  // the time of day of the last look
}

// steady finds out whether the clock was set since the last look, and by how much.
// The look is then booked by the calendar of the last one, as if nobody had touched
// the clock: ages are what they are, and no time is charged that did not pass. Only
// when that is done does turn take everything over to the new calendar.
//
//	same boot       what passed is known exactly, over restarts of the process too
//	another boot    a time of day that went on is believed; one that went back was set
//	no such clock   the same
func (o *observer) steady() (step time.Duration) {
	mark, now := &o.h.Clock, o.l.Now
	if mark.Seen.IsZero() {
		*mark = ClockMark{Boot: o.l.Boot, Up: o.l.Up, At: now, Seen: now}
		return 0
	}
	should := now
	same := mark.Boot != "" && mark.Boot == o.l.Boot && o.l.Up >= mark.Up
	switch {
	case same:
		should = mark.At.Add(o.l.Up - mark.Up)
	case now.Before(mark.Seen):
		should = mark.Seen
	}
	if step = now.Sub(should); step.Abs() < stepTolerance {
		step = 0
	}
	if !same || step != 0 {
		mark.Boot, mark.Up, mark.At = o.l.Boot, o.l.Up, now
	}
	mark.Seen = now
	o.l.Now = now.Add(-step)
	if list := &o.l.Snapshot.Instances; !list.At.IsZero() {
		list.At = list.At.Add(-step)
	}
	return step
}

// turn takes everything that the books remember over to the calendar that the clock
// shows now.
func (o *observer) turn(step time.Duration) {
	if step == 0 {
		return
	}
	should := o.l.Now
	o.l.Now = should.Add(step)
	o.h.shift(step)
	o.carry(should)
	for i := range o.events {
		o.events[i].At = o.l.Now
	}
	o.events = append(o.events, Event{
		Kind: EventClock, At: o.l.Now, Text: fmt.Sprintf("the clock was set %s: ages and spend go by the time that truly passed", stepText(step)),
	})
}

func stepText(step time.Duration) string {
	if step < 0 {
		return "back by " + (-step).Round(time.Second).String()
	}
	return "forward by " + step.Round(time.Second).String()
}

// shift moves every remembered time. Only ends of pauses are never moved towards
// now: a pause may last longer than was asked for, not shorter.
func (h *History) shift(step time.Duration) {
	move := func(times ...*time.Time) {
		for _, t := range times {
			if !t.IsZero() {
				*t = t.Add(step)
			}
		}
	}
	for i := range h.Machines {
		m := &h.Machines[i]
		move(&m.OrderedAt, &m.SeenAt, &m.ReadyAt, &m.StatusAt, &m.RunAt, &m.MissedAt, &m.MeteredAt, &m.NoCutBefore, &m.Lower.WonAt, &m.Lower.LostAt)
		if m.Leaving != nil {
			move(&m.Leaving.At)
		}
		move(m.Probe.moments()...)
		move(m.Told.moments()...)
		if m.Drain != nil {
			move(&m.Drain.Since, &m.Drain.Wanted)
			move(m.Drain.Asked.moments()...)
		}
		if m.Shield != nil {
			move(&m.Shield.Since)
			if step > 0 {
				move(&m.Shield.Until)
			}
		}
		if m.Rebid != nil {
			move(&m.Rebid.At)
		}
		move(&m.NoParkBefore)
		if m.Parked != nil {
			move(&m.Parked.At, &m.Parked.StartAt, &m.Parked.ModifyAt, &m.Parked.Until)
		}
		if u := m.Outage; u != nil {
			move(&u.WellAt, &u.From, &u.LastAt, &u.To)
			for j := range u.Proof {
				move(&u.Proof[j].At)
			}
		}
	}
	for i := range h.Containers {
		c := &h.Containers[i]
		move(&c.OrderedAt, &c.SeenAt, &c.ReadyAt, &c.MeteredAt, &c.SteadyAt, &c.MissedAt, &c.AlarmAt)
		if c.Leaving != nil {
			move(&c.Leaving.At)
		}
		if c.Scale != nil {
			move(&c.Scale.At)
		}
	}
	move(&h.Scaling.At)
	for i := range h.Backoffs {
		move(&h.Backoffs[i].Until)
	}
	for i := range h.Breakers {
		move(&h.Breakers[i].Since, &h.Breakers[i].Until)
	}
	for i := range h.Rises {
		move(&h.Rises[i].At)
	}
	for i := range h.Brackets {
		b := &h.Brackets[i]
		move(&b.LoAt, &b.HiAt, &b.HiSince, &b.At)
	}
	h.shiftDemand(move)
	for i := range h.Failures {
		move(&h.Failures[i])
	}
	for i := range h.Scaled {
		move(&h.Scaled[i].At)
	}
	for i := range h.Churn {
		move(&h.Churn[i].At)
	}
	for i := range h.Progress {
		move(&h.Progress[i].Since, &h.Progress[i].At)
	}
	for i := range h.Settling {
		move(&h.Settling[i].Ended, &h.Settling[i].Offered)
	}
	for i := range h.Short {
		move(&h.Short[i].Since)
	}
	for i := range h.Hosts {
		move(&h.Hosts[i].At, &h.Hosts[i].Quarantine)
	}
	for i := range h.Pauses {
		move(&h.Pauses[i].Since)
		if step > 0 {
			move(&h.Pauses[i].Until)
		}
	}
	if l, ok := h.RebidApplies.Get(); ok {
		move(&l.At)
		h.RebidApplies = market.Some(l)
	}
	if l, ok := h.AskApplies.Get(); ok {
		move(&l.At)
		h.AskApplies = market.Some(l)
	}
	if g, ok := h.Gap.Get(); ok {
		move(&g.Since)
		h.Gap = market.Some(g)
	}
	move(&h.LookedAt, &h.Account.At, &h.Account.Doubt.Since, &h.Account.Bill.Since)
}

// carry moves the spend along with the clock: setting it is no new budget, and
// makes no other day's spend that of the present one. The present day becomes the day
// that the clock shows now. Where the clock was set by an hour or more, all days keep
// their distance to it, and all months theirs to the present month. A day that can
// only keep one of the two stands under day 00 of its month, which is no day.
func (o *observer) carry(should time.Time) {
	was, is := dateOf(should.In(o.zone)), dateOf(o.l.Now.In(o.zone))
	day, today := was.Format(time.DateOnly), is.Format(time.DateOnly)
	all := should.Sub(o.l.Now).Abs() >= monthStep
	for i := range o.h.Spend {
		switch s := &o.h.Spend[i]; {
		case s.Day == day:
			s.Day = today
		case all && day != today:
			s.Day = moved(s.Day, was, is)
		}
	}
	o.h.mergeSpend()
}

func dateOf(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

// moved is the day that is as far from is as the given one was from was.
func moved(day string, was, is time.Time) string {
	month, err := time.Parse("2006-01", day[:7])
	if err != nil {
		return day // not a day of ours: it counts for none
	}
	months := 12*(is.Year()-was.Year()) + int(is.Month()) - int(was.Month())
	to := month.AddDate(0, months, 0).Format("2006-01")
	if t, err := time.Parse(time.DateOnly, day); err == nil {
		if d := t.Add(is.Sub(was)).Format(time.DateOnly); d[:7] == to {
			return d
		}
	}
	return to + "-00"
}

// mergeSpend adds up what stands under the same day and policy.
func (h *History) mergeSpend() {
	at := map[spendKey]int{}
	kept := h.Spend[:0]
	for _, s := range h.Spend {
		k := spendKey{s.Day, s.Policy}
		if i, ok := at[k]; ok {
			kept[i].Amount = kept[i].Amount.Add(s.Amount)
			continue
		}
		at[k] = len(kept)
		kept = append(kept, s)
	}
	h.Spend = kept
}
