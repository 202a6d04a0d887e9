package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

var three = time.Date(2026, 11, 23, 3, 0, 0, 0, time.UTC)

// badNight is a fleet of three policies, of which little is as it should be.
func badNight() *control.Status {
	ago := func(d time.Duration) time.Time { return three.Add(-d) }
	train := plan.Standing{Policy: "train", Target: 8, Ready: 4, Booting: 2, Dead: 2, Before: market.USD(1, 96), Demand: &demand.Outcome{Policy: "train", GPUs: 8, Why: `schedule window "0 22 * * *" for 10h, until 2026-11-23 08:00 UTC`}}
	s := &control.Status{Running: true, Status: daemon.Status{
		Mode: policy.Live, Owner: "main", Config: "/etc/tdscaler/policies.yaml", Cycle: 812, FinishedAt: ago(12 * time.Second), NextAt: three.Add(48 * time.Second),
		Policies: []plan.Standing{
			{Policy: "batch", Target: 2, Ready: 2, Before: market.USD(0, 61), Satisfied: true}, {Policy: "serve", Target: 2, Ready: 1, Booting: 1, Before: market.USD(0, 88)}, train,
		},
		Short:     []plan.Shortfall{{Policy: "train", GPUs: 2, Reason: plan.Reason{Code: plan.HoldNoOffer, Text: "every offer is above the ceiling"}}},
		Breakers:  []plan.Breaker{{Code: plan.BreakerNeverUp, Since: ago(time.Hour), Reason: "3 machines in a row were ordered and never ran"}},
		Pauses:    []plan.Pause{{Policy: "batch", Since: ago(2 * time.Hour), Reason: "the data is not there yet"}},
		HourlyCap: market.USD(4, 0), Reserved: market.USD(3, 45), Burn: market.USD(3, 12), Machines: 6,
		SpentToday: 21 * market.Dollar, SpentMonth: 312 * market.Dollar, SpentEver: 2012 * market.Dollar, Zone: "UTC",
		Balance: market.Balance{Balance: market.Some[market.Amount](14 * market.Dollar)}, Runway: 4 * time.Hour,
		Budgets: []daemon.Budget{{
			Caps:     policy.Budget{MaxDaily: market.Some[market.Amount](20 * market.Dollar), MaxMonthly: market.Some[market.Amount](400 * market.Dollar), MinBalance: market.Some[market.Amount](5 * market.Dollar)},
			Reserved: market.USD(3, 45), Today: 21 * market.Dollar, Month: 312 * market.Dollar, Ever: 2012 * market.Dollar,
		}},
		Waits: []plan.Wait{
			{Code: plan.BreakerNeverUp, Text: "told above"},
			{Code: plan.HoldPaused, Policy: "batch", Text: "told above"},
			{Code: plan.HoldUnanswered, Policy: "train", Machine: "tds-main-train-2h5f6c7d", Text: "an order without an answer", Since: ago(4 * time.Minute), Until: three.Add(6 * time.Minute), Then: "it is given up if no list shows it"},
			{Code: plan.HoldBooting, Policy: "serve", Machine: "tds-main-serve-9c4k2m8p", Text: "starting", Since: ago(21 * time.Minute), Until: ago(time.Minute), Then: "it is given up and its host avoided"},
			{Code: plan.HoldBackoff, Text: "4 hosts are left alone after they failed or refused us", Until: three.Add(3 * time.Minute), Then: "the first of them is tried again"},
		},
		Holds: []plan.Hold{
			{Policy: "train", Reason: plan.Reason{Code: plan.HoldNoOffer}},
			{Policy: "train", Reason: plan.Reason{Code: plan.HoldBreaker}},
			{Policy: "serve", Machine: "m", Reason: plan.Reason{Code: plan.HoldProtected}},
			{Policy: "batch", Reason: plan.Reason{Code: plan.HoldPaused}},
		},
	}}
	s.Reload.Successful, s.Reload.At = true, ago(26*time.Hour)
	return s
}

// screenOf is what is printed of a status on a screen that is so wide.
func screenOf(t *testing.T, s *control.Status, width int) string {
	t.Helper()
	var b bytes.Buffer
	table := newTable(&b)
	table.width = width
	table.status(s, three)
	if err := table.flush(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestABadNightFitsOnOneScreenWorstFirst(t *testing.T) {
	want := `daemon    a daemon runs
breaker   never_up, no growth until resumed: 3 machines in a… -> tdscaler resume
paused    batch: paused 2h ago, until resumed: the dat… -> tdscaler resume batch
mode      live, owner main
file      /etc/tdscaler/policies.yaml, loaded 1d2h ago
cycle     12s ago, next in 48s
rate      $3.1200/h as last seen, $3.4500/h reserved, cap $4.0… -> tdscaler cost
spent     $21.00 today (105% of $20), $312.00 this month (78% … -> tdscaler cost
balance   $14.00 (min_balance $5), lasts 4h at what is reserved -> tdscaler cost
machines  6

POLICY  TARGET  READY  BOOTING  DEAD  LEAVING  RESERVED   STATE
train   8       4      2        2     0        $1.9600/h  short 2
serve   2       1      1        0     0        $0.8800/h  booting
batch   2       2      0        0     0        $0.6100/h  paused

train wants 8 GPUs: schedule window "0 22 * * *" for 10h, until 2026-11-23 08:0…
train, short 2: every offer is above the ceiling -> tdscaler explain train

WAITS  SINCE  UNTIL      CODE                 FOR WHAT
train  4m     in 6m      waiting_for_answer   tds-main-train-2h5f6c7d: an order…
serve  21m    next look  waiting_for_machine  tds-main-serve-9c4k2m8p: starting…
(all)  -      in 3m      hosts_left_alone     4 hosts are left alone after they…
not done: protected (1); "tdscaler plan" says why
`
	got := screenOf(t, badNight(), 80)
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) > 24 {
		t.Errorf("%d lines", len(lines))
	}
	for _, l := range lines {
		if utf8.RuneCountInString(l) > 80 {
			t.Errorf("%d characters: %s", utf8.RuneCountInString(l), l)
		}
	}
	for _, whole := range []string{"; then it is given up if no list shows it -> tdscaler ledger list\n", "$312.00 this month (78% of $400), $2012.00 ever"} {
		if wide := screenOf(t, badNight(), 0); !strings.Contains(wide, whole) {
			t.Errorf("nothing is to be cut where nobody reads a screen: no %q in\n%s", whole, wide)
		}
	}
}

func TestACapIsShownInPercentRoundedAgainstUs(t *testing.T) {
	for _, c := range []struct {
		used, cap market.Amount
		want      int
	}{
		{0, 100, 0},
		{1, 10000, 1},
		{799, 1000, 80},
		{800, 1000, 80},
		{1000, 1000, 100},
		{1020, 1000, 102},
		{5, 0, -1},
		{5, market.MaxAmount, -1},
		{market.MaxAmount / 2, 1, 9999},
	} {
		if got := used(c.used, c.cap); got != c.want {
			t.Errorf("%d of %d is %d%%, want %d%%", c.used, c.cap, got, c.want)
		}
	}
}

func TestAPolicyNearItsOwnCapIsNamed(t *testing.T) {
	s := badNight()
	s.Budgets = append(s.Budgets,
		daemon.Budget{Policy: "serve", Caps: policy.Budget{MaxHourly: market.Some(market.USD(1, 0))}, Reserved: market.USD(0, 88)},
		daemon.Budget{Policy: "batch", Caps: policy.Budget{MaxTotal: market.Some[market.Amount](100 * market.Dollar)}, Ever: 20 * market.Dollar})
	got := screenOf(t, s, 0)
	if !strings.Contains(got, "\nbudget    serve: $0.8800/h reserved (88%) of $1.0000/h; ") || strings.Contains(got, "budget    batch") {
		t.Error(got)
	}
}

func TestManyPoliciesAndWaitsAreCountedNotListed(t *testing.T) {
	s := badNight()
	for range 30 {
		s.Policies = append(s.Policies, plan.Standing{Policy: "z", Satisfied: true})
		s.Waits = append(s.Waits, plan.Wait{Code: plan.HoldBooting, Policy: "z", Machine: "m", Text: "starting"})
	}
	s.MoreWaits = 7
	got := screenOf(t, s, 80)
	for _, want := range []string{"\nand 23 more, 23 of them satisfied; \"tdscaler plan\" has all\n", "\nand 35 things more; --json has them\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
