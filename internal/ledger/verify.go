package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// Verify checks the whole file: its pages, every record, that records and
// indexes agree, that the counters are the sums, and that every report can be read
// back. It takes time in proportion to the file, but holds up writers only while it
// reads the pages, not while it decodes the reports. A ledger that is found damaged
// takes no more changes.
func (l *Ledger) Verify() error { return l.verify(true) }

// verify leaves the reports undecoded unless it is to read them back: what their
// checksums match is what was written.
func (l *Ledger) verify(reports bool) error {
	groups, err := l.verifyRecords()
	for i := 0; reports && err == nil && i < len(groups); i++ {
		err = l.verifyGroup(groups[i])
	}
	if errors.Is(err, ErrCorrupt) {
		l.writing.Lock()
		defer l.writing.Unlock()
		l.broken = err
	}
	return l.wrap("verify", err)
}

// verifyRecords checks everything but what the reports say, and returns the last
// cycle of each group of reports.
func (l *Ledger) verifyRecords() (groups []uint64, err error) {
	tx, head, err := l.verifyPages()
	if err != nil {
		return nil, err
	}
	err = guard("verify", func() error {
		groups, err = verifySummaries(tx)
		return firstError(err, verifyHead(tx, head), verifyIntents(tx), verifyPrices(tx), verifyAccounts(tx))
	})
	return groups, firstError(err, guard("verify", tx.Rollback))
}

// verifyGroup reads the reports of a group back, in a transaction of its own: the
// file cannot grow while one runs. What was pruned meanwhile is fine.
func (l *Ledger) verifyGroup(last uint64) error {
	frames, err := l.framesTo(last)
	if errors.Is(err, ErrNoSuchCycle) {
		return nil
	}
	if err != nil {
		return err
	}
	return readGroup(frames, func(*plan.Report) error { return nil })
}

// verifyPages checks the pages while nobody writes, and returns a transaction that
// reads what it has checked, with the head that belongs to it.
func (l *Ledger) verifyPages() (*bbolt.Tx, *state, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return nil, nil, ErrClosed
	}
	head := l.state.Load()
	found, err := l.walk() // first: bbolt's own check cannot be guarded
	if err == nil {
		err = head.counts.compare(found)
	}
	if err != nil {
		return nil, nil, err
	}
	var tx *bbolt.Tx
	err = guard("verify", func() (err error) {
		tx, err = l.db.Begin(false)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	for one := range tx.Check() {
		err = firstError(err, fmt.Errorf("%w: %w", ErrCorrupt, one))
	}
	if err != nil {
		return nil, nil, errors.Join(err, tx.Rollback())
	}
	return tx, head, nil
}

// verifyHead holds the cached head against the records.
func verifyHead(tx *bbolt.Tx, head *state) error {
	var s state
	if err := s.read(tx); err != nil {
		return err
	}
	have, err := json.Marshal(head.history)
	if err != nil {
		return err
	}
	want, err := json.Marshal(s.history)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		return bad("the history in memory is not the one on disk")
	}
	return nil
}

// verifyIntents wants every intent that is not settled in the index, and only those.
func verifyIntents(tx *bbolt.Tx) error {
	c, _, err := find[counters](tx, bucketMeta, []byte(keyCounters))
	if err != nil {
		return err
	}
	b, err := open(tx, bucketIntents)
	if err != nil {
		return err
	}
	index, err := open(tx, bucketOpen)
	if err != nil {
		return err
	}
	unsettled := int64(0)
	err = b.ForEach(func(k, v []byte) error {
		in, err := decode[plan.Intent](bucketIntents, k, v)
		switch {
		case err != nil:
			return err
		case in.ID != binary.BigEndian.Uint64(k) || in.ID > c.Intents || in.Cycle > c.Cycle:
			return badRecord(bucketIntents, k, "has an id or cycle that was never given out")
		case in.State.Settled() != (index.Get(k) == nil):
			return badRecord(bucketIntents, k, "disagrees with the index of open intents")
		case !in.State.Settled():
			unsettled++
		}
		return nil
	})
	if err == nil && unsettled != c.Sizes[bucketOpen].Records {
		err = bad("%d intents are open, the index has %d", unsettled, c.Sizes[bucketOpen].Records)
	}
	return err
}

// verifySummaries returns the last cycle of each group of reports.
func verifySummaries(tx *bbolt.Tx) (groups []uint64, err error) {
	b, err := open(tx, bucketSummaries)
	if err != nil {
		return nil, err
	}
	keyframe := uint64(0)
	err = b.ForEach(func(k, v []byte) error {
		s, err := decode[ReportSummary](bucketSummaries, k, v)
		if err != nil {
			return err
		}
		if s.Cycle != cycleOf(k) || s.Keyframe > s.Cycle {
			return badRecord(bucketSummaries, k, "is of another cycle")
		}
		if s.Keyframe != keyframe {
			groups = append(groups, 0)
		}
		keyframe, groups[len(groups)-1] = s.Keyframe, s.Cycle
		return nil
	})
	return groups, err
}

func verifyPrices(tx *bbolt.Tx) error {
	return eachSeries(tx, func(k []byte, s plan.Series) error {
		if len(k) == seriesIDLen && !bytes.Equal(k, seriesKey{s.Host, s.Model}.id()) {
			return badRecord(bucketPrices, k, "carries another key")
		}
		return nil
	})
}
