package web

import "net/http"

// api serves what programs ask: JSON under /api/v1.
func (o Options) api(mux *http.ServeMux) {
	mux.HandleFunc("GET /api/v1/sd", o.discover)
}
