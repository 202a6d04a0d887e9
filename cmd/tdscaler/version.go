package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/daemon"
)

func versionCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `version prints the version, the revision it was built from, and the Go it was built
with.

When to use it: in every report of a bug.`,
		Example: "  tdscaler version\n  tdscaler version --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b := daemon.Build()
			if asJSON {
				return printJSON(cmd.OutOrStdout(), b)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "tdscaler %s (revision %s, %s)\n", b.Version, b.Revision, b.Go)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}
