package policy

import (
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
)

var berlin = market.Location{Country: "Germany", Region: "Berlin", City: "Berlin"}

func TestPlacesAndHostsAreMatchedByEveryRule(t *testing.T) {
	for _, c := range []struct {
		name  string
		match Match
		want  bool
	}{
		{"nothing asked", Match{}, true},
		{"code for a name", Match{Countries: []string{"de"}}, true},
		{"case", Match{Countries: []string{"gErMaNy"}, Regions: []string{"BERLIN"}, Cities: []string{" berlin "}}, true},
		{"other country", Match{Countries: []string{"US", "Atlantis"}}, false},
		{"other region", Match{Regions: []string{"Bavaria"}}, false},
		{"other city", Match{Cities: []string{"Munich"}}, false},
		{"host by pattern", Match{Hosts: []string{"ab?2-*"}}, true},
		{"other host", Match{Hosts: []string{"ff*"}}, false},
		{"denied country wins", Match{Countries: []string{"Germany"}, Deny: Deny{Countries: []string{"DE"}}}, false},
		{"denied city", Match{Deny: Deny{Cities: []string{"berlin"}}}, false},
		{"denied region", Match{Deny: Deny{Regions: []string{"berlin"}}}, false},
		{"denied host", Match{Deny: Deny{Hosts: []string{"*CD34"}}}, false},
	} {
		m := NewMatcher(c.match)
		if got := m.Place(berlin) && m.HostID("AB12-cd34"); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestWhatIsNotKnownOfAPlaceIsNoReasonToLeaveIt(t *testing.T) {
	m := NewMatcher(Match{Countries: []string{"Germany"}, Regions: []string{"Berlin"}, Deny: Deny{Cities: []string{"Potsdam"}}})
	for _, c := range []struct {
		l        market.Location
		place    bool
		unwanted bool
	}{
		{berlin, true, false},
		{market.Location{}, false, false},
		{market.Location{Country: "Germany"}, false, false},
		{market.Location{Country: "France"}, false, true},
		{market.Location{Country: "Germany", Region: "Bavaria"}, false, true},
		{market.Location{City: "Potsdam"}, false, true},
	} {
		if got := m.Place(c.l); got != c.place {
			t.Errorf("a host in %q is wanted: %v", c.l, got)
		}
		if got := m.Unwanted(c.l); got != c.unwanted {
			t.Errorf("a machine in %q must leave: %v", c.l, got)
		}
	}
}

func TestAMemoryThatIsNotKnownDoesNotDo(t *testing.T) {
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
		{"h100-sxm5-80gb", true, 0, true},
		{"geforcertx4090-pcie-24gb", true, 1, true},
		{"l4-pcie-24gb", true, 2, true},
		{"l4-pcie-24gb", false, 0, true},
		{"l40-pcie-48gb", true, 0, false},
		{"a4090x", true, 0, false},
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
			if !NewMatcher(Match{Countries: []string{name}}).Place(market.Location{Country: carried}) {
				t.Errorf("%s does not match %s", name, carried)
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
		{"", "", true},
		{"*", "", true},
		{"?", "", false},
		{"a*b*c", "aXXbYYc", true},
		{"a*b*c", "aXXbYY", false},
		{"*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
		{"a?c", "ABC", true},
		{"[a]", "a", false},
		{"a", "ab", false},
	} {
		if got := glob(c.p, c.s); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.p, c.s, got)
		}
	}
}

func TestMatchingAllocatesNothing(t *testing.T) {
	m := NewMatcher(Match{Countries: []string{"US"}, GPUModels: []string{"*4090*"}, Deny: Deny{Hosts: []string{"x*"}}})
	l := market.Location{Country: "United States"}
	if n := testing.AllocsPerRun(100, func() { m.Place(l); m.HostID("y"); m.Model("geforcertx4090-pcie-24gb") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
