package market

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func owners() *rapid.Generator[string] {
	return rapid.StringMatching(`[a-z0-9](-?[a-z0-9]){0,15}`).Filter(func(s string) bool { return CheckOwner(s) == nil })
}

func policyNames() *rapid.Generator[string] {
	return rapid.StringMatching(`[A-Za-z0-9]([-_.]?[A-Za-z0-9]){0,20}`)
}

func TestEveryLegalNameComesBackAsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := MachineName{owners().Draw(t, "owner"), policyNames().Draw(t, "policy"), rapid.StringMatching(`[a-z0-9]{8}`).Draw(t, "key")}
		if CheckPolicyName(n.Owner, n.Policy) != nil {
			t.Skip("too long")
		}
		if len(n.String()) > MaxNameLen {
			t.Fatalf("%s is too long", n)
		}
		got, ok := ParseMachineName(n.String())
		if !ok || got != n {
			t.Fatalf("%s came back as %+v, %v", n, got, ok)
		}
	})
}

func TestNoNameIsReadAsAnotherOwners(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Owners that share parts are the hard case: "a" with policy "b-c", "a-b" with "c".
		part := rapid.StringMatching(`[ab]`)
		word := func(label string) string {
			return strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, label), "-")
		}
		a := MachineName{word("owner a"), word("policy a"), "aaaaaaaa"}
		b := MachineName{word("owner b"), word("policy b"), "aaaaaaaa"}
		if a != b && a.String() == b.String() {
			t.Fatalf("%+v and %+v are both called %s", a, b, a)
		}
	})
}

func TestWhatCarriesOurMarkIsOursWhateverItsKey(t *testing.T) {
	for s, want := range map[string]MachineName{
		"tds-main-train-abcdefgh":    {"main", "train", "abcdefgh"},
		"tds-main-train-orphan1":     {"main", "train", "orphan1"},
		"tds-main-train-0001":        {"main", "train", "0001"},
		"tds-main-train-ABCDEFGHIJK": {"main", "train", "ABCDEFGHIJK"},
		"tds-main-train-a-b":         {"main", "train-a", "b"},
		"tds-main-train":             {"main", "train", ""},
		"tds-team--a-train-1":        {"team-a", "train", "1"},
	} {
		if n, ok := ParseMachineName(s); !ok || n != want {
			t.Errorf("%q was read as %+v, %v", s, n, ok)
		}
	}
}

func TestWhatIsNotOursDoesNotParse(t *testing.T) {
	for _, s := range []string{
		"", "tds-", "tds--", "tds-main", "tds-Main-policy-abcdefgh", "xtds-main-policy-abcdefgh", "tds-main-pol icy-abcdefgh",
		"tds-main-policy-abcdefgh ", "tds-main-policy-abcdefgh~id", "tds---a-b-abcdefgh", "tds-main-p--q-abcdefgh", "My TensorDock Server",
	} {
		if n, ok := ParseMachineName(s); ok {
			t.Errorf("%q was read as %+v", s, n)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`tds-[-a-zA-Z0-9_.~]{0,40}`)).Draw(t, "name")
		if n, ok := ParseMachineName(s); ok && n.String() != s {
			t.Fatalf("%q was read as %+v, which is %q", s, n, n)
		}
	})
}

func TestNamesAreCheckedWithTheirOwner(t *testing.T) {
	for owner, ok := range map[string]bool{
		"main": true, "a-b": true, "": false, "A": false, "a--b": false, "-a": false, "a-": false,
		"seventeen-letters": false, "sixteen-letters0": true,
	} {
		if (CheckOwner(owner) == nil) != ok {
			t.Errorf("owner %q: %v", owner, CheckOwner(owner))
		}
	}
	if err := CheckPolicyName("main", strings.Repeat("p", 42)); err != nil {
		t.Error(err)
	}
	if err := CheckPolicyName("main", strings.Repeat("p", 43)); err == nil {
		t.Error("a name of 61 characters was let through")
	}
	for _, p := range []string{"", "a b", "a--b", "-a", "a.", "ä"} {
		if CheckPolicyName("main", p) == nil {
			t.Errorf("policy %q was let through", p)
		}
	}
}
