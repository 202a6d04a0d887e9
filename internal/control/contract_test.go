package control_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/report"
)

// TestEveryDeskKeepsTheContract runs one suite against the daemon in process, the
// daemon behind its socket, and the ledger without a daemon.
func TestEveryDeskKeepsTheContract(t *testing.T) {
	for name, desk := range map[string]func(*testing.T) world{
		"in process": inProcess, "over the socket": overTheSocket, "without a daemon": withoutDaemon,
	} {
		t.Run(name, func(t *testing.T) {
			for _, c := range []struct {
				name string
				test func(*testing.T, world)
			}{
				{"status tells mode, fleet and money", status},
				{"intents are listed newest first, and filtered", intents},
				{"an intent is found by its id, or not found", intent},
				{"cycles are listed newest first, and read back", cycles},
				{"what cycles saw is told newest first", chronicle},
				{"machines are listed with age, burn and password file", machines},
				{"a word about a container must make sense and fit to one in doubt", aboutContainers},
				{"a plan of another file changes nothing", planOfAnotherFile},
				{"a fresh plan waits for the next look", freshPlan},
				{"a bad file is told with its problems", badFile},
				{"explain has a funnel also for a policy that needs nothing", explain},
				{"the market is listed, as a policy sees it and as it is", offers},
				{"prices are summed up for a policy's machine, or any", summedUp},
				{"records of hosts are listed, and taken in once", hostRecords},
				{"costs are told by day and machine, and outages", costs},
				{"a page is made of what is on record", reported},
				{"a pause holds until it is resumed", pause},
				{"a machine is protected until that is taken back", protect},
				{"a target is set by hand until it ends or is cleared", setTarget},
				{"a policy nobody knows is an error with those there are", unknownPolicy},
				{"destroy deletes and leaves the policy paused", destroy},
				{"a backup is whole, private and replaces nothing unasked", backup},
				{"reload needs a daemon", reload},
				{"who went away is not waited for", wentAway},
			} {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.test(t, desk(t))
				})
			}
		})
	}
}

func must[A any](t *testing.T) func(A, error) A {
	return func(a A, err error) A {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
}

// wantClass fails unless err is of the class and says text.
func wantClass(t *testing.T, err error, class control.Class, text string) {
	t.Helper()
	if control.ClassOf(err) != class || err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("got %q (%s), want class %s and %q", err, control.ClassOf(err), class, text)
	}
}

func costs(t *testing.T, w world) {
	all := must[[]plan.Cost](t)(w.Costs(t.Context(), control.CostsRequest{}))
	names := map[string]bool{}
	for _, c := range all {
		names[c.Machine] = true
		if c.Machine != "" && (c.Policy != "train" || c.Amount <= 0 || c.Billed <= 0 || c.Host == "" || c.Model == "" || c.GPUs != 2 || c.OnDemand <= 0) {
			t.Errorf("%+v", c)
		}
	}
	for _, m := range must[[]control.Machine](t)(w.Machines(t.Context(), control.MachinesRequest{})) {
		if !names[m.Name] {
			t.Errorf("nothing is told of what %s cost: %+v", m.Name, all)
		}
	}
	if old := must[[]plan.Cost](t)(w.Costs(t.Context(), control.CostsRequest{Last: "2020-01-01"})); old == nil || len(old) > 0 {
		t.Errorf("%+v", old)
	}
	if days := must[[]plan.Balance](t)(w.Balances(t.Context(), control.CostsRequest{})); len(days) == 0 || days[0].Open < days[0].Close || days[0].Close <= 0 {
		t.Errorf("%+v", days)
	}
	if got := must[[]plan.Outage](t)(w.Outages(t.Context(), control.OutagesRequest{})); got == nil || len(got) > 0 {
		t.Errorf("%+v", got)
	}
}

func reported(t *testing.T, w world) {
	cycles := must[[]ledger.ReportSummary](t)(w.Cycles(t.Context(), control.CyclesRequest{}))
	first := cycles[len(cycles)-1].StartedAt
	r := must[report.Report](t)(w.Report(t.Context(), control.ReportRequest{Since: first.Add(-time.Hour)}))
	sum := market.Amount(0)
	for _, c := range must[[]plan.Cost](t)(w.Costs(t.Context(), control.CostsRequest{})) {
		if !c.IsRest() {
			sum = sum.Add(c.Amount)
		}
	}
	if len(r.Policies) != 1 || r.Policies[0].Policy != "train" || r.Total.Spent != sum || sum <= 0 || r.Policies[0].Starts != 2 || r.Money.Now == nil {
		t.Errorf("spent %s, the books say %s: %+v", r.Total.Spent, sum, r.Policies)
	}
	if r.Total.Wanted <= 0 || len(r.Missing) != 1 || len(r.Money.Days) == 0 || !r.Money.Open.Known() {
		t.Errorf("%+v %q %+v", r.Total, r.Missing, r.Money)
	}
	one := must[report.Report](t)(w.Report(t.Context(), control.ReportRequest{Since: first.Add(-time.Hour), Until: first.Add(1), Policy: "train"}))
	if one.Only != "train" || !one.To.Equal(first.Add(1)) || one.Total.Spent != 0 {
		t.Errorf("%+v", one.Total)
	}
	_, err := w.Report(t.Context(), control.ReportRequest{Since: first, Until: first})
	wantClass(t, err, control.Usage, "no time at all")
	_, err = w.Report(t.Context(), control.ReportRequest{Since: first, Policy: "trian"})
	wantClass(t, err, control.NoSuchPolicy, "trian")
}

func status(t *testing.T, w world) {
	s := must[control.Status](t)(w.Status(t.Context(), control.StatusRequest{}))
	if s.Running != w.running || s.Mode != "live" || s.Cycle != 2 || s.Machines != 2 || s.Burn == 0 || s.Reserved < s.Burn || s.HourlyCap.String() != "$20.0000/h" {
		t.Errorf("%+v", s)
	}
	if !s.Balance.Balance.Known() || len(s.Policies) != 1 || s.Policies[0].Target != 4 || s.PauseFile != "" {
		t.Errorf("%+v", s)
	}
	if err := os.WriteFile(w.path+".pause", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := must[control.Status](t)(w.Status(t.Context(), control.StatusRequest{})); s.PauseFile != w.path+".pause" {
		t.Errorf("pause file %q", s.PauseFile)
	}
}

func intents(t *testing.T, w world) {
	list := func(r control.IntentsRequest) []uint64 {
		ids := []uint64{}
		for _, in := range must[[]plan.Intent](t)(w.Intents(t.Context(), r)) {
			ids = append(ids, in.ID)
		}
		return ids
	}
	for _, c := range []struct {
		r    control.IntentsRequest
		want []uint64
	}{
		{control.IntentsRequest{}, []uint64{2, 1}},
		{control.IntentsRequest{Limit: 1}, []uint64{2}},
		{control.IntentsRequest{Policy: "train", Action: plan.Deploy, State: plan.IntentConfirmed}, []uint64{2, 1}},
		{control.IntentsRequest{Policy: "other"}, []uint64{}},
		{control.IntentsRequest{Action: plan.Delete}, []uint64{}},
		{control.IntentsRequest{State: plan.IntentFailed}, []uint64{}},
		{control.IntentsRequest{Machine: "other"}, []uint64{}},
		{control.IntentsRequest{Open: true}, []uint64{}},
		{control.IntentsRequest{Since: clock.System{}.Now().Add(time.Hour)}, []uint64{}},
		{control.IntentsRequest{Since: clock.System{}.Now().Add(-time.Hour)}, []uint64{2, 1}},
	} {
		if diff := cmp.Diff(c.want, list(c.r)); diff != "" {
			t.Errorf("%+v: %s", c.r, diff)
		}
	}
}

func intent(t *testing.T, w world) {
	in := must[plan.Intent](t)(w.Intent(t.Context(), control.IntentRequest{ID: 1}))
	if in.ID != 1 || in.Kind != plan.Deploy || in.Reason.Code != plan.ReasonBelowTarget || in.Machine == "" || !in.Agreed.Known() {
		t.Errorf("%+v", in)
	}
	_, err := w.Intent(t.Context(), control.IntentRequest{ID: 99})
	wantClass(t, err, control.NotFound, "99")
}

func cycles(t *testing.T, w world) {
	all, err := w.Cycles(t.Context(), control.CyclesRequest{})
	if err != nil || len(all) != 2 || all[0].Cycle != 2 || all[1].Intents != 2 {
		t.Fatalf("%+v, %v", all, err)
	}
	if one, err := w.Cycles(t.Context(), control.CyclesRequest{Limit: 1}); err != nil || len(one) != 1 {
		t.Fatalf("%+v, %v", one, err)
	}
	if by, err := w.Cycles(t.Context(), control.CyclesRequest{Limit: 1, By: all[1].StartedAt}); err != nil || len(by) != 1 || by[0].Cycle != 1 {
		t.Fatalf("the last that had begun by the first: %+v, %v", by, err)
	}
	last := must[plan.Report](t)(w.Cycle(t.Context(), control.CycleRequest{}))
	first := must[plan.Report](t)(w.Cycle(t.Context(), control.CycleRequest{Cycle: 1}))
	if last.Cycle != 2 || first.Cycle != 1 || len(first.Intents) != 2 || len(first.Input.Snapshot.Hosts.Value) == 0 || len(last.Events) == 0 {
		t.Errorf("last %d, first %d with %d intents", last.Cycle, first.Cycle, len(first.Intents))
	}
	_, err = w.Cycle(t.Context(), control.CycleRequest{Cycle: 99})
	wantClass(t, err, control.NotFound, "ledger cycles")
}

func chronicle(t *testing.T, w world) {
	all := must[[]control.Chapter](t)(w.Chronicle(t.Context(), control.ChronicleRequest{Limit: 10}))
	if len(all) != 2 || all[0].Cycle != 2 || all[1].Cycle != 1 || len(all[0].Events) == 0 || all[1].Events == nil || all[0].StartedAt.IsZero() {
		t.Fatalf("%+v", all)
	}
	one := must[[]control.Chapter](t)(w.Chronicle(t.Context(), control.ChronicleRequest{Before: 2, Limit: 1}))
	if len(one) != 1 || one[0].Cycle != 1 {
		t.Errorf("%+v", one)
	}
	_, err := w.Chronicle(t.Context(), control.ChronicleRequest{})
	wantClass(t, err, control.Usage, "1 to 1500")
}

func machines(t *testing.T, w world) {
	all := must[[]control.Machine](t)(w.Machines(t.Context(), control.MachinesRequest{}))
	mine := must[[]control.Machine](t)(w.Machines(t.Context(), control.MachinesRequest{Policy: "train"}))
	if len(all) != 2 || len(mine) != 2 || all[0].Name >= all[1].Name {
		t.Fatalf("%+v", all)
	}
	for _, m := range all {
		if m.Policy != "train" || m.Burn == 0 || m.AgeSeconds < 0 || m.IP == "" || len(m.Ports) == 0 {
			t.Errorf("%+v", m)
		}
		if info, err := os.Stat(m.PasswordFile); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("password file %q: %v", m.PasswordFile, err)
		}
	}
}

func larger() control.PlanRequest {
	return control.PlanRequest{Path: "larger.yaml", File: []byte(strings.Replace(file, "gpus: 4", "gpus: 8", 1))}
}

func planOfAnotherFile(t *testing.T, w world) {
	p := must[control.Plan](t)(w.Plan(t.Context(), larger()))
	if len(p.Actions) != 2 || p.Actions[0].Kind != plan.Deploy || p.After <= p.Before || p.Problem != "" || p.Mode != "live" || p.AgeSeconds < 0 {
		t.Errorf("%+v", p)
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"mode", "looked_at", "age_seconds", "actions", "holds", "policies", "rate_before_usd_hour", "rate_after_usd_hour", "verdicts"} {
		if !strings.Contains(string(b), `"`+key+`":`) {
			t.Errorf("the JSON has no %s: %s", key, b)
		}
	}
	if strings.Contains(string(b), ":null") {
		t.Errorf("a list is null: %s", b)
	}
	if all := must[[]plan.Intent](t)(w.Intents(t.Context(), control.IntentsRequest{})); len(all) != 2 {
		t.Errorf("a plan left %d intents", len(all))
	}
	if all := must[[]control.Machine](t)(w.Machines(t.Context(), control.MachinesRequest{})); len(all) != 2 {
		t.Errorf("a plan left %d machines", len(all))
	}
}

func freshPlan(t *testing.T, w world) {
	before := must[control.Plan](t)(w.Plan(t.Context(), larger()))
	r := larger()
	r.Fresh = true
	answer := make(chan control.Plan, 1)
	go func() {
		p, err := w.Plan(t.Context(), r)
		if err != nil {
			t.Error(err)
		}
		answer <- p
	}()
	for {
		select {
		case p := <-answer:
			if !p.LookedAt.After(before.LookedAt) {
				t.Errorf("looked at %s, before that at %s", p.LookedAt, before.LookedAt)
			}
			return
		case <-time.After(20 * time.Millisecond):
			w.cycle()
		}
	}
}

func badFile(t *testing.T, w world) {
	r := larger()
	r.File = []byte("version: 1\npolicys: []\n")
	_, err := w.Plan(t.Context(), r)
	wantClass(t, err, control.Usage, "larger.yaml:2")
	_, err = w.Explain(t.Context(), control.ExplainRequest{PlanRequest: r, Policy: "train"})
	wantClass(t, err, control.Usage, "larger.yaml:2")
}

func explain(t *testing.T, w world) {
	same := control.PlanRequest{Path: "p.yaml", File: []byte(file)}
	e := must[control.Explanation](t)(w.Explain(t.Context(), control.ExplainRequest{PlanRequest: same, Policy: "train"}))
	if e.Headline != "short 4 GPUs: what is missing is ordered or booting" || len(e.FunnelSteps) == 0 || len(e.Counterfactuals) != 0 || len(e.Offers) == 0 || len(e.Offers[0].Listed) != 0 {
		t.Errorf("%s; %+v; %+v; %+v", e.Headline, e.FunnelSteps, e.Counterfactuals, e.Offers)
	}
	if !e.OneMore || e.Funnel.Offers == 0 || e.Policy.Name != "train" || len(e.Machines) != 2 || len(e.Actions) != 0 {
		t.Errorf("%+v", e)
	}
	e = must[control.Explanation](t)(w.Explain(t.Context(), control.ExplainRequest{PlanRequest: larger(), Policy: "train"}))
	if e.OneMore || e.Funnel.Offers == 0 || len(e.Actions) != 2 {
		t.Errorf("%+v", e)
	}
	if own := must[control.Explanation](t)(w.Explain(t.Context(), control.ExplainRequest{Policy: "train"})); own.Funnel != must[control.Explanation](t)(w.Explain(t.Context(), control.ExplainRequest{PlanRequest: same, Policy: "train"})).Funnel {
		t.Errorf("without a file it is not the one in use: %+v", own)
	}
	low := control.PlanRequest{Path: "p.yaml", File: []byte(strings.NewReplacer("gpus: 4", "gpus: 8", "max_gpu_hour: 1.00", "max_gpu_hour: 0.02\n    capacity: on_demand").Replace(file))}
	e = must[control.Explanation](t)(w.Explain(t.Context(), control.ExplainRequest{PlanRequest: low, Policy: "train", Offers: 2}))
	if n := len(e.Counterfactuals); n == 0 || e.Counterfactuals[n-1].Key != plan.KeyWait || !strings.HasPrefix(e.Headline, "short ") {
		t.Errorf("%s: %+v", e.Headline, e.Counterfactuals)
	}
	for _, g := range e.Offers {
		if len(g.Listed) != min(2, g.Count) {
			t.Errorf("%d of %d %s are listed", len(g.Listed), g.Count, g.Code)
		}
	}
	_, err := w.Explain(t.Context(), control.ExplainRequest{PlanRequest: same, Policy: "trian"})
	wantClass(t, err, control.NoSuchPolicy, "trian")
}

func offers(t *testing.T, w world) {
	file := control.PlanRequest{Path: "x.yaml", File: []byte(file)}
	mine := must[control.Market](t)(w.Market(t.Context(), control.MarketRequest{PlanRequest: file, Policy: "train"}))
	all := must[control.Market](t)(w.Market(t.Context(), control.MarketRequest{PlanRequest: file, Shape: market.Shape{GPUs: 2}}))
	some := must[control.Market](t)(w.Market(t.Context(), control.MarketRequest{PlanRequest: file, Models: []string{"*4090*"}}))
	if len(mine.Offers) == 0 || len(mine.Offers) != len(all.Offers) || mine.Policy.Name != "train" || all.Policy.Shape.VCPUs != 8 || mine.LookedAt.IsZero() {
		t.Errorf("%d offers for train, %d for all, shape %+v", len(mine.Offers), len(all.Offers), all.Policy.Shape)
	}
	if n := len(some.Offers); n == 0 || n >= len(all.Offers) {
		t.Errorf("%d offers of one model, %d of all", n, len(all.Offers))
	}
	if o := all.Offers[0]; !o.In || o.Bid != 0 || o.Price != o.OnDemand || !o.Effective.Known() {
		t.Errorf("%+v", o)
	}
	_, err := w.Market(t.Context(), control.MarketRequest{PlanRequest: file, Policy: "trian"})
	wantClass(t, err, control.NoSuchPolicy, "trian")
}

func summedUp(t *testing.T, w world) {
	r := control.PricesRequest{PlanRequest: control.PlanRequest{Path: "x.yaml", File: []byte(file)}, Since: time.Now().Add(-time.Hour), Steps: 10}
	all := must[control.Prices](t)(w.Prices(t.Context(), r))
	r.Policy = "train"
	mine := must[control.Prices](t)(w.Prices(t.Context(), r))
	if len(all.Groups) == 0 || len(all.Groups) != len(mine.Groups) || all.Shape.GPUs != 1 || mine.Shape.GPUs != 2 || len(all.Groups[0].Trend) != 10 {
		t.Errorf("%+v\n%+v", all, mine)
	}
	asked := 0
	for _, g := range mine.Groups {
		asked += g.Asked
	}
	if asked == 0 {
		t.Error("no answer is on record")
	}
	r.Models = []string{"nothing"}
	if none := must[control.Prices](t)(w.Prices(t.Context(), r)); none.Groups == nil || len(none.Groups) != 0 {
		t.Errorf("%+v", none)
	}
	r.Since = time.Now().Add(time.Hour)
	_, err := w.Prices(t.Context(), r)
	if control.ClassOf(err) != control.Usage {
		t.Error(err)
	}
}

func hostRecords(t *testing.T, w world) {
	list := []plan.HostRecord{{Host: "a", Model: "l40-pcie-48gb", At: time.Now().Add(-time.Minute), Hours: 48 * plan.Once, Losses: 4 * plan.Once}}
	for _, want := range []int{1, 0} {
		got := must[control.Imported](t)(w.ImportHosts(t.Context(), control.ImportRequest{Hosts: list}))
		if got.Read != 1 || got.Taken != want || got.Known < 1 {
			t.Errorf("%+v", got)
		}
	}
	found := false
	for _, h := range must[[]plan.HostView](t)(w.Hosts(t.Context(), control.HostsRequest{})) {
		found = found || h.Host == "a" && h.Losses == 4*plan.Once && h.Hazard > 1.0/24 && h.Seconds == 180
	}
	if !found {
		t.Error("what was taken in is not listed")
	}
	list[0].Losses = 1e6 * plan.Once * 2
	_, err := w.ImportHosts(t.Context(), control.ImportRequest{Hosts: list})
	if control.ClassOf(err) != control.Usage {
		t.Error(err)
	}
}

func protect(t *testing.T, w world) {
	name := must[[]control.Machine](t)(w.Machines(t.Context(), control.MachinesRequest{}))[0].Name
	until := clock.System{}.Now().Add(time.Hour)
	m := must[control.Machine](t)(w.Protect(t.Context(), control.ProtectRequest{Machine: name, Until: until, Reason: "test"}))
	if m.Name != name || m.Shield == nil || !m.Shield.Until.Equal(until) || m.Shield.Reason != "test" {
		t.Errorf("%+v", m)
	}
	if again := must[[]control.Machine](t)(w.Machines(t.Context(), control.MachinesRequest{}))[0]; again.Shield == nil {
		t.Errorf("%+v", again)
	}
	if m = must[control.Machine](t)(w.Protect(t.Context(), control.ProtectRequest{Machine: name, None: true})); m.Shield != nil {
		t.Errorf("%+v", m.Shield)
	}
	_, err := w.Protect(t.Context(), control.ProtectRequest{Machine: "nothing"})
	wantClass(t, err, control.NotFound, "there is no machine")
	_, err = w.Protect(t.Context(), control.ProtectRequest{Machine: name, Until: clock.System{}.Now().Add(-time.Hour)})
	wantClass(t, err, control.Usage, "over already")
}

func pause(t *testing.T, w world) {
	until := clock.System{}.Now().Add(time.Hour)
	now := must[[]plan.Pause](t)(w.Pause(t.Context(), control.PauseRequest{Policy: "train", Until: until, Reason: "test"}))
	if len(now) != 1 || now[0].Policy != "train" || !now[0].Until.Equal(until) || now[0].Reason != "test" || now[0].Teardown {
		t.Fatalf("%+v", now)
	}
	if now = must[[]plan.Pause](t)(w.Pause(t.Context(), control.PauseRequest{})); len(now) != 2 {
		t.Fatalf("%+v", now)
	}
	p := must[control.Plan](t)(w.Plan(t.Context(), larger()))
	if len(p.Actions) != 0 || p.Holds[0].Reason.Code != plan.HoldPaused {
		t.Errorf("a paused policy would act: %+v", p)
	}
	r := must[control.Resumed](t)(w.Resume(t.Context(), control.ResumeRequest{Policy: "train"}))
	if len(r.Pauses) != 1 || len(r.Left) != 1 || r.Left[0].Policy != "" {
		t.Errorf("%+v", r)
	}
	r = must[control.Resumed](t)(w.Resume(t.Context(), control.ResumeRequest{}))
	if len(r.Pauses) != 1 || len(r.Left) != 0 {
		t.Errorf("%+v", r)
	}
	if r = must[control.Resumed](t)(w.Resume(t.Context(), control.ResumeRequest{})); len(r.Pauses) != 0 {
		t.Errorf("%+v", r)
	}
	_, err := w.Pause(t.Context(), control.PauseRequest{Until: clock.System{}.Now().Add(-time.Hour)})
	wantClass(t, err, control.Usage, "over already")
}

func setTarget(t *testing.T, w world) {
	all := must[[]demand.Outcome](t)(w.Targets(t.Context(), control.TargetsRequest{}))
	if len(all) != 1 || all[0].GPUs != 4 || all[0].Max != 4 || all[0].Source != demand.Number {
		t.Fatalf("%+v", all)
	}
	until := clock.System{}.Now().Add(time.Hour)
	for _, n := range []int{0, 2} { // the second stands in the place of the first
		set := must[demand.Outcome](t)(w.SetTarget(t.Context(), control.SetTargetRequest{Policy: "train", N: n, Until: until, Reason: "test"}))
		if set.GPUs != n || set.Override == nil || !set.Override.Until.Equal(until) || set.Override.By != "operator" || !strings.Contains(set.Why, "(test)") {
			t.Fatalf("%+v", set)
		}
	}
	p := must[control.Plan](t)(w.Plan(t.Context(), control.PlanRequest{Path: "x.yaml", File: []byte(file)}))
	if s := p.Policies[0]; s.Target != 2 || s.Demand == nil || len(p.Actions) != 1 || p.Actions[0].Kind != plan.Delete || !strings.Contains(p.Actions[0].Reason.Text, "set by the operator") {
		t.Errorf("%+v", p)
	}
	if s := must[control.Status](t)(w.Status(t.Context(), control.StatusRequest{})); len(s.Overrides) != 1 {
		t.Errorf("%+v", s.Overrides)
	}
	for _, bad := range []control.SetTargetRequest{
		{Policy: "train", N: 6, Until: until},
		{Policy: "train", N: 3, Until: until},
		{Policy: "train", N: 2},
		{Policy: "train", N: 2, Until: until, Forever: true},
		{Policy: "train", N: 2, Until: until.Add(-2 * time.Hour)},
		{Policy: "train", N: 4, Instances: true, Until: until},
		{Policy: "train", N: 2, Until: until, Reason: strings.Repeat("x", 201)},
	} {
		_, err := w.SetTarget(t.Context(), bad)
		wantClass(t, err, control.Usage, "")
	}
	_, err := w.SetTarget(t.Context(), control.SetTargetRequest{Policy: "trian", N: 2, Until: until})
	wantClass(t, err, control.NoSuchPolicy, "trian")
	one := must[demand.Outcome](t)(w.SetTarget(t.Context(), control.SetTargetRequest{Policy: "train", N: 1, Instances: true, Forever: true}))
	if one.GPUs != 2 || !one.Override.Until.IsZero() {
		t.Errorf("%+v", one)
	}
	done := must[control.Cleared](t)(w.ClearTarget(t.Context(), control.ClearTargetRequest{Policy: "train"}))
	if len(done.Ended) != 1 || done.Ended[0].GPUs != 2 || len(done.Targets) != 1 || done.Targets[0].GPUs != 4 {
		t.Errorf("%+v", done)
	}
	if done = must[control.Cleared](t)(w.ClearTarget(t.Context(), control.ClearTargetRequest{})); len(done.Ended) != 0 {
		t.Errorf("%+v", done)
	}
}

func unknownPolicy(t *testing.T, w world) {
	_, err1 := w.Pause(t.Context(), control.PauseRequest{Policy: "trian"})
	_, err2 := w.Resume(t.Context(), control.ResumeRequest{Policy: "trian"})
	_, err3 := w.Destroy(t.Context(), control.DestroyRequest{Policy: "trian"})
	_, err4 := w.Machines(t.Context(), control.MachinesRequest{Policy: "trian"})
	for _, err := range []error{err1, err2, err3, err4} {
		wantClass(t, err, control.NoSuchPolicy, "trian")
		f, ok := err.(*control.Fault)
		if !ok || len(f.Known) != 1 || f.Known[0] != "train" || f.Word != "trian" || f.ExitCode() != 2 {
			t.Errorf("%#v", err)
		}
	}
}

func destroy(t *testing.T, w world) {
	must[[]plan.Pause](t)(w.Pause(t.Context(), control.PauseRequest{})) // destroy works while paused
	d, err := control.Teardown(t.Context(), clock.System{}, w, control.DestroyRequest{Policy: "train", Reason: "test"}, 30*time.Second)
	if err != nil || len(d.Machines) != 2 || len(d.Unconfirmed) != 0 || d.Problem != "" {
		t.Fatalf("%+v, %v", d, err)
	}
	s := must[control.Status](t)(w.Status(t.Context(), control.StatusRequest{}))
	if s.Machines != 0 || s.Reserved != 0 || len(s.Pauses) != 2 || !s.Pauses[0].Teardown && !s.Pauses[1].Teardown {
		t.Errorf("%+v", s)
	}
	until := clock.System{}.Now().Add(time.Hour)
	for _, p := range must[[]plan.Pause](t)(w.Pause(t.Context(), control.PauseRequest{Policy: "train", Until: until})) {
		if p.Policy == "train" && (!p.Teardown || !p.Until.IsZero()) {
			t.Errorf("a plain pause weakened the teardown: %+v", p)
		}
	}
}

func backup(t *testing.T, w world) {
	v := must[ledger.Contents](t)(w.Verify(t.Context(), control.VerifyRequest{}))
	if v.Machines != 2 || v.Intents != 2 || v.Reports != 2 || v.Schema == 0 || v.FileSize == 0 || !strings.HasSuffix(v.Path, "tdscaler.db") {
		t.Errorf("%+v", v)
	}
	path := w.path + ".copy"
	c := must[ledger.Contents](t)(w.Backup(t.Context(), control.BackupRequest{Path: path}))
	if c.Path != path || c.Machines != 2 || c.Reports != 2 {
		t.Errorf("%+v", c)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	_, err := w.Backup(t.Context(), control.BackupRequest{Path: path})
	wantClass(t, err, control.Usage, "already")
	must[ledger.Contents](t)(w.Backup(t.Context(), control.BackupRequest{Path: path, Force: true}))
	_, err = w.Backup(t.Context(), control.BackupRequest{Path: w.path, Force: true})
	wantClass(t, err, control.Usage, "the ledger itself")
	_, err = w.Backup(t.Context(), control.BackupRequest{Path: "beside.db"})
	wantClass(t, err, control.Usage, "absolute")
	_, err = w.Backup(t.Context(), control.BackupRequest{Path: "/nowhere/at/all.db"})
	wantClass(t, err, control.Failed, "no such file")
	l := must[*ledger.Ledger](t)(ledger.Open(ledger.Options{Path: path})) // restored, it is a ledger
	if h, err := l.History(); err != nil || len(h.Machines) != 2 {
		t.Errorf("%+v, %v", h, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func reload(t *testing.T, w world) {
	r, err := w.Reload(t.Context(), control.ReloadRequest{})
	if !w.running {
		wantClass(t, err, control.NoDaemon, w.path)
		return
	}
	if err != nil || !strings.HasSuffix(r.Config, "policies.yaml") || r.Hash == "" {
		t.Errorf("%+v, %v", r, err)
	}
	config := strings.TrimSuffix(w.path, "tdscaler.db") + "policies.yaml"
	if err := os.WriteFile(config, []byte("version: 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = w.Reload(t.Context(), control.ReloadRequest{})
	wantClass(t, err, control.Usage, "last good configuration")
}

func wentAway(t *testing.T, w world) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := larger()
	r.Fresh = true
	_, err := w.Plan(ctx, r)
	wantClass(t, err, control.Interrupted, "")
}

// TestTheAnswerIsTheSameWithAndWithoutADaemon compares the answers byte for byte.
func TestTheAnswerIsTheSameWithAndWithoutADaemon(t *testing.T) {
	s := newShop(t)
	d, l := s.daemon()
	office := control.Running(s.office, d, l)
	client := socketTo(t, office, l.Path())
	near, far := answers(t, office), answers(t, client)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	alone := answers(t, s.alone())
	for name, want := range near {
		for desk, got := range map[string]string{"over the socket": far[name], "without a daemon": alone[name]} {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s:\n%s", name, desk, diff)
			}
		}
	}
}

// answers are all answers of a desk that do not depend on who looks when.
func answers(t *testing.T, d control.Desk) map[string]string {
	ctx := t.Context()
	out := map[string]string{}
	put := func(name string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = string(b)
	}
	put("intents", must[[]plan.Intent](t)(d.Intents(ctx, control.IntentsRequest{})))
	put("intent", must[plan.Intent](t)(d.Intent(ctx, control.IntentRequest{ID: 2})))
	cycles, err := d.Cycles(ctx, control.CyclesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	put("cycles", cycles)
	put("cycle", must[plan.Report](t)(d.Cycle(ctx, control.CycleRequest{Cycle: 2})))
	machines := must[[]control.Machine](t)(d.Machines(ctx, control.MachinesRequest{}))
	for i := range machines {
		machines[i].AgeSeconds = 0
	}
	put("machines", machines)
	st := must[control.Status](t)(d.Status(ctx, control.StatusRequest{}))
	st.Running, st.NextAt, st.Checks = false, time.Time{}, nil
	st.Reload.At, st.Reload.Hash, st.Reload.Successful = time.Time{}, "", false
	put("status", st)
	page := must[report.Report](t)(d.Report(ctx, control.ReportRequest{Since: cycles[len(cycles)-1].StartedAt, Until: cycles[0].StartedAt.Add(-1)}))
	page.At, page.Money.Now = time.Time{}, nil // it is the present, and goes on
	put("report", page)
	return out
}
