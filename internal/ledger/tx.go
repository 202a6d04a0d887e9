package ledger

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Tx is a transaction that writes. It must not be used after Update returned,
// nor from another goroutine than the one that runs fn.
type Tx struct {
	l       *Ledger
	w       writer
	history plan.History
	chain   *chain            // of the last report put, where one was
	tips    map[seriesKey]tip // of the series that were written
	failed  error             // of a method that returns none; found when saving
}

// Update runs fn in a transaction and brings its changes to disk with one fsync.
// An error of fn is returned as it is, after everything was rolled back; so is
// everything when fn panics. ErrWrite means that the disk refused: the change
// must be taken as not made, and the ledger can still be read.
func (l *Ledger) Update(fn func(tx *Tx) error) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	err := l.update(fn)
	switch {
	case err == nil:
		l.trouble.Store(nil)
	case errors.Is(err, ErrWrite) || errors.Is(err, ErrCorrupt):
		l.trouble.Store(&err)
		l.failed.Add(1)
	}
	return err
}

func (l *Ledger) update(fn func(tx *Tx) error) error {
	if err := l.writable(); err != nil {
		return l.wrap("update", err)
	}
	var btx *bbolt.Tx
	err := guard("begin", func() (err error) {
		btx, err = l.db.Begin(true)
		return err
	})
	if err != nil {
		return l.fail("begin", err)
	}
	tx := &Tx{l: l, w: writer{tx: btx, counts: l.state.Load().counts.clone()}, history: l.state.Load().history.Clone()}
	done := false
	defer func() {
		if !done {
			tx.rollback()
		}
	}()
	if err := fn(tx); err != nil {
		return err
	}
	if err := guard("save", tx.save); err != nil {
		return l.wrap("update", err)
	}
	done = true
	return l.commit(tx)
}

// writable says why nothing can be written now.
func (l *Ledger) writable() error {
	switch {
	case l.closed:
		return ErrClosed
	case l.opts.ReadOnly:
		return ErrReadOnly
	}
	return l.broken
}

// rollback leaves everything as it was. Where even that fails, nothing can be
// trusted any more until the file was opened, and so checked, again.
func (tx *Tx) rollback() {
	if err := guard("roll back", tx.w.tx.Rollback); err != nil && !errors.Is(err, berrors.ErrTxClosed) {
		tx.l.broken = err
	}
}

// commit makes the transaction's state the ledger's.
func (l *Ledger) commit(tx *Tx) error {
	if l.opts.Volatile && !tx.w.dirty {
		tx.rollback()
	} else if err := l.bringToDisk(tx.w.tx); err != nil {
		tx.rollback()
		return l.fail("commit", err)
	}
	l.state.Store(&state{history: tx.history, counts: tx.w.counts})
	if tx.chain != nil {
		l.frames.chain = tx.chain
	}
	for k, t := range tx.tips {
		if l.tips[k] = t; !t.known && t.place == (market.Location{}) {
			delete(l.tips, k)
		}
	}
	return nil
}

func (l *Ledger) bringToDisk(tx *bbolt.Tx) error {
	if l.opts.Fault != nil {
		if err := l.opts.Fault(); err != nil {
			return err
		}
	}
	return guard("commit", tx.Commit)
}

// fail turns an error of the disk into ErrWrite. What bbolt now holds is read
// again: after a failed fsync it may be the new state, and the next transaction
// must build on what is there.
func (l *Ledger) fail(op string, cause error) error {
	l.frames.drop()
	if errors.Is(cause, ErrCorrupt) {
		l.broken = cause
	}
	if l.broken == nil {
		if err := l.load(); err != nil {
			l.broken = err
		}
	}
	return l.wrap(op, fmt.Errorf("%w: %w", ErrWrite, cause))
}

// save writes what fn left in the History, and the counters.
func (tx *Tx) save() error {
	if tx.failed != nil {
		return tx.failed
	}
	if tx.l.opts.Volatile {
		return nil
	}
	if err := tx.saveHistory(); err != nil {
		return err
	}
	return tx.w.saveCounters()
}

// History is the transaction's copy of the books. What fn leaves there is
// written.
func (tx *Tx) History() *plan.History { return &tx.history }

// NextIntent gives out the next id of an intent, beginning with 1.
func (tx *Tx) NextIntent() uint64 {
	tx.w.counts.Intents++
	return tx.w.counts.Intents
}

// Intent finds an intent; ok is false where there is none.
func (tx *Tx) Intent(id uint64) (in plan.Intent, ok bool, err error) {
	err = guard("read intent", func() (err error) {
		in, ok, err = findIntent(tx.w.tx, id)
		return err
	})
	return in, ok, tx.l.wrap("read intent", err)
}

// PutIntent writes an intent whose id NextIntent has given out, new or changed.
func (tx *Tx) PutIntent(in plan.Intent) error {
	if in.ID == 0 || in.ID > tx.w.counts.Intents {
		return tx.l.wrap("put intent", fmt.Errorf("id %d was never given out", in.ID))
	}
	return tx.l.wrap("put intent", guard("put intent", func() error { return tx.putIntent(in) }))
}

func (tx *Tx) putIntent(in plan.Intent) error {
	tx.w.counts.Cycle = max(tx.w.counts.Cycle, in.Cycle)
	key := number(in.ID)
	if err := tx.w.putJSON(bucketIntents, key, in); err != nil {
		return err
	}
	if in.State.Settled() {
		return tx.w.del(bucketOpen, key)
	}
	return tx.w.put(bucketOpen, key, nil)
}

// NewName makes the name of a new machine. Its key cannot be guessed without the
// ledger, is the same when the same transaction is run again after a crash, and
// is never given out twice by this ledger.
func (tx *Tx) NewName(owner, policy string) market.MachineName {
	for {
		tx.w.counts.Names++
		n := market.MachineName{Owner: owner, Policy: policy, Key: nameKey(tx.l.id, tx.w.counts.Names)}
		if tx.claim(n) {
			return n
		}
	}
}

// claim says whether nobody has the key, and remembers it. A damaged ledger
// says yes: the transaction then fails when it is saved.
func (tx *Tx) claim(n market.MachineName) (free bool) {
	for i := range tx.history.Machines {
		if strings.HasSuffix(tx.history.Machines[i].Name, "-"+n.Key) {
			return false
		}
	}
	err := guard("claim name", func() error {
		_, taken, err := find[uint64](tx.w.tx, bucketNames, []byte(n.Key))
		if free = !taken; err != nil || taken {
			return err
		}
		return tx.w.putJSON(bucketNames, []byte(n.Key), tx.w.counts.Names)
	})
	if err != nil && tx.failed == nil {
		tx.failed = err
	}
	return free || err != nil
}

// nameKey is the key of the n-th name of a ledger.
func nameKey(id string, n uint64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s name %d", id, n))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:market.KeyLen]
}
