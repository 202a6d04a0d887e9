package ledger

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// Contents says what a ledger that was checked, or a copy of one, holds.
type Contents struct {
	Path   string `json:"path"`
	Schema int    `json:"schema"`
	Stats
}

// Contents describes the open ledger.
func (l *Ledger) Contents() Contents {
	return Contents{Path: l.opts.Path, Schema: l.schema, Stats: l.Stats()}
}

// VerifyFile checks a ledger that no daemon has open, as Verify does: a backup, or
// one of an older schema. It changes nothing, and waits timeout for the lock.
func VerifyFile(path string, timeout time.Duration) (Contents, error) {
	return verifyFile(path, timeout, true)
}

func verifyFile(path string, timeout time.Duration, reports bool) (Contents, error) {
	l, err := OpenCopy(path, timeout)
	if err != nil {
		return Contents{}, err
	}
	err = l.verify(reports)
	return l.Contents(), errors.Join(err, l.Close())
}

// OpenCopy opens a backup for reading, of this schema or an older one.
func OpenCopy(path string, timeout time.Duration) (*Ledger, error) {
	l := &Ledger{opts: Options{Path: path, ReadOnly: true, Timeout: timeout}, old: true}
	return l.open(schemaVersion, nil)
}

// Backup writes what the last commit left to a file of mode 0600, and checks its
// pages and records before it gets its name: there is a whole copy of that name, or
// what was there before. Without overwrite a file that is there is ErrExists. Writers go on
// meanwhile, unless the file has to grow beyond what is mapped.
//
// The copy is a ledger with an id of its own: one that is put back after it has
// grown old must not give out names again that are in use on the market.
func (l *Ledger) Backup(path string, overwrite bool) (Contents, error) {
	c, err := l.copyTo(path, overwrite)
	return c, l.wrap("back up to "+path, err)
}

func (l *Ledger) copyTo(path string, overwrite bool) (c Contents, err error) {
	if err := l.mayReplace(path, overwrite); err != nil {
		return c, err
	}
	err = replace(path, func(temporary *os.File) error {
		if err := l.writeTo(temporary); err != nil {
			return err
		}
		if err := renew(temporary.Name()); err != nil {
			return err
		}
		c, err = verifyFile(temporary.Name(), DefaultTimeout, false)
		return err
	})
	c.Path = path
	return c, err
}

// mayReplace refuses the ledger itself, whatever its name, and what is no file.
func (l *Ledger) mayReplace(path string, overwrite bool) error {
	there, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	ours, err := l.file.Stat()
	switch {
	case err != nil:
		return err
	case os.SameFile(ours, there):
		return fmt.Errorf("%s is the ledger itself: %w", path, ErrExists)
	case !there.Mode().IsRegular():
		return fmt.Errorf("%s is not a file: %w", path, ErrExists)
	case !overwrite:
		return fmt.Errorf("%s: %w", path, ErrExists)
	}
	return nil
}

// writeTo writes a consistent copy in a read transaction.
func (l *Ledger) writeTo(f *os.File) error {
	return guard("copy", func() error {
		return l.db.View(func(tx *bbolt.Tx) error {
			_, err := tx.WriteTo(f)
			return err
		})
	})
}

// replace fills a temporary file beside path, mode 0600, and gives it the name
// once it is whole and on disk.
func replace(path string, fill func(temporary *os.File) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone where it got its name
	err = fill(f)
	if err == nil {
		err = errors.Join(give(f, path), f.Sync())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// renew gives a copy an id of its own.
func renew(path string) error {
	return guard("renew", func() error {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			return err
		}
		err = db.Update(func(tx *bbolt.Tx) error { return putMeta(tx, keyID, newID()) })
		return errors.Join(err, db.Close())
	})
}

func newID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// Compacted says what Compact gained.
type Compacted struct {
	Path   string `json:"path"`
	Before int64  `json:"before_bytes"`
	After  int64  `json:"after_bytes"`
}

// compactBatch is how much Compact copies in one transaction.
const compactBatch = 4 << 20

// Compact gives the file's free pages back to the disk: it writes the ledger anew
// beside it, checks that, and lets it take the ledger's name. Nobody else may have
// it open: ErrLocked. Whatever fails, the ledger is as it was.
func Compact(o Options) (c Compacted, err error) {
	if _, err := os.Stat(o.Path); err != nil { // Open would make one
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %s", ErrNotExist, o.Path)
		}
		return c, err
	}
	l, err := Open(o)
	if err != nil {
		return c, err
	}
	// Its lock is held until the new file has the name.
	defer func() { err = errors.Join(err, l.Close()) }()
	c = Compacted{Path: o.Path}
	c.Before, err = fileSize(o.Path)
	if err == nil {
		err = replace(o.Path, l.compactTo)
	}
	if err == nil {
		c.After, err = fileSize(o.Path)
	}
	return c, l.wrap("compact", err)
}

func (l *Ledger) compactTo(temporary *os.File) error {
	err := guard("compact", func() error {
		dst, err := bbolt.Open(temporary.Name(), 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType, NoSync: true})
		if err != nil {
			return err
		}
		return errors.Join(bbolt.Compact(dst, l.db, compactBatch), dst.Sync(), dst.Close())
	})
	if err != nil {
		return err
	}
	got, err := verifyFile(temporary.Name(), DefaultTimeout, false)
	if err != nil {
		return err
	}
	want := l.Stats()
	want.FileSize, want.UsedSize = got.FileSize, got.UsedSize
	if got.Stats != want {
		return bad("the compacted file holds %+v instead of %+v", got.Stats, want)
	}
	return nil
}

func fileSize(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
