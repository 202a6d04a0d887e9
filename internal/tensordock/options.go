package tensordock

import (
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// Where the two APIs live.
const (
	DefaultMarketplaceURL = "https://marketplace.tensordock.com"
	DefaultInstancesURL   = "https://dashboard.tensordock.com"
)

// Options configure a Reader or a Client. The zero value reads the public lists
// of the real market.
type Options struct {
	// Origins of v0 and v2; a trailing /, /api/v0 or /api/v2 is stripped.
	MarketplaceURL, InstancesURL string
	// AllowPlainHTTP lets them be http:// to another machine, to which the
	// credentials then go in the clear.
	AllowPlainHTTP bool
	// Key and Token are v0's api_key and api_token; Token is v2's bearer too.
	Key, Token secret.String
	// MarketplaceRPS is v0's pace in requests per second, 1 if zero;
	// InstancesRPM v2's in requests per minute, 100 if zero.
	MarketplaceRPS, InstancesRPM float64
	// Clock paces, times and retries; clock.System{} if nil.
	Clock clock.Clock
	// Transport carries everything; nil is one of our own, which ignores proxy
	// settings of the environment and uses a new connection for every write.
	Transport http.RoundTripper
	// ReadTimeout and WriteTimeout bound one attempt, its answer included; 45 s
	// and 150 s if zero, as deploys are slow.
	ReadTimeout, WriteTimeout time.Duration
	// Observe is told every attempt that was sent; it must be quick. Nil is fine.
	Observe func(Call)
	// Jitter spreads the delays of retries: each call gives a number from 0 up to
	// 1. nil is a random one; simulations that replay give their own.
	Jitter func() float64
	// UserAgent is "tdscaler" if empty.
	UserAgent string
}

// Call is one attempt of one operation, for metrics and logs.
type Call struct {
	API      market.API
	Op       string       // e.g. "deploy", "list machines"
	Class    market.Class // "" for success
	Code     int          // HTTP status, 0 without an answer
	Duration time.Duration
	Attempt  int // from 1
	// Drift is how the answer departs from the form in which it was known.
	Drift []market.Drift
}

// Reader asks the market and changes nothing.
//
// Invariant: no exported method of Reader has an effect on the market.
type Reader struct {
	v0, v2     *api
	key, token secret.String
}

// Client is a Reader that can also change things. Reads and writes share one
// pace per API.
type Client struct{ *Reader }

// NewReader checks the options and makes a Reader.
func NewReader(o Options) (*Reader, error) {
	o, err := o.filled()
	if err != nil {
		return nil, fmt.Errorf("tensordock options: %w", err)
	}
	scrub := newScrubber(o.Key.Reveal(), o.Token.Reveal())
	reads, writes := o.clients()
	side := func(name market.API, origin string, perSecond float64) *api {
		return &api{
			name: name, origin: origin, read: reads, write: writes, clk: o.Clock, pace: newPacer(o.Clock, perSecond), scrub: scrub,
			readTime: o.ReadTimeout, writeTime: o.WriteTimeout, observe: o.Observe, agent: o.UserAgent, jitter: o.Jitter, forms: contracts(),
		}
	}
	return &Reader{
		v0:  side(market.V0, o.MarketplaceURL, o.MarketplaceRPS),
		v2:  side(market.V2, o.InstancesURL, o.InstancesRPM/60),
		key: o.Key, token: o.Token,
	}, nil
}

// NewClient checks the options and makes a Client.
func NewClient(o Options) (*Client, error) {
	r, err := NewReader(o)
	if err != nil {
		return nil, err
	}
	return &Client{Reader: r}, nil
}

// Format implements fmt.Formatter: a Reader prints as where it asks.
func (r Reader) Format(f fmt.State, _ rune) {
	if r.v0 == nil || r.v2 == nil {
		return
	}
	_, _ = fmt.Fprintf(f, "tensordock(%s, %s)", r.v0.origin, r.v2.origin)
}

// CloseIdle closes the connections that are kept for later reads; the Reader
// stays usable.
func (r *Reader) CloseIdle() { r.v0.read.CloseIdleConnections() }

// filled returns the options with defaults, or what is wrong with them. Its
// errors do not repeat a URL, which may hold a password.
func (o Options) filled() (Options, error) {
	var err1, err2 error
	o.MarketplaceURL, err1 = o.origin("marketplace URL", o.MarketplaceURL, DefaultMarketplaceURL)
	o.InstancesURL, err2 = o.origin("instances URL", o.InstancesURL, DefaultInstancesURL)
	o.MarketplaceRPS, o.InstancesRPM = orDefault(o.MarketplaceRPS, 1), orDefault(o.InstancesRPM, 100)
	o.ReadTimeout, o.WriteTimeout = orDefault(o.ReadTimeout, 45*time.Second), orDefault(o.WriteTimeout, 150*time.Second)
	o.UserAgent = orDefault(o.UserAgent, "tdscaler")
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Jitter == nil {
		o.Jitter = rand.Float64
	}
	if o.Observe == nil {
		o.Observe = func(Call) {}
	}
	return o, errors.Join(err1, err2, o.check())
}

func (o Options) check() error {
	switch {
	case !(o.MarketplaceRPS > 0 && o.MarketplaceRPS <= 1000):
		return errors.New("marketplace pace must be above 0 and at most 1000 per second")
	case !(o.InstancesRPM > 0 && o.InstancesRPM <= 60_000):
		return errors.New("instances pace must be above 0 and at most 60000 per minute")
	case o.ReadTimeout < 0 || o.WriteTimeout < 0:
		return errors.New("a timeout must not be negative")
	case strings.ContainsAny(o.Token.Reveal(), "\r\n"):
		return errors.New("the token holds a line break")
	}
	return nil
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// origin checks a base URL and strips what callers like to leave at its end.
func (o Options) origin(what, raw, def string) (string, error) {
	raw = strings.TrimRight(orDefault(raw, def), "/")
	raw = strings.TrimSuffix(strings.TrimSuffix(raw, "/api/v0"), "/api/v2")
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("the %s is not http(s)://host[:port]", what)
	}
	if u.Scheme == "http" && !o.AllowPlainHTTP && !strings.EqualFold(u.Hostname(), "localhost") && !net.ParseIP(u.Hostname()).IsLoopback() {
		return "", fmt.Errorf("the %s is plain http to another machine", what)
	}
	return strings.TrimRight(raw, "/"), nil
}

// clients are one for reads and one for writes. Neither follows redirects: they
// would carry the credentials elsewhere. Writes never share a kept connection,
// whose silent death would leave their fate open.
func (o Options) clients() (reads, writes *http.Client) {
	through := func(rt http.RoundTripper) *http.Client {
		return &http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if o.Transport != nil {
		c := through(o.Transport)
		return c, c
	}
	w := newTransport()
	w.DisableKeepAlives = true
	return through(newTransport()), through(w)
}

func newTransport() *http.Transport {
	return &http.Transport{
		DialContext:         (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 15 * time.Second,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        4,
		// The header of an answer; its body has a limit of its own. The default is
		// 10 MB.
		MaxResponseHeaderBytes: 256 << 10,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		ExpectContinueTimeout:  time.Second,
	}
}

// credentials are v0's, empty where there are none.
func (r *Reader) credentials() url.Values {
	f := url.Values{}
	if !r.key.IsEmpty() && !r.token.IsEmpty() {
		f.Set("api_key", r.key.Reveal())
		f.Set("api_token", r.token.Reveal())
	}
	return f
}

// post is a v0 request: a form with the credentials in it.
func (r *Reader) post(op, path string, f url.Values) request {
	form := r.credentials()
	locked := len(form) == 0
	maps.Copy(form, f)
	return request{op: op, method: http.MethodPost, path: "/api/v0/" + path, form: form, locked: locked}
}
