package control

import (
	"context"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/billing"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// CostsRequest asks for the costs of the days from First to Last, both included, as
// 2006-01-02 in the caps' time zone; "" is no bound.
type CostsRequest struct {
	First string `json:"first,omitempty"`
	Last  string `json:"last,omitempty"`
}

// OutagesRequest asks for the outages that were not over before a time; zero is all.
type OutagesRequest struct {
	Since time.Time `json:"since,omitzero"`
}

// SpendingRequest asks what was spent in the days from Since to Until, both included;
// a zero Until is Now. Policy "" is the whole account.
type SpendingRequest struct {
	Since, Until, Now time.Time
	By                billing.By
	Policy            string
}

// Spent is what was spent in some days, and how the balance went with it.
type Spent struct {
	billing.Summary
	// Balance is how the balance went with the books of late; unknown before a daemon
	// has compared them for an hour.
	Balance BalanceCheck `json:"balance"`
	// Balances are how the balance went, day by day, and Fell by how much in all of them,
	// deposits apart; what the books explain is Total. They are of the whole account.
	Balances []plan.Balance `json:"balances"`
	Fell     market.Amount  `json:"balance_fell_usd"`
}

// BalanceCheck holds the prepaid balance against the books since a time.
type BalanceCheck struct {
	Since   time.Time     `json:"since,omitzero"`
	Charged market.Amount `json:"books_usd"`
	Excess  market.Amount `json:"excess_usd"` // by how much more the balance fell
}

// Accounts is what Spending asks.
type Accounts interface {
	Status(context.Context, StatusRequest) (Status, error)
	Costs(context.Context, CostsRequest) ([]plan.Cost, error)
	Balances(context.Context, CostsRequest) ([]plan.Balance, error)
}

// Spending sums up what was spent, by days of the caps' time zone.
func Spending(ctx context.Context, d Accounts, r SpendingRequest) (Spent, error) {
	st, err := d.Status(ctx, StatusRequest{})
	if err != nil {
		return Spent{}, err
	}
	first, last := billing.Days(r.Since, r.Until, r.Now, st.Zone.Location())
	costs, err := d.Costs(ctx, CostsRequest{First: first, Last: last})
	if err != nil {
		return Spent{}, err
	}
	days, err := d.Balances(ctx, CostsRequest{First: first, Last: last})
	if err != nil {
		return Spent{}, err
	}
	if r.Policy != "" {
		costs = slices.DeleteFunc(costs, func(c plan.Cost) bool { return c.Policy != r.Policy || c.IsRest() })
	}
	out := Spent{
		Summary: billing.Sum(r.By, first, last, costs, true), Balance: BalanceCheck{st.Bill.Since, st.Bill.Charged, st.Bill.Excess}, Balances: days,
	}
	for i := range days {
		out.Fell = out.Fell.Add(days[i].Fell())
	}
	return out, nil
}

// Costs implements Desk.
func (f *Office) Costs(_ context.Context, r CostsRequest) ([]plan.Cost, error) {
	return listed(f, func(l *ledger.Ledger) ([]plan.Cost, error) { return l.Costs(r.First, r.Last) })
}

// Outages implements Desk.
func (f *Office) Outages(_ context.Context, r OutagesRequest) ([]plan.Outage, error) {
	return listed(f, func(l *ledger.Ledger) ([]plan.Outage, error) { return l.Outages(r.Since) })
}

// Costs implements Desk.
func (c *Client) Costs(ctx context.Context, r CostsRequest) ([]plan.Cost, error) {
	return call[[]plan.Cost](ctx, c, "costs", quick, r)
}

// Outages implements Desk.
func (c *Client) Outages(ctx context.Context, r OutagesRequest) ([]plan.Outage, error) {
	return call[[]plan.Outage](ctx, c, "outages", quick, r)
}

// Balances implements Desk.
func (f *Office) Balances(_ context.Context, r CostsRequest) ([]plan.Balance, error) {
	return listed(f, func(l *ledger.Ledger) ([]plan.Balance, error) { return l.Balances(r.First, r.Last) })
}

// Balances implements Desk.
func (c *Client) Balances(ctx context.Context, r CostsRequest) ([]plan.Balance, error) {
	return call[[]plan.Balance](ctx, c, "balances", quick, r)
}
