package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Bounds of the price history. All series together take no more than a quarter of
// what the ledger may take, each no more than its share, and no fewer bytes than a
// day's changes need.
const (
	seriesMost   = 16384
	seriesShare  = 4 // of Options.MaxSize, one part in four
	seriesTotal  = 64 << 20
	longestRun   = 4096
	shortestRun  = 512
	changesCycle = 8192 // in one cycle; the rest is a change in the next
)

// seriesKey names a series.
type seriesKey struct {
	host  string
	model market.GPUModel
}

// keyOf bounds the names as the record does.
func keyOf(host string, model market.GPUModel) seriesKey {
	return seriesKey{host[:min(len(host), longestText)], model[:min(len(model), longestText)]}
}

// id is the key of its record: what the market calls a host is not bounded, so it
// goes through a hash. The series of a host lie side by side.
func (k seriesKey) id() []byte {
	host, model := sha256.Sum256([]byte(k.host)), sha256.Sum256([]byte(k.model))
	return append(host[:8:8], model[:8]...)
}

const seriesIDLen = 16

// tip is the newest quote of a series, kept in memory so that a quiet cycle reads
// nothing.
type tip struct {
	quote plan.Quote
	place market.Location
	known bool // there is a quote
}

// PriceFilter selects prices. Empty fields select all.
type PriceFilter struct {
	Host  string
	Model market.GPUModel
	GPUs  int
	Since time.Time
	Until time.Time // before
	Limit int       // the newest so many; 0 is all
}

func (f *PriceFilter) match(p *plan.Price) bool {
	return (f.Host == "" || f.Host == p.Host) &&
		(f.Model == "" || f.Model == p.Model) &&
		(f.GPUs == 0 || f.GPUs == p.GPUs) &&
		(f.Since.IsZero() || !p.At.Before(f.Since)) &&
		(f.Until.IsZero() || p.At.Before(f.Until))
}

// PutPrices stores prices in a transaction of its own.
func (l *Ledger) PutPrices(prices []plan.Price) error {
	return l.Update(func(tx *Tx) error { return tx.PutPrices(prices) })
}

// PutPrices stores what was learnt. An answer to a question is stored only where it
// differs from the last one of the same host, model and shape.
func (tx *Tx) PutPrices(prices []plan.Price) error {
	if tx.l.opts.Volatile {
		return nil
	}
	of := map[seriesKey][]plan.Price{}
	for _, p := range prices {
		k := keyOf(p.Host, p.Model)
		of[k] = append(of[k], p)
	}
	return tx.changeSeries("put prices", slices.Collect(maps.Keys(of)), func(k seriesKey, s *plan.Series) {
		for _, p := range of[k] {
			if !repeats(s.Prices, &p) {
				s.Prices = append(s.Prices, p)
			}
		}
	})
}

// repeats says whether a price is an answer that was had last time too.
func repeats(all []plan.Price, p *plan.Price) bool {
	if p.Answer != market.Accepted && p.Answer != market.Refused {
		return false
	}
	for i := len(all) - 1; i >= 0; i-- {
		if o := &all[i]; o.Shape == p.Shape && (o.Answer == market.Accepted || o.Answer == market.Refused) {
			return o.Bid == p.Bid && o.Answer == p.Answer
		}
	}
	return false
}

// PutQuotes stores what of a complete list of hosts differs from the last one:
// offers that are new, changed or gone. An empty list says nothing.
func (tx *Tx) PutQuotes(hosts []market.Host, at time.Time) error {
	if len(hosts) == 0 || tx.l.opts.Volatile {
		return nil
	}
	tips := tx.l.tips
	changed, seen := map[seriesKey]tip{}, make(map[seriesKey]bool, len(tips))
	for i := range hosts {
		h := &hosts[i]
		for j := range h.GPUs {
			k := keyOf(h.ID, h.GPUs[j].Model)
			q, old := plan.QuoteOf(h, &h.GPUs[j], at), tips[k]
			seen[k] = true
			if (!old.known || !old.quote.Same(q)) && (old.known || len(tips)+len(changed) < seriesMost) {
				changed[k] = tip{q, h.Location, true}
			}
		}
	}
	for k, old := range tips {
		if old.known && old.quote.Open && !seen[k] {
			old.quote.At, old.quote.Open, old.quote.Free = at, false, 0
			changed[k] = old
		}
	}
	return tx.putQuotes(changed)
}

func (tx *Tx) putQuotes(changed map[seriesKey]tip) error {
	keys := slices.SortedFunc(maps.Keys(changed), func(a, b seriesKey) int { return bytes.Compare(a.id(), b.id()) })
	keys = keys[:min(len(keys), changesCycle)]
	return tx.changeSeries("put quotes", keys, func(k seriesKey, s *plan.Series) {
		s.Quotes, s.Location = append(s.Quotes, changed[k].quote), changed[k].place
	})
}

// changeSeries reads each series, lets fn change it, and writes it where it did.
func (tx *Tx) changeSeries(op string, keys []seriesKey, fn func(seriesKey, *plan.Series)) error {
	if len(keys) == 0 {
		return nil
	}
	return tx.l.wrap(op, guard(op, func() error {
		slices.SortFunc(keys, func(a, b seriesKey) int { return bytes.Compare(a.id(), b.id()) })
		for _, k := range keys {
			s, _, err := findSeries(tx.w.tx, k.id())
			if err != nil {
				return err
			}
			s.Host, s.Model = k.host, k.model
			quotes, prices := len(s.Quotes), len(s.Prices)
			if fn(k, &s); len(s.Quotes) == quotes && len(s.Prices) == prices {
				continue
			}
			if err := tx.putSeries(&s); err != nil {
				return err
			}
		}
		return nil
	}))
}

// putSeries writes a series, made as small as it must be.
func (tx *Tx) putSeries(s *plan.Series) error {
	k := seriesKey{s.Host, s.Model}
	b, err := tx.l.packed(s, tx.w.counts.Sizes[bucketPrices].Records)
	if err != nil {
		return err
	}
	if tx.tips == nil {
		tx.tips = map[seriesKey]tip{}
	}
	tx.tips[k] = tipOf(s)
	return tx.w.put(bucketPrices, k.id(), b)
}

// packed is a series that takes no more than its share among so many.
func (l *Ledger) packed(s *plan.Series, among int64) ([]byte, error) {
	total := int64(seriesTotal)
	if l.opts.MaxSize > 0 {
		total = min(total, l.opts.MaxSize/seriesShare)
	}
	most := min(max(total/max(among, 1), shortestRun), longestRun)
	for {
		b, err := pack(s)
		if err != nil || int64(len(b)) <= most || len(s.Quotes)+len(s.Prices) <= 1 {
			return b, err
		}
		thin(s)
	}
}

func tipOf(s *plan.Series) tip {
	n := len(s.Quotes)
	if n == 0 {
		return tip{place: s.Location}
	}
	return tip{s.Quotes[n-1], s.Location, true}
}

func findSeries(tx *bbolt.Tx, id []byte) (s plan.Series, ok bool, err error) {
	b, err := open(tx, bucketPrices)
	if err != nil {
		return s, false, err
	}
	v := b.Get(id)
	if v == nil {
		return s, false, nil
	}
	s, err = readSeries(id, v)
	return s, err == nil, err
}

// readSeries decodes a record, also one of a schema before 3: a single price.
func readSeries(k, v []byte) (s plan.Series, err error) {
	if len(k) != seriesIDLen {
		return oldPrice(k, v)
	}
	b, err := unseal(bucketPrices, k, v)
	if err == nil {
		if s, err = unpack(b); err != nil {
			err = badRecord(bucketPrices, k, "does not decode: "+err.Error())
		}
	}
	return s, err
}

func oldPrice(k, v []byte) (s plan.Series, err error) {
	b, err := unseal(bucketPrices, k, v)
	if err != nil {
		return s, err
	}
	var p plan.Price
	if err := json.Unmarshal(b, &p); err != nil {
		return s, badRecord(bucketPrices, k, "does not decode: "+err.Error())
	}
	return plan.Series{Host: p.Host, Model: p.Model, Prices: []plan.Price{p}}, nil
}

// EachSeries calls fn with every series on record, in no order that means anything,
// and with one price each for a ledger of an old schema. An error of fn ends it.
func (l *Ledger) EachSeries(fn func(plan.Series) error) error {
	return l.view("read prices", func(tx *bbolt.Tx) error { return eachSeries(tx, func(_ []byte, s plan.Series) error { return fn(s) }) })
}

func eachSeries(tx *bbolt.Tx, fn func(k []byte, s plan.Series) error) error {
	b, err := open(tx, bucketPrices)
	if err != nil {
		return err
	}
	return b.ForEach(func(k, v []byte) error {
		s, err := readSeries(k, v)
		if err != nil {
			return err
		}
		return fn(k, s)
	})
}

// Prices lists what was learnt about prices, newest first.
func (l *Ledger) Prices(f PriceFilter) (list []plan.Price, err error) {
	err = l.EachSeries(func(s plan.Series) error {
		for i := range s.Prices {
			if f.match(&s.Prices[i]) {
				list = append(list, s.Prices[i])
			}
		}
		return nil
	})
	slices.SortStableFunc(list, func(a, b plan.Price) int { return b.At.Compare(a.At) })
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[:f.Limit]
	}
	return list, err
}

// loadTips reads the newest quotes.
func loadTips(tx *bbolt.Tx) (map[seriesKey]tip, error) {
	tips := map[seriesKey]tip{}
	err := eachSeries(tx, func(_ []byte, s plan.Series) error {
		tips[seriesKey{s.Host, s.Model}] = tipOf(&s)
		return nil
	})
	return tips, err
}

// prunePrices drops what is older than the retention, and series of which nothing is
// left. What an offer is since then stays.
func (tx *Tx) prunePrices(before time.Time) (more bool, err error) {
	var drop []seriesKey
	var change []plan.Series
	err = eachSeries(tx.w.tx, func(_ []byte, s plan.Series) error {
		quotes, prices := len(s.Quotes), len(s.Prices)
		forget(&s, before)
		switch {
		case len(s.Quotes)+len(s.Prices) == 0:
			drop = append(drop, seriesKey{s.Host, s.Model})
		case 8*(quotes-len(s.Quotes)) > quotes || 8*(prices-len(s.Prices)) > prices:
			change = append(change, s)
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	more = len(drop) > pruneRecords || len(change) > pruneRecords
	for _, k := range drop[:min(len(drop), pruneRecords)] {
		if tx.tips == nil {
			tx.tips = map[seriesKey]tip{}
		}
		tx.tips[k] = tip{}
		if err := tx.w.del(bucketPrices, k.id()); err != nil {
			return false, err
		}
	}
	for i := range change[:min(len(change), pruneRecords)] {
		if err := tx.putSeries(&change[i]); err != nil {
			return false, err
		}
	}
	return more, nil
}

// forget drops what is over: a quote ends when the next begins.
func forget(s *plan.Series, before time.Time) {
	n := 0
	for n < len(s.Quotes) && s.Quotes[n].At.Before(before) {
		n++
	}
	if n > 0 && s.Quotes[n-1].Open { // it holds since
		n--
	}
	s.Quotes = slices.Delete(s.Quotes, 0, n)
	s.Prices = slices.DeleteFunc(s.Prices, func(p plan.Price) bool { return p.At.Before(before) })
}

// gather is the step from schema 2, which kept each price in a record of its own.
func gather(w *writer) error {
	all := map[seriesKey]*plan.Series{}
	var old [][]byte
	err := eachSeries(w.tx, func(k []byte, s plan.Series) error {
		key := keyOf(s.Host, s.Model)
		if all[key] == nil {
			all[key] = &plan.Series{Host: key.host, Model: key.model}
		}
		all[key].Prices = append(all[key].Prices, s.Prices...)
		old = append(old, bytes.Clone(k))
		return nil
	})
	if err != nil {
		return err
	}
	for _, k := range old {
		if err := w.del(bucketPrices, k); err != nil {
			return err
		}
	}
	for k, s := range all {
		slices.SortStableFunc(s.Prices, func(a, b plan.Price) int { return a.At.Compare(b.At) })
		b, err := (&Ledger{}).packed(s, int64(len(all)))
		if err == nil {
			err = w.put(bucketPrices, k.id(), b)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
