package billing

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Bill is the market's statement of a month.
type Bill struct {
	From     string                      `json:"from"` // 2006-01
	To       string                      `json:"to"`
	Previous market.Maybe[market.Amount] `json:"previous_balance_usd"`
	Final    market.Maybe[market.Amount] `json:"final_balance_usd"`
	Expenses market.Maybe[market.Amount] `json:"expenses_usd"`
	Payouts  market.Maybe[market.Amount] `json:"payouts_usd"`
	Lines    []BillLine                  `json:"lines"`
}

// BillLine is one line of a Bill.
type BillLine struct {
	Kind    string                      `json:"kind"` // as the market names it: vm_expenses, deposits...
	Machine string                      `json:"id,omitempty"`
	Host    string                      `json:"host,omitempty"`
	GPU     string                      `json:"gpu,omitempty"`
	Amount  market.Maybe[market.Amount] `json:"amount_usd"`
}

// Row is one machine in the books and on the bill.
type Row struct {
	ID         string                      `json:"id"` // the market's
	Machine    string                      `json:"machine,omitempty"`
	Policy     string                      `json:"policy,omitempty"`
	Host       string                      `json:"host,omitempty"`
	Books      market.Amount               `json:"books_usd"`
	Bill       market.Maybe[market.Amount] `json:"bill_usd"`
	Difference market.Amount               `json:"difference_usd"` // of the bill above the books
}

// Comparison is a month by the books and by the bill.
type Comparison struct {
	Month string `json:"month"`
	Rows  []Row  `json:"machines"` // the greatest difference first
	// Ours is what the bill says of machines in the books, Books what these say of them.
	Ours  market.Amount `json:"bill_of_ours_usd"`
	Books market.Amount `json:"books_usd"`
	// Others is what the bill says of machines that the books do not know, and Rest what
	// the books reckoned beside our machines.
	Others market.Amount `json:"bill_of_others_usd"`
	Rest   market.Amount `json:"books_rest_usd"`
	// Unread counts lines of the bill without an amount.
	Unread int  `json:"unread_lines,omitempty"`
	Bill   Bill `json:"bill"`
}

// Compare holds the costs of a month against its bill, machine by machine. The books
// charge the dearer of two looks, so that they are above the bill by a little.
func Compare(month string, costs []plan.Cost, b Bill) Comparison {
	c := Comparison{Month: month, Rows: []Row{}, Bill: b}
	rows := map[string]*Row{}
	for i := range costs {
		c.book(rows, &costs[i])
	}
	for i := range b.Lines {
		c.billed(rows, &b.Lines[i])
	}
	for _, r := range rows {
		r.Difference = r.Bill.Or(0).Sub(r.Books)
		c.Rows = append(c.Rows, *r)
	}
	slices.SortFunc(c.Rows, func(a, b Row) int {
		return cmp.Or(cmp.Compare(size(b.Difference), size(a.Difference)), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Machine, b.Machine))
	})
	return c
}

func size(a market.Amount) market.Amount { return max(a, -a) }

// book adds to the books. A machine whose id was never learnt stands under its name.
func (c *Comparison) book(rows map[string]*Row, one *plan.Cost) {
	if one.IsRest() {
		c.Rest = c.Rest.Add(one.Amount)
		return
	}
	c.Books = c.Books.Add(one.Amount)
	key := cmp.Or(one.ID, one.Machine, Unnamed)
	if rows[key] == nil {
		rows[key] = &Row{ID: one.ID, Machine: cmp.Or(one.Machine, Unnamed), Policy: one.Policy, Host: one.Host}
	}
	rows[key].Books = rows[key].Books.Add(one.Amount)
}

// billed adds a line of the bill; what is no expense is money that came in or went out.
func (c *Comparison) billed(rows map[string]*Row, line *BillLine) {
	if !strings.HasSuffix(line.Kind, "expenses") {
		return
	}
	a, ok := line.Amount.Get()
	if !ok {
		c.Unread++
		return
	}
	r := rows[line.Machine]
	if r == nil || line.Machine == "" {
		c.Others = c.Others.Add(a)
		return
	}
	c.Ours = c.Ours.Add(a)
	r.Bill = market.Some(r.Bill.Or(0).Add(a))
}
