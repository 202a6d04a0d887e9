package notify

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/secret"
)

// Failure is why a message could not be delivered. Its text holds no address.
type Failure struct {
	Text  string
	Retry bool          // another try may do
	After time.Duration // not before so long, as the sink asked; 0 is as it suits us
}

func (f *Failure) Error() string { return f.Text }

// failed makes a Failure of an error, without the address that net/http puts into it.
func failed(ctx context.Context, what string, err error) *Failure {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if ctx.Err() != nil {
		return &Failure{Text: what + ": took too long", Retry: true}
	}
	return &Failure{Text: what + ": " + line(err.Error()), Retry: true}
}

// hidden takes what is secret about a sink out of a text: servers repeat what they were
// sent.
func hidden(s string, secrets []string) string {
	for _, v := range secrets {
		s = strings.ReplaceAll(s, v, secret.Redacted)
	}
	return s
}

// leastSecret is how many characters a part of an address has that is worth hiding: a
// shorter one would be found in innocent words.
const leastSecret = 6

// secretsOf are the parts of an address that give it away, longest first.
func secretsOf(u *url.URL) (out []string) {
	add := func(v string) {
		if len(v) >= leastSecret {
			out = append(out, v)
		}
	}
	add(u.String())
	add(u.RequestURI())
	add(u.EscapedPath())
	if u.User != nil {
		password, _ := u.User.Password()
		add(u.User.String())
		add(password)
	}
	for _, part := range strings.Split(u.Path, "/") {
		add(part)
		add(strings.TrimPrefix(part, "bot"))
	}
	for _, vs := range u.Query() {
		for _, v := range vs {
			add(v)
		}
	}
	return out
}
