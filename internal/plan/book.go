package plan

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// ErrBudget is returned by Begin when a cap does not leave enough for the action.
var ErrBudget = errors.New("budget exhausted")

// ErrStale is returned by Begin when the machine is no longer as the plan saw it.
var ErrStale = errors.New("the machine changed since the plan was made")

// ErrForbidden is returned by Begin when a pause or a breaker came up since the plan
// was made.
var ErrForbidden = errors.New("paused or stopped since the plan was made")

// Reserved is what all machines, real and possible, may cost per hour.
func (h *History) Reserved() market.Rate {
	var sum market.Rate
	for i := range h.Machines {
		sum = sum.Add(h.Machines[i].Reserved)
	}
	return sum.Add(h.reservedContainers(func(string) bool { return true }))
}

// ReservedFor is Reserved for one policy.
func (h *History) ReservedFor(name string) market.Rate {
	var sum market.Rate
	for i := range h.Machines {
		if h.Machines[i].Policy == name {
			sum = sum.Add(h.Machines[i].Reserved)
		}
	}
	return sum.Add(h.reservedContainers(func(p string) bool { return p == name }))
}

// Machine finds a machine by its name; nil if there is none.
func (h *History) Machine(name string) *Machine {
	for i := range h.Machines {
		if h.Machines[i].Name == name {
			return &h.Machines[i]
		}
	}
	return nil
}

func (h *History) drop(name string) {
	for i := range h.Machines {
		if h.Machines[i].Name == name {
			h.Machines = append(h.Machines[:i], h.Machines[i+1:]...)
			return
		}
	}
}

// Begin books an action before anything is sent: it reserves the money and, for
// a deploy, the machine that may come to exist under the given name. The intent
// it returns must be on disk before the request leaves.
func Begin(h *History, a Action, caps Caps, id, cycle uint64, name string, now time.Time) (Intent, error) {
	in := Intent{
		ID: id, Cycle: cycle, At: now, Kind: a.Kind, Policy: a.Policy, Machine: a.Machine,
		Instance: a.Instance, API: a.API, Host: a.Host, Model: a.Model, Shape: a.Shape, Capacity: a.Capacity,
		Via: a.Via, Instant: a.Instant, Site: a.Site, Bid: a.Bid, Reason: a.Reason, Voluntary: a.Voluntary, State: IntentOpen,
	}
	if why := h.Forbids(a, now); why != "" && !(caps.Operator && a.Kind.Ends()) {
		return in, fmt.Errorf("%w: %s", ErrForbidden, why)
	}
	switch a.Kind {
	case Deploy:
		in.Machine = name
		return in, beginDeploy(h, a, caps, &in)
	case Rebid:
		return in, beginRebid(h, a, caps, &in)
	case Delete:
		return in, beginDelete(h, &in)
	case ContainerDeploy:
		in.Machine = name
		return in, beginContainer(h, a, caps, &in)
	case ContainerScale, ContainerStop:
		return in, beginContainer(h, a, caps, &in)
	case Stop:
		return in, beginStop(h, a, &in)
	case Start:
		return in, beginStart(h, a, caps, &in)
	case Modify:
		return in, beginModify(h, a, caps, &in)
	}
	return in, fmt.Errorf("begin: no such action %q", a.Kind)
}

func beginDeploy(h *History, a Action, caps Caps, in *Intent) error {
	bound := caps.room(h.position(a.Policy, &caps, in.At))
	if a.Rate > bound.room {
		return fmt.Errorf("%w: %s needed for %s, %s left: %s", ErrBudget, a.Rate, a.Policy, bound.room, bound.why)
	}
	if h.Machine(in.Machine) != nil {
		return fmt.Errorf("begin deploy: a machine named %s is already booked", in.Machine)
	}
	in.Reserved = max(a.Rate, min(a.Reserve, bound.room))
	m := Machine{
		Name: in.Machine, Asked: a.Asked, Policy: a.Policy, API: market.V0, Phase: PhaseUnknown, Status: market.StatusUnknown,
		Capacity: a.Capacity, Host: a.Host, Location: a.Location, Model: a.Model, Shape: a.Shape,
		Storage: market.Some(a.Storage), Reserved: in.Reserved, Ports: a.Ports, Replaces: a.Replaces, Instant: a.Instant, Site: a.Site,
		OrderedAt: in.At, MeteredAt: in.At, DeployIntent: in.ID,
	}
	if a.Capacity == market.Spot {
		m.Bid = market.Some(a.Bid)
	}
	if a.Via == market.ViaV2 {
		m.API = market.V2 // until v0 shows it
	}
	h.Machines = append(h.Machines, m)
	return nil
}

func beginRebid(h *History, a Action, caps Caps, in *Intent) error {
	m := h.Machine(a.Machine)
	if m == nil || m.Phase != PhaseLive || m.Rebid != nil || m.Leaving != nil {
		return fmt.Errorf("rebid %s: %w", a.Machine, ErrStale)
	}
	if a.Reason.Code == ReasonPriceFell {
		return beginCut(m, a, in)
	}
	if bid, ok := m.Bid.Get(); ok && a.Bid <= bid {
		return fmt.Errorf("rebid %s: %s is not above the present bid %s", a.Machine, a.Bid, bid)
	}
	if err := h.holdMore(m, a, caps, in, "raising"); err != nil {
		return err
	}
	m.Rebid = &PendingRebid{Intent: in.ID, Bid: a.Bid, At: in.At, AskOnly: a.AskOnly}
	return nil
}

// holdMore reserves what an action on a machine may cost, and of what it would like to
// hold beyond that what there is room for. doing names the action in the refusal.
func (h *History) holdMore(m *Machine, a Action, caps Caps, in *Intent, doing string) error {
	bound := caps.room(h.position(a.Policy, &caps, in.At))
	if more := a.Rate.Sub(m.Reserved); more > bound.room {
		return fmt.Errorf("%w: %s %s needs %s more, %s left: %s", ErrBudget, doing, a.Machine, more, bound.room, bound.why)
	}
	m.Reserved = max(m.Reserved, a.Rate, min(a.Reserve, m.Reserved.Add(bound.room)))
	in.Reserved = m.Reserved
	return nil
}

func beginDelete(h *History, in *Intent) error {
	m := h.Machine(in.Machine)
	if m == nil || m.ID == "" || m.Phase == PhaseDeleting {
		return fmt.Errorf("delete %s: %w", in.Machine, ErrStale)
	}
	in.Reserved = m.Reserved
	m.Leaving = &PendingDelete{Intent: in.ID, At: in.At, Code: in.Reason.Code}
	return nil
}

func (h *History) scaled(name string, at time.Time) {
	for i := range h.Scaled {
		if h.Scaled[i].Policy == name {
			h.Scaled[i].At = at
			return
		}
	}
	h.Scaled = append(h.Scaled, Scaled{Policy: name, At: at})
}

// Accept books the market's yes. It lowers a deploy's reservation from the
// ceiling to what was agreed, never below it.
func Accept(h *History, in *Intent, d market.Deployed, now time.Time) {
	in.State, in.AnswerAt = IntentAccepted, now
	h.churned(in, now)
	if in.Kind.Contains() {
		acceptContainer(h, in, d)
		return
	}
	m := h.Machine(in.Machine)
	if m == nil {
		return
	}
	switch in.Kind {
	case Deploy:
		acceptDeploy(m, in, d)
		h.scaled(in.Policy, now)
	case Delete:
		m.Phase = PhaseDeleting
		m.Leaving = &PendingDelete{Intent: in.ID, At: now, Code: in.Reason.Code}
		m.Missed, m.MissedAt = 0, time.Time{}
		if in.Reason.Code == ReasonOverTarget || in.Reason.Code == ReasonSpotReady || in.Reason.Code == ReasonMigrated {
			h.scaled(in.Policy, now)
		}
	case Stop, Start, Modify: // a look must show it
		h.scaled(in.Policy, now)
	case Rebid:
		// Accepted is not applied: a look must show the new bid.
		if m.Rebid != nil && m.Rebid.Intent == in.ID {
			m.Rebid.Accepted = true
			if m.Rebid.AskOnly && m.cuts() {
				m.Lower.Won, m.Lower.WonAt = in.Bid, now
			}
		}
	}
}

func acceptDeploy(m *Machine, in *Intent, d market.Deployed) {
	m.Phase, m.ID, m.IP = PhaseAccepted, d.ID, d.IP
	in.Instance, in.Agreed = d.ID, d.Total
	if len(d.Ports) > 0 {
		m.Ports = d.Ports
	}
	if s, ok := d.Storage.Get(); ok {
		m.Storage = market.Some(max(s, m.Storage.Or(0)))
	}
	agreed := d.Total.Or(0)
	if bid, ok := m.Bid.Get(); ok {
		agreed = max(agreed, bid.Add(m.Storage.Or(0)))
	}
	// Without a price in the answer the ceiling stays reserved until a look shows one.
	if agreed > 0 {
		m.Reserved = agreed
	}
}

// Refuse books a definite no: nothing happened, nothing stays reserved.
func Refuse(h *History, s policy.Safety, in *Intent, class market.Class, detail string, now time.Time) {
	in.State, in.Detail = IntentRefused, detail
	if class == market.ClassUnavailable {
		in.State = IntentFailed
	}
	in.AnswerAt, in.SettledAt = now, now
	if in.Kind.Contains() {
		refuseContainer(h, in)
		return
	}
	m := h.Machine(in.Machine)
	if m == nil {
		return
	}
	switch in.Kind {
	case Deploy:
		h.drop(in.Machine)
	case Rebid:
		if m.cuts() && class != market.ClassUnavailable { // it bids what it did
			m.SureBid = m.Bid
			m.Lower = Lower{Lost: in.Bid, LostAt: now}
		}
		asked := m.Rebid != nil && m.Rebid.AskOnly
		m.Rebid, m.NoCutBefore = nil, now.Add(cutEvery)
		m.Reserved = m.rate()
		switch class {
		case market.ClassBidRefused, market.ClassNoCapacity, market.ClassRateLimited, market.ClassUnauthorized, market.ClassUnavailable:
			// The price, or the moment: it is tried again.
		default:
			// The request itself: a bid for this machine will not be taken. No bid was
			// sent where it was only asked about.
			m.RebidIgnored = m.RebidIgnored || !asked
		}
	case Delete:
		m.Leaving = nil
	case Stop, Start, Modify:
		refusePark(m, in, s, now)
	}
}

// Lose books a lost answer: it may have happened. A deploy or a rebid stays
// booked until a look decides; a deletion is simply asked for again, because
// deleting what is gone does no harm.
func Lose(h *History, in *Intent, detail string, now time.Time) {
	in.State, in.Detail, in.AnswerAt = IntentUnknown, detail, now
	h.churned(in, now)
	if in.Kind.Contains() {
		loseContainer(h, in)
		return
	}
	m := h.Machine(in.Machine)
	switch {
	case m == nil:
	case in.Kind == Deploy:
		h.scaled(in.Policy, now)
	case in.Kind == Delete:
		m.Leaving = &PendingDelete{Intent: in.ID, At: now, Code: in.Reason.Code, Lost: true}
		m.EndLostAt = now
		in.State, in.SettledAt = IntentFailed, now
	}
}

// Fail counts a write that failed for no reason of ours and opens the breaker
// when there were too many.
func Fail(h *History, s policy.Safety, now time.Time) []Event {
	h.Failures = append(recent(h.Failures, now.Add(-s.BreakerWindow)), now)
	if b := h.breaker(BreakerFailures); len(h.Failures) < s.BreakerFailures || b != nil && b.Open(now) {
		return nil
	}
	b := Breaker{
		Code: BreakerFailures, Since: now, Until: now.Add(s.BreakerCooldown),
		Reason: fmt.Sprintf("%d writes failed within %s", len(h.Failures), s.BreakerWindow),
	}
	h.Failures = nil
	return []Event{h.open(b)}
}

// Penalise keeps us away from a host, twice as long with every failure.
// Bids above the given one are not affected; MaxRate affects all.
func Penalise(h *History, s policy.Safety, host string, model market.GPUModel, gpus int, bid market.Rate, why string, now time.Time) {
	h.backoff(host, model, gpus).penalise(s, bid, why, now)
}

// backoff finds the backoff of a host, or makes one that holds for nothing.
func (h *History) backoff(host string, model market.GPUModel, gpus int) *Backoff {
	for i := range h.Backoffs {
		if b := &h.Backoffs[i]; b.Host == host && b.Model == model && b.GPUs == gpus {
			return b
		}
	}
	h.Backoffs = append(h.Backoffs, Backoff{Host: host, Model: model, GPUs: gpus})
	return &h.Backoffs[len(h.Backoffs)-1]
}

func (b *Backoff) penalise(s policy.Safety, bid market.Rate, why string, now time.Time) {
	if now.Before(b.Until) {
		bid = max(bid, b.Bid) // what still holds is not weakened
	}
	b.Failures++
	b.Bid, b.Reason, b.Taken, b.Fickle = bid, why, false, false
	b.Until = now.Add(backoffFor(s, b))
}

// deniedLasts is how long it is remembered that a host took no order at a bid that it
// had said wins.
const deniedLasts = 10 * time.Minute

// Deny notes that a host refused an order for its bid, which it had just said wins.
// Once, the price may have moved in between, and it is asked again. Twice, what it
// says of bids is not to be relied on: it is left alone whatever is bid, twice as long
// with every time.
func Deny(h *History, s policy.Safety, host string, model market.GPUModel, gpus int, now time.Time) {
	b := h.backoff(host, model, gpus)
	last := b.Denied
	if !last.IsZero() && b.Until.After(last) {
		last = b.Until
	}
	b.Denied = now
	if !last.IsZero() && now.Sub(last) < deniedLasts {
		b.penalise(s, market.MaxRate, "it says that bids win, and takes no order at them", now)
		b.Fickle = true
	} else if b.Until.Before(now) {
		b.Until, b.Bid, b.Reason = now, 0, "it took no order at a bid that it had said wins" // remembered, and holds for nothing
	}
}

// Forgive forgets a host's failures once it has served us.
func Forgive(h *History, host string, model market.GPUModel, gpus int) {
	kept := h.Backoffs[:0]
	for _, b := range h.Backoffs {
		if b.Host != host || b.Model != model || b.GPUs != gpus {
			kept = append(kept, b)
		}
	}
	h.Backoffs = kept
}

// backoffFor doubles from BackoffMin to BackoffMax and takes off up to a quarter,
// differently for every host, so that hosts that failed together do not come
// back together. The jitter is a hash, not a die: the same history gives the
// same pause.
func backoffFor(s policy.Safety, b *Backoff) time.Duration {
	d := s.BackoffMin
	for i := 1; i < b.Failures && d < s.BackoffMax; i++ {
		d *= 2
	}
	d = min(d, s.BackoffMax)
	hash := uint64(14695981039346656037)
	for _, c := range []byte(b.Host) {
		hash = (hash ^ uint64(c)) * 1099511628211
	}
	hash = (hash ^ uint64(b.Failures)) * 1099511628211
	return d - time.Duration(uint64(d)/4*(hash>>40&0xff)/0xff)
}

// OpenBreaker is the breaker that stops writes now, of several the one that stops
// most and then the one that holds longest; nil if there is none.
func (h *History) OpenBreaker(now time.Time) *Breaker {
	var found *Breaker
	for i := range h.Breakers {
		b := &h.Breakers[i]
		if b.Open(now) && (found == nil || b.graver(found)) {
			found = b
		}
	}
	return found
}

// CloseBreakers closes every breaker, on the operator's word, and forgets what would
// open it again at once. It returns what was open.
func (h *History) CloseBreakers() []Breaker {
	was := h.Breakers
	h.Breakers, h.Failures, h.Levels, h.Duds = nil, nil, nil, 0
	h.Account.accept()
	return was
}

func recent(ts []time.Time, since time.Time) []time.Time {
	kept := ts[:0]
	for _, t := range ts {
		if t.After(since) {
			kept = append(kept, t)
		}
	}
	return kept
}

// rate is what the machine may cost per hour when it runs, from what is known of
// it; what was reserved for it where too little is known.
func (m *Machine) rate() market.Rate {
	bid, ok1 := m.Bid.Get()
	storage, ok2 := m.Storage.Get()
	if m.Capacity != market.Spot || !ok1 || !ok2 {
		return m.Reserved
	}
	r := bid.Add(storage)
	if m.Rebid != nil {
		r = max(r, m.Rebid.Bid.Add(storage))
	}
	return r
}

// sureBid is what the machine bids at least.
func (m *Machine) sureBid() market.Maybe[market.Rate] {
	if sure, ok := m.SureBid.Get(); ok && sure < m.Bid.Or(0) {
		return m.SureBid
	}
	return m.Bid
}

// since is from when the machine has been in its status.
func (m *Machine) since() time.Time {
	if m.StatusAt.IsZero() {
		return m.OrderedAt
	}
	return m.StatusAt
}

// Burn is what all machines and containers cost per hour as last seen.
func (h *History) Burn() (sum market.Rate) {
	for i := range h.Machines {
		sum = sum.Add(h.Machines[i].Burn())
	}
	for i := range h.Containers {
		sum = sum.Add(h.Containers[i].Burn())
	}
	return sum
}

// Burn is what the machine costs per hour in the state last seen. What was never
// seen costs what is reserved for it.
func (m *Machine) Burn() market.Rate {
	if m.SeenAt.IsZero() || m.Status.BillsCompute() {
		return m.Reserved
	}
	if m.Status == market.StatusTerminated {
		return 0
	}
	return m.Storage.Or(m.Reserved)
}

// freeAt is how many GPUs of each model each host lists as free, of those asked about.
func freeAt(hosts []market.Host, verdicts []market.Verdict) map[recordKey]int {
	out := map[recordKey]int{}
	for i := range verdicts {
		out[recordKey{verdicts[i].Host, verdicts[i].Model}] = 0
	}
	for i := range hosts {
		for _, g := range hosts[i].GPUs {
			k := recordKey{hosts[i].ID, g.Model}
			if _, asked := out[k]; asked {
				out[k] = g.Free
			}
		}
	}
	return out
}

// aboutPrice says whether a verdict tells of prices: a refusal by a host that lists too
// few free GPUs need not, but for a machine of ours that is outbid there, or bids more.
func (h *History) aboutPrice(v *market.Verdict, free map[recordKey]int) bool {
	if v.Answer != market.Refused || free[recordKey{v.Host, v.Model}] >= v.Shape.GPUs || v.Hint.Or(0) > v.Bid {
		return true
	}
	return slices.ContainsFunc(h.Machines, func(m Machine) bool {
		return m.Host == v.Host && m.Model == v.Model && m.Shape == v.Shape && (m.Status == market.StatusOutbid || m.Bid.Or(0) > v.Bid)
	})
}

// Learn keeps the refusals of a cycle: a host that refused every bid asked about
// is not asked about the same bids again for a while, or until it lists GPUs that it
// did not.
func Learn(h *History, s policy.Safety, hosts []market.Host, verdicts []market.Verdict, now time.Time) {
	worst, lost := map[backoffKey]market.Rate{}, map[bracketKey]bool{}
	for k, b := range brackets(map[bracketKey]bracket{}, verdicts) {
		if b.hi == 0 && b.lo > 0 && !h.outbids(k, b.lo) {
			lost[k] = true
			k := backoffKey{k.host, k.model, k.shape.GPUs}
			worst[k] = max(worst[k], b.lo)
		}
	}
	free := freeAt(hosts, verdicts)
	told := slices.DeleteFunc(slices.Clone(verdicts), func(v market.Verdict) bool { return !h.aboutPrice(&v, free) })
	h.remember(told, now)
	for i := range h.Brackets { // the backoff says how long it is believed
		if b := &h.Brackets[i]; lost[b.key()] && !h.standsOn(b.Host) {
			b.Lo, b.LoAt = 0, time.Time{}
		}
	}
	h.measure(told, now)
	for k, lo := range worst {
		if b := h.backoff(k.host, k.model, k.gpus); b.Fickle && now.Before(b.Until) {
			continue // for more than its price
		}
		Penalise(h, s, k.host, k.model, k.gpus, lo, "refused every bid up to "+lo.String(), now)
	}
	for i := range h.Backoffs {
		b := &h.Backoffs[i]
		if _, refused := worst[backoffKey{b.Host, b.Model, b.GPUs}]; refused {
			b.Taken = free[recordKey{b.Host, b.Model}] < b.GPUs
		}
	}
	slices.SortFunc(h.Backoffs, func(a, b Backoff) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Model, b.Model), cmp.Compare(a.GPUs, b.GPUs))
	})
}
