package plan

import (
	"cmp"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// written applies a counterfactual as somebody would who edits the file.
func written(t interface{ Fatal(...any) }, in Input, c *Counterfactual) Input {
	in.Policies = append([]policy.Policy{}, in.Policies...)
	p := &in.Policies[0]
	add := func(list *[]string) { *list = append(append([]string{}, *list...), c.Value) }
	switch c.Key {
	case "max_gpu_hour":
		p.MaxGPUHour = usd(c.Value)
	case "match.countries":
		add(&p.Match.Countries)
	case "match.gpu_models":
		add(&p.Match.GPUModels)
	case "match.min_uptime":
		p.Match.MinUptime = 0
	case "match.min_vram_gb":
		p.Match.MinVRAM = 0
	case "spread.max_share":
		p.Spread = policy.Spread{}
	case "capacity":
		p.Capacity = market.Capacity(c.Value)
	case "max_hourly":
		p.Budget.MaxHourly = market.Some(usd(c.Value))
	case "max_daily":
		p.Budget.MaxDaily = market.Some(market.Amount(usd(c.Value)))
	case "max_monthly":
		p.Budget.MaxMonthly = market.Some(market.Amount(usd(c.Value)))
	case "max_total":
		p.Budget.MaxTotal = market.Some(market.Amount(usd(c.Value)))
	case "budget.max_hourly":
		in.Budget.MaxHourly = market.Some(usd(c.Value))
	case "budget.max_daily":
		in.Budget.MaxDaily = market.Some(market.Amount(usd(c.Value)))
	case "budget.max_monthly":
		in.Budget.MaxMonthly = market.Some(market.Amount(usd(c.Value)))
	case KeyDeposit:
		more := market.Amount(usd(c.Value))
		in.Snapshot.Balance.Value.Balance = market.Some(in.Snapshot.Balance.Value.Balance.Or(0).Add(more))
		if was, known := in.History.Account.Balance.Get(); known {
			in.History.Account.Balance = market.Some(was.Add(more))
		}
	default:
		t.Fatal("no such key of a file: ", c.Key)
	}
	in.HourlyCap = (&policy.Set{Budget: in.Budget, Policies: in.Policies}).HourlyCap()
	return in
}

// listedIn are the offers that a policy may take, and how many GPUs they have room for.
func listedIn(in Input) (offers map[offerID]bool, gpus int) {
	offers = map[offerID]bool{}
	for _, l := range List(in, in.Policies[0]) {
		if l.In {
			offers[offerID{host: l.Host, instant: l.Instant, model: l.Model}] = true
			gpus += l.Fits * in.Policies[0].Shape.GPUs
		}
	}
	return offers, gpus
}

// newHosts are the hosts of the offers that are new.
func newHosts(before, after map[offerID]bool) map[string]bool {
	out := map[string]bool{}
	for o := range after {
		if !before[o] {
			out[cmp.Or(o.host, o.instant)] = true
		}
	}
	return out
}

// bought is how many GPUs of the policy a plan buys.
func bought(in Input) (gpus int) {
	for _, a := range actions(Compute(in), Deploy) {
		if a.Policy == in.Policies[0].Name && a.Replaces == "" {
			gpus += a.Shape.GPUs
		}
	}
	return gpus
}

// drawShort is a world whose first policy lacks machines, and may buy them.
func drawShort(t *rapid.T) Input {
	in := drawInput(t)
	p := drawPolicy(t, "short")
	p.Target, p.Cooldown, p.Deadline, p.MaxGPUHour = 3+upTo(t, "more", 6), 0, policy.Deadline{}, drawRate(t, "low", 1000, 5000)
	in.Policies = append([]policy.Policy{p}, in.Policies...)
	in.History.Pauses, in.History.Breakers = nil, nil
	in.Snapshot.Hosts.Complete, in.Snapshot.Instances.Complete, in.Snapshot.Instants.Complete = true, true, true
	return in
}

// lessBy is a value of the file, made smaller.
func lessBy(c Counterfactual, by market.Rate) Counterfactual {
	c.Value = (usd(c.Value) - by).Decimal()
	return c
}

// What is suggested is written into the file, and planned; and where it is an amount, a
// nano-dollar less, too.
func TestAChangeThatIsSuggestedReallyBringsWhatIsSaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawShort(t)
		in.Limits.MaxActions, in.Limits.MaxProbes = 10000, 10000
		in.HourlyCap = (&policy.Set{Budget: in.Budget, Policies: in.Policies}).HourlyCap()
		before, _ := listedIn(in)
		were := bought(in)
		for _, c := range Counterfactuals(in, in.Policies[0].Name) {
			then := written(t, in, &c)
			onDemand := !in.Policies[0].Buys(market.Spot) && !then.Policies[0].Buys(market.Spot)
			if got := bought(then) - were; onDemand && min(got, c.Missing) != c.Fills {
				t.Fatalf("%s: %d GPUs are ordered, not %d", c.Text, got, c.Fills)
			}
			if in.Policies[0].Capacity == policy.SpotWithFallback || then.Policies[0].Capacity == policy.SpotWithFallback {
				continue // a list is of one way to buy
			}
			after, gpus := listedIn(then)
			if n := len(newHosts(before, after)); n != c.Hosts {
				t.Fatalf("%s: %d hosts are in, not %d", c.Text, n, c.Hosts)
			}
			switch c.Key {
			case "max_gpu_hour":
				least := lessBy(c, 1)
				if _, less := listedIn(written(t, in, &least)); less >= gpus {
					t.Fatalf("%s: a nano-dollar less admits %d GPUs, this %d", c.Text, less, gpus)
				}
			case "max_hourly", "max_daily", "max_monthly", "budget.max_hourly", "budget.max_daily", "budget.max_monthly", KeyDeposit:
				least := lessBy(c, 1)
				if got := bought(written(t, in, &least)) - were; onDemand && got >= c.Fills {
					t.Fatalf("%s: a nano-dollar less buys %d GPUs, this %d", c.Text, got, c.Fills)
				}
			}
		}
	})
}

// BenchmarkCounterfactuals is a policy that finds nothing among 5,000 hosts.
func BenchmarkCounterfactuals(b *testing.B) {
	p := newPolicy("p", 8)
	p.MaxGPUHour, p.Match.Countries, p.Match.GPUModels = usd("0.01"), []string{"NO"}, []string{"*4090*"}
	var hosts []market.Host
	for i := range 5000 {
		h := newHost(fmt.Sprintf("host-%04d", i), i%8, fmt.Sprintf("0.%03d", 200+i%500))
		h.Location.Country = []string{"Norway", "Spain", "Germany"}[i%3]
		hosts = append(hosts, h)
	}
	in := newInput(hosts, p)
	for b.Loop() {
		if len(Counterfactuals(in, "p")) == 0 {
			b.Fatal("nothing is suggested")
		}
	}
}
