package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tdscaler/tdscaler/internal/actuator"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/demo"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/simulator"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

func demoCommand() *cobra.Command {
	o := demo.Options{}
	var d demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch a fleet being bought, outbid and rebought on a simulated market",
		Long: `demo runs the real daemon on a simulated TensorDock for a week of virtual time and
shows what the market saw: hours delivered, what they cost, outbids survived. It
needs no account, spends nothing and leaves nothing behind.

With --serve it runs in real time instead, with HTTP open, until it is stopped.
With --metrics it writes what a Prometheus would have scraped meanwhile: a week of
history for alerts and dashboards, see docs/monitoring.md.

With --keep the configuration and the ledger stay in a folder, and everything that
reads a ledger tells of the played night: status, ledger, cost.
--faults lets the market misbehave meanwhile, as docs/simulator.md describes.

When to use it: first, before there is an account.`,
		Example: "  tdscaler demo\n  tdscaler demo --seed 7 --days 30\n  tdscaler demo --for 6h --keep night --faults 'empty:list:0.1'\n  tdscaler demo --serve",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case d.show:
				_, err := cmd.OutOrStdout().Write(demo.Policies)
				return err
			case d.serve && (o.Config != "" || d.metrics != "" || d.start != "" || o.Keep != "" || d.faults != ""):
				return usageError("--serve plays the demo's own policies in real time; for others run a simulator beside a daemon: docs/simulator.md")
			}
			if err := d.options(cmd, &o); err != nil {
				return err
			}
			if d.serve {
				return serveDemo(cmd, o)
			}
			return playDemo(cmd, o, &d)
		},
	}
	f := cmd.Flags()
	f.Uint64Var(&o.Seed, "seed", 1, "seed of the market")
	f.IntVar(&d.days, "days", 7, "days of virtual time")
	f.DurationVar(&o.Length, "for", 0, "`LENGTH` of virtual time instead of --days, as 6h")
	f.IntVar(&o.Hosts, "hosts", 60, "hosts on the market")
	f.BoolVar(&d.asJSON, "json", false, "print as JSON")
	f.BoolVar(&d.serve, "serve", false, "run in real time, with HTTP open, until stopped")
	f.StringVarP(&o.Config, "config", "c", "", "play the policies of this `FILE` instead, live whatever its mode; nothing beside it is written")
	f.StringVar(&d.start, "start", "", "when the virtual time begins, as in 2026-03-02T00:00:00Z, which is the default")
	f.StringVar(&d.metrics, "metrics", "", "write the metrics of every virtual minute into `FILE`, as OpenMetrics")
	f.StringVar(&o.Keep, "keep", "", "leave configuration and ledger in this new `FOLDER`, to read with other commands")
	f.StringVar(&d.faults, "faults", "", "`FAULTS` to inject, as kind:operation:when, separated by commas, e.g. lost:deploy:0.05; see docs/simulator.md")
	f.BoolVar(&d.show, "policies", false, "print the demo's policies and stop")
	return cmd
}

// demoFlags are the flags of demo that are not options of a run as they are.
type demoFlags struct {
	asJSON, serve, show    bool
	metrics, start, faults string
	days                   int
	parsed                 *simulator.Faults
}

// options reads what the flags say about the play.
func (d *demoFlags) options(cmd *cobra.Command, o *demo.Options) (err error) {
	switch {
	case o.Length == 0:
		o.Length = time.Duration(d.days) * 24 * time.Hour
	case cmd.Flags().Changed("days"):
		return usageError("--days and --for exclude each other")
	}
	if o.Length < time.Minute || o.Hosts < 1 {
		return usageError("the demo needs a day (or --for a minute) and a host at least")
	}
	if d.start != "" {
		if o.Start, err = time.Parse(time.RFC3339, d.start); err != nil {
			return usageError("--start: %v", err)
		}
	}
	if d.parsed, err = simulator.ParseFaults(d.faults); err != nil {
		return usageError("--faults: %v", err)
	}
	o.Connect = simulatorConnector(d.parsed, nil)
	if o.Config != "" { // what is wrong with it is said here
		_, err = loadConfig(o.Config, cmd.ErrOrStderr())
	}
	return err
}

// simulatorConnector makes the same client as on the real market, on a transport that
// calls the simulator in process. faults may be nil.
func simulatorConnector(faults *simulator.Faults, observe func(tensordock.Call)) demo.Connect {
	return func(cfg daemon.Config, c clock.Clock, e *simulator.Engine) (daemon.Reader, actuator.Writer, error) {
		o := clientOptions(&cfg, c, observe)
		o.Transport = simulator.Transport(e.Handler(simulator.FaceOptions{
			Latency: simulator.Latency{Read: 500 * time.Millisecond, Write: 3 * time.Second, Sigma: 0.5}, Faults: faults,
		}))
		client, err := tensordock.NewClient(o)
		if err != nil {
			return nil, nil, err
		}
		return client.Reader, client, nil
	}
}

func playDemo(cmd *cobra.Command, o demo.Options, d *demoFlags) (err error) {
	if d.metrics != "" {
		h, herr := recordHistory(&o, d.parsed, d.metrics)
		if herr != nil {
			return herr
		}
		defer func() { err = errors.Join(err, h.Close()) }()
	}
	errw := cmd.ErrOrStderr()
	bar := newProgress(errw)
	if bar != nil {
		o.Progress = bar.show
	} else if !d.asJSON {
		fmt.Fprintf(errw, "playing %s of a simulated market ...\n", played(o.Length))
	}
	r, err := demo.Run(cmd.Context(), o)
	if bar != nil {
		bar.clear()
	}
	if err != nil {
		return err
	}
	if d.asJSON {
		return printJSON(cmd.OutOrStdout(), r)
	}
	return printDemo(cmd.OutOrStdout(), &r)
}

// played is a length of virtual time in words.
func played(d time.Duration) string {
	if day := 24 * time.Hour; d%day == 0 {
		return plural(int(d/day), "day")
	}
	return d.String()
}

func printDemo(w io.Writer, r *demo.Result) error {
	fmt.Fprintf(w, "\n%s of market, %d cycles, %d machines, in %s\n\n", played(time.Duration(r.Days*24*float64(time.Hour))), r.Cycles, r.Machines, r.Took.Round(100*time.Millisecond))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "POLICY\tWANTED GPUh\tDELIVERED GPUh\t\t$/GPUh\tON DEMAND\tSAVED\tCOST\tOUTBIDS\tDEPLOYS\tREBIDS\tDELETES\t")
	for _, p := range append(r.Policies, r.Total) {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%s\t%.3f\t%.3f\t%s\t$%.2f\t%d\t%d\t%d\t%d\t\n", p.Policy, p.Target, p.Delivered,
			percent(p.Delivered, p.Target), p.PerGPUHour().Float(), p.OnDemandPerGPUHour().Float(),
			percent(p.OnDemand.Float()-p.Cost.Float(), p.OnDemand.Float()), p.Cost.Float(), p.Outbids, p.Deploys, p.Rebids, p.Deletes)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\npeak burn %s of %s allowed; balance left $%.2f\n", rounded(r.Peak), rounded(r.Cap), r.Balance.Float())
	return err
}

func percent(part, whole float64) string {
	if whole == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*part/whole)
}

// rounded prints a rate to a tenth of a cent, for tables.
func rounded(r market.Rate) string { return fmt.Sprintf("$%.3f/h", r.Float()) }

// progress is a bar on a terminal.
type progress struct {
	w    io.Writer
	last int
}

// newProgress returns nil where w is no terminal.
func newProgress(w io.Writer) *progress {
	s, ok := w.(screen)
	if !ok || !term.IsTerminal(int(s.Fd())) {
		return nil
	}
	return &progress{w: s, last: -1}
}

func (p *progress) show(done float64) {
	const width = 50
	n := min(int(done*1000), 1000)
	if n == p.last {
		return
	}
	p.last = n
	full := n * width / 1000
	fmt.Fprintf(p.w, "\r[%s%s] %5.1f%%", strings.Repeat("#", full), strings.Repeat(".", width-full), float64(n)/10)
}

func (p *progress) clear() { fmt.Fprintf(p.w, "\r%60s\r", "") }

// serveDemo runs the daemon on the simulator in real time, as `run` would.
func serveDemo(cmd *cobra.Command, o demo.Options) (err error) {
	dir, err := os.MkdirTemp("", "tdscaler-demo-")
	if err != nil {
		return err
	}
	defer func() {
		if rerr := os.RemoveAll(dir); err == nil {
			err = rerr
		}
	}()
	return demoInFolder(cmd.Context(), cmd.ErrOrStderr(), o, dir)
}

func demoInFolder(ctx context.Context, errw io.Writer, o demo.Options, dir string) error {
	path, err := demo.WriteConfig(dir)
	if err != nil {
		return err
	}
	engine, err := simulator.New(simulator.Options{Clock: clock.System{}, Seed: o.Seed, Hosts: o.Hosts, Balance: demo.Balance})
	if err != nil {
		return err
	}
	cfg, err := loadConfig(path, io.Discard) // its one warning is about passwords nobody needs here
	if err != nil {
		return err
	}
	cfg.Key, cfg.Token = demo.Credentials()
	fmt.Fprintf(errw, "a simulated market in real time, on http://%s/; in another terminal:\n  tdscaler top --config %s\n  tdscaler status --config %s\n"+
		"Stop with Ctrl-C.\n", cfg.Set.Daemon.Listen, path, path)
	return runWith(ctx, &cfg, false, errw, func(c daemon.Config) (daemon.Market, error) {
		r, w, err := o.Connect(c, clock.System{}, engine)
		return daemon.Market{Reader: r, Writer: w}, err
	})
}
