package market

import (
	"fmt"
	"regexp"
	"strings"
)

// NamePrefix begins the name of every machine that tdscaler makes.
const NamePrefix = "tds-"

// MaxNameLen is the longest name known to be accepted by the market.
const MaxNameLen = 60

// KeyLen is the length of the unique key that ends the name of a machine we order.
const KeyLen = 8

var (
	ownerPattern  = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9])*$`)
	policyPattern = regexp.MustCompile(`^[A-Za-z0-9]([-_.]?[A-Za-z0-9])*$`)
	keyPattern    = regexp.MustCompile(`^[A-Za-z0-9]+$`)
)

// MachineName is the mark that a machine carries: who owns it, for which policy
// it was bought, and the key of the intent that bought it.
//
// It prints as tds-<owner>-<policy>-<key>. A hyphen inside the owner is doubled,
// so that the name of one owner can never be read as another's: neither owner
// nor policy may hold two hyphens in a row, and a policy starts with a letter or
// a digit.
type MachineName struct {
	Owner, Policy, Key string
}

// String prints the name.
func (n MachineName) String() string {
	s := NamePrefix + strings.ReplaceAll(n.Owner, "-", "--") + "-" + n.Policy
	if n.Key != "" {
		s += "-" + n.Key
	}
	return s
}

// ParseMachineName reads a name of ours; ok is false for every other name. What
// makes it ours is the mark and the owner: the key may be anything, or missing, so
// that no machine that carries our mark is passed over in silence.
func ParseMachineName(s string) (n MachineName, ok bool) {
	rest, ok := strings.CutPrefix(s, NamePrefix)
	if !ok {
		return MachineName{}, false
	}
	// The owner ends at the first hyphen that is not part of a pair.
	i := 0
	for i < len(rest) && rest[i] != '-' || i+1 < len(rest) && rest[i] == '-' && rest[i+1] == '-' {
		if rest[i] == '-' {
			i++
		}
		i++
	}
	if i >= len(rest) {
		return MachineName{}, false
	}
	n.Owner = strings.ReplaceAll(rest[:i], "--", "-")
	rest = rest[i+1:]
	n.Policy = rest
	if j := strings.LastIndexByte(rest, '-'); j >= 0 {
		n.Policy, n.Key = rest[:j], rest[j+1:]
	}
	if !ownerPattern.MatchString(n.Owner) || !policyPattern.MatchString(n.Policy) || n.Key != "" && !keyPattern.MatchString(n.Key) {
		return MachineName{}, false
	}
	return n, n.String() == s
}

// CheckOwner says what is wrong with an owner's name, nil if nothing.
func CheckOwner(owner string) error {
	if !ownerPattern.MatchString(owner) || len(owner) > 16 {
		return fmt.Errorf("an owner is 1 to 16 lower-case letters, digits and single hyphens, not %q", owner)
	}
	return nil
}

// CheckPolicyName says what is wrong with a policy's name for this owner.
func CheckPolicyName(owner, policy string) error {
	if !policyPattern.MatchString(policy) {
		return fmt.Errorf("a policy name is letters and digits with single '-', '_' or '.' between them, not %q", policy)
	}
	n := MachineName{Owner: owner, Policy: policy, Key: strings.Repeat("x", KeyLen)}
	if over := len(n.String()) - MaxNameLen; over > 0 {
		return fmt.Errorf("policy name %q is %d characters too long: machine names have at most %d", policy, over, MaxNameLen)
	}
	return nil
}
