package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// ticker is a desk whose cycles are counted by hand.
type ticker struct {
	Desk
	mu    sync.Mutex
	cycle uint64
	next  chan struct{}
	asked int
}

func (d *ticker) Status(context.Context, control.StatusRequest) (control.Status, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	return control.Status{Status: daemon.Status{
		Cycle: d.cycle, Problem: "none\nat all", Burn: 1e9, Machines: 2, Policies: []plan.Standing{{Policy: "train", Target: 4, Ready: 3}}, Holds: []plan.Hold{{}},
	}}, nil
}

func (d *ticker) Cycles(_ context.Context, r control.CyclesRequest) ([]ledger.ReportSummary, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return []ledger.ReportSummary{{Cycle: d.cycle, Actions: 5, Intents: 4}}, nil
}

func (d *ticker) published() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.next
}

func (d *ticker) publish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cycle++
	close(d.next)
	d.next = make(chan struct{})
}

// hasty is a clock on which nobody waits long.
type hasty struct{ clock.System }

func (hasty) Wait(ctx context.Context, d time.Duration, wake <-chan struct{}) (bool, error) {
	return clock.System{}.Wait(ctx, d/100, wake)
}

// streaming serves a ticker over a server whose own timeouts are far shorter than the
// streams.
func streaming(t *testing.T) (*ticker, *httptest.Server) {
	t.Helper()
	d := &ticker{cycle: 7, next: make(chan struct{})}
	s := httptest.NewUnstartedServer(Handler(Options{Desk: d, Published: d.published, Clock: hasty{}}))
	ctx, stop := context.WithCancel(t.Context())
	s.Config.ReadTimeout, s.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	s.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	s.Start()
	t.Cleanup(func() { stop(); s.Close() })
	return d, s
}

// lines are what a stream says, line by line; closed at its end.
func lines(t *testing.T, url string, headers ...string) (<-chan string, *http.Response) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	fine(t, err)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	fine(t, err)
	t.Cleanup(func() { _ = res.Body.Close() })
	out := make(chan string, 100)
	go func() {
		defer close(out)
		for in := bufio.NewScanner(res.Body); in.Scan(); {
			out <- in.Text()
		}
	}()
	return out, res
}

// next is the next line that begins so; "" where the stream ends before it.
func next(t *testing.T, in <-chan string, begin string) string {
	t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case line, ok := <-in:
			if !ok {
				return ""
			}
			if rest, found := strings.CutPrefix(line, begin); found {
				return rest
			}
		case <-late:
			t.Fatalf("no line begins with %q", begin)
		}
	}
}

func TestEachCycleIsAnEventAndTheLineOutlivesTheServersTimeouts(t *testing.T) {
	d, s := streaming(t)
	in, res := lines(t, s.URL+"/api/v1/events")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	if retry := next(t, in, "retry: "); retry != "5000" {
		t.Errorf("retry %q", retry)
	}
	for range 3 {
		next(t, in, ": still here") // 150 ms each
	}
	for cycle := uint64(8); cycle < 10; cycle++ {
		d.publish()
		if id, kind := next(t, in, "id: "), next(t, in, "event: "); id != fmt.Sprint(cycle) || kind != "cycle" {
			t.Fatalf("%q of cycle %s, want %d", kind, id, cycle)
		}
		var e Event
		fine(t, json.Unmarshal([]byte(next(t, in, "data: ")), &e))
		if e.Cycle != cycle || e.Problem != "none\nat all" || e.Burn != 1e9 || e.Machines != 2 || e.Planned != 5 || e.Done != 4 || e.Holds != 1 ||
			len(e.Policies) != 1 || e.Policies[0] != (Share{"train", 4, 3}) {
			t.Errorf("%+v", e)
		}
	}
}

func TestWhoComesBackIsToldOfWhatWasMissedAtOnceAndOfNothingTwice(t *testing.T) {
	d, s := streaming(t)
	for _, behind := range [][]string{{"", "Last-Event-ID", "5"}, {"?after=6"}, {"?after=9"}} {
		in, _ := lines(t, s.URL+"/api/v1/events"+behind[0], behind[1:]...)
		if id := next(t, in, "id: "); id != "7" {
			t.Errorf("%v: %q", behind, id)
		}
	}
	for cycle, upToDate := range [][]string{{"", "Last-Event-ID", "7"}, {"?after=8"}, {""}, {"", "Last-Event-ID", "nonsense"}} {
		in, _ := lines(t, s.URL+"/api/v1/events"+upToDate[0], upToDate[1:]...)
		next(t, in, ": still here")
		d.publish()
		if id := next(t, in, "id: "); id != fmt.Sprint(8+cycle) {
			t.Errorf("%v: %q", upToDate, id)
		}
	}
}

func TestStreamsHavePlacesAndGiveThemBack(t *testing.T) {
	d, s := streaming(t)
	var open []*http.Response
	for range mostStreams {
		_, res := lines(t, s.URL+"/api/v1/events")
		open = append(open, res)
	}
	res, err := http.Get(s.URL + "/api/v1/events")
	fine(t, err)
	body, err := io.ReadAll(res.Body)
	fine(t, err)
	fine(t, res.Body.Close())
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(string(body), "16 streams of events are open") {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	d.publish()
	for range mostStreams {
		d.published()
	}
	_ = open[0].Body.Close()
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		in, res := lines(t, s.URL+"/api/v1/events?after=1")
		if res.StatusCode == 200 {
			if next(t, in, "id: ") != "8" {
				t.Error("the place is of no use")
			}
			break
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("the place of who left is not given back")
		}
	}
	if d.asked > 10 {
		t.Errorf("%d streams asked the desk %d times for two cycles", mostStreams, d.asked)
	}
}

func TestAStopEndsEveryStreamAtOnce(t *testing.T) {
	d := &ticker{cycle: 7, next: make(chan struct{})}
	ctx, stop := context.WithCancel(t.Context())
	srv := &http.Server{Handler: Handler(Options{Desk: d, Published: d.published}), BaseContext: func(net.Listener) context.Context { return ctx }}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	fine(t, err)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	in, _ := lines(t, "http://"+ln.Addr().String()+"/api/v1/events")
	next(t, in, "retry: ")
	began := time.Now()
	stop()
	late, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fine(t, srv.Shutdown(late))
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the stop took %s", took)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestAReaderWhoDoesNotReadIsCutOff(t *testing.T) {
	w := &deaf{header: http.Header{}}
	d := &ticker{cycle: 7, next: make(chan struct{})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Handler(Options{Desk: d, Published: d.published}).ServeHTTP(w, httptest.NewRequest("GET", "/api/v1/events", nil))
	}()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("the stream goes on")
	}
	if w.deadline.IsZero() || time.Until(w.deadline) > writeTakes {
		t.Errorf("a write may take until %s", w.deadline)
	}
}

// deaf takes nothing.
type deaf struct {
	header   http.Header
	deadline time.Time
}

func (d *deaf) Header() http.Header                { return d.header }
func (*deaf) WriteHeader(int)                      {}
func (*deaf) Write([]byte) (int, error)            { return 0, net.ErrClosed }
func (d *deaf) SetWriteDeadline(t time.Time) error { d.deadline = t; return nil }
