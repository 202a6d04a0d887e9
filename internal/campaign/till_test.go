package campaign

import (
	"strings"
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
	skew  func() time.Duration // of the daemon's clock
	lag   time.Duration
	zone  *time.Location
	tabs  map[string]map[string]*tab // by scope ("" is the fleet) and period
	open  map[string]meter           // by machine
	able  map[string]time.Time       // by scope: the end of the last cycle that could delete
	total market.Amount
	fail  func(format string, args ...any)
	set   *policy.Set
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
		if over := l.tab.spent.Sub(l.tab.excused).Sub(l.cap); over > 0 {
			t.fail("%q was billed %s (%s of it beyond help), %s is %s", scope, l.tab.spent, l.tab.excused, l.what, l.cap)
			l.tab.excused = l.tab.excused.Add(over)
			delete(t.able, scope) // once is enough to tell
		}
	}
}

// carry takes the present day, and month, along from what the daemon's clock would
// show to what it does show, at its first look after it was set. What they then have
// too much is nobody's doing, nor what stands already under days to come, which the
// clock has shown before.
func (t *till) carry(now time.Time, before time.Duration) {
	was, is := now.Add(before).In(t.zone), now.Add(t.skew()).In(t.zone)
	for scope := range t.tabs {
		t.move(scope, was.Format(time.DateOnly), is.Format(time.DateOnly))
		if was.Sub(is).Abs() >= time.Hour {
			t.move(scope, was.Format("2006-01"), is.Format("2006-01"))
			if was.Format("2006-01") != is.Format("2006-01") {
				t.undate(scope, was.Format("2006-01"))
			}
		}
		for period, tab := range t.tabs[scope] {
			if period != "life" && period > is.Format(time.DateOnly) {
				tab.excused = tab.spent
			}
		}
	}
	t.forgive(is)
}

// undate takes the days of a month that the clock has left, and may come back to: they
// have cost what they cost, in another month.
func (t *till) undate(scope, month string) {
	for period := range t.tabs[scope] {
		if strings.HasPrefix(period, month+"-") {
			delete(t.tabs[scope], period)
		}
	}
}

func (t *till) move(scope, from, to string) {
	if from == to {
		return
	}
	a, b := t.tab(scope, from), t.tab(scope, to)
	b.spent, b.excused = b.spent.Add(a.spent), b.excused.Add(a.excused)
	*a = tab{}
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
