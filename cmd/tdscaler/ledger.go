package main

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func ledgerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ledger",
		Short: "Read the ledger: what was decided and done, and why; check it, copy it",
		Long: `The ledger holds every write to the market with its reason and outcome, every cycle,
what was spent, and what is remembered. Its commands work with and without a daemon.

When to use it: to know why something happened, to back it up, to take it elsewhere.`,
		Example: "  tdscaler ledger list --config policies.yaml --since 24h\n  tdscaler ledger backup /backup/tdscaler.db --config policies.yaml",
		Args:    groupArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(ledgerListCommand(), ledgerShowCommand(), ledgerCyclesCommand(), ledgerCycleCommand(),
		ledgerVerifyCommand(), ledgerBackupCommand(), ledgerExportCommand(), ledgerCompactCommand(), ledgerHostsCommand())
	return cmd
}

func ledgerListCommand() *cobra.Command {
	var f deskFlags
	var r control.IntentsRequest
	var action, state, since string
	cmd := &cobra.Command{
		Use:   "list --config FILE",
		Short: "List the intents, newest first: each write to the market, why, and what became of it",
		Long: `list shows the intents. An intent is written before each write to the market, and
then says what became of it; docs/cli.md has the states.

When to use it: to know why a machine was bought or deleted, and what is unsettled.`,
		Example: `  tdscaler ledger list --config policies.yaml --since 24h
  tdscaler ledger list --config policies.yaml --open --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			r.Action, r.State = plan.ActionKind(action), plan.IntentState(state)
			if err := checkFilter(&r, since); err != nil {
				return err
			}
			return f.at(cmd, func(s *session) error {
				found, err := s.desk.Intents(s.Context(), r)
				if err != nil {
					return err
				}
				return s.printed(found, func(t *table) { t.intents(found, clock.System{}.Now()) })
			})
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&r.Policy, "policy", "", "only of this `POLICY`")
	fl.StringVar(&action, "action", "", "only of this `KIND`: "+words(plan.ActionKinds()))
	fl.StringVar(&state, "state", "", "only in this `STATE`: "+words(intentStates()))
	fl.StringVar(&r.Machine, "machine", "", "only of this machine, by `NAME`")
	fl.StringVar(&since, "since", "", "only since this `TIME`: a duration back (24h), a date, or RFC 3339")
	fl.IntVar(&r.Limit, "limit", 0, "only the newest `N`; 0 is all")
	fl.BoolVar(&r.Open, "open", false, "only those that are not settled")
	return cmd
}

func intentStates() []plan.IntentState {
	return []plan.IntentState{
		plan.IntentOpen, plan.IntentAccepted, plan.IntentUnknown, plan.IntentConfirmed,
		plan.IntentRefused, plan.IntentFailed, plan.IntentExpired, plan.IntentShadow,
	}
}

func words[T ~string](all []T) string {
	s := make([]string, len(all))
	for i, w := range all {
		s[i] = string(w)
	}
	return strings.Join(s, ", ")
}

func checkFilter(r *control.IntentsRequest, since string) (err error) {
	if r.Action != "" && !slices.Contains(plan.ActionKinds(), r.Action) {
		return usageError("--action is one of %s, not %q", words(plan.ActionKinds()), r.Action)
	}
	if r.State != "" && !slices.Contains(intentStates(), r.State) {
		return usageError("--state is one of %s, not %q", words(intentStates()), r.State)
	}
	if r.Limit < 0 {
		return usageError("--limit must not be negative")
	}
	if since != "" {
		r.Since, err = pointInTime("--since", since, -1)
	}
	return err
}

// pointInTime reads RFC 3339, a date (UTC), or a duration from now on (sign 1) or
// back (sign -1).
func pointInTime(flag, s string, sign time.Duration) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return time.Time{}, usageError("%s is a duration (24h), a date (2026-01-31) or a time (2026-01-31T03:00:00Z), not %q", flag, s)
	}
	return clock.System{}.Now().Add(sign * d), nil
}

func (t *table) intents(all []plan.Intent, now time.Time) {
	if len(all) == 0 {
		t.line("no intents")
		return
	}
	t.row("ID", "AGE", "ACTION", "STATE", "POLICY", "MACHINE", "GPUS", "BID", "WHY")
	for i := range all {
		in := &all[i]
		why := in.Reason.Code + ": " + in.Reason.Text
		if in.Detail != "" {
			why += " [" + in.Detail + "]"
		}
		t.row(in.ID, ago(now.Sub(in.At)), in.Kind, shaded(in.State, intentStyle), in.Policy, in.Machine, sized(in.Kind, in.Replicas, gpus(in.Model, in.Shape)), bid(in.Bid), why)
	}
}

func ledgerShowCommand() *cobra.Command {
	var f deskFlags
	cmd := &cobra.Command{
		Use:   "show ID --config FILE",
		Short: "Show one intent in full",
		Long: `show prints one intent in full: what was asked for, why, at which bid, and when it
was answered and settled.

When to use it: after "ledger list", which shows the IDs.`,
		Example: "  tdscaler ledger show 17 --config policies.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := number("ID", args[0])
			if err != nil {
				return err
			}
			return f.at(cmd, func(s *session) error {
				in, err := s.desk.Intent(s.Context(), control.IntentRequest{ID: id})
				if err != nil {
					return err
				}
				return s.printed(in, func(t *table) { t.intent(&in) })
			})
		},
	}
	f.add(cmd)
	return cmd
}

func number(what, s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, usageError("%s is a number, not %q", what, s)
	}
	return n, nil
}

func (t *table) intent(in *plan.Intent) {
	t.row("intent", in.ID)
	t.row("action", in.Kind)
	t.row("state", shaded(in.State, intentStyle))
	t.row("why", in.Reason.Code+": "+in.Reason.Text)
	t.row("detail", in.Detail)
	t.row("policy", in.Policy)
	t.row("machine", in.Machine)
	t.row("instance", in.Instance)
	t.row("host", in.Host)
	t.row("gpus", gpus(in.Model, in.Shape))
	t.row("shape", shapeText(in.Shape))
	if in.Kind.Contains() {
		t.row("replicas sent", in.Replicas)
	}
	t.row("capacity", in.Capacity)
	t.row("bid", bid(in.Bid))
	t.row("reserved", in.Reserved)
	t.row("agreed", maybe(in.Agreed))
	t.row("cycle", in.Cycle)
	t.row("written", stamp(in.At))
	t.row("answered", stamp(in.AnswerAt))
	t.row("settled", stamp(in.SettledAt))
}

func shapeText(s market.Shape) string {
	return strconv.Itoa(s.VCPUs) + " vCPUs, " + strconv.Itoa(s.RAM) + " GB RAM, " + strconv.Itoa(s.Storage) + " GB storage"
}

func maybe[T interface{ String() string }](m market.Maybe[T]) string {
	v, ok := m.Get()
	if !ok {
		return "unknown"
	}
	return v.String()
}

func ledgerCyclesCommand() *cobra.Command {
	var f deskFlags
	var r control.CyclesRequest
	cmd := &cobra.Command{
		Use:   "cycles --config FILE",
		Short: "List the cycles, newest first",
		Long: `cycles lists what each cycle came to: how long it took, GPUs of how many wanted, what
was planned and done, and its problem.

When to use it: to find the cycle in which something began.`,
		Example: "  tdscaler ledger cycles --config policies.yaml --limit 20",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.Limit < 0 {
				return usageError("--limit must not be negative")
			}
			return f.at(cmd, func(s *session) error {
				found, err := s.desk.Cycles(s.Context(), r)
				if err != nil {
					return err
				}
				return s.printed(found, func(t *table) { t.cycles(found, clock.System{}.Now()) })
			})
		},
	}
	f.add(cmd)
	cmd.Flags().IntVar(&r.Limit, "limit", 50, "only the newest `N`; 0 is all")
	return cmd
}

func (t *table) cycles(all []ledger.ReportSummary, now time.Time) {
	if len(all) == 0 {
		t.line("no cycles")
		return
	}
	t.row("CYCLE", "AGE", "TOOK", "MODE", "GPUS", "PLANNED", "DONE", "HOLDS", "QUESTIONS", "RATE", "PROBLEM")
	for _, s := range all {
		t.row(s.Cycle, ago(now.Sub(s.StartedAt)), s.FinishedAt.Sub(s.StartedAt).Round(time.Millisecond), s.Mode,
			strconv.Itoa(s.Ready)+" of "+strconv.Itoa(s.Target), s.Actions, s.Intents, s.Holds, s.Questions, s.Before, s.Problem)
	}
}

func ledgerCycleCommand() *cobra.Command {
	var f deskFlags
	cmd := &cobra.Command{
		Use:   "cycle N --config FILE",
		Short: "Show one cycle: what was seen, decided and done; \"last\" is the newest",
		Long: `cycle shows what was seen, learned, decided and done in one cycle. Its JSON holds all
that the planner was given, so that it can be planned again.

When to use it: to see why something was decided at that time.`,
		Example: "  tdscaler ledger cycle last --config policies.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n := uint64(0)
			if args[0] != "last" {
				var err error
				if n, err = number("N", args[0]); err != nil {
					return err
				}
				if n == 0 {
					return usageError("cycles are numbered from 1")
				}
			}
			return f.at(cmd, func(s *session) error {
				r, err := s.desk.Cycle(s.Context(), control.CycleRequest{Cycle: n})
				if err != nil {
					return err
				}
				p := &r.Plan
				p.Actions, p.Holds, p.Questions = listed(p.Actions), listed(p.Holds), listed(p.Questions)
				return s.printed(r, func(t *table) { t.cycle(&r) })
			})
		},
	}
	f.add(cmd)
	return cmd
}

// listed is a list that JSON shows as one, also where it has nothing in it.
func listed[T any](all []T) []T { return append([]T{}, all...) }

func (t *table) cycle(r *plan.Report) {
	s := &r.Input.Snapshot
	t.line("cycle %d, %s, took %s, mode %s", r.Cycle, stamp(r.StartedAt), r.FinishedAt.Sub(r.StartedAt).Round(time.Millisecond), r.Mode)
	if r.Problem != "" {
		t.say(bad, "problem: %s", r.Problem)
	}
	t.line("seen: %s, %s, balance %s", countOf(len(s.Hosts.Value), "host", s.Hosts.Complete),
		countOf(len(s.Instances.Value), "machine", s.Instances.Complete), owned(s.Balance.Value.Balance))
	t.line("%s reserved before, %s after", r.Plan.Before, r.Plan.After)
	t.gap()
	t.standings(r.Plan.Standings)
	if len(r.Events) > 0 {
		t.gap()
		t.line("learned:")
		t.events(r.Events)
	}
	t.gap()
	t.line("last plan of the cycle:")
	t.actions(r.Plan.Actions)
	if len(r.Plan.Holds) > 0 {
		t.gap()
		t.line("not done:")
		t.holds(r.Plan.Holds)
	}
	t.asked(r.Input.Verdicts)
	t.shadows(r.Shadows)
	if len(r.Intents) > 0 {
		t.gap()
		t.line("done:")
		newest := slices.Clone(r.Intents)
		slices.SortFunc(newest, func(a, b plan.Intent) int { return cmp.Compare(b.ID, a.ID) })
		t.intents(newest, r.FinishedAt)
	}
}

func (t *table) events(all []plan.Event) {
	t.row("EVENT", "POLICY", "MACHINE", "WHAT")
	for _, e := range all {
		t.row(e.Kind, fleet(e.Policy), e.Machine, e.Text)
	}
}

// countOf tells a count, or that the list could not be read.
func countOf(n int, word string, complete bool) string {
	if !complete {
		return "the list of " + word + "s could not be read"
	}
	return plural(n, word)
}
