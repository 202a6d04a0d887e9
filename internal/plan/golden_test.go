package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

var update = flag.Bool("update", false, "write the golden files")

// transcript tells decisions as text: what was asked, done, held, and where every
// policy stands.
type transcript struct{ strings.Builder }

func (s *transcript) say(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }

func (s *transcript) plan(p Plan) {
	for _, q := range p.Questions {
		s.say("  ask     %s on %s: does %s win?", sizeOf(q.Model, q.Shape), q.Host, q.Bid)
	}
	for _, a := range p.Actions {
		s.say("  %-7s %s %s [%s] %s", a.Kind, what(a), a.Rate, a.Reason.Code, a.Reason.Text)
	}
	for _, h := range p.Holds {
		s.say("  hold    %s [%s] %s", strings.Trim(h.Policy+" "+h.Machine, " "), h.Reason.Code, h.Reason.Text)
	}
	for _, st := range p.Standings {
		s.say("  %s: %d of %d GPUs ready, %d booting, %d dead, %d leaving; %s -> %s%s", st.Policy, st.Ready, st.Target, st.Booting, st.Dead, st.Leaving,
			st.Before, st.After, map[bool]string{true: "; satisfied"}[st.Satisfied])
	}
	s.say("  fleet: %s -> %s", p.Before, p.After)
}

func what(a Action) string {
	if a.Kind == Delete {
		return a.Machine
	}
	place := a.Host
	if a.Kind == Rebid {
		place = a.Machine
	}
	return fmt.Sprintf("%s on %s, bid %s, ports %v, up to %s:", sizeOf(a.Model, a.Shape), place, a.Bid, a.Ports, a.Reserve)
}

func sizeOf(m market.GPUModel, s market.Shape) string {
	return fmt.Sprintf("%d x %s (%d vCPU, %d GB RAM, %d GB)", s.GPUs, m, s.VCPUs, s.RAM, s.Storage)
}

func (s *transcript) events(events []Event) {
	for _, e := range events {
		s.say("  seen    %s %s: %s", e.Machine, e.Kind, e.Text)
	}
}

// rounds computes, shows and answers until there is no question left.
func (s *transcript) rounds(in Input, wins func(market.Question) bool) (Input, Plan) {
	for i := 1; ; i++ {
		p := Compute(in)
		if len(p.Questions) == 0 {
			s.say("decided after %d answers:", len(in.Verdicts))
			s.plan(p)
			return in, p
		}
		s.say("round %d:", i)
		s.plan(p)
		for _, q := range p.Questions {
			v := market.Verdict{Question: q, Answer: market.Refused, At: in.Now}
			if wins != nil && wins(q) {
				v.Answer = market.Accepted
			}
			s.say("  answer  %s on %s: %s", q.Bid, q.Host, v.Answer)
			in.Verdicts = append(in.Verdicts, v)
			in.Limits.MaxProbes--
		}
	}
}

func TestWholeDecisionsReadAsTheyWereWritten(t *testing.T) {
	for name, tell := range map[string]func(*testing.T, *transcript){
		"first_buy_of_eight":     firstBuy,
		"outbid_and_raised":      outbidAndRaised,
		"outbid_and_left":        outbidAndLeft,
		"outbid_beyond_ceiling":  outbidBeyondCeiling,
		"scale_down":             scaleDown,
		"bound_by_the_budget":    boundByBudget,
		"no_offer":               noOffer,
		"hosts_unknown":          hostsUnknown,
		"policy_removed":         policyRemoved,
		"answer_lost_and_found":  lostAndFound,
		"list_of_machines_fails": listFails,
	} {
		t.Run(name, func(t *testing.T) {
			var s transcript
			tell(t, &s)
			golden(t, filepath.Join("testdata", name+".golden"), s.String())
		})
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s differs (run with -update to accept):\n%s", path, got)
	}
}

func firstBuy(t *testing.T, s *transcript) {
	hosts := []market.Host{newHost("bodoe-1", 4, "0.35"), newHost("bodoe-2", 2, "0.30"), newHost("cadiz-1", 8, "0.38")}
	b := newBazaar(newInput(hosts, newPolicy("train", 8)))
	b.theta = map[string]market.Rate{"bodoe-1": usd("0.19"), "bodoe-2": usd("0.22"), "cadiz-1": usd("0.30")}
	in, p := s.rounds(b.in, b.wins)
	b.in = in
	b.all(t, p)
	b.boot()
	b.in.Now = b.in.Now.Add(time.Minute)
	s.say("a minute later:")
	s.events(b.look(b.list(), true))
	s.rounds(b.in, b.wins)
}

func twoRunning() Input {
	p := newPolicy("train", 2)
	in := newInput([]market.Host{newHost("bodoe-1", 0, "0.35"), newHost("cadiz-1", 4, "0.38")}, p)
	in.History.Machines = []Machine{newMachine(p, 1, "bodoe-1", "0.20"), newMachine(p, 2, "cadiz-1", "0.22")}
	return in
}

func outbidAndRaised(t *testing.T, s *transcript) { outbidWith(t, s, usd("0.25")) }

func outbidAndLeft(t *testing.T, s *transcript) { outbidWith(t, s, usd("0.20")) }

func outbidWith(t *testing.T, s *transcript, elsewhere market.Rate) {
	b := newBazaar(twoRunning())
	b.theta["bodoe-1"], b.theta["cadiz-1"] = usd("0.26"), elsewhere
	for _, m := range b.in.History.Machines {
		inst := shown(m)
		b.machines[m.ID] = &inst
	}
	b.machines["id-train-1"].Status = market.StatusOutbid
	for _, later := range []string{"one is outbid", "a minute later"} {
		s.say("%s:", later)
		b.in.Now = b.in.Now.Add(time.Minute)
		s.events(b.look(b.list(), true))
		in, p := s.rounds(b.in, b.wins)
		b.in = in
		b.all(t, p)
	}
}

func outbidBeyondCeiling(t *testing.T, s *transcript) {
	b := newBazaar(twoRunning())
	b.theta["bodoe-1"] = usd("0.50")
	for _, m := range b.in.History.Machines {
		inst := shown(m)
		b.machines[m.ID] = &inst
	}
	b.machines["id-train-1"].Status = market.StatusOutbid
	for _, later := range []string{"one is outbid for good", "its deletion is confirmed", "the replacement runs"} {
		s.say("%s:", later)
		b.in.Now = b.in.Now.Add(time.Minute)
		s.events(b.look(b.list(), true))
		in, p := s.rounds(b.in, b.wins)
		b.in = in
		b.all(t, p)
		b.boot()
	}
}

func scaleDown(_ *testing.T, s *transcript) {
	p := newPolicy("train", 2)
	p.Protected = []string{nameOf("train", 4)}
	in := newInput(nil, p)
	for i, bid := range []string{"0.20", "0.31", "0.24", "0.22", "0.35"} {
		in.History.Machines = append(in.History.Machines, newMachine(p, i, "bodoe-1", bid))
	}
	in.History.Machines[3].Status = market.StatusOutbid
	s.rounds(in, nil)
}

func boundByBudget(_ *testing.T, s *transcript) {
	p := newPolicy("train", 4)
	in := newInput([]market.Host{newHost("bodoe-1", 8, "0.35")}, p)
	in.HourlyCap = usd("0.50")
	in.Budget.MaxHourly = market.Some(in.HourlyCap)
	s.rounds(in, func(q market.Question) bool { return q.Bid >= usd("0.20") })
	s.say("later, the day's money is nearly spent:")
	in.Budget.MaxDaily = market.Some(dollars(4))
	in.History.Spend = []Spend{{"2026-03-10", "train", market.Amount(394 * market.Cent)}}
	s.rounds(in, nil)
}

func noOffer(_ *testing.T, s *transcript) {
	p := newPolicy("train", 2)
	p.Match = policy.Match{GPUModels: []string{"geforcertx4090*"}, Countries: []string{"NO"}}
	other, abroad, full, dear := newHost("a", 4, "0.35"), newHost("b", 4, "0.35"), newHost("c", 0, "0.35"), newHost("d", 4, "2.50")
	other.GPUs[0].Model, abroad.Location.Country = rtx3090, "Spain"
	in := newInput([]market.Host{other, abroad, full, dear, newHost("e", 4, "0.35")}, p)
	s.rounds(in, func(market.Question) bool { return false })
}

func hostsUnknown(_ *testing.T, s *transcript) {
	in := twoRunning()
	in.Policies[0].Target = 1
	in.Snapshot.Hosts = market.Section[[]market.Host]{Problem: "list hosts: the answer is an HTML page"}
	s.say("too many machines:")
	s.rounds(in, nil)
	in.Policies[0].Target = 3
	s.say("too few machines:")
	s.rounds(in, nil)
}

func policyRemoved(_ *testing.T, s *transcript) {
	in := twoRunning()
	in.Policies = nil
	s.say("the ledger never knew the policy:")
	s.rounds(in, nil)
	in.History.Known = []string{"train"}
	in.Limits.MaxActions = 1
	s.say("it did, and one action is allowed:")
	s.rounds(in, nil)
}

func lostAndFound(t *testing.T, s *transcript) {
	b := newBazaar(newInput([]market.Host{newHost("bodoe-1", 4, "0.35")}, newPolicy("train", 1)))
	in, p := s.rounds(b.in, b.wins)
	b.in = in
	intent, ok := b.begin(p.Actions[0])
	if !ok {
		t.Fatal("not booked")
	}
	b.effect(p.Actions[0], intent)
	b.hidden["vm-0001"] = 1
	Lose(&b.in.History, &intent, "timeout", b.in.Now)
	for _, later := range []string{"the answer was lost", "it is listed"} {
		s.say("%s:", later)
		b.in.Now = b.in.Now.Add(time.Minute)
		s.events(b.look(append(b.list(), stranger()), true))
		s.rounds(b.in, b.wins)
		b.boot()
	}
}

func listFails(_ *testing.T, s *transcript) {
	in := twoRunning()
	in.Policies[0].Target = 4
	in.Snapshot.Instances = market.Section[[]market.Instance]{Problem: "list machines: unavailable"}
	s.events(Observe(&in.History, look(in)))
	s.rounds(in, nil)
}
