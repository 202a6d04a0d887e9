package billing

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// What TensorDock's terms of downtime compensation give: so many times the hourly rate
// for each hour, at least so much, and no more than was spent in the month before.
const (
	StandardFactor = 5
	TopFactor      = 10
	LossFactor     = 40 // times the hourly rate, once, for a lost disk
	LeastCredit    = 5 * market.Dollar
)

// Claim is an outage with what the terms give for it, before the least and the most
// that a month is given.
type Claim struct {
	plan.Outage
	Seconds int64 `json:"seconds"`
	// Standard is the credit where the host is a standard one, Top where it is a top
	// host: the API does not tell which. Loss is for the disk, where that is gone. Unknown
	// without a rate.
	Standard market.Maybe[market.Amount] `json:"credit_standard_usd"`
	Top      market.Maybe[market.Amount] `json:"credit_top_usd"`
	Loss     market.Maybe[market.Amount] `json:"credit_data_loss_usd"`
}

// Month is what the terms give for the outages that began in a month.
type Month struct {
	Month   string `json:"month"` // 2006-01
	Outages int    `json:"outages"`
	Unrated int    `json:"without_rate,omitempty"` // counted with nothing
	Seconds int64  `json:"seconds"`
	// Cap is what was spent in the month before, by the books; unknown where they did not
	// exist then.
	Cap      market.Maybe[market.Amount] `json:"cap_usd"`
	Standard market.Amount               `json:"credit_standard_usd"`
	Top      market.Amount               `json:"credit_top_usd"`
}

// Claims are what may be claimed for outages.
type Claims struct {
	Claims []Claim `json:"claims"` // oldest first
	Months []Month `json:"months"` // oldest first
}

// Reckon makes claims of outages. Months are those of a zone; costs are those of all
// months concerned and of the one before.
func Reckon(outages []plan.Outage, costs []plan.Cost, zone *time.Location) Claims {
	out := Claims{Claims: []Claim{}, Months: []Month{}}
	spent := map[string]market.Amount{}
	for i := range costs {
		m := costs[i].Day[:min(7, len(costs[i].Day))]
		spent[m] = spent[m].Add(costs[i].Amount)
	}
	at := map[string]int{}
	for i := range outages {
		c := claimOf(&outages[i])
		out.Claims = append(out.Claims, c)
		key := c.From.In(zone).Format("2006-01")
		if _, ok := at[key]; !ok {
			at[key] = len(out.Months)
			out.Months = append(out.Months, Month{Month: key, Cap: spentBefore(spent, key)})
		}
		out.Months[at[key]].add(&c)
	}
	for i := range out.Months {
		out.Months[i].bound()
	}
	return out
}

func claimOf(u *plan.Outage) Claim {
	c := Claim{Outage: *u, Seconds: int64(u.Lasted() / time.Second)}
	rate, ok := u.Rate.Get()
	if !ok {
		return c
	}
	c.Standard = market.Some(rate.Mul(StandardFactor).For(u.Lasted()))
	c.Top = market.Some(rate.Mul(TopFactor).For(u.Lasted()))
	if u.DataLost {
		c.Loss = market.Some(rate.Mul(LossFactor).For(time.Hour))
	}
	return c
}

func spentBefore(spent map[string]market.Amount, month string) market.Maybe[market.Amount] {
	t, err := time.Parse("2006-01", month)
	if err != nil {
		return market.Maybe[market.Amount]{}
	}
	a, ok := spent[t.AddDate(0, -1, 0).Format("2006-01")]
	if !ok {
		return market.Maybe[market.Amount]{}
	}
	return market.Some(a)
}

func (m *Month) add(c *Claim) {
	m.Outages++
	m.Seconds += c.Seconds
	if !c.Standard.Known() {
		m.Unrated++
	}
	loss := c.Loss.Or(0)
	m.Standard = m.Standard.Add(c.Standard.Or(0)).Add(loss)
	m.Top = m.Top.Add(c.Top.Or(0)).Add(loss)
}

// bound applies the least and the most that the terms give; the most wins.
func (m *Month) bound() {
	for _, a := range []*market.Amount{&m.Standard, &m.Top} {
		if *a > 0 {
			*a = max(*a, LeastCredit)
		}
		*a = min(*a, m.Cap.Or(*a))
	}
}
