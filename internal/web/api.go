package web

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
)

// prefix is where the JSON begins.
const prefix = "/api/v1"

// Bounds of an answer.
const (
	answerTakes = 20 * time.Second // the server's own end is at 30 s
	mostBytes   = 32 << 20
)

// route is one thing to ask. The document of openapi.json is made of it, and what is
// asked is held to it.
type route struct {
	path    string // below prefix, as http.ServeMux has it
	summary string
	command string // the command that prints the same JSON; "" where there is none
	params  []param
	// answer is a zero value of what is answered. ask answers it, or raw does, whose
	// answer is of the media type, JSON where that is "".
	answer any
	ask    func(*question) (any, error)
	raw    func(http.ResponseWriter, *http.Request, query)
	media  string
}

// question is one question.
type question struct {
	context.Context
	desk Desk
	q    query
	now  time.Time
	path func(name string) string
	// next, where it is set, is what before is on the next page of the list.
	next uint64
}

// api serves what programs ask: JSON under /api/v1. Its routes take every method, to
// refuse in JSON what is not served.
func (o Options) api(mux *http.ServeMux) {
	own := http.NewServeMux()
	own.HandleFunc("/", nowhere)
	for _, rt := range o.routes() {
		own.Handle(prefix+rt.path, o.serve(rt))
	}
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"} {
		mux.Handle(method+" "+prefix+"/", own)
	}
}

// nowhere answers for paths that there are not.
func nowhere(w http.ResponseWriter, _ *http.Request) {
	say(w, problem{Type: notFound, Status: http.StatusNotFound, Detail: "there is nothing at this path", Hint: prefix + "/openapi.json lists what there is"})
}

// serve answers one route.
func (o Options) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			say(w, problem{
				Type: notAllowed, Status: http.StatusMethodNotAllowed, Detail: "nothing can be changed over HTTP",
				Hint: "the commands change things: \"tdscaler --help\" lists them",
			})
			return
		}
		w.Header().Set("Cache-Control", "no-cache")
		now := o.Clock.Now()
		q, bad := parse(rt.params, r.URL.RawQuery, now)
		if bad != nil {
			say(w, *bad)
			return
		}
		if rt.raw != nil {
			rt.raw(w, r, q)
			return
		}
		ctx, cancel := o.Clock.WithTimeout(r.Context(), answerTakes)
		defer cancel()
		v := question{Context: ctx, desk: o.Desk, q: q, now: now, path: r.PathValue}
		answer, err := rt.ask(&v)
		if err != nil {
			say(w, problemOf(err))
			return
		}
		if v.next > 0 {
			u := r.URL.Query()
			u.Set("before", fmt.Sprint(v.next))
			w.Header().Set("Link", "<"+r.URL.Path+"?"+u.Encode()+`>; rel="next"`)
		}
		body, err := json.Marshal(answer)
		if err != nil {
			say(w, problemOf(fmt.Errorf("write the answer: %w", err)))
			return
		}
		send(w, r, "application/json", append(body, '\n'))
	})
}

// send sends a body, or says that who asks has it already.
func send(w http.ResponseWriter, r *http.Request, media string, body []byte) {
	if len(body) > mostBytes {
		say(w, problem{
			Type: tooLarge, Status: http.StatusInternalServerError, Detail: fmt.Sprintf("the answer has %d bytes, and more than %d are not sent", len(body), mostBytes),
			Hint: "ask for less, or ask the command line",
		})
		return
	}
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	w.Header().Set("ETag", tag)
	if matches(r.Header.Values("If-None-Match"), tag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", media)
	_, _ = w.Write(body) // the client went away
}

// Kinds of problem.
const (
	badParameter = "bad-parameter"
	notFound     = "not-found"
	notAllowed   = "method-not-allowed"
	notYet       = "not-yet"
	busy         = "busy"
	tooLarge     = "too-large"
	failed       = "failed"
)

// problem is an error as RFC 9457 has it.
type problem struct {
	// Type names the kind of problem, for programs.
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Hint says what to do about it.
	Hint string `json:"hint,omitempty"`
	// Parameter is the one that is wrong, of bad-parameter.
	Parameter string `json:"parameter,omitempty"`
}

// problemType begins the types of problems: a name, and no page.
const problemType = "urn:tdscaler:problem:"

// retryAfter is how long who is turned away should wait.
const retryAfter = "10"

// say answers with a problem.
func say(w http.ResponseWriter, p problem) {
	p.Type, p.Title = problemType+p.Type, http.StatusText(p.Status)
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client went away
}

// problemOf is how an error of the desk is told.
func problemOf(err error) problem {
	var p problem
	if errors.As(err, &p) {
		return p
	}
	var f *control.Fault
	if !errors.As(err, &f) {
		f = &control.Fault{Class: control.ClassOf(err), Message: err.Error()}
	}
	p = problem{Type: failed, Status: http.StatusInternalServerError, Detail: f.Message}
	switch f.Class {
	case control.Usage:
		p.Type, p.Status = badParameter, http.StatusBadRequest
	case control.NoSuchPolicy:
		p.Type, p.Status, p.Hint = notFound, http.StatusNotFound, didYouMean(f.Word, f.Known)
	case control.NotFound:
		p.Type, p.Status = notFound, http.StatusNotFound
	case control.Interrupted:
		p.Type, p.Status, p.Hint = busy, http.StatusServiceUnavailable, "ask again in a while"
	}
	return p
}

// Error implements error.
func (p problem) Error() string { return p.Detail }

//go:embed openapi.json
var document []byte

// openAPI serves the description of all this.
func openAPI(w http.ResponseWriter, r *http.Request, _ query) {
	send(w, r, "application/json", document)
}

// shape is a machine of so many GPUs, for a look without a policy.
func (v *question) shape() (market.Shape, error) {
	n := v.q.count("gpus")
	if n > 0 && v.q.word("policy") != "" {
		return market.Shape{}, problem{
			Type: badParameter, Status: http.StatusBadRequest, Parameter: "gpus", Detail: "a policy has a shape of its own", Hint: "leave out gpus, or policy",
		}
	}
	return market.Shape{GPUs: n}, nil
}

// didYouMean names the word that was probably meant, or all there are.
func didYouMean(word string, known []string) string {
	if len(known) == 0 {
		return ""
	}
	if n, ok := nearest(word, known); ok {
		return "did you mean " + n + "?"
	}
	return "there are " + strings.Join(known, ", ")
}
