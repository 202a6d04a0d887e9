package campaign

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

const a5000 = market.GPUModel("rtxa5000-pcie-24gb")

// field is a market of equal hosts with four GPUs each, at a dollar a GPU less a
// cent for every next host, with a floor of half of that.
func field(hosts int, rivals ...simulator.Rival) *simulator.World {
	world := &simulator.World{}
	some := func(n int, r market.Rate) market.Component {
		return market.Component{Free: market.Some(n), Price: market.Some(r)}
	}
	for i := range hosts {
		price := market.USD(0, int64(100-i))
		ports := []int{20001, 20002, 20003, 20004, 20005, 20006, 20007, 20008}
		world.Hosts = append(world.Hosts, simulator.WorldHost{
			Host: market.Host{
				ID:       fmt.Sprintf("%08d-0000-4000-8000-000000000000", i+1),
				Location: market.Location{ID: fmt.Sprintf("loc-%d", i), City: fmt.Sprintf("City %d", i), Region: "Region", Country: "Belgium"},
				Online:   true, Listed: true, Uptime: market.Some(0.99),
				CPU: some(64, 0), RAM: some(256, 0), Storage: some(4000, market.Rate(market.Cent)/100),
				GPUs:  []market.HostGPU{{Model: a5000, Free: 4, Price: market.Some(price)}},
				Ports: market.Some(ports),
			},
			Floor: map[market.GPUModel]market.Rate{a5000: price.Scale(1, 2)},
		})
	}
	for i := range rivals {
		rivals[i].Model = a5000
	}
	world.Hosts[0].Rivals = rivals
	return world
}

func hostID(n int) string { return fmt.Sprintf("%08d-0000-4000-8000-000000000000", n) }

// eight wants eight GPUs on spot.
func eight(ceiling string, more string) string {
	return fmt.Sprintf(`
version: 1
daemon: {schedule: "@every 1m", mode: live, ledger: ledger.db, listen: ""}
tensordock: {marketplace_rps: 100}
%s
policies:
  - name: train
    target: {gpus: 8}
    shape: {gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 100}
    max_gpu_hour: %s
`, more, ceiling)
}

func sure() simulator.BootModel { return simulator.BootModel{Median: 2 * time.Minute} }

func TestEightSpotGPUsAreBoughtConfirmedAndKept(t *testing.T) {
	for _, shape := range []simulator.Shape{simulator.Real, simulator.Seed} {
		t.Run(string(shape), func(t *testing.T) {
			w := newWorld(t, plot{config: eight("0.60", "budget: {max_hourly: 4.80}"), shape: shape, sim: simulator.Options{Scenario: field(3), Boot: sure()}})
			w.stranger("my own server", hostID(3), a5000, 0)
			w.stranger("tds-other-train-abcd1234", hostID(3), a5000, 0)
			w.settle(15 * time.Minute)
			sent := len(w.wire.writesSent())
			w.pass(3 * time.Hour)
			if n := w.running("train"); n != 8 {
				t.Errorf("%d GPUs run, want 8", n)
			}
			if more := len(w.wire.writesSent()) - sent; more != 0 {
				t.Errorf("a satisfied fleet was sent %d more writes", more)
			}
			if sent != 8 {
				t.Errorf("it took %d writes to buy eight machines", sent)
			}
			w.whole()
			w.end()
		})
	}
}

func TestAnOutbidMachineIsRaisedWithinTheCeiling(t *testing.T) {
	rival := simulator.Rival{GPUs: 1, Bid: market.USD(0, 55), From: time.Hour}
	w := newWorld(t, plot{config: eight("0.60", ""), sim: simulator.Options{Scenario: field(2, rival, rival, rival, rival), Boot: sure()}})
	w.settle(15 * time.Minute)
	w.pass(70 * time.Minute)
	w.settle(90 * time.Minute)
	if n := w.running("train"); n != 8 {
		t.Errorf("%d GPUs run, want 8", n)
	}
	rebids := 0
	for _, m := range w.engine.Fleet() {
		if len(m.Bids) > 1 {
			rebids++
		}
		if !m.Deleted.IsZero() {
			t.Errorf("%s was deleted although a bid under the ceiling would do: %v", m.Name, m.Bids)
		}
	}
	if rebids == 0 {
		t.Error("no machine was raised")
	}
	w.whole()
	w.end()
}

func TestAMachineOutbidBeyondTheCeilingIsDeletedFirstAndReplacedElsewhere(t *testing.T) {
	for _, mode := range []simulator.RebidMode{simulator.ByModify, simulator.Never} {
		w := newWorld(t, plot{config: eight("0.60", ""), sim: simulator.Options{Scenario: field(3), Boot: sure(), RebidApplies: mode}})
		w.settle(15 * time.Minute)
		// The third host is the cheapest: that is where we are.
		w.must(w.engine.AddRival(hostID(3), simulator.Rival{Model: a5000, GPUs: 4, Bid: market.USD(9, 0)}))
		w.pass(2 * time.Minute)
		w.settle(90 * time.Minute)
		for _, i := range w.engine.Instances() {
			if i.Host == hostID(3) {
				t.Errorf("%s: %s is still where it cannot win", mode, i.Name)
			}
		}
		if n := w.running("train"); n != 8 {
			t.Errorf("%s: %d GPUs run, want 8", mode, n)
		}
		w.whole()
		w.end()
	}
}

func TestWhereNewBidsDoNothingTheMachineIsReplaced(t *testing.T) {
	w := newWorld(t, plot{config: eight("0.70", ""), sim: simulator.Options{Scenario: field(4), Boot: sure(), RebidApplies: simulator.Never}})
	w.settle(15 * time.Minute)
	for range 4 {
		w.must(w.engine.AddRival(hostID(4), simulator.Rival{Model: a5000, GPUs: 1, Bid: market.USD(0, 52)}))
	}
	w.pass(2 * time.Minute)
	w.settle(90 * time.Minute)
	if n := w.running("train"); n != 8 {
		t.Errorf("%d GPUs run, want 8", n)
	}
	if applies, known := w.last.Input.History.RebidApplies.Get(); !known || applies.Holds {
		t.Errorf("it was not learnt that bids do nothing: %v %v", applies, known)
	}
	w.whole()
	w.end()
}

func TestARemovedPolicyIsTornDownWhenAReloadSaysSo(t *testing.T) {
	w := newWorld(t, plot{config: eight("0.60", "limits: {max_actions_per_cycle: 3}"), sim: simulator.Options{Scenario: field(3), Boot: sure()}})
	w.stranger("my own server", hostID(3), a5000, 0)
	w.settle(30 * time.Minute)
	w.write("version: 1\ndaemon: {mode: live, ledger: ledger.db, listen: \"\"}\npolicies: []\n")
	w.must(w.reload(false))
	w.pass(10 * time.Minute)
	if n := w.gpus("train"); n != 8 {
		t.Fatalf("a change on disk alone tore down to %d GPUs", n)
	}
	w.must(w.reload(true))
	most := 0
	w.must(w.run(func(r plan.Report) bool {
		most = max(most, len(r.Intents))
		return w.gpus("train") == 0 && len(r.Input.History.Machines) == 0
	}))
	if most > 20 {
		t.Errorf("%d actions in one cycle", most)
	}
	w.pass(2 * time.Minute)
	w.whole()
	w.end()
}

func TestALowerCeilingReplacesWhatIsTooDear(t *testing.T) {
	w := newWorld(t, plot{config: eight("0.60", ""), sim: simulator.Options{Scenario: field(4), Boot: sure()}})
	w.settle(15 * time.Minute)
	w.write(eight("0.50", ""))
	w.must(w.reload(true))
	w.settle(30 * time.Minute)
	for _, m := range w.engine.Instances() {
		if rate := m.Compute.Or(0).Add(m.Storage.Or(0)); rate > market.USD(0, 50) {
			t.Errorf("%s costs %s, above the ceiling", m.Name, rate)
		}
	}
	w.whole()
	w.end()
}

func TestTheHourlyCapLeavesATargetUnmetAndSaysSo(t *testing.T) {
	w := newWorld(t, plot{config: eight("0.60", "budget: {max_hourly: 2.00}"), sim: simulator.Options{Scenario: field(3), Boot: sure()}})
	w.pass(time.Hour)
	if n := w.running("train"); n < 3 || n >= 8 {
		t.Errorf("%d GPUs run under a cap for 3 or 4", n)
	}
	held := false
	for _, h := range w.last.Plan.Holds {
		held = held || h.Reason.Code == plan.HoldBudget
	}
	if !held {
		t.Errorf("no hold names the budget: %+v", w.last.Plan.Holds)
	}
	w.whole()
	w.end()
}

func TestWhatAListHidesForAnHourIsNotBoughtAgain(t *testing.T) {
	for name, faults := range map[string]string{
		"all of it, right after the order":   "empty:list:1:30s-60m",
		"half of it, after a lost answer":    "lost:deploy:n2,partial:list:1:30s-60m",
		"all, after an answer was lost":      "lost:deploy:n2,empty:list:1:30s-60m",
		"all, and asking does not work":      "empty:list:1:6m-60m,html200:get:1:6m-60m",
		"what is new, for nine calls":        "stale=9:list:1:30s-60m",
		"what its machines are called":       "lost:deploy:n2,drop=name:list:1:30s-60m",
		"where the machines stand in it":     "lost:deploy:n2,drop=virtualmachines:list:1:30s-60m",
		"half of it, on another page":        "lost:deploy:n2,partial:list:1:30s-60m,more:list:1:30s-60m",
		"half of it, while it is being sold": "lost:deploy:0.3,partial:list:0.5:0s-60m,stale:list:0.3:0s-60m",
	} {
		w := newWorld(t, plot{config: eight("0.60", ""), faults: faults, sim: simulator.Options{Scenario: field(3), Boot: sure()}})
		w.pass(90 * time.Minute)
		w.settle(30 * time.Minute)
		if made := len(w.engine.Fleet()); made != 8 {
			t.Errorf("%s: %d machines were made for eight", name, made)
		}
		w.whole()
		w.end()
	}
}

func TestAnEmptyAccountBuysNothingAndRecoversWithADeposit(t *testing.T) {
	config := strings.Replace(few(3), "@every 1m", "@every 5m", 1) // days go by here
	w := newWorld(t, plot{config: config, sim: simulator.Options{Scenario: field(2), Boot: sure(), Balance: 4 * market.Dollar}})
	w.settle(30 * time.Minute)
	w.pass(4 * time.Hour)
	sent := len(w.wire.writesSent())
	if n := w.running("train"); n != 0 {
		t.Fatalf("%d GPUs run on an empty account", n)
	}
	w.pass(100 * time.Hour) // the market deletes what is not paid for
	if more := w.wire.writesSent()[sent:]; len(more) != 0 {
		t.Errorf("without money it sent %q", more)
	}
	w.engine.Deposit(50 * market.Dollar)
	w.settle(3 * time.Hour)
	if n := w.running("train"); n != 3 {
		t.Errorf("%d GPUs run after the deposit", n)
	}
	w.whole()
	w.end()
}

func TestAHostThatLeavesTheMarketKeepsItsMachinesAndGetsNoNewOnes(t *testing.T) {
	w := newWorld(t, plot{config: few(3), sim: simulator.Options{Scenario: field(2), Boot: sure()}})
	w.settle(30 * time.Minute)
	w.must(w.engine.SetHost(hostID(2), false, false))
	sent := len(w.wire.writesSent())
	w.pass(2 * time.Hour)
	for _, more := range w.wire.writesSent()[sent:] { // their bids may be found too high
		if !strings.Contains(more, "/validate/existing") && !strings.Contains(more, "/modify/") {
			t.Errorf("machines that run were touched: %q", more)
		}
	}
	w.whole()
	w.end()
}

func TestASecondLifeWithoutALedgerAdoptsWhatIsThere(t *testing.T) {
	w := newWorld(t, plot{config: few(4), sim: simulator.Options{Scenario: field(3), Boot: sure()}})
	w.stranger("tds-other-train-abcd1234", hostID(3), a5000, 0)
	w.settle(30 * time.Minute)
	w.halt()
	w.must(os.Remove(w.ledger.Path()))
	w.start()
	w.settle(30 * time.Minute)
	if made := len(w.engine.Fleet()); made != 5 {
		t.Errorf("%d machines were made, want four of ours and the stranger's", made)
	}
	w.whole()
	w.end()
}

func TestWhatIsDestroyedBeforeAnyLookShowedItLeavesNothingOpen(t *testing.T) {
	for _, faults := range []string{"", "lost:delete:n1", "lost:deploy:n2", "lost_request:deploy:n2", "empty:list:n2-4"} {
		w := newWorld(t, plot{config: few(3), faults: faults, sim: simulator.Options{Scenario: field(2), Boot: sure()}})
		w.must(w.run(func(plan.Report) bool { return true }))
		// What could not be seen or answered is told, and the teardown goes on with it.
		if _, err := w.daemon.Destroy(w.Context(), "train", "test"); err != nil {
			t.Logf("%q: %v", faults, err)
		}
		w.pass(20 * time.Minute)
		if n := w.gpus("train"); n != 0 {
			t.Errorf("%q: %d GPUs are left", faults, n)
		}
		w.whole()
		w.end()
	}
}
