package campaign

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
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
	if e.Kind != simulator.Deployed || w.handing {
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
	if w.writing == nil || !strings.Contains(w.writing.verb, "/container/") {
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
	if m := string(h.Scaling.Meaning); m != "" && w.plot.scale != "" {
		w.holds(ruleConfirmed, m == string(w.plot.scale), "cycle %d has learnt %s of a market that means %s", r.Cycle, m, w.plot.scale)
	}
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
	wanted := map[string]int{}
	for _, c := range w.engine.Containers() {
		wanted[c.ID] = c.Wanted
	}
	for _, c := range h.Containers {
		is, exists := wanted[c.ID]
		if want, known := c.Wanted(); c.Alarm != "" || !exists || known && is != want || is > c.Most() {
			w.Errorf("the books have %+v, the market %d of %v", c, is, wanted)
		}
		delete(wanted, c.ID)
	}
	if len(wanted) > 0 {
		w.Errorf("containers that the books do not have: %v", wanted)
	}
}

// openIntents counts those that are not settled, but for containers whose replicas the
// market has no room for.
func (w *world) openIntents() (n int) {
	open, err := w.ledger.Intents(ledger.Filter{OpenOnly: true})
	w.must(err)
	for _, in := range open {
		if !in.Kind.Contains() {
			n++
		}
	}
	return n
}

// containerFaults are what goes wrong with the calls about containers, where the seed
// has any.
func (s *simulation) containerFaults() string {
	if !s.wish.boxes {
		return ""
	}
	return ",lost:container_deploy:0.15,no_id:container_deploy:0.25,lost_request:container_deploy:0.1,late_html:container_deploy:0.05,html200:container_deploy:0.1" +
		",lost:container_scale:0.2,lost_request:container_scale:0.1,late_html:container_scale:0.05,late500:container_scale:0.05,lost:container_stop:0.2,html200:container_stop:0.1" +
		",empty:replicas:0.05,partial:replicas:0.03,html200:replicas:0.05,json500:replicas:0.05,html200:replicas:1:9h-10h,empty:replicas:1:14h-14h30m"
}

// loseReplica ends a replica's machine: the market brings up another.
func (s *simulation) loseReplica() bool {
	for _, m := range s.engine.Fleet() {
		if m.Container != "" && m.Deleted.IsZero() {
			return s.byHand(func() error { return s.engine.Delete(m.ID) }) == nil
		}
	}
	return false
}

// tellOfContainers is the operator who answers the alarms of containers, half an hour
// later, with what the dashboard shows.
func (s *simulation) tellOfContainers() {
	if s.busy || s.disk.full || s.unreachable {
		return
	}
	s.busy = true
	defer func() { s.busy = false }()
	now := s.clock.Now().Add(s.skew)
	late := func(since time.Time) bool { return s.calmd || now.Sub(since) >= 30*time.Minute }
	h := s.last.Input.History
	for i := range h.Containers {
		c := &h.Containers[i]
		if c.Alarm == "" || !late(c.AlarmAt) {
			continue
		}
		word := daemon.Adoption{Policy: c.Policy, None: true}
		for _, is := range s.engine.Containers() {
			if is.Name == c.Name {
				word = daemon.Adoption{Policy: c.Policy, ID: is.ID, Replicas: is.Wanted}
			}
		}
		if word.ID != "" && word.Replicas == 0 {
			continue
		}
		_, err := s.daemon.AdoptContainer(s.Context(), word)
		s.entry(s.clock.Now(), "the operator says of %s: %+v (%v)", c.Policy, word, err)
		s.kinds["container_adopted"]++
	}
	s.beginAnew(now, &h)
}

// beginAnew is what an operator does of whose container it is not known how to scale it.
func (s *simulation) beginAnew(now time.Time, h *plan.History) {
	switch {
	case s.anew && len(h.Containers) == 0:
		_, _, err := daemon.Resume(s.ledger, "web")
		s.anew = err != nil
	case s.anew || !held(&s.last, plan.HoldUnlearnt):
		s.unlearnt = time.Time{}
	case s.unlearnt.IsZero():
		s.unlearnt = now
	case s.calmd || now.Sub(s.unlearnt) >= 30*time.Minute:
		s.anew = daemon.SetPause(s.ledger, plan.Pause{Policy: "web", Since: now, Teardown: true}) == nil
	}
}

// web wants replicas of a container.
func web(replicas int, more string) string {
	return fmt.Sprintf(`
version: 1
daemon: {schedule: "@every 1m", mode: live, ledger: ledger.db, listen: "", watch: 0s}
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

func TestWhatBecomesOfALostAnswerIsFoundOutAndNeverRepeated(t *testing.T) {
	for i, c := range []struct{ faults string }{
		{"lost:container_scale:n1"},
		{"lost_request:container_scale:n1"},
		{"late_html:container_scale:n1"},
		{"lost:container_scale:n2"},
		{"lost_request:container_scale:n2"},
		{"html200:container_scale:n2"},
		{"late500:container_scale:n2,html200:replicas:0.3"},
		{"lost:container_scale:0.5,empty:replicas:0.2,partial:replicas:0.2,html500:replicas:0.2"},
	} {
		for _, meaning := range meanings() {
			listing := []simulator.ReplicaListing{simulator.ReplicasHidden, simulator.ReplicasNamed, simulator.ReplicasNameless}[i%3]
			t.Run(string(meaning)+" "+c.faults, func(t *testing.T) {
				w := newWorld(t, plot{config: web(3, "budget: {max_hourly: 4.50}"), faults: c.faults, scale: meaning, sim: simulator.Options{Scenario: field(4), Boot: sure(), Replicas: listing}})
				w.pass(4 * time.Hour)
				w.calm()
				w.settle(2 * time.Hour)
				w.haveReplicas(3, listing != simulator.ReplicasHidden)
				w.whole()
				w.end()
			})
		}
	}
}

func TestAContainerOfWhichNobodyKnowsWaitsForAWordAndHoldsItsPlace(t *testing.T) {
	for _, c := range []struct {
		faults  string
		exists  bool
		listing simulator.ReplicaListing
	}{
		{"no_id:container_deploy:n1", true, simulator.ReplicasHidden},
		{"lost:container_deploy:n1", true, simulator.ReplicasNamed},
		{"late_html:container_deploy:n1", true, simulator.ReplicasNameless},
		{"lost_request:container_deploy:n1", false, simulator.ReplicasHidden},
	} {
		t.Run(c.faults, func(t *testing.T) {
			w := newWorld(t, plot{config: web(2, ""), faults: c.faults, sim: simulator.Options{Scenario: field(3), Boot: sure(), Replicas: c.listing}})
			w.stranger("my own server", hostID(3), a5000, 0)
			w.pass(3 * time.Hour)
			sent := w.wire.writesSent()
			if len(sent) != 1 {
				t.Fatalf("without a word it sent %q", sent)
			}
			h := w.last.Input.History
			if len(h.Containers) != 1 || h.Containers[0].Alarm == "" || h.Reserved() != market.USD(1, 50) || !held(&w.last, plan.HoldContainer) {
				t.Fatalf("the books have %+v, holds %+v", h.Containers, w.last.Plan.Holds)
			}
			if spotted := len(h.Containers[0].Suspects) > 0; spotted != (c.exists && c.listing != simulator.ReplicasHidden) {
				t.Errorf("suspects: %v", h.Containers[0].Suspects)
			}
			w.restart()
			word := daemon.Adoption{Policy: "web", None: true}
			if c.exists {
				word = daemon.Adoption{Policy: "web", ID: w.containerID()}
				if _, err := w.daemon.AdoptContainer(w.Context(), daemon.Adoption{Policy: "web", ID: "no-such-id"}); err == nil {
					t.Error("an id that does not exist was taken")
				}
			}
			if _, err := w.daemon.AdoptContainer(w.Context(), word); err != nil {
				t.Fatal(err)
			}
			w.settle(time.Hour)
			w.haveReplicas(2, c.listing != simulator.ReplicasHidden)
			w.whole()
			w.end()
		})
	}
}

func held(r *plan.Report, code string) bool {
	for _, h := range r.Plan.Holds {
		if h.Reason.Code == code {
			return true
		}
	}
	return false
}

// containerID is the id of a container that runs, as the dashboard would show it.
func (w *world) containerID() string {
	for _, m := range w.engine.Fleet() {
		if m.Container != "" && m.Deleted.IsZero() {
			return m.Container
		}
	}
	return ""
}

func TestACapStopsAContainerAndGrowthGoesAsFarAsTheCapsAllow(t *testing.T) {
	w := newWorld(t, plot{config: web(5, "budget: {max_hourly: 4.60}"), sim: simulator.Options{Scenario: field(4), Boot: sure(), Replicas: simulator.ReplicasNamed}})
	w.pass(2 * time.Hour)
	w.haveReplicas(3, true)
	if !held(&w.last, plan.HoldBudget) {
		t.Errorf("no hold names the budget: %+v", w.last.Plan.Holds)
	}
	w.write(web(5, "budget: {max_hourly: 1.00}"))
	w.must(w.reload(true))
	w.pass(10 * time.Minute)
	w.haveReplicas(0, true)
	w.pass(time.Hour)
	w.write(web(5, "budget: {max_hourly: 7.50, max_daily: 20}"))
	w.must(w.reload(true))
	w.pass(30 * time.Hour)
	w.whole()
	w.end()
}

func TestReplicasThatNobodyAskedForRaiseTheAlarmAndAreOnlyWatched(t *testing.T) {
	for _, meaning := range meanings() {
		w := newWorld(t, plot{config: web(2, ""), scale: meaning, sim: simulator.Options{Scenario: field(3), Boot: sure(), Replicas: simulator.ReplicasNameless}})
		w.settle(time.Hour)
		sent := len(w.wire.writesSent())
		w.must(w.byHand(func() error { return w.engine.ScaleContainer(w.containerID(), 4, true) }))
		w.pass(time.Hour)
		if n := len(w.wire.writesSent()); n != sent || !held(&w.last, plan.HoldAlarm) {
			t.Errorf("%s: %d writes more, holds %+v", meaning, n-sent, w.last.Plan.Holds)
		}
		if h := w.last.Input.History; h.Scaling.Meaning != "" || h.Reserved() != market.USD(6, 0) {
			t.Errorf("%s: still believes %+v, %s are reserved", meaning, h.Scaling, h.Reserved())
		}
		if _, err := w.daemon.AdoptContainer(w.Context(), daemon.Adoption{Policy: "web", ID: w.containerID()}); err != nil {
			t.Fatal(err)
		}
		w.pass(10 * time.Minute)
		if !held(&w.last, plan.HoldUnlearnt) || w.last.Input.History.Containers[0].Alarm != "" {
			t.Errorf("%s: after a word, holds %+v", meaning, w.last.Plan.Holds)
		}
		if _, err := w.daemon.Destroy(w.Context(), "web", "test"); err != nil {
			t.Error(err)
		}
		w.pass(5 * time.Minute)
		if _, _, err := daemon.Resume(w.ledger, ""); err != nil {
			t.Error(err)
		}
		w.settle(2 * time.Hour)
		w.haveReplicas(2, true)
		w.whole()
		w.end()
	}
}

func TestAContainerThatEndsAtTheMarketIsOrderedAnew(t *testing.T) {
	w := newWorld(t, plot{config: web(2, ""), faults: "html500:replicas:0.1,empty:list:0.05", sim: simulator.Options{Scenario: field(3), Boot: sure(), Replicas: simulator.ReplicasNamed}})
	w.pass(time.Hour)
	w.must(w.byHand(func() error { return w.engine.StopContainer(w.containerID()) }))
	w.pass(5 * time.Minute)
	if _, all := w.replicas(); all != 0 || len(w.last.Input.History.Containers) != 1 {
		t.Errorf("%d replicas, books %+v: too early to tell", all, w.last.Input.History.Containers)
	}
	w.calm()
	w.pass(5 * time.Minute)
	w.settle(2 * time.Hour)
	w.haveReplicas(2, true)
	w.whole()
	w.end()
}

func TestAChangedContainerIsEndedAndOrderedAnewAndARemovedOneIsEnded(t *testing.T) {
	w := newWorld(t, plot{config: web(2, ""), faults: "lost:container_stop:n1,html200:container_stop:n2", sim: simulator.Options{Scenario: field(3), Boot: sure(), Replicas: simulator.ReplicasHidden}})
	w.settle(time.Hour)
	first := w.containerID()
	w.write(strings.Replace(web(2, ""), "server:1", "server:2", 1))
	w.must(w.reload(true))
	w.pass(5 * time.Minute)
	w.settle(time.Hour)
	if id := w.containerID(); id == first || id == "" {
		t.Errorf("the container is %s, was %s", id, first)
	}
	w.write("version: 1\ndaemon: {mode: live, ledger: ledger.db, listen: \"\"}\npolicies: []\n")
	w.must(w.reload(true))
	w.pass(10 * time.Minute)
	w.haveReplicas(0, false)
	if n := len(w.last.Input.History.Containers); n != 0 {
		t.Errorf("%d containers are in the books", n)
	}
	w.whole()
	w.end()
}

func TestAContainerWhoseReplicasNeverComeUpCostsNothingAndTeachesNothing(t *testing.T) {
	w := newWorld(t, plot{config: web(3, ""), faults: "never_up:container_deploy:1", sim: simulator.Options{Scenario: field(3), Boot: sure()}})
	w.pass(6 * time.Hour)
	if sent := w.wire.writesSent(); len(sent) != 1 || w.last.Input.History.Scaling.Meaning != "" || !held(&w.last, plan.HoldBooting) {
		t.Errorf("sent %q, learnt %+v, holds %+v", sent, w.last.Input.History.Scaling, w.last.Plan.Holds)
	}
	w.end()
}

func TestADryRunOfAContainerWritesNothingAndAPauseHoldsIt(t *testing.T) {
	w := newWorld(t, plot{config: strings.Replace(web(2, ""), "mode: live", "mode: dry-run", 1), sim: simulator.Options{Scenario: field(3), Boot: sure()}})
	w.pass(time.Hour)
	if sent := w.wire.writesSent(); len(sent) != 0 || len(w.last.Plan.Actions) != 1 || w.last.Plan.Actions[0].Kind != plan.ContainerDeploy {
		t.Errorf("sent %q, planned %+v", sent, w.last.Plan.Actions)
	}
	w.write(web(2, ""))
	w.must(w.reload(true))
	w.pause(plan.Pause{Policy: "web"})
	w.pass(30 * time.Minute)
	if sent := w.wire.writesSent(); len(sent) != 0 {
		t.Errorf("while paused it sent %q", sent)
	}
	w.end()
}

func TestALostLedgerDoesNotOrderASecondContainerWhereItsReplicasAreListed(t *testing.T) {
	w := newWorld(t, plot{config: web(2, ""), sim: simulator.Options{Scenario: field(3), Boot: sure(), Replicas: simulator.ReplicasNamed}})
	w.settle(time.Hour)
	sent := len(w.wire.writesSent())
	w.halt()
	w.must(os.Remove(w.ledger.Path()))
	w.start()
	w.pass(time.Hour)
	if n := len(w.wire.writesSent()); n != sent || !held(&w.last, plan.HoldContainer) {
		t.Fatalf("%d writes more, holds %+v", n-sent, w.last.Plan.Holds)
	}
	if _, err := w.daemon.AdoptContainer(w.Context(), daemon.Adoption{Policy: "web", ID: w.containerID(), Replicas: 2}); err != nil {
		t.Fatal(err)
	}
	w.pass(30 * time.Minute)
	if n := len(w.wire.writesSent()); n != sent || !satisfied(&w.last) {
		t.Errorf("%d writes more, holds %+v", n-sent, w.last.Plan.Holds)
	}
	w.end()
}
