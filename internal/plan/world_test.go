package plan

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

var t0 = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

const rtx4090, rtx3090 market.GPUModel = "geforcertx4090-pcie-24gb", "geforcertx3090-pcie-24gb"

// usd reads a price in a test.
func usd(text string) market.Rate {
	r, err := market.ParseRate(text)
	if err != nil {
		panic(err)
	}
	return r
}

func dollars(n int64) market.Amount { return market.Amount(n * market.Dollar) }

func testSafety() policy.Safety {
	return policy.Safety{
		UnknownLooks: 3, UnknownAge: 10 * time.Minute, AbsentLooks: 3, AbsentAge: 2 * time.Minute, BackoffMin: time.Minute,
		BackoffMax: 30 * time.Minute, BreakerFailures: 3, BreakerWindow: 10 * time.Minute, BreakerCooldown: 15 * time.Minute,
		BreakerNeverUp: 3, PriceOutlier: 3, BillTolerance: 0.1, BillStop: 0.3,
	}
}

// newHost is a host where a machine of the usual shape costs 0.044 a GPU for vCPU
// and RAM besides the GPU, and 0.005 for storage.
func newHost(id string, free int, gpu string) market.Host {
	return market.Host{
		ID: id, Location: market.Location{Country: "Norway", City: "Bodø"}, Online: true, Listed: true, Uptime: market.Some(0.99),
		CPU:     market.Component{Free: market.Some(64), Price: market.Some(usd("0.003"))},
		RAM:     market.Component{Free: market.Some(256), Price: market.Some(usd("0.002"))},
		Storage: market.Component{Free: market.Some(2000), Price: market.Some(usd("0.00005"))},
		GPUs:    []market.HostGPU{{Model: rtx4090, Free: free, Price: market.Some(usd(gpu)), VRAM: market.Some(24)}},
		Ports:   market.Some([]int{20001, 20002, 20003, 20004, 20005, 20006, 20007, 20008}),
	}
}

// newPolicy wants n spot machines of one GPU at up to 0.40 all-in: bids up to 0.39
// where storage costs 0.005.
func newPolicy(name string, n int) policy.Policy {
	return policy.Policy{
		Name: name, Kind: policy.VM, Capacity: market.Spot, Target: n, Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100},
		MaxGPUHour: usd("0.40"), Image: "Ubuntu 22.04 LTS", Ports: []int{22}, BootTimeout: 20 * time.Minute,
	}
}

func newInput(hosts []market.Host, ps ...policy.Policy) Input {
	set := policy.Set{Policies: ps}
	return Input{
		Now: t0, Owner: "main", Interval: time.Minute, Policies: ps, HourlyCap: set.HourlyCap(),
		Limits: policy.Limits{MaxActions: 20, MaxProbes: 40}, Safety: testSafety(),
		Snapshot: market.Snapshot{
			Hosts:     market.Section[[]market.Host]{Value: hosts, At: t0, Complete: true},
			Instances: market.Section[[]market.Instance]{At: t0, Complete: true},
			Balance:   market.Section[market.Balance]{Value: market.Balance{Balance: market.Some(dollars(100))}, At: t0, Complete: true},
			V2:        market.Section[[]string]{At: t0, Complete: true},
		},
	}
}

func nameOf(name string, i int) string {
	return market.MachineName{Owner: "main", Policy: name, Key: fmt.Sprintf("k%07d", i)}.String()
}

// newMachine is a live, running machine of the policy, an hour old.
func newMachine(p policy.Policy, i int, host, bid string) Machine {
	b := usd(bid)
	return Machine{
		Name: nameOf(p.Name, i), Policy: p.Name, ID: fmt.Sprintf("id-%s-%d", p.Name, i), API: market.V0, Phase: PhaseLive, Status: market.StatusRunning,
		Capacity: p.Capacity, Host: host, Location: market.Location{Country: "Norway", City: "Bodø"}, Model: rtx4090, Shape: p.Shape,
		Bid: market.Some(b), Storage: market.Some(usd("0.005")), Reserved: b.Add(usd("0.005")),
		OrderedAt: t0.Add(-time.Hour), SeenAt: t0, ReadyAt: t0.Add(-50 * time.Minute), StatusAt: t0.Add(-50 * time.Minute), MeteredAt: t0,
	}
}

// shown is how the market lists a machine.
func shown(m Machine) market.Instance {
	return market.Instance{
		ID: m.ID, API: market.V0, Name: m.Name, Status: m.Status, Capacity: m.Capacity, Host: m.Host, Location: m.Location, Model: m.Model,
		Shape: m.Shape, Compute: m.Bid, Storage: m.Storage,
	}
}

// accepted is the market's yes to a bid of the policy on a host, and its word that no
// lower one would do.
func accepted(p policy.Policy, host, bid string) market.Verdict {
	q := market.Question{Host: host, Model: rtx4090, Shape: p.Shape, Bid: usd(bid)}
	return market.Verdict{Question: q, Answer: market.Accepted, Hint: market.Some(q.Bid), At: t0}
}

// won is accepted without that word.
func won(p policy.Policy, host, bid string) market.Verdict {
	v := accepted(p, host, bid)
	v.Hint = market.Maybe[market.Rate]{}
	return v
}

func refused(p policy.Policy, host, bid string) market.Verdict {
	v := accepted(p, host, bid)
	v.Answer, v.Hint = market.Refused, market.Maybe[market.Rate]{}
	return v
}

// look makes what Observe wants of an Input.
func look(in Input) Look {
	return Look{
		Now: in.Now, Owner: in.Owner, Safety: in.Safety, Policies: in.Policies, Snapshot: in.Snapshot, Zone: in.Budget.Zone,
		Boot: "boot", Up: in.Now.Sub(t0.AddDate(-1, 0, 0)),
	}
}

// converse answers the questions of a plan until it has none, as the bidder does.
func converse(in Input, wins func(market.Question) bool) (Input, Plan) {
	for {
		p := Compute(in)
		if len(p.Questions) == 0 {
			return in, p
		}
		for _, q := range p.Questions {
			v := market.Verdict{Question: q, Answer: market.Refused, At: in.Now}
			if wins(q) {
				v.Answer = market.Accepted
			}
			in.Verdicts = append(in.Verdicts, v)
			in.Limits.MaxProbes--
		}
	}
}

func asJSON(t interface{ Fatal(...any) }, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func actions(p Plan, kind ActionKind) (out []Action) {
	for _, a := range p.Actions {
		if a.Kind == kind {
			out = append(out, a)
		}
	}
	return out
}

func holds(p Plan, code string) (out []Hold) {
	for _, h := range p.Holds {
		if h.Reason.Code == code {
			out = append(out, h)
		}
	}
	return out
}

func wantActions(t *testing.T, p Plan, want ...string) {
	t.Helper()
	got := []string{}
	for _, a := range p.Actions {
		what := a.Machine
		if a.Kind == Deploy {
			what = a.Host
		}
		got = append(got, fmt.Sprintf("%s %s %s", a.Kind, what, a.Reason.Code))
	}
	if !slices.Equal(got, want) {
		t.Fatalf("actions %q, want %q; holds %+v, questions %+v", got, want, p.Holds, p.Questions)
	}
}

func wantHold(t *testing.T, p Plan, code string) {
	t.Helper()
	if len(holds(p, code)) == 0 {
		t.Fatalf("no hold %s; actions %+v, holds %+v", code, p.Actions, p.Holds)
	}
}

// --- random worlds ---

// number draws evenly: rapid's own ranges prefer small values, which makes worlds
// where little is known and nothing happens.
func number(t *rapid.T, label string, least, most int64) int64 {
	x := rapid.Uint64().Draw(t, label)
	for _, c := range []byte(label) {
		x = (x ^ uint64(c)) * 0x9e3779b97f4a7c15
		x ^= x >> 29
	}
	return least + int64(x%uint64(most-least+1))
}

func pick[T any](t *rapid.T, label string, of ...T) T {
	return of[number(t, label, 0, int64(len(of)-1))]
}

func chance(t *rapid.T, label string, percent int64) bool { return number(t, label, 0, 99) < percent }

func upTo(t *rapid.T, label string, most int) int { return int(number(t, label, 0, int64(most))) }

func drawMaybe[T any](t *rapid.T, label string, draw func() T) market.Maybe[T] {
	if chance(t, label+" unknown", 4) {
		return market.Maybe[T]{}
	}
	return market.Some(draw())
}

func drawRate(t *rapid.T, label string, least, most int64) market.Rate {
	return market.Rate(number(t, label, least*market.Cent/100, most*market.Cent/100))
}

func drawHost(t *rapid.T, i int) market.Host {
	h := market.Host{
		ID:       fmt.Sprintf("host-%02d", i),
		Location: market.Location{Country: pick(t, "country", "Norway", "Spain", ""), City: pick(t, "city", "Bodø", "Cádiz", "")},
		Online:   chance(t, "online", 90), Listed: chance(t, "listed", 95), Reserved: chance(t, "reserved", 5),
		Uptime:  drawMaybe(t, "uptime", func() float64 { return rapid.Float64Range(0.5, 1).Draw(t, "uptime") }),
		CPU:     drawComponent(t, "cpu", 64, 60),
		RAM:     drawComponent(t, "ram", 256, 40),
		Storage: drawComponent(t, "storage", 2000, 2),
	}
	for _, m := range []market.GPUModel{rtx3090, rtx4090} {
		if chance(t, "has "+string(m), 70) {
			h.GPUs = append(h.GPUs, market.HostGPU{
				Model: m, Free: upTo(t, "free", 8), VRAM: drawMaybe(t, "vram", func() int { return pick(t, "vram", 24, 24, 24, 12) }),
				Price: drawMaybe(t, "gpu price", func() market.Rate { return drawRate(t, "gpu price", 500, 5000) }),
			})
		}
	}
	h.Ports = drawMaybe(t, "ports", func() []int { return drawPorts(t) })
	if chance(t, "restricted", 20) {
		h.Limits = map[int]market.Restriction{1 + upTo(t, "limited", 3): {
			VCPUs: market.Some(market.Bounds{Min: 2, Max: 2 + upTo(t, "max vcpus", 30)}),
			RAM:   drawMaybe(t, "ram bound", func() market.Bounds { return market.Bounds{Min: 4, Max: 64} }),
		}}
	}
	return h
}

// drawPorts may name a port twice, as a careless answer would.
func drawPorts(t *rapid.T) []int {
	out := make([]int, upTo(t, "ports", 12))
	for i := range out {
		out[i] = 20000 + upTo(t, "port", 12)
	}
	return out
}

func drawSite(t *rapid.T, i int) market.Site {
	rate := func(label string, most int64) market.Maybe[market.Rate] {
		return drawMaybe(t, label, func() market.Rate { return drawRate(t, label, 0, most) })
	}
	return market.Site{
		Location: market.Location{ID: fmt.Sprintf("loc-%d", i), Country: pick(t, "site country", "Norway", "Spain")},
		GPUs: []market.SiteGPU{{
			Model: rtx4090, Max: drawMaybe(t, "most", func() int { return upTo(t, "most", 4) }), Price: rate("site price", 4000),
			PerVCPU: rate("site vcpu", 60), PerRAM: rate("site ram", 40), PerStorage: rate("site disk", 2),
		}},
	}
}

func drawInstant(t *rapid.T, i int) market.Instant {
	g := pick(t, "ready gpus", 1, 1, 2, 4)
	return market.Instant{
		ID: fmt.Sprintf("ready-%02d", i), Many: chance(t, "a size", 20), Host: pick(t, "ready host", "", "host-00", "host-01", "host-09"),
		Model: pick(t, "ready model", rtx3090, rtx4090), Shape: market.Shape{GPUs: g, VCPUs: 2 + upTo(t, "ready vcpus", 8), RAM: 16 * g, Storage: 100},
		Image:   pick(t, "ready image", "", "Ubuntu 22.04 LTS", "Windows 10"),
		Compute: drawMaybe(t, "ready compute", func() market.Rate { return drawRate(t, "ready compute", 500, 6000) }),
		Storage: drawMaybe(t, "ready storage", func() market.Rate { return drawRate(t, "ready storage", 0, 100) }),
		Total:   drawMaybe(t, "ready total", func() market.Rate { return drawRate(t, "ready total", 500, 6000) }),
	}
}

func drawComponent(t *rapid.T, label string, most int, price int64) market.Component {
	return market.Component{
		Free:  drawMaybe(t, label, func() int { return most/4 + upTo(t, label, most) }),
		Price: drawMaybe(t, label+" price", func() market.Rate { return drawRate(t, label+" price", 0, price) }),
	}
}

func drawPolicy(t *rapid.T, name string) policy.Policy {
	g := pick(t, "gpus", 1, 1, 1, 2, 4)
	p := policy.Policy{
		Name: name, Kind: policy.VM, Capacity: pick(t, "capacity", market.Spot, market.Spot, market.OnDemand, policy.SpotWithFallback),
		Priority: upTo(t, "priority", 2), Target: upTo(t, "target", 5),
		Shape:      market.Shape{GPUs: g, VCPUs: 4 * g, RAM: 8 * g, Storage: 100},
		MaxGPUHour: drawRate(t, "ceiling", 3000, 10000), Ports: pick(t, "ports", nil, []int{22}, []int{22, 8000}),
		Cooldown: pick(t, "cooldown", 0, 0, 10*time.Minute), MinLifetime: pick(t, "lifetime", 0, 0, 30*time.Minute),
		BootTimeout: pick(t, "boot timeout", 0, 20*time.Minute), Spread: policy.Spread{MaxShare: pick(t, "share", 0, 0, 0.5, 0.3)},
		Match: policy.Match{
			GPUModels: pick(t, "models", nil, []string{string(rtx4090), "*3090*"}, []string{string(rtx4090)}),
			Countries: pick(t, "countries", nil, nil, []string{"NO"}), MinUptime: pick(t, "min uptime", 0, 0, 0.6),
			MinVRAM: pick(t, "min vram", 0, 0, 20), PreferOrder: rapid.Bool().Draw(t, "prefer"),
			Deny: policy.Deny{Hosts: pick(t, "deny", nil, nil, []string{"host-00"})},
		},
	}
	p.Bidding = pick(t, "bidding", policy.Bidding{}, policy.Bidding{Strategy: policy.Discover, MaxStep: 0.2}, policy.Bidding{Strategy: policy.Discover, MaxStep: 0.2},
		policy.Bidding{Strategy: policy.Fixed, Price: usd("0.25")}, policy.Bidding{Strategy: policy.Fraction, Fraction: 0.6})
	p.Budget = drawBudget(t, true)
	p.Surge = pick(t, "surge", 0, 0, 1)
	p.ScaleDown = pick(t, "scale down", policy.DeleteSurplus, policy.StopSurplus, policy.ReleaseSurplus)
	p.Resize = pick(t, "resize", policy.FollowShape, policy.FollowShape, policy.KeepShape)
	p.StoppedTTL = pick(t, "stopped ttl", 0, 0, time.Hour)
	p.Migrate = policy.Migrate{MaxPerHour: pick(t, "moves", 0, 0, 2), MinSaving: 0.1, Payback: time.Hour}
	if p.Capacity == policy.SpotWithFallback {
		p.Fallback = policy.Fallback{
			After: pick(t, "after", 0, 0, 10*time.Minute), MaxPremium: pick(t, "premium", 0, 0.5), Settle: pick(t, "settle", 0, 15*time.Minute),
		}
	}
	if chance(t, "deadline", 20) {
		p.Deadline = policy.Deadline{Work: time.Duration(1+upTo(t, "work", 20)) * time.Hour, By: t0.Add(time.Duration(upTo(t, "by", 10)) * time.Hour)}
	}
	if chance(t, "a key", 60) {
		p.HasKey, p.ImageV2 = true, "ubuntu2204"
	}
	if chance(t, "ready-made", 15) {
		p.Kind, p.Capacity, p.Fallback, p.Migrate, p.Shape = policy.Instant, market.OnDemand, policy.Fallback{}, policy.Migrate{}, market.Shape{GPUs: g, VCPUs: pick(t, "least vcpus", 0, 4)}
		p.Image = pick(t, "image", "", "Ubuntu 22.04 LTS")
	}
	if chance(t, "protects", 20) {
		p.Protected = []string{nameOf(name, 0)}
	}
	drawDrain(t, &p)
	return p
}

func drawBudget(t *rapid.T, own bool) policy.Budget {
	var b policy.Budget
	if chance(t, "max_hourly", 40) {
		b.MaxHourly = market.Some(drawRate(t, "max_hourly", 5000, 60000))
	}
	if chance(t, "max_daily", 25) {
		b.MaxDaily = market.Some(market.Amount(drawRate(t, "max_daily", 5000, 200000)))
	}
	if chance(t, "max_monthly", 25) {
		b.MaxMonthly = market.Some(market.Amount(drawRate(t, "max_monthly", 5000, 400000)))
	}
	if own && chance(t, "max_total", 25) {
		b.MaxTotal = market.Some(market.Amount(drawRate(t, "max_total", 5000, 600000)))
	}
	if !own {
		b.Zone, b.Scope = pick(t, "zone", "", policy.Zone("Asia/Tokyo")), pick(t, "scope", policy.ScopeOwner, policy.ScopeOwner, policy.ScopeAccount)
	}
	if !own && chance(t, "min_balance", 25) {
		b.MinBalance = market.Some(market.Amount(drawRate(t, "min_balance", 0, 50000)))
	}
	if !own && chance(t, "min_runway", 25) {
		b.MinRunway = pick(t, "runway", time.Hour, 24*time.Hour)
	}
	return b
}

func drawMachine(t *rapid.T, ps []policy.Policy, i int) Machine {
	name, shape, capacity := "gone", market.Shape{GPUs: 1, VCPUs: 4, RAM: 8, Storage: 100}, market.Spot
	if len(ps) > 0 && !chance(t, "orphan", 10) {
		p := ps[upTo(t, "policy", len(ps)-1)]
		name, shape, capacity = p.Name, p.Shape, p.Capacity
		if capacity == policy.SpotWithFallback {
			capacity = pick(t, "bought", market.Spot, market.Spot, market.OnDemand)
		}
	}
	age := time.Duration(upTo(t, "age", 120)) * time.Minute
	m := Machine{
		Name: nameOf(name, i), Policy: name, Phase: pick(t, "phase", PhaseLive, PhaseLive, PhaseLive, PhaseUnknown, PhaseAccepted, PhaseDeleting),
		Status: market.StatusUnknown, Capacity: capacity, Host: fmt.Sprintf("host-%02d", upTo(t, "host", 6)),
		Location: market.Location{Country: "Norway"}, Model: pick(t, "model", rtx4090, rtx4090, rtx3090), Shape: shape,
		Bid: drawMaybe(t, "bid", func() market.Rate { return drawRate(t, "bid", 500, 4000) }), Storage: market.Some(usd("0.005")),
		OrderedAt: t0.Add(-age), MeteredAt: t0,
	}
	m.Reserved = max(m.rate(), drawRate(t, "reserved", 500, 5000))
	if m.Asked = shape; chance(t, "ordered for less", 20) {
		m.Asked.RAM, m.Shape.RAM = 2, shape.RAM/2
	}
	if m.Phase != PhaseUnknown {
		m.ID = fmt.Sprintf("id-%03d", i)
	}
	if m.Phase == PhaseLive || m.Phase == PhaseDeleting {
		m.SeenAt, m.StatusAt = pick(t, "seen", t0, t0, t0, t0.Add(-time.Minute)), t0.Add(-age/2)
		m.Status = pick(t, "status", market.StatusRunning, market.StatusRunning, market.StatusStarting, market.StatusOutbid, market.StatusOutbid,
			market.StatusStopped, market.StatusReleased, market.StatusUnknown, market.StatusStopping, market.StatusError, market.StatusRelocating)
		if m.Status == market.StatusRunning {
			m.ReadyAt = m.StatusAt
		}
	}
	switch {
	case m.Phase == PhaseDeleting || m.Phase == PhaseLive && chance(t, "leaving", 10):
		m.Leaving = &PendingDelete{Intent: 7, At: t0.Add(-time.Minute)}
	case m.Phase == PhaseLive && m.Bid.Known() && chance(t, "raised", 15):
		m.Rebid = &PendingRebid{Intent: 8, Bid: m.Bid.Or(0) + market.Cent, At: t0.Add(-time.Minute), Accepted: true}
		m.Reserved = max(m.Reserved, m.rate())
	}
	if m.Phase == PhaseLive && m.Leaving == nil && m.Rebid == nil && capacity == market.OnDemand && chance(t, "parked", 30) {
		m.Parked = &Parked{Intent: 9, Release: m.Status == market.StatusReleased, At: t0.Add(-age / 2), Rate: m.Reserved}
		if chance(t, "to be resized", 30) {
			m.Parked.Resize, m.Parked.To = true, market.Shape{GPUs: shape.GPUs, VCPUs: 8 * shape.GPUs, RAM: 16 * shape.GPUs, Storage: 200}
		}
		if m.Status == market.StatusStopped || m.Status == market.StatusReleased {
			m.Parked.Done = true
			m.Reserved = m.parkedRate()
			if chance(t, "starting", 20) {
				m.Parked.Start, m.Parked.StartAt, m.Reserved = 10, t0.Add(-time.Minute), m.Parked.Rate
			}
		}
	}
	if m.Bid.Known() && chance(t, "unsure", 10) {
		m.SureBid = market.Some(m.Bid.Or(0).Scale(1, 2))
	}
	m.RebidIgnored = chance(t, "ignored", 5)
	m.API = pick(t, "api", market.V0, market.V0, market.V0, market.V2)
	drawDraining(t, &m)
	return m
}

func drawHistory(t *rapid.T, ps []policy.Policy) History {
	var h History
	for i := range upTo(t, "machines", 7) {
		h.Machines = append(h.Machines, drawMachine(t, ps, i))
	}
	for i := range upTo(t, "backoffs", 3) {
		h.Backoffs = append(h.Backoffs, Backoff{
			Host: fmt.Sprintf("host-%02d", i), Model: rtx4090, GPUs: 1, Bid: pick(t, "backoff bid", market.MaxRate, usd("0.20")),
			Failures: 2, Until: t0.Add(time.Duration(number(t, "until", -5, 5)) * time.Minute), Reason: "refused",
		})
	}
	if chance(t, "paused", 8) {
		h.Pauses = append(h.Pauses, Pause{Policy: pick(t, "who", "p0", "p1", ""), Since: t0.Add(-time.Hour)})
	}
	if chance(t, "breaker", 8) {
		h.Breakers = append(h.Breakers, Breaker{Code: BreakerFailures, Since: t0.Add(-time.Hour), Until: t0.Add(pick(t, "open", -time.Minute, time.Minute)), Reason: "x"})
	}
	if chance(t, "trespass", 4) {
		h.Breakers = append(h.Breakers, Breaker{Code: BreakerSecondDaemon, Since: t0.Add(-time.Hour), Reason: "x", All: true})
	}
	if chance(t, "gap", 8) {
		h.Gap = market.Some(Gap{Since: t0.Add(pick(t, "gap since", -time.Hour, -time.Minute)), Looks: pick(t, "gap looks", 1, 9), Rate: market.Cent})
	}
	for _, p := range ps {
		if chance(t, "scaled", 20) {
			h.Scaled = append(h.Scaled, Scaled{p.Name, t0.Add(-5 * time.Minute)})
		}
		if chance(t, "spent", 50) {
			s := Spend{pick(t, "day", "2026-03-10", "2026-03-09"), p.Name, market.Amount(drawRate(t, "spent", 0, 50000))}
			h.Spend = append(h.Spend, s)
			h.Totals = append(h.Totals, Total{Policy: p.Name, Amount: s.Amount + market.Amount(drawRate(t, "spent before", 0, 50000))})
		}
	}
	if chance(t, "others", 30) {
		h.Account.Others = drawRate(t, "others", 0, 20000)
		h.Spend = append(h.Spend, Spend{"2026-03-10", restOfAccount, market.Amount(drawRate(t, "spent by others", 0, 50000))})
	}
	if chance(t, "balance believed", 50) {
		h.Account.Balance = market.Some(market.Amount(drawRate(t, "believed", -1000, 200000)))
	}
	h.Known = pick(t, "known", nil, []string{"gone"})
	h.Hosts = drawRecords(t)
	if chance(t, "rebid learnt", 30) {
		h.RebidApplies = market.Some(Lesson{rapid.Bool().Draw(t, "rebid applies"), t0})
	}
	return h
}

// drawRecords are what some of the hosts have done, or failed to do.
func drawRecords(t *rapid.T) (out []HostRecord) {
	for i := range upTo(t, "records", 3) {
		r := HostRecord{Host: fmt.Sprintf("host-%02d", i), Model: rtx4090, At: t0.Add(-time.Duration(number(t, "record age", 0, 500)) * time.Hour)}
		for _, c := range r.counts() {
			*c = Once / 10 * Faded(number(t, "count", 0, 100))
		}
		if r.Strikes = upTo(t, "strikes", 5); r.Strikes >= quarantineStrikes && chance(t, "quarantined", 30) {
			r.Quarantine = t0.Add(pick(t, "quarantine", -time.Hour, time.Hour))
		}
		out = append(out, r)
	}
	return out
}

// drawInput is a random world: nothing in it need be likely, all of it is possible.
func drawInput(t *rapid.T) Input {
	var hosts []market.Host
	for i := range upTo(t, "hosts", 7) {
		hosts = append(hosts, drawHost(t, i))
	}
	var ps []policy.Policy
	for i := range upTo(t, "policies", 4) {
		ps = append(ps, drawPolicy(t, fmt.Sprintf("p%d", i)))
	}
	if chance(t, "containers", 40) && len(ps) > 0 {
		ps[0] = boxed(ps[0])
	}
	in := newInput(hosts, ps...)
	in.Budget = drawBudget(t, false)
	if c, ok := in.Budget.MaxHourly.Get(); ok {
		in.HourlyCap = c
	}
	in.Limits = policy.Limits{MaxActions: pick(t, "max actions", 0, 1, 3, 20, 20, 20), MaxProbes: pick(t, "max probes", 0, 2, 40, 40)}
	in.History = drawHistory(t, ps)
	in.Snapshot.Hosts.Complete = chance(t, "hosts complete", 90)
	in.Snapshot.Instances.Complete = chance(t, "instances complete", 90)
	in.Snapshot.Balance.Complete = chance(t, "balance complete", 90)
	in.Snapshot.V2.Complete = chance(t, "v2 complete", 70)
	in.Snapshot.Balance.Value = market.Balance{
		Balance: drawMaybe(t, "balance", func() market.Amount { return market.Amount(drawRate(t, "balance", -1000, 200000)) }),
		Hourly:  drawMaybe(t, "burn", func() market.Rate { return drawRate(t, "burn", 0, 20000) }),
	}
	in.Snapshot.Instants.Complete = chance(t, "instants complete", 90)
	for i := range upTo(t, "ready-made machines", 6) {
		in.Snapshot.Instants.Value = append(in.Snapshot.Instants.Value, drawInstant(t, i))
	}
	drawContainers(t, &in)
	in.Snapshot.Sites.Complete = chance(t, "sites complete", 80)
	for i := range upTo(t, "sites", 2) {
		in.Snapshot.Sites.Value = append(in.Snapshot.Sites.Value, drawSite(t, i))
	}
	in.History.Brackets = drawBrackets(t, in)
	in.History.Rises = drawRises(t, in)
	in.Verdicts = drawVerdicts(t, in)
	if chance(t, "growing", 60) {
		grown(t, &in)
	}
	return in
}

// grown takes away what keeps a world from buying, all but the money.
func grown(t *rapid.T, in *Input) {
	in.History.Pauses, in.History.Breakers, in.History.Backoffs, in.History.Gap = nil, nil, nil, market.Maybe[Gap]{}
	in.History.Hosts = nil
	in.Snapshot.Hosts.Complete, in.Snapshot.Instances.Complete, in.Limits = true, true, policy.Limits{MaxActions: 20, MaxProbes: 40}
	for i := range in.Policies {
		p := &in.Policies[i]
		p.Target, p.Cooldown, p.Match = p.Target+upTo(t, "more wanted", 6), 0, policy.Match{}
		for _, h := range in.Snapshot.Hosts.Value {
			for _, g := range h.GPUs {
				q := market.Question{Host: h.ID, Model: g.Model, Shape: p.Shape, Bid: drawRate(t, "winning bid", 500, 3000).CeilCent()}
				in.Verdicts = append(in.Verdicts, market.Verdict{Question: q, Answer: market.Accepted, Hint: market.Some(q.Bid), At: t0.Add(time.Minute)})
			}
		}
	}
	set := policy.Set{Budget: in.Budget, Policies: in.Policies}
	in.HourlyCap = set.HourlyCap()
}

func drawVerdicts(t *rapid.T, in Input) (out []market.Verdict) {
	for _, m := range in.History.Machines {
		if m.Status == market.StatusOutbid && chance(t, "raise asked", 70) {
			bid := m.Bid.Or(0).Add(drawRate(t, "raise", 0, 1500)).CeilCent()
			q := market.Question{Host: m.Host, Model: m.Model, Shape: m.Shape, Bid: bid}
			out = append(out, market.Verdict{Question: q, Answer: market.Accepted, Hint: market.Some(bid), At: t0})
		}
	}
	for _, h := range in.Snapshot.Hosts.Value {
		for _, g := range h.GPUs {
			for _, p := range in.Policies {
				if !chance(t, "asked", 50) {
					continue
				}
				v := market.Verdict{
					Question: market.Question{Host: h.ID, Model: g.Model, Shape: p.Shape, Bid: drawRate(t, "asked bid", 500, 5000).CeilCent()},
					Answer:   pick(t, "answer", market.Accepted, market.Accepted, market.Accepted, market.Refused, market.Silent),
					At:       t0.Add(time.Duration(upTo(t, "second", 3)) * time.Second),
				}
				if v.Answer == market.Refused && chance(t, "hint", 30) {
					v.Hint = market.Some(drawRate(t, "hint", 500, 9000))
				}
				if v.Answer == market.Accepted && chance(t, "least named", 70) {
					v.Hint = market.Some(v.Bid)
				}
				out = append(out, v)
			}
		}
	}
	return out
}

// drawRises is how prices may have moved.
func drawRises(t *rapid.T, in Input) (out []Rise) {
	for i := range upTo(t, "rises", 6) {
		r := Rise{
			Host: fmt.Sprintf("host-%02d", upTo(t, "rose on", 6)), Model: pick(t, "rose", rtx4090, rtx3090), Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 8, Storage: 100},
			At: t0.Add(-time.Duration(i) * time.Hour), From: drawRate(t, "rose from", 500, 3000),
		}
		r.To = r.From.Add(drawRate(t, "rose by", 1, 1500))
		out = append(out, r)
	}
	return out
}

// drawBrackets is what earlier cycles may have left behind.
func drawBrackets(t *rapid.T, in Input) (out []Bracket) {
	had := map[bracketKey]bool{}
	at := func(label string) time.Time { return t0.Add(-time.Duration(upTo(t, label, 30)) * time.Minute) }
	for _, h := range in.Snapshot.Hosts.Value {
		for _, g := range h.GPUs {
			for _, p := range in.Policies {
				if k := (bracketKey{h.ID, g.Model, p.Shape}); had[k] || !chance(t, "remembered", 30) {
					continue
				}
				had[bracketKey{h.ID, g.Model, p.Shape}] = true
				b := Bracket{Host: h.ID, Model: g.Model, Shape: p.Shape, Floor: drawRate(t, "floor", 500, 4000).CeilCent(), At: at("last word")}
				if chance(t, "won once", 70) {
					b.Hi, b.HiAt, b.HiSince = drawRate(t, "hi", 500, 4500).CeilCent(), b.At, at("since")
				}
				if chance(t, "lost once", 70) {
					b.Lo, b.LoAt = drawRate(t, "lo", 500, 4500).CeilCent(), b.At
				}
				out = append(out, b)
			}
		}
	}
	return out
}

// shuffled is the same world with every list in another order.
func shuffled(in Input, seed int64) Input {
	r := rand.New(rand.NewSource(seed))
	in.Policies = mix(r, in.Policies)
	in.Verdicts = mix(r, in.Verdicts)
	in.Snapshot.Instances.Value = mix(r, in.Snapshot.Instances.Value)
	in.Snapshot.Hosts.Value = mix(r, in.Snapshot.Hosts.Value)
	in.Snapshot.Instants.Value = mix(r, in.Snapshot.Instants.Value)
	in.Snapshot.Sites.Value = mix(r, in.Snapshot.Sites.Value)
	for i := range in.Snapshot.Hosts.Value {
		h := &in.Snapshot.Hosts.Value[i]
		h.GPUs = mix(r, h.GPUs)
		if ports, ok := h.Ports.Get(); ok {
			h.Ports = market.Some(mix(r, ports))
		}
	}
	h := &in.History
	h.Machines, h.Backoffs, h.Pauses, h.Breakers = mix(r, h.Machines), mix(r, h.Backoffs), mix(r, h.Pauses), mix(r, h.Breakers)
	h.Spend, h.Scaled, h.Known, h.Hosts = mix(r, h.Spend), mix(r, h.Scaled), mix(r, h.Known), mix(r, h.Hosts)
	h.Brackets, h.Rises = mix(r, h.Brackets), mix(r, h.Rises)
	h.Containers, in.Snapshot.Containers = mix(r, h.Containers), mix(r, in.Snapshot.Containers)
	return in
}

func mix[T any](r *rand.Rand, list []T) []T {
	if list == nil {
		return nil
	}
	out := slices.Clone(list)
	r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}
