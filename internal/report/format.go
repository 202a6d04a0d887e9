package report

import (
	"fmt"
	"io"
)

// Formats of a report.
const (
	FormatText     = "text"
	FormatMarkdown = "markdown"
	FormatHTML     = "html"
)

// KnownFormat says whether there is such a format.
func KnownFormat(format string) bool {
	return format == FormatText || format == FormatMarkdown || format == FormatHTML
}

// Write writes the report in a format.
func (r *Report) Write(w io.Writer, format string) error {
	switch format {
	case FormatText:
		return r.Text(w)
	case FormatMarkdown:
		return r.Markdown(w)
	case FormatHTML:
		return r.HTML(w)
	}
	return fmt.Errorf("report: there is no format %q", format)
}
