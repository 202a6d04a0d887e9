package plan

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// at is a host in a city, with a CPU.
func at(id, city, cpu string) market.Host {
	h := newHost(id, 8, "0.35")
	h.Location.City, h.CPUType = city, cpu
	return h
}

func spreadInput(s policy.Spread, target int, hosts ...market.Host) Input {
	p := newPolicy("p", target)
	p.Spread = s
	in := newInput(hosts, p)
	for _, h := range hosts {
		in.Verdicts = append(in.Verdicts, accepted(p, h.ID, "0.20"))
	}
	return in
}

func TestASpreadBoundsMachinesPerHostPlaceAndGroup(t *testing.T) {
	hosts := []market.Host{at("a", "Bodø", "x"), at("b", "Bodø", "x"), at("c", "Bodø", "y"), at("d", "Oslo", "x")}
	for _, c := range []struct {
		spread policy.Spread
		want   []string
	}{
		{policy.Spread{}, []string{"a", "b", "c", "d"}},
		{policy.Spread{PerHost: policy.Share{Machines: 1}}, []string{"a", "b", "c", "d"}},
		{policy.Spread{PerPlace: policy.Share{Percent: 50}}, []string{"a", "b", "d", "d"}},
		{policy.Spread{PerPlace: policy.Share{Percent: 50}, PerHost: policy.Share{Machines: 1}}, []string{"a", "b", "d"}},
		{policy.Spread{PerGroup: policy.Share{Machines: 1}}, []string{"a", "c", "d"}},
		{policy.Spread{PerPlace: policy.Share{Percent: 10}}, []string{"a", "d"}}, // one is always allowed
	} {
		plan := Compute(spreadInput(c.spread, 4, hosts...))
		var want []string
		for _, id := range c.want {
			want = append(want, "deploy "+id+" below_target")
		}
		wantActions(t, plan, want...)
		if missing := 4 - len(c.want); missing == 0 {
			continue
		}
		wantHold(t, plan, HoldSpread)
		if text := holds(plan, HoldSpread)[0].Reason.Text; !strings.Contains(text, "GPUs are missing; left out by spread: a (spread.per_") {
			t.Errorf("%+v: %s", c.spread, text)
		}
	}
}

// A machine counts from its order until it is gone, however it is bought, and wherever
// the market still shows its host or not.
func TestEveryMachineOfAPolicyCountsForItsSpread(t *testing.T) {
	hosts := []market.Host{at("a", "Bodø", "x"), at("b", "Bodø", "x"), at("d", "Oslo", "x")}
	for name, change := range map[string]func(*Machine){
		"runs":              func(*Machine) {},
		"has no answer":     func(m *Machine) { m.Phase = PhaseUnknown },
		"boots":             func(m *Machine) { m.Status, m.OrderedAt = market.StatusStarting, t0.Add(-time.Minute) },
		"is on-demand":      func(m *Machine) { m.Capacity, m.Bid = market.OnDemand, market.Maybe[market.Rate]{} },
		"leaves":            func(m *Machine) { m.Phase = PhaseDeleting },
		"stands off market": func(m *Machine) { m.Host = "gone" },
	} {
		for _, s := range []policy.Spread{{PerPlace: policy.Share{Machines: 1}}, {PerGroup: policy.Share{Machines: 1}}} {
			in := spreadInput(s, 3, hosts...)
			in.Policies[0].Capacity = policy.SpotWithFallback
			m := newMachine(in.Policies[0], 1, "a", "0.20")
			m.Capacity = market.Spot
			change(&m)
			in.History.Machines = []Machine{m}
			if got := actions(Compute(in), Deploy); len(got) != 1 || got[0].Host != "d" {
				t.Errorf("%s, %+v: %+v", name, s, got)
			}
		}
	}
	other := newMachine(newPolicy("q", 1), 1, "a", "0.20")
	in := spreadInput(policy.Spread{PerPlace: policy.Share{Machines: 1}}, 1, hosts[0])
	in.Policies, in.HourlyCap = append(in.Policies, newPolicy("q", 1)), usd("1")
	in.History.Machines = []Machine{other}
	wantActions(t, Compute(in), "deploy a below_target") // another policy's machine does not
}

func TestAListingNamesTheBoundThatLeavesAHostOut(t *testing.T) {
	in := spreadInput(policy.Spread{PerPlace: policy.Share{Percent: 50}}, 4, at("a", "Bodø", "x"), at("b", "Bodø", "y"))
	p := in.Policies[0]
	in.History.Machines = []Machine{newMachine(p, 1, "a", "0.20"), newMachine(p, 2, "a", "0.20")}
	for _, l := range List(in, p) {
		if l.In || l.Reason != (Reason{OfferSpread, "spread.per_place: at most 2 of 4 machines in one place, 2 machines stand there"}) {
			t.Errorf("%s: %+v", l.Host, l.Reason)
		}
	}
}

func TestNoPlanPassesASpread(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		type where struct{ policy, kind, at string }
		spot := func(id string, l market.Location) (place, group string) {
			place = fmt.Sprint(city(l))
			for _, h := range in.Snapshot.Hosts.Value {
				if h.ID == id {
					return fmt.Sprint(city(h.Location)), fmt.Sprint(ownerOf(&h))
				}
			}
			return place, "unlisted in " + place
		}
		for i := range in.Policies {
			share := func(label string) policy.Share {
				return pick(t, label, policy.Share{}, policy.Share{Machines: 1}, policy.Share{Percent: 50})
			}
			in.Policies[i].Spread = policy.Spread{PerHost: share("per host"), PerPlace: share("per place"), PerGroup: share("per group")}
		}
		have, grown := map[where]int{}, map[where]int{}
		for _, m := range in.History.Machines {
			place, group := spot(m.Host, m.Location)
			if m.Location == (market.Location{}) && strings.HasPrefix(group, "unlisted") {
				continue // nobody knows where it stands
			}
			have[where{m.Policy, "host", m.Host}]++
			have[where{m.Policy, "place", place}]++
			have[where{m.Policy, "group", group}]++
		}
		for _, a := range actions(Compute(in), Deploy) {
			place, group := spot(a.Host, a.Location)
			p := find(in, a.Policy)
			for _, b := range []struct {
				key  where
				most policy.Share
			}{
				{where{a.Policy, "host", a.Host}, p.Spread.PerHost},
				{where{a.Policy, "place", place}, p.Spread.PerPlace},
				{where{a.Policy, "group", group}, p.Spread.PerGroup},
			} {
				if b.key.at == "" {
					continue // a ready-made machine that does not tell its host
				}
				if grown[b.key]++; have[b.key]+grown[b.key] > b.most.Of(p.Target) {
					t.Fatalf("%d and %d new ones of %d at %+v, %+v is allowed", have[b.key], grown[b.key], p.Target, b.key, b.most)
				}
			}
		}
	})
}

// A ready-made machine may tell no more than its city.
func TestASpreadBoundsReadyMadeMachinesToo(t *testing.T) {
	var list []market.Instant
	for _, id := range []string{"a", "b", "c"} {
		one := newInstant(id, "", "0.30")
		one.Location = market.Location{Country: "Norway", City: "Bodø"}
		list = append(list, one)
	}
	for _, s := range []policy.Spread{{PerPlace: policy.Share{Machines: 2}}, {PerGroup: policy.Share{Machines: 2}}} {
		in := readyMade(3, list...)
		in.Policies[0].Spread = s
		plan := Compute(in)
		if got := actions(plan, Deploy); len(got) != 2 {
			t.Errorf("%+v: %+v", s, got)
		}
		wantHold(t, plan, HoldSpread)
	}
	in := readyMade(3, list...)
	in.Policies[0].Spread.PerHost = policy.Share{Machines: 1}
	if got := actions(Compute(in), Deploy); len(got) != 3 {
		t.Errorf("%d machines on hosts that are not told", len(got))
	}
}
