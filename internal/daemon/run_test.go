package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// cycles runs the daemon until it has reported n cycles.
func (r *rig) cycles(n int) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	r.o.Report = func(plan.Report) {
		if n--; n == 0 {
			cancel()
		}
	}
	return r.Run(ctx, false)
}

func TestWrongCredentialsAreToldAtOnce(t *testing.T) {
	for _, class := range []market.Class{market.ClassUnauthorized, market.ClassRefused} {
		refuse := func() ([]market.Instance, error) {
			return nil, &market.Error{Op: "list machines", Class: class, Detail: "no"}
		}
		r := newRig(t, one("live", 1))
		r.market.instances = refuse
		r.market.auth = func() error { return &market.Error{Op: "test", Class: class} }
		err := r.Run(context.Background(), false)
		if !errors.Is(err, ErrUnauthorized) || !strings.Contains(err.Error(), "TENSORDOCK_API_KEY") {
			t.Errorf("%s at start: %v", class, err)
		}
	}
}

func TestCredentialsThatAreRevokedLaterHoldEverythingAndNeverSpin(t *testing.T) {
	r := newRig(t, one("live", 1))
	n, begin := 0, r.clock.Now()
	r.market.instances = func() ([]market.Instance, error) {
		if n++; n == 1 {
			return nil, nil
		}
		return nil, &market.Error{Op: "list machines", Class: market.ClassUnauthorized, Detail: "revoked"}
	}
	if err := r.cycles(11); err != nil {
		t.Fatal(err)
	}
	if passed := r.clock.Now().Sub(begin); passed < 10*time.Minute {
		t.Errorf("eleven cycles took %s on a schedule of one a minute", passed)
	}
	if len(r.last.Plan.Holds) == 0 || r.last.Plan.Holds[0].Reason.Code != plan.HoldInstances || r.Ready() == nil {
		t.Errorf("holds %+v, ready %v", r.last.Plan.Holds, r.Ready())
	}
}

func TestALedgerThatCannotBeWrittenNeverMakesTheCycleSpinNorSend(t *testing.T) {
	r := newRig(t, one("live", 4))
	begin := r.clock.Now()
	if err := r.o.Ledger.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.cycles(10); err != nil {
		t.Fatal(err)
	}
	if passed := r.clock.Now().Sub(begin); passed < 9*time.Minute {
		t.Errorf("ten cycles took %s", passed)
	}
	if sent := r.market.writes(); len(sent) != 0 {
		t.Errorf("sent %q", sent)
	}
	if r.last.Problem == "" || r.Ready() == nil {
		t.Errorf("nobody is told: %+v", r.last)
	}
}

func TestOnceRunsOneCycleAndReturnsItsFailure(t *testing.T) {
	r := newRig(t, one("live", 2))
	if err := r.Run(context.Background(), true); err != nil || len(r.market.writes()) != 2 {
		t.Errorf("%v, sent %q", err, r.market.writes())
	}
	r = newRig(t, one("live", 2))
	r.market.hosts = func() ([]market.Host, error) {
		return nil, &market.Error{Op: "list hosts", Class: market.ClassUnavailable, Detail: "a page"}
	}
	if err := r.Run(context.Background(), true); err == nil || !strings.Contains(err.Error(), "a page") {
		t.Errorf("without hosts: %v", err)
	}
	r = newRig(t, one("live", 2))
	if err := r.o.Ledger.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Run(context.Background(), true); !errors.Is(err, ledger.ErrClosed) {
		t.Errorf("without a ledger: %v", err)
	}
}

func TestAStopLetsAWriteUnderWayFinishWithinItsGraceAndSendsNoMore(t *testing.T) {
	for _, takes := range []time.Duration{500 * time.Millisecond, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, one("live", 5), func(o *Options) { o.Clock, o.Grace = clock.System{}, 10*time.Second })
			ctx, cancel := context.WithCancel(context.Background())
			r.market.deploy = func(ctx context.Context, _ market.Order) (market.Deployed, error) {
				cancel()
				select {
				case <-time.After(takes):
					return market.Deployed{ID: "id-1"}, nil
				case <-ctx.Done():
					return market.Deployed{}, &market.Error{Op: "deploy", Class: market.ClassAmbiguous, Detail: "cut off"}
				}
			}
			begin := time.Now()
			if err := r.Run(ctx, false); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); took > 11*time.Second || took < min(takes, 10*time.Second) {
				t.Errorf("stopped after %s", took)
			}
			if sent := r.market.writes(); len(sent) != 1 {
				t.Errorf("sent %q", sent)
			}
			intents, err := r.o.Ledger.Intents(ledger.Filter{})
			want := plan.IntentAccepted
			if takes > 10*time.Second {
				want = plan.IntentUnknown
			}
			if err != nil || len(intents) != 1 || intents[0].State != want {
				t.Errorf("%+v, %v", intents, err)
			}
		})
	}
}

func TestAStopDuringAScanOrASleepIsImmediate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, one("live", 1), func(o *Options) { o.Clock = clock.System{} })
		ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
		defer cancel()
		begin := time.Now()
		if err := r.Run(ctx, false); err != nil || time.Since(begin) != 90*time.Second {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		ctx, cancel = context.WithCancel(context.Background())
		r.market.instances = func() ([]market.Instance, error) { cancel(); return nil, ctx.Err() }
		before := r.last.Cycle
		if err := r.Run(ctx, false); err != nil || r.last.Cycle != before {
			t.Errorf("a scan that was cut short is a look: %v, %+v", err, r.last)
		}
	})
}

func TestAWakeStartsACycleBeforeItsTime(t *testing.T) {
	r := newRig(t, one("live", 0))
	begin := r.clock.Now()
	r.Wake()
	r.Wake()
	if err := r.cycles(2); err != nil || r.clock.Now() != begin {
		t.Errorf("%v, %s passed", err, r.clock.Now().Sub(begin))
	}
}

func TestPasswordsOfMachinesThatAreGoneAreForgottenAndNoOthers(t *testing.T) {
	r := newRig(t, one("live", 2))
	r.turn()
	r.turn()
	kept, err := r.o.Credentials.Names()
	if err != nil || len(kept) != 2 {
		t.Fatalf("%v, %v", kept, err)
	}
	// Of another ledger: it is not ours to judge.
	put(t, r.dir, "credentials/tds-main-train-00000000", "pw")
	r.write(one("live", 1))
	if err := r.Reload(true); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.turn()
	}
	if kept, err = r.o.Credentials.Names(); err != nil || len(kept) != 2 {
		t.Fatalf("%v, %v", kept, err)
	}
	if _, ok := r.market.machines["id-1"]; r.o.Credentials.Path("tds-main-train-00000000") == "" || len(r.market.machines) != 1 && !ok {
		t.Errorf("kept %v of %v", kept, r.market.machines)
	}
}

func TestAClockThatJumpsNeitherBuysNorLosesAnything(t *testing.T) {
	r := newRig(t, one("live", 3))
	for range 3 {
		r.turn()
	}
	sent := len(r.market.writes())
	for _, jump := range []time.Duration{-time.Hour, 48 * time.Hour, -24 * time.Hour, 365 * 24 * time.Hour} {
		r.clock.Set(r.clock.Now().Add(jump))
		for range 5 {
			r.turn()
		}
	}
	if more := r.market.writes()[sent:]; len(more) != 0 {
		t.Errorf("sent %q", more)
	}
}

// A market that validates every bid and then refuses the deploy is asked for more
// once, and then left alone: never the same bid on the same host again and again.
func TestADeployRefusedForItsBidVoidsTheAcceptanceItRestedOn(t *testing.T) {
	r := newRig(t, one("live", 1))
	var bids []market.Rate
	r.market.deploy = func(_ context.Context, o market.Order) (market.Deployed, error) {
		bids = append(bids, o.Bid)
		r.market.mu.Lock()
		defer r.market.mu.Unlock()
		for id, m := range r.market.machines {
			if m.Name == o.Name {
				delete(r.market.machines, id)
			}
		}
		return market.Deployed{}, &market.Error{Op: "deploy", Class: market.ClassBidRefused, Detail: "Bid too low"}
	}
	r.turn()
	if len(bids) != 2 || !slices.IsSorted(bids) || len(slices.Compact(slices.Clone(bids))) != len(bids) || bids[len(bids)-1] > market.USD(0, 80) {
		t.Fatalf("bids of %v", bids)
	}
	tried := 0
	for range 60 {
		before := len(bids)
		rep := r.turn()
		if len(bids) > before {
			tried++
		}
		if len(bids)-before > 2 || len(rep.Plan.Holds) == 0 {
			t.Fatalf("a cycle sent %v, holds %+v", bids[before:], rep.Plan.Holds)
		}
	}
	if tried > 8 { // half a minute, a minute, two, four ...
		t.Errorf("tried in %d of 60 cycles", tried)
	}
}

// However many hosts do so, a cycle sends no more than its actions.
func TestRefusedDeploysCountAsActions(t *testing.T) {
	r := newRig(t, one("live", 4)+"limits: {max_actions_per_cycle: 9}\n")
	one, _ := r.market.Hosts(context.Background())
	r.market.hosts = func() (list []market.Host, _ error) {
		for i := range 50 {
			h := one[0]
			h.ID = fmt.Sprintf("host-%02d", i)
			list = append(list, h)
		}
		return list, nil
	}
	sent := 0
	r.market.deploy = func(_ context.Context, o market.Order) (market.Deployed, error) {
		sent++
		r.market.mu.Lock()
		defer r.market.mu.Unlock()
		clear(r.market.machines)
		return market.Deployed{}, &market.Error{Op: "deploy", Class: market.ClassBidRefused, Detail: "Bid too low"}
	}
	for range 5 {
		if before := sent; len(r.turn().Intents) > 9 || sent-before > 9 {
			t.Fatalf("%d deploys in one cycle", sent-before)
		}
	}
}

func TestNothingIsBoughtOnALookThatIsTooOld(t *testing.T) {
	r := newRig(t, one("live", 8))
	r.market.deploy = func(context.Context, market.Order) (market.Deployed, error) {
		return market.Deployed{ID: fmt.Sprintf("id-%d", len(r.market.writes()))}, r.clock.Sleep(context.Background(), 2*time.Minute)
	}
	r.turn()
	if n := len(r.market.writes()); n != 4 { // the fifth would begin eight minutes after the look
		t.Fatalf("%d writes on one look: %q", n, r.market.writes())
	}
	r.turn()
	if n := len(r.market.writes()); n != 8 {
		t.Errorf("%d writes, want 8: the next look goes on", n)
	}
}

func TestWhatACapDemandsIsGivenUpBeforeTheMarketIsAskedAnything(t *testing.T) {
	r := newRig(t, one("live", 3))
	r.turn()
	r.turn()
	r.write(strings.Replace(one("live", 3), "max_gpu_hour: 0.80}", "max_gpu_hour: 0.80, budget: {max_hourly: 0.60}}", 1) +
		"  - {name: more, target: {gpus: 1}, shape: {gpus: 1, vcpus: 2}, max_gpu_hour: 0.60}\n")
	if err := r.Reload(true); err != nil {
		t.Fatal(err)
	}
	hosts, _ := r.market.Hosts(context.Background())
	r.market.hosts = func() ([]market.Host, error) {
		other := hosts[0]
		other.ID = "other"
		return append(slices.Clip(hosts), other), nil
	}
	before := -1
	r.market.ask = func() {
		if before < 0 {
			before = len(r.market.writes())
		}
	}
	report := r.turn()
	if before != 5 { // three deploys and two deletions
		t.Fatalf("%d writes before the first question: %q", before, r.market.writes())
	}
	if n := len(report.Intents); n != 3 || report.Intents[0].Reason.Code != plan.ReasonOverBudget {
		t.Errorf("%d intents: %+v", n, report.Intents)
	}
}
