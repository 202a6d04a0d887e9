package main

import "github.com/spf13/cobra"

// group is a part of the list of commands.
type group struct {
	id, title string
	commands  []*cobra.Command
}

// groups are all commands, as the help lists them.
func groups() []group {
	return []group{
		{"run", "Run it:", []*cobra.Command{checkCommand(), planCommand(), runCommand(), reloadCommand()}},
		{"look", "See what it does, and why:", []*cobra.Command{
			statusCommand(), topCommand(), healthCommand(), machinesCommand(), containerCommand(), explainCommand(), reportCommand(), costCommand(), claimCommand(), ledgerCommand(),
		}},
		{"act", "Take over:", []*cobra.Command{targetCommand(), pauseCommand(), resumeCommand(), protectCommand(), destroyCommand()}},
		{"market", "Look at the market:", []*cobra.Command{marketCommand(), pricesCommand(), authCommand(), revenueCommand()}},
		{"tools", "Try it, and tools:", []*cobra.Command{
			demoCommand(), backtestCommand(), simulatorCommand(), notifyCommand(), completionCommand(), manCommand(), versionCommand(),
		}},
	}
}

// addGroups adds every command in its group.
func addGroups(root *cobra.Command) {
	for _, g := range groups() {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, c := range g.commands {
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("tools")
}
