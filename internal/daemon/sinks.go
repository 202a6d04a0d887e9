package daemon

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tdscaler/tdscaler/internal/notify"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// readSinks reads the files that sinks of notifications name, and tries their templates;
// what cannot be used is a problem of the configuration.
func (c *Config) readSinks() (problems []policy.Problem) {
	for i, s := range c.Set.Notifications.Sinks {
		sink := notify.SinkConfig{Sink: s, Address: secret.New(s.URL)}
		bad := func(code, key, hint string, err error) {
			path := fmt.Sprintf("notifications.sinks[%d].%s", i, key)
			problems = append(problems, policy.PlaceProblem(c.Path, c.Raw, path, code, hint, err.Error()))
		}
		key := "url"
		if s.URLFile != "" {
			key = "url_file"
			text, err := c.readNamed(s.URLFile, maxCredential)
			if err != nil {
				bad(policy.CodePath, key, "paths are relative to this file's folder", err)
				continue
			}
			sink.Address = secret.New(strings.TrimSpace(text))
		}
		if err := notify.CheckAddress(s.Type, sink.Address); err != nil {
			bad(policy.CodeSink, key, "what an address looks like: docs/notifications.md", err)
		}
		if s.SecretFile != "" {
			text, err := c.readNamed(s.SecretFile, maxCredential)
			if err == nil {
				sink.Key, err = secret.Key(text)
			}
			if err != nil {
				bad(policy.CodePath, "secret_file", "paths are relative to this file's folder", err)
			}
		}
		var words *notify.TemplateError
		if err := notify.CheckTemplates(&s); errors.As(err, &words) {
			bad(policy.CodeTemplate, words.Key, "the fields are in docs/notifications.md", errors.New(words.Reason()))
		}
		c.Sinks = append(c.Sinks, sink)
	}
	return problems
}
