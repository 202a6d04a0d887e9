package plan

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func TestTheSameInputGivesTheSamePlanWhateverTheOrderOfItsLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		before := asJSON(t, in)
		want := asJSON(t, Compute(in))
		if asJSON(t, in) != before {
			t.Fatal("Compute changed its input")
		}
		if got := asJSON(t, Compute(shuffled(in, rapid.Int64().Draw(t, "seed")))); got != want {
			t.Fatalf("another order, another plan:\n%s\n%s", want, got)
		}
	})
}

func TestALookTeachesTheSameWhateverTheOrderOfItsLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Snapshot.Instances.Value = drawList(t, in)
		a, b := in, shuffled(in, rapid.Int64().Draw(t, "seed"))
		a.History, b.History = a.History.Clone(), b.History.Clone()
		e1, e2 := Observe(&a.History, look(a)), Observe(&b.History, look(b))
		if x, y := asJSON(t, e1), asJSON(t, e2); x != y {
			t.Fatalf("events differ:\n%s\n%s", x, y)
		}
		if x, y := asJSON(t, Compute(a)), asJSON(t, Compute(b)); x != y {
			t.Fatalf("plans differ:\n%s\n%s", x, y)
		}
	})
}

// drawList is a list that shows some of our machines, some that we do not know,
// and some of others.
func drawList(t *rapid.T, in Input) (out []market.Instance) {
	for _, m := range in.History.Machines {
		if chance(t, "absent", 25) {
			continue
		}
		inst := shown(m)
		if inst.ID == "" {
			inst.ID = "new-" + m.Name
		}
		inst.Status = pick(t, "listed as", m.Status, market.StatusRunning, market.StatusOutbid, market.StatusTerminated)
		if chance(t, "bare", 20) {
			inst = market.Instance{ID: inst.ID, Name: inst.Name, Status: inst.Status}
		}
		out = append(out, inst)
		if chance(t, "twin", 5) {
			inst.ID += "-twin"
			out = append(out, inst)
		}
	}
	return append(out, drawStrangers(t)...)
}

func drawStrangers(t *rapid.T) (out []market.Instance) {
	for i := range upTo(t, "strangers", 4) {
		name := pick(t, "stranger", "My Server", "", "tds-other-p0-k0000000", "tds-main--x-p0-k0000000", "tds-main", "TDS-main-p0-k0000000", "tds-main-p0-k0000000~x")
		out = append(out, market.Instance{
			ID: fmt.Sprintf("stranger-%d", i), Name: name, Status: pick(t, "stranger is", market.StatusRunning, market.StatusOutbid, market.StatusStopped),
			Host: "host-00", Model: rtx4090, Shape: market.Shape{GPUs: 1}, Compute: market.Some(usd("0.30")),
		})
	}
	return out
}

// planned sums what a plan adds to the reservations, for one policy or all.
func planned(in Input, p Plan, name string) (sum market.Rate) {
	for _, a := range p.Actions {
		switch {
		case name != "" && a.Policy != name:
		case a.Kind == Deploy, a.Kind == ContainerDeploy:
			sum = sum.Add(a.Rate)
		case a.Kind == ContainerScale:
			sum = sum.Add(max(a.Rate.Sub(in.History.Container(a.Machine).Reserved), 0))
		case a.Kind == Rebid:
			sum = sum.Add(max(a.Rate.Sub(in.History.Machine(a.Machine).Reserved), 0))
		}
	}
	return sum
}

// affordable checks rate x d <= money without the planner's own arithmetic.
func affordable(rate market.Rate, d time.Duration, money market.Amount) bool {
	cost := new(big.Int).Mul(big.NewInt(int64(rate)), big.NewInt(int64(d)))
	return cost.Cmp(new(big.Int).Mul(big.NewInt(int64(money)), big.NewInt(int64(time.Hour)))) <= 0
}

func TestNoCapIsEverExceeded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		p := Compute(in)
		more := planned(in, p, "")
		if more == 0 {
			return
		}
		all := in.History.Reserved().Add(more)
		others := market.Rate(0)
		if in.Budget.Scope == policy.ScopeAccount {
			others = in.History.Account.Others
		}
		if all+others > in.HourlyCap {
			t.Fatalf("%s reserved, others cost %s, the cap is %s", all, others, in.HourlyCap)
		}
		checkSpend(t, in, "", in.Budget, all)
		checkBalance(t, in, more)
		for _, pol := range in.Policies {
			own := planned(in, p, pol.Name)
			if own == 0 {
				continue
			}
			own = own.Add(in.History.ReservedFor(pol.Name))
			if c, ok := pol.Budget.MaxHourly.Get(); ok && own > c {
				t.Fatalf("%s reserved for %s, its cap is %s", own, pol.Name, c)
			}
			checkSpend(t, in, pol.Name, pol.Budget, own)
		}
	})
}

func checkSpend(t *rapid.T, in Input, name string, b policy.Budget, reserved market.Rate) {
	var day, month, total market.Amount
	counts := func(p string) bool {
		return p == name || name == "" && (p != restOfAccount || in.Budget.Scope == policy.ScopeAccount)
	}
	for _, s := range in.History.Spend {
		if counts(s.Policy) {
			month += s.Amount
			if s.Day == "2026-03-10" {
				day += s.Amount
			}
		}
	}
	for _, s := range in.History.Totals {
		if counts(s.Policy) {
			total += s.Amount
		}
	}
	if name == "" && in.Budget.Scope == policy.ScopeAccount {
		reserved = reserved.Add(in.History.Account.Others)
	}
	horizon := in.Interval + 20*time.Minute
	if c, ok := b.MaxTotal.Get(); ok && !affordable(reserved, horizon, c-total) {
		t.Fatalf("%q: %s for %s does not fit into %s less %s", name, reserved, horizon, c, total)
	}
	if c, ok := b.MaxDaily.Get(); ok && !affordable(reserved, horizon, c-day) {
		t.Fatalf("%q: %s for %s does not fit into %s less %s", name, reserved, horizon, c, day)
	}
	if c, ok := b.MaxMonthly.Get(); ok && !affordable(reserved, horizon, c-month) {
		t.Fatalf("%q: %s for %s does not fit into %s less %s", name, reserved, horizon, c, month)
	}
}

func checkBalance(t *rapid.T, in Input, more market.Rate) {
	s := in.Snapshot.Balance
	balance, known := s.Value.Balance.Get()
	known = known && s.Complete
	if known && balance < dollars(1) {
		t.Fatalf("growth at a balance of %s", balance)
	}
	if !known && (in.Budget.MinBalance.Known() || in.Budget.MinRunway > 0) {
		t.Fatal("growth at an unknown balance")
	}
	if b, ok := in.History.Account.Balance.Get(); ok {
		balance = min(balance, b)
	}
	burn := in.History.Reserved().Add(more).Add(in.History.Account.Others)
	if least, ok := in.Budget.MinBalance.Get(); ok && !affordable(burn, in.Interval+10*time.Minute, balance-least) {
		t.Fatalf("%s would take the balance of %s below %s", burn, balance, least)
	}
	if d := in.Budget.MinRunway; d > 0 && !affordable(burn, d, balance) {
		t.Fatalf("%s at %s lasts less than %s", balance, burn, d)
	}
}

func TestBeginRefusesWhatTheCapsDoNotLeave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		caps := Caps{Hourly: drawRate(t, "cap", 1000, 30000), Fleet: drawBudget(t, false), Policy: drawBudget(t, true), Lag: 11 * time.Minute}
		caps.Purse = Purse{Balance: market.Some(market.Amount(drawRate(t, "balance", 5000, 200000))), Others: drawRate(t, "others", 0, 5000)}
		h := History{Spend: []Spend{{"2026-03-10", "a", market.Amount(drawRate(t, "spent", 0, 20000))}}}
		h.Totals = []Total{{Policy: "a", Amount: h.Spend[0].Amount}}
		var open []Intent
		for i := range 1 + upTo(t, "steps", 30) {
			if len(open) > 0 && rapid.Bool().Draw(t, "answer") {
				in := open[0]
				open = open[1:]
				switch upTo(t, "how", 2) {
				case 0:
					Accept(&h, &in, market.Deployed{ID: in.Machine, Total: market.Some(in.Reserved)}, t0)
					if m := h.Machine(in.Machine); m != nil && in.Kind == Deploy {
						m.Phase = PhaseLive
					}
				case 1:
					Refuse(&h, testSafety(), &in, market.ClassRefused, "no", t0)
				default:
					Lose(&h, &in, "timeout", t0)
				}
			}
			storage, bid := usd("0.005"), drawRate(t, "bid", 500, 9000)
			a := Action{
				Kind: Deploy, Policy: pick(t, "policy", "a", "b"), Capacity: market.Spot, Bid: bid, Storage: storage,
				Rate: bid.Add(storage), Reserve: bid.Add(drawRate(t, "reserve", 100, 9000)),
			}
			if n := len(h.Machines); n > 0 && chance(t, "rebid", 40) {
				m := h.Machines[upTo(t, "which", n-1)]
				a.Kind, a.Policy, a.Machine = Rebid, m.Policy, m.Name
			}
			before := h.Reserved()
			in, err := Begin(&h, a, caps, uint64(i+1), 1, fmt.Sprintf("m%d", i), t0)
			if err == nil {
				open = append(open, in)
			} else if h.Reserved() != before {
				t.Fatalf("a refused Begin booked something: %v", err)
			}
			if h.Reserved() > caps.Hourly {
				t.Fatalf("%s reserved, the cap is %s", h.Reserved(), caps.Hourly)
			}
			for _, name := range []string{"a", "b"} {
				if c, ok := caps.Policy.MaxHourly.Get(); ok && h.ReservedFor(name) > c {
					t.Fatalf("%s reserved for %s, its cap is %s", h.ReservedFor(name), name, c)
				}
			}
			if err == nil && h.Reserved() > before {
				world := Input{Interval: time.Minute, Budget: caps.Fleet, History: h}
				world.History.Account.Others = caps.Purse.Others
				checkSpend(t, world, "", caps.Fleet, h.Reserved())
				checkSpend(t, world, a.Policy, caps.Policy, h.ReservedFor(a.Policy))
				world.Snapshot.Balance = market.Section[market.Balance]{Value: market.Balance{Balance: caps.Purse.Balance}, Complete: true}
				checkBalance(t, world, 0)
			}
			left := caps.room(h.position(a.Policy, &caps, t0)).room
			if errors.Is(err, ErrBudget) && a.Kind == Deploy && a.Rate <= left {
				t.Fatalf("%s refused although %s are left", a.Rate, left)
			}
		}
	})
}

// What the day's or the month's money no longer pays is deleted by its id all the
// same: that rests on what was spent, not on the list.
func TestAnIncompleteListCausesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Snapshot.Instances.Complete = false
		p := Compute(in)
		for _, a := range p.Actions {
			spent := slices.ContainsFunc([]string{"max_daily", "max_monthly", "max_total", "min_balance", "must last"}, func(cap string) bool {
				return strings.Contains(a.Reason.Text, cap)
			})
			if !a.Kind.Ends() || a.Reason.Code != ReasonOverBudget || !spent {
				t.Fatalf("machines unknown, yet %+v", a)
			}
		}
		if len(p.Questions) > 0 {
			t.Fatalf("machines unknown, yet %+v", p.Questions)
		}
		in.Snapshot.Instances.Complete, in.Snapshot.Hosts.Complete, in.Snapshot.Instants.Complete = true, false, false
		if p := Compute(in); len(actions(p, Deploy))+len(actions(p, ContainerDeploy)) > 0 {
			t.Fatalf("hosts unknown, yet %+v", p.Actions)
		}
		in.Snapshot.Instances.Value, in.Snapshot.Instances.Complete = drawList(t, in), false
		in.Snapshot.Containers = nil // judged apart
		h := in.History.Clone()
		for _, e := range Observe(&h, look(in)) {
			if e.Kind != EventClosed { // a matter of time
				t.Fatalf("an incomplete list taught %+v", e)
			}
		}
		if len(h.Machines) != len(in.History.Machines) {
			t.Fatal("an incomplete list changed the machines")
		}
	})
}

func TestAnEmptyListNeverCausesADeployOrADeleteAtTheFirstLook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		for i := range in.History.Machines { // nothing has been missed before
			in.History.Machines[i].OrderedAt = t0.Add(-time.Minute)
		}
		in.Snapshot.Instances.Complete = true
		count := map[string]int{}
		for _, m := range in.History.Machines {
			if !m.parked() { // it has no place: it is started instead of a purchase, or another is bought
				count[group(in, m.Policy, m.Capacity)] += m.Shape.GPUs
			}
		}
		h := in.History
		in.History = h.Clone()
		Observe(&in.History, look(in))
		if len(in.History.Machines) != len(h.Machines) {
			t.Fatalf("%d machines, %d after one empty list", len(h.Machines), len(in.History.Machines))
		}
		gained := map[string]int{}
		for _, a := range actions(Compute(in), Deploy) {
			key := group(in, a.Policy, a.Capacity)
			gained[key] += a.Shape.GPUs
			if most := most(in, a.Policy); count[key]+gained[key] > most {
				t.Fatalf("%s has %d GPUs, buys %d, wants %d", key, count[key], gained[key], most)
			}
		}
	})
}

func TestNoActionNamesAMachineThatIsNotOurs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Snapshot.Instances.Value = append(drawList(t, in), market.Instance{ID: "zz", Name: "a stranger"})
		list := in.Snapshot.Instances.Value
		// Without the strangers but one, which proves that the list is not empty for a fault.
		own := slices.DeleteFunc(slices.Clone(list), func(i market.Instance) bool {
			return strings.HasPrefix(i.ID, "stranger")
		})
		// What may run a container of which nobody knows is told, and no more.
		in.History.Containers = slices.DeleteFunc(in.History.Containers, func(c Container) bool { return c.ID == "" })
		// What others cost counts only where the caps are the whole account's.
		in.Budget.Scope, in.Budget.MinRunway, in.Budget.MinBalance = policy.ScopeOwner, 0, market.Maybe[market.Amount]{}
		run := func(list []market.Instance) (string, Plan) {
			in := in
			in.History = in.History.Clone()
			in.Snapshot.Instances.Value = list
			events := Observe(&in.History, look(in))
			return asJSON(t, events) + asJSON(t, Compute(in)), Compute(in)
		}
		with, p := run(list)
		without, _ := run(own)
		if with != without {
			t.Fatalf("strangers changed the plan:\n%s\n%s", with, without)
		}
		for _, a := range p.Actions {
			if a.Kind == Deploy || a.Kind == ContainerDeploy {
				continue
			}
			bare, _, _ := strings.Cut(a.Machine, "~")
			n, ok := market.ParseMachineName(bare)
			if !ok || n.Owner != "main" || a.Instance == "" || strings.HasPrefix(a.Instance, "stranger") {
				t.Fatalf("an action on what is not ours: %+v", a)
			}
		}
	})
}

func TestBidsMoveUpNeverAboveTheCeilingAndDownInSteps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		p := Compute(in)
		for _, a := range p.Actions {
			pol := find(in, a.Policy)
			switch a.Kind {
			case Deploy:
				if c := pol.CeilingOf(a.Capacity, a.Shape.GPUs); a.Rate > c || a.Reserve > c || a.Rate <= 0 {
					t.Fatalf("%s (up to %s) all-in, the ceiling is %s", a.Rate, a.Reserve, c)
				}
				if a.Capacity == market.Spot && (a.Bid < market.MinBid || a.Bid%market.Cent != 0 || a.Bid.Add(a.Storage) != a.Rate) {
					t.Fatalf("bid %s, storage %s, rate %s", a.Bid, a.Storage, a.Rate)
				}
			case Rebid:
				m := in.History.Machine(a.Machine)
				if a.Reason.Code == ReasonPriceFell {
					if a.Bid >= m.Bid.Or(0) || a.Bid < m.Bid.Or(0).Scale(4, 5) && !a.AskOnly || a.Bid%market.Cent != 0 || a.Reserve != m.Reserved ||
						!m.Ready() || m.Rebid != nil || in.Now.Before(m.NoCutBefore) || pol.Bidding.MaxStep == 0 {
						t.Fatalf("cuts %+v to %s", m, a.Bid)
					}
					continue
				}
				if a.Bid <= m.Bid.Or(market.MaxRate) || a.Bid%market.Cent != 0 || a.Bid.Add(m.Storage.Or(market.MaxRate)) > pol.MaxGPUHour.Mul(m.Shape.GPUs) {
					t.Fatalf("raise from %v to %s under a ceiling of %s", m.Bid, a.Bid, pol.Ceiling())
				}
			}
		}
		for _, q := range p.Questions {
			if q.Bid < market.MinBid || q.Bid%market.Cent != 0 {
				t.Fatalf("asks about a bid of %s", q.Bid)
			}
		}
	})
}

// group is what a machine's GPUs count for: a fallback stands beside the target until
// spot is ready.
func group(in Input, name string, c market.Capacity) string {
	if pol := find(in, name); pol != nil && pol.Capacity == policy.SpotWithFallback && c == market.OnDemand {
		return name + " on demand"
	}
	return name
}

// most is how many GPUs of a group there may be.
func most(in Input, name string) int {
	pol := find(in, name)
	beside := pol.Surge
	if pol.Migrate.MaxPerHour > 0 {
		beside++
	}
	return pol.GPUs() + beside*pol.Shape.GPUs
}

func find(in Input, name string) *policy.Policy {
	for i := range in.Policies {
		if in.Policies[i].Name == name {
			return &in.Policies[i]
		}
	}
	return nil
}

func TestCapacityNeverExceedsTheTargetAndLimitsHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		p := Compute(in)
		if len(p.Actions) > in.Limits.MaxActions || len(p.Questions) > in.Limits.MaxProbes {
			t.Fatalf("%d actions and %d questions, limits %+v", len(p.Actions), len(p.Questions), in.Limits)
		}
		have := map[string]int{}
		for _, m := range in.History.Machines {
			if !m.parked() {
				have[group(in, m.Policy, m.Capacity)] += m.Shape.GPUs
			}
		}
		named := map[string]bool{}
		for _, a := range p.Actions {
			if a.Kind == Deploy || a.Kind == Start {
				key := group(in, a.Policy, a.Capacity)
				have[key] += a.Shape.GPUs
				if most := most(in, a.Policy); have[key] > most {
					t.Fatalf("%s wants %d GPUs and would have %d", key, most, have[key])
				}
			} else if named[a.Machine] && a.Machine != "" {
				t.Fatalf("two actions on %s", a.Machine)
			}
			named[a.Machine] = true
			if in.History.PausedBy(a.Policy, in.Now) != nil {
				t.Fatalf("%s is paused, yet %+v", a.Policy, a)
			}
			if b := in.History.OpenBreaker(in.Now); b != nil && (!a.Kind.Ends() || b.All && a.Reason.Code != ReasonOverBudget) {
				t.Fatalf("a breaker is open, yet %+v", a)
			}
			if g, ok := in.History.Gap.Get(); ok && a.Kind == Deploy && g.Holds(in.Safety, in.Now) {
				t.Fatalf("the list may hide machines, yet %+v", a)
			}
		}
	})
}

func TestNothingHappensWithoutAReasonAndNothingIsLeftOutWithoutOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		p := Compute(in)
		told := map[string]bool{}
		for _, a := range p.Actions {
			told[a.Policy] = true
			if a.Reason.Code == "" || a.Reason.Text == "" {
				t.Fatalf("no reason: %+v", a)
			}
		}
		for _, h := range p.Holds {
			told[h.Policy] = true
			if h.Reason.Code == "" || h.Reason.Text == "" {
				t.Fatalf("no reason: %+v", h)
			}
		}
		if len(p.Standings) != len(in.Policies) {
			t.Fatalf("%d standings of %d policies", len(p.Standings), len(in.Policies))
		}
		for _, s := range p.Standings {
			if !told[s.Policy] && !s.Satisfied {
				t.Fatalf("nothing is said about %+v in %+v", s, p)
			}
			if s.Satisfied && (told[s.Policy] && len(actionsOf(p, s.Policy)) > 0 || s.Ready != s.Target) {
				t.Fatalf("satisfied? %+v", s)
			}
		}
	})
}

func actionsOf(p Plan, name string) (out []Action) {
	for _, a := range p.Actions {
		if a.Policy == name {
			out = append(out, a)
		}
	}
	return out
}

func TestNoNewcomerGoesWhereItsGPUsAreNotProvablyFreeOrOursIsDead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		in.Snapshot.Hosts.At = t0.Add(-time.Minute * time.Duration(upTo(t, "age of the hosts", 90)))
		type slot struct {
			host  string
			model market.GPUModel
		}
		used, dead, ours := map[slot]int{}, map[string]bool{}, map[string]bool{}
		for _, m := range in.History.Machines {
			ours[m.Host] = true
			if m.Leaving != nil || m.Phase == PhaseLive && !m.Status.BillsCompute() && m.Parked == nil {
				dead[m.Host] = true
			}
			if m.Phase != PhaseLive || !m.OrderedAt.Before(in.Snapshot.Hosts.At) {
				used[slot{m.Host, m.Model}] += m.Shape.GPUs
			}
		}
		ports := map[string]map[int]bool{}
		share := map[string]int{}
		for _, a := range actions(Compute(in), Deploy) {
			if a.Via == market.ViaInstant || a.Site != "" {
				continue
			}
			h := in.Snapshot.Hosts.Value[slices.IndexFunc(in.Snapshot.Hosts.Value, func(h market.Host) bool { return h.ID == a.Host })]
			g, _ := h.GPU(a.Model)
			used[slot{a.Host, a.Model}] += a.Shape.GPUs
			alone := a.Capacity == market.Spot && !ours[a.Host]
			ours[a.Host] = true
			if used[slot{a.Host, a.Model}] > g.Free && !alone || dead[a.Host] || !h.Online || !h.Listed || h.Reserved {
				t.Fatalf("%+v on %+v, %d used, ours dead there: %v", a, h, used[slot{a.Host, a.Model}], dead[a.Host])
			}
			if ports[a.Host] == nil {
				ports[a.Host] = map[int]bool{}
			}
			for _, f := range a.Ports {
				if ports[a.Host][f.External] || !slices.Contains(h.Ports.Or(nil), f.External) {
					t.Fatalf("port %d of %s is given twice, or not free", f.External, a.Host)
				}
				ports[a.Host][f.External] = true
			}
			pol := find(in, a.Policy)
			if _, ok := h.Ports.Get(); ok && len(a.Ports) != len(pol.Ports) {
				t.Fatalf("%d ports, wanted %v", len(a.Ports), pol.Ports)
			}
			share[a.Policy+a.Host]++
			if s := pol.Spread.Host(); share[a.Policy+a.Host] > s.Of(pol.Target) {
				t.Fatalf("%d machines of %d on %s, the spread allows %+v", share[a.Policy+a.Host], pol.Target, a.Host, s)
			}
		}
	})
}
