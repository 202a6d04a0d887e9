package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/report"
)

// ReportRequest asks for a page about a stretch of time, of a policy, or with "" of all.
// Without Until it lasts until now.
type ReportRequest struct {
	Since  time.Time `json:"since"`
	Until  time.Time `json:"until,omitzero"`
	Policy string    `json:"policy,omitempty"`
}

// Report implements Desk. Of each cycle it reads the summary alone, so that a month's
// page costs what listing its cycles does.
func (f *Office) Report(ctx context.Context, r ReportRequest) (report.Report, error) {
	if err := f.knows(r.Policy); err != nil {
		return report.Report{}, err
	}
	c, now := f.b.config(), f.o.Clock.Now().Round(0)
	in := report.Input{
		From: r.Since, To: r.Until, Now: now, Owner: c.Set.Daemon.Owner, Mode: c.Set.Daemon.Mode, Only: r.Policy, Policies: c.Set.Policies, Budget: c.Set.Budget,
	}
	if in.To.IsZero() || in.To.After(now) {
		in.To = now
	}
	if !in.From.Before(in.To) {
		return report.Report{}, &Fault{Class: Usage, Message: fmt.Sprintf("a report from %s to %s would be of no time at all", stampOf(in.From), stampOf(in.To))}
	}
	err := f.question(func(l *ledger.Ledger) error { return recorded(ctx, l, &in) })
	if err == nil {
		err = f.presently(&c, &in)
	}
	if err != nil {
		return report.Report{}, fail(err)
	}
	return report.Make(in), nil
}

func stampOf(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// recorded reads what the ledger has of the stretch.
func recorded(ctx context.Context, l *ledger.Ledger, in *report.Input) (err error) {
	if in.Cycles, err = cyclesFor(ctx, l, in.From, in.To); err != nil {
		return err
	}
	if in.Intents, err = l.Intents(ledger.Filter{Policy: in.Only, Since: in.From, Until: in.To}); err != nil {
		return err
	}
	zone := in.Budget.Zone.Location()
	first, last := in.From.In(zone).Format(time.DateOnly), in.To.Add(-1).In(zone).Format(time.DateOnly)
	if in.Costs, err = l.Costs(first, last); err != nil {
		return err
	}
	if in.Balances, err = l.Balances(first, last); err != nil {
		return err
	}
	in.Outages, err = l.Outages(in.From)
	return err
}

// errEnough ends a list.
var errEnough = errors.New("enough")

// cyclesFor are the cycles of a stretch, one that began as it ended among them, and the
// last that began no later than it, oldest first.
func cyclesFor(ctx context.Context, l *ledger.Ledger, from, to time.Time) (out []report.Cycle, err error) {
	err = l.Reports(time.Time{}, to.Add(1), 0, func(s ledger.ReportSummary) error {
		out = append(out, report.Cycle{Number: s.Cycle, At: s.StartedAt, Problem: s.Problem, Digest: s.Digest})
		if !s.StartedAt.After(from) {
			return errEnough
		}
		return ctx.Err()
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	// A clock that was set back makes later cycles earlier ones.
	slices.SortStableFunc(out, func(a, b report.Cycle) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Number, b.Number)) })
	return out, err
}

// presently adds how things stand now, where that is asked for.
func (f *Office) presently(c *daemon.Config, in *report.Input) error {
	if !in.Current() {
		return nil
	}
	s, err := f.b.status()
	if err != nil {
		return err
	}
	h, err := f.history()
	if err != nil {
		return err
	}
	in.Present = report.Present{
		Burn: s.Burn, Runway: s.Runway, SpentMonth: s.SpentMonth, SpentBy: h.SpentBy(in.Now.In(c.Set.Budget.Zone.Location())),
		Reload: cmp.Or(s.Reload.Problem, s.Reload.Held), ReloadAt: s.Reload.At,
	}
	return nil
}

// Report implements Desk.
func (c *Client) Report(ctx context.Context, r ReportRequest) (report.Report, error) {
	return call[report.Report](ctx, c, "report", quick, r)
}
