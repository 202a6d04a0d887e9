package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// tendContainers looks after what a policy of kind container has: what must go, what is
// too much. Growth comes after the caps had their word: see growContainer.
//
//	not known whether it exists, or not what was believed  -> an operator is asked; nothing else
//	none wanted                                            -> stop
//	does not fit its policy any more                       -> stop
//	more than one                                          -> stop all but the oldest
//	more replicas than wanted, and it is known how to say  -> scale
func (w *world) tendContainers(d *desk) {
	for _, m := range d.machines { // from before the policy became one for containers
		if d.busy = true; !w.remove(m, Reason{ReasonNotMatching, "the policy buys containers now"}) {
			w.hold(d, m, HoldDeleting, "a machine from before the policy became one for containers")
		}
	}
	cs := w.in.History.containersOf(d.p.Name)
	for _, c := range cs {
		w.holdContainer(d, c)
	}
	for i, c := range slices.DeleteFunc(slices.Clone(cs), func(c *Container) bool { return c.ID == "" || c.Leaving != nil }) {
		switch why, unfit := w.unfitContainer(d, c); {
		case d.st.Target == 0:
			w.stop(d, c, Reason{ReasonOverTarget, "no replica is wanted"})
		case unfit:
			w.stop(d, c, why)
		case i > 0:
			w.stop(d, c, Reason{ReasonOverTarget, "one container is enough, and " + cs[0].Name + " is older"})
		case c.Alarm == "":
			w.shrinkContainer(d, c)
		}
	}
}

// holdContainer says what a container waits for, or an operator is asked.
func (w *world) holdContainer(d *desk, c *Container) {
	switch {
	case c.Leaving != nil:
		w.holdFor(d, c, HoldDeleting, "%d replicas wait until their stop is confirmed", len(c.Replicas))
	case c.ID == "":
		w.holdFor(d, c, HoldContainer, "%s", c.riddle())
	case c.Alarm != "":
		w.holdFor(d, c, HoldAlarm, "%s; %s is reserved for it. Look at the dashboard, then: tdscaler container adopt %s %s, or --none", c.Alarm, c.Reserved, c.Policy, c.ID)
	case c.Missed > 0:
		w.holdFor(d, c, HoldReplicas, "the market says that it knows no such container (looked %d times since %s)", c.Missed, c.MissedAt.UTC().Format(timeLayout))
	}
}

const timeLayout = "2006-01-02T15:04:05Z"

// riddle tells what is known of a container without an id, and what to do.
func (c *Container) riddle() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s may exist: it was ordered at %s and the market has told no id of it; %s is reserved for it.", c.Name, c.OrderedAt.UTC().Format(timeLayout), c.Reserved)
	if c.Adopted {
		b.Reset()
		fmt.Fprintf(&b, "%s is not in this ledger, but the market lists machines under its name; %s is reserved for it.", c.Name, c.Reserved)
	}
	switch more, charged := c.Unexplained.Get(); {
	case len(c.Suspects) > 0 && charged:
		fmt.Fprintf(&b, " Machines that may run it: %s; the account is charged %s beyond all that is listed.", strings.Join(c.Suspects, ", "), more)
	case len(c.Suspects) > 0:
		fmt.Fprintf(&b, " Machines that may run it: %s.", strings.Join(c.Suspects, ", "))
	case charged:
		fmt.Fprintf(&b, " No listed machine looks like it; the account is charged %s beyond all that is listed.", more)
	default:
		b.WriteString(" No listed machine looks like it, and the account is charged for nothing unknown.")
	}
	fmt.Fprintf(&b, " Look at the dashboard, then: tdscaler container adopt %s ID, or --none", c.Policy)
	return b.String()
}

func (w *world) holdFor(d *desk, c *Container, code, format string, args ...any) {
	w.hold(d, &Machine{Name: c.Name, Policy: c.Policy}, code, format, args...)
}

// unfitContainer says why a container cannot stay. Neither its ceiling nor what it may
// run on can be changed.
func (w *world) unfitContainer(d *desk, c *Container) (Reason, bool) {
	for _, g := range c.Models {
		if _, ok := d.match.Model(g); !ok {
			return Reason{ReasonNotMatching, fmt.Sprintf("it may run on %s, which the policy does not take any more", g)}, true
		}
	}
	switch {
	case c.Image != d.p.Image:
		return Reason{ReasonNotMatching, fmt.Sprintf("it runs %s, the policy wants %s", c.Image, d.p.Image)}, true
	case c.Shape != d.p.Shape:
		return Reason{ReasonNotMatching, "its replicas have another shape than the policy wants"}, true
	case c.Ceiling > d.p.Ceiling():
		return Reason{ReasonOverCeiling, fmt.Sprintf("a replica may cost %s, the ceiling is %s now", c.Ceiling, d.p.Ceiling())}, true
	case c.Down >= w.in.Safety.UnknownLooks:
		return Reason{ReasonStopped, fmt.Sprintf("none of its %d replicas delivers anything (seen %d times)", len(c.Replicas), c.Down)}, true
	case c.Dear >= w.in.Safety.AbsentLooks:
		return Reason{ReasonOverCeiling, fmt.Sprintf("a replica costs more than its ceiling of %s (seen %d times)", c.Ceiling, c.Dear)}, true
	}
	return Reason{}, false
}

// stop plans the end of a container; false if the market cannot be told yet.
func (w *world) stop(d *desk, c *Container, why Reason) bool {
	if c.ID == "" || c.Leaving != nil || w.going[c.Name] {
		return false
	}
	w.going[c.Name] = true
	if d != nil {
		d.busy = true
	}
	w.plan.Actions = append(w.plan.Actions, w.containerAction(ContainerStop, c, c.Reserved, why))
	return true
}

func (w *world) containerAction(k ActionKind, c *Container, rate market.Rate, why Reason) Action {
	a := Action{
		Kind: k, Policy: c.Policy, Machine: c.Name, Instance: c.ID, Shape: c.Shape, Capacity: market.OnDemand,
		Rate: rate, Ceiling: c.Ceiling, Reason: why,
	}
	if len(c.Models) > 0 {
		a.Model = c.Models[0]
	}
	return a
}

// steadyCount is the count of a container that may be scaled from: asked for, known, and
// nothing under way that a lost answer left in doubt.
func (w *world) steadyCount(c *Container) (n int, ok bool) {
	n, known := c.Wanted()
	return n, known && c.Phase == PhaseLive && c.Missed == 0 && c.Alarm == "" && w.listedNow(c) && (c.Scale == nil || c.Scale.Accepted && len(c.Guesses) == 1)
}

// listedNow says whether this look has a whole list of the container's replicas.
func (w *world) listedNow(c *Container) bool {
	return slices.ContainsFunc(w.in.Snapshot.Containers, func(l market.ReplicaList) bool {
		return l.Container == c.ID && l.Replicas.Complete
	})
}

// shrinkContainer takes replicas away where it is known how to say so.
func (w *world) shrinkContainer(d *desk, c *Container) {
	n, ok := w.steadyCount(c)
	want := d.st.Target / d.p.Shape.GPUs
	switch {
	case !ok || n <= want:
		return
	case w.in.History.Scaling.Meaning == "":
		w.holdFor(d, c, HoldUnlearnt, "%d replicas, %d wanted; it is not known how the market reads a request to scale, which can be learnt at one replica only: "+
			"to begin anew there, tdscaler destroy %s and resume", n, want, d.p.Name)
	case w.in.History.OpenBreaker(w.in.Now) != nil:
		w.holdFor(d, c, HoldBreaker, "%d replicas, %d wanted; %s", n, want, breakerText(w.in.History.OpenBreaker(w.in.Now)))
	case !w.refusedLately(d) && !w.cooling(d):
		w.scale(d, c, n, want, Reason{ReasonOverTarget, fmt.Sprintf("%d replicas, %d wanted", n, want)})
	}
}

// scale plans a request to scale by what was learnt.
func (w *world) scale(d *desk, c *Container, from, to int, why Reason) {
	sent := to
	if w.in.History.Scaling.Meaning == ScaleDelta {
		sent = to - from
	}
	w.send(d, c, sent, why)
}

// send plans a request to scale with a number. Until a look shows the result, the
// dearer of what was and what it makes of it is reserved.
func (w *world) send(d *desk, c *Container, sent int, why Reason) {
	next := *c
	next.Scale = &PendingScale{Sent: sent, From: c.Guesses}
	next.Guesses = append(slices.Clone(c.Guesses), afterAll(c.Guesses, sent)...)
	next.reserve()
	a := w.containerAction(ContainerScale, c, next.Reserved, why)
	a.Replicas, a.Reserve = sent, next.Reserved
	w.plan.Actions = append(w.plan.Actions, a)
	w.going[c.Name] = true
	d.busy = true
	w.reserve(d, next.Reserved.Sub(c.Reserved))
}

// growContainer orders a container, or more replicas of the one there is.
//
//	no container, and the meaning is known or one is wanted -> deploy what is wanted, as far as money goes
//	no container, and it is not known                       -> deploy one
//	one replica, more wanted, and it is not known           -> send 1: it stays at one, or becomes two
//	fewer than wanted, and it is known                      -> scale, as far as money goes
func (w *world) growContainer(d *desk) {
	cs := w.in.History.containersOf(d.p.Name)
	want := d.st.Target / d.p.Shape.GPUs
	if want == 0 || w.pausedBy(d.p.Name) != nil || slices.ContainsFunc(cs, func(c *Container) bool {
		return c.ID == "" || c.Leaving != nil || c.Alarm != "" || w.going[c.Name]
	}) {
		return // held already, or on its way
	}
	if len(cs) == 0 {
		w.orderContainer(d, want)
		return
	}
	c := cs[0]
	n, ok := w.steadyCount(c)
	switch {
	case !w.listedNow(c) && c.Missed == 0:
		w.holdFor(d, c, HoldReplicas, "its replicas could not be listed: %s", w.replicaProblem(c))
	case !ok && c.Phase != PhaseLive:
		w.holdFor(d, c, HoldBooting, "ordered %s ago, no replica is shown yet", w.in.Now.Sub(c.OrderedAt).Round(1e9))
	case !ok:
		w.holdFor(d, c, HoldScale, "%s", w.doubtText(c))
	case n < want:
		w.extend(d, c, n, want)
	case d.st.Ready < d.st.Target && !d.busy:
		w.holdFor(d, c, HoldBooting, "%d of %d replicas run; the market was asked for %d", c.Ready(), want, n)
	}
}

func (w *world) replicaProblem(c *Container) string {
	for _, l := range w.in.Snapshot.Containers {
		if l.Container == c.ID {
			return l.Replicas.Problem
		}
	}
	return "this look did not ask for them"
}

func (w *world) doubtText(c *Container) string {
	s := c.Scale
	switch {
	case s == nil:
		return fmt.Sprintf("%d replicas run, and it is not certain how many were asked for; at most %d", len(c.Replicas), c.Most())
	case s.Accepted:
		return fmt.Sprintf("asked to scale with %d; %d replicas are shown after %d looks", s.Sent, len(c.Replicas), s.Looks)
	}
	return fmt.Sprintf("the answer to a request to scale with %d was lost; it is not repeated: %d replicas are shown after %d looks, "+
		"and room for %d is kept", s.Sent, len(c.Replicas), s.Looks, c.Most())
}

// affords says how many replicas more the budget and the market allow, and holds the
// policy where that is none.
func (w *world) affords(d *desk, ceiling market.Rate, lack int) int {
	if !w.mayGrow(d, lack*d.p.Shape.GPUs) {
		return 0
	}
	d.buying = market.OnDemand
	if w.cands = w.candidates(d, w.cands[:0]); len(w.cands) == 0 {
		w.hold(d, nil, HoldNoOffer, "%d replicas are missing; no host offers room for one within its ceiling of %s", lack, ceiling)
		return 0
	}
	bound := w.room(d)
	n := lack
	for n > 0 && ceiling.Mul(n) > bound.room {
		n--
	}
	if n == 0 {
		w.hold(d, nil, HoldBudget, "%d replicas are missing; one may cost %s, %s are left: %s", lack, ceiling, bound.room, bound.why)
	}
	return n
}

// orderContainer deploys a policy's container.
func (w *world) orderContainer(d *desk, want int) {
	if w.refusedLately(d) {
		return
	}
	first, why := want, fmt.Sprintf("no container, %d replicas wanted", want)
	if w.in.History.Scaling.Meaning == "" && want > 1 {
		first, why = 1, why+"; it begins with one, to learn how the market reads a request to scale"
	}
	models := w.containerModels(d)
	ceiling := d.p.Ceiling()
	n := w.affords(d, ceiling, first)
	if n == 0 {
		return
	}
	if len(models) == 0 {
		w.hold(d, nil, HoldNoOffer, "the market lists no GPU model that match.gpu_models takes")
		return
	}
	c := &Container{Policy: d.p.Name, Shape: d.p.Shape, Models: models, Ceiling: ceiling}
	a := w.containerAction(ContainerDeploy, c, ceiling.Mul(n), Reason{ReasonBelowTarget, why})
	a.Replicas, a.Image, a.Models, a.Reserve = n, d.p.Image, models, ceiling.Mul(n)
	w.plan.Actions = append(w.plan.Actions, a)
	d.busy = true
	w.reserve(d, a.Rate)
}

// refusedLately says whether the market has refused a policy's last request about its
// container too short a while ago for another, and holds it.
func (w *world) refusedLately(d *desk) bool {
	for i := range w.in.History.Backoffs {
		if b := &w.in.History.Backoffs[i]; b.Host == containerHost(d.p.Name) && w.in.Now.Before(b.Until) {
			w.hold(d, nil, HoldRefused, "not asked again before %s: %s", b.Until.UTC().Format(timeLayout), b.Reason)
			return true
		}
	}
	return false
}

// containerModels are the models that a policy's containers may run on. The market takes
// names alone, so that patterns are looked up in the list of hosts.
func (w *world) containerModels(d *desk) []market.GPUModel {
	var out []market.GPUModel
	add := func(g market.HostGPU) {
		if _, ok := d.match.GPU(g); ok && d.keeps(g.Model) {
			out = append(out, g.Model)
		}
	}
	for i := range w.in.Snapshot.Hosts.Value {
		for _, g := range w.in.Snapshot.Hosts.Value[i].GPUs {
			add(g)
		}
	}
	for _, name := range d.p.Match.GPUModels {
		if !strings.ContainsAny(name, "*?") {
			add(market.HostGPU{Model: market.GPUModel(strings.ToLower(name))})
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// extend asks for more replicas of a container that has n.
func (w *world) extend(d *desk, c *Container, n, want int) {
	meaning := w.in.History.Scaling.Meaning
	switch {
	case w.refusedLately(d):
	case meaning != "":
		if k := w.affords(d, c.Ceiling, want-n); k > 0 {
			w.scale(d, c, n, n+k, Reason{ReasonBelowTarget, fmt.Sprintf("%d replicas, %d wanted", n, want)})
		}
	case n != 1:
		w.holdFor(d, c, HoldUnlearnt, "%d replicas, %d wanted; it is not known how the market reads a request to scale, which can be learnt at one replica only: "+
			"to begin anew there, tdscaler destroy %s and resume", n, want, d.p.Name)
	case len(c.Replicas) != 1 || c.Ready() != 1:
		w.holdFor(d, c, HoldScale, "%d of 1 replica runs; then it is learnt how the market reads a request to scale", c.Ready())
	case w.affords(d, c.Ceiling, 1) == 1:
		w.send(d, c, 1, Reason{ReasonLearnScale, fmt.Sprintf("%d replicas wanted; sends the present count of 1, which leaves it or makes it 2", want)})
	}
}

// countContainers adds a policy's replicas to its standing, in GPUs.
func (w *world) countContainers(d *desk) {
	g := d.p.Shape.GPUs
	for _, c := range w.in.History.containersOf(d.p.Name) {
		if c.Leaving != nil || c.Phase == PhaseDeleting {
			d.st.Leaving += len(c.Replicas) * g
			continue
		}
		dead := 0
		for i := range c.Replicas {
			if c.Replicas[i].dead() {
				dead++
			}
		}
		d.st.Ready += c.Ready() * g
		d.st.Dead += dead * g
		d.st.Booting += (c.Most() - c.Ready() - dead) * g
	}
}

// endContainers stops the containers of a policy that an operator has destroyed.
func (w *world) endContainers(d *desk, name string, p *Pause) {
	for _, c := range w.in.History.containersOf(name) {
		if p.Teardown {
			w.stop(d, c, Reason{ReasonDestroy, pauseText(p)})
		}
		if d != nil || c.ID == "" {
			w.holdContainer(d, c)
		}
	}
}

// orphanContainers stops the containers of policies that are no longer in the file, or
// no longer for containers.
func (w *world) orphanContainers() {
	for _, c := range w.in.History.allContainers() {
		d := w.deskOf[c.Policy]
		if d != nil && d.p.Kind == policy.Container {
			continue
		}
		p := w.pausedBy(c.Policy)
		switch {
		case p != nil && d != nil: // tend has done it
		case p != nil:
			w.endContainers(nil, c.Policy, p)
		case d == nil && !slices.Contains(w.in.History.Known, c.Policy):
			w.holdFor(nil, c, HoldOrphan, "no policy %q in the file, and this ledger never knew one: it is left alone (destroy %s to end its bill)", c.Policy, c.Policy)
		case !w.stop(d, c, Reason{ReasonPolicyRemoved, fmt.Sprintf("no policy %q for containers any more", c.Policy)}):
			w.holdContainer(d, c)
		}
	}
}

// withContainers adds to machines what stands for the containers among them where caps
// are kept: it is shed like a machine, all its replicas at once.
func (w *world) withContainers(machines []*Machine, counts func(policy string) bool) []*Machine {
	out := slices.Clip(machines)
	for _, c := range w.in.History.allContainers() {
		if counts(c.Policy) {
			m := &Machine{Name: c.Name, Policy: c.Policy, ID: c.ID, Phase: PhaseLive, Reserved: c.Reserved, Leaving: c.Leaving}
			if c.ID == "" {
				m.Phase = PhaseUnknown
			}
			out = append(out, m)
		}
	}
	return out
}
