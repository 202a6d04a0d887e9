package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// SinkConfig is a sink of the file with what its files hold.
type SinkConfig struct {
	policy.Sink
	Address secret.String
	Key     secret.String // empty: messages are not signed
}

// sink delivers messages to one place. It has one connection at a time, follows no
// redirect, and keeps no state between messages.
type sink struct {
	SinkConfig
	clock   clock.Clock
	to      *url.URL
	secrets []string
	words   templates
	http    *http.Client
	tls     *tls.Config // of mail; nil is the system's
}

func newSink(c SinkConfig, clk clock.Clock, trust *tls.Config) (*sink, error) {
	u, err := parseAddress(c.Type, c.Address)
	if err != nil {
		return nil, fmt.Errorf("sink %s: %w", c.Name, err)
	}
	words, err := parseTemplates(&c.Sink)
	if err != nil {
		return nil, fmt.Errorf("sink %s: %w", c.Name, err)
	}
	secrets := secretsOf(u)
	if !c.Key.IsEmpty() {
		secrets = append(secrets, c.Key.Reveal())
	}
	return &sink{
		SinkConfig: c, clock: clk, to: u, secrets: secrets, words: words, tls: trust,
		http: &http.Client{
			Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10, TLSClientConfig: trust},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// deliver tries once, for at most the sink's timeout. Its error is a *Failure.
func (s *sink) deliver(ctx context.Context, m *Message) error {
	ctx, cancel := s.clock.WithTimeout(ctx, cmp.Or(s.Timeout, usualTimeout))
	defer cancel()
	written, err := s.words.apply(*m)
	if err != nil {
		return &Failure{Text: err.Error()}
	}
	var f *Failure
	if s.Type == policy.SinkEmail {
		f = s.mail(ctx, &written)
	} else {
		f = s.post(ctx, &written)
	}
	if f == nil {
		return nil
	}
	f.Text = cut(hidden(f.Text, s.secrets), longestReason)
	return f
}

const (
	usualTimeout  = 10 * time.Second
	longestAnswer = 4 << 10
	longestReason = 300
	// longestPause is the most that a sink can make us wait by Retry-After.
	longestPause = 30 * time.Second
)

// request is what is posted to a sink.
type request struct {
	url     string
	kind    string // Content-Type
	body    []byte
	headers map[string]string
}

func (s *sink) post(ctx context.Context, m *Message) *Failure {
	r, err := s.request(m)
	if err != nil {
		return &Failure{Text: "write the message: " + err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, bytes.NewReader(r.body))
	if err != nil {
		return &Failure{Text: "the address cannot be used"}
	}
	req.GetBody = nil // it is sent once; who tries again decides that
	req.Header.Set("Content-Type", r.kind)
	req.Header.Set("User-Agent", "tdscaler")
	for name, value := range r.headers {
		req.Header.Set(name, value)
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return failed(ctx, "send", err)
	}
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, longestAnswer)) // it was taken or not, whatever became of the rest
	_ = resp.Body.Close()
	return s.judge(resp, answer)
}

// judge says whether the message was taken.
func (s *sink) judge(resp *http.Response, answer []byte) *Failure {
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusTooManyRequests || code >= 500 || code == http.StatusRequestTimeout:
		return &Failure{Text: answers(code, answer), Retry: true, After: pause(resp.Header.Get("Retry-After"))}
	default:
		return &Failure{Text: answers(code, answer)}
	}
}

func answers(code int, answer []byte) string {
	text := fmt.Sprintf("answers %d", code)
	if said := line(string(answer)); said != "" {
		text += ": " + said
	}
	return text
}

func pause(after string) time.Duration {
	seconds, err := strconv.ParseFloat(after, 64)
	if err != nil || !(seconds > 0) {
		return 0
	}
	return time.Duration(min(seconds, longestPause.Seconds()) * float64(time.Second))
}

// request writes a message as the sink wants it.
func (s *sink) request(m *Message) (r request, err error) {
	r = request{url: s.to.String(), kind: "application/json"}
	switch s.Type {
	case policy.SinkSlack:
		r.body, err = json.Marshal(slackOf(m))
	case policy.SinkDiscord:
		r.body, err = json.Marshal(discordOf(m))
	case policy.SinkTelegram:
		bare := *s.to
		bare.RawQuery = ""
		r.url = bare.String()
		r.body, err = json.Marshal(telegramOf(m, s.to.Query().Get("chat_id")))
	case policy.SinkNtfy:
		r.kind, r.body, r.headers = "text/plain; charset=utf-8", ntfyText(m), ntfyHeaders(m)
	case policy.SinkCloudEvents:
		r.kind = "application/cloudevents+json; charset=utf-8"
		r.body, err = json.Marshal(eventOf(m))
	default:
		r.headers = map[string]string{"X-Tdscaler-Event": string(m.Event), "X-Tdscaler-Delivery": m.ID}
		r.body, err = json.Marshal(m)
	}
	if !s.Key.IsEmpty() && err == nil {
		if r.headers == nil {
			r.headers = map[string]string{}
		}
		for name, value := range s.Key.Headers(s.clock.Now(), r.body) {
			r.headers[name] = value
		}
	}
	return r, err
}
