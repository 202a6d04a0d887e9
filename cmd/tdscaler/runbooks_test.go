package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryCommandOfTheRunbooksExists: who is woken by an alert has no time for a
// command that is none.
func TestEveryCommandOfTheRunbooksExists(t *testing.T) {
	pages, err := filepath.Glob("../../docs/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, page := range append(pages, "../../docs/monitoring.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if isPlayed(string(text)) { // its commands are run, and what they say is no command
			continue
		}
		for _, m := range regexp.MustCompile("(?m)(?:^ *|`)(tdscaler [a-z][^`\n]*)").FindAllStringSubmatch(string(text), -1) {
			found++
			if err := parses(strings.Fields(m[1])[1:]); err != nil {
				t.Errorf("%s: %s: %v", filepath.Base(page), m[1], err)
			}
		}
	}
	if found < 80 {
		t.Errorf("only %d commands were found: the search is broken", found)
	}
}

// parses says what is wrong with a command line, without running it.
func parses(args []string) error {
	cmd, rest, err := root().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	return cmd.ValidateRequiredFlags()
}
