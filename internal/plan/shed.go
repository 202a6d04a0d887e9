package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// orphans removes the machines of policies that are no longer in the file. A
// policy that this ledger never knew may be somebody's typo or another file:
// its machines are reported and left alone.
func (w *world) orphans() {
	for _, m := range w.machines {
		if !w.orphaned(m) {
			continue
		}
		switch p := w.pausedBy(m.Policy); {
		case m.Leaving != nil || m.Phase == PhaseDeleting:
		case p != nil && p.Teardown:
			w.remove(m, Reason{ReasonDestroy, pauseText(p)})
		case p != nil:
			w.hold(nil, m, HoldPaused, "%s", pauseText(p))
		case w.shadowed(m.Policy):
			w.hold(nil, m, HoldShadow, "policy %q is a shadow and buys nothing; this machine is from before, and is left alone (destroy %s to end its bill)", m.Policy, m.Policy)
		case !slices.Contains(w.in.History.Known, m.Policy):
			w.hold(nil, m, HoldOrphan, "no policy %q in the file, and this ledger never knew one: it is left alone (destroy %s to end its bill)", m.Policy, m.Policy)
		default:
			w.remove(m, Reason{ReasonPolicyRemoved, fmt.Sprintf("policy %q was removed", m.Policy)})
		}
	}
	w.orphanContainers()
}

// orphaned says whether the machine's policy is not in the file.
func (w *world) orphaned(m *Machine) bool {
	return w.deskOf[m.Policy] == nil
}

// shed deletes machines while a policy or the fleet costs more than a cap that the
// user wrote allows: the cap was lowered, machines were adopted, what is left of a
// day's, a month's or a policy's money is less than what would be spent before
// anything could be stopped, or the balance runs short.
//
//	hourly caps                      what may still be billed          <= cap
//	daily, monthly, lifetime caps    (cap - spent) / (interval + 10 min)  <= cap; a day that ends
//	                                 before then takes less of it
//	min_balance                      (balance - min) / (interval + 10 min)
//	min_runway                       balance / runway, or (interval + 10 min) where that is longer
//
// Where the list of machines could not be read, seen is false and the hourly caps do
// not count: what machines are known to cost is spent whether or not they can be
// seen, and deleting them by their ids rests on no list.
func (w *world) shed(seen bool) {
	lag := w.spansLeft()
	for i := range w.desks {
		d := &w.desks[i]
		machines := w.withContainers(d.machines, func(p string) bool { return p == d.p.Name })
		t := tightest{room: market.MaxRate}
		if c, ok := d.p.Budget.MaxHourly.Get(); ok && seen {
			t.take(c, "the policy's max_hourly is %s", c)
		}
		t.spend("the policy", &d.p.Budget, w.spent[d.p.Name], w.unstoppable(machines), lag)
		w.shedTo(t, machines)
	}
	t := tightest{room: market.MaxRate}
	sure := w.in.History.Account.Sure
	others := market.Rate(0)
	if w.in.Budget.Scope == policy.ScopeAccount {
		others = sure
	}
	if w.in.Budget.MaxHourly.Known() && seen { // else the cap is only what the targets add up to
		t.take(w.in.HourlyCap.Sub(others), "max_hourly is %s", w.in.HourlyCap)
	}
	machines := w.withContainers(w.machines, func(string) bool { return true })
	fixed := w.unstoppable(machines)
	t.spend("the fleet", &w.in.Budget, w.allSpent, fixed.Add(others), lag)
	if balance, ok := w.in.History.Account.Balance.Get(); ok {
		t.purse(&w.in.Budget, balance, fixed.Add(sure), w.caps.Lag, 0)
	}
	w.shedTo(t, machines)
}

// spansLeft is how long money flows until it can be stopped, no longer than the day
// and the month last.
func (w *world) spansLeft() spans {
	now := w.in.Now.In(w.in.Budget.Zone.Location())
	tomorrow := nextDay(now)
	s := spans{day: min(w.caps.Lag, tomorrow.Sub(now)), month: w.caps.Lag, total: w.caps.Lag}
	if tomorrow.Day() == 1 {
		s.month = s.day
	}
	return s
}

// unstoppable is what goes on costing whatever is shed now: orders that no look has
// shown, and deletions that take longer than they should.
func (w *world) unstoppable(machines []*Machine) (sum market.Rate) {
	for _, m := range machines {
		slow := m.Leaving != nil && w.in.Now.Sub(m.Leaving.At) > w.in.Safety.AbsentAge
		if m.Reserved < market.MaxRate && (m.Phase == PhaseUnknown || m.Phase == PhaseAccepted || slow) {
			sum = sum.Add(m.Reserved)
		}
	}
	return sum
}

// shedTo deletes machines until the others cost no more than the room: lowest
// priority first, protected machines last, then the dearest. Machines of policies
// that are paused or shadows, or that this ledger never knew, cost money too, but are
// not touched.
func (w *world) shedTo(t tightest, machines []*Machine) {
	var live market.Rate
	for _, m := range machines {
		if w.sheddable(m) {
			live = live.Add(m.Reserved)
		}
	}
	if live <= t.room {
		return
	}
	for _, v := range w.victims(machines) {
		if live <= t.room {
			return
		}
		w.harden(v.m.Name)
		if w.remove(v.m, Reason{ReasonOverBudget, fmt.Sprintf("machines cost %s, %s are left: %s", live, t.room, t.why)}) {
			if v.d != nil {
				v.d.busy = true
			}
			live = live.Sub(v.m.Reserved)
		}
	}
}

// sheddable leaves out what is on its way out, and what has never been seen or
// priced: a reservation that is only a worst case is no reason to shed.
func (w *world) sheddable(m *Machine) bool {
	return m.Phase == PhaseLive && m.Leaving == nil && (!w.going[m.Name] || w.softer(m.Name) >= 0) && m.Reserved < market.MaxRate
}

// softer is where this plan stops the machine, or takes replicas away: its bill goes on
// until a look shows the effect, and a cap may not wait for that; -1 if it does not.
func (w *world) softer(name string) int {
	return slices.IndexFunc(w.plan.Actions, func(a Action) bool {
		return a.Machine == name && (a.Kind == Stop || a.Kind == ContainerScale)
	})
}

// harden takes the softer action back.
func (w *world) harden(name string) {
	i := w.softer(name)
	if i < 0 {
		return
	}
	if a := w.plan.Actions[i]; a.Kind == ContainerScale {
		more := a.Reserve.Sub(w.in.History.Container(name).Reserved)
		w.reserved, w.ofPolicy[a.Policy] = w.reserved.Sub(more), w.ofPolicy[a.Policy].Sub(more)
	}
	w.plan.Actions = slices.Delete(w.plan.Actions, i, i+1)
	delete(w.going, name)
}

type victim struct {
	m         *Machine
	d         *desk // nil for a machine of a policy that was removed: these go first
	protected int
}

func (v *victim) priority() int {
	if v.d == nil {
		return math.MinInt
	}
	return v.d.p.Priority
}

func (w *world) victims(machines []*Machine) []victim {
	var out []victim
	for _, m := range machines {
		d := w.deskOf[m.Policy]
		if !w.sheddable(m) || w.pausedBy(m.Policy) != nil || w.shadowed(m.Policy) || d == nil && !slices.Contains(w.in.History.Known, m.Policy) {
			continue
		}
		v := victim{m: m, d: d}
		if d != nil && d.protected(m, w.in.Now) {
			v.protected = 1
		}
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b victim) int {
		return cmp.Or(cmp.Compare(a.protected, b.protected), cmp.Compare(a.priority(), b.priority()),
			-cmp.Compare(a.m.Reserved, b.m.Reserved), cmp.Compare(a.m.Name, b.m.Name))
	})
	return out
}
