package main

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/plan"
)

func topCommand() *cobra.Command {
	var f deskFlags
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "top --config FILE",
		Short: "Watch fleet, money, market and what happens, live on a terminal",
		Long: `top shows on a terminal, and asks again every two seconds: an overview, the machines, the
market as a policy sees it, and what was done and not done, with the reasons. Keys 1
to 4 change the view, ? lists all keys, q ends it.

It only reads: no key changes anything, and where something is to be done it shows the
command to type. Without a daemon it tells what the ledger knows.

When to use it: while something is going on. "status" says where things stand, once or
with --watch.`,
		Example: "  tdscaler top --config policies.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 100*time.Millisecond {
				return usageError("--every: %s is too often; 100ms is the least", every)
			}
			if !onTerminalBothWays(cmd) {
				return usageError("top needs a terminal; \"tdscaler status --watch\" and \"tdscaler status --json\" need none")
			}
			s, err := f.session(cmd)
			if err != nil {
				return err
			}
			return s.top(every)
		},
	}
	configFlag(cmd, &f.config)
	cmd.Flags().DurationVar(&every, "every", 2*time.Second, "how often to ask")
	return cmd
}

// onTerminalBothWays says whether somebody reads what is drawn, and has keys.
func onTerminalBothWays(cmd *cobra.Command) bool {
	in, ok := cmd.InOrStdin().(*os.File)
	return ok && term.IsTerminal(int(in.Fd())) && drawn(cmd.OutOrStdout())
}

// top runs the live view until somebody ends it, which is no failure.
func (s *session) top(every time.Duration) error {
	_, colours := s.OutOrStdout().(tinted)
	m := newTop(s.lookAround, every, colours)
	p := tea.NewProgram(m, tea.WithContext(s.Context()), tea.WithInput(s.InOrStdin()), tea.WithOutput(terminal{s.OutOrStdout().(screen)}), tea.WithoutSignalHandler())
	_, err := p.Run()
	if errors.Is(err, context.Canceled) || errors.Is(err, tea.ErrInterrupted) {
		return nil
	}
	return err
}

// terminal is what bubbletea takes for one: it asks how large the file is behind an output
// that can be read and closed, which it never does.
type terminal struct{ screen }

func (terminal) Read([]byte) (int, error) { return 0, io.EOF }
func (terminal) Close() error             { return nil }

// topDesk is what top may ask for: questions alone, so that no key can change anything.
type topDesk interface {
	Status(context.Context, control.StatusRequest) (control.Status, error)
	Machines(context.Context, control.MachinesRequest) ([]control.Machine, error)
	Intents(context.Context, control.IntentsRequest) ([]plan.Intent, error)
	Market(context.Context, control.MarketRequest) (control.Market, error)
}

// lookAround asks whoever has the ledger now for what a view shows. The market is asked
// for at a daemon alone, which tells of its last look: every look of ours would be one
// at TensorDock.
func (s *session) lookAround(want topAsk) topSeen {
	out := topSeen{ask: want}
	out.err = s.visit(func(s *session) error { return out.from(s.Context(), s.desk) })
	out.at = clock.System{}.Now()
	return out
}

// from fills in what a desk answers.
func (out *topSeen) from(ctx context.Context, desk topDesk) (err error) {
	if out.status, err = desk.Status(ctx, control.StatusRequest{}); err != nil {
		return err
	}
	if out.machines, err = desk.Machines(ctx, control.MachinesRequest{}); err != nil {
		return err
	}
	if out.intents, err = desk.Intents(ctx, control.IntentsRequest{Machine: out.ask.machine, Limit: mostIntents}); err != nil {
		return err
	}
	if out.ask.view == viewMarket && out.status.Running && out.ask.policy != "" {
		out.market, err = desk.Market(ctx, control.MarketRequest{Policy: out.ask.policy})
	}
	return err
}

// mostIntents is how many intents are shown.
const mostIntents = 200
