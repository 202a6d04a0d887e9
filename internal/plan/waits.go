package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// Wait is something that has to happen, or a time that has to come, before things go on.
type Wait struct {
	// Code is that of the hold or breaker that it would be held with.
	Code    string    `json:"code"`
	Policy  string    `json:"policy,omitempty"` // "" is the whole fleet
	Machine string    `json:"machine,omitempty"`
	Text    string    `json:"text"` // what is waited for
	Since   time.Time `json:"since,omitzero"`
	// Until is the earliest time at which Then happens by itself; zero where only an
	// answer, the market or a person ends it.
	Until time.Time `json:"until,omitzero"`
	Then  string    `json:"then,omitempty"`
}

// Waits lists what the fleet waits for at in.Now, worst first, the oldest of equals
// first. in holds the books as they are now; standings and holds are of the last plan.
//
// Whatever has its times in the books is taken from there. Of the holds only
// those are waits that end without a change of policies or prices: that there is no
// offer is a finding, not something to wait for.
func Waits(in *Input, standings []Standing, holds []Hold) []Wait {
	w := waiting{in: in, told: map[string]bool{}}
	w.stops()
	w.doubts()
	for i := range in.History.Machines {
		w.machine(&in.History.Machines[i])
	}
	for i := range in.History.Containers {
		w.container(&in.History.Containers[i])
	}
	w.signals()
	w.shortOf(standings)
	w.held(holds)
	slices.SortFunc(w.list, func(a, b Wait) int {
		return cmp.Or(cmp.Compare(gravity(a.Code), gravity(b.Code)), boolCompare(a.Since.IsZero(), b.Since.IsZero()), a.Since.Compare(b.Since), a.Until.Compare(b.Until),
			cmp.Compare(a.Policy, b.Policy), cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.Text, b.Text))
	})
	return w.list
}

// gravity orders waits, the worst first: what stops everything, what needs a person,
// what nobody can see, what costs money meanwhile, and what passes by itself.
func gravity(code string) int {
	if slices.Contains(BreakerCodes(), code) {
		return 1
	}
	for i, codes := range [][]string{
		{HoldLedger, HoldContract},
		{HoldBreaker},
		{HoldPaused},
		{HoldContainer, HoldAlarm, HoldRenamed, HoldUnlearnt},
		{HoldInstances, HoldHosts, HoldReadyMade, HoldReplicas, HoldDisagrees},
		{HoldDemand},
		{HoldBalance, HoldUnknown},
		{HoldUnanswered},
		{HoldDeleting},
		{HoldHook, HoldProbe, HoldBooting, HoldRebid, HoldScale, HoldDraining, HoldStart, HoldPark},
		{HoldFallback, HoldCooldown, HoldChurn},
		{HoldBackoff},
	} {
		if slices.Contains(codes, code) {
			return i
		}
	}
	return 20
}

type waiting struct {
	in   *Input
	list []Wait
	told map[string]bool // codes and policies or machines that are listed with their times
}

func (w *waiting) add(x Wait) {
	x.Since, x.Until = x.Since.UTC(), x.Until.UTC()
	w.list = append(w.list, x)
	w.told[x.Code+" "+x.Policy] = true
	if x.Machine != "" {
		w.told[x.Machine] = true
	}
}

// stops are pauses and breakers.
func (w *waiting) stops() {
	for _, b := range w.in.History.Breakers {
		if b.Open(w.in.Now) {
			w.add(Wait{Code: b.Code, Text: "breaker: " + cmp.Or(b.Reason, "no reason given"), Since: b.Since, Until: b.Until, Then: ending(b.Until, "it closes by itself")})
		}
	}
	for _, p := range w.in.History.Pauses {
		if p.Active(p.Policy, w.in.Now) {
			text := cmp.Or(p.Reason, "no reason given")
			if p.Teardown {
				text = "destroyed: " + text
			}
			w.add(Wait{Code: HoldPaused, Policy: p.Policy, Text: text, Since: p.Since, Until: p.Until, Then: ending(p.Until, "it goes on by itself")})
		}
	}
}

func ending(until time.Time, then string) string {
	if until.IsZero() {
		return ""
	}
	return then
}

// doubts is a bill above what is known.
func (w *waiting) doubts() {
	g, ok := w.in.History.Gap.Get()
	if !ok || !g.Holds(w.in.Safety, w.in.Now) {
		return
	}
	w.add(Wait{
		Code: HoldDisagrees, Text: fmt.Sprintf("the account is charged %s more than all known machines cost", g.Rate),
		Since: g.Since, Until: g.Since.Add(w.in.Safety.UnknownAge), Then: "it is believed to be something else",
	})
}

// machine lists what is waited for of one machine.
func (w *waiting) machine(m *Machine) {
	p := policyOf(w.in.Policies, m.Policy)
	if p == nil {
		p = &policy.Policy{}
	}
	x := Wait{Policy: m.Policy, Machine: m.Name}
	s := w.in.Safety
	switch {
	case m.Leaving != nil:
		x.Code, x.Text, x.Since = HoldDeleting, "its deletion is to be confirmed", m.Leaving.At
		x.Until, x.Then = m.Leaving.At.Add(s.AbsentAge), "it is asked for again if it is still listed"
		if m.Leaving.Lost {
			x.Code, x.Text = HoldUnanswered, "a deletion without an answer"
		}
	case m.Phase == PhaseUnknown:
		x.Code, x.Text, x.Since = HoldUnanswered, "an order without an answer", m.OrderedAt
		x.Until, x.Then = m.OrderedAt.Add(s.UnknownAge), "it is given up if no list shows it"
	case m.Phase == PhaseAccepted:
		x.Code, x.Text, x.Since = HoldBooting, "ordered, and in no list yet", m.OrderedAt
		x.Until, x.Then = m.OrderedAt.Add(s.UnknownAge), "it is given up if no list shows it"
	case m.Phase != PhaseLive:
		return
	case m.Missed > 0:
		x.Code, x.Text, x.Since = HoldBooting, fmt.Sprintf("not in the list any more (%d times)", m.Missed), m.MissedAt
		x.Until, x.Then = m.MissedAt.Add(s.AbsentAge), "it counts as gone"
	case m.Rebid != nil:
		x.Code, x.Text, x.Since = HoldRebid, "its bid of "+m.Rebid.Bid.String()+" is to be seen", m.Rebid.At
		x.Until, x.Then = m.Rebid.At.Add(s.AbsentAge), "the bid counts as ignored"
	case m.Drain != nil:
		x.Code, x.Text, x.Since = HoldDraining, "draining: "+m.Drain.Reason.Text, m.Drain.Since
		x.Until, x.Then = m.Drain.goes(&p.Drain), "it goes"
	case m.Parked != nil:
		w.parking(m, &x)
	default:
		w.booting(m, p, &x)
	}
	if x.Code != "" {
		w.add(x)
	}
}

// parking is what a machine waits for that was stopped on purpose.
func (w *waiting) parking(m *Machine, x *Wait) {
	switch k := m.Parked; {
	case k.Start != 0:
		x.Code, x.Text, x.Since = HoldStart, "starting again", k.StartAt
		x.Until, x.Then = k.StartAt.Add(w.in.Safety.AbsentAge), "the start counts as failed"
	case !k.Done:
		x.Code, x.Text, x.Since = HoldPark, "asked to stop", k.At
		x.Until, x.Then = k.At.Add(w.in.Safety.AbsentAge), "the stop counts as failed"
	case k.Until.After(w.in.Now):
		x.Code, x.Text = HoldStart, fmt.Sprintf("was not started %d times", k.Failures)
		x.Until, x.Then = k.Until, "it may be started again"
	}
}

// booting is what a machine waits for that is listed and does not deliver.
func (w *waiting) booting(m *Machine, p *policy.Policy, x *Wait) {
	x.Since = m.since()
	switch m.Status {
	case market.StatusStarting, market.StatusRelocating, market.StatusStopping:
		x.Code, x.Text = HoldBooting, string(m.Status)
		if p.BootTimeout > 0 {
			x.Until, x.Then = x.Since.Add(p.BootTimeout), "it is given up and its host avoided"
		}
	case market.StatusStopped, market.StatusReleased, market.StatusError:
		x.Code, x.Text = HoldBooting, string(m.Status)+" without our doing"
		x.Until, x.Then = x.Since.Add(w.in.Safety.AbsentAge), "it is given up"
	case market.StatusRunning:
		if !m.Unproven {
			return
		}
		x.Code, x.Text = HoldProbe, "its probe: "+cmp.Or(m.Probe.Text, "none was made yet")
		x.Until, x.Then = x.Since.Add(p.Ready.Deadline), "a probe that fails then ends it"
	}
}

func (w *waiting) container(c *Container) {
	x := Wait{Policy: c.Policy, Machine: c.Name}
	switch {
	case c.Leaving != nil:
		x.Code, x.Text, x.Since = HoldDeleting, "the end of the container is to be confirmed", c.Leaving.At
	case c.Alarm != "":
		x.Code, x.Text, x.Since = HoldAlarm, c.Alarm, c.AlarmAt
	case c.Scale != nil:
		x.Code, x.Text, x.Since = HoldScale, fmt.Sprintf("what a request to scale did (%d was sent)", c.Scale.Sent), c.Scale.At
	default:
		return
	}
	w.add(x)
}

// signals are those that could not be read at the last attempt.
func (w *waiting) signals() {
	for _, m := range w.in.History.Demand {
		p := policyOf(w.in.Policies, m.Policy)
		if m.Problem == "" || p == nil || !slices.ContainsFunc(p.Demand.Signals, func(s policy.Signal) bool { return s.Name == m.Signal }) {
			continue
		}
		w.add(Wait{Code: HoldDemand, Policy: m.Policy, Text: "signal " + m.Signal + ": " + m.Problem, Since: m.At})
	}
}

// shortOf is what keeps policies that are not at their targets from buying for a while.
func (w *waiting) shortOf(standings []Standing) {
	off := slices.DeleteFunc(slices.Clone(standings), func(s Standing) bool { return s.Ready+s.Booting == s.Target })
	for _, s := range off {
		of := policyOf(w.in.Policies, s.Policy)
		if of == nil {
			continue
		}
		for _, at := range w.in.History.Scaled {
			if end := at.At.Add(of.Cooldown); at.Policy == s.Policy && end.After(w.in.Now) {
				w.add(Wait{Code: HoldCooldown, Policy: s.Policy, Text: "its cooldown", Since: at.At, Until: end, Then: "it may scale again"})
			}
		}
		for _, short := range w.in.History.Short {
			if end := short.Since.Add(of.Fallback.After); short.Policy == s.Policy && end.After(w.in.Now) {
				w.add(Wait{Code: HoldFallback, Policy: s.Policy, Text: "spot is short", Since: short.Since, Until: end, Then: "on-demand may cover"})
			}
		}
	}
	if slices.ContainsFunc(off, func(s Standing) bool { return s.Ready+s.Booting < s.Target }) {
		w.backoffs()
	}
}

// backoffs are told in one line: they are many, and pass.
func (w *waiting) backoffs() {
	hosts, first := map[string]bool{}, time.Time{}
	for _, b := range w.in.History.Backoffs {
		if !b.Until.After(w.in.Now) {
			continue
		}
		hosts[b.Host] = true
		if first.IsZero() || b.Until.Before(first) {
			first = b.Until
		}
	}
	switch n := len(hosts); n {
	case 0:
	case 1:
		w.add(Wait{Code: HoldBackoff, Text: "1 host is left alone after it failed or refused us", Until: first, Then: "it is tried again"})
	default:
		w.add(Wait{Code: HoldBackoff, Text: fmt.Sprintf("%d hosts are left alone after they failed or refused us", n), Until: first, Then: "the first of them is tried again"})
	}
}

// findings are holds that no waiting ends.
func findings() []string {
	return []string{
		HoldNoOffer, HoldSpread, HoldBudget, HoldMinLifetime, HoldProtected, HoldOrphan, HoldShadow, HoldDeadline, HoldBreaker,
	}
}

// held are the holds of the last plan that the books have no times for, one line for
// each code of a policy.
func (w *waiting) held(holds []Hold) {
	type key struct{ code, policy string }
	more, at := map[key]int{}, map[key]int{}
	for i := range holds {
		h := &holds[i]
		k := key{h.Reason.Code, h.Policy}
		if slices.Contains(findings(), k.code) || h.Machine != "" && w.told[h.Machine] {
			continue
		}
		if _, ok := at[k]; ok {
			more[k]++
			continue
		}
		if h.Machine == "" && (w.told[k.code+" "+k.policy] || w.told[k.code+" "]) {
			continue
		}
		at[k] = len(w.list)
		w.list = append(w.list, Wait{Code: k.code, Policy: k.policy, Machine: h.Machine, Text: strings.TrimSpace(h.Reason.Text)})
	}
	for k, n := range more {
		w.list[at[k]].Text += fmt.Sprintf(" (and %d more)", n)
	}
}
