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
// indexes agree, and that the counters are the sums. It takes time in proportion
// to the file, but holds up writers only while it reads the pages, not while it
// decodes what is in them. A ledger that is found damaged takes no more changes.
func (l *Ledger) Verify() error {
	tx, head, err := l.verifyPages()
	if err == nil {
		err = guard("verify", func() error {
			return firstError(verifyHead(tx, head), verifyIntents(tx), verifyReports(tx), verifyPrices(tx))
		})
		err = firstError(err, guard("verify", tx.Rollback))
	}
	if errors.Is(err, ErrCorrupt) {
		l.writing.Lock()
		defer l.writing.Unlock()
		l.broken = err
	}
	return l.wrap("verify", err)
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

// verifyReports decodes every report, group by group.
func verifyReports(tx *bbolt.Tx) error {
	b, err := open(tx, bucketSummaries)
	if err != nil {
		return err
	}
	var first, last uint64
	read := func() error {
		if first == 0 {
			return nil
		}
		frames, err := readFrames(tx, first, last)
		if err != nil {
			return err
		}
		return readGroup(frames, func(*plan.Report) error { return nil })
	}
	err = b.ForEach(func(k, v []byte) error {
		s, err := decode[ReportSummary](bucketSummaries, k, v)
		if err != nil {
			return err
		}
		if s.Cycle != cycleOf(k) || s.Keyframe > s.Cycle {
			return badRecord(bucketSummaries, k, "is of another cycle")
		}
		if s.Keyframe != first {
			if err := read(); err != nil {
				return err
			}
			first = s.Keyframe
		}
		last = s.Cycle
		return nil
	})
	return firstError(err, read())
}

func verifyPrices(tx *bbolt.Tx) error {
	var wrong error
	err := eachPrice(tx, func(k []byte, p *plan.Price) {
		if wrong == nil && !bytes.Equal(k, priceKey(p)) {
			wrong = badRecord(bucketPrices, k, "carries another key")
		}
	})
	return firstError(err, wrong)
}
