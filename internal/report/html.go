package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/tdscaler/tdscaler/internal/plot"
)

//go:embed page.html
var pageHTML string

// HTML writes the report as one file for browsers, mail and paper: without scripts, and
// with nothing to fetch.
func (r *Report) HTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{"svg": svg}).Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := t.Execute(w, pageOf(r)); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// svg is the chart's picture, whose texts the plot has escaped.
func svg(c *plot.Chart) (template.HTML, error) {
	var b bytes.Buffer
	if err := c.SVG(&b); err != nil {
		return "", err
	}
	said := `<svg role="img" aria-label="` + template.HTMLEscapeString(c.Title) + `" `
	return template.HTML(strings.Replace(b.String(), "<svg ", said, 1)), nil
}
