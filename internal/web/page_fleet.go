package web

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// mostMachines bounds a table of machines.
const mostMachines = 500

type fleet struct {
	Machines   []control.Machine
	More       int // that are not shown
	Containers []control.Container
	Columns    []column
	Policy     string
	Policies   []string
	Burn       market.Rate
	Outages    []plan.Outage
}

// column is a heading that sorts.
type column struct {
	Name, Title string
	Link        string
	Sorted      string // for aria-sort
	Number      bool
}

// orders are the ways to sort machines; those of the same value by name.
func orders() map[string]func(a, b *control.Machine) int {
	return map[string]func(a, b *control.Machine) int{
		"machine": func(a, b *control.Machine) int { return cmp.Compare(a.Name, b.Name) },
		"policy":  func(a, b *control.Machine) int { return cmp.Compare(a.Policy, b.Policy) },
		"status":  func(a, b *control.Machine) int { return cmp.Compare(stateOf(a), stateOf(b)) },
		"gpus":    func(a, b *control.Machine) int { return cmp.Compare(a.Model, b.Model) },
		"place":   func(a, b *control.Machine) int { return cmp.Compare(placeOf(a), placeOf(b)) },
		"bid":     func(a, b *control.Machine) int { return cmp.Compare(a.Bid.Or(0), b.Bid.Or(0)) },
		"burn":    func(a, b *control.Machine) int { return cmp.Compare(a.Burn, b.Burn) },
		"list":    func(a, b *control.Machine) int { return cmp.Compare(a.ListPrice.Or(0), b.ListPrice.Or(0)) },
		"age":     func(a, b *control.Machine) int { return cmp.Compare(a.AgeSeconds, b.AgeSeconds) },
		"outbids": func(a, b *control.Machine) int { return cmp.Compare(a.Outbids, b.Outbids) },
	}
}

func (s *site) fleet(v *visitor) (any, error) {
	q := v.URL.Query()
	f := fleet{Policy: q.Get("policy"), Policies: policyNames(&v.status)}
	var err error
	if f.Machines, err = s.o.Desk.Machines(v.ctx, control.MachinesRequest{Policy: f.Policy}); err != nil {
		return nil, err
	}
	if f.Containers, err = s.o.Desk.Containers(v.ctx, control.MachinesRequest{Policy: f.Policy}); err != nil {
		return nil, err
	}
	for i := range f.Machines {
		f.Burn = f.Burn.Add(f.Machines[i].Burn)
	}
	for i := range f.Containers {
		f.Burn = f.Burn.Add(f.Containers[i].Burn)
	}
	by, down := strings.CutPrefix(q.Get("sort"), "-")
	if len(q.Get("sort")) > 0 && q.Get("sort")[0] != '-' {
		by, down = q.Get("sort"), false
	}
	order := orders()[by]
	if order == nil {
		by, down, order = "policy", false, orders()["policy"]
	}
	sortMachines(f.Machines, order, down)
	f.Columns = columns(by, down, f.Policy)
	if n := len(f.Machines); n > mostMachines {
		f.Machines, f.More = f.Machines[:mostMachines], n-mostMachines
	}
	if f.Outages, err = s.o.Desk.Outages(v.ctx, control.OutagesRequest{Since: v.now.AddDate(0, 0, -7)}); err != nil {
		return nil, err
	}
	f.Outages = lastOf(f.Outages, 20)
	return f, nil
}

// lastOf are the last n, the newest first.
func lastOf[T any](all []T, n int) []T {
	out := slices.Clone(all[max(0, len(all)-n):])
	slices.Reverse(out)
	return out
}

func sortMachines(all []control.Machine, order func(a, b *control.Machine) int, down bool) {
	slices.SortStableFunc(all, func(a, b control.Machine) int {
		c := order(&a, &b)
		if down {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(a.Name, b.Name))
	})
}

// columns are the headings; the one that is sorted by turns round when it is asked again.
func columns(by string, down bool, policy string) []column {
	out := []column{
		{Name: "machine", Title: "Machine"},
		{Name: "policy", Title: "Policy"},
		{Name: "status", Title: "Status"},
		{Name: "gpus", Title: "GPUs"},
		{Name: "place", Title: "Place"},
		{Name: "bid", Title: "Bid", Number: true},
		{Name: "burn", Title: "Burn", Number: true},
		{Name: "list", Title: "On demand", Number: true},
		{Name: "age", Title: "Age", Number: true},
		{Name: "outbids", Title: "Outbids", Number: true},
	}
	for i := range out {
		c := &out[i]
		sort := c.Name
		if c.Number { // the greatest are what one looks for
			sort = "-" + sort
		}
		if c.Name == by {
			c.Sorted = "ascending"
			sort = "-" + c.Name
			if down {
				c.Sorted, sort = "descending", c.Name
			}
		}
		q := url.Values{"sort": {sort}}
		if policy != "" {
			q.Set("policy", policy)
		}
		c.Link = "?" + q.Encode()
	}
	return out
}

func policyNames(s *control.Status) (out []string) {
	for i := range s.Policies {
		out = append(out, s.Policies[i].Policy)
	}
	return out
}

// machinePage is one machine with its history.
type machinePage struct {
	Name    string
	Machine *control.Machine // nil: it is gone
	State   string
	Mood    mark
	Intents []plan.Intent
	Events  []entry
	Outages []plan.Outage
	Run     []step
}

func (m machinePage) title() string { return m.Name }

// machineHistory is how many cycles back a machine's events are looked for.
const machineHistory = 360

func (s *site) machine(v *visitor) (any, error) {
	name := v.PathValue("name")
	m := machinePage{Name: name, State: "gone", Mood: calm}
	all, err := s.o.Desk.Machines(v.ctx, control.MachinesRequest{})
	if err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Name == name {
			m.Machine = &all[i]
			m.State = stateOf(m.Machine)
			m.Mood = stateMood(m.State)
		}
	}
	if m.Intents, err = s.o.Desk.Intents(v.ctx, control.IntentsRequest{Machine: name, Limit: 200}); err != nil {
		return nil, err
	}
	if m.Machine == nil && len(m.Intents) == 0 {
		return nil, nobody("there is no machine of this name, and none is on record")
	}
	outages, err := s.o.Desk.Outages(v.ctx, control.OutagesRequest{})
	if err != nil {
		return nil, err
	}
	m.Outages = lastOf(slices.DeleteFunc(outages, func(o plan.Outage) bool { return o.Machine != name }), 20)
	chapters, err := s.book.chapters(v.ctx, v.status.Cycle+1, machineHistory)
	if err != nil {
		return nil, err
	}
	m.Events = slices.DeleteFunc(storyOf(chapters, nil), func(e entry) bool { return e.Machine != name })
	if m.Machine != nil {
		m.Run = []step{
			{"Keep it from being given up voluntarily", command(v.status, "protect", name)},
			{"Delete it and all others of its policy", command(v.status, "destroy", m.Machine.Policy, "--yes")},
		}
	}
	return m, nil
}
