package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/billing"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func claimCommand() *cobra.Command {
	var f deskFlags
	var since string
	var asCSV bool
	cmd := &cobra.Command{
		Use:   "claim --config FILE",
		Short: "List the outages of machines of ours, with their proof and the credit that TensorDock's terms give",
		Long: `claim lists the times in which machines that we wanted and paid for delivered
nothing, neither by our doing nor by the auction's: since when, until when, at which
rate, and what each look showed. It reckons the credit that TensorDock's terms of
downtime compensation give. Send what it prints to TensorDock's support; nothing is
claimed by itself.

When to use it: after an outage, or once a month.`,
		Example: "  tdscaler claim --config policies.yaml --since 2026-03-01 --csv",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asCSV && f.json {
				return usageError("--csv and --json exclude each other")
			}
			from, err := pointInTime("--since", since, -1)
			if err != nil {
				return err
			}
			return f.at(cmd, func(s *session) error { return s.claim(from, asCSV) })
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&since, "since", "1440h", "outages that were not over before this `TIME`: a duration back (24h), a date, or RFC 3339")
	fl.BoolVar(&asCSV, "csv", false, "print as CSV, a line for each outage")
	return cmd
}

func (s *session) claim(since time.Time, asCSV bool) error {
	st, err := s.desk.Status(s.Context(), control.StatusRequest{})
	if err != nil {
		return err
	}
	outages, err := s.desk.Outages(s.Context(), control.OutagesRequest{Since: since})
	if err != nil {
		return err
	}
	// From the month before the first outage on: what was spent in it bounds the credit.
	zone, oldest := st.Zone.Location(), since
	if len(outages) > 0 && outages[0].From.Before(oldest) {
		oldest = outages[0].From
	}
	y, m, _ := oldest.In(zone).Date()
	first := time.Date(y, m-1, 1, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	costs, err := s.desk.Costs(s.Context(), control.CostsRequest{First: first})
	if err != nil {
		return err
	}
	c := billing.Reckon(outages, costs, zone)
	if asCSV {
		return claimCSV(s.OutOrStdout(), c.Claims)
	}
	return s.printed(c, func(t *table) { t.claims(&c) })
}

func (t *table) claims(c *billing.Claims) {
	if len(c.Claims) == 0 {
		t.line("no outages on record")
		return
	}
	t.row("FROM", "TO", "LASTED", "RATE", "CREDIT 5x", "CREDIT 10x", "DISK LOST 40x", "CAUSE", "ENDED", "MACHINE", "HOST")
	for i := range c.Claims {
		u := &c.Claims[i]
		ended := u.End
		if u.To.IsZero() {
			ended = "it lasts"
		}
		rate := "unknown"
		if r, ok := u.Rate.Get(); ok {
			rate = r.String()
		}
		t.row(stamp(u.From), stamp(u.To), seconds(u.Seconds), rate, credit(u.Standard), credit(u.Top), credit(u.Loss), u.Cause, ended, u.Machine, u.Host)
	}
	t.gap()
	t.row("MONTH", "OUTAGES", "LASTED", "SPENT THE MONTH BEFORE", "CREDIT, STANDARD HOSTS", "CREDIT, TOP HOSTS")
	for _, m := range c.Months {
		t.row(m.Month, m.Outages, seconds(m.Seconds), owned(m.Cap), exactly(m.Standard), exactly(m.Top))
	}
	t.gap()
	t.line("what each look showed:")
	for i := range c.Claims {
		t.line("  %s (%s)", c.Claims[i].Machine, c.Claims[i].ID)
		t.line("    %s", proofs(c.Claims[i].Proof, "; "))
	}
}

func credit(a market.Maybe[market.Amount]) string {
	v, ok := a.Get()
	if !ok {
		return "-"
	}
	return exactly(v)
}

// proofs are what looks showed, in a line.
func proofs(all []plan.Proof, sep string) string {
	out := make([]string, 0, len(all))
	for _, p := range all {
		text := p.At.UTC().Format(time.RFC3339)
		switch {
		case p.Status == "":
			text += " not in the list"
		case p.Raw != "":
			text += " " + p.Raw
		default:
			text += " " + string(p.Status)
		}
		if p.Host != "" {
			text += ", host " + strings.ReplaceAll(p.Host, "_", " ")
		}
		out = append(out, text)
	}
	return strings.Join(out, sep)
}

func claimCSV(w io.Writer, all []billing.Claim) error {
	rows := [][]string{{
		"from", "to", "seconds", "rate_usd_hour", "credit_standard_usd", "credit_top_usd", "credit_data_loss_usd", "cause", "ended", "data_lost",
		"last_seen_well", "last_seen_down", "looks", "machine", "id", "host", "gpu_model", "gpus", "capacity", "policy", "proof",
	}}
	for i := range all {
		u := &all[i]
		rows = append(rows, []string{
			rfc(u.From), rfc(u.To), strconv.FormatInt(u.Seconds, 10), exact(u.Rate), dollars(u.Standard), dollars(u.Top), dollars(u.Loss), clean(u.Cause),
			clean(u.End), strconv.FormatBool(u.DataLost), rfc(u.WellAt), rfc(u.LastAt), strconv.Itoa(u.Looks), clean(u.Machine), clean(u.ID), clean(u.Host),
			clean(string(u.Model)), strconv.Itoa(u.GPUs), string(u.Capacity), clean(u.Policy), clean(proofs(u.Proof, "; ")),
		})
	}
	if err := csv.NewWriter(w).WriteAll(rows); err != nil {
		return fmt.Errorf("write CSV: %w", err)
	}
	return nil
}

// rfc prints a point in time for machines; nothing for none.
func rfc(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
