package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Shape is the form of the answers.
type Shape string

// Shapes.
const (
	Real Shape = "real" // as recorded from the live API
	Seed Shape = "seed" // as its published OpenAPI documents say
)

// FaceOptions of Handler.
type FaceOptions struct {
	Shape      Shape  // default Real
	Key, Token string // what callers must send; "" accepts any
	// IntPorts makes the values of port_forwards numbers, as newer answers have
	// them; strings, the default, are read by every client known.
	IntPorts bool
	Faults   *Faults
	// Struck, if set, is told of every fault that strikes, with the operation's name.
	Struck  func(kind, op string)
	Latency Latency
	// Scale is what the number in a request to scale a container means: default as the
	// shape's documents have it.
	Scale ScaleMeaning
}

// ScaleMeaning is how the market reads the number in a request to scale.
type ScaleMeaning string

// Meanings.
const (
	ScaleAbsolute ScaleMeaning = "absolute" // the new count
	ScaleDelta    ScaleMeaning = "delta"    // added to the present one
)

// Latency is how long answers take: lognormal around the medians, slept on the
// engine's clock after the effect. The zero value answers at once.
type Latency struct {
	Read, Write time.Duration
	Sigma       float64
}

// face is the HTTP form of one engine.
type face struct {
	e     *Engine
	opts  FaceOptions
	shape shape

	mu     sync.Mutex // guards what follows; taken before the engine's lock
	rng    *rand.Rand
	recent []time.Time // v2 calls of the last minute
	faults faultState

	// Encoded hosts, machines and whole hostnode answers; guarded by the engine's
	// lock.
	hostJSON, vmJSON, whole map[string]*cachedJSON
}

// Handler serves /api/v0/ and /api/v2/ of the marketplace.
func (e *Engine) Handler(o FaceOptions) http.Handler {
	f := &face{
		e: e, opts: o, rng: stream(e.opts.Seed, "face"),
		hostJSON: map[string]*cachedJSON{}, vmJSON: map[string]*cachedJSON{}, whole: map[string]*cachedJSON{},
	}
	f.shape = realShape{f}
	if o.Shape == Seed {
		f.shape = seedShape{f}
	}
	f.faults = newFaultState(o.Faults, e.opts.Seed, e.opts.Start)
	return f
}

// answer is what goes back, before faults have their way with it.
type answer struct {
	status int
	kind   string // content type, default JSON
	header http.Header
	body   []byte
}

// call is one request that found its operation.
type call struct {
	*face
	op     *operation
	r      *http.Request
	params params
	id     string // from the path
	hit    hits   // what goes wrong with it
}

// operation is one endpoint. Name is what fault plans call it.
type operation struct {
	name   string
	write  bool
	public bool // needs no credentials
	v2     bool
	do     func(*call) answer
}

// ServeHTTP implements http.Handler.
func (f *face) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	op, id := f.route(r)
	if op == nil {
		f.write(w, f.failure(http.StatusNotFound, "Not found"))
		return
	}
	c := &call{face: f, op: op, r: r, id: id}
	hit := f.meet(op.name)
	if hit.is(faultLostRequest) {
		panic(http.ErrAbortHandler)
	}
	a, instead := hit.instead()
	if !instead {
		a = c.perform(hit)
	}
	if hit.is(faultLost) {
		panic(http.ErrAbortHandler)
	}
	if f.wait(r.Context(), op, hit) != nil {
		panic(http.ErrAbortHandler) // the caller is gone; the effect stays
	}
	f.write(w, a)
}

// perform does the operation and lets the faults change its answer.
func (c *call) perform(hit hits) answer {
	if c.op.v2 {
		if a, limited := c.limit(); limited {
			return a
		}
	}
	p, err := readParams(c.r, c.op.v2)
	if err != nil {
		return c.failure(http.StatusBadRequest, err.Error())
	}
	c.params = p
	if !c.op.public && !c.authorized() {
		return c.unauthorized()
	}
	c.hit = hit
	if r := hit.find(faultRenamed); r != nil {
		c.e.rename(r.value)
	}
	return c.change(c.op.do(c))
}

func (c *call) authorized() bool {
	if c.op.v2 {
		token, ok := strings.CutPrefix(c.r.Header.Get("Authorization"), "Bearer ")
		return ok && token != "" && (c.opts.Token == "" || token == c.opts.Token)
	}
	return c.params.has("api_key", "api_token") &&
		(c.opts.Key == "" || c.params.text("api_key") == c.opts.Key) &&
		(c.opts.Token == "" || c.params.text("api_token") == c.opts.Token)
}

func (c *call) unauthorized() answer {
	if c.op.v2 {
		return c.shape.failure2(http.StatusUnauthorized, "Unauthorized")
	}
	return c.failure(http.StatusOK, "Invalid API key or token")
}

// wait sleeps the answer's latency, and what a slow fault adds, on the engine's
// clock.
func (f *face) wait(ctx context.Context, op *operation, hit hits) error {
	median := f.opts.Latency.Read
	if op.write {
		median = f.opts.Latency.Write
	}
	d := hit.delay()
	if median > 0 {
		f.mu.Lock()
		d += lognormal(f.rng, median, f.opts.Latency.Sigma)
		f.mu.Unlock()
	}
	if d == 0 {
		return nil
	}
	return f.e.opts.Clock.Sleep(ctx, d)
}

func (f *face) write(w http.ResponseWriter, a answer) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	kind := a.kind
	if kind == "" {
		kind = "application/json"
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // a caller that went away is not our trouble
}

// object is a JSON object.
type object = map[string]any

// reply encodes v. What the simulator builds always encodes.
func reply(status int, v any) answer {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return answer{status: http.StatusInternalServerError, body: []byte(`{"error":"encoding"}`)}
	}
	return answer{status: status, body: b.Bytes()}
}

func ok(v any) answer { return reply(http.StatusOK, v) }

// failure is v0's error answer. An HTTP 500 comes without success, as recorded.
func (f *face) failure(status int, text string) answer {
	if status == http.StatusInternalServerError {
		return reply(status, object{"error": text})
	}
	return reply(status, f.shape.failure(text))
}

// refused turns an error of the engine into v0's answer.
func (f *face) refused(err error) answer {
	r, is := err.(*Refusal)
	if !is {
		return f.failure(http.StatusInternalServerError, err.Error())
	}
	a := f.shape.failure(r.Detail)
	if hint, known := r.Hint.Get(); known && f.opts.Shape != Seed {
		a["min_bid"] = hint
	}
	if r.Status == http.StatusInternalServerError {
		delete(a, "success")
	}
	return reply(r.Status, a)
}

// done is v0's answer to a write that returns nothing.
func (f *face) done(err error) answer {
	if err != nil {
		return f.refused(err)
	}
	return ok(object{"success": true})
}
