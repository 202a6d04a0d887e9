package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/demand"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func targetCommand() *cobra.Command {
	var f deskFlags
	cmd := &cobra.Command{
		Use:   "target --config FILE",
		Short: "Say what every policy wants now and why, or set a target by hand",
		Long: `target lists the target of every policy and what it comes from: the number in the
file, a window of its schedule, a signal, or somebody's hand. Nobody is asked for it:
it is what the daemon knows.

When to use it: to see why a policy wants what it wants, and to change that for a
while without an edit.`,
		Example: "  tdscaler target --config policies.yaml\n  tdscaler target set train 16 --for 2h --config policies.yaml\n  tdscaler target clear train --config policies.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.at(cmd, func(s *session) error {
				all, err := s.desk.Targets(s.Context(), control.TargetsRequest{})
				if err != nil {
					return err
				}
				return s.printed(all, func(t *table) { t.targets(all) })
			})
		},
	}
	f.add(cmd)
	cmd.AddCommand(targetSetCommand(), targetClearCommand())
	return cmd
}

// byHandFor is how long a target that is set by hand holds, unless told otherwise.
const byHandFor = time.Hour

func targetSetCommand() *cobra.Command {
	var f deskFlags
	var r control.SetTargetRequest
	var length time.Duration
	var until string
	cmd := &cobra.Command{
		Use:   "set POLICY N --config FILE",
		Short: "Set a policy's target by hand, for an hour unless told otherwise",
		Long: `set makes N GPUs the target of a policy, whatever its number, schedule and signals
say, until it ends. N is never above the policy's target.max (or, without one, the
greatest number of the file): what a policy may cost is written in the file alone. It
is kept in the ledger, outlives the daemon, and ends when its time is over, when it is
cleared, or when the policy leaves the file.

When to use it: for more machines tonight, or none.`,
		Example: "  tdscaler target set train 16 --for 2h --reason \"deadline\" --config policies.yaml",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			r.Policy = args[0]
			if r.N, err = strconv.Atoi(args[1]); err != nil || r.N < 0 {
				return usageError("N must be a whole number, not %q", args[1])
			}
			if r.Until, err = overrideEnd(length, until, r.Forever); err != nil {
				return err
			}
			return f.at(cmd, func(s *session) error {
				o, err := s.desk.SetTarget(s.Context(), r)
				if err != nil {
					return err
				}
				return s.printed(o, func(t *table) { t.targets([]demand.Outcome{o}) })
			})
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.DurationVar(&length, "for", 0, "how long, such as 2h (default 1h)")
	fl.StringVar(&until, "until", "", "until this `TIME`: a date, or RFC 3339")
	fl.BoolVar(&r.Forever, "forever", false, "until it is cleared")
	fl.BoolVar(&r.Instances, "instances", false, "N counts machines, not GPUs")
	fl.StringVar(&r.Reason, "reason", "", "`WHY`, for whoever reads it later")
	cmd.MarkFlagsMutuallyExclusive("for", "until", "forever")
	return cmd
}

func overrideEnd(length time.Duration, until string, forever bool) (time.Time, error) {
	switch {
	case length < 0:
		return time.Time{}, usageError("--for must not be negative")
	case forever:
		return time.Time{}, nil
	case until != "":
		return pointInTime("--until", until, 1)
	case length == 0:
		length = byHandFor
	}
	return clock.System{}.Now().Add(length), nil
}

func targetClearCommand() *cobra.Command {
	var f deskFlags
	var p policyFlag
	cmd := &cobra.Command{
		Use:   "clear [POLICY] --config FILE",
		Short: "End the target that was set by hand, of a policy or of all",
		Long: `clear ends what "target set" set: number, schedule and signals say again what is
wanted.

When to use it: when what was set by hand is needed no longer.`,
		Example: "  tdscaler target clear train --config policies.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := p.from(args)
			if err != nil {
				return err
			}
			return f.at(cmd, func(s *session) error {
				done, err := s.desk.ClearTarget(s.Context(), control.ClearTargetRequest{Policy: name})
				if err != nil {
					return err
				}
				return s.printed(done, func(t *table) { t.cleared(&done) })
			})
		},
	}
	f.add(cmd)
	p.add(cmd)
	return cmd
}

func (t *table) cleared(c *control.Cleared) {
	if len(c.Ended) == 0 {
		t.line("there was nothing to clear")
	}
	for _, o := range c.Ended {
		t.line("ended the target of %s: %s%s", o.Policy, plural(o.GPUs, "GPU"), because(o.Reason))
	}
	t.gap()
	t.targets(c.Targets)
}

func (t *table) targets(all []demand.Outcome) {
	if len(all) == 0 {
		t.line("no policies")
		return
	}
	t.row("POLICY", "TARGET", "MIN", "MAX", "FROM", "WHY")
	for i := range all {
		o := &all[i]
		t.row(o.Policy, o.GPUs, o.Min, o.Max, string(o.Source), o.Why)
		if len(o.Parts) > 1 || o.Override != nil {
			for _, p := range o.Parts {
				t.row("", p.GPUs, "", "", string(p.Source), p.Why)
			}
		}
	}
}

// moved says below a table of standings why targets that can move are where they are.
func (t *table) moved(all []plan.Standing) {
	first := true
	for i := range all {
		if o := all[i].Demand; o != nil {
			if first {
				t.gap()
			}
			first = false
			t.line("%s wants %s: %s", o.Policy, plural(o.GPUs, "GPU"), o.Why)
		}
	}
}

// demandOf is why the target of the policy that is explained is what it is.
func demandOf(e *control.Explanation) *demand.Outcome {
	for i := range e.Policies {
		if e.Policies[i].Policy == e.Policy.Name {
			return e.Policies[i].Demand
		}
	}
	return nil
}

// because prints what a target that moves comes from, each part of it.
func (t *table) because(o *demand.Outcome) {
	if o == nil {
		return
	}
	t.row("because", o.Why)
	t.row("bounds", fmt.Sprintf("at least %d and at most %s", o.Min, plural(o.Max, "GPU")))
	for _, p := range o.Parts {
		t.row("of", plural(p.GPUs, "GPU")+": "+p.Why)
	}
}
