package web

import (
	"html/template"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Options of the handler.
type Options struct {
	Gatherer prometheus.Gatherer
	// Checks say whether the daemon can be relied on; nil are none.
	Checks func() []daemon.Check
	// Machines are those of the last whole look, and their policies; false before it.
	Machines func() ([]plan.Machine, []policy.Policy, bool)
	// Desk answers everything else; nil serves metrics, health and discovery alone.
	Desk Desk
	// Published is closed when the next cycle has been reported; nil never tells.
	Published func() <-chan struct{}
	Clock     clock.Clock // nil is the system's
	Version   string

	shared *shared // the Desk as visitors have it
}

// Handler serves / /metrics, the health endpoints and service discovery, for GET and
// HEAD only.
func Handler(o Options) http.Handler {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Desk != nil {
		o.shared = newShared(o)
		o.Desk = o.shared
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{EnableOpenMetrics: true, MaxRequestsInFlight: 8}))
	for _, p := range []string{"/-/healthy", "/healthz", "/livez"} {
		mux.HandleFunc("GET "+p, healthy)
	}
	for _, p := range []string{"/-/ready", "/readyz"} {
		mux.HandleFunc("GET "+p, o.ready)
	}
	o.api(mux)
	o.pages(mux)
	return secured(mux)
}

// policyOfContent lets a page have the style sheet, the script and the answers of this
// server, and nothing else: no word that slipped through could load, run or send anything.
const policyOfContent = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// secured sets the headers that keep a browser from doing anything but showing
// the page.
func secured(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", policyOfContent)
		for name, v := range map[string]string{
			"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-store",
		} {
			w.Header().Set(name, v)
		}
		h.ServeHTTP(w, r)
	})
}

var landingPage = template.Must(template.New("landing").Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>tdscaler</title>
</head>
<body><h1>tdscaler</h1><p>Version {{.}}</p>
<ul><li><a href="/metrics">Metrics</a></li><li><a href="/readyz">Readiness</a></li><li><a href="/healthz">Health</a></li></ul>
<p>Nothing can be changed here. On the machine itself, <code>tdscaler status</code>, <code>plan</code> and <code>ledger list</code> say more.</p>
</body></html>
`))

func (o Options) landing(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := landingPage.Execute(w, o.Version); err != nil {
		// The client went away: there is nobody left to tell.
		return
	}
}
