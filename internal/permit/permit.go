// Package permit carries the write gate down to the moment a request leaves. A write
// may wait long for its pace after it was allowed, and a pause, a breaker or a new
// configuration may come up meanwhile.
package permit

import "context"

type key struct{}

// With makes every write under the context ask first, when its turn has come and
// before a byte of it leaves. An error of ask means that nothing is sent.
func With(ctx context.Context, ask func() error) context.Context {
	return context.WithValue(ctx, key{}, ask)
}

// Ask asks the context; nil where nobody wants to be asked.
func Ask(ctx context.Context) error {
	ask, _ := ctx.Value(key{}).(func() error)
	if ask == nil {
		return nil
	}
	return ask()
}
