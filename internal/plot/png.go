package plot

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"
	"strings"
	"unicode"
)

// PNG writes the chart as pixels.
func (c *Chart) PNG(w io.Writer) error {
	r := &raster{image.NewRGBA(image.Rect(0, 0, width, height))}
	for i := range r.m.Pix {
		r.m.Pix[i] = 0xff
	}
	c.draw(r)
	return png.Encode(w, r.m)
}

type raster struct{ m *image.RGBA }

// line draws lines that run along an axis, which are all there are.
func (r *raster) line(x1, y1, x2, y2, thickness float64, c color.RGBA) {
	x1, x2, y1, y2 = min(x1, x2), max(x1, x2), min(y1, y2), max(y1, y2)
	half := thickness / 2
	if y1 == y2 {
		y1, y2 = y1-half, y2+half
	} else {
		x1, x2 = x1-half, x2+half
	}
	from := image.Pt(int(math.Round(x1)), int(math.Round(y1)))
	to := image.Pt(max(int(math.Round(x2)), from.X+1), max(int(math.Round(y2)), from.Y+1))
	area := image.Rectangle{from, to}.Intersect(r.m.Bounds())
	draw.Draw(r.m, area, image.NewUniform(c), image.Point{}, draw.Src)
}

// Of a letter: five columns of seven bits, the top one lowest, and one column of air.
const (
	letterWide = 6
	letterHigh = 7
)

// text writes capitals; what the font does not have is a blank.
func (r *raster) text(x, y float64, s string, a anchor, c color.RGBA) {
	s = strings.ToUpper(s)
	wide := letterWide * len([]rune(s))
	at, base := int(math.Round(x))-wide*int(a)/2, int(math.Round(y))-letterHigh
	for i, letter := range []rune(s) {
		r.letter(at+i*letterWide, base, letter, c)
	}
}

func (r *raster) letter(x, y int, letter rune, c color.RGBA) {
	i := strings.IndexRune(letters, letter)
	if i < 0 || unicode.IsSpace(letter) {
		return
	}
	for column := range 5 {
		bits := font[i*5+column]
		for row := range letterHigh {
			if bits&(1<<row) != 0 {
				r.m.SetRGBA(x+column, y+row, c)
			}
		}
	}
}

// letters are those that the raster knows, in the order of the font.
const letters = " $%()*+,-./0123456789:=ABCDEFGHIJKLMNOPQRSTUVWXYZ_"

// font has five columns for each letter.
const font = "\x00\x00\x00\x00\x00" + // blank
	"\x24\x2a\x7f\x2a\x12" + "\x23\x13\x08\x64\x62" + "\x00\x1c\x22\x41\x00" + "\x00\x41\x22\x1c\x00" + // $ % ( )
	"\x14\x08\x3e\x08\x14" + "\x08\x08\x3e\x08\x08" + "\x00\x50\x30\x00\x00" + "\x08\x08\x08\x08\x08" + // * + , -
	"\x00\x60\x60\x00\x00" + "\x20\x10\x08\x04\x02" + // . /
	"\x3e\x51\x49\x45\x3e" + "\x00\x42\x7f\x40\x00" + "\x42\x61\x51\x49\x46" + "\x21\x41\x45\x4b\x31" + "\x18\x14\x12\x7f\x10" + // 0 to 4
	"\x27\x45\x45\x45\x39" + "\x3c\x4a\x49\x49\x30" + "\x01\x71\x09\x05\x03" + "\x36\x49\x49\x49\x36" + "\x06\x49\x49\x29\x1e" + // 5 to 9
	"\x00\x36\x36\x00\x00" + "\x14\x14\x14\x14\x14" + // : =
	"\x7e\x11\x11\x11\x7e" + "\x7f\x49\x49\x49\x36" + "\x3e\x41\x41\x41\x22" + "\x7f\x41\x41\x22\x1c" + "\x7f\x49\x49\x49\x41" + // A to E
	"\x7f\x09\x09\x09\x01" + "\x3e\x41\x49\x49\x7a" + "\x7f\x08\x08\x08\x7f" + "\x00\x41\x7f\x41\x00" + "\x20\x40\x41\x3f\x01" + // F to J
	"\x7f\x08\x14\x22\x41" + "\x7f\x40\x40\x40\x40" + "\x7f\x02\x0c\x02\x7f" + "\x7f\x04\x08\x10\x7f" + "\x3e\x41\x41\x41\x3e" + // K to O
	"\x7f\x09\x09\x09\x06" + "\x3e\x41\x51\x21\x5e" + "\x7f\x09\x19\x29\x46" + "\x46\x49\x49\x49\x31" + "\x01\x01\x7f\x01\x01" + // P to T
	"\x3f\x40\x40\x40\x3f" + "\x1f\x20\x40\x20\x1f" + "\x3f\x40\x38\x40\x3f" + "\x63\x14\x08\x14\x63" + "\x07\x08\x70\x08\x07" + "\x61\x51\x49\x45\x43" + // U to Z
	"\x40\x40\x40\x40\x40" // _
