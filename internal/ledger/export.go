package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// exportBatch is how many records are read in one transaction.
const exportBatch = 256

// Export writes every record as a line of JSON with a field "kind"; reports says
// whether to write whole reports too. docs/cli.md lists the kinds. What is written
// is what is stored: the ledger holds no secrets, so neither does this.
//
// It reads in many short transactions, so that a slow writer holds up nobody:
// records of one moment need a copy, see Backup. An error of w ends it.
func (l *Ledger) Export(w io.Writer, reports bool) error {
	e := exporter{l, w, reports}
	for _, write := range []func() error{
		e.meta,
		func() error { return e.bucket(bucketMachines, "machine") },
		func() error { return e.bucket(bucketHosts, "host") },
		func() error { return e.bucket(bucketSpend, "spend") },
		func() error { return e.bucket(bucketCosts, "cost") },
		func() error { return e.bucket(bucketBalances, "balance") },
		func() error { return e.bucket(bucketOutages, "outage") },
		e.books,
		func() error { return e.bucket(bucketIntents, "intent") },
		func() error { return e.bucket(bucketSummaries, "cycle") },
		e.prices,
		e.reports,
	} {
		if err := write(); err != nil {
			return l.wrap("export", err)
		}
	}
	return nil
}

type exporter struct {
	l     *Ledger
	w     io.Writer
	whole bool // write the reports too
}

// exportMeta is the first line. The id stays out: names of machines are made of it.
type exportMeta struct {
	Schema int `json:"schema"`
	Stats
	Cycle   uint64 `json:"last_cycle"`
	Intents uint64 `json:"last_intent"`
}

func (e exporter) meta() error {
	c := &e.l.state.Load().counts
	return e.line("meta", exportMeta{e.l.schema, e.l.Stats(), c.Cycle, c.Intents})
}

// bookKind is the kind of a record in a list of the books; a list that is not
// named here is its own.
func bookKind(list string) string {
	switch list {
	case bookBackoffs:
		return "backoff"
	case bookPauses:
		return "pause"
	case bookBreakers:
		return "breaker"
	case bookFailures:
		return "failure"
	case bookKnown:
		return "known_policy"
	case bookTotals:
		return "total"
	case bookLevels:
		return "level"
	case bookBrackets:
		return "bracket"
	case bookOverrides:
		return "override"
	case bookAims:
		return "aim"
	case bookRises:
		return "rise"
	case bookShadows:
		return "shadow"
	}
	return list
}

func (e exporter) bucket(bucket, kind string) error {
	return e.each(bucket, func(_, contents []byte) error { return e.raw(kind, contents) })
}

// books writes each element of each list.
func (e exporter) books() error {
	return e.each(bucketBooks, func(k, contents []byte) error {
		var list []json.RawMessage
		if err := json.Unmarshal(contents, &list); err != nil {
			return badRecord(bucketBooks, k, "does not decode: "+err.Error())
		}
		for _, one := range list {
			if err := e.raw(bookKind(string(k)), one); err != nil {
				return err
			}
		}
		return nil
	})
}

// exportQuote is a quote with what it is of.
type exportQuote struct {
	Host     string          `json:"host"`
	Model    market.GPUModel `json:"gpu_model"`
	Location market.Location `json:"location,omitzero"`
	plan.Quote
}

// prices writes each quote and each price of each series, oldest first.
func (e exporter) prices() error {
	return e.eachSealed(bucketPrices, func(k, v []byte) error {
		s, err := readSeries(k, v)
		if err != nil {
			return err
		}
		for _, q := range s.Quotes {
			if err := e.line("quote", exportQuote{s.Host, s.Model, s.Location, q}); err != nil {
				return err
			}
		}
		for _, p := range s.Prices {
			if err := e.line("price", p); err != nil {
				return err
			}
		}
		return nil
	})
}

// reports reads group by group, oldest first.
func (e exporter) reports() error {
	if !e.whole {
		return nil
	}
	var last, keyframe uint64
	group := func() error {
		if keyframe == 0 {
			return nil
		}
		frames, err := e.l.framesTo(last)
		if err != nil {
			return err
		}
		return readGroup(frames, func(r *plan.Report) error { return e.line("report", r) })
	}
	err := e.each(bucketSummaries, func(k, contents []byte) error {
		var s ReportSummary
		if err := json.Unmarshal(contents, &s); err != nil {
			return badRecord(bucketSummaries, k, "does not decode: "+err.Error())
		}
		if s.Keyframe != keyframe {
			if err := group(); err != nil {
				return err
			}
		}
		last, keyframe = s.Cycle, s.Keyframe
		return nil
	})
	if err != nil {
		return err
	}
	return group()
}

func (e exporter) line(kind string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", kind, err)
	}
	return e.raw(kind, b)
}

// raw writes an object with the kind as its first field; anything else becomes the
// field "value" of one.
func (e exporter) raw(kind string, contents []byte) error {
	line := fmt.Appendf(nil, `{"kind":%q,`, kind)
	if fields, ok := bytes.CutPrefix(contents, []byte("{")); ok && len(fields) > 1 {
		line = append(line, fields...)
	} else {
		line = append(append(append(line, `"value":`...), contents...), '}')
	}
	_, err := e.w.Write(append(line, '\n'))
	return err
}

// each hands the contents of every record to fn, outside of any transaction.
func (e exporter) each(bucket string, fn func(k, contents []byte) error) error {
	return e.eachSealed(bucket, func(k, value []byte) error {
		contents, err := unseal(bucket, k, value)
		if err != nil {
			return err
		}
		return fn(k, contents)
	})
}

func (e exporter) eachSealed(bucket string, fn func(k, value []byte) error) error {
	for next := []byte{}; next != nil; {
		keys, values, err := e.batch(bucket, &next)
		if err != nil {
			return err
		}
		for i := range keys {
			if err := fn(keys[i], values[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// batch copies the records from the key next on, and moves it; nil is the end.
func (e exporter) batch(bucket string, next *[]byte) (keys, values [][]byte, err error) {
	err = e.l.view("export", func(tx *bbolt.Tx) error {
		if tx.Bucket([]byte(bucket)) == nil && e.l.schema < schemaVersion { // it came later
			*next = nil
			return nil
		}
		b, err := open(tx, bucket)
		if err != nil {
			return err
		}
		c := b.Cursor()
		k, v := c.Seek(*next)
		for ; k != nil && len(keys) < exportBatch; k, v = c.Next() {
			keys, values = append(keys, bytes.Clone(k)), append(values, bytes.Clone(v))
		}
		*next = bytes.Clone(k)
		return nil
	})
	return keys, values, err
}
