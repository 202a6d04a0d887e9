package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func planCommand() *cobra.Command {
	var f deskFlags
	var fresh, detailed bool
	cmd := &cobra.Command{
		Use:   "plan --config FILE",
		Short: "Print what would be done, why, and the cost before and after; nothing is changed",
		Long: `plan says what the daemon would do under this file, which need not be the file
the daemon runs on. A running daemon plans on its last look at the market, whose
age is printed; --fresh waits for its next one. Without a daemon, plan looks at the
market itself, with a connection that cannot write, and leaves no ledger behind.

It may ask the market which bids would win; asking reserves nothing.

When to use it: before a changed file goes live, and to see what the daemon is about
to do.`,
		Example: "  tdscaler plan --config policies.yaml\n  tdscaler plan --config policies.yaml --json --fresh",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var p control.Plan
			err := f.at(cmd, func(s *session) (err error) {
				p, err = s.desk.Plan(s.Context(), s.planRequest(fresh))
				if err != nil {
					return err
				}
				return s.printed(p, func(t *table) { t.plan(&p) })
			})
			return planResult(err, &p, detailed)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&fresh, "fresh", false, "wait for the daemon's next look at the market")
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit 2 when there is something to do, 0 when there is nothing")
	return cmd
}

func (s *session) planRequest(fresh bool) control.PlanRequest {
	return control.PlanRequest{Path: s.cfg.Path, File: s.cfg.Raw, Fresh: fresh}
}

func planResult(err error, p *control.Plan, detailed bool) error {
	switch {
	case err != nil:
		return err
	case p.Problem != "":
		return errors.New("the market could not be read: " + clean(p.Problem))
	case detailed && len(p.Actions)+len(p.Drains) > 0:
		return &codedError{code: exitUsage} // as others do: 0 nothing, 1 failed, 2 something to do
	}
	return nil
}

// plan prints a plan at a glance: the sum, the policies, what would be done and
// what would not.
func (t *table) plan(p *control.Plan) {
	t.line("mode %s; the market was looked at %s ago; %s now, %s after", p.Mode, seconds(p.AgeSeconds), p.Before, p.After)
	if p.Problem != "" {
		t.say(bad, "incomplete: %s", p.Problem)
	}
	t.gap()
	t.standings(p.Policies)
	t.gap()
	t.actions(p.Actions)
	t.notDone(p.Holds)
	t.asked(p.Verdicts)
	t.shadows(p.Shadows)
	for i := range p.Shadows {
		if s := &p.Shadows[i]; len(s.Actions) > 0 {
			t.gap()
			t.line("%s is a shadow; it would do this, and does not:", s.Policy)
			t.actionRows(s.Actions)
		}
	}
}

func (t *table) actions(all []plan.Action) {
	if len(all) == 0 {
		t.line("nothing to do")
		return
	}
	t.line("to do, in this order:")
	t.actionRows(all)
}

func (t *table) actionRows(all []plan.Action) {
	t.row("ACTION", "POLICY", "MACHINE", "GPUS", "PLACE", "BID", "RATE", "WHY")
	for i := range all {
		a := &all[i]
		where := a.Location.String()
		if where == "" {
			where = a.Host
		}
		t.row(a.Kind, a.Policy, a.Machine, sized(a.Kind, a.Replicas, gpus(a.Model, a.Shape)), where, bid(a.Bid), a.Rate, a.Reason.Code+": "+a.Reason.Text)
	}
}

func (t *table) asked(vs []market.Verdict) {
	if len(vs) == 0 {
		return
	}
	n := map[market.Answer]int{}
	for _, v := range vs {
		n[v.Answer]++
	}
	t.gap()
	t.line("%s about bids: %d accepted, %d refused, %d without an answer",
		plural(len(vs), "question"), n[market.Accepted], n[market.Refused], n[market.Silent])
}
