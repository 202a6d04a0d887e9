package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Look is a snapshot with what is needed to judge it.
type Look struct {
	Now      time.Time
	Owner    string
	Safety   policy.Safety
	Policies []policy.Policy
	Snapshot market.Snapshot
	// Demand is what the policies' targets came to, if Resolved.
	Demand   demand.Result
	Resolved bool
	// Zone is where the days and months of the caps begin.
	Zone policy.Zone
	// Boot and Up are a reading, taken with Now, of a clock that nobody can set; Boot
	// is "" where there is none.
	Boot string
	Up   time.Duration
	// Strange are names in the list that carry our mark and owner, and that this
	// ledger neither gave out nor took in before. Sorted.
	Strange []string
	// Watched is since when this very process has seen the machines of this owner, so
	// that what is strange now has appeared under its eyes; zero before its first look.
	Watched time.Time
	// Early: it is made before its time, because of news. What takes several looks, and
	// no time, to be believed does not count it.
	Early bool
	// Findings are what came of errands; those of earlier looks may be among them.
	Findings []Finding
}

// Observe books what a look showed: machines seen, changed, absent, adopted, and
// what they cost since the last look. It decides nothing about the future.
//
//	machine   | list shows it       | complete list without it         | no complete list
//	----------+---------------------+----------------------------------+-----------------
//	unknown   | live, confirmed     | counted; expired after N and age | as it was
//	accepted  | live, confirmed     | counted; expired after N and age | as it was
//	          |                     | of v0 and v2 both; v0 without v2 |
//	          |                     | expires it after 3 N and 3 age   |
//	live      | refreshed; lost, if | counted; lost after N and age    | as it was
//	          | ended, asked for too|                                  |
//	          |                     | (of v2, where only v2 showed it) |
//	deleting  | live again after N  | gone: deletion confirmed         | as it was
//	          |                     | (an empty list: at the second)   |
//	no record | adopted, if ours    |                                  |
//
// A list that misses at least two and at least half of the live machines is not
// believed: it opens a breaker, and counts only once that has cooled down.
//
// h is changed in place.
func Observe(h *History, l Look) []Event { return Witness(h, l).Events }

// Witnessed is what a look taught us. Costs and Outages are not in the History, but
// only in the ledger: no decision rests on them.
type Witnessed struct {
	Events []Event
	// Costs are what is to be added to the costs on record, in order.
	Costs []Cost
	// Balance is how the balance went; unknown where this look did not read one.
	Balance market.Maybe[Balance]
	// Outages are those that are over, in order; the others are with their machines.
	Outages []Outage
}

// Witness is Observe, with what is kept beside the History.
func Witness(h *History, l Look) Witnessed {
	o := observer{
		h: h, l: l, zone: l.Zone.Location(), before: map[string]market.Rate{}, well: map[string]time.Time{},
		charges: map[spendKey]market.Amount{}, costs: map[costKey]*Cost{},
	}
	step := o.steady()
	o.step = step
	o.findings()
	for i := range h.Machines {
		if m := &h.Machines[i]; m.Leaving != nil && m.Leaving.Lost {
			m.Leaving = nil
		}
	}
	slices.SortFunc(h.Machines, func(a, b Machine) int { return cmp.Compare(a.Name, b.Name) })
	for i := range h.Machines {
		m := &h.Machines[i]
		o.before[m.Name] = m.Burn()
		if m.Ready() {
			o.well[m.Name] = m.SeenAt
		}
	}
	for i := range h.Containers {
		o.before[h.Containers[i].Name] = h.Containers[i].Burn()
	}
	if !o.stale() {
		o.containers()
	}
	if list := &o.l.Snapshot.Instances; list.Complete && !o.stale() {
		o.machines()
		o.outages()
		o.deadlines()
		o.weigh()
		h.LookedAt = list.At
		if h.LookedAt.After(o.l.Now) { // the clock was set back since
			h.LookedAt = o.l.Now
		}
	}
	o.listPrices()
	for i := range h.Machines {
		o.meter(&h.Machines[i])
	}
	for i := range h.Containers {
		o.meterContainer(&h.Containers[i])
	}
	o.shortages()
	o.settle()
	o.account()
	o.bookCharges()
	o.levels()
	o.expire()
	o.turn(step)
	o.demand()
	slices.SortFunc(o.over, CompareOutages)
	return Witnessed{Events: o.events, Costs: o.costsOf(), Balance: o.balanced, Outages: o.over}
}

// lookTakes is the longest that a look can reasonably be under way. A list older
// than the newest one by more than that is no late list but a clock that was set.
const lookTakes = 10 * time.Minute

// lessonLasts is how long a bad experience with new bids is believed.
const lessonLasts = 7 * 24 * time.Hour

// stale says whether a newer list is booked already: a command looked while this
// look was under way.
func (o *observer) stale() bool {
	behind := o.h.LookedAt.Sub(o.l.Snapshot.Instances.At)
	return behind > 0 && behind < lookTakes
}

type observer struct {
	h      *History
	l      Look
	zone   *time.Location
	step   time.Duration          // by which the clock was set since the last look
	before map[string]market.Rate // what each machine cost until this look
	well   map[string]time.Time   // when the machines that ran were last seen to
	events []Event
	costs  map[costKey]*Cost
	over   []Outage
	// balanced is how this look found the balance.
	balanced market.Maybe[Balance]
	// charges are what this look adds to days and policies, charged is their sum.
	charges map[spendKey]market.Amount
	charged market.Amount
}

func (o *observer) emit(kind EventKind, m *Machine, format string, args ...any) *Event {
	e := Event{Kind: kind, At: o.l.Now, Policy: m.Policy, Machine: m.Name, Text: fmt.Sprintf(format, args...)}
	e.describe(m, o.l.Now)
	o.events = append(o.events, e)
	return &o.events[len(o.events)-1]
}

func (o *observer) machines() {
	seen := o.match()
	believe := o.believable(seen)
	for i := 0; i < len(o.h.Machines); {
		m := &o.h.Machines[i]
		inst, ok := seen[m.Name]
		switch {
		case ok && inst.Status != market.StatusTerminated:
			o.sighted(m, inst)
		case ok || believe:
			if ok && o.ended(m) || o.missed(m) {
				o.closeOutage(m)
				o.meter(m)
				o.h.Machines = append(o.h.Machines[:i], o.h.Machines[i+1:]...)
				continue
			}
		}
		i++
	}
}

// match pairs the market's machines with our records, by id and then by name,
// and adopts those of ours that have no record. What has no record and not our
// mark and owner is not looked at any further. What we know by its id stays in
// the books whatever it is called now: it must not be bought a second time.
func (o *observer) match() map[string]*market.Instance {
	byID := map[string]*Machine{}
	byName := map[string]*Machine{}
	for i := range o.h.Machines {
		m := &o.h.Machines[i]
		byName[m.Name] = m
		if m.ID != "" {
			byID[m.ID] = m
		}
	}
	list := slices.Clone(o.l.Snapshot.Instances.Value)
	slices.SortFunc(list, func(a, b market.Instance) int {
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Status, b.Status))
	})
	seen := map[string]*market.Instance{}
	var adopt []*market.Instance
	for i := range list {
		inst := &list[i]
		m := byID[inst.ID]
		name, ours := market.ParseMachineName(inst.Name)
		ours = ours && name.Owner == o.l.Owner
		if m == nil && (!ours || byName[inst.Name] == nil && o.h.replicaOf(inst) != nil) || i > 0 && list[i-1].ID == inst.ID {
			continue // not ours, or a container's: the market keeps its replicas
		}
		if m != nil {
			m.Renamed = ""
			if !ours {
				m.Renamed = inst.Name // empty where the answer leaves the name out
			}
		}
		if m == nil {
			if m = byName[inst.Name]; m != nil && m.ID != "" {
				m = nil // the name is taken by another machine: a twin
			}
		}
		switch {
		case m != nil && seen[m.Name] == nil:
			seen[m.Name] = inst
		case inst.Status != market.StatusTerminated:
			adopt = append(adopt, inst)
		}
	}
	for _, inst := range adopt {
		m := o.adopt(inst)
		seen[m] = inst
	}
	return seen
}

// adopt takes a machine with our mark into the books. A twin, a second machine
// under a name we know, gets its id added to the name it is booked under.
func (o *observer) adopt(inst *market.Instance) string {
	name, _ := market.ParseMachineName(inst.Name)
	m := Machine{
		Name: inst.Name, Policy: name.Policy, ID: inst.ID, API: inst.API, Phase: PhaseLive,
		Status: market.StatusUnknown, Reserved: o.ceilingFor(name.Policy, inst),
		OrderedAt: o.l.Now, StatusAt: o.l.Now, MeteredAt: o.l.Now, Adopted: true,
	}
	if !inst.Created.IsZero() && inst.Created.Before(o.l.Now) {
		m.OrderedAt = inst.Created
	}
	// The policy's match is made on the hosts' spelling of places, not on the list's.
	i := slices.IndexFunc(o.l.Snapshot.Hosts.Value, func(h market.Host) bool { return h.ID == inst.Host })
	if i >= 0 {
		m.Location = o.l.Snapshot.Hosts.Value[i].Location
	}
	if o.h.Machine(m.Name) != nil {
		m.Name += "~" + inst.ID
	}
	o.h.Machines = append(o.h.Machines, m)
	o.emit(EventAdopted, &m, "%s (%s) carries our name but had no record: adopted", inst.Name, inst.ID)
	o.trespass(inst)
	return m.Name
}

// ceilingFor is what an adopted machine may cost at most, before its price is
// known: its policy's ceiling, or everything.
func (o *observer) ceilingFor(name string, inst *market.Instance) market.Rate {
	for i := range o.l.Policies {
		p := &o.l.Policies[i]
		if p.Name == name {
			return p.CeilingOf(inst.Capacity, max(inst.Shape.GPUs, p.Shape.GPUs))
		}
	}
	// What is not charged in full now may be, as soon as it wins again.
	if t, ok := inst.Total.Get(); ok && t > 0 && inst.Status.BillsCompute() {
		return t
	}
	return market.MaxRate
}

// believable says whether absences of this list may be counted at all.
func (o *observer) believable(seen map[string]*market.Instance) bool {
	live, absent := 0, 0
	for i := range o.h.Machines {
		m := &o.h.Machines[i]
		if m.Phase != PhaseLive || m.Leaving != nil {
			continue
		}
		live++
		if seen[m.Name] == nil && o.lookedFor(m) {
			absent++
		}
	}
	i := slices.IndexFunc(o.h.Breakers, func(b Breaker) bool { return b.Code == BreakerDisappearance })
	if absent < 2 || absent*2 < live {
		if i >= 0 && !o.l.Now.Before(o.h.Breakers[i].Until) {
			o.h.Breakers = slices.Delete(o.h.Breakers, i, i+1)
			o.events = append(o.events, Event{Kind: EventClosed, At: o.l.Now, Text: "breaker " + BreakerDisappearance + " has closed: the machines are listed again"})
		}
		return true
	}
	if i < 0 {
		b := Breaker{
			Code: BreakerDisappearance, Since: o.l.Now, Until: o.l.Now.Add(o.l.Safety.BreakerCooldown),
			Reason: fmt.Sprintf("%d of %d machines vanished from the list at once", absent, live),
		}
		o.h.Breakers = append(o.h.Breakers, b)
		o.events = append(o.events, Event{Kind: EventSuspicious, At: o.l.Now, Text: b.Reason + ": not believed until " + b.Until.UTC().Format(time.RFC3339)})
		return false
	}
	return !o.l.Now.Before(o.h.Breakers[i].Until)
}

// sighted books that the list shows the machine.
func (o *observer) sighted(m *Machine, inst *market.Instance) {
	first := m.Phase == PhaseUnknown || m.Phase == PhaseAccepted
	if m.SeenAt.IsZero() && m.DeployIntent != 0 { // on its way out already, perhaps
		e := o.emit(EventConfirmed, m, "seen as %s", inst.ID)
		e.Intent, e.State = m.DeployIntent, IntentConfirmed
	}
	if m.SeenAt.IsZero() || inst.API != market.V2 { // what v0 has shown once stays v0's
		m.API = inst.API
	}
	m.SeenAt, m.Missed, m.MissedAlone, m.MissedAt = o.l.Now, 0, 0, time.Time{}
	takeText(&m.ID, inst.ID)
	refresh(m, inst)
	if first {
		m.Phase = PhaseLive
	}
	o.prices(m, inst)
	o.status(m, inst.Status)
	o.proves(m)
	o.parking(m)
	o.runs(m)
	if m.Leaving != nil {
		o.stillThere(m)
	}
}

// refresh takes over what the list knows of the machine; what it leaves out stays.
// Model, capacity and place stay as they were ordered: the list may spell them
// differently, and a machine must not be replaced for a spelling.
func refresh(m *Machine, inst *market.Instance) {
	takeText(&m.Capacity, inst.Capacity)
	takeText(&m.Model, inst.Model)
	if inst.Host != "" {
		m.Host = inst.Host
	}
	if !m.Adopted { // its place is judged, and the list may spell it differently
		takeText(&m.Location.Country, inst.Location.Country)
		takeText(&m.Location.Region, inst.Location.Region)
		takeText(&m.Location.City, inst.Location.City)
	}
	takeInt(&m.Shape.GPUs, inst.Shape.GPUs)
	takeInt(&m.Shape.VCPUs, inst.Shape.VCPUs)
	takeInt(&m.Shape.RAM, inst.Shape.RAM)
	takeInt(&m.Shape.Storage, inst.Shape.Storage)
	if inst.IP != "" {
		m.IP = inst.IP
	}
	if inst.User != "" {
		m.User = inst.User
	}
	if len(inst.Ports) > 0 {
		m.Ports = inst.Ports
	}
}

// takeText fills in what is not known: the host's own spelling, which the
// policy's match was made on, stays.
func takeText[T ~string](to *T, v T) {
	if *to == "" {
		*to = v
	}
}

func takeInt(to *int, v int) {
	if v != 0 {
		*to = v
	}
}

func (o *observer) status(m *Machine, s market.Status) {
	if s == m.Status && !m.StatusAt.IsZero() {
		return
	}
	if s == market.StatusOutbid {
		o.rose(m)
	}
	o.moved(m, s)
	was := m.Status
	m.Status, m.StatusAt = s, o.l.Now
	m.RebidIgnored = m.RebidIgnored && s != market.StatusRunning
	switch {
	case s == market.StatusOutbid:
		m.Outbids++
		o.unsettled(m)
		o.emit(EventOutbid, m, "outbid at %s", bidText(m))
	case s == market.StatusRunning && m.ReadyAt.IsZero() && !o.unproven(m): // see proves
	case s == market.StatusRunning && was == market.StatusOutbid:
		o.emit(EventWonBack, m, "running again at %s", bidText(m))
	default:
		o.emit(EventStatus, m, "%s, was %s", s, was)
	}
}

func bidText(m *Machine) string {
	if b, ok := m.Bid.Get(); ok {
		return "a bid of " + b.String()
	}
	return "an unknown bid"
}

// prices books what the market says the machine costs, and judges a pending
// rebid by it: the read-back is the only proof that a bid was applied.
func (o *observer) prices(m *Machine, inst *market.Instance) {
	shown, known := shownBid(m, inst)
	switch {
	case m.cuts():
		o.judgeCut(m, inst.Status, shown, known)
	case m.Rebid != nil:
		o.judgeRebid(m, inst.Status, shown, known)
	}
	total, ok := shownTotal(m, inst)
	if ok && o.overcharged(m, total) {
		return // not yet believed
	}
	if s, ok := inst.Storage.Get(); ok && s >= 0 {
		m.Storage = market.Some(s)
	}
	if known && m.Capacity == market.Spot {
		m.Bid = market.Some(max(shown, m.Bid.Or(0))) // bids go up: a list that shows less is an old one
		if inst.Status.BillsCompute() {
			m.SureBid = market.Some(shown)
			if m.cuts() { // it may be in force, and the list an old one
				m.SureBid = market.Some(min(shown, m.Rebid.Bid))
			}
		}
	}
	switch {
	case m.Capacity == market.Spot && m.Bid.Known() && m.Storage.Known():
		m.Reserved = m.rate()
		if ok { // should the market charge more than the bid, that is what it costs
			m.Reserved = max(m.Reserved, total)
		}
	case ok:
		m.Reserved = total
	}
}

// shownBid is the compute rate in an answer; some answers carry only the total.
// What does not bill compute may be shown with less than its bid, or none: it can
// win again at its bid, so the bid we know of stands.
func shownBid(m *Machine, inst *market.Instance) (market.Rate, bool) {
	c, ok := inst.Compute.Get()
	if total, all := shownTotal(m, inst); !ok && all && m.Storage.Known() {
		c = total.Sub(m.Storage.Or(0))
	}
	if c <= 0 {
		return 0, false
	}
	if !inst.Status.BillsCompute() {
		c = max(c, m.Bid.Or(0))
	}
	return c, true
}

// shownTotal is the all-in rate in an answer; not known of a machine that is not
// charged in full now.
func shownTotal(m *Machine, inst *market.Instance) (market.Rate, bool) {
	total := inst.Total.Or(0)
	c, ok1 := inst.Compute.Get()
	storage, ok2 := inst.Storage.Get()
	if !ok2 {
		storage, ok2 = m.Storage.Get()
	}
	if ok1 && ok2 && total <= 0 {
		total = c.Add(storage)
	}
	return total, total > 0 && inst.Status.BillsCompute()
}

// rebidTolerance forgives the market's rounding of the bid it shows.
const rebidTolerance = market.Cent / 2

func (o *observer) judgeRebid(m *Machine, now market.Status, shown market.Rate, known bool) {
	r := m.Rebid
	r.Looks++
	switch {
	case known && shown >= r.Bid-rebidTolerance:
		m.Rebid = nil
		o.h.RebidApplies = market.Some(Lesson{true, o.l.Now})
		if r.AskOnly {
			o.h.AskApplies = market.Some(Lesson{true, o.l.Now})
		}
		e := o.emit(EventRebidApplied, m, "the market shows the new bid of %s", r.Bid)
		e.Intent, e.State = r.Intent, IntentConfirmed
	case r.Looks >= o.l.Safety.AbsentLooks && o.l.Now.Sub(r.At) >= o.l.Safety.AbsentAge:
		m.Rebid = nil
		// A machine that is still outbid is not raised again, whatever became of the
		// request. That the market takes no bids at all is learnt only where it said
		// yes: one that runs may be shown with a price that leaves something out.
		m.RebidIgnored = now == market.StatusOutbid && !r.AskOnly
		m.NoCutBefore = o.l.Now.Add(cutIgnored)
		if r.AskOnly && r.Accepted && known && now.BillsCompute() {
			o.h.AskApplies = market.Some(Lesson{false, o.l.Now})
			m.NoCutBefore = o.l.Now
		}
		if known && r.Accepted && m.RebidIgnored {
			o.h.RebidApplies = market.Some(Lesson{false, o.l.Now})
		}
		// Only a running machine that shows another price disproves the bid: one that is
		// outbid may win again at it.
		if !known || !now.BillsCompute() {
			m.SureBid = market.Some(m.sureBid().Or(0))
			m.Bid = market.Some(max(m.Bid.Or(0), r.Bid))
		}
		e := o.emit(EventRebidIgnored, m, "after %d looks the market still does not show the bid of %s", r.Looks, r.Bid)
		e.Intent, e.State = r.Intent, IntentFailed
	}
}

// stillThere counts the looks that show a machine whose deletion was accepted;
// after enough of them the deletion did not happen and is asked for again.
func (o *observer) stillThere(m *Machine) {
	d := m.Leaving
	d.Looks++
	if d.Looks < o.l.Safety.UnknownLooks || o.l.Now.Sub(d.At) < o.l.Safety.AbsentAge {
		return
	}
	m.Phase, m.Leaving = PhaseLive, nil
	e := o.emit(EventStatus, m, "still there after %d looks although its deletion was accepted", d.Looks)
	e.Intent, e.State = d.Intent, IntentFailed
}

// ended books that the market says, in its list and when asked for the machine, that
// it has ended: that is its word, not an absence. It may end what no look has shown.
func (o *observer) ended(m *Machine) bool {
	if m.Phase != PhaseLive && m.Phase != PhaseAccepted || m.Leaving != nil || !slices.Contains(o.l.Snapshot.Gone, m.ID) {
		return false
	}
	if m.Phase == PhaseAccepted {
		e := o.emit(EventExpired, m, "ended by the market before any look showed it")
		e.Intent, e.State = m.DeployIntent, IntentExpired
	}
	if m.ReadyAt.IsZero() && m.DeployIntent != 0 && m.Capacity != market.Spot {
		o.dud()
		o.neverUp(m)
	}
	if m.ReadyAt.IsZero() { // the next offer, and not this one for ever
		Penalise(o.h, o.l.Safety, m.site(), m.Model, m.Shape.GPUs, market.MaxRate, "ended before it ran", o.l.Now)
	}
	o.vanished(m)
	o.lost(m, m.Capacity == market.Spot) // its GPUs were wanted elsewhere, as far as anybody can tell
	o.unsettled(m)
	o.emit(EventLost, m, "ended by the market")
	o.closeRebid(m)
	return true
}

// missed books that a complete list does not show the machine; true if it is
// gone for good.
func (o *observer) missed(m *Machine) bool {
	list, s := &o.l.Snapshot.Instances, o.l.Safety
	if !list.At.IsZero() && list.At.Before(m.OrderedAt) {
		return false // made before the order: it cannot show the machine
	}
	if !o.lookedFor(m) {
		return false
	}
	if m.Missed == 0 && m.MissedAlone == 0 {
		m.MissedAt = o.l.Now
	}
	if m.Phase == PhaseUnknown || m.Phase == PhaseAccepted {
		return o.missedOrder(m)
	}
	m.Missed++
	if m.Phase == PhaseDeleting {
		// One list may be old or short: it takes two, or the market's word for it.
		if m.Missed < 2 && !slices.Contains(o.l.Snapshot.Gone, m.ID) {
			return false
		}
		o.deleted(m)
		return true
	}
	if m.Missed < s.AbsentLooks || o.l.Now.Sub(m.MissedAt) < s.AbsentAge {
		return false
	}
	if m.ReadyAt.IsZero() && m.DeployIntent != 0 {
		o.dud()
		o.neverUp(m)
	}
	o.vanished(m)
	o.lost(m, false)
	o.emit(EventLost, m, "in none of %d complete lists since %s: gone", m.Missed, m.MissedAt.UTC().Format(time.RFC3339))
	o.closeRebid(m)
	o.closeDelete(m)
	return true
}

// lookedFor says whether the look could have shown the machine: what only v2 has
// ever shown is looked for in v2's list.
func (o *observer) lookedFor(m *Machine) bool {
	return m.SeenAt.IsZero() || m.API != market.V2 || o.l.Snapshot.V2.Complete
}

// aloneFactor is how many times as long v0 alone must leave an order out: an account
// that has no v2 does not hold a lost order for ever.
const aloneFactor = 3

// missedOrder books that an order which no look has shown is not in the lists, and
// gives it up where both APIs have said so for long enough.
func (o *observer) missedOrder(m *Machine) bool {
	s, age, how := o.l.Safety, o.l.Now.Sub(m.OrderedAt), "of both APIs"
	if o.l.Snapshot.V2.Complete {
		m.Missed++
	} else {
		m.MissedAlone++
	}
	if m.Missed < s.UnknownLooks || age < s.UnknownAge {
		if m.Missed+m.MissedAlone < aloneFactor*s.UnknownLooks || age < aloneFactor*s.UnknownAge {
			return false
		}
		how = "of v0, without v2's word"
	}
	e := o.emit(EventExpired, m, "ordered %s ago and in none of %d complete lists %s: it does not exist",
		age.Round(time.Second), m.Missed+m.MissedAlone, how)
	e.Intent, e.State = m.DeployIntent, IntentExpired
	if m.Phase == PhaseAccepted {
		o.dud() // a lost answer is counted as a failure already
		o.neverUp(m)
	}
	Penalise(o.h, s, m.site(), m.Model, m.Shape.GPUs, market.MaxRate, "a deploy never showed up", o.l.Now)
	o.closeDelete(m)
	return true
}

// closeDelete settles a deletion that was asked for and never answered, of a
// machine that is gone.
func (o *observer) closeDelete(m *Machine) {
	if m.Leaving == nil {
		return
	}
	e := o.emit(EventDeleted, m, "gone after its deletion was asked for")
	e.Intent, e.State = m.Leaving.Intent, IntentConfirmed
}

// deleted books a confirmed deletion, and keeps us away from a host that was to
// blame for it: else the same host would be the cheapest again at once.
func (o *observer) deleted(m *Machine) {
	e := o.emit(EventDeleted, m, "deletion confirmed")
	code := ""
	if m.Leaving != nil {
		e.Intent, e.State, code = m.Leaving.Intent, IntentConfirmed, m.Leaving.Code
	}
	o.closeRebid(m)
	if m.SeenAt.IsZero() && m.DeployIntent != 0 {
		e := o.emit(EventExpired, m, "deleted before any look showed it")
		e.Intent, e.State = m.DeployIntent, IntentExpired
	}
	if (code == ReasonBootTimeout || code == ReasonNotReady) && m.ReadyAt.IsZero() {
		o.dud()
		o.failedLaunch(m, true) // it was we who ended it: that the market says so excuses nobody
	}
	if code == ReasonNotReady {
		o.wasted(m)
	}
	bid := market.MaxRate
	switch code {
	case ReasonOutbidForGood, ReasonOutbidLeft, ReasonRebidIgnored:
		bid = m.Bid.Or(0) // a higher bid may do
	case ReasonBootTimeout, ReasonNotReady, ReasonStopped, ReasonOverCeiling:
	default:
		return
	}
	Penalise(o.h, o.l.Safety, m.site(), m.Model, m.Shape.GPUs, bid, "a machine was deleted there: "+code, o.l.Now)
}

// closeRebid settles what is under way of a machine that is gone, beside its deletion.
func (o *observer) closeRebid(m *Machine) {
	o.closePark(m)
	if m.Rebid == nil {
		return
	}
	e := o.emit(EventRebidIgnored, m, "the machine is gone")
	e.Intent, e.State = m.Rebid.Intent, IntentFailed
}

// expire drops what has served its time. A backoff is kept a while beyond its
// end, so that the next failure is known to be a repeated one.
func (o *observer) expire() {
	now := o.l.Now
	o.h.Backoffs = slices.DeleteFunc(o.h.Backoffs, func(b Backoff) bool { return now.After(b.Until.Add(o.l.Safety.BackoffMax)) })
	o.h.Breakers = slices.DeleteFunc(o.h.Breakers, func(b Breaker) bool {
		closed := b.Code != BreakerDisappearance && !b.Open(now)
		if closed {
			o.events = append(o.events, Event{Kind: EventClosed, At: now, Text: "breaker " + b.Code + " has closed: " + b.Reason})
		}
		return closed
	})
	o.h.Pauses = slices.DeleteFunc(o.h.Pauses, func(p Pause) bool { return !p.Until.IsZero() && !now.Before(p.Until) })
	if l, ok := o.h.RebidApplies.Get(); ok && !l.Holds && now.Sub(l.At) > lessonLasts {
		o.h.RebidApplies = market.Maybe[Lesson]{}
	}
	o.h.forget(now)
	o.h.tidyRises(now)
	o.h.Churn = recentChurn(o.h.Churn, now)
	o.h.Failures = recent(o.h.Failures, now.Add(-o.l.Safety.BreakerWindow))
	o.tidyRecords()
}
