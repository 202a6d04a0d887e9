package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// A machine that was ordered for a smaller shape than its policy has now is resized,
// one machine of a policy at a time, when nothing else is to be done:
//
//	on demand, in v2's list, and of a    stopped, modified, started again: its disk stays
//	  size that v2 makes of it
//	everything else                      another is bought, and it goes when that one runs
//
// What the policy asked for when the machine was ordered is what counts, and not what
// the market lists: that may be spelled differently, and nothing is replaced for it. A
// machine that has more than the policy wants stays as it is; one with another number of
// GPUs does not fit and goes.

// drifted says what a machine lacks of what its policy wants by now; "" if nothing.
func (d *desk) drifted(m *Machine) string {
	has, want := m.Shape, d.p.Shape
	if d.p.Resize == policy.KeepShape || m.Asked.GPUs == 0 || m.Asked == want || has.GPUs != want.GPUs {
		return ""
	}
	for _, r := range []struct {
		what      string
		has, want int
	}{{"vCPUs", has.VCPUs, want.VCPUs}, {"GB of RAM", has.RAM, want.RAM}, {"GB of storage", has.Storage, want.Storage}} {
		if r.has != 0 && r.has < r.want {
			return fmt.Sprintf("has %d %s, the policy wants %d by now", r.has, r.what, r.want)
		}
	}
	return ""
}

// grownTo is what the machine becomes: all it has, and what its policy wants.
func grownTo(has, want market.Shape) market.Shape {
	return market.Shape{GPUs: has.GPUs, VCPUs: max(has.VCPUs, want.VCPUs), RAM: max(has.RAM, want.RAM), Storage: max(has.Storage, want.Storage)}
}

// modifiable says whether v2 can make the shape of the machine.
func (w *world) modifiable(m *Machine, to market.Shape) bool {
	listed := w.in.Snapshot.V2.Complete && slices.Contains(w.in.Snapshot.V2.Value, m.ID)
	return listed && !m.NoModify && m.Capacity == market.OnDemand && memoryV2(to.RAM) && to.VCPUs%2 == 0 && to.Storage >= leastDiskV2
}

// resize begins with the oldest machine that has drifted, where the policy lacks
// nothing; false if there is none.
func (w *world) resize(d *desk) bool {
	var old *Machine
	for _, m := range d.machines {
		settled := m.Ready() && m.Rebid == nil && m.Parked == nil && m.ID != "" && m.Renamed == "" && !w.going[m.Name] && w.shownNow(m)
		if settled && !d.covers(m) && d.drifted(m) != "" && (old == nil || m.OrderedAt.Before(old.OrderedAt)) {
			old = m
		}
	}
	if old == nil || d.busy || d.st.Booting+d.st.Leaving+d.st.Dead > 0 || w.pausedBy(d.p.Name) != nil {
		return false
	}
	if w.shielded(d, old) || w.cooling(d) || w.noGrowth(d).Code != "" || !w.mayChurn(d, old) {
		return true
	}
	why := Reason{ReasonResize, d.drifted(old)}
	if to := grownTo(old.Shape, d.p.Shape); w.modifiable(old, to) && !w.tooDear(d, old, to) {
		if !w.drains(old, why) {
			w.stopFor(d, old, why, to)
		}
		return true
	}
	g := w.growth(d, old.Capacity, d.p.Shape.GPUs)
	g.replaces, g.drift, g.voluntary, g.worth = old, why.Text, true, market.MaxRate
	g.run()
	switch code, text := g.explain(); {
	case g.asked > 0:
		w.hold(d, old, HoldAsking, "asking for one in its place: it %s", why.Text)
	case code != "":
		w.hold(d, old, code, "%s; it %s, and stays until another is to be had", text, why.Text)
	}
	return true
}

func (w *world) stopFor(d *desk, m *Machine, why Reason, to market.Shape) {
	w.going[m.Name] = true
	w.plan.Actions = append(w.plan.Actions, Action{
		Kind: Stop, Policy: m.Policy, Machine: m.Name, Instance: m.ID, API: m.API, Host: m.Host, Location: m.Location, Model: m.Model, Shape: to,
		Resize: true, Capacity: m.Capacity, Storage: m.Storage.Or(0), Rate: m.Reserved, Reason: why,
	})
	w.volunteer()
	d.busy = true
}

// resizeParked goes on with the machines that stand stopped to be resized.
func (w *world) resizeParked(d *desk) {
	if w.pausedBy(d.p.Name) != nil || w.noGrowth(d).Code != "" {
		return
	}
	for _, m := range d.machines {
		p := m.Parked
		if p == nil || !p.Resize || !p.Done || p.Start != 0 || p.Modify != 0 || m.Leaving != nil || w.going[m.Name] || w.in.Now.Before(p.Until) {
			continue
		}
		if w.outgrown(d, m) && !w.shielded(d, m) && !w.cooling(d) && w.remove(m, Reason{ReasonOverTarget, "stopped to be resized, and not wanted any more: " + d.wantedText()}) {
			d.busy = true
			continue
		}
		a := Action{
			Kind: Start, Policy: m.Policy, Machine: m.Name, Instance: m.ID, API: m.API, Host: m.Host, Location: m.Location, Model: m.Model, Shape: m.Shape,
			Capacity: m.Capacity, Storage: m.Storage.Or(0), Rate: max(p.Rate, m.Reserved), Reserve: d.ceiling(m), Reason: Reason{ReasonResize, "it is resized"},
		}
		switch {
		case m.NoModify:
			a.Reason.Text = "it could not be resized, and goes on as it was"
		case p.To != m.Shape && w.tooDear(d, m, p.To):
			a.Reason.Text = "resized it would cost more than the policy allows by now, and it goes on as it was"
		case p.To != m.Shape:
			a.Kind, a.Shape = Modify, p.To
			a.Rate, a.Storage = min(d.ceiling(m), w.rateOf(m, p.To)), m.diskAs(p.To)
			a.Reason.Text = fmt.Sprintf("to %d vCPUs, %d GB of RAM and %d GB of storage", p.To.VCPUs, p.To.RAM, p.To.Storage)
		}
		if a.Kind == Start && w.fallsUpon(m) {
			w.hold(d, m, HoldStart, "a start could fall upon a spot machine of ours on its host, where its GPUs are not free")
			continue
		}
		more := max(a.Rate.Sub(m.Reserved), 0)
		if bound := w.room(d); more > bound.room {
			w.hold(d, m, HoldBudget, "stopped to be resized; it needs %s more, %s are left: %s", more, bound.room, bound.why)
			continue
		}
		w.reserve(d, more)
		w.going[m.Name], d.busy = true, true
		w.plan.Actions = append(w.plan.Actions, a)
	}
}

// outgrown says whether the policy has, by this very look, all that it wants without a
// machine that stands stopped to be resized: its target fell meanwhile.
func (w *world) outgrown(d *desk, m *Machine) bool {
	others := 0
	for _, o := range d.machines {
		if o != m && o.Leaving == nil && !o.parked() && !w.going[o.Name] && !w.overlaps(o) && w.shownNow(o) {
			others += d.gpus(o)
		}
	}
	return !d.covers(m) && others >= d.st.Target
}

// diskAs is what the machine's disk costs in another shape: it is billed by the gigabyte.
func (m *Machine) diskAs(s market.Shape) market.Rate {
	disk := m.Storage.Or(0)
	if m.Shape.Storage <= 0 {
		return disk
	}
	return max(disk, disk.Scale(int64(s.Storage), int64(m.Shape.Storage)))
}

// rateOf is what the machine would cost in another shape by its host's prices; what it
// costs now and what its policy allows where those are not known.
func (w *world) rateOf(m *Machine, s market.Shape) market.Rate {
	i := slices.IndexFunc(w.in.Snapshot.Hosts.Value, func(h market.Host) bool { return h.ID == m.Host })
	if i < 0 {
		return market.MaxRate
	}
	h := &w.in.Snapshot.Hosts.Value[i]
	g, _ := h.GPU(m.Model)
	compute, ok1 := h.OnDemandCompute(g, s).Get()
	storage, ok2 := h.StorageRate(s).Get()
	if !ok1 || !ok2 {
		return market.MaxRate
	}
	if m.Parked != nil {
		return max(compute.Add(storage), m.Parked.Rate)
	}
	return compute.Add(storage)
}

// tooDear says whether the machine is known to cost more in another shape than its policy
// allows.
func (w *world) tooDear(d *desk, m *Machine, s market.Shape) bool {
	rate := w.rateOf(m, s)
	return rate != market.MaxRate && rate > d.ceiling(m)
}

// beginModify reserves what the machine may cost when it runs in its new shape.
func beginModify(h *History, a Action, caps Caps, in *Intent) error {
	m := h.Machine(in.Machine)
	if m == nil || m.Parked == nil || !m.Parked.Resize || !m.Parked.Done || m.Parked.Start != 0 || m.Parked.Modify != 0 || m.Leaving != nil {
		return fmt.Errorf("modify %s: %w", in.Machine, ErrStale)
	}
	if err := h.holdMore(m, a, caps, in, "resizing"); err != nil {
		return err
	}
	p := m.Parked
	p.Modify, p.ModifyAt, p.Looks, p.Disk = in.ID, in.At, 0, a.Storage
	return nil
}

// notResized gives the resizing up: the machine goes on as it was, and is replaced.
func (p *Parked) notResized(m *Machine) {
	p.Modify, p.ModifyAt, p.Looks = 0, time.Time{}, 0
	m.NoModify = true
	m.Reserved = m.parkedRate()
}

// closeModify settles a change of size under way of a machine that runs again without
// our doing: what it has now is what became of it.
func (o *observer) closeModify(m *Machine) {
	p := m.Parked
	if p.Modify == 0 {
		return
	}
	kind, state := EventNotResized, IntentFailed
	if m.Shape == p.To {
		kind, state, m.Asked = EventResized, IntentConfirmed, p.To
	}
	e := o.emit(kind, m, "runs with %d vCPUs, %d GB of RAM and %d GB of storage", m.Shape.VCPUs, m.Shape.RAM, m.Shape.Storage)
	e.Intent, e.State = p.Modify, state
}

// resizing books what a look shows of a machine that was modified.
func (o *observer) resizing(m *Machine) {
	p := m.Parked
	if p.Modify == 0 {
		return
	}
	if m.Shape == p.To {
		e := o.emit(EventResized, m, "has %d vCPUs, %d GB of RAM and %d GB of storage", p.To.VCPUs, p.To.RAM, p.To.Storage)
		e.Intent, e.State = p.Modify, IntentConfirmed
		p.Modify, p.ModifyAt, p.Looks = 0, time.Time{}, 0
		p.Rate, m.Asked = m.Reserved, p.To
		if m.Storage.Known() {
			m.Storage = market.Some(max(m.Storage.Or(0), p.Disk))
		}
		return
	}
	if p.Looks++; o.overdue(p.Looks, p.ModifyAt) {
		e := o.emit(EventNotResized, m, "after %d looks it still has %d vCPUs, %d GB of RAM and %d GB of storage", p.Looks, m.Shape.VCPUs, m.Shape.RAM, m.Shape.Storage)
		e.Intent, e.State = p.Modify, IntentFailed
		p.notResized(m)
	}
}
