package notify

import (
	"errors"
	"fmt"
	"strings"
	"text/template"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// templates are a sink's own words for title and text; nil is the usual ones.
type templates struct{ title, body *template.Template }

// TemplateError says which key's template cannot be used.
type TemplateError struct {
	Key string // title_template or template
	err error
}

func (e *TemplateError) Error() string { return e.Key + ": " + e.err.Error() }

// Reason is the error without the key before it.
func (e *TemplateError) Reason() string {
	return strings.TrimPrefix(e.err.Error(), "template: "+e.Key+":")
}

// CheckTemplates reads a sink's templates and tries them. Its error is a *TemplateError.
func CheckTemplates(s *policy.Sink) error {
	_, err := parseTemplates(s)
	return err
}

func parseTemplates(s *policy.Sink) (t templates, err error) {
	for _, one := range []struct {
		key, text string
		into      **template.Template
	}{{"title_template", s.Title, &t.title}, {"template", s.Body, &t.body}} {
		if one.text == "" {
			continue
		}
		parsed, err := template.New(one.key).Option("missingkey=error").Parse(one.text)
		if err != nil {
			return t, &TemplateError{one.key, err}
		}
		for _, m := range samples() {
			if _, err := render(parsed, &m); err != nil {
				return t, &TemplateError{one.key, err}
			}
		}
		*one.into = parsed
	}
	return t, nil
}

// mostText bounds what a template can make of a message.
const mostText = 64 << 10

var errTooLong = fmt.Errorf("it writes more than %d bytes", mostText)

// bounded is a text that refuses to grow without end.
type bounded struct{ strings.Builder }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > mostText {
		return 0, errTooLong
	}
	return b.Builder.Write(p)
}

func render(t *template.Template, m *Message) (string, error) {
	var b bounded
	if err := t.Execute(&b, m); err != nil {
		if errors.Is(err, errTooLong) {
			return "", errTooLong
		}
		return "", err
	}
	return b.String(), nil
}

// apply writes a message in the sink's own words.
func (t *templates) apply(m Message) (Message, error) {
	title, body := m.Title, m.Body
	var err error
	if t.title != nil {
		if title, err = render(t.title, &m); err != nil {
			return m, fmt.Errorf("title_template: %w", err)
		}
	}
	if t.body != nil {
		if body, err = render(t.body, &m); err != nil {
			return m, fmt.Errorf("template: %w", err)
		}
		m.HTML = "" // it says it in other words
	}
	m.Title, m.Body = title, body
	return m, nil
}
