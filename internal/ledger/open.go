package ledger

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

// schemaVersion is the format that this program writes.
const schemaVersion = 4

// migration brings a ledger from one schema to the next, in one transaction.
type migration func(*writer) error

// migrations returns the step from schema n to n+1 at index n-1.
func migrations() []migration { return []migration{lifetimes, hosts, accounts} }

// Open opens the ledger, and makes it where there is none (mode 0600, in a
// directory of mode 0700). It reads the whole file once and refuses one that is
// not exactly what a ledger wrote. Errors wrap ErrLocked, ErrCorrupt,
// ErrNotExist (read-only) or ErrSchema, or are the system's own.
func Open(o Options) (*Ledger, error) {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	return openAs(o, schemaVersion, migrations())
}

func openAs(o Options, schema int, steps []migration) (*Ledger, error) {
	return (&Ledger{opts: o}).open(schema, steps)
}

// open completes a ledger that has nothing but its options.
func (l *Ledger) open(schema int, steps []migration) (*Ledger, error) {
	err := l.openFile(schema)
	var found map[string]size
	if err == nil {
		found, err = l.openDB()
	}
	if err == nil {
		if err = l.begin(found, schema, steps); err != nil {
			err = errors.Join(err, guard("close", l.db.Close))
		}
	}
	if err != nil {
		return nil, describe("open", l.opts.Path, err)
	}
	return l, nil
}

// openFile finds or makes the file and locks it.
func (l *Ledger) openFile(schema int) (err error) {
	flag := os.O_RDWR
	if l.opts.ReadOnly {
		flag = os.O_RDONLY
	}
	l.file, err = os.OpenFile(l.opts.Path, flag, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if l.opts.ReadOnly {
			return fmt.Errorf("%w: it is made by the first run of the daemon", ErrNotExist)
		}
		if err = create(&l.opts, schema); err != nil {
			return err
		}
		l.file, err = os.OpenFile(l.opts.Path, flag, 0)
	}
	if err != nil {
		return err
	}
	if err := lock(l.file, !l.opts.ReadOnly, l.opts.Timeout); err != nil {
		return errors.Join(err, l.file.Close())
	}
	return l.inPlace(schema)
}

// inPlace opens the file again where another has taken its name while we waited
// for the lock, as Compact does.
func (l *Ledger) inPlace(schema int) error {
	ours, err := l.file.Stat()
	if err != nil {
		return errors.Join(err, l.file.Close())
	}
	named, err := os.Stat(l.opts.Path)
	if err == nil && os.SameFile(ours, named) {
		return nil
	}
	if err := l.file.Close(); err != nil {
		return err
	}
	return l.openFile(schema)
}

// lock waits for the file as bbolt would, which waits for ever by default. The
// lock stays with the file when bbolt takes it over.
func lock(f *os.File, exclusive bool, timeout time.Duration) error {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	const step = 50 * time.Millisecond
	for waited := time.Duration(0); ; waited += step {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if err != unix.EWOULDBLOCK && err != unix.EINTR {
			return fmt.Errorf("lock: %w", err)
		}
		if waited >= timeout {
			return fmt.Errorf("%w: another tdscaler holds it; stop that one, or ask it instead", ErrLocked)
		}
		// The system's own clock: another process lets go in real time.
		if _, err := unix.Poll(nil, int(step/time.Millisecond)); err != nil && err != unix.EINTR {
			return fmt.Errorf("wait for the lock: %w", err)
		}
	}
}

// openDB checks the locked file and hands it to bbolt.
func (l *Ledger) openDB() (map[string]size, error) {
	found, err := l.walk()
	if err == nil {
		err = guard("open", func() (err error) {
			l.db, err = bbolt.Open(l.opts.Path, 0o600, l.boltOptions())
			return err
		})
	}
	if err == nil {
		return found, nil
	}
	// bbolt closes the file itself where it fails without a panic.
	if cerr := l.file.Close(); cerr != nil && !errors.Is(cerr, fs.ErrClosed) {
		err = errors.Join(err, cerr)
	}
	if errors.Is(err, berrors.ErrInvalid) || errors.Is(err, berrors.ErrChecksum) || errors.Is(err, berrors.ErrVersionMismatch) {
		err = fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return nil, err
}

func (l *Ledger) boltOptions() *bbolt.Options {
	return &bbolt.Options{
		Timeout:      l.opts.Timeout,
		ReadOnly:     l.opts.ReadOnly,
		NoSync:       l.opts.NoSync,
		FreelistType: bbolt.FreelistMapType,
		OpenFile:     func(string, int, os.FileMode) (*os.File, error) { return l.file, nil },
	}
}

// walk checks the file as it is on disk and counts its records.
func (l *Ledger) walk() (map[string]size, error) {
	info, err := l.file.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() == 0 {
		return nil, bad("the file is empty")
	}
	return checkFile(l.file, info.Size())
}

// compare holds what was found against what the counters say.
func (c *counters) compare(found map[string]size) error {
	for _, b := range counted() {
		if found[b] != c.Sizes[b] {
			return bad("bucket %s holds %d records of %d bytes instead of %d of %d",
				b, found[b].Records, found[b].Bytes, c.Sizes[b].Records, c.Sizes[b].Bytes)
		}
	}
	return nil
}

// begin holds the records against the counters, brings the schema up to date and
// loads the head.
func (l *Ledger) begin(found map[string]size, schema int, steps []migration) error {
	have, c, err := l.readMeta()
	switch {
	case err != nil:
		return err
	case have > schema:
		return fmt.Errorf("%w: it was written by a newer tdscaler (schema %d, this one knows %d): upgrade", ErrSchema, have, schema)
	}
	if err := c.compare(found); err != nil {
		return err
	}
	l.schema = have
	if have < schema && !l.old {
		return l.upgrade(schema, steps)
	}
	return l.load()
}

// upgrade keeps a copy of the old file beside it, migrates in one transaction and
// checks what came of it. Whatever fails, the old file is as it was or has a copy.
func (l *Ledger) upgrade(to int, steps []migration) error {
	from := l.schema
	switch {
	case l.opts.ReadOnly:
		return fmt.Errorf("%w: it was written by an older tdscaler (schema %d, this one writes %d): start the daemon once", ErrSchema, from, to)
	case from < 1 || to-1 > len(steps):
		return fmt.Errorf("%w: there is no way from schema %d to %d", ErrSchema, from, to)
	}
	if err := l.load(); err != nil {
		return err
	}
	kept := fmt.Sprintf("%s.schema%d.bak", l.opts.Path, from)
	if _, err := l.copyTo(kept, true); err != nil {
		return fmt.Errorf("copy the ledger to %s before its format changes: %w", kept, err)
	}
	if err := l.migrate(to, steps); err != nil {
		return err
	}
	l.schema = to
	if err := l.load(); err != nil {
		return err
	}
	if err := l.verify(false); err != nil {
		return fmt.Errorf("check the ledger after its format changed (the old one is %s): %w", kept, err)
	}
	return nil
}

// readMeta reads what every schema has in the same place.
func (l *Ledger) readMeta() (schema int, c counters, err error) {
	err = guard("read meta", func() error {
		return l.db.View(func(tx *bbolt.Tx) (err error) {
			var ok1, ok2, ok3 bool
			if schema, ok1, err = find[int](tx, bucketMeta, []byte(keySchema)); err != nil {
				return err
			}
			if l.id, ok2, err = find[string](tx, bucketMeta, []byte(keyID)); err != nil {
				return err
			}
			if c, ok3, err = find[counters](tx, bucketMeta, []byte(keyCounters)); err != nil {
				return err
			}
			if !ok1 || !ok2 || !ok3 || l.id == "" {
				return bad("it has no schema, id or counters")
			}
			return nil
		})
	})
	return schema, c, err
}

// migrate runs the steps in one transaction.
func (l *Ledger) migrate(to int, steps []migration) error {
	tx, err := l.db.Begin(true)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after the commit it does nothing
	w := &writer{tx: tx, counts: l.state.Load().counts.clone()}
	for n := l.schema; n < to; n++ {
		if err := steps[n-1](w); err != nil {
			return fmt.Errorf("%w: migrate from schema %d to %d: %w", ErrSchema, n, n+1, err)
		}
	}
	if err := putMeta(tx, keySchema, to); err != nil {
		return err
	}
	if err := w.saveCounters(); err != nil {
		return err
	}
	if err := l.bringToDisk(tx); err != nil {
		return fmt.Errorf("%w: migrate from schema %d to %d: %w", ErrWrite, l.schema, to, err)
	}
	return nil
}

// create makes a new ledger under another name and then gives it its own: a
// crash leaves a whole ledger or none, and of two processes one wins.
func create(o *Options, schema int) error {
	dir := filepath.Dir(o.Path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".ledger-*.new") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // a leftover name harms nobody
	if err := errors.Join(give(f, dir), f.Close()); err != nil {
		return err
	}
	if err := initialise(f.Name(), schema, o); err != nil {
		return err
	}
	if err := os.Link(f.Name(), o.Path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if o.NoSync {
		return nil
	}
	return syncDir(dir)
}

// give makes what root writes for a daemon that is not root the daemon's: a file belongs to
// whoever the folder, or the file that it replaces, belongs to.
func give(f *os.File, like string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var st unix.Stat_t
	err := unix.Stat(like, &st)
	if err == nil && st.Uid != 0 {
		err = f.Chown(int(st.Uid), int(st.Gid))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil // it replaces nothing; or root is no more than its name, as in a container
	}
	return err
}

func initialise(path string, schema int, o *Options) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, NoSync: o.NoSync, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range append(counted(), bucketMeta) {
			if _, err := tx.CreateBucket([]byte(b)); err != nil {
				return err
			}
		}
		if err := putMeta(tx, keyID, cmp.Or(o.ID, newID())); err != nil {
			return err
		}
		if err := putMeta(tx, keySchema, schema); err != nil {
			return err
		}
		w := &writer{tx: tx, counts: counters{Sizes: map[string]size{}}}
		return w.saveCounters()
	})
	return errors.Join(err, db.Close())
}

func putMeta(tx *bbolt.Tx, key string, v any) error {
	b, err := open(tx, bucketMeta)
	if err != nil {
		return err
	}
	contents, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.Put([]byte(key), seal(bucketMeta, []byte(key), contents))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
