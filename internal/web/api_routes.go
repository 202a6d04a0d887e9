package web

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/tdscaler/tdscaler/internal/billing"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Lists are bounded, or come in pages.
const (
	day        = 24 * time.Hour
	mostRows   = 1000
	mostOffers = 5000
	mostSteps  = 500
	mostGPUs   = 64
)

// Parameters that several questions have.
func ofPolicy() param {
	return param{name: "policy", kind: wordParam, doc: "Only of this policy."}
}

func since(back time.Duration, doc string) param {
	return param{name: "since", kind: momentParam, usualBack: back, doc: doc}
}

func page(usual int, doc string) []param {
	return []param{
		{name: "limit", kind: countParam, least: 1, most: mostRows, usual: usual, doc: "The newest so many; the header Link leads to the next page."},
		{name: "before", kind: numberParam, doc: doc},
	}
}

func ofMarket() []param {
	return []param{
		{name: "policy", kind: wordParam, doc: "As this policy sees it. Without it: as anybody does who buys on demand."},
		{name: "gpu_model", kind: globsParam, doc: "Only GPU models like these, with * and ?; between commas, or given again."},
		{name: "country", kind: globsParam, doc: "Only in these countries; between commas, or given again."},
		{name: "gpus", kind: countParam, least: 1, most: mostGPUs, doc: "Without a policy: GPUs in the machine; 1 where it is left out."},
	}
}

// routes are all that can be asked. Without a desk that is discovery alone.
func (o Options) routes() []route {
	first := []route{
		{
			path: "/openapi.json", summary: "This description.", raw: openAPI, answer: map[string]any{},
		},
		{
			path: "/sd", summary: "The ready machines, for Prometheus's HTTP service discovery.", raw: o.discover, answer: []group{},
			params: []param{
				{name: "port", kind: countParam, least: 1, most: 65535, required: true, doc: "The port inside the machines, as /api/v1/sd?port=9100."},
				{name: "policy", kind: globsParam, doc: "Only machines of these policies; between commas, or given again."},
			},
		},
	}
	if o.Desk == nil {
		return first
	}
	return slices.Concat(first, o.standing(), ofTheMarket(), ofTheMoney(), ofTheBooks())
}

// standing is what there is, and what is wanted.
func (o Options) standing() []route {
	return []route{
		{
			path: "/status", summary: "Where things stand after the last cycle.", command: "tdscaler status --json", answer: control.Status{},
			ask: func(v *question) (any, error) { return v.status() },
		},
		{
			path: "/policies", summary: "Every policy: what it says, wants, has, and why not more.", answer: []Policy{},
			ask: func(v *question) (any, error) { return o.policies(v, "") },
		},
		{
			path: "/policies/{name}", summary: "One policy.", answer: Policy{},
			ask: func(v *question) (any, error) { return o.policy(v, v.path("name")) },
		},
		{
			path: "/targets", summary: "What each policy wants now, and why.", command: "tdscaler target --json", params: []param{ofPolicy()}, answer: []demand.Outcome{},
			ask: func(v *question) (any, error) {
				return v.desk.Targets(v, control.TargetsRequest{Policy: v.q.word("policy")})
			},
		},
		{
			path: "/machines", summary: "The machines in the books, by name.", command: "tdscaler machines --json", params: []param{ofPolicy()}, answer: []control.Machine{},
			ask: func(v *question) (any, error) {
				return v.desk.Machines(v, control.MachinesRequest{Policy: v.q.word("policy")})
			},
		},
		{
			path: "/machines/{name}", summary: "One machine.", answer: control.Machine{},
			ask: func(v *question) (any, error) { return v.machine(v.path("name")) },
		},
		{
			path: "/containers", summary: "The containers in the books, by name.", command: "tdscaler container list --json", params: []param{ofPolicy()}, answer: []control.Container{},
			ask: func(v *question) (any, error) {
				return v.desk.Containers(v, control.MachinesRequest{Policy: v.q.word("policy")})
			},
		},
		{
			path: "/hosts", summary: "What machines of ours have been through on each host.", command: "tdscaler ledger hosts --json", answer: []plan.HostView{},
			ask: func(v *question) (any, error) { return v.desk.Hosts(v, control.HostsRequest{}) },
		},
		{
			path: "/events", summary: "One server-sent event for each cycle, as it ends; its data is the JSON described here.", answer: Event{}, raw: o.streams(), media: "text/event-stream",
			params: []param{{name: "after", kind: numberParam, doc: "A cycle that is known already: if there is a newer one, its event comes at once. So does the header Last-Event-ID."}},
		},
	}
}

func ofTheMarket() []route {
	return []route{
		{
			path: "/market", summary: "What there was to buy at the last look, and what a policy makes of each offer.", command: "tdscaler market --json", answer: control.Market{},
			params: append(ofMarket(), param{name: "limit", kind: countParam, least: 1, most: mostOffers, usual: mostOffers, doc: "The first so many offers."}),
			ask:    func(v *question) (any, error) { return v.market() },
		},
		{
			path: "/prices", summary: "What is on record of prices.", command: "tdscaler prices --json", answer: control.Prices{},
			params: append(ofMarket(), since(day, "Since then: a duration back (24h), a date, or RFC 3339."),
				param{name: "steps", kind: countParam, least: 1, most: mostSteps, usual: 400, doc: "Points of each trend."}),
			ask: func(v *question) (any, error) { return v.prices() },
		},
	}
}

func ofTheMoney() []route {
	until := param{name: "until", kind: momentParam, doc: "Until the day of then, included, in the same forms; now where it is left out."}
	days := since(30*day, "Since the day of then: a duration back (720h), a date, or RFC 3339. Days are those of budget.time_zone.")
	return []route{
		{
			path: "/costs", summary: "What was spent, against on-demand and the balance.", command: "tdscaler cost --json", answer: control.Spent{},
			params: []param{days, until, ofPolicy(), {name: "by", kind: wordParam, values: words(billing.Ways()), doc: "What costs are summed up by; policy where it is left out."}},
			ask:    func(v *question) (any, error) { return v.costs() },
		},
		{
			path: "/balances", summary: "How the account's balance went, day by day.", params: []param{days, until}, answer: []plan.Balance{},
			ask: func(v *question) (any, error) {
				r, err := v.days()
				if err != nil {
					return nil, err
				}
				return v.desk.Balances(v, r)
			},
		},
		{
			path: "/outages", summary: "Outages that were not over then, oldest first, those that last at the end.", answer: []plan.Outage{},
			params: []param{since(30*day, "Since then: a duration back (720h), a date, or RFC 3339.")},
			ask: func(v *question) (any, error) {
				return v.desk.Outages(v, control.OutagesRequest{Since: v.q.time("since")})
			},
		},
	}
}

func ofTheBooks() []route {
	states := []string{"open", "accepted", "unknown", "confirmed", "refused", "failed", "expired", "shadow"}
	return []route{
		{
			path: "/intents", summary: "Every write to the market, newest first: why, and what became of it.", command: "tdscaler ledger list --json", answer: []plan.Intent{},
			params: append([]param{
				ofPolicy(),
				{name: "action", kind: wordParam, values: words(plan.ActionKinds()), doc: "Only of this kind."},
				{name: "state", kind: wordParam, values: states, doc: "Only in this state."},
				{name: "machine", kind: wordParam, doc: "Only of this machine, by its name."},
				{name: "since", kind: momentParam, doc: "Only since then: a duration back (24h), a date, or RFC 3339."},
				{name: "open", kind: yesNoParam, doc: "Only those that are not settled."},
			}, page(100, "Only those with a lower id.")...),
			ask: func(v *question) (any, error) { return v.intents() },
		},
		{
			path: "/intents/{id}", summary: "One intent.", command: "tdscaler ledger show ID --json", answer: plan.Intent{},
			ask: func(v *question) (any, error) {
				id, err := v.number("id")
				if err != nil {
					return nil, err
				}
				return v.desk.Intent(v, control.IntentRequest{ID: id})
			},
		},
		{
			path: "/cycles", summary: "What each cycle came to, newest first.", command: "tdscaler ledger cycles --json", answer: []ledger.ReportSummary{},
			params: page(50, "Only earlier cycles than this."),
			ask:    func(v *question) (any, error) { return v.cycles() },
		},
		{
			path: "/cycles/{n}", summary: "One cycle, whole: what was seen, learned, decided and done. n is a number, or last.", command: "tdscaler ledger cycle N --json", answer: plan.Report{},
			ask: func(v *question) (any, error) {
				if v.path("n") == "last" {
					return v.desk.Cycle(v, control.CycleRequest{})
				}
				n, err := v.number("n")
				if err != nil {
					return nil, err
				}
				return v.desk.Cycle(v, control.CycleRequest{Cycle: n})
			},
		},
	}
}

func words[T ~string](all []T) []string {
	out := make([]string, len(all))
	for i, w := range all {
		out[i] = string(w)
	}
	return out
}

// number reads a number of the path.
func (v *question) number(name string) (uint64, error) {
	n, err := strconv.ParseUint(v.path(name), 10, 64)
	if err != nil || n == 0 {
		return 0, problem{Type: badParameter, Status: http.StatusBadRequest, Parameter: name, Detail: fmt.Sprintf("%s is a positive number, not %q", name, clipped(v.path(name)))}
	}
	return n, nil
}

func clipped(s string) string {
	if len(s) > mostWord {
		return s[:mostWord] + "..."
	}
	return s
}

// status is the daemon's, once there is one.
func (v *question) status() (control.Status, error) {
	s, err := v.desk.Status(v, control.StatusRequest{})
	if err == nil && s.Cycle == 0 {
		return s, problem{
			Type: notYet, Status: http.StatusServiceUnavailable, Detail: "no cycle has finished yet",
			Hint: "ask again in a while; /readyz says when",
		}
	}
	return s, err
}

// Policy is all there is to say of one policy.
type Policy struct {
	Name string `json:"name"`
	// Shadow: it is decided, and never acted on.
	Shadow bool `json:"shadow,omitempty"`
	// Policy is what the file says, with its target as it was at the last look; what may
	// hold a secret is left out. Not known of shadows.
	Policy *policy.Policy `json:"policy,omitempty"`
	// Target is what it wants now, and why.
	Target *demand.Outcome `json:"target,omitempty"`
	// Standing is where it was after the last cycle, with its funnel of offers.
	Standing *plan.Standing `json:"standing,omitempty"`
	// Holds are what was not done for it, and why; those of the whole fleet among them.
	Holds []plan.Hold `json:"holds"`
	// Pauses that hold for it, or for all.
	Pauses []plan.Pause `json:"pauses"`
}

func (o Options) policies(v *question, name string) ([]Policy, error) {
	s, err := v.status()
	if err != nil {
		return nil, err
	}
	targets, err := v.desk.Targets(v, control.TargetsRequest{Policy: name})
	if err != nil {
		return nil, err
	}
	var file []policy.Policy
	if o.Machines != nil {
		_, file, _ = o.Machines()
	}
	views := views{s: &s, targets: targets, file: file}
	for i := range s.Policies {
		views.add(&s.Policies[i], false)
	}
	for i := range s.Shadows {
		views.add(&s.Shadows[i].Standing, true)
	}
	return slices.DeleteFunc(views.out, func(p Policy) bool { return name != "" && p.Name != name }), nil
}

// views puts together what several answers say of each policy.
type views struct {
	s       *control.Status
	targets []demand.Outcome
	file    []policy.Policy
	out     []Policy
}

func (vs *views) add(standing *plan.Standing, shadow bool) {
	p := Policy{Name: standing.Policy, Shadow: shadow, Standing: standing, Holds: []plan.Hold{}, Pauses: []plan.Pause{}}
	if i := slices.IndexFunc(vs.file, func(f policy.Policy) bool { return f.Name == p.Name }); i >= 0 {
		f := shown(vs.file[i])
		p.Policy = &f
	}
	if i := slices.IndexFunc(vs.targets, func(t demand.Outcome) bool { return t.Policy == p.Name }); i >= 0 {
		p.Target = &vs.targets[i]
	}
	for _, h := range vs.s.Holds {
		if h.Policy == p.Name || h.Policy == "" {
			p.Holds = append(p.Holds, h)
		}
	}
	for _, h := range vs.s.Pauses {
		if h.Policy == p.Name || h.Policy == "" {
			p.Pauses = append(p.Pauses, h)
		}
	}
	vs.out = append(vs.out, p)
}

func (o Options) policy(v *question, name string) (Policy, error) {
	all, err := o.policies(v, name)
	if err != nil {
		return Policy{}, err
	}
	if len(all) == 0 { // known to the ledger, and no longer in the file
		return Policy{}, problem{
			Type: notFound, Status: http.StatusNotFound, Detail: fmt.Sprintf("there is no policy %q in the file", name),
			Hint: prefix + "/machines?policy=" + name + " has its machines",
		}
	}
	return all[0], nil
}

func (v *question) machine(name string) (control.Machine, error) {
	all, err := v.desk.Machines(v, control.MachinesRequest{})
	if err != nil {
		return control.Machine{}, err
	}
	names := make([]string, len(all))
	for i := range all {
		if all[i].Name == name {
			return all[i], nil
		}
		names[i] = all[i].Name
	}
	p := problem{Type: notFound, Status: http.StatusNotFound, Detail: fmt.Sprintf("there is no machine %q", clipped(name)), Hint: prefix + "/intents?machine= tells of machines that are gone"}
	if n, ok := nearest(name, names); ok {
		p.Hint = "did you mean " + n + "?"
	}
	return control.Machine{}, p
}

func (v *question) market() (control.Market, error) {
	shape, err := v.shape()
	if err != nil {
		return control.Market{}, err
	}
	if _, err := v.status(); err != nil {
		return control.Market{}, err
	}
	m, err := v.desk.Market(v, control.MarketRequest{Policy: v.q.word("policy"), Shape: shape, Models: v.q.globs("gpu_model"), Countries: v.q.globs("country")})
	m.Offers = m.Offers[:min(len(m.Offers), v.q.count("limit"))]
	return m, err
}

func (v *question) prices() (control.Prices, error) {
	shape, err := v.shape()
	if err != nil {
		return control.Prices{}, err
	}
	return v.desk.Prices(v, control.PricesRequest{
		Policy: v.q.word("policy"), Shape: shape, Models: v.q.globs("gpu_model"), Countries: v.q.globs("country"), Since: v.q.time("since"), Steps: v.q.count("steps"),
	})
}

// days are the days that are asked for, in the caps' time zone.
func (v *question) days() (control.CostsRequest, error) {
	s, err := v.desk.Status(v, control.StatusRequest{})
	if err != nil {
		return control.CostsRequest{}, err
	}
	first, last := billing.Days(v.q.time("since"), v.q.time("until"), v.now, s.Zone.Location())
	return control.CostsRequest{First: first, Last: last}, nil
}

func (v *question) costs() (control.Spent, error) {
	name := v.q.word("policy")
	if err := v.knows(name); err != nil {
		return control.Spent{}, err
	}
	by := billing.ByPolicy
	if w := v.q.word("by"); w != "" {
		by = billing.By(w)
	}
	return control.Spending(v, v.desk, control.SpendingRequest{Since: v.q.time("since"), Until: v.q.time("until"), Now: v.now, By: by, Policy: name})
}

// knows refuses a policy that nobody has heard of, where the books would only be silent
// about it.
func (v *question) knows(name string) error {
	if name == "" {
		return nil
	}
	_, err := v.desk.Machines(v, control.MachinesRequest{Policy: name})
	return err
}

func (v *question) intents() ([]plan.Intent, error) {
	if err := v.knows(v.q.word("policy")); err != nil {
		return nil, err
	}
	r := control.IntentsRequest{
		Policy: v.q.word("policy"), Action: plan.ActionKind(v.q.word("action")), State: plan.IntentState(v.q.word("state")), Machine: v.q.word("machine"),
		Since: v.q.time("since"), Open: v.q.flag("open"), Limit: v.q.count("limit"), Before: v.q.number("before"),
	}
	found, err := v.desk.Intents(v, r)
	if len(found) == r.Limit {
		v.next = found[len(found)-1].ID
	}
	return found, err
}

func (v *question) cycles() ([]ledger.ReportSummary, error) {
	r := control.CyclesRequest{Limit: v.q.count("limit"), Before: v.q.number("before")}
	found, err := v.desk.Cycles(v, r)
	if len(found) == r.Limit {
		v.next = found[len(found)-1].Cycle
	}
	return found, err
}
