package daemon

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// capMetrics are the caps beside the hourly one, and what counts against the fleet's. A
// cap that nobody wrote has no series: 0 would be a cap.
type capMetrics struct {
	day, month           *prometheus.GaugeVec // of the fleet: no labels, so that they can be absent
	spentDay, spentMonth *prometheus.GaugeVec

	policyHour, policyDay, policyMonth, policyTotal *prometheus.GaugeVec
}

type newGauges func(name, help string, labels ...string) *prometheus.GaugeVec

func newCapMetrics(gauges newGauges) capMetrics {
	return capMetrics{
		day:         gauges("budget_daily_dollars", "The fleet's cap on a day, budget.max_daily; none where there is no such cap."),
		month:       gauges("budget_monthly_dollars", "The fleet's cap on a month, budget.max_monthly; none where there is no such cap."),
		spentDay:    gauges("budget_spent_today_dollars", "What counts against the fleet's daily cap: spend since midnight, with budget.scope: account that of the rest of the account too, and that of policies that are gone."),
		spentMonth:  gauges("budget_spent_month_dollars", "What counts against the fleet's monthly cap, in the same way."),
		policyHour:  gauges("policy_budget_hourly_dollars_per_hour", "The policy's own hourly cap; none where there is no such cap.", "policy"),
		policyDay:   gauges("policy_budget_daily_dollars", "The policy's own cap on a day; none where there is no such cap.", "policy"),
		policyMonth: gauges("policy_budget_monthly_dollars", "The policy's own cap on a month; none where there is no such cap.", "policy"),
		policyTotal: gauges("policy_budget_lifetime_dollars", "The policy's cap on all its life, max_total; none where there is no such cap.", "policy"),
	}
}

func (m *capMetrics) all() gaugeVecs {
	return gaugeVecs{m.day, m.month, m.spentDay, m.spentMonth, m.policyHour, m.policyDay, m.policyMonth, m.policyTotal}
}

func (m *capMetrics) report(r *plan.Report) {
	m.all().reset()
	b := &r.Input.Budget
	spent := r.Input.History.SpentInScope(b.Scope, r.FinishedAt.In(b.Zone.Location()))
	m.spentDay.WithLabelValues().Set(spent.Day.Float())
	m.spentMonth.WithLabelValues().Set(spent.Month.Float())
	show(m.day, b.MaxDaily)
	show(m.month, b.MaxMonthly)
	for i := range r.Input.Policies {
		p := &r.Input.Policies[i]
		show(m.policyHour, p.Budget.MaxHourly, p.Name)
		show(m.policyDay, p.Budget.MaxDaily, p.Name)
		show(m.policyMonth, p.Budget.MaxMonthly, p.Name)
		show(m.policyTotal, p.Budget.MaxTotal, p.Name)
	}
}

// show sets a gauge to a value that is known.
func show[T interface{ Float() float64 }](v *prometheus.GaugeVec, value market.Maybe[T], labels ...string) {
	if known, ok := value.Get(); ok {
		v.WithLabelValues(labels...).Set(known.Float())
	}
}

// priceMetrics are what GPUs cost, are offered at, and may cost.
type priceMetrics struct {
	burn, onDemand, ceiling, lowest, offered *prometheus.GaugeVec
}

func newPriceMetrics(gauges newGauges) priceMetrics {
	return priceMetrics{
		burn:     gauges("policy_burn_dollars_per_hour", "What the policy's machines cost per hour in the state last seen.", "policy"),
		onDemand: gauges("policy_on_demand_dollars_per_hour", "What the policy's machines that run would cost per hour at what their hosts ask on demand, disk included; without machines whose host's price is not known.", "policy"),
		ceiling:  gauges("policy_ceiling_dollars_per_gpu_hour", "The most that the policy pays for a GPU, all-in: max_gpu_hour.", "policy"),
		lowest:   gauges("policy_lowest_price_dollars_per_gpu_hour", "The lowest all-in on-demand price per GPU of an offer that the policy matches and that has enough GPUs free; none where there is no such offer.", "policy"),
		offered:  gauges("policy_offered_gpus", "GPUs free, in whole machines, on what the policy matches, by the all-in on-demand price: within what the policy pays on demand, or above it. Spot may be won for less.", "policy", "price"),
	}
}

func (m *priceMetrics) all() gaugeVecs {
	return gaugeVecs{m.burn, m.onDemand, m.ceiling, m.lowest, m.offered}
}

func (m *priceMetrics) report(r *plan.Report) {
	m.all().reset()
	supplies := plan.Supplies(&r.Input.Snapshot, r.Input.Policies)
	for i := range r.Input.Policies {
		p := &r.Input.Policies[i]
		m.burn.WithLabelValues(p.Name)
		m.ceiling.WithLabelValues(p.Name).Set(p.MaxGPUHour.Float())
		s := supplies[p.Name]
		show(m.lowest, s.Lowest, p.Name)
		m.offered.WithLabelValues(p.Name, "within").Set(float64(s.Within))
		m.offered.WithLabelValues(p.Name, "above").Set(float64(s.Above))
	}
	m.machines(&r.Input.History)
}

// machines adds up what runs, that of policies that are gone included.
func (m *priceMetrics) machines(h *plan.History) {
	for i := range h.Machines {
		one := &h.Machines[i]
		m.burn.WithLabelValues(one.Policy).Add(one.Burn().Float())
		if asked, ok := one.ListPrice.Get(); ok && one.Status.BillsCompute() {
			m.onDemand.WithLabelValues(one.Policy).Add(asked.Float())
		}
	}
	for i := range h.Containers {
		m.burn.WithLabelValues(h.Containers[i].Policy).Add(h.Containers[i].Burn().Float())
	}
}
