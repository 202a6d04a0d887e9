package plan

import (
	"fmt"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// A machine whose policy wants a proof counts as delivered when it runs and has
// passed a probe once:
//
//	running, no probe wanted        ready
//	running, passed                 ready, and for good
//	running, not passed             booting
//	  and so for the deadline, by
//	  a probe that failed after it  deleted; its host is left alone, the waste counted
//	  and so for the deadline, but
//	  nobody has probed since       booting: it is not the machine's fault

// proves books whether a machine delivers.
func (o *observer) proves(m *Machine) {
	m.Unproven = o.unproven(m)
	if m.Status != market.StatusRunning || !m.ReadyAt.IsZero() || m.Unproven {
		return
	}
	m.ReadyAt = o.l.Now
	o.h.Duds = 0
	Forgive(o.h, m.Host, m.Model, m.Shape.GPUs)
	o.booted(m)
	o.emit(EventReady, m, "running after %s", o.l.Now.Sub(m.OrderedAt).Round(time.Second))
}

// unproven says whether a machine still has to pass a probe. What was ready before a
// probe was wanted stays so.
func (o *observer) unproven(m *Machine) bool {
	p := policyOf(o.l.Policies, m.Policy)
	return m.ReadyAt.IsZero() && m.Probe.DoneAt.IsZero() && p != nil && p.Ready.Wanted()
}

// fails says why a machine that runs and does not pass its probe must go, and holds it
// until then.
func (w *world) fails(d *desk, m *Machine) (why Reason) {
	deadline := d.p.Ready.Deadline
	if !m.Unproven || !d.p.Ready.Wanted() {
		return why
	}
	says := "no probe was made yet"
	if m.Probe.Text != "" {
		says = m.Probe.Text
	}
	if m.Probe.At.Sub(m.since()) >= deadline {
		return Reason{ReasonNotReady, fmt.Sprintf("runs for %s and has not passed its probe: %s", w.in.Now.Sub(m.since()).Round(time.Second), says)}
	}
	w.hold(d, m, HoldProbe, "runs, but has not passed its probe: %s; a probe that fails after %s ends it", says, m.since().Add(deadline).UTC().Format(time.RFC3339))
	return why
}

// wasted books a machine that was paid for and never delivered.
func (o *observer) wasted(m *Machine) {
	cost := m.Reserved.For(max(o.l.Now.Sub(m.OrderedAt), 0))
	e := o.emit(EventWasted, m, "about %s were paid for a machine that was never ready", cost)
	e.Amount = cost
	o.on(m, func(r *HostRecord) {
		if until := o.l.Now.Add(quarantineFirst); until.After(r.Quarantine) {
			r.Quarantine = until
		}
	})
}
