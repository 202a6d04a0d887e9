package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
)

// Streams of events.
const (
	mostStreams  = 16
	heartbeat    = 15 * time.Second // between two signs of life
	writeTakes   = 10 * time.Second
	eventTakes   = 10 * time.Second
	reconnectIn  = 5 * time.Second
	lastEventID  = "Last-Event-ID"
	eventOfCycle = "cycle"
)

// Event is what there is to say of a cycle that has just ended; /api/v1 has the rest.
type Event struct {
	Cycle uint64    `json:"cycle"`
	At    time.Time `json:"at"` // when it ended
	// Problem is what of the market could not be read, or why the cycle ended early.
	Problem  string      `json:"problem,omitempty"`
	Burn     market.Rate `json:"burn_usd_hour"` // of all machines as last seen
	Machines int         `json:"machines"`
	// Planned is how many actions the cycle's last plan has, Done how many writes were
	// sent, Holds how many things were not done.
	Planned  int     `json:"actions"`
	Done     int     `json:"intents"`
	Holds    int     `json:"holds"`
	Policies []Share `json:"policies"`
}

// Share is what a policy has of what it wants.
type Share struct {
	Policy string `json:"policy"`
	Target int    `json:"target_gpus"`
	Ready  int    `json:"ready_gpus"`
}

// published is closed when the next cycle has been reported; nil where nobody tells.
func (o *Options) published() <-chan struct{} {
	if o.Published == nil {
		return nil
	}
	return o.Published()
}

// event is that of the last cycle, put together once for all streams.
func (s *shared) event(ctx context.Context) (Event, error) {
	return oncePerCycle(ctx, s, "the event", func(ctx context.Context) (Event, error) {
		ctx, cancel := s.o.Clock.WithTimeout(ctx, eventTakes)
		defer cancel()
		return eventOf(ctx, s.Desk)
	})
}

func eventOf(ctx context.Context, d Desk) (Event, error) {
	s, err := d.Status(ctx, control.StatusRequest{})
	if err != nil {
		return Event{}, err
	}
	e := Event{Cycle: s.Cycle, At: s.FinishedAt, Problem: s.Problem, Burn: s.Burn, Machines: s.Machines, Holds: len(s.Holds), Policies: []Share{}}
	for _, p := range s.Policies {
		e.Policies = append(e.Policies, Share{p.Policy, p.Target, p.Ready})
	}
	newest, err := d.Cycles(ctx, control.CyclesRequest{Limit: 1})
	for _, c := range newest {
		if c.Cycle == s.Cycle { // it may not be on record: a disk that is full
			e.Planned, e.Done = c.Actions, c.Intents
		}
	}
	return e, err
}

// streams serves events to a few at once.
func (o Options) streams() func(http.ResponseWriter, *http.Request, query) {
	desk, _ := o.Desk.(*shared) // Handler made it so
	free := make(chan struct{}, mostStreams)
	return func(w http.ResponseWriter, r *http.Request, q query) {
		select {
		case free <- struct{}{}:
			defer func() { <-free }()
		default:
			say(w, problem{
				Type: busy, Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("%d streams of events are open", mostStreams),
				Hint: "ask again in a while, or ask " + prefix + "/status now and then",
			})
			return
		}
		h := w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no") // proxies
		s := stream{o: &o, desk: desk, w: w, to: http.NewResponseController(w)}
		s.last, s.known = q.number("after"), q.number("after") > 0
		if id, err := strconv.ParseUint(r.Header.Get(lastEventID), 10, 64); err == nil {
			s.last, s.known = id, true
		}
		if r.Method == http.MethodGet {
			s.run(r.Context())
		}
	}
}

// stream tells one visitor of cycles.
type stream struct {
	o     *Options
	desk  *shared
	w     http.ResponseWriter
	to    *http.ResponseController
	last  uint64 // the cycle that the visitor knows of, where known
	known bool
}

// run ends with ctx, which the server's stop ends, or when the visitor is gone. The
// server's own timeouts are for answers that have an end; here each write has one.
func (s *stream) run(ctx context.Context) {
	if !s.write(fmt.Sprintf("retry: %d\n\n", reconnectIn.Milliseconds())) {
		return
	}
	for {
		published := s.o.published()
		if !s.tell(ctx) {
			return
		}
		woken, err := s.o.Clock.Wait(ctx, heartbeat, published)
		if err != nil || !woken && !s.write(": still here\n\n") {
			return
		}
	}
}

// tell sends the event of the last cycle to who does not know of it; false when nobody
// listens any more.
func (s *stream) tell(ctx context.Context) bool {
	e, err := s.desk.event(ctx)
	if err != nil {
		return ctx.Err() == nil // it is tried again at the next heartbeat
	}
	news := s.known && e.Cycle != s.last && e.Cycle != 0
	if s.known = true; !news {
		s.last = e.Cycle
		return true
	}
	s.last = e.Cycle
	data, err := json.Marshal(e)
	return err == nil && s.write(fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.Cycle, eventOfCycle, data))
}

// write sends text at once; false when it cannot.
func (s *stream) write(text string) bool {
	_ = s.to.SetWriteDeadline(clock.System{}.Now().Add(writeTakes)) // sockets know only the system's clock
	if _, err := fmt.Fprint(s.w, text); err != nil {
		return false
	}
	return s.to.Flush() == nil
}
