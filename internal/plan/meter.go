package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// meter charges a machine for the time since it was last charged, at the dearer
// of what it cost before this look and what it costs after it: what happened in
// between nobody saw.
//
// A clock that jumps back charges nothing until it has caught up, so the same
// hour is never charged twice.
func (o *observer) meter(m *Machine) {
	now := o.l.Now
	if m.MeteredAt.IsZero() {
		m.MeteredAt = now
	}
	if !now.After(m.MeteredAt) {
		return
	}
	// A rate that nobody knows holds the whole budget, but is no spend.
	if rate := max(o.before[m.Name], m.Burn()); rate < market.MaxRate {
		o.h.charge(m.Policy, rate, m.MeteredAt, now)
	}
	m.MeteredAt = now
}

// expireSpend drops all but this month and the one before it, which a clock that is
// set back may make the present one again.
func (o *observer) expireSpend() {
	now := o.l.Now.UTC()
	month := time.Date(now.Year(), now.Month()-1, 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
	o.h.Spend = slices.DeleteFunc(o.h.Spend, func(s Spend) bool { return s.Day < month })
	slices.SortFunc(o.h.Spend, func(a, b Spend) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Policy, b.Policy))
	})
}

// charge books rate from..to, split at midnight UTC.
func (h *History) charge(name string, rate market.Rate, from, to time.Time) {
	from, to = from.UTC(), to.UTC()
	for from.Before(to) {
		midnight := from.Truncate(24 * time.Hour).Add(24 * time.Hour)
		end := to
		if midnight.Before(end) {
			end = midnight
		}
		h.spend(from.Format(time.DateOnly), name, rate.For(end.Sub(from)))
		from = end
	}
}

func (h *History) spend(day, name string, a market.Amount) {
	for i := range h.Spend {
		if h.Spend[i].Day == day && h.Spend[i].Policy == name {
			h.Spend[i].Amount = h.Spend[i].Amount.Add(a)
			return
		}
	}
	h.Spend = append(h.Spend, Spend{Day: day, Policy: name, Amount: a})
}

// Spent sums the spend of the day and of the month of now (UTC), for one policy
// or, with "", for all.
func (h *History) Spent(name string, now time.Time) (day, month market.Amount) {
	today := now.UTC().Format(time.DateOnly)
	for _, s := range h.Spend {
		if name != "" && s.Policy != name || !strings.HasPrefix(s.Day, today[:7]) {
			continue
		}
		month = month.Add(s.Amount)
		if s.Day == today {
			day = day.Add(s.Amount)
		}
	}
	return day, month
}
