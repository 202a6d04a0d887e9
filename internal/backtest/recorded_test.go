package backtest

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/backtest/trace"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func TestWhatALedgerHasOnRecordIsPlayedAtThePriceOfThePolicysMachines(t *testing.T) {
	l, err := ledger.Open(ledger.Options{Path: filepath.Join(t.TempDir(), "l.db"), NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	begin := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	at := func(minutes int) time.Time { return begin.Add(time.Duration(minutes) * time.Minute) }
	part := func(free int, price market.Rate) market.Component {
		return market.Component{Free: market.Some(free), Price: market.Some(price)}
	}
	host := func(id, country string, free int, gpu market.Rate) market.Host {
		return market.Host{
			ID: id, Location: market.Location{Country: country}, Online: true, Listed: true,
			CPU: part(64, cents(1)), RAM: part(64, cents(1)), Storage: part(900, market.Cent/10),
			GPUs: []market.HostGPU{{Model: "t4-16gb", Free: free, Price: market.Some(gpu)}},
		}
	}
	shape := market.Shape{GPUs: 2, VCPUs: 10, RAM: 10, Storage: 100} // 20 cents and 10 for storage beside the GPUs
	answered := func(minutes int, answer market.Answer, bid market.Rate, gpus int) plan.Price {
		s := shape
		s.GPUs = gpus
		return plan.Price{At: at(minutes), Host: "a", Model: "t4-16gb", Shape: s, Bid: bid, Answer: answer}
	}
	err = l.Update(func(tx *ledger.Tx) error {
		tx.History().LookedAt = at(60)
		return errors.Join(
			tx.PutQuotes([]market.Host{host("a", "Norway", 4, cents(40)), host("b", "Chile", 8, cents(10))}, at(0)),
			tx.PutPrices([]plan.Price{
				answered(5, market.Refused, cents(60), 2), answered(6, market.Accepted, cents(70), 2),
				answered(7, market.Accepted, cents(10), 1), // of another size: says nothing
				answered(20, plan.PriceOutbid, cents(70), 2), answered(30, plan.PriceReady, cents(70), 2),
			}),
			tx.PutQuotes([]market.Host{host("a", "Norway", 0, cents(90)), host("b", "Chile", 8, cents(10))}, at(40)),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	p := policy.Policy{Name: "p", Shape: shape, Match: policy.Match{Countries: []string{"NO"}}}
	tr, err := Recorded(l, &p)
	if err != nil {
		t.Fatal(err)
	}
	tp, err := tr.Tape(trace.Terms{})
	if err != nil {
		t.Fatal(err)
	}
	step := func(minutes int, machine market.Rate) tape.Step[market.Rate] {
		return tape.Step[market.Rate]{At: time.Duration(minutes) * time.Minute, Value: machine.PerGPU(2)}
	}
	want := []tape.Pool{{
		Name: "a", Model: "t4-16gb", Free: tape.Series[int]{{At: 0, Value: 4}, {At: 40 * time.Minute, Value: 0}},
		// On demand a machine's compute costs a dollar, later two; its disk ten cents.
		Price: tape.Series[market.Rate]{step(0, cents(60)), step(5, cents(71)), step(6, cents(80)), step(20, cents(81)), step(40, cents(110))},
	}}
	if d := cmp.Diff(want, tp.Pools); d != "" {
		t.Error(d)
	}
	if tp.Length != time.Hour || !tp.FirstPrice || tp.OnDemand != market.USD(1, 5) {
		t.Errorf("%+v", tp)
	}
	if _, err := Recorded(l, &policy.Policy{Shape: shape, Match: policy.Match{Countries: []string{"FR"}}}); !errors.Is(err, trace.ErrTrace) {
		t.Errorf("nothing matches: %v", err)
	}
}
