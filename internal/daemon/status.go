package daemon

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// MostWaits is how much of what is waited for a status lists.
const MostWaits = 50

// Budget is what the fleet or a policy may cost, and what it does.
type Budget struct {
	Policy string `json:"policy,omitempty"` // "" is the fleet
	// Caps are those that are written in the file.
	Caps     policy.Budget `json:"caps"`
	Reserved market.Rate   `json:"reserved_usd_hour"`
	// What counts against the caps: of the fleet with scope account, the rest of the
	// account too.
	Today market.Amount `json:"spent_today_usd"`
	Month market.Amount `json:"spent_month_usd"`
	Ever  market.Amount `json:"spent_ever_usd"`
}

// budgets are those of the fleet, and of the policies that have caps of their own.
func budgets(c *Config, h *plan.History, now time.Time) []Budget {
	caps, zoned := c.Set.Budget, now.In(c.Set.Budget.Zone.Location())
	fleet := newBudget("", caps, h.Reserved(), h.SpentInScope(caps.Scope, zoned))
	if caps.Scope == policy.ScopeAccount {
		fleet.Reserved = fleet.Reserved.Add(h.Account.Others)
	}
	out := []Budget{fleet}
	for i := range c.Set.Policies {
		if p := &c.Set.Policies[i]; p.Budget != (policy.Budget{}) {
			out = append(out, newBudget(p.Name, p.Budget, h.ReservedFor(p.Name), h.Spent(p.Name, zoned)))
		}
	}
	return out
}

func newBudget(name string, caps policy.Budget, reserved market.Rate, s plan.Spent) Budget {
	return Budget{Policy: name, Caps: caps, Reserved: reserved, Today: s.Day, Month: s.Month, Ever: s.Total}
}

// waits fills in what is waited for, by the books as they are now and the last plan.
func (s *Status) waits(c *Config, last *plan.Report, h *plan.History, now time.Time) {
	in := plan.Input{Now: now, Policies: c.Set.Policies, Safety: c.Set.Safety, History: *h}
	s.Waits = plan.Waits(&in, s.Policies, s.Holds)
	if n := len(s.Waits); n > MostWaits {
		s.Waits, s.MoreWaits = s.Waits[:MostWaits], n-MostWaits
	}
}
