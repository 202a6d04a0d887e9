package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/fsnotify/fsnotify"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/errands"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func runCommand() *cobra.Command {
	var path, pprof string
	var once bool
	cmd := &cobra.Command{
		Use:   "run --config FILE",
		Short: "Run the daemon: a cycle at once, then on the schedule",
		Long: `run looks, decides and acts on the schedule of the configuration. In mode
dry-run, the default, it does everything but act.

SIGHUP reloads the configuration. SIGTERM stops the daemon and leaves every
machine running, and its bill with it: "tdscaler destroy" ends bills.

When to use it: as a service, after "check" and "plan" are content. --once is for a
look, for cron and for tests.`,
		Example: "  tdscaler run --config policies.yaml\n  tdscaler run --config policies.yaml --once",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			found, err := configOf(cmd, path)
			if err != nil {
				return err
			}
			return runDaemon(cmd.Context(), found, once, pprof, cmd.ErrOrStderr())
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&once, "once", false, "stop after one cycle")
	cmd.Flags().StringVar(&pprof, "pprof", "", "serve profiles of the program on `ADDR`, as 127.0.0.1:6060; for this machine alone")
	return cmd
}

// runDaemon wires the daemon together and runs it until ctx ends.
func runDaemon(ctx context.Context, found foundConfig, once bool, pprof string, errw io.Writer) error {
	// What ends the process unasked, a panic or the watchdog's SIGABRT, tells where all of
	// it stood, and ends it by a signal. Go's own way is exit code 2, which is our word for a
	// bad configuration: nobody restarts that.
	debug.SetTraceback("crash")
	cfg, err := loadConfig(found.path, errw)
	if err != nil {
		return err
	}
	if cfg.Set.Daemon.Mode == policy.Live {
		if err := toldWhich(found, "a daemon that spends money"); err != nil {
			return err
		}
	}
	if err := cfg.LoadCredentials(os.Getenv); err != nil {
		return err
	}
	if pprof != "" {
		stop, err := startProfiles(ctx, pprof, cfg.Set.Daemon, errw)
		if err != nil {
			return err
		}
		defer stop()
	}
	return runWith(ctx, &cfg, once, errw, nil)
}

// runWith runs a loaded configuration; connect, if not nil, replaces the real
// market.
func runWith(ctx context.Context, cfg *daemon.Config, once bool, errw io.Writer, connect func(daemon.Config) (daemon.Market, error)) error {
	log, err := newLogger(cfg.Set.Daemon, errw)
	if err != nil {
		return err
	}
	l, err := openLedger(cfg)
	if err != nil {
		return err
	}
	defer closeLedger(l, log)
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	canary := daemon.NewCanary(clock.System{})
	m := newManager(log)
	clk := clock.Pulsed{Clock: clock.System{}} // of all that a cycle waits for
	var d *daemon.Daemon                       // nothing is asked before it is there
	var out daemon.Errands = &errands.Obliging{Clock: clock.System{}}
	if connect == nil { // the machines are real
		out = errands.New(errands.Options{Clock: clock.System{}})
	}
	defer out.Wait() // what is under way ends with ctx
	if connect == nil {
		connect = connector(clk, watched(apiMetrics(reg, func() uint64 { return d.Underway() }), canary))
	}
	o := daemonOptions(cfg, l, connect)
	o.Clock, o.Log, o.Registerer, o.Canary, o.Errands, o.Signals = clk, log, reg, canary, out, signalReader(clk, reg)
	tell := newAnnouncer(cfg, reg, log)
	o.Pulse, o.Report = m.pulse, func(r plan.Report) {
		m.reported(r)
		tell.reported(d, &r)
	}
	d, err = daemon.New(o)
	if err != nil {
		return err
	}
	telling := tell.start(ctx, d)
	defer telling() // what is left is told before the ledger is closed
	if !once {
		sending := newCourier(d, l, control.Running(officeOptions(cfg), d, l), tell.metrics.done, log).start(ctx)
		defer sending()
	}
	return serve(ctx, d, cfg, l, reg, log, m, once)
}

// daemonOptions are what every daemon has, whether it runs or serves one command.
func daemonOptions(cfg *daemon.Config, l *ledger.Ledger, connect func(daemon.Config) (daemon.Market, error)) daemon.Options {
	return daemon.Options{
		Config: *cfg, Ledger: l, Credentials: credentials.New(credentialsDir(cfg)), PauseFile: pauseFile(cfg), Connect: connect, Grace: grace,
		Clock: clock.System{}, Log: zap.NewNop(), Registerer: prometheus.NewRegistry(), Signals: signalReader(clock.System{}, nil),
	}
}

func openLedger(cfg *daemon.Config) (*ledger.Ledger, error) {
	s := cfg.Set
	l, err := ledger.Open(ledger.Options{Path: s.Daemon.Ledger, Retention: s.Ledger.Retention, MaxSize: s.Ledger.MaxSize})
	if err != nil {
		return nil, fmt.Errorf("no daemon runs without a ledger that it can write: %w", err)
	}
	return l, nil
}

func closeLedger(l *ledger.Ledger, log *zap.Logger) {
	if err := l.Close(); err != nil {
		log.Error("close the ledger", zap.Error(err))
	}
}

func credentialsDir(cfg *daemon.Config) string {
	return filepath.Join(filepath.Dir(cfg.Set.Daemon.Ledger), "credentials")
}

// pauseFile lets somebody with nothing but a shell stop all writes: touch it.
func pauseFile(cfg *daemon.Config) string { return cfg.Set.Daemon.Ledger + ".pause" }

// serve runs the daemon with what surrounds it: the control socket, the HTTP
// server, signals, the service manager and the watch on the configuration file. It
// returns when the daemon does.
func serve(ctx context.Context, d *daemon.Daemon, cfg *daemon.Config, l *ledger.Ledger, reg *prometheus.Registry, log *zap.Logger, m *manager, once bool) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	hup := make(chan os.Signal, 1) // before anybody can know that we are ready, and send it
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	socket, err := control.Listen(l.Path())
	if err != nil {
		return err
	}
	wg.Go(func() {
		// A deletion that destroy asked for gets its grace too.
		serveUntil(ctx, socket, socketServer(control.Handler(control.Running(officeOptions(cfg), d, l), clock.System{})), grace+brief, log)
	})
	if addr := cfg.Set.Daemon.Listen; addr != "" {
		ln, err := net.Listen("tcp", addr)
		switch {
		case err == nil:
			log.Info("listening", zap.String("addr", ln.Addr().String()))
			wg.Go(func() { serveHTTP(ctx, ln, d, control.Running(officeOptions(cfg), d, l), reg, log) })
		case once: // nobody would come by in one cycle
			log.Warn("daemon.listen: one cycle is done without it", zap.Error(err))
		default:
			return fmt.Errorf("daemon.listen: %w", err)
		}
	}
	if hook := cfg.Set.Daemon.Webhook; hook.Listen != "" {
		ln, h, err := openWebhook(hook, control.Running(officeOptions(cfg), d, l), reg, log)
		if err != nil {
			return err
		}
		wg.Go(func() { serveUntil(ctx, ln, statusServer(h), brief, log) })
	}
	wg.Go(func() { reloadOnHangup(ctx, hup, d, m) })
	changed := make(chan struct{}, 1)
	wg.Go(func() { watchFile(ctx, cfg.Path, changed, log) })
	wg.Go(func() { d.Watch(ctx, changed) })
	log.Info("started", zap.String("version", daemon.Build().Version), zap.String("file", absolute(cfg.Path)), zap.String("mode", string(cfg.Set.Daemon.Mode)),
		zap.String("owner", cfg.Set.Daemon.Owner), zap.Int("policies", len(cfg.Set.Policies)), zap.String("hourly_cap", cfg.Set.HourlyCap().String()))
	m.ready(d)
	wg.Go(func() { m.attend(ctx, d) })
	if err = d.Run(ctx, once); err != nil {
		m.stopping(d, "ended: "+err.Error())
		return err
	}
	log.Info("stopped; machines are left as they are")
	return nil
}

// absolute is where a file is, whatever the folder that the log's reader stands in.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func reloadOnHangup(ctx context.Context, hup <-chan os.Signal, d *daemon.Daemon, m *manager) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
			m.reloading(d, func() { _ = d.Reload(true) }) // logged, counted and kept in the status
		}
	}
}

// touches says whether an event near the configuration file may be about it. The
// ledger often lies in the same folder and is written all the time; waiting for
// the folder to be still would be waiting for ever. Orchestrators that mount files
// by links swap a folder called "..data".
func touches(event, path string) bool {
	return filepath.Base(event) == filepath.Base(path) || filepath.Base(event) == "..data"
}

// watchFile hints at changes near the configuration file. It watches the folder,
// because editors and orchestrators replace files instead of writing to them.
// Without a watch, reloading by SIGHUP still works.
func watchFile(ctx context.Context, path string, changed chan<- struct{}, log *zap.Logger) {
	w, err := fsnotify.NewWatcher()
	if err == nil {
		err = w.Add(filepath.Dir(path))
	}
	if err != nil {
		log.Warn("the configuration file is not watched; SIGHUP reloads it", zap.Error(err))
		return
	}
	for {
		select {
		case <-ctx.Done():
			if err := w.Close(); err != nil && !errors.Is(err, fsnotify.ErrClosed) {
				log.Warn("stop watching", zap.Error(err))
			}
			return
		case e := <-w.Events:
			if !touches(e.Name, path) {
				continue
			}
			select {
			case changed <- struct{}{}:
			default: // a hint is pending already
			}
		case err := <-w.Errors:
			log.Warn("watch the configuration file", zap.Error(err))
		}
	}
}
