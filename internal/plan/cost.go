package plan

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Span is a length of time that is added up. It is JSON's plain number of seconds.
type Span time.Duration

// MarshalJSON writes the exact number of seconds.
func (s Span) MarshalJSON() ([]byte, error) { return []byte(market.Amount(s).Decimal()), nil }

// UnmarshalJSON reads a number of seconds that is not negative.
func (s *Span) UnmarshalJSON(b []byte) error {
	n, err := market.ParseNano(strings.Trim(string(b), `"`), market.RoundDown)
	*s = Span(max(n, 0))
	return err
}

// Hours is for showing.
func (s Span) Hours() float64 { return time.Duration(s).Hours() }

// Cost is what one machine cost on one day of the caps' time zone, as the books
// metered it.
//
// Invariant: the Amounts of a policy add up to its Total, and those of a day to its
// Spend, unless the clock was set since: then the caps' days are moved, these are not.
type Cost struct {
	Day    string `json:"day"` // 2006-01-02
	Policy string `json:"policy"`
	// Machine is "" for what is not of a machine of ours, and for what was spent
	// before costs were kept by machine.
	Machine  string          `json:"machine,omitempty"`
	ID       string          `json:"id,omitempty"` // the market's
	Host     string          `json:"host,omitempty"`
	Model    market.GPUModel `json:"gpu_model,omitempty"`
	Capacity market.Capacity `json:"capacity,omitempty"`
	GPUs     int             `json:"gpus,omitempty"`
	Amount   market.Amount   `json:"amount_usd"`
	// Billed is for how long its compute was charged, Stored for how long its disk alone.
	Billed Span `json:"billed_seconds,omitzero"`
	Stored Span `json:"storage_only_seconds,omitzero"`
	// OnDemand is what the host asked on demand for the time that was Billed, disk
	// included, as long as its price was known. Unpriced is how long it was not, and
	// Uncompared the part of Amount that was spent in that time.
	OnDemand   market.Amount `json:"on_demand_usd,omitzero"`
	Unpriced   Span          `json:"unpriced_seconds,omitzero"`
	Uncompared market.Amount `json:"uncompared_usd,omitzero"`
	// Idle is the part of Amount that was spent while the machine delivered nothing, as
	// the look before showed: ordered, booting, outbid or stopped.
	Idle market.Amount `json:"idle_usd,omitzero"`
}

// Add adds what another record of the same day and machine says. What it names
// newly holds: an order learns its id when it is answered.
func (c *Cost) Add(o *Cost) {
	c.Amount, c.OnDemand, c.Uncompared = c.Amount.Add(o.Amount), c.OnDemand.Add(o.OnDemand), c.Uncompared.Add(o.Uncompared)
	c.Idle = c.Idle.Add(o.Idle)
	c.Billed, c.Stored, c.Unpriced = c.Billed+o.Billed, c.Stored+o.Stored, c.Unpriced+o.Unpriced
	c.ID, c.Host, c.Model = cmp.Or(o.ID, c.ID), cmp.Or(o.Host, c.Host), cmp.Or(o.Model, c.Model)
	c.Capacity, c.GPUs = cmp.Or(o.Capacity, c.Capacity), cmp.Or(o.GPUs, c.GPUs)
}

// CompareCosts orders records by day, policy and machine, which name them.
func CompareCosts(a, b Cost) int {
	return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Machine, b.Machine))
}

// IsRest says whether it is what the account is charged for beside our machines.
func (c *Cost) IsRest() bool { return c.Policy == restOfAccount }

type costKey struct{ day, policy, machine string }

// costOf is what of a machine its costs are kept with.
func costOf(m *Machine) Cost {
	return Cost{Policy: m.Policy, Machine: m.Name, ID: m.ID, Host: m.Host, Model: m.Model, Capacity: m.Capacity, GPUs: m.Shape.GPUs}
}

// bill books rate from..to on one machine, split at the midnights of the caps' zone.
// A rate above its disk's is that of a machine whose compute is charged.
func (o *observer) bill(m *Machine, rate market.Rate, from, to time.Time) {
	asked, priced := m.ListPrice.Get()
	_, delivered := o.well[m.Name]
	o.charge(costOf(m), rate, from, to, func(c *Cost, d time.Duration) {
		if !delivered {
			c.Idle = c.Amount
		}
		switch {
		case rate <= m.Storage.Or(0):
			c.Stored += Span(d)
			return
		case priced:
			c.OnDemand = c.OnDemand.Add(asked.For(d))
		default:
			c.Unpriced += Span(d)
			c.Uncompared = c.Amount
		}
		c.Billed += Span(d)
	})
}

// listPrices notes what the hosts of our machines ask for them on demand. A host that
// is not listed is taken to ask what it did last.
func (o *observer) listPrices() {
	if !o.l.Snapshot.Hosts.Complete {
		return
	}
	hosts := map[string]*market.Host{}
	for i := range o.h.Machines {
		hosts[o.h.Machines[i].Host] = nil
	}
	for i := range o.l.Snapshot.Hosts.Value {
		h := &o.l.Snapshot.Hosts.Value[i]
		if _, ours := hosts[h.ID]; ours {
			hosts[h.ID] = h
		}
	}
	for i := range o.h.Machines {
		m := &o.h.Machines[i]
		h := hosts[m.Host]
		if h == nil || m.Shape.GPUs == 0 {
			continue
		}
		if g, ok := h.GPU(m.Model); ok {
			if price := QuoteOf(h, &g, o.l.Now).AllIn(m.Shape); price.Known() {
				m.ListPrice = price
			}
		}
	}
}

// costsOf are the costs of this look, in order.
func (o *observer) costsOf() []Cost {
	out := make([]Cost, 0, len(o.costs))
	for _, c := range o.costs {
		out = append(out, *c)
	}
	slices.SortFunc(out, CompareCosts)
	return out
}
