package scanner

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

// hung is a market of which everything that not all need hangs, or fails after a while.
type hung struct {
	boxes
	clock *clock.Virtual
	takes time.Duration
	class market.Class
	asked int
}

func (h *hung) hang(ctx context.Context) error {
	h.asked++
	if err := h.clock.Sleep(ctx, h.takes); err != nil {
		return &market.Error{Op: "ask", Class: market.ClassUnavailable, Detail: "no answer", Err: err}
	}
	return failed(h.class)
}

func (h *hung) Instants(ctx context.Context) ([]market.Instant, error) { return nil, h.hang(ctx) }

func (h *hung) Locations(ctx context.Context) ([]market.Site, error) { return nil, h.hang(ctx) }

func (h *hung) InstancesV2(ctx context.Context) ([]market.Instance, error) { return nil, h.hang(ctx) }

func (h *hung) Replicas(ctx context.Context, _ string) ([]market.Replica, error) {
	return nil, h.hang(ctx)
}

func everything() Expected {
	return Expected{Owner: "main", V2: true, Instants: true, Containers: []string{"box"}}
}

func TestListsThatHangTakeLittleOfTheTime(t *testing.T) {
	for _, takes := range []time.Duration{time.Hour, 7 * time.Second} {
		h := &hung{clock: clock.NewVirtual(noon), takes: takes, class: market.ClassUnavailable}
		rests, spent, longest := &Rests{}, time.Duration(0), time.Duration(0)
		for h.clock.Now().Before(noon.Add(6 * time.Hour)) {
			began := h.clock.Now()
			s := New(h, h.clock, rests).Scan(t.Context(), everything())
			took := h.clock.Now().Sub(began)
			spent, longest = spent+took, max(longest, took)
			if !s.Instances.Complete || !s.Hosts.Complete || s.V2.Complete || s.Sites.Complete || s.Instants.Complete || s.Containers[0].Replicas.Complete {
				t.Fatalf("%+v", s)
			}
			if s.V2.Class != market.ClassUnavailable || took == 0 && !strings.Contains(s.V2.Problem, "asked for again in") {
				t.Fatalf("%+v", s.V2)
			}
			if err := h.clock.Sleep(t.Context(), time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if longest > 4*patience || spent > 6*time.Hour/4 || h.asked < 4*10 {
			t.Errorf("four lists that fail after %s: %s of six hours, %s in one look, %d questions", takes, spent, longest, h.asked)
		}
	}
}

func TestAListThatIsRefusedAtOnceIsAskedForAtEveryLook(t *testing.T) {
	h := &hung{clock: clock.NewVirtual(noon), class: market.ClassUnauthorized}
	rests := &Rests{}
	for range 3 {
		New(h, h.clock, rests).Scan(t.Context(), everything())
	}
	if h.asked != 12 {
		t.Errorf("asked %d times in three looks, want 12", h.asked)
	}
}

func TestARestEndsWithItsTimeWithAnAnswerAndWhenItIsCleared(t *testing.T) {
	h := &hung{clock: clock.NewVirtual(noon), takes: 10 * time.Second, class: market.ClassUnavailable}
	rests, e := &Rests{}, Expected{Owner: "main", V2: true, Sites: market.Section[[]market.Site]{At: noon, Complete: true}}
	look := func(after time.Duration) int {
		before := h.asked
		if err := h.clock.Sleep(t.Context(), after); err != nil {
			t.Fatal(err)
		}
		New(h, h.clock, rests).Scan(t.Context(), e)
		return h.asked - before
	}
	if got := []int{look(0), look(39 * time.Second), look(time.Second), look(time.Second)}; got[0] != 1 || got[1] != 0 || got[2] != 1 || got[3] != 0 {
		t.Errorf("questions at the failure, 39 s and 40 s later, and after that: %v", got)
	}
	rests.Clear()
	if look(0) != 1 {
		t.Error("it rests although all was forgotten")
	}
	h.class, h.takes = market.ClassNotFound, time.Minute/2
	if look(time.Minute) != 1 || look(0) != 1 {
		t.Error("a clear answer, however slow, is no reason to rest")
	}
}
