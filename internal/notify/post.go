package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
)

// Outcome is what became of a message at one sink.
type Outcome struct {
	Sink  string
	Type  string
	Err   error // nil: it was delivered
	Took  time.Duration
	Tries int
}

// Sender sends a message to every sink that takes it, and returns when each has it or has
// given up.
type Sender interface {
	Send(ctx context.Context, m Message) []Outcome
}

// Post is what delivers: sinks, and how often they are tried.
type Post struct {
	clock  clock.Clock
	sinks  []*sink
	jitter func() float64
}

var _ Sender = (*Post)(nil)

// PostOptions of a Post. Trust and Jitter may be nil.
type PostOptions struct {
	Sinks  []SinkConfig
	Clock  clock.Clock
	Trust  *tls.Config    // nil is the system's
	Jitter func() float64 // 0 to 1; nil is by chance
}

// NewPost makes the sinks; nothing is sent.
func NewPost(o PostOptions) (*Post, error) {
	p := &Post{clock: o.Clock, jitter: o.Jitter}
	if p.jitter == nil {
		p.jitter = rand.Float64
	}
	for _, c := range o.Sinks {
		s, err := newSink(c, o.Clock, o.Trust)
		if err != nil {
			return nil, err
		}
		p.sinks = append(p.sinks, s)
	}
	return p, nil
}

// Send implements Sender. The sinks are tried at the same time, outcomes come in the
// file's order.
func (p *Post) Send(ctx context.Context, m Message) []Outcome {
	return p.SendTo(ctx, m, func(s *SinkConfig) bool { return s.Takes(m.Event, m.Severity, m.Policy) })
}

// SendTo is Send to the sinks that want says.
func (p *Post) SendTo(ctx context.Context, m Message, want func(*SinkConfig) bool) []Outcome {
	m = m.identified()
	var out []Outcome
	var to []*sink
	for _, s := range p.sinks {
		if want(&s.SinkConfig) {
			to = append(to, s)
		}
	}
	out = make([]Outcome, len(to))
	var wg sync.WaitGroup
	for i, s := range to {
		wg.Go(func() { out[i] = p.try(ctx, s, &m) })
	}
	wg.Wait()
	return out
}

// How often a message is tried, and how long is waited in between: half a second to one,
// one to two, two to four.
const (
	mostTries  = 4
	firstPause = time.Second
)

// try delivers a message, trying again where that may help.
func (p *Post) try(ctx context.Context, s *sink, m *Message) Outcome {
	o := Outcome{Sink: s.Name, Type: string(s.Type)}
	began := p.clock.Now()
	wait := firstPause
	for {
		o.Tries++
		o.Err = s.deliver(ctx, m)
		var f *Failure
		if o.Err == nil || o.Tries == mostTries || !errors.As(o.Err, &f) || !f.Retry {
			break
		}
		if err := p.clock.Sleep(ctx, max(f.After, time.Duration((0.5+p.jitter()/2)*float64(wait)))); err != nil {
			break // we stop; the failure stands
		}
		wait *= 2
	}
	o.Took = p.clock.Now().Sub(began)
	return o
}
