package ledger

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// pruneBatch bounds how many groups of reports, and how many intents and prices,
// one transaction drops: a cycle that prunes must not take long.
const (
	pruneGroups  = 32
	pruneRecords = 4096
)

// Prune drops what is older than the retention allows, and the oldest reports
// while more of the file is in use than MaxSize allows. The newest group of
// reports always stays. PutReport does the same, a bit at a time, about once an hour.
func (l *Ledger) Prune(now time.Time) error {
	for {
		more := false
		err := l.Update(func(tx *Tx) error {
			return l.wrap("prune", guard("prune", func() (err error) {
				more, err = tx.prune(now)
				return err
			}))
		})
		if err != nil || !more {
			return err
		}
	}
}

// prune drops a batch and says whether there is more to drop.
func (tx *Tx) prune(now time.Time) (more bool, err error) {
	reports, err := tx.pruneReports(now)
	if err != nil {
		return false, err
	}
	accounts, err := tx.pruneAccounts(now)
	if more = reports || accounts; err != nil || tx.l.opts.Retention <= 0 {
		return more, err
	}
	before := now.Add(-tx.l.opts.Retention)
	intents, err := tx.pruneIntents(before)
	if err != nil {
		return false, err
	}
	prices, err := tx.prunePrices(before)
	return more || intents || prices, err
}

// group is a run of reports that stand or fall together.
type group struct {
	cycles []uint64
	newest time.Time
	size   int64 // pages, about
}

// pruneReports drops whole groups, oldest first. How much dropping them frees is
// known only after the commit, so where size is the reason there may be more.
func (tx *Tx) pruneReports(now time.Time) (more bool, err error) {
	over := int64(0)
	if tx.l.opts.MaxSize > 0 {
		over = tx.l.used(tx.w.tx) - tx.l.opts.MaxSize
	}
	for range pruneGroups {
		g, last, err := tx.oldestGroup()
		if err != nil || last {
			return false, err
		}
		old := tx.l.opts.Retention > 0 && g.newest.Before(now.Add(-tx.l.opts.Retention))
		if !old && over <= 0 {
			return more, nil
		}
		if err := tx.dropGroup(g); err != nil {
			return false, err
		}
		more = more || over > 0
		over -= g.size
	}
	return true, nil
}

// oldestGroup reads the first group of reports; last says that there is no
// other, or none at all.
func (tx *Tx) oldestGroup() (g group, last bool, err error) {
	b, err := open(tx.w.tx, bucketSummaries)
	if err != nil {
		return g, false, err
	}
	page := int64(tx.l.db.Info().PageSize)
	key := uint64(0)
	c := b.Cursor()
	for k, v := c.First(); k != nil; k, v = c.Next() {
		s, err := decode[ReportSummary](bucketSummaries, k, v)
		if err != nil {
			return g, false, err
		}
		if key != 0 && s.Keyframe != key {
			return g, false, nil
		}
		key = s.Keyframe
		g.cycles = append(g.cycles, s.Cycle)
		g.size += int64(s.Bytes)/page*page + page
		if s.FinishedAt.After(g.newest) {
			g.newest = s.FinishedAt
		}
	}
	return g, true, nil
}

func (tx *Tx) dropGroup(g group) error {
	for _, cycle := range g.cycles {
		if err := tx.w.del(bucketFrames, number(cycle)); err != nil {
			return err
		}
		if err := tx.w.del(bucketSummaries, number(cycle)); err != nil {
			return err
		}
	}
	return nil
}

// pruneIntents drops settled intents that no machine in the books refers to.
// Intents are in order of time but for a clock that jumped, so it stops at the
// first young one.
func (tx *Tx) pruneIntents(before time.Time) (more bool, err error) {
	b, err := open(tx.w.tx, bucketIntents)
	if err != nil {
		return false, err
	}
	used := tx.usedIntents()
	var drop [][]byte
	c := b.Cursor()
	for k, v := c.First(); k != nil && len(drop) < pruneRecords; k, v = c.Next() {
		in, err := decode[plan.Intent](bucketIntents, k, v)
		if err != nil {
			return false, err
		}
		if !in.At.Before(before) {
			break
		}
		if in.State.Settled() && in.SettledAt.Before(before) && !used[in.ID] {
			drop = append(drop, bytes.Clone(k))
		}
	}
	return len(drop) == pruneRecords, tx.dropAll(bucketIntents, drop)
}

// usedIntents are those that machines refer to.
func (tx *Tx) usedIntents() map[uint64]bool {
	used := map[uint64]bool{}
	for i := range tx.history.Machines {
		m := &tx.history.Machines[i]
		used[m.DeployIntent] = true
		if m.Leaving != nil {
			used[m.Leaving.Intent] = true
		}
		if m.Rebid != nil {
			used[m.Rebid.Intent] = true
		}
		if m.Parked != nil {
			used[m.Parked.Intent], used[m.Parked.Start], used[m.Parked.Modify] = true, true, true
		}
	}
	return used
}

func (tx *Tx) dropAll(bucket string, keys [][]byte) error {
	for _, k := range keys {
		if err := tx.w.del(bucket, k); err != nil {
			return err
		}
	}
	return nil
}

// cycleOf reads the key of a record that is found by number.
func cycleOf(key []byte) uint64 { return binary.BigEndian.Uint64(key) }
