package report

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// textWidth is how many columns the text has.
const textWidth = 80

// Text writes the report for a terminal or a mail, in 80 columns.
func (r *Report) Text(w io.Writer) error {
	p := pageOf(r)
	var b strings.Builder
	wrap(&b, p.Headline, "")
	wrap(&b, p.About, "")
	for _, s := range p.Parts {
		fmt.Fprintf(&b, "\n%s\n", strings.ToUpper(s.Title))
		for i := range s.Grids {
			if i > 0 {
				b.WriteString("\n")
			}
			s.Grids[i].text(&b)
		}
		for _, t := range s.Items {
			wrap(&b, "- "+t.Text, "  ")
			fmt.Fprintf(&b, "    %s\n", t.Command)
		}
		for _, l := range s.Lines {
			wrap(&b, l, "  ")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap writes a sentence in lines of the width; those after the first are indented.
func wrap(b *strings.Builder, s, indent string) {
	line := ""
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case strings.TrimSpace(line) == "":
			line += word
		case length(line)+1+length(word) > textWidth:
			b.WriteString(line + "\n")
			line = indent + word
		default:
			line += " " + word
		}
	}
	b.WriteString(line + "\n")
}

func length(s string) int { return utf8.RuneCountInString(s) }

// text writes a table in columns; a first column that is too wide is cut.
func (g *grid) text(b *strings.Builder) {
	rows := append([][]string{g.Head}, g.Rows...)
	widths := make([]int, len(g.Head))
	for _, row := range rows {
		for i, c := range row {
			widths[i] = max(widths[i], length(c))
		}
	}
	others := 0
	for _, w := range widths[1:] {
		others += w + 2
	}
	widths[0] = max(min(widths[0], textWidth-others), 4)
	for _, row := range rows {
		line := pad(cut(row[0], widths[0]), widths[0], false)
		for i, c := range row[1:] {
			line += "  " + pad(c, widths[i+1], true)
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
}

func cut(s string, most int) string {
	if length(s) <= most {
		return s
	}
	return string([]rune(s)[:most-1]) + "…"
}

func pad(s string, width int, right bool) string {
	blanks := strings.Repeat(" ", max(width-length(s), 0))
	if right {
		return blanks + s
	}
	return s + blanks
}
