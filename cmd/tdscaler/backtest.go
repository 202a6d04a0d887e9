package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/backtest"
	"github.com/tdscaler/tdscaler/internal/backtest/report"
	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/backtest/trace"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// backtestFlags are the settings of a backtest, as written.
type backtestFlags struct {
	config          string
	traces, compare []string

	boot, gap, cycle time.Duration
	spot, onDemand   string
	target           int
	seed             uint64
	generate, days   int

	asJSON, noOptimum bool
	html              string
	given             func(flag string) bool
}

func backtestCommand() *cobra.Command {
	var f backtestFlags
	cmd := &cobra.Command{
		Use:   "backtest --config FILE --trace FILE...",
		Short: "Let the daemon buy on a recorded market, and hold the result against the optimum",
		Long: `backtest plays recordings of a spot market to the daemon, in virtual time: the same
decisions, bids and ledger as in "tdscaler run", on a market in memory. Nothing is
asked of TensorDock. It shows what the GPUs cost, how many of the wanted GPU-hours
were delivered, and J = cost + 2 x on-demand price x undelivered GPU-hours, for the
policies and for what others would have done.

A trace file is told by its content. {"metadata":{"gap_seconds":N},"data":[...]} is
the number of free GPUs of one host or zone per tick; it carries no money, so that
--spot-price, --on-demand-price and --target (GPUs of every policy, instead of its
own) give it. CSV with the header timestamp,host,gpu_model,price are price changes.
A ledger is what its daemon has seen of the market.
Formats and figures: docs/backtest.md.

When to use it: to choose between two configurations before money is spent.`,
		Example: "  tdscaler backtest --config policies.yaml --trace zone-a.json zone-b.json\n" +
			"  tdscaler backtest --compare mine.yaml theirs.yaml --trace prices.csv --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			f.given = cmd.Flags().Changed
			return f.run(cmd, args)
		},
	}
	fl := cmd.Flags()
	configFlag(cmd, &f.config)
	fl.StringArrayVar(&f.traces, "trace", nil, "a trace `FILE`; more may follow")
	fl.StringArrayVar(&f.compare, "compare", nil, "play two configuration `FILE`s on the same tape: --compare A.yaml B.yaml")
	fl.DurationVar(&f.boot, "boot", 180*time.Second, "how long every machine takes until it is ready")
	fl.DurationVar(&f.gap, "gap", 0, "time between two ticks of a capacity trace, instead of its own")
	fl.DurationVar(&f.cycle, "cycle", time.Minute, "time between two cycles of the daemon")
	fl.IntVar(&f.generate, "generate", 0, "make up a capacity trace of `N` hosts, by --seed, instead of reading one")
	fl.IntVar(&f.days, "days", 7, "days of a trace that is made up")
	fl.StringVar(&f.spot, "spot-price", "0.918", "dollars per GPU-hour on spot, for capacity traces")
	fl.StringVar(&f.onDemand, "on-demand-price", "3.06", "dollars per GPU-hour on demand; for price traces twice their median unless given")
	fl.IntVar(&f.target, "target", 4, "GPUs of every policy, instead of its own; for price traces only if given")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of the seconds at which capacity changes between two ticks")
	fl.BoolVar(&f.asJSON, "json", false, "print as JSON")
	fl.StringVar(&f.html, "html", "", "write a page with plots to `FILE`: one file that needs nothing else")
	fl.BoolVar(&f.noOptimum, "no-optimum", false, "leave out the optimum, which takes longest")
	return cmd
}

// contestant is a configuration that plays.
type contestant struct {
	backtest.Contestant
	path string
}

func (f *backtestFlags) run(cmd *cobra.Command, args []string) error {
	paths, err := f.files(args)
	if err != nil {
		return err
	}
	terms, err := f.terms()
	if err != nil {
		return &codedError{exitUsage, err}
	}
	var us []contestant
	for _, p := range paths {
		c, err := readContestant(p, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		us = append(us, c)
	}
	tr, err := f.market(&us[0].Set.Policies[0])
	if err != nil {
		return &codedError{exitUsage, err}
	}
	if err := f.fit(us, &tr, cmd.ErrOrStderr()); err != nil {
		return err
	}
	keepWanted(&tr, us)
	if tr.Kind == trace.Price && !f.given("on-demand-price") {
		terms.OnDemand = market.Maybe[market.Rate]{}
	}
	t, err := tr.Tape(terms)
	if err != nil {
		return &codedError{exitUsage, err}
	}
	var sets []*policy.Set
	for i := range us {
		sets = append(sets, &us[i].Set)
	}
	t = backtest.Due(t, sets...)
	if t.Length < f.cycle {
		return usageError("the trace lasts %s, less than one cycle of %s", t.Length, f.cycle)
	}
	if len(us) == 2 && us[0].Name == us[1].Name {
		us[0].Name, us[1].Name = us[0].path, us[1].path
	}
	if len(us) == 1 {
		us[0].Name = "tdscaler"
	}
	warn(cmd.ErrOrStderr(), us, t)
	debug.SetGCPercent(400) // a cycle leaves much behind and keeps little: collecting it rarely saves a third of the time
	played, err := f.play(cmd.Context(), us, t, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	results := make([]tape.Result, len(played))
	for i := range played {
		results[i] = played[i].Result
	}
	if f.html != "" {
		if err := writePage(f.html, t, us, played); err != nil {
			return err
		}
	}
	if f.asJSON {
		return printJSON(cmd.OutOrStdout(), struct {
			Results []tape.Result `json:"results"`
		}{results})
	}
	return printBacktest(cmd.OutOrStdout(), t, us, results)
}

// files sorts the names on the command line: what follows --trace are traces, and
// after --compare A.yaml the first YAML file is B.
func (f *backtestFlags) files(args []string) (configs []string, err error) {
	configs = slices.Clone(f.compare)
	if f.config != "" {
		configs = slices.Insert(configs, 0, f.config)
	}
	for _, a := range args {
		ext := strings.ToLower(filepath.Ext(a))
		if len(f.compare) > 0 && len(configs) < 2 && (ext == ".yaml" || ext == ".yml") {
			configs = append(configs, a)
		} else {
			f.traces = append(f.traces, a)
		}
	}
	const see = `See "tdscaler backtest --help".`
	if len(configs) == 0 {
		found, err := findConfig("", os.Getenv)
		if err != nil {
			return nil, err
		}
		configs = []string{found.path}
	}
	switch {
	case len(f.compare) > 0 && len(configs) != 2:
		return nil, usageError("--compare wants two configurations, there are %d\n%s", len(configs), see)
	case f.generate > 0 && len(f.traces) > 0:
		return nil, usageError("--generate and traces exclude each other\n%s", see)
	case f.generate == 0 && len(f.traces) == 0:
		return nil, usageError("name at least one trace: --trace FILE...\n%s", see)
	}
	return configs, nil
}

func (f *backtestFlags) terms() (trace.Terms, error) {
	t := trace.Terms{Boot: f.boot, Gap: f.gap, Seed: f.seed, Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)}
	switch {
	case f.boot < 0:
		return t, fmt.Errorf("--boot %s is negative", f.boot)
	case f.given("gap") && (f.gap < time.Second || f.gap%time.Second != 0):
		return t, fmt.Errorf("--gap %s: whole seconds, at least one", f.gap)
	case f.cycle < time.Second || f.cycle%time.Second != 0:
		return t, fmt.Errorf("--cycle %s: whole seconds, at least one", f.cycle)
	case f.generate < 0 || f.generate > 1000 || f.days < 1 || f.days > 3660:
		return t, fmt.Errorf("--generate %d --days %d: at most 1000 hosts, and ten years", f.generate, f.days)
	case f.target < 1:
		return t, fmt.Errorf("--target %d: at least one GPU", f.target)
	}
	spot, err := positiveRate("spot-price", f.spot)
	if err != nil {
		return t, err
	}
	onDemand, err := positiveRate("on-demand-price", f.onDemand)
	t.Spot, t.OnDemand = spot, market.Some(onDemand)
	return t, err
}

func positiveRate(flag, text string) (market.Rate, error) {
	r, err := market.ParseRate(text)
	if err != nil {
		return 0, fmt.Errorf("--%s: %w", flag, err)
	}
	if r <= 0 || r > market.USD(1_000_000, 0) {
		return 0, fmt.Errorf("--%s %s: more than nothing and at most a million dollars", flag, text)
	}
	return r, nil
}

// maxTrace is the most that a trace file may hold.
const maxTrace = 1 << 30

// market is what is played: traces, or hosts that are made up.
func (f *backtestFlags) market(p *policy.Policy) (trace.Trace, error) {
	if f.generate > 0 {
		return trace.Generated(f.seed, f.generate, f.days), nil
	}
	return readTraces(f.traces, p)
}

// readTraces reads the files, or the ledger if that is what they are: of a ledger,
// what the given policy matches.
func readTraces(paths []string, p *policy.Policy) (trace.Trace, error) {
	var files []trace.File
	for _, path := range paths {
		b, err := readLimited(path, maxTrace)
		switch {
		case err != nil:
			return trace.Trace{}, err
		case !isLedger(b):
			files = append(files, trace.File{Name: path, Data: b})
		case len(paths) > 1:
			return trace.Trace{}, fmt.Errorf("%s is a ledger: play it alone", path)
		default:
			return readRecording(path, p)
		}
	}
	return trace.Read(files)
}

// isLedger knows a ledger by the number that every database of its kind begins with,
// after the header of its first page.
func isLedger(b []byte) bool {
	return len(b) > 4096 && bytes.Equal(b[16:20], []byte{0xed, 0xda, 0x0c, 0xed})
}

func readRecording(path string, p *policy.Policy) (tr trace.Trace, err error) {
	l, err := ledger.Open(ledger.Options{Path: path, ReadOnly: true})
	if err != nil {
		return tr, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	return backtest.Recorded(l, p)
}

func readLimited(path string, limit int64) (b []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err = io.ReadAll(io.LimitReader(f, limit+1))
	if int64(len(b)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", path, limit)
	}
	return b, err
}

// readContestant reads a configuration. The files that it names are not needed.
func readContestant(path string, errw io.Writer) (contestant, error) {
	b, err := readLimited(path, policy.MaxFileSize)
	if err != nil {
		return contestant{}, &codedError{exitUsage, err}
	}
	set, problems := policy.Parse(path, b)
	if policy.HasErrors(problems) { // warnings are check's: they are about real machines
		printProblems(errw, problems)
		return contestant{}, usageError("%s: %s", path, countProblems(problems))
	}
	for _, name := range set.ShadowNames() {
		fmt.Fprintf(errw, "warning: %s: policy %s is a shadow: it is not played\n", path, name)
	}
	set.Shadows = nil
	if len(set.Policies) == 0 {
		return contestant{}, usageError("%s has no policies to play", path)
	}
	return contestant{backtest.Contestant{Name: filepath.Base(path), Set: set}, path}, nil
}

// fit makes the policies fit to play the trace.
func (f *backtestFlags) fit(us []contestant, tr *trace.Trace, errw io.Writer) (err error) {
	models, target := []market.GPUModel{trace.Model}, f.target
	if tr.Kind == trace.Price {
		models = tr.Models()
		if !f.given("target") {
			target = 0
		}
	}
	for i := range us {
		own := us[i].Set.Policies
		for _, p := range own {
			if p.Deadline.Work > 0 && len(own) > 1 {
				fmt.Fprintf(errw, "warning: %s: policy %s wants GPU-hours by a time: beside others it is played with a constant target\n", us[i].path, p.Name)
			}
		}
		target := target
		if len(own) == 1 && own[0].Deadline.Work > 0 && !f.given("target") {
			target = 0 // its own is the most at once
		}
		if us[i].Set, err = backtest.Fit(us[i].Set, target, models); err != nil {
			return usageError("%s: %w; see --target", us[i].path, err)
		}
	}
	return nil
}

// keepWanted leaves out of a price trace what no policy would take.
func keepWanted(tr *trace.Trace, us []contestant) {
	tr.Keep(func(g market.GPUModel) bool {
		for _, c := range us {
			for i := range c.Set.Policies {
				if backtest.Wants(c.Set.Policies[i].Match, []market.GPUModel{g}) {
					return true
				}
			}
		}
		return false
	})
}

// warn names what a configuration can never buy on this tape.
func warn(errw io.Writer, us []contestant, t *tape.Tape) {
	least := market.MaxRate
	for i := range t.Pools {
		for _, s := range t.Pools[i].Price {
			least = min(least, s.Value)
		}
	}
	for _, c := range us {
		var wanted market.Rate
		for i := range c.Set.Policies {
			p := &c.Set.Policies[i]
			wanted = wanted.Add(least.Mul(p.GPUs()))
			say := func(capacity market.Capacity, word string, price market.Rate) {
				if ceiling := p.CeilingOf(capacity, 1); p.Buys(capacity) && ceiling < price {
					fmt.Fprintf(errw, "warning: %s: policy %s pays at most %s a GPU, %s: it will buy no %s machine\n",
						c.path, p.Name, ceiling, word+price.String(), strings.ReplaceAll(string(capacity), "_", "-"))
				}
			}
			say(market.Spot, "spot costs at least ", least)
			say(market.OnDemand, "on-demand costs ", t.OnDemand)
		}
		if limit, ok := c.Set.Budget.MaxHourly.Get(); ok && limit < wanted {
			fmt.Fprintf(errw, "warning: %s: budget.max_hourly is %s, all that is wanted costs %s on spot: it will not buy all\n", c.path, limit, wanted)
		}
	}
}

// play lets everybody play the tape.
func (f *backtestFlags) play(ctx context.Context, us []contestant, t *tape.Tape, errw io.Writer) ([]backtest.Played, error) {
	c := backtest.Contest{Tape: t, Cycle: f.cycle, NoOptimum: f.noOptimum}
	for _, one := range us {
		c.Contestants = append(c.Contestants, one.Contestant)
	}
	if bar := newProgress(errw); bar != nil {
		defer bar.clear()
		c.Progress = bar.show
	}
	return c.Play(ctx)
}

// writePage writes the page beside its place first: half a page is none.
func writePage(path string, t *tape.Tape, us []contestant, played []backtest.Played) error {
	w := backtest.Wish(&us[0].Set)
	page := report.Page{
		Title: "Backtest of " + us[0].path, Tape: t, Target: w.Units * w.GPUs, Work: w.Work, Ours: len(us), Optimum: played[0].Optimum,
	}
	if len(us) > 1 {
		page.Title += " and " + us[1].path
	}
	for _, p := range played {
		page.Players = append(page.Players, report.Player{Result: p.Result, Machines: p.Machines})
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".backtest-*.tmp")
	if err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	defer os.Remove(f.Name()) // gone where it got its name
	b := bufio.NewWriter(f)
	if err := errors.Join(report.Write(b, page), b.Flush(), f.Close()); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return os.Rename(f.Name(), path)
}

// printDue says of those who want work by a time whether it was done.
func printDue(w io.Writer, us []contestant, results []tape.Result) {
	for i := range us {
		p, r := &us[i].Set.Policies[0], &results[i]
		if p.Deadline.Work == 0 {
			continue
		}
		met := "met"
		if missing := p.Deadline.Work.Hours() - r.Delivered; missing > 1e-6 {
			met = fmt.Sprintf("%.1f GPU-hours are missing", missing)
		}
		fmt.Fprintf(w, "%s: %.1f GPU-hours wanted by %s, at most %d GPUs at once: %s\n",
			clean(r.Name), p.Deadline.Work.Hours(), p.Deadline.By.UTC().Format(time.RFC3339), p.GPUs(), met)
	}
}

func printBacktest(w io.Writer, t *tape.Tape, us []contestant, results []tape.Result) error {
	fmt.Fprintf(w, "%s of market, %s; on demand %s a GPU; boots take %s\n", t.Length, plural(len(t.Pools), "pool"), t.OnDemand, t.Boot)
	fmt.Fprintf(w, "J = cost + %s x GPU-hours not delivered\n", t.Penalty)
	printDue(w, us, results)
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "NAME\tCOST\tDELIVERED GPUh\tWANTED GPUh\t\t$/GPUh\tLOST\tSTARTS\tREQUESTS\tOVERPAID\tJ\tJ/J*\tJ/J_nw\t")
	for _, r := range results {
		per := "-"
		if r.Delivered > 0 {
			per = fmt.Sprintf("%.4f", r.Cost.Float()/r.Delivered)
		}
		fmt.Fprintf(tw, "%s\t$%.2f\t%.1f\t%.1f\t%s\t%s\t%d\t%d\t%d\t%.2f%%\t$%.2f\t%s\t%s\t\n", clean(r.Name), r.Cost.Float(), r.Delivered, r.Target,
			percent(r.Delivered, r.Target), per, r.Interruptions, r.Starts, r.Requests, 100*r.Overpay, r.J.Float(), ratio(r.JRatio), ratio(r.JNWRatio))
	}
	return tw.Flush()
}

func ratio(m market.Maybe[float64]) string {
	if v, ok := m.Get(); ok {
		return fmt.Sprintf("%.4f", v)
	}
	return "-"
}
