package report

import (
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Markdown writes the report for chats and issues. Tables are blocks of text, which
// everything that calls itself Markdown shows alike.
func (r *Report) Markdown(w io.Writer) error {
	p := pageOf(r)
	var b strings.Builder
	fmt.Fprintf(&b, "**%s**\n\n%s\n", marked(p.Headline), marked(p.About))
	for _, s := range p.Parts {
		fmt.Fprintf(&b, "\n**%s**\n", marked(s.Title))
		for i := range s.Grids {
			var t strings.Builder
			s.Grids[i].text(&t)
			fmt.Fprintf(&b, "\n```\n%s```\n", strings.ReplaceAll(t.String(), "`", "'"))
		}
		b.WriteString("\n")
		for _, t := range s.Items {
			fmt.Fprintf(&b, "- %s: `%s`\n", marked(t.Text), strings.ReplaceAll(t.Command, "`", "'"))
		}
		for _, l := range s.Lines {
			fmt.Fprintf(&b, "- %s\n", marked(l))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// marked is a text that Markdown takes as it is, and nobody is called by. Within a word,
// as in max_daily, an underscore means nothing.
func marked(s string) string {
	var b strings.Builder
	all := []rune(s)
	for i, c := range all {
		switch {
		case c == '@':
			b.WriteString("@\u200b")
			continue
		case strings.ContainsRune("\\`*[]<>|~", c), c == '_' && !(i > 0 && i+1 < len(all) && inWord(all[i-1]) && inWord(all[i+1])):
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String()
}

func inWord(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }
