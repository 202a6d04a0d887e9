package notify

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// pipe is a receiver within the bubble of a test: connections to it need no network.
type pipe struct {
	mu    sync.Mutex
	got   []string // titles, with when they came
	hangs bool
	code  int
	began time.Time
}

func (p *pipe) RoundTrip(r *http.Request) (*http.Response, error) {
	p.mu.Lock()
	hangs, code := p.hangs, p.code
	p.mu.Unlock()
	if hangs {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	w := &answer{header: http.Header{}, code: code}
	if code == 200 {
		p.mu.Lock()
		p.got = append(p.got, fmt.Sprintf("%s %s", time.Since(p.began).Round(time.Second), r.Header.Get("X-Tdscaler-Event")))
		p.mu.Unlock()
	}
	return w.response(r), nil
}

type answer struct {
	header http.Header
	code   int
}

func (a *answer) response(r *http.Request) *http.Response {
	return &http.Response{StatusCode: a.code, Header: a.header, Body: http.NoBody, Request: r}
}

func (p *pipe) set(hangs bool, code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hangs, p.code = hangs, code
}

func (p *pipe) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.got, ", ")
}

// bureau is a Notifier whose sinks are pipes.
type bureau struct {
	*Notifier
	pipes map[string]*pipe
	logs  *observer.ObservedLogs
	stop  func() // and wait
	queue map[string]int
	mu    sync.Mutex
	done  map[string]int // by sink and outcome
}

func (b *bureau) count(what string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.done[what]
}

func open(t *testing.T, state string, names ...string) *bureau {
	t.Helper()
	core, logs := observer.New(zap.DebugLevel)
	b := &bureau{pipes: map[string]*pipe{}, logs: logs, queue: map[string]int{}, done: map[string]int{}}
	b.Notifier = New(Options{
		Clock: clock.System{}, Log: zap.New(core), StateFile: state, Jitter: func() float64 { return 1 },
		Queue: func(sink string, n int) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.queue[sink] = n
		},
		Done: func(o Outcome) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.done[fmt.Sprint(o.Sink, " ", o.Err == nil)]++
		},
	})
	var sinks []SinkConfig
	rules := rulesOf()
	for _, name := range names {
		c := sinkOf(policy.SinkWebhook, "https://example.com/"+name)
		c.Name = name
		sinks, rules.Sinks = append(sinks, c), append(rules.Sinks, c.Sink)
	}
	if err := b.Configure(rules, sinks); err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		p := &pipe{code: 200, began: time.Now()}
		b.pipes[name], b.post.sinks[i].http.Transport = p, p
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { b.Run(ctx) })
	b.stop = func() {
		cancel()
		wg.Wait()
	}
	return b
}

// refused is a report in which the credentials are refused: it is told after five minutes.
func refused() *plan.Report {
	r := healthy()
	r.Input.Snapshot.Instances.Complete, r.Input.Snapshot.Instances.Class = false, "unauthorized"
	return &r
}

// cycles reports once a minute, as a daemon does, and returns how long the daemon was
// kept by that.
func (b *bureau) cycles(n int, r *plan.Report) (kept time.Duration) {
	for range n {
		began := time.Now()
		r.FinishedAt = began
		b.Reported(r, File{})
		kept += time.Since(began)
		time.Sleep(time.Minute)
	}
	return kept
}

func TestASinkThatHangsCostsNeitherACycleNorAnotherSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, "", "dead", "alive")
		b.pipes["dead"].set(true, 0)
		if kept := b.cycles(30, refused()); kept != 0 {
			t.Errorf("the cycles were kept for %s", kept)
		}
		if got := b.pipes["alive"].all(); got != "5m30s unauthorized" {
			t.Errorf("the other sink got %q", got)
		}
		if b.count("dead false") < 3 || b.count("alive true") != 1 || b.count("alive false") != 0 {
			t.Errorf("%v", b.done)
		}
		b.mu.Lock()
		queued := b.queue["dead"]
		b.mu.Unlock()
		if queued > 1 {
			t.Errorf("%d messages wait for the sink that hangs", queued)
		}
		b.pipes["dead"].set(false, 200)
		b.cycles(10, refused())
		if got := b.pipes["dead"].all(); strings.Count(got, "unauthorized") != 1 {
			t.Errorf("when it was back it got %q", got)
		}
		b.stop()
	})
}

func TestAStopTellsWhatIsLeftAndWaitsForNobodyLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := filepath.Join(t.TempDir(), "state")
		b := open(t, state, "ops", "dead")
		b.pipes["dead"].set(true, 0)
		b.cycles(5, refused())
		r := refused()
		r.FinishedAt = time.Now()
		b.Reported(r, File{}) // it fires now, and would be told in half a minute
		began := time.Now()
		b.stop()
		if took := time.Since(began); took > flushFor {
			t.Errorf("the stop took %s", took)
		}
		if got := b.pipes["ops"].all(); got != "5m0s unauthorized" {
			t.Errorf("told %q", got)
		}
		// The next start tells the other sink, and this one nothing but the end.
		b = open(t, state, "ops", "dead")
		b.cycles(5, refused())
		ok := healthy()
		b.cycles(2, &ok)
		b.stop()
		if got := b.pipes["ops"].all(); got != "5m30s unauthorized" { // that it is over
			t.Errorf("after the restart ops was told %q", got)
		}
		if got := b.pipes["dead"].all(); strings.Count(got, "unauthorized") != 2 {
			t.Errorf("after the restart the other was told %q", got)
		}
	})
}

func TestAStateThatCannotBeReadOrWrittenKeepsNobodyFromBeingTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		state := filepath.Join(dir, "state")
		if err := os.WriteFile(state, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		b := open(t, state, "ops")
		if b.logs.FilterMessageSnippet("what was told is not known").Len() != 1 {
			t.Error("the log does not say that the state cannot be read")
		}
		b.cycles(7, refused())
		b.stop()
		if s, err := ReadState(state); err != nil || len(s.FiringAlerts()) != 1 || len(s.ToldOf(s.FiringAlerts()[0])) != 1 {
			t.Errorf("%+v %v", s, err)
		}
		b = open(t, filepath.Join(dir, "none", "state"), "ops")
		b.cycles(7, refused())
		b.stop()
		if b.pipes["ops"].all() == "" || b.logs.FilterMessageSnippet("not kept over a restart").Len() != 1 {
			t.Errorf("told %q; the log has %v", b.pipes["ops"].all(), b.logs.All())
		}
	})
}

func TestAStateThatIsNotAsWeWriteItIsRefusedAndDoesNotEndTheProcess(t *testing.T) {
	for _, text := range []string{
		`{"alerts": {"x": null}}`, `{"sinks": {"ops": null}}`, `{"sinks": {"ops": {"groups": {"unauthorized": null}}}}`,
		`{"sinks": {"ops": {"groups": {"unauthorized": {"firing": {"x": {}}}}}}, "alerts": {"x": {"event": "unauthorized"}}}`,
	} {
		state := filepath.Join(t.TempDir(), "state")
		if err := os.WriteFile(state, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			b := open(t, state, "ops")
			b.cycles(7, refused())
			b.stop()
			if b.logs.FilterMessageSnippet("what was told is not known").Len() != 1 || b.pipes["ops"].all() == "" {
				t.Errorf("%s: told %q", text, b.pipes["ops"].all())
			}
		})
	}
}

func TestAReloadTakesOtherSinksAndABadOneLeavesThoseBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, "", "ops")
		b.cycles(7, refused())
		bad := sinkOf(policy.SinkSlack, "nonsense")
		if err := b.Configure(rulesOf(bad.Sink), []SinkConfig{bad}); err == nil {
			t.Error("an address that is none was taken")
		}
		ok := healthy()
		b.cycles(5, &ok)
		if got := b.pipes["ops"].all(); got != "5m30s unauthorized, 10m30s unauthorized" {
			t.Errorf("told %q", got)
		}
		b.stop()
	})
}

func TestWithoutSinksNothingIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		state := filepath.Join(t.TempDir(), "state")
		b := open(t, state)
		b.cycles(7, refused())
		b.stop()
		if _, err := os.Stat(state); !os.IsNotExist(err) {
			t.Errorf("there is a file of what nobody was told: %v", err)
		}
	})
}

func TestTheLogHoldsNoSecret(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, "", "s3cr3ts3cr3t")
		b.pipes["s3cr3ts3cr3t"].set(false, 404)
		b.post.sinks[0].Name = "ops"
		out := b.Send(context.Background(), Sample(policy.NotifyTest, "main", policy.Live, night))
		b.stop()
		if len(out) != 1 || out[0].Err == nil || b.logs.Len() == 0 {
			t.Fatalf("%+v", out)
		}
		for _, e := range b.logs.All() {
			if text := fmt.Sprint(e.Message, e.ContextMap()); strings.Contains(text, "s3cr3t") || strings.Contains(text, "example.com") {
				t.Error(text)
			}
		}
	})
}

func TestLooksThatNobodyCameToAreJoined(t *testing.T) {
	n := New(Options{Clock: clock.System{}, Log: zap.NewNop()})
	r := healthy()
	r.Events = []plan.Event{{Kind: plan.EventAdopted, Policy: "train", Machine: "a"}, {Kind: plan.EventOutbid, Policy: "train"}}
	n.Reported(&r, File{})
	r.Events = []plan.Event{{Kind: plan.EventAdopted, Policy: "train", Machine: "b"}, {Kind: plan.EventOutbid, Policy: "train"}}
	n.Reported(&r, File{Held: "why"})
	if len(n.look.Happened) != 2 || n.look.Outbids["train"] != 2 || len(n.look.Conditions) != 1 {
		t.Errorf("%+v", n.look)
	}
}
