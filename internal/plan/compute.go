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
//	a breaker stops all writes          -> hold everything
//	list of machines unknown            -> hold everything
//	policy paused                       -> hold
//	machine does not fit its policy     -> delete
//	more GPUs than the target           -> delete, dead ones first, then the dearest
//	a cap of the user's is exceeded     -> delete, lowest priority first
//	outbid, a bid under the ceiling wins -> rebid
//	outbid, nothing allowed wins          -> delete
//	fewer GPUs than the target          -> questions and deploys, cheapest first
//	spot falls short, with a fallback   -> on-demand as well, until spot is ready
//	a bid has become too high           -> rebid, lower
//
// A machine that is to go keeps its place in target and budget until a look has
// confirmed that it is gone: its replacement comes after that.
func Compute(in Input) Plan { return newWorld(&in).decide() }

func (w *world) decide() Plan {
	in := w.in
	if b := in.History.OpenBreaker(in.Now); b != nil && b.All {
		return w.standStill(b)
	}
	for i := range w.desks {
		w.follow(&w.desks[i])
		w.schedule(&w.desks[i])
	}
	if !in.Snapshot.Instances.Complete {
		w.holdAll(HoldInstances, "the list of machines could not be read: "+in.Snapshot.Instances.Problem)
		w.shed(false) // time is money, whether the market answers or not
		return w.finish()
	}
	for i := range w.desks {
		w.tend(&w.desks[i])
	}
	w.orphans()
	w.shed(true) // before anything is raised
	for i := range w.desks {
		w.raiseAll(&w.desks[i])
	}
	for i := range w.desks {
		w.grow(&w.desks[i])
	}
	w.calm = len(w.plan.Actions)+len(w.plan.Questions) == 0
	for i := range w.desks {
		w.shadeAll(&w.desks[i])
		w.holdTold(&w.desks[i])
	}
	w.spare()
	return w.finish()
}

// world is the Input prepared for deciding, and the plan as it grows.
type world struct {
	in       *Input
	desks    []desk           // one per policy, in the order of service
	deskOf   map[string]*desk // the same by the policy's name
	machines []*Machine
	brackets map[bracketKey]bracket
	rises    map[market.GPUModel][]Rise // by size, made when a margin is first asked for
	stepsOf  map[recordKey][]step       // the same as each host sees them
	records  *Records                   // of hosts
	shelf    *shelf                     // offers, made when the first policy needs them

	caps     Caps                   // those of the fleet; a policy's are put in where they are asked for
	spent    map[string]Spent       // by policy
	allSpent Spent                  // what the global caps count
	reserved market.Rate            // by machines and by what is planned
	ofPolicy map[string]market.Rate // the same per policy
	going    map[string]bool        // machines that this plan deletes
	probes   int
	churn    int  // voluntary replacements that this plan makes
	proving  bool // this plan finds out whether new bids apply
	calm     bool // nothing else is to be done or asked: there is time to ask about what runs
	crowd    *int // questions left for hosts whose GPUs are shown as taken; nil until asked for
	asked    map[market.Question]bool
	raising  map[string]bool // hosts where this plan raises a bid, or asks to
	renamed  map[string]bool // machines reported as renamed
	draining map[string]bool // machines that this plan drains, or would
	rescued  map[string]bool // outbid machines that are being raised, or asked about
	cands    []candidate     // room for one policy's candidates, used again by the next
	plan     Plan
}

// desk is where one policy is worked on.
type desk struct {
	p        *policy.Policy
	match    *policy.Matcher
	st       Standing
	machines []*Machine      // of this policy, by name
	kept     []*Machine      // of these, what fits and is wanted
	need     int             // GPUs to buy; with a fallback, on spot
	buying   market.Capacity // how the growth under way buys
	behind   bool            // of a deadline, or there is none: on-demand may cover
	covered  bool            // on-demand delivers all that spot does not
	spotSays string          // why spot falls short, where on-demand is bought
	busy     bool            // has an action or a hold
	grew     harvest         // how its growth ended
}

// harvest is how the growth of a policy ended: for those who ask what stood in its way.
type harvest struct {
	need, got int         // GPUs that were wanted, and that were ordered or asked about
	dear      market.Rate // the cheapest machine that the caps left no room for; 0 if none
	at        position    // what was reserved and spent then
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
func (d *desk) ceiling(m *Machine) market.Rate { return d.p.CeilingOf(m.Capacity, d.gpus(m)) }

func newWorld(in *Input) *world {
	w := &world{
		in: in, rises: map[market.GPUModel][]Rise{}, stepsOf: map[recordKey][]step{}, brackets: brackets(recall(in.History.Brackets, in.Now), in.Verdicts), records: in.History.Records(in.Now), probes: in.Limits.MaxProbes, rescued: map[string]bool{},
		deskOf: map[string]*desk{}, ofPolicy: map[string]market.Rate{}, going: map[string]bool{}, asked: map[market.Question]bool{}, raising: map[string]bool{}, renamed: map[string]bool{}, draining: map[string]bool{},
	}
	for i := range in.History.Machines {
		m := &in.History.Machines[i]
		w.machines = append(w.machines, m)
		w.reserved = w.reserved.Add(m.Reserved)
		w.ofPolicy[m.Policy] = w.ofPolicy[m.Policy].Add(m.Reserved)
	}
	for i := range in.History.Containers {
		c := &in.History.Containers[i]
		w.reserved = w.reserved.Add(c.Reserved)
		w.ofPolicy[c.Policy] = w.ofPolicy[c.Policy].Add(c.Reserved)
	}
	now := in.Now.In(in.Budget.Zone.Location())
	w.caps, w.spent, w.allSpent = in.CapsFor(""), in.History.SpentBy(now), in.History.SpentInScope(in.Budget.Scope, now)
	slices.SortFunc(w.machines, func(a, b *Machine) int { return cmp.Compare(a.Name, b.Name) })
	w.plan.Before = w.reserved
	for i := range in.Policies {
		p := &in.Policies[i]
		w.desks = append(w.desks, desk{p: p, match: policy.NewMatcher(p.Match), st: Standing{Policy: p.Name, Target: p.GPUs(), Before: w.ofPolicy[p.Name]}})
	}
	slices.SortFunc(w.desks, func(a, b desk) int {
		return cmp.Or(cmp.Compare(b.p.Priority, a.p.Priority), cmp.Compare(a.p.Name, b.p.Name))
	})
	for i := range w.desks {
		w.deskOf[w.desks[i].p.Name] = &w.desks[i]
	}
	for _, m := range w.machines {
		if d := w.deskOf[m.Policy]; d != nil {
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
		w.endContainers(d, d.p.Name, p)
		w.hold(d, nil, HoldPaused, "%s", pauseText(p))
		return
	}
	if d.p.Kind == policy.Container {
		w.tendContainers(d)
		return
	}
	d.keep(w)
	occupied := 0
	for _, m := range d.machines {
		if !d.covers(m) && !w.overlaps(m) && !m.parked() {
			occupied += d.gpus(m)
		}
	}
	d.need = d.st.Target - occupied
	w.explainWaiting(d)
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
		case m.parked():
			d.st.Parked += d.gpus(m)
		case m.returning():
			d.st.Booting += d.gpus(m)
		case m.Parked != nil: // goes on running until a look shows it stopped
			d.st.Leaving += d.gpus(m)
		case m.Ready():
			d.st.Ready += d.gpus(m)
		case m.booting():
			d.st.Booting += d.gpus(m)
		default:
			d.st.Dead += d.gpus(m)
		}
	}
	w.countContainers(d)
}

// explainWaiting says what a policy waits for that is neither ready nor missing.
func (w *world) explainWaiting(d *desk) {
	if d.st.Leaving > 0 {
		w.hold(d, nil, HoldDeleting, "%d GPUs wait for their end to be confirmed", d.st.Leaving)
	}
	if d.st.Booting > 0 {
		w.hold(d, nil, HoldBooting, "%d GPUs are ordered or booting%s", d.st.Booting, w.aloneText(d))
	}
}

// aloneText says why an order that no list shows is held for longer than usual.
func (w *world) aloneText(d *desk) string {
	v2 := &w.in.Snapshot.V2
	for _, m := range d.machines {
		if m.MissedAlone > 0 && !v2.Complete && v2.Problem != "" {
			return fmt.Sprintf("; an order that v0's list alone leaves out is given up after %d times as long, because v2's cannot be had: %s", aloneFactor, v2.Problem)
		}
	}
	return ""
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

// room is how much more per hour a policy may reserve, and what binds it.
func (w *world) room(d *desk) tightest {
	c := w.caps
	c.Policy = d.p.Budget
	return c.room(w.position(d))
}

// position is what is reserved and spent by now, by all and by a policy.
func (w *world) position(d *desk) position {
	return position{all: w.reserved, own: w.ofPolicy[d.p.Name], allSpent: w.allSpent, ownSpent: w.spent[d.p.Name]}
}

func (w *world) reserve(d *desk, r market.Rate) {
	w.reserved = w.reserved.Add(r)
	w.ofPolicy[d.p.Name] = w.ofPolicy[d.p.Name].Add(r)
}

// finish puts the plan in order, cuts it to what one cycle may do, and adds up.
func (w *world) finish() Plan {
	order := map[ActionKind]int{Delete: 0, Stop: 0, ContainerStop: 0, Rebid: 1, ContainerScale: 1, Modify: 2, Start: 2, Deploy: 3, ContainerDeploy: 3}
	rank := func(a *Action) int {
		if a.Reason.Code == ReasonPriceFell { // it can wait
			return len(order)
		}
		return order[a.Kind]
	}
	slices.SortStableFunc(w.plan.Actions, func(a, b Action) int { return cmp.Compare(rank(&a), rank(&b)) })
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
		case Delete, ContainerStop:
			delta = -a.Rate
		case ContainerScale:
			delta = a.Rate.Sub(w.in.History.Container(a.Machine).Reserved)
		case Stop:
			if delta = 0; a.Release {
				delta = a.Storage.Sub(a.Rate)
			}
		case Rebid, Start, Modify:
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
