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

// leastRun is how long the day's and the month's money must last, at least, for
// something to be bought: what would have to be given up again at once is not.
const leastRun = time.Hour

// room is how much more per hour the policy may reserve, and what binds it.
//
//	hourly caps             cap - reserved
//	daily and monthly caps  (cap - spent) / (interval + 10 min + 1 h) - reserved
//	min_balance             (balance - min) / (interval + 10 min) - burn
//	min_runway              balance / runway - burn
//
// An amount that must not be passed is turned into a rate over the time in which
// nobody would notice: what is reserved could all be spent until then.
func (w *world) room(d *desk) (market.Rate, string) {
	t := w.tightest(d)
	return t.room, t.why
}

func (w *world) tightest(d *desk) tightest {
	r := tightest{room: w.in.HourlyCap.Sub(w.reserved), why: fmt.Sprintf("max_hourly is %s and %s are reserved", w.in.HourlyCap, w.reserved)}
	own := w.ofPolicy[d.p.Name]
	if c, ok := d.p.Budget.MaxHourly.Get(); ok {
		r.take(c.Sub(own), "the policy's max_hourly is %s and %s are reserved", c, own)
	}
	hourly := r.room
	w.spendRoom(&r, "", w.in.Budget, w.reserved, w.lag()+leastRun)
	w.spendRoom(&r, d.p.Name, d.p.Budget, own, w.lag()+leastRun)
	w.balanceRoom(&r)
	r.hourly = r.room == hourly
	r.room = max(r.room, 0)
	return r
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

// lag is how long money flows before the next decision can stop it.
func (w *world) lag() time.Duration { return w.in.Interval + lagAllowance }

// spendRoom takes what is left of the day and the month, spread over d, less what
// is reserved already.
func (w *world) spendRoom(r *tightest, name string, b policy.Budget, reserved market.Rate, d time.Duration) {
	if !b.MaxDaily.Known() && !b.MaxMonthly.Known() {
		return
	}
	day, month := w.in.History.Spent(name, w.in.Now)
	whose := "the fleet"
	if name != "" {
		whose = "the policy"
	}
	if c, ok := b.MaxDaily.Get(); ok {
		r.take(perHour(c.Sub(day), d).Sub(reserved), "%s has spent %s of max_daily %s", whose, day, c)
	}
	if c, ok := b.MaxMonthly.Get(); ok {
		r.take(perHour(c.Sub(month), d).Sub(reserved), "%s has spent %s of max_monthly %s", whose, month, c)
	}
}

func (w *world) balanceRoom(r *tightest) {
	b := w.in.Budget
	balance, known := w.in.Snapshot.Balance.Value.Balance.Get()
	known = known && w.in.Snapshot.Balance.Complete
	if known && balance < leastBalance {
		r.take(0, "the balance is %s and TensorDock wants at least %s for a deploy", balance, leastBalance)
	}
	if !b.MinBalance.Known() && b.MinRunway <= 0 {
		return
	}
	if !known {
		r.take(0, "the balance is not known: %s", w.in.Snapshot.Balance.Problem)
		return
	}
	// What is planned comes on top of the burn, whichever way that is known.
	burn := max(w.plan.Before, w.in.Snapshot.Balance.Value.Hourly.Or(0)).Add(w.reserved.Sub(w.plan.Before))
	if least, ok := b.MinBalance.Get(); ok {
		r.take(perHour(balance.Sub(least), w.lag()).Sub(burn), "the balance is %s and min_balance %s", balance, least)
	}
	if b.MinRunway > 0 {
		r.take(perHour(balance, b.MinRunway).Sub(burn), "the balance of %s must last %s at %s", balance, b.MinRunway, burn)
	}
}

// perHour is the rate that spends an amount in d, rounded down; 0 for nothing.
func perHour(a market.Amount, d time.Duration) market.Rate {
	if a <= 0 || d <= 0 {
		return 0
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
