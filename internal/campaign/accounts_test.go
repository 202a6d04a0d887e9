package campaign

import (
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// accounted: what is on record of single machines adds up to what the caps count,
// policy by policy, and names no outage that was our own doing.
func (w *world) accounted() {
	w.Helper()
	h, err := w.ledger.History()
	costs, err2 := w.ledger.Costs("", "")
	outages, err3 := w.ledger.Outages(time.Time{})
	if err != nil || err2 != nil || err3 != nil {
		return // a ledger that cannot be read is judged elsewhere
	}
	sums := map[string]plan.Total{}
	for i := range costs {
		c, s := &costs[i], sums[costs[i].Policy]
		s.Policy, s.Amount, s.OnDemand = c.Policy, s.Amount.Add(c.Amount), s.OnDemand.Add(c.OnDemand)
		s.Uncompared, s.Idle = s.Uncompared.Add(c.Uncompared), s.Idle.Add(c.Idle)
		sums[c.Policy] = s
	}
	for _, s := range h.Totals { // a clock that is set moves the days that the caps count
		if sums[s.Policy] != s {
			w.Errorf("%+v by machine and day, the caps count %+v", sums[s.Policy], s)
		}
	}
	for i := range outages {
		if u := &outages[i]; u.From.Before(u.WellAt) || u.LastAt.Before(u.From) || !u.To.IsZero() && u.To.Before(u.From) || len(u.Proof) == 0 {
			w.Errorf("an outage that cannot be: %+v", u)
		}
	}
}

// deserted takes away the host that the first machine of ours stands on, which is then
// listed as offline.
func (w *world) deserted() (host string) {
	for _, m := range w.engine.Fleet() {
		if m.Deleted.IsZero() && !w.hand[m.ID] {
			w.must(w.engine.SetHost(m.Host, false, true))
			return m.Host
		}
	}
	w.Fatal("there is no machine")
	return ""
}

func TestAHostThatGoesDownIsOnRecordWithItsTimesAndItsRate(t *testing.T) {
	w := newWorld(t, plot{config: few(2), sim: simulator.Options{Scenario: field(2), Boot: sure()}})
	w.pass(30 * time.Minute)
	w.settle(30 * time.Minute)
	host := w.deserted()
	w.pass(10 * time.Minute)
	outages, err := w.ledger.Outages(time.Time{})
	w.must(err)
	if len(outages) == 0 || outages[0].Host != host || outages[0].Cause != plan.OutageHost || !outages[0].Rate.Known() {
		t.Errorf("%+v", outages)
	}
	w.must(w.engine.SetHost(host, true, true))
	w.pass(10 * time.Minute)
	if outages, err = w.ledger.Outages(time.Time{}); err != nil || len(outages) == 0 || outages[0].To.IsZero() || outages[0].Lasted() < 8*time.Minute {
		t.Errorf("%+v, %v", outages, err)
	}
	w.end()
}
