package ledger

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func cost(day, machine string, n int64) plan.Cost {
	return plan.Cost{
		Day: day, Policy: "p", Machine: machine, Host: "h", Model: "m", Capacity: market.Spot, GPUs: 2, Amount: market.Amount(n),
		Billed: plan.Span(time.Duration(n) * time.Second), OnDemand: market.Amount(2 * n),
	}
}

func putCosts(t *testing.T, l *Ledger, costs ...plan.Cost) {
	t.Helper()
	must(t, l.Update(func(tx *Tx) error { return tx.PutCosts(costs) }))
}

func TestCostsAddUpByDayAndMachineAndSurviveAReopening(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	l := must1(Open(Options{Path: path}))
	putCosts(t, l, cost("2031-04-05", "a", 3), cost("2031-04-05", "b", 5))
	learned := cost("2031-04-05", "a", 4)
	learned.ID = "id-a"
	putCosts(t, l, learned, cost("2031-04-06", "a", 7))
	must(t, l.Verify())
	must(t, l.Close())
	l = mustOpen(t, Options{Path: path})
	sum := cost("2031-04-05", "a", 7)
	sum.ID = "id-a"
	want := []plan.Cost{sum, cost("2031-04-05", "b", 5), cost("2031-04-06", "a", 7)}
	if diff := cmp.Diff(want, must1(l.Costs("", ""))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want[2:], must1(l.Costs("2031-04-06", "2031-04-06"))); diff != "" {
		t.Error(diff)
	}
	if s := l.Stats(); s.Costs != 3 {
		t.Errorf("%+v", s)
	}
	var b bytes.Buffer
	must(t, l.Export(&b, false))
	if n := strings.Count(b.String(), `{"kind":"cost","day":"2031-04-0`); n != 3 {
		t.Errorf("%d costs were exported", n)
	}
}

func TestOutagesAreKeptAndThoseThatLastAreListedLast(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, Options{Path: tempPath(t)})
	old := plan.Outage{Machine: "a", Policy: "p", Cause: "stopped", From: start, LastAt: start, To: start.Add(time.Hour), Looks: 60, Proof: []plan.Proof{{At: start, Status: market.StatusStopped}}}
	lasts := plan.Outage{Machine: "b", Policy: "p", Cause: "error", From: start, LastAt: start.Add(time.Hour), Looks: 3, Proof: []plan.Proof{}}
	must(t, l.Update(func(tx *Tx) error {
		tx.History().Machines = []plan.Machine{{Name: "b", Policy: "p", Outage: &lasts}}
		return tx.PutOutages([]plan.Outage{old})
	}))
	must(t, l.Verify())
	if got := must1(l.Outages(time.Time{})); !reflect.DeepEqual(got, []plan.Outage{old, lasts}) {
		t.Errorf("%+v", got)
	}
	if got := must1(l.Outages(start.Add(2 * time.Hour))); len(got) != 1 || got[0].Machine != "b" {
		t.Errorf("%+v", got)
	}
}

func TestCostsAndOutagesAreKeptLongerThanReportsButNotForEver(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, Options{Path: tempPath(t), Retention: time.Hour})
	putCosts(t, l, cost("2030-01-01", "a", 1), cost("2031-04-01", "a", 1))
	over := plan.Outage{Machine: "a", From: start.AddDate(-2, 0, 0), To: start.AddDate(-2, 0, 1)}
	must(t, l.Update(func(tx *Tx) error { return tx.PutOutages([]plan.Outage{over}) }))
	must(t, l.Prune(start))
	if got := must1(l.Costs("", "")); len(got) != 1 || got[0].Day != "2031-04-01" {
		t.Errorf("%+v", got)
	}
	if got := must1(l.Outages(time.Time{})); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	must(t, l.Verify())
}

func TestALedgerOfSchema3TellsWhatWasSpentWithoutTheMachines(t *testing.T) {
	t.Parallel()
	path := tempPath(t)
	older(t, path, 3)
	db := must1(bbolt.Open(path, 0o600, nil))
	must(t, db.Update(func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket([]byte(bucketCosts)), tx.DeleteBucket([]byte(bucketOutages)))
	}))
	must(t, db.Close())
	copied := must1(OpenCopy(path, time.Second))
	if got := must1(copied.Costs("", "")); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	must(t, copied.Close())
	l := mustOpen(t, Options{Path: path})
	spend := must1(l.History()).Spend
	got := must1(l.Costs("", ""))
	if len(spend) == 0 || len(got) != len(spend) {
		t.Fatalf("%d costs of %d days", len(got), len(spend))
	}
	for _, s := range spend {
		if want := (plan.Cost{Day: s.Day, Policy: s.Policy, Amount: s.Amount}); !contains(got, want) {
			t.Errorf("%+v is not in %+v", want, got)
		}
	}
	must(t, l.Verify())
}

func contains(all []plan.Cost, want plan.Cost) bool {
	for _, c := range all {
		if c == want {
			return true
		}
	}
	return false
}

func TestTheBalanceOfADayIsOneRecord(t *testing.T) {
	t.Parallel()
	l := mustOpen(t, Options{Path: tempPath(t)})
	put := func(b plan.Balance) { must(t, l.Update(func(tx *Tx) error { return tx.PutBalance(b) })) }
	put(plan.Balance{Day: "2031-04-05", Open: 100, Close: 90})
	put(plan.Balance{Day: "2031-04-05", Open: 90, Close: 130, Deposits: 50})
	put(plan.Balance{Day: "2031-04-06", Open: 130, Close: 130})
	want := []plan.Balance{{Day: "2031-04-05", Open: 100, Close: 130, Deposits: 50}, {Day: "2031-04-06", Open: 130, Close: 130}}
	if diff := cmp.Diff(want, must1(l.Balances("", ""))); diff != "" {
		t.Error(diff)
	}
	if got := must1(l.Balances("2031-04-06", "2031-04-06")); len(got) != 1 || want[0].Fell() != 20 {
		t.Errorf("%+v", got)
	}
	must(t, l.Verify())
	must(t, l.Prune(start.AddDate(3, 0, 0)))
	if got := must1(l.Balances("", "")); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
