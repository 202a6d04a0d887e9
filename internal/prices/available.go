package prices

import (
	"cmp"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Availability says how often there was an offer that is wanted.
type Availability struct {
	// Since is when the record of such offers begins, not before the query's own; zero
	// where there is none.
	Since, Until time.Time
	Share        float64   // of that time, in which there was at least one
	Last         time.Time // when there was one last; zero where there never was
	// Answers is how many bids for as many GPUs, at or under the ceiling, were answered,
	// Yes how many of them would have won.
	Answers, Yes int
}

// stretch is a time in which there was an offer.
type stretch struct{ from, to time.Time }

// Available says how often a machine of the query's shape was to be had: a wanted host was
// open with as many GPUs free, and with onDemand at no more than the ceiling, all-in.
func Available(q Query, ceiling market.Rate, onDemand bool, all []plan.Series) Availability {
	a := Availability{Until: q.Until}
	var there []stretch
	for i := range all {
		s := &all[i]
		if len(s.Quotes) == 0 || q.Wants != nil && !q.Wants(s.Model, s.Location) {
			continue
		}
		if begin := later(s.Quotes[0].At, q.Since); a.Since.IsZero() || begin.Before(a.Since) {
			a.Since = begin
		}
		there = append(there, stretches(&q, s, ceiling, onDemand)...)
		a.answers(&q, s, ceiling)
	}
	if !a.Since.Before(q.Until) {
		a.Since = time.Time{}
	}
	if !a.Since.IsZero() {
		a.Share = float64(covered(there)) / float64(q.Until.Sub(a.Since))
	}
	for _, t := range there {
		a.Last = later(a.Last, t.to)
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// stretches are the times within the query at which a host had what is wanted.
func stretches(q *Query, s *plan.Series, ceiling market.Rate, onDemand bool) (out []stretch) {
	for i := range s.Quotes {
		x, to := &s.Quotes[i], q.Until
		if i+1 < len(s.Quotes) {
			to = earlier(s.Quotes[i+1].At, to)
		}
		rate, priced := x.AllIn(q.Shape).Get()
		from := later(x.At, q.Since)
		if x.Open && priced && x.Free >= q.Shape.GPUs && from.Before(to) && (!onDemand || rate <= ceiling) {
			out = append(out, stretch{from, to})
		}
	}
	return out
}

// covered is how much time stretches cover together.
func covered(all []stretch) (sum time.Duration) {
	slices.SortFunc(all, func(a, b stretch) int { return cmp.Or(a.from.Compare(b.from), a.to.Compare(b.to)) })
	var end time.Time
	for _, t := range all {
		if from := later(t.from, end); from.Before(t.to) {
			sum += t.to.Sub(from)
			end = t.to
		}
	}
	return sum
}

// answers counts what the market said to bids that the ceiling allows.
func (a *Availability) answers(q *Query, s *plan.Series, ceiling market.Rate) {
	disk := s.Quotes[len(s.Quotes)-1].Storage.Or(0)
	for i := range s.Prices {
		p := &s.Prices[i]
		if p.At.Before(q.Since) || p.At.After(q.Until) || p.GPUs != q.Shape.GPUs || p.Bid <= 0 || p.Bid.Add(disk.Mul(p.Storage)) > ceiling {
			continue
		}
		switch p.Answer {
		case market.Accepted:
			a.Yes++
			a.Answers++
		case market.Refused:
			a.Answers++
		}
	}
}
