package errands

import (
	"cmp"
	"context"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// Job is an errand with all that it takes to do it.
type Job struct {
	plan.Errand
	Ready  policy.Ready  // of a probe
	Hook   policy.Hook   // of a hook
	Dir    string        // where a command runs
	Key    secret.String // the private key of an SSH probe, or what a webhook is signed with
	Locals bool          // machines may stand on this computer or its network: a simulator
}

// Options of a Runner.
type Options struct {
	Clock clock.Clock
	// AtOnce is how many errands are under way at most; 0 is 16.
	AtOnce int
}

// Runner does errands in the background.
type Runner struct {
	clock  clock.Clock
	places chan struct{}
	wg     sync.WaitGroup

	mu    sync.Mutex
	doing map[key]bool
	found map[key]*finding
}

// finding is kept until somebody was told.
type finding struct {
	plan.Finding
	told bool
}

type key struct {
	kind    plan.ErrandKind
	machine string
}

// New makes a Runner.
func New(o Options) *Runner {
	return &Runner{clock: o.Clock, places: make(chan struct{}, cmp.Or(o.AtOnce, 16)), doing: map[key]bool{}, found: map[key]*finding{}}
}

// Start begins what is not under way already and returns at once. It forgets what
// Findings has told, and does nothing anew of which it has not: the books do not know
// yet that it was done. ctx ends what it began.
func (r *Runner) Start(ctx context.Context, jobs []Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.found, func(_ key, f *finding) bool { return f.told })
	for _, j := range jobs {
		k := key{j.Kind, j.Machine}
		if r.doing[k] || r.found[k] != nil {
			continue
		}
		r.doing[k] = true
		r.wg.Go(func() { r.run(ctx, k, j) })
	}
}

// Findings are what has come of errands, by time.
func (r *Runner) Findings() []plan.Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]plan.Finding, 0, len(r.found))
	for _, f := range r.found {
		f.told = true
		out = append(out, f.Finding)
	}
	slices.SortFunc(out, func(a, b plan.Finding) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}

// Wait returns when nothing is under way.
func (r *Runner) Wait() { r.wg.Wait() }

func (r *Runner) run(ctx context.Context, k key, j Job) {
	f, ended := r.do(ctx, j)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.doing, k)
	if ended {
		r.found[k] = &finding{Finding: f}
	}
}

// do does one errand; ended is false where it was cut off because we stop.
func (r *Runner) do(ctx context.Context, j Job) (f plan.Finding, ended bool) {
	select {
	case <-ctx.Done():
		return f, false
	case r.places <- struct{}{}:
	}
	defer func() { <-r.places }()
	limit := j.Hook.Timeout
	if j.Kind == plan.ErrandProbe {
		limit = j.Ready.Timeout
	}
	inner, cancel := r.clock.WithTimeout(ctx, cmp.Or(limit, 30*time.Second))
	defer cancel()
	f = plan.Finding{Kind: j.Kind, Machine: j.Machine, ID: j.ID}
	switch {
	case j.Kind == plan.ErrandProbe:
		probe(inner, &j, &f)
	case j.Hook.Kind == policy.HookWeb:
		post(inner, r.clock, &j, &f)
	default:
		run(inner, &j, &f)
	}
	f.At = r.clock.Now().Round(0)
	f.Text = short(f.Text)
	return f, ctx.Err() == nil
}

// longest is how much of an answer is read, and of a reason is told.
const (
	longestAnswer = 4 << 10
	longestText   = 300
)

// client asks once, and follows no redirect.
func client(dial func(context.Context, string, string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DialContext: dial, DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
