package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func containsLine(text, part string) bool { return strings.Contains(text, part) }

// sample makes a ledger with something in every bucket, and free pages.
func sample(tb testing.TB) (path string) {
	path = tempPath(tb)
	l := mustOpen(tb, Options{Path: path, NoSync: true, Retention: 30 * time.Minute})
	w := newWorld(12, 3, 2)
	for i := range 150 {
		r := w.next()
		must(tb, l.Update(func(tx *Tx) error {
			*tx.History() = fullHistory()
			tx.NewName("main", "pool")
			for range 2 {
				state := plan.IntentOpen
				if i%5 > 0 {
					state = plan.IntentConfirmed
				}
				must(tb, tx.PutIntent(plan.Intent{ID: tx.NextIntent(), At: r.StartedAt, SettledAt: r.StartedAt, State: state}))
			}
			must(tb, tx.PutPrices([]plan.Price{{At: r.StartedAt, Host: "h", Model: "m", Shape: market.Shape{GPUs: 1 + i%3}, Bid: market.Rate(i), Answer: market.Accepted}}))
			return tx.PutReport(r)
		}))
	}
	must(tb, l.Verify())
	must(tb, l.Close())
	return path
}

// dump is everything that can be read.
func dump(l *Ledger) (string, error) {
	h, err := l.History()
	if err != nil {
		return "", err
	}
	out := []any{l.ID(), h}
	ins, err := l.Intents(Filter{})
	if err != nil {
		return "", err
	}
	open, err := l.Intents(Filter{OpenOnly: true})
	if err != nil {
		return "", err
	}
	prices, err := l.Prices(PriceFilter{})
	if err != nil {
		return "", err
	}
	out = append(out, ins, open, prices)
	err = l.Reports(time.Time{}, time.Time{}, 0, func(s ReportSummary) error {
		out = append(out, s)
		if s.Cycle%75 != 0 {
			return nil
		}
		r, err := l.Report(s.Cycle)
		out = append(out, r)
		return err
	})
	return asJSONOf(out), err
}

func TestAFlippedBitIsNeverBelieved(t *testing.T) {
	path := sample(t)
	whole, err := os.ReadFile(path)
	must(t, err)
	l := mustOpen(t, Options{Path: path, NoSync: true})
	want := must1(dump(l))
	must(t, l.Close())
	rng := rand.New(rand.NewSource(time.Now().UnixNano()))
	copied := filepath.Join(t.TempDir(), "flipped.db")
	found, harmless, rounds := 0, 0, 200
	for i := range rounds {
		at, bit := rng.Intn(len(whole)), rng.Intn(8)
		if i%3 == 0 {
			at = at / 4096 * 4096 // the head of a page: its kind, entries and sizes
			at += rng.Intn(128)
		}
		flipped := bytes.Clone(whole)
		flipped[at] ^= 1 << bit
		must(t, os.WriteFile(copied, flipped, 0o600))
		l, err := Open(Options{Path: copied, NoSync: true})
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d, bit %d: %v", at, bit, err)
			}
			if left, err := os.ReadFile(copied); err != nil || !bytes.Equal(left, flipped) {
				t.Fatalf("byte %d, bit %d: the file was changed: %v", at, bit, err)
			}
			found++
			continue
		}
		harmless++
		got, err := dump(l)
		if err != nil || got != want {
			t.Fatalf("byte %d, bit %d: other contents (%v)", at, bit, err)
		}
		must(t, l.Update(func(tx *Tx) error { return tx.PutIntent(plan.Intent{ID: tx.NextIntent()}) }))
		must(t, l.Close())
	}
	t.Logf("%d found, %d without effect", found, harmless)
	if found == 0 || harmless == 0 {
		t.Error("the test proves nothing")
	}
}

func TestADamagedFileIsRefusedAndLeftAlone(t *testing.T) {
	path := sample(t)
	whole, err := os.ReadFile(path)
	must(t, err)
	garbage := make([]byte, 64<<10)
	rand.New(rand.NewSource(4)).Read(garbage)
	pages := bytes.Clone(garbage) // whole meta pages, garbage behind
	copy(pages, whole[:8192])
	zeroed := bytes.Clone(whole)
	clear(zeroed[8192:])
	for name, content := range map[string][]byte{
		"empty": {}, "one byte": {7}, "text": []byte("machines: 3\n"), "zeros": make([]byte, 1<<16), "garbage": garbage,
		"metas before garbage": pages, "zeroed pages": zeroed, "one page": whole[:4096], "two pages": whole[:8192],
		"half": whole[:len(whole)/2], "within a page": whole[:len(whole)/2+77], "without its last page": whole[:len(whole)/4096*4096-usedTail(whole)],
	} {
		for _, readOnly := range []bool{false, true} {
			p := tempPath(t)
			must(t, os.WriteFile(p, content, 0o600))
			_, err := Open(Options{Path: p, ReadOnly: readOnly, Timeout: time.Second})
			if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), p) || !strings.Contains(err.Error(), "move the file away") {
				t.Errorf("%s: %v", name, err)
			}
			if left, err := os.ReadFile(p); err != nil || !bytes.Equal(left, content) {
				t.Errorf("%s: the file was changed: %v", name, err)
			}
		}
	}
}

// usedTail is how much to cut so that the last page in use is missing.
func usedTail(whole []byte) int {
	c := &checker{r: bytes.NewReader(whole), size: int64(len(whole))}
	if err := c.readMeta(); err != nil {
		return 0
	}
	return len(whole) - int(c.meta.pages*c.meta.pageSize) + 4096
}

func TestARecordThatDoesNotDecodeIsNamed(t *testing.T) {
	for name, c := range map[string]struct{ bucket, key, value, want string }{
		"no seal":       {bucketMachines, "tds-x", "{}", "machines/tds-x"},
		"not JSON":      {bucketBooks, bookPauses, string(seal(bucketBooks, []byte(bookPauses), []byte("{"))), "books/pauses"},
		"another key":   {bucketMachines, "a", string(seal(bucketMachines, []byte("a"), []byte(`{"name":"b"}`))), "machines/a"},
		"another place": {bucketMachines, "a", string(seal(bucketSpend, []byte("a"), []byte(`{"name":"a"}`))), "machines/a"},
	} {
		path := tempPath(t)
		must(t, mustOpen(t, Options{Path: path}).Close())
		db, err := bbolt.Open(path, 0o600, nil)
		must(t, err)
		must(t, db.Update(func(tx *bbolt.Tx) error {
			w := &writer{tx: tx, counts: must1(counters{Sizes: map[string]size{}}, nil)}
			w.counts.add(c.bucket, 1, len(c.key)+len(c.value))
			must(t, tx.Bucket([]byte(c.bucket)).Put([]byte(c.key), []byte(c.value)))
			return w.saveCounters()
		}))
		must(t, db.Close())
		if _, err := Open(Options{Path: path}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAForeignBoltFileIsRefused(t *testing.T) {
	path := tempPath(t)
	db, err := bbolt.Open(path, 0o600, nil)
	must(t, err)
	must(t, db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucket([]byte("something"))
		return err
	}))
	must(t, db.Close())
	if _, err := Open(Options{Path: path}); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
}

// TestALostRecordIsNoticed removes a record behind the ledger's back.
func TestALostRecordIsNoticed(t *testing.T) {
	for _, bucket := range []string{bucketMachines, bucketIntents, bucketOpen, bucketFrames} {
		path := sample(t)
		db, err := bbolt.Open(path, 0o600, nil)
		must(t, err)
		must(t, db.Update(func(tx *bbolt.Tx) error {
			b := tx.Bucket([]byte(bucket))
			k, _ := b.Cursor().First()
			return b.Delete(k)
		}))
		must(t, db.Close())
		if _, err := Open(Options{Path: path}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), bucket) {
			t.Errorf("%s: %v", bucket, err)
		}
	}
}

func TestSchemasMigrateForwardOnly(t *testing.T) {
	path := tempPath(t)
	o := Options{Path: path}
	l := mustOpen(t, o)
	putIntent(t, l, func(*plan.Intent) {})
	must(t, l.Close())

	no := errors.New("no")
	step := func(w *writer) error { return w.putJSON(bucketBooks, []byte(bookKnown), []string{"migrated"}) }
	for name, c := range map[string]struct {
		o     Options
		to    int
		steps []migration
	}{
		"a step that fails":         {o, schemaVersion + 1, append(migrations(), func(w *writer) error { must(t, step(w)); return no })},
		"a step that is missing":    {o, schemaVersion + 2, append(migrations(), step)},
		"a reader does not migrate": {Options{Path: path, ReadOnly: true, Timeout: 1}, schemaVersion + 1, append(migrations(), step)},
	} {
		if _, err := openAs(c.o, c.to, c.steps); !errors.Is(err, ErrSchema) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l = mustOpen(t, o) // still what it was
	if h := must1(l.History()); len(h.Known) > 0 {
		t.Error(h)
	}
	must(t, l.Close())

	l, err := openAs(o, schemaVersion+2, append(migrations(), step, func(*writer) error { return nil }))
	must(t, err)
	if h := must1(l.History()); len(h.Known) != 1 || len(must1(l.Intents(Filter{}))) != 1 {
		t.Error(h)
	}
	must(t, l.Verify())
	must(t, l.Close())
	if _, err := Open(o); !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "upgrade") {
		t.Error(err)
	}
}

func FuzzCheckFile(f *testing.F) {
	path := tempPath(f)
	l := mustOpen(f, Options{Path: path, NoSync: true})
	must(f, l.Update(func(tx *Tx) error {
		*tx.History() = fullHistory()
		return tx.PutReport(newWorld(2, 1, 1).next())
	}))
	whole, err := os.ReadFile(path)
	must(f, err)
	f.Add(uint32(80), []byte{9}, true)
	f.Add(uint32(3*4096+8), []byte{1, 0, 255, 255, 7}, false)
	f.Fuzz(func(t *testing.T, at uint32, patch []byte, metas bool) {
		b := bytes.Clone(whole)
		copy(b[int(at)%len(b):], patch)
		if metas { // so that the pointers in them are followed
			resum(b)
			resum(b[4096:])
		}
		if _, err := checkFile(bytes.NewReader(b), int64(len(b))); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
	})
}

// resum makes the checksum of a meta page right.
func resum(page []byte) {
	sum := fnv.New64a()
	sum.Write(page[pageHeader : pageHeader+metaSize-8])
	binary.NativeEndian.PutUint64(page[pageHeader+metaSize-8:], sum.Sum64())
}
