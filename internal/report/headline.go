package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// headline is the answer in one line.
func headline(r *Report, present bool) string {
	zone := r.Zone.Location()
	when := fmt.Sprintf("%s to %s", r.From.In(zone).Format("2006-01-02 15:04"), r.To.In(zone).Format("2006-01-02 15:04"))
	if present {
		when = "last " + lasted(r.To.Sub(r.From))
	}
	if r.Only != "" {
		when += ", " + r.Only
	}
	if !slices.ContainsFunc(r.Trend, func(p Point) bool { return p.Known }) {
		return fmt.Sprintf("%s: no cycle is on record, %s", when, costPart(&r.Total))
	}
	return fmt.Sprintf("%s: %s, %s, %s", when, sharePart(&r.Total), costPart(&r.Total), troublePart(len(r.Troubles)))
}

func sharePart(l *Line) string {
	share, ok := l.Share().Get()
	if !ok {
		return "no GPU-hours wanted"
	}
	return percent(share) + " of the GPU-hours wanted"
}

func costPart(l *Line) string {
	var in []string
	if per, ok := l.PerGPUHour().Get(); ok {
		in = append(in, perHour(per)+" a GPU-hour")
	}
	if l.OnDemand > 0 {
		than := fmt.Sprintf("%s less", whole(l.Saved, l.OnDemand))
		if l.Saved < 0 {
			than = fmt.Sprintf("%s more", whole(-l.Saved, l.OnDemand))
		}
		in = append(in, fmt.Sprintf("on demand it would have been %s: %s", cents(l.OnDemand), than))
	}
	if len(in) == 0 {
		return cents(l.Spent)
	}
	return fmt.Sprintf("%s (%s)", cents(l.Spent), strings.Join(in, "; "))
}

func troublePart(n int) string {
	switch n {
	case 0:
		return "nothing went wrong"
	case 1:
		return "1 thing went wrong"
	}
	return fmt.Sprintf("%d things went wrong", n)
}

// cents is money to the nearest cent.
func cents(a market.Amount) string {
	if a < 0 {
		return "-" + cents(-a)
	}
	return market.Amount(market.Rate(a.Add(market.Cent / 2)).FloorCent()).String()
}

// perHour is a price of a GPU-hour, to a tenth of a cent.
func perHour(r market.Rate) string { return fmt.Sprintf("$%.3f", r.Float()) }

// percent is a share with one decimal, never 100 % for what is less.
func percent(share float64) string {
	p := 100 * share
	if share < 1 && p > 99.9 {
		p = 99.9
	}
	return fmt.Sprintf("%.1f %%", p)
}

func whole(part, of market.Amount) string { return fmt.Sprintf("%.0f %%", 100*part.Float()/of.Float()) }
