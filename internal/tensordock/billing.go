package tensordock

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

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

// Statement is one month of the account's money.
type Statement struct {
	From, To         string // "2006-01": the period begins with From and ends where To begins
	Previous, Final  market.Maybe[market.Amount]
	Expenses         market.Maybe[market.Amount]
	Payouts          market.Maybe[market.Amount]
	Transactions     []Transaction // by kind, then as the market lists them
	Address, TaxCode string
}

// Transaction is one line of a Statement.
type Transaction struct {
	Kind      string // as the market names it: vm_expenses, storage_expenses, deposits...
	Machine   string
	Host      string
	GPU       string // in words
	Rate      market.Maybe[market.Rate]
	Amount    market.Maybe[market.Amount]
	StorageGB market.Maybe[int]
	From, To  string // as the market writes them, "01/02"
}

// Summary reads the statement of a month, "2006-01".
func (r *Reader) Summary(ctx context.Context, period string) (Statement, error) {
	q := r.post("summary", "billing/summary", url.Values{"period": {period}})
	if _, err := time.Parse("2006-01", period); err != nil {
		return Statement{}, refuse(q, "a period is written as 2006-01")
	}
	return ask(ctx, r.v0, q, decodeStatement)
}

func decodeStatement(v value) (Statement, error) {
	p, changes := v.get("bill_period"), v.get("changes")
	s := Statement{
		From:     month(p.get("startY"), p.get("startM")),
		To:       month(p.get("endY"), p.get("endM")),
		Previous: v.get("previous_balance").amount(),
		Final:    v.get("final_balance").amount(),
		Expenses: changes.get("expenses").amount(),
		Payouts:  changes.get("payouts").amount(),
		Address:  v.get("organization_billing_address").word(),
		TaxCode:  v.get("organization_tax_id").word(),
	}
	for kind, lines := range v.get("transactions").fields() {
		for line := range lines.items() {
			s.Transactions = append(s.Transactions, decodeTransaction(string(kind), line))
		}
	}
	slices.SortStableFunc(s.Transactions, func(a, b Transaction) int { return strings.Compare(a.Kind, b.Kind) })
	if s.From == "" && !s.Previous.Known() && !s.Final.Known() && !s.Expenses.Known() {
		return s, errors.New("no statement in the answer")
	}
	return s, nil
}

func month(year, month value) string {
	y, ok1 := year.count().Get()
	m, ok2 := month.count().Get()
	if !ok1 || !ok2 || m < 1 || m > 12 {
		return ""
	}
	return time.Date(y, time.Month(m), 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
}

func decodeTransaction(kind string, v value) Transaction {
	return Transaction{
		Kind:      kind,
		Machine:   v.get("virtual_machine_id").word(),
		Host:      v.get("hostnode_id").word(),
		GPU:       v.get("gpu_details").word(),
		Rate:      v.get("rate_hourly").rate(),
		Amount:    v.get("total_amount", "amount").amount(),
		StorageGB: v.get("storage_amount").count(),
		From:      v.get("billing_period_start").word(),
		To:        v.get("billing_period_end").word(),
	}
}

// RevenueQuery narrows a Revenue; zero fields do not.
type RevenueQuery struct {
	From, To time.Time
	Host     string
}

// HostRevenue is what a host of the account earned: for those who rent out.
type HostRevenue struct {
	Host             string
	Location         string
	Used, Free       ResourceCount
	Compute, Storage market.Maybe[market.Amount]
	Machines         []MachineRevenue // as the market lists them
}

// MachineRevenue is one guest's part of a HostRevenue.
type MachineRevenue struct {
	ID               string
	Used             ResourceCount
	Compute, Storage market.Maybe[market.Amount]
}

// ResourceCount counts resources; RAM and Storage are GB.
type ResourceCount struct{ GPUs, VCPUs, RAM, Storage market.Maybe[int] }

// Revenue reads what the account's own hosts earned, sorted by host.
func (r *Reader) Revenue(ctx context.Context, rq RevenueQuery) ([]HostRevenue, error) {
	f := url.Values{}
	if !rq.From.IsZero() {
		f.Set("start_timestamp", strconv.FormatInt(rq.From.Unix(), 10))
	}
	if !rq.To.IsZero() {
		f.Set("end_timestamp", strconv.FormatInt(rq.To.Unix(), 10))
	}
	if rq.Host != "" {
		f.Set("hostnode_id", rq.Host)
	}
	return ask(ctx, r.v0, r.post("revenue", "billing/revenue", f), decodeRevenue)
}

func decodeRevenue(v value) ([]HostRevenue, error) {
	list := v.get("data")
	if !list.isArray() {
		return nil, errors.New("no revenue in the answer")
	}
	out := []HostRevenue{}
	for f := range list.items() {
		h := HostRevenue{
			Host: f.get("hostnode_id").word(), Location: f.get("location").word(),
			Used: resourceCount(f, "used"), Free: resourceCount(f, "available"),
			Compute: f.get("revenue_compute").amount(), Storage: f.get("revenue_storage").amount(),
		}
		for m := range f.get("virtual_machines").items() {
			h.Machines = append(h.Machines, MachineRevenue{
				ID: m.get("id").word(), Used: resourceCount(m, "used"),
				Compute: m.get("revenue_compute").amount(), Storage: m.get("revenue_storage").amount(),
			})
		}
		out = append(out, h)
	}
	slices.SortStableFunc(out, func(a, b HostRevenue) int { return strings.Compare(a.Host, b.Host) })
	return out, nil
}

func resourceCount(v value, prefix string) ResourceCount {
	return ResourceCount{
		GPUs: v.get(prefix + "_gpus").count(), VCPUs: v.get(prefix + "_cpus").count(),
		RAM: v.get(prefix + "_ram").count(), Storage: v.get(prefix + "_storage").count(),
	}
}
