package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// most ids that are kept of machines that are not ours.
const (
	mostStrangers = 1000
	mostSuspects  = 10
)

// containers books what a look showed of containers.
//
//	container      | its list of replicas                  | no such container       | no answer, not asked
//	---------------+---------------------------------------+-------------------------+---------------------
//	unknown        | (without an id it cannot be asked for: listed machines and the bill may tell)
//	accepted, live | more than some guess: that guess is    | counted; lost after N   | as it was
//	               | out, at the second list; fewer: the    | and age, if the list of |
//	               | greater are out after N and age, where | machines shows none of  |
//	               | the market had room                    | its machines either     |
//	deleting       | none, twice: gone                      | twice: gone             | as it was
//
// More replicas than any guess allows contradict what was learnt: it is unlearnt, and an
// operator is asked.
func (o *observer) containers() {
	if o.l.Snapshot.Instances.Complete {
		o.findContainers()
		o.strangers()
	}
	looks := map[string]*market.ReplicaList{}
	for i := range o.l.Snapshot.Containers {
		looks[o.l.Snapshot.Containers[i].Container] = &o.l.Snapshot.Containers[i]
	}
	slices.SortFunc(o.h.Containers, func(a, b Container) int { return strings.Compare(a.Name, b.Name) })
	for i := 0; i < len(o.h.Containers); {
		c := &o.h.Containers[i]
		if c.Leaving != nil && c.Leaving.Lost {
			c.Leaving = nil
		}
		if o.container(c, looks[c.ID]) {
			o.meterContainer(c)
			o.h.Containers = slices.Delete(o.h.Containers, i, i+1)
			continue
		}
		c.reserve()
		i++
	}
	o.learnScaling()
}

// container books what this look tells of one container; true if it is gone.
func (o *observer) container(c *Container, look *market.ReplicaList) (gone bool) {
	o.fillModels(c)
	switch {
	case c.ID == "":
		o.suspect(c)
	case look == nil:
	case look.Gone:
		return o.noSuchContainer(c)
	case look.Replicas.Complete:
		return o.replicas(c, look.Replicas.Value)
	}
	return false
}

func (o *observer) emitOf(kind EventKind, c *Container, format string, args ...any) *Event {
	o.events = append(o.events, Event{
		Kind: kind, At: o.l.Now, Policy: c.Policy, Machine: c.Name, Text: fmt.Sprintf(format, args...), Shape: c.Shape,
	})
	return &o.events[len(o.events)-1]
}

// replicas books a whole list of a container's replicas.
func (o *observer) replicas(c *Container, list []market.Replica) (gone bool) {
	was := len(c.Replicas)
	sure := min(was, len(list)) // two lists in a row have shown so many
	if len(list) == 0 && c.Leaving != nil {
		return o.noReplica(c) // its machines stay known until the list of machines lacks them
	}
	o.take(c, list)
	if c.Leaving != nil {
		o.stillRuns(c)
		return false
	}
	c.Missed, c.MissedAt = 0, time.Time{}
	if c.Phase == PhaseAccepted && len(list) > 0 {
		c.Phase = PhaseLive
		if c.DeployIntent != 0 {
			e := o.emitOf(EventConfirmed, c, "runs as %s", c.ID)
			e.Intent, e.State = c.DeployIntent, IntentConfirmed
		}
	}
	if was != len(list) {
		o.emitOf(EventReplicas, c, "%d replicas, was %d", len(list), was)
	}
	if c.ReadyAt.IsZero() && c.Ready() > 0 {
		c.ReadyAt = o.l.Now
		o.emitOf(EventReady, c, "a replica runs after %s", o.l.Now.Sub(c.OrderedAt).Round(time.Second)).Seconds = int64(o.l.Now.Sub(c.OrderedAt) / time.Second)
		o.h.forgiveContainer(c.Policy)
	}
	o.judgeCount(c, len(list), sure)
	return false
}

// forgiveContainer forgets the refusals of a policy's containers.
func (h *History) forgiveContainer(name string) { Forgive(h, containerHost(name), "", 0) }

// take keeps the list, with the statuses of the machines in it.
func (o *observer) take(c *Container, list []market.Replica) {
	status := map[string]market.Status{}
	for i := range o.l.Snapshot.Instances.Value {
		status[o.l.Snapshot.Instances.Value[i].ID] = o.l.Snapshot.Instances.Value[i].Status
	}
	room := o.roomFor(c)
	if c.SeenAt.IsZero() || len(list) != len(c.Replicas) || !room {
		c.Steady, c.SteadyAt = 0, o.l.Now
	}
	if room {
		c.Steady++
	}
	dear := false
	c.Replicas = c.Replicas[:0:0]
	for _, r := range list {
		c.Replicas = append(c.Replicas, ReplicaSeen{Replica: r, Status: status[r.Machine]})
		dear = dear || r.Rate.Or(0) > c.Ceiling
	}
	c.Dear++
	if !dear {
		c.Dear = 0
	}
	c.Down++
	if len(c.Replicas) == 0 || o.broke() || slices.ContainsFunc(c.Replicas, func(r ReplicaSeen) bool { return !r.dead() }) {
		c.Down = 0
	}
	c.SeenAt = o.l.Now
}

// fillModels looks up what an adopted container may run on: nobody has ordered it.
func (o *observer) fillModels(c *Container) {
	i := slices.IndexFunc(o.l.Policies, func(p policy.Policy) bool { return p.Name == c.Policy })
	if len(c.Models) > 0 || i < 0 {
		return
	}
	match := policy.NewMatcher(o.l.Policies[i].Match)
	for j := range o.l.Snapshot.Hosts.Value {
		for _, g := range o.l.Snapshot.Hosts.Value[j].GPUs {
			if _, ok := match.GPU(g); ok {
				c.Models = append(c.Models, g.Model)
			}
		}
	}
	slices.Sort(c.Models)
	c.Models = slices.Compact(c.Models)
}

// roomFor says whether the market offers what another replica needs, within its
// ceiling, and would bring it up: only then does it say something that there is none.
func (o *observer) roomFor(c *Container) bool {
	if !o.l.Snapshot.Hosts.Complete || !o.solvent() {
		return false
	}
	for i := range o.l.Snapshot.Hosts.Value {
		h := &o.l.Snapshot.Hosts.Value[i]
		for j := range h.GPUs {
			if slices.Contains(c.Models, h.GPUs[j].Model) && fitsReplica(newOffer(h, &h.GPUs[j], 0, 0), c) {
				return true
			}
		}
	}
	return false
}

// solvent says whether the account has what the market wants before it starts anything,
// by what this look and the last one believed show. One who cannot pay gets no replica
// now, and may get all that was asked for with the next deposit.
func (o *observer) solvent() bool {
	shown, read := o.l.Snapshot.Balance.Value.Balance.Get()
	read = read && o.l.Snapshot.Balance.Complete
	believed, known := o.h.Account.Balance.Get()
	return (read || known) && (!read || shown >= leastBalance) && (!known || believed >= leastBalance)
}

func fitsReplica(of offer, c *Container) bool {
	h, s := of.host, c.Shape
	enough := of.gpu.Free >= s.GPUs && h.CPU.Free.Or(0) >= s.VCPUs && h.RAM.Free.Or(0) >= s.RAM && h.Storage.Free.Or(0) >= s.Storage
	rate := of.gpuRate.Mul(s.GPUs).Add(of.cpu.Mul(s.VCPUs)).Add(of.ram.Mul(s.RAM)).Add(of.disk.Mul(s.Storage))
	return of.open && of.priced && enough && rate <= c.Ceiling
}

// judgeCount holds the number of replicas against what may be true.
func (o *observer) judgeCount(c *Container, n, sure int) {
	s := c.Scale
	old := false // the request under way should have taken effect by now
	if s != nil {
		s.Looks++
		old = s.Looks >= o.l.Safety.UnknownLooks && o.l.Now.Sub(s.At) >= o.l.Safety.UnknownAge
	}
	if s == nil || old || !s.lowers() { // what is being taken away may still be shown
		if c.exceeds(sure) || o.disproves(c, n, old) {
			o.contradict(c, n)
			return
		}
		c.Guesses = likely(c.Guesses, func(g Guess) bool { return g.Wanted >= sure })
	}
	if (s == nil || old) && c.Steady >= o.l.Safety.UnknownLooks && o.l.Now.Sub(c.SteadyAt) >= o.l.Safety.UnknownAge {
		c.Guesses = likely(c.Guesses, func(g Guess) bool { return g.Wanted <= n })
	}
	o.judgeScale(c, n)
}

// likely keeps the guesses that hold, or all where none does.
func likely(gs []Guess, holds func(Guess) bool) []Guess {
	kept := slices.DeleteFunc(slices.Clone(gs), func(g Guess) bool { return !holds(g) })
	if len(kept) == 0 {
		return gs
	}
	return kept
}

// exceeds says whether there are more replicas than anything explains.
func (c *Container) exceeds(n int) bool {
	return !slices.ContainsFunc(c.Guesses, func(g Guess) bool { return g.Wanted >= n })
}

// disproves says whether the market took a number that it was to add for the new
// count: so many replicas are left of more.
func (o *observer) disproves(c *Container, n int, old bool) bool {
	s := c.Scale
	return s != nil && s.Accepted && old && o.h.Scaling.Meaning == ScaleDelta && s.Sent > 0 && n == s.Sent &&
		!slices.ContainsFunc(s.From, func(g Guess) bool { return g.Wanted <= n })
}

// contradict unlearns what the market was believed to mean, and asks an operator. What
// the other meaning makes of the last request stays possible.
func (o *observer) contradict(c *Container, n int) {
	text := fmt.Sprintf("%d replicas run, more than it was asked for by anything that is known", n)
	if s := c.Scale; s != nil {
		text = fmt.Sprintf("%d replicas run after a request to scale with %d: that is not what the market was believed to make of it", n, s.Sent)
		e := o.emitOf(EventReplicas, c, "%s", text)
		e.Intent, e.State = s.Intent, IntentFailed
		for _, g := range s.From {
			c.Guesses = append(c.Guesses, Guess{ScaleAbsolute, g.Wanted}.after(s.Sent), Guess{ScaleDelta, g.Wanted}.after(s.Sent))
		}
	}
	c.Scale = nil
	o.unlearn()
	c.Guesses = append(c.Guesses, o.h.bothMeanings(n)...)
	c.Guesses = tidyGuesses(likely(c.Guesses, func(g Guess) bool { return g.Wanted >= n }))
	o.alarm(c, text)
}

// unlearn makes both meanings possible again, for every container.
func (o *observer) unlearn() {
	o.h.Scaling = ScaleLesson{}
	for i := range o.h.Containers {
		c := &o.h.Containers[i]
		for _, g := range slices.Clone(c.Guesses) {
			c.Guesses = append(c.Guesses, o.h.bothMeanings(g.Wanted)...)
		}
		c.Guesses = tidyGuesses(c.Guesses)
	}
}

func (o *observer) alarm(c *Container, text string) {
	if c.Alarm == "" {
		c.AlarmAt = o.l.Now
		o.emitOf(EventAlarm, c, "%s; what to do: docs/containers.md, \"tdscaler container adopt %s ID|--none\"", text, c.Policy)
	}
	c.Alarm = text
}

// judgeScale settles the request under way, once one count is left that the list
// agrees with.
func (o *observer) judgeScale(c *Container, n int) {
	s := c.Scale
	if s == nil {
		return
	}
	w, known := c.Wanted()
	meant := len(c.Guesses) == 1
	undone := !slices.ContainsFunc(c.Guesses, func(g Guess) bool { return !slices.Contains(s.From, g) })
	switch {
	case !s.Accepted && undone:
		e := o.emitOf(EventReplicas, c, "the request to scale with %d, whose answer was lost, had no effect", s.Sent)
		e.Intent, e.State = s.Intent, IntentFailed
	case known && meant && (n == w || s.lowers() && n <= w):
		e := o.emitOf(EventReplicas, c, "the request to scale with %d has made it %d replicas", s.Sent, w)
		e.Intent, e.State = s.Intent, IntentConfirmed
	default:
		return
	}
	c.Scale = nil
}

// learnScaling draws the lesson, once a container leaves only one meaning possible, and
// applies it to all.
func (o *observer) learnScaling() {
	if o.h.Scaling.Meaning != "" {
		return
	}
	for i := range o.h.Containers {
		c := &o.h.Containers[i]
		if m := onlyMeaning(c.Guesses); m != "" && c.Alarm == "" {
			o.h.Scaling = ScaleLesson{m, o.l.Now}
			o.emitOf(EventScaleLearnt, c, "the market reads the number in a request to scale as %s", meaningText(m))
			break
		}
	}
	if o.h.Scaling.Meaning == "" {
		return
	}
	for i := range o.h.Containers {
		c := &o.h.Containers[i]
		c.Guesses = likely(c.Guesses, func(g Guess) bool { return g.Meaning == o.h.Scaling.Meaning })
		o.judgeScale(c, len(c.Replicas))
		c.reserve()
	}
}

func onlyMeaning(gs []Guess) (m ScaleMeaning) {
	for i, g := range gs {
		if i > 0 && g.Meaning != m {
			return ""
		}
		m = g.Meaning
	}
	return m
}

func meaningText(m ScaleMeaning) string {
	if m == ScaleDelta {
		return "a difference to the present count"
	}
	return "the new count"
}

// noSuchContainer books that the market, asked for the container, knew none. Alone it
// proves nothing: what it runs on must be gone, too.
func (o *observer) noSuchContainer(c *Container) (gone bool) {
	if c.Leaving != nil {
		return o.noReplica(c)
	}
	if c.Missed == 0 {
		c.MissedAt = o.l.Now
	}
	c.Missed++
	if c.Missed < o.l.Safety.UnknownLooks || o.l.Now.Sub(c.MissedAt) < o.l.Safety.UnknownAge {
		return false
	}
	if o.listed(c) {
		o.alarm(c, "the market knows no container "+c.ID+", but still lists machines of it")
		return false
	}
	e := o.emitOf(EventLost, c, "the market has known no such container in %d looks since %s: gone", c.Missed, c.MissedAt.UTC().Format(time.RFC3339))
	if c.Phase == PhaseAccepted {
		e.Intent, e.State = c.DeployIntent, IntentExpired
	}
	o.closeScale(c)
	return true
}

// listed says whether the list of machines shows one of the container's, or cannot say.
func (o *observer) listed(c *Container) bool {
	list := &o.l.Snapshot.Instances
	return !list.Complete || slices.ContainsFunc(list.Value, func(i market.Instance) bool {
		return i.Status != market.StatusTerminated && c.runsOn(&i)
	})
}

// noReplica books that a container on its way out shows no replica any more; at the
// second time, and where no machine of it is listed, its end is confirmed.
func (o *observer) noReplica(c *Container) (gone bool) {
	if o.listed(c) {
		return false
	}
	if c.Missed++; c.Missed < 2 {
		return false
	}
	e := o.emitOf(EventDeleted, c, "stopped: no replica is left")
	e.Intent, e.State = c.Leaving.Intent, IntentConfirmed
	if c.Phase == PhaseDeleting && c.ReadyAt.IsZero() && c.DeployIntent != 0 {
		e := o.emitOf(EventExpired, c, "stopped before a replica ran")
		e.Intent, e.State = c.DeployIntent, IntentExpired
	}
	o.closeScale(c)
	return true
}

func (o *observer) closeScale(c *Container) {
	if c.Scale == nil {
		return
	}
	e := o.emitOf(EventReplicas, c, "the container is gone")
	e.Intent, e.State = c.Scale.Intent, IntentFailed
}

// stillRuns counts the lists that show replicas of a container whose stop was
// accepted; after enough of them it did not happen and is asked for again.
func (o *observer) stillRuns(c *Container) {
	d := c.Leaving
	c.Missed = 0
	d.Looks++
	if d.Looks < o.l.Safety.UnknownLooks || o.l.Now.Sub(d.At) < o.l.Safety.AbsentAge {
		return
	}
	c.Phase, c.Leaving = PhaseLive, nil
	e := o.emitOf(EventStatus, c, "still there after %d looks although its stop was accepted", d.Looks)
	e.Intent, e.State = d.Intent, IntentFailed
}

// suspect looks for what tells whether a container without an id exists.
func (o *observer) suspect(c *Container) {
	o.alarm(c, "nobody knows whether it exists: the API names no containers")
	list, b := &o.l.Snapshot.Instances, &o.l.Snapshot.Balance
	if !list.Complete {
		return
	}
	c.Suspects = nil
	for i := range list.Value {
		if inst := &list.Value[i]; len(c.Suspects) < mostSuspects && o.maybeReplica(c, inst) {
			c.Suspects = append(c.Suspects, inst.ID)
		}
	}
	slices.Sort(c.Suspects)
	c.Unexplained = market.Maybe[market.Rate]{}
	if charged, ok := b.Value.Hourly.Get(); ok && b.Complete {
		if more := charged.Sub(explained(o.h, list.Value).Sub(c.Reserved)); more > gapTolerance {
			c.Unexplained = market.Some(more)
		}
	}
}

// maybeReplica says whether a listed machine may be a replica of the container: by its
// name, or because it is nobody's, new, and of the container's size.
func (o *observer) maybeReplica(c *Container, inst *market.Instance) bool {
	if c.names(inst.Name) {
		return true
	}
	_, stranger := slices.BinarySearch(o.h.Strangers, inst.ID)
	sized := inst.Shape.GPUs == c.Shape.GPUs && (inst.Model == "" || slices.Contains(c.Models, inst.Model))
	return stranger && sized && !slices.Contains(c.Before, inst.ID)
}

// strangers remembers which listed machines are not ours, so that a new one is known
// for one, where that may matter.
func (o *observer) strangers() {
	o.h.Strangers = nil
	if len(o.h.Containers) == 0 && !slices.ContainsFunc(o.l.Policies, func(p policy.Policy) bool { return p.Kind == policy.Container }) {
		return
	}
	ours := map[string]bool{}
	for i := range o.h.Machines {
		ours[o.h.Machines[i].ID] = true
	}
	for i := range o.l.Snapshot.Instances.Value {
		inst := &o.l.Snapshot.Instances.Value[i]
		if _, marked := market.ParseMachineName(inst.Name); !marked && !ours[inst.ID] && o.h.replicaOf(inst) == nil {
			o.h.Strangers = append(o.h.Strangers, inst.ID)
		}
	}
	slices.Sort(o.h.Strangers)
	o.h.Strangers = slices.Compact(o.h.Strangers)
	o.h.Strangers = o.h.Strangers[:min(len(o.h.Strangers), mostStrangers)]
}

// findContainers takes in containers of ours that have no record, where the market
// lists their replicas under their names: a ledger was lost, or is an old copy. They
// have no id, so that an operator is asked.
func (o *observer) findContainers() {
	for i := range o.l.Snapshot.Instances.Value {
		inst := &o.l.Snapshot.Instances.Value[i]
		n, ours := market.ParseMachineName(inst.Name)
		if !ours || n.Owner != o.l.Owner || inst.Status == market.StatusTerminated || o.h.replicaOf(inst) != nil || o.h.Machine(inst.Name) != nil {
			continue
		}
		p := o.containerPolicy(n.Policy)
		if p == nil {
			continue
		}
		name := strings.TrimSuffix(inst.Name, "-"+n.Key)
		count := 0
		for j := range o.l.Snapshot.Instances.Value {
			if strings.HasPrefix(o.l.Snapshot.Instances.Value[j].Name, name+"-") {
				count++
			}
		}
		c := Container{
			Name: name, Policy: p.Name, Phase: PhaseUnknown, Image: p.Image, Shape: p.Shape, Ceiling: p.Ceiling(),
			Guesses: o.h.bothMeanings(max(count, p.Target)), OrderedAt: o.l.Now, MeteredAt: o.l.Now, Adopted: true,
		}
		c.reserve()
		o.h.Containers = append(o.h.Containers, c)
	}
}

// containerPolicy is the policy for containers whose container's name, without owner,
// is given: its own name and a key. A policy that is called so is meant itself.
func (o *observer) containerPolicy(name string) *policy.Policy {
	if slices.ContainsFunc(o.l.Policies, func(p policy.Policy) bool { return p.Name == name }) || slices.Contains(o.h.Known, name) {
		return nil
	}
	for i := range o.l.Policies {
		p := &o.l.Policies[i]
		if key, ok := strings.CutPrefix(name, p.Name+"-"); ok && len(key) == market.KeyLen && !strings.Contains(key, "-") && p.Kind == policy.Container {
			return p
		}
	}
	return nil
}

// meterContainer charges a container as meter does a machine.
func (o *observer) meterContainer(c *Container) {
	if now := o.l.Now; now.After(c.MeteredAt) {
		if rate := max(o.before[c.Name], c.Burn()); rate < market.MaxRate && !c.MeteredAt.IsZero() {
			o.billContainer(c, rate, c.MeteredAt, now)
		}
		c.MeteredAt = now
	}
}

// billContainer books what a container cost. What its replicas would have cost
// otherwise nobody asks.
func (o *observer) billContainer(c *Container, rate market.Rate, from, to time.Time) {
	of := Cost{Policy: c.Policy, Machine: c.Name, ID: c.ID, Capacity: market.OnDemand, GPUs: c.Shape.GPUs * max(len(c.Replicas), 1)}
	if len(c.Models) == 1 {
		of.Model = c.Models[0]
	}
	o.charge(of, rate, from, to, func(part *Cost, d time.Duration) {
		part.Billed, part.Unpriced, part.Uncompared = Span(d), Span(d), part.Amount
	})
}
