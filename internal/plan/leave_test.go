package plan

import (
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// outbidAt is a policy with a machine that fell on a at 0.20 and comes back for 0.30, where hosts
// b and c are at hand for what least says.
func outbidAt(change func(p *policy.Policy, in *Input), least map[string]string) (Input, func(market.Question) bool) {
	p := newPolicy("p", 1)
	in := newInput([]market.Host{newHost("a", 0, "0.35"), newHost("b", 1, "0.35"), newHost("c", 1, "0.35")}, p)
	m := newMachine(p, 1, "a", "0.20")
	m.Status = market.StatusOutbid
	in.History.Machines = []Machine{m}
	if change != nil {
		change(&in.Policies[0], &in)
	}
	return in, func(q market.Question) bool {
		if q.Host == "a" {
			return q.Bid >= usd("0.30")
		}
		return least[q.Host] != "" && q.Bid >= usd(least[q.Host])
	}
}

func TestAnOutbidMachineIsReplacedWhereAnotherHostIsCheaperThanItsRaise(t *testing.T) {
	in, wins := outbidAt(nil, map[string]string{"c": "0.20"})
	in, got := converse(in, wins)
	wantActions(t, got, "delete "+nameOf("p", 1)+" "+ReasonOutbidLeft)
	for _, v := range in.Verdicts {
		if v.Host == "c" && v.Bid == usd("0.20") && v.Answer == market.Accepted {
			return
		}
	}
	t.Errorf("it goes on the strength of %+v", in.Verdicts)
}

func TestAnOutbidMachineIsRaisedWhereNoOtherHostIsCheaperByMoreThanTheLongerAbsence(t *testing.T) {
	for name, least := range map[string]map[string]string{
		"nothing else wins": nil,
		"all are dearer":    {"b": "0.31", "c": "0.35"},
		"a cent less":       {"b": "0.29", "c": "0.29"},
	} {
		in, wins := outbidAt(nil, least)
		_, got := converse(in, wins)
		if len(got.Actions) != 1 || got.Actions[0].Kind != Rebid {
			t.Errorf("%s: %v", name, does(got))
		}
	}
}

func TestWithoutAQuestionLeftAnOutbidMachineIsRaisedAtOnce(t *testing.T) {
	in, _ := outbidAt(nil, nil)
	in.Limits.MaxProbes = 0
	in.Verdicts = []market.Verdict{refused(in.Policies[0], "a", "0.29"), won(in.Policies[0], "a", "0.30")}
	got := Compute(in)
	if len(got.Questions) != 0 || len(got.Actions) != 1 || got.Actions[0].Kind != Rebid {
		t.Errorf("%v %v", does(got), got.Questions)
	}
}

// It would come to nothing, or to another end than the user's.
func TestAnOutbidMachineThatMayNotOrCannotBeReplacedIsRaised(t *testing.T) {
	for name, change := range map[string]func(p *policy.Policy, in *Input){
		"protected":     func(p *policy.Policy, in *Input) { p.Protected = []string{in.History.Machines[0].Name} },
		"too young":     func(p *policy.Policy, _ *Input) { p.MinLifetime = 24 * time.Hour },
		"hosts unknown": func(_ *policy.Policy, in *Input) { in.Snapshot.Hosts.Complete = false },
		"a cooldown": func(p *policy.Policy, in *Input) {
			p.Cooldown, in.History.Scaled = time.Hour, []Scaled{{Policy: "p", At: t0.Add(-time.Minute)}}
		},
		"doubt": func(_ *policy.Policy, in *Input) {
			in.History.Gap = market.Some(Gap{Since: t0.Add(-time.Minute), Looks: 1})
		},
		"all bids named": func(p *policy.Policy, _ *Input) {
			p.Bidding = policy.Bidding{Strategy: policy.Fixed, Price: usd("0.30")}
		},
	} {
		in, wins := outbidAt(change, map[string]string{"b": "0.15", "c": "0.15"})
		_, got := converse(in, wins)
		if len(actions(got, Delete)) != 0 || len(actions(got, Rebid)) != 1 {
			t.Errorf("%s: %v %v", name, does(got), got.Holds)
		}
	}
}

func TestNoMoreOutbidMachinesLeaveThanTheCheaperHostTakes(t *testing.T) {
	in, wins := outbidAt(func(p *policy.Policy, in *Input) {
		p.Target, in.HourlyCap = 2, usd("5")
		in.Snapshot.Hosts.Value = append(in.Snapshot.Hosts.Value, newHost("d", 0, "0.35"))
		m := newMachine(*p, 2, "d", "0.20")
		m.Status = market.StatusOutbid
		in.History.Machines = append(in.History.Machines, m)
	}, map[string]string{"c": "0.20"})
	_, got := converse(in, func(q market.Question) bool { return wins(q) || q.Host == "d" && q.Bid >= usd("0.30") })
	if len(actions(got, Delete)) != 1 || len(actions(got, Rebid)) != 1 {
		t.Errorf("%v %v", does(got), got.Holds)
	}
}
