package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/billing"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

// costOptions are the flags of cost.
type costOptions struct {
	since, until, by, bill string
	from, to               time.Time
	csv                    bool
}

func costCommand() *cobra.Command {
	var f deskFlags
	var o costOptions
	cmd := &cobra.Command{
		Use:   "cost --config FILE",
		Short: "Show what was spent, by policy, GPU model, host, day or machine, against on-demand and the bill",
		Long: `cost sums up what the ledger metered, and holds it against what the same
machine-hours would have cost at what their hosts asked on demand at the time. --bill
reads TensorDock's statement of a month and holds it against the books, machine by
machine. Days are those of budget.time_zone.

When to use it: to know what a policy costs, and each month to check the bill.`,
		Example: `  tdscaler cost --config policies.yaml
  tdscaler cost --config policies.yaml --by day --since 2026-03-01 --csv
  tdscaler cost --config policies.yaml --bill 2026-03`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd, f.json); err != nil {
				return err
			}
			if o.bill != "" {
				return f.at(cmd, func(s *session) error { return s.compareBill(&o) })
			}
			return f.at(cmd, func(s *session) error { return s.cost(&o) })
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&o.since, "since", "720h", "since the day of this `TIME`: a duration back (24h), a date, or RFC 3339")
	fl.StringVar(&o.until, "until", "", "until the day of this `TIME`, included, in the same forms (now)")
	fl.StringVar(&o.by, "by", string(billing.ByPolicy), "sum up by this `KEY`: policy, gpu_model, host, day or machine")
	fl.StringVar(&o.bill, "bill", "", "hold the books against TensorDock's statement of this `MONTH`, as 2026-03")
	fl.BoolVar(&o.csv, "csv", false, "print as CSV")
	return cmd
}

func (o *costOptions) check(cmd *cobra.Command, asJSON bool) (err error) {
	switch {
	case o.csv && asJSON:
		return usageError("--csv and --json exclude each other")
	case !slices.Contains(billing.Ways(), billing.By(o.by)):
		return usageError("--by is policy, gpu_model, host, day or machine, not %q", o.by)
	case o.bill != "" && (cmd.Flags().Changed("since") || cmd.Flags().Changed("until") || cmd.Flags().Changed("by")):
		return usageError("--bill is of a whole month, machine by machine: --since, --until and --by do not go with it")
	}
	if o.bill != "" {
		if _, err := time.Parse("2006-01", o.bill); err != nil {
			return usageError("--bill is a month, as 2026-03, not %q", o.bill)
		}
		return nil
	}
	o.from, o.to, err = stretch(o.since, o.until)
	return err
}

func (s *session) cost(o *costOptions) error {
	a, err := control.Spending(s.Context(), s.desk, control.SpendingRequest{Since: o.from, Until: o.to, Now: clock.System{}.Now(), By: billing.By(o.by)})
	if err != nil {
		return err
	}
	if o.csv {
		return costCSV(s.OutOrStdout(), &a.Summary)
	}
	return s.printed(a, func(t *table) { t.cost(&a) })
}

func (t *table) cost(a *control.Spent) {
	t.line("from %s to %s, by %s", a.First, a.Last, a.By)
	t.gap()
	if len(a.Lines) == 0 {
		t.line("nothing was spent")
		return
	}
	t.row(strings.ToUpper(string(a.By)), "SPENT", "GPU-HOURS", "PER GPU-HOUR", "ON DEMAND", "SAVED", "DISK ONLY", "NOT COMPARED")
	for i := range a.Lines {
		t.costLine(&a.Lines[i])
	}
	t.costLine(&a.Total)
	if a.Total.Uncompared > 0 {
		t.gap()
		t.line("%s is compared with nothing: what the host asked on demand is not known, or not which machine it was.", spent(a.Total.Uncompared))
	}
	if len(a.Balances) > 0 {
		t.gap()
		t.balances(a)
	}
	if b := a.Balance; !b.Since.IsZero() {
		t.gap()
		t.line("since %s the books explain %s of the balance, which fell by %s.", stamp(b.Since), spent(b.Charged), exactly(b.Charged.Add(b.Excess)))
	}
}

// balances print how the balance went, each day where costs are told by day.
func (t *table) balances(a *control.Spent) {
	t.line("the balance fell by %s in these days, deposits apart; the books explain %s.", exactly(a.Fell), exactly(a.Total.Amount))
	if a.By != billing.ByDay {
		return
	}
	books := map[string]market.Amount{}
	for i := range a.Lines {
		books[a.Lines[i].Key] = a.Lines[i].Amount
	}
	t.gap()
	t.row("DAY", "BEGAN WITH", "ENDED WITH", "DEPOSITS", "FELL BY", "BOOKS")
	for i := range a.Balances {
		b := &a.Balances[i]
		t.row(b.Day, exactly(b.Open), exactly(b.Close), exactly(b.Deposits), exactly(b.Fell()), exactly(books[b.Day]))
	}
}

func (t *table) costLine(l *billing.Line) {
	per, onDemand, saved := "-", "-", "-"
	if l.GPUHours > 0 {
		per = fmt.Sprintf("$%.4f", l.Amount.Float()/l.GPUHours)
	}
	if l.OnDemand > 0 {
		onDemand = exactly(l.OnDemand)
		saved = fmt.Sprintf("%s (%.0f %%)", exactly(l.Saved), 100*l.Saved.Float()/l.OnDemand.Float())
	}
	uncompared := "-"
	if l.Uncompared > 0 {
		uncompared = spent(l.Uncompared)
	}
	t.row(l.Key, spent(l.Amount), tenths(l.GPUHours), per, onDemand, saved, tenths(l.StoredHours)+"h", uncompared)
}

func tenths(h float64) string { return strconv.FormatFloat(h, 'f', 1, 64) }

// exactly prints money to the nearest cent: for figures that go both ways.
func exactly(a market.Amount) string {
	if a < 0 {
		return "-" + exactly(-a)
	}
	return market.Amount(market.Rate(a.Add(market.Cent / 2)).FloorCent()).String()
}

func costCSV(w io.Writer, s *billing.Summary) error {
	rows := [][]string{{
		string(s.By), "amount_usd", "gpu_hours", "machine_hours", "storage_only_hours", "on_demand_usd", "saved_usd", "uncompared_usd", "unpriced_hours",
	}}
	float := func(h float64) string { return strconv.FormatFloat(h, 'f', 4, 64) }
	for i := range s.Lines {
		l := &s.Lines[i]
		rows = append(rows, []string{
			clean(l.Key), l.Amount.Decimal(), float(l.GPUHours), float(l.MachineHours), float(l.StoredHours), l.OnDemand.Decimal(), l.Saved.Decimal(),
			l.Uncompared.Decimal(), float(l.UnpricedHours),
		})
	}
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// compareBill reads the statement of a month, and the books of it.
func (s *session) compareBill(o *costOptions) error {
	costs, err := s.desk.Costs(s.Context(), control.CostsRequest{First: o.bill + "-01", Last: o.bill + "-31"})
	if err != nil {
		return err
	}
	r, err := askerOf(&s.cfg)
	if err != nil {
		return err
	}
	bill, err := billOf(s.Context(), r, o.bill)
	if err != nil {
		return err
	}
	c := billing.Compare(o.bill, costs, bill)
	if o.csv {
		return billCSV(s.OutOrStdout(), c.Rows)
	}
	return s.printed(c, func(t *table) { t.bill(&c) })
}

func billOf(ctx context.Context, r *tensordock.Reader, month string) (billing.Bill, error) {
	st, err := r.Summary(ctx, month)
	if err != nil {
		return billing.Bill{}, err
	}
	b := billing.Bill{From: st.From, To: st.To, Previous: st.Previous, Final: st.Final, Expenses: st.Expenses, Payouts: st.Payouts, Lines: []billing.BillLine{}}
	for _, t := range st.Transactions {
		b.Lines = append(b.Lines, billing.BillLine{Kind: t.Kind, Machine: t.Machine, Host: t.Host, GPU: t.GPU, Amount: t.Amount})
	}
	return b, nil
}

func (t *table) bill(c *billing.Comparison) {
	b := &c.Bill
	t.line("%s: the bill says expenses of %s; the balance went from %s to %s", c.Month, owned(b.Expenses), owned(b.Previous), owned(b.Final))
	t.gap()
	t.row("", "BILL", "BOOKS", "DIFFERENCE")
	t.row("machines of ours", exactly(c.Ours), exactly(c.Books), exactly(c.Ours.Sub(c.Books)))
	t.row("the rest of the account", exactly(c.Others), exactly(c.Rest), exactly(c.Others.Sub(c.Rest)))
	if c.Unread > 0 {
		t.line("%s of the bill could not be read", plural(c.Unread, "line"))
	}
	if len(c.Rows) == 0 {
		return
	}
	t.gap()
	t.row("MACHINE", "POLICY", "BILL", "BOOKS", "DIFFERENCE", "HOST", "ID")
	for i := range c.Rows {
		r := &c.Rows[i]
		billed := "not on it"
		if a, ok := r.Bill.Get(); ok {
			billed = exactly(a)
		}
		t.row(r.Machine, r.Policy, billed, exactly(r.Books), exactly(r.Difference), r.Host, r.ID)
	}
}

func billCSV(w io.Writer, all []billing.Row) error {
	rows := [][]string{{"machine", "policy", "id", "host", "bill_usd", "books_usd", "difference_usd"}}
	for i := range all {
		r := &all[i]
		rows = append(rows, []string{clean(r.Machine), clean(r.Policy), clean(r.ID), clean(r.Host), dollars(r.Bill), r.Books.Decimal(), r.Difference.Decimal()})
	}
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}
