package tensordock

import (
	"context"
	"errors"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Balance reads the account's prepaid money and its live burn.
func (r *Reader) Balance(ctx context.Context) (market.Balance, error) {
	return ask(ctx, r.v0, r.post("balance", "billing/balance", nil), decodeBalance)
}

func decodeBalance(v value) (market.Balance, error) {
	b := market.Balance{Balance: v.get("balance").amount(), Hourly: v.get("hourly_cost").rate()}
	if !b.Balance.Known() && !b.Hourly.Known() {
		return b, errors.New("neither balance nor hourly cost in the answer")
	}
	return b, nil
}
