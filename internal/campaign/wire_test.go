package campaign

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/tdscaler/tdscaler/internal/simulator"
)

// wire is the road between client and market: it notes every request, judges
// writes before they arrive, and can be cut.
type wire struct {
	mu      sync.Mutex
	handler http.Handler
	sent    []string // "METHOD path" of every request
	secrets map[string]bool
	forget  bool // keeps no note of what was sent
	// judge looks at a request before it arrives; a complaint is noted.
	judge  func(op string, form url.Values)
	done   func()          // a judged request is over
	listed func()          // the list of machines is asked for
	before func(op string) // a point at which the daemon may die
	after  func(op string)
	// cut, if it says so, lets no connection come about.
	cut func(op string) error
	// echo, if it says so, answers with the request itself: the rudest server.
	echo func(op string) bool
}

func newWire(h http.Handler) *wire { return &wire{handler: h, secrets: map[string]bool{}} }

// writeOps are the paths that change something, as the client uses them.
func writes(op string) bool {
	for _, w := range []string{
		"/deploy/single", "/deployinstant/", "/modify/", "/start/", "/stop/", "/delete/", "/validate/existing",
		"/container/deploy", "/container/scale", "/container/stop",
	} {
		if strings.Contains(op, w) {
			return true
		}
	}
	method, path, _ := strings.Cut(op, " ")
	return strings.Contains(path, "/v2/") && method != http.MethodGet
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	op := r.Method + " " + r.URL.Path
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	form, err := formOf(body)
	if err != nil {
		return nil, err
	}
	w.note(op, form)
	if w.judge != nil && writes(op) {
		w.judge(op, form)
		defer w.done()
	}
	if w.listed != nil && strings.HasSuffix(op, "/client/list") {
		w.listed()
	}
	if w.before != nil {
		w.before(op)
	}
	if w.cut != nil {
		if err := w.cut(op); err != nil {
			return nil, err
		}
	}
	if w.echo != nil && w.echo(op) {
		return parrot(r, body), nil
	}
	res, err := simulator.Transport(w.current()).RoundTrip(r)
	if w.after != nil {
		w.after(op)
	}
	return res, err
}

// formOf reads a request of either API; of v2's orders what is looked at.
func formOf(body []byte) (url.Values, error) {
	if !bytes.HasPrefix(body, []byte("{")) {
		return url.ParseQuery(string(body))
	}
	var v2 struct {
		Data struct {
			Attributes struct {
				Name      string
				SSHKey    string `json:"ssh_key"`
				Resources struct {
					GPUs json.RawMessage
				}
			}
		}
	}
	if err := json.Unmarshal(body, &v2); err != nil {
		return nil, err
	}
	a, form := &v2.Data.Attributes, url.Values{}
	form.Set("name", a.Name)
	form.Set("ssh_key", a.SSHKey)
	if count := regexp.MustCompile(`"count":\s*([0-9]+)`).FindSubmatch(a.Resources.GPUs); count != nil {
		form.Set("gpu_count", string(count[1]))
	}
	return form, nil
}

func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	if err := r.Body.Close(); err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(b))
	return b, nil
}

func (w *wire) note(op string, form url.Values) {
	if w.forget {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sent = append(w.sent, op)
	if p := form.Get("password"); p != "" {
		w.secrets[p] = true
	}
}

func (w *wire) current() http.Handler {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.handler
}

// reset puts another face on the market: without faults, say.
func (w *wire) reset(h http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.handler = h
}

// writesSent are the writes among the requests so far.
func (w *wire) writesSent() (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, op := range w.sent {
		if writes(op) {
			out = append(out, op)
		}
	}
	return out
}

// parrot answers HTTP 400 with all that was sent, credentials and password
// included.
func parrot(r *http.Request, body []byte) *http.Response {
	text := fmt.Sprintf("{%q: %q}", "error", "bad request: "+r.URL.String()+" "+string(body))
	if form, err := url.QueryUnescape(string(body)); err == nil {
		text = fmt.Sprintf("{%q: %q}", "error", "bad request: "+form)
	}
	return &http.Response{
		Status: "400 Bad Request", StatusCode: http.StatusBadRequest, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(text)),
		ContentLength: int64(len(text)), Request: r,
	}
}
