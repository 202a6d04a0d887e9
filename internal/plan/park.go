package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Parking: with scale_down stop or release, an on-demand machine that is too much is
// stopped and not deleted, and started again before another one is bought.
//
//	stop      the GPUs are kept, and so is the bill: it runs again in any case
//	release   only the disk is kept and paid for; a start needs GPUs that are free then
//
//	          stop asked      a look shows it stopped         start asked
//	live ------------> parking --------------------> parked -------------> starting ---> live
//	  ^                   |  still running, N looks      |                     |
//	  |<------------------                               |<--- refused, or not started, N looks
//	                                     stopped_ttl over, or not wanted: deleted

// Parked is how far a machine is that was stopped on purpose.
//
// Invariant: a parked machine is no capacity, and stays in every sum of money with what
// it costs as it stands: all of it until a look shows it released, its disk from then on.
type Parked struct {
	Intent  uint64    `json:"intent"`
	Release bool      `json:"release,omitempty"`
	At      time.Time `json:"at"`
	Looks   int       `json:"looks,omitempty"` // complete looks since the last request, without its effect
	Done    bool      `json:"done,omitempty"`  // a look has shown it stopped
	// Rate is what it costs when it runs.
	Rate market.Rate `json:"rate_usd_hour"`
	// Start is the intent of a start that no look has confirmed yet; 0 if there is none.
	Start   uint64    `json:"start,omitempty"`
	StartAt time.Time `json:"start_at,omitzero"`
	// Resize: it is stopped to become To, and started again when it is. Modify is the
	// intent of that; 0 if there is none.
	Resize   bool         `json:"resize,omitempty"`
	To       market.Shape `json:"to,omitzero"`
	Modify   uint64       `json:"modify,omitempty"`
	ModifyAt time.Time    `json:"modify_at,omitzero"`
	// Disk is what its disk costs at most as To.
	Disk     market.Rate `json:"disk_usd_hour,omitempty"`
	Failures int         `json:"failures,omitempty"`
	Until    time.Time   `json:"until,omitzero"` // not started before, after failures
}

// parked says whether the machine stands stopped because it is too much.
func (m *Machine) parked() bool {
	return m.Parked != nil && m.Parked.Done && m.Parked.Start == 0 && !m.Parked.Resize
}

// returning says whether a machine that was stopped will run again without another
// decision.
func (m *Machine) returning() bool {
	return m.Parked != nil && (m.Parked.Start != 0 || m.Parked.Resize)
}

// byUs says whether it is our doing that the machine delivers nothing, or soon will not.
func (m *Machine) byUs() bool { return m.Leaving != nil || m.Parked != nil }

// park plans to stop a machine that is too much; false where it is to be deleted: it is
// not running, cannot be had back, or the policy wants no such thing.
func (w *world) park(d *desk, m *Machine, why string) bool {
	if d.p.ScaleDown == policy.DeleteSurplus || m.Capacity != market.OnDemand || !m.Ready() || m.Parked != nil || m.Renamed != "" || m.ID == "" {
		return false
	}
	if w.in.Now.Before(m.NoParkBefore) {
		w.hold(d, m, HoldPark, "is too much, and the market did not stop it; it is asked again at %s", m.NoParkBefore.UTC().Format(time.RFC3339))
		return true
	}
	if w.drains(m, Reason{ReasonOverTarget, why}) {
		d.busy = true
		return true
	}
	w.going[m.Name] = true
	w.plan.Actions = append(w.plan.Actions, Action{
		Kind: Stop, Policy: m.Policy, Machine: m.Name, Instance: m.ID, API: m.API, Host: m.Host, Location: m.Location, Model: m.Model, Shape: m.Shape,
		Capacity: m.Capacity, Release: d.p.ScaleDown == policy.ReleaseSurplus, Storage: m.Storage.Or(0), Rate: m.Reserved, Reason: Reason{ReasonOverTarget, why},
	})
	d.busy = true
	return true
}

// parkedUnfit says why a parked machine is deleted; "" if it stays.
func (w *world) parkedUnfit(d *desk, m *Machine) Reason {
	age := w.in.Now.Sub(m.Parked.At)
	switch text := mismatch(d, m); {
	case !m.parked():
	case d.p.ScaleDown == policy.DeleteSurplus || d.covers(m):
		return Reason{ReasonNotParked, "is stopped, and the policy's scale_down is delete"}
	case text != "":
		return Reason{ReasonNotMatching, text}
	case d.p.StoppedTTL > 0 && age >= d.p.StoppedTTL:
		return Reason{ReasonNotParked, fmt.Sprintf("stopped for %s, stopped_ttl is %s", age.Round(time.Second), d.p.StoppedTTL)}
	}
	return Reason{}
}

// startParked starts what is parked instead of buying: what keeps its GPUs at once, as
// it costs the same either way, and the others while no offer is cheaper by more than a
// tenth, which a machine that is set up already is worth.
func (g *growth) startParked() {
	w, d := g.w, g.d
	if d.buying != market.OnDemand || g.replaces != nil {
		return
	}
	list := slices.DeleteFunc(slices.Clone(d.machines), func(m *Machine) bool {
		return !m.parked() || w.going[m.Name] || m.Leaving != nil || m.Renamed != ""
	})
	slices.SortFunc(list, func(a, b *Machine) int {
		return cmp.Or(cmp.Compare(a.startCost(), b.startCost()), cmp.Compare(a.Parked.Rate, b.Parked.Rate), cmp.Compare(a.Name, b.Name))
	})
	for _, m := range list {
		if g.left <= 0 {
			return
		}
		switch {
		case d.gpus(m) != d.p.Shape.GPUs, m.startCost() > 0 && g.cheaper(m.Parked.Rate):
		case w.in.Now.Before(m.Parked.Until):
			w.hold(d, m, HoldStart, "was not started %d times; it is tried again at %s", m.Parked.Failures, m.Parked.Until.UTC().Format(time.RFC3339))
		case w.fallsUpon(m):
			w.hold(d, m, HoldStart, "a start could fall upon a spot machine of ours on its host, where its GPUs are not free")
		default:
			g.start(m)
		}
	}
}

// fallsUpon says whether a start could take the GPUs of a machine of ours that stands on
// the same host by its bid: what was released needs its GPUs anew, and goes before every
// bid. Whoever was only stopped has kept them.
func (w *world) fallsUpon(m *Machine) bool {
	if m.Status == market.StatusStopped {
		return false
	}
	if m.Host == "" {
		return w.stock().bidsAt(m.Location)
	}
	t := w.stock().taken[m.Host]
	return t != nil && (bids(t, m.Model) || t.blocked) && (t.gpus[m.Model] > 0 || w.freeOn(m) < m.Shape.GPUs)
}

// startCost is what a start adds to the bill per hour.
func (m *Machine) startCost() market.Rate { return max(m.Parked.Rate.Sub(m.Reserved), 0) }

// cheaper says whether an offer is cheaper by more than a tenth.
func (g *growth) cheaper(than market.Rate) bool {
	return slices.ContainsFunc(g.cands.list, func(c candidate) bool { return c.price < than.Scale(100-setUp, 100) })
}

func (g *growth) start(m *Machine) {
	w, d := g.w, g.d
	cost := m.startCost()
	if cost > g.room {
		g.dear = m.Parked.Rate
		return
	}
	w.plan.Actions = append(w.plan.Actions, Action{
		Kind: Start, Policy: m.Policy, Machine: m.Name, Instance: m.ID, API: m.API, Host: m.Host, Location: m.Location, Model: m.Model, Shape: m.Shape,
		Capacity: m.Capacity, Storage: m.Storage.Or(0), Rate: max(m.Parked.Rate, m.Reserved), Reserve: d.ceiling(m),
		Reason: Reason{ReasonBelowTarget, fmt.Sprintf("%d of %d GPUs; it is set up already", d.st.Target-g.left*d.p.Shape.GPUs, d.st.Target)},
	})
	w.going[m.Name] = true
	w.shelf.on(m.Host).use(m.Model, m.Shape, nil)
	w.reserve(d, cost)
	g.room = g.room.Sub(cost)
	g.left--
	g.bought++
	d.busy = true
}

func beginStop(h *History, a Action, in *Intent) error {
	m := h.Machine(in.Machine)
	if m == nil || m.ID == "" || m.Phase != PhaseLive || m.Leaving != nil || m.Parked != nil {
		return fmt.Errorf("stop %s: %w", in.Machine, ErrStale)
	}
	in.Reserved = m.Reserved
	if m.Drain != nil { // whoever let it go is told when it is back
		m.Drain, m.Told = nil, Tries{}
		m.Spared++
	}
	m.Parked = &Parked{Intent: in.ID, Release: a.Release, At: in.At, Rate: m.Reserved}
	if a.Resize {
		m.Parked.Resize, m.Parked.To = true, a.Shape
	}
	return nil
}

// beginStart reserves what the machine may cost when it runs.
func beginStart(h *History, a Action, caps Caps, in *Intent) error {
	m := h.Machine(in.Machine)
	if m == nil || m.Parked == nil || !m.Parked.Done || m.Parked.Start != 0 || m.Parked.Modify != 0 || m.Leaving != nil {
		return fmt.Errorf("start %s: %w", in.Machine, ErrStale)
	}
	if err := h.holdMore(m, a, caps, in, "starting"); err != nil {
		return err
	}
	m.Parked.Start, m.Parked.StartAt, m.Parked.Looks = in.ID, in.At, 0
	return nil
}

// refusePark books a definite no to a stop, a change of size or a start. A start is
// asked for again later, after a pause that doubles.
func refusePark(m *Machine, in *Intent, s policy.Safety, now time.Time) {
	switch {
	case m.Parked == nil:
	case in.Kind == Stop && m.Parked.Intent == in.ID:
		m.NoModify = m.NoModify || m.Parked.Resize
		m.Parked, m.NoParkBefore = nil, now.Add(s.BackoffMin)
	case in.Kind == Modify && m.Parked.Modify == in.ID:
		m.Parked.notResized(m)
	case in.Kind == Start && m.Parked.Start == in.ID:
		m.Parked.notStarted(m, s, now)
	}
}

// notStarted takes back what was reserved for a start.
func (p *Parked) notStarted(m *Machine, s policy.Safety, now time.Time) {
	p.Failures++
	b := Backoff{Host: m.Name, Failures: p.Failures}
	p.Start, p.StartAt, p.Looks, p.Until = 0, time.Time{}, 0, now.Add(backoffFor(s, &b))
	m.Reserved = m.parkedRate()
}

// parkedRate is what the machine costs as it stands.
func (m *Machine) parkedRate() market.Rate {
	if disk, ok := m.Storage.Get(); ok && m.Status == market.StatusReleased {
		return max(disk, m.Parked.Disk)
	}
	return m.Parked.Rate
}

// parking books what a look shows of a machine that was asked to stop or to start.
func (o *observer) parking(m *Machine) {
	p := m.Parked
	if p == nil {
		return
	}
	stopped := m.Status == market.StatusStopped || m.Status == market.StatusReleased
	switch {
	case stopped && !p.Done:
		p.Done, p.Looks = true, 0
		m.Reserved = m.parkedRate()
		e := o.emit(EventParked, m, "%s; it costs %s like this", m.Status, m.Reserved)
		e.Intent, e.State = p.Intent, IntentConfirmed
	case stopped && p.Modify != 0:
		o.resizing(m)
	case stopped && p.Start == 0 && !p.Resize:
		m.Reserved = m.parkedRate()
	case stopped && p.Start == 0:
	case stopped:
		if p.Looks++; o.overdue(p.Looks, p.StartAt) {
			e := o.emit(EventNotStarted, m, "after %d looks it is still %s", p.Looks, m.Status)
			e.Intent, e.State = p.Start, IntentFailed
			p.notStarted(m, o.l.Safety, o.l.Now)
		}
	case m.Status == market.StatusStopping || m.Status == market.StatusUnknown || m.Status == market.StatusError:
	case p.Done:
		o.closeModify(m)
		e := o.emit(EventStarted, m, "%s again after %s", m.Status, o.l.Now.Sub(p.At).Round(time.Second))
		e.Intent, e.State = p.Start, IntentConfirmed
		m.Parked = nil
		m.Reserved = max(m.Reserved, p.Rate)
	default:
		if p.Looks++; o.overdue(p.Looks, p.At) {
			e := o.emit(EventNotParked, m, "after %d looks it is still %s", p.Looks, m.Status)
			e.Intent, e.State = p.Intent, IntentFailed
			m.NoModify = m.NoModify || p.Resize
			m.Parked, m.NoParkBefore = nil, o.l.Now.Add(o.l.Safety.BackoffMin)
		}
	}
}

// closePark settles a stop, a change of size or a start under way of a machine that is gone.
func (o *observer) closePark(m *Machine) {
	p := m.Parked
	if p == nil {
		return
	}
	for _, u := range []struct {
		intent uint64
		open   bool
		kind   EventKind
	}{{p.Intent, !p.Done, EventNotParked}, {p.Modify, p.Modify != 0, EventNotResized}, {p.Start, p.Start != 0, EventNotStarted}} {
		if u.open {
			e := o.emit(u.kind, m, "the machine is gone")
			e.Intent, e.State = u.intent, IntentFailed
		}
	}
}

// overdue says whether the effect of a request has failed to show for long enough.
func (o *observer) overdue(looks int, since time.Time) bool {
	return looks >= o.l.Safety.AbsentLooks && o.l.Now.Sub(since) >= o.l.Safety.AbsentAge
}
