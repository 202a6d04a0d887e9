package plan

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// bazaar is a tiny market: machines that exist, and what bids win. It applies,
// loses, refuses and half-answers requests as it is told to.
type bazaar struct {
	in       Input // policies, hosts, limits and history: all that the daemon keeps
	machines map[string]*market.Instance
	hidden   map[string]int // looks until a new machine is listed
	theta    map[string]market.Rate
	rebids   bool // whether it applies new bids
	ids      int
	intents  uint64
}

func newBazaar(in Input) *bazaar {
	b := &bazaar{in: in, machines: map[string]*market.Instance{}, hidden: map[string]int{}, theta: map[string]market.Rate{}, rebids: true, intents: 100}
	for _, h := range in.Snapshot.Hosts.Value {
		b.theta[h.ID] = usd("0.20")
	}
	return b
}

func (b *bazaar) wins(q market.Question) bool { return q.Bid >= b.theta[q.Host] }

func (b *bazaar) sorted() []string {
	var out []string
	for id := range b.machines {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// list is what a healthy look shows, with the hosts' free GPUs.
func (b *bazaar) list() (out []market.Instance) {
	for _, id := range b.sorted() {
		if b.hidden[id] > 0 {
			b.hidden[id]--
			continue
		}
		out = append(out, *b.machines[id])
	}
	return out
}

// look observes a list and forgets the last cycle's verdicts.
func (b *bazaar) look(list []market.Instance, complete bool) []Event {
	b.in.Verdicts = nil
	b.in.Limits = policy.Limits{MaxActions: 20, MaxProbes: 40}
	b.in.Snapshot.Instances = market.Section[[]market.Instance]{Value: list, At: b.in.Now, Complete: complete}
	b.in.Snapshot.Hosts.At = b.in.Now
	b.in.Snapshot.Gone = nil
	for _, m := range b.in.History.Machines {
		if m.ID != "" && b.machines[m.ID] == nil {
			b.in.Snapshot.Gone = append(b.in.Snapshot.Gone, m.ID)
		}
	}
	l := look(b.in)
	for _, e := range b.in.History.Errands(b.in.Policies, b.in.Now) { // every probe passes, every hook agrees
		l.Findings = append(l.Findings, Finding{Kind: e.Kind, Machine: e.Machine, ID: e.ID, At: b.in.Now, OK: true})
	}
	return Observe(&b.in.History, l)
}

// begin writes the intent; ok is false where the books refuse.
func (b *bazaar) begin(a Action) (Intent, bool) {
	b.intents++
	in, err := Begin(&b.in.History, a, b.in.CapsFor(a.Policy), b.intents, 1, nameOf(a.Policy, int(b.intents)), b.in.Now)
	return in, err == nil
}

// effect does what was asked.
func (b *bazaar) effect(a Action, in Intent) market.Deployed {
	switch a.Kind {
	case Deploy:
		b.ids++
		id := fmt.Sprintf("vm-%04d", b.ids)
		b.machines[id] = &market.Instance{
			ID: id, API: market.V0, Name: in.Machine, Status: market.StatusStarting, Capacity: a.Capacity, Host: a.Host, Model: a.Model,
			Shape: a.Shape, Storage: market.Some(a.Storage), Compute: market.Some(a.Bid), Created: b.in.Now,
		}
		return market.Deployed{ID: id, Total: market.Some(a.Rate), Storage: market.Some(a.Storage)}
	case Rebid:
		if m := b.machines[a.Instance]; m != nil && b.rebids && !a.AskOnly {
			m.Compute, m.Status = market.Some(a.Bid), market.StatusRunning
		}
	case Delete:
		delete(b.machines, a.Instance)
	}
	return market.Deployed{}
}

// all carries out a plan in a market that accepts everything.
func (b *bazaar) all(t interface{ Fatalf(string, ...any) }, p Plan) {
	BookDrains(&b.in.History, p.Drains, b.in.Now)
	for _, a := range p.Actions {
		in, ok := b.begin(a)
		if !ok {
			t.Fatalf("the books refuse %+v", a)
		}
		Accept(&b.in.History, &in, b.effect(a, in), b.in.Now)
	}
}

func (b *bazaar) boot() {
	for _, m := range b.machines {
		if m.Status == market.StatusStarting {
			m.Status = market.StatusRunning
		}
	}
}

// gpus counts what exists at the market for a policy, delivering or not.
func (b *bazaar) gpus(name string) (n int) {
	for _, m := range b.machines {
		if mn, _ := market.ParseMachineName(m.Name); mn.Policy == name {
			n += m.Shape.GPUs
		}
	}
	return n
}

// burn is what everything that exists may cost when it wins.
func (b *bazaar) burn() (sum market.Rate) {
	for _, m := range b.machines {
		sum = sum.Add(m.Compute.Or(0)).Add(m.Storage.Or(0))
	}
	return sum
}

func TestAfterAPlanWasAcceptedTheNextOneIsEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var hosts []market.Host
		for i := range 1 + upTo(t, "hosts", 6) {
			hosts = append(hosts, drawHost(t, i))
		}
		var ps []policy.Policy
		for i := range 1 + upTo(t, "policies", 3) {
			p := drawPolicy(t, fmt.Sprintf("p%d", i))
			p.Cooldown = 0
			ps = append(ps, p)
		}
		b := newBazaar(newInput(hosts, ps...))
		b.in.Budget = drawBudget(t, false)
		if c, ok := b.in.Budget.MaxHourly.Get(); ok {
			b.in.HourlyCap = c
		}
		for range 20 {
			b.look(b.list(), true)
			in, p := converse(b.in, b.wins)
			b.in = in
			if len(p.Actions) == 0 && len(holds(p, HoldBooting))+len(holds(p, HoldDraining)) == 0 {
				again := Compute(b.in)
				if len(again.Actions)+len(again.Questions) > 0 {
					t.Fatalf("a second thought: %+v", again)
				}
				return
			}
			b.all(t, p)
			b.boot()
			for i := range b.in.Snapshot.Hosts.Value { // what was bought is free no more
				h := &b.in.Snapshot.Hosts.Value[i]
				for _, a := range actions(p, Deploy) {
					for j := range h.GPUs {
						if a.Host == h.ID && h.GPUs[j].Model == a.Model {
							h.GPUs[j].Free -= a.Shape.GPUs
						}
					}
				}
			}
			b.in.Now = b.in.Now.Add(time.Minute)
			for _, kind := range []ActionKind{Rebid, Delete} {
				for _, a := range actions(p, kind) {
					// The day's money runs out; or spot is found only after on-demand was bought.
					if a.Reason.Code != ReasonOverBudget && a.Reason.Code != ReasonSpotReady {
						t.Fatalf("undoes what it did: %+v", a)
					}
				}
			}
		}
		t.Fatal("never at rest")
	})
}

// TestWhateverHappensNoMoreExistsThanWasWantedAndMayBePaid runs the books through
// random histories of a market that loses answers, refuses, hides and outbids,
// and a daemon that is killed between any two steps.
func TestWhateverHappensNoMoreExistsThanWasWantedAndMayBePaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts := []market.Host{newHost("a", 4, "0.30"), newHost("b", 2, "0.25"), newHost("c", 8, "0.35"), newHost("d", 1, "0.20")}
		p, q := newPolicy("p", 1+upTo(t, "p wants", 4)), newPolicy("q", upTo(t, "q wants", 3))
		q.Shape.GPUs, q.Capacity = 2, pick(t, "q buys", market.Spot, market.OnDemand)
		b := newBazaar(newInput(hosts, p, q))
		b.in.Safety.BreakerFailures = 100
		b.in.HourlyCap = drawRate(t, "cap", 3000, 30000)
		b.in.Budget.MaxHourly = market.Some(b.in.HourlyCap)
		b.rebids = chance(t, "rebids are applied", 70)
		faults := 0
		for range 25 {
			b.in.Now = b.in.Now.Add(time.Duration(number(t, "seconds", 30, 300)) * time.Second)
			b.weather(t)
			switch list := b.list(); {
			case chance(t, "fails", 10):
				b.look(nil, false)
			case faults == 0 && chance(t, "is empty", 8):
				b.look(nil, true)
				faults++
			default:
				b.look(list, true)
				faults = 0
			}
			in, pl := converse(b.in, b.wins)
			b.in = in
			b.act(t, pl)
			b.check(t)
		}
	})
}

// weather is what others do: bids, boots, losses.
func (b *bazaar) weather(t *rapid.T) {
	for _, h := range b.in.Snapshot.Hosts.Value {
		b.theta[h.ID] = drawRate(t, "threshold", 1000, 4500)
	}
	for _, id := range b.sorted() {
		m := b.machines[id]
		switch number(t, "fate", 0, 19) {
		case 0:
			m.Status = market.StatusOutbid
		case 1:
			m.Status = market.StatusReleased
		case 2:
			m.Status = market.StatusUnknown
		case 3:
			delete(b.machines, id)
		case 4:
			m.Status = market.StatusOutbid
		default:
			m.Status = market.StatusRunning
		}
	}
}

// act carries out a plan until the daemon is killed.
func (b *bazaar) act(t *rapid.T, p Plan) {
	for _, a := range p.Actions {
		in, ok := b.begin(a)
		if !ok {
			continue
		}
		h := &b.in.History
		switch number(t, "outcome", 0, 9) {
		case 0:
			return // killed before the request
		case 1:
			b.effect(a, in)
			b.hide(t, a)
			return // killed before the answer
		case 2:
			b.effect(a, in)
			b.hide(t, a)
			Lose(h, &in, "timeout", b.in.Now)
		case 3:
			Lose(h, &in, "timeout", b.in.Now)
		case 4:
			Refuse(h, testSafety(), &in, pick(t, "class", market.ClassNoCapacity, market.ClassBidRefused, market.ClassUnavailable), "no", b.in.Now)
		case 5:
			Accept(h, &in, market.Deployed{ID: "vm-never", Total: market.Some(a.Rate)}, b.in.Now) // a yes without an effect
			if a.Kind == Deploy {
				h.Machine(in.Machine).ID = ""
			}
		default:
			Accept(h, &in, b.effect(a, in), b.in.Now)
			b.hide(t, a)
		}
		b.check(t)
	}
}

// hide keeps a new machine out of the next lists.
func (b *bazaar) hide(t *rapid.T, a Action) {
	if a.Kind != Deploy {
		return
	}
	b.hidden[fmt.Sprintf("vm-%04d", b.ids)] = upTo(t, "hidden", 1)
}

func (b *bazaar) check(t *rapid.T) {
	for _, p := range b.in.Policies {
		if n := b.gpus(p.Name); n > p.GPUs() {
			t.Fatalf("%d GPUs exist for %s, which wants %d: %s", n, p.Name, p.GPUs(), asJSON(t, b.in.History.Machines))
		}
		n := 0
		for _, m := range b.in.History.Machines {
			if m.Policy == p.Name {
				n += m.Shape.GPUs
			}
		}
		if n > p.GPUs() {
			t.Fatalf("%d GPUs in the books for %s, which wants %d", n, p.Name, p.GPUs())
		}
	}
	if b.burn() > b.in.HourlyCap || b.in.History.Reserved() > b.in.HourlyCap {
		t.Fatalf("%s at the market, %s reserved, the cap is %s", b.burn(), b.in.History.Reserved(), b.in.HourlyCap)
	}
	for id, m := range b.machines {
		if b.in.History.Machine(m.Name) == nil {
			t.Fatalf("%s (%s) exists and is not in the books: it leaks", id, m.Name)
		}
	}
}
