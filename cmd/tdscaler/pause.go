package main

import (
	"cmp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// policyFlag names a policy, as an argument or as --policy.
type policyFlag struct{ name string }

func (p *policyFlag) add(cmd *cobra.Command) {
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.Flags().StringVar(&p.name, "policy", "", "the `POLICY`, as the argument; without either, all")
}

func (p *policyFlag) from(args []string) (string, error) {
	arg := strings.Join(args, "")
	if arg != "" && p.name != "" && arg != p.name {
		return "", usageError("name one policy, not both %s and %s", arg, p.name)
	}
	return cmp.Or(arg, p.name), nil
}

func pauseCommand() *cobra.Command {
	var f deskFlags
	var p policyFlag
	var r control.PauseRequest
	var length time.Duration
	var until string
	cmd := &cobra.Command{
		Use:   "pause [POLICY] --config FILE",
		Short: "Stop every write to the market, for one policy or for all",
		Long: `pause stops buying, rebidding and deleting from the next write on. It is kept in
the ledger and outlives the daemon. Machines that run go on running, and costing;
"tdscaler destroy" ends bills.

When to use it: when it must stop buying now, and what runs is to go on.`,
		Example: "  tdscaler pause --config policies.yaml --for 2h\n  tdscaler pause train --config policies.yaml --reason \"prices are mad\"",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if r.Policy, err = p.from(args); err != nil {
				return err
			}
			if r.Until, err = pauseEnd(length, until); err != nil {
				return err
			}
			return f.at(cmd, func(s *session) error {
				now, err := s.desk.Pause(s.Context(), r)
				if err != nil {
					return err
				}
				return s.printed(now, func(t *table) { t.pausesNow(now) })
			})
		},
	}
	f.add(cmd)
	p.add(cmd)
	fl := cmd.Flags()
	fl.DurationVar(&length, "for", 0, "how long, such as 2h")
	fl.StringVar(&until, "until", "", "until this `TIME`: a date, or RFC 3339")
	fl.StringVar(&r.Reason, "reason", "", "`WHY`, for whoever reads it later")
	cmd.MarkFlagsMutuallyExclusive("for", "until")
	return cmd
}

// pauseEnd is when a pause ends; zero is never.
func pauseEnd(length time.Duration, until string) (time.Time, error) {
	switch {
	case length < 0:
		return time.Time{}, usageError("--for must not be negative")
	case length > 0:
		return clock.System{}.Now().Add(length), nil
	case until != "":
		return pointInTime("--until", until, 1)
	}
	return time.Time{}, nil
}

func (t *table) pausesNow(all []plan.Pause) {
	if len(all) == 0 {
		t.line("nothing is paused")
		return
	}
	t.line("paused; machines that run go on running, and costing:")
	t.pauses(all, clock.System{}.Now())
}

func resumeCommand() *cobra.Command {
	var f deskFlags
	var p policyFlag
	var r control.ResumeRequest
	cmd := &cobra.Command{
		Use:   "resume [POLICY] --config FILE",
		Short: "End the pause of a policy, or every pause, and close the breakers",
		Long: `resume ends the pause of one policy; without a policy, every pause, and closes
open breakers. The pause that "tdscaler destroy" left behind ends too: the policy is
bought for again.

When to use it: after a pause, after destroy, and when the cause of a breaker is gone.`,
		Example: "  tdscaler resume train --config policies.yaml",
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if r.Policy, err = p.from(args); err != nil {
				return err
			}
			return f.at(cmd, func(s *session) error {
				done, err := s.desk.Resume(s.Context(), r)
				if err != nil {
					return err
				}
				return s.printed(done, func(t *table) { t.resumed(&done) })
			})
		},
	}
	f.add(cmd)
	p.add(cmd)
	return cmd
}

func (t *table) resumed(r *control.Resumed) {
	if len(r.Pauses)+len(r.Breakers) == 0 {
		t.line("there was nothing to resume")
	}
	for _, p := range r.Pauses {
		what := "pause"
		if p.Teardown {
			what = "teardown and pause"
		}
		t.line("ended the %s of %s%s", what, fleet(p.Policy), because(p.Reason))
	}
	for _, b := range r.Breakers {
		t.line("closed the breaker %s: %s", b.Code, b.Reason)
	}
	t.pausesNow(r.Left)
}
