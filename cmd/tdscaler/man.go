package main

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man DIR",
		Short: "Write the manual pages into a folder",
		Long: `man writes tdscaler(1), a page for every command, and tdscaler-policies(5) about the
configuration file into a folder, which is made where there is none. Their date is
$SOURCE_DATE_EPOCH, else that of the revision that was built: the same program
writes the same pages.

When to use it: to install the pages, or read one without installing it:
man DIR/tdscaler-run.1.`,
		Example: "  tdscaler man /tmp/tdscaler-man",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			date, err := manDate(os.Getenv("SOURCE_DATE_EPOCH"))
			if err != nil {
				return err
			}
			return writeMan(args[0], manual(cmd.Root(), date))
		},
	}
}

// manDate is the date of the pages; zero where nobody knows.
func manDate(epoch string) (time.Time, error) {
	if epoch != "" {
		n, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return time.Time{}, usageError("SOURCE_DATE_EPOCH is a number of seconds, not %q", epoch)
		}
		return time.Unix(n, 0), nil
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return time.Time{}, nil
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			return time.Parse(time.RFC3339, s.Value)
		}
	}
	return time.Time{}, nil
}

func writeMan(dir string, pages map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(pages)) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(pages[name]), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// manual is every page by its file's name.
func manual(root *cobra.Command, date time.Time) map[string]string {
	pages := map[string]string{"tdscaler-policies.5": policiesPage(date)}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" {
			return
		}
		pages[pageName(c)+".1"] = commandPage(c, date)
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return pages
}

// pageName is the name of a command's page: "tdscaler-ledger-list".
func pageName(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

func commandPage(c *cobra.Command, date time.Time) string {
	r := newRoff(pageName(c), 1, date, daemon.Build().Version, "tdscaler manual")
	r.raw(".SH NAME")
	r.text(pageName(c) + " - " + c.Short)
	r.raw(".SH SYNOPSIS")
	synopsis(r, c)
	r.raw(".SH DESCRIPTION")
	r.prose(cmp.Or(c.Long, c.Short+"."))
	subcommandList(r, c)
	flagList(r, "OPTIONS", c.NonInheritedFlags())
	flagList(r, "OPTIONS OF EVERY COMMAND", c.InheritedFlags())
	if !c.HasParent() {
		surroundings(r)
	}
	r.raw(".SH EXIT STATUS")
	r.text("0: done. 1: it could not be done. 2: wrong usage, or a configuration with errors. What a command says beyond that is in its description.")
	if c.Example != "" {
		r.raw(".SH EXAMPLES")
		r.verbatim(c.Example)
	}
	seeAlso(r, c)
	return r.b.String()
}

func synopsis(r *roff, c *cobra.Command) {
	words := strings.Fields(strings.TrimPrefix(c.Use, c.Name()))
	line := bold(c.CommandPath())
	if c.HasAvailableSubCommands() {
		line += " " + italic("COMMAND")
	}
	for _, w := range words {
		line += " " + roffText(w)
	}
	r.raw(line + ` [\fIOPTIONS\fR]`)
}

func subcommandList(r *roff, c *cobra.Command) {
	if !c.HasAvailableSubCommands() {
		return
	}
	r.raw(".SH COMMANDS")
	if len(c.Groups()) == 0 {
		items(r, c, "")
	}
	for _, g := range c.Groups() {
		r.macro("SS", strings.TrimSuffix(g.Title, ":"))
		items(r, c, g.ID)
	}
}

func items(r *roff, c *cobra.Command, group string) {
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && sub.GroupID == group {
			r.item(bold(pageName(sub))+"(1)", sub.Short+".")
		}
	}
}

func flagList(r *roff, title string, flags *pflag.FlagSet) {
	first := true
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" { // cobra adds it to the command that runs
			return
		}
		if first {
			r.raw(".SH " + title)
		}
		first = false
		kind, usage := pflag.UnquoteUsage(f)
		term := bold("--" + f.Name)
		if f.Shorthand != "" {
			term = bold("-"+f.Shorthand) + ", " + term
		}
		if kind != "" {
			term += " " + italic(kind)
		}
		r.item(term, usage+shownDefault(f)+".")
	})
}

// shownDefault is what a flag is where it is not given, if that is worth saying.
func shownDefault(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "0", "0s", "false", "[]":
		return ""
	}
	return " (" + f.DefValue + " unless given)"
}

// surroundings are the environment and the files of all commands.
func surroundings(r *roff) {
	r.raw(".SH ENVIRONMENT")
	for _, v := range [][2]string{
		{"TENSORDOCK_API_KEY", "The API key, where the configuration names no file with it."},
		{"TENSORDOCK_API_TOKEN", "The API token, likewise."},
		{configVariable, "The configuration file, where --config does not name it."},
		{"NO_COLOR", "No colours, if it is not empty. There are none either where TERM is dumb, and where the output is no terminal."},
		{"SOURCE_DATE_EPOCH", "The date of the pages that tdscaler-man(1) writes, in seconds."},
	} {
		r.item(bold(v[0]), v[1])
	}
	r.raw(".SH FILES")
	r.text("Without --config and $" + configVariable + " the first of these that exists is the configuration:")
	for _, p := range usualPlaces {
		r.raw(".br\n" + italic(p))
	}
	r.raw(".PP")
	r.text("A daemon in mode live, and destroy --yes, want the file named.")
}

func seeAlso(r *roff, c *cobra.Command) {
	names := []string{"tdscaler-policies(5)"}
	if c.HasParent() {
		names = append(names, pageName(c.Parent())+"(1)")
		for _, s := range c.Parent().Commands() {
			if s != c && s.IsAvailableCommand() && c.Parent().HasParent() {
				names = append(names, pageName(s)+"(1)")
			}
		}
	}
	slices.Sort(names)
	r.raw(".SH SEE ALSO")
	r.text(strings.Join(names, ", "))
}

// policiesPage is about the configuration file.
func policiesPage(date time.Time) string {
	r := newRoff("tdscaler-policies", 5, date, daemon.Build().Version, "tdscaler manual")
	r.raw(".SH NAME")
	r.raw(`tdscaler\-policies \- what tdscaler may buy, and what it may cost`)
	r.raw(".SH DESCRIPTION")
	r.prose(`One YAML file says how many GPUs are wanted, which, where, and what they may cost. tdscaler check finds every problem of a file at once; a file with an error is never used.

Money is US dollars as a plain decimal number, 0.40. Durations have a unit: 90s, 20m, 1h30m. Paths are relative to the file's folder. Secrets are never written in it: keys and passwords are named by file.

Nothing is bought before daemon.mode is live.`)
	r.raw(".SH KEYS")
	r.text("[] stands for each entry of a list.")
	for _, k := range policy.Keys() {
		if k.Section == "" {
			r.macro("SS", k.Path)
			r.text(keyMeaning(&k))
			continue
		}
		r.item(bold(k.Path), keyMeaning(&k))
	}
	r.raw(".SH EXAMPLES")
	r.verbatim(leastFile)
	r.raw(".SH SEE ALSO")
	r.text("tdscaler(1), tdscaler-check(1), tdscaler-plan(1)")
	return r.b.String()
}

const leastFile = `version: 1
budget: {max_hourly: 2.00}
policies:
  - name: train
    target: {gpus: 4}
    max_gpu_hour: 0.40
    match: {gpu_models: ["*4090*"], countries: [US]}
    ssh_key_file: id_ed25519.pub`

// keyMeaning says in words what a table says in columns.
func keyMeaning(k *policy.Key) string {
	value := k.Value
	if len(k.Words) > 0 {
		value = strings.Join(k.Words, " or ")
	}
	parts := []string{value}
	if k.Bounds != "" {
		parts = append(parts, k.Bounds)
	}
	switch {
	case k.Required:
		parts = append(parts, "required")
	case k.HasDefault && k.Default == "":
		parts = append(parts, "empty unless given")
	case k.HasDefault:
		parts = append(parts, k.Default+" unless given")
	}
	if value == "section" {
		return k.Meaning
	}
	return fmt.Sprintf("%s (%s)", k.Meaning, strings.Join(parts, "; "))
}
