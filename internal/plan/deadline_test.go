package plan

import (
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// job wants 20 GPU-hours within ten hours, with at most 8 GPUs at once.
func job() policy.Policy {
	p := both(8)
	p.Deadline = policy.Deadline{Work: 20 * time.Hour, By: t0.Add(10 * time.Hour)}
	return p
}

// jobAt is the world so many hours later, when so many GPU-hours are done.
func jobAt(p policy.Policy, hours, done float64) Input {
	in := newInput([]market.Host{newHost("a", 8, "0.40")}, p)
	in.HourlyCap = usd("9")
	in.Now = t0.Add(time.Duration(hours * float64(time.Hour)))
	in.History.Progress = []Progress{{Policy: "p", By: t0.Add(10 * time.Hour), Since: t0, Done: time.Duration(done * float64(time.Hour)), At: in.Now}}
	return in
}

func TestADeadlineAsksForAsManyMachinesAsItNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		hours, done float64
		want        int
		hold        string
	}{
		"at the beginning":          {0, 0, 3, ""}, // 20 / (10 - 3 min): a little above 2
		"half way, even":            {5, 10, 3, ""},
		"half way, ahead":           {5, 16, 1, ""},
		"half way, nothing done":    {5, 0, 5, ""},
		"late, and all that may be": {8, 6, 8, ""},
		"too late for what may be":  {9, 0, 8, HoldDeadline},
		"done":                      {5, 20, 0, ""},
		"passed, and not done":      {10, 19, 0, HoldDeadline},
		"nothing can boot any more": {9.97, 19, 8, HoldDeadline},
	} {
		got := Compute(jobAt(job(), c.hours, c.done))
		if got.Standings[0].Target != c.want || (len(holds(got, HoldDeadline)) > 0) != (c.hold != "") {
			t.Errorf("%s: target %d, want %d; %+v", name, got.Standings[0].Target, c.want, got.Holds)
		}
	}
}

func TestOnDemandCoversOnlyWhatADeadlineIsBehindWith(t *testing.T) {
	for done, want := range map[float64]string{9: "deploy on_demand", 11: ""} {
		_, got := converse(jobAt(job(), 5, done), never)
		first := ""
		if texts := does(got); len(texts) > 0 {
			first = texts[0]
		}
		if first != want {
			t.Errorf("with %.0f of 10 GPU-hours done by half time: %v %+v", done, does(got), got.Holds)
		}
		if want == "" {
			wantHold(t, got, HoldFallback)
		}
	}
}

func TestWhatRanBetweenTwoListsIsDelivered(t *testing.T) {
	p := job()
	in := newInput(nil, p)
	a, b := onSpot(p, 1), booting(onSpot(p, 2), time.Minute)
	in.History.Machines = []Machine{a, b}
	step := func(list ...market.Instance) time.Duration {
		in.Now = in.Now.Add(30 * time.Minute)
		observed(&in, list...)
		return in.History.Progress[0].Done
	}
	ready := shown(b)
	ready.Status = market.StatusRunning
	outbid := shown(a)
	outbid.Status = market.StatusOutbid
	for i, c := range []struct {
		list []market.Instance
		want time.Duration
	}{
		{[]market.Instance{shown(a), shown(b)}, 0}, // the first look: since when it counts
		{[]market.Instance{shown(a), ready}, 30 * time.Minute},
		{[]market.Instance{shown(a), ready}, 90 * time.Minute},
		{[]market.Instance{outbid, ready}, 120 * time.Minute}, // it may have been lost at once
	} {
		if got := step(c.list...); got != c.want {
			t.Errorf("look %d: %s, want %s", i, got, c.want)
		}
	}
	in.Now = in.Now.Add(time.Hour)
	in.Snapshot.Instances = market.Section[[]market.Instance]{At: in.Now}
	Observe(&in.History, look(in))
	if got := in.History.Progress[0].Done; got != 120*time.Minute {
		t.Errorf("without a list: %s", got)
	}
	if got := step(outbid, ready); got != 210*time.Minute { // it ran before and after
		t.Errorf("with a list again: %s", got)
	}
}

func TestANewDeadlineBeginsAnewOnlyWhenTheOldOneHasPassed(t *testing.T) {
	for later, want := range map[time.Duration]time.Duration{time.Hour: 7 * time.Hour, 11 * time.Hour: 0} {
		p := job()
		in := jobAt(p, 0, 7)
		in.Now = t0.Add(later)
		in.History.Progress[0].At = in.Now
		in.Policies[0].Deadline.By = t0.Add(48 * time.Hour)
		observed(&in)
		if got := in.History.Progress[0]; got.Done != want || !got.By.Equal(t0.Add(48*time.Hour)) {
			t.Errorf("after %s: %+v", later, got)
		}
	}
}

func TestAMachineBarelyNeededIsKept(t *testing.T) {
	for _, c := range []struct {
		need       float64
		have, want int
	}{{2.01, 0, 3}, {2, 0, 2}, {1.95, 3, 3}, {1.7, 3, 2}, {1.95, 4, 2}, {0, 0, 0}, {0.5, 1, 1}} {
		if got := wholeMachines(c.need, c.have); got != c.want {
			t.Errorf("%v needed, %d run: %d, want %d", c.need, c.have, got, c.want)
		}
	}
}
