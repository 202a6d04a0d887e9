package web

import (
	"cmp"
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// picture is SVG of our own making: every text in it went through html.EscapeString.
type picture = template.HTML

// figure is a chart with all that a reader needs of it: drawn once for a wide window and
// once for a narrow one, of which the style sheet shows one.
type figure struct {
	ID    string
	Title string
	Desc  string // what it shows, in words, for whoever cannot see it
	Wide  picture
	Thin  picture
	Keys  []key
	Empty string // why there is nothing to see
}

// key is one entry of a legend.
type key struct {
	Class string // of the line or bar
	Bar   bool
	Level bool
	Name  string
	Note  string
}

// series is a line of steps: V[i] holds from At[i] until the next. NaN is a gap.
type series struct {
	Name  string
	Class string
	At    []time.Time
	V     []float64
	Thin  bool
}

// level is a horizontal line: a cap.
type level struct {
	Name  string
	V     float64
	Class string // "cap" if it is none
}

func (l *level) class() string { return cmp.Or(l.Class, "cap") }

// plot is lines over one time.
type plot struct {
	ID, Title, Desc string
	From, To        time.Time
	Lines           []series
	Levels          []level
	Unit            func(float64) string
	Fill            bool // below the first line
	Slices          int  // places that tell their values when pointed at
}

// size of a drawing, in its own units, which are pixels at full width.
type size struct{ w, h float64 }

var (
	wide = size{880, 260}
	thin = size{440, 240}
)

// Margins around what is drawn.
const (
	marginLeft, marginRight   = 58, 14
	marginTop, marginBottom   = 14, 28
	fewest, farAbove, slices_ = 1e-9, 4.0, 72
)

// area is where lines are drawn, with its scales.
type area struct {
	strings.Builder
	size
	x0, x1, y0, y1 float64 // x of the data's edges; y0 is the bottom
	low, high      float64
	from, to       float64
}

func newArea(s size, low, high, from, to float64) *area {
	return &area{size: s, x0: marginLeft, x1: s.w - marginRight, y0: s.h - marginBottom, y1: marginTop, low: low, high: high, from: from, to: to}
}

func (a *area) x(v float64) float64 { return a.x0 + (a.x1-a.x0)*(v-a.from)/max(a.to-a.from, fewest) }

func (a *area) y(v float64) float64 { return a.y0 - (a.y0-a.y1)*(v-a.low)/max(a.high-a.low, fewest) }

// num writes a coordinate, to a tenth.
func num(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(math.Round(v*10)/10, 'f', 1, 64), ".0")
}

func (a *area) line(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(a, `<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, num(x1), num(y1), num(x2), num(y2))
}

func (a *area) text(class, anchor string, x, y float64, s string) {
	fmt.Fprintf(a, `<text class="%s" text-anchor="%s" x="%s" y="%s">%s</text>`, class, anchor, num(x), num(y), html.EscapeString(s))
}

func (a *area) rect(class string, x, y, w, h float64, title string) {
	fmt.Fprintf(a, `<rect class="%s" x="%s" y="%s" width="%s" height="%s"`, class, num(x), num(y), num(max(w, 0)), num(max(h, 0)))
	if title == "" {
		a.WriteString("/>")
		return
	}
	fmt.Fprintf(a, `><title>%s</title></rect>`, html.EscapeString(title))
}

// rules draws the lines of the y axis, with what they stand for.
func (a *area) rules(unit func(float64) string) {
	for _, t := range ticks(a.low, a.high, 4) {
		a.line("rule", a.x0, a.y(t), a.x1, a.y(t))
		a.text("tick", "end", a.x0-8, a.y(t)+4, unit(t))
	}
	a.line("axis", a.x0, a.y0, a.x1, a.y0)
}

// svg is the drawing as an image with a name and a description.
func (a *area) svg(class, id, title, desc string) picture {
	id = html.EscapeString(id)
	return picture(fmt.Sprintf(
		`<svg class="plot %s" viewBox="0 0 %s %s" role="img" aria-labelledby="%s-%s-t %s-%s-d"><title id="%s-%s-t">%s</title><desc id="%s-%s-d">%s</desc>%s</svg>`,
		class, num(a.w), num(a.h), id, class, id, class, id, class, html.EscapeString(title), id, class, html.EscapeString(desc), a.String()))
}

// ticks are round numbers from low to high, about n of them.
func ticks(low, high float64, n int) (out []float64) {
	if !(high > low) {
		return []float64{low}
	}
	step := math.Pow(10, math.Floor(math.Log10((high-low)/float64(n))))
	for _, m := range []float64{10, 5, 2.5, 2} {
		if (high-low)/(step*m) >= float64(n)*0.75 {
			step *= m
			break
		}
	}
	for i := range 4 * n {
		if v := (math.Ceil(low/step-1e-9) + float64(i)) * step; v <= high+step*1e-9 {
			out = append(out, v)
		}
	}
	return out
}

// round is the next round number from v on, for the top of an axis.
func round(v float64) float64 {
	if v <= 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8} {
		if v <= p*m*1.0001 {
			return p * m
		}
	}
	return p * 10
}

// highest is the highest value, and how high the picture must be: levels are in it unless
// they are far above everything.
func (p *plot) highest() (top float64, shown []level) {
	for _, l := range p.Lines {
		for _, v := range l.V {
			if !math.IsNaN(v) {
				top = max(top, v)
			}
		}
	}
	data := top
	for _, l := range p.Levels {
		if l.V <= data*farAbove || data == 0 {
			top, shown = max(top, l.V), append(shown, l)
		}
	}
	return top, shown
}

func (p *plot) figure() figure {
	f := figure{ID: p.ID, Title: p.Title, Desc: p.Desc}
	points := 0
	for _, l := range p.Lines {
		points += len(l.V)
		if !slices.ContainsFunc(f.Keys, func(k key) bool { return k.Name == l.Name }) {
			f.Keys = append(f.Keys, key{Class: l.Class, Name: l.Name})
		}
	}
	if points == 0 {
		f.Empty = "Nothing is on record yet."
		return f
	}
	_, shown := p.highest()
	for _, l := range p.Levels {
		k := key{Class: l.class(), Level: true, Name: l.Name + " " + p.Unit(l.V)}
		if !slices.Contains(shown, l) {
			k.Note = "far above the picture"
		}
		f.Keys = append(f.Keys, k)
	}
	f.Wide, f.Thin = p.draw("wide", wide), p.draw("thin", thin)
	return f
}

func (p *plot) draw(class string, s size) picture {
	top, shown := p.highest()
	a := newArea(s, 0, round(top*1.04), float64(p.From.Unix()), float64(p.To.Unix()))
	a.rules(p.Unit)
	a.times(p.From, p.To)
	for i, l := range p.Lines {
		if p.Fill && i == 0 {
			fmt.Fprintf(a, `<path class="fill %s" d="%s"/>`, l.Class, a.steps(&l, true))
		}
	}
	for _, l := range shown {
		a.line("level "+l.class(), a.x0, a.y(l.V), a.x1, a.y(l.V))
	}
	for _, l := range slices.Backward(p.Lines) {
		extra := ""
		if l.Thin {
			extra = " hair"
		}
		fmt.Fprintf(a, `<path class="line %s%s" d="%s"/>`, l.Class, extra, a.steps(&l, false))
	}
	p.slices(a)
	return a.svg(class, p.ID, p.Title, p.Desc)
}

// steps is the path of a line; closed, it goes down to the axis where the line ends.
func (a *area) steps(l *series, closed bool) string {
	var b strings.Builder
	open := false
	end := func(x float64) {
		if open && closed {
			fmt.Fprintf(&b, "V%s", num(a.y0))
		}
		open = false
		_ = x
	}
	for i, v := range l.V {
		x, next := a.x(float64(l.At[i].Unix())), a.x1
		if i+1 < len(l.At) {
			next = a.x(float64(l.At[i+1].Unix()))
		}
		x, next = min(max(x, a.x0), a.x1), min(max(next, a.x0), a.x1)
		switch {
		case math.IsNaN(v):
			end(x)
			continue
		case !open && closed:
			fmt.Fprintf(&b, "M%s %sV%s", num(x), num(a.y0), num(a.y(v)))
		case !open:
			fmt.Fprintf(&b, "M%s %s", num(x), num(a.y(v)))
		default:
			fmt.Fprintf(&b, "V%s", num(a.y(v)))
		}
		open = true
		fmt.Fprintf(&b, "H%s", num(next))
	}
	end(a.x1)
	return b.String()
}

// times writes round points in time below the lines.
func (a *area) times(from, to time.Time) {
	room := int((a.x1 - a.x0) / 92)
	step, layout := 7*24*time.Hour, "Jan 2"
	for _, s := range []struct {
		d      time.Duration
		layout string
	}{
		{time.Minute, "15:04"},
		{5 * time.Minute, "15:04"},
		{15 * time.Minute, "15:04"},
		{time.Hour, "15:04"},
		{3 * time.Hour, "15:04"},
		{6 * time.Hour, "15:04"},
		{12 * time.Hour, "Jan 2 15:04"},
		{24 * time.Hour, "Jan 2"},
		{48 * time.Hour, "Jan 2"},
	} {
		if int(to.Sub(from)/s.d) <= room {
			step, layout = s.d, s.layout
			break
		}
	}
	for t := from.UTC().Truncate(step).Add(step); !t.After(to); t = t.Add(step) {
		x := a.x(float64(t.Unix()))
		if x < a.x0+16 || x > a.x1-14 {
			continue
		}
		l := layout
		if l == "15:04" && t.Hour() == 0 && t.Minute() == 0 {
			l = "Jan 2"
		}
		a.line("axis", x, a.y0, x, a.y0+5)
		a.text("tick", "middle", x, a.y0+19, t.Format(l))
	}
}

// slices are places that tell their values when they are pointed at.
func (p *plot) slices(a *area) {
	n := p.Slices
	if n == 0 {
		n = slices_
	}
	if a.w < wide.w {
		n /= 2
	}
	w := (a.x1 - a.x0) / float64(n)
	for i := range n {
		at := p.From.Add(time.Duration((float64(i) + 0.5) / float64(n) * float64(p.To.Sub(p.From))))
		text := at.UTC().Format("Jan 2 15:04 UTC")
		for j := range p.Lines {
			if v := p.Lines[j].value(at); !math.IsNaN(v) {
				text += "\n" + p.Lines[j].Name + ": " + p.Unit(v)
			}
		}
		x := a.x0 + w*float64(i)
		fmt.Fprintf(a, `<g class="slice"><title>%s</title><rect x="%s" y="%s" width="%s" height="%s"/><line x1="%s" y1="%s" x2="%s" y2="%s"/></g>`,
			html.EscapeString(text), num(x), num(a.y1), num(w), num(a.y0-a.y1), num(x+w/2), num(a.y1), num(x+w/2), num(a.y0))
	}
}

// value is what the line was at a time.
func (l *series) value(at time.Time) float64 {
	i, found := slices.BinarySearchFunc(l.At, at, time.Time.Compare)
	if found {
		i++
	}
	if i == 0 {
		return math.NaN()
	}
	return l.V[i-1]
}

// bars are stacked columns, one a day, with a mark for what they are compared with.
type bars struct {
	ID, Title, Desc string
	Days            []string
	Stacks          []stack
	Mark            []float64 // by day; NaN is none
	MarkName        string
	Levels          []level
	Unit            func(float64) string
}

// stack is what one policy adds to each column.
type stack struct {
	Name  string
	Class string
	V     []float64
}

func (b *bars) sums() []float64 {
	out := make([]float64, len(b.Days))
	for _, s := range b.Stacks {
		for i, v := range s.V {
			out[i] += v
		}
	}
	return out
}

func (b *bars) highest() (top float64, shown []level) {
	for i, v := range b.sums() {
		top = max(top, v)
		if i < len(b.Mark) && !math.IsNaN(b.Mark[i]) {
			top = max(top, b.Mark[i])
		}
	}
	data := top
	for _, l := range b.Levels {
		if l.V <= data*farAbove || data == 0 {
			top, shown = max(top, l.V), append(shown, l)
		}
	}
	return top, shown
}

func (b *bars) figure() figure {
	f := figure{ID: b.ID, Title: b.Title, Desc: b.Desc}
	if len(b.Days) == 0 {
		f.Empty = "Nothing is on record yet."
		return f
	}
	for _, s := range b.Stacks {
		f.Keys = append(f.Keys, key{Class: s.Class, Bar: true, Name: s.Name})
	}
	if b.MarkName != "" {
		f.Keys = append(f.Keys, key{Class: "mark", Name: b.MarkName})
	}
	_, shown := b.highest()
	for _, l := range b.Levels {
		k := key{Class: l.class(), Level: true, Name: l.Name + " " + b.Unit(l.V)}
		if !slices.Contains(shown, l) {
			k.Note = "far above the picture"
		}
		f.Keys = append(f.Keys, k)
	}
	f.Wide, f.Thin = b.draw("wide", wide), b.draw("thin", thin)
	return f
}

func (b *bars) draw(class string, s size) picture {
	top, shown := b.highest()
	n := float64(len(b.Days))
	a := newArea(s, 0, round(top*1.04), 0, n)
	a.rules(b.Unit)
	gap := min(0.3, 0.12+0.02*(a.x1-a.x0)/n/40)
	below := make([]float64, len(b.Days))
	every := int(math.Ceil(n * 58 / (a.x1 - a.x0)))
	for i, day := range b.Days {
		x, w := a.x(float64(i)+gap/2), min((a.x(1)-a.x(0))*(1-gap), 64)
		x += ((a.x(1)-a.x(0))*(1-gap) - w) / 2
		for _, st := range b.Stacks {
			v := st.V[i]
			if v <= 0 {
				continue
			}
			y := a.y(below[i] + v)
			a.rect("bar "+st.Class, x, y, w, a.y(below[i])-y, fmt.Sprintf("%s\n%s: %s", day, st.Name, b.Unit(v)))
			below[i] += v
		}
		if i < len(b.Mark) && !math.IsNaN(b.Mark[i]) {
			y := a.y(b.Mark[i])
			fmt.Fprintf(a, `<g class="mark"><title>%s</title><line x1="%s" y1="%s" x2="%s" y2="%s"/></g>`,
				html.EscapeString(day+"\n"+b.MarkName+": "+b.Unit(b.Mark[i])), num(x-3), num(y), num(x+w+3), num(y))
		}
		if (len(b.Days)-1-i)%every == 0 {
			a.text("tick", "middle", x+w/2, a.y0+19, dayLabel(day))
		}
	}
	for _, l := range shown {
		a.line("level "+l.class(), a.x0, a.y(l.V), a.x1, a.y(l.V))
	}
	return a.svg(class, b.ID, b.Title, b.Desc)
}

func dayLabel(day string) string {
	if t, err := time.Parse(time.DateOnly, day); err == nil {
		return t.Format("Jan 2")
	}
	return day
}

// depth is how much can be had up to a price: X are prices per GPU-hour in ascending order,
// N the GPUs that each adds.
type depth struct {
	ID, Title, Desc string
	X               []float64
	N               []int
	Ceiling         float64
	Unit            func(float64) string
}

func (d *depth) figure() figure {
	f := figure{ID: d.ID, Title: d.Title, Desc: d.Desc}
	if len(d.X) == 0 {
		f.Empty = "No offer of the wanted kind has a price and GPUs free."
		return f
	}
	f.Keys = []key{{Class: "s1", Name: "GPUs to be had at up to this price"}, {Class: "cap", Level: true, Name: "the ceiling, " + d.Unit(d.Ceiling)}}
	f.Wide, f.Thin = d.draw("wide", wide), d.draw("thin", thin)
	return f
}

func (d *depth) draw(class string, s size) picture {
	to := max(d.Ceiling, min(d.X[len(d.X)-1]*1.02, max(d.Ceiling*2.5, d.X[0]*1.3))) * 1.04
	total := 0
	for i, n := range d.N {
		if d.X[i] <= to {
			total += n
		}
	}
	a := newArea(s, 0, max(round(float64(total)*1.04), 4), 0, to)
	a.rules(func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) })
	for _, t := range ticks(0, to, int((a.x1-a.x0)/85)) {
		if a.x(t) > a.x1-16 {
			continue
		}
		a.line("axis", a.x(t), a.y0, a.x(t), a.y0+5)
		a.text("tick", "middle", a.x(t), a.y0+19, d.Unit(t))
	}
	under, over := d.paths(a)
	fmt.Fprintf(a, `<path class="fill s1" d="%s"/><path class="line s1" d="%s"/>`, under, over)
	a.line("level cap", a.x(d.Ceiling), a.y1, a.x(d.Ceiling), a.y0)
	sum := 0
	for i, x := range d.X {
		if sum += d.N[i]; x > to {
			break
		}
		fmt.Fprintf(a, `<g class="dot"><title>%s</title><circle class="s1" cx="%s" cy="%s" r="2.5"/></g>`,
			html.EscapeString(fmt.Sprintf("up to %s: %s", d.Unit(x), plural(sum, "GPU"))), num(a.x(x)), num(a.y(float64(sum))))
	}
	return a.svg(class, d.ID, d.Title, d.Desc)
}

// paths are the area under the ceiling and the whole curve.
func (d *depth) paths(a *area) (under, over string) {
	var u, o strings.Builder
	sum, edge := 0, a.x(d.Ceiling)
	fmt.Fprintf(&o, "M%s %s", num(a.x0), num(a.y0))
	fmt.Fprintf(&u, "M%s %s", num(a.x0), num(a.y0))
	for i, x := range d.X {
		if sum += d.N[i]; x > a.to {
			break
		}
		fmt.Fprintf(&o, "H%sV%s", num(a.x(x)), num(a.y(float64(sum))))
		if x <= d.Ceiling {
			fmt.Fprintf(&u, "H%sV%s", num(a.x(x)), num(a.y(float64(sum))))
		}
	}
	fmt.Fprintf(&o, "H%s", num(a.x1))
	fmt.Fprintf(&u, "H%sV%sZ", num(edge), num(a.y0))
	return u.String(), o.String()
}

// dollars writes money as short as an axis needs.
func dollars(v float64) string {
	s := strconv.FormatFloat(v, 'f', 3, 64)
	s = strings.TrimRight(s, "0")
	if i := strings.IndexByte(s, '.'); len(s)-i < 3 {
		s += strings.Repeat("0", 3-(len(s)-i))
	}
	if v >= 20 && strings.HasSuffix(s, ".00") {
		s = strings.TrimSuffix(s, ".00")
	}
	return "$" + s
}

// perHour is for axes of rates.
func perHour(v float64) string { return dollars(v) + "/h" }
