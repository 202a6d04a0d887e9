package ledger

import (
	"bytes"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// Bounds of what is kept of costs and outages: longer than reports, since bills and
// claims look back to the month before, but never more than so many.
const (
	accountsLast = 400 * 24 * time.Hour
	costsMost    = 1 << 16
	outagesMost  = 1 << 13
)

// outageTime is a layout whose texts are in the order of the times.
const outageTime = "2006-01-02T15:04:05.000000000Z"

func costKey(c *plan.Cost) string { return c.Day + "\x00" + c.Policy + "\x00" + c.Machine }

func outageKey(u *plan.Outage) string { return u.From.UTC().Format(outageTime) + "\x00" + u.Machine }

// PutCosts adds what a look has metered to the costs on record.
func (tx *Tx) PutCosts(costs []plan.Cost) error {
	if tx.l.opts.Volatile {
		return nil
	}
	return tx.l.wrap("put costs", guard("put costs", func() error {
		for i := range costs {
			key := []byte(costKey(&costs[i]))
			sum, ok, err := find[plan.Cost](tx.w.tx, bucketCosts, key)
			if err != nil {
				return err
			}
			if !ok {
				sum = plan.Cost{Day: costs[i].Day, Policy: costs[i].Policy, Machine: costs[i].Machine}
			}
			sum.Add(&costs[i])
			if err := tx.w.putJSON(bucketCosts, key, &sum); err != nil {
				return err
			}
		}
		return nil
	}))
}

// PutBalance goes on with the record of a day's balance.
func (tx *Tx) PutBalance(b plan.Balance) error {
	if tx.l.opts.Volatile {
		return nil
	}
	return tx.l.wrap("put balance", guard("put balance", func() error {
		day, ok, err := find[plan.Balance](tx.w.tx, bucketBalances, []byte(b.Day))
		if err != nil {
			return err
		}
		was := day
		if day.Add(&b); !ok {
			day = b
		}
		if ok && day == was {
			return nil
		}
		return tx.w.putJSON(bucketBalances, []byte(b.Day), &day)
	}))
}

// Balances lists how the balance went on the days from the first to the last, as Costs
// does.
func (l *Ledger) Balances(first, last string) ([]plan.Balance, error) {
	return days(l, "read balances", bucketBalances, first, last, func(b *plan.Balance) string { return b.Day })
}

// PutOutages keeps outages that are over.
func (tx *Tx) PutOutages(over []plan.Outage) error {
	if tx.l.opts.Volatile {
		return nil
	}
	return tx.l.wrap("put outages", guard("put outages", func() error {
		for i := range over {
			if err := tx.w.putJSON(bucketOutages, []byte(outageKey(&over[i])), &over[i]); err != nil {
				return err
			}
		}
		return nil
	}))
}

// Costs lists the costs of the days from the first to the last, both included and
// each "" for no bound, by day, policy and machine.
func (l *Ledger) Costs(first, last string) ([]plan.Cost, error) {
	return days(l, "read costs", bucketCosts, first, last, func(c *plan.Cost) string { return c.Day })
}

// days reads the records of the days from the first to the last, of a bucket whose keys
// begin with the day.
func days[T any](l *Ledger, doing, bucket, first, last string, day func(*T) string) (list []T, err error) {
	err = l.view(doing, func(tx *bbolt.Tx) error {
		return scan(tx, bucket, first, func(_ []byte, v T) (bool, error) {
			if last != "" && day(&v) > last {
				return false, nil
			}
			list = append(list, v)
			return true, nil
		})
	})
	return list, err
}

// Outages lists the outages that were not over before a time, oldest first, those
// that are not over yet last.
func (l *Ledger) Outages(since time.Time) (list []plan.Outage, err error) {
	err = l.view("read outages", func(tx *bbolt.Tx) error {
		return scan(tx, bucketOutages, "", func(_ []byte, u plan.Outage) (bool, error) {
			if since.IsZero() || u.To.After(since) {
				list = append(list, u)
			}
			return true, nil
		})
	})
	h := l.state.Load().history.Clone()
	for i := range h.Machines {
		if u := h.Machines[i].Outage; u != nil {
			list = append(list, *u)
		}
	}
	return list, err
}

// scan reads the records of a bucket from a key on, for as long as fn wants more. A
// schema before 4 has no such bucket.
func scan[T any](tx *bbolt.Tx, bucket, from string, fn func(k []byte, v T) (bool, error)) error {
	b := tx.Bucket([]byte(bucket))
	if b == nil {
		return nil
	}
	c := b.Cursor()
	for k, value := c.Seek([]byte(from)); k != nil; k, value = c.Next() {
		v, err := decode[T](bucket, k, value)
		if err != nil {
			return err
		}
		if more, err := fn(k, v); err != nil || !more {
			return err
		}
	}
	return nil
}

// pruneAccounts drops costs and outages that are too old, or too many.
func (tx *Tx) pruneAccounts(now time.Time) (more bool, err error) {
	before := now.Add(-max(accountsLast, tx.l.opts.Retention))
	costs, err := tx.pruneOldest(bucketCosts, costsMost, before.Format(time.DateOnly))
	if err != nil {
		return false, err
	}
	if _, err := tx.pruneOldest(bucketBalances, costsMost, before.Format(time.DateOnly)); err != nil {
		return false, err
	}
	outages, err := tx.pruneOldest(bucketOutages, outagesMost, before.UTC().Format(outageTime))
	return costs || outages, err
}

// pruneOldest drops a batch of the records whose keys come before one, or that are
// more than there may be.
func (tx *Tx) pruneOldest(bucket string, most int64, before string) (more bool, err error) {
	b, err := open(tx.w.tx, bucket)
	if err != nil {
		return false, err
	}
	over := tx.w.counts.Sizes[bucket].Records - most
	var drop [][]byte
	c := b.Cursor()
	for k, _ := c.First(); k != nil && len(drop) < pruneRecords; k, _ = c.Next() {
		if string(k) >= before && int64(len(drop)) >= over {
			break
		}
		drop = append(drop, bytes.Clone(k))
	}
	return len(drop) == pruneRecords, tx.dropAll(bucket, drop)
}

// verifyAccounts wants every record under its own key.
func verifyAccounts(tx *bbolt.Tx) error {
	return firstError(
		scan(tx, bucketCosts, "", func(k []byte, c plan.Cost) (bool, error) { return true, ownKey(bucketCosts, k, costKey(&c)) }),
		scan(tx, bucketBalances, "", func(k []byte, b plan.Balance) (bool, error) { return true, ownKey(bucketBalances, k, b.Day) }),
		scan(tx, bucketOutages, "", func(k []byte, u plan.Outage) (bool, error) { return true, ownKey(bucketOutages, k, outageKey(&u)) }),
	)
}

func ownKey(bucket string, k []byte, want string) error {
	if string(k) != want {
		return badRecord(bucket, k, "carries another key")
	}
	return nil
}

// accounts is the step from schema 3, which knew what was spent by day and policy
// alone.
func accounts(w *writer) error {
	for _, b := range []string{bucketCosts, bucketOutages, bucketBalances} {
		if _, err := w.tx.CreateBucketIfNotExists([]byte(b)); err != nil {
			return err
		}
	}
	spend, err := loadRecords(w.tx, bucketSpend, spendKey)
	if err != nil {
		return err
	}
	for _, s := range spend {
		c := plan.Cost{Day: s.Day, Policy: s.Policy, Amount: s.Amount}
		if err := w.putJSON(bucketCosts, []byte(costKey(&c)), &c); err != nil {
			return err
		}
	}
	return nil
}
