package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// Path is where requests are taken, by POST.
const Path = "/v1/target"

// Headers of a request: those of everything that is signed.
const (
	HeaderTimestamp = secret.HeaderTimestamp
	HeaderSignature = secret.HeaderSignature
)

const (
	maxBody = 4 << 10
	// longest is how long a target can be set for, usual for how long it is.
	longest = 7 * 24 * time.Hour
	usual   = time.Hour
	patient = time.Minute
)

// Desk is what a webhook needs of a control.Desk.
type Desk interface {
	SetTarget(context.Context, control.SetTargetRequest) (demand.Outcome, error)
	ClearTarget(context.Context, control.ClearTargetRequest) (control.Cleared, error)
}

// Options of a Handler.
type Options struct {
	Desk  Desk
	Clock clock.Clock
	// Secret is read for each request, so that it can be changed.
	Secret func() (secret.String, error)
	// Done, if set, is called after each request with its result: ok, unauthorized,
	// replayed, refused or failed.
	Done func(result, detail string)
}

// Request is the body: a policy, and a target for it or Clear.
type Request struct {
	Policy string `json:"policy"`
	GPUs   *int   `json:"gpus,omitempty"`
	For    string `json:"for,omitempty"` // a duration, such as 2h
	Reason string `json:"reason,omitempty"`
	Clear  bool   `json:"clear,omitempty"`
}

// refusal is an answer that says no.
type refusal struct {
	status int
	result string
	text   string
}

func (r *refusal) Error() string { return r.text }

// Handler takes requests.
func Handler(o Options) http.Handler {
	h := handler{o}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, h.serve)
	return mux
}

type handler struct{ o Options }

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := h.o.Clock.WithTimeout(r.Context(), patient)
	defer cancel()
	answer, detail, err := h.handle(ctx, w, r)
	no := refused(err)
	if h.o.Done != nil {
		h.o.Done(no.result, detail)
	}
	w.Header().Set("Content-Type", "application/json")
	if err != nil {
		answer = map[string]string{"error": no.text}
	}
	w.WriteHeader(no.status)
	_ = json.NewEncoder(w).Encode(answer) // the asker may have gone away
}

// refused says how an error is answered.
func refused(err error) *refusal {
	var no *refusal
	switch {
	case err == nil:
		return &refusal{http.StatusOK, "ok", ""}
	case errors.As(err, &no):
		return no
	}
	switch control.ClassOf(err) {
	case control.Replayed:
		return &refusal{http.StatusConflict, "replayed", err.Error()}
	case control.Held:
		return &refusal{http.StatusConflict, "refused", err.Error()}
	case control.NoSuchPolicy:
		return &refusal{http.StatusNotFound, "refused", err.Error()}
	case control.Usage:
		return &refusal{http.StatusBadRequest, "refused", err.Error()}
	}
	return &refusal{http.StatusInternalServerError, "failed", err.Error()}
}

func (h *handler) handle(ctx context.Context, w http.ResponseWriter, r *http.Request) (answer any, detail string, err error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, "", &refusal{http.StatusRequestEntityTooLarge, "refused", fmt.Sprintf("the body must be read whole and have at most %d bytes", maxBody)}
	}
	signature, err := h.verify(r.Header, body)
	if err != nil {
		return nil, "", err
	}
	var q Request
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&q); err != nil || dec.More() {
		return nil, "", &refusal{http.StatusBadRequest, "refused", `the body must be like {"policy": "train", "gpus": 8, "for": "2h"}`}
	}
	return h.carryOut(ctx, &q, signature)
}

// verify returns the signature in the form that it is remembered by.
func (h *handler) verify(header http.Header, body []byte) (string, error) {
	key, err := h.o.Secret()
	if err != nil {
		return "", &refusal{http.StatusInternalServerError, "failed", "the daemon's secret cannot be read"}
	}
	stamp := header.Get(HeaderTimestamp)
	want := key.Sign(stamp, body)
	given, err := hex.DecodeString(strings.TrimPrefix(header.Get(HeaderSignature), "sha256="))
	if err != nil || !hmac.Equal(given, want) {
		return "", &refusal{http.StatusUnauthorized, "unauthorized", "the signature does not fit"}
	}
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	now := h.o.Clock.Now()
	if err != nil || now.Sub(time.Unix(seconds, 0)).Abs() > demand.ReplayWindow {
		return "", &refusal{http.StatusUnauthorized, "unauthorized", fmt.Sprintf("the timestamp must be the present time (%d), within %s", now.Unix(), demand.ReplayWindow)}
	}
	return hex.EncodeToString(want), nil
}

func (h *handler) carryOut(ctx context.Context, q *Request, signature string) (answer any, detail string, err error) {
	length := usual
	if q.For != "" {
		if length, err = time.ParseDuration(q.For); err != nil || length <= 0 || length > longest {
			return nil, "", &refusal{http.StatusBadRequest, "refused", fmt.Sprintf("for must be a duration of at most %s, such as 2h", longest)}
		}
	}
	switch {
	case q.Policy == "":
		return nil, "", &refusal{http.StatusBadRequest, "refused", "the body names no policy"}
	case q.Clear && (q.GPUs != nil || q.For != "") || !q.Clear && q.GPUs == nil:
		return nil, "", &refusal{http.StatusBadRequest, "refused", "the body must have gpus or clear, and only one of them"}
	case q.Clear:
		answer, err = h.o.Desk.ClearTarget(ctx, control.ClearTargetRequest{Policy: q.Policy, Webhook: signature})
		return answer, "cleared " + q.Policy, err
	}
	answer, err = h.o.Desk.SetTarget(ctx, control.SetTargetRequest{
		Policy: q.Policy, N: *q.GPUs, Until: h.o.Clock.Now().Add(length), Reason: q.Reason, Webhook: signature,
	})
	return answer, fmt.Sprintf("set %s to %d GPUs for %s", q.Policy, *q.GPUs, length), err
}
