package plan

import (
	"slices"
	"time"
)

// Some replacements nobody needs: what is replaced would have gone on delivering. A
// market that swings would have them happen all the time, and each costs a boot and a
// risk. Over all policies there are at most limits.max_churn_per_hour in an hour.
//
//	a move to a cheaper host                   counts when the new machine is ordered
//	spot in the place of on-demand that runs   counts when spot is ordered
//	on-demand given up to make room for spot   counts when it is given up
//	repair of a loss, surge for it, caps, a
//	  changed policy, what the operator does   does not count
const churnSpan = time.Hour

// churned books a voluntary replacement.
func (h *History) churned(in *Intent, now time.Time) {
	if in.Voluntary {
		h.Churn = append(recentChurn(h.Churn, now), Scaled{in.Policy, now})
	}
}

func recentChurn(all []Scaled, now time.Time) []Scaled {
	return slices.DeleteFunc(all, func(s Scaled) bool { return now.Sub(s.At) >= churnSpan })
}

// mayChurn says whether the hour has room for one more voluntary replacement, and
// holds it where it has none.
func (w *world) mayChurn(d *desk, m *Machine) bool {
	most, bound := w.in.Limits.MaxChurn.Get()
	if !bound {
		return true
	}
	n, next := w.churn, time.Time{}
	for _, s := range w.in.History.Churn {
		if age := w.in.Now.Sub(s.At); age < churnSpan {
			if n++; next.IsZero() || s.At.Before(next) {
				next = s.At
			}
		}
	}
	if n < most {
		return true
	}
	if next.IsZero() {
		w.hold(d, m, HoldChurn, "something better is to be had, and what runs goes on: %d replacements are planned already, limits.max_churn_per_hour is %d", n, most)
	} else {
		w.hold(d, m, HoldChurn, "something better is to be had, and what runs goes on until %s: %d were replaced within the hour, limits.max_churn_per_hour is %d",
			next.Add(churnSpan).UTC().Format(time.RFC3339), n, most)
	}
	return false
}

// churns says whether the next machine of a growth replaces one that would have gone on.
func (g *growth) churns() bool { return g.voluntary && g.repairs <= 0 }

// account notes what the machine just planned is for.
func (g *growth) account() {
	if !g.churns() {
		g.repairs--
		return
	}
	g.w.volunteer()
}

// volunteer marks the last action as a voluntary replacement.
func (w *world) volunteer() {
	w.plan.Actions[len(w.plan.Actions)-1].Voluntary = true
	w.churn++
}
