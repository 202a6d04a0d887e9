package simulator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Transport calls a handler in the caller's goroutine, without sockets: the way a
// client talks to the simulator on a virtual clock. A handler that aborts
// (http.ErrAbortHandler) is a lost answer, io.ErrUnexpectedEOF; a request whose
// context ends meanwhile gets the context's error, the effect stays.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	ctx := r.Context()
	if err := ctx.Err(); err != nil {
		return nil, errors.Join(err, closeBody(r))
	}
	served := r.Clone(ctx)
	served.RequestURI = r.URL.RequestURI()
	served.RemoteAddr = "127.0.0.1:0"
	if served.Host == "" {
		served.Host = r.URL.Host
	}
	if served.Body == nil {
		served.Body = http.NoBody
	}
	w := &recorder{header: http.Header{}, status: http.StatusOK}
	lost := serve(t.handler, w, served)
	if err := errors.Join(ctx.Err(), closeBody(r)); err != nil {
		return nil, err
	}
	if lost != nil {
		return nil, lost
	}
	return w.response(r), nil
}

func closeBody(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

func serve(h http.Handler, w http.ResponseWriter, r *http.Request) (lost error) {
	defer func() {
		switch v := recover(); {
		case v == nil:
		case v == any(http.ErrAbortHandler):
			lost = io.ErrUnexpectedEOF
		default:
			panic(v)
		}
	}()
	h.ServeHTTP(w, r)
	return nil
}

type recorder struct {
	header http.Header
	status int
	sent   bool
	body   bytes.Buffer
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if !w.sent {
		w.sent, w.status = true, status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.body.Len() == 0 {
		w.body.Grow(len(b)) // most answers are one write
	}
	return w.body.Write(b)
}

func (w *recorder) response(r *http.Request) *http.Response {
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(&w.body), ContentLength: int64(w.body.Len()), Request: r,
	}
}
