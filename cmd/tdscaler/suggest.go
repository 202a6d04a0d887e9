package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/control"
)

// groupArgs refuses a word that is no subcommand, and says which were meant.
func groupArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2
	return usageError("there is no command %q%s\nSee %q.", cmd.CommandPath()+" "+args[0], meant(cmd.SuggestionsFor(args[0])), cmd.CommandPath()+" --help")
}

// didYouMean names the policy that was probably meant, or all there are.
func didYouMean(word string, f *control.Fault) string {
	if len(f.Known) == 0 {
		return "; there are no policies"
	}
	// cobra's own suggestions, with policies for commands.
	all := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, name := range f.Known {
		all.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	if s := meant(all.SuggestionsFor(word)); s != "" {
		return s
	}
	return "; there are " + strings.Join(f.Known, ", ")
}

func meant(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", strings.Join(names, " or "))
}
