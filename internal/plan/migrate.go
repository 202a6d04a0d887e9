package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// A policy that may migrate replaces its dearest running spot machine by a cheaper
// one, where that is sure to pay:
//
//	the target is met, nothing boots or leaves       a move is no repair
//	the machine has run for long enough              min_lifetime, and leastStay
//	the offer is cheaper by min_saving, losses       tiny differences move nothing
//	  on both hosts counted
//	the saving of payback is twice the other boot    both are paid for meanwhile
//	fewer moves than max_per_hour                    the churn budget
//	the caps leave room for both                     the old one goes when the new one runs
//
// Until the new machine runs it stands beside the target, and names the one whose
// place it takes.

// leastStay is how long a machine stays where it is, whatever is cheaper elsewhere.
const leastStay = 30 * time.Minute

// overlaps says whether a machine stands beside the target until another one goes. What
// has come to be protected, or to bear another's name, will not go: then it is one of too many.
func (w *world) overlaps(m *Machine) bool {
	if m.Replaces == "" {
		return false
	}
	old, d := w.in.History.Machine(m.Replaces), w.deskOf[m.Policy]
	return old != nil && old.Policy == m.Policy && old.Leaving == nil && old.Ready() && !w.going[old.Name] && old.Renamed == "" &&
		d != nil && !d.protected(old, w.in.Now)
}

// relocate gives up the machines whose successors run, and returns the others without
// what still stands beside the target.
func (w *world) relocate(d *desk, kept []*Machine) []*Machine {
	for _, m := range kept {
		if !w.overlaps(m) {
			continue
		}
		if m.Phase == PhaseLive && m.Status == market.StatusOutbid {
			d.busy = w.remove(m, Reason{ReasonOutbidForGood, "outbid before it could take the place of " + m.Replaces}) || d.busy
		}
		if !m.Ready() {
			continue
		}
		if !w.shownNow(m) {
			w.hold(d, m, HoldBooting, "is to take the place of %s, but this look alone does not prove that it runs", m.Replaces)
			continue
		}
		old := w.in.History.Machine(m.Replaces)
		if slices.Contains(kept, old) && !w.shielded(d, old) &&
			w.remove(old, Reason{ReasonMigrated, fmt.Sprintf("%s runs in its place, at %s instead of %s", m.Name, m.Reserved, old.Reserved)}) {
			d.busy = true
		}
	}
	return slices.DeleteFunc(kept, func(m *Machine) bool { return w.going[m.Name] || w.overlaps(m) })
}

// migrate looks for a cheaper place for the dearest machine of a policy that lacks
// nothing.
func (w *world) migrate(d *desk) {
	old := w.dearest(d)
	if old == nil || w.pausedBy(d.p.Name) != nil || w.noGrowth(d).Code != "" || w.cooling(d) {
		return
	}
	g := w.growth(d, market.Spot, d.p.Shape.GPUs)
	g.replaces, g.worth, g.voluntary = old, w.worth(old), true
	// Nobody asks about bids that would save too little.
	g.room = min(g.room, market.Rate(float64(g.worth)*(1-d.p.Migrate.MinSaving)))
	g.run()
	if g.asked > 0 {
		w.hold(d, old, HoldAsking, "asking whether it is to be had for less elsewhere")
	}
}

// dearest is the machine that a move would save most on; nil if none may be moved now.
func (w *world) dearest(d *desk) (dearest *Machine) {
	if d.p.Migrate.MaxPerHour <= 0 || d.busy || d.st.Booting+d.st.Leaving+d.st.Dead > 0 {
		return nil
	}
	moved := 0
	for _, m := range d.machines {
		if m.Replaces != "" && w.in.Now.Sub(m.OrderedAt) < time.Hour {
			moved++
		}
		stays := !m.Ready() || d.covers(m) || m.Rebid != nil || m.ID == "" || m.Renamed != "" || !m.Bid.Known() || w.going[m.Name] ||
			w.in.Now.Sub(m.OrderedAt) < max(leastStay, d.p.MinLifetime) || d.protected(m, w.in.Now) || m.Drain != nil
		if !stays && (dearest == nil || w.worth(m) > w.worth(dearest)) {
			dearest = m
		}
	}
	if moved >= d.p.Migrate.MaxPerHour {
		return nil
	}
	return dearest
}

// worth is what a running machine really costs per hour: offers are compared with it.
func (w *world) worth(m *Machine) market.Rate {
	lost := w.rework(m.Host, m.Model, m.Reserved, m.Storage.Or(0), m.Reserved)
	return m.Reserved.Add(lost)
}

// pays says whether moving to an offer saves enough; anything does where nothing is
// replaced.
func (g *growth) pays(c *candidate) bool {
	if g.replaces == nil || g.drift != "" {
		return true
	}
	if c.host.ID == g.replaces.Host || c.weighted >= g.worth {
		return false
	}
	saving, p := g.worth.Sub(c.weighted), &g.d.p.Migrate
	boot := c.price.For(g.w.records.TimeToReady(c.host.ID, c.gpu.Model))
	return float64(saving) >= p.MinSaving*float64(g.worth) && saving.For(p.Payback) >= 2*boot
}
