package policy

import (
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Matcher is a Match made ready to be asked often. It allocates nothing when
// asked and may be used by many goroutines.
type Matcher struct {
	allow, deny side
	minVRAM     int
	preferOrder bool
}

// side holds the lists of either match or deny. Countries hold all their names.
type side struct {
	models, hosts              []string // patterns, lower case
	countries, regions, cities []string
}

// NewMatcher compiles a Match.
func NewMatcher(m Match) *Matcher {
	return &Matcher{
		allow:       newSide(m.GPUModels, m.Hosts, m.Countries, m.Regions, m.Cities),
		deny:        newSide(m.Deny.GPUModels, m.Deny.Hosts, m.Deny.Countries, m.Deny.Regions, m.Deny.Cities),
		minVRAM:     m.MinVRAM,
		preferOrder: m.PreferOrder,
	}
}

func newSide(models, hosts, countries, regions, cities []string) side {
	s := side{models: lower(models), hosts: lower(hosts), regions: trimmed(regions), cities: trimmed(cities)}
	for _, c := range countries {
		s.countries = append(s.countries, countryNames(c)...)
	}
	return s
}

// Model says whether a GPU model is wanted by its name alone. rank is its place
// in the order of preference, 0 for all where there is none.
func (m *Matcher) Model(g market.GPUModel) (rank int, ok bool) {
	return m.model(g, g.VRAM())
}

// GPU is Model with the memory that the host states, where it states it.
func (m *Matcher) GPU(g market.HostGPU) (rank int, ok bool) {
	if g.VRAM.Known() {
		return m.model(g.Model, g.VRAM)
	}
	return m.Model(g.Model)
}

func (m *Matcher) model(g market.GPUModel, vram market.Maybe[int]) (rank int, ok bool) {
	if gb, known := vram.Get(); m.minVRAM > 0 && (!known || gb < m.minVRAM) {
		return 0, false
	}
	if firstGlob(m.deny.models, string(g)) >= 0 {
		return 0, false
	}
	if len(m.allow.models) == 0 {
		return 0, true
	}
	i := firstGlob(m.allow.models, string(g))
	if i < 0 {
		return 0, false
	}
	if m.preferOrder {
		rank = i
	}
	return rank, true
}

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

func anyFold(list []string, s string) bool {
	if len(list) == 0 {
		return false
	}
	s = strings.TrimSpace(s)
	for _, l := range list {
		if strings.EqualFold(l, s) {
			return true
		}
	}
	return false
}

func firstGlob(patterns []string, s string) int {
	for i, p := range patterns {
		if glob(p, s) {
			return i
		}
	}
	return -1
}

// glob matches a lower-case pattern with * (any text) and ? (any one byte)
// against a text of any case, in time linear in their product.
func glob(p, s string) bool {
	i, j, star, mark := 0, 0, -1, 0
	for j < len(s) {
		switch {
		case i < len(p) && p[i] == '*':
			star, mark = i, j
			i++
		case i < len(p) && (p[i] == '?' || p[i] == lowerByte(s[j])):
			i++
			j++
		case star >= 0:
			mark++
			i, j = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(p[i:], "*") == ""
}

func lowerByte(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}

func lower(list []string) []string {
	out := trimmed(list)
	for i := range out {
		out[i] = strings.Map(func(r rune) rune {
			if r < 0x80 {
				return rune(lowerByte(byte(r)))
			}
			return r
		}, out[i])
	}
	return out
}

func trimmed(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strings.TrimSpace(s)
	}
	return out
}

// countryNames lists all names of a country, given any one of them.
func countryNames(name string) []string {
	name = strings.TrimSpace(name)
	for _, names := range countries() {
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
			return names
		}
	}
	return []string{name}
}

// countries holds the two-letter code and the names of the commonest countries:
// hosts carry English names, people write codes.
func countries() [][]string {
	return [][]string{
		{"US", "United States", "USA", "United States of America"},
		{"CA", "Canada"},
		{"MX", "Mexico"},
		{"BR", "Brazil"},
		{"AR", "Argentina"},
		{"CL", "Chile"},
		{"CO", "Colombia"},
		{"PE", "Peru"},
		{"UY", "Uruguay"},
		{"CR", "Costa Rica"},
		{"PA", "Panama"},
		{"PR", "Puerto Rico"},
		{"GB", "United Kingdom", "UK", "Great Britain"},
		{"IE", "Ireland"},
		{"FR", "France"},
		{"DE", "Germany"},
		{"NL", "Netherlands", "The Netherlands"},
		{"BE", "Belgium"},
		{"LU", "Luxembourg"},
		{"CH", "Switzerland"},
		{"AT", "Austria"},
		{"IT", "Italy"},
		{"ES", "Spain"},
		{"PT", "Portugal"},
		{"DK", "Denmark"},
		{"SE", "Sweden"},
		{"NO", "Norway"},
		{"FI", "Finland"},
		{"IS", "Iceland"},
		{"EE", "Estonia"},
		{"LV", "Latvia"},
		{"LT", "Lithuania"},
		{"PL", "Poland"},
		{"CZ", "Czechia", "Czech Republic"},
		{"SK", "Slovakia"},
		{"HU", "Hungary"},
		{"RO", "Romania"},
		{"BG", "Bulgaria"},
		{"GR", "Greece"},
		{"HR", "Croatia"},
		{"SI", "Slovenia"},
		{"RS", "Serbia"},
		{"UA", "Ukraine"},
		{"MD", "Moldova"},
		{"RU", "Russia", "Russian Federation"},
		{"TR", "Turkey", "Türkiye"},
		{"CY", "Cyprus"},
		{"MT", "Malta"},
		{"IL", "Israel"},
		{"AE", "United Arab Emirates", "UAE"},
		{"SA", "Saudi Arabia"},
		{"QA", "Qatar"},
		{"EG", "Egypt"},
		{"ZA", "South Africa"},
		{"KE", "Kenya"},
		{"NG", "Nigeria"},
		{"MA", "Morocco"},
		{"IN", "India"},
		{"PK", "Pakistan"},
		{"BD", "Bangladesh"},
		{"KZ", "Kazakhstan"},
		{"AM", "Armenia"},
		{"GE", "Georgia"},
		{"CN", "China"},
		{"HK", "Hong Kong"},
		{"TW", "Taiwan"},
		{"JP", "Japan"},
		{"KR", "South Korea", "Korea", "Republic of Korea"},
		{"SG", "Singapore"},
		{"MY", "Malaysia"},
		{"TH", "Thailand"},
		{"VN", "Vietnam", "Viet Nam"},
		{"ID", "Indonesia"},
		{"PH", "Philippines"},
		{"AU", "Australia"},
		{"NZ", "New Zealand"},
	}
}

// knownModels are the GPU models that the marketplace is known to have had.
func knownModels() []string {
	return strings.Fields(`
		a100-nvlink-40gb a100-pcie-40gb a100-pcie-80gb a100-sxm4-80gb a40-pcie-48gb adartxa5000-pcie-32gb
		geforcegtx1070-pcie-8gb geforcertx3060-pcie-12gb geforcertx3060ti-pcie-8gb geforcertx3060tilhr-pcie-8gb
		geforcertx3070-pcie-8gb geforcertx3070ti-pcie-8gb geforcertx3080-pcie-10gb geforcertx3080ti-pcie-12gb
		geforcertx3090-pcie-24gb geforcertx3090ti-pcie-24gb geforcertx4080-pcie-16gb geforcertx4090-pcie-24gb
		geforcertx5090-pcie-32gb h100-sxm5-80gb l4-pcie-24gb l40-pcie-48gb l40s-pcie-48gb
		quadrortx4000-pcie-8gb quadrortx5000-pcie-16gb quadrortx8000-pcie-48gb rtx4000ada-pcie-20gb
		rtx4000sffada-pcie-20gb rtx4500ada-pcie-24gb rtx5000ada-pcie-32gb rtx6000ada-pcie-48gb rtxa4000-pcie-16gb
		rtxa4500-pcie-20gb rtxa5000-pcie-24gb rtxa6000-pcie-48gb teslav100-pcie-16gb v100-nvlink-16gb
		v100-pcie-16gb v100-sxm2-16gb`)
}

// nearestModel finds the model that was probably meant: "rtx4090-24gb" is
// geforcertx4090-pcie-24gb.
func nearestModel(name string) (string, bool) {
	name = strings.ToLower(name)
	if m, ok := Nearest(name, knownModels()); ok {
		return m, true
	}
	if first, _, _ := strings.Cut(strings.Trim(name, "*?"), "-"); len(first) >= 4 {
		for _, m := range knownModels() {
			if strings.Contains(m, first) {
				return m, true
			}
		}
	}
	return "", false
}
