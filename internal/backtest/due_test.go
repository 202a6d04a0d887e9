package backtest

import (
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// dueSet wants so many GPU-hours of four GPUs at once, at some time that has nothing to
// do with the tape.
func dueSet(t testing.TB, hours int) policy.Set {
	s := set(t, "spot_with_fallback", 4)
	s.Policies[0].Deadline = policy.Deadline{Work: time.Duration(hours) * time.Hour, By: time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)}
	return s
}

// thirds is a pool of four GPUs that is there for one hour of three.
func thirds(length time.Duration) *tape.Tape {
	tp := constant(length, 0)
	for at := time.Duration(0); at < length; at += 3 * time.Hour {
		tp.Pools[0].Free = append(tp.Pools[0].Free, tape.Step[int]{At: at + time.Hour, Value: 4}, tape.Step[int]{At: at + 2*time.Hour, Value: 0})
	}
	return tp
}

func contest(t *testing.T, tp *tape.Tape, s policy.Set) []Played {
	t.Helper()
	c := Contest{Tape: Due(tp, &s), Cycle: time.Minute, Contestants: []Contestant{{"tdscaler", s}}}
	out, err := c.Play(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestWorkByATimeIsDoneInTimeAndNotMuchMoreIsPaidThanMust(t *testing.T) {
	for name, c := range map[string]struct {
		tape  *tape.Tape
		hours int
		most  float64 // J/J*
	}{
		"spot all the time":             {constant(24*time.Hour, 4), 48, 1.02},
		"spot in one hour of three":     {thirds(24 * time.Hour), 48, 1.45},
		"no spot at all":                {constant(24*time.Hour, 0), 48, 1.05},
		"hardly anything of it is spot": {thirds(24 * time.Hour), 90, 1.10},
	} {
		played := contest(t, c.tape, dueSet(t, c.hours))
		us := played[0].Result
		if us.Target != float64(c.hours) || us.Delivered != us.Target || us.Availability != 1 || us.J != us.Cost {
			t.Errorf("%s: %+v", name, us)
		}
		if ratio := us.JRatio.Or(0); ratio < 1 || ratio > c.most {
			t.Errorf("%s: J/J* %.4f", name, ratio)
		}
		if len(played[0].Optimum) == 0 {
			t.Errorf("%s: there is no optimum to show", name)
		}
		for _, p := range played[1:] {
			if p.Target != us.Target || p.Delivered > p.Target || p.JRatio.Or(0) < 1-1e-6 {
				t.Errorf("%s: %s comes to %+v", name, p.Name, p.Result)
			}
			if p.Name == "uniform_progress" || p.Name == "on_demand_only" {
				if p.Delivered < 0.999*p.Target {
					t.Errorf("%s: %s delivers %.3f of %.0f", name, p.Name, p.Delivered, p.Target)
				}
			}
			t.Logf("%s: %s %.1f GPUh for %s, J/J* %.4f (we %s, %.4f)", name, p.Name, p.Delivered, p.Cost, p.JRatio.Or(0), us.Cost, us.JRatio.Or(0))
		}
	}
}

func TestWorkThatCannotBeDoneIsMissingAtTheEnd(t *testing.T) {
	s := dueSet(t, 100)
	r := run(t, *dueIn(&s, constant(10*time.Hour, 4)), constant(10*time.Hour, 4))
	// All four from the first second on: 39.8 GPU-hours, and 60.2 are missing.
	if r.Target != 100 || r.Delivered != 39.8 || r.Cost != 36_720_000_000 || r.J != r.Cost.Add(onDemand.Mul(2).For(60*time.Hour+12*time.Minute)) {
		t.Errorf("%+v", r.Result)
	}
}

func dueIn(s *policy.Set, tp *tape.Tape) *policy.Set {
	Due(tp, s)
	return s
}

func TestADeadlineWithinTheTapeEndsIt(t *testing.T) {
	tp := constant(24*time.Hour, 4)
	s := dueSet(t, 8)
	s.Policies[0].Deadline.By = tp.Start.Add(6 * time.Hour)
	cut := Due(tp, &s)
	if cut.Length != 6*time.Hour || !s.Policies[0].Deadline.By.Equal(tp.Start.Add(6*time.Hour)) {
		t.Errorf("it lasts %s, and is due %s", cut.Length, s.Policies[0].Deadline.By)
	}
	if r := run(t, s, cut); r.Delivered != 8 || r.J > onDemand.For(9*time.Hour) {
		t.Errorf("%+v", r.Result)
	}
	other := set(t, "spot", 4) // who wants no work by a time has all of it
	if all := Due(tp, &s, &other); all.Length != 24*time.Hour {
		t.Errorf("it ends after %s", all.Length)
	}
	two := dueSet(t, 8)
	two.Policies = append(two.Policies, two.Policies[0])
	if fit, err := Fit(two, 0, nil); err != nil || fit.Policies[0].Deadline.Work != 0 {
		t.Errorf("beside another policy it is due all the same: %v", err)
	}
}
