package simulator

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

// failer is a test or a fuzzed one.
type failer interface {
	Fatalf(format string, args ...any)
}

// checkBooks holds the account against what its machines say.
func checkBooks(t failer, e *Engine) {
	a, spent, burn := e.Account(), market.Amount(0), market.Rate(0)
	for _, m := range e.Fleet() {
		spent = spent.Add(m.Compute).Add(m.Storage)
		if m.Status == market.StatusTerminated {
			continue
		}
		burn = burn.Add(m.StorageRate)
		if m.Status.BillsCompute() && !e.machine[m.ID].unpaid {
			burn = burn.Add(m.Bid)
		}
	}
	if spent != a.Spent || burn != a.Burn || a.Peak < a.Burn {
		t.Fatalf("machines cost %v at %v; account %+v", spent, burn, a)
	}
	for _, h := range e.hosts {
		checkHost(t, h)
	}
}

func checkHost(t failer, h *host) {
	if h.cpu.used < 0 || h.ram.used < 0 || h.storage.used < 0 || h.storage.used > h.storage.total {
		t.Fatalf("host uses %+v %+v %+v", h.cpu, h.ram, h.storage)
	}
	for _, p := range h.pools {
		rivals, ours := p.spotHeld()
		if p.held < p.ours || p.ours < 0 || p.held+rivals+ours > p.total {
			t.Fatalf("%d held (%d ours), %d and %d spot, of %d GPUs", p.held, p.ours, rivals, ours, p.total)
		}
		if gpus, _ := p.hold(); gpus != rivals+ours {
			t.Fatalf("the auction is not settled: %d GPUs kept, %d by a new look", rivals+ours, gpus)
		}
		for _, b := range p.book {
			if m := b.machine; m != nil && (m.bidder != b || b.kept == (m.status == market.StatusOutbid)) {
				t.Fatalf("machine %q in the book, kept %v", m.status, b.kept)
			}
		}
	}
}

func TestTheBooksBalanceWhateverTheAccountDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := clock.NewVirtual(epoch)
		e, err := New(Options{
			Clock: v, Seed: rapid.Uint64().Draw(t, "seed"), Hosts: 3, Balance: market.Amount(rapid.IntRange(1, 20).Draw(t, "dollars")) * market.Dollar,
			Regime: rapid.SampledFrom([]Regime{Reactive, Quiet, TraceDriven}).Draw(t, "regime"),
			Boot:   BootModel{Median: 3 * time.Minute, Sigma: 0.5, Fails: 0.1},
		})
		if err != nil {
			t.Fatal(err)
		}
		any := func() string {
			if len(e.machines) == 0 {
				return ""
			}
			return rapid.SampledFrom(e.machines).Draw(t, "machine").id
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			// Refusals are part of the game: the books are what is checked.
			switch rapid.IntRange(0, 9).Draw(t, "action") {
			case 0, 1, 2:
				h := rapid.SampledFrom(e.hosts).Draw(t, "host")
				o := order("m", rapid.IntRange(1, 4).Draw(t, "gpus"), market.Rate(rapid.IntRange(0, 300).Draw(t, "bid"))*market.Cent)
				o.Host, o.Model, o.Shape.VCPUs, o.Shape.RAM = h.id, h.pools[0].model, 2, 4
				_, _ = e.Deploy(o)
			case 3:
				_ = e.Start(any())
			case 4:
				_ = e.Stop(any(), rapid.Bool().Draw(t, "release"))
			case 5:
				_ = e.Delete(any())
			case 6:
				_ = e.Rebid(any(), market.Rate(rapid.IntRange(0, 500).Draw(t, "rebid"))*market.Cent)
			case 7:
				e.Deposit(market.Dollar)
			default:
				v.Set(v.Now().Add(time.Duration(rapid.IntRange(1, 36_000).Draw(t, "seconds")) * time.Second))
			}
			checkBooks(t, e)
		}
	})
}

func TestManySmallStepsOfTimeAreOneLargeOne(t *testing.T) {
	run := func(step time.Duration) ([]Event, Account) {
		v := clock.NewVirtual(epoch)
		e, err := New(Options{Clock: v, Seed: 11, Balance: 20 * market.Dollar})
		if err != nil {
			t.Fatal(err)
		}
		for n := range 6 {
			buyAnywhere(e, n)
		}
		for end := epoch.Add(48 * time.Hour); v.Now().Before(end); {
			v.Set(v.Now().Add(step))
			e.Account()
		}
		return e.Events(), e.Account()
	}
	events, account := run(48 * time.Hour)
	small, same := run(10 * time.Minute)
	if len(events) < 10 || !reflect.DeepEqual(events, small) || account != same {
		t.Errorf("%d events and %+v in one step, %d and %+v in many", len(events), account, len(small), same)
	}
}
