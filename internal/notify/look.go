package notify

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Look is what one cycle has to tell: a projection of its report.
type Look struct {
	At         time.Time
	Owner      string
	Mode       policy.Mode
	Conditions []Condition // that hold
	// Unknown are the events that this look cannot judge: what was holds.
	Unknown  []policy.NotifyEvent
	Happened []Condition    // that are nothing that ends
	Outbids  map[string]int // by policy
	// Now says of a policy what it has, for telling that it has it again.
	Now map[string]string
}

// File is what is known of the configuration on disk.
type File struct {
	Problem string // why it is not in use; "" if it is
	Held    string // why a change waits for a word
}

// Read makes a Look of a report and of the state of the file.
func Read(r *plan.Report, f File) Look {
	v := &view{r: r, Look: Look{
		At: r.FinishedAt.Round(0), Owner: r.Input.Owner, Mode: r.Mode, Outbids: map[string]int{}, Now: map[string]string{},
	}}
	v.targets()
	v.holds()
	v.money()
	v.breakers()
	v.pauses()
	v.market()
	v.file(f)
	v.events()
	if !r.Input.Snapshot.Instances.Complete {
		v.Unknown = append(v.Unknown, policy.NotifyTargetMissed, policy.NotifyNoCapacity, policy.NotifyDeadline, policy.NotifyBudgetHolds, policy.NotifyOverCap,
			policy.NotifyUnknownMachine, policy.NotifyDeletionStuck, policy.NotifyContainer, policy.NotifyHook)
	}
	if !r.Input.Snapshot.Balance.Complete {
		v.Unknown = append(v.Unknown, policy.NotifyBalance, policy.NotifyRunway, policy.NotifyBill)
	}
	return v.Look
}

// view reads one report.
type view struct {
	r *plan.Report
	Look
}

// add notes that a condition holds, with what its rule says of it.
func (v *view) add(c Condition) {
	r := ruleOf(c.Event)
	c.Severity = cmp.Or(c.Severity, r.Severity)
	c.Runbook = runbook(r.Alert)
	if c.Command == "" {
		c.Command = "tdscaler status"
		if c.Policy != "" {
			c.Command = "tdscaler explain " + c.Policy
		}
	}
	if r.Once {
		v.Happened = append(v.Happened, c)
		return
	}
	v.Conditions = append(v.Conditions, c)
}

// why are the holds of a policy in words, the fleet's after its own.
func (v *view) why(name string) string {
	var own, all []string
	for _, h := range v.r.Plan.Holds {
		text := h.Reason.Code + ": " + h.Reason.Text
		switch h.Policy {
		case name:
			own = append(own, text)
		case "":
			all = append(all, text)
		}
	}
	both := append(own, all...)
	if len(both) > mostReasons {
		both = append(both[:mostReasons], fmt.Sprintf("%d more", len(both)-mostReasons))
	}
	return strings.Join(both, "; ")
}

const mostReasons = 3

// targets looks at what each policy has. In a dry run nobody expects it to have anything.
func (v *view) targets() {
	for i := range v.r.Plan.Standings {
		s := &v.r.Plan.Standings[i]
		v.Now[s.Policy] = fmt.Sprintf("%s has %d of %s ready", s.Policy, s.Ready, gpus(s.Target))
		if s.Leaving > 0 && v.r.Input.History.Waiting(s.Policy, v.r.Input.Policies)["draining"] == 0 {
			v.add(Condition{
				Event: policy.NotifyDeletionStuck, Policy: s.Policy, Title: fmt.Sprintf("%s of %s were to be deleted and are still there", gpus(s.Leaving), s.Policy),
				Reason: "they may run and cost: compare with TensorDock's dashboard", Command: "tdscaler machines",
			})
		}
		missing := s.Target - s.Ready
		if v.r.Mode != policy.Live || missing <= 0 || v.r.Input.History.PausedBy(s.Policy, v.At) != nil {
			continue
		}
		figures := []Figure{
			{"target", gpus(s.Target)}, {"ready", gpus(s.Ready)}, {"booting", gpus(s.Booting)}, {"dead", gpus(s.Dead)}, {"cost", s.Before.String()},
		}
		v.add(Condition{
			Event: policy.NotifyTargetMissed, Policy: s.Policy, Title: fmt.Sprintf("%s lacks %d of %s", s.Policy, missing, gpus(s.Target)),
			Reason: v.why(s.Policy), Figures: figures,
		})
		if s.Ready == 0 {
			v.add(Condition{
				Event: policy.NotifyNoCapacity, Policy: s.Policy, Title: fmt.Sprintf("%s has none of %s", s.Policy, gpus(s.Target)),
				Reason: v.why(s.Policy), Figures: figures,
			})
		}
	}
}

func gpus(n int) string {
	if n == 1 {
		return "1 GPU"
	}
	return fmt.Sprintf("%d GPUs", n)
}

// heldFor says which holds are worth telling by themselves, and as what.
func heldFor(code string) (e policy.NotifyEvent, title string) {
	switch code {
	case plan.HoldBudget:
		return policy.NotifyBudgetHolds, "a cap keeps %s from having what it wants"
	case plan.HoldBalance:
		return policy.NotifyBalance, "the balance keeps %s from having what it wants"
	case plan.HoldDeadline:
		return policy.NotifyDeadline, "the GPU-hours of %s will not be done by target.by"
	case plan.HoldHook:
		return policy.NotifyHook, "the on_ready hook of %s fails"
	case plan.HoldOrphan, plan.HoldShadow, plan.HoldRenamed, plan.HoldUnknown:
		return policy.NotifyUnknownMachine, "machines of %s are left alone, and cost money"
	case plan.HoldAlarm, plan.HoldContainer:
		return policy.NotifyContainer, "the container of %s needs somebody to decide"
	case plan.HoldLedger:
		return policy.NotifyLedger, "the ledger cannot be written"
	case plan.HoldContract:
		return policy.NotifyContractStopped, "TensorDock has changed its answers, and writes have stopped"
	}
	return "", ""
}

func (v *view) holds() {
	seen := map[string]bool{}
	for _, h := range v.r.Plan.Holds {
		e, title := heldFor(h.Reason.Code)
		if e == "" {
			continue
		}
		c := Condition{Event: e, Policy: h.Policy, Title: title, Reason: h.Reason.Code + ": " + h.Reason.Text}
		if strings.Contains(title, "%s") {
			c.Title = fmt.Sprintf(title, cmp.Or(h.Policy, "the fleet"))
		}
		if e == policy.NotifyUnknownMachine {
			c.Detail, c.Command = h.Reason.Code, "tdscaler machines"
		}
		if !seen[c.key()] {
			seen[c.key()] = true
			v.add(c)
		}
	}
}

func (v *view) money() {
	in, h := &v.r.Input, &v.r.Input.History
	now := v.r.FinishedAt.In(in.Budget.Zone.Location())
	spent := h.SpentInScope(in.Budget.Scope, now)
	v.cap("", "day", spent.Day, in.Budget.MaxDaily, "budget.max_daily")
	v.cap("", "month", spent.Month, in.Budget.MaxMonthly, "budget.max_monthly")
	by := h.SpentBy(now)
	for i := range in.Policies {
		p := &in.Policies[i]
		v.cap(p.Name, "day", by[p.Name].Day, p.Budget.MaxDaily, "its max_daily")
		v.cap(p.Name, "month", by[p.Name].Month, p.Budget.MaxMonthly, "its max_monthly")
		v.cap(p.Name, "life", by[p.Name].Total, p.Budget.MaxTotal, "its max_total")
	}
	if reserved, most := h.Reserved(), in.HourlyCap; reserved.Float() > overCap*most.Float() {
		v.add(Condition{
			Event: policy.NotifyOverCap, Title: fmt.Sprintf("%s are reserved, the hourly cap is %s", reserved, most),
			Reason: "after a cap was lowered machines go until it holds", Figures: []Figure{{"reserved", reserved.String()}, {"cap", most.String()}},
		})
	}
	v.balance()
	if b := &h.Account.Bill; b.Warned {
		v.add(Condition{
			Event: policy.NotifyBill, Title: fmt.Sprintf("the balance fell by %s more than the books explain", b.Excess),
			Reason:  "somebody else spends from the account, or a machine is charged dearer than it was sold",
			Figures: []Figure{{"explained", b.Charged.String()}, {"above it", fmt.Sprintf("%.0f %%", 100*b.Ratio())}},
			Command: "tdscaler cost --bill " + now.Format("2006-01"),
		})
	}
}

// cap looks how much of a cap is spent, if there is one.
func (v *view) cap(name, period string, spent market.Amount, most market.Maybe[market.Amount], key string) {
	limit, ok := most.Get()
	if !ok || limit <= 0 || spent.Float() <= nearlySpent*limit.Float() {
		return
	}
	whose := "the " + period + "'s budget"
	if name != "" {
		whose += " of " + name
	}
	c := Condition{
		Event: policy.NotifyBudgetSpent, Policy: name, Detail: period,
		Title:   fmt.Sprintf("%.0f %% of %s are spent", math.Floor(100*spent.Float()/limit.Float()), whose),
		Reason:  "at the cap machines are given up, the lowest priority first; raise " + key + ", or lower a target, if that must not be",
		Figures: []Figure{{"spent", spent.String()}, {"cap", limit.String()}}, Command: "tdscaler cost",
	}
	if spent.Float() >= allButSpent*limit.Float() {
		c.Level = 1
		c.Title = whose + " is spent"
	}
	v.add(c)
}

// balance looks how long the account lasts at what TensorDock charges it for.
func (v *view) balance() {
	s := &v.r.Input.Snapshot.Balance
	left, known := s.Value.Balance.Get()
	if !s.Complete || !known {
		return
	}
	figures := []Figure{{"balance", left.String()}}
	hourly, known := s.Value.Hourly.Get()
	if known {
		figures = append(figures, Figure{"the account costs", hourly.String()})
	}
	held := slices.ContainsFunc(v.Conditions, func(c Condition) bool { return c.Event == policy.NotifyBalance })
	if left < leastBalance && !held {
		v.add(Condition{
			Event: policy.NotifyBalance, Title: "the account holds " + left.String() + " and no more",
			Reason: "at $0 TensorDock stops all machines; deposit money", Figures: figures,
		})
	}
	if !known || hourly <= 0 {
		return
	}
	lasts := time.Duration(min(left.Float()/hourly.Float(), 1e5) * float64(time.Hour))
	c := Condition{Event: policy.NotifyRunway, Title: "the balance lasts for " + brief(max(lasts, 0)), Figures: figures, Reason: "deposit money: at $0 TensorDock stops all machines"}
	switch {
	case lasts < runwayShorts:
		c.Severity = policy.Critical
	case lasts >= runwayShort:
		return
	}
	v.add(c)
}

// breakerSeverity is that of its alert.
func breakerSeverity(code string) policy.NotifySeverity {
	if code == plan.BreakerDisappearance || code == plan.BreakerBill {
		return policy.Critical
	}
	return policy.Warning
}

func (v *view) breakers() {
	for i := range v.r.Input.History.Breakers {
		b := &v.r.Input.History.Breakers[i]
		if !b.Open(v.At) {
			continue
		}
		c := Condition{
			Event: policy.NotifyBreaker, Detail: b.Code, Severity: breakerSeverity(b.Code), From: b.Since,
			Title: "the breaker " + b.Code + " is open, " + b.Ends(), Reason: b.Reason,
		}
		if b.Code == plan.BreakerSecondDaemon {
			c.Event, c.Detail, c.Severity = policy.NotifySecondDaemon, "", ""
			c.Title, c.Command = "another daemon buys under the owner "+v.Owner+": all writes have stopped", "tdscaler machines"
		}
		v.add(c)
	}
}

func (v *view) pauses() {
	oldest := map[string]*plan.Pause{}
	for i := range v.r.Input.History.Pauses {
		p := &v.r.Input.History.Pauses[i]
		if p.Active(p.Policy, v.At) && (oldest[p.Policy] == nil || p.Since.Before(oldest[p.Policy].Since)) {
			oldest[p.Policy] = p
		}
	}
	for name, p := range oldest {
		c := Condition{
			Event: policy.NotifyPaused, Policy: name, From: p.Since, Title: cmp.Or(name, "the whole fleet") + " is paused", Reason: p.Reason,
			Command: strings.TrimSpace("tdscaler resume " + name),
		}
		if p.Teardown {
			c.Title += " since it was destroyed"
		}
		v.add(c)
	}
}

func (v *view) market() {
	s := &v.r.Input.Snapshot
	if s.Instances.Class == market.ClassUnauthorized {
		v.add(Condition{
			Event: policy.NotifyUnauthorized, Title: "TensorDock refuses the credentials",
			Reason: "nothing is seen and nothing is done, and machines go on costing: " + s.Instances.Problem, Command: "tdscaler auth",
		})
	}
	for _, part := range []struct {
		name     string
		bad      bool
		problem  string
		class    market.Class
		severity policy.NotifySeverity
	}{
		{"machines", !s.Instances.Complete, s.Instances.Problem, s.Instances.Class, policy.Critical},
		{"hosts", !s.Hosts.Complete, s.Hosts.Problem, s.Hosts.Class, policy.Warning},
		{"balance", !s.Balance.Complete, s.Balance.Problem, s.Balance.Class, policy.Warning},
		{"machines_v2", !s.V2.Complete && !s.V2.At.IsZero(), s.V2.Problem, s.V2.Class, policy.Warning},
	} {
		if part.bad && part.class != market.ClassUnauthorized {
			v.add(Condition{
				Event: policy.NotifyUnreadable, Detail: part.name, Severity: part.severity,
				Title: "the list of " + part.name + " cannot be read", Reason: cmp.Or(part.problem, "it was not read whole"),
			})
		}
	}
}

func (v *view) file(f File) {
	if f.Problem != "" {
		v.add(Condition{Event: policy.NotifyReload, Title: "the configuration on disk is not in use: it has errors", Reason: f.Problem, Command: "tdscaler check"})
	}
	if f.Held != "" {
		v.add(Condition{Event: policy.NotifyChangeHeld, Title: "a change of the configuration waits for a word", Reason: f.Held, Command: "tdscaler reload"})
	}
}

func (v *view) events() {
	for i := range v.r.Events {
		switch e := &v.r.Events[i]; e.Kind {
		case plan.EventOutbid:
			v.Outbids[e.Policy]++
		case plan.EventAdopted:
			v.add(Condition{
				Event: policy.NotifyAdopted, Policy: e.Policy, Detail: e.Machine, From: e.At,
				Title: e.Machine + " was found without a record, and is managed now", Reason: e.Text, Command: "tdscaler machines",
			})
		}
	}
}
