package tensordock

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/permit"
)

const (
	maxAttempts = 3 // of a read
	hostsLimit  = 16 << 20
	answerLimit = 8 << 20
)

// request is one question to an API, before credentials are told apart from it.
type request struct {
	op      string // in words, for errors and Calls
	method  string
	path    string     // below the origin, escaped
	form    url.Values // the query of a GET, the body of a POST
	json    []byte     // v2's body
	bearer  string     // v2's token
	locked  bool       // needs credentials that are not configured
	verb    verb
	limit   int64    // of the answer in bytes; 0 is answerLimit
	secrets []string // besides the credentials, never to be shown
}

// answer is what came back, whole.
type answer struct {
	code  int
	kind  string // Content-Type
	after time.Duration
	body  []byte
}

// api is one of the two APIs: where it is, how fast and how patiently it may be
// asked.
type api struct {
	name      market.API
	origin    string
	read      *http.Client
	write     *http.Client
	clk       clock.Clock
	pace      *pacer
	scrub     *scrubber
	readTime  time.Duration
	writeTime time.Duration
	observe   func(Call)
	agent     string
	jitter    func() float64 // 0 up to 1
	forms     map[string]*contract
}

// ask sends a read, a few times if it must, and decodes its answer.
func ask[T any](ctx context.Context, a *api, q request, decode func(value) (T, error)) (T, error) {
	delays := &backoff.ExponentialBackOff{InitialInterval: time.Second, Multiplier: 2, MaxInterval: 30 * time.Second}
	for n := 1; ; n++ {
		out, f := once(ctx, a, q, n, decode)
		if f == nil {
			return out, nil
		}
		if !f.again || n == maxAttempts || ctx.Err() != nil || a.clk.Sleep(ctx, max(f.after, a.spread(delays.NextBackOff()))) != nil {
			return out, f.err(q, a.scrub.with(q.secrets))
		}
	}
}

// spread makes a delay up to a half shorter or longer, so that clients that failed
// together do not come back together.
func (a *api) spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.5 + a.jitter()))
}

// tell sends a write, once: its effect may outlive its answer.
func tell[T any](ctx context.Context, a *api, q request, decode func(value) (T, error)) (T, error) {
	out, f := once(ctx, a, q, 1, decode)
	if f != nil {
		return out, f.err(q, a.scrub.with(q.secrets))
	}
	return out, nil
}

// once is one attempt: wait for its turn, send, judge, decode, observe.
func once[T any](ctx context.Context, a *api, q request, attempt int, decode func(value) (T, error)) (out T, f *failure) {
	if q.locked {
		return out, &failure{class: market.ClassUnauthorized, text: "no API key and token are configured"}
	}
	if err := a.pace.wait(ctx); err != nil {
		return out, notSent(err)
	}
	if q.verb.writes() {
		if err := permit.Ask(ctx); err != nil {
			return out, notSent(err)
		}
	}
	start := a.clk.Now()
	ans, f := a.send(ctx, q)
	var drift []market.Drift
	if f == nil {
		out, drift, f = understand(q, ans, decode, a.forms[q.op])
	}
	if f != nil {
		f.after = ans.after
	}
	if f != nil && f.class == market.ClassRateLimited {
		f.after = orDefault(f.after, defaultPause)
		a.pace.pause(f.after)
	}
	c := Call{API: a.name, Op: q.op, Code: ans.code, Duration: a.clk.Now().Sub(start), Attempt: attempt, Drift: drift}
	if f != nil {
		c.Class = f.class
	}
	a.observe(c)
	return out, f
}

func notSent(cause error) *failure {
	return &failure{class: market.ClassUnavailable, text: "not sent: " + cause.Error(), cause: cause}
}

// understand judges an answer, notes how it departs from the form it was known in, and
// decodes it. A read that has lost what safety rests on is not believed.
func understand[T any](q request, a answer, decode func(value) (T, error), form *contract) (out T, drift []market.Drift, f *failure) {
	v, f := judge(q, a)
	if f != nil {
		return out, nil, f
	}
	drift = form.examine(v)
	got, err := decode(v)
	if err != nil {
		return out, append(drift, form.unreadable()), strange(q, err)
	}
	if err := gravest(drift); err != nil && !q.verb.writes() {
		return out, drift, strange(q, err)
	}
	return got, drift, nil
}

// send makes one HTTP exchange and reads the whole answer.
func (a *api) send(ctx context.Context, q request) (answer, *failure) {
	limit, client, patience := q.limit, a.read, a.readTime
	if q.verb.writes() {
		client, patience = a.write, a.writeTime
	}
	if limit == 0 {
		limit = answerLimit
	}
	ctx, cancel := a.clk.WithTimeout(ctx, patience)
	defer cancel()
	trip := &trip{}
	req, err := a.build(httptrace.WithClientTrace(ctx, trip.trace()), q)
	if err != nil {
		return answer{}, &failure{class: market.ClassRefused, text: "cannot be sent: " + err.Error(), cause: err}
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, unanswered(q, trip, err)
	}
	defer func() { _ = res.Body.Close() }() // nothing is left to lose: the body was read or given up
	ans := answer{code: res.StatusCode, kind: res.Header.Get("Content-Type"), after: retryAfter(res.Header, a.clk.Now())}
	ans.body, err = readAll(res, limit)
	switch {
	case errors.Is(err, errTooLong):
		return ans, strange(q, err)
	case err != nil:
		return ans, lost(q, "the answer broke off: "+err.Error(), err)
	}
	return ans, nil
}

// build makes the HTTP request. A body cannot be rewound (GetBody) and there is
// no Idempotency-Key, so that net/http never sends a write a second time.
func (a *api) build(ctx context.Context, q request) (*http.Request, error) {
	target, body, kind := a.origin+q.path, io.Reader(nil), ""
	switch {
	case q.json != nil:
		body, kind = bytes.NewReader(q.json), "application/json"
	case q.method == http.MethodPost && q.form != nil:
		body, kind = strings.NewReader(q.form.Encode()), "application/x-www-form-urlencoded"
	case len(q.form) > 0:
		target += "?" + q.form.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, q.method, target, body)
	if err != nil {
		return nil, err
	}
	if q.verb.writes() {
		req.GetBody = nil
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", a.agent)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if q.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+q.bearer)
	}
	return req, nil
}

var errTooLong = errors.New("the answer is too long")

func readAll(res *http.Response, limit int64) ([]byte, error) {
	var b bytes.Buffer
	if n := res.ContentLength; n > 0 && n <= limit {
		b.Grow(int(n) + bytes.MinRead)
	}
	n, err := b.ReadFrom(io.LimitReader(res.Body, limit+1))
	if err == nil && n > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", errTooLong, limit)
	}
	return b.Bytes(), err
}

// trip notes how far an exchange came; the transport's goroutines may write it.
type trip struct{ wanted, connected atomic.Bool }

func (t *trip) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn: func(string) { t.wanted.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { t.connected.Store(true) },
	}
}

// unanswered sorts an exchange without an answer. A write without a connection
// was certainly not sent; with one, it may have been.
func unanswered(q request, t *trip, err error) *failure {
	text := "no answer: " + reason(err)
	if !t.connected.Load() && (t.wanted.Load() || notConnected(err)) {
		return &failure{class: market.ClassUnavailable, text: "not sent: " + reason(err), cause: err, again: true}
	}
	return lost(q, text, err)
}

// notConnected reads from the error alone that no connection came about, for
// transports that do not report their connections.
func notConnected(err error) bool {
	var op *net.OpError
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &dns) || errors.As(err, &cert) || errors.As(err, &record)
}

// reason drops the URL, which carries the credentials of a GET.
func reason(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}
