package ledger

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"slices"
)

// bbolt's file format, version 2. It has been stable for a decade; a file of
// another version is refused by its magic.
const (
	pageHeader   = 16 // id u64, flags u16, count u16, overflow u32
	elementSize  = 16
	bucketHeader = 16 // root page u64, sequence u64
	metaSize     = 64

	pageBranch   = 0x01
	pageLeaf     = 0x02
	pageMeta     = 0x04
	pageFreelist = 0x10

	boltMagic   = 0xED0CDAED
	boltVersion = 2
	noFreelist  = ^uint64(0)
	maxPageSize = 1 << 20
)

// meta is what a meta page points to.
type meta struct{ pageSize, root, freelist, pages, txid uint64 }

// checker walks a file page by page and by plain reads: bbolt maps the file and
// trusts what it finds, so a damaged one has to be recognised before bbolt sees it.
type checker struct {
	r     io.ReaderAt
	size  int64
	meta  meta
	taken []uint64 // bit set of pages
	buf   []byte   // for leaf pages of buckets, one at a time
	sizes map[string]size
}

// checkFile verifies that the file is a whole bbolt file in which every record
// matches its checksum, and counts the records. It changes nothing and cannot
// panic, whatever the file holds. Errors wrap ErrCorrupt, except those of reading.
func checkFile(r io.ReaderAt, fileSize int64) (map[string]size, error) {
	c := &checker{r: r, size: fileSize, sizes: map[string]size{}}
	if err := c.readMeta(); err != nil {
		return nil, err
	}
	c.taken = make([]uint64, c.meta.pages/64+1)
	if err := c.freelist(); err != nil {
		return nil, err
	}
	if err := c.tree("", c.meta.root, nil, nil); err != nil {
		return nil, err
	}
	return c.sizes, nil
}

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// readMeta wants both meta pages whole. bbolt would fall back to the older one:
// that is right for a torn write, but a meta page is smaller than a disk's
// sector, and the older one forgets an intent that was acknowledged.
func (c *checker) readMeta() error {
	if c.size < 2*1024 {
		return bad("%d bytes are too few for a ledger", c.size)
	}
	first, err := c.metaAt(0, 0)
	if err != nil {
		return err
	}
	second, err := c.metaAt(int64(first.pageSize), 1)
	if err != nil {
		return err
	}
	if second.pageSize != first.pageSize {
		return bad("the two meta pages disagree about the page size")
	}
	c.meta = first
	if second.txid > first.txid {
		c.meta = second
	}
	if have := uint64(c.size) / c.meta.pageSize; have < c.meta.pages {
		return bad("the file is cut short: %d of %d pages", have, c.meta.pages)
	}
	return nil
}

func (c *checker) metaAt(offset int64, id uint64) (m meta, err error) {
	var b [pageHeader + metaSize]byte
	if err := c.read(b[:], offset); err != nil {
		return m, err
	}
	e, p := binary.NativeEndian, b[pageHeader:]
	sum := fnv.New64a()
	sum.Write(p[:metaSize-8]) // a hash never fails to write
	switch {
	case e.Uint32(p) != boltMagic || e.Uint32(p[4:]) != boltVersion:
		return m, bad("page %d is not of a ledger", id)
	case e.Uint64(p[56:]) != sum.Sum64() || e.Uint64(b[:]) != id || e.Uint16(b[8:]) != pageMeta:
		return m, bad("meta page %d does not match its checksum", id)
	}
	m = meta{uint64(e.Uint32(p[8:])), e.Uint64(p[16:]), e.Uint64(p[32:]), e.Uint64(p[40:]), e.Uint64(p[48:])}
	if m.pageSize < 1024 || m.pageSize > maxPageSize || m.pageSize&(m.pageSize-1) != 0 {
		return m, bad("a page size of %d", m.pageSize)
	}
	return m, nil
}

func (c *checker) read(b []byte, offset int64) error {
	_, err := c.r.ReadAt(b, offset)
	if err == io.EOF {
		return bad("the file ends within the page at byte %d", offset)
	}
	if err != nil {
		return fmt.Errorf("read at byte %d: %w", offset, err)
	}
	return nil
}

// take marks a page and those that continue it; each belongs to one thing only.
func (c *checker) take(id, n uint64) error {
	if id < 2 || n > c.meta.pages || id > c.meta.pages-n {
		return bad("page %d lies outside of the file", id)
	}
	for p := id; p < id+n; p++ {
		if c.taken[p/64]&(1<<(p%64)) != 0 {
			return bad("page %d is used twice", p)
		}
		c.taken[p/64] |= 1 << (p % 64)
	}
	return nil
}

// page reads a page and its overflow. What it returns lasts until the next call
// with reuse.
func (c *checker) page(id uint64, reuse bool) ([]byte, error) {
	if err := c.take(id, 1); err != nil {
		return nil, err
	}
	var head [pageHeader]byte
	if err := c.read(head[:], int64(id*c.meta.pageSize)); err != nil {
		return nil, err
	}
	if got := binary.NativeEndian.Uint64(head[:]); got != id {
		return nil, bad("page %d says that it is page %d", id, got)
	}
	overflow := uint64(binary.NativeEndian.Uint32(head[12:]))
	if overflow > 0 {
		if err := c.take(id+1, overflow); err != nil {
			return nil, err
		}
	}
	n := int((overflow + 1) * c.meta.pageSize)
	if !reuse || binary.NativeEndian.Uint16(head[8:]) != pageLeaf {
		b := make([]byte, n)
		return b, c.read(b, int64(id*c.meta.pageSize))
	}
	c.buf = slices.Grow(c.buf[:0], n)[:n]
	return c.buf, c.read(c.buf, int64(id*c.meta.pageSize))
}

func (c *checker) freelist() error {
	if c.meta.freelist == noFreelist {
		return nil
	}
	b, err := c.page(c.meta.freelist, false)
	if err != nil {
		return err
	}
	e := binary.NativeEndian
	count, ids := uint64(e.Uint16(b[10:])), b[pageHeader:]
	if e.Uint16(b[8:]) != pageFreelist {
		return bad("page %d is not the list of free pages", c.meta.freelist)
	}
	if count == 0xFFFF {
		count, ids = e.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return bad("the list of free pages is longer than its page")
	}
	for ; count > 0; count, ids = count-1, ids[8:] {
		if err := c.take(e.Uint64(ids), 1); err != nil {
			return err
		}
	}
	return nil
}

// tree checks the pages of a bucket below id; "" is the root, whose records are
// the buckets. All keys are at least lo and, unless hi is nil, less than hi.
func (c *checker) tree(bucket string, id uint64, lo, hi []byte) error {
	b, err := c.page(id, bucket != "")
	if err != nil {
		return err
	}
	switch flags := binary.NativeEndian.Uint16(b[8:]); flags {
	case pageLeaf:
		return c.leaf(bucket, b, lo, hi)
	case pageBranch:
		return c.branch(bucket, b, lo, hi)
	default:
		return bad("page %d is of unknown kind %#x", id, flags)
	}
}

func (c *checker) branch(bucket string, b []byte, lo, hi []byte) error {
	e, n := binary.NativeEndian, int(binary.NativeEndian.Uint16(b[10:]))
	keys, ids := make([][]byte, n), make([]uint64, n)
	for i := range n {
		at := pageHeader + i*elementSize
		if at+elementSize > len(b) {
			return bad("a branch page has more entries than space")
		}
		k, err := slice(b, at, e.Uint32(b[at:]), e.Uint32(b[at+4:]))
		if err != nil {
			return err
		}
		keys[i], ids[i] = k, e.Uint64(b[at+8:])
	}
	if n == 0 {
		return bad("a branch page is empty")
	}
	for i := range n {
		below := hi
		if i+1 < n {
			below = keys[i+1]
		}
		from := keys[i]
		if bytes.Compare(from, lo) < 0 || below != nil && bytes.Compare(from, below) >= 0 {
			return bad("keys of bucket %s are out of order", bucket)
		}
		if err := c.tree(bucket, ids[i], from, below); err != nil {
			return err
		}
	}
	return nil
}

// leaf checks the records of a leaf page, or of a bucket kept inside another's value.
func (c *checker) leaf(bucket string, b []byte, lo, hi []byte) error {
	e, n := binary.NativeEndian, int(binary.NativeEndian.Uint16(b[10:]))
	for i := range n {
		at := pageHeader + i*elementSize
		if at+elementSize > len(b) {
			return bad("a leaf page has more entries than space")
		}
		kv, err := slice(b, at, e.Uint32(b[at+4:]), e.Uint32(b[at+8:]), e.Uint32(b[at+12:]))
		if err != nil {
			return err
		}
		k, v := kv[:e.Uint32(b[at+8:])], kv[e.Uint32(b[at+8:]):]
		if c := bytes.Compare(k, lo); c < 0 || c == 0 && i > 0 || hi != nil && bytes.Compare(k, hi) >= 0 {
			return bad("keys of bucket %q are out of order", bucket)
		}
		lo = k
		if err := c.entry(bucket, e.Uint32(b[at:]), k, v); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) entry(bucket string, flags uint32, k, v []byte) error {
	if (bucket == "") != (flags == 1) || flags > 1 {
		return bad("entry %s of bucket %q is of the wrong kind", printKey(k), bucket)
	}
	if bucket == "" {
		return c.bucket(string(k), v)
	}
	if _, err := unseal(bucket, k, v); err != nil {
		return err
	}
	s := c.sizes[bucket]
	c.sizes[bucket] = size{s.Records + 1, s.Bytes + int64(len(k)+len(v))}
	return nil
}

func (c *checker) bucket(name string, v []byte) error {
	if name == "" || len(v) < bucketHeader {
		return bad("bucket %q has no root", name)
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		return c.tree(name, root, nil, nil)
	}
	inline := v[bucketHeader:]
	if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[8:]) != pageLeaf {
		return bad("bucket %q has no page", name)
	}
	return c.leaf(name, inline, nil, nil)
}

// slice is the bytes that an entry at offset at points to: pos is relative to
// the entry, the lengths follow one another.
func slice(b []byte, at int, pos uint32, lengths ...uint32) ([]byte, error) {
	start, end := int64(at)+int64(pos), int64(at)+int64(pos)
	for _, n := range lengths {
		end += int64(n)
	}
	if end > int64(len(b)) {
		return nil, bad("an entry reaches beyond its page")
	}
	return b[start:end], nil
}
