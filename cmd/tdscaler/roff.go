package main

import (
	"fmt"
	"strings"
	"time"
)

// roff writes one page of the manual, in the macros of man(7).
type roff struct{ b strings.Builder }

// newRoff begins a page; a zero date is left out.
func newRoff(name string, section int, date time.Time, version, book string) *roff {
	r := &roff{}
	day := ""
	if !date.IsZero() {
		day = date.UTC().Format(time.DateOnly)
	}
	// A date is read as it stands: no escapes.
	r.raw(fmt.Sprintf(`.TH "%s" "%d" "%s" "%s" "%s"`, roffText(strings.ToUpper(name)), section, day, roffText("tdscaler "+version), book))
	return r
}

// macro writes a request; every argument is quoted.
func (r *roff) macro(name string, args ...string) {
	r.b.WriteString("." + name)
	for _, a := range args {
		r.b.WriteString(` "` + strings.ReplaceAll(roffText(a), `"`, `\(dq`) + `"`)
	}
	r.b.WriteByte('\n')
}

// raw writes a line that is roff already.
func (r *roff) raw(line string) { r.b.WriteString(line + "\n") }

// text writes a paragraph's words, in lines that stay readable in the source.
func (r *roff) text(s string) {
	const width = 70
	line := ""
	flush := func() {
		if line != "" {
			r.raw(roffLine(line))
		}
		line = ""
	}
	for _, w := range strings.Fields(s) {
		if len(line)+1+len(w) > width {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += w
		// A sentence that ends a line gets its space from troff itself.
		if strings.HasSuffix(w, ".") || strings.HasSuffix(w, ":") {
			flush()
		}
	}
	flush()
}

// prose writes paragraphs as Long holds them: parted by empty lines, and left as they
// are where every line is indented.
func (r *roff) prose(s string) {
	for i, p := range strings.Split(strings.TrimSpace(s), "\n\n") {
		if i > 0 {
			r.raw(".PP")
		}
		if strings.HasPrefix(p, "  ") {
			r.verbatim(p)
			continue
		}
		r.text(p)
	}
}

// verbatim writes lines as they are, indented.
func (r *roff) verbatim(s string) {
	r.raw(".RS 4\n.nf")
	for _, line := range strings.Split(strings.Trim(s, "\n"), "\n") {
		r.raw(roffLine(strings.TrimPrefix(line, "  ")))
	}
	r.raw(".fi\n.RE")
}

// item writes a term, which is roff already, and what it means.
func (r *roff) item(term, meaning string) {
	r.raw(".TP\n" + term)
	r.text(meaning)
}

// roffText escapes what roff would read in the middle of a line.
func roffText(s string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
}

// roffLine escapes a line, and what roff would read at its beginning.
func roffLine(s string) string {
	s = roffText(s)
	if strings.HasPrefix(s, ".") {
		return `\&` + s
	}
	return s
}

func bold(s string) string   { return `\fB` + roffText(s) + `\fR` }
func italic(s string) string { return `\fI` + roffText(s) + `\fR` }
