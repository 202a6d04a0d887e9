package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/prices"
)

// costly is a desk whose questions are counted, and wait until they are let go.
type costly struct {
	Desk
	asked, under, most atomic.Int64
	let                chan struct{} // nil lets all go
	fails              error
	cycle              atomic.Pointer[chan struct{}]
}

func newCostly() *costly {
	d := &costly{}
	d.publish()
	return d
}

func (d *costly) publish() {
	next := make(chan struct{})
	if old := d.cycle.Swap(&next); old != nil {
		close(*old)
	}
}

func (d *costly) published() <-chan struct{} { return *d.cycle.Load() }

func (d *costly) work() error {
	d.asked.Add(1)
	d.most.Store(max(d.most.Load(), d.under.Add(1)))
	defer d.under.Add(-1)
	if d.let != nil {
		<-d.let
	}
	return d.fails
}

func (d *costly) Status(context.Context, control.StatusRequest) (control.Status, error) {
	return control.Status{Status: daemon.Status{Cycle: 1}}, nil
}

func (d *costly) Market(_ context.Context, r control.MarketRequest) (control.Market, error) {
	return control.Market{Offers: []plan.Listing{
		{Model: "rtx4090-24gb", Location: market.Location{Country: "Norway"}}, {Model: "rtxa5000-24gb", Location: market.Location{Country: "Canada"}},
	}}, d.work()
}

func (d *costly) Prices(_ context.Context, r control.PricesRequest) (control.Prices, error) {
	return control.Prices{Groups: []prices.Group{{Model: "rtx4090-24gb", Country: "Norway"}, {Model: "rtxa5000-24gb", Country: "Canada"}}}, d.work()
}

func (d *costly) Intents(context.Context, control.IntentsRequest) ([]plan.Intent, error) {
	return []plan.Intent{}, d.work()
}

func code(h http.Handler, path string) int {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", prefix+path, nil))
	return w.Code
}

func TestWhatCostsTimeIsAskedOnceACycleWhoeverAsks(t *testing.T) {
	d := newCostly()
	h := Handler(Options{Desk: d, Published: d.published})
	for cycle := int64(1); cycle < 4; cycle++ {
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				for _, path := range []string{"/market", "/market?country=Norway", fmt.Sprintf("/market?gpu_model=*%d*", i), "/prices", "/prices?gpu_model=*4090*"} {
					if c := code(h, path); c != 200 {
						t.Errorf("%s: %d", path, c)
					}
				}
			})
		}
		all.Wait()
		// Who asks for prices around a full minute asks for two spans.
		if n := d.asked.Load(); n < 2*cycle || n > 3*cycle {
			t.Errorf("the desk was asked %d times in %d cycles", n, cycle)
		}
		d.publish()
	}
}

func TestWhatIsKeptIsFilteredForEachVisitor(t *testing.T) {
	d := newCostly()
	h := Handler(Options{Desk: d, Published: d.published})
	for path, want := range map[string]int{
		"/market": 2, "/market?country=norway": 1, "/market?gpu_model=*a5000*": 1, "/market?gpu_model=*a5000*&country=Norway": 0, "/market?limit=1": 1,
		"/prices": 2, "/prices?country=canada": 1, "/prices?gpu_model=*4090*,*a5000*": 2, "/prices?country=Chad": 0,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", prefix+path, nil))
		var got struct {
			Offers []plan.Listing `json:"offers"`
			Groups []prices.Group `json:"groups"`
		}
		fine(t, json.Unmarshal(w.Body.Bytes(), &got))
		if len(got.Offers)+len(got.Groups) != want {
			t.Errorf("%s: %+v, want %d", path, got, want)
		}
	}
}

func TestAFailureIsNotKept(t *testing.T) {
	d := newCostly()
	d.fails = errors.New("no")
	h := Handler(Options{Desk: d, Published: d.published})
	if c := code(h, "/market"); c != 500 {
		t.Errorf("%d", c)
	}
	d.fails = nil
	if c := code(h, "/market"); c != 200 {
		t.Errorf("after the failure: %d", c)
	}
}

func TestAQuestionThatPanicsKeepsNobodyWaitingAndIsAskedAgain(t *testing.T) {
	d := newCostly()
	s := newShared(Options{Desk: d, Published: d.published, Clock: clock.System{}})
	ask := func(context.Context) (int, error) { panic("a bug") }
	for range 2 * places { // nor does it keep its place
		func() {
			defer func() {
				if recover() == nil {
					t.Error("it was not asked again")
				}
			}()
			_, _ = oncePerCycle(t.Context(), s, "key", ask)
		}()
	}
	if n, err := oncePerCycle(t.Context(), s, "key", func(context.Context) (int, error) { return 7, nil }); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestFewQuestionsThatTakeTimeAreUnderWayAndTheOthersAreTurnedAway(t *testing.T) {
	d := newCostly()
	d.let = make(chan struct{})
	h := Handler(Options{Desk: d, Published: d.published, Clock: hasty{clock.System{}}})
	var all sync.WaitGroup
	var fine, away atomic.Int64
	for range 20 {
		all.Go(func() {
			switch code(h, "/intents") {
			case 200:
				fine.Add(1)
			case 503:
				away.Add(1)
			}
		})
	}
	for away.Load() < 20-places {
	}
	close(d.let)
	all.Wait()
	if d.most.Load() != places || fine.Load() != places || away.Load() != 20-places {
		t.Errorf("%d at once, %d answered, %d turned away", d.most.Load(), fine.Load(), away.Load())
	}
	if c := code(h, "/intents"); c != 200 {
		t.Errorf("when they are done: %d", c)
	}
}

func TestWhoGoesAwayDoesNotSpoilTheAnswerOfOthers(t *testing.T) {
	d := newCostly()
	d.let = make(chan struct{})
	s := newShared(Options{Desk: d, Published: d.published, Clock: clock.System{}})
	ctx, leave := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := s.Market(ctx, control.MarketRequest{})
		first <- err
	}()
	for d.under.Load() == 0 {
	}
	leave()
	second := make(chan error, 1)
	go func() {
		_, err := s.Market(t.Context(), control.MarketRequest{})
		second <- err
	}()
	close(d.let)
	<-first
	if err := <-second; err != nil || d.asked.Load() != 1 {
		t.Errorf("%v after %d questions", err, d.asked.Load())
	}
}
