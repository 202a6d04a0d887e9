package campaign

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// rule is one of the twelve that every run here is held to.
type rule int

// The rules, in the order of docs/ARCHITECTURE.md, with when they are checked and
// what for. What the market itself can tell is taken from the market; the daemon's
// own books are read only where the rule is about them.
const (
	// every report with actions, and some others: the recorded input, its lists shuffled, gives the same plan
	ruleSame rule = 1 + iota
	// every deploy and rebid as it takes effect: what the machines may cost is within each cap; every event and report: what was billed is
	ruleCaps
	// every delete before the market sees it: what is surplus in the books is surplus at the market
	ruleAbsence
	// every write before the market sees it: it names a machine under our mark; every event: nothing else changed by a write
	ruleOurs
	// every write before the market sees it: an open intent, and the password of an order, are on disk; every deploy: no name twice, no more than the target; every report: no machine twice in the books
	ruleIntent
	// every report: what counts as ready has run at the market, what is confirmed as bought was bought
	ruleConfirmed
	// every deploy and rebid as it takes effect: bids go up, never above the ceiling in force, and down by at most a fifth in ten minutes
	ruleBids
	// every report: what is outbid is not ready; the books reserve for each machine all that it may cost
	ruleOutbid
	// every report with actions: where the market accepts them all, the next plan asks for nothing
	ruleStable
	// every report: each action has a reason, each policy an action, a hold or its target
	ruleReasons
	// every deploy and rebid as it takes effect: no machine of ours is outbid at that instant
	ruleDisplace
	// every write before the market sees it: no pause, dry run, breaker or full disk stands against it
	ruleGate
	// every deletion and stop before the market sees it: what could wait was drained; every report: what is ready has passed its probe
	ruleGentle
)

// holds counts a check, and notes what it found where it failed. The caller holds w.mu.
func (w *world) holds(r rule, ok bool, format string, args ...any) {
	w.checked[r]++
	if !ok {
		w.wrong(r, format, args...)
	}
}

// wrong notes a violation. The caller holds w.mu.
func (w *world) wrong(r rule, format string, args ...any) {
	w.violated[r]++
	if len(w.wrongs) < 50 {
		w.wrongs = append(w.wrongs, fmt.Sprintf("%s rule %d: %s", w.clock.Now().Sub(epoch), r, fmt.Sprintf(format, args...)))
	}
}

// write is a write that is under way.
type write struct {
	verb string // the endpoint
	id   string // of the machine it names, "" for a deploy
	name string // of the machine that is ordered
	gpus string // that it asks for, "" where it asks for none
}

// ours says whose a machine is by its name at the market.
func ours(name string) (policy string, ok bool) {
	if policy, _, ok = replicaOf(name); ok {
		return policy, true
	}
	n, ok := market.ParseMachineName(name)
	return n.Policy, ok && n.Owner == "main"
}

// observe is told everything that happens at the market, at the moment it does.
func (w *world) observe(e simulator.Event) {
	if e.Kind == simulator.PriceMoved || e.Machine == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events[string(e.Kind)]++
	w.transcribeMarket(e)
	if policy, container, is := replicaOf(e.Name); is {
		w.replica(e, policy, container)
		return
	}
	before, known := w.alive[e.Machine]
	if e.Kind == simulator.Deployed {
		w.born[e.Machine], w.called[e.Machine] = e.At, e.Name
	}
	if w.handing && (e.Kind == simulator.Deployed || e.Kind == simulator.Renamed) {
		w.hand[e.Machine] = true
	}
	_, mine := ours(e.Name)
	if !w.handing {
		w.untouched(e, mine)
	}
	w.till.turn(e, mine && !w.hand[e.Machine])
	if e.Kind == simulator.Deleted {
		if !w.asked[e.Machine] {
			w.left = append(slices.DeleteFunc(w.left, func(o simulator.Event) bool { return o.At.Before(w.scanAt) }), e)
		}
		delete(w.alive, e.Machine)
		delete(w.born, e.Machine)
		delete(w.called, e.Machine)
		return
	}
	w.alive[e.Machine] = e
	if e.Kind == simulator.Running {
		w.ran[w.called[e.Machine]] = true
	}
	if !mine || w.hand[e.Machine] {
		return
	}
	switch e.Kind {
	case simulator.Deployed:
		w.bought(e)
	case simulator.Rebid:
		if known {
			w.rebid(e, before.Rate)
		}
	case simulator.Outbid:
		w.displaced(e)
	case simulator.Started:
		if !w.handing {
			w.within(e)
		}
	}
	if !w.handing && (e.Kind == simulator.Deployed || e.Kind == simulator.Rebid) {
		w.grown(e)
	}
}

// rebid: a bid goes up, or down by at most a fifth in ten minutes, of a machine that runs.
func (w *world) rebid(e simulator.Event, was market.Rate) {
	if e.Rate >= was {
		w.holds(ruleBids, true, "")
		return
	}
	w.cuts++
	w.holds(ruleBids, e.Rate >= was.Scale(4, 5) && (w.cutAt[e.Machine].IsZero() || e.At.Sub(w.cutAt[e.Machine]) >= 9*time.Minute),
		"the bid for %s went from %s to %s, last lowered at %s", e.Name, was, e.Rate, w.cutAt[e.Machine])
	if w.cutAt == nil {
		w.cutAt = map[string]time.Time{}
	}
	w.cutAt[e.Machine] = e.At
}

// untouched: of what is not ours nothing changes but by itself or by its owner's hand.
func (w *world) untouched(e simulator.Event, mine bool) {
	switch e.Kind {
	case simulator.Deleted, simulator.Rebid, simulator.Modified, simulator.Released, simulator.Deployed, simulator.Started:
		byDaemon := w.writing != nil && w.toldOf(w.renamed[e.Machine])
		w.holds(ruleOurs, mine || !byDaemon, "a machine of somebody else was touched (%s): %s", e.Kind, e.Name)
	}
}

// bought: no name is used twice, and no policy has more than its target.
func (w *world) bought(e simulator.Event) {
	w.holds(ruleIntent, !w.everBought[e.Name], "%s was bought a second time", e.Name)
	w.everBought[e.Name] = true
	if !w.handing {
		w.within(e)
	}
}

// within: what was bought or started leaves its policy with no more than its target.
func (w *world) within(e simulator.Event) {
	name, _ := ours(e.Name)
	p, _ := w.set.Find(name)
	target := 0
	if p != nil {
		_, most := w.wanted(p)
		beside := min(p.Migrate.MaxPerHour, 1)
		if w.reshaped { // what is too small by now is replaced as what moves is
			beside = 1
		}
		target = (most + (p.Surge+beside)*p.Shape.GPUs) * w.daemons
	}
	have := w.gpusOf(name, func(id string, o simulator.Event) bool {
		if w.reshaped && o.Kind == simulator.Stopped { // surplus that was kept, beside which another is replaced
			return false
		}
		return !w.hand[id] && o.Kind != simulator.Released && (!fallsBack(p) || o.Capacity == e.Capacity)
	})
	w.holds(ruleIntent, have <= target, "policy %s has %d GPUs at the market, its target is %d", name, have, target)
}

// fallsBack says whether a policy wants its target on spot and may have it on demand
// besides.
func fallsBack(p *policy.Policy) bool { return p != nil && p.Capacity == policy.SpotWithFallback }

// gpusOf adds up the GPUs of a policy at the market that count.
func (w *world) gpusOf(policy string, counts func(id string, o simulator.Event) bool) (gpus int) {
	for id, o := range w.alive {
		if p, mine := ours(o.Name); mine && p == policy && counts(id, o) {
			gpus += o.GPUs
		}
	}
	return gpus
}

// displaced: where a write is taking effect, and everything due before it has
// happened, a machine that falls out falls to that write.
func (w *world) displaced(e simulator.Event) {
	if w.plot.sim.SpotShownFree > 0 {
		return // its hosts lie about what is free: see docs/design/bidding.md
	}
	if w.writing != nil && w.writing.gpus != "" && w.writing.gpus != strconv.Itoa(e.GPUs) {
		return // of machines of different sizes nobody knows which falls out, when the last free GPU goes meanwhile
	}
	if w.writing != nil && strings.Contains(w.writing.verb, "/container/") {
		return // the market chooses where a replica goes, and it is on demand: nobody can keep it off our bids
	}
	byUs := w.writing != nil && !w.handing && w.writing.id != e.Machine && !givesBack(w.writing.verb)
	w.holds(ruleDisplace, !byUs, "our own bid displaced %s on %s", e.Name, e.Host)
}

// givesBack says whether a write sets GPUs free: what falls out by it fell to a rival that
// fits now. A resize through v2 is one, as the machine stands released after it.
func givesBack(verb string) bool {
	return strings.Contains(verb, "/delete/") || strings.Contains(verb, "/stop/") || strings.Contains(verb, "/api/v2/") && strings.HasSuffix(verb, "/modify")
}

// grown: what the daemon adds stays within every cap that is in force.
func (w *world) grown(e simulator.Event) {
	name, _ := ours(e.Name)
	p, ok := w.set.Find(name)
	w.holds(ruleGate, ok, "%s was bought or raised for a policy that is not in the file", e.Name)
	if !ok {
		return
	}
	w.holds(ruleBids, e.Rate.Add(e.Storage) <= p.CeilingOf(e.Capacity, e.GPUs), "%s costs %s, the ceiling is %s", e.Name, e.Rate.Add(e.Storage), p.CeilingOf(e.Capacity, e.GPUs))
	all, own := w.worst(name)
	w.holds(ruleCaps, all <= w.set.HourlyCap().Mul(w.daemons), "the fleet may cost %s, max_hourly is %s", all, w.set.HourlyCap())
	if c, known := p.Budget.MaxHourly.Get(); known {
		w.holds(ruleCaps, own <= c, "policy %s may cost %s, its max_hourly is %s", name, own, c)
	}
	w.till.chargeAll(e.At)
	if w.skew != w.seenSkew {
		return // the till learns of a clock that was set at the end of the cycle
	}
	for _, s := range []struct {
		scope string
		rate  market.Rate
		b     policy.Budget
	}{{"", all, w.set.Budget}, {name, own, p.Budget}} {
		for _, c := range w.till.limits(s.scope, s.b) {
			next := c.tab.spent.Add(s.rate.For(w.till.lag))
			w.holds(ruleCaps, next <= c.cap, "%s was bought or raised with %s of %s %s billed and %s an hour to come: %s", e.Name, c.tab.spent, c.what, c.cap, s.rate, s.scope)
		}
	}
}

// worst is what all machines of ours, and those of one policy, may cost an hour.
func (w *world) worst(name string) (all, own market.Rate) {
	for id, e := range w.alive {
		p, mine := ours(e.Name)
		if !mine || w.hand[id] {
			continue
		}
		all = all.Add(mayCost(e))
		if p == name {
			own = own.Add(mayCost(e))
		}
	}
	return all, own
}

// mayCost is the most that a machine costs by itself: one that was released costs its
// disk until somebody starts it.
func mayCost(e simulator.Event) market.Rate {
	if e.Kind == simulator.Released {
		return e.Storage
	}
	return e.Rate.Add(e.Storage)
}

// judge looks at every write before the market sees it.
func (w *world) judge(op string, form url.Values) {
	w.engine.Now() // what is due happens before the write, and is not its doing
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = &write{verb: op, id: form.Get("server"), name: form.Get("name"), gpus: form.Get("gpu_count")}
	if id := form.Get("container_id"); id != "" {
		w.writing.id = id
	}
	if _, rest, v2 := strings.Cut(op, "/api/v2/instances/"); v2 {
		w.writing.id, _, _ = strings.Cut(rest, "/")
	}
	intents, err := w.ledger.Intents(ledger.Filter{OpenOnly: true, Machine: w.writing.name})
	if err != nil {
		w.wrong(ruleIntent, "%s, and the ledger cannot be read: %v", op, err)
		return
	}
	var mine *plan.Intent
	for i := range intents {
		in := &intents[i]
		if in.Kind == kindOf(op) && (w.writing.name != "" || in.Instance == w.writing.id) {
			mine = in // and not the raise that is still open when the machine is deleted
		}
	}
	w.holds(ruleIntent, mine != nil, "%s for %s%s left without an open intent on disk", op, w.writing.name, w.writing.id)
	if mine == nil {
		return
	}
	w.named(mine)
	w.gated(mine)
	w.surplus(mine)
	if mine.Kind == plan.Delete {
		w.asked[w.writing.id] = true
	}
	w.gentle(mine)
	if mine.Kind == plan.Deploy && form.Get("ssh_key") == "" {
		kept, err := os.ReadFile(filepath.Join(w.dir, "credentials", w.writing.name))
		w.holds(ruleIntent, err == nil && strings.TrimSpace(string(kept)) == form.Get("password"), "%s was ordered and its password is not on disk: %v", w.writing.name, err)
	}
}

// kindOf is the kind of action that sends such a write.
func kindOf(op string) plan.ActionKind {
	switch {
	case strings.Contains(op, "/container/"):
		return plan.ActionKind("container_" + op[strings.LastIndexByte(op, '/')+1:])
	case strings.Contains(op, "/deploy"), strings.HasSuffix(op, "POST /api/v2/instances"):
		return plan.Deploy
	case strings.HasSuffix(op, "/stop"), strings.Contains(op, "/stop/"):
		return plan.Stop
	case strings.HasPrefix(op, "PUT ") && strings.HasSuffix(op, "/modify"):
		return plan.Modify
	case strings.HasSuffix(op, "/start"), strings.Contains(op, "/start/"):
		return plan.Start
	case strings.Contains(op, "/modify/"), strings.Contains(op, "/validate/existing"):
		return plan.Rebid
	default:
		return plan.Delete
	}
}

// named: a write names what is ours: by its name for an order, by its name at the
// market for everything else.
func (w *world) named(in *plan.Intent) {
	name := w.writing.name
	if w.writing.id != "" {
		e, there := w.alive[w.writing.id]
		if !there {
			return // gone already, or an id that the market does not know
		}
		name = e.Name
	}
	_, _, replica := replicaOf(name)
	w.holds(ruleOurs, !replica, "%s %s is for %s, which the market keeps", in.Kind, in.Machine, name)
	_, mine := ours(name)
	w.holds(ruleOurs, mine || !w.toldOf(w.renamed[w.writing.id]), "%s %s is for %q, which is not ours", in.Kind, in.Machine, name)
}

// toldOf says whether the daemon can know what was done by hand then: a list has been
// read since, and the one that this cycle rests on is not an old one.
func (w *world) toldOf(then time.Time) bool {
	return then.Before(w.readAt) && w.blurred.Before(w.scanAt)
}

// gated: nothing stands against the write.
func (w *world) gated(in *plan.Intent) {
	h, err := w.ledger.History()
	if err != nil {
		w.wrong(ruleGate, "%s, and the ledger cannot be read: %v", in.Kind, err)
		return
	}
	if in.Reason.Code == plan.ReasonDestroy && w.destroying {
		return
	}
	now := w.clock.Now().Add(w.skew)
	w.holds(ruleGate, w.set.Daemon.Mode == policy.Live, "%s %s in a dry run", in.Kind, in.Machine)
	p := h.PausedBy(in.Policy, now)
	w.holds(ruleGate, p == nil || p.Teardown && in.Kind.Ends(), "%s %s while paused", in.Kind, in.Machine)
	_, err = os.Stat(filepath.Join(w.dir, "pause"))
	w.holds(ruleGate, err != nil, "%s %s although the pause file is there", in.Kind, in.Machine)
	b := h.OpenBreaker(now)
	torn := in.Kind.Ends() && (p != nil && p.Teardown || in.Reason.Code == plan.ReasonOverBudget)
	w.holds(ruleGate, b == nil || torn || in.Kind.Ends() && !b.All, "%s %s although a breaker is open", in.Kind, in.Machine)
	w.holds(ruleGate, !w.disk.full, "%s %s although nothing can be written to the ledger", in.Kind, in.Machine)
}

// surplus: what the daemon deletes as too much is too much at the market.
func (w *world) surplus(in *plan.Intent) {
	if in.Kind != plan.Delete || in.Reason.Code != plan.ReasonOverTarget {
		return
	}
	e, there := w.alive[w.writing.id]
	if !there {
		return
	}
	name, _ := ours(e.Name)
	p, _ := w.set.Find(name)
	have := w.phantoms(name) + w.gpusOf(name, func(id string, o simulator.Event) bool {
		return !fallsBack(p) || o.Capacity == market.Spot || w.hand[id]
	}) // a list need not tell how it was bought
	for id := range w.renamed { // our capacity still, under another name
		if o, there := w.alive[id]; there {
			if _, mine := ours(o.Name); !mine {
				have += o.GPUs
			}
		}
	}
	for _, o := range w.left { // by its own host, since the list was read
		if of, mine := ours(o.Name); mine && of == name && !o.At.Before(w.scanAt) {
			have += o.GPUs
		}
	}
	target := 0
	if p != nil {
		target, _ = w.wanted(p)
	}
	w.holds(ruleAbsence, have > target, "%s is deleted as surplus; the market has %d GPUs, the target is %d", e.Name, have, target)
}

// phantoms are the GPUs of a machine of the policy that never was, and that two lists
// have shown: the daemon waits for the second one, and there is nothing else that it
// could know it by.
func (w *world) phantoms(policy string) (gpus int) {
	h, err := w.ledger.History()
	if err != nil {
		w.wrong(ruleAbsence, "the ledger cannot be read: %v", err)
		return 0
	}
	size := 0 // of what the list told no size of
	if p, ok := w.set.Find(policy); ok {
		size = p.Shape.GPUs
	}
	for i := range h.Machines {
		if m := &h.Machines[i]; m.Policy == policy && m.ID == simulator.CopyID && m.SeenAt.After(m.StatusAt) {
			gpus += cmp.Or(m.Shape.GPUs, size)
		}
	}
	return gpus
}

// check holds a cycle against the rules.
func (w *world) check(r *plan.Report) {
	h, err := w.ledger.History()
	w.must(err)
	balance := w.engine.Account().Balance
	w.mu.Lock()
	defer w.mu.Unlock()
	w.till.chargeAll(w.clock.Now())
	// A look that could not be booked, or not in a dry run, will find the clock set again.
	if w.skew != w.seenSkew && h.Clock.Seen.Equal(r.Input.Now) {
		before := w.seenSkew
		w.seenSkew = w.skew
		w.till.carry(w.clock.Now(), before)
		// Where the clock was set after the look, this cycle was planned by the day before
		// it was: only the next one can know what the other day has spent.
		w.recapped = w.recapped || !slices.ContainsFunc(r.Events, func(e plan.Event) bool { return e.Kind == plan.EventClock })
	}
	if r.Input.Snapshot.Instances.Complete {
		w.readAt = w.scanAt
	}
	w.purse(balance)
	w.planned(r)
	w.explained(r)
	w.ready(r)
	w.counted(&h)
	w.proven(r)
	w.reserved(r, &h)
	w.reservedContainers(r, &h)
	busy := len(r.Plan.Actions) > 0
	if busy || w.reports%w.sample == 0 {
		w.replayed(r)
	}
	if busy {
		w.stable(r)
	}
	w.able(r, &h)
}

func (w *world) planned(r *plan.Report) {
	reserved := r.Input.History.Reserved()
	w.holds(ruleCaps, r.Plan.After <= r.Input.HourlyCap || r.Plan.After <= reserved, "cycle %d plans %s, the cap is %s", r.Cycle, r.Plan.After, r.Input.HourlyCap)
}

// explained: every policy has an action, a hold or is satisfied; every action a reason.
func (w *world) explained(r *plan.Report) {
	told := map[string]bool{}
	for _, h := range r.Plan.Holds {
		told[h.Policy] = true
	}
	for _, a := range r.Plan.Actions {
		told[a.Policy] = true
		w.holds(ruleReasons, a.Reason.Code != "" && a.Reason.Text != "", "cycle %d: no reason for %+v", r.Cycle, a)
	}
	for _, in := range r.Intents {
		told[in.Policy] = true
		w.holds(ruleReasons, in.Reason.Code != "" && in.Reason.Text != "", "cycle %d: no reason for %+v", r.Cycle, in)
	}
	for _, s := range r.Plan.Standings {
		w.holds(ruleReasons, s.Satisfied || told[s.Policy] || told[""], "cycle %d: nobody says why %s is not satisfied: %+v", r.Cycle, s.Policy, s)
	}
}

// counted: no machine is in the books twice, whichever API showed it under which name.
func (w *world) counted(h *plan.History) {
	seen := map[string]string{}
	for i := range h.Machines {
		m := &h.Machines[i]
		if m.ID == "" {
			continue
		}
		w.holds(ruleIntent, seen[m.ID] == "", "machine %s is in the books twice, as %s and %s", m.ID, seen[m.ID], m.Name)
		seen[m.ID] = m.Name
	}
	for i := range h.Containers {
		for _, r := range h.Containers[i].Replicas {
			w.holds(ruleIntent, seen[r.Machine] == "", "replica %s of %s is in the books as %s too", r.Machine, h.Containers[i].Name, seen[r.Machine])
		}
	}
}

// ready: what counts as ready has run at the market, and what the list of this
// cycle could show as outbid does not count.
func (w *world) ready(r *plan.Report) {
	for i := range r.Input.History.Machines {
		m := &r.Input.History.Machines[i]
		name, _, _ := strings.Cut(m.Name, "~")
		if m.Ready() {
			w.holds(ruleConfirmed, w.ran[name], "cycle %d counts %s as ready, which never ran", r.Cycle, m.Name)
		}
		e, there := w.alive[m.ID]
		// Where the clock was set between the list and its booking, the next lists may look old.
		old := r.Input.History.LookedAt.After(r.Input.Snapshot.Instances.At)
		if there && m.Ready() && !w.troubled && !old && r.Input.Snapshot.Instances.Complete {
			was := e.Kind == simulator.Outbid && e.At.Before(w.scanAt)
			w.holds(ruleOutbid, !was, "cycle %d counts %s as ready, which was outbid at %s", r.Cycle, m.Name, e.At)
		}
	}
	for _, e := range r.Events {
		if e.Kind == plan.EventConfirmed {
			name, _, _ := strings.Cut(e.Machine, "~")
			w.holds(ruleConfirmed, w.everBought[name], "cycle %d confirms %s, which was never bought", r.Cycle, e.Machine)
		}
	}
}

// reserved: the books hold for each machine at least what it may cost.
func (w *world) reserved(r *plan.Report, h *plan.History) {
	if w.troubled || r.Problem != "" {
		return
	}
	for i := range h.Machines {
		m := &h.Machines[i]
		e, there := w.alive[m.ID]
		if !there || w.hand[m.ID] || e.At.Before(w.blurred) {
			continue // an old list may have shown an old bid
		}
		worst := e.Rate.Add(e.Storage)
		// What v2 has modified stands released, as the event before said or not.
		if (e.Kind == simulator.Released || e.Kind == simulator.Modified) && m.Parked != nil && m.Parked.Start == 0 {
			worst = e.Storage // it runs again only if we start it
		}
		w.holds(ruleOutbid, m.Reserved >= worst, "cycle %d reserves %s for %s, which may cost %s", r.Cycle, m.Reserved, m.Name, worst)
	}
}

// replayed: the recorded input gives the recorded plan, whatever the order of its lists.
func (w *world) replayed(r *plan.Report) {
	same, err := r.Replay()
	w.must(err)
	w.holds(ruleSame, same.Same, "cycle %d: the recorded input gives another plan: %q", r.Cycle, same.Differences)
	mixed := *r
	mixed.Input = shuffled(r.Input, r.Cycle)
	same, err = mixed.Replay()
	w.must(err)
	w.holds(ruleSame, same.Same, "cycle %d: its lists shuffled, the input gives another plan: %q", r.Cycle, same.Differences)
}

func shuffled(in plan.Input, seed uint64) plan.Input {
	rng := rand.New(rand.NewPCG(seed, 3))
	in.Policies = mixedUp(rng, in.Policies)
	in.Snapshot.Hosts.Value = mixedUp(rng, in.Snapshot.Hosts.Value)
	in.Snapshot.Instances.Value = mixedUp(rng, in.Snapshot.Instances.Value)
	in.History.Machines = mixedUp(rng, in.History.Machines)
	in.History.Containers = mixedUp(rng, in.History.Containers)
	in.Snapshot.Containers = mixedUp(rng, in.Snapshot.Containers)
	in.History.Backoffs = mixedUp(rng, in.History.Backoffs)
	in.History.Pauses = mixedUp(rng, in.History.Pauses)
	in.Verdicts = slices.Clone(in.Verdicts) // their order is that of the answers
	return in
}

func mixedUp[T any](rng *rand.Rand, list []T) []T {
	list = slices.Clone(list)
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

// stable: on a market that accepts everything, the plan after the plan is empty.
func (w *world) stable(r *plan.Report) {
	for _, h := range r.Plan.Holds {
		if h.Reason.Code == plan.HoldActions {
			return // the rest is for the next cycle
		}
	}
	in := r.Input
	in.History = cloned(in.History)
	for n, a := range r.Plan.Actions {
		id := uint64(1)<<40 + uint64(n)
		name := fmt.Sprintf("tds-main-%s-zz%06d", a.Policy, n)
		intent, err := plan.Begin(&in.History, a, in.CapsFor(a.Policy), id, r.Cycle, name, in.Now)
		if err != nil {
			return // a cap or a change stood against it: nothing was promised
		}
		plan.Accept(&in.History, &intent, market.Deployed{ID: name, Total: market.Some(a.Rate)}, in.Now)
	}
	next := plan.Compute(in)
	// A bid is lowered only while nothing more urgent is planned, so it may be next.
	next.Actions = slices.DeleteFunc(next.Actions, func(a plan.Action) bool { return a.Reason.Code == plan.ReasonPriceFell })
	w.holds(ruleStable, len(next.Actions) == 0, "cycle %d: after all was accepted, it asks for more: %+v", r.Cycle, next.Actions)
}

func cloned(h plan.History) (out plan.History) {
	b, err := json.Marshal(h)
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		panic(err) // a history that cannot be written is a fault of the test
	}
	return out
}

// able notes for whom this cycle could have deleted whatever it wanted: a machine
// that it knows, alive and not on its way out already, over an API that answers,
// without a pause, with a ledger. What is billed longer than the lag after the last
// such cycle is not the daemon's to prevent: see till.
func (w *world) able(r *plan.Report, h *plan.History) {
	can := !w.recapped && !w.troubled && !w.disk.touched && r.Problem == "" && r.Mode == policy.Live && r.Input.Snapshot.Instances.Complete && !w.destroying
	if _, err := os.Stat(filepath.Join(w.dir, "pause")); err == nil {
		can = false
	}
	if b := r.Input.History.OpenBreaker(r.Input.Now); b != nil && b.All {
		can = false
	}
	w.recapped, w.troubled, w.disk.touched = false, false, w.disk.full
	if !can {
		return
	}
	now := w.clock.Now()
	fleet := true
	for i := range w.set.Policies {
		name := w.set.Policies[i].Name
		if r.Input.History.PausedBy(name, r.Input.Now) != nil || !w.known(name, r, h, now) {
			fleet = false
			continue
		}
		w.till.able[name] = now
	}
	if fleet && w.known("", r, h, now) {
		w.till.able[""] = now
	}
}

// purse: what the machines of ours cost does not take the balance below min_balance,
// unless money went elsewhere, or could not be seen, within the hour.
func (w *world) purse(balance market.Amount) {
	least, ok := w.set.Budget.MinBalance.Get()
	was := w.balance
	w.balance = balance
	var burn market.Rate
	for _, m := range w.till.open {
		burn = burn.Add(m.rate)
	}
	now := w.clock.Now()
	if !ok || burn == 0 || now.Sub(w.drained) < time.Hour || now.Sub(w.till.able[""]) > w.till.lag {
		return
	}
	w.holds(ruleCaps, balance >= least || was < least, "the balance is %s, min_balance is %s, and machines of ours cost %s", balance, least, burn)
}

// known says whether the books know each machine of a policy as alive; one that was
// bought within the hour need not be.
func (w *world) known(name string, r *plan.Report, h *plan.History, now time.Time) bool {
	for id, e := range w.alive {
		p, mine := ours(e.Name)
		if !mine || w.hand[id] || name != "" && p != name {
			continue
		}
		if _, container, is := replicaOf(e.Name); is {
			if !stoppable(r.Input.History.Container(container)) || !stoppable(h.Container(container)) {
				return false
			}
			continue
		}
		i := slices.IndexFunc(r.Input.History.Machines, func(m plan.Machine) bool { return m.ID == id })
		j := slices.IndexFunc(h.Machines, func(m plan.Machine) bool { return m.ID == id })
		switch {
		case i < 0 || j < 0:
			if now.Sub(w.born[id]) > time.Hour {
				return false
			}
		case r.Input.History.Machines[i].Leaving != nil || h.Machines[j].Leaving != nil:
			return false
		}
	}
	return true
}
