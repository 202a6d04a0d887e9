package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/daemon"
)

// readiness is what /readyz answers as JSON.
type readiness struct {
	// Ready says whether the daemon can be relied on: every check is ok.
	Ready  bool           `json:"ready"`
	Checks []daemon.Check `json:"checks"`
}

// healthy says that the process answers, and nothing of TensorDock or the disk: what is
// wrong there is not mended by a restart.
func healthy(w http.ResponseWriter, _ *http.Request) {
	plain(w)
	fmt.Fprintln(w, "tdscaler is healthy.")
}

// plain keeps the answer from being taken for a page: a reason may hold words of
// the market's.
func plain(w http.ResponseWriter) { w.Header().Set("Content-Type", "text/plain; charset=utf-8") }

// ready says in a line whether the daemon can be relied on; with ?verbose in a line for
// each check, as Kubernetes does, and to who accepts JSON as such.
func (o Options) ready(w http.ResponseWriter, r *http.Request) {
	all := []daemon.Check{}
	if o.Checks != nil {
		all = append(all, o.Checks()...)
	}
	trouble, status := daemon.Unready(all), http.StatusOK
	if trouble != nil {
		status = http.StatusServiceUnavailable
	}
	w.Header().Add("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(readiness{trouble == nil, all}) // the client went away
		return
	}
	plain(w)
	w.WriteHeader(status)
	if trouble != nil {
		fmt.Fprintf(w, "tdscaler is not ready: %s\n", oneLine(trouble.Error()))
	} else {
		fmt.Fprintln(w, "tdscaler is ready.")
	}
	if r.URL.Query().Has("verbose") {
		for _, c := range all {
			fmt.Fprintln(w, checkLine(c))
		}
	}
}

func checkLine(c daemon.Check) string {
	since := " since " + c.Since.UTC().Format(time.RFC3339)
	switch {
	case !c.OK:
		return "[-]" + c.Name + " failed" + since + ": " + oneLine(c.Reason)
	case c.Reason != "":
		return "[!]" + c.Name + " ok" + since + ", but: " + oneLine(c.Reason)
	}
	return "[+]" + c.Name + " ok" + since
}

// oneLine keeps a reason of several lines from looking like several checks.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
