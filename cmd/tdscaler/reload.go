package main

import (
	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/control"
)

func reloadCommand() *cobra.Command {
	var f deskFlags
	cmd := &cobra.Command{
		Use:   "reload --config FILE",
		Short: "Make the running daemon read its file again, as SIGHUP does",
		Long: `reload makes the daemon read the file it was started with again. It confirms a
change that the daemon found on disk and held because it removes a policy with
machines or more than halves a target. A file with an error changes nothing: the
last good one stays in use, and reload exits 2.

When to use it: after an edit, to know at once whether it was taken, and to confirm
a change that status shows as held.`,
		Example: "  tdscaler reload --config policies.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.at(cmd, func(s *session) error {
				r, err := s.desk.Reload(s.Context(), control.ReloadRequest{})
				if err != nil {
					return err
				}
				return s.printed(r, func(t *table) { t.line("the daemon uses %s (%s)", r.Config, r.Hash) })
			})
		},
	}
	f.add(cmd)
	return cmd
}
