package control

import (
	"context"
	"time"

	"github.com/tdscaler/tdscaler/internal/ledger"
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
