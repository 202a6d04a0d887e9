package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

// evil is a name that would do something if it were not escaped.
const evil = `<script>alert("1")</script>'&`

// day is a tape of a day with one pool that goes at noon and comes back at six, and
// another with a price that moves.
func day() *tape.Tape {
	h := time.Hour
	return &tape.Tape{
		Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), Length: 24 * h, Boot: 3 * time.Minute,
		OnDemand: market.USD(3, 0), Penalty: market.USD(6, 0),
		Pools: []tape.Pool{
			{Name: evil, Free: tape.Series[int]{{At: 0, Value: 2}, {At: 12 * h, Value: 0}, {At: 18 * h, Value: 1}}, Price: tape.Constant(market.USD(1, 0))},
			{Name: "moves", Free: tape.Constant(4), Price: tape.Series[market.Rate]{{At: 0, Value: market.USD(2, 0)}, {At: 6 * h, Value: market.USD(9, 0)}}},
		},
	}
}

func pageOf(t *tape.Tape) Page {
	spans := []tape.Span{
		{Pool: 0, GPUs: 1, From: 0, Until: 12 * time.Hour, Lost: true},
		{Pool: tape.OnDemand, GPUs: 1, From: 12*time.Hour + time.Minute, Until: 24 * time.Hour},
		{Pool: 1, GPUs: 1, From: time.Hour, Until: 5 * time.Hour},
	}
	p := Page{Title: "Backtest of " + evil, Tape: t, Target: 2, Ours: 1}
	for _, name := range []string{"tdscaler", evil} {
		p.Players = append(p.Players, Player{Result: t.Result(name, t.Score(2, spans)), Machines: spans})
	}
	return p
}

func written(t *testing.T, p Page) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestThePageNeedsNothingElseAndEscapesNames(t *testing.T) {
	got := written(t, pageOf(day()))
	for _, not := range []string{"<script", "http", "src=", "@import", "url(", "NaN", "ZgotmplZ", "%!"} {
		if strings.Contains(got, not) {
			t.Errorf("there is %q in the page", not)
		}
	}
	for _, want := range []string{"prefers-color-scheme: dark", "&lt;script&gt;alert", "J/J*", "2026-01-05 12:00:00</td>", ">lost</td>", "given up</td>", "Prices of a GPU-hour"} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %q in the page", want)
		}
	}
	wellFormed(t, got)
}

func wellFormed(t *testing.T, page string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// What is drawn ends at what was scored.
func TestTheCourseOfJEndsAtJ(t *testing.T) {
	p := pageOf(day())
	course := p.course(p.Players[0].Machines)
	if got, want := course[columns-1].j, p.Players[0].J.Float(); math.Abs(got-want) > 1e-6 {
		t.Errorf("the drawing ends at $%f, J is $%f", got, want)
	}
	var spot, onDemand, booting float64 // GPU-hours
	for _, c := range course {
		spot += c.spot * 24 / columns
		onDemand += c.onDemand * 24 / columns
		booting += c.booting * 24 / columns
	}
	for name, v := range map[string][2]float64{"spot": {spot, 12 - 0.05 + 4 - 0.05}, "on demand": {onDemand, 12 - 1.0/60 - 0.05}, "booting": {booting, 0.15}} {
		if math.Abs(v[0]-v[1]) > 1e-6 {
			t.Errorf("%s: %f GPU-hours are drawn, there were %f", name, v[0], v[1])
		}
	}
}

func TestAPoolWithoutRoomIsNotDrawn(t *testing.T) {
	p := pageOf(day())
	m := p.market()
	if len(m.Rows) != 2 || m.Title != "price of a GPU-hour" {
		t.Fatalf("%+v", m)
	}
	wide := 0.0
	for _, c := range m.Rows[0].Cells {
		wide += c.Wide
	}
	if want := plotWide * 18 / 24; math.Abs(wide-want) > 0.01 {
		t.Errorf("the first pool is %f wide, want %f", wide, want)
	}
}

func TestThePageOfAYearWithManyPoolsIsBounded(t *testing.T) {
	tp := day()
	tp.Length = 365 * 24 * time.Hour
	tp.Pools = nil
	for i := range 200 {
		p := tape.Pool{Name: fmt.Sprintf("host-%03d", i), Free: tape.Constant(4), Price: tape.Constant(market.USD(1, 0))}
		for d := range 365 * 4 {
			at := time.Duration(d)*6*time.Hour + time.Minute
			p.Free = append(p.Free, tape.Step[int]{At: at, Value: (d * (i + 3)) % 5})
			p.Price = append(p.Price, tape.Step[market.Rate]{At: at, Value: market.USD(0, int64(50+(d*(i+7))%90))})
		}
		tp.Pools = append(tp.Pools, p)
	}
	p := pageOf(tp)
	for i := range 3000 {
		from := time.Duration(i) * time.Hour
		p.Players[0].Machines = append(p.Players[0].Machines, tape.Span{Pool: i % 200, GPUs: 1, From: from, Until: from + 30*time.Minute, Lost: true})
	}
	got := written(t, p)
	if len(got) > 4<<20 {
		t.Errorf("%d bytes", len(got))
	}
	if !strings.Contains(got, "140 more pools are not shown") || !strings.Contains(got, "more that are not shown") {
		t.Error("the page does not say what it leaves out")
	}
}

func TestAnEmptyPageIsOneToo(t *testing.T) {
	wellFormed(t, written(t, Page{Title: "nothing", Tape: &tape.Tape{Length: time.Second}}))
}

func TestThePageShowsTheOptimumBesideOursAndWorkThatIsDue(t *testing.T) {
	p := pageOf(day())
	if got := written(t, p); strings.Contains(got, "the optimum, J*") {
		t.Error("an optimum is shown that was not computed")
	}
	p.Optimum = []tape.Span{{Pool: 0, GPUs: 1, From: 0, Until: 11 * time.Hour}}
	got := written(t, p)
	if n := strings.Count(got, "the optimum, J*"); n < 2 || !strings.Contains(got, "What the optimum, J* held") {
		t.Errorf("the optimum is there %d times: a fleet and a line of J are wanted", n)
	}
	wellFormed(t, got)
	p.Work = 30 * time.Hour
	if got := written(t, p); !strings.Contains(got, "30.0 GPU-hours wanted by the end, at most 2 GPUs at once") {
		t.Error("the page does not say what is wanted")
	}
	first, last := p.course(p.Players[0].Machines)[0], p.course(p.Players[0].Machines)[columns-1]
	sum := p.Tape.Score(2, p.Players[0].Machines)
	want := sum.Cost.Float() + 6*(30-sum.Delivered.Hours())
	if first.j < 170 || math.Abs(last.j-want) > 1e-6 {
		t.Errorf("J begins at %.2f and ends at %.2f; all is missing at first, and %.2f at the end", first.j, last.j, want)
	}
}
