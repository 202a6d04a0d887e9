package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/notify"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func notifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "notify",
		Short: "Try the sinks of notifications, and see what is told where",
		Long: `notify is about the section notifications of the configuration: who is told what
needs somebody, in chats, by mail or by webhook.

When to use it: after the section was changed, and when a message did not come.`,
		Example: "  tdscaler notify list --config policies.yaml\n  tdscaler notify test --config policies.yaml --sink ops",
		Args:    groupArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(notifyTestCommand(), notifyListCommand())
	return cmd
}

func notifyTestCommand() *cobra.Command {
	var path, sink, event string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "test --config FILE",
		Short: "Send a sample to every sink, or to one, and say what became of it",
		Long: `test sends a sample to every sink of the file, whatever the sink's filter, in the way
in which the daemon sends: the same addresses, templates, timeouts and tries. It needs
no daemon and changes nothing. It exits 1 when a sink did not take the sample.

When to use it: after the section notifications or one of its files was changed.`,
		Example: "  tdscaler notify test --config policies.yaml\n  tdscaler notify test --config policies.yaml --sink ops --event target_missed",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := configOf(cmd, path)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(found.path, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return notifyTest(cmd, &cfg, sink, policy.NotifyEvent(event), asJSON)
		},
	}
	configFlag(cmd, &path)
	fl := cmd.Flags()
	fl.StringVar(&sink, "sink", "", "only to the sink of this `NAME`")
	fl.StringVar(&event, "event", string(policy.NotifyTest), "the `EVENT` that the sample is of, as in the file's events")
	fl.BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// tried is what became of a sample at one sink.
type tried struct {
	Sink      string  `json:"sink"`
	Type      string  `json:"type"`
	Delivered bool    `json:"delivered"`
	Tries     int     `json:"tries"`
	Seconds   float64 `json:"seconds"`
	Problem   string  `json:"problem,omitempty"`
}

func notifyTest(cmd *cobra.Command, cfg *daemon.Config, sink string, event policy.NotifyEvent, asJSON bool) error {
	if err := checkSample(cfg, sink, event); err != nil {
		return err
	}
	p, err := notify.NewPost(notify.PostOptions{Sinks: cfg.Sinks, Clock: clock.System{}})
	if err != nil {
		return err
	}
	m := notify.Sample(event, cfg.Set.Daemon.Owner, cfg.Set.Daemon.Mode, time.Now())
	all := []tried{}
	failed := 0
	for _, o := range p.SendTo(cmd.Context(), m, func(s *notify.SinkConfig) bool { return sink == "" || s.Name == sink }) {
		one := tried{Sink: o.Sink, Type: o.Type, Delivered: o.Err == nil, Tries: o.Tries, Seconds: o.Took.Round(time.Millisecond).Seconds()}
		if o.Err != nil {
			one.Problem = o.Err.Error()
			failed++
		}
		all = append(all, one)
	}
	s := &session{Command: cmd, json: asJSON}
	if err := s.printed(all, func(t *table) { t.tried(all) }); err != nil {
		return err
	}
	if failed > 0 {
		return fmt.Errorf("%d of %s did not take the sample", failed, plural(len(all), "sink"))
	}
	return nil
}

// checkSample says what there is instead of a sink or event that there is not.
func checkSample(cfg *daemon.Config, sink string, event policy.NotifyEvent) error {
	var names []string
	for _, s := range cfg.Set.Notifications.Sinks {
		names = append(names, s.Name)
	}
	events := append([]policy.NotifyEvent{policy.NotifyTest}, policy.NotifyEvents()...)
	switch {
	case len(names) == 0:
		return usageError("%s has no sinks: nobody is told anything (docs/notifications.md)", cfg.Path)
	case sink != "" && !slices.Contains(names, sink):
		return usageError("there is no sink %q; there are %s", sink, strings.Join(names, ", "))
	case !slices.Contains(events, event):
		return usageError("there is no event %q; there are %s", event, list(events))
	}
	return nil
}

func list[T ~string](all []T) string {
	words := make([]string, len(all))
	for i, w := range all {
		words[i] = string(w)
	}
	return strings.Join(words, ", ")
}

func (t *table) tried(all []tried) {
	t.row("SINK", "TYPE", "RESULT", "TRIES", "TOOK", "WHY")
	for _, o := range all {
		result := shade{good, "delivered"}
		if !o.Delivered {
			result = shade{bad, "failed"}
		}
		t.row(o.Sink, o.Type, result, o.Tries, time.Duration(o.Seconds*float64(time.Second)), o.Problem)
	}
}

func notifyListCommand() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list --config FILE",
		Short: "List what would be told where, and what is firing now",
		Long: `list prints the events that there are, after how long each is told, how grave it is,
and which sinks of the file take it; then what fires now. It sends nothing and needs
no daemon.

When to use it: to see whether a filter does what was meant, and what was told.`,
		Example: "  tdscaler notify list --config policies.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := configOf(cmd, path)
			if err != nil {
				return err
			}
			cfg, err := loadConfig(found.path, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			state, err := notify.ReadState(notify.StateFile(cfg.Set.Daemon.Ledger))
			if err != nil {
				return err
			}
			l := listOf(&cfg.Set.Notifications, &state)
			s := &session{Command: cmd, json: asJSON}
			return s.printed(l, func(t *table) { t.notifications(&l) })
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// notifyList is what would be told where.
type notifyList struct {
	Events []listedEvent `json:"events"`
	Firing []listedAlert `json:"firing"`
}

type listedEvent struct {
	Event    policy.NotifyEvent    `json:"event"`
	Severity policy.NotifySeverity `json:"severity"`
	After    string                `json:"after"`
	Sinks    []string              `json:"sinks"`
	// Policies: some of these sinks are told of some policies only.
	Policies bool   `json:"some_policies_only,omitempty"`
	Name     string `json:"name"`
}

type listedAlert struct {
	Event    policy.NotifyEvent    `json:"event"`
	Severity policy.NotifySeverity `json:"severity"`
	Since    time.Time             `json:"since"`
	Title    string                `json:"title"`
	Told     []string              `json:"told"` // sinks
}

func listOf(n *policy.Notifications, state *notify.State) notifyList {
	out := notifyList{Events: []listedEvent{}, Firing: []listedAlert{}}
	for _, r := range notify.Rules() {
		e := listedEvent{Event: r.Event, Severity: r.Severity, After: r.For.String(), Sinks: []string{}, Name: r.Name}
		for i := range n.Sinks {
			if s := &n.Sinks[i]; s.Takes(r.Event, r.Worst(), "") {
				e.Sinks = append(e.Sinks, s.Name)
				e.Policies = e.Policies || len(s.Policies) > 0
			}
		}
		out.Events = append(out.Events, e)
	}
	for _, a := range state.FiringAlerts() {
		out.Firing = append(out.Firing, listedAlert{Event: a.Event, Severity: a.Severity, Since: a.Since, Title: a.Title, Told: state.ToldOf(a)})
	}
	return out
}

func (t *table) notifications(l *notifyList) {
	t.row("EVENT", "SEVERITY", "AFTER", "SINKS", "WHAT")
	for _, e := range l.Events {
		sinks := cmp.Or(strings.Join(e.Sinks, ","), "nobody")
		if e.Policies {
			sinks += " (some policies)"
		}
		after := e.After
		if after == "0s" {
			after = "at once"
		}
		t.row(e.Event, e.Severity, after, sinks, e.Name)
	}
	t.gap()
	if len(l.Firing) == 0 {
		t.line("nothing fires")
		return
	}
	t.row("FIRES SINCE", "SEVERITY", "TOLD", "WHAT")
	for _, a := range l.Firing {
		t.row(stamp(a.Since), a.Severity, cmp.Or(strings.Join(a.Told, ","), "nobody yet"), a.Title)
	}
}
