package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// restOfAccount stands among the policies for what the account is charged for
// beside our machines. No policy can have this name.
const restOfAccount = "~account"

// Spent is what was spent in a day, in its month, and ever.
type Spent struct {
	Day, Month, Total market.Amount
}

func (s *Spent) add(a market.Amount) {
	s.Day, s.Month, s.Total = s.Day.Add(a), s.Month.Add(a), s.Total.Add(a)
}

// meter charges a machine for the time since it was last charged, at the dearer
// of what it cost before this look and what it costs after it: what happened in
// between nobody saw.
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
		o.bill(m, rate, m.MeteredAt, now)
	}
	m.MeteredAt = now
}

type spendKey struct{ day, policy string }

// charge books rate from..to on what of names, split at the midnights of the caps'
// zone; note adds what else is to be kept of each part.
func (o *observer) charge(of Cost, rate market.Rate, from, to time.Time, note func(*Cost, time.Duration)) {
	if rate <= 0 {
		return
	}
	from, to = from.In(o.zone), to.In(o.zone)
	for from.Before(to) {
		end := nextDay(from)
		if to.Before(end) {
			end = to
		}
		a := rate.For(end.Sub(from))
		k := spendKey{from.Format(time.DateOnly), of.Policy}
		o.charges[k] = o.charges[k].Add(a)
		o.charged = o.charged.Add(a)
		part := of
		part.Day, part.Amount = k.day, a
		note(&part, end.Sub(from))
		o.cost(part)
		from = end
	}
}

// cost adds to what this look costs.
func (o *observer) cost(part Cost) {
	k := costKey{part.Day, part.Policy, part.Machine}
	if o.costs[k] == nil {
		o.costs[k] = &Cost{Day: part.Day, Policy: part.Policy, Machine: part.Machine}
	}
	o.costs[k].Add(&part)
}

// nextDay is the next midnight. Where a zone's clocks skip it, time.Date may answer
// with a time that is not later; then it is an hour from now, which is split again.
func nextDay(t time.Time) time.Time {
	y, m, d := t.Date()
	next := time.Date(y, m, d+1, 0, 0, 0, 0, t.Location())
	if !next.After(t) {
		return t.Add(time.Hour)
	}
	return next
}

// bookCharges adds the charges of this look to days and lifetimes, and drops the days
// before last month: a clock that is set back may make that the present one again.
func (o *observer) bookCharges() {
	h := o.h
	for i := range h.Spend {
		k := spendKey{h.Spend[i].Day, h.Spend[i].Policy}
		if a, ok := o.charges[k]; ok {
			h.Spend[i].Amount = h.Spend[i].Amount.Add(a)
			delete(o.charges, k)
		}
	}
	for k, a := range o.charges {
		h.Spend = append(h.Spend, Spend{Day: k.day, Policy: k.policy, Amount: a})
	}
	for _, c := range o.costs {
		h.live(c)
	}
	y, m, _ := o.l.Now.In(o.zone).Date()
	oldest := time.Date(y, m-1, 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
	h.Spend = slices.DeleteFunc(h.Spend, func(s Spend) bool { return s.Day < oldest })
	slices.SortFunc(h.Spend, func(a, b Spend) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Policy, b.Policy))
	})
}

// live adds to what a policy has spent in all its life.
func (h *History) live(c *Cost) {
	i, found := slices.BinarySearchFunc(h.Totals, c.Policy, func(t Total, name string) int { return cmp.Compare(t.Policy, name) })
	if !found {
		h.Totals = slices.Insert(h.Totals, i, Total{Policy: c.Policy})
	}
	t := &h.Totals[i]
	t.Amount, t.OnDemand = t.Amount.Add(c.Amount), t.OnDemand.Add(c.OnDemand)
	t.Uncompared, t.Idle = t.Uncompared.Add(c.Uncompared), t.Idle.Add(c.Idle)
}

// Spent sums what a policy spent on the day and in the month of now, in now's zone,
// and ever; with "", all of our policies.
func (h *History) Spent(name string, now time.Time) Spent {
	return h.sum(now, func(p string) bool { return p == name || name == "" && p != restOfAccount })
}

// SpentInScope is what the global caps count.
func (h *History) SpentInScope(s policy.Scope, now time.Time) Spent {
	if s == policy.ScopeAccount {
		return h.sum(now, func(string) bool { return true })
	}
	return h.Spent("", now)
}

func (h *History) sum(now time.Time, counts func(policy string) bool) (sum Spent) {
	for name, s := range h.SpentBy(now) {
		if counts(name) {
			sum.Day, sum.Month, sum.Total = sum.Day.Add(s.Day), sum.Month.Add(s.Month), sum.Total.Add(s.Total)
		}
	}
	return sum
}

// SpentBy is Spent for every policy at once.
func (h *History) SpentBy(now time.Time) map[string]Spent {
	today := now.Format(time.DateOnly)
	out := map[string]Spent{}
	for _, t := range h.Totals {
		out[t.Policy] = Spent{Total: t.Amount}
	}
	for _, s := range h.Spend {
		if !strings.HasPrefix(s.Day, today[:7]) {
			continue
		}
		sum := out[s.Policy]
		sum.Month = sum.Month.Add(s.Amount)
		if s.Day == today {
			sum.Day = sum.Day.Add(s.Amount)
		}
		out[s.Policy] = sum
	}
	return out
}
