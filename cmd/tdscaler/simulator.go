package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// simulatorFlags are the settings of a simulated market, as written.
type simulatorFlags struct {
	listen, shape, regime, faults, rebid, balance, key, token, replay string

	seed                uint64
	hosts               int
	latency, writeTakes time.Duration
	boot                time.Duration
}

func simulatorCommand() *cobra.Command {
	var f simulatorFlags
	cmd := &cobra.Command{
		Use:   "simulator --listen ADDR",
		Short: "Serve a simulated TensorDock marketplace over HTTP",
		Long: `simulator serves a believable TensorDock marketplace, both APIs, without an
account: hosts, an auction with rivals who come and go, boots, bills and a prepaid
balance. Point tensordock.marketplace_url and instances_url of a configuration, or
any other TensorDock client, at it. Any credentials are accepted unless --key and
--token are given.

When to use it: to try everything for real, and to test what talks to TensorDock.`,
		Example: "  tdscaler simulator --listen 127.0.0.1:8080 --seed 7\n  tdscaler simulator --listen 127.0.0.1:8080 --faults lost:deploy:0.1",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return serveSimulator(cmd, &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.listen, "listen", "127.0.0.1:8080", "`ADDR` to listen on; port 0 picks a free one")
	fl.StringVar(&f.shape, "shape", "real", "shape of the answers: real, as TensorDock answers, or seed, as its OpenAPI description says")
	fl.StringVar(&f.regime, "regime", "", "how rivals behave: quiet, trace or reactive")
	fl.StringVar(&f.replay, "replay", "", "replay the prices of a CSV `FILE` instead of making them up; see docs/simulator.md")
	fl.StringVar(&f.faults, "faults", "", "`FAULTS` to inject, as kind:operation:when, separated by commas, e.g. lost:deploy:0.05; see docs/simulator.md")
	fl.DurationVar(&f.latency, "latency", 0, "median time that reads take")
	fl.DurationVar(&f.writeTakes, "write-latency", 0, "median time that writes take")
	fl.DurationVar(&f.boot, "boot", 0, "time that every machine takes to boot; 0 lets it differ, as it does in reality")
	fl.StringVar(&f.rebid, "rebid", "", "which call applies a new bid to a machine: modify, validate-existing or never")
	fl.StringVar(&f.balance, "balance", "500", "prepaid balance in dollars")
	fl.StringVar(&f.key, "key", "", "the API key that callers must send")
	fl.StringVar(&f.token, "token", "", "the API token that callers must send")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of everything random")
	fl.IntVar(&f.hosts, "hosts", 60, "number of hosts")
	return cmd
}

func serveSimulator(cmd *cobra.Command, f *simulatorFlags) error {
	o, face, err := f.options()
	if err != nil {
		return &codedError{exitUsage, err}
	}
	e, err := simulator.New(o)
	if err != nil {
		return &codedError{exitUsage, err}
	}
	ln, err := net.Listen("tcp", f.listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "serving a simulated TensorDock on http://%s (shape %s, seed %d, %d hosts)\n", ln.Addr(), face.Shape, f.seed, f.hosts)
	serveUntil(cmd.Context(), ln, socketServer(withHealth(e.Handler(face))), brief, zap.NewNop())
	return nil
}

// withHealth answers "tdscaler health" beside the market's own pages.
func withHealth(market http.Handler) http.Handler {
	mux := http.NewServeMux()
	for _, page := range []string{"/healthz", "/readyz"} {
		mux.HandleFunc("GET "+page, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "the simulator is ready.") })
	}
	mux.Handle("/", market)
	return mux
}

func readReplay(path string) ([]simulator.Series, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	series, err := simulator.ReadSeries(r)
	return series, errors.Join(err, r.Close())
}

func (f *simulatorFlags) options() (o simulator.Options, face simulator.FaceOptions, err error) {
	o = simulator.Options{Clock: clock.System{}, Seed: f.seed, Hosts: f.hosts}
	face = simulator.FaceOptions{Key: f.key, Token: f.token, Latency: simulator.Latency{Read: f.latency, Write: f.writeTakes, Sigma: 0.5}}
	if f.boot < 0 {
		return o, face, fmt.Errorf("--boot: %s is negative", f.boot)
	}
	o.Boot.Median = f.boot
	if o.Balance, err = market.ParseAmount(f.balance); err != nil {
		return o, face, fmt.Errorf("--balance: %w", err)
	}
	if face.Shape, err = simulator.ParseShape(f.shape); err != nil {
		return o, face, fmt.Errorf("--shape: %w", err)
	}
	if f.regime != "" {
		if o.Regime, err = simulator.ParseRegime(f.regime); err != nil {
			return o, face, fmt.Errorf("--regime: %w", err)
		}
	}
	if f.rebid != "" {
		if o.RebidApplies, err = simulator.ParseRebidMode(f.rebid); err != nil {
			return o, face, fmt.Errorf("--rebid: %w", err)
		}
	}
	if f.replay != "" {
		if o.Replay, err = readReplay(f.replay); err != nil {
			return o, face, fmt.Errorf("--replay: %w", err)
		}
		o.Regime = simulator.Replay
	}
	if f.faults != "" {
		if face.Faults, err = simulator.ParseFaults(f.faults); err != nil {
			return o, face, fmt.Errorf("--faults: %w", err)
		}
	}
	return o, face, nil
}
