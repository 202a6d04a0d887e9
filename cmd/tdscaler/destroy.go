package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
)

// destroyFlags are what destroy was told.
type destroyFlags struct {
	deskFlags
	all, yes bool
	now      bool
	reason   string
	timeout  time.Duration
}

func destroyCommand() *cobra.Command {
	var f destroyFlags
	cmd := &cobra.Command{
		Use:   "destroy POLICY|--all --config FILE --yes",
		Short: "Delete the machines of a policy, or all, now: this ends their bills",
		Long: `destroy deletes the machines of a policy, or with --all every machine of ours, at
once: while paused, with an open breaker, with or without a daemon. It leaves the
policy paused, so that nothing is bought again before "tdscaler resume"; while that
pause lasts, a running daemon deletes what shows up late.

What its policy drains is drained first by a running daemon, unless --now: it calls
the hook, and deletes after the grace, or at the drain's deadline.

It then looks at the market until the machines are gone, and says which are not
confirmed. What is on their disks is lost. Without --yes it only lists what it would
delete.

When to use it: to end bills now.`,
		Example: "  tdscaler destroy train --config policies.yaml --yes\n  tdscaler destroy --all --config policies.yaml --yes --reason \"bill too high\"",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := strings.Join(args, "")
			if (name == "") != f.all {
				return usageError("name one policy, or say --all\nSee %q.", cmd.CommandPath()+" --help")
			}
			if !f.yes {
				return f.wouldDestroy(cmd, name)
			}
			found, err := findConfig(f.config, os.Getenv)
			if err == nil {
				err = toldWhich(found, "destroy")
			}
			if err != nil {
				return err
			}
			return f.destroy(cmd, name)
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&f.all, "all", false, "every machine of ours, whatever its policy")
	fl.BoolVar(&f.yes, "yes", false, "really delete")
	fl.BoolVar(&f.now, "now", false, "delete at once also what its policy drains first")
	fl.StringVar(&f.reason, "reason", "", "`WHY`, for whoever reads it later")
	fl.DurationVar(&f.timeout, "timeout", 2*time.Minute, "how long to look until the machines are gone, once their deletion was asked for")
	return cmd
}

// wouldDestroy lists what a --yes would delete.
func (f *destroyFlags) wouldDestroy(cmd *cobra.Command, name string) error {
	err := f.at(cmd, func(s *session) error {
		found, err := s.desk.Machines(s.Context(), control.MachinesRequest{Policy: name})
		if err != nil {
			return err
		}
		boxes, err := s.desk.Containers(s.Context(), control.MachinesRequest{Policy: name})
		if err != nil {
			return err
		}
		return s.printed(found, func(t *table) {
			var burn market.Rate
			for i := range found {
				burn = burn.Add(found[i].Burn)
			}
			for i := range boxes {
				burn = burn.Add(boxes[i].Burn)
			}
			what := plural(len(found), "machine")
			if len(boxes) > 0 {
				what += " and " + plural(len(boxes), "container")
			}
			t.line("would delete %s, which cost %s now", what, burn)
			t.machines(found)
			t.containers(boxes)
		})
	})
	if err != nil {
		return err
	}
	return usageError("nothing was deleted: add --yes")
}

func (f *destroyFlags) destroy(cmd *cobra.Command, name string) error {
	var sum control.Destruction
	err := f.at(cmd, func(s *session) (err error) {
		r := control.DestroyRequest{Policy: name, Reason: f.reason, Now: f.now}
		if sum, err = control.Teardown(s.Context(), clock.System{}, s.desk, r, f.timeout); err != nil {
			return err
		}
		return s.printed(sum, func(t *table) { t.destruction(name, &sum) })
	})
	switch {
	case err != nil && cmd.Context().Err() != nil:
		return errors.New("interrupted: what was asked for is pausing or deleted already; run destroy again to finish")
	case err != nil:
		return err
	case sum.Problem != "":
		return errors.New(clean(sum.Problem))
	case len(sum.Unconfirmed) > 0:
		return fmt.Errorf("not confirmed to be gone: %s; they may still cost money: run destroy again (--now, if they drain), or look at the dashboard", strings.Join(sum.Unconfirmed, ", "))
	}
	return nil
}

func (t *table) destruction(name string, d *control.Destruction) {
	if len(d.Machines) > 0 {
		t.row("MACHINE", "INSTANCE", "OUTCOME", "DETAIL")
	}
	for _, m := range d.Machines {
		t.row(m.Machine, m.Instance, m.Outcome, m.Detail)
	}
	if len(d.Unconfirmed) == 0 && d.Problem == "" {
		t.line("no machine is left of %s", fleet(name))
	}
	t.line("%s stays paused until \"tdscaler resume%s\"", fleet(name), suffix(name))
}

// suffix is the argument that names a policy, with its space.
func suffix(name string) string {
	if name == "" {
		return ""
	}
	return " " + name
}
