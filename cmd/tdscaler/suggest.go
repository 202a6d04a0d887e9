package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

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
	if s := meant(similar(word, f.Known)); s != "" {
		return s
	}
	return "; there are " + strings.Join(f.Known, ", ")
}

// flagMeant names the flag that was probably meant by one that there is not.
func flagMeant(c *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return ""
	}
	var all []string
	c.Flags().VisitAll(func(f *pflag.Flag) { all = append(all, f.Name) })
	found := similar(unknown.GetSpecifiedName(), all)
	for i := range found {
		found[i] = "--" + found[i]
	}
	return meant(found)
}

// similar are cobra's own suggestions, with other names for commands.
func similar(word string, names []string) []string {
	all := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, name := range names {
		all.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	return all.SuggestionsFor(word)
}

func meant(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", strings.Join(names, " or "))
}
