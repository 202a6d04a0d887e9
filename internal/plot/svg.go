package plot

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/color"
	"io"
)

// SVG writes the chart as a picture that any browser shows, without scripts or links.
func (c *Chart) SVG(w io.Writer) error {
	v := &vector{}
	fmt.Fprintf(&v.b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&v.b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	c.draw(v)
	v.b.WriteString("</svg>\n")
	_, err := w.Write(v.b.Bytes())
	return err
}

type vector struct{ b bytes.Buffer }

func hex(c color.RGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

func (v *vector) line(x1, y1, x2, y2, thickness float64, c color.RGBA) {
	fmt.Fprintf(&v.b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" stroke-width="%g"/>`+"\n", x1, y1, x2, y2, hex(c), thickness)
}

func (v *vector) text(x, y float64, s string, a anchor, c color.RGBA) {
	fmt.Fprintf(&v.b, `<text x="%.1f" y="%.1f" text-anchor="%s" fill="%s">`, x, y, []string{"start", "middle", "end"}[a], hex(c))
	_ = xml.EscapeText(&v.b, []byte(s)) // a buffer takes everything
	v.b.WriteString("</text>\n")
}
