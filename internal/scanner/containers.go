package scanner

import (
	"cmp"
	"context"
	"slices"

	"github.com/tdscaler/tdscaler/internal/market"
)

// ContainerReader is the part of a market that lists the replicas of a container. A
// Reader without it has none.
type ContainerReader interface {
	Replicas(ctx context.Context, container string) ([]market.Replica, error)
}

// containers asks for the replicas of each container whose id is known, one by one:
// the API lists no containers. Each answer is judged alone.
func (s *Scanner) containers(ctx context.Context, ids []string) (out []market.ReplicaList) {
	r, ok := s.reader.(ContainerReader)
	if !ok {
		return nil
	}
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		list, err := aside(ctx, s, "replicas of "+id, func(ctx context.Context) ([]market.Replica, error) { return r.Replicas(ctx, id) })
		slices.SortFunc(list, func(a, b market.Replica) int { return cmp.Compare(a.Machine, b.Machine) })
		class := market.ClassOf(err)
		out = append(out, market.ReplicaList{
			Container: id, Replicas: section(s.clock, list, err), Gone: class == market.ClassNotFound || class == market.ClassDone,
		})
	}
	return out
}
