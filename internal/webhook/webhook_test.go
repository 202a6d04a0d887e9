package webhook

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/secret"
)

const key = "a secret of enough bytes"

const config = `version: 1
policies:
  - {name: train, target: {gpus: 4, max: 8}, shape: {gpus: 2}, max_gpu_hour: 1.00}
`

// hands is the system's clock with hands that somebody moves.
type hands struct {
	clock.System
	now time.Time
}

func (h *hands) Now() time.Time { return h.now }

// caller sends requests to a handler over a ledger.
type caller struct {
	*testing.T
	clock   *hands
	office  *control.Office
	handler http.Handler
	key     func() (secret.String, error)
	results []string
}

func newCaller(t *testing.T) *caller {
	path := filepath.Join(t.TempDir(), "policies.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems, err := daemon.LoadConfig(path)
	if err != nil {
		t.Fatal(err, problems)
	}
	c := &caller{T: t, clock: &hands{now: time.Now().Round(0)}, key: func() (secret.String, error) { return secret.New(key), nil }}
	c.office = control.Alone(control.Options{Clock: c.clock, Credentials: credentials.New(t.TempDir())}, control.AloneOptions{
		Config: cfg, Open: func(readOnly bool) (*ledger.Ledger, error) {
			return ledger.Open(ledger.Options{Path: cfg.Set.Daemon.Ledger, NoSync: true, ReadOnly: readOnly})
		},
	})
	c.handler = Handler(Options{
		Desk: c.office, Clock: c.clock, Secret: func() (secret.String, error) { return c.key() },
		Done: func(result, _ string) { c.results = append(c.results, result) },
	})
	return c
}

func (c *caller) request(body string) *http.Request {
	stamp := strconv.FormatInt(c.clock.now.Unix(), 10)
	r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(body))
	r.Header.Set(HeaderTimestamp, stamp)
	r.Header.Set(HeaderSignature, "sha256="+hex.EncodeToString(secret.New(key).Sign(stamp, []byte(body))))
	return r
}

// send wants a status and returns the answer.
func (c *caller) send(r *http.Request, status int, result string) string {
	c.Helper()
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, r)
	b, err := io.ReadAll(w.Body)
	if err != nil {
		c.Fatal(err)
	}
	if last := c.results[len(c.results)-1]; w.Code != status || last != result {
		c.Errorf("answered %d (%s), not %d (%s): %s", w.Code, last, status, result, b)
	}
	return string(b)
}

func (c *caller) overrides() []demand.Override {
	c.Helper()
	all, err := c.office.Targets(c.Context(), control.TargetsRequest{})
	if err != nil {
		c.Fatal(err)
	}
	var out []demand.Override
	for _, o := range all {
		if o.Override != nil {
			out = append(out, *o.Override)
		}
	}
	return out
}

func TestASignedRequestSetsATargetWithAnEnd(t *testing.T) {
	c := newCaller(t)
	var got demand.Outcome
	if err := json.Unmarshal([]byte(c.send(c.request(`{"policy": "train", "gpus": 6, "for": "2h", "reason": "queue"}`), http.StatusOK, "ok")), &got); err != nil {
		t.Fatal(err)
	}
	if got.GPUs != 6 || got.Source != demand.ByHand || got.Override.By != "webhook" || !got.Override.Until.Equal(c.clock.now.Add(2*time.Hour)) || got.Override.Reason != "queue" {
		t.Errorf("%+v", got)
	}
	c.clock.now = c.clock.now.Add(time.Second)
	c.send(c.request(`{"policy": "train", "gpus": 0}`), http.StatusOK, "ok")
	if o := c.overrides(); len(o) != 1 || o[0].GPUs != 0 || !o[0].Until.Equal(c.clock.now.Add(time.Hour)) {
		t.Errorf("%+v", o)
	}
	c.send(c.request(`{"policy": "train", "clear": true}`), http.StatusOK, "ok")
	if o := c.overrides(); len(o) != 0 {
		t.Errorf("%+v", o)
	}
}

func TestARequestIsTakenOnceAlsoAfterARestart(t *testing.T) {
	c := newCaller(t)
	again := func() *http.Request { return c.request(`{"policy": "train", "gpus": 6}`) }
	first := again()
	c.send(again(), http.StatusOK, "ok")
	if _, err := c.office.ClearTarget(t.Context(), control.ClearTargetRequest{}); err != nil {
		t.Fatal(err)
	}
	upper := again()
	upper.Header.Set(HeaderSignature, strings.ToUpper(strings.TrimPrefix(upper.Header.Get(HeaderSignature), "sha256=")))
	c.send(upper, http.StatusConflict, "replayed")
	c.clock.now = c.clock.now.Add(demand.ReplayWindow - time.Second)
	c.send(first, http.StatusConflict, "replayed")
	if o := c.overrides(); len(o) != 0 {
		t.Errorf("a replayed request was carried out: %+v", o)
	}
	c.send(again(), http.StatusOK, "ok")
}

func TestWhatIsNotSignedForNowIsRefused(t *testing.T) {
	c := newCaller(t)
	const body = `{"policy": "train", "gpus": 6}`
	for name, change := range map[string]func(*http.Request){
		"no signature":   func(r *http.Request) { r.Header.Del(HeaderSignature) },
		"no timestamp":   func(r *http.Request) { r.Header.Del(HeaderTimestamp) },
		"another body":   func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"policy": "train", "gpus": 8}`)) },
		"another time":   func(r *http.Request) { r.Header.Set(HeaderTimestamp, strconv.FormatInt(c.clock.now.Unix()+1, 10)) },
		"no hexadecimal": func(r *http.Request) { r.Header.Set(HeaderSignature, "sha256=zz") },
		"half of it":     func(r *http.Request) { r.Header.Set(HeaderSignature, r.Header.Get(HeaderSignature)[:39]) },
		"another secret": func(r *http.Request) {
			r.Header.Set(HeaderSignature, hex.EncodeToString(secret.New("other").Sign(r.Header.Get(HeaderTimestamp), []byte(body))))
		},
		"signed long ago": func(r *http.Request) { stamped(r, body, c.clock.now.Add(-demand.ReplayWindow-time.Second)) },
		"of the future":   func(r *http.Request) { stamped(r, body, c.clock.now.Add(demand.ReplayWindow+time.Second)) },
	} {
		t.Run(name, func(t *testing.T) {
			r := c.request(body)
			change(r)
			c.send(r, http.StatusUnauthorized, "unauthorized")
		})
	}
	if o := c.overrides(); len(o) != 0 {
		t.Errorf("%+v", o)
	}
	c.key = func() (secret.String, error) { return secret.String{}, errors.New("gone") }
	if got := c.send(c.request(body), http.StatusInternalServerError, "failed"); strings.Contains(got, "gone") {
		t.Error(got)
	}
}

func stamped(r *http.Request, body string, at time.Time) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	r.Header.Set(HeaderTimestamp, stamp)
	r.Header.Set(HeaderSignature, "sha256="+hex.EncodeToString(secret.New(key).Sign(stamp, []byte(body))))
}

func TestNoRequestGoesBeyondTheFileNorWithoutAnEndNorForLong(t *testing.T) {
	c := newCaller(t)
	for body, status := range map[string]int{
		`{"policy": "train", "gpus": 10}`:                 http.StatusBadRequest,
		`{"policy": "train", "gpus": 3}`:                  http.StatusBadRequest,
		`{"policy": "train", "gpus": -2}`:                 http.StatusBadRequest,
		`{"policy": "train", "gpus": 1e3}`:                http.StatusBadRequest,
		`{"policy": "train", "gpus": 6, "for": "169h"}`:   http.StatusBadRequest,
		`{"policy": "train", "gpus": 6, "for": "-1h"}`:    http.StatusBadRequest,
		`{"policy": "train", "gpus": 6, "for": "ever"}`:   http.StatusBadRequest,
		`{"policy": "train", "gpus": 6, "forever": true}`: http.StatusBadRequest,
		`{"policy": "train", "gpus": 6, "clear": true}`:   http.StatusBadRequest,
		`{"policy": "train"}`:                             http.StatusBadRequest,
		`{"gpus": 6}`:                                     http.StatusBadRequest,
		`{"policy": "", "clear": true}`:                   http.StatusBadRequest,
		`{"policy": "train", "gpus": 6} {}`:               http.StatusBadRequest,
		`[]`:                                              http.StatusBadRequest,
		``:                                                http.StatusBadRequest,
		`{"policy": "trian", "gpus": 6}`:                  http.StatusNotFound,
		`{"policy": "trian", "clear": true}`:              http.StatusNotFound,
		fmt.Sprintf(`{"policy": "train", "gpus": 6, "reason": %q}`, strings.Repeat("x", 201)):     http.StatusBadRequest,
		fmt.Sprintf(`{"policy": "train", "gpus": 6, "reason": %q}`, strings.Repeat("x", maxBody)): http.StatusRequestEntityTooLarge,
	} {
		c.send(c.request(body), status, "refused")
	}
	if o := c.overrides(); len(o) != 0 {
		t.Errorf("%+v", o)
	}
}

func TestAWebhookYieldsToTheOperator(t *testing.T) {
	c := newCaller(t)
	if _, err := c.office.SetTarget(t.Context(), control.SetTargetRequest{Policy: "train", N: 2, Until: c.clock.now.Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	c.send(c.request(`{"policy": "train", "gpus": 8}`), http.StatusConflict, "refused")
	c.send(c.request(`{"policy": "train", "clear": true}`), http.StatusConflict, "refused")
	if o := c.overrides(); len(o) != 1 || o[0].GPUs != 2 {
		t.Errorf("%+v", o)
	}
	c.clock.now = c.clock.now.Add(time.Hour)
	c.send(c.request(`{"policy": "train", "gpus": 8}`), http.StatusOK, "ok")
}

func TestNothingButItsOnePathIsServed(t *testing.T) {
	c := newCaller(t)
	for _, r := range []*http.Request{httptest.NewRequest(http.MethodGet, Path, nil), httptest.NewRequest(http.MethodPost, "/v1/destroy", nil)} {
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, r)
		if w.Code != http.StatusNotFound && w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s %s: %d", r.Method, r.URL, w.Code)
		}
	}
}

func FuzzARequest(f *testing.F) {
	f.Add("1", "sha256=00", `{"policy": "train", "gpus": 6}`)
	// There is no desk: a request that gets so far panics.
	f.Fuzz(func(t *testing.T, stamp, signature, body string) {
		h := Handler(Options{Clock: &hands{now: time.Unix(1, 0)}, Secret: func() (secret.String, error) { return secret.New(key), nil }})
		r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(body))
		r.Header.Set(HeaderTimestamp, stamp)
		r.Header.Set(HeaderSignature, signature)
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code == http.StatusOK {
			t.Errorf("%q %q %q is taken", stamp, signature, body)
		}
	})
}
