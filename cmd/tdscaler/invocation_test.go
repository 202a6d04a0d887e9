package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// shellWords splits a piece of shell into simple commands: words with their quotes
// taken off, parted by what ends a command. Substitutions are commands too. It knows
// what documents use, not all of a shell.
func shellWords(text string) [][]string {
	var all [][]string
	var words []string
	var word strings.Builder
	has := false
	endWord := func() {
		if has {
			words = append(words, word.String())
		}
		word.Reset()
		has = false
	}
	endCommand := func() {
		endWord()
		if len(words) > 0 {
			all = append(all, words)
		}
		words = nil
	}
	// The number of a stream that is turned elsewhere is no word: "2>/dev/null".
	text = regexp.MustCompile(`(\s)[0-9]>`).ReplaceAllString(text, "$1>")
	rs := []rune(strings.ReplaceAll(text, "\\\n", " "))
	for i := 0; i < len(rs); i++ {
		r := rs[i]
		switch {
		case r == '\\' && i+1 < len(rs):
			i++
			word.WriteRune(rs[i])
			has = true
		case r == '\'', r == '"':
			end := i + 1
			for end < len(rs) && rs[end] != r {
				end++
			}
			inner := string(rs[i+1 : min(end, len(rs))])
			if r == '"' {
				all = append(all, substitutions(inner)...)
			}
			word.WriteString(inner)
			has = true
			i = end
		case (r == '$' || r == '<') && i+1 < len(rs) && rs[i+1] == '(':
			end := closing(rs, i+1)
			all = append(all, shellWords(string(rs[i+2:end]))...)
			word.WriteString("SUBSTITUTED")
			has = true
			i = end
		case r == '#' && !has:
			for i+1 < len(rs) && rs[i+1] != '\n' {
				i++
			}
		case strings.ContainsRune("\n;|&()", r):
			endCommand()
		case r == '>' || r == '<':
			endWord()
			for i+1 < len(rs) && (rs[i+1] == r || rs[i+1] == ' ' || rs[i+1] == '&') {
				i++
			}
			for i+1 < len(rs) && !unicode.IsSpace(rs[i+1]) && !strings.ContainsRune(";|)", rs[i+1]) {
				i++
			}
		case unicode.IsSpace(r):
			endWord()
		default:
			word.WriteRune(r)
			has = true
		}
	}
	endCommand()
	return all
}

func substitutions(text string) (all [][]string) {
	for {
		i := strings.Index(text, "$(")
		if i < 0 {
			return all
		}
		rs := []rune(text[i+1:])
		end := closing(rs, 0)
		all = append(all, shellWords(string(rs[1:end]))...)
		text = string(rs[end:])
	}
}

// closing is where the parenthesis at i ends.
func closing(rs []rune, i int) int {
	depth := 0
	for j := i; j < len(rs); j++ {
		switch rs[j] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return j
			}
		}
	}
	return len(rs)
}

// ownWords are the arguments of a simple command that calls tdscaler, by whatever path
// and through whom.
func ownWords(words []string) ([]string, bool) {
	for len(words) > 0 {
		switch first := words[0]; {
		case strings.Contains(first, "="):
			words = words[1:]
		case filepath.Base(first) == "tdscaler":
			return words[1:], true
		case slices.Contains([]string{"docker", "podman", "kubectl"}, first):
			words = words[execed(words):]
		case first == "-u" && len(words) > 1: // of sudo
			words = words[2:]
		case strings.HasPrefix(first, "-"),
			slices.Contains([]string{"sudo", "exec", "env", "nice", "time", "until", "while", "if", "!", "then", "do", "$"}, first):
			words = words[1:]
		default:
			return nil, false
		}
	}
	return nil, false
}

// execed is where the program begins that is run in a container that is there: of
// "exec tdscaler tdscaler plan" the second. All words where that is not to be seen.
func execed(words []string) int {
	at := slices.Index(words, "exec")
	for i := len(words) - 1; at > 0 && i > at+1; i-- {
		if filepath.Base(words[i]) == "tdscaler" {
			return i
		}
	}
	return len(words)
}

// misused says what is wrong with the arguments of a call of tdscaler; nothing is run.
func misused(args []string) error {
	r := root()
	r.InitDefaultHelpCmd()
	c, rest, err := r.Find(args)
	if err != nil {
		return err
	}
	c.InitDefaultHelpFlag()
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	if help, _ := c.Flags().GetBool("help"); help {
		return nil
	}
	if err := c.ValidateArgs(c.Flags().Args()); err != nil {
		return err
	}
	if err := c.ValidateRequiredFlags(); err != nil {
		return err
	}
	return c.ValidateFlagGroups()
}

func TestWrongCallsAreFound(t *testing.T) {
	for text, wrong := range map[string]bool{
		"tdscaler plan --config a.yaml":                                 false,
		"tdscaler plna":                                                 true,
		"tdscaler plan --cofnig a.yaml":                                 true,
		"echo ok | sudo -u tdscaler bin/tdscaler ledger shwo 1":         true,
		"X=1 tdscaler ledger show":                                      true,
		"echo \"$(tdscaler status --jsno)\"":                            true,
		"source <(tdscaler completion tcsh)":                            true,
		"docker compose exec tdscaler tdscaler palns":                   true,
		"docker compose up tdscaler":                                    false,
		"tdscaler explain train \\\n  --config a.yaml # and then":       false,
		"tdscaler pause --for 2h --until 2030-01-01 -c a.yaml":          true,
		"tdscaler ledger export -c a | jq 'select(.kind == \"spend\")'": false,
	} {
		var problem error
		for _, words := range shellWords(text) {
			if args, ok := ownWords(words); ok && problem == nil {
				problem = misused(args)
			}
		}
		if (problem != nil) != wrong {
			t.Errorf("%s: %v", text, problem)
		}
	}
}

// everyCommand is each command that a user sees, by its path.
func everyCommand() map[string]*cobra.Command {
	all := map[string]*cobra.Command{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		all[c.CommandPath()] = c
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(root())
	return all
}

func TestTheHelpOfEveryCommandTeaches(t *testing.T) {
	for path, c := range everyCommand() {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || !unicode.IsUpper([]rune(c.Short)[0]) {
			t.Errorf("%s: Short is %q", path, c.Short)
		}
		if !strings.Contains(c.Long, "When to use it:") && c.HasParent() {
			t.Errorf("%s does not say when to use it", path)
		}
		for _, line := range strings.Split(c.Long, "\n") {
			if len(line) > 90 {
				t.Errorf("%s: a line of Long is wider than a terminal: %s", path, line)
			}
		}
		if c.HasParent() && !c.Parent().HasParent() && c.GroupID == "" {
			t.Errorf("%s is in no group", path)
		}
		calls := 0
		for _, words := range shellWords(c.Example) {
			args, ok := ownWords(words)
			if !ok {
				continue
			}
			calls++
			if err := misused(args); err != nil {
				t.Errorf("%s: the example %q: %v", path, strings.Join(words, " "), err)
			}
			if got := "tdscaler " + strings.Join(args, " "); c.HasParent() && !strings.HasPrefix(got, path) {
				t.Errorf("%s has an example of something else: %s", path, got)
			}
		}
		if calls == 0 {
			t.Errorf("%s has no example", path)
		}
	}
}

// differing are flags that mean something else in each command.
var differing = []string{"all", "boot", "csv", "cycle", "days", "for", "hosts", "limit", "none", "policy", "seed", "since", "timeout", "until"}

func TestAFlagIsDescribedTheSameEverywhere(t *testing.T) {
	seen := map[string]string{}
	for path, c := range everyCommand() {
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			text := fmt.Sprintf("%s|%s", f.Shorthand, f.Usage)
			if path == "tdscaler demo" && f.Name == "config" {
				return // the demo has no usual places: what it plays is its own
			}
			if first, ok := seen[f.Name]; ok && first != text && !slices.Contains(differing, f.Name) {
				t.Errorf("%s --%s: %q, elsewhere %q", path, f.Name, text, first)
			}
			seen[f.Name] = text
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s --%s: %q", path, f.Name, f.Usage)
			}
		})
	}
}
