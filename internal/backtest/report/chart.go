package report

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// The drawing's size, and the room for the labels around it.
const (
	width, height       = 960.0, 260.0
	left, right         = 64.0, 8.0
	top, bottom         = 8.0, 24.0
	plotWide, plotHigh  = width - left - right, height - top - bottom
	stripHigh, stripGap = 14.0, 3.0
)

// chart is a drawing over time. Colour numbers are classes of the page's style.
type chart struct {
	Shapes         []shape
	XTicks, YTicks []tick
	High           float64 // of the whole drawing
	most           float64 // what the top of the plot stands for
}

// shape is a path: a filled area, or a line.
type shape struct {
	Class, D, Label string
}

// tick is a label beside or below the plot.
type tick struct {
	At    float64
	Label string
}

// newChart is an empty plot of 0 to `most`; label writes a value on its scale.
func (p *Page) newChart(most float64, label func(float64) string) chart {
	c := chart{High: height, most: most, XTicks: p.days()}
	if !(most > 0) || math.IsInf(most, 0) {
		c.most = 1
	}
	step := nice(c.most / 4)
	for v := 0.0; v <= c.most*1.0001; v += step {
		c.YTicks = append(c.YTicks, tick{c.y(v), label(v)})
	}
	return c
}

// nice is the next of 1, 2, 5, 10, 20, ... that is not below v.
func nice(v float64) float64 {
	base := math.Pow(10, math.Floor(math.Log10(v)))
	for _, f := range []float64{1, 2, 5} {
		if base*f >= v*0.9999 {
			return base * f
		}
	}
	return base * 10
}

func (c *chart) y(v float64) float64 { return top + plotHigh*(1-min(v/c.most, 1)) }

// x is where column i begins.
func x(i int) float64 { return left + plotWide*float64(i)/columns }

// days are at most ten labels of the time.
func (p *Page) days() []tick {
	step := time.Hour
	for _, s := range []time.Duration{3, 6, 12, 24, 48, 24 * 7, 24 * 14, 24 * 30, 24 * 90, 24 * 365} {
		if p.Tape.Length/step > 10 {
			step = s * time.Hour
		}
	}
	format := "Jan 2"
	if step < 24*time.Hour {
		format = "Jan 2 15:04"
	}
	var out []tick
	first := p.Tape.Start.UTC().Truncate(step)
	for at := first; ; at = at.Add(step) {
		d := at.Sub(p.Tape.Start)
		if d > p.Tape.Length || len(out) > 12 {
			return out
		}
		if d >= 0 {
			out = append(out, tick{left + plotWide*float64(d)/float64(p.Tape.Length), at.Format(format)})
		}
	}
}

// path builds the d of an SVG path.
type path []byte

func (d *path) to(command byte, x, y float64) {
	*d = append(*d, command)
	*d = strconv.AppendFloat(*d, x, 'f', 1, 64)
	*d = append(*d, ' ')
	*d = strconv.AppendFloat(*d, y, 'f', 1, 64)
}

// steps is a line that holds a value over every column; where there is none (NaN) it
// is broken.
func (c *chart) steps(values []float64) string {
	var d path
	last := math.NaN()
	for i, v := range values {
		if math.IsNaN(v) {
			last = v
			continue
		}
		if math.IsNaN(last) {
			d.to('M', x(i), c.y(v))
		} else if v != last {
			d.to('L', x(i), c.y(v))
		}
		if i+1 == len(values) || values[i+1] != v {
			d.to('L', x(i+1), c.y(v))
		}
		last = v
	}
	return string(d)
}

// area fills what is between two lines of steps.
func (c *chart) area(low, high []float64) string {
	var d path
	d.to('M', x(0), c.y(high[0]))
	for i := range high {
		if i == 0 || high[i] != high[i-1] {
			d.to('L', x(i), c.y(high[i]))
		}
		if i+1 == len(high) || high[i+1] != high[i] {
			d.to('L', x(i+1), c.y(high[i]))
		}
	}
	for i := len(low) - 1; i >= 0; i-- {
		if i+1 == len(low) || low[i] != low[i+1] {
			d.to('L', x(i+1), c.y(low[i]))
		}
		if i == 0 || low[i-1] != low[i] {
			d.to('L', x(i), c.y(low[i]))
		}
	}
	return string(append(d, 'Z'))
}

func (c *chart) add(class, label, d string) {
	c.Shapes = append(c.Shapes, shape{class, d, label})
}

func gpus(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

func usd(v float64) string { return fmt.Sprintf("$%.4g", v) }
