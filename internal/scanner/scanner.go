package scanner

import (
	"cmp"
	"context"
	"slices"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

// Reader is the part of the market that can be looked at.
type Reader interface {
	Hosts(ctx context.Context) ([]market.Host, error)
	Instances(ctx context.Context) ([]market.Instance, error)
	Instance(ctx context.Context, id string) (market.Instance, error)
	Balance(ctx context.Context) (market.Balance, error)
}

// Scanner takes snapshots.
type Scanner struct {
	reader Reader
	clock  clock.Clock
}

// New makes a Scanner.
func New(r Reader, c clock.Clock) *Scanner { return &Scanner{reader: r, clock: c} }

// maxLookups bounds the machines asked for one by one in a single scan.
const maxLookups = 10

// Scan looks at the whole market once. known are the ids of machines that should
// be there; those that the list leaves out are asked for one by one.
//
// The machines come first: what the rest of the cycle decides rests on them.
func (s *Scanner) Scan(ctx context.Context, known []string) market.Snapshot {
	var snap market.Snapshot
	instances, err := s.reader.Instances(ctx)
	slices.SortFunc(instances, func(a, b market.Instance) int { return cmp.Compare(a.ID, b.ID) })
	snap.Instances = section(s.clock, instances, err)

	hosts, err := s.reader.Hosts(ctx)
	slices.SortFunc(hosts, func(a, b market.Host) int { return cmp.Compare(a.ID, b.ID) })
	snap.Hosts = section(s.clock, hosts, err)

	balance, err := s.reader.Balance(ctx)
	snap.Balance = section(s.clock, balance, err)

	if snap.Instances.Complete {
		if err := s.holes(ctx, &snap, known); err != nil {
			snap.Instances = section[[]market.Instance](s.clock, nil, err)
		}
	}
	return snap
}

func section[T any](c clock.Clock, v T, err error) market.Section[T] {
	if err != nil {
		return market.Section[T]{At: c.Now(), Problem: err.Error(), Class: market.ClassOf(err)}
	}
	return market.Section[T]{Value: v, At: c.Now(), Complete: true}
}

// holes asks for the machines that the list leaves out, one by one.
//
//	the market shows it                 the list is not whole: it may hide others that cannot
//	                                    be asked for, such as an order whose answer was lost
//	a definite no, or a status unknown  absent from this look; only repeated absence counts
//	no usable answer                    the same, unless the market does not answer for a
//	                                    machine that is listed, either, or lists none and
//	                                    charges for some: nothing is known then
func (s *Scanner) holes(ctx context.Context, snap *market.Snapshot, known []string) error {
	listed := map[string]bool{}
	for _, i := range snap.Instances.Value {
		listed[i.ID] = true
	}
	missing := slices.DeleteFunc(slices.Sorted(slices.Values(known)), func(id string) bool { return listed[id] })
	for _, id := range missing[:min(len(missing), maxLookups)] {
		inst, err := s.reader.Instance(ctx, id)
		switch {
		case err == nil && inst.Status != market.StatusTerminated && inst.Status != market.StatusUnknown:
			return hole(id, "which the market shows as "+string(inst.Status)+" when asked for it")
		case unclear(err) && s.silent(ctx, snap, err):
			return hole(id, "and asking for single machines does not work: "+err.Error())
		}
	}
	return nil
}

func hole(id, why string) error {
	return &market.Error{Op: "list machines", Class: market.ClassShapeChanged, Detail: "the list leaves out machine " + id + ", " + why}
}

// unclear tells errors that say nothing about the machine from a definite no.
func unclear(err error) bool {
	switch market.ClassOf(err) {
	case "", market.ClassNotFound, market.ClassRefused, market.ClassDone:
		return false
	}
	return true
}

// silent says whether it is the question that gets no answer, and not this one
// machine, by asking for a machine that the list shows. Where it shows none, what
// the account is charged tells: nothing, or no word of it, lets the list's stand.
func (s *Scanner) silent(ctx context.Context, snap *market.Snapshot, err error) bool {
	switch market.ClassOf(err) {
	case market.ClassUnauthorized, market.ClassRateLimited:
		return true
	}
	if list := snap.Instances.Value; len(list) > 0 {
		_, err = s.reader.Instance(ctx, list[0].ID)
		return unclear(err)
	}
	return !snap.Balance.Complete || snap.Balance.Value.Hourly.Or(0) > 0
}
