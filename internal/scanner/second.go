package scanner

import (
	"cmp"
	"context"
	"slices"

	"github.com/tdscaler/tdscaler/internal/market"
)

// second asks v2's list where it may tell what v0's does not: of an order that v0
// leaves out, of machines that only v2 has ever shown, and of whether machines can be
// bought through v2 now. It costs one request of v2's hundred a minute, and is not
// worth more.
func (s *Scanner) second(ctx context.Context, snap *market.Snapshot, e Expected) {
	if !e.V2 && len(e.Second) == 0 && !lacks(snap, e.Ordered) {
		return
	}
	list, err := aside(ctx, s, "instances", s.reader.InstancesV2)
	ids := make([]string, 0, len(list))
	for i := range list {
		ids = append(ids, list[i].ID)
	}
	slices.Sort(ids)
	snap.V2 = section(s.clock, ids, err)
	if err != nil {
		return
	}
	ctx, stop := s.clock.WithTimeout(ctx, patience)
	defer stop()
	s.merge(ctx, snap, list, e)
	if err := s.holesV2(ctx, snap, e.Second); err != nil {
		snap.V2 = section[[]string](s.clock, nil, err)
	}
}

// lacks says whether v0's list leaves out an order that was made.
func lacks(snap *market.Snapshot, ordered []string) bool {
	return slices.ContainsFunc(ordered, func(name string) bool {
		return !slices.ContainsFunc(snap.Instances.Value, func(i market.Instance) bool { return i.Name == name })
	})
}

// merge adds what only v2 shows to the list of machines: what we know by its id,
// and what carries our mark and owner. v0's word is the better one for all that it
// lists, and for what it was asked to take away: v2 may show that a while longer.
func (s *Scanner) merge(ctx context.Context, snap *market.Snapshot, list []market.Instance, e Expected) {
	listed := map[string]bool{}
	for i := range snap.Instances.Value {
		listed[snap.Instances.Value[i].ID] = true
	}
	leaving, lookups := without(e.Leaving, e.Second), 0
	for _, inst := range list {
		known := slices.Contains(e.Known, inst.ID) || slices.Contains(e.Second, inst.ID)
		name, ours := market.ParseMachineName(inst.Name)
		ours = ours && name.Owner == e.Owner
		if listed[inst.ID] || inst.Status == market.StatusTerminated || slices.Contains(leaving, inst.ID) || !known && !ours {
			continue
		}
		if told, ok := e.Told[inst.ID]; lookups < maxLookups && (!known || !ok || told != inst.Status) {
			lookups++
			var there bool
			if inst, there = s.details(ctx, inst); !there && !known {
				continue
			}
		}
		inst.API = market.V2
		snap.Instances.Value = append(snap.Instances.Value, inst)
		snap.Gone = slices.DeleteFunc(snap.Gone, func(id string) bool { return id == inst.ID })
	}
	slices.SortFunc(snap.Instances.Value, func(a, b market.Instance) int { return cmp.Compare(a.ID, b.ID) })
}

// details asks, at its first sight and when its status has changed, for what v2's list
// does not carry: it may hold no more than id, name and status. A machine that is shown
// there and does not exist when asked for is what an old list shows.
func (s *Scanner) details(ctx context.Context, inst market.Instance) (market.Instance, bool) {
	full, err := s.reader.InstanceV2(ctx, inst.ID)
	switch {
	case noSuch(full, err):
		return inst, false
	case err != nil:
		return inst, true // it is listed, and more will be known at the next look
	}
	full.Name = cmp.Or(full.Name, inst.Name)
	return full, true
}

// holesV2 asks v2 for machines that only v2 has shown and that its list leaves out
// now. All but a definite no makes the list one that says nothing about absence.
func (s *Scanner) holesV2(ctx context.Context, snap *market.Snapshot, ids []string) error {
	for _, id := range missing(snap, ids) {
		inst, err := s.reader.InstanceV2(ctx, id)
		switch {
		case noSuch(inst, err):
			snap.Gone = append(snap.Gone, id)
		case err != nil:
			return hole(id, "and asking for it does not work: "+err.Error())
		default:
			return hole(id, "which v2 shows as "+string(inst.Status)+" when asked for it")
		}
	}
	return nil
}
