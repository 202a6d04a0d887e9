package web

import (
	"context"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Desk is what may be asked from outside: the questions of control.Desk, and none of
// what changes anything. Not one of them asks the market. Requests are about the
// configuration in use: their Path and File stay empty. Errors are *control.Fault or the
// context's.
type Desk interface {
	Status(context.Context, control.StatusRequest) (control.Status, error)
	Targets(context.Context, control.TargetsRequest) ([]demand.Outcome, error)
	Market(context.Context, control.MarketRequest) (control.Market, error)
	Prices(context.Context, control.PricesRequest) (control.Prices, error)
	Costs(context.Context, control.CostsRequest) ([]plan.Cost, error)
	Balances(context.Context, control.CostsRequest) ([]plan.Balance, error)
	Outages(context.Context, control.OutagesRequest) ([]plan.Outage, error)
	Intents(context.Context, control.IntentsRequest) ([]plan.Intent, error)
	Intent(context.Context, control.IntentRequest) (plan.Intent, error)
	Cycles(context.Context, control.CyclesRequest) ([]ledger.ReportSummary, error)
	Cycle(context.Context, control.CycleRequest) (plan.Report, error)
	Chronicle(context.Context, control.ChronicleRequest) ([]control.Chapter, error)
	Machines(context.Context, control.MachinesRequest) ([]control.Machine, error)
	Containers(context.Context, control.MachinesRequest) ([]control.Container, error)
	Hosts(context.Context, control.HostsRequest) ([]plan.HostView, error)
}
