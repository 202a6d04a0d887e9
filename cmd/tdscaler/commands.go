package main

import "github.com/spf13/cobra"

func subcommands() []*cobra.Command {
	return []*cobra.Command{
		runCommand(), demoCommand(), backtestCommand(), checkCommand(), planCommand(), explainCommand(), marketCommand(), pricesCommand(), statusCommand(), costCommand(), claimCommand(), authCommand(), revenueCommand(), machinesCommand(), containerCommand(),
		ledgerCommand(), targetCommand(), pauseCommand(), resumeCommand(), destroyCommand(), protectCommand(), reloadCommand(), simulatorCommand(), versionCommand(),
	}
}
