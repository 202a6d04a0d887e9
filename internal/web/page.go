package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
)

//go:embed templates static
var assets embed.FS

// pageTakes bounds what one page may take.
const pageTakes = 20 * time.Second

// pages serves what people look at: pages that can be read without a script, and the
// style sheet and the script that they name.
func (o Options) pages(mux *http.ServeMux) {
	if o.Desk == nil {
		mux.HandleFunc("GET /{$}", o.landing)
		return
	}
	s := newSite(o)
	mux.HandleFunc("GET /static/{file}", s.static)
	for pattern, p := range map[string]struct {
		template string
		look     func(*visitor) (any, error)
	}{
		"/{$}":             {"overview", s.overview},
		"/policies/{name}": {"policy", s.policy},
		"/fleet":           {"fleet", s.fleet},
		"/machines/{name}": {"machine", s.machine},
		"/money":           {"money", s.money},
		"/market":          {"market", s.market},
		"/timeline":        {"timeline", s.timeline},
		"/intents/{id}":    {"intent", s.intent},
		"/cycles/{cycle}":  {"cycle", s.cycle},
	} {
		mux.HandleFunc("GET "+pattern, s.page(p.template, p.look))
	}
	mux.HandleFunc("GET /", s.page("error", func(*visitor) (any, error) { return nil, nobody("there is no such page") }))
}

// site is what all pages are made with.
type site struct {
	o         Options
	clock     clock.Clock
	templates map[string]*template.Template
	versions  map[string]string // of the files in static
	book      book
}

func newSite(o Options) *site {
	s := &site{o: o, clock: o.Clock, templates: map[string]*template.Template{}, versions: map[string]string{}}
	if s.clock == nil {
		s.clock = clock.System{}
	}
	s.book.desk = o.Desk
	files := must(fs.Glob(assets, "static/*"))
	for _, f := range files {
		sum := sha256.Sum256(must(assets.ReadFile(f)))
		s.versions[path.Base(f)] = hex.EncodeToString(sum[:6])
	}
	layout := template.Must(template.New("layout.html").Funcs(s.words()).ParseFS(assets, "templates/layout.html", "templates/parts.html"))
	for _, name := range []string{"overview", "policy", "fleet", "machine", "money", "market", "timeline", "intent", "cycle", "error"} {
		s.templates[name] = template.Must(template.Must(layout.Clone()).ParseFS(assets, "templates/"+name+".html"))
	}
	return s
}

// must is for what is part of the program.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// visitor is one request for a page.
type visitor struct {
	*http.Request
	ctx    context.Context
	now    time.Time
	status control.Status
}

// frame is what is around every page.
type frame struct {
	Page    string // the name of its template
	Title   string
	Now     time.Time
	Status  control.Status
	Version string
	Mood    trouble
	View    any
}

// titled is a page that has a title of its own.
type titled interface{ title() string }

// page looks, and shows what was found.
func (s *site) page(name string, look func(*visitor) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := s.clock.WithTimeout(r.Context(), pageTakes)
		defer cancel()
		v := &visitor{Request: r, ctx: ctx, now: s.clock.Now()}
		var view any
		var err error
		shown := name
		if v.status, err = s.o.Desk.Status(ctx, control.StatusRequest{}); err == nil {
			view, err = look(v)
		}
		code := http.StatusOK
		if err != nil {
			code, shown, view = statusOf(err), "error", failure{err.Error(), known(err)}
		}
		s.show(w, code, frame{Page: shown, Title: titleOf(shown, view), Now: v.now, Status: v.status, Version: s.o.Version, Mood: mood(v), View: view})
	}
}

func (s *site) show(w http.ResponseWriter, code int, f frame) {
	var b bytes.Buffer
	if err := s.templates[f.Page].Execute(&b, f); err != nil {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprintf(w, "the page could not be made: %v\n", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(b.Bytes()) // the visitor went away: there is nobody left to tell
}

func titleOf(name string, view any) string {
	if t, ok := view.(titled); ok {
		return t.title()
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// failure is a page that could not be had.
type failure struct {
	Why   string
	Known []string // the policies there are
}

func (failure) title() string { return "Not available" }

func nobody(text string) error { return &control.Fault{Class: control.NotFound, Message: text} }

func known(err error) []string {
	if f, ok := err.(*control.Fault); ok { //nolint:errorlint // a Desk returns it as it is
		return f.Known
	}
	return nil
}

// statusOf is how HTTP calls an error of the desk.
func statusOf(err error) int {
	switch control.ClassOf(err) {
	case control.NotFound, control.NoSuchPolicy:
		return http.StatusNotFound
	case control.Usage:
		return http.StatusBadRequest
	case control.Interrupted:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// static serves a file under a name that changes with it, so that it can be kept.
func (s *site) static(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("file")
	if s.versions[name] == "" {
		http.NotFound(w, r)
		return
	}
	if r.URL.Query().Get("v") == s.versions[name] {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeFileFS(w, r, assets, "static/"+name)
}
