package daemon

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

const nothing = "version: 1\ndaemon: {mode: live, ledger: ledger.db, listen: \"\"}\npolicies: []\n"

func (r *rig) status() Status {
	r.Helper()
	s, err := r.Status()
	if err != nil {
		r.Fatal(err)
	}
	return s
}

func TestABadFileKeepsTheLastGoodOneAndSaysSo(t *testing.T) {
	r := newRig(t, one("live", 2))
	good := r.current()
	for _, bad := range []string{"", "version: 1\npolicies: [{name: x, targets: {}}]", "\x00\xff", "version: 2\npolicies: []\n"} {
		r.write(bad)
		err := r.Reload(true)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "the last good configuration stays in use") {
			t.Errorf("%q: %v", bad, err)
		}
		s := r.status()
		if s.Reload.Successful || s.Reload.Problem == "" || s.Reload.Hash != good.Hash() || r.current().Set.Policies[0].Target != 2 {
			t.Errorf("%q: %+v", bad, s.Reload)
		}
		if testutil.ToFloat64(r.metrics.reloadOK) != 0 {
			t.Errorf("%q: the metric says that it succeeded", bad)
		}
	}
	if err := os.Remove(r.path()); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(true); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	r.write(one("live", 3))
	if err := r.Reload(false); err != nil || !r.status().Reload.Successful || r.current().Set.Policies[0].Target != 3 || testutil.ToFloat64(r.metrics.reloadOK) != 1 {
		t.Errorf("after the repair: %v, %+v", err, r.status().Reload)
	}
}

func TestADrasticChangeOnDiskWaitsForAConfirmation(t *testing.T) {
	other := strings.Replace(one("live", 4), "name: train", "name: other", 1)
	for name, c := range map[string]struct {
		next string
		held bool
	}{
		"the policy is gone":        {nothing, true},
		"the policy is renamed":     {other, true},
		"less than half the target": {one("live", 1), true},
		"nothing is wanted":         {one("live", 0), true},
		"half the target":           {one("live", 2), false},
		"a ceiling for none":        {strings.Replace(one("live", 4), "0.80", "0.08", 1), true},
		"a cap for one":             {one("live", 4) + "budget: {max_hourly: 0.60}\n", true},
		"a little lower ceiling":    {strings.Replace(one("live", 4), "0.80", "0.75", 1), false},
		"more":                      {one("live", 8), false},
	} {
		r := newRig(t, one("live", 4))
		for range 3 {
			r.turn()
		}
		if n := len(r.market.machines); n != 4 {
			t.Fatalf("%d machines", n)
		}
		r.write(c.next)
		if err := r.Reload(false); err != nil {
			t.Fatal(err)
		}
		changed := string(r.current().Raw) == c.next
		if s := r.status(); (s.Reload.Held != "") != c.held || changed == c.held || (testutil.ToFloat64(r.metrics.reloadHld) == 1) != c.held {
			t.Errorf("%s: changed %v, %+v", name, changed, s.Reload)
		}
		if err := r.Reload(true); err != nil {
			t.Fatal(err)
		}
		if s := r.status(); string(r.current().Raw) != c.next || s.Reload.Held != "" || testutil.ToFloat64(r.metrics.reloadHld) != 0 {
			t.Errorf("%s: confirmed, and %+v", name, s.Reload)
		}
	}
}

func TestWithoutMachinesNothingIsDrastic(t *testing.T) {
	r := newRig(t, one("live", 4))
	r.write(nothing)
	if err := r.Reload(false); err != nil || r.status().Reload.Held != "" || len(r.current().Set.Policies) != 0 {
		t.Errorf("%v, %+v", err, r.status().Reload)
	}
}

func TestWhatARunningProcessCannotChangeStaysAndIsToldSo(t *testing.T) {
	r := newRig(t, one("live", 1))
	was := r.current().Set.Daemon
	r.write(strings.Replace(one("live", 2), `ledger: ledger.db, listen: ""`,
		`ledger: other.db, listen: "127.0.0.1:1", owner: me, log_level: error, log_format: console, schedule: "@every 5m"`, 1))
	if err := r.Reload(true); err != nil {
		t.Fatal(err)
	}
	is := r.current().Set.Daemon
	if is.Schedule != "@every 5m" {
		t.Errorf("the schedule stayed %s", is.Schedule)
	}
	is.Schedule = was.Schedule
	if is != was {
		t.Errorf("%+v became %+v", was, is)
	}
	if n := r.logged("this key changes only with a restart"); n != 5 {
		t.Errorf("%d warnings, want 5", n)
	}
}

func TestGoingToDryRunTakesTheWriterAway(t *testing.T) {
	r := newRig(t, one("live", 2))
	if !r.writer || r.connection().Writer == nil {
		t.Fatal("no writer to begin with")
	}
	r.write(one("dry-run", 2))
	if err := r.Reload(false); err != nil {
		t.Fatal(err)
	}
	if r.connection().Writer != nil || r.connect != 2 {
		t.Error("the writer is still there")
	}
	if rep := r.turn(); rep.Mode != policy.DryRun || len(rep.Plan.Actions) != 2 || len(r.market.writes()) != 0 {
		t.Errorf("%+v; sent %q", rep.Plan.Actions, r.market.writes())
	}
	if n := r.logged("would act"); n != 2 {
		t.Errorf("%d lines say what would be done", n)
	}
}

// What the cycle under way has planned under the old file, with the old writer and
// the old caps, is not carried out.
func TestAReloadEndsThePlanOfTheCycleUnderWay(t *testing.T) {
	for name, next := range map[string]string{
		"to dry-run":     one("dry-run", 4),
		"to a lower cap": one("live", 4) + "budget: {max_hourly: 0.60}\n",
	} {
		r := newRig(t, one("live", 4))
		plain := r.market
		r.market.hosts = func() ([]market.Host, error) {
			plain.hosts = nil
			r.write(next)
			if err := r.Reload(true); err != nil {
				t.Fatal(err)
			}
			return plain.Hosts(context.Background())
		}
		if rep := r.turn(); len(rep.Plan.Actions) != 4 || len(r.market.writes()) != 0 {
			t.Errorf("%s: planned %d, sent %q", name, len(rep.Plan.Actions), r.market.writes())
		}
		h, err := r.o.Ledger.History()
		if err != nil || h.Reserved() != 0 {
			t.Errorf("%s: %s reserved, %v", name, h.Reserved(), err)
		}
	}
}

func TestAReloadToDryRunEndsADestroyUnderWay(t *testing.T) {
	r := newRig(t, one("live", 1))
	r.turn()
	name := "tds-main-train-abcd2345"
	r.market.machines["late"] = market.Instance{ID: "late", Name: name, API: market.V0, Status: market.StatusRunning, Host: "host"}
	r.market.hosts = func() ([]market.Host, error) { // while destroy looks for more
		r.market.hosts = nil
		r.write(one("dry-run", 1))
		if err := r.Reload(true); err != nil {
			t.Fatal(err)
		}
		return r.market.Hosts(context.Background())
	}
	done, err := r.Destroy(context.Background(), "train", "test")
	if err != nil || len(done) != 2 {
		t.Fatalf("%+v, %v", done, err)
	}
	for _, d := range done {
		if late := d.Machine == name; late != (d.Outcome == "failed") {
			t.Errorf("%+v", d)
		}
	}
	if w := r.market.writes(); len(w) != 2 || w[1] != "delete id-1" {
		t.Errorf("%q", w)
	}
}

func TestThePauseFileIsAPauseThatThePlanTells(t *testing.T) {
	var file string
	r := newRig(t, one("live", 2), func(o *Options) {
		file = o.Config.Path + ".pause"
		o.PauseFile = file
	})
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rep := r.turn()
	if len(rep.Plan.Actions) != 0 || len(rep.Plan.Holds) != 1 || rep.Plan.Holds[0].Reason.Code != plan.HoldPaused {
		t.Errorf("%+v", rep.Plan)
	}
	if h, err := r.o.Ledger.History(); err != nil || len(h.Pauses) != 0 {
		t.Errorf("the file was written into the books: %+v, %v", h.Pauses, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if r.turn(); len(r.market.writes()) != 2 {
		t.Errorf("sent %q", r.market.writes())
	}
}

func TestOnlyAChangedConnectionIsMadeAnew(t *testing.T) {
	r := newRig(t, one("live", 2))
	r.write(one("live", 3))
	if err := r.Reload(true); err != nil || r.connect != 1 {
		t.Errorf("connected %d times: %v", r.connect, err)
	}
	r.write(one("live", 3) + "tensordock: {marketplace_rps: 2}\n")
	if err := r.Reload(true); err != nil || r.connect != 2 {
		t.Errorf("connected %d times: %v", r.connect, err)
	}
	if c := r.current(); c.Key.Reveal() != "k" || c.Token.Reveal() != "t" {
		t.Error("the credentials were lost")
	}
}

func TestCredentialsInFilesAreReadAnew(t *testing.T) {
	config := one("live", 1) + "tensordock: {api_key_file: key, api_token_file: token}\n"
	r := newRig(t, config)
	put(t, r.dir, "key", "k")
	put(t, r.dir, "token", "t")
	if err := r.Reload(true); err != nil || r.connect != 1 {
		t.Errorf("the same credentials: connected %d times, %v", r.connect, err)
	}
	put(t, r.dir, "token", "rotated")
	if err := r.Reload(true); err != nil || r.connect != 2 || r.current().Token.Reveal() != "rotated" {
		t.Errorf("a new token: connected %d times, %v", r.connect, err)
	}
	put(t, r.dir, "token", "")
	if err := r.Reload(true); !errors.Is(err, ErrCredentials) || r.current().Token.Reveal() != "rotated" {
		t.Errorf("an empty token: %v", err)
	}
}

func TestManyReloadsAtOnceEndWithWhatTheFileSays(t *testing.T) {
	r := newRig(t, one("live", 1))
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() { _ = r.Reload(i%2 == 0) }) // a file half written is refused, which is right
		if i%3 == 0 {
			r.write(one("live", i+1))
		}
		wg.Go(func() { _, _ = r.Status() })
	}
	wg.Wait()
	if err := r.Reload(true); err != nil || r.current().Set.Policies[0].Target != 28 {
		t.Errorf("%v, target %d", err, r.current().Set.Policies[0].Target)
	}
}

// watching runs Watch under synctest, where time is the bubble's.
func watching(t *testing.T, config string, f func(r *rig, hint func())) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, config, func(o *Options) { o.Clock = clock.System{} })
		ctx, cancel := context.WithCancel(context.Background())
		changed := make(chan struct{}, 1)
		done := make(chan struct{})
		go func() { defer close(done); r.Watch(ctx, changed) }()
		synctest.Wait()
		f(r, func() {
			select {
			case changed <- struct{}{}:
			default:
			}
		})
		cancel()
		<-done
	})
}

func TestAChangeCountsOnceTheFileHasBeenStillForTwoSeconds(t *testing.T) {
	watching(t, one("live", 1), func(r *rig, hint func()) {
		for n := 2; n < 8; n++ { // an editor writes in steps
			r.write(one("live", n))
			hint()
			time.Sleep(stillFor - time.Millisecond)
			synctest.Wait()
			if got := r.current().Set.Policies[0].Target; got != 1 {
				t.Fatalf("taken up after less than two seconds: %d", got)
			}
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if got := r.current().Set.Policies[0].Target; got != 7 {
			t.Errorf("the target is %d after the file was still", got)
		}
	})
}

func TestAHintWithoutAChangeReloadsNothing(t *testing.T) {
	watching(t, one("live", 1), func(r *rig, hint func()) {
		for range 3 {
			hint()
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		if n := r.logged("configuration reloaded"); n != 0 {
			t.Errorf("%d reloads", n)
		}
	})
}

func TestAChangeThatNobodyHintedAtIsFoundWithinTheHour(t *testing.T) {
	watching(t, one("live", 1), func(r *rig, _ func()) {
		r.write(one("live", 5))
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if got := r.current().Set.Policies[0].Target; got != 5 {
			t.Errorf("the target is %d", got)
		}
	})
}

func TestTakingABadOrHeldChangeBackClearsIt(t *testing.T) {
	for _, bad := range []string{"policies: [", nothing} {
		r := newRig(t, one("live", 2))
		for range 3 {
			r.turn()
		}
		synctest.Test(t, func(t *testing.T) {
			// The rig's books stay outside: a bubble cannot wait for a file.
			r.o.Clock = clock.System{}
			ctx, cancel := context.WithCancel(context.Background())
			changed := make(chan struct{}, 1)
			done := make(chan struct{})
			go func() { defer close(done); r.Watch(ctx, changed) }()
			for _, text := range []string{bad, one("live", 2)} {
				r.write(text)
				changed <- struct{}{}
				time.Sleep(10 * time.Second)
				synctest.Wait()
				if settled := !r.unsettled(); settled != (text != bad) {
					t.Errorf("%q: settled %v, %+v", text, settled, r.reload)
				}
			}
			cancel()
			<-done
		})
	}
}

func TestAFileThatIsGoneForAMomentIsNoChange(t *testing.T) {
	watching(t, one("live", 1), func(r *rig, hint func()) {
		if err := os.Remove(r.path()); err != nil {
			t.Fatal(err)
		}
		hint()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if s := r.status(); !s.Reload.Successful {
			t.Errorf("%+v", s.Reload)
		}
		r.write(one("live", 3))
		hint()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := r.current().Set.Policies[0].Target; got != 3 {
			t.Errorf("the target is %d", got)
		}
	})
}

func TestAChangeThatIsTakenBackAfterAReloadByHandIsSeen(t *testing.T) {
	watching(t, one("live", 1), func(r *rig, hint func()) {
		r.write(one("live", 2))
		hint()
		if err := r.Reload(true); err != nil { // before the watch has settled
			t.Fatal(err)
		}
		r.write(one("live", 1))
		hint()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := r.current().Set.Policies[0].Target; got != 1 {
			t.Errorf("the target is %d, the file says 1", got)
		}
	})
}
