package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Options of a Notifier. StateFile, Trust, Jitter, Done and Queue may be left out.
type Options struct {
	Clock clock.Clock
	Log   *zap.Logger
	// StateFile is where what was told is kept; "" keeps it in memory.
	StateFile string
	Trust     *tls.Config
	Jitter    func() float64
	// Done is told of each message that was delivered or given up.
	Done func(Outcome)
	// Queue is told how many messages wait for a sink, those under way included.
	Queue func(sink string, n int)
}

// Notifier tells what Step decides. Its methods may be called from any goroutine, and
// none but Run and Send waits for anything.
type Notifier struct {
	o    Options
	wake chan struct{}
	wg   sync.WaitGroup // deliveries under way

	mu      sync.Mutex // guards what follows
	rules   policy.Notifications
	post    *Post
	state   State
	look    *Look // that Step has not seen yet
	settled []settlement
	turns   map[string]chan struct{} // one place for each sink: it gets one message at a time
	waiting map[string]int

	saved  []byte // only Run uses it
	failed bool   // the last save
}

// settlement is what became of a delivery.
type settlement struct {
	Delivery
	ok bool
}

// New reads what was told. What cannot be read is told again.
func New(o Options) *Notifier {
	n := &Notifier{o: o, wake: make(chan struct{}, 1), post: &Post{clock: o.Clock}, turns: map[string]chan struct{}{}, waiting: map[string]int{}}
	if o.StateFile == "" {
		return n
	}
	var err error
	if n.state, err = ReadState(o.StateFile); err != nil {
		o.Log.Warn("what was told is not known; what goes on is told again", zap.Error(err))
	}
	return n
}

// Configure takes sinks into use, in the place of the ones before. On an error those stay.
func (n *Notifier) Configure(rules policy.Notifications, sinks []SinkConfig) error {
	p, err := NewPost(PostOptions{Sinks: sinks, Clock: n.o.Clock, Trust: n.o.Trust, Jitter: n.o.Jitter})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.rules, n.post = rules, p
	for _, s := range sinks {
		if n.turns[s.Name] == nil {
			n.turns[s.Name] = make(chan struct{}, 1)
		}
	}
	n.mu.Unlock()
	n.rouse()
	return nil
}

// Reported takes a cycle's report. It only reads it: a cycle waits for nobody's mailbox.
func (n *Notifier) Reported(r *plan.Report, f File) {
	l := Read(r, f)
	n.mu.Lock()
	if n.look != nil { // Run has not come to it: nothing that happened is lost
		l.join(n.look)
	}
	n.look = &l
	n.mu.Unlock()
	n.rouse()
}

// join adds what happened at an earlier look.
func (l *Look) join(was *Look) {
	l.Happened = append(slices.Clone(was.Happened), l.Happened...)
	if over := len(l.Happened) - mostNotices; over > 0 {
		l.Happened = l.Happened[over:]
	}
	for name, k := range was.Outbids {
		l.Outbids[name] += k
	}
}

func (n *Notifier) rouse() {
	select {
	case n.wake <- struct{}{}:
	default: // it is awake
	}
}

// Send implements Sender: it sends a message to all who take it, now.
func (n *Notifier) Send(ctx context.Context, m Message) []Outcome {
	n.mu.Lock()
	p := n.post
	n.mu.Unlock()
	out := p.Send(ctx, m)
	for _, o := range out {
		n.done(o, &m)
	}
	return out
}

var _ Sender = (*Notifier)(nil)

// flushFor is how long a stop waits for messages that are under way.
const flushFor = 3 * time.Second

// Run tells what is due until ctx ends, and then what is left, for a moment.
func (n *Notifier) Run(ctx context.Context) {
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	for {
		wait := n.turn(inner)
		if _, err := n.o.Clock.Wait(ctx, wait, n.wake); err != nil {
			break
		}
	}
	n.flush(inner, stop)
}

// turn does what is due, and says how long it may be until something is.
func (n *Notifier) turn(ctx context.Context) time.Duration {
	n.mu.Lock()
	now := n.o.Clock.Now()
	n.settle(now)
	look := n.look
	n.look = nil
	var due []Delivery
	n.state, due = Step(&n.rules, n.state, look, now)
	next := Next(&n.rules, &n.state)
	b, err := json.Marshal(n.state)
	for _, d := range due {
		n.hand(ctx, d)
	}
	n.mu.Unlock()
	n.keep(b, err)
	if next.IsZero() {
		return time.Hour
	}
	return max(next.Sub(now), time.Millisecond)
}

// settle notes what became of deliveries. n.mu is held.
func (n *Notifier) settle(now time.Time) {
	for _, d := range n.settled {
		n.state = Settle(&n.rules, n.state, d.Sink, d.Event, d.ok, now)
	}
	n.settled = nil
}

// keep writes what was told, where that has changed. A disk that is full is no reason to
// tell nobody.
func (n *Notifier) keep(b []byte, err error) {
	if n.o.StateFile == "" || err == nil && bytes.Equal(b, n.saved) {
		return
	}
	n.mu.Lock()
	nobody := len(n.rules.Sinks) == 0
	n.mu.Unlock()
	if nobody { // was told anything
		return
	}
	if err == nil {
		err = save(n.o.StateFile, b)
	}
	if err == nil {
		n.saved = b
	} else if !n.failed {
		n.o.Log.Warn("what was told is not kept over a restart", zap.Error(err))
	}
	n.failed = err != nil
}

// hand gives a message to its sink, behind those that wait for it. n.mu is held.
func (n *Notifier) hand(ctx context.Context, d Delivery) {
	i := slices.IndexFunc(n.post.sinks, func(s *sink) bool { return s.Name == d.Sink })
	if i < 0 { // Configure gave us the one without the other
		n.settled = append(n.settled, settlement{d, false})
		return
	}
	s, p, turn := n.post.sinks[i], n.post, n.turns[d.Sink]
	n.queue(d.Sink, 1)
	n.wg.Go(func() {
		o := Outcome{Sink: d.Sink, Type: string(s.Type), Err: context.Canceled}
		select {
		case <-ctx.Done():
		case turn <- struct{}{}:
			o = p.try(ctx, s, &d.Message)
			<-turn
		}
		cutOff := o.Err != nil && ctx.Err() != nil // we stop: it is told after the next start
		if !cutOff {
			n.done(o, &d.Message)
		}
		n.mu.Lock()
		n.queue(d.Sink, -1)
		if !cutOff {
			n.settled = append(n.settled, settlement{d, o.Err == nil})
		}
		n.mu.Unlock()
		n.rouse()
	})
}

// queue counts what waits for a sink. n.mu is held.
func (n *Notifier) queue(sink string, more int) {
	n.waiting[sink] += more
	if n.o.Queue != nil {
		n.o.Queue(sink, n.waiting[sink])
	}
}

// done tells the log and the metrics.
func (n *Notifier) done(o Outcome, m *Message) {
	f := []zap.Field{
		zap.String("sink", o.Sink), zap.String("event", string(m.Event)), zap.String("status", string(m.Status)), zap.String("title", m.headline()),
		zap.Int("tries", o.Tries), zap.Duration("took", o.Took),
	}
	if o.Err != nil {
		n.o.Log.Warn("notification not delivered", append(f, zap.Error(o.Err))...)
	} else {
		n.o.Log.Info("notification delivered", f...)
	}
	if n.o.Done != nil {
		n.o.Done(o)
	}
}

// flush sends what waits, and waits for what is under way, but not for long: what does not
// make it is on disk, and is told after the next start.
func (n *Notifier) flush(ctx context.Context, stop context.CancelFunc) {
	late, cancel := n.o.Clock.WithTimeout(ctx, flushFor)
	defer cancel()
	defer context.AfterFunc(late, stop)()
	n.turn(ctx) // the last report may have come in
	n.mu.Lock()
	n.state = Hurry(n.state, n.o.Clock.Now())
	n.mu.Unlock()
	n.turn(ctx)
	n.wg.Wait()
	n.mu.Lock()
	n.settle(n.o.Clock.Now())
	b, err := json.Marshal(n.state)
	n.mu.Unlock()
	n.keep(b, err)
}
