package main

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
)

// TestThePageListsEveryCommandAndFlag compares docs/cli.md with the commands as
// they are.
func TestThePageListsEveryCommandAndFlag(t *testing.T) {
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{}
	collect(root(), want)
	if diff := cmp.Diff(want, onPage(string(page))); diff != "" {
		t.Errorf("docs/cli.md (+) and the commands (-) differ:\n%s", diff)
	}
}

func collect(cmd *cobra.Command, into map[string][]string) {
	for _, c := range cmd.Commands() {
		if c.Name() == "help" {
			continue
		}
		flag := regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)`)
		into[c.CommandPath()] = names(flag, c.LocalFlags().FlagUsages())
		collect(c, into)
	}
}

// onPage reads the headings of commands and the first cells of the tables that
// follow them.
func onPage(page string) map[string][]string {
	heading := regexp.MustCompile(`(?m)^##+ (.*)$`)
	row := regexp.MustCompile("(?m)^\\| (`--[^|]*) \\|")
	flag := regexp.MustCompile("`--([a-z-]+)")
	out := map[string][]string{}
	at := heading.FindAllStringSubmatchIndex(page, -1)
	for i, h := range at {
		end := len(page)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		name := page[h[2]:h[3]]
		if !regexp.MustCompile(`^tdscaler `).MatchString(name) {
			continue
		}
		cells := ""
		for _, m := range row.FindAllStringSubmatch(page[h[1]:end], -1) {
			cells += m[1] + "\n"
		}
		out[name] = names(flag, cells)
	}
	return out
}

// names are the flags that a pattern finds, sorted, without help.
func names(flag *regexp.Regexp, text string) []string {
	found := []string{}
	for _, m := range flag.FindAllStringSubmatch(text, -1) {
		if m[1] != "help" {
			found = append(found, m[1])
		}
	}
	slices.Sort(found)
	return found
}
