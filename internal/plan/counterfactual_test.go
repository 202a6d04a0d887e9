package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func texts(all []Counterfactual) string {
	var out []string
	for _, c := range all {
		out = append(out, c.Text)
	}
	return strings.Join(out, "\n")
}

func hostWith(id, gpu string, free int, f func(*market.Host)) market.Host {
	h := newHost(id, free, gpu)
	f(&h)
	return h
}

func TestCounterfactualsSayWhatEveryConditionKeepsAway(t *testing.T) {
	p := newPolicy("p", 6)
	p.Capacity, p.MaxGPUHour = market.OnDemand, usd("0.30")
	p.Match.Countries, p.Match.GPUModels, p.Match.MinUptime = []string{"NO"}, []string{"*4090*"}, 0.9
	in := newInput([]market.Host{
		newHost("a-fits", 1, "0.20"), newHost("b-dear", 1, "0.30"), newHost("c-dearer", 2, "0.35"), newHost("d-dearest", 4, "0.60"),
		hostWith("e-away", "0.20", 4, func(h *market.Host) { h.Location.Country = "Germany" }),
		hostWith("f-other", "0.20", 2, func(h *market.Host) { h.GPUs[0].Model = rtx3090 }),
		hostWith("g-flaky", "0.20", 1, func(h *market.Host) { h.Uptime = market.Some(0.5) }),
	}, p)
	got := texts(Counterfactuals(in, "p"))
	want := strings.Join([]string{
		"max_gpu_hour 0.649 would admit 3 hosts (7 GPUs), from $0.3490/h a GPU",
		"capacity spot would admit 3 hosts (7 GPUs), from $0.1450/h a GPU at best; not asked: whether a bid wins there",
		"capacity spot_with_fallback would admit 3 hosts (7 GPUs), from $0.1450/h a GPU at best; not asked: whether a bid wins there",
		"adding Germany would admit 1 host (4 GPUs), from $0.2490/h a GPU; that is 4 of the 5 GPUs missing",
		"max_gpu_hour 0.399 would admit 2 hosts (3 GPUs), from $0.3490/h a GPU; that is 3 of the 5 GPUs missing",
		"adding geforcertx3090-pcie-24gb would admit 1 host (2 GPUs), from $0.2490/h a GPU; that is 2 of the 5 GPUs missing",
		"without min_uptime would admit 1 host (1 GPU), from $0.2490/h a GPU; that is 1 of the 5 GPUs missing",
		"max_gpu_hour 0.349 would admit 1 host (1 GPU), from $0.3490/h a GPU; that is 1 of the 5 GPUs missing",
	}, "\n")
	if got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestACapThatHoldsAPolicyIsRaisedByAsMuchAsOneMachineNeeds(t *testing.T) {
	p := newPolicy("p", 3)
	p.Kind, p.Capacity, p.Image, p.Ports, p.Shape = policy.Instant, market.OnDemand, "", nil, market.Shape{GPUs: 1}
	p.Budget.MaxHourly = market.Some(usd("0.30"))
	in := newInput(nil, p)
	for _, id := range []string{"a", "b", "c"} {
		in.Snapshot.Instants.Value = append(in.Snapshot.Instants.Value, market.Instant{
			ID: id, Host: "host-" + id, Model: rtx4090, Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100}, Total: market.Some(usd("0.25")),
		})
	}
	in.Snapshot.Instants.Complete = true
	if got, want := texts(Counterfactuals(in, "p")), "max_hourly 0.5 would pay for 1 GPU; that is 1 of the 2 GPUs missing"; got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	// Where two caps hold, raising one of them changes nothing, and neither is suggested.
	in.Budget.MaxHourly, in.HourlyCap = market.Some(usd("0.30")), usd("0.30")
	if got := texts(Counterfactuals(in, "p")); got != "" {
		t.Errorf("suggested, though another cap forbids it:\n%s", got)
	}
	in.Policies[0].Budget.MaxHourly = market.Maybe[market.Rate]{}
	if got, want := texts(Counterfactuals(in, "p")), "budget.max_hourly 0.5 would pay for 1 GPU; that is 1 of the 2 GPUs missing"; got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	in.Budget.MaxHourly, in.HourlyCap = market.Some(usd("9")), usd("9")
	in.Snapshot.Balance.Value.Balance = market.Some(market.Amount(market.Dollar / 4))
	if got, want := texts(Counterfactuals(in, "p")), "a deposit of $0.75 would pay for 3 GPUs"; got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

// On demand alone, the machine that is bid for would have to go.
func TestAChangeThatWouldEndMachinesIsNotSuggested(t *testing.T) {
	p := newPolicy("p", 3)
	in := newInput([]market.Host{newHost("a", 2, "0.20"), newHost("b", 2, "0.20")}, p)
	in.Snapshot.Hosts.Value[1].Location.Country = "Spain"
	in.Policies[0].Match.Countries = []string{"NO"}
	in.Verdicts = []market.Verdict{refused(p, "a", "0.39"), refused(p, "b", "0.39")}
	keys := func() (out []string) {
		for _, c := range Counterfactuals(in, "p") {
			out = append(out, c.Change)
		}
		return out
	}
	if got := keys(); !slices.Contains(got, "capacity on_demand") || !slices.Contains(got, "capacity spot_with_fallback") {
		t.Fatalf("without a machine: %q", got)
	}
	m := newMachine(p, 1, "a", "0.30")
	in.History.Machines = []Machine{m}
	in.Snapshot.Instances.Value = []market.Instance{shown(m)}
	if got := keys(); slices.Contains(got, "capacity on_demand") || !slices.Contains(got, "capacity spot_with_fallback") {
		t.Errorf("with a machine: %q", got)
	}
}

func TestNothingIsSuggestedToAPolicyThatLacksNothingOrMayNotGrow(t *testing.T) {
	dear := newHost("dear", 8, "0.90")
	for name, change := range map[string]func(*Input){
		"it lacks nothing":      func(in *Input) { in.Policies[0].Target = 0 },
		"it is paused":          func(in *Input) { in.History.Pauses = []Pause{{Policy: "p", Since: t0}} },
		"a breaker is open":     func(in *Input) { in.History.Breakers = []Breaker{{Code: BreakerFailures, Until: t0.AddDate(0, 0, 1)}} },
		"the hosts are unknown": func(in *Input) { in.Snapshot.Hosts.Complete = false },
		"nothing is known":      func(in *Input) { in.Snapshot.Instances.Complete = false },
		"no such policy":        func(in *Input) { in.Policies[0].Name = "q" },
	} {
		p := newPolicy("p", 1)
		p.Capacity = market.OnDemand
		in := newInput([]market.Host{dear}, p)
		if len(Counterfactuals(in, "p")) == 0 {
			t.Fatal("nothing is suggested to one that is short")
		}
		change(&in)
		if got := Counterfactuals(in, "p"); len(got) != 0 {
			t.Errorf("%s, and yet: %s", name, texts(got))
		}
	}
}
