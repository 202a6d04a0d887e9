package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Compute decides what to do now. It never asks for more than the caps, the
// limits and the evidence allow.
//
//	list of machines unknown            -> hold everything
//	policy paused                       -> hold
//	machine does not fit its policy     -> delete
//	more GPUs than the target           -> delete, dead ones first, then the dearest
//	a cap of the user's is exceeded     -> delete, lowest priority first
//	outbid, a bid under the ceiling wins -> rebid
//	outbid, nothing under the ceiling   -> delete
//	fewer GPUs than the target          -> questions and deploys, cheapest first
//
// A machine that is to go keeps its place in target and budget until a look has
// confirmed that it is gone: its replacement comes after that.
func Compute(in Input) Plan {
	w := newWorld(&in)
	if !in.Snapshot.Instances.Complete {
		w.holdAll(HoldInstances, "the list of machines could not be read: "+in.Snapshot.Instances.Problem)
		w.shedSpent() // time is money, whether the market answers or not
		return w.finish()
	}
	for i := range w.desks {
		w.tend(&w.desks[i])
	}
	w.orphans()
	w.shed() // before anything is raised
	for i := range w.desks {
		w.raiseAll(&w.desks[i])
	}
	for i := range w.desks {
		w.grow(&w.desks[i])
	}
	return w.finish()
}

// world is the Input prepared for deciding, and the plan as it grows.
type world struct {
	in       *Input
	desks    []desk // one per policy, in the order of service
	machines []*Machine
	brackets map[bracketKey]bracket
	shelf    *shelf // offers, made when the first policy needs them

	reserved market.Rate            // by machines and by what is planned
	ofPolicy map[string]market.Rate // the same per policy
	going    map[string]bool        // machines that this plan deletes
	probes   int
	asked    map[market.Question]bool
	raising  map[string]bool // hosts where this plan raises a bid, or asks to
	renamed  map[string]bool // machines reported as renamed
	cands    []candidate     // room for one policy's candidates, used again by the next
	plan     Plan
}

// desk is where one policy is worked on.
type desk struct {
	p        *policy.Policy
	match    *policy.Matcher
	st       Standing
	machines []*Machine // of this policy, by name
	kept     []*Machine // of these, what fits and is wanted
	need     int        // GPUs to buy
	busy     bool       // has an action or a hold
}

// gpus is the size of a machine. Where the market has not told, it is taken to be
// what the policy orders: an adopted machine must not count as nothing.
func (d *desk) gpus(m *Machine) int {
	if m.Shape.GPUs > 0 {
		return m.Shape.GPUs
	}
	return d.p.Shape.GPUs
}

// ceiling is the most a machine of the policy may cost all-in, by its own size.
func (d *desk) ceiling(m *Machine) market.Rate { return d.p.MaxGPUHour.Mul(d.gpus(m)) }

func newWorld(in *Input) *world {
	w := &world{
		in: in, brackets: brackets(in.Verdicts), probes: in.Limits.MaxProbes,
		ofPolicy: map[string]market.Rate{}, going: map[string]bool{}, asked: map[market.Question]bool{}, raising: map[string]bool{}, renamed: map[string]bool{},
	}
	for i := range in.History.Machines {
		m := &in.History.Machines[i]
		w.machines = append(w.machines, m)
		w.reserved = w.reserved.Add(m.Reserved)
		w.ofPolicy[m.Policy] = w.ofPolicy[m.Policy].Add(m.Reserved)
	}
	slices.SortFunc(w.machines, func(a, b *Machine) int { return cmp.Compare(a.Name, b.Name) })
	w.plan.Before = w.reserved
	for i := range in.Policies {
		p := &in.Policies[i]
		w.desks = append(w.desks, desk{p: p, match: policy.NewMatcher(p.Match), st: Standing{Policy: p.Name, Target: p.GPUs(), Before: w.ofPolicy[p.Name]}})
	}
	slices.SortFunc(w.desks, func(a, b desk) int {
		return cmp.Or(cmp.Compare(b.p.Priority, a.p.Priority), cmp.Compare(a.p.Name, b.p.Name))
	})
	byName := map[string]*desk{}
	for i := range w.desks {
		byName[w.desks[i].p.Name] = &w.desks[i]
	}
	for _, m := range w.machines {
		if d := byName[m.Policy]; d != nil {
			d.machines = append(d.machines, m)
		}
	}
	return w
}

func (w *world) hold(d *desk, m *Machine, code, format string, args ...any) {
	h := Hold{Reason: Reason{code, fmt.Sprintf(format, args...)}}
	if d != nil {
		h.Policy, d.busy = d.p.Name, true
	}
	if m != nil {
		h.Machine = m.Name
		if d == nil {
			h.Policy = m.Policy
		}
	}
	w.plan.Holds = append(w.plan.Holds, h)
}

func (w *world) holdAll(code, text string) {
	for i := range w.desks {
		w.count(&w.desks[i])
		w.hold(&w.desks[i], nil, code, "%s", text)
	}
}

// pausedBy is the pause that holds for a policy, a teardown before any other.
func (w *world) pausedBy(name string) *Pause {
	return w.in.History.PausedBy(name, w.in.Now)
}

// tend looks after the machines a policy has: what must go, what to raise.
func (w *world) tend(d *desk) {
	w.count(d)
	if p := w.pausedBy(d.p.Name); p != nil {
		for _, m := range d.machines {
			if p.Teardown {
				w.remove(m, Reason{ReasonDestroy, pauseText(p)})
			}
		}
		w.hold(d, nil, HoldPaused, "%s", pauseText(p))
		return
	}
	d.kept = w.removeSurplus(d, w.removeUnfit(d))
	occupied := 0
	for _, m := range d.machines {
		occupied += d.gpus(m)
	}
	d.need = d.st.Target - occupied
	w.explainWaiting(d)
}

// raiseAll decides over the machines of a policy that lost their auction. While
// there are too many machines, and only a cooldown or the like keeps them, none is
// won back.
func (w *world) raiseAll(d *desk) {
	have := 0
	for _, m := range d.kept {
		have += d.gpus(m)
	}
	if have > d.st.Target {
		return
	}
	for _, m := range d.kept {
		if m.Phase == PhaseLive && m.Status == market.StatusOutbid && !w.going[m.Name] {
			w.outbid(d, m)
		}
	}
}

func pauseText(p *Pause) string {
	s := "paused since "
	if p.Teardown {
		s = "destroyed, and paused since "
	}
	s += p.Since.UTC().Format(time.RFC3339)
	if !p.Until.IsZero() {
		s += " until " + p.Until.UTC().Format(time.RFC3339)
	}
	if p.Reason != "" {
		s += ": " + p.Reason
	}
	return s
}

func (w *world) count(d *desk) {
	for _, m := range d.machines {
		switch {
		case m.Leaving != nil || m.Phase == PhaseDeleting:
			d.st.Leaving += d.gpus(m)
		case m.Ready():
			d.st.Ready += d.gpus(m)
		case m.Phase != PhaseLive || m.Status == market.StatusStarting || m.Status == market.StatusUnknown || m.Status == market.StatusRelocating:
			d.st.Booting += d.gpus(m)
		default:
			d.st.Dead += d.gpus(m)
		}
	}
}

// explainWaiting says what a policy waits for that is neither ready nor missing.
func (w *world) explainWaiting(d *desk) {
	if d.st.Leaving > 0 {
		w.hold(d, nil, HoldDeleting, "%d GPUs wait for their deletion to be confirmed", d.st.Leaving)
	}
	if d.st.Booting > 0 {
		w.hold(d, nil, HoldBooting, "%d GPUs are ordered or booting", d.st.Booting)
	}
}

// removeUnfit deletes what must not or need not stay, and returns the others.
func (w *world) removeUnfit(d *desk) []*Machine {
	var kept []*Machine
	for _, m := range d.machines {
		if m.Leaving != nil || m.Phase == PhaseDeleting {
			continue
		}
		why, voluntary := w.unfit(d, m)
		switch {
		case why.Code == "":
			kept = append(kept, m)
		case voluntary && w.shielded(d, m) || !w.remove(m, why):
			kept = append(kept, m)
		default:
			d.busy = true
		}
	}
	return kept
}

// displayRounding is by how much a rate that the market shows may be off: it rounds
// each of GPU, vCPU, RAM and storage to a tenth of a cent.
const displayRounding = market.Cent / 5

// unfit says why a machine must go; voluntary reasons yield to protection.
func (w *world) unfit(d *desk, m *Machine) (why Reason, voluntary bool) {
	now := w.in.Now
	// Bought under the ceiling, a machine is not given up for the market's rounding.
	if m.Phase != PhaseUnknown && m.Reserved.Sub(displayRounding) > d.ceiling(m) && m.Reserved < market.MaxRate {
		return Reason{ReasonOverCeiling, fmt.Sprintf("costs %s all-in, the policy allows %s", m.Reserved, d.ceiling(m))}, false
	}
	if m.Phase != PhaseLive {
		return Reason{}, false
	}
	switch m.Status {
	case market.StatusStopped, market.StatusReleased, market.StatusError:
		if age := now.Sub(m.StatusAt); age < w.in.Safety.AbsentAge {
			w.hold(d, m, HoldBooting, "%s for %s; after %s it is given up", m.Status, age.Round(time.Second), w.in.Safety.AbsentAge)
			return Reason{}, false
		}
		b, ok := w.in.Snapshot.Balance.Value.Balance.Get()
		if ok && b < leastBalance {
			w.hold(d, m, HoldBalance, "%s while the balance is %s: deposit first, or destroy it", m.Status, b)
			return Reason{}, false
		}
		if !ok && !w.in.Snapshot.Balance.Complete {
			w.hold(d, m, HoldBalance, "%s, and the balance could not be read: it may be for want of money", m.Status)
			return Reason{}, false
		}
		return Reason{ReasonStopped, fmt.Sprintf("%s without our doing: no capacity, but a bill of %s", m.Status, m.Burn())}, false
	case market.StatusStarting, market.StatusRelocating, market.StatusStopping:
		age := now.Sub(m.since())
		if t := d.p.BootTimeout; t > 0 && age > t {
			return Reason{ReasonBootTimeout, fmt.Sprintf("%s for %s; boot_timeout is %s", m.Status, age.Round(time.Second), t)}, false
		}
		if m.Status == market.StatusStopping {
			w.hold(d, m, HoldBooting, "is stopping; the next looks show what becomes of it")
		}
	case market.StatusUnknown:
		w.hold(d, m, HoldUnknown, "the market gives a status we do not know; it counts as capacity and as spend")
	}
	if text := mismatch(d, m); text != "" {
		return Reason{ReasonNotMatching, text}, true
	}
	return Reason{}, false
}

// mismatch says how a machine differs from what its policy wants now. What the
// market did not tell us differs in nothing.
func mismatch(d *desk, m *Machine) string {
	p := d.p
	if m.Model != "" && !d.keeps(m.Model) {
		return fmt.Sprintf("is a %s, which the policy does not want (any more)", m.Model)
	}
	if d.match.Unwanted(m.Location) {
		return fmt.Sprintf("stands in %s, where the policy does not want it (any more)", m.Location)
	}
	if m.Capacity != market.CapacityUnknown && m.Capacity != p.Capacity {
		return fmt.Sprintf("is %s, the policy wants %s", m.Capacity, p.Capacity)
	}
	if m.Shape.GPUs != 0 && m.Shape.GPUs != p.Shape.GPUs {
		return fmt.Sprintf("has %d GPUs, the policy wants machines of %d", m.Shape.GPUs, p.Shape.GPUs)
	}
	return ""
}

// keeps says whether a machine of this model may stay. What would not stay is not
// bought either, whatever memory its host states: else it would be replaced for ever.
func (d *desk) keeps(g market.GPUModel) bool {
	memory := g.VRAM().Or(d.p.Match.MinVRAM)
	_, ok := d.match.GPU(market.HostGPU{Model: g, VRAM: market.Some(memory)})
	return ok
}

// shielded says whether a voluntary removal must wait, and holds it.
func (w *world) shielded(d *desk, m *Machine) bool {
	switch age := w.in.Now.Sub(m.OrderedAt); {
	case slices.Contains(d.p.Protected, m.Name):
		w.hold(d, m, HoldProtected, "protected by the policy")
	case age < d.p.MinLifetime:
		w.hold(d, m, HoldMinLifetime, "is %s old, min_lifetime is %s", age.Round(time.Second), d.p.MinLifetime)
	default:
		return false
	}
	return true
}

// remove plans a deletion; false if the machine cannot be named to the market yet.
func (w *world) remove(m *Machine, why Reason) bool {
	if m.ID == "" || w.going[m.Name] || m.Leaving != nil {
		return false
	}
	if m.Renamed != "" {
		w.holdRenamed(m)
		return false
	}
	w.going[m.Name] = true
	w.plan.Actions = append(w.plan.Actions, Action{
		Kind: Delete, Policy: m.Policy, Machine: m.Name, Instance: m.ID, Host: m.Host, Location: m.Location,
		Model: m.Model, Shape: m.Shape, Capacity: m.Capacity, Bid: m.Bid.Or(0), Storage: m.Storage.Or(0),
		Rate: m.Reserved, Reason: why,
	})
	return true
}

// holdRenamed reports, once, a machine of ours that does not carry our mark.
func (w *world) holdRenamed(m *Machine) {
	if !w.renamed[m.Name] {
		w.renamed[m.Name] = true
		w.hold(nil, m, HoldRenamed, "is called %q on the market, which is not a name of ours: it counts, but is not touched; "+
			"give it its name back, or delete it by hand", m.Renamed)
	}
}

// removeSurplus deletes down to the target: what is no capacity first, then the
// dearest.
func (w *world) removeSurplus(d *desk, kept []*Machine) []*Machine {
	have := 0
	for _, m := range kept {
		have += d.gpus(m)
	}
	surplus := have - d.st.Target
	if surplus <= 0 {
		return kept
	}
	if w.cooling(d) {
		return kept
	}
	order := slices.Clone(kept)
	slices.SortFunc(order, func(a, b *Machine) int {
		return cmp.Or(
			-cmp.Compare(rank(a), rank(b)),
			-cmp.Compare(a.Reserved.PerGPU(d.gpus(a)), b.Reserved.PerGPU(d.gpus(b))),
			cmp.Compare(a.Name, b.Name))
	})
	for _, m := range order {
		if surplus <= 0 {
			break
		}
		if d.gpus(m) > surplus || w.shielded(d, m) {
			continue
		}
		if w.remove(m, Reason{ReasonOverTarget, surplusText(d, m, have)}) {
			surplus -= d.gpus(m)
			d.busy = true
		}
	}
	if surplus > 0 && !d.busy {
		w.hold(d, nil, HoldBooting, "%d GPUs too many, but none of them can be deleted yet", surplus)
	}
	return slices.DeleteFunc(kept, func(m *Machine) bool { return w.going[m.Name] })
}

func surplusText(d *desk, m *Machine, have int) string {
	why := m.Reserved.PerGPU(d.gpus(m)).String() + " a GPU is the dearest"
	if rank(m) > 0 {
		why = "this one delivers none"
	}
	return fmt.Sprintf("%d GPUs, %d wanted; %s", have, d.st.Target, why)
}

// rank orders machines by how little they are worth.
func rank(m *Machine) int {
	switch {
	case m.Phase == PhaseLive && !m.Status.BillsCompute():
		return 1
	default:
		return 0
	}
}

// cooling says whether the last voluntary change is too young for another, and
// holds it. What this very cycle has done already does not count: a refused deploy
// costs another question, not the cycle.
func (w *world) cooling(d *desk) bool {
	if d.p.Cooldown <= 0 {
		return false
	}
	for _, s := range w.in.History.Scaled {
		if s.Policy == d.p.Name && s.At.Before(w.in.Now) && w.in.Now.Sub(s.At) < d.p.Cooldown {
			w.hold(d, nil, HoldCooldown, "scaled %s ago, cooldown %s", w.in.Now.Sub(s.At).Round(time.Second), d.p.Cooldown)
			return true
		}
	}
	return false
}

// outbid decides over a machine that lost its auction: raise it where a bid under
// the ceiling wins, else delete it, because its disk goes on costing and it may
// win again on its own.
func (w *world) outbid(d *desk, m *Machine) {
	if m.Renamed != "" {
		w.holdRenamed(m)
		return
	}
	if m.Rebid != nil {
		w.raising[m.Host] = true
		w.hold(d, m, HoldRebid, "a bid of %s was submitted, no look has shown it yet", m.Rebid.Bid)
		return
	}
	if applies, known := w.in.History.RebidApplies.Get(); known && !applies.Holds || m.RebidIgnored {
		d.busy = w.remove(m, Reason{ReasonRebidIgnored, "outbid, and the market does not apply new bids to it: to be replaced"}) || d.busy
		return
	}
	bid, ok1 := m.Bid.Get()
	storage, ok2 := m.Storage.Get()
	if !ok1 || !ok2 {
		d.busy = w.remove(m, Reason{ReasonOutbidForGood, "outbid, and its price is not known: to be replaced"}) || d.busy
		return
	}
	if b := w.in.History.openBreaker(w.in.Now); b != nil {
		w.hold(d, m, HoldBreaker, "outbid; %s", breakerText(b))
		return
	}
	w.raise(d, m, bid, storage)
}

func (w *world) raise(d *desk, m *Machine, bid, storage market.Rate) {
	if w.raising[m.Host] {
		w.hold(d, m, HoldRebid, "outbid at %s; another machine of ours on this host is raised first", bid)
		return
	}
	limit := w.raiseLimit(d, m, storage)
	room, why := w.room(d)
	top := min(limit, m.Reserved.Add(room).Sub(storage).FloorCent())
	b := w.brackets[bracketKey{m.Host, m.Model, m.Shape}]
	b.lo = max(b.lo, bid) // it is outbid at its own bid: that much is known without asking
	if b.hi <= b.lo {
		b.hi = 0
	}
	next, ok := b.next(bid, top)
	switch {
	case b.hi != 0 && b.hi <= top:
		w.reserve(d, max(b.hi.Add(storage).Sub(m.Reserved), 0))
		d.busy, w.raising[m.Host] = true, true
		w.plan.Actions = append(w.plan.Actions, Action{
			Kind: Rebid, Policy: m.Policy, Machine: m.Name, Instance: m.ID, Host: m.Host, Location: m.Location,
			Model: m.Model, Shape: m.Shape, Capacity: m.Capacity, Bid: b.hi, Storage: storage, Rate: b.hi.Add(storage),
			Reserve: b.hi.Add(storage),
			Reason:  Reason{ReasonOutbid, fmt.Sprintf("outbid at %s; %s wins, the ceiling allows %s", bid, b.hi, top)},
		})
	case b.silent:
		w.hold(d, m, HoldNoAnswer, "outbid at %s; the market did not answer what would win", bid)
	case !ok && top < limit && b.lo < limit:
		w.hold(d, m, HoldBudget, "outbid at %s; a higher bid is under the ceiling, but %s", bid, why)
	case !ok:
		d.busy = w.remove(m, Reason{ReasonOutbidForGood, fmt.Sprintf("outbid at %s, and no bid that we may make wins (up to %s): to be replaced", bid, limit)}) || d.busy
	case w.probes <= 0:
		w.hold(d, m, HoldProbes, "outbid at %s; no questions left in this cycle", bid)
	default:
		w.raising[m.Host] = true
		w.ask(d, market.Question{Host: m.Host, Model: m.Model, Shape: m.Shape, Bid: next})
		w.hold(d, m, HoldAsking, "outbid at %s; asking whether %s wins", bid, next)
	}
}

// raiseLimit is the highest bid that may be made for an outbid machine: under the
// ceiling, and, unless its GPUs are free anyway, below every running bid of ours on
// the same host. Of two machines of the same size the lower bid is the one that
// falls out, so such a raise cannot displace the other; with different sizes
// nothing is certain.
func (w *world) raiseLimit(d *desk, m *Machine, storage market.Rate) market.Rate {
	limit := d.ceiling(m).Sub(storage).FloorCent()
	for _, o := range w.machines {
		switch {
		case o == m || o.Host != m.Host || o.Host == "" || o.Capacity == market.OnDemand:
		case o.Leaving != nil || w.going[o.Name] || o.Phase == PhaseLive && !o.Status.BillsCompute():
		case w.freeOn(m) >= d.gpus(m):
			return limit
		case o.Shape.GPUs == d.gpus(m):
			limit = min(limit, o.Bid.Or(0).Sub(market.Cent).FloorCent())
		default:
			limit = 0
		}
	}
	return limit
}

// freeOn is how many GPUs of the machine's model its host is known to have free.
func (w *world) freeOn(m *Machine) int {
	for i := range w.in.Snapshot.Hosts.Value {
		if h := &w.in.Snapshot.Hosts.Value[i]; h.ID == m.Host && w.in.Snapshot.Hosts.Complete {
			g, _ := h.GPU(m.Model)
			return g.Free
		}
	}
	return 0
}

func (w *world) ask(d *desk, q market.Question) {
	d.busy = true
	if w.asked[q] {
		return // another policy asks the same
	}
	w.asked[q] = true
	w.probes--
	w.plan.Questions = append(w.plan.Questions, q)
}

func (w *world) reserve(d *desk, r market.Rate) {
	w.reserved = w.reserved.Add(r)
	w.ofPolicy[d.p.Name] = w.ofPolicy[d.p.Name].Add(r)
}

// orphans removes the machines of policies that are no longer in the file. A
// policy that this ledger never knew may be somebody's typo or another file:
// its machines are reported and left alone.
func (w *world) orphans() {
	for _, m := range w.machines {
		if slices.ContainsFunc(w.desks, func(d desk) bool { return d.p.Name == m.Policy }) {
			continue
		}
		switch p := w.pausedBy(m.Policy); {
		case m.Leaving != nil || m.Phase == PhaseDeleting:
		case p != nil && p.Teardown:
			w.remove(m, Reason{ReasonDestroy, pauseText(p)})
		case p != nil:
			w.hold(nil, m, HoldPaused, "%s", pauseText(p))
		case !slices.Contains(w.in.History.Known, m.Policy):
			w.hold(nil, m, HoldOrphan, "no policy %q in the file, and this ledger never knew one: it is left alone (destroy %s to end its bill)", m.Policy, m.Policy)
		default:
			w.remove(m, Reason{ReasonPolicyRemoved, fmt.Sprintf("policy %q was removed", m.Policy)})
		}
	}
}

// shed deletes machines while a policy or the fleet costs more than a cap that the
// user wrote allows: the cap was lowered, machines were adopted, or what is left
// of the day's or the month's money is less than what would be spent before
// anything could be stopped.
func (w *world) shed() {
	for i := range w.desks {
		d := &w.desks[i]
		t := tightest{room: market.MaxRate}
		if c, ok := d.p.Budget.MaxHourly.Get(); ok {
			t.take(c, "the policy's max_hourly is %s", c)
		}
		w.spendRoom(&t, d.p.Name, d.p.Budget, 0, w.lag())
		w.shedTo(t, func(m *Machine) bool { return m.Policy == d.p.Name })
	}
	t := tightest{room: market.MaxRate}
	if w.in.Budget.MaxHourly.Known() { // else the cap is only what the targets add up to
		t.take(w.in.HourlyCap, "max_hourly is %s", w.in.HourlyCap)
	}
	w.spendRoom(&t, "", w.in.Budget, 0, w.lag())
	w.shedTo(t, func(*Machine) bool { return true })
}

// shedSpent is shed for the day's and the month's money alone: what machines are
// known to cost is spent whether or not they can be seen, and deleting them by
// their ids rests on no list.
func (w *world) shedSpent() {
	for i := range w.desks {
		d := &w.desks[i]
		t := tightest{room: market.MaxRate}
		w.spendRoom(&t, d.p.Name, d.p.Budget, 0, w.lag())
		w.shedTo(t, func(m *Machine) bool { return m.Policy == d.p.Name })
	}
	t := tightest{room: market.MaxRate}
	w.spendRoom(&t, "", w.in.Budget, 0, w.lag())
	w.shedTo(t, func(*Machine) bool { return true })
}

// shedTo deletes machines until the others cost no more than the room: lowest
// priority first, protected machines last, then the dearest. Machines of policies
// that are paused or not in the file cost money too, but are not touched.
func (w *world) shedTo(t tightest, counts func(*Machine) bool) {
	var live market.Rate
	for _, m := range w.machines {
		if counts(m) && w.sheddable(m) {
			live = live.Add(m.Reserved)
		}
	}
	if live <= t.room {
		return
	}
	for _, v := range w.victims(counts) {
		if live <= t.room {
			return
		}
		if w.remove(v.m, Reason{ReasonOverBudget, fmt.Sprintf("machines cost %s, %s are left: %s", live, t.room, t.why)}) {
			v.d.busy = true
			live = live.Sub(v.m.Reserved)
		}
	}
}

// sheddable leaves out what is on its way out, and what has never been seen or
// priced: a reservation that is only a worst case is no reason to shed.
func (w *world) sheddable(m *Machine) bool {
	return m.Phase == PhaseLive && m.Leaving == nil && !w.going[m.Name] && m.Reserved < market.MaxRate
}

type victim struct {
	m         *Machine
	d         *desk
	protected int
}

func (w *world) victims(counts func(*Machine) bool) []victim {
	var out []victim
	for i := range w.desks {
		d := &w.desks[i]
		if w.pausedBy(d.p.Name) != nil {
			continue
		}
		for _, m := range d.machines {
			if !counts(m) || !w.sheddable(m) {
				continue
			}
			v := victim{m: m, d: d}
			if slices.Contains(d.p.Protected, m.Name) {
				v.protected = 1
			}
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b victim) int {
		return cmp.Or(cmp.Compare(a.protected, b.protected), cmp.Compare(a.d.p.Priority, b.d.p.Priority),
			-cmp.Compare(a.m.Reserved, b.m.Reserved), cmp.Compare(a.m.Name, b.m.Name))
	})
	return out
}

// finish puts the plan in order, cuts it to what one cycle may do, and adds up.
func (w *world) finish() Plan {
	order := map[ActionKind]int{Delete: 0, Rebid: 1, Deploy: 2}
	slices.SortStableFunc(w.plan.Actions, func(a, b Action) int { return cmp.Compare(order[a.Kind], order[b.Kind]) })
	most := max(w.in.Limits.MaxActions, 0)
	for i := most; i < len(w.plan.Actions); i++ {
		a := w.plan.Actions[i]
		w.plan.Holds = append(w.plan.Holds, Hold{Policy: a.Policy, Machine: a.Machine, Reason: Reason{
			HoldActions, fmt.Sprintf("%s left for the next cycle: max_actions_per_cycle is used up", a.Kind),
		}})
	}
	w.plan.Actions = w.plan.Actions[:min(most, len(w.plan.Actions))]
	w.plan.After = w.plan.Before
	change := map[string]market.Rate{}
	for _, a := range w.plan.Actions {
		delta := a.Rate
		switch a.Kind {
		case Delete:
			delta = -a.Rate
		case Rebid:
			delta = a.Rate.Sub(w.in.History.Machine(a.Machine).Reserved)
		}
		change[a.Policy] = change[a.Policy].Add(delta)
		w.plan.After = w.plan.After.Add(delta)
	}
	for i := range w.desks {
		d := &w.desks[i]
		d.st.After = d.st.Before.Add(change[d.p.Name])
		d.st.Satisfied = !d.busy && d.st.Ready == d.st.Target
		w.plan.Standings = append(w.plan.Standings, d.st)
	}
	slices.SortFunc(w.plan.Standings, func(a, b Standing) int { return cmp.Compare(a.Policy, b.Policy) })
	return w.plan
}
