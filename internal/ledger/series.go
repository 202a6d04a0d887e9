package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// A series is one record: what was offered of one GPU model on one host, and what
// was learnt about it, each as differences to what came before, in varints. A change
// of the free GPUs costs four bytes that way, a change of a price about nine.
//
//	version, host, model, place (five texts), number of quotes, quotes, number of prices, prices
//	quote: seconds since the last, mask of what changed, the changes
//	price: seconds since the last, answer, shape, bid, seconds to run
//
// An unknown price is 0, a known one its value plus one.

const seriesVersion = 1

// What of a quote changed.
const (
	bitGPU = 1 << iota
	bitVCPU
	bitRAM
	bitStorage
	bitFree
	bitOpen // not a change, but the state
)

// longestText bounds the names in a series: what the market calls things is not.
const longestText = 256

type packer struct{ b []byte }

func (p *packer) uint(v uint64) { p.b = binary.AppendUvarint(p.b, v) }
func (p *packer) int(v int64)   { p.b = binary.AppendVarint(p.b, v) }

func (p *packer) text(s string) {
	s = s[:min(len(s), longestText)]
	p.uint(uint64(len(s)))
	p.b = append(p.b, s...)
}

// pack encodes a series. Its times lose what is below a second.
func pack(s *plan.Series) ([]byte, error) {
	p := &packer{b: make([]byte, 0, 128+6*len(s.Quotes)+16*len(s.Prices))}
	p.uint(seriesVersion)
	l := s.Location
	for _, text := range []string{s.Host, string(s.Model), l.ID, l.Country, l.Region, l.City} {
		p.text(text)
	}
	p.uint(uint64(len(s.Quotes)))
	var last plan.Quote
	at := int64(0)
	for i := range s.Quotes {
		at = p.quote(&last, &s.Quotes[i], at)
		last = s.Quotes[i]
	}
	p.uint(uint64(len(s.Prices)))
	at = 0
	for i := range s.Prices {
		var err error
		if at, err = p.price(&s.Prices[i], at); err != nil {
			return nil, err
		}
	}
	return p.b, nil
}

func (p *packer) since(t time.Time, at int64) int64 {
	now := t.Unix()
	p.int(now - at)
	return now
}

func (p *packer) quote(last, q *plan.Quote, at int64) int64 {
	at = p.since(q.At, at)
	mask := uint64(0)
	if q.Open {
		mask |= bitOpen
	}
	var changes []int64
	was, is := numbers(last), numbers(q)
	for i := range is {
		if was[i] != is[i] {
			mask |= 1 << i
			changes = append(changes, is[i]-was[i])
		}
	}
	p.uint(mask)
	for _, c := range changes {
		p.int(c)
	}
	return at
}

// numbers are what of a quote is stored as differences, in the order of the mask.
func numbers(q *plan.Quote) [5]int64 {
	return [5]int64{plusOne(q.GPU), plusOne(q.VCPU), plusOne(q.RAM), plusOne(q.Storage), int64(q.Free)}
}

func plusOne(r market.Maybe[market.Rate]) int64 {
	v, ok := r.Get()
	if !ok {
		return 0
	}
	return min(max(int64(v), 0), math.MaxInt64-1) + 1
}

func lessOne(n int64) market.Maybe[market.Rate] {
	if n <= 0 {
		return market.Maybe[market.Rate]{}
	}
	return market.Some(market.Rate(n - 1))
}

func (p *packer) price(x *plan.Price, at int64) (int64, error) {
	answer := slices.Index(plan.PriceAnswers(), x.Answer)
	if answer < 0 {
		return 0, fmt.Errorf("a price with the answer %q", x.Answer)
	}
	at = p.since(x.At, at)
	for _, n := range []int64{int64(answer), int64(x.GPUs), int64(x.VCPUs), int64(x.RAM), int64(x.Storage), int64(x.Bid), x.Seconds} {
		p.uint(uint64(max(n, 0)))
	}
	return at, nil
}

var errSeries = errors.New("it is cut short or not a series")

type unpacker struct {
	b   []byte
	bad bool
}

func (u *unpacker) took(n int) {
	if n <= 0 {
		u.bad, u.b = true, nil
		return
	}
	u.b = u.b[n:]
}

func (u *unpacker) uint() uint64 {
	v, n := binary.Uvarint(u.b)
	u.took(n)
	return v
}

func (u *unpacker) int() int64 {
	v, n := binary.Varint(u.b)
	u.took(n)
	return v
}

// count is a number of things that take at least so many bytes each.
func (u *unpacker) count(least int) int {
	n := u.uint()
	if n > uint64(len(u.b)/least) {
		u.bad, n = true, 0
	}
	return int(n)
}

func (u *unpacker) text() string {
	n := u.count(1)
	s := string(u.b[:n])
	u.b = u.b[n:]
	return s
}

// unpack reads a series back.
func unpack(b []byte) (plan.Series, error) {
	u := &unpacker{b: b}
	if v := u.uint(); v != seriesVersion && !u.bad {
		return plan.Series{}, fmt.Errorf("a series of version %d", v)
	}
	s := plan.Series{Host: u.text(), Model: market.GPUModel(u.text())}
	s.Location = market.Location{ID: u.text(), Country: u.text(), Region: u.text(), City: u.text()}
	u.quotes(&s)
	u.prices(&s)
	if u.bad || len(u.b) > 0 {
		return plan.Series{}, errSeries
	}
	return s, nil
}

func (u *unpacker) quotes(s *plan.Series) {
	s.Quotes = make([]plan.Quote, u.count(2))
	at, was := int64(0), [5]int64{}
	for i := range s.Quotes {
		at += u.int()
		mask := u.uint()
		for j := range was {
			if mask&(1<<j) != 0 {
				was[j] += u.int()
			}
		}
		s.Quotes[i] = plan.Quote{
			At: time.Unix(at, 0).UTC(), GPU: lessOne(was[0]), VCPU: lessOne(was[1]), RAM: lessOne(was[2]), Storage: lessOne(was[3]),
			Free: int(was[4]), Open: mask&bitOpen != 0,
		}
	}
}

func (u *unpacker) prices(s *plan.Series) {
	s.Prices = make([]plan.Price, u.count(8))
	answers, at := plan.PriceAnswers(), int64(0)
	for i := range s.Prices {
		at += u.int()
		answer := u.uint()
		if answer >= uint64(len(answers)) {
			u.bad = true
			return
		}
		p := plan.Price{At: time.Unix(at, 0).UTC(), Host: s.Host, Model: s.Model, Answer: answers[answer]}
		p.GPUs, p.VCPUs, p.RAM, p.Storage = int(u.uint()), int(u.uint()), int(u.uint()), int(u.uint())
		p.Bid, p.Seconds = market.Rate(u.uint()), int64(u.uint())
		s.Prices[i] = p
	}
}

// thin makes a series smaller. Of the older half of the quotes those go that only
// changed how many GPUs are free, not whether there are any; where that is not
// enough, the oldest quarter of each list goes.
func thin(s *plan.Series) {
	before := len(s.Quotes)
	half := before / 2
	kept := s.Quotes[:0]
	for i, q := range s.Quotes {
		if i > 0 && i < half && i+1 < before && onlyFree(kept[len(kept)-1], q) {
			continue
		}
		kept = append(kept, q)
	}
	s.Quotes = kept
	if before > 0 && len(kept)*8 <= before*7 {
		return
	}
	s.Quotes = slices.Delete(s.Quotes, 0, min((len(s.Quotes)+3)/4, max(len(s.Quotes)-1, 0)))
	s.Prices = slices.Delete(s.Prices, 0, (len(s.Prices)+3)/4)
}

func onlyFree(a, b plan.Quote) bool {
	same := (a.Free > 0) == (b.Free > 0)
	b.Free = a.Free
	return same && a.Same(b)
}
