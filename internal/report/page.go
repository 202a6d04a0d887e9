package report

import (
	"fmt"
	"math"
	"strings"
	"unicode"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plot"
)

// page is a report in words, as every renderer writes it: what differs is how.
type page struct {
	Headline string
	About    string // whose, of when
	Parts    []part
}

// part is one section: tables, things with a command, sentences, a chart.
type part struct {
	Title string
	Grids []grid
	Items []item
	Lines []string
	Chart *plot.Chart
}

// grid is a table. The first column is text, the others are figures.
type grid struct {
	Head []string
	Rows [][]string
}

// item is a sentence and what to type to look closer.
type item struct{ Text, Command string }

func pageOf(r *Report) page {
	p := page{Headline: clean(r.Headline), About: clean(about(r)), Parts: []part{policyPart(r), troublesPart(r), moneyPart(r)}}
	if len(r.Advice) > 0 {
		p.Parts = append(p.Parts, part{Title: "What could be done", Lines: r.Advice})
	}
	if len(r.Missing) > 0 {
		p.Parts = append(p.Parts, part{Title: "Not on record", Lines: r.Missing})
	}
	for i := range p.Parts {
		p.Parts[i].clean()
	}
	return p
}

func (p *part) clean() {
	lines := make([]string, len(p.Lines))
	for i, l := range p.Lines {
		lines[i] = clean(l)
	}
	p.Lines = lines
	for i := range p.Items {
		p.Items[i] = item{clean(p.Items[i].Text), clean(p.Items[i].Command)}
	}
	for i := range p.Grids {
		for _, row := range p.Grids[i].Rows {
			for j := range row {
				row[j] = clean(row[j])
			}
		}
	}
}

// clean makes one printable line of what may have come from the market.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

func about(r *Report) string {
	zone := r.Zone.Location()
	name := string(r.Zone)
	if name == "" {
		name = "UTC"
	}
	s := fmt.Sprintf("tdscaler of %s, %s to %s (%s)", r.Owner, r.From.In(zone).Format("2006-01-02 15:04"), r.To.In(zone).Format("2006-01-02 15:04"), name)
	if r.Mode != "live" {
		s += ", " + string(r.Mode)
	}
	return s
}

func policyPart(r *Report) part {
	got := grid{Head: []string{"POLICY", "WANTED", "GOT", "SHARE", "COST", "$/GPU-H", "ON DEMAND", "LESS"}}
	did := grid{Head: []string{"POLICY", "STARTS", "REBIDS", "OUTBIDS", "LOST", "DELETED", "PAID FOR NOTHING"}}
	all := r.Policies
	if len(all) != 1 {
		all = append(all[:len(all):len(all)], r.Total)
	}
	for i := range all {
		l := &all[i]
		got.Rows = append(got.Rows, gotRow(l))
		did.Rows = append(did.Rows, []string{l.Policy, num(l.Starts), num(l.Rebids), num(l.Outbids), num(l.Losses), num(l.Deletes), idle(l)})
	}
	p := part{Title: "Policies", Grids: []grid{got, did}, Chart: chart(r)}
	p.Lines = append(p.Lines, "WANTED and GOT are GPU-hours. ON DEMAND is what the hosts asked for the same machine-hours; LESS is what was saved of it.")
	if u := r.Total.Uncompared; u > 0 {
		p.Lines = append(p.Lines, cents(u)+" is compared with nothing: what the host asked on demand is not known.")
	}
	if a := r.Total.Above; a > 0 {
		p.Lines = append(p.Lines, hours(a)+" GPU-hours were delivered above a target, and count for no share.")
	}
	return p
}

func num(n int) string { return fmt.Sprint(n) }

func gotRow(l *Line) []string {
	row := []string{l.Policy, hours(l.Wanted), hours(l.Delivered), "-", cents(l.Spent), "-", "-", "-"}
	if share, ok := l.Share().Get(); ok {
		row[3] = percent(share)
	}
	if per, ok := l.PerGPUHour().Get(); ok {
		row[5] = perHour(per)
	}
	if l.OnDemand > 0 {
		row[6], row[7] = cents(l.OnDemand), whole(l.Saved, l.OnDemand)
	}
	return row
}

func idle(l *Line) string {
	if l.Idle <= 0 || l.Spent <= 0 {
		return "-"
	}
	return fmt.Sprintf("%s (%.1f %%)", cents(l.Idle), 100*l.Idle.Float()/l.Spent.Float())
}

// chart draws what was wanted and delivered; nil where nothing is known.
func chart(r *Report) *plot.Chart {
	c := &plot.Chart{Title: "GPUs wanted and delivered (UTC)", From: r.From, To: r.To, Zero: true, Lines: []plot.Line{{Name: "wanted"}, {Name: "delivered"}}}
	known := false
	for _, p := range r.Trend {
		wanted, delivered := p.Wanted, p.Delivered
		if !p.Known {
			wanted, delivered = math.NaN(), math.NaN()
		}
		known = known || p.Known
		c.Lines[0].Values, c.Lines[1].Values = append(c.Lines[0].Values, wanted), append(c.Lines[1].Values, delivered)
	}
	if !known {
		return nil
	}
	return c
}

// most is how many troubles are told one by one.
const most = 15

func troublesPart(r *Report) part {
	p := part{Title: "What went wrong, the dearest first"}
	for i := range r.Troubles[:min(len(r.Troubles), most)] {
		t := &r.Troubles[i]
		text := t.Text
		if t.Paid > 0 {
			text += fmt.Sprintf("; %s paid for nothing", cents(t.Paid))
		}
		p.Items = append(p.Items, item{text, t.Command})
	}
	switch n := len(r.Troubles) - most; {
	case n > 0:
		p.Lines = append(p.Lines, fmt.Sprintf("and %d more: --json lists them all", n))
	case len(r.Troubles) == 0:
		p.Lines = append(p.Lines, "nothing")
	}
	return p
}

// mostDays is how many days are told one by one; of more, the last.
const mostDays = 14

func moneyPart(r *Report) part {
	m := &r.Money
	p := part{Title: "Money"}
	days := m.Days
	if n := len(days) - mostDays; n > 0 {
		sum := market.Amount(0)
		for i := range n {
			sum = sum.Add(days[i].Spent)
		}
		p.Lines = append(p.Lines, fmt.Sprintf("%d days before cost %s together.", n, cents(sum)))
		days = days[n:]
	}
	if len(days) > 0 {
		p.Grids = append(p.Grids, dayGrid(m, days))
		p.Lines = append(p.Lines, "Days are whole ones, also the first and the last.")
	} else {
		p.Lines = append(p.Lines, "Nothing was spent in these days.")
	}
	if open, ok := m.Open.Get(); ok {
		s := fmt.Sprintf("Balance: %s at the beginning of these days, %s at the end", cents(open), cents(m.Close.Or(0)))
		if m.Deposits > 0 {
			s += fmt.Sprintf(", with deposits of %s", cents(m.Deposits))
		}
		p.Lines = append(p.Lines, s+".")
	}
	if n := m.Now; n != nil {
		p.Lines = append(p.Lines, outlook(n))
	}
	p.Lines = append(p.Lines, uses(r)...)
	return p
}

func dayGrid(m *Money, days []Day) grid {
	g := grid{Head: []string{"DAY", "COST", "OF MAX_DAILY", "REST OF ACCOUNT"}}
	for _, d := range days {
		row := []string{d.Day, cents(d.Spent), "-", "-"}
		if most, ok := m.MaxDaily.Get(); ok && most > 0 {
			row[2] = whole(d.Spent, most)
		}
		if d.Rest > 0 {
			row[3] = cents(d.Rest)
		}
		g.Rows = append(g.Rows, row)
	}
	return g
}

func outlook(n *Outlook) string {
	s := fmt.Sprintf("This month %s so far, %s at its end if the present %s goes on", cents(n.SpentMonth), cents(n.Forecast), n.Burn)
	if most, ok := n.MaxMonthly.Get(); ok {
		s += fmt.Sprintf(", of max_monthly %s", cents(most))
	}
	if n.Runway > 0 {
		s += fmt.Sprintf("; the balance lasts %s", lasted(n.Runway))
	}
	return s + "."
}

// uses tell how much of each cap is used up.
func uses(r *Report) (out []string) {
	all := append(r.Policies[:len(r.Policies):len(r.Policies)], r.Total)
	for i := range all {
		l := &all[i]
		for _, u := range l.Caps {
			name := l.Policy
			if i == len(all)-1 {
				name = "all"
			}
			of := ""
			if u.Cap == "max_daily" {
				of = " on the dearest day"
			}
			if u.Of > 0 {
				out = append(out, fmt.Sprintf("%s: %s of %s %s used%s (%s).", name, whole(u.Used, u.Of), u.Cap, cents(u.Of), of, cents(u.Used)))
			}
		}
	}
	return out
}
