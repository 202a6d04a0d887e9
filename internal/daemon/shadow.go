package daemon

import (
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/shadow"
)

// shadows lets the shadow policies decide on this cycle's look, when everything real is
// decided and done. What they would have done goes on record as settled intents, which
// nobody takes up.
func (t *turn) shadows(tx *ledger.Tx) error {
	h := tx.History()
	var next []plan.Shadow
	t.r.Shadows = nil
	for _, p := range t.c.Set.Shadows {
		s, r, done := shadow.Step(t.beside(h), p, shadowOf(h, p.Name))
		for _, in := range done {
			in.ID = tx.NextIntent()
			if err := tx.PutIntent(in); err != nil {
				return err
			}
		}
		next, t.r.Shadows = append(next, s), append(t.r.Shadows, r)
	}
	h.Shadows = next
	return nil
}

func (t *turn) beside(h *plan.History) shadow.World {
	return shadow.World{
		Set: &t.c.Set, Look: t.look, Interval: t.r.Input.Interval, History: h, Verdicts: t.r.Input.Verdicts, Cycle: t.r.Cycle,
	}
}

// shadowOf is what is on record of a shadow; the zero Shadow if nothing is.
func shadowOf(h *plan.History, name string) plan.Shadow {
	for _, s := range h.Shadows {
		if s.Policy == name {
			return s
		}
	}
	return plan.Shadow{}
}

// shadowsOn is what the shadow policies of a configuration would do on a look that was
// made already. Nothing is booked.
func shadowsOn(c *Config, seen *Seen, in plan.Input, h *plan.History) (out []plan.ShadowReport) {
	look := plan.Look{
		Now: seen.At, Owner: c.Set.Daemon.Owner, Safety: c.Set.Safety, Zone: c.Set.Budget.Zone, Snapshot: seen.Snapshot,
		Demand: demand.Result{Outcomes: in.Demand},
	}
	for _, p := range c.Set.Shadows {
		w := shadow.World{Set: &c.Set, Look: look, Interval: in.Interval, History: h, Verdicts: in.Verdicts}
		s := shadowOf(h, p.Name)
		look.Boot, look.Up = s.Clock.Boot, s.Clock.Up+seen.At.Sub(s.Clock.At)
		w.Look = look
		_, r, _ := shadow.Step(w, p, s)
		out = append(out, r)
	}
	return out
}
