package simulator

import "github.com/tdscaler/tdscaler/internal/market"

// bidder is one spot machine in a pool's book, ours or a rival's, whether it
// holds GPUs now or waits to win again.
type bidder struct {
	seq     uint64 // age; the book is ordered by it
	gpus    int
	bid     market.Rate
	kept    bool
	machine *machine // nil for a rival
	rival   *rival   // nil for a machine of the account
}

// worth is the greatest revenue for each number of GPUs 0..capacity, of all
// eligible bids but except.
func worth(book []*bidder, floor market.Rate, capacity int, except *bidder, v []market.Rate) []market.Rate {
	v = v[:0]
	for range max(capacity, 0) + 1 {
		v = append(v, 0)
	}
	for _, b := range book {
		if b == except || b.bid < floor.Mul(b.gpus) {
			continue
		}
		for c := capacity; c >= b.gpus; c-- {
			v[c] = max(v[c], v[c-b.gpus]+b.bid)
		}
	}
	return v
}

// cell is the value of a set: revenue first, then how many GPUs stay with those
// who hold them, so that nobody is moved without gain.
type cell struct {
	revenue market.Rate
	staying int
}

func (a cell) better(b cell) bool {
	if a.revenue != b.revenue {
		return a.revenue > b.revenue
	}
	return a.staying > b.staying
}

// keep chooses the set of greatest revenue that fits capacity. If the set that
// holds now is as good as any, it stays; otherwise ties go to holders, then to
// the older.
func keep(book []*bidder, floor market.Rate, capacity int) []bool {
	chosen := make([]bool, len(book))
	if capacity <= 0 {
		return chosen
	}
	best := make([]cell, capacity+1)
	taken := make([]uint64, len(book)) // bit c: item is in the best set of c GPUs
	held, used := market.Rate(0), 0
	for i, b := range book {
		if b.bid < floor.Mul(b.gpus) {
			continue
		}
		staying := 0
		if b.kept {
			staying = b.gpus
			held, used = held+b.bid, used+b.gpus
		}
		for c := capacity; c >= b.gpus; c-- {
			with := cell{best[c-b.gpus].revenue + b.bid, best[c-b.gpus].staying + staying}
			if with.better(best[c]) {
				best[c] = with
				taken[i] |= 1 << c
			}
		}
	}
	if used <= capacity && held == best[capacity].revenue {
		for i, b := range book {
			chosen[i] = b.kept && b.bid >= floor.Mul(b.gpus)
		}
		return chosen
	}
	for i, c := len(book)-1, capacity; i >= 0; i-- {
		if taken[i]&(1<<c) != 0 {
			chosen[i] = true
			c -= book[i].gpus
		}
	}
	return chosen
}

// marginal is what n GPUs are worth to everybody but except: the revenue that the
// pool loses by giving them away. ok is false where on-demand leaves fewer than n.
func (p *pool) marginal(n int, except *bidder) (market.Rate, bool) {
	capacity := p.total - p.held
	if n < 1 || n > capacity {
		return 0, false
	}
	p.scratch = worth(p.book, p.floor, capacity, except, p.scratch)
	return p.scratch[capacity] - p.scratch[capacity-n], true
}

// wins says whether a bid for n GPUs would be kept. An incumbent (except) that
// holds its GPUs keeps them on a tie; a newcomer has to bring more.
func (p *pool) wins(n int, bid market.Rate, except *bidder) bool {
	m, ok := p.marginal(n, except)
	if !ok || bid < p.floor.Mul(n) {
		return false
	}
	return bid > m || m == 0 || except != nil && except.kept && bid == m
}

// threshold is the least bid in whole cents that wins n GPUs now.
func (p *pool) threshold(n int, except *bidder) (market.Rate, bool) {
	m, ok := p.marginal(n, except)
	if !ok {
		return 0, false
	}
	least := max(p.floor.Mul(n), market.MinBid)
	if m > 0 {
		least = max(least, m+1)
	}
	return least.CeilCent(), true
}
