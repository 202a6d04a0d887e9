package signals

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// maxAnswer is how many bytes an answer may have.
const maxAnswer = 1 << 20

// maxFile is how many bytes a token, a password or certificates may have.
const maxFile = 256 << 10

// transports connect to servers. Those whose certificate must come from a file get a
// connection of their own each time: the file may have changed.
type transports struct{ usual *http.Transport }

func newTransports() *transports { return &transports{usual: newTransport()} }

func newTransport() *http.Transport {
	return &http.Transport{
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10,
	}
}

func (t *transports) close() { t.usual.CloseIdleConnections() }

// query puts a query and returns its one number, and when that was so by our clock.
func (t *transports) query(ctx context.Context, q *policy.Prometheus, now time.Time) (value float64, at time.Time, err error) {
	d, err := t.visitor(q)
	if err != nil {
		return 0, now, err
	}
	defer d.leave()
	client, err := api.NewClient(api.Config{Address: q.URL, Client: &http.Client{
		Transport: d, CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
	}})
	if err != nil {
		return 0, now, errors.New("the address cannot be used")
	}
	value, at, err = put(ctx, v1.NewAPI(client), q, now)
	switch {
	case err != nil && ctx.Err() != nil:
		err = fmt.Errorf("no answer within %s", q.Timeout)
	case err != nil:
		err = errors.New(redacted(err.Error(), d.token.Reveal(), d.password.Reveal()))
	}
	return value, at, err
}

var errRedirect = errors.New("the server answers with a redirect: write the address that it leads to")

// put asks. A panic of what reads the answer is an answer that cannot be read: it came
// from outside.
func put(ctx context.Context, p v1.API, q *policy.Prometheus, now time.Time) (f float64, at time.Time, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the answer cannot be read: %v", r)
		}
	}()
	var v model.Value
	var warnings v1.Warnings
	if q.Range == 0 {
		v, warnings, _, err = p.Query(ctx, q.Query, time.Time{}, v1.WithTimeout(q.Timeout))
	} else {
		v, warnings, _, err = p.QueryRange(ctx, q.Query, v1.Range{Start: now.Add(-q.Range), End: now, Step: q.Step}, v1.WithTimeout(q.Timeout))
	}
	switch {
	case err != nil:
		return 0, now, explained(err)
	case len(warnings) > 0: // often: some of the data could not be had
		return 0, now, fmt.Errorf("the answer may be incomplete: %s", strings.Join(warnings, "; "))
	case q.Range == 0:
		f, err := single(v, q.Query)
		return f, now, err
	}
	return reduced(v, q, now)
}

// explained says what a refusal means.
func explained(err error) error {
	var e *v1.Error
	if errors.As(err, &e) {
		switch {
		case e.Type == v1.ErrBadData:
			return fmt.Errorf("the server refuses the query: %s", e.Msg)
		case strings.Contains(e.Msg, "401") || strings.Contains(e.Msg, "403"):
			return fmt.Errorf("the server refuses the token or password: %s", e.Msg)
		}
	}
	return fmt.Errorf("the query failed: %w", err)
}

const noData = `no data: the query has no series now; where that means zero, write "... or vector(0)"`

func tooMany(n int, query string) error {
	return fmt.Errorf("%d series: the answer must be one number; aggregate them, as in sum(%s) or max(%s)", n, query, query)
}

// single is the one number of an instant query's answer.
func single(v model.Value, query string) (float64, error) {
	switch v := v.(type) {
	case *model.Scalar:
		return finite(float64(v.Value))
	case model.Vector:
		switch {
		case len(v) == 0:
			return 0, errors.New(noData)
		case len(v) > 1:
			return 0, tooMany(len(v), query)
		case v[0].Histogram != nil:
			return 0, errors.New("the answer is a histogram: use histogram_quantile(), histogram_sum() or histogram_count()")
		}
		return finite(float64(v[0].Value))
	case model.Matrix:
		return 0, errors.New("the answer is a range of values: put a function around it, as in avg_over_time(), or set range")
	}
	return 0, errors.New("the answer is of a kind that is not known")
}

func finite(f float64) (float64, error) {
	switch {
	case math.IsNaN(f):
		return 0, errors.New("the value is NaN, as when nothing is divided by nothing")
	case math.IsInf(f, 0):
		return 0, errors.New("the value is infinite, as when something is divided by nothing")
	}
	return f, nil
}

// reduced makes one number of a range query's answer. Values that are NaN are left
// out; its age is that of the last one.
func reduced(v model.Value, q *policy.Prometheus, now time.Time) (float64, time.Time, error) {
	m, ok := v.(model.Matrix)
	switch {
	case !ok:
		return 0, now, errors.New("the answer is not a range of values")
	case len(m) == 0:
		return 0, now, errors.New(noData)
	case len(m) > 1:
		return 0, now, tooMany(len(m), q.Query)
	}
	var sum, least, most, last float64
	n, at := 0, now
	for _, p := range m[0].Values {
		f := float64(p.Value)
		if math.IsNaN(f) {
			continue
		}
		if n == 0 {
			least, most = f, f
		}
		n++
		sum, least, most, last, at = sum+f, min(least, f), max(most, f), f, p.Timestamp.Time()
	}
	if n == 0 {
		return 0, now, errors.New(noData)
	}
	if at.After(now) {
		at = now
	}
	f, err := finite(map[string]float64{"avg": sum / float64(n), "min": least, "max": most, "last": last}[q.Reduce])
	return f, at.UTC(), err
}

// visitor is a transport that shows who we are, and reads no more than it must.
type visitor struct {
	base            http.RoundTripper
	token, password secret.String
	username        string
	leave           func()
}

func (t *transports) visitor(q *policy.Prometheus) (v *visitor, err error) {
	v = &visitor{base: t.usual, username: q.Username, leave: func() {}}
	if v.token, err = readSecret(q.TokenFile); err != nil {
		return nil, fmt.Errorf("token_file: %w", err)
	}
	if v.password, err = readSecret(q.PasswordFile); err != nil {
		return nil, fmt.Errorf("password_file: %w", err)
	}
	if q.CAFile == "" {
		return v, nil
	}
	pem, err := readFile(q.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w", err)
	}
	own := newTransport()
	own.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
	if !own.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
		return nil, errors.New("ca_file: there is no certificate in it")
	}
	v.base, v.leave = own, own.CloseIdleConnections
	return v, nil
}

// RoundTrip implements http.RoundTripper.
func (v *visitor) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	switch {
	case v.token.Reveal() != "":
		req.Header.Set("Authorization", "Bearer "+v.token.Reveal())
	case v.username != "":
		req.SetBasicAuth(v.username, v.password.Reveal())
	}
	res, err := v.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	res.Body = &bounded{ReadCloser: res.Body, left: maxAnswer}
	return res, nil
}

// bounded fails where an answer is too long, instead of cutting it off.
type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func readSecret(path string) (secret.String, error) {
	if path == "" {
		return secret.String{}, nil
	}
	b, err := readFile(path)
	if err != nil {
		return secret.String{}, err
	}
	s := strings.TrimSpace(string(b))
	if s == "" || strings.ContainsAny(s, "\r\n") {
		return secret.String{}, errors.New("it must hold one line")
	}
	return secret.New(s), nil
}

func readFile(path string) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if b, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err == nil && len(b) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return b, err
}
