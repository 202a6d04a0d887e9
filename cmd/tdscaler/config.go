package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// configFlag adds --config.
func configFlag(cmd *cobra.Command, path *string) {
	cmd.Flags().StringVarP(path, "config", "c", "", "the configuration `FILE`; without it the usual places are looked at")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml") // fails only for a flag that does not exist
}

// configVariable names the configuration where --config does not.
const configVariable = "TDSCALER_CONFIG"

// usualPlaces are where a configuration is looked for that nobody named, in order.
var usualPlaces = []string{"policies.yaml", "$XDG_CONFIG_HOME/tdscaler/policies.yaml", "/etc/tdscaler/policies.yaml"}

// foundConfig is a configuration file, and whether somebody named it.
type foundConfig struct {
	path  string
	named bool
}

// findConfig is the file that --config names, else the environment, else the first of
// the usual places where something is. One that is there and cannot be read is an
// error later on, and no reason to take the next.
func findConfig(flag string, getenv func(string) string) (foundConfig, error) {
	if flag != "" {
		return foundConfig{flag, true}, nil
	}
	if named := getenv(configVariable); named != "" {
		return foundConfig{named, true}, nil
	}
	var tried []string
	for _, p := range configPlaces(getenv) {
		if _, err := os.Lstat(p); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return foundConfig{p, false}, nil
		}
		tried = append(tried, p)
	}
	return foundConfig{}, usageError("no configuration: name one with --config FILE or $%s; there is none at %s", configVariable, strings.Join(tried, ", "))
}

// configPlaces are the usual places of this user.
func configPlaces(getenv func(string) string) []string {
	home := getenv("XDG_CONFIG_HOME")
	if home == "" && getenv("HOME") != "" {
		home = filepath.Join(getenv("HOME"), ".config")
	}
	var out []string
	for _, p := range usualPlaces {
		rest, inHome := strings.CutPrefix(p, "$XDG_CONFIG_HOME/")
		switch {
		case !inHome:
			out = append(out, p)
		case filepath.IsAbs(home): // the specification: a relative one is to be ignored
			out = append(out, filepath.Join(home, rest))
		}
	}
	return out
}

// configOf is the configuration that a command works on, and tells on stderr where
// nobody named it.
func configOf(cmd *cobra.Command, flag string) (foundConfig, error) {
	found, err := findConfig(flag, os.Getenv)
	if err == nil && !found.named {
		fmt.Fprintf(cmd.ErrOrStderr(), "tdscaler: using %s\n", found.path)
	}
	return found, err
}

// toldWhich refuses what spends or destroys on a file that was merely found: the wrong
// folder must not decide whose money it is.
func toldWhich(found foundConfig, what string) error {
	if found.named {
		return nil
	}
	return usageError("%s wants its file named, and does not take one that it finds: add --config %s", what, found.path)
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
		return c, &codedError{exitUsage, hinted(err)}
	}
	return c, nil
}

func printProblems(w io.Writer, ps []policy.Problem) {
	for _, p := range ps {
		fmt.Fprintln(w, paintProblem(w, p))
	}
}

// paintProblem marks the severity of a problem and the caret below its line.
func paintProblem(w io.Writer, p policy.Problem) string {
	s, word := severityStyle(p.Severity), ": "+string(p.Severity)+" "+p.Code
	lines := strings.Split(p.String(), "\n")
	lines[0] = strings.Replace(lines[0], word, ": "+paint(w, s, word[2:]), 1)
	for i, line := range lines[1:] {
		if pad, ok := strings.CutSuffix(line, "^"); ok && strings.TrimSpace(pad) == "" {
			lines[i+1] = pad + paint(w, s, "^")
			break
		}
	}
	return strings.Join(lines, "\n")
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
