package campaign

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// till adds up what the market bills for the machines of ours, as it bills: whole
// seconds of each stretch. A day is what the daemon's clock calls a day at that
// moment. Where that clock is set, what the day has cost so far goes with it to the
// day that it shows then: setting a clock is no new budget.
//
// What is excused is billed more than one lag (the schedule's interval and ten
// minutes) after the last cycle that could have deleted everything: a plan of that
// cycle leaves room for the lag, and nobody can delete through an API that does not
// answer, a pause, a ledger that cannot be written or a process that is not there.
type till struct {
	skew func() time.Duration // of the daemon's clock
	lag  time.Duration
	zone *time.Location
	tabs map[string]map[string]*tab // by scope ("" is the fleet) and period
	open map[string]meter           // by machine
	able map[string]time.Time       // by scope: the end of the last cycle that could delete
	fail func(format string, args ...any)
	set  *policy.Set
}

type tab struct{ spent, excused market.Amount }

type meter struct {
	policy string
	rate   market.Rate
	at     time.Time
}

func newTill() till {
	return till{zone: time.UTC, tabs: map[string]map[string]*tab{}, open: map[string]meter{}, able: map[string]time.Time{}}
}

// turn takes a machine's new rate from an event of the market.
func (t *till) turn(e simulator.Event, mine bool) {
	t.charge(e.Machine, e.At)
	delete(t.open, e.Machine)
	if p, ok := ours(e.Name); ok && mine && e.Kind != simulator.Deleted {
		t.open[e.Machine] = meter{p, e.Burn, e.At}
	}
}

func (t *till) chargeAll(to time.Time) {
	for id := range t.open {
		t.charge(id, to)
	}
}

// charge bills a machine until to, split at the daemon's midnights.
func (t *till) charge(id string, to time.Time) {
	m, ok := t.open[id]
	if !ok || !to.After(m.at) {
		return
	}
	for from := m.at; from.Before(to); {
		shown := from.Add(t.skew()).In(t.zone)
		midnight := time.Date(shown.Year(), shown.Month(), shown.Day()+1, 0, 0, 0, 0, t.zone)
		end := from.Add(midnight.Sub(shown))
		if to.Before(end) {
			end = to
		}
		for _, scope := range []string{"", m.policy} {
			late := from
			if until := t.able[scope].Add(t.lag); until.After(late) {
				late = until
			}
			for _, period := range []string{shown.Format(time.DateOnly), shown.Format("2006-01"), "life"} {
				b := t.tab(scope, period)
				b.spent = b.spent.Add(m.rate.For(end.Sub(from)))
				if end.After(late) {
					b.excused = b.excused.Add(m.rate.For(end.Sub(late)))
				}
			}
		}
		from = end
	}
	m.at = to
	t.open[id] = m
	t.judge(m.policy)
	t.judge("")
}

func (t *till) tab(scope, period string) *tab {
	periods := t.tabs[scope]
	if periods == nil {
		periods = map[string]*tab{}
		t.tabs[scope] = periods
	}
	if periods[period] == nil {
		periods[period] = &tab{}
	}
	return periods[period]
}

type limit struct {
	what string
	cap  market.Amount
	tab  *tab
}

// limits are the caps on what is billed that hold now.
func (t *till) limits(scope string, b policy.Budget) (out []limit) {
	var now time.Time
	for _, m := range t.open {
		if m.at.After(now) {
			now = m.at
		}
	}
	return t.at(scope, b, now.Add(t.skew()).In(t.zone))
}

func (t *till) at(scope string, b policy.Budget, shown time.Time) (out []limit) {
	if c, ok := b.MaxDaily.Get(); ok {
		out = append(out, limit{"max_daily", c, t.tab(scope, shown.Format(time.DateOnly))})
	}
	if c, ok := b.MaxMonthly.Get(); ok {
		out = append(out, limit{"max_monthly", c, t.tab(scope, shown.Format("2006-01"))})
	}
	if c, ok := b.MaxTotal.Get(); ok {
		out = append(out, limit{"max_total", c, t.tab(scope, "life")})
	}
	return out
}

func (t *till) budget(scope string) (policy.Budget, bool) {
	if t.set == nil {
		return policy.Budget{}, false
	}
	if scope == "" {
		return t.set.Budget, true
	}
	p, ok := t.set.Find(scope)
	if !ok {
		return policy.Budget{}, false
	}
	return p.Budget, true
}

// judge holds a scope against its caps.
func (t *till) judge(scope string) {
	b, ok := t.budget(scope)
	if !ok || t.fail == nil {
		return
	}
	for _, l := range t.limits(scope, b) {
		// What runs on for the moment in which a cap was lowered is no breach of it.
		if over := l.tab.spent.Sub(l.tab.excused).Sub(l.cap); over > market.Cent/10 {
			t.fail("%q was billed %s (%s of it beyond help), %s is %s", scope, l.tab.spent, l.tab.excused, l.what, l.cap)
			l.tab.excused = l.tab.excused.Add(over)
			delete(t.able, scope) // once is enough to tell
		}
	}
}

// carry takes what was billed along from what the daemon's clock would show to what
// it does show, at its first look after it was set: the present day to the day that
// it shows now, and where it was set by an hour or more every other day and month by
// as much. What they then have too much is nobody's doing.
func (t *till) carry(now time.Time, before time.Duration) {
	was, is := now.Add(before).In(t.zone), now.Add(t.skew()).In(t.zone)
	all := was.Sub(is).Abs() >= time.Hour
	for scope, periods := range t.tabs {
		next := map[string]*tab{}
		for period, b := range periods {
			to := carried(period, was, is, all)
			if next[to] == nil {
				next[to] = &tab{}
			}
			next[to].spent, next[to].excused = next[to].spent.Add(b.spent), next[to].excused.Add(b.excused)
		}
		delete(next, "") // days that no month keeps any more
		t.tabs[scope] = next
	}
	clear(t.able) // what the clock makes of a cap counts from the next cycle on
	t.forgive(is)
}

// carried is what a period is called after the clock was set; "" for a day that can
// keep its distance to the present one only in another month than its own.
func carried(period string, was, is time.Time, all bool) string {
	from, to := was.Format(time.DateOnly), is.Format(time.DateOnly)
	month := func(period string) string {
		m, err := time.Parse("2006-01", period)
		if err != nil {
			return period // the whole life
		}
		return m.AddDate(0, 12*(is.Year()-was.Year())+int(is.Month())-int(was.Month()), 0).Format("2006-01")
	}
	switch {
	case period == from:
		return to
	case !all || from == to:
		return period
	case len(period) != len(time.DateOnly):
		return month(period)
	}
	a, err1 := time.Parse(time.DateOnly, from)
	b, err2 := time.Parse(time.DateOnly, to)
	d, err3 := time.Parse(time.DateOnly, period)
	if err1 != nil || err2 != nil || err3 != nil || d.Add(b.Sub(a)).Format("2006-01") != month(period[:7]) {
		return ""
	}
	return d.Add(b.Sub(a)).Format(time.DateOnly)
}

// forgive excuses what is above a cap now.
func (t *till) forgive(shown time.Time) {
	if t.set == nil {
		return
	}
	scopes := []string{""}
	for i := range t.set.Policies {
		scopes = append(scopes, t.set.Policies[i].Name)
	}
	for _, scope := range scopes {
		b, _ := t.budget(scope)
		for _, l := range t.at(scope, b, shown) {
			if over := l.tab.spent.Sub(l.tab.excused).Sub(l.cap); over > 0 {
				l.tab.excused = l.tab.excused.Add(over)
			}
		}
	}
}

// configure takes other caps. What is billed already, and until the next cycle that
// can delete, is not theirs to judge.
func (t *till) configure(set *policy.Set, now time.Time) {
	t.set = set
	clear(t.able)
	t.forgive(now.Add(t.skew()).In(t.zone))
}
