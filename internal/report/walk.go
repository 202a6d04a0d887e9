package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// trendSteps is how many points a plot has.
const trendSteps = 96

// maker is a report in the making.
type maker struct {
	Input
	zone *time.Location
	// most is the longest time for which a cycle is believed to tell how things went on.
	most    time.Duration
	line    map[string]*Line
	short   map[shortage][]spell
	gaps    []stretch
	untold  int // cycles without a digest
	points  []Point
	known   []time.Duration // how much of each point's time cycles tell of
	missing []string
}

// shortage is what kept a policy from its target.
type shortage struct{ policy, why string }

// stretch is a time from one moment to another.
type stretch struct{ from, to time.Time }

func (s stretch) long() time.Duration { return s.to.Sub(s.from) }

// spell is a stretch in which a policy was short, or paused.
type spell struct {
	stretch
	cycle  uint64
	missed plan.Span
}

func newMaker(in Input) *maker {
	m := &maker{Input: in, zone: in.Budget.Zone.Location(), line: map[string]*Line{}, short: map[shortage][]spell{}, missing: []string{}}
	for i := range in.Policies {
		m.of(in.Policies[i].Name)
	}
	m.points = make([]Point, trendSteps)
	m.known = make([]time.Duration, trendSteps)
	for i := range m.points {
		m.points[i].At = m.pointAt(i)
	}
	m.most = believed(in.Cycles)
	return m
}

// of is the line of a policy; nil where it is not asked for, or is none.
func (m *maker) of(name string) *Line {
	if name == "" || m.Only != "" && name != m.Only || rest(name) {
		return nil
	}
	if m.line[name] == nil {
		m.line[name] = &Line{Policy: name}
	}
	return m.line[name]
}

// rest says whether a name among the policies is what else the account is charged for.
func rest(name string) bool { return (&plan.Cost{Policy: name}).IsRest() }

func (m *maker) names() []string { return slices.Sorted(maps.Keys(m.line)) }

// believed is for how long a cycle tells how things went on: three times what is usual
// between two, and ten minutes at least.
func believed(all []Cycle) time.Duration {
	var gaps []time.Duration
	for i := 1; i < len(all); i++ {
		gaps = append(gaps, all[i].At.Sub(all[i-1].At))
	}
	slices.Sort(gaps)
	most := 10 * time.Minute
	if len(gaps) > 0 {
		most = max(most, 3*gaps[len(gaps)/2])
	}
	return most
}

// walk goes through the cycles. What one found holds until the next, unless that is too
// long after it.
func (m *maker) walk() {
	at := m.From // until when it is told
	for i := range m.Cycles {
		c := &m.Cycles[i]
		until := m.To
		if i+1 < len(m.Cycles) {
			until = m.Cycles[i+1].At
		}
		if c.Digest == nil {
			m.untold++
		}
		told := m.clip(c.At, until)
		if told.long() <= 0 {
			continue
		}
		if told.from.After(at) {
			m.gaps = append(m.gaps, stretch{at, told.from})
		}
		at = told.to
		switch {
		case until.Sub(c.At) > m.most: // nobody looked for so long
			m.gaps = append(m.gaps, told)
		case c.Digest != nil:
			m.told(c, told)
		}
	}
	if at.Before(m.To) {
		m.gaps = append(m.gaps, stretch{at, m.To})
	}
	m.tellGaps()
}

// within says whether a cycle is one of the stretch: others are there for what they knew.
func (m *maker) within(c *Cycle) bool { return !c.At.Before(m.From) && c.At.Before(m.To) }

// clip is the part of a time that is asked for.
func (m *maker) clip(from, to time.Time) stretch {
	if from.Before(m.From) {
		from = m.From
	}
	if to.After(m.To) {
		to = m.To
	}
	return stretch{from, to}
}

// told books how the policies stood in a cycle, for as long as that held.
func (m *maker) told(c *Cycle, s stretch) {
	wanted, delivered := 0, 0
	for i := range c.Digest.Policies {
		p := &c.Digest.Policies[i]
		l := m.of(p.Policy)
		if l == nil {
			continue
		}
		got := min(p.Ready, p.Target)
		l.Wanted += gpuTime(p.Target, s.long())
		l.Delivered += gpuTime(got, s.long())
		l.Above += gpuTime(p.Ready-got, s.long())
		wanted, delivered = wanted+p.Target, delivered+p.Ready
		if p.Why != "" {
			m.spell(shortage{p.Policy, p.Why}, spell{s, c.Number, gpuTime(p.Target-got, s.long())})
		}
	}
	m.plot(s, wanted, delivered)
}

func gpuTime(gpus int, d time.Duration) plan.Span { return plan.Span(time.Duration(gpus) * d) }

// pause between two spells that are told as one.
const pause = 10 * time.Minute

func (m *maker) spell(k shortage, s spell) {
	list := m.short[k]
	if n := len(list); n > 0 && s.from.Sub(list[n-1].to) <= pause {
		last := &list[n-1]
		last.to, last.missed = s.to, last.missed+s.missed
		return
	}
	m.short[k] = append(list, s)
}

func (m *maker) pointAt(i int) time.Time {
	return m.From.Add(time.Duration(float64(m.To.Sub(m.From)) * float64(i) / trendSteps))
}

// plot spreads how things stood over the points that a time reaches into.
func (m *maker) plot(s stretch, wanted, delivered int) {
	whole := m.To.Sub(m.From)
	first := int(float64(s.from.Sub(m.From)) / float64(whole) * trendSteps)
	for i := max(first-1, 0); i < trendSteps; i++ {
		from, to := m.pointAt(i), m.pointAt(i+1)
		if !from.Before(s.to) {
			return
		}
		if from.Before(s.from) {
			from = s.from
		}
		if to.After(s.to) {
			to = s.to
		}
		if d := to.Sub(from); d > 0 {
			m.points[i].Wanted += float64(wanted) * d.Seconds()
			m.points[i].Delivered += float64(delivered) * d.Seconds()
			m.known[i] += d
		}
	}
}

// trend are the points as averages.
func (m *maker) trend() []Point {
	for i := range m.points {
		p := &m.points[i]
		if s := m.known[i].Seconds(); s > 0 {
			p.Wanted, p.Delivered, p.Known = p.Wanted/s, p.Delivered/s, true
		}
	}
	return m.points
}

// tellGaps says what no cycle tells of.
func (m *maker) tellGaps() {
	m.gaps = joined(m.gaps)
	for i, g := range m.gaps {
		switch {
		case i == 5:
			m.lack("and %d more times without a cycle", len(m.gaps)-i)
		case i > 5:
		case i == 0 && g.from.Equal(m.From) && (len(m.Cycles) == 0 || !m.Cycles[0].At.Before(m.From)):
			m.lack("the ledger has no cycle before %s: GPU-hours and cost begin there", m.stamp(g.to))
		default:
			m.lack("no cycle from %s to %s: its %s are in no GPU-hour, and its cost is that of the cycle after", m.stamp(g.from), m.stamp(g.to), lasted(g.long()))
		}
	}
	if m.untold > 0 {
		m.lack("%d of %d cycles are of a version that kept less: they are in no figure", m.untold, len(m.Cycles))
	}
}

// joined makes one of gaps that touch.
func joined(gaps []stretch) (out []stretch) {
	for _, g := range gaps {
		if n := len(out); n > 0 && !g.from.After(out[n-1].to) {
			out[n-1].to = g.to
			continue
		}
		out = append(out, g)
	}
	return out
}

func (m *maker) lack(format string, args ...any) {
	m.missing = append(m.missing, fmt.Sprintf(format, args...))
}

// lines adds to the policies' lines what they cost and did.
func (m *maker) lines() {
	m.costs()
	for i := range m.Intents {
		in := &m.Intents[i]
		if l := m.of(in.Policy); l != nil && in.State != plan.IntentShadow {
			l.count(in)
		}
	}
	for i := range m.Cycles {
		c := &m.Cycles[i]
		if c.Digest == nil || !m.within(c) {
			continue
		}
		for _, n := range c.Digest.Notes {
			if l := m.of(n.Policy); l != nil {
				l.Outbids += count(n.Kind == plan.EventOutbid)
				l.Losses += count(n.Kind == plan.EventLost)
			}
		}
	}
	for i := range m.Policies {
		if l := m.line[m.Policies[i].Name]; l != nil {
			l.Caps = m.caps(m.Policies[i].Budget, l.Policy)
		}
	}
}

func count(is bool) int {
	if is {
		return 1
	}
	return 0
}

func (l *Line) count(in *plan.Intent) {
	sent := in.State != plan.IntentRefused && in.State != plan.IntentFailed
	switch in.Kind {
	case plan.Deploy, plan.ContainerDeploy:
		l.Starts += count(sent)
	case plan.Rebid:
		l.Rebids += count(sent)
	case plan.Delete, plan.ContainerStop:
		l.Deletes += count(sent)
	}
}

// costs are the differences between what the first and the last cycle that tell knew to
// have been spent.
func (m *maker) costs() {
	var first, last *plan.Digest
	for i := range m.Cycles {
		c := &m.Cycles[i]
		if c.Digest == nil || c.At.After(m.To) {
			continue
		}
		if first == nil || !c.At.After(m.From) {
			first = c.Digest
		}
		last = c.Digest
	}
	if first == nil {
		return
	}
	for i := range last.Policies {
		m.spent(&last.Policies[i].Total, 1)
	}
	for i := range first.Policies {
		m.spent(&first.Policies[i].Total, -1)
	}
}

func (m *maker) spent(t *plan.Total, sign market.Amount) {
	l := m.of(t.Policy)
	if l == nil {
		return
	}
	l.Spent, l.OnDemand = l.Spent.Add(sign*t.Amount), l.OnDemand.Add(sign*t.OnDemand)
	l.Uncompared, l.Idle = l.Uncompared.Add(sign*t.Uncompared), l.Idle.Add(sign*t.Idle)
	l.Saved = l.OnDemand.Sub(l.Spent.Sub(l.Uncompared))
}

// caps are how much of what a budget allows is used up: of the day the dearest day, of
// the month the present one, where the stretch lasts until now.
func (m *maker) caps(b policy.Budget, name string) (out []Use) {
	if most, ok := b.MaxDaily.Get(); ok {
		out = append(out, Use{"max_daily", m.dearest(name), most})
	}
	if !m.Current() {
		return out
	}
	spent := m.Present.SpentBy[name]
	if name == "" {
		spent.Month = m.Present.SpentMonth
	}
	if most, ok := b.MaxMonthly.Get(); ok {
		out = append(out, Use{"max_monthly", spent.Month, most})
	}
	if most, ok := b.MaxTotal.Get(); ok {
		out = append(out, Use{"max_total", spent.Total, most})
	}
	return out
}

// dearest is what the dearest day cost.
func (m *maker) dearest(name string) (most market.Amount) {
	sums := map[string]market.Amount{}
	for i := range m.Costs {
		if c := &m.Costs[i]; !c.IsRest() && (name == "" || c.Policy == name) {
			sums[c.Day] = sums[c.Day].Add(c.Amount)
			most = max(most, sums[c.Day])
		}
	}
	return most
}

// money is how spend and balance went, day by day.
func (m *maker) money() Money {
	out := Money{Days: []Day{}}
	if m.Only == "" {
		out.MaxDaily = m.Budget.MaxDaily
	}
	days := map[string]*Day{}
	for i := range m.Costs {
		c := &m.Costs[i]
		if m.Only != "" && c.Policy != m.Only {
			continue
		}
		if days[c.Day] == nil {
			days[c.Day] = &Day{Day: c.Day}
		}
		if d := days[c.Day]; c.IsRest() {
			d.Rest = d.Rest.Add(c.Amount)
		} else {
			d.Spent = d.Spent.Add(c.Amount)
		}
	}
	for _, d := range days {
		out.Days = append(out.Days, *d)
	}
	slices.SortFunc(out.Days, func(a, b Day) int { return cmp.Compare(a.Day, b.Day) })
	if m.Only == "" {
		m.balance(&out)
	}
	return out
}

func (m *maker) balance(out *Money) {
	for i := range m.Balances {
		b := &m.Balances[i]
		if i == 0 {
			out.Open = market.Some(b.Open)
		}
		out.Close = market.Some(b.Close)
		out.Deposits, out.Fell = out.Deposits.Add(b.Deposits), out.Fell.Add(b.Fell())
	}
	if !m.Current() {
		return
	}
	y, month, _ := m.Now.In(m.zone).Date()
	left := time.Date(y, month+1, 1, 0, 0, 0, 0, m.zone).Sub(m.Now)
	p := &m.Present
	out.Now = &Outlook{
		Runway: p.Runway, Burn: p.Burn, SpentMonth: p.SpentMonth, Forecast: p.SpentMonth.Add(p.Burn.For(left)), MaxMonthly: m.Budget.MaxMonthly,
	}
	if most, ok := m.Budget.MaxMonthly.Get(); ok {
		out.Now.Forecast = min(out.Now.Forecast, max(most, p.SpentMonth))
	}
}

// stamp is a time in the zone of the caps.
func (m *maker) stamp(t time.Time) string { return t.In(m.zone).Format("2006-01-02 15:04") }

// lasted is a length of time in words: 45 min, 3 h 20 min, 2 d 4 h.
func lasted(d time.Duration) string {
	d = d.Round(time.Minute)
	h := d / time.Hour
	switch {
	case d < time.Minute:
		return "less than a minute"
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case h < 48 && d%time.Hour == 0:
		return fmt.Sprintf("%d h", h)
	case h < 48:
		return fmt.Sprintf("%d h %d min", h, d%time.Hour/time.Minute)
	case h%24 == 0:
		return fmt.Sprintf("%d d", h/24)
	}
	return fmt.Sprintf("%d d %d h", h/24, h%24)
}
