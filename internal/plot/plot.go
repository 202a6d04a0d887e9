package plot

import (
	"image/color"
	"math"
	"strconv"
	"time"
)

// Size of a chart, in pixels.
const (
	width, height = 960, 480
	left, right   = 70, 24
	top, bottom   = 40, 40
	legendLine    = 16
)

// Chart is lines over one time. Values[i] of a line stands from step i to the next.
type Chart struct {
	Title    string
	From, To time.Time
	Lines    []Line
	Zero     bool // zero is in sight, however far it is from the values
}

// Line is one line. What is no number that could be drawn, a NaN for one, is a gap.
type Line struct {
	Name   string
	Values []float64
}

// canvas is what a chart is drawn on. Colours are of the palette; y grows downwards.
type canvas interface {
	line(x1, y1, x2, y2, thickness float64, c color.RGBA)
	text(x, y float64, s string, a anchor, c color.RGBA)
}

// anchor is which end of a text stands at its place.
type anchor int

const (
	start anchor = iota
	middle
	end
)

func ink() color.RGBA  { return color.RGBA{0x33, 0x33, 0x33, 0xff} }
func grid() color.RGBA { return color.RGBA{0xdd, 0xdd, 0xdd, 0xff} }

// colour is that of the i-th line: told apart by people who see colours differently.
func colour(i int) color.RGBA {
	all := []color.RGBA{
		{0x00, 0x72, 0xb2, 0xff},
		{0xd5, 0x5e, 0x00, 0xff},
		{0x00, 0x9e, 0x73, 0xff},
		{0xcc, 0x79, 0xa7, 0xff},
		{0xe6, 0x9f, 0x00, 0xff},
		{0x56, 0xb4, 0xe9, 0xff},
		{0x80, 0x50, 0x20, 0xff},
		{0x60, 0x60, 0x60, 0xff},
	}
	return all[i%len(all)]
}

func (c *Chart) draw(on canvas) {
	low, high := c.bounds()
	bottomEdge := float64(height - bottom - legendLine*((len(c.Lines)+1)/2))
	y := func(v float64) float64 { return top + (bottomEdge-top)*(high-v)/(high-low) }
	on.text(left, top-16, c.Title, start, ink())
	for _, tick := range ticks(low, high) {
		on.line(left, y(tick), width-right, y(tick), 1, grid())
		on.text(left-6, y(tick)+4, strconv.FormatFloat(tick, 'f', 3, 64), end, ink())
	}
	c.times(on, bottomEdge)
	for i, l := range c.Lines {
		c.steps(on, l, y, colour(i))
		x, at := left+float64(i%2)*(width-left-right)/2, bottomEdge+36+float64(i/2*legendLine)
		on.line(x, at-4, x+18, at-4, 3, colour(i))
		on.text(x+24, at, l.Name, start, ink())
	}
}

// steps draws a value until the next one, and a riser where neither is missing.
func (c *Chart) steps(on canvas, l Line, y func(float64) float64, col color.RGBA) {
	n := float64(max(len(l.Values), 1))
	x := func(i int) float64 { return left + (width-left-right)*float64(i)/n }
	for i, v := range l.Values {
		if gap(v) {
			continue
		}
		on.line(x(i), y(v), x(i+1), y(v), 2, col)
		if i > 0 && !gap(l.Values[i-1]) {
			on.line(x(i), y(l.Values[i-1]), x(i), y(v), 2, col)
		}
	}
}

func gap(v float64) bool { return math.IsNaN(v) || math.Abs(v) > 1e9 }

// times writes five points in time below the lines.
func (c *Chart) times(on canvas, edge float64) {
	layout := "01-02 15:04"
	if c.To.Sub(c.From) > 10*24*time.Hour {
		layout = "2006-01-02"
	}
	for i := range 5 {
		x := left + float64(width-left-right)*float64(i)/4
		on.line(x, edge, x, edge+5, 1, ink())
		a := []anchor{start, middle, middle, middle, end}[i]
		on.text(x, edge+18, c.From.Add(c.To.Sub(c.From)*time.Duration(i)/4).UTC().Format(layout), a, ink())
	}
}

// bounds are the lowest and the highest value with some air; zero stays in sight
// where it is near.
func (c *Chart) bounds() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, l := range c.Lines {
		for _, v := range l.Values {
			if !gap(v) {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if low > high {
		return 0, 1
	}
	air := max((high-low)*0.08, high*0.02, 0.001)
	if low -= air; low < 0 || low < high/3 || c.Zero {
		low = min(low, 0)
	}
	return low, high + air
}

// ticks are round numbers between the bounds, about five.
func ticks(low, high float64) (out []float64) {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/4)))
	for _, m := range []float64{5, 2} {
		if (high-low)/(step*m) >= 4 {
			step *= m
			break
		}
	}
	for i := 0; i < 20; i++ {
		if v := (math.Ceil(low/step) + float64(i)) * step; v <= high {
			out = append(out, v)
		}
	}
	return out
}
