package ledger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// pricesPerOffer is how many prices of one host, model and number of GPUs
// survive pruning.
const pricesPerOffer = 256

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

// offerKey begins the key of a price: what the market calls a host is not
// bounded, so it goes through a hash.
func offerKey(p *plan.Price) []byte {
	host := sha256.Sum256([]byte(p.Host))
	offer := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d", p.Model, p.GPUs))
	return append(host[:8:8], offer[:8]...)
}

const offerKeyLen = 16

// priceKey sorts the prices of an offer by time.
func priceKey(p *plan.Price) []byte {
	k := binary.BigEndian.AppendUint64(offerKey(p), uint64(p.At.UnixNano()))
	return binary.BigEndian.AppendUint64(k, uint64(p.Bid))
}

// PutPrices stores prices in a transaction of its own.
func (l *Ledger) PutPrices(prices []plan.Price) error {
	return l.Update(func(tx *Tx) error { return tx.PutPrices(prices) })
}

// PutPrices stores the prices that differ, in bid or answer, from the last one
// known of the same host, model and number of GPUs.
func (tx *Tx) PutPrices(prices []plan.Price) error {
	return tx.l.wrap("put prices", guard("put prices", func() error {
		for i := range prices {
			if err := tx.putPrice(&prices[i]); err != nil {
				return err
			}
		}
		return nil
	}))
}

func (tx *Tx) putPrice(p *plan.Price) error {
	b, err := open(tx.w.tx, bucketPrices)
	if err != nil {
		return err
	}
	if k, v := lastWith(b.Cursor(), offerKey(p)); k != nil {
		last, err := decode[plan.Price](bucketPrices, k, v)
		if err != nil {
			return err
		}
		if last.Bid == p.Bid && last.Answer == p.Answer {
			return nil
		}
	}
	return tx.w.putJSON(bucketPrices, priceKey(p), p)
}

// lastWith finds the last record whose key begins with prefix.
func lastWith(c *bbolt.Cursor, prefix []byte) (k, v []byte) {
	end := append(bytes.Clone(prefix), bytes.Repeat([]byte{0xff}, 17)...)
	if k, _ = c.Seek(end); k == nil {
		k, v = c.Last()
	} else {
		k, v = c.Prev()
	}
	if !bytes.HasPrefix(k, prefix) {
		return nil, nil
	}
	return k, v
}

// Prices lists prices, newest first.
func (l *Ledger) Prices(f PriceFilter) (list []plan.Price, err error) {
	err = l.view("list prices", func(tx *bbolt.Tx) error {
		return eachPrice(tx, func(_ []byte, p *plan.Price) {
			if f.match(p) {
				list = append(list, *p)
			}
		})
	})
	slices.SortStableFunc(list, func(a, b plan.Price) int { return b.At.Compare(a.At) })
	if f.Limit > 0 && len(list) > f.Limit {
		list = list[:f.Limit]
	}
	return list, err
}

func eachPrice(tx *bbolt.Tx, fn func(k []byte, p *plan.Price)) error {
	b, err := open(tx, bucketPrices)
	if err != nil {
		return err
	}
	return b.ForEach(func(k, v []byte) error {
		p, err := decode[plan.Price](bucketPrices, k, v)
		if err == nil {
			fn(k, &p)
		}
		return err
	})
}
