package plan

import "slices"

// Clone copies everything that a holder of the History could change.
func (h *History) Clone() History {
	c := *h
	c.Machines = CloneMachines(h.Machines)
	c.Backoffs = slices.Clone(h.Backoffs)
	c.Pauses = slices.Clone(h.Pauses)
	c.Breakers = slices.Clone(h.Breakers)
	c.Failures = slices.Clone(h.Failures)
	c.Spend = slices.Clone(h.Spend)
	c.Totals = slices.Clone(h.Totals)
	c.Levels = slices.Clone(h.Levels)
	c.Scaled = slices.Clone(h.Scaled)
	c.Short = slices.Clone(h.Short)
	c.Settling = slices.Clone(h.Settling)
	c.Progress = slices.Clone(h.Progress)
	c.Known = slices.Clone(h.Known)
	c.Hosts = slices.Clone(h.Hosts)
	c.Brackets = slices.Clone(h.Brackets)
	c.Rises = slices.Clone(h.Rises)
	c.Demand = slices.Clone(h.Demand)
	for i := range c.Demand {
		c.Demand[i].Highs, c.Demand[i].Lows = slices.Clone(h.Demand[i].Highs), slices.Clone(h.Demand[i].Lows)
	}
	c.Overrides = slices.Clone(h.Overrides)
	c.Aims = slices.Clone(h.Aims)
	c.Heard = slices.Clone(h.Heard)
	c.Shadows = cloneShadows(h.Shadows)
	c.Churn = slices.Clone(h.Churn)
	c.Containers = cloneContainers(h.Containers)
	c.Strangers = slices.Clone(h.Strangers)
	return c
}

func cloneShadows(all []Shadow) []Shadow {
	out := slices.Clone(all)
	for i := range out {
		s := &out[i]
		s.Machines = CloneMachines(s.Machines)
		s.Missing, s.Backoffs, s.Brackets = slices.Clone(s.Missing), slices.Clone(s.Backoffs), slices.Clone(s.Brackets)
		s.Spend, s.Totals, s.Scaled = slices.Clone(s.Spend), slices.Clone(s.Totals), slices.Clone(s.Scaled)
		s.Short, s.Settling, s.Progress, s.Churn = slices.Clone(s.Short), slices.Clone(s.Settling), slices.Clone(s.Progress), slices.Clone(s.Churn)
	}
	return out
}

// CloneMachines copies machines so that nothing is shared with the others.
func CloneMachines(all []Machine) []Machine {
	out := slices.Clone(all)
	for i := range out {
		m := &out[i]
		m.Ports = slices.Clone(m.Ports)
		m.Rebid = clonePointer(m.Rebid)
		m.Leaving = clonePointer(m.Leaving)
		m.Parked = clonePointer(m.Parked)
		if m.Outage = clonePointer(m.Outage); m.Outage != nil {
			m.Outage.Proof = slices.Clone(m.Outage.Proof)
		}
		m.Drain = clonePointer(m.Drain)
		m.Shield = clonePointer(m.Shield)
	}
	return out
}

func cloneContainers(all []Container) []Container {
	out := slices.Clone(all)
	for i := range out {
		c := &out[i]
		c.Models = slices.Clone(c.Models)
		c.Guesses = slices.Clone(c.Guesses)
		c.Before = slices.Clone(c.Before)
		c.Suspects = slices.Clone(c.Suspects)
		c.Replicas = slices.Clone(c.Replicas)
		for i := range c.Replicas {
			c.Replicas[i].Ports = slices.Clone(c.Replicas[i].Ports)
		}
		c.Leaving = clonePointer(c.Leaving)
		if c.Scale = clonePointer(c.Scale); c.Scale != nil {
			c.Scale.From = slices.Clone(c.Scale.From)
		}
	}
	return out
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}
