package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// inOneLine is a wait in one line, its times as distances from now.
func inOneLine(w Wait, now time.Time) string {
	span := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.Sub(now).String()
	}
	return strings.Join([]string{w.Code, w.Policy, w.Machine, span(w.Since), span(w.Until), w.Text, w.Then}, "|")
}

func TestWhatItWaitsForIsToldWithItsTimesWorstFirst(t *testing.T) {
	p := newPolicy("p", 9)
	p.BootTimeout, p.Cooldown = 20*time.Minute, 10*time.Minute
	p.Ready = policy.Ready{Deadline: 30 * time.Minute}
	p.Drain = policy.Drain{Grace: 5 * time.Minute, Deadline: time.Hour}
	p.Demand.Signals = []policy.Signal{{Name: "queue"}, {Name: "fine"}}
	in := newInput(nil, p)
	ago := func(d time.Duration) time.Time { return in.Now.Add(-d) }
	h := &in.History
	add := func(i int, change func(*Machine)) {
		m := newMachine(p, i, "a", "0.20")
		m.OrderedAt, m.StatusAt = ago(time.Hour), ago(time.Hour)
		change(&m)
		m.Name = fmt.Sprint("m", i)
		h.Machines = append(h.Machines, m)
	}
	add(0, func(m *Machine) {}) // runs: nothing is waited for
	add(1, func(m *Machine) { m.Phase, m.OrderedAt = PhaseUnknown, ago(4*time.Minute) })
	add(2, func(m *Machine) { m.Phase, m.OrderedAt = PhaseAccepted, ago(3*time.Minute) })
	add(3, func(m *Machine) { m.Status, m.StatusAt = market.StatusStarting, ago(12*time.Minute) })
	add(4, func(m *Machine) { m.Leaving = &PendingDelete{At: ago(2 * time.Minute)} })
	add(5, func(m *Machine) { m.Rebid = &PendingRebid{At: ago(time.Minute), Bid: usd("0.31")} })
	add(6, func(m *Machine) { m.Unproven, m.StatusAt, m.Probe.Text = true, ago(8*time.Minute), "exit 1" })
	add(7, func(m *Machine) { m.Drain = &Drain{Since: ago(time.Minute), Reason: Reason{Text: "9 GPUs, 8 wanted"}} })
	add(8, func(m *Machine) { m.Parked = &Parked{Done: true, Failures: 2, Until: in.Now.Add(7 * time.Minute)} })
	add(9, func(m *Machine) { m.Missed, m.MissedAt = 2, ago(90*time.Second) })
	add(10, func(m *Machine) { m.Status, m.StatusAt = market.StatusStopped, ago(time.Minute) })
	add(11, func(m *Machine) { m.Leaving = &PendingDelete{At: ago(time.Second), Lost: true} })
	h.Breakers = []Breaker{{Code: BreakerFailures, Since: ago(time.Minute), Until: in.Now.Add(9 * time.Minute), Reason: "5 writes failed"}, {Code: BreakerPrices, Until: ago(1)}}
	h.Pauses = []Pause{{Policy: "p", Since: ago(time.Hour), Until: in.Now.Add(time.Hour), Reason: "not tonight"}, {Since: ago(time.Hour), Until: ago(1)}}
	h.Gap = market.Some(Gap{Since: ago(time.Minute), Rate: usd("0.40")})
	h.Scaled = []Scaled{{"p", ago(4 * time.Minute)}, {"q", ago(time.Second)}}
	h.Backoffs = []Backoff{{Host: "a", Until: in.Now.Add(3 * time.Minute)}, {Host: "b", Until: in.Now.Add(2 * time.Minute)}, {Host: "c", Until: ago(1)}}
	h.Demand = []demand.Memory{
		{Reading: demand.Reading{Policy: "p", Signal: "queue", Problem: "connection refused", At: ago(5 * time.Minute)}},
		{Reading: demand.Reading{Policy: "p", Signal: "gone from the file", Problem: "connection refused"}},
		{Reading: demand.Reading{Policy: "p", Signal: "fine", At: ago(time.Second)}},
	}
	held := []Hold{
		{Policy: "p", Reason: Reason{HoldPaused, "told above"}},
		{Policy: "p", Machine: "m3", Reason: Reason{HoldBooting, "told above"}},
		{Policy: "p", Reason: Reason{HoldNoOffer, "a finding"}},
		{Policy: "p", Machine: "m0", Reason: Reason{HoldProbes, "no questions left"}},
		{Policy: "p", Machine: "m12", Reason: Reason{HoldProbes, "no questions left"}},
	}
	var got []string
	for _, w := range Waits(&in, []Standing{{Policy: "p", Target: 9, Ready: 1}}, held) {
		got = append(got, inOneLine(w, in.Now))
	}
	want := []string{
		"failures|||-1m0s|9m0s|breaker: 5 writes failed|it closes by itself",
		"paused|p||-1h0m0s|1h0m0s|not tonight|it goes on by itself",
		"list_disagrees_with_bill|||-1m0s|9m0s|the account is charged $0.4000/h more than all known machines cost|it is believed to be something else",
		"signal_unknown|p||-5m0s|-|signal queue: connection refused|",
		"waiting_for_answer|p|m1|-4m0s|6m0s|an order without an answer|it is given up if no list shows it",
		"waiting_for_answer|p|m11|-1s|1m59s|a deletion without an answer|it is asked for again if it is still listed",
		"waiting_for_deletion|p|m4|-2m0s|0s|its deletion is to be confirmed|it is asked for again if it is still listed",
		"waiting_for_machine|p|m3|-12m0s|8m0s|starting|it is given up and its host avoided",
		"waiting_for_probe|p|m6|-8m0s|22m0s|its probe: exit 1|a probe that fails then ends it",
		"waiting_for_machine|p|m2|-3m0s|7m0s|ordered, and in no list yet|it is given up if no list shows it",
		"waiting_for_machine|p|m9|-1m30s|30s|not in the list any more (2 times)|it counts as gone",
		"waiting_for_machine|p|m10|-1m0s|1m0s|stopped without our doing|it is given up",
		"waiting_for_rebid|p|m5|-1m0s|1m0s|its bid of $0.3100/h is to be seen|the bid counts as ignored",
		"draining|p|m7|-1m0s|4m0s|draining: 9 GPUs, 8 wanted|it goes",
		"not_started|p|m8|-|7m0s|was not started 2 times|it may be started again",
		"cooldown|p||-4m0s|6m0s|its cooldown|it may scale again",
		"hosts_left_alone|||-|2m0s|2 hosts are left alone after they failed or refused us|the first of them is tried again",
		"probes_used_up|p|m0|-|-|no questions left (and 1 more)|",
	}
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("line %d\n got %s\nwant %s", i, g, w)
		}
	}
}

func TestASatisfiedFleetWaitsForNothing(t *testing.T) {
	p := newPolicy("p", 1)
	p.Cooldown = time.Hour
	in := newInput(nil, p)
	in.History.Machines = []Machine{newMachine(p, 0, "a", "0.20")}
	in.History.Scaled = []Scaled{{"p", in.Now.Add(-time.Minute)}}
	in.History.Backoffs = []Backoff{{Host: "a", Until: in.Now.Add(time.Minute)}}
	if got := Waits(&in, []Standing{{Policy: "p", Target: 1, Ready: 1, Satisfied: true}}, nil); len(got) > 0 {
		t.Errorf("it waits for %+v", got)
	}
}

func TestWhatItWaitsForIsTheSameWhateverTheOrderOfTheBooks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		p := Compute(in)
		one := Waits(&in, p.Standings, p.Holds)
		slices.Reverse(in.History.Machines)
		slices.Reverse(in.History.Breakers)
		slices.Reverse(in.History.Pauses)
		slices.Reverse(in.History.Backoffs)
		slices.Reverse(in.History.Demand)
		if two := Waits(&in, p.Standings, p.Holds); !reflect.DeepEqual(one, two) {
			t.Fatalf("%+v\nand with the books reversed\n%+v", one, two)
		}
		for i, w := range one {
			switch {
			case w.Code == "" || w.Text == "":
				t.Fatalf("%+v says nothing", w)
			case !w.Until.IsZero() && w.Then == "":
				t.Fatalf("%+v does not say what happens then", w)
			case i > 0 && gravity(one[i-1].Code) > gravity(w.Code):
				t.Fatalf("%s stands before %s", one[i-1].Code, w.Code)
			}
		}
		for i := range in.History.Machines {
			m := &in.History.Machines[i]
			known := m.Leaving != nil || m.Phase == PhaseUnknown || m.Phase == PhaseAccepted
			if known && !slices.ContainsFunc(one, func(w Wait) bool { return w.Machine == m.Name }) {
				t.Fatalf("%s is waited for, and not told", m.Name)
			}
		}
	})
}

func TestAShortfallSaysWhatStandsInTheWayInAFewWords(t *testing.T) {
	standings := []Standing{
		{Policy: "dear", Target: 4, Ready: 2, Funnel: Funnel{Offers: 40, Model: 30, Place: 4, Ceiling: 6}},
		{Policy: "fine", Target: 2, Ready: 1, Booting: 1},
		{Policy: "many", Target: 1, Ready: 2},
		{Policy: "poor", Target: 8},
	}
	holds := []Hold{
		{Policy: "dear", Machine: "m1", Reason: Reason{HoldBudget, "of one machine"}},
		{Policy: "dear", Reason: Reason{HoldNoOffer, "2 GPUs are missing; of 40 offers, ..."}},
		{Policy: "many", Reason: Reason{HoldCooldown, "scaled 30s ago, cooldown 10m0s"}},
		{Policy: "poor", Reason: Reason{HoldCooldown, "scaled 30s ago, cooldown 10m0s"}},
		{Policy: "poor", Reason: Reason{HoldBudget, "8 GPUs are missing; the next machine costs ..."}},
	}
	want := []Shortfall{
		{"poor", 8, Reason{HoldBudget, "the budget leaves no room"}},
		{"dear", 2, Reason{HoldNoOffer, "every offer is above the ceiling"}},
		{"many", -1, Reason{HoldCooldown, "scaled 30s ago, cooldown 10m0s"}},
	}
	if got := Shortfalls(standings, holds); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestAFunnelInShortNamesTheStepAtWhichMostFellOut(t *testing.T) {
	for want, f := range map[string]Funnel{
		"no host has such GPUs":                                 {Offers: 5, Model: 5},
		"no host with such GPUs stands where it may":            {Offers: 5, Model: 3, Place: 2},
		"every offer has too few GPUs free":                     {Offers: 5, Model: 3, Capacity: 2},
		"6 of 8 offers are above the ceiling":                   {Offers: 9, Model: 1, Capacity: 2, Ceiling: 6},
		"3 of 8 offers are left":                                {Offers: 9, Model: 1, Capacity: 5, Candidates: 3},
		"every offer needs a bid above one of ours there":       {Offers: 1, Sibling: 1},
		"2 of 3 offers took no order at bids they had said win": {Offers: 3, Fickle: 2, Offline: 1},
	} {
		if got := f.Brief(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestWhatAPlanHasOrderedCountsAsBooting(t *testing.T) {
	p := newPolicy("p", 2)
	old, bought := newMachine(p, 0, "a", "0.20"), newMachine(p, 1, "a", "0.20")
	bought.Phase = PhaseAccepted
	made := Plan{Standings: []Standing{{Policy: "p", Target: 2, Ready: 1, Before: old.Reserved}}}
	before := History{Machines: []Machine{old}}
	now := History{Machines: []Machine{old, bought}}
	got := made.StandingsSince(&before, &now)[0]
	if got.Booting != bought.Shape.GPUs || got.Before != old.Reserved.Add(bought.Reserved) {
		t.Errorf("%+v", got)
	}
	if made.Standings[0].Booting != 0 {
		t.Error("the plan itself was changed")
	}
	if again := made.StandingsSince(&now, &now)[0]; again.Booting != 0 {
		t.Error("what the plan knew is counted twice")
	}
}
