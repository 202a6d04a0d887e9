package plan

import (
	"cmp"
	"fmt"
	"slices"
)

// Shortfall is what a policy has too little or too much of, and why in a few words.
type Shortfall struct {
	Policy string `json:"policy"`
	// GPUs that neither run nor are on their way; negative where there are too many.
	GPUs int `json:"gpus"`
	// Reason is the hold that stands in the way, in short; zero where none does.
	Reason Reason `json:"reason,omitzero"`
}

// StandingsSince are the plan's standings, and what was ordered by it: machines that are in the books
// now and were not when it was made.
func (p *Plan) StandingsSince(before, now *History) []Standing {
	out := slices.Clone(p.Standings)
	for i := range now.Machines {
		m := &now.Machines[i]
		j := slices.IndexFunc(out, func(s Standing) bool { return s.Policy == m.Policy })
		if j >= 0 && before.Machine(m.Name) == nil && m.booting() {
			out[j].Booting += m.Shape.GPUs
			out[j].Before = out[j].Before.Add(m.Reserved)
		}
	}
	return out
}

// Shortfalls lists the policies that are not at their targets, the widest gap first, and
// which of a plan's holds stand in the way.
func Shortfalls(standings []Standing, holds []Hold) (out []Shortfall) {
	for i := range standings {
		s := &standings[i]
		if n := s.Target - s.Ready - s.Booting; n != 0 {
			out = append(out, Shortfall{Policy: s.Policy, GPUs: n, Reason: inTheWay(s, holds)})
		}
	}
	slices.SortFunc(out, func(a, b Shortfall) int { return cmp.Or(-cmp.Compare(a.GPUs, b.GPUs), cmp.Compare(a.Policy, b.Policy)) })
	return out
}

// inTheWay is the worst hold of a policy, those of the whole policy first: what stops
// everything before what stops one machine, and what waits before what is found.
func inTheWay(s *Standing, holds []Hold) Reason {
	var found *Hold
	for i := range holds {
		h := &holds[i]
		if h.Policy != s.Policy && h.Policy != "" || h.Reason.Code == HoldHook {
			continue
		}
		if found == nil || obstacle(h) < obstacle(found) {
			found = h
		}
	}
	if found == nil {
		return Reason{}
	}
	return Reason{found.Reason.Code, inShort(found, s)}
}

// obstacle ranks holds by how much of a policy's gap they explain.
func obstacle(h *Hold) int {
	rank := gravity(h.Reason.Code)
	switch h.Reason.Code {
	case HoldNoOffer, HoldBudget, HoldSpread, HoldRefused:
		rank = 8 // worse than what passes by itself
	}
	if h.Machine != "" {
		rank += 100
	}
	return rank
}

// inShort is what a hold says, in few words.
func inShort(h *Hold, s *Standing) string {
	if h.Reason.Code == HoldNoOffer && s.Funnel.Offers > 0 {
		return s.Funnel.Brief()
	}
	if h.Reason.Code == HoldBudget {
		return "the budget leaves no room"
	}
	return h.Reason.Text
}

// Brief says in a few words where most of the offers that could have done fell out: of
// the wanted GPUs, in the wanted places.
func (f Funnel) Brief() string {
	fit := f.Offers - f.Model - f.Place
	switch {
	case f.Offers == f.Model:
		return "no host has such GPUs"
	case fit <= 0:
		return "no host with such GPUs stands where it may"
	case f.Candidates > 0:
		return fmt.Sprintf("%d of %d offers are left", f.Candidates, fit)
	}
	n, text := f.worst()
	if n == fit {
		return "every offer " + text[1]
	}
	return fmt.Sprintf("%d of %d offers %s", n, fit, text[0])
}

// worst is the step at which most offers fell out that were of the right kind and place,
// and what it says of many and of every one.
func (f Funnel) worst() (most int, text [2]string) {
	for _, s := range []struct {
		n    int
		text [2]string
	}{
		{f.Ceiling, [2]string{"are above the ceiling", "is above the ceiling"}},
		{f.Capacity, [2]string{"have too few GPUs free", "has too few GPUs free"}},
		{f.Refused, [2]string{"refused every bid", "refused every bid"}},
		{f.Shape, [2]string{"do not fit the shape", "does not fit the shape"}},
		{f.Backoff, [2]string{"failed lately", "failed lately"}},
		{f.Offline, [2]string{"are offline", "is offline"}},
		{f.Uptime, [2]string{"have too little uptime", "has too little uptime"}},
		{f.Spread, [2]string{"are left out by spread", "is left out by spread"}},
		{f.NoPrice, [2]string{"have no price", "has no price"}},
		{f.Fickle, [2]string{"took no order at bids they had said win", "took no order at a bid it had said wins"}},
		{f.Sibling, [2]string{"need a bid above one of ours there", "needs a bid above one of ours there"}},
	} {
		if s.n > most {
			most, text = s.n, s.text
		}
	}
	return most, text
}
