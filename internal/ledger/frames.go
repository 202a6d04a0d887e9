package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tdscaler/tdscaler/internal/plan"
)

// A group is a keyframe and the deltas that follow it, each built on the one
// before. Groups are short, because reading a report reads its group up to it,
// and because a group is pruned as a whole.
const (
	groupLen = 60
	groupAge = 6 * time.Hour

	// dictLen is how much of a keyframe's text helps to compress its deltas. It
	// holds everything but the hosts at a hundred machines.
	dictLen    = 256 << 10
	dictID     = 1
	windowSize = 1 << 20 // reaches across dictionary and delta
)

// chain is the end of the group that the next report may build on.
type chain struct {
	key     uint64 // cycle of the keyframe
	last    uint64
	n       int // frames in the group
	keySize int // compressed
	size    int // of the last delta, compressed; 0 after the keyframe
	started time.Time
	dict    []byte
	base    *plan.Report // the last report's long lists
}

// takes says whether a report can be the next of the group.
func (c *chain) takes(r *plan.Report) bool {
	return c != nil && c.n < groupLen && c.size < max(c.keySize/2, 4<<10) &&
		!r.StartedAt.Before(c.started) && r.StartedAt.Sub(c.started) < groupAge
}

// frameWriter encodes reports. It is kept: an encoder is dear to make.
type frameWriter struct {
	chain *chain
	plain *zstd.Encoder // for keyframes
	delta *zstd.Encoder // for deltas
	dict  []byte        // the dictionary that delta has
	out   bytes.Buffer
}

// drop makes the next report a keyframe.
func (f *frameWriter) drop() { f.chain = nil }

// encode writes a report as a frame that is valid until the next call, and the
// chain as it is with it.
func (f *frameWriter) encode(c *chain, r *plan.Report) ([]byte, *chain, error) {
	next := &chain{key: r.Cycle, last: r.Cycle, n: 1, started: r.StartedAt, base: r}
	base := &plan.Report{}
	if c.takes(r) {
		next.key, next.n, next.started, next.keySize, next.dict = c.key, c.n+1, c.started, c.keySize, c.dict
		base = c.base
	} else {
		c = nil
	}
	enc, err := f.encoder(c)
	if err != nil {
		return nil, nil, err
	}
	var w io.Writer = enc
	raw := &head{max: dictLen}
	head := frameHead{Cycle: r.Cycle}
	if c == nil {
		w = io.MultiWriter(enc, raw)
	} else {
		head.Base = c.last
	}
	if err := writeFrame(w, head, base, r); err != nil {
		return nil, nil, fmt.Errorf("encode report %d: %w", r.Cycle, err)
	}
	if err := enc.Close(); err != nil {
		return nil, nil, fmt.Errorf("compress report %d: %w", r.Cycle, err)
	}
	if c == nil {
		next.keySize, next.dict = f.out.Len(), raw.b
	} else {
		next.size = f.out.Len()
	}
	next.base = onlyLists(r)
	return f.out.Bytes(), next, nil
}

// encoder makes or reuses the encoder for a keyframe (nil) or for the next delta.
func (f *frameWriter) encoder(c *chain) (*zstd.Encoder, error) {
	f.out.Reset()
	if f.plain == nil {
		plain, err := zstd.NewWriter(nil, encoderOptions()...)
		if err != nil {
			return nil, err
		}
		f.plain = plain
	}
	if c == nil {
		f.plain.Reset(&f.out)
		return f.plain, nil
	}
	// The very same bytes: a group that was rolled back may have had this number.
	if f.delta == nil || &f.dict[0] != &c.dict[0] {
		delta, err := zstd.NewWriter(nil, append(encoderOptions(), zstd.WithEncoderDictRaw(dictID, c.dict))...)
		if err != nil {
			return nil, err
		}
		f.delta, f.dict = delta, c.dict
	}
	f.delta.Reset(&f.out)
	return f.delta, nil
}

// encoderOptions keep one goroutine and little memory. The records' own
// checksum covers the frame.
func encoderOptions() []zstd.EOption {
	return []zstd.EOption{
		zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(windowSize), zstd.WithEncoderCRC(false),
	}
}

// head keeps the first bytes written to it.
type head struct {
	b   []byte
	max int
}

func (h *head) Write(p []byte) (int, error) {
	h.b = append(h.b, p[:min(len(p), h.max-len(h.b))]...)
	return len(p), nil
}

// onlyLists is a report with nothing but its long lists, so that no more is
// kept in memory than the next delta needs.
func onlyLists(r *plan.Report) *plan.Report {
	o := &plan.Report{}
	for _, l := range lists() {
		l.share(r, o)
	}
	return o
}

func writeFrame(w io.Writer, h frameHead, base, r *plan.Report) error {
	short := *r
	for _, l := range lists() {
		l.clear(&short)
	}
	h.Report = &short
	enc := json.NewEncoder(w)
	if err := enc.Encode(h); err != nil {
		return err
	}
	for _, l := range lists() {
		if err := l.write(enc, base, r); err != nil {
			return err
		}
	}
	return nil
}

func readFrame(r io.Reader, cycle, last uint64, base *plan.Report) (*plan.Report, error) {
	dec := json.NewDecoder(r)
	var h frameHead
	if err := dec.Decode(&h); err != nil {
		return nil, err
	}
	if h.Cycle != cycle || h.Base != last || h.Report == nil {
		return nil, fmt.Errorf("it is cycle %d built on %d, not %d on %d", h.Cycle, h.Base, cycle, last)
	}
	for {
		var lh listHead
		err := dec.Decode(&lh)
		if errors.Is(err, io.EOF) {
			return h.Report, nil
		}
		if err != nil {
			return nil, err
		}
		if err := readList(dec, lh, base, h.Report); err != nil {
			return nil, err
		}
	}
}

func readList(dec *json.Decoder, h listHead, base, r *plan.Report) error {
	for _, l := range lists() {
		if l.name() == h.List {
			return l.read(dec, h, base, r)
		}
	}
	return fmt.Errorf("unknown list %q", h.List)
}

// frame is a stored report.
type frame struct {
	cycle uint64
	data  []byte
}

// readGroup decodes the frames of a group, the keyframe first, and hands each
// report to fn, which may keep it.
func readGroup(frames []frame, fn func(*plan.Report) error) error {
	dec, err := decoder()
	if err != nil {
		return err
	}
	defer func() { dec.Close() }()
	raw := &head{max: dictLen}
	var last uint64
	base := &plan.Report{}
	for i, f := range frames {
		if i == 1 {
			dec.Close()
			if dec, err = decoder(zstd.WithDecoderDictRaw(dictID, raw.b)); err != nil {
				return err
			}
			raw = &head{} // of deltas, nothing is kept
		}
		err := dec.Reset(bytes.NewReader(f.data))
		if err == nil {
			base, err = readFrame(io.TeeReader(dec, raw), f.cycle, last, base)
		}
		if err != nil {
			return badRecord(bucketFrames, number(f.cycle), "does not decode: "+err.Error())
		}
		if err := fn(base); err != nil {
			return err
		}
		last = f.cycle
	}
	return nil
}

// decoder reads frames on the goroutine that asks, within bounded memory.
func decoder(more ...zstd.DOption) (*zstd.Decoder, error) {
	return zstd.NewReader(nil, append(more, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(4*windowSize))...)
}
