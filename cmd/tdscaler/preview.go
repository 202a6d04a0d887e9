package main

import (
	"cmp"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// filePreview is what the market would make of one file.
type filePreview struct {
	File     string           `json:"file"`
	Problems []policy.Problem `json:"problems"` // of the file: none that keeps it from being used
	control.Preview
}

// previewFiles checks files, and plans them on a look at the market, as if nothing ran yet.
func previewFiles(cmd *cobra.Command, files []string, asJSON bool) error {
	all, configs := make([]filePreview, len(files)), make([]daemon.Config, len(files))
	usable := true
	for i, name := range files {
		c, problems, err := daemon.LoadConfig(name)
		all[i], configs[i] = filePreview{File: name, Problems: listed(problems)}, c
		usable = usable && err == nil
	}
	if !asJSON || !usable {
		if err := checkFiles(cmd, files, asJSON); err != nil {
			return err
		}
	}
	problem := ""
	for i := range all {
		r, err := hostReader(configs[i])
		if err != nil {
			return err
		}
		in, unread := daemon.LookAtHosts(cmd.Context(), clock.System{}, r, &configs[i], plan.History{})
		all[i].Preview = control.PreviewOf(in, unread, configs[i].Set.Shadows)
		problem = cmp.Or(problem, unread)
	}
	return errors.Join(printPreviews(cmd, all, asJSON), unreadMarket(problem))
}

func unreadMarket(problem string) error {
	if problem == "" {
		return nil
	}
	return errors.New("the market could not be read: " + clean(problem))
}

func printPreviews(cmd *cobra.Command, all []filePreview, asJSON bool) error {
	if asJSON {
		return printJSON(cmd.OutOrStdout(), all)
	}
	t := newTable(cmd.OutOrStdout())
	for i := range all {
		if all[i].Problem != "" {
			t.say(bad, "%s: incomplete: %s", all[i].File, all[i].Problem)
			continue
		}
		for j := range all[i].Policies {
			t.preview(&all[i].Policies[j])
		}
	}
	return t.flush()
}

func (t *table) preview(v *control.PolicyPreview) {
	t.gap()
	t.line("policy %s wants %s: %s", v.Policy, plural(v.Target, "GPU"), v.Headline)
	if v.Funnel.Offers > 0 {
		t.line("offers: %s", v.FunnelText)
	}
	if len(v.Buys) > 0 {
		t.line("would be bought now:")
		t.actionRows(v.Buys)
	}
	if len(v.Asks) > 0 {
		t.line("would be asked about first:")
		t.row("AT BEST", "ON DEMAND", "FREE", "MODEL", "PLACE", "HOST", "WHY")
	}
	for i := range v.Asks {
		l := &v.Asks[i]
		t.row(plain(l.PerGPU), plain(perGPU(l)), l.Free, l.Model, cmp.Or(l.Location.String(), "-"), hostText(l), l.Reason.Text)
	}
	if len(v.Counterfactuals) == 0 && strings.HasPrefix(v.Headline, "short") {
		t.line("to relax one condition alone would bring nothing now")
	}
	t.helps(v.Counterfactuals)
}

// perGPU is what a GPU there costs on demand, all-in.
func perGPU(l *plan.Listing) market.Maybe[market.Rate] {
	r, known := l.OnDemand.Get()
	if !known {
		return l.OnDemand
	}
	return market.Some(r.PerGPU(l.Shape.GPUs))
}
