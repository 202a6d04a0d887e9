// Command tdscaler buys GPU machines on the TensorDock marketplace by policy.
//
// This is floor 5: flags, signals, wiring and exit codes. One file per
// subcommand; nothing here decides anything about money.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // schedules name time zones, and a container may have none

	"github.com/spf13/cobra"
)

// Exit codes, documented in docs/cli.md.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2 // wrong usage, or a configuration with errors
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is main with its streams and exit code as values, shared with the tests.
func run(args []string, in io.Reader, out, errw io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // the next signal kills
	// Beyond a limit on file sizes (ulimit -f) a write fails, as on a full disk.
	signal.Ignore(syscall.SIGXFSZ)
	cmd := root()
	cmd.SetArgs(args)
	cmd.SetIn(in)
	cmd.SetOut(out)
	cmd.SetErr(errw)
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var coded *codedError
	if !errors.As(err, &coded) { // cobra's own: a flag that is missing or excluded
		coded = &codedError{code: exitUsage, err: err}
	}
	if coded.err != nil {
		errw = cmd.ErrOrStderr()
		fmt.Fprintf(errw, "%s %v\n", paint(errw, bad, "tdscaler:"), coded.err)
	}
	return coded.code
}

// codedError carries an exit code; a nil err was told to the user already.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string {
	if e.err == nil {
		return "failed"
	}
	return e.err.Error()
}

func (e *codedError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &codedError{exitUsage, fmt.Errorf(format, args...)}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tdscaler",
		Short: "Keep a fleet of GPUs on the TensorDock marketplace at the targets and within the budget that you wrote down",
		Long: `tdscaler looks at the TensorDock GPU marketplace on a schedule and buys, rebids,
replaces and tears down machines so that each policy has the GPUs it wants, at
most at the price it allows, within the budget.

Start with "tdscaler demo", then "tdscaler check" and "tdscaler plan" on a file
of your own. Nothing is bought before the file says "mode: live".

When something is wrong: "tdscaler status" says where things stand, "tdscaler explain
POLICY" why a policy has what it has, "tdscaler pause" stops buying, and "tdscaler
destroy" ends bills. Stopping the daemon ends none.`,
		Example:       "  tdscaler demo\n  tdscaler check policies.yaml\n  tdscaler plan --config policies.yaml\n  tdscaler run --config policies.yaml",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          groupArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usageError("%w%s\nSee %q.", err, flagMeant(c, err), c.CommandPath()+" --help")
	})
	noColour := cmd.PersistentFlags().Bool("no-color", false, "no colours; there are none either where the output is no terminal, NO_COLOR is set, or TERM is dumb")
	cmd.PersistentPreRun = func(*cobra.Command, []string) {
		cmd.SetOut(tint(cmd.OutOrStdout(), *noColour, os.Getenv))
		cmd.SetErr(tint(cmd.ErrOrStderr(), *noColour, os.Getenv))
	}
	addGroups(cmd)
	completeWords(cmd)
	for _, c := range cmd.Commands() {
		codeErrors(c)
	}
	return cmd
}

// codeErrors makes a wrong number of arguments a usage error and every error of
// the work itself a failure, for a command and its subcommands.
func codeErrors(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			err := check(c, args)
			if err == nil || isCoded(err) {
				return err
			}
			return usageError("%w; it is called as %q\nSee %q.", err, c.UseLine(), c.CommandPath()+" --help")
		}
	}
	if work := c.RunE; work != nil {
		c.RunE = func(c *cobra.Command, args []string) error {
			err := work(c, args)
			if err == nil || isCoded(err) {
				return err
			}
			return &codedError{exitFailure, hinted(err)}
		}
	}
	for _, sub := range c.Commands() {
		codeErrors(sub)
	}
}

func isCoded(err error) bool {
	var coded *codedError
	return errors.As(err, &coded)
}
