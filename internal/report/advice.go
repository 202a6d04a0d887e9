package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// hint is a piece of advice with what following it may be worth.
type hint struct {
	worth market.Amount
	text  string
}

// advice is what could be done about it, of what the records bear out; at most three.
func (m *maker) advice(r *Report) []string {
	all := slices.Concat(m.aboutShortages(r), m.aboutHosts(r), m.aboutOnDemand(r), m.aboutBalance(r))
	slices.SortStableFunc(all, func(a, b hint) int { return cmp.Or(cmp.Compare(b.worth, a.worth), cmp.Compare(a.text, b.text)) })
	out := []string{}
	for i := range all[:min(len(all), 3)] {
		out = append(out, all[i].text)
	}
	return out
}

// aboutShortages names the key that a shortage hangs on.
func (m *maker) aboutShortages(r *Report) (out []hint) {
	for i := range r.Policies {
		l := &r.Policies[i]
		for _, why := range []string{plan.WhyCeiling, plan.HoldBudget} {
			missed := plan.Span(0)
			for _, s := range m.short[shortage{l.Policy, why}] {
				missed += s.missed
			}
			if missed < leastMissed {
				continue
			}
			worth := m.worth(l.Policy, missed)
			if why == plan.WhyCeiling {
				out = append(out, hint{worth, fmt.Sprintf("%s: only max_gpu_hour stood between it and %s GPU-hours; \"tdscaler explain %s\" says what a higher one would have taken", l.Policy, hours(missed), l.Policy)})
				continue
			}
			text := fmt.Sprintf("%s: the budget kept %s GPU-hours back", l.Policy, hours(missed))
			if per, ok := l.PerGPUHour().Get(); ok {
				text += fmt.Sprintf(", about %s at what it paid for others", cents(per.For(time.Duration(missed))))
			}
			out = append(out, hint{worth, text})
		}
	}
	return out
}

// aboutHosts names hosts that failed more than once.
func (m *maker) aboutHosts(r *Report) (out []hint) {
	var hosts []string
	worth := market.Amount(0)
	for i := range m.Outages {
		u := &m.Outages[i]
		if m.of(u.Policy) == nil || m.down(u).long() <= 0 || u.Host == "" {
			continue
		}
		hosts = append(hosts, u.Host)
		worth = worth.Add(u.Rate.Or(0).For(m.down(u).long())).Add(m.worth(u.Policy, gpuTime(u.GPUs, m.down(u).long())))
	}
	slices.Sort(hosts)
	var again []string
	for i := 1; i < len(hosts); i++ {
		if hosts[i] == hosts[i-1] && !slices.Contains(again, hosts[i]) {
			again = append(again, hosts[i])
		}
	}
	if len(again) > 0 {
		out = append(out, hint{worth, "hosts with more than one outage, for match.deny.hosts: " + strings.Join(again[:min(len(again), 3)], ", ")})
	}
	return out
}

// aboutOnDemand tells of policies on spot that paid more than on demand.
func (m *maker) aboutOnDemand(r *Report) (out []hint) {
	for i := range r.Policies {
		l := &r.Policies[i]
		spot := slices.ContainsFunc(m.Policies, func(p policy.Policy) bool { return p.Name == l.Policy && p.Capacity != market.OnDemand })
		if lost := -l.Saved; spot && lost >= market.Amount(market.Dollar) {
			out = append(out, hint{lost, fmt.Sprintf("%s: the same hours on demand would have been %s less; capacity: on_demand is never outbid either", l.Policy, cents(lost))})
		}
	}
	return out
}

// aboutBalance tells when the money ends, or the month's cap is reached.
func (m *maker) aboutBalance(r *Report) (out []hint) {
	now := r.Money.Now
	if now == nil {
		return nil
	}
	if now.Runway > 0 && now.Runway < 72*time.Hour {
		out = append(out, hint{market.Amount(market.MaxRate), fmt.Sprintf("deposit: the balance lasts %s at what is reserved", lasted(now.Runway))})
	}
	if most, ok := now.MaxMonthly.Get(); ok && now.Burn > 0 && now.Forecast >= most {
		out = append(out, hint{most, fmt.Sprintf("max_monthly (%s) is reached before the month ends, at the present %s; what it does not allow is deleted then", cents(most), now.Burn)})
	}
	return out
}
