package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// paths is a question of each kind, in the world that play makes.
func (p *played) paths() []string {
	r := p.last()
	machine, intent := r.Input.History.Machines[0].Name, "1"
	return []string{
		"/status", "/policies", "/policies/train", "/policies/thought", "/targets", "/targets?policy=train", "/machines", "/machines?policy=serve", "/machines/" + machine,
		"/containers", "/hosts", "/market", "/market?policy=train", "/market?policy=dear&limit=3", "/market?gpu_model=*4090*,*3090*&gpus=2", "/market?country=Nowhere",
		"/prices", "/prices?policy=train&since=1h&steps=10", "/prices?gpu_model=*a5000*&gpus=2", "/costs", "/costs?by=machine&policy=train", "/costs?since=2026-03-01&until=2026-03-02&by=day",
		"/balances", "/outages", "/intents", "/intents?policy=train&action=deploy&state=confirmed&limit=1", "/intents?open=true", "/intents?before=3&since=24h", "/intents/" + intent,
		"/cycles", "/cycles?limit=3&before=5", "/cycles/last", "/cycles/1", "/sd?port=22", "/openapi.json",
	}
}

func loaded(t *testing.T) (*openapi3.T, routers.Router) {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(document)
	fine(t, err)
	fine(t, doc.Validate(t.Context()))
	router, err := gorillamux.NewRouter(doc)
	fine(t, err)
	return doc, router
}

// held holds an answer, and the question, to the document.
func held(t *testing.T, router routers.Router, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	route, params, err := router.FindRoute(r)
	if err != nil {
		t.Errorf("%s: %v", r.URL, err)
		return
	}
	in := &openapi3filter.RequestValidationInput{Request: r, PathParams: params, Route: route, Options: &openapi3filter.Options{IncludeResponseStatus: true}}
	if w.Code == 200 {
		if err := openapi3filter.ValidateRequest(t.Context(), in); err != nil {
			t.Errorf("the question %s: %v", r.URL, err)
		}
	}
	out := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: in, Status: w.Code, Header: w.Header(), Body: io.NopCloser(bytes.NewReader(w.Body.Bytes())), Options: in.Options,
	}
	if err := openapi3filter.ValidateResponse(t.Context(), out); err != nil {
		t.Errorf("%s: %d: %.2000v", r.URL, w.Code, err)
	}
}

func TestEveryAnswerOfAPlayedMarketIsAsTheDocumentSays(t *testing.T) {
	p := play(t, 12)
	doc, router := loaded(t)
	asked := map[string]bool{}
	for _, path := range p.paths() {
		w := p.get(prefix + path)
		if w.Code != 200 || !strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") {
			t.Errorf("%s: %d %.300s", path, w.Code, w.Body)
			continue
		}
		r := httptest.NewRequest("GET", prefix+path, nil)
		held(t, router, r, w)
		route, _, err := router.FindRoute(r)
		fine(t, err)
		asked[route.Path] = true
		if head := p.ask("HEAD", prefix+path); head.Code != 200 {
			t.Errorf("HEAD %s: %d", path, head.Code)
		}
	}
	for path := range doc.Paths.Map() {
		if !asked[path] && path != prefix+"/events" {
			t.Errorf("%s was never asked", path)
		}
	}
}

func TestTheDocumentHasEveryRouteAndNoOther(t *testing.T) {
	doc, _ := loaded(t)
	var served []string
	for _, rt := range everything() {
		served = append(served, prefix+rt.path)
		op := doc.Paths.Find(prefix + rt.path)
		if op == nil || op.Get == nil || len(op.Operations()) != 1 {
			t.Errorf("%s: %+v", rt.path, op)
		}
	}
	for path := range doc.Paths.Map() {
		if !slices.Contains(served, path) {
			t.Errorf("%s is described and not served", path)
		}
	}
	for name, s := range doc.Components.Schemas {
		if s.Value.Type.Is("object") && len(s.Value.Properties) == 0 {
			t.Errorf("%s is described as an object of anything", name)
		}
	}
}

func TestWrongQuestionsAreAnsweredWithWhatIsWrong(t *testing.T) {
	p := play(t, 2)
	_, router := loaded(t)
	for path, want := range map[string]problem{
		"/intents?polcy=train":                 {Type: badParameter, Status: 400, Parameter: "polcy", Detail: `there is no parameter "polcy"`, Hint: "did you mean policy?"},
		"/status?x=1":                          {Type: badParameter, Status: 400, Parameter: "x", Detail: `there is no parameter "x"`},
		"/intents?limit=0":                     {Type: badParameter, Status: 400, Parameter: "limit", Detail: `limit is a number from 1 to 1000, not "0"`},
		"/intents?limit=9&limit=9":             {Type: badParameter, Status: 400, Parameter: "limit", Detail: "limit is given 2 times"},
		"/intents?state=opn":                   {Type: badParameter, Status: 400, Parameter: "state", Detail: `state is one of open, accepted, unknown, confirmed, refused, failed, expired, shadow, not "opn"`},
		"/intents?open=yes":                    {Type: badParameter, Status: 400, Parameter: "open", Detail: `open is true or false, not "yes"`},
		"/intents?before=x":                    {Type: badParameter, Status: 400, Parameter: "before", Detail: `before is a positive number, not "x"`},
		"/prices?since=yesterday":              {Type: badParameter, Status: 400, Parameter: "since", Detail: `since is a duration back (24h), a date (2026-01-31) or a time (2026-01-31T03:00:00Z), not "yesterday"`},
		"/market?policy=train&gpus=2":          {Type: badParameter, Status: 400, Parameter: "gpus", Detail: "a policy has a shape of its own", Hint: "leave out gpus, or policy"},
		"/market?country=":                     {Status: 200},
		"/market?country=a,,b":                 {Type: badParameter, Status: 400, Parameter: "country", Detail: "country has a value that is empty, or longer than 128 bytes"},
		"/market?policy=trian":                 {Type: notFound, Status: 404, Detail: `there is no policy "trian"`, Hint: "did you mean train?"},
		"/intents?policy=trian":                {Type: notFound, Status: 404, Detail: `there is no policy "trian"`, Hint: "did you mean train?"},
		"/costs?policy=trian":                  {Type: notFound, Status: 404, Detail: `there is no policy "trian"`, Hint: "did you mean train?"},
		"/policies/trian":                      {Type: notFound, Status: 404, Detail: `there is no policy "trian"`, Hint: "did you mean train?"},
		"/machines/nothing":                    {Type: notFound, Status: 404, Detail: `there is no machine "nothing"`, Hint: "/api/v1/intents?machine= tells of machines that are gone"},
		"/intents/99999":                       {Type: notFound, Status: 404, Detail: "the ledger has no intent 99999 (any more)"},
		"/intents/x":                           {Type: badParameter, Status: 400, Parameter: "id", Detail: `id is a positive number, not "x"`},
		"/cycles/0":                            {Type: badParameter, Status: 400, Parameter: "n", Detail: `n is a positive number, not "0"`},
		"/sd":                                  {Type: badParameter, Status: 400, Parameter: "port", Detail: "port is missing: The port inside the machines, as /api/v1/sd?port=9100."},
		"/sd?port=%zz":                         {Type: badParameter, Status: 400, Detail: `the query cannot be read: invalid URL escape "%zz"`},
		"/status?" + strings.Repeat("x", 3000): {Type: badParameter, Status: 400, Detail: "the query has 3000 bytes; 2048 are the most"},
	} {
		w := p.get(prefix + path)
		var got problem
		fine(t, json.Unmarshal(w.Body.Bytes(), &got))
		if w.Code != want.Status {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if want.Status == 200 {
			continue
		}
		want.Type, want.Title = problemType+want.Type, http.StatusText(want.Status)
		if got != want || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %q\n%+v, want\n%+v", path, w.Header().Get("Content-Type"), got, want)
		}
		held(t, router, httptest.NewRequest("GET", prefix+path, nil), w)
	}
	if w := p.get("/api/v1/cycles/99999"); w.Code != 404 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/api/v1/", "/api/v1/nothing", "/api/v1/status/", "/api/v1/machines/a/b"} {
		if w := p.get(path); w.Code != 404 || w.Header().Get("Content-Type") != "application/problem+json" || !strings.Contains(w.Body.String(), "/api/v1/openapi.json") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

func TestNothingUnderTheAPIIsChanged(t *testing.T) {
	p := play(t, 1)
	for _, rt := range everything() {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
			w := p.ask(method, prefix+strings.NewReplacer("{name}", "train", "{id}", "1", "{n}", "1").Replace(rt.path))
			if w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s: %d %v", method, rt.path, w.Code, w.Header())
			}
		}
	}
}

func TestBeforeTheFirstCycleNothingIsMadeUpAndNobodyIsWoken(t *testing.T) {
	asked := 0
	p := begin(t, func(next http.RoundTripper) http.RoundTripper {
		return transport(func(r *http.Request) (*http.Response, error) { asked++; return next.RoundTrip(r) })
	})
	_, router := loaded(t)
	for _, path := range []string{"/status", "/policies", "/policies/train", "/market", "/market?policy=train", "/sd?port=22"} {
		w := p.get(prefix + path)
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
		held(t, router, httptest.NewRequest("GET", prefix+path, nil), w)
	}
	for _, path := range []string{"/intents", "/cycles", "/machines", "/costs", "/hosts"} {
		if w := p.get(prefix + path); w.Code != 200 {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	if asked != 0 {
		t.Errorf("visitors caused %d requests to the market", asked)
	}
	p.cycles(3)
	before := asked
	for _, path := range p.paths() {
		p.get(prefix + path)
	}
	if asked != before || before == 0 {
		t.Errorf("visitors caused %d requests to the market", asked-before)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNoAnswerHoldsASecret(t *testing.T) {
	p := play(t, 12)
	if r := p.last(); len(r.Input.Policies) != 4 || len(r.Input.Policies[0].Run.Arguments) == 0 {
		t.Fatalf("the policies have no secrets: %+v", r.Input.Policies)
	}
	for _, path := range append(p.paths(), "/nothing", "/cycles/2", "/cycles/3", "/policies/api", "/policies/serve", "/market?policy=api", "/market?policy=serve") {
		if w := p.get(prefix + path); strings.Contains(w.Body.String(), hush) || w.Body.Len() == 0 {
			i := strings.Index(w.Body.String(), hush)
			t.Errorf("%s: %s", path, w.Body.String()[max(0, i-200):min(w.Body.Len(), i+50)])
		}
	}
	if body := p.get("/readyz?verbose").Body.String() + p.get("/").Body.String() + p.get("/metrics").Body.String(); strings.Contains(body, hush) {
		t.Error(body)
	}
	if body := p.get(prefix + "/policies").Body.String(); !strings.Contains(body, `"/ready?[redacted]"`) || !strings.Contains(body, `"command":"[redacted]"`) || !strings.Contains(body, `"arguments":["[redacted]"]`) {
		t.Errorf("%s", body)
	}
}

func TestWhoHasAnAnswerIsNotSentItAgain(t *testing.T) {
	p := play(t, 3)
	for _, path := range []string{"/cycles", "/cycles/1", "/cycles/last", "/intents", "/hosts", "/openapi.json", "/costs"} {
		tag := p.get(prefix + path).Header().Get("ETag")
		if w := p.get(prefix+path, "If-None-Match", `"x", W/`+tag); w.Code != 304 || w.Body.Len() != 0 || tag == "" {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	tag := p.get(prefix + "/cycles/last").Header().Get("ETag")
	p.cycles(1)
	if w := p.get(prefix+"/cycles/last", "If-None-Match", tag); w.Code != 200 {
		t.Errorf("another cycle: %d", w.Code)
	}
}

func TestListsComeInPagesThatLeadToTheEnd(t *testing.T) {
	p := play(t, 9)
	for _, path := range []string{"/intents", "/cycles"} {
		var whole []json.RawMessage
		fine(t, json.Unmarshal(p.get(prefix+path+"?limit=1000").Body.Bytes(), &whole))
		var paged []json.RawMessage
		for next := prefix + path + "?limit=2"; next != ""; {
			w := p.get(next)
			var part []json.RawMessage
			fine(t, json.Unmarshal(w.Body.Bytes(), &part))
			paged = append(paged, part...)
			next = ""
			if link, ok := strings.CutSuffix(w.Header().Get("Link"), `>; rel="next"`); ok && len(paged) <= len(whole) {
				next = strings.TrimPrefix(link, "<")
			}
		}
		if len(whole) < 4 || !slices.EqualFunc(whole, paged, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Errorf("%s: %d in all, %d in pages", path, len(whole), len(paged))
		}
	}
}

func FuzzAPI(f *testing.F) {
	for _, seed := range []string{"", "policy=train", "limit=1&before=2&open=true", "since=24h&gpu_model=*,a", "gpus=2&country=NO&country=DE", "x=%zz", "since=2026-01-31T03:00:00Z"} {
		f.Add(seed)
	}
	p := play(f, 2)
	routes := p.o.routes()
	f.Fuzz(func(t *testing.T, raw string) {
		for _, rt := range routes {
			q, bad := parse(rt.params, raw, p.clock.Now())
			if (q == nil) == (bad == nil) || bad != nil && (bad.Status != 400 || bad.Detail == "") {
				t.Fatalf("%s?%q: %v, %+v", rt.path, raw, q, bad)
			}
			for _, par := range rt.params {
				if n := q.count(par.name); bad == nil && par.kind == countParam && q[par.name] != nil && (n < par.least || n > par.most) {
					t.Fatalf("%s?%q: %s is %d", rt.path, raw, par.name, n)
				}
			}
		}
		r := httptest.NewRequest("GET", prefix+"/market", nil)
		r.URL.RawQuery = raw
		w := httptest.NewRecorder()
		p.h.ServeHTTP(w, r)
		if w.Code != 200 && w.Code != 400 && w.Code != 404 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%q: %d %s", raw, w.Code, w.Body)
		}
	})
}
