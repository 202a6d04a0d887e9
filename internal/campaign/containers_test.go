package campaign

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// replicaOf says which container of ours, and of which policy, a machine of the market
// runs: the market calls it after the container, with a number.
func replicaOf(name string) (policy, container string, ok bool) {
	n, ok := market.ParseMachineName(name)
	i := strings.LastIndexByte(n.Policy, '-')
	if !ok || n.Owner != "main" || i < 0 || len(n.Policy)-i-1 != market.KeyLen || strings.Trim(n.Key, "0123456789") != "" || len(n.Key) > 3 {
		return "", "", false
	}
	return n.Policy[:i], strings.TrimSuffix(name, "-"+n.Key), true
}

// replica is told of everything that happens to a container's machine: there are never
// more than the books hold, none is dearer than its ceiling, and what a write of the
// daemon's own has made fits within the caps.
func (w *world) replica(e simulator.Event, policy, container string) {
	w.till.turn(e, true)
	if e.Kind == simulator.Deleted {
		delete(w.alive, e.Machine)
		return
	}
	w.alive[e.Machine] = e
	if e.Kind != simulator.Deployed {
		return
	}
	w.everBought[container] = true
	h, err := w.ledger.History()
	if err != nil {
		w.wrong(ruleIntent, "a replica came up, and the ledger cannot be read: %v", err)
		return
	}
	c := h.Container(container)
	w.holds(ruleIntent, c != nil, "a replica of %s came up, which is not in the books", container)
	if c == nil {
		return
	}
	n, sum := w.replicasAlive(container)
	w.holds(ruleIntent, n <= c.Most(), "%s has %d replicas at the market, the books hold %d", container, n, c.Most())
	w.holds(ruleCaps, sum <= c.Reserved, "%s costs %s, the books hold %s", container, sum, c.Reserved)
	w.holds(ruleBids, e.Rate.Add(e.Storage) <= c.Ceiling, "a replica of %s costs %s, its ceiling is %s", container, e.Rate.Add(e.Storage), c.Ceiling)
	if w.writing == nil || w.handing || w.writing.verb == "" {
		return
	}
	all, own := w.worst(policy)
	w.holds(ruleCaps, all <= w.set.HourlyCap().Mul(w.daemons), "the fleet may cost %s, max_hourly is %s", all, w.set.HourlyCap())
	if p, ok := w.set.Find(policy); ok {
		if most, known := p.Budget.MaxHourly.Get(); known {
			w.holds(ruleCaps, own <= most, "policy %s may cost %s, its max_hourly is %s", policy, own, most)
		}
		w.holds(ruleIntent, n <= p.Target, "%s has %d replicas, %d are wanted", container, n, p.Target)
	}
}

func (w *world) replicasAlive(container string) (n int, sum market.Rate) {
	for _, o := range w.alive {
		if _, c, is := replicaOf(o.Name); is && c == container {
			n++
			sum = sum.Add(o.Rate).Add(o.Storage)
		}
	}
	return n, sum
}

// reservedContainers: the books hold for each container what its replicas cost.
func (w *world) reservedContainers(r *plan.Report, h *plan.History) {
	for i := range h.Containers {
		c := &h.Containers[i]
		n, sum := w.replicasAlive(c.Name)
		w.holds(ruleOutbid, c.Reserved >= sum, "cycle %d reserves %s for %s, whose %d replicas cost %s", r.Cycle, c.Reserved, c.Name, n, sum)
	}
}

// stoppable says whether the daemon could have ended a container then.
func stoppable(c *plan.Container) bool { return c != nil && c.ID != "" && c.Leaving == nil }

// wholeContainers compares the market's replicas of ours with the books.
func (w *world) wholeContainers(h *plan.History) {
	w.Helper()
	for _, m := range w.engine.Fleet() {
		if _, container, is := replicaOf(m.Name); is && m.Deleted.IsZero() && h.Container(container) == nil {
			w.Errorf("leaked: %s runs and its container is not in the books", m.Name)
		}
	}
	for _, c := range h.Containers {
		n, _ := w.replicasAlive(c.Name)
		if want, known := c.Wanted(); c.Alarm != "" || !known || n != want {
			w.Errorf("the books have %+v, the market %d replicas", c, n)
		}
	}
}

// web wants replicas of a container.
func web(replicas int, more string) string {
	return fmt.Sprintf(`
version: 1
daemon: {schedule: "@every 1m", mode: live, ledger: ledger.db, listen: ""}
tensordock: {marketplace_rps: 100}
%s
policies:
  - name: web
    kind: container
    target: {replicas: %d}
    shape: {gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 50}
    max_gpu_hour: 1.50
    image: example/server:1
    match: {gpu_models: ["*a5000*"]}
`, more, replicas)
}

func (w *world) replicas() (running, all int) {
	for _, m := range w.engine.Fleet() {
		if m.Container != "" && m.Deleted.IsZero() {
			all++
			if m.Status == market.StatusRunning {
				running++
			}
		}
	}
	return running, all
}

// haveReplicas wants so many. One that no list of machines shows counts as ready as soon
// as it has an address.
func (w *world) haveReplicas(n int, listed bool) {
	w.Helper()
	if running, all := w.replicas(); all != n || listed && running != n {
		w.Errorf("%d of %d replicas run, want %d", running, all, n)
	}
}

func (w *world) scalings() (sent int) {
	for _, op := range w.wire.writesSent() {
		if strings.HasSuffix(op, "/container/scale") {
			sent++
		}
	}
	return sent
}

func meanings() []simulator.ScaleMeaning {
	return []simulator.ScaleMeaning{simulator.ScaleAbsolute, simulator.ScaleDelta}
}

func TestAContainerIsLearntScaledAndStoppedWhicheverWayTheMarketReadsTheNumber(t *testing.T) {
	for i, listing := range []simulator.ReplicaListing{simulator.ReplicasHidden, simulator.ReplicasHidden, simulator.ReplicasNamed, simulator.ReplicasNameless} {
		meaning := meanings()[i%2]
		t.Run(string(meaning)+" "+string(listing), func(t *testing.T) {
			w := newWorld(t, plot{config: web(3, ""), scale: meaning, sim: simulator.Options{Scenario: field(3), Boot: sure(), Replicas: listing}})
			w.stranger("my own server", hostID(3), a5000, 0)
			w.settle(time.Hour)
			w.haveReplicas(3, listing != simulator.ReplicasHidden)
			if got := w.last.Input.History.Scaling.Meaning; string(got) != string(meaning) {
				t.Errorf("learnt %q", got)
			}
			if n := w.scalings(); n != 2 {
				t.Errorf("%d requests to scale, want one to learn and one to grow", n)
			}
			sent := len(w.wire.writesSent())
			w.pass(2 * time.Hour)
			w.restart()
			w.pass(time.Hour)
			if more := len(w.wire.writesSent()) - sent; more != 0 {
				t.Errorf("a satisfied fleet was sent %d more writes", more)
			}
			for _, n := range []int{5, 2, 4} {
				w.write(web(n, ""))
				w.must(w.reload(true))
				w.settle(time.Hour)
				w.haveReplicas(n, listing != simulator.ReplicasHidden)
			}
			w.whole()
			if _, err := w.daemon.Destroy(w.Context(), "web", "test"); err != nil {
				t.Error(err)
			}
			w.pass(10 * time.Minute)
			if _, all := w.replicas(); all != 0 || len(w.last.Input.History.Containers) != 0 {
				t.Errorf("%d replicas are left, the books have %+v", all, w.last.Input.History.Containers)
			}
			w.whole()
			w.end()
		})
	}
}
