package main

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func statusCommand() *cobra.Command {
	var f deskFlags
	cmd := &cobra.Command{
		Use:   "status --config FILE",
		Short: "Print where things stand, on one screen",
		Long: `status prints mode, last and next cycle, targets against fleet, burn, caps, spend,
balance, holds, pauses and breakers. Without a daemon it tells what the ledger knows
of the last cycle, and says so.

When to use it: first, whenever anything is wrong.`,
		Example: "  tdscaler status --config policies.yaml\n  tdscaler status --config policies.yaml --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.at(cmd, func(s *session) error {
				st, err := s.desk.Status(s.Context(), control.StatusRequest{})
				if err != nil {
					return err
				}
				return s.printed(st, func(t *table) { t.status(&st, clock.System{}.Now()) })
			})
		},
	}
	f.add(cmd)
	return cmd
}

func (t *table) status(s *control.Status, now time.Time) {
	running := shade{good, "a daemon runs"}
	if !s.Running {
		running = shade{caution, "no daemon runs; this is what the ledger knows"}
	}
	t.row("daemon", running)
	t.row("mode", string(s.Mode)+", owner "+s.Owner)
	t.row("file", s.Config+fileState(s, now))
	t.row("cycle", cycleState(s, now))
	if s.Problem != "" {
		t.row("problem", shade{bad, s.Problem})
	}
	for _, u := range s.Unread {
		t.row("not read", shade{caution, u.List + ": " + u.Why})
	}
	if s.Unwritable != "" && s.Unwritable != s.Problem {
		t.row("ledger", shade{bad, s.Unwritable})
	}
	t.row("rate", s.Burn.String()+" as last seen, "+s.Reserved.String()+" reserved, cap "+s.HourlyCap.String())
	t.row("spent", spent(s.SpentToday)+" today, "+spent(s.SpentMonth)+" this month ("+string(s.Zone)+"), "+spent(s.SpentEver)+" ever")
	t.row("balance", owned(s.Balance.Balance)+runway(s))
	if s.Bill.Warned {
		t.row("bill", shade{bad, "the balance fell by " + spent(s.Bill.Excess) + " more than the " + spent(s.Bill.Charged) + " that the books explain since " + stamp(s.Bill.Since)})
	}
	t.row("machines", s.Machines)
	for i := range s.Containers {
		c := &s.Containers[i]
		t.row("container", c.Name+" of "+c.Policy+", "+c.Summary()+": "+c.Count()+" replicas, "+c.Reserved.String()+" reserved"+because(c.Alarm))
	}
	if s.Scaling.Meaning != "" {
		t.row("scaling", "the market reads a request to scale as "+string(s.Scaling.Meaning)+", learnt "+stamp(s.Scaling.At))
	}
	t.drift(s.Drift)
	t.stops(s, now)
	t.gap()
	t.standings(s.Policies)
	t.notDone(s.Holds)
	t.shadows(s.Shadows)
}

// shadows prints what policies that are never acted on would have come to.
func (t *table) shadows(all []plan.ShadowReport) {
	if len(all) == 0 {
		return
	}
	t.gap()
	t.line("shadows: decided and never done; none of these machines exists")
	t.row("SHADOW", "TARGET", "READY", "BOOTING", "WOULD COST", "IN ALL", "GPU-HOURS", "PER GPU-HOUR", "STARTS", "LOST", "SINCE")
	for i := range all {
		s := &all[i]
		t.row(s.Policy, s.Standing.Target, s.Standing.Ready, s.Standing.Booting, s.Rate, spent(s.Cost),
			fmt.Sprintf("%.1f of %.1f", s.Delivered.Hours(), s.Wanted.Hours()), maybe(s.PerGPUHour()), s.Starts, s.Losses, stamp(s.Since))
	}
}

// drift prints how TensorDock's answers departed from the form in which they are known.
func (t *table) drift(all []daemon.DriftSeen) {
	const most = 8
	for i, d := range all {
		if i == most {
			t.row("answers", plural(len(all)-most, "more change")+"; --json has all")
			return
		}
		text := d.Operation + ": " + d.Kind
		if d.Field != "" {
			text += " " + d.Field
		}
		if d.Stops != "" {
			text += " (it stopped " + string(d.Stops) + ")"
		}
		t.row("answers", text+", in "+strconv.FormatUint(d.Answers, 10)+" answers, last at "+stamp(d.Last))
	}
}

// runway says how long the balance lasts, and what else it pays for.
func runway(s *control.Status) string {
	text := ""
	if s.Runway > 0 {
		text = ", lasts " + ago(s.Runway) + " at what is reserved"
	}
	if s.Others > 0 {
		text += "; " + s.Others.String() + " of it is not for our machines"
	}
	return text
}

func fileState(s *control.Status, now time.Time) string {
	switch {
	case !s.Running:
		return ""
	case s.Reload.Held != "":
		return "; a change on disk is held, \"tdscaler reload\" confirms it: " + s.Reload.Held
	case !s.Reload.Successful:
		return "; not reloaded: " + s.Reload.Problem
	}
	return ", loaded " + ago(now.Sub(s.Reload.At)) + " ago"
}

func cycleState(s *control.Status, now time.Time) string {
	if s.Cycle == 0 {
		return "none has finished yet"
	}
	text := ago(now.Sub(s.FinishedAt)) + " ago"
	if s.Running && !s.NextAt.IsZero() {
		text += ", next in " + ago(s.NextAt.Sub(now))
	}
	return text
}

// stops prints what keeps tdscaler from writing.
func (t *table) stops(s *control.Status, now time.Time) {
	if s.PauseFile != "" {
		t.row("stopped", shade{caution, "the pause file exists: " + s.PauseFile})
	}
	if len(s.Pauses) > 0 {
		t.line("pauses:")
		t.pauses(s.Pauses, now)
	}
	for _, b := range s.Breakers {
		t.row("breaker", shade{bad, breakerHolds(&b) + because(cmp.Or(b.Reason, "no reason given"))})
	}
}

// breakerHolds says what a breaker stops, and until when.
func breakerHolds(b *plan.Breaker) string {
	what, until := ", no growth ", "until resumed"
	if b.All {
		what = ", no writes at all "
	}
	if !b.Until.IsZero() {
		until = "until " + stamp(b.Until)
	}
	return b.Code + what + until
}
