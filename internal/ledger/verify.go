package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// Verify checks the whole file: its pages, every record, that records and
// indexes agree, and that the counters are the sums. It holds up writers and
// takes time in proportion to the file.
func (l *Ledger) Verify() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return l.wrap("verify", ErrClosed)
	}
	found, err := l.walk() // first: bbolt's own check cannot be guarded
	if err == nil {
		c := l.state.Load().counts
		err = c.compare(found)
	}
	if err != nil {
		return l.wrap("verify", err)
	}
	return l.view("verify", func(tx *bbolt.Tx) error {
		var first error
		for err := range tx.Check() {
			if first == nil {
				first = fmt.Errorf("%w: %w", ErrCorrupt, err)
			}
		}
		return firstError(first, l.verifyHead(tx), verifyIntents(tx), verifyReports(tx), verifyPrices(tx))
	})
}

// verifyHead holds the cached head against the records.
func (l *Ledger) verifyHead(tx *bbolt.Tx) error {
	var s state
	if err := s.read(tx); err != nil {
		return err
	}
	have, err := json.Marshal(l.state.Load().history)
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
