package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/actuator"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/scanner"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

// The live market runs containers: without these methods it would be taken for one that
// does not.
var (
	_ actuator.ContainerWriter = (*tensordock.Client)(nil)
	_ scanner.ContainerReader  = (*tensordock.Reader)(nil)
)

func containerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "container",
		Short: "List containers, or say what a container in doubt is",
		Long: `TensorDock lists no containers: what is known of them is in the ledger.

When to use it: where a policy has "kind: container".`,
		Example: "  tdscaler container list --config policies.yaml",
		Args:    groupArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(containerListCommand(), containerAdoptCommand())
	return cmd
}

func containerListCommand() *cobra.Command {
	var f deskFlags
	var r control.MachinesRequest
	cmd := &cobra.Command{
		Use:   "list --config FILE",
		Short: "List the containers we have, with their replicas",
		Long: `list shows what is in the books: every container that exists or may exist, how many
replicas run of how many were asked for, what one may cost, and where each replica is.

When to use it: to see whether replicas run, and what is in doubt.`,
		Example: "  tdscaler container list --config policies.yaml --policy web",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.at(cmd, func(s *session) error {
				found, err := s.desk.Containers(s.Context(), r)
				if err != nil {
					return err
				}
				return s.printed(found, func(t *table) {
					if len(found) == 0 {
						t.line("no containers")
					}
					t.containers(found)
				})
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&r.Policy, "policy", "", "only of this `POLICY`")
	return cmd
}

func containerAdoptCommand() *cobra.Command {
	var f deskFlags
	var a daemon.Adoption
	cmd := &cobra.Command{
		Use:   "adopt POLICY ID|--none --config FILE",
		Short: "Say which container is a policy's, or that there is none",
		Long: `adopt closes the alarm of a container: the market lists none, so that after an answer
that was lost, or that named no id, only you can find out on its dashboard whether it
exists.

With an id, which is looked up first, the container is the policy's from now on, and
what was in doubt about it ends. With --none it does not exist: what was held for it is
free, and a new one is ordered where the policy wants one. The ledger alone is changed.

When to use it: when status shows container_unknown or container_alarm.`,
		Example: "  tdscaler container adopt web 0a1b2c3d-0000-4000-8000-000000000000 --config policies.yaml\n  tdscaler container adopt web --none --config policies.yaml",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.Policy = args[0]
			if len(args) > 1 {
				a.ID = args[1]
			}
			switch {
			case (a.ID == "") != a.None:
				return usageError("name the container's id, or say --none\nSee %q.", cmd.CommandPath()+" --help")
			case a.Replicas < 0 || a.None && a.Replicas > 0:
				return usageError("--replicas goes with an id, and must not be negative")
			}
			return f.at(cmd, func(s *session) error {
				c, err := s.desk.AdoptContainer(s.Context(), a)
				if err != nil {
					return err
				}
				return s.printed(c, func(t *table) {
					if a.None {
						t.line("%s is forgotten: %s are no longer held for it", c.Name, c.Reserved)
						return
					}
					t.line("%s is the container of %s: %s replicas, %s held for it", a.ID, a.Policy, c.Count(), c.Reserved)
				})
			})
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&a.None, "none", false, "there is no such container")
	fl.IntVar(&a.Replicas, "replicas", 0, "how many replicas, `N`, it was asked for; default: as ordered, or as many as there are")
	return cmd
}

// containers prints the containers, if there are any, and their replicas.
func (t *table) containers(all []control.Container) {
	if len(all) == 0 {
		return
	}
	t.row("CONTAINER", "POLICY", "STATUS", "ID", "REPLICAS", "GPUS", "BURN", "RESERVED", "AGE", "IMAGE")
	for i := range all {
		c := &all[i]
		t.row(c.Name, c.Policy, c.Summary(), c.ID, c.Count(), fmt.Sprintf("%d each", c.Shape.GPUs), c.Burn, c.Reserved, seconds(c.AgeSeconds), c.Image)
	}
	first := true
	for i := range all {
		for _, r := range all[i].Replicas {
			if first {
				t.gap()
				t.row("REPLICA", "CONTAINER", "STATUS", "ADDRESS", "PORTS", "RATE")
				first = false
			}
			t.row(r.Machine, all[i].Name, string(r.Status), r.IP, portsText(r.Ports), maybe(r.Rate))
		}
	}
}
