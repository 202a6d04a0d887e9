package plan

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Balance is how the account's balance went on one day of the caps' time zone, by the
// readings that were believed.
type Balance struct {
	Day string `json:"day"` // 2006-01-02
	// Open is the last reading before the day, or its first where there is none before;
	// Close is the newest of the day.
	Open  market.Amount `json:"open_usd"`
	Close market.Amount `json:"close_usd"`
	// Deposits is by how much readings were above what the books left.
	Deposits market.Amount `json:"deposits_usd,omitzero"`
}

// Add goes on with a later record of the same day.
func (b *Balance) Add(o *Balance) {
	b.Close, b.Deposits = o.Close, b.Deposits.Add(o.Deposits)
}

// Fell is by how much the balance fell, deposits apart.
func (b *Balance) Fell() market.Amount { return b.Open.Sub(b.Close).Add(b.Deposits) }

// balance notes a reading that is believed.
func (o *observer) balance(reading, believed market.Amount, deposit bool) {
	b := Balance{Day: o.l.Now.In(o.zone).Format(time.DateOnly), Open: o.h.Account.Read.Or(reading), Close: reading}
	if deposit {
		b.Deposits = reading.Sub(believed)
	}
	o.balanced = market.Some(b)
}
