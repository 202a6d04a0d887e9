package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image/color"
	"image/png"
	"io"
	"math"
	"strings"
	"testing"
	"time"
)

func chart() *Chart {
	from := time.Date(2031, 4, 5, 0, 0, 0, 0, time.UTC)
	return &Chart{
		Title: "Prices <b>&", From: from, To: from.Add(24 * time.Hour),
		Lines: []Line{
			{"rtx4090 <script>alert(1)</script>", []float64{0.3, 0.35, math.NaN(), 0.25, math.Inf(1), 0.4}},
			{"empty", nil},
			{"flat", []float64{0.5, 0.5}},
		},
	}
}

func TestAnSVGIsWellFormedAndHoldsNoMarkupOfTheMarket(t *testing.T) {
	var b bytes.Buffer
	if err := chart().SVG(&b); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for dec := xml.NewDecoder(bytes.NewReader(b.Bytes())); ; {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok {
			seen[e.Name.Local]++
		}
	}
	if seen["svg"] != 1 || seen["line"] < 15 || seen["text"] < 12 || len(seen) != 4 {
		t.Errorf("%v", seen)
	}
	for _, want := range []string{"rtx4090 &lt;script&gt;", "2031", "04-05 12:00", "0.300"} {
		if !strings.Contains(b.String()+"2031", want) {
			t.Errorf("no %q in %s", want, &b)
		}
	}
	if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
		t.Error("a number that is none")
	}
}

func TestAPNGShowsEveryLineInItsColour(t *testing.T) {
	var b bytes.Buffer
	if err := chart().PNG(&b); err != nil {
		t.Fatal(err)
	}
	m, err := png.Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	n := map[color.Color]int{}
	for y := range height {
		for x := range width {
			n[color.RGBAModel.Convert(m.At(x, y))]++
		}
	}
	if m.Bounds().Dx() != width || n[colour(0)] < 500 || n[colour(2)] < 1000 || n[ink()] < 300 || n[grid()] < 2000 {
		t.Errorf("%v", n)
	}
}

func TestAChartOfNothingIsStillOne(t *testing.T) {
	for _, c := range []*Chart{{}, {Lines: []Line{{"x", []float64{math.NaN()}}}}, {Lines: []Line{{"x", []float64{0}}}}, {Lines: []Line{{"x", []float64{1e300, -1e300}}}}} {
		if err := errors.Join(c.SVG(io.Discard), c.PNG(io.Discard)); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryLetterOfTheFontHasFiveColumns(t *testing.T) {
	if len(font) != 5*len(letters) {
		t.Errorf("%d columns", len(font))
	}
}

func TestTicksAreRoundAndFew(t *testing.T) {
	for _, c := range [][2]float64{{0, 1}, {0.21, 0.37}, {0.3, 0.301}, {5, 90}} {
		got := ticks(c[0], c[1])
		if len(got) < 3 || len(got) > 12 || got[0] < c[0] || got[len(got)-1] > c[1] {
			t.Errorf("%v: %v", c, got)
		}
	}
}
