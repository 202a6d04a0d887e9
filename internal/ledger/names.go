package ledger

import (
	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Strangers are those of the names that this ledger has neither given out nor taken
// in, in their order.
func (l *Ledger) Strangers(names []market.MachineName) (out []market.MachineName, err error) {
	if len(names) == 0 {
		return nil, nil
	}
	err = l.view("strangers", func(tx *bbolt.Tx) error {
		for _, n := range names {
			known, err := issued(tx, n)
			if err != nil {
				return err
			}
			if !known {
				out = append(out, n)
			}
		}
		return nil
	})
	return out, err
}

func issued(tx *bbolt.Tx, n market.MachineName) (bool, error) {
	if n.Key != "" {
		if _, ok, err := find[uint64](tx, bucketNames, []byte(n.Key)); ok || err != nil {
			return ok, err
		}
	}
	_, ok, err := find[uint64](tx, bucketNames, []byte(n.String()))
	return ok, err
}

// TakeIn remembers the name of a machine that was adopted: should it vanish and come
// back, it is no stranger. It stands in the bucket of given names by its whole name,
// which no key is.
func (tx *Tx) TakeIn(n market.MachineName) error {
	return tx.l.wrap("take in", guard("take in", func() error {
		known, err := issued(tx.w.tx, n)
		if known || err != nil {
			return err
		}
		return tx.w.putJSON(bucketNames, []byte(n.String()), uint64(0))
	}))
}
