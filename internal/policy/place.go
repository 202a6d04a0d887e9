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

// Unwanted says whether a location is certainly not wanted. Unlike Place it is
// asked about machines that exist: what is not known of a place is no reason to
// take a machine down.
func (m *Matcher) Unwanted(l market.Location) bool {
	out := func(allow, deny []string, s string) bool {
		return s != "" && (anyFold(deny, s) || len(allow) > 0 && !anyFold(allow, s))
	}
	a, d := &m.allow, &m.deny
	return out(a.countries, d.countries, l.Country) || out(a.regions, d.regions, l.Region) || out(a.cities, d.cities, l.City)
}
