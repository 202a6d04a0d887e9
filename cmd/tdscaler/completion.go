package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/billing"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print the script that completes commands, flags, policies and machines in your shell",
		Long: `completion prints a script for bash, zsh or fish. With it the Tab key completes
commands and flags, names of policies, which are read from the configuration, and
names of machines, which the daemon or the ledger is asked for.

When to use it: once for each shell, or never: the packages install the scripts.`,
		Example: `  source <(tdscaler completion bash)
  tdscaler completion bash > /etc/bash_completion.d/tdscaler
  tdscaler completion zsh > "${fpath[1]}/_tdscaler"
  tdscaler completion fish > ~/.config/fish/completions/tdscaler.fish`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !slices.Contains(shells, args[0]) {
				return fmt.Errorf("name your shell: bash, zsh or fish")
			}
			return nil
		},
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			w := cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(w, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(w)
			}
			return cmd.Root().GenFishCompletion(w, true)
		},
	}
}

// completer tells what may stand at a word.
type completer = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// completeWords gives a command and its subcommands what completes the words that all
// of them use alike: POLICY and MACHINE as arguments, and the flags of these names.
func completeWords(c *cobra.Command) {
	if c.ValidArgsFunction == nil && len(c.ValidArgs) == 0 && c.RunE != nil {
		c.ValidArgsFunction = argument(c)
	}
	for name, fn := range map[string]completer{
		"policy": policyNames, "machine": machineNames,
		"action": oneOf(plan.ActionKinds()), "state": oneOf(intentStates()), "by": oneOf(billing.Ways()),
		"event": oneOf(policy.NotifyEvents()), "sink": sinkNames,
	} {
		if f := c.LocalNonPersistentFlags().Lookup(name); f != nil {
			_ = c.RegisterFlagCompletionFunc(name, fn) // fails only for what is registered
		}
	}
	for _, sub := range c.Commands() {
		completeWords(sub)
	}
}

// argument completes the first argument, by the word that Use calls it.
func argument(c *cobra.Command) completer {
	words := strings.Fields(c.Use)
	first := ""
	if len(words) > 1 {
		first = strings.Trim(words[1], "[]")
	}
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		switch {
		case strings.HasPrefix(first, "FILE..."):
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		case len(args) > 0:
		case strings.HasPrefix(first, "POLICY"):
			return policyNames(cmd, args, typed)
		case first == "MACHINE":
			return machineNames(cmd, args, typed)
		case first == "FILE", first == "DIR":
			return nil, cobra.ShellCompDirectiveDefault
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

func oneOf[T ~string](all []T) completer {
	names := make([]string, len(all))
	for i, w := range all {
		names[i] = string(w)
	}
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

// quietConfig is the configuration that a command would use; what is wrong with it is
// no matter for who is still typing.
func quietConfig(cmd *cobra.Command) (daemon.Config, error) {
	path, _ := cmd.Flags().GetString("config") // "" where the command has none
	found, err := findConfig(path, os.Getenv)
	if err != nil {
		return daemon.Config{}, err
	}
	cfg, _, err := daemon.ReadConfig(found.path)
	return cfg, err
}

// policyNames are the policies of the configuration; nobody is asked.
func policyNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if cfg, err := quietConfig(cmd); err == nil {
		for i := range cfg.Set.Policies {
			names = append(names, cfg.Set.Policies[i].Name)
		}
		names = append(names, cfg.Set.ShadowNames()...)
	}
	slices.Sort(names)
	return slices.Compact(names), cobra.ShellCompDirectiveNoFileComp
}

// sinkNames are the sinks of the configuration.
func sinkNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var names []string
	if cfg, err := quietConfig(cmd); err == nil {
		for _, s := range cfg.Set.Notifications.Sinks {
			names = append(names, s.Name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completionPatience is how long somebody waits after the Tab key.
const completionPatience = time.Second

// machineNames are the machines in the books. A daemon or a ledger that does not
// answer at once completes nothing.
func machineNames(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
	defer cancel()
	var names []string
	if cfg, err := quietConfig(cmd); err == nil {
		asker := &cobra.Command{}
		asker.SetContext(ctx)
		_ = (&session{Command: asker, cfg: cfg}).visit(func(s *session) error { // nothing is completed then
			all, err := s.desk.Machines(ctx, control.MachinesRequest{})
			for i := range all {
				names = append(names, all[i].Name)
			}
			return err
		})
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
