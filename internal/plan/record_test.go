package plan

import (
	"math"
	"math/rand"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
)

// sees lets so much time pass and shows the machines again.
func sees(in *Input, after time.Duration, list ...market.Instance) {
	in.Now = in.Now.Add(after)
	observed(in, list...)
}

func as(m Machine, s market.Status) market.Instance {
	i := shown(m)
	i.Status = s
	return i
}

func orderOf(m Machine) Machine {
	m.Phase, m.Status, m.ReadyAt, m.StatusAt = PhaseAccepted, market.StatusUnknown, time.Time{}, time.Time{}
	m.OrderedAt, m.DeployIntent = t0, 1
	return m
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if math.Abs(got-want) > tolerance {
		t.Errorf("%s is %g, want %g", what, got, want)
	}
}

func TestALifeOfAMachineIsInTheRecordOfItsHost(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := orderOf(newMachine(p, 1, "a", "0.20"))
	in.History.Machines = []Machine{m}
	sees(&in, time.Minute, as(m, market.StatusStarting))
	sees(&in, 3*time.Minute, as(m, market.StatusRunning))
	for range 120 {
		sees(&in, time.Minute, as(m, market.StatusRunning))
	}
	sees(&in, time.Minute, as(m, market.StatusUnknown)) // may run on
	sees(&in, time.Minute, as(m, market.StatusOutbid))
	sees(&in, time.Hour, as(m, market.StatusOutbid))
	sees(&in, time.Minute, as(m, market.StatusUnknown))
	sees(&in, time.Minute, as(m, market.StatusOutbid)) // the same loss
	sees(&in, time.Minute, as(m, market.StatusRunning))
	sees(&in, 30*time.Minute, as(m, market.StatusRunning))
	sees(&in, time.Minute, as(m, market.StatusStopped))
	sees(&in, 20*time.Minute, as(m, market.StatusRunning))
	r := in.History.Record("a", rtx4090, in.Now)
	near(t, "launches", r.Launches.Float(), 1, 0.05)
	near(t, "boots", r.Boots.Float(), 1, 0.05)
	near(t, "time to boot", r.BootHours.Float(), 4.0/60, 0.005)
	near(t, "hours", r.Hours.Float(), 122.0/60+31.0/60, 0.05)
	near(t, "losses", r.Losses.Float(), 2, 0.05)
	near(t, "outbids", r.Outbids.Float(), 1, 0.05)
	near(t, "outage", r.Outage.Float(), 20.0/60, 0.005)
	if r.Strikes != 1 {
		t.Errorf("%d strikes", r.Strikes)
	}
	if len(in.History.Hosts) != 1 {
		t.Errorf("%+v", in.History.Hosts)
	}
}

func TestWhatWeEndAndWhatAnEmptyAccountEndsIsNoLoss(t *testing.T) {
	p := newPolicy("p", 1)
	for name, change := range map[string]func(*Input){
		"deleted by us": func(in *Input) {
			in.History.Machines[0].Leaving = &PendingDelete{Intent: 9, At: in.Now, Code: ReasonOverTarget}
			in.History.Machines[0].Phase = PhaseDeleting
		},
		"no money": func(in *Input) { in.Snapshot.Balance.Value.Balance = market.Some(market.Amount(0)) },
	} {
		in := newInput(nil, p)
		m := newMachine(p, 1, "a", "0.20")
		in.History.Machines = []Machine{m}
		sees(&in, 0, shown(m))
		sees(&in, time.Hour, shown(m))
		change(&in)
		sees(&in, time.Minute, as(m, market.StatusStopped))
		for range 5 {
			sees(&in, time.Minute, stranger())
		}
		if r := in.History.Record("a", rtx4090, in.Now); r.Losses != 0 || r.Strikes != 0 || r.Outage != 0 || r.Hours < Once {
			t.Errorf("%s: %+v", name, r)
		}
		if len(in.History.Machines) != 0 {
			t.Errorf("%s: the machine is still there", name)
		}
	}
}

// Spot that the market itself has ended is a loss like any other, but no fault of its
// host: one whose GPUs come and go all day is not left alone for days.
func TestSpotThatTheMarketEndsIsALossAndNoStrike(t *testing.T) {
	p := newPolicy("p", 1)
	for _, c := range []struct {
		capacity market.Capacity
		gone     bool
		strikes  int
		outbids  float64
	}{{market.Spot, true, 0, 1}, {market.Spot, false, 1, 0}, {market.OnDemand, true, 1, 0}} {
		in := newInput(nil, p)
		m := newMachine(p, 1, "a", "0.20")
		m.Capacity = c.capacity
		in.History.Machines = []Machine{m}
		sees(&in, 0, shown(m))
		sees(&in, 10*time.Minute, shown(m))
		if c.gone {
			in.Snapshot.Gone = []string{m.ID}
		}
		for range 5 {
			sees(&in, time.Minute, stranger())
		}
		r := in.History.Record("a", rtx4090, in.Now)
		near(t, "losses", r.Losses.Float(), 1, 0.05)
		near(t, "outbids", r.Outbids.Float(), c.outbids, 0.05)
		if r.Strikes != c.strikes {
			t.Errorf("%+v: %d strikes", c, r.Strikes)
		}
	}
	in := newInput(nil, p)
	m := orderOf(newMachine(p, 1, "a", "0.20"))
	in.History.Machines = []Machine{m}
	sees(&in, time.Minute, as(m, market.StatusStarting)) // and is lost before it runs
	in.Snapshot.Gone = []string{m.ID}
	for range 5 {
		sees(&in, time.Minute, stranger())
	}
	if r := in.History.Record("a", rtx4090, in.Now); r.Strikes != 0 || r.Launches != Once || r.Boots != 0 {
		t.Errorf("lost while booting: %+v", r)
	}
}

func TestAQuietLookChangesNoRecord(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	in.History.Machines = []Machine{m}
	sees(&in, 0, shown(m))
	sees(&in, creditStep, shown(m))
	before, n := slices.Clone(in.History.Hosts), 0
	for range 60 {
		sees(&in, time.Minute, shown(m))
		if !slices.Equal(before, in.History.Hosts) {
			before, n = slices.Clone(in.History.Hosts), n+1
		}
	}
	if n != 6 {
		t.Errorf("the record changed %d times in an hour", n)
	}
}

func TestAHostThatFailsThreeTimesInARowIsLeftAlone(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 4, "0.20")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "a", "0.20")}
	in.Safety.BreakerNeverUp = 0
	for i := 1; i <= 4; i++ {
		in.History.Backoffs = nil
		m := orderOf(newMachine(p, i, "a", "0.20"))
		m.OrderedAt = in.Now
		in.History.Machines = []Machine{m}
		for len(in.History.Machines) > 0 {
			sees(&in, time.Minute, stranger())
		}
		in.History.Backoffs, in.Snapshot.Hosts.At = nil, in.Now
		left := in.History.Records(in.Now).Quarantined("a", rtx4090).Sub(in.Now)
		want := map[int]time.Duration{3: quarantineFirst, 4: 2 * quarantineFirst}[i]
		if left := max(left, 0); left != want {
			t.Errorf("after %d failures it is left alone for %s, not %s", i, left, want)
		}
		plan := Compute(in)
		if deploys := len(actions(plan, Deploy)); deploys != map[bool]int{true: 1, false: 0}[want == 0] {
			t.Errorf("after %d failures: %d deploys", i, deploys)
		}
		if want > 0 && plan.Standings[0].Funnel.Backoff != 1 {
			t.Errorf("%+v", plan.Standings[0].Funnel)
		}
	}
	in.Now = in.Now.Add(2 * quarantineFirst)
	if len(actions(Compute(in), Deploy)) != 1 {
		t.Error("it is left alone for ever")
	}
}

func TestAMachineThatRunsForAnHourEndsTheRowOfFailures(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.20")
	in.History.Machines = []Machine{m}
	in.History.Hosts = []HostRecord{{Host: "a", Model: rtx4090, At: t0, Strikes: 2}}
	sees(&in, 0, as(m, market.StatusStarting))
	sees(&in, time.Minute, shown(m))
	sees(&in, 50*time.Minute, shown(m))
	if n := in.History.Hosts[0].Strikes; n != 2 {
		t.Errorf("%d strikes before an hour", n)
	}
	sees(&in, 11*time.Minute, shown(m))
	if n := in.History.Hosts[0].Strikes; n != 0 {
		t.Errorf("%d strikes after an hour", n)
	}
}

func TestExperienceFadesByHalfInAWeekHoweverItIsLookedAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Faded(number(t, "count", 0, 1e13))
		a, b := number(t, "hours", 0, 2000), number(t, "more hours", 0, 2000)
		if d := f.fade(a).fade(b) - f.fade(a+b); math.Abs(d.Float()) > 1e-5+f.Float()*1e-7 {
			t.Fatalf("%d off", d)
		}
		if got, want := f.fade(a).Float(), f.Float()*math.Exp2(-float64(a)/168); math.Abs(got-want) > 1e-6+want*1e-7 {
			t.Fatalf("%g, want %g", got, want)
		}
	})
	if f := Faded(math.MaxInt64).fade(math.MaxInt64 / int64(time.Hour)); f != 0 {
		t.Error(f)
	}
}

func TestARecordIsForgottenWhenItHasFaded(t *testing.T) {
	in := newInput(nil)
	in.History.Hosts = []HostRecord{
		{Host: "old", Model: rtx4090, At: t0.Add(-10 * RecordHalfLife), Launches: 10 * Once, Hours: 30 * Once},
		{Host: "much", Model: rtx4090, At: t0.Add(-10 * RecordHalfLife), Hours: 1000 * Once},
		{Host: "quarantined", Model: rtx4090, At: t0.Add(-10 * RecordHalfLife), Quarantine: t0.Add(time.Hour)},
	}
	observed(&in)
	var names []string
	for _, r := range in.History.Hosts {
		names = append(names, r.Host)
	}
	if !slices.Equal(names, []string{"much", "quarantined"}) {
		t.Error(names)
	}
}

func TestRecordsAreBounded(t *testing.T) {
	in := newInput(nil)
	for i := range maxRecords + 10 {
		in.History.Hosts = append(in.History.Hosts, HostRecord{Host: nameOf("h", i), Model: rtx4090, At: t0, Hours: Faded(i) * Once})
	}
	in.History.Hosts[0].Quarantine = t0.Add(time.Hour)
	observed(&in)
	rs := in.History.Records(t0)
	if len(in.History.Hosts) != maxRecords || rs.Of(nameOf("h", 5), rtx4090).Hours != 0 || rs.Of(nameOf("h", 20), rtx4090).Hours == 0 ||
		rs.Quarantined(nameOf("h", 0), rtx4090).IsZero() {
		t.Errorf("%d records", len(in.History.Hosts))
	}
}

func TestWithoutExperienceThePriorsHold(t *testing.T) {
	rs := (&History{}).Records(t0)
	near(t, "hazard", rs.Hazard("a", rtx4090), 1.0/24, 1e-8)
	near(t, "success", rs.Success("a", rtx4090), 1, 0)
	if d := rs.TimeToReady("a", rtx4090); d.Round(time.Millisecond) != priorBoot {
		t.Error(d)
	}
}

func TestAHostIsJudgedByItselfThenItsModelThenAll(t *testing.T) {
	h := History{Hosts: []HostRecord{
		{Host: "bad", Model: rtx4090, At: t0, Hours: 100 * Once, Losses: 50 * Once, Launches: 10 * Once, Boots: 5 * Once, BootHours: 5 * Once / 2},
		{Host: "good", Model: rtx4090, At: t0, Hours: 900 * Once, Losses: 0, Launches: 10 * Once, Boots: 10 * Once, BootHours: 10 * Once / 60},
		{Host: "x", Model: "other", At: t0, Hours: 10 * Once, Losses: 9 * Once},
	}}
	rs := h.Records(t0)
	bad, good := rs.Hazard("bad", rtx4090), rs.Hazard("good", rtx4090)
	unknown, other, new := rs.Hazard("new", rtx4090), rs.Hazard("new", "other"), rs.Hazard("new", "new")
	if !(good < unknown && unknown < bad && unknown < new && new < other) {
		t.Errorf("%g %g %g %g %g", good, unknown, bad, new, other)
	}
	near(t, "the pool's hazard", new, 60.0/1034, 1e-6)
	if rs.TimeToReady("bad", rtx4090) < 20*time.Minute || rs.TimeToReady("good", rtx4090) > 3*time.Minute {
		t.Error(rs.TimeToReady("bad", rtx4090), rs.TimeToReady("good", rtx4090))
	}
	if rs.Success("bad", rtx4090) > 0.6 || rs.Success("good", rtx4090) < 0.9 {
		t.Error(rs.Success("bad", rtx4090), rs.Success("good", rtx4090))
	}
}

// A market in which everything happens teaches the same whatever the order of its lists.
func TestRecordsAreTheSameWhateverTheOrderOfTheLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		a, b := in, in
		a.History, b.History = in.History.Clone(), in.History.Clone()
		for range number(t, "looks", 1, 8) {
			step := pick(t, "step", time.Minute, 20*time.Minute, 3*time.Hour, 40*time.Hour)
			list := drawList(t, a)
			for i, x := range []*Input{&a, &b} {
				x.Now = x.Now.Add(step)
				x.Snapshot.Instances = market.Section[[]market.Instance]{Value: list, At: x.Now, Complete: true}
				if i == 1 {
					*x = shuffled(*x, number(t, "seed", 0, math.MaxInt32))
				}
				Observe(&x.History, look(*x))
			}
		}
		if x, y := asJSON(t, a.History.Hosts), asJSON(t, b.History.Hosts); x != y {
			t.Fatalf("%s\n%s", x, y)
		}
		for _, r := range a.History.Hosts {
			for _, c := range r.counts() {
				if *c < 0 {
					t.Fatalf("%+v", r)
				}
			}
		}
		b = shuffled(b, 1)
		x, y := a.History.Records(a.Now), b.History.Records(b.Now)
		for _, host := range []string{"host-00", "host-01", "none"} {
			if x.Hazard(host, rtx4090) != y.Hazard(host, rtx4090) || x.TimeToReady(host, rtx4090) != y.TimeToReady(host, rtx4090) {
				t.Fatal("the order of records changes what is believed")
			}
		}
	})
}

// What is added within an hour may be added in any order.
func TestWhatHappensInAnHourMayHappenInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		start := HostRecord{Host: "a", Model: rtx4090, At: t0, Hours: 7 * Once, Losses: Once / 3}
		var when []time.Duration
		for range number(t, "events", 1, 10) {
			when = append(when, time.Duration(number(t, "minute", 60, 119))*time.Minute)
		}
		run := func(order []int) HostRecord {
			r := start
			for _, i := range order {
				r.age(t0.Add(when[i]))
				*r.counts()[i%len(r.counts())] += Faded(i+1) * Once
			}
			return r
		}
		order := rand.New(rand.NewSource(number(t, "seed", 0, 1000))).Perm(len(when))
		if a, b := run(order), run(slices.Sorted(slices.Values(order))); a != b {
			t.Fatalf("%+v\n%+v", a, b)
		}
	})
}

// BenchmarkRecords is what the records cost each plan.
func BenchmarkRecords(b *testing.B) {
	var h History
	for i := range 1000 {
		h.Hosts = append(h.Hosts, HostRecord{Host: nameOf("h", i), Model: rtx4090, At: t0.Add(-time.Duration(i) * time.Hour), Hours: 5 * Once})
	}
	for b.Loop() {
		h.Records(t0)
	}
}
