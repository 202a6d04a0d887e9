package report

import (
	_ "embed" // the page
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

// Page is what is shown.
type Page struct {
	Title string
	Tape  *tape.Tape
	// Target is how many GPUs were wanted at every moment.
	Target int
	// Work, if it is not 0, is the GPU-time that was wanted by the end; Target is then
	// the most at once.
	Work time.Duration
	// Optimum is one way to J*; nil where it was not computed.
	Optimum []tape.Span
	// Players are all who played the tape, the first Ours of them with policies of ours.
	Players []Player
	Ours    int
}

// Player is somebody who played: what it came to, and the machines.
type Player struct {
	tape.Result
	Machines []tape.Span
}

//go:embed page.html
var page string

// Write writes the page as UTF-8.
func Write(w io.Writer, p Page) error {
	t, err := template.New("page").Parse(page)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := t.Execute(w, p.view()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// view is what the template fills in.
type view struct {
	Title, About, Formula string
	Rows                  []row
	Market                strips
	Prices, Money         chart
	Moves                 bool // prices do
	Fleets                []fleet
	Lives                 []lives
}

// row is a line of the table of results.
type row struct {
	Name, Cost, PerHour, Share, J, Star, NoWarning, Overpay string
	Lost, Starts                                            int
	Ours                                                    bool
}

// fleet is what one of ours held.
type fleet struct {
	Name string
	chart
}

// lives is what became of the machines of one of ours.
type lives struct {
	Name   string
	Events []event
	More   int
}

func (p *Page) view() view {
	t := p.Tape
	v := view{
		Title:   p.Title,
		About:   fmt.Sprintf("%s from %s; %s; %d pools; on demand %s a GPU; boots take %s", t.Length, t.Start.UTC().Format("2006-01-02 15:04 UTC"), p.wanted(), len(t.Pools), t.OnDemand, t.Boot),
		Formula: fmt.Sprintf("J = cost + %s x GPU-hours not delivered", t.Penalty),
		Market:  p.market(),
		Prices:  p.prices(), Moves: p.moves(),
		Money: p.money(),
	}
	for i := range p.Players {
		v.Rows = append(v.Rows, p.row(i))
	}
	for i := range p.Players[:p.Ours] {
		v.Fleets = append(v.Fleets, p.fleet(&p.Players[i]))
		v.Lives = append(v.Lives, p.lives(&p.Players[i]))
	}
	if best := p.optimum(); best != nil {
		v.Fleets = append(v.Fleets, p.fleet(best))
	}
	return v
}

func (p *Page) wanted() string {
	if p.Work > 0 {
		return fmt.Sprintf("%.1f GPU-hours wanted by the end, at most %d GPUs at once", p.Work.Hours(), p.Target)
	}
	return fmt.Sprintf("%d wanted at every moment", p.Target)
}

// optimum is who would have come to J*; nil where it was not computed.
func (p *Page) optimum() *Player {
	if p.Optimum == nil {
		return nil
	}
	return &Player{Result: tape.Result{Name: "the optimum, J*"}, Machines: p.Optimum}
}

func (p *Page) row(i int) row {
	r := &p.Players[i].Result
	out := row{
		Name: r.Name, Cost: dollars(r.Cost), PerHour: "-", Share: fmt.Sprintf("%.2f %%", 100*r.Availability), J: dollars(r.J),
		Star: ratio(r.JRatio), NoWarning: ratio(r.JNWRatio), Overpay: fmt.Sprintf("%.2f %%", 100*r.Overpay),
		Lost: r.Interruptions, Starts: r.Starts, Ours: i < p.Ours,
	}
	if r.Delivered > 0 {
		out.PerHour = fmt.Sprintf("$%.4f", r.Cost.Float()/r.Delivered)
	}
	return out
}

func dollars(a market.Amount) string { return fmt.Sprintf("$%.2f", a.Float()) }

func ratio(m market.Maybe[float64]) string {
	if v, ok := m.Get(); ok {
		return fmt.Sprintf("%.4f", v)
	}
	return "-"
}

// when is a moment of the tape as a reader's clock shows it.
func (p *Page) when(at time.Duration) string {
	return p.Tape.Start.Add(at).UTC().Format("2006-01-02 15:04:05")
}
