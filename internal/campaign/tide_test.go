package campaign

import (
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// tides are the target of a fleet that moves every hour, from n+1 to n+2 and back, in
// windows that meet: n alone is never wanted, and what is wanted never dips to it.
func tides(n int, zone string) string {
	return fmt.Sprintf(`{gpus: %d, max: %d, schedule: [{from: "0 */2 * * *", until: "0 1-23/2 * * *", time_zone: %s, gpus: %d}, {from: "0 1-23/2 * * *", for: 1h, time_zone: %s, gpus: %d}]}`,
		n, n+4, zone, n+2, zone, n+1)
}

// byHandLasts is how long what was set by hand may still be acted on after it has ended:
// a cycle that looked before goes on.
const byHandLasts = 30 * time.Minute

// wanted are the least and the most GPUs that a policy may want by a look of the last
// while: a cycle is one moment to the planner, and may take minutes.
func (w *world) wanted(p *policy.Policy) (least, most int) {
	now := w.clock.Now()
	if now.Sub(w.handed[p.Name]) < byHandLasts || w.skew != w.seenSkew && len(p.Demand.Schedule) > 0 {
		return 0, p.MaxTarget() * p.Shape.GPUs
	}
	h, err := w.ledger.History()
	if err != nil {
		w.wrong(ruleGate, "the ledger cannot be read: %v", err)
		return 0, 0
	}
	if slices.ContainsFunc(h.Overrides, func(o demand.Override) bool { return o.Policy == p.Name }) {
		w.handed[p.Name] = now // it ends by the daemon's clock, which may be set
		return 0, p.MaxTarget() * p.Shape.GPUs
	}
	least, most = p.MaxTarget()*p.Shape.GPUs, 0
	for back := time.Duration(0); back <= byHandLasts; back += time.Minute {
		out := demand.Resolve(demand.Input{Now: now.Add(w.skew - back), Policies: []policy.Policy{*p}, Fleet: h.Fleet})
		least, most = min(least, out.Policies[0].GPUs()), max(most, out.Policies[0].GPUs())
	}
	return least, most
}

// setTarget sets a target by hand, within what the file allows.
func (s *simulation) setTarget() bool {
	p, ok := s.set.Find(s.policy())
	if !ok || p.MaxTarget() == 0 {
		return false
	}
	now := s.clock.Now().Add(s.skew)
	o := demand.Override{Policy: p.Name, GPUs: s.rng.IntN(p.MaxTarget()+1) * p.Shape.GPUs, Since: now, Until: now.Add(s.upTo(4 * time.Hour)), By: "operator"}
	c := daemon.Config{Set: s.set}
	s.must(daemon.CheckOverride(&c, &o, now))
	if s.ledger.Update(func(tx *ledger.Tx) error { daemon.SetOverride(tx, o); return nil }) != nil {
		return false
	}
	s.handed[p.Name] = s.clock.Now()
	if s.rng.IntN(2) == 0 {
		s.later(s.upTo(2*time.Hour), func() {
			if s.ledger.Update(func(tx *ledger.Tx) error { daemon.ClearOverride(tx, o.Policy); return nil }) == nil {
				s.handed[o.Policy] = s.clock.Now()
			}
		})
	}
	return true
}
