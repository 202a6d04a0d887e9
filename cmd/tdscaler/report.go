package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/report"
)

// reportOptions are the flags of report.
type reportOptions struct {
	since, until, policy, format, output string
	force, send                          bool
	formatted                            bool // by a flag
}

func reportCommand() *cobra.Command {
	var f deskFlags
	var o reportOptions
	cmd := &cobra.Command{
		Use:   "report --config FILE",
		Short: "Make a page of the last day: what was delivered, what it cost and would have cost, what went wrong",
		Long: `report makes one page of what the ledger knows of a stretch of time, the answer
first: which share of the GPU-hours that were wanted was delivered, what it cost, what
it would have cost on demand, and what went wrong, the dearest first, each with the
command to look closer. Times and days are those of budget.time_zone.

When to use it: in the morning, with coffee; and to show somebody what it is for.`,
		Example: `  tdscaler report --config policies.yaml
  tdscaler report --config policies.yaml --since 168h --format markdown
  tdscaler report --config policies.yaml --since 2026-03-01 --until 2026-04-01 --output march.html`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(cmd, f.json); err != nil {
				return err
			}
			return f.at(cmd, func(s *session) error { return s.report(&o) })
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&o.since, "since", "24h", "since this `TIME`: a duration back (24h), a date, or RFC 3339")
	fl.StringVar(&o.until, "until", "", "until this `TIME`, not included, in the same forms (now)")
	fl.StringVar(&o.policy, "policy", "", "only of this `POLICY`")
	fl.StringVar(&o.format, "format", report.FormatText, "`FORMAT`: text, markdown or html; what --output ends in, .md or .html, says so too")
	fl.StringVar(&o.output, "output", "", "write to this `FILE` (mode 0600) instead of stdout")
	fl.BoolVar(&o.force, "force", false, "replace a file that is there")
	fl.BoolVar(&o.send, "send", false, "send it now, to whom the file says that reports go, in the file's format unless told")
	return cmd
}

func (o *reportOptions) check(cmd *cobra.Command, asJSON bool) error {
	named := cmd.Flags().Changed("format")
	o.formatted = named
	switch ext := strings.ToLower(filepath.Ext(o.output)); {
	case asJSON && (named || o.output != ""):
		return usageError("--json goes to the output alone, and is a format of its own")
	case o.send && (asJSON || o.output != ""):
		return usageError("--send sends, and neither writes a file nor prints JSON")
	case o.force && o.output == "":
		return usageError("--force is for --output")
	case !named && (ext == ".html" || ext == ".htm"):
		o.format = report.FormatHTML
	case !named && ext == ".md":
		o.format = report.FormatMarkdown
	}
	if !report.KnownFormat(o.format) {
		return usageError("--format is text, markdown or html, not %q", o.format)
	}
	_, _, err := o.times(time.UTC)
	return err
}

// times are the stretch; dates are of a zone.
func (o *reportOptions) times(zone *time.Location) (from, to time.Time, err error) {
	if from, err = momentIn("--since", o.since, zone); err != nil || o.until == "" {
		return from, to, err
	}
	if to, err = momentIn("--until", o.until, zone); err == nil && !from.Before(to) {
		err = usageError("--since must be before --until")
	}
	return from, to, err
}

// momentIn reads a point in time; a date is its midnight in a zone.
func momentIn(flag, s string, zone *time.Location) (time.Time, error) {
	if t, err := time.ParseInLocation(time.DateOnly, s, zone); err == nil {
		return t, nil
	}
	return pointInTime(flag, s, -1)
}

func (s *session) report(o *reportOptions) error {
	from, to, err := o.times(s.cfg.Set.Budget.Zone.Location())
	if err != nil {
		return err
	}
	r, err := s.desk.Report(s.Context(), control.ReportRequest{Since: from, Until: to, Policy: o.policy})
	if err != nil {
		return err
	}
	switch {
	case o.send:
		return s.sendReport(&r, o)
	case s.json:
		return printJSON(s.OutOrStdout(), r)
	case o.output == "":
		return r.Write(s.OutOrStdout(), o.format)
	}
	if err := writeReport(&r, o); err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.OutOrStdout(), clean(r.Headline))
	return err
}

// sendReport sends a report to whom the file names, and fails where one does not take it.
func (s *session) sendReport(r *report.Report, o *reportOptions) error {
	cfg, err := loadConfig(s.cfg.Path, s.ErrOrStderr())
	if err != nil {
		return err
	}
	format := cfg.Set.Report.Format
	if o.formatted {
		format = o.format
	}
	m, err := messageOf(r, format)
	if err != nil {
		return err
	}
	out, err := postReport(s.Context(), &cfg, m, wanted(&cfg))
	if err != nil {
		return err
	}
	if len(out) == 0 {
		return usageError("%s has no sink that takes reports (docs/report.md)", s.cfg.Path)
	}
	t, failed := newTable(s.OutOrStdout()), 0
	for _, one := range out {
		if one.Err != nil {
			failed++
			t.row(one.Sink, one.Type, "not taken: "+one.Err.Error())
			continue
		}
		t.row(one.Sink, one.Type, "sent")
	}
	if err := t.flush(); err != nil {
		return err
	}
	if failed > 0 {
		return &codedError{exitFailure, fmt.Errorf("%d of %s did not take the report", failed, plural(len(out), "sink"))}
	}
	return nil
}

// writeReport writes under another name first: there is a whole page or none.
func writeReport(r *report.Report, o *reportOptions) error {
	if _, err := os.Lstat(o.output); err == nil && !o.force {
		return usageError("%s is there already; --force replaces it", o.output)
	}
	f, err := os.CreateTemp(filepath.Dir(o.output), ".report-*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	defer os.Remove(f.Name()) // gone where it got its name
	if err := errors.Join(r.Write(f, o.format), f.Close()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return os.Rename(f.Name(), o.output)
}
