package plan

import (
	"fmt"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// A running machine that is given up, and need not go at once, is drained where its
// policy says so: it counts as capacity until it goes, and is neither raised nor
// lowered nor moved.
//
//	first wanted gone            draining; the hook is asked
//	the hook agrees              it goes after the grace
//	the hook says no, or fails   it is asked again
//	deadline                     it goes, whatever the hook says
//	not wanted gone any more     it stays, and on_ready is called again
//	a cap, a lost auction, ...   it goes at once

// Drain is a machine's way out.
type Drain struct {
	Since  time.Time `json:"since"`
	Wanted time.Time `json:"wanted"` // by the last plan that wanted it gone
	Reason Reason    `json:"reason"`
	Asked  Tries     `json:"asked,omitzero"`
}

// Draining is a step of a drain, for the books.
type Draining struct {
	Policy  string `json:"policy"`
	Machine string `json:"machine"`
	Reason  Reason `json:"reason"`
	Off     bool   `json:"off,omitempty"` // it stays
}

// Shield keeps a machine from being removed voluntarily, on an operator's word.
type Shield struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"` // zero: until it is taken away
	Reason string    `json:"reason,omitempty"`
}

// shields says whether the machine is protected on an operator's word now.
func (m *Machine) shields(now time.Time) bool {
	return m.Shield != nil && (m.Shield.Until.IsZero() || now.Before(m.Shield.Until))
}

// drainable says whether a reason leaves time to drain.
func drainable(code string) bool {
	switch code {
	case ReasonOverTarget, ReasonSpotReady, ReasonMigrated, ReasonNotMatching, ReasonOverCeiling, ReasonDestroy, ReasonResize:
		return true
	}
	return false
}

// goes is when a draining machine goes, as far as is known.
func (dr *Drain) goes(p *policy.Drain) time.Time {
	last := dr.Since.Add(p.Deadline)
	at := last
	switch {
	case p.Hook.Kind == "":
		at = dr.Since.Add(p.Grace)
	case !dr.Asked.DoneAt.IsZero():
		at = dr.Asked.DoneAt.Add(p.Grace)
	case dr.Asked.At.IsZero(): // nobody was asked: we were not there
		return last.Add(p.Deadline)
	}
	if at.After(last) {
		return last
	}
	return at
}

// Drained says whether a machine may be given up now for a reason that leaves time:
// it has been drained, or there is nothing to drain.
func (m *Machine) Drained(p *policy.Policy, now time.Time) bool {
	if p == nil || !p.Drain.Wanted() || !m.Ready() {
		return true
	}
	return m.Drain != nil && !now.Before(m.Drain.goes(&p.Drain))
}

// Spares says until when a machine that an operator destroys is drained; "" if it may go
// at once.
func (h *History) Spares(m *Machine, policies []policy.Policy, now time.Time) string {
	pause, p := h.PausedBy(m.Policy, now), policyOf(policies, m.Policy)
	if pause == nil || !pause.Teardown || !pause.Gentle || m.Leaving != nil || m.Drained(p, now) {
		return ""
	}
	if m.Drain == nil {
		return fmt.Sprintf("is drained first, for %s at most", p.Drain.Deadline)
	}
	return "is draining, and goes at " + m.Drain.goes(&p.Drain).UTC().Format(time.RFC3339)
}

// drains keeps a machine that is to be drained first, and plans that.
func (w *world) drains(m *Machine, why Reason) bool {
	d := w.deskOf[m.Policy]
	if d == nil || !drainable(why.Code) || m.Drained(d.p, w.in.Now) {
		return false
	}
	if why.Code == ReasonDestroy && w.in.History.Spares(m, w.in.Policies, w.in.Now) == "" {
		return false
	}
	if !w.draining[m.Name] {
		w.draining[m.Name] = true
		w.plan.Drains = append(w.plan.Drains, Draining{Policy: m.Policy, Machine: m.Name, Reason: why})
		w.hold(d, m, HoldDraining, "%s", w.drainText(d, m, why))
	}
	return true
}

func (w *world) drainText(d *desk, m *Machine, why Reason) string {
	p := &d.p.Drain
	if m.Drain == nil {
		return fmt.Sprintf("%s; it is drained first, for %s at most", why.Text, p.Deadline)
	}
	says := ""
	switch t := &m.Drain.Asked; {
	case p.Hook.Kind == "":
	case !t.DoneAt.IsZero():
		says = "the hook has agreed; "
	case t.Failed > 0:
		says = fmt.Sprintf("the hook was asked %d times: %s; ", t.Failed, t.Text)
	default:
		says = "the hook has not answered yet; "
	}
	return fmt.Sprintf("draining since %s: %s; %sit goes at %s", m.Drain.Since.UTC().Format(time.RFC3339), why.Text, says, m.Drain.goes(p).UTC().Format(time.RFC3339))
}

// spare calls off the drains that no plan has wanted for a while: one look must not
// end what the next begins again.
func (w *world) spare() {
	for _, m := range w.machines {
		if m.Drain == nil || m.byUs() || w.draining[m.Name] || w.going[m.Name] {
			continue
		}
		p := w.pausedBy(m.Policy)
		if age := w.in.Now.Sub(m.Drain.Wanted); p != nil || age <= w.in.Safety.AbsentAge+w.in.Interval {
			w.hold(w.deskOf[m.Policy], m, HoldDraining, "was to go (%s), and is not given up now", m.Drain.Reason.Text)
			continue
		}
		w.hold(w.deskOf[m.Policy], m, HoldDraining, "was to go (%s), and stays", m.Drain.Reason.Text)
		w.plan.Drains = append(w.plan.Drains, Draining{Policy: m.Policy, Machine: m.Name, Reason: m.Drain.Reason, Off: true})
	}
}

// BookDrains books the steps that a plan wants. It is no write to the market: nothing
// is sent, and what it books a look can undo.
func BookDrains(h *History, steps []Draining, now time.Time) (events []Event) {
	for _, s := range steps {
		m := h.Machine(s.Machine)
		if m == nil || m.Phase != PhaseLive || m.byUs() {
			continue
		}
		text := ""
		switch {
		case s.Off && m.Drain != nil:
			m.Drain, m.Told = nil, Tries{}
			m.Spared++
			text = "stays: not given up any more"
		case s.Off:
		case m.Drain == nil:
			m.Drain = &Drain{Since: now, Wanted: now, Reason: s.Reason}
			text = "is drained: " + s.Reason.Text
		default:
			m.Drain.Wanted = now
		}
		if text != "" {
			e := Event{Kind: EventDrain, At: now, Policy: m.Policy, Machine: m.Name, Text: text}
			e.describe(m, now)
			events = append(events, e)
		}
	}
	return events
}

// protected says whether a machine is not to be removed voluntarily, by the file or on
// an operator's word.
func (d *desk) protected(m *Machine, now time.Time) bool {
	for _, name := range d.p.Protected {
		if name == m.Name {
			return true
		}
	}
	return m.shields(now)
}

// holdTold reports the machines that are ready, and whose hook fails.
func (w *world) holdTold(d *desk) {
	for _, m := range d.machines {
		if t := &m.Told; d.p.OnReady.Kind != "" && t.Failed > 0 && m.Phase == PhaseLive && m.Status == market.StatusRunning && !m.byUs() {
			w.plan.Holds = append(w.plan.Holds, Hold{Policy: d.p.Name, Machine: m.Name, Reason: Reason{
				HoldHook, fmt.Sprintf("on_ready failed %d times: %s; called again after %s", t.Failed, t.Text, t.next().UTC().Format(time.RFC3339)),
			}})
		}
	}
}

func shieldText(s *Shield) string {
	text := ""
	if !s.Until.IsZero() {
		text = " until " + s.Until.UTC().Format(time.RFC3339)
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return text
}
