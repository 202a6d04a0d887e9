package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// A policy may bound how many of its machines stand together. Whatever takes a place in
// the target counts: what runs, boots, is dead or leaving, and every order without an
// answer, spot and on-demand alike.
//
//	per_host    one host
//	per_place   one city, region and country, as the market writes them
//	per_group   hosts that look like one owner's
//
// The market does not tell who owns a host. A group is what an owner's hosts have in
// common: the same place with the same id, the same CPU, and the same prices of vCPU,
// RAM and storage. Owners who ask the same in one place are taken for one, which keeps
// machines further apart than they need to be. A machine on a host that is not listed
// counts for every group of its place, and one that would stand on such a host meets the
// machines of all of them.
//
// Nothing is given up for a spread: it only says where the next machine may stand.

// together is what the bounds of places and groups go by. It is made only where a policy
// has one.
type together struct {
	seats map[string]seat // by host
	place map[standing]int
	group map[standing]int
	stray map[standing]int // machines in a place, on hosts that are not listed
}

// seat is where a host stands, as numbers.
type seat struct{ place, group int }

// standing is a policy at a place or in a group.
type standing struct {
	policy string
	index  int
}

// owner is how an owner-like group is told from another.
type owner struct {
	at             market.Location
	cpuType        string
	cpu, ram, disk market.Maybe[market.Rate]
}

func ownerOf(h *market.Host) owner {
	return owner{h.Location, h.CPUType, h.CPU.Price, h.RAM.Price, h.Storage.Price}
}

// city is the place of a location, whatever its id.
func city(l market.Location) market.Location {
	return market.Location{Country: l.Country, Region: l.Region, City: l.City}
}

// seats numbers the groups of the hosts, if a policy wants to know.
func (s *shelf) seat(hosts []market.Host, ps []policy.Policy) {
	bounded := func(p policy.Policy) bool { return p.Spread.PerPlace.Bounds() || p.Spread.PerGroup.Bounds() }
	if !slices.ContainsFunc(ps, bounded) {
		return
	}
	s.together = &together{seats: map[string]seat{}, place: map[standing]int{}, group: map[standing]int{}, stray: map[standing]int{}}
	groups := map[owner]int{}
	for i := range hosts {
		key := ownerOf(&hosts[i])
		if _, known := groups[key]; !known {
			groups[key] = len(groups)
		}
		s.together.seats[hosts[i].ID] = seat{s.placeAt[city(hosts[i].Location)], groups[key]}
	}
}

// at is where an offer stands: its host's word goes before its own.
func (t *together) at(o *offer) (s seat, listed bool) {
	if s, listed = t.seats[o.host.ID]; !listed {
		s.place = o.place
	}
	return s, listed
}

// counts notes where a machine of ours stands.
func (s *shelf) counts(m *Machine) {
	t := s.together
	if t == nil {
		return
	}
	if at, listed := t.seats[m.Host]; listed {
		t.place[standing{m.Policy, at.place}]++
		t.group[standing{m.Policy, at.group}]++
	} else if place, offered := s.placeAt[city(m.Location)]; offered && m.Location != (market.Location{}) {
		t.place[standing{m.Policy, place}]++
		t.stray[standing{m.Policy, place}]++
	}
}

// stands notes that a machine is ordered there.
func (s *shelf) stands(o *offer, name string) {
	s.on(o.host.ID).ofPolicy[name]++
	t := s.together
	if t == nil {
		return
	}
	at, listed := t.at(o)
	t.place[standing{name, at.place}]++
	if listed {
		t.group[standing{name, at.group}]++
	} else {
		t.stray[standing{name, at.place}]++
	}
}

// bound is one bound of a policy's spread, at an offer.
type bound struct {
	key, where string
	most, have int
}

// bounds are those of the policy; most is math.MaxInt where there is none.
func (s *shelf) bounds(p *policy.Policy, o *offer) [3]bound {
	b := [3]bound{
		{"per_host", "on one host", p.Spread.Host().Of(p.Target), ours(s.taken[o.host.ID], p.Name)},
		{"per_place", "in one place", p.Spread.PerPlace.Of(p.Target), 0},
		{"per_group", "on hosts of one group", p.Spread.PerGroup.Of(p.Target), 0},
	}
	if t := s.together; t != nil {
		at, listed := t.at(o)
		b[1].have = t.place[standing{p.Name, at.place}]
		if b[2].have = b[1].have; listed { // else it may be of any group there
			b[2].have = t.group[standing{p.Name, at.group}] + t.stray[standing{p.Name, at.place}]
		}
	}
	if o.host.ID == "" { // a ready-made machine that does not tell its host
		b[0].most = math.MaxInt
	}
	return b
}

// room counts the machines of the policy that its spread still allows there.
func (s *shelf) room(p *policy.Policy, o *offer) int {
	n := math.MaxInt
	if p.Spread == (policy.Spread{}) {
		return n
	}
	for _, b := range s.bounds(p, o) {
		if b.most != math.MaxInt {
			n = min(n, b.most-b.have)
		}
	}
	return n
}

// crowdedText says which bound of the spread an offer is left out by.
func (s *shelf) crowdedText(p *policy.Policy, o *offer) string {
	for _, b := range s.bounds(p, o) {
		if b.have >= b.most {
			return fmt.Sprintf("spread.%s: at most %d of %d machines %s, %s", b.key, b.most, p.Target, b.where, machinesOn(b.have))
		}
	}
	return "the spread leaves no room"
}

// mostNamed is how many hosts a hold names.
const mostNamed = 3

// spreadText names the hosts that a policy could have gone to, but for its spread.
func (w *world) spreadText(d *desk) string {
	why := map[string]string{}
	offers := w.shelf.offersFor(d.p)
	for i := range offers {
		o := &offers[i]
		_, wanted := d.match.GPU(w.shelf.models[o.model])
		if wanted && d.match.Place(w.shelf.places[o.place]) && d.match.HostID(o.host.ID) && o.open && w.shelf.room(d.p, o) <= 0 {
			why[o.site()] = w.shelf.crowdedText(d.p, o)
		}
	}
	ids := make([]string, 0, len(why))
	for id := range why {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var parts []string
	for _, id := range ids[:min(len(ids), mostNamed)] {
		parts = append(parts, id+" ("+why[id]+")")
	}
	if n := len(ids) - mostNamed; n > 0 {
		parts = append(parts, fmt.Sprintf("%d more", n))
	}
	return "left out by spread: " + strings.Join(parts, "; ")
}
