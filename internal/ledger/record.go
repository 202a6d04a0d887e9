package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"strconv"

	"go.etcd.io/bbolt"
)

// Buckets, all at the top level.
const (
	bucketMeta      = "meta"      // schema, id, counters
	bucketMachines  = "machines"  // name -> plan.Machine
	bucketHosts     = "hosts"     // hash of host and model -> plan.HostRecord
	bucketSpend     = "spend"     // day, policy -> plan.Spend
	bucketBooks     = "books"     // the other lists of the History, one record each
	bucketIntents   = "intents"   // id -> plan.Intent
	bucketOpen      = "open"      // ids of the intents that are not settled
	bucketNames     = "names"     // keys of machine names given out -> sequence
	bucketSummaries = "summaries" // cycle -> ReportSummary
	bucketFrames    = "frames"    // cycle -> frame of the report
	bucketPrices    = "prices"    // hash of host and model -> plan.Series, packed
	bucketCosts     = "costs"     // day, policy, machine -> plan.Cost
	bucketBalances  = "balances"  // day -> plan.Balance
	bucketOutages   = "outages"   // beginning, machine -> plan.Outage, those that are over
)

// counted are the buckets whose records the counters know: all but meta, where
// the counters themselves are.
func counted() []string {
	return []string{
		bucketMachines, bucketHosts, bucketSpend, bucketBooks, bucketIntents, bucketOpen,
		bucketNames, bucketSummaries, bucketFrames, bucketPrices, bucketCosts, bucketOutages, bucketBalances,
	}
}

// Keys in the meta bucket.
const (
	keySchema   = "schema"
	keyID       = "id"
	keyCounters = "counters"
)

// size is how much a bucket holds.
type size struct {
	Records int64 `json:"n"`
	Bytes   int64 `json:"bytes"` // keys and values
}

// counters are written with every commit.
//
// Invariant: Sizes is what is in the buckets. A record that vanished with a
// flipped bit in a page's header is noticed by it.
type counters struct {
	Cycle   uint64          `json:"cycle"`   // highest number that a record carries
	Intents uint64          `json:"intents"` // ids given out
	Names   uint64          `json:"names"`   // sequence of names
	Sizes   map[string]size `json:"sizes"`
}

func (c counters) clone() counters {
	c.Sizes = maps.Clone(c.Sizes)
	return c
}

func (c *counters) bytes() (n int64) {
	for _, s := range c.Sizes {
		n += s.Bytes
	}
	return n
}

func (c *counters) add(bucket string, records, bytes int) {
	s := c.Sizes[bucket]
	c.Sizes[bucket] = size{s.Records + int64(records), s.Bytes + int64(bytes)}
}

// sealLen is the length of what seal appends.
const sealLen = 9

// seal appends a line break and the CRC-32C, in hex, of bucket, key and
// contents. The values stay readable, and a flipped bit is never believed.
func seal(bucket string, key, contents []byte) []byte {
	out := make([]byte, 0, len(contents)+sealLen)
	out = append(append(out, contents...), '\n')
	return fmt.Appendf(out, "%08x", checksum(bucket, key, contents))
}

func checksum(bucket string, key, contents []byte) uint32 {
	t := crc32.MakeTable(crc32.Castagnoli)
	c := crc32.Update(0, t, []byte(bucket))
	c = crc32.Update(c, t, key)
	return crc32.Update(c, t, contents)
}

// unseal returns the contents, or ErrCorrupt that names bucket and key.
func unseal(bucket string, key, value []byte) ([]byte, error) {
	n := len(value) - sealLen
	if n < 0 || value[n] != '\n' {
		return nil, badRecord(bucket, key, "has no checksum")
	}
	sum, err := strconv.ParseUint(string(value[n+1:]), 16, 32)
	if err != nil || uint32(sum) != checksum(bucket, key, value[:n]) {
		return nil, badRecord(bucket, key, "does not match its checksum")
	}
	return value[:n], nil
}

func badRecord(bucket string, key []byte, why string) error {
	return fmt.Errorf("%w: record %s/%s %s", ErrCorrupt, bucket, printKey(key), why)
}

// printKey prints numbers as numbers and bytes as hex.
func printKey(key []byte) string {
	printable := bytes.IndexFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) < 0
	switch {
	case printable:
		return string(key)
	case len(key) == 8:
		return strconv.FormatUint(binary.BigEndian.Uint64(key), 10)
	}
	return fmt.Sprintf("%x", key)
}

// decode unseals a JSON record.
func decode[T any](bucket string, key, value []byte) (v T, err error) {
	contents, err := unseal(bucket, key, value)
	if err != nil {
		return v, err
	}
	if err := json.Unmarshal(contents, &v); err != nil {
		return v, badRecord(bucket, key, "does not decode: "+err.Error())
	}
	return v, nil
}

// find reads one record; ok is false where there is none.
func find[T any](tx *bbolt.Tx, bucket string, key []byte) (v T, ok bool, err error) {
	b, err := open(tx, bucket)
	if err != nil {
		return v, false, err
	}
	value := b.Get(key)
	if value == nil {
		return v, false, nil
	}
	v, err = decode[T](bucket, key, value)
	return v, err == nil, err
}

// open finds a bucket of ours.
func open(tx *bbolt.Tx, bucket string) (*bbolt.Bucket, error) {
	b := tx.Bucket([]byte(bucket))
	if b == nil {
		return nil, fmt.Errorf("%w: bucket %s is missing", ErrCorrupt, bucket)
	}
	return b, nil
}

// number is the key of a record that is found by number: big endian, so that the
// order of keys is the order of numbers.
func number(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// writer changes records and keeps count of them.
type writer struct {
	tx     *bbolt.Tx
	counts counters
	dirty  bool // something was put or deleted
}

// put writes a sealed record.
func (w *writer) put(bucket string, key, contents []byte) error {
	b, err := open(w.tx, bucket)
	if err != nil {
		return err
	}
	if bucket == bucketFrames || bucket == bucketSummaries || bucket == bucketIntents {
		b.FillPercent = 0.95 // appended in order, hardly ever changed
	}
	value, records, bytes := seal(bucket, key, contents), 1, len(key)
	if old := b.Get(key); old != nil {
		records, bytes = 0, -len(old)
	}
	w.dirty = true
	if err := b.Put(key, value); err != nil {
		return fmt.Errorf("%w: put %s/%s: %w", ErrWrite, bucket, printKey(key), err)
	}
	w.counts.add(bucket, records, bytes+len(value))
	return nil
}

// putJSON writes a value as a sealed record.
func (w *writer) putJSON(bucket string, key []byte, v any) error {
	contents, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s/%s: %w", bucket, printKey(key), err)
	}
	return w.put(bucket, key, contents)
}

// del removes a record; none is fine.
func (w *writer) del(bucket string, key []byte) error {
	b, err := open(w.tx, bucket)
	if err != nil {
		return err
	}
	old := b.Get(key)
	if old == nil {
		return nil
	}
	w.dirty = true
	bytes := len(key) + len(old)
	if err := b.Delete(key); err != nil {
		return fmt.Errorf("%w: delete %s/%s: %w", ErrWrite, bucket, printKey(key), err)
	}
	w.counts.add(bucket, -1, -bytes)
	return nil
}

// saveCounters writes the counters; they are not among what they count.
func (w *writer) saveCounters() error {
	b, err := open(w.tx, bucketMeta)
	if err != nil {
		return err
	}
	contents, err := json.Marshal(w.counts)
	if err != nil {
		return fmt.Errorf("encode counters: %w", err)
	}
	return b.Put([]byte(keyCounters), seal(bucketMeta, []byte(keyCounters), contents))
}
