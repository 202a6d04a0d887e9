package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// configFlag adds --config, required.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", "", "the configuration `FILE` (required)")
	_ = cmd.MarkFlagRequired("config") // fails only for a flag that does not exist
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
}

// loadConfig loads a file and tells every problem on errw. Errors in the file
// are exit code 2.
func loadConfig(path string, errw io.Writer) (daemon.Config, error) {
	c, problems, err := daemon.LoadConfig(path)
	printProblems(errw, problems)
	switch {
	case errors.Is(err, daemon.ErrConfig):
		return c, &codedError{exitUsage, fmt.Errorf("%s: %s", path, countProblems(problems))}
	case err != nil:
		return c, &codedError{exitUsage, err}
	}
	return c, nil
}

func printProblems(w io.Writer, ps []policy.Problem) {
	for _, p := range ps {
		fmt.Fprintln(w, p)
	}
}

func countProblems(ps []policy.Problem) string {
	n := map[policy.Severity]int{}
	for _, p := range ps {
		n[p.Severity]++
	}
	s := plural(n[policy.SeverityError], "error")
	if w := n[policy.SeverityWarning]; w > 0 {
		s += ", " + plural(w, "warning")
	}
	return s
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
