package backtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/errands"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// Options of a run.
type Options struct {
	Name  string // of the result
	Set   policy.Set
	Tape  *tape.Tape
	Cycle time.Duration // between two looks: whole seconds
	// Progress, if set, is called after every cycle with the share that is done.
	Progress func(done float64)
	// Report, if set, sees every cycle's report.
	Report func(*plan.Report)
}

// Played is what somebody came to on a tape, and the machines that they had.
type Played struct {
	tape.Result
	Machines []tape.Span
	// Optimum is one way to J*, of ours; nil where it was not computed.
	Optimum []tape.Span
}

// Run lets the daemon buy on a tape from its first second to its last, in a folder of
// its own that is removed at the end. The policies' match, spread and files count for
// nothing: see Fit.
func Run(ctx context.Context, o Options) (Played, error) {
	dir, err := os.MkdirTemp("", "tdscaler-backtest-")
	if err != nil {
		return Played{}, err
	}
	r, err := play(ctx, &o, dir)
	if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
		return Played{}, fmt.Errorf("backtest: %w", err)
	}
	return r, nil
}

func play(ctx context.Context, o *Options, dir string) (Played, error) {
	virtual := clock.NewVirtual(o.Tape.Start)
	m := NewMarket(virtual, o.Tape, o.Set.Policies)
	l, err := ledger.Open(ledger.Options{
		Path: filepath.Join(dir, "backtest.db"), NoSync: true, Volatile: true, ID: "backtest", Retention: o.Set.Ledger.Retention, MaxSize: o.Set.Ledger.MaxSize,
	})
	if err != nil {
		return Played{}, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	d, err := daemon.New(daemon.Options{
		Config: o.config(dir), Ledger: l, Credentials: credentials.New(filepath.Join(dir, "credentials")), Clock: virtual,
		Log: zap.NewNop(), Registerer: prometheus.NewRegistry(), Errands: &errands.Obliging{Clock: virtual},
		Connect: func(daemon.Config) (daemon.Market, error) { return daemon.Market{Reader: m, Writer: m}, nil },
		Report:  func(r plan.Report) { o.report(&r, m, stop) },
	})
	if err != nil {
		return Played{}, errors.Join(err, l.Close())
	}
	if err := errors.Join(d.Run(ctx, false), l.Close()); err != nil {
		return Played{}, err
	}
	if m.now()+o.Cycle < o.Tape.Length {
		return Played{}, context.Canceled // stopped by the user
	}
	return Played{Result: m.Result(o.Name), Machines: m.Lives()}, nil
}

// report ends the run with the last cycle that begins before the tape's end.
func (o *Options) report(r *plan.Report, m *Market, stop func()) {
	if o.Report != nil {
		o.Report(r)
	}
	if o.Progress != nil {
		o.Progress(float64(m.now()) / float64(o.Tape.Length))
	}
	if m.now()+o.Cycle >= o.Tape.Length {
		stop()
	}
}

// config is the daemon's, live on a market that is not. A key spares the passwords:
// each would be a file.
func (o *Options) config(dir string) daemon.Config {
	c := daemon.Config{Path: filepath.Join(dir, "backtest.yaml"), Set: o.Set, Materials: map[string]daemon.Material{}}
	c.Set.Daemon.Mode = policy.Live
	c.Set.Daemon.Schedule = "@every " + o.Cycle.String()
	c.Key, c.Token = secret.New("none"), secret.New("none")
	for i := range o.Set.Policies {
		c.Materials[o.Set.Policies[i].Name] = daemon.Material{SSHKey: "ssh-ed25519 none"}
	}
	return c
}
