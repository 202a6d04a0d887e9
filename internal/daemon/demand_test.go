package daemon

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// following is a file with one policy of single GPUs and that target.
func following(target string) string {
	return fmt.Sprintf(`version: 1
daemon: {mode: live, ledger: ledger.db, listen: ""}
policies:
  - {name: train, shape: {gpus: 1}, max_gpu_hour: 0.80, target: %s}
`, target)
}

// gauge is a signal that says what it is told.
type gauge struct {
	value   float64
	problem string
	now     func() time.Time
	asked   int
}

func (g *gauge) Read(_ context.Context, all []policy.Policy) (out []demand.Reading) {
	g.asked++
	for i := range all {
		for j := range all[i].Demand.Signals {
			s := &all[i].Demand.Signals[j]
			r := demand.Reading{Policy: all[i].Name, Signal: s.Name, Asks: s.Prometheus.Asks(), Problem: g.problem}
			if g.problem == "" {
				r.Value, r.At = g.value, g.now()
			}
			out = append(out, r)
		}
	}
	return out
}

func wants(t *testing.T, r plan.Report, gpus int, why string) {
	t.Helper()
	s := r.Plan.Standings[0]
	if s.Target != gpus || s.Demand == nil || !strings.Contains(s.Demand.Why, why) {
		t.Errorf("%s: %d GPUs are wanted, not %d because of %q: %+v", r.StartedAt, s.Target, gpus, why, s.Demand)
	}
}

func told(r plan.Report, kind plan.EventKind) (texts []string) {
	for _, e := range r.Events {
		if e.Kind == kind {
			texts = append(texts, e.Text)
		}
	}
	return texts
}

// The clock of the rig begins on a Wednesday at noon.
func TestAScheduleMovesTheFleetAndNothingDipsWhereWindowsMeet(t *testing.T) {
	r := newRig(t, following(`{schedule: [{from: "30 11 * * *", until: "5 12 * * *", gpus: 2}, {from: "5 12 * * *", for: 10m, gpus: 3}]}`))
	for range 4 {
		r.turn()
	}
	wants(t, r.turn(), 2, `schedule window "30 11 * * *" until "5 12 * * *" UTC, until 2026-04-01 12:05 UTC`)
	next := r.turn() // 12:05
	wants(t, next, 3, `"5 12 * * *" for 10m`)
	if got := told(next, plan.EventTarget); len(got) != 1 || !strings.Contains(got[0], "3 GPUs are wanted instead of 2") {
		t.Errorf("%q", got)
	}
	for range 9 {
		wants(t, r.turn(), 3, "5 12")
	}
	for _, w := range r.market.writes() {
		if strings.HasPrefix(w, "delete") {
			t.Fatalf("a machine was deleted where windows meet: %q", r.market.writes())
		}
	}
	wants(t, r.turn(), 0, "no window holds")
	last := r.turn()
	r.turn()
	if n := len(r.market.machines); n != 0 {
		t.Errorf("%d machines are left after the window: %+v", n, last.Plan.Holds)
	}
}

func TestACycleStartsAtTheEdgeOfAWindow(t *testing.T) {
	r := newRig(t, strings.Replace(following(`{schedule: [{from: "7 12 * * *", for: 1h, gpus: 1}]}`), "mode: live,", `mode: live, schedule: "@every 1h",`, 1))
	if got, want := r.sooner(noon.Add(time.Hour), noon), noon.Add(7*time.Minute); !got.Equal(want) {
		t.Errorf("the next cycle is at %s, not %s", got, want)
	}
	if got, want := r.sooner(noon.Add(time.Minute), noon), noon.Add(time.Minute); !got.Equal(want) {
		t.Errorf("the next cycle is at %s, not %s", got, want)
	}
}

const onQueue = `{max: 4, signals: [{name: queue, prometheus: {url: "http://127.0.0.1:1", query: sum(q)}, per_gpu: 100, down: {stabilization_window: 3m}}]}`

func TestAFleetFollowsItsSignalUpAtOnceAndDownAfterItsWindow(t *testing.T) {
	g := &gauge{value: 250}
	r := newRig(t, following(onQueue), func(o *Options) { g.now = o.Clock.Now; o.Signals = g })
	wants(t, r.turn(), 3, "signal queue: 250 / 100 per GPU -> 3 GPUs")
	g.value = 1e12
	wants(t, r.turn(), 4, "-> 4 GPUs")
	g.value = 0
	wants(t, r.turn(), 4, "held at 4 by the down window until 2026-04-01T12:05:00Z")
	wants(t, r.turn(), 4, "held at 4")
	wants(t, r.turn(), 4, "held at 4")
	wants(t, r.turn(), 0, "-> 0 GPUs")
	r.turn()
	r.turn()
	if n := len(r.market.machines); n != 0 {
		t.Errorf("%d machines are left", n)
	}
}

func TestASignalThatFailsHoldsTheFleetAndSaysSo(t *testing.T) {
	g := &gauge{value: 250}
	r := newRig(t, following(onQueue), func(o *Options) { g.now = o.Clock.Now; o.Signals = g })
	r.turn()
	g.problem = "connection refused"
	for range 30 {
		r.turn()
	}
	last := r.turn()
	wants(t, last, 3, "on_error: hold")
	if len(r.market.machines) != 3 || len(last.Plan.Holds) != 1 || last.Plan.Holds[0].Reason.Code != plan.HoldDemand || !strings.Contains(last.Plan.Holds[0].Reason.Text, "connection refused") {
		t.Errorf("%d machines, %+v", len(r.market.machines), last.Plan.Holds)
	}
}

func TestWhatASignalAskedForSurvivesARestartAndAReload(t *testing.T) {
	g := &gauge{value: 250}
	r := newRig(t, following(onQueue), func(o *Options) { g.now = o.Clock.Now; o.Signals = g })
	r.turn()
	g.problem = "connection refused"
	r.clock.Set(r.clock.Now().Add(time.Hour))
	o := r.o
	o.Registerer = prometheus.NewRegistry()
	var err error
	if r.Daemon, err = New(o); err != nil {
		t.Fatal(err)
	}
	wants(t, r.turn(), 3, "on_error: hold")
	r.write(following(onQueue) + "  - {name: other, shape: {gpus: 1}, max_gpu_hour: 0.80, target: {gpus: 0}}\n")
	if err := r.Reload(true); err != nil {
		t.Fatal(err)
	}
	for _, s := range r.turn().Plan.Standings {
		if s.Policy == "train" && s.Target != 3 {
			t.Errorf("%d GPUs are wanted after a reload: %+v", s.Target, s.Demand)
		}
	}
}

func override(t *testing.T, r *rig, o demand.Override) {
	t.Helper()
	if err := r.o.Ledger.Update(func(tx *ledger.Tx) error { SetOverride(tx, o); return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestAnOverrideIsToldOfEndsAndIsOnRecord(t *testing.T) {
	r := newRig(t, following("{gpus: 1, max: 3}"))
	r.turn()
	override(t, r, demand.Override{Policy: "train", GPUs: 3, Since: r.clock.Now(), Until: r.clock.Now().Add(2 * time.Minute), By: "operator", Reason: "demo"})
	first := r.turn()
	wants(t, first, 3, "set by the operator until 2026-04-01T12:03:00Z (demo)")
	if got := told(first, plan.EventOverride); len(got) != 1 || got[0] != "the target was set to 3 GPUs by the operator until 2026-04-01T12:03:00Z: demo" {
		t.Errorf("%q", got)
	}
	second := r.turn()
	if len(told(second, plan.EventOverride)) != 0 || len(r.market.machines) != 3 {
		t.Errorf("%d machines, %+v", len(r.market.machines), second.Events)
	}
	third := r.turn()
	if got := told(third, plan.EventOverrideEnded); len(got) != 1 || !strings.Contains(got[0], "its time is over") || third.Plan.Standings[0].Target != 1 {
		t.Errorf("%q, %+v", got, third.Plan.Standings)
	}
	h, err := r.o.Ledger.History()
	if err != nil || len(h.Overrides) != 0 {
		t.Errorf("%+v, %v", h.Overrides, err)
	}
}

func TestAnOverrideEndsWithItsPolicy(t *testing.T) {
	r := newRig(t, following("{gpus: 1, max: 3}"))
	override(t, r, demand.Override{Policy: "train", GPUs: 3, Since: noon, By: "operator"})
	r.turn()
	r.write(strings.Replace(following("{gpus: 1, max: 3}"), "train", "other", 1))
	if err := r.Reload(true); err != nil {
		t.Fatal(err)
	}
	if got := told(r.turn(), plan.EventOverrideEnded); len(got) != 1 || !strings.Contains(got[0], "not in the file any more") {
		t.Errorf("%q", got)
	}
}

func TestAnOverrideDoesNotWidenTheCapNorNarrowIt(t *testing.T) {
	r := newRig(t, following("{gpus: 2}"))
	override(t, r, demand.Override{Policy: "train", GPUs: 0, Since: noon, By: "operator"})
	report := r.turn()
	c := r.current()
	if want := c.Set.HourlyCap(); report.Input.HourlyCap != want || report.Plan.Standings[0].Target != 0 {
		t.Errorf("the cap is %s, not %s", report.Input.HourlyCap, want)
	}
}

// wrongClock is one that somebody has set.
type wrongClock struct {
	*clock.Virtual
	by time.Duration
}

func (w *wrongClock) Now() time.Time { return w.Virtual.Now().Add(w.by) }

// A clock that is set ends no override before its time, and gives it no more.
func TestAClockThatIsSetMovesAnOverrideAlong(t *testing.T) {
	wrong := &wrongClock{}
	r := newRig(t, following("{gpus: 1, max: 3}"), func(o *Options) { wrong.Virtual, o.Clock = o.Clock.(*clock.Virtual), wrong })
	r.turn()
	override(t, r, demand.Override{Policy: "train", GPUs: 3, Since: r.clock.Now(), Until: r.clock.Now().Add(10 * time.Minute), By: "operator"})
	r.turn()
	wrong.by = 5 * time.Hour
	for range 8 {
		wants(t, r.turn(), 3, "set by the operator")
	}
	for _, w := range r.market.writes() {
		if strings.HasPrefix(w, "delete") {
			t.Fatalf("%q", r.market.writes())
		}
	}
	r.turn()
	if s := r.turn().Plan.Standings[0]; s.Target != 1 {
		t.Errorf("%d GPUs are wanted: %+v", s.Target, s.Demand)
	}
}

func TestOverridesThatMustNotBeAreRefused(t *testing.T) {
	r := newRig(t, following("{gpus: 2}"))
	c := r.current()
	for _, o := range []demand.Override{
		{Policy: "trian", GPUs: 1}, {Policy: "train", GPUs: -1}, {Policy: "train", GPUs: 3}, {Policy: "train", GPUs: 1, Until: noon},
	} {
		if err := CheckOverride(&c, &o, noon); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	work := newRig(t, following("{gpus: 4, gpu_hours: 10, by: 2026-05-01T00:00:00Z}")).current()
	if err := CheckOverride(&work, &demand.Override{Policy: "train", GPUs: 2}, noon); err == nil || !strings.Contains(err.Error(), "GPU-hours") {
		t.Errorf("a target of GPU-hours is set by hand: %v", err)
	}
	if err := CheckOverride(&c, &demand.Override{Policy: "train", GPUs: 2}, noon); err != nil {
		t.Error(err)
	}
}

func TestAShadowFollowsItsOwnTarget(t *testing.T) {
	r := newRig(t, following("{gpus: 0}")+`  - {name: ghost, shadow: true, capacity: on_demand, shape: {gpus: 1}, max_gpu_hour: 2.00, target: {schedule: [{from: "2 12 * * *", for: 1h, gpus: 3}]}}
`)
	for i, want := range []int{0, 0, 3} {
		report := r.turn()
		if len(report.Shadows) != 1 || report.Shadows[0].Standing.Target != want || len(r.market.writes()) != 0 {
			t.Errorf("cycle %d: %+v, %q", i, report.Shadows, r.market.writes())
		}
	}
}

// What is booked between cycles goes by the target of the moment: for how long spot has
// fallen short is not forgotten because the file has no number.
func TestALookBesideACycleKnowsTheTargetOfTheMoment(t *testing.T) {
	r := newRig(t, following(`{schedule: [{from: "0 0 * * *", for: 24h, gpus: 2}]}, capacity: spot_with_fallback, fallback: {after: 1h}`))
	r.market.hosts = func() ([]market.Host, error) { return nil, nil }
	r.turn()
	r.turn()
	short := func() []plan.Short {
		h, err := r.o.Ledger.History()
		if err != nil {
			t.Fatal(err)
		}
		return h.Short
	}
	before := short()
	if len(before) != 1 || before[0].Policy != "train" {
		t.Fatalf("spot does not fall short: %+v", before)
	}
	if _, err := r.Destroy(t.Context(), "", "test"); err != nil {
		t.Fatal(err)
	}
	if after := short(); len(after) != 1 || !after[0].Since.Equal(before[0].Since) {
		t.Errorf("%+v became %+v", before, after)
	}
}
