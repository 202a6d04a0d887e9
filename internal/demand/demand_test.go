package demand

import (
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) // a Monday

func queue() policy.Signal {
	return policy.Signal{
		Name: "queue", PerGPU: 100, Max: 20, Down: 5 * time.Minute, Tolerance: 0.1, OnError: policy.OnErrorHold, MaxAge: 2 * time.Minute,
		Prometheus: policy.Prometheus{URL: "http://p", Query: "sum(q)"},
	}
}

func train(gpus int, signals ...policy.Signal) policy.Policy {
	return policy.Policy{Name: "train", Shape: market.Shape{GPUs: gpus}, Demand: policy.Demand{Max: 20, Signals: signals}}
}

// bench resolves one policy again and again, as cycles do.
type bench struct {
	t         interface{ Fatalf(string, ...any) }
	p         policy.Policy
	now       time.Time
	memories  []Memory
	overrides []Override
	fleet     Fleet
}

func (b *bench) at(after time.Duration, readings ...Reading) Outcome {
	b.now = b.now.Add(after)
	in := Input{Now: b.now, Policies: []policy.Policy{b.p}, Readings: readings, Memories: b.memories, Overrides: b.overrides, Fleet: func(string) Fleet { return b.fleet }}
	out := Resolve(in)
	in.Memories, in.Readings = out.Memories, nil
	if again := Resolve(in); !reflect.DeepEqual(again, out) {
		b.t.Fatalf("resolving again changes something:\n%s", cmp.Diff(out.Outcomes, again.Outcomes)+cmp.Diff(out.Memories, again.Memories))
	}
	b.memories = out.Memories
	if len(out.Outcomes) == 0 {
		return Outcome{GPUs: out.Policies[0].GPUs()}
	}
	if got := out.Policies[0].GPUs(); got != out.Outcomes[0].GPUs {
		b.t.Fatalf("the policy wants %d GPUs, the outcome says %d", got, out.Outcomes[0].GPUs)
	}
	return out.Outcomes[0]
}

// says is a reading of the policy's first signal, as of now and a moment later.
func (b *bench) says(v float64) Reading {
	s := &b.p.Demand.Signals[0]
	return Reading{Policy: b.p.Name, Signal: s.Name, Asks: s.Prometheus.Asks(), Value: v, At: b.now}
}

func (b *bench) fails(problem string) Reading {
	s := &b.p.Demand.Signals[0]
	return Reading{Policy: b.p.Name, Signal: s.Name, Asks: s.Prometheus.Asks(), Problem: problem}
}

func want(t *testing.T, got Outcome, gpus int, words ...string) {
	t.Helper()
	if got.GPUs != gpus {
		t.Errorf("%d GPUs are wanted, not %d: %s", got.GPUs, gpus, got.Why)
	}
	for _, w := range words {
		if !strings.Contains(got.Why, w) {
			t.Errorf("the reason does not say %q: %s", w, got.Why)
		}
	}
}

func TestANumberHasNoOutcome(t *testing.T) {
	p := policy.Policy{Name: "train", Target: 3, Shape: market.Shape{GPUs: 2}}
	out := Resolve(Input{Now: noon, Policies: []policy.Policy{p}, Fleet: func(string) Fleet { return Fleet{} }})
	if len(out.Outcomes) != 0 || out.Policies[0].Target != 3 {
		t.Errorf("%+v", out)
	}
}

func TestOverlappingWindowsTakeTheMost(t *testing.T) {
	p := train(4)
	p.Target = 1
	p.Demand.Schedule = []policy.Window{
		{From: "0 8 * * *", For: 12 * time.Hour, Zone: "Europe/Berlin", Machines: 4},
		{From: "0 12 * * *", For: time.Hour, Zone: "Europe/Berlin", Machines: 2},
		{From: "0 11 * * *", For: 3 * time.Hour, Machines: 9},
	}
	b := bench{t: t, p: p, now: noon.Add(-8 * time.Hour)}
	want(t, b.at(0), 4, "the number in the file")
	want(t, b.at(4*time.Hour), 16, `schedule window "0 8 * * *" for 12h Europe/Berlin, until 2026-11-23 20:00 CET`)
	want(t, b.at(4*time.Hour), 36, `"0 11 * * *"`)
	want(t, b.at(4*time.Hour), 16)
	want(t, b.at(4*time.Hour), 4)
}

func TestNoWindowThatMeetsAnotherLetsTheTargetDip(t *testing.T) {
	p := train(1)
	p.Demand.Schedule = []policy.Window{
		{From: "0 8 * * *", Until: "0 12 * * *", Zone: "Europe/Berlin", Machines: 6},
		{From: "0 12 * * *", For: 8 * time.Hour, Zone: "Europe/Berlin", Machines: 5},
	}
	b := bench{t: t, p: p, now: noon.Add(-90 * time.Minute)} // 11:30 in Berlin
	for b.now.Before(noon) {
		wanted := 6
		if !b.now.Before(noon.Add(-time.Hour)) {
			wanted = 5
		}
		want(t, b.at(0), wanted)
		b.now = b.now.Add(time.Second)
	}
}

func TestAQueueAsksForWholeMachines(t *testing.T) {
	b := bench{t: t, p: train(4, queue()), now: noon}
	want(t, b.at(0, b.says(830)), 12, "signal queue: 830 / 100 per GPU -> 12 GPUs")
}

func TestADownWindowHoldsTheMostOfItsTime(t *testing.T) {
	b := bench{t: t, p: train(1, queue()), now: noon}
	want(t, b.at(0, b.says(1200)), 12)
	b.now = b.now.Add(time.Minute)
	want(t, b.at(0, b.says(830)), 12, "830 / 100 per GPU -> 9 GPUs, held at 12 by the down window until 2026-11-23T12:06:00Z")
	b.now = b.now.Add(time.Minute)
	want(t, b.at(0, b.says(1050)), 12, "held at 12", "until 2026-11-23T12:06:00Z") // 11 by itself
	b.now = noon.Add(6*time.Minute - time.Second)
	want(t, b.at(0, b.says(830)), 12)
	b.now = noon.Add(6 * time.Minute)
	want(t, b.at(0, b.says(830)), 11, "held at 11")
}

func TestUpIsFasterThanDown(t *testing.T) {
	b := bench{t: t, p: train(1, queue()), now: noon}
	want(t, b.at(0, b.says(100)), 1)
	b.now = b.now.Add(time.Second)
	want(t, b.at(0, b.says(1500)), 15)
	b.now = b.now.Add(time.Second)
	want(t, b.at(0, b.says(100)), 15)
}

func TestALongFallIsRememberedInBoundedSpace(t *testing.T) {
	s := queue()
	s.Max, s.Down, s.Tolerance = 5000, 24*time.Hour, 0
	p := train(1, s)
	p.Demand.Max = 5000
	b := bench{t: t, p: p, now: noon}
	for n := 4000; n > 0; n -= 7 {
		want(t, b.at(0, b.says(float64(n*100))), 4000)
		b.now = b.now.Add(time.Second)
	}
	if n := len(b.memories[0].Highs); n > maxLevels {
		t.Errorf("%d levels are kept", n)
	}
	b.now = b.now.Add(24 * time.Hour)
	if got := b.at(0, b.says(100)); got.GPUs != 1 && got.GPUs != 3 {
		t.Errorf("after the window %d GPUs are wanted: %s", got.GPUs, got.Why)
	}
}

func TestAnUpWindowWantsMoreWithoutABreak(t *testing.T) {
	s := queue()
	s.Up, s.Down = time.Minute, 0
	b := bench{t: t, p: train(1, s), now: noon}
	want(t, b.at(0, b.says(500)), 0, "held at 0 by the up window until 2026-11-23T12:01:00Z")
	b.now = b.now.Add(50 * time.Second)
	want(t, b.at(0, b.says(200)), 0)
	b.now = b.now.Add(20 * time.Second)
	want(t, b.at(0, b.says(500)), 2, "held at 2 by the up window")
	b.now = b.now.Add(time.Minute)
	want(t, b.at(0, b.says(500)), 5)
}

func TestWhatIsNewBeginsWithWhatRuns(t *testing.T) {
	b := bench{t: t, p: train(1, queue()), now: noon, fleet: Fleet{Machines: 8, Ready: 8}}
	want(t, b.at(0, b.says(100)), 8, "down window")
	b.now = b.now.Add(5 * time.Minute)
	want(t, b.at(0, b.says(100)), 1)
}

func TestAfterABreakOfTheDaemonTheDownWindowHolds(t *testing.T) {
	b := bench{t: t, p: train(1, queue()), now: noon}
	want(t, b.at(0, b.says(1200)), 12)
	b.now = b.now.Add(time.Hour) // nobody looked
	want(t, b.at(0, b.says(100)), 12)
	b.now = b.now.Add(5 * time.Minute)
	want(t, b.at(0, b.says(100)), 1)
}

func TestSmallDifferencesChangeNothing(t *testing.T) {
	s := queue()
	s.Down = 0
	b := bench{t: t, p: train(1, s), now: noon}
	want(t, b.at(time.Second, b.says(1000)), 10)
	want(t, b.at(time.Second, b.says(1090)), 10, "within the tolerance of 10 GPUs")
	want(t, b.at(time.Second, b.says(1110)), 12)
	want(t, b.at(time.Second, b.says(1090)), 12)
	want(t, b.at(time.Second, b.says(1000)), 10)
}

func TestAValueIsBroughtToItsTargetByWhatRuns(t *testing.T) {
	s := queue()
	s.PerGPU, s.TargetValue, s.Down = 0, 0.6, 0
	b := bench{t: t, p: train(2, s), now: noon, fleet: Fleet{Machines: 4, Ready: 4}}
	want(t, b.at(time.Second, b.says(0.9)), 12, "8 GPUs x 0.9 / 0.6 -> 12 GPUs")
	b.fleet.Machines = 6 // two are booting: the same overload does not ask for more still
	want(t, b.at(time.Second, b.says(0.9)), 12)
	b.fleet.Ready = 6
	want(t, b.at(time.Second, b.says(0.62)), 12, "12 GPUs x 0.62 / 0.6, within the tolerance")
	want(t, b.at(time.Second, b.says(0.3)), 6)
	b.fleet = Fleet{}
	want(t, b.at(time.Second, b.says(0.9)), 6, "nothing runs")
	want(t, b.at(time.Second, b.says(0)), 0)
	want(t, b.at(time.Second, b.says(0.1)), 2, "nothing runs")
}

func TestUpToTheActivationNothingIsAskedFor(t *testing.T) {
	s := queue()
	s.Activation, s.Min, s.Down = 10, 3, 0
	b := bench{t: t, p: train(1, s), now: noon}
	want(t, b.at(time.Second, b.says(10)), 0, "not above its activation threshold 10")
	want(t, b.at(time.Second, b.says(11)), 3)
	want(t, b.at(time.Second, b.says(-5)), 0)
}

func TestWithoutAValueWhatIsAskedForIsHeld(t *testing.T) {
	b := bench{t: t, p: train(1, queue()), now: noon}
	want(t, b.at(0, b.says(1200)), 12)
	got := b.at(time.Minute, b.fails("no answer"))
	want(t, got, 12, "as of 2026-11-23T12:00:00Z; no answer")
	if len(got.Problems) != 0 {
		t.Errorf("a value of a minute ago is no problem: %q", got.Problems)
	}
	for range 100 {
		got = b.at(time.Hour, b.fails("no answer"))
		want(t, got, 12, "on_error: hold -> 12 GPUs")
		if len(got.Problems) != 1 || !strings.Contains(got.Problems[0], "signal queue: no answer") {
			t.Fatalf("%q", got.Problems)
		}
	}
	b.now = b.now.Add(time.Minute)
	want(t, b.at(0, b.says(100)), 12)
	b.now = b.now.Add(5 * time.Minute)
	want(t, b.at(0, b.says(100)), 1)
}

func TestWithoutAValueMinComesThroughTheDownWindow(t *testing.T) {
	s := queue()
	s.OnError, s.Min = policy.OnErrorMin, 2
	b := bench{t: t, p: train(1, s), now: noon}
	want(t, b.at(0, b.says(1200)), 12)
	want(t, b.at(3*time.Minute, b.fails("no answer")), 12, "on_error: min -> 2 GPUs, held at 12")
	want(t, b.at(5*time.Minute, b.fails("no answer")), 2)
}

func TestWithoutAValueTheLastOneGoesOn(t *testing.T) {
	s := queue()
	s.OnError = policy.OnErrorLast
	b := bench{t: t, p: train(1, s), now: noon}
	want(t, b.at(0, b.says(1200)), 12)
	b.now = b.now.Add(time.Minute)
	want(t, b.at(0, b.says(500)), 12)
	want(t, b.at(time.Hour, b.fails("no answer")), 5, "on_error: last")
}

func TestASignalThatWasNeverReadHoldsWhatRuns(t *testing.T) {
	for _, e := range []policy.OnError{policy.OnErrorHold, policy.OnErrorLast} {
		s := queue()
		s.OnError = e
		b := bench{t: t, p: train(1, s), now: noon, fleet: Fleet{Machines: 7}}
		want(t, b.at(0), 7, "not asked yet")
		want(t, b.at(time.Hour, b.fails("refused")), 7, "refused")
	}
}

func TestAnotherQueryIsNotAnsweredByTheOldOne(t *testing.T) {
	b := bench{t: t, p: train(1, queue()), now: noon}
	old := b.says(1200)
	want(t, b.at(time.Second, old), 12)
	b.p.Demand.Signals[0].Prometheus.Query = "sum(other)"
	got := b.at(time.Second, old)
	want(t, got, 12, "not asked yet")
	if len(got.Problems) == 0 {
		t.Error("a value of another query counts")
	}
}

func TestSeveralSignalsAndWindowsCombineByTheMost(t *testing.T) {
	other := queue()
	other.Name, other.PerGPU = "other", 10
	p := train(1, queue(), other)
	p.Demand.Schedule = []policy.Window{{From: "0 12 * * *", For: time.Hour, Machines: 4}}
	b := bench{t: t, p: p, now: noon}
	two := b.says(70)
	two.Signal = "other"
	got := b.at(0, b.says(500), two)
	want(t, got, 7, "signal other: 70 / 10 per GPU")
	if len(got.Parts) != 3 {
		t.Errorf("%+v", got.Parts)
	}
}

func TestMinAndMaxBoundAll(t *testing.T) {
	p := train(2, queue())
	p.Demand.Min, p.Demand.Max = 2, 5
	p.Demand.Signals[0].Max = 50
	b := bench{t: t, p: p, now: noon}
	want(t, b.at(0, b.says(0)), 4, "raised to min (4 GPUs)")
	want(t, b.at(0, b.says(1e300)), 10, "cut to max (10 GPUs)")
}

func TestAnOverrideHoldsUntilItsEndAndNotAboveMax(t *testing.T) {
	b := bench{t: t, p: train(2, queue()), now: noon}
	b.overrides = []Override{{Policy: "train", GPUs: 5, Since: noon, Until: noon.Add(time.Hour), By: "operator", Reason: "demo"}}
	got := b.at(0, b.says(2000))
	want(t, got, 6, "set by the operator until 2026-11-23T13:00:00Z (demo)")
	if got.Source != ByHand || got.Override == nil {
		t.Errorf("%+v", got)
	}
	b.now = noon.Add(time.Hour - time.Nanosecond)
	want(t, b.at(0, b.says(2000)), 6)
	b.now = noon.Add(time.Hour)
	want(t, b.at(0, b.says(2000)), 20)
	b.overrides[0] = Override{Policy: "train", GPUs: 1000, Since: noon, By: "operator"}
	want(t, b.at(0, b.says(2000)), 40, "cut to max (40 GPUs)", "until cleared")
	b.overrides[0].Cleared = true
	want(t, b.at(0, b.says(2000)), 20)
}

func TestANumberCanBeOverriddenDownwardsOnly(t *testing.T) {
	p := policy.Policy{Name: "train", Target: 3, Shape: market.Shape{GPUs: 2}}
	b := bench{t: t, p: p, now: noon, overrides: []Override{{Policy: "train", GPUs: 0, By: "operator"}}}
	want(t, b.at(0), 0)
	b.overrides[0].GPUs = 100
	want(t, b.at(0), 6, "cut to max")
	b.overrides = nil
	want(t, b.at(0), 6)
}

func TestResolvingKeepsTheMostThatCanBeWanted(t *testing.T) {
	p := policy.Policy{Name: "train", Target: 3, Shape: market.Shape{GPUs: 2}}
	out := Resolve(Input{Now: noon, Policies: []policy.Policy{p}, Overrides: []Override{{Policy: "train", By: "operator"}}, Fleet: func(string) Fleet { return Fleet{} }})
	if got := out.Policies[0]; got.Target != 0 || got.MaxTarget() != 3 {
		t.Errorf("wants %d machines, at most %d", got.Target, got.MaxTarget())
	}
}

func TestTheNextEdgeIsThatOfAWindowOrAnOverride(t *testing.T) {
	p := train(1)
	p.Demand.Schedule = []policy.Window{{From: "0 8 * * *", For: 5 * time.Hour, Machines: 4}}
	o := []Override{{Policy: "train", Until: noon.Add(30 * time.Minute)}, {Policy: "other"}}
	if got := Edge([]policy.Policy{p}, nil, noon); !got.Equal(noon.Add(time.Hour)) {
		t.Errorf("the window ends at %s", got)
	}
	if got := Edge([]policy.Policy{p}, o, noon); !got.Equal(noon.Add(30 * time.Minute)) {
		t.Errorf("the override ends at %s", got)
	}
	if got := Edge(nil, o, noon.Add(time.Hour)); !got.IsZero() {
		t.Errorf("an edge at %s", got)
	}
}

// Whatever a signal says, in whatever order and with whatever failures, the target
// stays between 0 and max, its parts between their own bounds, and the windows keep
// their word.
func TestNoSignalRaisesTheTargetAboveMaxNorDipsWithinAWindow(t *testing.T) {
	values := []float64{0, 1, 99, 100, 101, 830, 1e9, 1e308, math.Inf(1), math.Inf(-1), math.NaN(), -1e300, math.SmallestNonzeroFloat64}
	rapid.Check(t, func(t *rapid.T) {
		s := queue()
		s.Up = time.Duration(rapid.IntRange(0, 5).Draw(t, "up")) * time.Minute
		s.Down = time.Duration(rapid.IntRange(0, 10).Draw(t, "down")) * time.Minute
		s.Max = rapid.IntRange(0, 20).Draw(t, "signal max")
		s.Min = rapid.IntRange(0, 5).Draw(t, "signal min")
		s.OnError = rapid.SampledFrom([]policy.OnError{policy.OnErrorHold, policy.OnErrorMin, policy.OnErrorLast}).Draw(t, "on error")
		if rapid.Bool().Draw(t, "value") {
			s.PerGPU, s.TargetValue = 0, 50
		}
		p := train(rapid.IntRange(1, 4).Draw(t, "gpus"), s)
		p.Demand.Max = rapid.IntRange(0, 15).Draw(t, "max")
		p.Demand.Min = rapid.IntRange(0, 4).Draw(t, "min")
		b := bench{t: t, p: p, now: noon}
		type step struct {
			at   time.Time
			want int
		}
		var wants []step // of the signal, before min and max
		for range rapid.IntRange(1, 30).Draw(t, "cycles") {
			b.now = b.now.Add(time.Duration(rapid.IntRange(1, 240).Draw(t, "later")) * time.Second)
			b.fleet = Fleet{Machines: rapid.IntRange(0, 30).Draw(t, "have"), Ready: rapid.IntRange(0, 30).Draw(t, "ready")}
			if rapid.IntRange(0, 9).Draw(t, "by hand") == 0 {
				b.overrides = []Override{{Policy: "train", GPUs: rapid.IntRange(-5, 1000).Draw(t, "override"), Until: b.now.Add(time.Minute), By: "operator"}}
			}
			var got Outcome
			switch rapid.IntRange(0, 3).Draw(t, "reading") {
			case 0:
				got = b.at(0, b.fails("no answer"))
			case 1:
				got = b.at(0)
			default:
				got = b.at(0, b.says(rapid.SampledFrom(values).Draw(t, "value")))
			}
			if got.GPUs < 0 || got.GPUs > p.MaxTarget()*p.Shape.GPUs || got.GPUs%p.Shape.GPUs != 0 {
				t.Fatalf("%d GPUs are wanted, at most %d: %s", got.GPUs, p.MaxTarget()*p.Shape.GPUs, got.Why)
			}
			m := b.memories[0]
			if m.Want < 0 || m.Want > s.Max {
				t.Fatalf("the signal wants %d machines, at most %d", m.Want, s.Max)
			}
			if !slices.IsSortedFunc(m.Highs, func(a, b Level) int { return b.Machines - a.Machines }) || !slices.IsSortedFunc(m.Lows, func(a, b Level) int { return a.Machines - b.Machines }) {
				t.Fatalf("%+v", m)
			}
			// A fall is to no less than what was wanted, or less than it, within the window.
			raw := m.Highs[len(m.Highs)-1].Machines
			wants = append(wants, step{b.now, raw})
			most := raw
			for i := range wants[:len(wants)-1] {
				if wants[i+1].at.After(b.now.Add(-s.Down)) { // in force until then
					most = max(most, wants[i].want)
				}
			}
			if len(wants) > 1 && m.Want > max(most, s.Max) || m.Want < min(most, s.Max) && m.Want < m.Lows[0].Machines {
				t.Fatalf("%d machines are wanted; the window holds %d", m.Want, most)
			}
		}
	})
}
