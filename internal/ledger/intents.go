package ledger

import (
	"encoding/binary"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// Filter selects intents. Empty fields select all.
type Filter struct {
	Policy   string
	Kind     plan.ActionKind
	State    plan.IntentState
	Machine  string    // name
	Since    time.Time // written at or after
	Until    time.Time // written before
	OpenOnly bool      // those that are not settled
	Limit    int       // the newest so many; 0 is all
	Before   uint64    // only those with a lower id; 0 is all
}

func (f *Filter) match(in *plan.Intent) bool {
	return (f.Policy == "" || f.Policy == in.Policy) &&
		(f.Kind == "" || f.Kind == in.Kind) &&
		(f.State == "" || f.State == in.State) &&
		(f.Machine == "" || f.Machine == in.Machine) &&
		(f.Since.IsZero() || !in.At.Before(f.Since)) &&
		(f.Until.IsZero() || in.At.Before(f.Until)) &&
		(!f.OpenOnly || !in.State.Settled())
}

// Intents lists intents, newest first.
func (l *Ledger) Intents(f Filter) (list []plan.Intent, err error) {
	bucket := bucketIntents
	if f.OpenOnly {
		bucket = bucketOpen
	}
	err = l.view("list intents", func(tx *bbolt.Tx) error {
		b, err := open(tx, bucket)
		if err != nil {
			return err
		}
		c := b.Cursor()
		for k, _ := lastBefore(c, f.Before); k != nil && (f.Limit <= 0 || len(list) < f.Limit); k, _ = c.Prev() {
			in, ok, err := findIntent(tx, binary.BigEndian.Uint64(k))
			if err == nil && !ok {
				err = badRecord(bucket, k, "has no intent")
			}
			if err != nil {
				return err
			}
			if f.match(&in) {
				list = append(list, in)
			}
		}
		return nil
	})
	return list, err
}

// lastBefore moves to the last record below a number, or with 0 to the last of all; nil
// where there is none.
func lastBefore(c *bbolt.Cursor, before uint64) (k, v []byte) {
	if before == 0 {
		return c.Last()
	}
	if k, _ := c.Seek(number(before)); k == nil { // all are below
		return c.Last()
	}
	return c.Prev()
}

// Intent finds one intent, or ErrNoSuchIntent.
func (l *Ledger) Intent(id uint64) (in plan.Intent, err error) {
	err = l.view("read intent", func(tx *bbolt.Tx) error {
		var ok bool
		in, ok, err = findIntent(tx, id)
		if err == nil && !ok {
			err = fmt.Errorf("%w: %d", ErrNoSuchIntent, id)
		}
		return err
	})
	return in, err
}

func findIntent(tx *bbolt.Tx, id uint64) (plan.Intent, bool, error) {
	in, ok, err := find[plan.Intent](tx, bucketIntents, number(id))
	if ok && in.ID != id {
		return in, false, badRecord(bucketIntents, number(id), "carries another id")
	}
	return in, ok, err
}
