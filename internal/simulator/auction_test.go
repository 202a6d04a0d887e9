package simulator

import (
	"math/bits"
	"testing"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
)

func drawPool(t *rapid.T) *pool {
	p := &pool{
		total: rapid.IntRange(0, 8).Draw(t, "gpus"),
		floor: market.Rate(rapid.IntRange(0, 3).Draw(t, "floor")) * market.Cent,
	}
	p.held = rapid.IntRange(0, p.total).Draw(t, "held")
	for i := range rapid.IntRange(0, 9).Draw(t, "bidders") {
		p.book = append(p.book, &bidder{
			seq: uint64(i), gpus: rapid.SampledFrom([]int{1, 1, 2, 4, 8}).Draw(t, "n"),
			bid: market.Rate(rapid.IntRange(1, 12).Draw(t, "bid")) * market.Cent,
		})
	}
	return p
}

// bestOfAll tries every subset of the bids at or above the floor.
func bestOfAll(book []*bidder, floor market.Rate, capacity int) market.Rate {
	best := market.Rate(0)
	for set := range uint(1) << len(book) {
		gpus, revenue := 0, market.Rate(0)
		for s := set; s != 0; s &= s - 1 {
			b := book[bits.TrailingZeros(s)]
			gpus, revenue = gpus+b.gpus, revenue+b.bid
			if b.bid < floor.Mul(b.gpus) {
				gpus = capacity + 1
			}
		}
		if gpus <= capacity {
			best = max(best, revenue)
		}
	}
	return best
}

func (p *pool) hold() (gpus int, revenue market.Rate) {
	for i, kept := range keep(p.book, p.floor, p.total-p.held) {
		if p.book[i].kept = kept; kept {
			gpus, revenue = gpus+p.book[i].gpus, revenue+p.book[i].bid
		}
	}
	return gpus, revenue
}

func TestTheKeptSetHasTheGreatestRevenueOfAllSubsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPool(t)
		want := bestOfAll(p.book, p.floor, p.total-p.held)
		gpus, got := p.hold()
		if got != want || gpus > p.total-p.held {
			t.Fatalf("kept %v in %d GPUs, best is %v in %d", got, gpus, want, p.total-p.held)
		}
		v := worth(p.book, p.floor, p.total-p.held, nil, nil)
		if v[len(v)-1] != want {
			t.Fatalf("worth %v, best is %v", v, want)
		}
	})
}

func TestASetThatIsAsGoodAsAnyStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPool(t)
		p.hold()
		var held []*bidder
		for _, b := range p.book {
			if b.kept {
				held = append(held, b)
			}
		}
		// A newcomer that brings no more than what it displaces moves nobody.
		n := rapid.IntRange(1, 8).Draw(t, "newcomer")
		m, ok := p.marginal(n, nil)
		if !ok || m == 0 {
			return
		}
		p.book = append(p.book, &bidder{seq: 99, gpus: n, bid: m})
		p.hold()
		for _, b := range held {
			if !b.kept {
				t.Fatalf("a tie displaced %+v", *b)
			}
		}
	})
}

// A newcomer wins exactly at theta(n) = max(floor(n), V(C) - V(C-n)), with a cent
// more where it has to displace somebody.
func TestABidWinsExactlyFromTheThresholdOn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPool(t)
		p.hold()
		n := rapid.IntRange(1, 8).Draw(t, "n")
		bid := market.Rate(rapid.IntRange(1, 40).Draw(t, "bid")) * market.Cent
		capacity := p.total - p.held
		want := false
		if n <= capacity && bid >= p.floor.Mul(n) {
			all, without := bestOfAll(p.book, p.floor, capacity), bestOfAll(p.book, p.floor, capacity-n)
			want = all == without || bid > all-without
		}
		if got := p.wins(n, bid, nil); got != want {
			t.Fatalf("bid %v for %d GPUs wins: %v, want %v", bid, n, got, want)
		}
		if least, ok := p.threshold(n, nil); bid >= market.MinBid && want != (ok && bid >= least) {
			t.Fatalf("bid %v, threshold %v %v, wins %v", bid, least, ok, want)
		}
		newcomer := &bidder{seq: 99, gpus: n, bid: bid}
		p.book = append(p.book, newcomer)
		p.hold()
		if newcomer.kept != want {
			t.Fatalf("the auction kept the newcomer: %v, the check said %v", newcomer.kept, want)
		}
	})
}

func TestAnIncumbentsOwnBidIsNotItsRival(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPool(t)
		p.hold()
		if len(p.book) == 0 {
			return
		}
		b := p.book[rapid.IntRange(0, len(p.book)-1).Draw(t, "which")]
		bid := market.Rate(rapid.IntRange(1, 40).Draw(t, "bid")) * market.Cent
		want := p.wins(b.gpus, bid, b)
		b.bid = bid
		p.hold()
		// A tie may go to another holder when the bid fell; a bid that wins on its
		// own merit always stays.
		if m, ok := p.marginal(b.gpus, b); b.kept != want && (!ok || bid != m) {
			t.Fatalf("rebid %v (marginal %v): check %v, auction %v", bid, m, want, b.kept)
		}
	})
}
