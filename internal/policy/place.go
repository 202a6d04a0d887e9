package policy

import "github.com/tdscaler/tdscaler/internal/market"

// Place says whether a location is wanted, whatever host stands there. The
// planner asks once per place instead of once per host.
func (m *Matcher) Place(l market.Location) bool {
	a, d := &m.allow, &m.deny
	return !anyFold(d.countries, l.Country) && !anyFold(d.regions, l.Region) && !anyFold(d.cities, l.City) &&
		(len(a.countries) == 0 || anyFold(a.countries, l.Country)) &&
		(len(a.regions) == 0 || anyFold(a.regions, l.Region)) &&
		(len(a.cities) == 0 || anyFold(a.cities, l.City))
}

// HostID says whether a host is wanted by its id alone.
func (m *Matcher) HostID(id string) bool {
	return firstGlob(m.deny.hosts, id) < 0 && (len(m.allow.hosts) == 0 || firstGlob(m.allow.hosts, id) >= 0)
}
