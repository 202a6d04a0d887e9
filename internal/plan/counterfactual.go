package plan

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// A counterfactual is found by deciding again: one condition of a policy is relaxed, all
// else stays as it is, and what the planner would do then is counted. Nothing is asked of
// the market for it.

// Counterfactual is one condition of a policy relaxed, and what that would bring.
type Counterfactual struct {
	// Key is the key of the file that would be changed, within the policy unless it begins
	// with "budget."; "deposit" is money on the account, and "wait" changes nothing.
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
	// Change says both in a few words.
	Change string `json:"change"`
	// Hosts would be admitted that are not now; machines with so many GPUs fit there.
	Hosts int `json:"hosts"`
	GPUs  int `json:"gpus"`
	// Fills is how many of the missing GPUs would be ordered or asked about now, and Missing
	// how many there are.
	Fills   int `json:"fills_gpus"`
	Missing int `json:"missing_gpus"`
	// PerGPU is the least that a GPU would cost there, all-in; of an offer that was not asked
	// about, the least that is hoped for.
	PerGPU market.Maybe[market.Rate] `json:"price_per_gpu_usd_hour,omitzero"`
	// NotAsked: for so many of the hosts the market has not said yet that a bid wins.
	NotAsked int    `json:"hosts_not_asked,omitempty"`
	Text     string `json:"text"`
}

// Keys of what is no condition of the file.
const (
	KeyDeposit = "deposit"
	KeyWait    = "wait"
)

const (
	// mostNames bounds how many names of a list are tried: the ones that bring most.
	mostNames = 3
	// someMachines is a middle step between the first machine and all that are missing.
	someMachines = 3
)

// relaxation is a change of one condition.
type relaxation struct {
	key, value, change string
	of                 func(*policy.Policy)
	on                 func(*Input) // where it is not the policy's own
}

// Counterfactuals says what would bring the policy of the input more of the GPUs that it
// lacks, the most useful first; nothing where it lacks none, or where no condition of its
// own stands in the way. What a cap would forbid is not suggested. The policy's targets
// are taken as they are.
func Counterfactuals(in Input, name string) []Counterfactual {
	i := slices.IndexFunc(in.Policies, func(p policy.Policy) bool { return p.Name == name })
	if i < 0 || in.Policies[i].Kind == policy.Container {
		return nil
	}
	x := whatIf{in: in, at: i, p: &in.Policies[i]}
	// As many as are wanted, not as many as one cycle may.
	x.in.Limits.MaxActions, x.in.Limits.MaxProbes = math.MaxInt32, math.MaxInt32
	x.base = x.decide(&x.in)
	x.lacks = x.base.need - x.base.got
	if x.lacks <= 0 {
		return nil
	}
	x.now = x.admits(&x.in)
	var out []Counterfactual
	for _, r := range slices.Concat(x.ceilings(), x.names(), x.conditions(), x.capacities(), x.caps()) {
		if c, ok := x.try(r); ok {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, moreUseful)
	return out
}

// moreUseful puts what brings more first, then what is certain, then what costs less.
func moreUseful(a, b Counterfactual) int {
	return cmp.Or(cmp.Compare(b.Fills, a.Fills), boolCompare(a.NotAsked > 0, b.NotAsked > 0),
		cmp.Compare(a.PerGPU.Or(market.MaxRate), b.PerGPU.Or(market.MaxRate)), cmp.Compare(b.GPUs, a.GPUs))
}

// whatIf is a policy whose conditions are being relaxed.
type whatIf struct {
	in    Input
	at    int // the policy's place in the input
	p     *policy.Policy
	base  answer
	now   map[offerID]admission
	lacks int // GPUs that the plan as it is leaves missing
}

// answer is what a plan comes to for the policy.
type answer struct {
	need, got int         // GPUs that are wanted, and that are ordered or asked about for it
	deletes   int         // machines of the policy that go
	dear      market.Rate // the cheapest machine that the caps leave no room for; 0 if none
	at        position    // what was reserved and spent when that was found
}

// offerID tells an offer from the others.
type offerID struct {
	host, instant, site string
	model               market.GPUModel
}

// admission is an offer that could be taken.
type admission struct {
	at       market.Location
	machines int
	perGPU   market.Rate
	asked    bool
}

// changed is the input with the policy changed so.
func (x *whatIf) changed(r relaxation) *Input {
	in := x.in
	in.Policies = slices.Clone(x.in.Policies)
	if r.of != nil {
		r.of(&in.Policies[x.at])
	}
	if r.on != nil {
		r.on(&in)
	}
	if !in.Budget.MaxHourly.Known() && r.on == nil { // it follows from targets and ceilings
		was, is := policy.Set{Policies: x.in.Policies}, policy.Set{Policies: in.Policies}
		in.HourlyCap = in.HourlyCap.Add(is.HourlyCap().Sub(was.HourlyCap()))
	}
	return &in
}

// decide runs the planner.
func (x *whatIf) decide(in *Input) answer {
	w := newWorld(in)
	p := w.decide()
	d := w.deskOf[x.p.Name]
	a := answer{need: d.grew.need, got: d.grew.got, dear: d.grew.dear, at: d.grew.at}
	for i := range p.Actions {
		if p.Actions[i].Policy == x.p.Name && p.Actions[i].Kind == Delete {
			a.deletes++
		}
	}
	return a
}

// admits are the offers that could be taken now, however the policy buys.
func (x *whatIf) admits(in *Input) map[offerID]admission {
	w := newWorld(in)
	d := w.deskOf[x.p.Name]
	out := map[offerID]admission{}
	for _, buying := range []market.Capacity{market.Spot, market.OnDemand} {
		if !d.p.Buys(buying) {
			continue
		}
		d.buying = buying
		for _, c := range w.candidates(d, nil) {
			id, a := c.id(), admission{c.host.Location, c.slots, c.price.PerGPU(c.shape.GPUs), c.verified}
			if was, in := out[id]; !in || a.perGPU < was.perGPU {
				out[id] = a
			}
		}
	}
	return out
}

func (o *offer) id() offerID {
	id := offerID{host: o.host.ID, site: o.atSite, model: o.gpu.Model}
	if o.ready != nil {
		id.instant = o.ready.ID
	}
	return id
}

// try counts what a relaxation brings; ok is false where that is nothing, where a cap
// would still forbid it, or where it would cost machines that there are.
func (x *whatIf) try(r relaxation) (c Counterfactual, ok bool) {
	in := x.changed(r)
	a := x.decide(in)
	more := a.got - x.base.got
	if more <= 0 || a.deletes > x.base.deletes {
		return c, false
	}
	c = Counterfactual{Key: r.key, Value: r.value, Change: r.change, Fills: min(more, x.lacks), Missing: x.lacks}
	x.count(&c, x.admits(in))
	c.Text = c.text()
	return c, true
}

// count adds up the offers that are new.
func (x *whatIf) count(c *Counterfactual, all map[offerID]admission) {
	hosts, unasked := map[string]bool{}, map[string]bool{}
	for id, a := range all {
		if _, before := x.now[id]; before {
			continue
		}
		key := cmp.Or(id.host, id.instant, id.site)
		hosts[key] = true
		c.GPUs += a.machines * x.p.Shape.GPUs
		c.PerGPU = market.Some(min(c.PerGPU.Or(a.perGPU), a.perGPU))
		if !a.asked {
			unasked[key] = true
		}
	}
	c.Hosts, c.NotAsked = len(hosts), len(unasked)
}

func (c *Counterfactual) text() string {
	var b strings.Builder
	switch least, known := c.PerGPU.Get(); {
	case c.Hosts == 0:
		fmt.Fprintf(&b, "%s would pay for %s", c.Change, counted(c.Fills, "GPU"))
	case known:
		fmt.Fprintf(&b, "%s would admit %s (%s), from %s a GPU", c.Change, counted(c.Hosts, "host"), counted(c.GPUs, "GPU"), least)
		if c.NotAsked > 0 {
			b.WriteString(" at best")
		}
	}
	if c.Fills < c.Missing {
		fmt.Fprintf(&b, "; that is %d of the %d GPUs missing", c.Fills, c.Missing)
	}
	switch {
	case c.NotAsked > 0 && c.NotAsked == c.Hosts:
		b.WriteString("; not asked: whether a bid wins there")
	case c.NotAsked > 0:
		fmt.Fprintf(&b, "; not asked: whether a bid wins on %d of the hosts", c.NotAsked)
	}
	return b.String()
}

// counted is "1 host" or "3 hosts".
func counted(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return strconv.Itoa(n) + " " + word + "s"
}

// --- max_gpu_hour ---

// ceilings are the lowest that admit a machine, a few, and all that are missing.
func (x *whatIf) ceilings() []relaxation {
	var out []relaxation
	have, wanted := 0, []int{1, someMachines, x.missing()}
	slices.Sort(wanted)
	for _, t := range x.thresholds() {
		have += t.machines
		if len(wanted) > 0 && have >= wanted[0] {
			out = append(out, ceiling(t.ceiling))
			wanted = slices.DeleteFunc(wanted, func(n int) bool { return n <= have })
		}
	}
	return slices.CompactFunc(out, func(a, b relaxation) bool { return a.value == b.value })
}

// missing is how many machines are, at most.
func (x *whatIf) missing() int { return (x.lacks + x.p.Shape.GPUs - 1) / x.p.Shape.GPUs }

func ceiling(r market.Rate) relaxation {
	return relaxation{
		key: "max_gpu_hour", value: r.Decimal(), change: "max_gpu_hour " + r.Decimal(),
		of: func(p *policy.Policy) { p.MaxGPUHour = r },
	}
}

// threshold is the lowest ceiling at which an offer could be taken.
type threshold struct {
	ceiling  market.Rate
	machines int
	id       offerID
}

// thresholds are the lowest of those above the ceiling that there is, in order, as many as
// make up for what is missing.
func (x *whatIf) thresholds() []threshold {
	in := x.changed(ceiling(market.MaxRate))
	w := newWorld(in)
	d := w.deskOf[x.p.Name]
	want := max(someMachines, x.missing())
	var out []threshold
	for _, buying := range []market.Capacity{market.Spot, market.OnDemand} {
		if !d.p.Buys(buying) {
			continue
		}
		d.buying, d.p.MaxGPUHour = buying, market.MaxRate
		for _, c := range w.candidates(d, nil) {
			if _, in := x.now[c.id()]; in {
				continue
			}
			out = w.insert(d, out, &c, x.p.MaxGPUHour, want)
		}
	}
	return out
}

// insert puts an offer in its place, if its threshold is among the lowest that are wanted.
func (w *world) insert(d *desk, out []threshold, c *candidate, from market.Rate, want int) []threshold {
	below := market.MaxRate
	have := 0
	for _, t := range out {
		have += t.machines
	}
	if have >= want {
		below = out[len(out)-1].ceiling
	}
	if !w.takes(d, c.offer, below) {
		return out
	}
	t := threshold{w.lowest(d, c.offer, from, below), c.slots, c.id()}
	at, _ := slices.BinarySearchFunc(out, t, compareThresholds)
	out = slices.Insert(out, at, t)
	for have += t.machines; len(out) > 1 && have-out[len(out)-1].machines >= want; out = out[:len(out)-1] {
		have -= out[len(out)-1].machines
	}
	return out
}

func compareThresholds(a, b threshold) int {
	return cmp.Or(cmp.Compare(a.ceiling, b.ceiling), cmp.Compare(a.id.host, b.id.host), cmp.Compare(a.id.model, b.id.model),
		cmp.Compare(a.id.instant, b.id.instant), cmp.Compare(a.id.site, b.id.site))
}

// takes says whether an offer that matches could be taken under a ceiling.
func (w *world) takes(d *desk, o *offer, ceiling market.Rate) bool {
	d.p.MaxGPUHour = ceiling
	_, ok := w.consider(d, o, &Funnel{})
	return ok
}

// lowest is the least ceiling above from under which an offer could be taken, where one
// of up to is enough. A higher one never takes an offer away.
func (w *world) lowest(d *desk, o *offer, from, to market.Rate) market.Rate {
	step := market.Rate(market.Cent)
	for high := from.Add(step); high < to; high, step = high.Add(step), step.Mul(2) {
		if w.takes(d, o, high) {
			to = high
			break
		}
		from = high
	}
	for from+1 < to {
		if mid := from + (to-from)/2; w.takes(d, o, mid) {
			to = mid
		} else {
			from = mid
		}
	}
	return to
}

// --- lists of names ---

// list is one of a policy's lists of names that it takes.
type list struct {
	key string
	of  func(*policy.Match) *[]string
	// name is an offer's, as it would be written in the list.
	name func(offerID, market.Location) string
}

func lists() []list {
	return []list{
		{"match.countries", func(m *policy.Match) *[]string { return &m.Countries }, func(_ offerID, l market.Location) string { return l.Country }},
		{"match.regions", func(m *policy.Match) *[]string { return &m.Regions }, func(_ offerID, l market.Location) string { return l.Region }},
		{"match.cities", func(m *policy.Match) *[]string { return &m.Cities }, func(_ offerID, l market.Location) string { return l.City }},
		{"match.hosts", func(m *policy.Match) *[]string { return &m.Hosts }, func(o offerID, _ market.Location) string { return o.host }},
		{"match.gpu_models", func(m *policy.Match) *[]string { return &m.GPUModels }, func(o offerID, _ market.Location) string { return string(o.model) }},
	}
}

// names adds to each list the names that would bring most. What is denied stays so.
func (x *whatIf) names() []relaxation {
	var out []relaxation
	for _, l := range lists() {
		if len(*l.of(&x.p.Match)) == 0 {
			continue
		}
		without := x.admits(x.changed(relaxation{of: func(p *policy.Policy) { *l.of(&p.Match) = nil }}))
		for _, name := range x.best(l, without) {
			out = append(out, relaxation{
				key: l.key, value: name, change: "adding " + name,
				of: func(p *policy.Policy) { *l.of(&p.Match) = append(slices.Clone(*l.of(&p.Match)), name) },
			})
		}
	}
	return out
}

// best are the names with most machines, the cheaper first where they have as many.
func (x *whatIf) best(l list, all map[offerID]admission) []string {
	sum := map[string]admission{}
	for id, a := range all {
		if _, before := x.now[id]; before || l.name(id, a.at) == "" {
			continue
		}
		name := l.name(id, a.at)
		if was, known := sum[name]; known {
			a.machines, a.perGPU = a.machines+was.machines, min(a.perGPU, was.perGPU)
		}
		sum[name] = a
	}
	out := make([]string, 0, len(sum))
	for name := range sum {
		out = append(out, name)
	}
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(cmp.Compare(sum[b].machines, sum[a].machines), cmp.Compare(sum[a].perGPU, sum[b].perGPU), cmp.Compare(a, b))
	})
	return out[:min(len(out), mostNames)]
}

// --- other conditions ---

// conditions are those that can only be dropped.
func (x *whatIf) conditions() []relaxation {
	var out []relaxation
	drop := func(has bool, key, value string, of func(*policy.Policy)) {
		if has {
			out = append(out, relaxation{key: key, value: value, change: "without " + last(key), of: of})
		}
	}
	drop(x.p.Match.MinUptime > 0, "match.min_uptime", "0", func(p *policy.Policy) { p.Match.MinUptime = 0 })
	drop(x.p.Match.MinVRAM > 0, "match.min_vram_gb", "0", func(p *policy.Policy) { p.Match.MinVRAM = 0 })
	drop(x.p.Spread.MaxShare > 0, "spread.max_share", "", func(p *policy.Policy) { p.Spread.MaxShare = 0 })
	drop(x.p.Spread.PerHost.Bounds(), "spread.per_host", "", func(p *policy.Policy) { p.Spread.PerHost = policy.Share{} })
	drop(x.p.Spread.PerPlace.Bounds(), "spread.per_place", "", func(p *policy.Policy) { p.Spread.PerPlace = policy.Share{} })
	drop(x.p.Spread.PerGroup.Bounds(), "spread.per_group", "", func(p *policy.Policy) { p.Spread.PerGroup = policy.Share{} })
	return out
}

func last(key string) string { return key[strings.LastIndexByte(key, '.')+1:] }

// capacities are the other ways to buy.
func (x *whatIf) capacities() []relaxation {
	var out []relaxation
	if x.p.Kind != policy.VM {
		return nil
	}
	for _, c := range []market.Capacity{market.OnDemand, market.Spot, policy.SpotWithFallback} {
		if x.p.Buys(c) || x.p.Capacity == c {
			continue
		}
		out = append(out, relaxation{key: "capacity", value: string(c), change: "capacity " + string(c), of: func(p *policy.Policy) { p.Capacity = c }})
	}
	return out
}

// --- money ---

// caps are the least that each cap would have to be for one machine more, where money is
// what stands in the way.
func (x *whatIf) caps() []relaxation {
	var out []relaxation
	if x.base.dear == 0 {
		return nil
	}
	for _, c := range x.bounds() {
		if v, ok := x.enough(c); ok {
			text := market.Amount(v).Decimal()
			change := c.key + " " + text
			if c.key == KeyDeposit {
				text = market.Amount(v - c.was).Decimal()
				change = "a deposit of $" + text
			}
			out = append(out, relaxation{key: c.key, value: text, change: change, on: func(in *Input) { c.set(in, v) }})
		}
	}
	return out
}

// capBound is a cap, in nano-dollars.
type capBound struct {
	key string
	was int64
	set func(in *Input, v int64)
}

// bounds are the caps that are known.
func (x *whatIf) bounds() []capBound {
	var out []capBound
	rate := func(m market.Maybe[market.Rate], key string, of func(*Input) *market.Maybe[market.Rate]) {
		if r, ok := m.Get(); ok {
			out = append(out, capBound{key, int64(r), func(in *Input, v int64) { *of(in) = market.Some(market.Rate(v)) }})
		}
	}
	amount := func(m market.Maybe[market.Amount], key string, of func(*Input) *market.Maybe[market.Amount]) {
		if a, ok := m.Get(); ok {
			out = append(out, capBound{key, int64(a), func(in *Input, v int64) { *of(in) = market.Some(market.Amount(v)) }})
		}
	}
	own := func(in *Input) *policy.Budget { return &in.Policies[x.at].Budget }
	rate(x.p.Budget.MaxHourly, "max_hourly", func(in *Input) *market.Maybe[market.Rate] { return &own(in).MaxHourly })
	amount(x.p.Budget.MaxDaily, "max_daily", func(in *Input) *market.Maybe[market.Amount] { return &own(in).MaxDaily })
	amount(x.p.Budget.MaxMonthly, "max_monthly", func(in *Input) *market.Maybe[market.Amount] { return &own(in).MaxMonthly })
	amount(x.p.Budget.MaxTotal, "max_total", func(in *Input) *market.Maybe[market.Amount] { return &own(in).MaxTotal })
	if r, ok := x.in.Budget.MaxHourly.Get(); ok {
		out = append(out, capBound{"budget.max_hourly", int64(r), func(in *Input, v int64) {
			in.Budget.MaxHourly, in.HourlyCap = market.Some(market.Rate(v)), market.Rate(v)
		}})
	}
	amount(x.in.Budget.MaxDaily, "budget.max_daily", func(in *Input) *market.Maybe[market.Amount] { return &in.Budget.MaxDaily })
	amount(x.in.Budget.MaxMonthly, "budget.max_monthly", func(in *Input) *market.Maybe[market.Amount] { return &in.Budget.MaxMonthly })
	if b, ok := x.in.purse().Balance.Get(); ok {
		out = append(out, capBound{KeyDeposit, int64(b), func(in *Input, v int64) {
			in.History.Account.Balance = market.Some(market.Amount(v))
			in.Snapshot.Balance.Value.Balance = market.Some(market.Amount(v))
		}})
	}
	return out
}

// enough is the least that a cap must be to leave room for the machine that it was too
// small for; ok is false where another cap stands in the way as well.
func (x *whatIf) enough(c capBound) (v int64, ok bool) {
	fits := func(v int64) bool {
		in := x.changed(relaxation{on: func(in *Input) { c.set(in, v) }})
		caps := in.CapsFor(x.p.Name)
		return caps.room(x.base.at).room >= x.base.dear
	}
	low, step := c.was, int64(market.Cent)
	high := low
	for !fits(high) {
		if step > math.MaxInt64/4 || high > math.MaxInt64/2-step {
			return 0, false
		}
		low, high, step = high, high+step, 2*step
	}
	if high == c.was {
		return 0, false
	}
	for low+1 < high {
		if mid := low + (high-low)/2; fits(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return high, true
}
