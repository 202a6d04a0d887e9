package signals

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Options of a Reader.
type Options struct {
	Clock clock.Clock
	// Asked, if set, is called after each query with how long it took; problem is "" where
	// it had a value.
	Asked func(took time.Duration, problem string)
}

// Reader reads signals. Its methods may be called from any goroutine.
type Reader struct {
	o         Options
	transport *transports
	places    chan struct{} // queries under way

	mu   sync.Mutex
	last map[key]*entry
}

type key struct{ policy, signal string }

type entry struct {
	demand.Reading
	asked time.Time // when the last query began
}

// maxQueries is how many are under way at once.
const maxQueries = 16

// forgetAfter is how long a signal is remembered that nobody wants any more.
const forgetAfter = time.Hour

// New makes a Reader; nothing is asked yet.
func New(o Options) *Reader {
	return &Reader{o: o, transport: newTransports(), places: make(chan struct{}, maxQueries), last: map[key]*entry{}}
}

// Close lets go of idle connections.
func (r *Reader) Close() { r.transport.close() }

// Read returns what is known of every signal of the policies by now. It asks those
// whose interval is over, all at once, and waits for them.
func (r *Reader) Read(ctx context.Context, policies []policy.Policy) []demand.Reading {
	var wg sync.WaitGroup
	var want []key
	for i := range policies {
		for j := range policies[i].Demand.Signals {
			k, q := key{policies[i].Name, policies[i].Demand.Signals[j].Name}, &policies[i].Demand.Signals[j].Prometheus
			want = append(want, k)
			if now, due := r.due(k, q); due {
				wg.Go(func() { r.ask(ctx, k, q, now) })
			}
		}
	}
	wg.Wait()
	return r.readings(want)
}

// due says whether a signal is to be asked now, and notes that it is.
func (r *Reader) due(k key, q *policy.Prometheus) (now time.Time, due bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now = r.o.Clock.Now().Round(0)
	e := r.last[k]
	if e == nil || e.Asks != q.Asks() {
		e = &entry{Reading: demand.Reading{Policy: k.policy, Signal: k.signal, Asks: q.Asks()}}
		r.last[k] = e
	}
	if since := now.Sub(e.asked); !e.asked.IsZero() && since >= 0 && since < q.Interval {
		return now, false
	}
	e.asked = now
	return now, true
}

// ask puts one query, within its timeout, and keeps the answer.
func (r *Reader) ask(ctx context.Context, k key, q *policy.Prometheus, now time.Time) {
	ctx, cancel := r.o.Clock.WithTimeout(ctx, q.Timeout)
	defer cancel()
	value, at, problem := 0.0, now, ""
	select {
	case r.places <- struct{}{}:
		defer func() { <-r.places }()
		var err error
		if value, at, err = r.transport.query(ctx, q, now); err != nil {
			problem = err.Error()
		}
	case <-ctx.Done():
		problem = "too many other queries are under way"
	}
	if r.o.Asked != nil {
		r.o.Asked(r.o.Clock.Now().Sub(now), problem)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.last[k]
	if e == nil || e.Asks != q.Asks() {
		return // another question stands here by now
	}
	e.Problem = problem
	if problem == "" {
		e.Value, e.At = value, at
	}
}

func (r *Reader) readings(want []key) []demand.Reading {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []demand.Reading
	for _, k := range want {
		if e := r.last[k]; e != nil {
			out = append(out, e.Reading)
		}
	}
	now := r.o.Clock.Now()
	for k, e := range r.last {
		if now.Sub(e.asked) > forgetAfter {
			delete(r.last, k)
		}
	}
	return out
}

// redacted takes a secret out of a text that came from outside, and bounds it.
func redacted(text string, secrets ...string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, "[redacted]")
		}
	}
	const most = 300
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return text
}
