package web

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/billing"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// dayOfCycles is how many cycles a picture of the burn looks back at most: a day of
// minutes.
const dayOfCycles = 1440

// daysOfMoney is how many days the page of money tells of.
const daysOfMoney = 30

// purse is what is spent and what is left, against the caps.
type purse struct {
	Burn, Reserved, Cap market.Rate
	BurnMeter           picture
	Caps                []capped
	Balance             market.Maybe[market.Amount]
	Runway              time.Duration
	Others              market.Rate
	Ever                market.Amount
	Zone                policy.Zone
}

// capped is money that was spent within a cap.
type capped struct {
	Name  string
	Spent market.Amount
	Cap   market.Maybe[market.Amount]
	Meter picture
}

func purseOf(s *control.Status, r *plan.Report) purse {
	b := r.Input.Budget
	p := purse{
		Burn: s.Burn, Reserved: s.Reserved, Cap: s.HourlyCap, Balance: s.Balance.Balance, Runway: s.Runway, Others: s.Others, Ever: s.SpentEver, Zone: s.Zone,
		BurnMeter: meter(s.Reserved.Float(), s.HourlyCap.Float(), "reserved "+percentOf(s.Reserved.Float(), s.HourlyCap.Float())+" of the cap"),
		Caps:      []capped{{Name: "Today", Spent: s.SpentToday, Cap: b.MaxDaily}, {Name: "This month", Spent: s.SpentMonth, Cap: b.MaxMonthly}},
	}
	for i := range p.Caps {
		if c, ok := p.Caps[i].Cap.Get(); ok {
			p.Caps[i].Meter = meter(p.Caps[i].Spent.Float(), c.Float(), "spent "+percentOf(p.Caps[i].Spent.Float(), c.Float())+" of the cap")
		}
	}
	return p
}

// burnPlot is what the fleet cost per hour, from cycle to cycle.
func burnPlot(v *visitor, cycles []ledger.ReportSummary, span time.Duration, points int) figure {
	p := plot{ID: "burn", Title: "Burn", From: v.now.Add(-span), To: v.now, Unit: perHour, Fill: true, Lines: []series{
		{Name: "burn, as last seen", Class: "s1"}, {Name: "reserved", Class: "s2"},
	}}
	if v.status.HourlyCap < market.MaxRate {
		p.Levels = []level{{Name: "cap", V: v.status.HourlyCap.Float()}}
	}
	first := v.now
	for _, c := range slices.Backward(cycles) {
		if c.StartedAt.Before(p.From) || c.StartedAt.After(p.To) {
			continue
		}
		first = minTime(first, c.StartedAt)
		if b, ok := c.Burn.Get(); ok {
			p.Lines[0].add(c.StartedAt, b.Float())
		} else {
			p.Lines[0].add(c.StartedAt, math.NaN())
		}
		p.Lines[1].add(c.StartedAt, c.Before.Float())
	}
	if p.To.Sub(first) < span/2 { // a young daemon's picture is not mostly empty
		p.From = minTime(first, p.To.Add(-10*time.Minute))
	}
	for i := range p.Lines {
		p.Lines[i].thinOut(p.From, p.To, points)
	}
	p.Desc = fmt.Sprintf("Burn and what is reserved per hour over the last %s. Now %s burn, %s reserved, cap %s.", ago(p.To.Sub(p.From)), rate(v.status.Burn), rate(v.status.Reserved), rate(v.status.HourlyCap))
	return p.figure()
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func (l *series) add(at time.Time, v float64) { l.At, l.V = append(l.At, at), append(l.V, v) }

// thinOut keeps no more points than a picture can show: of each stretch of time its highest.
// What repeats what was there is left out.
func (l *series) thinOut(from, to time.Time, n int) {
	out := series{Name: l.Name, Class: l.Class, Thin: l.Thin}
	stretch := max(to.Sub(from)/time.Duration(n), time.Nanosecond)
	last := int64(math.MinInt64)
	for i, v := range l.V {
		k := int64(l.At[i].Sub(from) / stretch)
		switch m := len(out.V) - 1; {
		case m >= 0 && k == last:
			if v > out.V[m] || math.IsNaN(out.V[m]) {
				out.V[m] = v
			}
			continue
		case m >= 1 && out.V[m] == v && out.V[m-1] == v:
			out.At[m] = l.At[i]
		default:
			out.add(l.At[i], v)
		}
		last = k
	}
	*l = out
}

type money struct {
	Purse    purse
	Burn     figure
	BurnRows []burnRow
	Days     figure
	Rows     []dayRow
	Names    []string // of policies, the dearest first
	Total    dayRow
	Balances figure
	Left     []plan.Balance
	Policies []capsRow
}

// burnRow is an hour of the burn.
type burnRow struct {
	At             time.Time
	Burn, Reserved market.Maybe[market.Rate]
}

// dayRow is a day's spending, by policy in the order of Names.
type dayRow struct {
	Day        string
	By         []market.Amount
	Sum        market.Amount
	OnDemand   market.Amount
	Uncompared market.Amount
	Saved      market.Amount
}

// capsRow are the caps of one policy.
type capsRow struct {
	Name   string
	Spent  market.Amount
	Budget policy.Budget
}

func (s *site) money(v *visitor) (any, error) {
	r, err := s.book.report(v.ctx, v.status.Cycle)
	if err != nil {
		return nil, err
	}
	cycles, err := s.o.Desk.Cycles(v.ctx, control.CyclesRequest{Limit: dayOfCycles})
	if err != nil {
		return nil, err
	}
	first := v.now.In(v.status.Zone.Location()).AddDate(0, 0, 1-daysOfMoney).Format(time.DateOnly)
	costs, err := s.o.Desk.Costs(v.ctx, control.CostsRequest{First: first})
	if err != nil {
		return nil, err
	}
	left, err := s.o.Desk.Balances(v.ctx, control.CostsRequest{First: first})
	if err != nil {
		return nil, err
	}
	m := money{Purse: purseOf(&v.status, r), Burn: burnPlot(v, cycles, 24*time.Hour, 300), BurnRows: hours(v.now, cycles), Left: left}
	m.days(costs, r.Input.Budget)
	m.balances(v, left)
	m.caps(r, costs)
	return m, nil
}

// hours are the burn at the end of each of the last 24 hours, newest first.
func hours(now time.Time, cycles []ledger.ReportSummary) (out []burnRow) {
	for _, c := range cycles {
		at := c.StartedAt.UTC().Truncate(time.Hour)
		if now.Sub(c.StartedAt) > 24*time.Hour || len(out) == 24 {
			break
		}
		if len(out) == 0 || out[len(out)-1].At.UTC().Truncate(time.Hour) != at {
			out = append(out, burnRow{c.StartedAt, c.Burn, market.Some(c.Before)})
		}
	}
	return out
}

// days adds the costs up by day and policy.
func (m *money) days(costs []plan.Cost, caps policy.Budget) {
	by := billing.Sum(billing.ByPolicy, "", "", costs, false)
	for _, l := range by.Lines {
		m.Names = append(m.Names, l.Key)
	}
	const most = 6
	if len(m.Names) > most {
		m.Names = append(m.Names[:most-1:most-1], "others")
	}
	column := func(name string) int {
		if i := slices.Index(m.Names, name); i >= 0 {
			return i
		}
		return len(m.Names) - 1
	}
	m.Total = dayRow{Day: "All", By: make([]market.Amount, len(m.Names))}
	for day, of := range byDay(costs) {
		row := dayRow{Day: day, By: make([]market.Amount, len(m.Names))}
		for _, c := range of {
			row.By[column(c.Policy)] = row.By[column(c.Policy)].Add(c.Amount)
			m.Total.By[column(c.Policy)] = m.Total.By[column(c.Policy)].Add(c.Amount)
		}
		row.sum(billing.Sum(billing.ByDay, day, day, of, false).Total)
		m.Rows = append(m.Rows, row)
	}
	m.Total.sum(by.Total)
	slices.SortFunc(m.Rows, func(a, b dayRow) int { return cmp.Compare(a.Day, b.Day) })
	m.Days = m.dayFigure(caps)
	slices.Reverse(m.Rows)
}

func byDay(costs []plan.Cost) map[string][]plan.Cost {
	out := map[string][]plan.Cost{}
	for _, c := range costs {
		if c.IsRest() {
			continue // of the account, and not of ours
		}
		out[c.Day] = append(out[c.Day], c)
	}
	return out
}

func (r *dayRow) sum(l billing.Line) {
	r.Sum, r.OnDemand, r.Uncompared, r.Saved = l.Amount, l.OnDemand, l.Uncompared, l.Saved
}

func (m *money) dayFigure(caps policy.Budget) figure {
	b := bars{
		ID: "days", Title: "Spent by day", Unit: dollars, MarkName: "the same on demand",
		Desc: fmt.Sprintf("What each of the last %d days cost, by policy, and what the same machine-hours would have cost on demand. %s in all, against %s.", len(m.Rows), spent(m.Total.Sum), spent(m.Total.OnDemand.Add(m.Total.Uncompared))),
	}
	for i, name := range m.Names {
		b.Stacks = append(b.Stacks, stack{Name: name, Class: seriesClass(i)})
	}
	for _, r := range m.Rows {
		b.Days = append(b.Days, r.Day)
		for i := range m.Names {
			b.Stacks[i].V = append(b.Stacks[i].V, r.By[i].Float())
		}
		mark := math.NaN()
		if r.OnDemand > 0 {
			mark = r.OnDemand.Add(r.Uncompared).Float()
		}
		b.Mark = append(b.Mark, mark)
	}
	if c, ok := caps.MaxDaily.Get(); ok {
		b.Levels = append(b.Levels, level{Name: "cap of a day", V: c.Float()})
	}
	return b.figure()
}

func seriesClass(i int) string { return fmt.Sprintf("s%d", i%6+1) }

// balances draws what was left at the end of each day.
func (m *money) balances(v *visitor, left []plan.Balance) {
	p := plot{ID: "balance", Title: "Balance", To: v.now, Unit: dollars, Fill: true, Lines: []series{{Name: "balance", Class: "s3"}}}
	zone := v.status.Zone.Location()
	for _, b := range left {
		day, err := time.ParseInLocation(time.DateOnly, b.Day, zone)
		if err != nil {
			continue // not a day of ours
		}
		if p.From.IsZero() {
			p.From = day
			p.Lines[0].add(day, b.Open.Float())
		}
		p.Lines[0].add(minTime(day.AddDate(0, 0, 1), v.now), b.Close.Float())
	}
	p.Desc = "The account's balance at the end of each day. Now " + owned(v.status.Balance.Balance) + "."
	m.Balances = p.figure()
}

func (m *money) caps(r *plan.Report, costs []plan.Cost) {
	by := billing.Sum(billing.ByPolicy, "", "", costs, false)
	for i := range r.Input.Policies {
		p := &r.Input.Policies[i]
		row := capsRow{Name: p.Name, Budget: p.Budget}
		for _, l := range by.Lines {
			if l.Key == p.Name {
				row.Spent = l.Amount
			}
		}
		m.Policies = append(m.Policies, row)
	}
}
