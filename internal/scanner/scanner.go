package scanner

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

// Reader is the part of the market that can be looked at.
type Reader interface {
	Hosts(ctx context.Context) ([]market.Host, error)
	Instances(ctx context.Context) ([]market.Instance, error)
	Instance(ctx context.Context, id string) (market.Instance, error)
	InstancesV2(ctx context.Context) ([]market.Instance, error)
	InstanceV2(ctx context.Context, id string) (market.Instance, error)
	Balance(ctx context.Context) (market.Balance, error)
	Instants(ctx context.Context) ([]market.Instant, error)
	Locations(ctx context.Context) ([]market.Site, error)
}

// Scanner takes snapshots.
type Scanner struct {
	reader Reader
	clock  clock.Clock
	rests  *Rests
}

// New makes a Scanner; rests may be nil.
func New(r Reader, c clock.Clock, rests *Rests) *Scanner {
	return &Scanner{reader: r, clock: c, rests: rests}
}

// Expected is what the books expect a look to show.
type Expected struct {
	Owner    string   // whose mark makes a machine ours
	Known    []string // ids of machines that should be there
	Leaving  []string // ids of machines that were asked to go
	Ordered  []string // names of orders that no look has shown yet
	Second   []string // of Known and Leaving, what only v2 has ever shown
	Instants bool     // ready-made machines are wanted
	V2       bool     // machines may be bought through v2
	// Sites are those of an earlier look. They are read again when they are old.
	Sites market.Section[[]market.Site]
	// Told are the machines of Second of which v2's details are known, with the status
	// under which they were read.
	Told map[string]market.Status
	// Containers are the ids of containers whose replicas are to be listed.
	Containers []string
}

// maxLookups bounds the machines asked for one by one in a single scan.
const maxLookups = 10

// Scan looks at the whole market once. What the list of machines leaves out of
// what is expected is asked for one by one, and where that may matter, v2's list
// is asked too.
//
// The machines come first: what the rest of the cycle decides rests on them.
func (s *Scanner) Scan(ctx context.Context, e Expected) market.Snapshot {
	var snap market.Snapshot
	instances, err := s.reader.Instances(ctx)
	slices.SortFunc(instances, func(a, b market.Instance) int { return cmp.Compare(a.ID, b.ID) })
	snap.Instances = section(s.clock, instances, err)

	hosts, err := s.reader.Hosts(ctx)
	slices.SortFunc(hosts, func(a, b market.Host) int { return cmp.Compare(a.ID, b.ID) })
	snap.Hosts = section(s.clock, hosts, err)

	if e.Instants {
		instants, err := aside(ctx, s, "instants", s.reader.Instants)
		slices.SortFunc(instants, func(a, b market.Instant) int { return cmp.Compare(a.ID, b.ID) })
		snap.Instants = section(s.clock, instants, err)
	}

	balance, err := s.reader.Balance(ctx)
	snap.Balance = section(s.clock, balance, err)

	if e.V2 {
		snap.Sites = s.sites(ctx, e.Sites)
	}
	if snap.Instances.Complete {
		if err := s.holes(ctx, &snap, without(e.Known, e.Second)); err != nil {
			snap.Instances = section[[]market.Instance](s.clock, nil, err)
		}
	}
	if snap.Instances.Complete {
		s.second(ctx, &snap, e)
		s.gone(ctx, &snap, without(e.Leaving, e.Second))
	}
	slices.Sort(snap.Gone)
	snap.Containers = s.containers(ctx, e.Containers)
	return snap
}

// sitesLast is how long a list of v2's locations serves: it changes slowly, and counts
// among v2's hundred requests a minute.
const sitesLast = 5 * time.Minute

func (s *Scanner) sites(ctx context.Context, known market.Section[[]market.Site]) market.Section[[]market.Site] {
	if age := s.clock.Now().Sub(known.At); !known.At.IsZero() && age >= 0 && age < sitesLast {
		return known
	}
	list, err := aside(ctx, s, "locations", s.reader.Locations)
	return section(s.clock, list, err)
}

// without is a list less what is in another.
func without(list, other []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(id string) bool { return slices.Contains(other, id) })
}

// gone asks after the machines that were deleted and that the list leaves out. Only
// a definite no is noted; every other answer leaves it to the next list.
func (s *Scanner) gone(ctx context.Context, snap *market.Snapshot, leaving []string) {
	for _, id := range missing(snap, leaving) {
		inst, err := s.reader.Instance(ctx, id)
		if noSuch(inst, err) {
			snap.Gone = append(snap.Gone, id)
		}
	}
}

// missing are the ids that the list leaves out, or shows as ended, as many as may be
// asked for.
func missing(snap *market.Snapshot, ids []string) []string {
	listed := map[string]bool{}
	for _, i := range snap.Instances.Value {
		listed[i.ID] = i.Status != market.StatusTerminated
	}
	out := slices.DeleteFunc(slices.Sorted(slices.Values(ids)), func(id string) bool { return listed[id] })
	return out[:min(len(out), maxLookups)]
}

// noSuch says whether the market's answer means that the machine does not exist.
func noSuch(inst market.Instance, err error) bool {
	if err == nil {
		return inst.Status == market.StatusTerminated
	}
	class := market.ClassOf(err)
	return class == market.ClassNotFound || class == market.ClassDone
}

func section[T any](c clock.Clock, v T, err error) market.Section[T] {
	if err != nil {
		return market.Section[T]{At: c.Now(), Problem: err.Error(), Class: market.ClassOf(err)}
	}
	return market.Section[T]{Value: v, At: c.Now(), Complete: true}
}

// holes asks for the machines that the list leaves out or shows as ended, one by one.
//
//	the market shows it                 the list is not whole: it may hide others that cannot
//	                                    be asked for, such as an order whose answer was lost
//	it does not exist, or is terminated absent from this look, and noted in Gone
//	a refusal in other words            absent from this look; only repeated absence counts
//	no usable answer                    the same, if the market does answer for a machine that
//	                                    is listed; else, and where it lists none, the list is
//	                                    not believed
func (s *Scanner) holes(ctx context.Context, snap *market.Snapshot, known []string) error {
	for _, id := range missing(snap, known) {
		inst, err := s.reader.Instance(ctx, id)
		switch {
		case err == nil && inst.Status != market.StatusTerminated:
			return hole(id, "which the market shows as "+string(inst.Status)+" when asked for it")
		case noSuch(inst, err):
			snap.Gone = append(snap.Gone, id)
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
// machine, by asking for a machine that the list shows. Where it shows none, only
// an account that is charged nothing tells that there is none.
func (s *Scanner) silent(ctx context.Context, snap *market.Snapshot, err error) bool {
	switch market.ClassOf(err) {
	case market.ClassUnauthorized, market.ClassRateLimited:
		return true
	}
	if list := snap.Instances.Value; len(list) > 0 {
		_, err = s.reader.Instance(ctx, list[0].ID)
		return unclear(err)
	}
	charged, known := snap.Balance.Value.Hourly.Get()
	return !known || charged > 0
}
