package report

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
)

// fleet draws what a player held: ready spot below ready on-demand below what boots,
// a line at the target, and a mark for every loss.
func (p *Page) fleet(pl *Player) fleet {
	course := p.course(pl.Machines)
	var zero, spot, ready, all [columns]float64
	most := float64(p.Target)
	for i, c := range course {
		spot[i] = c.spot
		ready[i] = spot[i] + c.onDemand
		all[i] = ready[i] + c.booting
		most = max(most, all[i])
	}
	c := p.newChart(most*1.05, gpus)
	c.add("a0", "spot", c.area(zero[:], spot[:]))
	c.add("a1", "on demand", c.area(spot[:], ready[:]))
	c.add("a2", "booting", c.area(ready[:], all[:]))
	c.add("wanted", fmt.Sprintf("%d wanted", p.Target), c.steps(constant(float64(p.Target))))
	c.add("lost", "lost", p.losses(pl.Machines))
	return fleet{pl.Name, c}
}

func constant(v float64) []float64 {
	out := make([]float64, columns)
	for i := range out {
		out[i] = v
	}
	return out
}

// losses is a tick below the plot for each column in which machines were lost.
func (p *Page) losses(spans []tape.Span) string {
	var lost [columns]bool
	for _, s := range spans {
		if s.Lost && s.Until <= p.Tape.Length {
			lost[p.columnOf(s.Until)] = true
		}
	}
	var d path
	for i, l := range lost {
		if l {
			d.to('M', x(i), top+plotHigh)
			d.to('L', x(i), top+plotHigh+6)
		}
	}
	return string(d)
}

// money draws J as it grows, of everybody.
func (p *Page) money() chart {
	var lines [][]float64
	most := 0.0
	grows := func(spans []tape.Span) []float64 {
		line := make([]float64, columns)
		for j, c := range p.course(spans) {
			line[j] = c.j
			most = max(most, c.j)
		}
		return line
	}
	for i := range p.Players {
		lines = append(lines, grows(p.Players[i].Machines))
	}
	best := p.optimum()
	var optimum []float64
	if best != nil {
		optimum = grows(best.Machines)
	}
	c := p.newChart(most, usd)
	if best != nil {
		c.add("cheapest", best.Name, c.steps(optimum))
	}
	for i, line := range lines {
		c.add(fmt.Sprintf("l%d", i%10), p.Players[i].Name, c.steps(line))
	}
	return c
}

// mostLines bounds the lines of prices; the cheapest price is drawn anyway.
const mostLines = 8

// moves says whether any price ever changes.
func (p *Page) moves() bool {
	return slices.ContainsFunc(p.Tape.Pools, func(pool tape.Pool) bool { return len(pool.Price) > 1 })
}

// prices draws what spot cost, the cheapest that was to be had, and on-demand.
func (p *Page) prices() chart {
	pools := p.columnsOf()
	cheapest := constant(math.NaN())
	most := p.Tape.OnDemand.Float()
	for _, pool := range pools {
		for i, c := range pool {
			if c.free > 0 && !(cheapest[i] <= c.price) {
				cheapest[i] = c.price
			}
		}
	}
	shown := pools[:min(len(pools), mostLines)]
	var lines [][]float64
	for _, pool := range shown {
		line := constant(math.NaN())
		for i, c := range pool {
			if c.free > 0 {
				line[i] = c.price
				most = max(most, min(c.price, 3*p.Tape.OnDemand.Float()))
			}
		}
		lines = append(lines, line)
	}
	c := p.newChart(most*1.05, usd)
	for i, line := range lines {
		c.add(fmt.Sprintf("l%d", i%10), p.Tape.Pools[i].Name, c.steps(line))
	}
	c.add("cheapest", "cheapest", c.steps(cheapest))
	if p.Tape.OnDemand > 0 {
		c.add("wanted", "on demand", c.steps(constant(p.Tape.OnDemand.Float())))
	}
	return c
}

// mean is what a pool had during one column.
type mean struct {
	free  float64 // GPUs
	price float64 // dollars, of the time in which it had any
}

// columnsOf are the pools' means, pool by pool.
func (p *Page) columnsOf() [][columns]mean {
	out := make([][columns]mean, len(p.Tape.Pools))
	for i := range p.Tape.Pools {
		p.means(&p.Tape.Pools[i], &out[i])
	}
	return out
}

// means averages over the time in which the pool had any GPU.
func (p *Page) means(pool *tape.Pool, out *[columns]mean) {
	var had [columns]float64
	for i, step := range pool.Free {
		until := p.Tape.Length
		if i+1 < len(pool.Free) {
			until = min(until, pool.Free[i+1].At)
		}
		if step.Value <= 0 {
			continue
		}
		p.each(step.At, until, func(i int, share float64, a, b time.Duration) {
			out[i].free += share * float64(step.Value)
			out[i].price += share * pool.Cost(1, a, b).Float() / (b - a).Hours()
			had[i] += share
		})
	}
	for i := range out {
		if had[i] > 0 {
			out[i].price /= had[i]
		}
	}
}

// strips draw what every pool had, one below the other.
type strips struct {
	Title, Low, Top string // of the scale
	Rows            []strip
	XTicks          []tick
	High            float64
	More            int
}

type strip struct {
	Name, Short string
	Y           float64
	Cells       []cell
}

// short is a name that fits beside a strip; names differ at either end.
func short(name string) string {
	r := []rune(name)
	if len(r) <= 10 {
		return name
	}
	return string(r[:3]) + "…" + string(r[len(r)-6:])
}

// cell is a run of columns that look the same.
type cell struct {
	X, Wide float64
	Class   string
}

// mostStrips bounds the page.
const mostStrips = 60

// market draws the pools: by price where prices differ, else by room.
func (p *Page) market() strips {
	pools := p.columnsOf()
	class, out := p.scale(pools)
	out.XTicks, out.More = p.days(), max(len(pools)-mostStrips, 0)
	pools = pools[:min(len(pools), mostStrips)]
	for i, pool := range pools {
		row := strip{Name: p.Tape.Pools[i].Name, Short: short(p.Tape.Pools[i].Name), Y: top + float64(i)*(stripHigh+stripGap)}
		for from, to := 0, 0; from < columns; from = to {
			k := class(pool[from])
			for to = from + 1; to < columns && class(pool[to]) == k; to++ {
			}
			if k != "" {
				row.Cells = append(row.Cells, cell{x(from), x(to) - x(from), k})
			}
		}
		out.Rows = append(out.Rows, row)
	}
	out.High = top + float64(len(pools))*(stripHigh+stripGap) + bottom
	return out
}

// scale gives each mean one of five shades, none to a pool without room.
func (p *Page) scale(pools [][columns]mean) (func(mean) string, strips) {
	low, high, most := math.Inf(1), 0.0, 0.0
	for _, pool := range pools {
		for _, c := range pool {
			if c.free > 0 {
				low, high, most = min(low, c.price), max(high, c.price), max(most, c.free)
			}
		}
	}
	if most == 0 {
		low = 0
	}
	shade := func(v, from, to float64) string {
		return fmt.Sprintf("s%d", min(int(5*(v-from)/max(to-from, 1e-9)), 4))
	}
	if high > low*1.001 {
		high = min(high, max(2*p.Tape.OnDemand.Float(), low*1.1))
		return func(c mean) string {
			if c.free <= 0 {
				return ""
			}
			return shade(max(high-c.price, 0), 0, high-low)
		}, strips{Title: "price of a GPU-hour", Low: usd(high), Top: usd(low)}
	}
	return func(c mean) string {
		if c.free <= 0 {
			return ""
		}
		return shade(c.free, 0, most)
	}, strips{Title: "free GPUs", Low: "few", Top: gpus(most)}
}
