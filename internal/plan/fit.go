package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// removeUnfit deletes what must not or need not stay, and returns the others.
func (w *world) removeUnfit(d *desk) []*Machine {
	var kept []*Machine
	for _, m := range d.machines {
		if m.Leaving != nil || m.Phase == PhaseDeleting {
			continue
		}
		if m.Parked != nil {
			if why := w.parkedUnfit(d, m); why.Code != "" && !w.shielded(d, m) && w.remove(m, why) {
				d.busy = true
			}
			continue
		}
		why, voluntary := w.unfit(d, m)
		switch {
		case why.Code == "":
			kept = append(kept, m)
		case voluntary && w.shielded(d, m) || !w.remove(m, why):
			kept = append(kept, m)
		default:
			d.busy = true
			if !w.going[m.Name] { // it is drained first, and counts until it goes
				kept = append(kept, m)
			}
		}
	}
	return kept
}

// displayRounding is by how much a rate that the market shows may be off: it rounds
// each of GPU, vCPU, RAM and storage to a tenth of a cent.
const displayRounding = market.Cent / 5

// unfit says why a machine must go; voluntary reasons yield to protection.
func (w *world) unfit(d *desk, m *Machine) (why Reason, voluntary bool) {
	now := w.in.Now
	// Bought under the ceiling, a machine is not given up for the market's rounding.
	if m.Phase != PhaseUnknown && m.Reserved.Sub(displayRounding) > d.ceiling(m) && m.Reserved < market.MaxRate {
		return Reason{ReasonOverCeiling, fmt.Sprintf("costs %s all-in, the policy allows %s", m.Reserved, d.ceiling(m))}, false
	}
	if m.Phase != PhaseLive {
		return Reason{}, false
	}
	switch m.Status {
	case market.StatusStopped, market.StatusReleased, market.StatusError:
		if age := now.Sub(m.StatusAt); age < w.in.Safety.AbsentAge {
			w.hold(d, m, HoldBooting, "%s for %s; after %s it is given up", m.Status, age.Round(time.Second), w.in.Safety.AbsentAge)
			return Reason{}, false
		}
		b, ok := w.in.Snapshot.Balance.Value.Balance.Get()
		if ok && b < leastBalance {
			w.hold(d, m, HoldBalance, "%s while the balance is %s: deposit first, or destroy it", m.Status, b)
			return Reason{}, false
		}
		if !ok && !w.in.Snapshot.Balance.Complete {
			w.hold(d, m, HoldBalance, "%s, and the balance could not be read: it may be for want of money", m.Status)
			return Reason{}, false
		}
		return Reason{ReasonStopped, fmt.Sprintf("%s without our doing: no capacity, but a bill of %s", m.Status, m.Burn())}, true
	case market.StatusStarting, market.StatusRelocating, market.StatusStopping:
		age := now.Sub(m.since())
		if t := d.p.BootTimeout; t > 0 && age > t {
			return Reason{ReasonBootTimeout, fmt.Sprintf("%s for %s; boot_timeout is %s", m.Status, age.Round(time.Second), t)}, false
		}
		if m.Status == market.StatusStopping {
			w.hold(d, m, HoldBooting, "is stopping; the next looks show what becomes of it")
		}
	case market.StatusRunning:
		if why := w.fails(d, m); why.Code != "" {
			return why, false
		}
	case market.StatusUnknown:
		w.hold(d, m, HoldUnknown, "the market gives a status we do not know; it counts as capacity and as spend")
	}
	if text := mismatch(d, m); text != "" {
		return Reason{ReasonNotMatching, text}, true
	}
	return Reason{}, false
}

// mismatch says how a machine differs from what its policy wants now. What the
// market did not tell us differs in nothing.
func mismatch(d *desk, m *Machine) string {
	p := d.p
	if m.Model != "" && !d.keeps(m.Model) {
		return fmt.Sprintf("is a %s, which the policy does not want (any more)", m.Model)
	}
	if d.match.Unwanted(m.Location) {
		return fmt.Sprintf("stands in %s, where the policy does not want it (any more)", m.Location)
	}
	if m.Capacity != market.CapacityUnknown && !p.Buys(m.Capacity) {
		return fmt.Sprintf("is %s, the policy wants %s", m.Capacity, p.Capacity)
	}
	if m.Shape.GPUs != 0 && m.Shape.GPUs != p.Shape.GPUs {
		return fmt.Sprintf("has %d GPUs, the policy wants machines of %d", m.Shape.GPUs, p.Shape.GPUs)
	}
	return ""
}

// keeps says whether a machine of this model may stay. What would not stay is not
// bought either, whatever memory its host states: else it would be replaced for ever.
func (d *desk) keeps(g market.GPUModel) bool {
	memory := g.VRAM().Or(d.p.Match.MinVRAM)
	_, ok := d.match.GPU(market.HostGPU{Model: g, VRAM: market.Some(memory)})
	return ok
}

// shielded says whether a voluntary removal must wait, and holds it.
func (w *world) shielded(d *desk, m *Machine) bool {
	switch age := w.in.Now.Sub(m.OrderedAt); {
	case slices.Contains(d.p.Protected, m.Name):
		w.hold(d, m, HoldProtected, "protected by the policy")
	case m.shields(w.in.Now):
		w.hold(d, m, HoldProtected, "protected by an operator%s", shieldText(m.Shield))
	case age < d.p.MinLifetime:
		w.hold(d, m, HoldMinLifetime, "is %s old, min_lifetime is %s", age.Round(time.Second), d.p.MinLifetime)
	default:
		return false
	}
	return true
}

// remove plans a deletion, or that the machine is drained first; false if it cannot be
// named to the market yet.
func (w *world) remove(m *Machine, why Reason) bool {
	if m.ID == "" || w.going[m.Name] || m.Leaving != nil {
		return false
	}
	if c := w.in.History.Container(m.Name); c != nil { // what stands for a container: see withContainers
		return w.stop(nil, c, why)
	}
	if m.Renamed != "" {
		w.holdRenamed(m)
		return false
	}
	if w.drains(m, why) {
		return true
	}
	w.going[m.Name] = true
	w.plan.Actions = append(w.plan.Actions, Action{
		Kind: Delete, Policy: m.Policy, Machine: m.Name, Instance: m.ID, API: m.API, Host: m.Host, Location: m.Location,
		Model: m.Model, Shape: m.Shape, Capacity: m.Capacity, Bid: m.Bid.Or(0), Storage: m.Storage.Or(0),
		Rate: m.Reserved, Reason: why,
	})
	return true
}

// holdRenamed reports, once, a machine of ours that does not carry our mark.
func (w *world) holdRenamed(m *Machine) {
	if !w.renamed[m.Name] {
		w.renamed[m.Name] = true
		w.hold(nil, m, HoldRenamed, "is called %q on the market, which is not a name of ours: it counts, but is not touched; "+
			"give it its name back, or delete it by hand", m.Renamed)
	}
}

// removeSurplus deletes down to the target: what may be gone already and what is no
// capacity first, then the dearest. Only what this look shows is surplus, and what it shows for the first
// time and we never ordered is not: one list that names a machine twice must not
// cost us a machine that runs. Where none is wanted, that cannot happen.
func (w *world) removeSurplus(d *desk, kept []*Machine) []*Machine {
	proven := func(m *Machine) bool {
		return d.st.Target == 0 || w.shownNow(m)
	}
	have, sure := 0, 0
	for _, m := range kept {
		have += d.gpus(m)
		if proven(m) {
			sure += d.gpus(m)
		}
	}
	surplus := sure - d.st.Target
	if surplus <= 0 {
		if have > d.st.Target {
			w.hold(d, nil, HoldBooting, "%d GPUs too many, but this look alone does not prove it", have-d.st.Target)
		}
		return kept
	}
	if w.cooling(d) {
		return kept
	}
	order := slices.Clone(kept)
	slices.SortFunc(order, func(a, b *Machine) int {
		return cmp.Or(
			-cmp.Compare(w.rank(a), w.rank(b)),
			boolCompare(b.Drain != nil, a.Drain != nil), // what is on its way out goes on
			-cmp.Compare(a.Reserved.PerGPU(d.gpus(a)), b.Reserved.PerGPU(d.gpus(b))),
			cmp.Compare(a.Name, b.Name))
	})
	for i := 0; i < len(order) && surplus > 0; i++ {
		m := order[i]
		if !proven(m) || d.gpus(m) > surplus || w.shielded(d, m) {
			continue
		}
		heirs := w.heirs(d, m)
		if why := w.surplusText(d, m, have); w.park(d, m, why) || w.remove(m, Reason{ReasonOverTarget, why}) {
			surplus -= d.gpus(m)
			for _, o := range heirs {
				surplus += d.gpus(o)
			}
			order = append(order, heirs...)
			d.busy = true
		}
	}
	if surplus > 0 && !d.busy {
		w.hold(d, nil, HoldBooting, "%d GPUs too many, but none of them can be deleted yet", surplus)
	}
	return slices.DeleteFunc(kept, func(m *Machine) bool { return w.going[m.Name] })
}

// heirs are the machines that stand beside the target to take this one's place: when it
// goes, they count.
func (w *world) heirs(d *desk, m *Machine) (list []*Machine) {
	for _, o := range d.machines {
		if o.Replaces == m.Name && o.Leaving == nil && !w.going[o.Name] && w.overlaps(o) {
			list = append(list, o)
		}
	}
	return list
}

func (w *world) surplusText(d *desk, m *Machine, have int) string {
	why := m.Reserved.PerGPU(d.gpus(m)).String() + " a GPU is the dearest"
	switch {
	case w.mayBeGone(m):
		why = "this one may be gone: it was to be deleted, and the answer was lost"
	case w.rank(m) > 0:
		why = "this one delivers none"
	}
	return fmt.Sprintf("%d GPUs, %s; %s", have, d.wantedText(), why)
}

// goneLasts is for how long a machine whose deletion lost its answer may be gone though it
// is listed: lists have been an hour old.
const goneLasts = time.Hour

// mayBeGone says whether a list may only show what the machine was. Where there are too
// many, giving up another for its sake could leave too few.
func (w *world) mayBeGone(m *Machine) bool {
	return !m.EndLostAt.IsZero() && w.in.Now.Sub(m.EndLostAt) < goneLasts
}

// rank orders machines by how little they are worth.
func (w *world) rank(m *Machine) int {
	switch {
	case w.mayBeGone(m):
		return 2
	case m.Phase == PhaseLive && !m.Status.BillsCompute():
		return 1
	default:
		return 0
	}
}

// cooling says whether the last voluntary change is too young for another, and
// holds it. What this very cycle has done already does not count: a refused deploy
// costs another question, not the cycle.
func (w *world) cooling(d *desk) bool {
	since, cooling := w.cools(d).Get()
	if cooling {
		w.hold(d, nil, HoldCooldown, "scaled %s ago, cooldown %s", w.in.Now.Sub(since).Round(time.Second), d.p.Cooldown)
	}
	return cooling
}

// cools is the last voluntary change, where it is too young for another.
func (w *world) cools(d *desk) (since market.Maybe[time.Time]) {
	for _, s := range w.in.History.Scaled {
		if s.Policy == d.p.Name && s.At.Before(w.in.Now) && w.in.Now.Sub(s.At) < d.p.Cooldown {
			return market.Some(s.At)
		}
	}
	return since
}
