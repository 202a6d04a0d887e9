package simulator

import (
	"fmt"
	"net/http"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// revenue is for who owns hosts. This account owns none.
func (c *call) revenue() answer { return ok(object{"data": []any{}}) }

// summary is the statement of a month, money as text. Deposits have no dates: they count
// as made before the first month.
func (c *call) summary() answer {
	defer c.e.lock()()
	month := c.e.now.UTC()
	if c.params.has("period") {
		t, err := time.Parse("2006-01", c.params.text("period"))
		if err != nil {
			return c.failure(http.StatusBadRequest, "period must be YYYY-MM")
		}
		month = t
	}
	from := time.Date(month.Year(), month.Month(), 1, 0, 0, 0, 0, time.UTC)
	return ok(c.e.statement(from, from.AddDate(0, 1, 0)))
}

func (e *Engine) statement(from, to time.Time) object {
	vms, disks, spent, before := []any{}, []any{}, market.Amount(0), market.Amount(0)
	for _, m := range e.machines {
		earlier, stored := e.costWithin(m, time.Time{}, from)
		before = before.Add(earlier).Add(stored)
		compute, storage := e.costWithin(m, from, to)
		spent = spent.Add(compute).Add(storage)
		base := func(rate market.Rate, total market.Amount) object {
			return object{
				"virtual_machine_id": m.id, "hostnode_id": m.order.Host, "rate_hourly": rate, "total_amount": total,
				"billing_period_start": from.Format("01/02"), "billing_period_end": to.Format("01/02"),
			}
		}
		if compute > 0 {
			vm := base(m.rate, compute)
			vm["gpu_details"] = fmt.Sprintf("%dx %s", m.order.Shape.GPUs, m.order.Model)
			vms = append(vms, vm)
		}
		if storage > 0 {
			disk := base(m.storage, storage)
			disk["storage_amount"] = m.order.Shape.Storage
			disks = append(disks, disk)
		}
	}
	return object{
		"bill_period": object{
			"startM": from.Format("01"), "startY": from.Format("2006"), "endM": to.Format("01"), "endY": to.Format("2006"),
		},
		"changes":          object{"expenses": text2(spent), "payouts": "0.00"},
		"previous_balance": text2(e.deposited.Sub(before)), "final_balance": text2(e.deposited.Sub(before).Sub(spent)),
		"organization_billing_address": nil, "organization_tax_id": nil,
		"transactions": object{
			"deposits": []any{}, "withdrawals": []any{}, "vm_expenses": vms, "storage_expenses": disks,
			"vm_payouts": []any{}, "storage_payouts": []any{},
		},
	}
}

// costWithin is what the part of a machine's life between from and to costs.
func (e *Engine) costWithin(m *machine, from, to time.Time) (compute, storage market.Amount) {
	for _, s := range append(m.past[:len(m.past):len(m.past)], m.open.until(e.now)) {
		if s.from.Before(from) {
			s.from = from
		}
		if s.to.After(to) {
			s.to = to
		}
		if !s.to.After(s.from) {
			continue
		}
		c, d := s.cost()
		compute, storage = compute.Add(c), storage.Add(d)
	}
	return compute, storage
}

// text2 prints dollars with two decimals, rounded down.
func text2(a market.Amount) string {
	sign := ""
	if a < 0 {
		sign, a = "-", -a
	}
	return fmt.Sprintf("%s%d.%02d", sign, a/market.Dollar, a%market.Dollar/market.Cent)
}
