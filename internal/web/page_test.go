package web_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/stage"
	"github.com/tdscaler/tdscaler/internal/web"
)

// played is a day on the simulated market, shared by the tests that only look.
var played = sync.OnceValues(func() (*stage.Stage, error) { //nolint:gochecknoglobals // made once, as it takes seconds
	dir, err := mkdir()
	if err != nil {
		return nil, err
	}
	return stage.New(context.Background(), dir, stage.Policies, 20*time.Hour)
})

func aDay(t *testing.T) *stage.Stage {
	t.Helper()
	s, err := played()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(h http.Handler, path string) (int, string, http.Header) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, w.Body.String(), w.Header()
}

// paths are one page of each kind, and every filter.
func paths(t *testing.T, s *stage.Stage) []string {
	t.Helper()
	out := []string{
		"/", "/fleet", "/fleet?sort=-burn", "/fleet?sort=status&policy=train", "/money", "/market", "/market?model=rtxa5000-pcie-24gb&span=24h", "/timeline",
		"/timeline?policy=train&kind=action&since=6h&q=outbid", "/timeline?kind=hold", "/policies/train", "/policies/dream", "/policies/serve", "/intents/1", "/cycles/1", "/cycles/100",
	}
	all, err := s.Desk.Machines(t.Context(), control.MachinesRequest{})
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	return append(out, "/machines/"+all[0].Name)
}

var (
	hrefs = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	ids   = regexp.MustCompile(`\bid="([^"]*)"`)
)

func TestEveryLinkOnEveryPageLeadsSomewhere(t *testing.T) {
	s := aDay(t)
	queue, seen, ofKind := paths(t, s), map[string]bool{}, map[string]int{}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		// Many pages of one kind link to many more of it: some of them are enough.
		kind := strings.Join(strings.SplitN(path, "/", 3)[:2], "/")
		if seen[path] || ofKind[kind] > 40 || strings.HasPrefix(path, "/api/") || path == "/readyz" { // other tests are for these
			continue
		}
		seen[path] = true
		ofKind[kind]++
		code, text, header := get(s.Handler, path)
		if code != http.StatusOK {
			t.Errorf("%s: %d", path, code)
		}
		if !strings.HasPrefix(header.Get("Content-Type"), "text/html") {
			continue
		}
		for _, m := range hrefs.FindAllStringSubmatch(text, -1) {
			to := strings.ReplaceAll(m[1], "&amp;", "&")
			switch {
			case strings.HasPrefix(to, "?"):
				to = strings.SplitN(path, "?", 2)[0] + to
			case strings.HasPrefix(to, "#"):
				if !strings.Contains(text, `id="`+to[1:]+`"`) {
					t.Errorf("%s: nothing is called %s", path, to)
				}
				continue
			case !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//"):
				t.Errorf("%s leads away, to %q", path, to)
				continue
			}
			queue = append(queue, strings.SplitN(to, "#", 2)[0])
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d pages: %v", len(seen), seen)
	}
}

func TestPagesKeepToTheirPolicyOfContent(t *testing.T) {
	s := aDay(t)
	for _, path := range append(paths(t, s), "/nowhere") {
		_, text, header := get(s.Handler, path)
		csp := header.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "style-src 'self'", "script-src 'self'", "connect-src 'self'", "form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} {
			if !strings.Contains(csp, want) {
				t.Errorf("%s: no %s in %q", path, want, csp)
			}
		}
		if strings.Contains(csp, "unsafe") {
			t.Errorf("%s: %q", path, csp)
		}
		if m := regexp.MustCompile(`\sstyle=|<style|<script>|\son[a-z]+=|javascript:|https?://`).FindString(text); m != "" {
			t.Errorf("%s has %q, which the policy forbids or which leads away", path, m)
		}
	}
}

func TestEveryPageHasItsLandmarksOneTitleAndNoNameTwice(t *testing.T) {
	s := aDay(t)
	titles := map[string]string{}
	for _, path := range paths(t, s) {
		_, text, _ := get(s.Handler, path)
		for want, n := range map[string]int{`<html lang="en">`: 1, "<h1": 1, "<main": 1, "<header": 1, "<footer": 1, `class="skip"`: 1, `aria-live="polite"`: 1, "<title>": 1 + strings.Count(text, "<svg") - strings.Count(text, "aria-hidden=\"true\"><") - strings.Count(text, `class="meter"`)} {
			if got := strings.Count(text, want); want != "<title>" && got != n {
				t.Errorf("%s has %d of %s", path, got, want)
			}
		}
		used := map[string]bool{}
		for _, m := range ids.FindAllStringSubmatch(text, -1) {
			if used[m[1]] {
				t.Errorf("%s uses the id %s twice", path, m[1])
			}
			used[m[1]] = true
		}
		for _, th := range regexp.MustCompile(`<th\b[^>]*>`).FindAllString(text, -1) {
			if !strings.Contains(th, "scope=") {
				t.Errorf("%s: %s has no scope", path, th)
			}
		}
		title := regexp.MustCompile(`<title>([^<]*)`).FindStringSubmatch(text)[1]
		if kind := strings.SplitN(path, "?", 2)[0]; titles[title] != "" && titles[title] != kind {
			t.Errorf("%s and %s are both called %q", path, titles[title], title)
		} else {
			titles[title] = kind
		}
	}
}

func TestEveryPictureIsWellFormedAndSaysWhatItShows(t *testing.T) {
	s, n := aDay(t), 0
	for _, path := range paths(t, s) {
		_, text, _ := get(s.Handler, path)
		for _, svg := range regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(text, -1) {
			n++
			dec := xml.NewDecoder(strings.NewReader(svg))
			for {
				if _, err := dec.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatalf("%s: %v in %s", path, err, svg)
				}
			}
			if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
				t.Errorf("%s: a number that is none in %s", path, svg)
			}
			if !strings.Contains(svg, `aria-hidden="true"`) && !strings.Contains(svg, `role="img"`) {
				t.Errorf("%s: a picture without words: %.200s", path, svg)
			}
		}
	}
	if n < 60 {
		t.Errorf("only %d pictures", n)
	}
}

func TestAVisitorNeverAsksTheMarketAnything(t *testing.T) {
	s := aDay(t)
	before := s.Asked()
	for _, path := range paths(t, s) {
		get(s.Handler, path)
	}
	if after := s.Asked(); after != before || before == 0 {
		t.Errorf("%d requests before, %d after", before, after)
	}
}

func TestNothingCanBeChangedOnAnyPage(t *testing.T) {
	s := aDay(t)
	for _, path := range append(paths(t, s), "/static/app.js") {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			w := httptest.NewRecorder()
			s.Handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("x=1")))
			if w.Code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d", method, path, w.Code)
			}
		}
		if _, text, _ := get(s.Handler, path); strings.Contains(text, `method="post"`) {
			t.Errorf("%s has a form that would change something", path)
		}
	}
}

func TestTheOverviewAnswersAtOnce(t *testing.T) {
	s := aDay(t)
	_, text, _ := get(s.Handler, "/")
	for _, want := range []string{
		"Policy dream is 2 GPUs short", "are above the ceiling", "tdscaler explain dream --config ", "Burn, as last seen", "Balance", "of $60.00", "of $1200.00",
		"Latest actions", "tdscaler pause --for 1h --config ", "tdscaler destroy --all --yes --config ", "tdscaler resume --config ",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Index(text, "Policy dream is") > strings.Index(text, `id="policies-h"`) {
		t.Error("the problems do not come first")
	}
}

func TestAPolicysPageHasItsFunnelInWords(t *testing.T) {
	_, text, _ := get(aDay(t).Handler, "/policies/dream")
	for _, want := range []string{"offers on the market", "of a wanted GPU", "are other GPUs", "under the ceiling", "are above the ceiling", "What stands in the way", "no_offer", "Depth under the ceiling", "0 offers are left"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestAPolicyThatLacksGPUsSaysWhatWouldHelpAndOthersDoNot(t *testing.T) {
	s := aDay(t)
	e, err := s.Desk.Explain(t.Context(), control.ExplainRequest{Policy: "dream"})
	if err != nil || len(e.Counterfactuals) == 0 || e.Counterfactuals[0].Hosts == 0 {
		t.Fatalf("%v: %+v", err, e.Counterfactuals)
	}
	_, text, _ := get(s.Handler, "/policies/dream")
	if !strings.Contains(text, "What would help") || !strings.Contains(text, "max_gpu_hour 0.") || !strings.Contains(text, "would admit") {
		t.Errorf("nothing of %q", e.Counterfactuals[0].Text)
	}
	if _, text, _ := get(s.Handler, "/policies/serve"); strings.Contains(text, "What would help") {
		t.Error("serve has all that it wants")
	}
}

func TestTheTimelineShowsWhatIsAskedFor(t *testing.T) {
	s := aDay(t)
	rows := func(query string) []string {
		code, text, _ := get(s.Handler, "/timeline?"+query)
		if code != http.StatusOK {
			t.Fatalf("%s: %d", query, code)
		}
		return regexp.MustCompile(`(?s)<tr class="k-.*?</tr>`).FindAllString(text, -1)
	}
	all := rows("")
	for query, want := range map[string]string{"kind=action": `class="k-action"`, "kind=hold": `class="k-hold"`, "kind=event": `class="k-event"`, "policy=sweep": "/policies/sweep", "q=rebid": "rebid"} {
		some := rows(query)
		if len(some) == 0 || len(some) > len(all) {
			t.Errorf("%s: %d of %d", query, len(some), len(all))
		}
		for _, r := range some {
			if !strings.Contains(r, want) && !strings.Contains(r, "whole fleet") {
				t.Errorf("%s shows %s", query, r)
			}
		}
	}
	held := rows("kind=hold&policy=dream")
	if len(held) > 6 || !strings.Contains(strings.Join(held, ""), ">still<") {
		t.Errorf("a hold that goes on is not told once: %d, %s", len(held), held)
	}
	if len(rows("since=1h")) >= len(all) {
		t.Error("an hour has as much as all")
	}
	if code, _, _ := get(s.Handler, "/timeline?before=x"); code != http.StatusBadRequest {
		t.Errorf("before=x: %d", code)
	}
	_, text, _ := get(s.Handler, "/timeline")
	older := regexp.MustCompile(`href="(\?before=\d+)">older`).FindStringSubmatch(text)
	if older == nil {
		t.Fatal("there is nothing older")
	}
	for _, r := range rows(older[1][1:]) {
		if slices.Contains(all, r) {
			t.Errorf("on both pages: %s", r)
		}
	}
}

func TestTheFleetIsSortedByLinks(t *testing.T) {
	s := aDay(t)
	names := func(query string) (out []string) {
		_, text, _ := get(s.Handler, "/fleet?"+query)
		for _, m := range regexp.MustCompile(`<tr id="([^"]*)"`).FindAllStringSubmatch(text, -1) {
			out = append(out, m[1])
		}
		return out
	}
	up, down := names("sort=machine"), names("sort=-machine")
	if len(up) < 5 || !slices.IsSorted(up) {
		t.Errorf("%v", up)
	}
	slices.Reverse(down)
	if !slices.Equal(up, down) {
		t.Errorf("%v, %v", up, down)
	}
	if _, text, _ := get(s.Handler, "/fleet?sort=-burn"); !strings.Contains(text, `aria-sort="descending"><a href="?sort=burn">Burn`) {
		t.Error("the sorted column does not say so")
	}
}

func TestAnErrorIsOneVisitorsOnly(t *testing.T) {
	s := aDay(t)
	if code, text, _ := get(s.Handler, "/policies/nosuch"); code != http.StatusNotFound || !strings.Contains(text, "/policies/train") {
		t.Errorf("%d %s", code, text)
	}
	for _, path := range []string{"/policies/train", "/machines/nosuch", "/intents/999999", "/intents/x", "/cycles/999999", "/cycles/0", "/market?span=x", "/nosuch"} {
		code, text, _ := get(s.Handler, path)
		if want := map[string]int{"/policies/train": 200, "/market?span=x": 400}[path]; code != max(want, 200) && code != 404 || !strings.Contains(text, "<h1") {
			t.Errorf("%s: %d", path, code)
		}
	}
}

func TestPagesWorkBeforeTheFirstCycleAndInADryRun(t *testing.T) {
	for name, policies := range map[string][]byte{"live": stage.Policies, "dry": bytes.Replace(stage.Policies, []byte("mode: live"), []byte("mode: dry-run"), 1)} {
		s, err := stage.New(t.Context(), t.TempDir(), policies, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/", "/fleet", "/money", "/market", "/timeline", "/policies/train"} {
			if code, text, _ := get(s.Handler, path); code != http.StatusOK || !strings.Contains(text, "no cycle has finished yet") {
				t.Errorf("%s, %s: %d %s", name, path, code, text)
			}
		}
		if asked := s.Asked(); asked != 0 {
			t.Errorf("%s: the market was asked %d times", name, asked)
		}
		if err := errors.Join(s.Cycle(t.Context()), s.Cycle(t.Context())); err != nil {
			t.Fatal(err)
		}
		_, text, _ := get(s.Handler, "/")
		if strings.Contains(text, "Dry run: it looks and plans") != (name == "dry") {
			t.Errorf("%s: %s", name, text)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// evil is what a market, a hook or a file could say.
const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>' onload='x`

// poison puts evil words into every text of a value, and into lists that are empty.
func poison(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if v.CanSet() {
			v.SetString(evil)
		}
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() {
			poison(v.Elem())
		}
	case reflect.Slice:
		if v.Len() == 0 && v.CanSet() {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range min(v.Len(), 30) {
			poison(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() && v.Type().Field(i).Name != "Zone" && v.Type() != reflect.TypeFor[time.Time]() {
				poison(v.Field(i))
			}
		}
	}
}

func poisoned[T any](v T, err error) (T, error) {
	poison(reflect.ValueOf(&v).Elem())
	return v, err
}

// liar is a desk whose every word is evil.
type liar struct{ *control.Office }

func (l liar) Status(ctx context.Context, r control.StatusRequest) (control.Status, error) {
	return poisoned(l.Office.Status(ctx, r))
}

func (l liar) Intents(ctx context.Context, _ control.IntentsRequest) ([]plan.Intent, error) {
	return poisoned(l.Office.Intents(ctx, control.IntentsRequest{Limit: 9}))
}

func (l liar) Intent(ctx context.Context, r control.IntentRequest) (plan.Intent, error) {
	return poisoned(l.Office.Intent(ctx, r))
}

func (l liar) Machines(ctx context.Context, _ control.MachinesRequest) ([]control.Machine, error) {
	return poisoned(l.Office.Machines(ctx, control.MachinesRequest{}))
}

func (l liar) Containers(ctx context.Context, _ control.MachinesRequest) ([]control.Container, error) {
	return poisoned(l.Office.Containers(ctx, control.MachinesRequest{}))
}

func (l liar) Chronicle(ctx context.Context, r control.ChronicleRequest) ([]control.Chapter, error) {
	return poisoned(l.Office.Chronicle(ctx, r))
}

func (l liar) Cycle(ctx context.Context, r control.CycleRequest) (plan.Report, error) {
	return poisoned(l.Office.Cycle(ctx, r))
}

func (l liar) Market(ctx context.Context, _ control.MarketRequest) (control.Market, error) {
	return poisoned(l.Office.Market(ctx, control.MarketRequest{}))
}

func (l liar) Prices(ctx context.Context, r control.PricesRequest) (control.Prices, error) {
	return poisoned(l.Office.Prices(ctx, r))
}

func (l liar) Costs(ctx context.Context, r control.CostsRequest) ([]plan.Cost, error) {
	return poisoned(l.Office.Costs(ctx, r))
}

func (l liar) Outages(ctx context.Context, r control.OutagesRequest) ([]plan.Outage, error) {
	return poisoned(l.Office.Outages(ctx, r))
}

func TestNoWordOfTheMarketsBecomesMarkup(t *testing.T) {
	s := aDay(t)
	h := web.Handler(web.Options{Gatherer: prometheus.NewRegistry(), Desk: liar{s.Desk}, Clock: s.Clock, Version: evil})
	escaped := 0
	for _, path := range append(paths(t, s), "/timeline?q="+"%22%3E%3Cscript%3Ealert(1)%3C/script%3E", "/%3Cscript%3E") {
		code, text, _ := get(h, path)
		if code >= 500 {
			t.Errorf("%s: %d %.300s", path, code, text)
		}
		if i := strings.Index(text, "<script>"); i >= 0 || strings.Contains(text, "<img") || strings.Contains(text, "' onload='") {
			t.Errorf("%s: %s", path, text[max(0, i-200):min(len(text), max(i, 0)+200)])
		}
		escaped += strings.Count(text, "&lt;script&gt;")
	}
	if escaped < 200 {
		t.Errorf("only %d evil words were shown", escaped)
	}
}

// countingDesk counts how often reports are read.
type countingDesk struct {
	*control.Office
	chapters, reports int
}

func (c *countingDesk) Chronicle(ctx context.Context, r control.ChronicleRequest) ([]control.Chapter, error) {
	out, err := c.Office.Chronicle(ctx, r)
	c.chapters += len(out)
	return out, err
}

func (c *countingDesk) Cycle(ctx context.Context, r control.CycleRequest) (plan.Report, error) {
	c.reports++
	return c.Office.Cycle(ctx, r)
}

func TestWhatACycleHasToTellIsReadOnce(t *testing.T) {
	s := aDay(t)
	d := &countingDesk{Office: s.Desk}
	h := web.Handler(web.Options{Gatherer: prometheus.NewRegistry(), Desk: d, Clock: s.Clock})
	for range 3 {
		get(h, "/timeline")
		get(h, "/timeline?kind=hold")
		get(h, "/")
		get(h, "/money")
	}
	if d.chapters != 360 || d.reports != 1 {
		t.Errorf("%d chapters and %d reports were read", d.chapters, d.reports)
	}
}
