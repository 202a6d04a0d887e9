package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
)

func protectCommand() *cobra.Command {
	var f deskFlags
	var r control.ProtectRequest
	var length time.Duration
	cmd := &cobra.Command{
		Use:   "protect MACHINE --config FILE",
		Short: "Keep a machine from being given up, for a while or until --none",
		Long: `protect keeps a machine from being given up for what can wait: one too many, spot is
ready, moved, no longer matching. One that is draining stays too. It is kept in the
ledger. Caps, a price above the ceiling and "tdscaler destroy" win over it.

When to use it: when a machine does something that should not be lost.`,
		Example: "  tdscaler protect tds-main-train-a1b2c3d4 --for 2h --config policies.yaml\n  tdscaler protect tds-main-train-a1b2c3d4 --none --config policies.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Machine = args[0]
			switch {
			case length < 0:
				return usageError("--for must not be negative")
			case length > 0:
				r.Until = clock.System{}.Now().Add(length)
			}
			return f.at(cmd, func(s *session) error {
				m, err := s.desk.Protect(s.Context(), r)
				if err != nil {
					return err
				}
				return s.printed(m, func(t *table) { t.protection(&m) })
			})
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.DurationVar(&length, "for", 0, "how long, such as 2h; without it, until --none")
	fl.BoolVar(&r.None, "none", false, "protect it no longer")
	fl.StringVar(&r.Reason, "reason", "", "`WHY`, for whoever reads it later")
	cmd.MarkFlagsMutuallyExclusive("for", "none")
	cmd.MarkFlagsMutuallyExclusive("reason", "none")
	return cmd
}

func (t *table) protection(m *control.Machine) {
	switch {
	case m.Shield == nil:
		t.line("%s is not protected", m.Name)
	case m.Shield.Until.IsZero():
		t.line("%s is protected%s", m.Name, because(m.Shield.Reason))
	default:
		t.line("%s is protected until %s%s", m.Name, m.Shield.Until.UTC().Format(time.RFC3339), because(m.Shield.Reason))
	}
}
