package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func statusCommand() *cobra.Command {
	var f deskFlags
	var watch bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "status --config FILE",
		Short: "Print where things stand, on one screen",
		Long: `status prints what is wrong first: problems, pauses, breakers; then burn, spend and
balance against their caps, targets against fleet with why a policy is short, and what
it waits for, since when and until when. What is a problem is followed by the command
that helps. Without a daemon it tells what the ledger knows of the last cycle, and says
so.

With --watch it goes on until Ctrl-C: a terminal is drawn anew every two seconds, and
anything else gets one status for each change.

When to use it: first, whenever anything is wrong. "top" is for a longer look.`,
		Example: "  tdscaler status --config policies.yaml\n  tdscaler status --config policies.yaml --watch\n  tdscaler status --config policies.yaml --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case !watch && cmd.Flags().Changed("every"):
				return usageError("--every is for --watch")
			case every < 100*time.Millisecond:
				return usageError("--every: %s is too often; 100ms is the least", every)
			case watch:
				return f.watchStatus(cmd, every)
			}
			return f.at(cmd, func(s *session) error {
				st, err := s.desk.Status(s.Context(), control.StatusRequest{})
				if err != nil {
					return err
				}
				width, _ := sizeOf(s.OutOrStdout())
				return s.printed(st, func(t *table) {
					t.width = width
					t.status(&st, clock.System{}.Now())
				})
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "go on until Ctrl-C")
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "how often to ask")
	return cmd
}

// sizeOf is the size of a terminal, in characters; zero for anything else.
func sizeOf(w any) (width, height int) {
	s, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return 0, 0
	}
	width, height, err := term.GetSize(int(s.Fd()))
	if err != nil {
		return 0, 0
	}
	return width, height
}

// What a screen has room for; --json has all.
const (
	mostPolicies = 10
	mostWaiting  = 5
	mostRows     = 3 // of machines and answers that are told one by one
)

// status prints where things stand, what is wrong first.
func (t *table) status(s *control.Status, now time.Time) {
	running := shade{good, "a daemon runs"}
	if !s.Running {
		running = shade{caution, "no daemon runs; this is what the ledger knows"}
	}
	t.row("daemon", running)
	t.wrong(s, now)
	t.row("mode", string(s.Mode)+", owner "+s.Owner)
	t.row("file", fileState(s, now))
	t.row("cycle", cycleState(s, now))
	t.money(s)
	t.row("machines", s.Machines)
	t.details(s)
	t.gap()
	t.fleet(s)
	t.waits(s, now)
	t.shadows(s.Shadows)
}

// wrong prints what is, with the command that helps.
func (t *table) wrong(s *control.Status, now time.Time) {
	if s.Problem != "" {
		t.row("problem", cell{shade{bad, s.Problem}, unreadHelp(s.Problem)})
	}
	if s.Unwritable != "" && s.Unwritable != s.Problem {
		t.row("ledger", cell{shade{bad, s.Unwritable}, "tdscaler ledger verify"})
	}
	for _, b := range s.Breakers {
		t.row("breaker", cell{shade{bad, breakerHolds(&b) + because(cmp.Or(b.Reason, "no reason given"))}, "tdscaler resume"})
	}
	if s.PauseFile != "" {
		t.row("stopped", shade{caution, "the pause file exists: " + s.PauseFile})
	}
	for _, p := range s.Pauses {
		t.row("paused", cell{shade{caution, pausedText(&p, now)}, resuming(p.Policy)})
	}
	if s.Bill.Warned {
		t.row("bill", cell{shade{bad, "the balance fell by " + spent(s.Bill.Excess) + " more than the " + spent(s.Bill.Charged) + " that the books explain since " + stamp(s.Bill.Since)}, "tdscaler cost"})
	}
	for _, u := range s.Unread {
		t.row("not read", shade{caution, u.List + ": " + u.Why})
	}
}

func resuming(policy string) string { return strings.TrimSpace("tdscaler resume " + policy) }

// details are containers and answers that have changed, where there are any.
func (t *table) details(s *control.Status) {
	for i := range s.Containers {
		c := &s.Containers[i]
		t.row("container", c.Name+" of "+c.Policy+", "+c.Summary()+": "+c.Count()+" replicas, "+c.Reserved.String()+" reserved"+because(c.Alarm))
	}
	if s.Scaling.Meaning != "" {
		t.row("scaling", "the market reads a request to scale as "+string(s.Scaling.Meaning)+", learnt "+stamp(s.Scaling.At))
	}
	t.drift(s.Drift)
}

// shadows prints what policies that are never acted on would have come to.
func (t *table) shadows(all []plan.ShadowReport) {
	if len(all) == 0 {
		return
	}
	t.gap()
	t.line("shadows: decided and never done; none of these machines exists")
	t.row("SHADOW", "TARGET", "READY", "BOOTING", "WOULD COST", "IN ALL", "GPU-HOURS", "PER GPU-HOUR", "STARTS", "LOST", "SINCE")
	for i := range all {
		s := &all[i]
		t.row(s.Policy, s.Standing.Target, s.Standing.Ready, s.Standing.Booting, s.Rate, spent(s.Cost),
			fmt.Sprintf("%.1f of %.1f", s.Delivered.Hours(), s.Wanted.Hours()), maybe(s.PerGPUHour()), s.Starts, s.Losses, stamp(s.Since))
	}
}

// drift prints how TensorDock's answers departed from the form in which they are known.
func (t *table) drift(all []daemon.DriftSeen) {
	for i, d := range all {
		if i == mostRows {
			t.row("answers", plural(len(all)-mostRows, "more change")+"; --json has all")
			return
		}
		text := d.Operation + ": " + d.Kind
		if d.Field != "" {
			text += " " + d.Field
		}
		if d.Stops != "" {
			text += " (it stopped " + string(d.Stops) + ")"
		}
		t.row("answers", text+", in "+strconv.FormatUint(d.Answers, 10)+" answers, last at "+stamp(d.Last))
	}
}

// money prints burn, spend and balance against their caps.
func (t *table) money(s *control.Status) {
	share := used(market.Amount(s.Reserved), market.Amount(s.HourlyCap))
	t.row("rate", costly(share, s.Burn.String()+" as last seen, "+s.Reserved.String()+" reserved, cap "+s.HourlyCap.String()+inPercent(share)))
	fleet := daemon.Budget{Today: s.SpentToday, Month: s.SpentMonth, Ever: s.SpentEver}
	if len(s.Budgets) > 0 {
		fleet = s.Budgets[0]
		for i := range s.Budgets[1:] {
			if b := &s.Budgets[1+i]; worst(b) >= 80 {
				t.row("budget", costly(worst(b), b.Policy+": "+b.Reserved.String()+" reserved"+ofCap(b)+"; "+spends(b)))
			}
		}
	}
	zone := ""
	if s.Zone != "" && s.Zone != "UTC" {
		zone = " (" + string(s.Zone) + ")"
	}
	t.row("spent", costly(spending(&fleet), spends(&fleet)+zone))
	t.row("balance", balanceText(s, &fleet))
}

// ofCap is the hourly cap of a policy, if it has one.
func ofCap(b *daemon.Budget) string {
	if c, ok := b.Caps.MaxHourly.Get(); ok {
		return inPercent(used(market.Amount(b.Reserved), market.Amount(c))) + " of " + c.String()
	}
	return ""
}

// spends is what was spent, against what caps there are.
func spends(b *daemon.Budget) string {
	against := func(a market.Amount, m market.Maybe[market.Amount], word string) string {
		if c, ok := m.Get(); ok {
			return spent(a) + " " + word + " (" + percentOf(used(a, c)) + " of " + strings.TrimSuffix(spent(c), ".00") + ")"
		}
		return spent(a) + " " + word
	}
	return against(b.Today, b.Caps.MaxDaily, "today") + ", " + against(b.Month, b.Caps.MaxMonthly, "this month") + ", " + against(b.Ever, b.Caps.MaxTotal, "ever")
}

// used is how much of a cap is, in percent, rounded up; -1 where there is no cap.
func used(a, c market.Amount) int {
	switch {
	case c <= 0 || c >= market.MaxAmount:
		return -1
	case a >= c && a.Float()/c.Float() < 1.005:
		return 100
	}
	return int(min((100*a.Float()/c.Float())+0.999, 9999))
}

// spending is the fullest of a budget's caps on what is spent.
func spending(b *daemon.Budget) int {
	most := -1
	for _, c := range []struct {
		a market.Amount
		m market.Maybe[market.Amount]
	}{{b.Today, b.Caps.MaxDaily}, {b.Month, b.Caps.MaxMonthly}, {b.Ever, b.Caps.MaxTotal}} {
		if limit, ok := c.m.Get(); ok {
			most = max(most, used(c.a, limit))
		}
	}
	return most
}

// worst is the fullest of all caps of a budget.
func worst(b *daemon.Budget) int {
	most := spending(b)
	if c, ok := b.Caps.MaxHourly.Get(); ok {
		most = max(most, used(market.Amount(b.Reserved), market.Amount(c)))
	}
	return most
}

func percentOf(n int) string { return strconv.Itoa(n) + "%" }

func inPercent(n int) string {
	if n < 0 {
		return ""
	}
	return " (" + percentOf(n) + ")"
}

// costly is a text about money of which so many percent are used.
func costly(percent int, text string) cell {
	switch {
	case percent >= 100:
		return cell{shade{bad, text}, "tdscaler cost"}
	case percent >= 80:
		return cell{shade{caution, text}, "tdscaler cost"}
	}
	return cell{shade: shade{text: text}}
}

// balanceText says how long the balance lasts, and what else it pays for.
func balanceText(s *control.Status, fleet *daemon.Budget) cell {
	c := cell{shade: shade{text: owned(s.Balance.Balance)}}
	b, known := s.Balance.Balance.Get()
	if least, ok := fleet.Caps.MinBalance.Get(); ok {
		c.text += " (min_balance " + strings.TrimSuffix(spent(least), ".00") + ")"
		if known && b <= least {
			c.style, c.hint = bad, "tdscaler cost"
		}
	}
	if s.Runway > 0 {
		c.text += ", lasts " + ago(s.Runway) + " at what is reserved"
		if least := fleet.Caps.MinRunway; least > 0 {
			c.text += " (min_runway " + ago(least) + ")"
		}
		if s.Runway <= max(fleet.Caps.MinRunway, 6*time.Hour) {
			c.style, c.hint = bad, "tdscaler cost"
		}
	}
	if s.Others > 0 {
		c.text += "; " + s.Others.String() + " of it is not for our machines"
	}
	return c
}

func fileState(s *control.Status, now time.Time) cell {
	switch {
	case !s.Running:
		return cell{shade: shade{text: s.Config}}
	case s.Reload.Held != "":
		return cell{shade{caution, s.Config + "; a change on disk is held: " + s.Reload.Held}, "tdscaler reload"}
	case !s.Reload.Successful:
		return cell{shade{bad, s.Config + "; what is on disk is not in use: " + firstProblem(s.Reload.Problem)}, "tdscaler check"}
	}
	return cell{shade: shade{text: s.Config + ", loaded " + ago(now.Sub(s.Reload.At)) + " ago"}}
}

// firstProblem is the first problem of a file, of which there may be many below each other.
func firstProblem(text string) string {
	first, rest, more := strings.Cut(text, "\n")
	if more {
		first, _, _ = strings.Cut(rest, "\n")
	}
	return first
}

func cycleState(s *control.Status, now time.Time) string {
	if s.Cycle == 0 {
		return "none has finished yet"
	}
	text := ago(now.Sub(s.FinishedAt)) + " ago"
	if s.Running && !s.NextAt.IsZero() {
		text += ", next in " + ago(s.NextAt.Sub(now))
	}
	return text
}

// fleet prints targets against fleet, the policies that are worst off first.
func (t *table) fleet(s *control.Status) {
	if len(s.Policies) == 0 {
		t.line("no policies")
		return
	}
	list := worstFirst(s)
	t.row("POLICY", "TARGET", "READY", "BOOTING", "DEAD", "LEAVING", "RESERVED", "STATE")
	for i := range list[:min(len(list), mostPolicies)] {
		p := &list[i]
		t.row(p.Policy, p.Target, p.Ready, p.Booting, p.Dead, p.Leaving, p.Before, stateOf(p, s))
	}
	if rest := list[min(len(list), mostPolicies):]; len(rest) > 0 {
		fine := 0
		for i := range rest {
			if rest[i].Satisfied {
				fine++
			}
		}
		t.line("and %d more, %d of them satisfied; \"tdscaler plan\" has all", len(rest), fine)
	}
	t.moved(s.Policies)
	for i := range s.Short[:min(len(s.Short), mostRows)] {
		t.whyShort(&s.Short[i])
	}
}

// whyShort prints why a policy is not at its target, in one line.
func (t *table) whyShort(f *plan.Shortfall) {
	if f.Reason.Text != "" {
		t.align()
		t.row(cell{shade{unstyled, f.Policy + ", " + gapText(f) + because(f.Reason.Text)}, "tdscaler explain " + f.Policy})
	}
}

// gapText is by how much a policy is off its target.
func gapText(f *plan.Shortfall) string {
	if f.GPUs < 0 {
		return strconv.Itoa(-f.GPUs) + " too many"
	}
	return "short " + strconv.Itoa(f.GPUs)
}

// worstFirst are the policies: first those that lack the most.
func worstFirst(s *control.Status) []plan.Standing {
	list := slices.Clone(s.Policies)
	gap := func(p *plan.Standing) int { return max(p.Target-p.Ready-p.Booting, 0) }
	slices.SortStableFunc(list, func(a, b plan.Standing) int {
		return cmp.Or(-cmp.Compare(gap(&a), gap(&b)), truth(a.Satisfied)-truth(b.Satisfied), cmp.Compare(a.Policy, b.Policy))
	})
	return list
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

// stateOf says in two words how a policy stands.
func stateOf(p *plan.Standing, s *control.Status) shade {
	if slices.ContainsFunc(s.Pauses, func(w plan.Pause) bool { return w.Policy == "" || w.Policy == p.Policy }) {
		return shade{caution, "paused"} // whatever it was in the last cycle
	}
	if p.Satisfied {
		return shade{good, "satisfied"}
	}
	short := s.Short
	i := slices.IndexFunc(short, func(f plan.Shortfall) bool { return f.Policy == p.Policy })
	switch {
	case i < 0 && p.Booting > 0:
		return shade{caution, "booting"}
	case i < 0:
		return shade{caution, "open"}
	case short[i].GPUs < 0:
		return shade{caution, gapText(&short[i])}
	}
	return shade{bad, gapText(&short[i])}
}

// waits prints what it waits for, worst first, and which holds are beside that. Pauses
// and breakers were told above.
func (t *table) waits(s *control.Status, now time.Time) {
	list := slices.DeleteFunc(slices.Clone(s.Waits), func(w plan.Wait) bool {
		return w.Code == plan.HoldPaused || slices.Contains(plan.BreakerCodes(), w.Code)
	})
	n := min(len(list), mostWaiting)
	if n > 0 {
		t.gap()
		t.row("WAITS", "SINCE", "UNTIL", "CODE", "FOR WHAT")
	}
	for i := range list[:n] {
		w := &list[i]
		t.row(fleet(w.Policy), sinceText(w, now), untilText(w, now), w.Code, cell{shade{waitStyle(w), waitText(w)}, waitHelp(w)})
	}
	if more := len(list) - n + s.MoreWaits; more > 0 {
		t.line("and %s more; --json has them", plural(more, "thing"))
	}
	if text := otherHolds(s); text != "" {
		t.line("not done: %s", text)
	}
}

// waitText says what is waited for, and what happens if it does not come.
func waitText(w *plan.Wait) string {
	text := w.Text
	if w.Machine != "" {
		text = w.Machine + ": " + text
	}
	if w.Then != "" {
		text += "; then " + w.Then
	}
	return text
}

func sinceText(w *plan.Wait, now time.Time) string {
	if w.Since.IsZero() {
		return "-"
	}
	return ago(now.Sub(w.Since))
}

// untilText is how long it may still last; what is overdue waits for the next look.
func untilText(w *plan.Wait, now time.Time) string {
	switch {
	case w.Until.IsZero():
		return "-"
	case w.Until.After(now):
		return "in " + ago(w.Until.Sub(now))
	}
	return "next look"
}

// waitStyle marks what nothing but a person or an answer ends.
func waitStyle(w *plan.Wait) style {
	if slices.Contains(plan.BreakerCodes(), w.Code) || w.Code == plan.HoldContract || w.Code == plan.HoldLedger || w.Code == plan.HoldContainer || w.Code == plan.HoldAlarm {
		return bad
	}
	if w.Until.IsZero() {
		return caution
	}
	return unstyled
}

// unreadHelp is for lists that could not be read: whether TensorDock answers us at all, or
// since when its answers are not to be believed.
func unreadHelp(why string) string {
	if strings.Contains(why, string(market.ClassShapeChanged)) {
		return "tdscaler ledger cycles"
	}
	return "tdscaler auth"
}

// waitHelp is the command that helps with, or tells more of, what is waited for.
func waitHelp(w *plan.Wait) string {
	if slices.Contains(plan.BreakerCodes(), w.Code) {
		return "tdscaler resume"
	}
	switch w.Code {
	case plan.HoldPaused:
		return resuming(w.Policy)
	case plan.HoldLedger:
		return "tdscaler ledger verify"
	case plan.HoldContainer, plan.HoldAlarm, plan.HoldUnlearnt:
		return "tdscaler container list"
	case plan.HoldInstances, plan.HoldHosts, plan.HoldReadyMade:
		return unreadHelp(w.Text)
	case plan.HoldDemand:
		return "tdscaler target"
	case plan.HoldBackoff:
		return "tdscaler ledger hosts"
	case plan.HoldUnanswered, plan.HoldHook, plan.HoldUnknown, plan.HoldRenamed:
		return "tdscaler ledger list"
	}
	return ""
}

// otherHolds counts the holds that are neither waits nor told beside a policy.
func otherHolds(s *control.Status) string {
	told := map[string]bool{}
	for i := range s.Waits {
		told[s.Waits[i].Code+" "+s.Waits[i].Policy] = true
	}
	for i := range s.Short {
		told[s.Short[i].Reason.Code+" "+s.Short[i].Policy] = true
	}
	told[plan.HoldBreaker+" "] = len(s.Breakers) > 0
	n, codes := map[string]int{}, []string{}
	for i := range s.Holds {
		h := &s.Holds[i]
		if told[h.Reason.Code+" "+h.Policy] || told[h.Reason.Code+" "] {
			continue
		}
		if n[h.Reason.Code]++; n[h.Reason.Code] == 1 {
			codes = append(codes, h.Reason.Code)
		}
	}
	if len(codes) == 0 {
		return ""
	}
	for i, c := range codes {
		codes[i] = c + " (" + strconv.Itoa(n[c]) + ")"
	}
	return strings.Join(codes, ", ") + "; \"tdscaler plan\" says why"
}

// pausedText says since when and until when something is paused, and why.
func pausedText(p *plan.Pause, now time.Time) string {
	until := "until resumed"
	if !p.Until.IsZero() {
		until = "until " + stamp(p.Until)
	}
	what := "paused"
	if p.Teardown {
		what = "torn down and paused"
	}
	return fleet(p.Policy) + ": " + what + " " + ago(now.Sub(p.Since)) + " ago, " + until + because(p.Reason)
}

// breakerHolds says what a breaker stops, and until when.
func breakerHolds(b *plan.Breaker) string {
	what, until := ", no growth ", "until resumed"
	if b.All {
		what = ", no writes at all "
	}
	if !b.Until.IsZero() {
		until = "until " + stamp(b.Until)
	}
	return b.Code + what + until
}
