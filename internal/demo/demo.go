package demo

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/actuator"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/errands"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// Policies is the demo's configuration, for people who want to read it.
//
//go:embed demo.yaml
var Policies []byte

// Balance is what the demo's account begins with: enough for a month.
const Balance market.Amount = 5000 * market.Dollar

// Start is when the demo's virtual time begins, unless told otherwise: a Monday.
func Start() time.Time { return time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC) }

// WriteConfig writes the demo's configuration into a folder.
func WriteConfig(dir string) (path string, err error) {
	path = filepath.Join(dir, "demo.yaml")
	return path, os.WriteFile(path, Policies, 0o600)
}

// Credentials are what the simulated market is shown; it accepts any.
func Credentials() (key, token secret.String) {
	return secret.New("demo-key"), secret.New("demo-token")
}

// Connect makes the daemon's market adapters over a transport; the command line
// chooses which.
type Connect func(cfg daemon.Config, c clock.Clock, e *simulator.Engine) (daemon.Reader, actuator.Writer, error)

// Options of a run.
type Options struct {
	Seed    uint64
	Length  time.Duration // of virtual time
	Hosts   int
	Connect Connect
	// schedule replaces the policies' own, for quicker tests.
	schedule string
	// Progress, if set, is called after every cycle with the share that is done.
	Progress func(done float64)
	// Config is a file whose policies are played instead of the demo's own; ledger,
	// mode, credentials and addresses in it do not count.
	Config string
	// Start is when the virtual time begins, a Monday by default.
	Start time.Time
	// Keep, if set, is a folder in which the configuration and the ledger are left; it
	// must not exist yet, or be empty.
	Keep string
	// Registerer, if set, gets the daemon's metrics; Scrape is then called every
	// ScrapeEvery of virtual time.
	Registerer prometheus.Registerer
	Scrape     func(now time.Time)
	// Canary, if set, is told of every answer by whoever connects.
	Canary *daemon.Canary
	// Signals, if set, makes what reads the signals that targets follow.
	Signals func(clock.Clock) daemon.Signals
}

// ScrapeEvery is the virtual time between two calls of Options.Scrape.
const ScrapeEvery = time.Minute

// Run plays the given length of virtual time, in a folder of its own that is removed
// at the end unless it is to be kept, and adds up what the market saw.
func Run(ctx context.Context, o Options) (Result, error) {
	began := clock.System{}.Now()
	dir, tidy, err := o.folder()
	if err != nil {
		return Result{}, fmt.Errorf("demo: %w", err)
	}
	r, err := play(ctx, o, dir)
	if err := errors.Join(err, tidy()); err != nil {
		return Result{}, fmt.Errorf("demo: %w", err)
	}
	r.Took = clock.System{}.Now().Sub(began)
	return r, nil
}

// folder makes the folder of a run, and what is done with it at the end.
func (o *Options) folder() (dir string, tidy func() error, err error) {
	if o.Keep == "" {
		dir, err = os.MkdirTemp("", "tdscaler-demo-")
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	if err := os.MkdirAll(o.Keep, 0o700); err != nil {
		return "", nil, err
	}
	inside, err := os.ReadDir(o.Keep)
	if err == nil && len(inside) > 0 {
		err = fmt.Errorf("%s is not empty: a played market is kept in a folder of its own", o.Keep)
	}
	return o.Keep, func() error { return nil }, err
}

func play(ctx context.Context, o Options, dir string) (Result, error) {
	cfg, err := o.config(dir)
	if err != nil {
		return Result{}, err
	}
	start := o.Start
	if start.IsZero() {
		start = Start()
	}
	virtual := o.clock(start)
	engine, err := simulator.New(simulator.Options{Clock: virtual, Seed: o.Seed, Hosts: o.Hosts, Balance: Balance})
	if err != nil {
		return Result{}, err
	}
	// Nothing here outlives the run, so nothing needs to survive a power cut; and a seed
	// always tells the same story, down to the machines' names.
	l, err := ledger.Open(ledger.Options{ID: fmt.Sprintf("%032x", o.Seed), Path: cfg.Set.Daemon.Ledger, NoSync: true, Retention: cfg.Set.Ledger.Retention, MaxSize: cfg.Set.Ledger.MaxSize})
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	t := tally{cfg: &cfg, engine: engine, begin: start, end: start.Add(o.Length)}
	d, err := daemon.New(daemon.Options{
		Config: cfg, Ledger: l, Credentials: credentials.New(filepath.Join(dir, "credentials")), Clock: virtual,
		Log: zap.NewNop(), Registerer: o.registerer(), Errands: &errands.Obliging{Clock: virtual}, Signals: o.signals(virtual), Canary: o.Canary,
		Connect: func(c daemon.Config) (daemon.Market, error) {
			r, w, err := o.Connect(c, virtual, engine)
			return daemon.Market{Reader: r, Writer: w}, err
		},
		Report: func(r plan.Report) {
			t.report(&r)
			if o.Progress != nil {
				o.Progress(float64(r.FinishedAt.Sub(t.begin)) / float64(t.end.Sub(t.begin)))
			}
			if !r.FinishedAt.Before(t.end) {
				cancel()
			}
		},
	})
	if err != nil {
		return Result{}, errors.Join(err, l.Close())
	}
	if err := errors.Join(d.Run(ctx, false), l.Close()); err != nil {
		return Result{}, err
	}
	if virtual.Now().Before(t.end) {
		return Result{}, context.Canceled // stopped by the user
	}
	return t.result(virtual.Now()), nil
}

// config reads what is to be played. Whatever file it comes from, nothing outside the
// demo's folder is written and no account is spoken to.
func (o *Options) config(dir string) (daemon.Config, error) {
	path, err := o.Config, error(nil)
	if path == "" {
		if path, err = WriteConfig(dir); err != nil {
			return daemon.Config{}, err
		}
	}
	cfg, _, err := daemon.LoadConfig(path)
	if err != nil {
		return daemon.Config{}, err
	}
	d, ledger := &cfg.Set.Daemon, filepath.Join(dir, "ledger.db")
	if o.Keep != "" {
		if ledger, err = o.keep(&cfg); err != nil {
			return daemon.Config{}, err
		}
	}
	d.Ledger, d.Mode, d.Schedule = ledger, policy.Live, cmp.Or(o.schedule, d.Schedule)
	cfg.Key, cfg.Token = Credentials()
	return cfg, nil
}

// keep puts the configuration into the folder that is kept, and says where the ledger
// must be for commands to find it by that file.
func (o *Options) keep(cfg *daemon.Config) (ledger string, err error) {
	path := filepath.Join(o.Keep, filepath.Base(cfg.Path))
	if err := os.WriteFile(path, cfg.Raw, 0o600); err != nil {
		return "", err
	}
	kept, _, err := daemon.ReadConfig(path)
	if err != nil {
		return "", err
	}
	ledger = kept.Set.Daemon.Ledger
	if rel, err := filepath.Rel(o.Keep, ledger); err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("daemon.ledger is %s, outside of the folder that is kept: a relative path is needed", ledger)
	}
	return ledger, os.MkdirAll(filepath.Dir(ledger), 0o700)
}

// clock is the virtual clock, which lets itself be looked at where somebody wants to.
func (o *Options) clock(start time.Time) clock.Clock {
	virtual := clock.NewVirtual(start)
	if o.Scrape == nil {
		return virtual
	}
	return &beat{Virtual: virtual, every: ScrapeEvery, look: o.Scrape}
}

func (o *Options) registerer() prometheus.Registerer {
	if o.Registerer == nil {
		return prometheus.NewRegistry()
	}
	return o.Registerer
}

func (o *Options) signals(c clock.Clock) daemon.Signals {
	if o.Signals == nil {
		return nil
	}
	return o.Signals(c)
}

// tally adds up what happened.
type tally struct {
	cfg        *daemon.Config
	engine     *simulator.Engine
	begin, end time.Time
	cycles     int
	actions    map[string]map[plan.ActionKind]int
}

func (t *tally) report(r *plan.Report) {
	t.cycles++
	if t.actions == nil {
		t.actions = map[string]map[plan.ActionKind]int{}
	}
	for _, in := range r.Intents {
		if t.actions[in.Policy] == nil {
			t.actions[in.Policy] = map[plan.ActionKind]int{}
		}
		t.actions[in.Policy][in.Kind]++
	}
}

// Result is what a run came to, as the market saw it.
type Result struct {
	Days     float64        `json:"days"`
	Cycles   int            `json:"cycles"`
	Policies []PolicyResult `json:"policies"`
	Total    PolicyResult   `json:"total"`
	Cap      market.Rate    `json:"hourly_cap_usd_hour"`
	Peak     market.Rate    `json:"peak_burn_usd_hour"`
	Balance  market.Amount  `json:"balance_usd"`
	Took     time.Duration  `json:"-"`
	Machines int            `json:"machines"`
}

// PolicyResult is one policy's part.
type PolicyResult struct {
	Policy    string        `json:"policy"`
	Target    float64       `json:"target_gpu_hours"`
	Delivered float64       `json:"delivered_gpu_hours"`
	Cost      market.Amount `json:"cost_usd"`
	OnDemand  market.Amount `json:"on_demand_cost_usd"` // the same hours on the same hosts, on demand
	Outbids   int           `json:"outbids"`
	Deploys   int           `json:"deploys"`
	Rebids    int           `json:"rebids"`
	Deletes   int           `json:"deletes"`
}

// PerGPUHour is the cost of a delivered GPU-hour.
func (p PolicyResult) PerGPUHour() market.Rate { return perGPUHour(p.Cost, p.Delivered) }

// OnDemandPerGPUHour is what the same would have cost on demand.
func (p PolicyResult) OnDemandPerGPUHour() market.Rate { return perGPUHour(p.OnDemand, p.Delivered) }

// perGPUHour is for the table only; nothing is decided by it.
func perGPUHour(a market.Amount, hours float64) market.Rate {
	if hours <= 0 {
		return 0
	}
	return market.Rate(float64(a) / hours)
}

// result adds up until now, which is when the last cycle ended: a little after the
// last day.
func (t *tally) result(now time.Time) Result {
	account := t.engine.Account()
	r := Result{
		Days: t.end.Sub(t.begin).Hours() / 24, Cycles: t.cycles, Cap: t.cfg.Set.HourlyCap(),
		Peak: account.Peak, Balance: account.Balance, Total: PolicyResult{Policy: "total"},
	}
	parts := map[string]*PolicyResult{}
	for i := range t.cfg.Set.Policies {
		p := &t.cfg.Set.Policies[i]
		a := t.actions[p.Name]
		parts[p.Name] = &PolicyResult{
			Policy: p.Name, Target: float64(p.GPUs()) * now.Sub(t.begin).Hours(),
			Deploys: a[plan.Deploy], Rebids: a[plan.Rebid], Deletes: a[plan.Delete],
		}
	}
	for _, m := range t.engine.Fleet() {
		r.Machines++
		name, _ := market.ParseMachineName(m.Name)
		if p := parts[name.Policy]; p != nil {
			t.add(p, &m)
		}
	}
	for i := range t.cfg.Set.Policies {
		p := parts[t.cfg.Set.Policies[i].Name]
		r.Policies = append(r.Policies, *p)
		r.Total.sum(p)
	}
	return r
}

func (t *tally) add(p *PolicyResult, m *simulator.Machine) {
	p.Delivered += m.Running.Hours() * float64(m.Shape.GPUs)
	p.Cost = p.Cost.Add(m.Compute).Add(m.Storage)
	p.Outbids += m.Outbids
	h, ok := t.engine.HostView(m.Host)
	if !ok {
		return
	}
	g, _ := h.GPU(m.Model)
	rate := h.OnDemandCompute(g, m.Shape).Or(0).Add(h.StorageRate(m.Shape).Or(0))
	p.OnDemand = p.OnDemand.Add(rate.For(m.Running))
}

func (p *PolicyResult) sum(o *PolicyResult) {
	p.Target += o.Target
	p.Delivered += o.Delivered
	p.Cost = p.Cost.Add(o.Cost)
	p.OnDemand = p.OnDemand.Add(o.OnDemand)
	p.Outbids += o.Outbids
	p.Deploys += o.Deploys
	p.Rebids += o.Rebids
	p.Deletes += o.Deletes
}
