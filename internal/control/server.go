package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
)

// Bounds of the protocol. A policy file has at most 1 MiB, which base64 makes
// larger by a third.
const (
	maxRequest  = 4 << 20
	maxAnswer   = 256 << 20
	bodyTimeout = 30 * time.Second
	// quick bounds what only needs a little of the ledger, slow what asks the market
	// or copies the ledger, patient many deletions at the market's pace, or reading
	// every report back.
	quick   = time.Minute
	slow    = 10 * time.Minute
	patient = time.Hour
)

// Handler serves a Desk.
func Handler(d Desk, clk clock.Clock) http.Handler {
	mux := http.NewServeMux()
	route(mux, clk, "status", quick, d.Status)
	route(mux, clk, "plan", slow, d.Plan)
	route(mux, clk, "explain", slow, d.Explain)
	route(mux, clk, "market", slow, d.Market)
	route(mux, clk, "prices", quick, d.Prices)
	route(mux, clk, "costs", quick, d.Costs)
	route(mux, clk, "balances", quick, d.Balances)
	route(mux, clk, "outages", quick, d.Outages)
	route(mux, clk, "report", quick, d.Report)
	route(mux, clk, "intents", quick, d.Intents)
	route(mux, clk, "intent", quick, d.Intent)
	route(mux, clk, "cycles", quick, d.Cycles)
	route(mux, clk, "cycle", quick, d.Cycle)
	route(mux, clk, "chronicle", quick, d.Chronicle)
	route(mux, clk, "verify", patient, d.Verify)
	route(mux, clk, "backup", slow, d.Backup)
	route(mux, clk, "machines", quick, d.Machines)
	route(mux, clk, "containers", quick, d.Containers)
	route(mux, clk, "adopt_container", slow, d.AdoptContainer)
	route(mux, clk, "hosts", quick, d.Hosts)
	route(mux, clk, "import_hosts", quick, d.ImportHosts)
	route(mux, clk, "destroy", patient, d.Destroy)
	route(mux, clk, "pause", quick, d.Pause)
	route(mux, clk, "resume", quick, d.Resume)
	route(mux, clk, "protect", quick, d.Protect)
	route(mux, clk, "reload", quick, d.Reload)
	route(mux, clk, "targets", quick, d.Targets)
	route(mux, clk, "set_target", quick, d.SetTarget)
	route(mux, clk, "clear_target", quick, d.ClearTarget)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answerFault(w, &Fault{Class: Usage, Message: fmt.Sprintf("the daemon does not know %s %s: is it of another version?", r.Method, r.URL.Path)})
	})
	return mux
}

// route serves one method of a Desk as POST /v1/name.
func route[Q, A any](mux *http.ServeMux, clk clock.Clock, name string, limit time.Duration, ask func(context.Context, Q) (A, error)) {
	mux.HandleFunc("POST /v1/"+name, func(w http.ResponseWriter, r *http.Request) {
		var q Q
		if err := readBody(w, r, &q); err != nil {
			answerFault(w, &Fault{Class: Usage, Message: "read the request: " + err.Error()})
			return
		}
		ctx, cancel := clk.WithTimeout(r.Context(), limit)
		defer cancel()
		a, err := ask(ctx, q)
		if err != nil {
			answerFault(w, faultOf(err))
			return
		}
		answer(w, http.StatusOK, a)
	})
}

// readBody decodes a request strictly. The deadline ends with the body: one that
// stayed would end an answer that takes longer. Sockets know only the system's
// clock.
func readBody(w http.ResponseWriter, r *http.Request, q any) error {
	c := http.NewResponseController(w)
	if err := c.SetReadDeadline(clock.System{}.Now().Add(bodyTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	dec.DisallowUnknownFields()
	if err := dec.Decode(q); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one value")
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

func answerFault(w http.ResponseWriter, f *Fault) { answer(w, f.status(), f) }

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return // the asker went away: there is nobody left to tell
	}
}
