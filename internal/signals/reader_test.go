package signals

import (
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server answers every query with a body.
func server(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(s.Close)
	return s
}

// hanging is a server that answers nobody before the test is over.
func hanging(t *testing.T) *httptest.Server {
	stop := make(chan struct{})
	s := server(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(stop) }) // before the server is closed
	return s
}

func says(body string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, body) }
}

func result(kind, data string) string {
	return `{"status":"success","data":{"resultType":"` + kind + `","result":` + data + `}}`
}

func asking(q policy.Prometheus) []policy.Policy {
	if q.Query == "" {
		q.Query = "q"
	}
	if q.Timeout == 0 {
		q.Timeout = 5 * time.Second
	}
	if q.Interval == 0 {
		q.Interval = 15 * time.Second
	}
	return []policy.Policy{{Name: "train", Demand: policy.Demand{Signals: []policy.Signal{{Name: "queue", Prometheus: q}}}}}
}

func reader(t *testing.T, c clock.Clock) *Reader {
	t.Helper()
	r := New(Options{Clock: c})
	t.Cleanup(r.Close)
	return r
}

func read(t *testing.T, q policy.Prometheus) demand.Reading {
	t.Helper()
	out := reader(t, clock.System{}).Read(t.Context(), asking(q))
	if len(out) != 1 || out[0].Policy != "train" || out[0].Signal != "queue" {
		t.Fatalf("%+v", out)
	}
	return out[0]
}

func TestAnAnswerIsOneFiniteNumberOrAProblemThatSaysWhatToDo(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"a vector of one":   {result("vector", `[{"metric":{},"value":[1,"830"]}]`), "830"},
		"a scalar":          {result("scalar", `[1,"0.5"]`), "0.5"},
		"no series":         {result("vector", `[]`), "no data"},
		"several series":    {result("vector", `[{"metric":{"a":"b"},"value":[1,"1"]},{"metric":{},"value":[1,"2"]}]`), "2 series: the answer must be one number; aggregate them, as in sum(q)"},
		"NaN":               {result("vector", `[{"metric":{},"value":[1,"NaN"]}]`), "the value is NaN"},
		"infinity":          {result("scalar", `[1,"+Inf"]`), "the value is infinite"},
		"a text":            {result("string", `[1,"830"]`), `unexpected value type "string"`},
		"a range of values": {result("matrix", `[{"metric":{},"values":[[1,"1"]]}]`), "put a function around it"},
		"a histogram":       {result("vector", `[{"metric":{},"histogram":[1,{"count":"1","sum":"1","buckets":[]}]}]`), "histogram_quantile"},
		"warnings":          {`{"status":"success","warnings":["a store is down"],"data":{"resultType":"scalar","result":[1,"1"]}}`, "may be incomplete: a store is down"},
		"a bad query":       {`{"status":"error","errorType":"bad_data","error":"parse error at char 3"}`, "parse error at char 3"},
		"an error":          {`{"status":"error","errorType":"execution","error":"too many samples"}`, "too many samples"},
		"no JSON":           {`<html>`, "the query failed"},
		"nothing":           {``, "the query failed"},
		"another kind":      {result("tensor", `[]`), "the query failed"},
		"a huge number":     {result("scalar", `[1,"1e999"]`), ""},
		"too much":          {result("string", `[1,"`+strings.Repeat("x", maxAnswer)+`"]`), "more than 1048576 bytes"},
		"deeply nested":     {strings.Repeat("[", 500000), "the query failed"},
	} {
		t.Run(name, func(t *testing.T) {
			got := read(t, policy.Prometheus{URL: server(t, says(c.body)).URL})
			value := fmt.Sprint(got.Value)
			switch {
			case got.Problem == "" && value != c.want:
				t.Errorf("%s, not %q", value, c.want)
			case got.Problem != "" && (!strings.Contains(got.Problem, c.want) || !got.At.IsZero() || len(got.Problem) > 2000):
				t.Errorf("%+v does not say %q", got, c.want)
			}
		})
	}
}

func TestARangeIsReducedToOneNumber(t *testing.T) {
	now := time.Now()
	point := func(ago time.Duration, v string) string {
		return fmt.Sprintf(`[%d,%q]`, now.Add(-ago).Unix(), v)
	}
	body := result("matrix", `[{"metric":{},"values":[`+strings.Join([]string{point(5*time.Minute, "4"), point(4*time.Minute, "8"), point(3*time.Minute, "3"), point(2*time.Minute, "NaN")}, ",")+`]}]`)
	var form atomic.Value
	s := server(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form.Store(r.URL.Path + "?" + r.Form.Encode())
		fmt.Fprint(w, body)
	})
	for how, want := range map[string]float64{"avg": 5, "max": 8, "min": 3, "last": 3} {
		got := read(t, policy.Prometheus{URL: s.URL + "/prom", Range: 10 * time.Minute, Step: time.Minute, Reduce: how})
		if age := now.Sub(got.At); got.Problem != "" || got.Value != want || age < 2*time.Minute || age > 4*time.Minute {
			t.Errorf("%s: %+v", how, got)
		}
	}
	if got := form.Load().(string); !strings.HasPrefix(got, "/prom/api/v1/query_range?") || !strings.Contains(got, "step=60") || !strings.Contains(got, "query=q") {
		t.Error(got)
	}
	for body, want := range map[string]string{
		result("matrix", `[]`): "no data", result("vector", `[]`): "not a range",
		result("matrix", `[{"metric":{},"values":[`+point(0, "NaN")+`]}]`):                "no data",
		result("matrix", `[{"metric":{},"values":[]},{"metric":{"a":"b"},"values":[]}]`):  "2 series",
		result("matrix", `[{"metric":{},"values":[`+point(0, "-Inf")+`]}]`):               "infinite",
		`{"status":"error","errorType":"bad_data","error":"exceeded maximum resolution"}`: "exceeded maximum resolution",
	} {
		got := read(t, policy.Prometheus{URL: server(t, says(body)).URL, Range: time.Minute, Step: time.Second, Reduce: "avg"})
		if !strings.Contains(got.Problem, want) {
			t.Errorf("%+v does not say %q", got, want)
		}
	}
}

func TestAServerThatHangsHoldsNobodyUpForLongerThanTheTimeout(t *testing.T) {
	s := hanging(t)
	p := asking(policy.Prometheus{URL: s.URL, Timeout: 100 * time.Millisecond})
	for i := range 40 {
		more := p[0].Demand.Signals[0]
		more.Name = fmt.Sprintf("queue%d", i)
		p[0].Demand.Signals = append(p[0].Demand.Signals, more)
	}
	began := time.Now()
	out := reader(t, clock.System{}).Read(t.Context(), p)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s", took)
	}
	for _, o := range out {
		if o.Problem != "no answer within 100ms" && o.Problem != "too many other queries are under way" {
			t.Errorf("%+v", o)
		}
	}
}

func TestASignalIsNotAskedMoreOftenThanItsInterval(t *testing.T) {
	var n atomic.Int64
	s := server(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) == 2 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, result("scalar", fmt.Sprintf(`[1,"%d"]`, n.Load())))
	})
	c := &hands{now: time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)}
	r := reader(t, c)
	p := asking(policy.Prometheus{URL: s.URL, Interval: time.Minute})
	for i, want := range []struct {
		asked int64
		value float64
		fails bool
	}{{1, 1, false}, {1, 1, false}, {2, 1, true}, {2, 1, true}, {3, 3, false}} {
		got := r.Read(t.Context(), p)[0]
		if n.Load() != want.asked || got.Value != want.value || (got.Problem != "") != want.fails {
			t.Errorf("step %d: asked %d times, %+v", i, n.Load(), got)
		}
		c.now = c.now.Add(30 * time.Second)
	}
	p[0].Demand.Signals[0].Prometheus.Query = "other"
	if r.Read(t.Context(), p); n.Load() != 4 {
		t.Error("another question waits for the interval of the first")
	}
}

// hands is the system's clock with hands that somebody moves.
type hands struct {
	clock.System
	now time.Time
}

func (h *hands) Now() time.Time { return h.now }

func file(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCredentialsAreShownToTheServerAndToNobodyElse(t *testing.T) {
	const token = "hunter2-token"
	var seen atomic.Value
	echo := server(t, func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, "no entry with %s", r.Header.Get("Authorization"))
	})
	got := read(t, policy.Prometheus{URL: echo.URL, TokenFile: file(t, token+"\n")})
	if seen.Load() != "Bearer "+token || strings.Contains(got.Problem, token) || !strings.Contains(got.Problem, "401") {
		t.Errorf("sent %q, %q", seen.Load(), got.Problem)
	}
	got = read(t, policy.Prometheus{URL: echo.URL, Username: "me", PasswordFile: file(t, token)})
	if header, _ := seen.Load().(string); !strings.HasPrefix(header, "Basic ") || strings.Contains(got.Problem, token) {
		t.Errorf("sent %q, %q", header, got.Problem)
	}
	var visits atomic.Int64
	other := server(t, func(http.ResponseWriter, *http.Request) { visits.Add(1) })
	away := server(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	got = read(t, policy.Prometheus{URL: away.URL, TokenFile: file(t, token)})
	if visits.Load() != 0 || !strings.Contains(got.Problem, "redirect") {
		t.Errorf("%d visits, %+v", visits.Load(), got)
	}
	for path, want := range map[string]string{"/nowhere/at/all": "token_file", file(t, ""): "one line", file(t, "a\nb"): "one line", file(t, strings.Repeat("x", maxFile+1)): "more than"} {
		if got = read(t, policy.Prometheus{URL: echo.URL, TokenFile: path}); !strings.Contains(got.Problem, want) {
			t.Errorf("%+v does not say %q", got, want)
		}
	}
}

func TestACertificateMustComeFromTheFile(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(says(result("scalar", `[1,"7"]`))))
	t.Cleanup(s.Close)
	s.Config.ErrorLog = nil
	if got := read(t, policy.Prometheus{URL: s.URL}); !strings.Contains(got.Problem, "certificate") {
		t.Errorf("%+v", got)
	}
	ca := file(t, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	if got := read(t, policy.Prometheus{URL: s.URL, CAFile: ca}); got.Problem != "" || got.Value != 7 {
		t.Errorf("%+v", got)
	}
	if got := read(t, policy.Prometheus{URL: s.URL, CAFile: file(t, "nothing")}); !strings.Contains(got.Problem, "no certificate") {
		t.Errorf("%+v", got)
	}
}

func TestNobodyListening(t *testing.T) {
	s := server(t, says(""))
	s.Close()
	if got := read(t, policy.Prometheus{URL: s.URL}); !strings.Contains(got.Problem, "connection refused") {
		t.Errorf("%+v", got)
	}
}

func TestAStopEndsWhatIsUnderWay(t *testing.T) {
	s := hanging(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := reader(t, clock.System{}).Read(ctx, asking(policy.Prometheus{URL: s.URL, Timeout: time.Minute})); got[0].Problem == "" {
		t.Errorf("%+v", got)
	}
}

func FuzzAnAnswer(f *testing.F) {
	for _, s := range []string{result("scalar", `[1,"1"]`), result("vector", `[{"metric":{},"value":[1,"NaN"]}]`), result("matrix", `[]`), `{"status":"error"}`, "[[[[", ""} {
		f.Add([]byte(s), s == "")
	}
	f.Fuzz(func(t *testing.T, body []byte, ranged bool) {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
		defer s.Close()
		q := policy.Prometheus{URL: s.URL}
		if ranged {
			q.Range, q.Step, q.Reduce = time.Minute, time.Second, "avg"
		}
		r := New(Options{Clock: clock.System{}})
		defer r.Close()
		got := r.Read(t.Context(), asking(q))[0]
		if _, err := finite(got.Value); err != nil || (got.Problem == "") == got.At.IsZero() {
			t.Fatalf("%+v", got)
		}
	})
}
