package billing

import (
	"cmp"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// By is what costs are summed up by.
type By string

// What costs can be summed up by.
const (
	ByPolicy  By = "policy"
	ByModel   By = "gpu_model"
	ByHost    By = "host"
	ByDay     By = "day"
	ByMachine By = "machine"
)

// Ways lists them.
func Ways() []By { return []By{ByPolicy, ByModel, ByHost, ByDay, ByMachine} }

// What stands for costs that are not of a machine on record, and for the model or host of
// one that is, where the market does not tell: replicas of a container run on any.
const (
	Rest    = "(rest of the account)"
	Unnamed = "(machines not on record)"
	Untold  = "(not told by the market)"
)

// Line is what was spent on one policy, model, host, day or machine.
type Line struct {
	Key    string        `json:"key"`
	Amount market.Amount `json:"amount_usd"`
	// GPUHours and MachineHours are those whose compute was charged; StoredHours are
	// machine-hours of which the disk alone was.
	GPUHours     float64 `json:"gpu_hours"`
	MachineHours float64 `json:"machine_hours"`
	StoredHours  float64 `json:"storage_only_hours"`
	// OnDemand is what the same machine-hours would have cost at what the hosts asked on
	// demand, as far as that was known; Uncompared is what was spent where it was not,
	// for UnpricedHours of a machine.
	OnDemand      market.Amount `json:"on_demand_usd"`
	Uncompared    market.Amount `json:"uncompared_usd"`
	UnpricedHours float64       `json:"unpriced_hours"`
	// Saved is OnDemand less what was spent on what it compares with. Negative: on
	// demand would have been cheaper.
	Saved market.Amount `json:"saved_usd"`
}

// Summary is what was spent in some days.
type Summary struct {
	By    By     `json:"by"`
	First string `json:"first_day"`
	Last  string `json:"last_day"`
	Lines []Line `json:"lines"` // dearest first; by day, in order
	Total Line   `json:"total"`
}

// Sum sums costs up. With rest it counts what the account is charged for beside our
// machines.
func Sum(by By, first, last string, costs []plan.Cost, rest bool) Summary {
	s := Summary{By: by, First: first, Last: last, Lines: []Line{}, Total: Line{Key: "total"}}
	lines := map[string]*Line{}
	for i := range costs {
		c := &costs[i]
		if c.IsRest() && !rest {
			continue
		}
		k := keyOf(by, c)
		if lines[k] == nil {
			lines[k] = &Line{Key: k}
		}
		lines[k].add(c)
		s.Total.add(c)
	}
	for _, l := range lines {
		s.Lines = append(s.Lines, *l)
	}
	slices.SortFunc(s.Lines, func(a, b Line) int {
		if by == ByDay {
			return cmp.Compare(a.Key, b.Key)
		}
		return cmp.Or(cmp.Compare(b.Amount, a.Amount), cmp.Compare(a.Key, b.Key))
	})
	return s
}

func keyOf(by By, c *plan.Cost) string {
	key := map[By]string{ByPolicy: c.Policy, ByModel: string(c.Model), ByHost: c.Host, ByDay: c.Day, ByMachine: c.Machine}[by]
	switch {
	case c.IsRest() && by != ByDay:
		return Rest
	case key == "" && c.Machine != "":
		return Untold
	case key == "":
		return Unnamed
	}
	return key
}

func (l *Line) add(c *plan.Cost) {
	l.Amount = l.Amount.Add(c.Amount)
	l.MachineHours += c.Billed.Hours()
	l.GPUHours += c.Billed.Hours() * float64(c.GPUs)
	l.StoredHours += c.Stored.Hours()
	l.OnDemand = l.OnDemand.Add(c.OnDemand)
	l.UnpricedHours += c.Unpriced.Hours()
	uncompared := c.Uncompared
	if c.Machine == "" {
		uncompared = c.Amount
	}
	l.Uncompared = l.Uncompared.Add(uncompared)
	l.Saved = l.OnDemand.Sub(l.Amount.Sub(l.Uncompared))
}

// Days are the first and the last day of a stretch of time, in a zone; until is the
// present where it is zero.
func Days(since, until, now time.Time, zone *time.Location) (first, last string) {
	if until.IsZero() {
		until = now
	}
	return since.In(zone).Format(time.DateOnly), until.In(zone).Format(time.DateOnly)
}
