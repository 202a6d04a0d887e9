package plan

import (
	"fmt"
	"math/bits"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// leastBalance is what TensorDock wants on the account before it deploys.
const leastBalance market.Amount = 1 * market.Dollar

// lagAllowance is how long money can go on flowing after the last look before
// anything could be stopped: one slow cycle.
const lagAllowance = 10 * time.Minute

// leastRun is how long what is bought can run, at least, before its money ends: what
// would have to be given up again at once is not bought.
const leastRun = 10 * time.Minute

// Caps are all bounds on what may be spent. The plan is made within them, and they
// hold once more in the transaction that writes an intent, whatever the plan
// thought.
type Caps struct {
	Hourly market.Rate   // of the fleet: as written, or what targets and ceilings add up to
	Fleet  policy.Budget // the other caps on everything together
	Policy policy.Budget // the caps of the action's policy
	// Lag is how long money flows before the next decision can stop it.
	Lag   time.Duration
	Purse Purse
	// Operator lets what the operator asked for pass pauses: the destroy command.
	Operator bool
}

// Purse is what is known of the account that all machines are paid from.
type Purse struct {
	Balance market.Maybe[market.Amount]
	Problem string      // why the balance is not known
	Others  market.Rate // what the account is charged for beside our machines
}

// CapsFor are the caps that hold for a policy, by its name.
func (in *Input) CapsFor(name string) Caps {
	c := Caps{Hourly: in.HourlyCap, Fleet: in.Budget, Lag: in.Interval + lagAllowance, Purse: in.purse()}
	for i := range in.Policies {
		if in.Policies[i].Name == name {
			c.Policy = in.Policies[i].Budget
		}
	}
	return c
}

// purse takes the lower of what the market says and of what is believed: a deposit
// is used when it has been seen for a while, a loss at once.
func (in *Input) purse() Purse {
	s := &in.Snapshot.Balance
	p := Purse{Others: in.History.Account.Others, Problem: s.Problem}
	reading, known := s.Value.Balance.Get()
	if !known || !s.Complete {
		return p
	}
	if b, ok := in.History.Account.Balance.Get(); ok {
		reading = min(reading, b)
	}
	p.Balance = market.Some(reading)
	return p
}

// position is what is reserved and spent: by all, and by one policy.
type position struct {
	all, own           market.Rate
	allSpent, ownSpent Spent
}

// position takes in what was spent since the last look, too: a booking may be minutes
// younger than the look it is made on.
func (h *History) position(name string, c *Caps, now time.Time) position {
	zoned := now.In(c.Fleet.Zone.Location())
	p := position{
		all: h.Reserved(), own: h.ReservedFor(name),
		allSpent: h.SpentInScope(c.Fleet.Scope, zoned), ownSpent: h.Spent(name, zoned),
	}
	if since := now.Sub(h.Account.At); !h.Account.At.IsZero() && since > 0 {
		p.allSpent.add(p.all.For(since))
		p.ownSpent.add(p.own.For(since))
	}
	return p
}

// room is how much more per hour may be reserved, and what binds it.
//
//	hourly caps                      cap - reserved
//	daily, monthly, lifetime caps    (cap - spent) / (interval + 10 min + 10 min) - reserved
//	min_balance                      (balance - min) / (interval + 10 min + 10 min) - burn
//	min_runway                       balance / (runway + interval + 20 min) - burn
//
// An amount that must not be passed is turned into a rate over the time in which
// nobody would notice, and a little more: what is reserved could all be spent until
// then.
func (c *Caps) room(p position) tightest {
	all := p.all
	if c.Fleet.Scope == policy.ScopeAccount {
		all = all.Add(c.Purse.Others)
	}
	r := tightest{room: c.Hourly.Sub(all), why: fmt.Sprintf("max_hourly is %s and %s are reserved", c.Hourly, all)}
	if own, ok := c.Policy.MaxHourly.Get(); ok {
		r.take(own.Sub(p.own), "the policy's max_hourly is %s and %s are reserved", own, p.own)
	}
	hourly := r.room
	r.spend("the fleet", &c.Fleet, p.allSpent, all, same(c.Lag+leastRun))
	r.spend("the policy", &c.Policy, p.ownSpent, p.own, same(c.Lag+leastRun))
	c.balanceRoom(&r, p.all)
	r.hourly = r.room == hourly
	r.room = max(r.room, 0)
	return r
}

func (c *Caps) balanceRoom(r *tightest, all market.Rate) {
	balance, known := c.Purse.Balance.Get()
	if known && balance < leastBalance {
		r.take(0, "the balance is %s and TensorDock wants at least %s for a deploy", balance, leastBalance)
	}
	if !c.Fleet.MinBalance.Known() && c.Fleet.MinRunway <= 0 {
		return
	}
	if !known {
		r.take(0, "the balance is not known: %s", c.Purse.Problem)
		return
	}
	r.purse(&c.Fleet, balance, all.Add(c.Purse.Others), c.Lag+leastRun, c.Lag+leastRun)
}

// tightest is the bound that leaves the least.
type tightest struct {
	room   market.Rate
	why    string
	hourly bool // it is an hourly cap: what another machine gives up comes free
}

func (t *tightest) take(r market.Rate, format string, args ...any) {
	if r < t.room {
		t.room, t.why = r, fmt.Sprintf(format, args...)
	}
}

// spans is how long money flows until it can be stopped, within each of the caps: a
// day that ends before then takes less of it.
type spans struct{ day, month, total time.Duration }

func same(d time.Duration) spans { return spans{d, d, d} }

// spend takes what is left of the day, the month and the policy's life, spread over
// the time in which it flows, less what is reserved already.
func (t *tightest) spend(whose string, b *policy.Budget, spent Spent, reserved market.Rate, d spans) {
	if c, ok := b.MaxDaily.Get(); ok {
		t.take(perHour(c.Sub(spent.Day), d.day).Sub(reserved), "%s has spent %s of max_daily %s", whose, spent.Day, c)
	}
	if c, ok := b.MaxMonthly.Get(); ok {
		t.take(perHour(c.Sub(spent.Month), d.month).Sub(reserved), "%s has spent %s of max_monthly %s", whose, spent.Month, c)
	}
	if c, ok := b.MaxTotal.Get(); ok {
		t.take(perHour(c.Sub(spent.Total), d.total).Sub(reserved), "%s has spent %s of max_total %s", whose, spent.Total, c)
	}
}

// purse takes what the balance leaves beside a burn: it must stay above min_balance
// for d, and last for min_runway and more, and in any case until somebody looks again.
func (t *tightest) purse(b *policy.Budget, balance market.Amount, burn market.Rate, d, more time.Duration) {
	if least, ok := b.MinBalance.Get(); ok {
		t.take(perHour(balance.Sub(least), d).Sub(burn), "the balance is %s and min_balance %s", balance, least)
	}
	if b.MinRunway > 0 {
		t.take(perHour(balance, max(b.MinRunway+more, d)).Sub(burn), "the balance of %s must last %s and %s are reserved", balance, b.MinRunway, burn)
	}
}

// perHour is the rate that spends an amount in d, rounded down; 0 for nothing.
func perHour(a market.Amount, d time.Duration) market.Rate {
	if a <= 0 {
		return 0
	}
	if d <= 0 {
		return market.MaxRate
	}
	hi, lo := bits.Mul64(uint64(a), uint64(time.Hour))
	if hi >= uint64(d) {
		return market.MaxRate
	}
	q, _ := bits.Div64(hi, lo, uint64(d))
	return market.Rate(min(q, uint64(market.MaxRate)))
}

func breakerText(b *Breaker) string {
	return fmt.Sprintf("breaker %s is open %s: %s", b.Code, b.Ends(), b.Reason)
}
