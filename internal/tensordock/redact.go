package tensordock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/tdscaler/tdscaler/internal/secret"
)

// maxDetail is how much of the market's words an error carries, in bytes.
const maxDetail = 300

// scrubber takes secrets out of texts, also where they come back in the encoding
// of a form, a URL, JSON or HTML, or in another case.
type scrubber struct {
	secrets []string
	pattern *regexp.Regexp // nil where there is nothing to hide
}

func newScrubber(secrets ...string) *scrubber {
	var forms []string
	for _, s := range secrets {
		if s != "" {
			forms = append(forms, s, url.QueryEscape(s), url.PathEscape(s), url.QueryEscape(url.QueryEscape(s)), quoted(s, true), quoted(s, false))
		}
	}
	if len(forms) == 0 {
		return &scrubber{}
	}
	// The longest first: a form may begin with another.
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) })
	for i := range forms {
		forms[i] = regexp.QuoteMeta(forms[i])
	}
	return &scrubber{secrets: secrets, pattern: regexp.MustCompile("(?i)" + strings.Join(slices.Compact(forms), "|"))}
}

// with adds the secrets of one request. Very short ones are no secrets, and would
// take every other letter out of the text.
func (s *scrubber) with(more []string) *scrubber {
	more = slices.DeleteFunc(slices.Clone(more), func(m string) bool { return len(m) < 4 })
	if len(more) == 0 {
		return s
	}
	return newScrubber(slices.Concat(s.secrets, more)...)
}

// quoted is s inside a JSON string.
func quoted(s string, html bool) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(html)
	if e.Encode(s) != nil {
		return s
	}
	return strings.Trim(strings.TrimSuffix(b.String(), "\n"), `"`)
}

func (s *scrubber) clean(text string) string {
	if s.pattern == nil {
		return text
	}
	return s.pattern.ReplaceAllString(text, secret.Redacted)
}

// line makes one bounded printable line. It redacts before it cuts, so that no
// half of a secret stays.
func (s *scrubber) line(text string) string {
	text = s.clean(strings.ToValidUTF8(text, "?"))
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	if len(text) > maxDetail {
		text = strings.ToValidUTF8(text[:maxDetail-3], "") + "..."
	}
	return text
}

// cause keeps what errors.Is needs to know about an error and drops the rest: a
// *url.Error carries the query, and with it the credentials.
func (s *scrubber) cause(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return context.DeadlineExceeded
	case errors.Is(err, errBadRequest):
		return errBadRequest
	}
	return errors.New(s.line(err.Error()))
}
