package plan

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// both wants n machines, on spot if it can, on demand up to 0.60 if it must.
func both(n int) policy.Policy {
	p := newPolicy("p", n)
	p.Capacity, p.Fallback = policy.SpotWithFallback, policy.Fallback{MaxPremium: 0.5}
	return p
}

// demanded is a running on-demand machine of the policy.
func demanded(p policy.Policy, i int) Machine {
	m := newMachine(p, i, "d", "0.40")
	m.Capacity, m.Bid, m.Reserved = market.OnDemand, market.Maybe[market.Rate]{}, usd("0.50")
	return m
}

func onSpot(p policy.Policy, i int) Machine {
	m := newMachine(p, i, "a", "0.20")
	m.Capacity = market.Spot
	return m
}

// booting makes it a machine that was ordered so long ago and does not run yet.
func booting(m Machine, since time.Duration) Machine {
	m.Status, m.OrderedAt, m.StatusAt, m.ReadyAt = market.StatusStarting, t0.Add(-since), t0.Add(-since), time.Time{}
	return m
}

func never(market.Question) bool  { return false }
func always(market.Question) bool { return true }

// does lists what a plan does: verb and capacity.
func does(p Plan) (out []string) {
	for _, a := range p.Actions {
		out = append(out, string(a.Kind)+" "+string(a.Capacity))
	}
	return out
}

func TestOnDemandCoversWhatSpotDoesNot(t *testing.T) {
	hosts := []market.Host{newHost("a", 8, "0.40")}
	for name, c := range map[string]struct {
		machines func(p policy.Policy) []Machine
		wins     func(market.Question) bool
		want     []string
		reason   string
	}{
		"spot wins":                {nil, always, []string{"deploy spot", "deploy spot"}, ReasonBelowTarget},
		"spot never wins":          {nil, never, []string{"deploy on_demand", "deploy on_demand"}, ReasonFallback},
		"one runs on spot":         {func(p policy.Policy) []Machine { return []Machine{onSpot(p, 1)} }, never, []string{"deploy on_demand"}, ReasonFallback},
		"on-demand covers already": {func(p policy.Policy) []Machine { return []Machine{demanded(p, 1), demanded(p, 2)} }, never, nil, ""},
		"one runs on spot, on-demand is stopped to be resized": {func(p policy.Policy) []Machine {
			m := demanded(p, 2)
			m.Status, m.Parked = market.StatusStopped, &Parked{Intent: 9, At: t0, Done: true, Resize: true, To: m.Shape, Rate: m.Reserved, Until: t0.Add(time.Minute)}
			return []Machine{onSpot(p, 1), m}
		}, never, nil, ""},
		"on-demand runs, and spot is had": {func(p policy.Policy) []Machine { return []Machine{demanded(p, 1), demanded(p, 2)} }, always, []string{"deploy spot", "deploy spot"}, ReasonBelowTarget},
		"spot boots, on-demand goes on": {func(p policy.Policy) []Machine {
			return []Machine{demanded(p, 1), booting(onSpot(p, 2), time.Minute), onSpot(p, 3)}
		}, never, nil, ""},
		"spot is ready":       {func(p policy.Policy) []Machine { return []Machine{demanded(p, 1), onSpot(p, 2), onSpot(p, 3)} }, never, []string{"delete on_demand"}, ReasonSpotReady},
		"one of two is ready": {func(p policy.Policy) []Machine { return []Machine{demanded(p, 1), demanded(p, 4), onSpot(p, 2)} }, never, []string{"delete on_demand"}, ReasonSpotReady},
		"both boot, spot is sooner": {func(p policy.Policy) []Machine {
			return []Machine{booting(demanded(p, 1), time.Minute), booting(onSpot(p, 2), 2*time.Minute), onSpot(p, 3)}
		}, never, []string{"delete on_demand"}, ReasonSpotReady},
		"both boot, on-demand is there long before": {func(p policy.Policy) []Machine {
			return []Machine{booting(demanded(p, 1), 2*time.Minute), booting(onSpot(p, 2), 10*time.Second), onSpot(p, 3)}
		}, never, nil, ""},
	} {
		p := both(2)
		in := newInput(hosts, p)
		in.HourlyCap = usd("9")
		if c.machines != nil {
			in.History.Machines = c.machines(p)
		}
		_, got := converse(in, c.wins)
		wantTexts(t, name, does(got), c.want)
		for _, a := range got.Actions {
			if a.Reason.Code != c.reason {
				t.Errorf("%s: %+v", name, a.Reason)
			}
		}
		if len(got.Actions) == 0 && len(got.Holds) == 0 && !got.Standings[0].Satisfied {
			t.Errorf("%s: nothing is done, and nothing says why", name)
		}
	}
}

func wantTexts(t *testing.T, name string, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %q, want %q", name, got, want)
		return
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestOnDemandCostsAtMostTheCeilingAndItsPremium(t *testing.T) {
	for price, want := range map[string]int{"0.55": 1, "0.551": 1, "0.56": 0} { // 0.049 beside the GPU: 0.60 is the most
		p := both(1)
		in := newInput([]market.Host{newHost("a", 8, price)}, p)
		_, got := converse(in, never)
		if len(got.Actions) != want {
			t.Errorf("at %s: %v %v", price, does(got), got.Holds)
		}
		for _, a := range got.Actions {
			if a.Rate > usd("0.60") || a.Reserve != usd("0.60") {
				t.Errorf("at %s: %s, reserves %s", price, a.Rate, a.Reserve)
			}
		}
		p.Fallback.MaxPremium = 0
		if _, got := converse(newInput([]market.Host{newHost("a", 8, price)}, p), never); len(got.Actions) != 0 {
			t.Errorf("at %s without a premium: %v", price, does(got))
		}
	}
}

func TestTheFallbackWaitsAsLongAsItIsTold(t *testing.T) {
	p := both(1)
	p.Fallback.After = 5 * time.Minute
	in := newInput([]market.Host{newHost("a", 8, "0.40")}, p)
	for minute := range 8 {
		in.Now = t0.Add(time.Duration(minute) * time.Minute)
		observed(&in, stranger())
		_, got := converse(in, never)
		if bought := len(got.Actions) > 0; bought != (minute >= 5) {
			t.Errorf("after %d minutes: %v %v", minute, does(got), got.Holds)
		}
		if minute < 5 {
			wantHold(t, got, HoldFallback)
		}
	}
	m := onSpot(p, 1)
	in.History.Machines = []Machine{m}
	observed(&in, shown(m))
	if len(in.History.Short) != 0 {
		t.Errorf("spot is enough, and yet short: %v", in.History.Short)
	}
}

func TestWhereTheCapsLeaveNoRoomForBothOneOnDemandMachineMakesRoom(t *testing.T) {
	p := both(2)
	in := newInput([]market.Host{newHost("a", 8, "0.40")}, p)
	in.HourlyCap = usd("1.0") // the two of them
	in.History.Machines = []Machine{demanded(p, 1), demanded(p, 2)}
	_, got := converse(in, always)
	wantTexts(t, "no room", does(got), []string{"delete on_demand"})
	_, got = converse(in, never)
	wantTexts(t, "no room, and no bid wins", does(got), nil)
	in.History.Machines[0].Reserved, in.History.Machines[1].Reserved = usd("0.24"), usd("0.24")
	in.HourlyCap = usd("0.48")
	_, got = converse(in, func(q market.Question) bool { return q.Bid >= usd("0.21") })
	wantTexts(t, "no room, and little to save", does(got), nil)
}

func TestOneListThatNamesASpotMachineTwiceCostsNoOnDemand(t *testing.T) {
	p := both(2)
	in := newInput(nil, p)
	m, d := onSpot(p, 1), demanded(p, 2)
	in.History.Machines = []Machine{m, d}
	twin := shown(m)
	twin.ID = "twin"
	in.Now = in.Now.Add(time.Minute)
	listed := shown(d)
	observed(&in, shown(m), twin, listed)
	wantTexts(t, "twin", does(Compute(in)), nil)
}

func TestAnUnneededOnDemandMachineIsShieldedLikeAnyOther(t *testing.T) {
	for name, change := range map[string]func(p *policy.Policy, h *History){
		HoldProtected:   func(p *policy.Policy, h *History) { p.Protected = []string{h.Machines[0].Name} },
		HoldMinLifetime: func(p *policy.Policy, _ *History) { p.MinLifetime = 2 * time.Hour },
		HoldCooldown: func(p *policy.Policy, h *History) {
			p.Cooldown, h.Scaled = time.Hour, []Scaled{{Policy: "p", At: t0.Add(-time.Minute)}}
		},
	} {
		p := both(1)
		in := newInput(nil, p)
		in.History.Machines = []Machine{demanded(p, 1), onSpot(p, 2)}
		change(&in.Policies[0], &in.History)
		got := Compute(in)
		wantTexts(t, name, does(got), nil)
		wantHold(t, got, name)
	}
}

func TestSurgeReplacesWhatLeavesBeforeItsDeletionIsConfirmed(t *testing.T) {
	for surge, want := range map[int]int{0: 0, 1: 1, 5: 2} {
		p := newPolicy("p", 3)
		p.Surge = surge
		in := newInput([]market.Host{newHost("b", 8, "0.40")}, p)
		in.HourlyCap = usd("9")
		a, b := newMachine(p, 1, "a", "0.20"), newMachine(p, 2, "a", "0.20")
		a.Leaving, b.Leaving = &PendingDelete{At: t0, Code: ReasonOutbidForGood}, &PendingDelete{At: t0, Code: ReasonOutbidForGood}
		in.History.Machines = []Machine{a, b, newMachine(p, 3, "a", "0.20")}
		if _, got := converse(in, always); len(got.Actions) != want {
			t.Errorf("surge %d: %v %v", surge, does(got), got.Holds)
		}
	}
}

func TestWhatTheMarketSaysHasEndedIsGoneAtOnce(t *testing.T) {
	p := newPolicy("p", 4)
	for name, c := range map[string]struct {
		gone []string
		want int
	}{"the list alone": {nil, 2}, "the list, and the market when asked": {[]string{"id-p-1"}, 1}} {
		in := newInput(nil, p)
		a, b := newMachine(p, 1, "a", "0.20"), newMachine(p, 2, "a", "0.20")
		in.History.Machines = []Machine{a, b}
		ended := shown(a)
		ended.Status = market.StatusTerminated
		in.Snapshot.Gone = c.gone
		in.Now = in.Now.Add(time.Minute)
		observed(&in, ended, shown(b))
		if got := len(in.History.Machines); got != c.want {
			t.Errorf("%s: %d machines are left", name, got)
		}
	}
}

// An order that was taken and ended before any look showed it is not waited for: the
// market's word is enough, and its silence is not.
func TestAnOrderThatTheMarketEndsBeforeItIsSeenIsGoneAtOnce(t *testing.T) {
	p := newPolicy("p", 1)
	for name, c := range map[string]struct {
		phase Phase
		gone  []string
		want  int
	}{
		"the list alone":              {PhaseAccepted, nil, 1},
		"its word":                    {PhaseAccepted, []string{"id-p-1"}, 0},
		"its word of a lost answer's": {PhaseUnknown, []string{"id-p-1"}, 1},
	} {
		in := newInput(nil, p)
		m := orderOf(newMachine(p, 1, "a", "0.20"))
		m.Phase, m.SeenAt = c.phase, time.Time{}
		in.History.Machines = []Machine{m}
		in.Snapshot.Gone = c.gone
		in.Now = in.Now.Add(time.Minute)
		events := observed(&in, as(m, market.StatusTerminated))
		if got := len(in.History.Machines); got != c.want {
			t.Errorf("%s: %d machines are left", name, got)
		}
		settled := slices.ContainsFunc(events, func(e Event) bool { return e.Intent == m.DeployIntent && e.State == IntentExpired })
		if settled != (c.want == 0) {
			t.Errorf("%s: %+v", name, events)
		}
	}
}

func TestAHostThatComesAndGoesIsTrustedAgainWhenItHasSettled(t *testing.T) {
	for name, c := range map[string]struct {
		settle, lived time.Duration
		from          int // the minute from which spot is bought there
	}{
		"brief offers, no settling asked": {0, 20 * time.Minute, 0},
		"a brief offer":                   {15 * time.Minute, 20 * time.Minute, 15},
		"a long one":                      {15 * time.Minute, 2 * time.Hour, 0},
	} {
		p := both(1)
		p.Fallback.Settle = c.settle
		in := newInput([]market.Host{newHost("a", 8, "0.40")}, p)
		in.HourlyCap = usd("9")
		m, d := onSpot(p, 1), demanded(p, 2)
		m.OrderedAt = t0.Add(-c.lived)
		in.History.Machines = []Machine{m, d}
		ended := shown(m)
		ended.Status, in.Snapshot.Gone = market.StatusTerminated, []string{m.ID}
		observed(&in, ended, shown(d))
		for minute := range 20 {
			_, got := converse(in, always)
			if bought := len(got.Actions) > 0; bought != (minute >= c.from) {
				t.Errorf("%s: minute %d: %v %v", name, minute, does(got), got.Holds)
			}
			in.Now = in.Now.Add(time.Minute)
			in.Verdicts = nil
			observed(&in, shown(d))
		}
	}
}

func TestAnOfferGoesOnWhileAMachineOfOursBootsAndRunsThere(t *testing.T) {
	p := both(1)
	taken := newHost("a", 0, "0.40") // all that it had is ours
	in := newInput([]market.Host{taken}, p)
	began := t0.Add(-20 * time.Minute)
	m := booting(onSpot(p, 1), time.Minute)
	in.History.Machines = []Machine{m}
	in.History.Settling = []Settling{{Host: "a", Model: rtx4090, Lasted: 5 * time.Minute, Ended: began.Add(-time.Hour), Offered: began}}
	for range 20 {
		observed(&in, shown(in.History.Machines[0]))
		if got := in.History.Settling[0]; !got.Offered.Equal(began) || got.Lasted != 5*time.Minute {
			t.Fatalf("at %s: %+v, but the offer stands", in.Now, got)
		}
		in.Now = in.Now.Add(time.Minute)
		in.History.Machines[0].Status = market.StatusRunning
	}
	ended := shown(m)
	ended.Status, in.Snapshot.Gone = market.StatusTerminated, []string{m.ID}
	observed(&in, ended)
	if got := in.History.Settling[0]; got.Lasted != 40*time.Minute || !got.Offered.IsZero() {
		t.Errorf("%+v, but it lasted for 40 minutes and is over", got)
	}
}

func TestWhatLosesMachinesOftenIsChosenLast(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("calm", 8, "0.41"), newHost("wild", 8, "0.40")}, p)
	in.Verdicts = []market.Verdict{accepted(p, "calm", "0.23"), accepted(p, "wild", "0.22")}
	wantActions(t, Compute(in), "deploy wild below_target")
	in.History.Hosts = []HostRecord{{Host: "calm", Model: rtx4090, At: t0, Hours: 100 * Once}, {Host: "wild", Model: rtx4090, At: t0, Launches: 20 * Once, Boots: 20 * Once, BootHours: Once, Hours: 20 * Once, Losses: 40 * Once}}
	wantActions(t, Compute(in), "deploy calm below_target")
}

// goesOn says whether a machine delivers or will: what was asked to stop soon does not.
func goesOn(m *Machine) bool {
	return m.Leaving == nil && (m.Parked == nil || m.returning()) && (m.Ready() || m.booting())
}

func TestOnDemandNeverCoversMoreThanIsMissing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		p := Compute(in)
		for _, s := range p.Standings {
			pol := find(in, s.Policy)
			bought, delivers := 0, 0
			for i := range in.History.Machines {
				if m := &in.History.Machines[i]; m.Policy == s.Policy && goesOn(m) {
					delivers += m.Shape.GPUs
				}
			}
			for _, a := range p.Actions {
				switch {
				case a.Policy != s.Policy:
				case a.Kind == Deploy:
					delivers += a.Shape.GPUs
					if a.Capacity == market.OnDemand && pol.Capacity == policy.SpotWithFallback {
						bought += a.Shape.GPUs
					}
				case a.Kind == Delete:
					if m := in.History.Machine(a.Machine); goesOn(m) {
						delivers -= m.Shape.GPUs
					}
				}
			}
			if bought > 0 && delivers > s.Target {
				t.Fatalf("%s wants %d GPUs, buys %d on demand and would have %d", s.Policy, s.Target, bought, delivers)
			}
		}
	})
}

func TestAnOutbidSpotMachineIsTendedWhileOnDemandCoversForIt(t *testing.T) {
	p := both(1)
	in := newInput([]market.Host{newHost("a", 0, "0.40")}, p)
	in.HourlyCap = usd("9")
	out := onSpot(p, 1)
	out.Status = market.StatusOutbid
	in.History.Machines = []Machine{out, demanded(p, 2)}
	_, got := converse(in, wins("0.25"))
	wantTexts(t, "a higher bid wins", does(got), []string{"rebid spot"})
	_, got = converse(in, never)
	wantTexts(t, "none does", does(got), []string{"delete spot"})
}

func TestAHostThatEndsMachinesBeforeTheyRunIsLeftAloneForLongerEachTime(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	var pauses []time.Duration
	for range 3 {
		m := booting(newMachine(p, 1, "a", "0.20"), 0)
		m.OrderedAt, m.StatusAt, m.DeployIntent = in.Now, in.Now, 1
		in.History.Machines = []Machine{m}
		in.Now = in.Now.Add(time.Minute)
		ended := shown(m)
		ended.Status, in.Snapshot.Gone = market.StatusTerminated, []string{m.ID}
		observed(&in, ended)
		if len(in.History.Machines) != 0 || len(in.History.Backoffs) != 1 {
			t.Fatalf("%+v", in.History)
		}
		pauses = append(pauses, in.History.Backoffs[0].Until.Sub(in.Now))
	}
	if pauses[1] < pauses[0]*5/4 || pauses[2] < pauses[1]*5/4 {
		t.Errorf("%v", pauses)
	}
}

func TestSpotThatThisLookDoesNotShowCostsNoOnDemand(t *testing.T) {
	p := both(1)
	in := newInput(nil, p)
	unseen := onSpot(p, 1)
	unseen.SeenAt = t0.Add(-time.Minute)
	in.History.Machines = []Machine{unseen, demanded(p, 2)}
	got := Compute(in)
	wantTexts(t, "unseen", does(got), nil)
	wantHold(t, got, HoldBooting)
}

func TestOnDemandThatBootsIsNotGivenUpForAnOrderOrARaiseThatNoLookHasFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		spot func(m *Machine)
		want int
	}{
		"ordered just now":   {func(m *Machine) { *m = booting(*m, 0); m.Phase, m.SeenAt = PhaseAccepted, time.Time{} }, 0},
		"seen to boot":       {func(m *Machine) { *m = booting(*m, time.Minute) }, 1},
		"raised just now":    {func(m *Machine) { m.Status, m.Rebid = market.StatusOutbid, &PendingRebid{Bid: usd("0.22")} }, 0},
		"raised a look ago":  {func(m *Machine) { m.Status, m.Rebid = market.StatusOutbid, &PendingRebid{Bid: usd("0.22"), Looks: 1} }, 1},
		"outbid, not raised": {func(m *Machine) { m.Status = market.StatusOutbid }, 0},
	} {
		p := both(1)
		in := newInput(nil, p)
		m := onSpot(p, 1)
		c.spot(&m)
		in.History.Machines = []Machine{m, booting(demanded(p, 2), 0)}
		got := slices.DeleteFunc(actions(Compute(in), Delete), func(a Action) bool { return a.Capacity != market.OnDemand })
		if len(got) != c.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestOnDemandThatBootsIsKeptWhereTheSpotHostIsKnownToBootSlowly(t *testing.T) {
	p := both(1)
	in := newInput(nil, p)
	in.History.Machines = []Machine{booting(onSpot(p, 1), time.Minute), booting(demanded(p, 2), 0)}
	wantTexts(t, "nothing known", does(Compute(in)), []string{"delete on_demand"})
	in.History.Hosts = []HostRecord{
		{Host: "a", Model: rtx4090, At: t0, Launches: 20 * Once, Boots: 20 * Once, BootHours: 10 * Once},
		{Host: "d", Model: rtx4090, At: t0, Launches: 20 * Once, Boots: 20 * Once, BootHours: Once},
	}
	wantTexts(t, "half an hour, and three minutes", does(Compute(in)), nil)
}

func TestOnDemandDoesNotFollowASpotNewcomerOfOursBeforeALookHasShownIt(t *testing.T) {
	p, q := newPolicy("p", 1), newPolicy("q", 1)
	q.Capacity, q.MaxGPUHour = market.OnDemand, usd("0.60")
	in := newInput([]market.Host{newHost("a", 2, "0.40")}, p, q)
	m := onSpot(p, 1)
	m.Phase, m.Status, m.SeenAt, m.OrderedAt = PhaseAccepted, market.StatusUnknown, time.Time{}, t0
	in.History.Machines = []Machine{m}
	wantActions(t, Compute(in))
	in.History.Machines[0].Phase, in.History.Machines[0].Status, in.History.Machines[0].SeenAt = PhaseLive, market.StatusStarting, t0
	in.History.Machines[0].OrderedAt = t0.Add(-time.Minute)
	if got := actions(Compute(in), Deploy); len(got) != 1 || got[0].Policy != "q" {
		t.Errorf("%+v", got)
	}
	in.Snapshot.Hosts.Value = append(in.Snapshot.Hosts.Value, newHost("b", 2, "0.42"))
	if got := actions(Compute(in), Deploy); len(got) != 1 || got[0].Host != "b" {
		t.Errorf("on a host of ours, although one costs hardly more where we have none: %+v", got)
	}
}
