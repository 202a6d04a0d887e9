package daemon

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// alien puts a machine of our owner into the account that this ledger never ordered.
func (r *rig) alien(id, name string) {
	r.market.mu.Lock()
	defer r.market.mu.Unlock()
	r.market.machines[id] = market.Instance{
		ID: id, Name: name, API: market.V0, Status: market.StatusRunning, Host: "host", Model: gpu, Shape: market.Shape{GPUs: 1},
		Capacity: market.Spot, Compute: market.Some(market.Rate(market.Cent)), Storage: market.Some(market.Rate(market.Cent)),
	}
}

func (r *rig) gone(id string) {
	r.market.mu.Lock()
	defer r.market.mu.Unlock()
	delete(r.market.machines, id)
}

// blind lets the list of machines fail.
func (r *rig) blind(is bool) {
	r.market.instances = nil
	if is {
		r.market.instances = func() ([]market.Instance, error) {
			return nil, &market.Error{Op: "list", Class: market.ClassUnavailable}
		}
	}
}

func (r *rig) reread() {
	r.Helper()
	if err := r.Reload(true); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) intruded() bool {
	r.Helper()
	h, err := r.o.Ledger.History()
	if err != nil {
		r.Fatal(err)
	}
	b := h.OpenBreaker(r.clock.Now())
	return b != nil && b.Code == plan.BreakerSecondDaemon
}

const alienName = "tds-main-train-zzzz2345"

func TestOnlyWhatAppearsUnderOurEyesAndWasNeverOursMeansASecondDaemon(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*rig) // the machine appears after it
		want   bool
	}{
		"before the first look":           {before: func(*rig) {}},
		"after a look":                    {before: func(r *rig) { r.turn() }, want: true},
		"after a look that failed":        {before: func(r *rig) { r.blind(true); r.turn(); r.blind(false) }},
		"after a look under another file": {before: func(r *rig) { r.turn(); r.write(one("live", 2)); r.reread() }},
		"back after it was taken in": {before: func(r *rig) {
			r.alien("x", alienName)
			r.turn()
			r.gone("x")
			for range 10 {
				r.turn()
			}
		}},
	} {
		r := newRig(t, one("live", 1))
		c.before(r)
		r.alien("x", alienName)
		r.turn()
		if got := r.intruded(); got != c.want {
			t.Errorf("%s: stopped %v", name, got)
		}
		if n := testutil.ToFloat64(r.metrics.breakers.WithLabelValues(plan.BreakerSecondDaemon)); (n == 1) != c.want {
			t.Errorf("%s: the metric says %g", name, n)
		}
		if n := testutil.ToFloat64(r.metrics.events.WithLabelValues(string(plan.EventAdopted))); n < 1 {
			t.Errorf("%s: nobody counted an adoption", name)
		}
	}
}

func TestAStopForASecondDaemonOutlivesTheProcessAndEndsOnlyByResume(t *testing.T) {
	r := newRig(t, one("live", 1))
	r.turn()
	r.alien("x", alienName)
	r.turn()
	sent := len(r.market.writes())
	o := r.o
	for range 3 { // processes
		o.Registerer = prometheus.NewRegistry()
		d, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		r.Daemon = d
		r.turn()
	}
	if !r.intruded() || len(r.market.writes()) != sent {
		t.Fatalf("stopped %v, sent %q", r.intruded(), r.market.writes()[sent:])
	}
	if _, _, err := Resume(o.Ledger, "train"); err != nil || !r.intruded() {
		t.Errorf("resuming one policy ends it: %v", err)
	}
	if _, closed, err := Resume(o.Ledger, ""); err != nil || len(closed) != 1 {
		t.Errorf("%+v, %v", closed, err)
	}
	for range 3 {
		r.turn()
	}
	if more := r.market.writes()[sent:]; r.intruded() || len(more) != 1 {
		t.Errorf("resumed, the machine too many is not deleted: stopped %v, sent %q", r.intruded(), more)
	}
}
