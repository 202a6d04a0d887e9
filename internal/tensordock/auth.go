package tensordock

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// AuthTest checks the credentials: ClassUnauthorized if v0 does not accept them.
func (r *Reader) AuthTest(ctx context.Context) error {
	q := r.post("test credentials", "auth/test", nil)
	q.verb = verbAuth
	_, err := ask(ctx, r.v0, q, accepted)
	return err
}

// Authorization is one pair of credentials of the account, without its secret.
type Authorization struct {
	Name        string
	Permissions []string
	Note        string
	Created     time.Time // zero if not told
}

// AuthList lists the account's authorizations, sorted by name.
func (r *Reader) AuthList(ctx context.Context) ([]Authorization, error) {
	return ask(ctx, r.v0, r.post("list authorizations", "auth/list", nil), decodeAuthorizations)
}

// decodeAuthorizations: a map by name, or an array of objects.
func decodeAuthorizations(v value) ([]Authorization, error) {
	list := v.get("authorizations")
	if !list.isObject() && !list.isArray() && !v.get("success").flag().Or(false) {
		return nil, errors.New("no authorizations in the answer")
	}
	out := []Authorization{}
	for name, a := range list.entries() {
		out = append(out, Authorization{
			Name:        firstText(a.get("name").word(), name),
			Permissions: a.get("permissions").texts(),
			Note:        a.get("note").word(),
			Created:     a.get("timestamp_creation", "created_at").moment(),
		})
	}
	slices.SortStableFunc(out, func(a, b Authorization) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
