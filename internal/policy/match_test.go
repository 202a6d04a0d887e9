package policy

import (
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
)

func host(country, region, city string, uptime market.Maybe[float64]) *market.Host {
	return &market.Host{ID: "AB12-cd34", Location: market.Location{Country: country, Region: region, City: city}, Uptime: uptime}
}

func TestHostsAreMatchedByEveryRule(t *testing.T) {
	berlin := host("Germany", "Berlin", "Berlin", market.Some(0.99))
	for _, c := range []struct {
		name  string
		match Match
		want  MatchResult
	}{
		{"nothing asked", Match{}, MatchOK},
		{"code for a name", Match{Countries: []string{"de"}}, MatchOK},
		{"case", Match{Countries: []string{"gErMaNy"}, Regions: []string{"BERLIN"}, Cities: []string{" berlin "}}, MatchOK},
		{"other country", Match{Countries: []string{"US", "Atlantis"}}, MatchCountry},
		{"other region", Match{Regions: []string{"Bavaria"}}, MatchRegion},
		{"other city", Match{Cities: []string{"Munich"}}, MatchCity},
		{"host by pattern", Match{Hosts: []string{"ab?2-*"}}, MatchOK},
		{"other host", Match{Hosts: []string{"ff*"}}, MatchHost},
		{"denied country wins", Match{Countries: []string{"Germany"}, Deny: Deny{Countries: []string{"DE"}}}, MatchDenied},
		{"denied city", Match{Deny: Deny{Cities: []string{"berlin"}}}, MatchDenied},
		{"denied region", Match{Deny: Deny{Regions: []string{"berlin"}}}, MatchDenied},
		{"denied host", Match{Deny: Deny{Hosts: []string{"*CD34"}}}, MatchDenied},
		{"uptime enough", Match{MinUptime: 0.99}, MatchOK},
		{"uptime too low", Match{MinUptime: 0.995}, MatchUptime},
	} {
		if got := NewMatcher(c.match).Host(berlin); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestAnUptimeOrMemoryThatIsNotKnownDoesNotDo(t *testing.T) {
	if got := NewMatcher(Match{MinUptime: 0.5}).Host(host("Germany", "", "", market.Maybe[float64]{})); got != MatchUptime {
		t.Errorf("uptime: %q", got)
	}
	m := NewMatcher(Match{MinVRAM: 24})
	if _, ok := m.Model("mystery"); ok {
		t.Error("a model of unknown memory matches")
	}
	if _, ok := m.GPU(market.HostGPU{Model: "mystery", VRAM: market.Some(24)}); !ok {
		t.Error("the host's word on memory is not heard")
	}
}

func TestModelsAreMatchedByPatternAndRanked(t *testing.T) {
	names := []string{"H100*", "*4090*", "l4-pcie-24gb"}
	for _, c := range []struct {
		model  market.GPUModel
		prefer bool
		rank   int
		ok     bool
	}{
		{"h100-sxm5-80gb", true, 0, true}, {"geforcertx4090-pcie-24gb", true, 1, true}, {"l4-pcie-24gb", true, 2, true},
		{"l4-pcie-24gb", false, 0, true}, {"l40-pcie-48gb", true, 0, false}, {"a4090x", true, 0, false},
	} {
		rank, ok := NewMatcher(Match{GPUModels: names, PreferOrder: c.prefer, Deny: Deny{GPUModels: []string{"a40??x"}}}).Model(c.model)
		if rank != c.rank || ok != c.ok {
			t.Errorf("%s: %d %v", c.model, rank, ok)
		}
	}
}

func TestCountriesAreKnownByAllTheirNames(t *testing.T) {
	for _, name := range []string{"US", "usa", "United States", "united states of america"} {
		for _, carried := range []string{"United States", "US", "USA"} {
			if got := NewMatcher(Match{Countries: []string{name}}).Host(host(carried, "", "", market.Maybe[float64]{})); got != MatchOK {
				t.Errorf("%s against %s: %q", name, carried, got)
			}
		}
	}
	seen := map[string]bool{}
	for _, names := range countries() {
		for _, n := range names {
			if seen[n] {
				t.Errorf("%s is two countries", n)
			}
			seen[n] = true
		}
	}
}

func TestGlob(t *testing.T) {
	for _, c := range []struct {
		p, s string
		want bool
	}{
		{"", "", true}, {"*", "", true}, {"?", "", false}, {"a*b*c", "aXXbYYc", true}, {"a*b*c", "aXXbYY", false},
		{"*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false}, {"a?c", "ABC", true}, {"[a]", "a", false}, {"a", "ab", false},
	} {
		if got := glob(c.p, c.s); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.p, c.s, got)
		}
	}
}

func TestMatchingAllocatesNothing(t *testing.T) {
	m := NewMatcher(Match{Countries: []string{"US"}, GPUModels: []string{"*4090*"}, Deny: Deny{Hosts: []string{"x*"}}})
	h := host("United States", "", "", market.Maybe[float64]{})
	if n := testing.AllocsPerRun(100, func() { m.Host(h); m.Model("geforcertx4090-pcie-24gb") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
