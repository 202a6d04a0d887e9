package plan

import (
	"fmt"
	"math"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Account is what is believed of the account that all machines are paid from.
type Account struct {
	At time.Time `json:"at,omitzero"` // until when its spending has been reckoned
	// Balance is the last reading that was believed, less what was charged since.
	Balance market.Maybe[market.Amount] `json:"balance_usd,omitzero"`
	// Read is that reading itself.
	Read market.Maybe[market.Amount] `json:"read_usd,omitzero"`
	// Others is what the account is charged for beside our machines, by the last
	// answer. Nothing is bought that does not fit beside it.
	Others market.Rate `json:"others_usd_hour,omitempty"`
	// Sure is the part of Others that the list shows, or that the bill has shown for
	// long enough. It is what is charged, and what machines are given up for.
	Sure  market.Rate `json:"others_sure_usd_hour,omitempty"`
	Doubt Doubt       `json:"doubt,omitzero"`
	Bill  Bill        `json:"bill,omitzero"`
	// Accepted is by how much faster than the books explain the balance may fall,
	// because an operator has seen it and resumed.
	Accepted market.Rate `json:"accepted_usd_hour,omitempty"`
}

// Doubt counts the readings in a row that our spending does not explain: a balance
// that fell or rose at once. After safety.absent_looks and absent_age they are
// believed.
type Doubt struct {
	Since time.Time `json:"since,omitzero"`
	Looks int       `json:"looks,omitempty"`
	Low   bool      `json:"low,omitempty"` // less than explained, else more
}

// Bill holds the balance against the books over a stretch of time.
type Bill struct {
	Since   time.Time     `json:"since,omitzero"`
	Start   market.Amount `json:"start_usd,omitempty"`   // the balance then
	Charged market.Amount `json:"charged_usd,omitempty"` // by the books since, the rest of the account included
	Excess  market.Amount `json:"excess_usd,omitempty"`  // by how much more the balance fell
	Warned  bool          `json:"warned,omitempty"`
	Stopped bool          `json:"stopped,omitempty"` // the breaker is held open by it
}

// accept takes what the balance falls by beyond the books as the operator's own
// affair. It loosens the comparison alone: no cap counts on it.
func (a *Account) accept() {
	if a.Bill.Stopped {
		a.Accepted = a.Accepted.Add(perHour(a.Bill.Excess, a.At.Sub(a.Bill.Since)))
	}
	a.Bill = Bill{}
}

// Ratio is the excess as a share of what the books charged; 0 where they charged
// nothing.
func (b *Bill) Ratio() float64 {
	if b.Charged <= 0 {
		return 0
	}
	return float64(b.Excess) / float64(b.Charged)
}

// Runway is how long the balance lasts if everything costs what is reserved for it;
// unknown where there is no balance or no cost.
func (h *History) Runway() market.Maybe[time.Duration] {
	burn := h.Reserved().Add(h.Account.Others)
	balance, ok := h.Account.Balance.Get()
	if !ok || burn <= 0 || burn >= market.MaxRate {
		return market.Maybe[time.Duration]{}
	}
	if balance <= 0 {
		return market.Some(time.Duration(0))
	}
	hours := float64(balance) / float64(burn)
	return market.Some(time.Duration(min(hours, math.MaxInt64/float64(time.Hour)/2) * float64(time.Hour)))
}

// Stretches of time over which a bill is compared, and what is too little to tell.
const (
	billLeast  = time.Hour
	billMost   = 24 * time.Hour
	billSlack  = 10 * market.Cent
	doubtSlack = 50 * market.Cent
)

// account books what the account spends beside our machines, and the balance.
func (o *observer) account() {
	a, s := &o.h.Account, &o.l.Snapshot
	others, sure := o.others()
	if !a.At.IsZero() && o.l.Now.After(a.At) {
		o.chargeRest(max(a.Sure, sure), a.At, o.l.Now)
	}
	if o.l.Now.After(a.At) { // a late look turns no time back
		a.At = o.l.Now
	}
	a.Others, a.Sure = others, sure
	a.Bill.Charged = a.Bill.Charged.Add(o.charged)
	believed, had := a.Balance.Get()
	if had {
		believed = believed.Sub(o.charged)
		a.Balance = market.Some(believed)
	}
	if reading, ok := s.Balance.Value.Balance.Get(); ok && s.Balance.Complete && (!had || o.credible(reading, believed)) {
		deposit := had && reading > believed.Add(doubtSlack)
		o.balance(reading, believed, deposit)
		a.Balance, a.Read = market.Some(reading), market.Some(reading)
		o.compareBill(reading, deposit)
	} else if a.Bill.Stopped {
		o.trip(BreakerBill, "the balance fell faster than the books explain, and now there is none to compare with")
	}
}

// chargeRest books what the account is charged for beside our machines.
func (o *observer) chargeRest(rate market.Rate, from, to time.Time) {
	o.charge(Cost{Policy: restOfAccount}, rate, from, to, func(*Cost, time.Duration) {})
}

// others is what the account is charged for beside our machines: the machines of
// others that the list shows, and whatever else its hourly cost contains. Of the
// latter only what has lasted is sure: one answer gone wrong must end no machine, and
// spend no month's money.
func (o *observer) others() (others, sure market.Rate) {
	s := &o.l.Snapshot
	if !s.Instances.Complete {
		return o.h.Account.Others, o.h.Account.Sure
	}
	ours := map[string]bool{}
	var known, foreign market.Rate
	for i := range o.h.Machines {
		m := &o.h.Machines[i]
		ours[m.ID] = m.ID != ""
		if r := m.Burn(); r < market.MaxRate {
			known = known.Add(r)
		}
	}
	for i := range o.h.Containers {
		if r := o.h.Containers[i].Burn(); r < market.MaxRate {
			known = known.Add(r)
		}
	}
	for i := range s.Instances.Value {
		if inst := &s.Instances.Value[i]; !ours[inst.ID] && o.h.replicaOf(inst) == nil {
			foreign = foreign.Add(foreignBurn(inst))
		}
	}
	others, sure = foreign, foreign.Add(o.lasting())
	if hourly, ok := s.Balance.Value.Hourly.Get(); ok && s.Balance.Complete {
		others = max(others, hourly.Sub(known))
	}
	return max(others, sure), sure
}

// lasting is what the bill contains that no list shows, once it is believed. What it
// cost until then is charged now.
func (o *observer) lasting() market.Rate {
	g, ok := o.h.Gap.Get()
	if !ok || g.Looks < o.l.Safety.UnknownLooks || o.l.Now.Sub(g.Since) < o.l.Safety.UnknownAge {
		return 0
	}
	if !g.Counted {
		o.chargeRest(g.Rate, g.Since, o.h.Account.At)
		g.Counted = true
		o.h.Gap = market.Some(g)
	}
	return g.Rate
}

func foreignBurn(inst *market.Instance) market.Rate {
	switch {
	case inst.Status == market.StatusTerminated:
		return 0
	case !inst.Status.BillsCompute():
		return max(inst.Storage.Or(0), 0)
	}
	return max(inst.Total.Or(inst.Compute.Or(0).Add(inst.Storage.Or(0))), 0)
}

// credible says whether a reading of the balance can be what our spending left. One
// that cannot may be an answer gone wrong, and is believed only when it is repeated.
func (o *observer) credible(reading, believed market.Amount) bool {
	d, slack := &o.h.Account.Doubt, o.charged.Add(doubtSlack)
	low := reading < believed.Sub(slack)
	if !low && reading <= believed.Add(slack) {
		*d = Doubt{}
		return true
	}
	if d.Looks == 0 || d.Low != low {
		*d = Doubt{Since: o.l.Now, Low: low}
	}
	d.Looks++
	if d.Looks < o.l.Safety.AbsentLooks || o.l.Now.Sub(d.Since) < o.l.Safety.AbsentAge {
		return false
	}
	*d = Doubt{}
	return true
}

// compareBill holds the balance against the books. A deposit, and a day that is over,
// starts a new comparison; what the last one stopped stays stopped until the new one
// can tell. A bill below the books is no danger: they charge the dearer of two
// states. One above them means that money goes where nobody looks.
//
//	excess up to bill_tolerance   nothing
//	up to bill_stop               an event, once
//	beyond it                     the breaker, for as long as it lasts
func (o *observer) compareBill(reading market.Amount, deposit bool) {
	b, s := &o.h.Account.Bill, &o.l.Safety
	age := o.l.Now.Sub(b.Since)
	if age >= billMost { // what is paid no longer is accepted no longer
		o.h.Account.Accepted = max(o.h.Account.Accepted.Sub(perHour(-b.Excess, age)), 0)
	}
	if b.Since.IsZero() || deposit || age >= billMost {
		*b = Bill{Since: o.l.Now, Start: reading, Stopped: b.Stopped}
		age = 0
	}
	b.Excess = b.Start.Sub(reading).Sub(b.Charged).Sub(o.h.Account.Accepted.For(age))
	over := func(share float64) bool {
		return b.Excess > billSlack && float64(b.Excess) > share*float64(b.Charged)
	}
	if age >= billLeast { // until then, what the last comparison came to stands
		b.Stopped = over(s.BillStop)
	}
	text := fmt.Sprintf("the balance fell by %s within %s, the books explain %s", b.Start.Sub(reading), age.Round(time.Minute), b.Charged)
	switch {
	case b.Stopped:
		b.Warned = true
		o.trip(BreakerBill, text)
	case age < billLeast:
	case !over(s.BillTolerance):
		b.Warned = false
	case !b.Warned:
		b.Warned = true
		o.events = append(o.events, Event{Kind: EventBill, At: o.l.Now, Text: text})
	}
}
