package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
)

// columns is how finely a tape is drawn.
const columns = 480

// column is what was held during one of the equal parts of the tape: GPUs, on the
// average, and J up to its end, in dollars.
type column struct {
	spot, onDemand, booting float64
	j                       float64
}

// bounds are where a column begins and ends.
func (p *Page) bounds(i int) (from, until time.Duration) {
	return p.Tape.Length / columns * time.Duration(i), p.edge(i + 1)
}

func (p *Page) edge(i int) time.Duration {
	if i >= columns {
		return p.Tape.Length
	}
	return p.Tape.Length / columns * time.Duration(i)
}

// columnOf is the column of a moment.
func (p *Page) columnOf(at time.Duration) int {
	return min(int(at/max(p.Tape.Length/columns, 1)), columns-1)
}

// course is what a player's machines were in every column.
func (p *Page) course(spans []tape.Span) [columns]column {
	var out [columns]column
	var cost, delivered [columns]float64
	for _, s := range spans {
		until := min(s.Until, p.Tape.Length)
		ready := min(s.From+p.Tape.Boot, until)
		p.each(s.From, ready, func(i int, share float64, _, _ time.Duration) { out[i].booting += share * float64(s.GPUs) })
		p.each(ready, until, func(i int, share float64, _, _ time.Duration) {
			if s.Pool == tape.OnDemand {
				out[i].onDemand += share * float64(s.GPUs)
			} else {
				out[i].spot += share * float64(s.GPUs)
			}
		})
		p.each(s.From, until, func(i int, _ float64, from, to time.Duration) {
			part := s
			part.From, part.Until = from, to
			cost[i] += p.Tape.Score(0, []tape.Span{part}).Cost.Float()
		})
	}
	p.deliver(spans, &delivered)
	paid, missing, penalty := 0.0, p.Work.Hours(), p.Tape.Penalty.Float()
	for i := range out {
		from, until := p.bounds(i)
		if p.Work == 0 {
			missing += float64(p.Target) * (until - from).Hours()
		}
		paid, missing = paid+cost[i], missing-delivered[i]
		out[i].j = paid + penalty*max(missing, 0)
	}
	return out
}

// each tells the columns between two moments, and which share of each is between them.
func (p *Page) each(from, until time.Duration, f func(i int, share float64, from, to time.Duration)) {
	if until <= from {
		return
	}
	for i := p.columnOf(from); i < columns; i++ {
		begin, end := p.bounds(i)
		a, b := max(from, begin), min(until, end)
		if begin >= until {
			return
		}
		if b > a {
			f(i, float64(b-a)/float64(end-begin), a, b)
		}
	}
}

// deliver adds up GPU-hours delivered by column, never more than the target at a time.
func (p *Page) deliver(spans []tape.Span, out *[columns]float64) {
	type change struct {
		at   time.Duration
		gpus int
	}
	var changes []change
	for _, s := range spans {
		until := min(s.Until, p.Tape.Length)
		if ready := s.From + p.Tape.Boot; ready < until {
			changes = append(changes, change{ready, s.GPUs}, change{until, -s.GPUs})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.at, b.at) })
	ready, last := 0, time.Duration(0)
	for _, c := range changes {
		if n := float64(min(ready, p.Target)); n > 0 {
			p.each(last, c.at, func(i int, _ float64, from, to time.Duration) { out[i] += n * (to - from).Hours() })
		}
		ready, last = ready+c.gpus, c.at
	}
}

// event is something that happened to a machine.
type event struct{ When, Where, What string }

// maxEvents bounds the page.
const maxEvents = 1000

// lives lists what became of a player's machines, in order of time.
func (p *Page) lives(pl *Player) lives {
	type moment struct {
		at    time.Duration
		where int
		what  string
	}
	var all []moment
	for _, s := range pl.Machines {
		all = append(all, moment{s.From, s.Pool, "ordered"})
		switch ready := s.From + p.Tape.Boot; {
		case s.Lost && s.Until <= ready:
			all = append(all, moment{s.Until, s.Pool, "lost while booting"})
		case s.Lost:
			all = append(all, moment{s.Until, s.Pool, "lost"})
		case s.Until < p.Tape.Length:
			all = append(all, moment{s.Until, s.Pool, "given up"})
		}
	}
	slices.SortStableFunc(all, func(a, b moment) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.where, b.where)) })
	out := lives{Name: pl.Name, More: max(len(all)-maxEvents, 0)}
	for _, m := range all[:min(len(all), maxEvents)] {
		out.Events = append(out.Events, event{p.when(m.at), p.place(m.where), m.what})
	}
	return out
}

func (p *Page) place(pool int) string {
	if pool == tape.OnDemand {
		return "on demand"
	}
	return p.Tape.Pools[pool].Name
}
