package campaign

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// envNumber reads a number from the environment: longer campaigns are run by
// hand with TDSCALER_CAMPAIGN_SEEDS, _FROM (the first seed) and _HOURS.
func envNumber(t testing.TB, name string, fallback int) int {
	text := os.Getenv("TDSCALER_CAMPAIGN_" + name)
	if text == "" {
		return fallback
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("TDSCALER_CAMPAIGN_%s: %v", name, err)
	}
	return n
}

// mixed is a fleet of three policies under one cap.
const mixed = `
version: 1
daemon: {schedule: "@every 2m", mode: %s, ledger: ledger.db, listen: "", watch: 0s}
tensordock: {marketplace_rps: 50}
budget: {max_hourly: 3.50}
policies:
  - name: train
    target: {gpus: 6}
    shape: {gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 60}
    match: {min_vram_gb: 16}
    max_gpu_hour: 0.40
  - name: pair
    target: {instances: 1}
    shape: {gpus: 2, vcpus: 8, ram_gb: 32, storage_gb: 60}
    max_gpu_hour: 0.35
    spread: {max_share: 0.5}
  - name: serve
    capacity: on_demand
    priority: 10
    target: {gpus: 2}
    shape: {gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 60}
    max_gpu_hour: 0.45
    ssh_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvciB0ZXN0cyBvbmx5IGZvciB0ZXN0cyBvbmx5IG9r me@here
`

// faultPlan makes a fault plan: every kind now and then, and some of them for an
// hour at a time. Lists are never staler than safety.unknown_age: an order whose
// answer was lost and that no list of that time shows is given up, by design.
func faultPlan(rng *rand.Rand, hours int) string {
	everyday := []string{
		"lost:deploy:0.15", "lost_request:deploy:0.05", "late500:deploy:0.05", "late_html:deploy:0.05", "html500:*:0.02", "html200:*:0.02",
		"429:*:0.01", "429_retry=40:*:0.01", "json500:*:0.02", "empty:list:0.05", "stale:list:0.05", "partial:list:0.05",
		"duplicate:list:0.01", "string_success:*:0.3", "no_success:*:0.1", "string_numbers:*:0.2", "price_move:validate:0.05",
		"never_up:deploy:0.1", "slow=200s:*:0.01", "truncate:*:0.01", "lost:delete:0.1", "lost:modify:0.1", "lost:validate_existing:0.1",
		"late500:delete:0.1", "status:list:0.02", "no_balance:balance:0.05", "202:*:0.05", "singular:get:0.3", "empty:hostnodes:0.05",
		"partial:hostnodes:0.05", "bad_balance=0:balance:0.02", "lost:*:0.01", "auth:*:0.005", "no_gpu_count:list:0.1", "no_gpu_count:get:0.2", "status:get:0.1",
		"drop=name:list:0.05", "drop=status:list:0.05", "drop=id:list:0.05", "drop=specs:hostnodes:0.03", "drop=server:deploy:0.1", "extra:*:0.1", "more:list:0.05",
		"drop=name:v2_list:0.1", "more:v2_list:0.1",
		"empty:v2_list:0.1", "stale=6:v2_list:0.2", "partial:v2_list:0.1", "json500:v2_*:0.1", "html200:v2_*:0.1", "status:v2_*:0.05", "lost:v2_delete:0.2",
		"lost:v2_create:0.15", "lost_request:v2_create:0.05", "late500:v2_create:0.05", "lost:deploy_instant:0.15", "late500:deploy_instant:0.05", "never_up:deploy_instant:0.1",
		"empty:instants:0.05", "stale=3:instants:0.1", "partial:instants:0.05", "lost:v2_modify:0.2", "lost_request:v2_modify:0.1", "late500:v2_modify:0.1",
		"lost:v2_st*:0.15", "lost_request:v2_st*:0.1", "lost:start:0.15", "lost:stop:0.15", "slow=10m:v2_list:0.05",
	}
	spells := []string{"empty:list:1", "partial:list:1", "stale=4:list:1", "html500:*:1", "lost:deploy:1", "empty:hostnodes:1", "late500:deploy:1", "html200:get:1", "json500:get:1", "no_gpu_count:list:1", "status:get:1", "json500:v2_*:1", "empty:v2_list:1", "auth:v2_*:1", "drop=name:list:1", "drop=virtualmachines:list:1", "more:list:1", "slow=10m:v2_*:1"}
	var plan []string
	for _, f := range everyday {
		if rng.Float64() < 0.5 {
			plan = append(plan, f)
		}
	}
	for range 3 + hours/12 {
		from := rng.IntN(hours * 45)
		plan = append(plan, fmt.Sprintf("%s:%dm-%dm", spells[rng.IntN(len(spells))], from, from+5+rng.IntN(55)))
	}
	return strings.Join(plan, ",")
}

// troubled is a world where everything goes wrong that can.
func troubled(t testing.TB, seed uint64, mode string) *world {
	rng := rand.New(rand.NewPCG(seed, 1))
	regimes := []simulator.Regime{simulator.Reactive, simulator.Quiet, simulator.TraceDriven}
	rebids := []simulator.RebidMode{simulator.ByModify, simulator.ByValidateExisting, simulator.Never}
	jitter := rand.New(rand.NewPCG(seed, 5))
	w := newWorld(t, plot{
		jitter: jitter.Float64, ledger: fmt.Sprintf("%032x", seed),
		config: fmt.Sprintf(mixed, mode), faults: faultPlan(rng, envNumber(t, "HOURS", 3)),
		shape: []simulator.Shape{simulator.Real, simulator.Seed}[rng.IntN(2)],
		sim: simulator.Options{
			Seed: seed, Hosts: 14, Regime: regimes[rng.IntN(3)], RebidApplies: rebids[rng.IntN(3)], SpotShownFree: rng.Float64(),
		},
	})
	w.wire.echo = func(op string) bool { return rng.Float64() < 0.01 }
	neighbours(w)
	return w
}

// neighbours puts machines of others into the account: one by hand, one of
// another owner whose name begins like ours.
func neighbours(w *world) {
	w.Helper()
	for _, name := range []string{"my own server", "tds-main2-train-abcd1234"} {
		for _, h := range w.engine.Hosts() {
			if len(h.GPUs) > 0 && h.GPUs[0].Free > 0 && h.Online && h.Listed {
				o := market.Order{Name: name, Host: h.ID, Model: h.GPUs[0].Model, Shape: market.Shape{GPUs: 1, VCPUs: 2, RAM: 4, Storage: 40}}
				if w.tryStranger(o) == nil {
					break
				}
			}
		}
	}
	if len(w.hand) != 2 {
		w.Fatal("there was no room for the neighbours")
	}
}

func TestNoFaultMakesItSpendMoreBuyTwiceLeakOrTouchWhatIsNotOurs(t *testing.T) {
	first, hours := uint64(envNumber(t, "FROM", 1)), envNumber(t, "HOURS", 3)
	for seed := first; seed < first+uint64(envNumber(t, "SEEDS", 3)); seed++ {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			t.Parallel()
			w := troubled(t, seed, "live")
			w.pass(time.Duration(hours) * time.Hour)
			w.calm()
			converge(w)
			w.whole()
			w.end()
		})
	}
}

// TestFaultsCrashesAndOperatorsAllAtOnce adds to the faults what people and
// machines do: the process dies, the file changes, somebody pauses, resumes,
// destroys, and the clock jumps.
func TestFaultsCrashesAndOperatorsAllAtOnce(t *testing.T) {
	first, hours := uint64(envNumber(t, "FROM", 1)), envNumber(t, "HOURS", 3)
	for seed := first; seed < first+uint64(envNumber(t, "SEEDS", 3)); seed++ {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			t.Parallel()
			f := &fuse{death: func() { panic(errKilled) }}
			w := troubled(t, seed, "live")
			w.plot.clock = func(c clock.Clock) clock.Clock { return mortal{c, f} }
			w.wire.before = func(op string) { f.point("before " + op) }
			w.wire.after = func(op string) { f.point("after " + op) }
			w.restart()
			rng := rand.New(rand.NewPCG(seed, 2))
			for end := epoch.Add(time.Duration(hours) * time.Hour); w.clock.Now().Before(end); {
				w.pass(time.Duration(rng.IntN(30)) * time.Minute)
				w.disturb(f, rng)
			}
			w.calm()
			_, _, err := daemon.Resume(w.ledger, "")
			w.must(err)
			converge(w)
			w.whole()
			w.end()
		})
	}
}

// disturb does one of the things that people and machines do.
func (w *world) disturb(f *fuse, rng *rand.Rand) {
	w.Helper()
	switch rng.IntN(8) {
	case 0, 1: // the process dies somewhere in a cycle
		f.at, f.points = 1+rng.IntN(120), 0
		w.live(f, 3)
		w.restart()
	case 2:
		text := fmt.Sprintf(mixed, "live")
		text = strings.Replace(text, "gpus: 6", fmt.Sprintf("gpus: %d", rng.IntN(7)), 1)
		w.write(text)
		w.must(w.reload(rng.IntN(2) == 0))
	case 3:
		w.pause(plan.Pause{Policy: []string{"", "train", "serve"}[rng.IntN(3)], Reason: "test"})
	case 4:
		_, _, err := daemon.Resume(w.ledger, "")
		w.must(err)
	case 5:
		_, _ = w.daemon.Destroy(w.Context(), "train", "test") // what a fault hides from it, the teardown goes on with
	case 6: // an NTP step, back or forth
		w.clock.Set(w.clock.Now().Add(time.Duration(rng.IntN(40)-20) * time.Minute))
	case 7:
		w.clock.Set(w.clock.Now().Add(time.Duration(rng.IntN(600)) * time.Minute))
	}
}

// converge lets the books come to rest on a market without faults: every policy
// satisfied, or short of offers or money, and nothing pending.
func converge(w *world) {
	w.Helper()
	w.pass(2 * time.Hour) // backoffs and breakers end
	end := w.clock.Now().Add(6 * time.Hour)
	w.must(w.run(func(r plan.Report) bool { return resting(w, &r) || r.FinishedAt.After(end) }))
	if !resting(w, &w.last) {
		w.Errorf("after six hours without faults: %+v\nholds %+v\nproblem %q", w.last.Plan.Standings, w.last.Plan.Holds, w.last.Problem)
	}
}

func resting(w *world, r *plan.Report) bool {
	return w.openIntents() == 0 && len(r.Intents) == 0 && r.Problem == "" && contentOrStarved(w, r)
}

// contentOrStarved: what is missing is missing for want of offers or money alone.
func contentOrStarved(w *world, r *plan.Report) bool {
	starved := map[string]bool{}
	for _, h := range r.Plan.Holds {
		if p, ok := w.set.Find(h.Policy); ok && p.Kind == policy.Container && (h.Reason.Code == plan.HoldBooting || h.Reason.Code == plan.HoldScale) {
			starved[h.Policy] = true // the market has no room
		}
		switch h.Reason.Code {
		case plan.HoldNoOffer, plan.HoldSpread, plan.HoldBudget, plan.HoldBalance:
			starved[h.Policy] = true
		}
	}
	for _, s := range r.Plan.Standings {
		if !s.Satisfied && !starved[s.Policy] || s.Ready+s.Booting+s.Dead > s.Target {
			return false
		}
	}
	return true
}

func TestADryRunSendsNoWriteWhateverHappens(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		w := troubled(t, seed, "dry-run")
		w.wire.judge = nil
		w.pass(3 * time.Hour)
		if sent := w.wire.writesSent(); len(sent) != 0 {
			t.Fatalf("seed %d: a dry run sent %q", seed, sent)
		}
		if len(w.engine.Instances()) != 2 {
			t.Errorf("seed %d: a dry run changed the fleet", seed)
		}
		w.end()
	}
}

func TestAPausedDaemonSendsNoWriteWhateverHappens(t *testing.T) {
	for _, pause := range []string{"file", "ledger"} {
		w := troubled(t, 7, "live")
		w.pass(2 * time.Hour)
		if pause == "file" {
			w.must(os.WriteFile(w.dir+"/pause", nil, 0o600))
		} else {
			w.pause(plan.Pause{Reason: "test"})
		}
		sent := len(w.wire.writesSent())
		w.pass(3 * time.Hour)
		if more := w.wire.writesSent()[sent:]; len(more) != 0 {
			t.Errorf("paused by %s, it sent %q", pause, more)
		}
		w.end()
	}
}
