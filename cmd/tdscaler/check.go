package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf16"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func checkCommand() *cobra.Command {
	var schema, asJSON, look bool
	cmd := &cobra.Command{
		Use:   "check [FILE...]",
		Short: "Check configuration files: every problem at once, with its place and a hint",
		Long: `check reads configuration files and the files they refer to, starts nothing and
asks nobody. It exits 0 when every file can be used (warnings allowed), 2 when
one cannot.

With --market it also reads the list of hosts, which needs no credentials, and says of
each policy what would be bought now and at what price as if nothing ran yet, at which
condition the offers fall out, and what would help. It asks about no bid, so that on spot
it cannot say which would win. It exits 1 when the market cannot be read.

When to use it: after every edit, before a daemon reads the file, and in the tests of
the repository that the file is in; with --market before a policy is deployed.`,
		Example: "  tdscaler check policies.yaml\n  tdscaler check --market policies.yaml\n  tdscaler check --schema > tdscaler.schema.json",
		RunE: func(cmd *cobra.Command, files []string) error {
			if schema {
				return printSchema(cmd)
			}
			if len(files) == 0 {
				found, err := findConfig("", os.Getenv)
				if err != nil {
					return err
				}
				files = []string{found.path}
			}
			if look {
				return previewFiles(cmd, files, asJSON)
			}
			return checkFiles(cmd, files, asJSON)
		},
	}
	cmd.Flags().BoolVar(&schema, "schema", false, "print the JSON Schema of the file instead, for editors")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	cmd.Flags().BoolVar(&look, "market", false, "also look at the market: what would be bought now, and what keeps offers away")
	return cmd
}

func printSchema(cmd *cobra.Command) error {
	b, err := policy.Schema()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", b)
	return err
}

func checkFiles(cmd *cobra.Command, files []string, asJSON bool) error {
	bad := false
	all := []policy.Problem{}
	for _, f := range files {
		_, problems, err := daemon.LoadConfig(f)
		all = append(all, problems...)
		bad = bad || err != nil
		if asJSON {
			if err != nil && !errors.Is(err, daemon.ErrConfig) {
				all = append(all, policy.Problem{File: f, Severity: policy.SeverityError, Message: err.Error()})
			}
			continue
		}
		printProblems(cmd.ErrOrStderr(), problems)
		switch {
		case errors.Is(err, daemon.ErrConfig):
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s\n", f, countProblems(problems))
		case err != nil:
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", f, err)
		default:
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%s: %s%s\n", f, paint(out, good, "ok"), warnings(problems))
		}
	}
	if asJSON {
		if err := printJSON(cmd.OutOrStdout(), all); err != nil {
			return err
		}
	}
	if bad {
		return &codedError{code: exitUsage}
	}
	return nil
}

func warnings(ps []policy.Problem) string {
	if len(ps) == 0 {
		return ""
	}
	return ", " + plural(len(ps), "warning")
}

// printJSON escapes what a terminal would obey: JSON itself lets most of it pass.
func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(w, escapeUnprintable(b.String()))
	return err
}

// escapeUnprintable is for JSON, in which such runes stand within strings alone.
func escapeUnprintable(s string) string {
	if strings.IndexFunc(s, unprintable) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		if !unprintable(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}

func unprintable(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }
