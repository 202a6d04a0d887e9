package campaign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	apiKey   = "key-7c1d5b0e-never-to-be-seen"
	apiToken = "token-Zq81LmPx-never-to-be-seen"
)

var epoch = time.Date(2026, 3, 30, 22, 0, 0, 0, time.UTC) // a month's end comes soon

// plot is what a world is made of.
type plot struct {
	config string
	sim    simulator.Options
	shape  simulator.Shape
	faults string
	clock  func(clock.Clock) clock.Clock // around the daemon's clock
}

// world is a market, a daemon with its books, and the road between them.
type world struct {
	testing.TB
	plot    plot
	clock   *clock.Virtual
	engine  *simulator.Engine
	wire    *wire
	dir     string
	reg     *prometheus.Registry
	ledger  *ledger.Ledger
	daemon  *daemon.Daemon
	log     syncBuffer
	stop    context.CancelFunc
	until   func(plan.Report) bool
	reports int
	last    plan.Report

	mu      sync.Mutex // guards what the market's events write
	alive   map[string]simulator.Event
	foreign map[string]bool
	targets map[string]int // GPUs; the most each policy may ever have
	cap     market.Rate
	wrongs  []string
	diary   []string
	said    map[string]bool   // by the last cycle's holds
	names   map[string]string // machine name to a short one, in order of appearance
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) Sync() error { return nil }

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// newWorld makes a market, and a daemon that has not looked at it yet.
func newWorld(t testing.TB, p plot) *world {
	t.Helper()
	w := &world{
		TB: t, plot: p, clock: clock.NewVirtual(epoch), dir: t.TempDir(), alive: map[string]simulator.Event{},
		foreign: map[string]bool{}, targets: map[string]int{}, names: map[string]string{},
	}
	p.sim.Clock, p.sim.Observe = w.clock, w.observe
	engine, err := simulator.New(p.sim)
	w.must(err)
	w.engine = engine
	faults, err := simulator.ParseFaults(p.faults)
	w.must(err)
	w.wire = newWire(engine.Handler(simulator.FaceOptions{Shape: p.shape, Key: apiKey, Token: apiToken, Faults: faults}))
	w.wire.judge = w.judge
	w.write(p.config)
	w.start()
	return w
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// write replaces the configuration file.
func (w *world) write(config string) {
	w.Helper()
	w.must(os.WriteFile(filepath.Join(w.dir, "policies.yaml"), []byte(config), 0o600))
}

func (w *world) load() daemon.Config {
	w.Helper()
	c, problems, err := daemon.LoadConfig(filepath.Join(w.dir, "policies.yaml"))
	if err != nil {
		w.Fatalf("%v\n%v", err, problems)
	}
	c.Key, c.Token = secret.New(apiKey), secret.New(apiToken)
	return c
}

// start opens the ledger and makes a daemon on it, as a new process would.
func (w *world) start() {
	w.Helper()
	c := w.load()
	w.allow(&c.Set)
	var err error
	w.ledger, err = ledger.Open(ledger.Options{Path: c.Set.Daemon.Ledger, NoSync: true, Retention: c.Set.Ledger.Retention, MaxSize: c.Set.Ledger.MaxSize})
	w.must(err)
	w.reg = prometheus.NewRegistry()
	var its clock.Clock = w.clock
	if w.plot.clock != nil {
		its = w.plot.clock(its)
	}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), &w.log, zapcore.DebugLevel)
	w.daemon, err = daemon.New(daemon.Options{
		Config: c, Ledger: w.ledger, Credentials: credentials.New(filepath.Join(w.dir, "credentials")), Clock: its,
		Log: zap.New(core), Registerer: w.reg, Connect: w.connect(its), Report: w.report, Grace: time.Second,
		PauseFile: filepath.Join(w.dir, "pause"),
	})
	w.must(err)
}

// allow raises the marks that the market's side is judged by to those of a
// configuration.
func (w *world) allow(s *policy.Set) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range s.Policies {
		w.targets[s.Policies[i].Name] = max(w.targets[s.Policies[i].Name], s.Policies[i].GPUs())
	}
	w.cap = max(w.cap, s.HourlyCap())
}

// connect composes the adapters as the command does: in a dry run there is no
// writer in the process.
func (w *world) connect(c clock.Clock) func(daemon.Config) (daemon.Market, error) {
	return func(cfg daemon.Config) (daemon.Market, error) {
		o := tensordock.Options{Key: cfg.Key, Token: cfg.Token, MarketplaceRPS: cfg.Set.TensorDock.MarketplaceRPS, Clock: c, Transport: w.wire}
		if cfg.Set.Daemon.Mode != policy.Live {
			r, err := tensordock.NewReader(o)
			return daemon.Market{Reader: r}, err
		}
		client, err := tensordock.NewClient(o)
		if err != nil {
			return daemon.Market{}, err
		}
		return daemon.Market{Reader: client.Reader, Writer: client}, nil
	}
}

// report is called by the daemon after every cycle.
func (w *world) report(r plan.Report) {
	w.reports++
	w.last = r
	w.transcribe(&r)
	w.check(&r)
	if w.until(r) {
		w.stop()
	}
}

// run lets the daemon go on until a report satisfies until.
func (w *world) run(until func(plan.Report) bool) error {
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	w.stop, w.until = cancel, until
	return w.daemon.Run(ctx, false)
}

// pass lets the daemon go on for d of virtual time.
func (w *world) pass(d time.Duration) {
	w.Helper()
	end := w.clock.Now().Add(d)
	err := w.run(func(r plan.Report) bool { return !r.FinishedAt.Before(end) })
	for errors.Is(err, daemon.ErrUnauthorized) { // a fault at its start: somebody starts it again
		w.clock.Set(w.clock.Now().Add(time.Minute))
		w.restart()
		err = w.run(func(r plan.Report) bool { return !r.FinishedAt.Before(end) })
	}
	w.must(err)
}

// settle lets the daemon go on until every policy is satisfied, at most for d.
func (w *world) settle(d time.Duration) {
	w.Helper()
	end := w.clock.Now().Add(d)
	w.must(w.run(func(r plan.Report) bool { return satisfied(&r) || r.FinishedAt.After(end) }))
	if !satisfied(&w.last) {
		w.Errorf("not satisfied after %s: %+v\nholds %+v\nproblem %q", d, w.last.Plan.Standings, w.last.Plan.Holds, w.last.Problem)
	}
}

func satisfied(r *plan.Report) bool {
	for _, s := range r.Plan.Standings {
		if !s.Satisfied {
			return false
		}
	}
	return r.Problem == "" && len(r.Plan.Actions) == 0
}

// halt ends the daemon's process without a goodbye: what is on disk stays.
func (w *world) halt() {
	w.Helper()
	w.must(w.ledger.Close())
}

func (w *world) restart() {
	w.Helper()
	w.halt()
	w.start()
}

// calm ends all faults.
func (w *world) calm() {
	w.wire.echo = nil
	w.wire.reset(w.engine.Handler(simulator.FaceOptions{Shape: w.plot.shape, Key: apiKey, Token: apiToken}))
}

// stranger deploys a machine that is not ours.
func (w *world) stranger(name, host string, model market.GPUModel, bid market.Rate) {
	w.Helper()
	o := market.Order{
		Name: name, Host: host, Model: model, Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100},
		Capacity: market.OnDemand,
	}
	if bid > 0 {
		o.Capacity, o.Bid = market.Spot, bid
	}
	w.must(w.tryStranger(o))
}

func (w *world) tryStranger(o market.Order) error {
	o.Image, o.Password = "Ubuntu 22.04 LTS", secret.New("Somebody-else-1")
	if o.Capacity == "" {
		o.Capacity = market.OnDemand
	}
	d, err := w.engine.Deploy(o)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.foreign[d.ID] = true
	w.cap = w.cap.Add(d.Total.Or(0))
	return nil
}

// pause writes a pause into the books, as the command does.
func (w *world) pause(p plan.Pause) {
	w.Helper()
	p.Since = w.clock.Now()
	w.must(daemon.SetPause(w.ledger, p))
}

func (w *world) wrong(format string, args ...any) {
	w.wrongs = append(w.wrongs, w.clock.Now().Sub(epoch).String()+" "+fmt.Sprintf(format, args...))
}

// observe is told everything that happens at the market, at the moment it does.
func (w *world) observe(e simulator.Event) {
	if e.Kind == simulator.PriceMoved || e.Machine == "" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.transcribeMarket(e)
	if e.Kind == simulator.Deleted {
		delete(w.alive, e.Machine)
		if w.foreign[e.Machine] {
			w.wrong("a machine of somebody else was deleted: %s", e.Name)
		}
		return
	}
	if w.foreign[e.Machine] && (e.Kind == simulator.Rebid || e.Kind == simulator.Modified || e.Kind == simulator.Released) {
		w.wrong("a machine of somebody else was changed (%s): %s", e.Kind, e.Name)
	}
	w.alive[e.Machine] = e
	if e.Kind == simulator.Deployed {
		w.count()
	}
}

// count holds the machines that exist against the targets.
func (w *world) count() {
	have := map[string]int{}
	for _, e := range w.alive {
		if n, ok := market.ParseMachineName(e.Name); ok && n.Owner == "main" {
			have[n.Policy] += e.GPUs
		}
	}
	for name, n := range have {
		if n > w.targets[name] {
			w.wrong("policy %s has %d GPUs at the market, its target is %d", name, n, w.targets[name])
		}
	}
}

// judge looks at every write before the market sees it.
func (w *world) judge(op string, form url.Values) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := ledger.Filter{OpenOnly: true, Machine: form.Get("name")}
	intents, err := w.ledger.Intents(f)
	if err != nil {
		w.wrong("%s, and the ledger cannot be read: %v", op, err)
		return
	}
	id := form.Get("server")
	if _, rest, v2 := strings.Cut(op, "/api/v2/instances/"); v2 {
		id, _, _ = strings.Cut(rest, "/")
	}
	found := false
	for _, in := range intents {
		found = found || f.Machine != "" && in.Kind == plan.Deploy || id != "" && in.Instance == id && in.Kind != plan.Deploy
	}
	if !found {
		w.wrong("%s for %s%s left without an open intent on disk", op, f.Machine, id)
	}
	if f.Machine == "" || form.Get("ssh_key") != "" {
		return
	}
	kept, err := os.ReadFile(filepath.Join(w.dir, "credentials", f.Machine))
	if err != nil || strings.TrimSpace(string(kept)) != form.Get("password") {
		w.wrong("%s was ordered and its password is not on disk: %v", f.Machine, err)
	}
}

// check holds a cycle against the rules, from the market's side.
func (w *world) check(r *plan.Report) {
	account := w.engine.Account()
	w.mu.Lock()
	defer w.mu.Unlock()
	if account.Peak > w.cap {
		w.wrong("the account burnt %s, the cap is %s", account.Peak, w.cap)
		w.cap = account.Peak // once is enough to tell
	}
	if reserved := r.Input.History.Reserved(); r.Plan.After > r.Input.HourlyCap && r.Plan.After > reserved {
		w.wrong("cycle %d plans %s, the cap is %s", r.Cycle, r.Plan.After, r.Input.HourlyCap)
	}
	w.explained(r)
	w.replayed(r)
}

// explained: every policy has an action, a hold or is satisfied; every action a reason.
func (w *world) explained(r *plan.Report) {
	told := map[string]bool{}
	for _, h := range r.Plan.Holds {
		told[h.Policy] = true
	}
	for _, a := range r.Plan.Actions {
		told[a.Policy] = true
		if a.Reason.Code == "" || a.Reason.Text == "" {
			w.wrong("cycle %d: no reason for %+v", r.Cycle, a)
		}
	}
	for _, in := range r.Intents {
		told[in.Policy] = true
	}
	for _, s := range r.Plan.Standings {
		if !s.Satisfied && !told[s.Policy] && !told[""] {
			w.wrong("cycle %d: nobody says why %s is not satisfied: %+v", r.Cycle, s.Policy, s)
		}
	}
}

// replayed: the recorded input gives the recorded plan.
func (w *world) replayed(r *plan.Report) {
	if again, plan := asJSON(plan.Compute(r.Input)), asJSON(r.Plan); again != plan {
		w.wrong("cycle %d: the recorded input gives another plan:\n%s\n%s", r.Cycle, again, plan)
	}
}

func asJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// end judges the run as a whole and closes the books.
func (w *world) end() {
	w.Helper()
	w.noSecrets()
	w.close()
}

// close ends the run and tells what was wrong in it.
func (w *world) close() {
	w.Helper()
	w.halt()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.wrongs {
		w.Error(e)
	}
	if w.Failed() && testing.Verbose() {
		w.Log(strings.Join(w.diary, "\n"))
	}
}

// replayable reads reports back from the ledger, at most so many that it stays
// quick, computes them again, and returns their texts.
func (w *world) replayable() string {
	w.Helper()
	var texts strings.Builder
	step, n := max(1, w.reports/8), 0
	err := w.ledger.Reports(time.Time{}, time.Time{}, 0, func(s ledger.ReportSummary) error {
		if n++; n%step != 0 {
			return nil
		}
		r, err := w.ledger.Report(s.Cycle)
		if err != nil {
			return err
		}
		texts.WriteString(asJSON(r))
		if again, was := asJSON(plan.Compute(r.Input)), asJSON(r.Plan); again != was {
			return fmt.Errorf("cycle %d, read back, gives another plan:\n%s\n%s", s.Cycle, again, was)
		}
		return nil
	})
	w.must(err)
	if texts.Len() == 0 && w.reports > 0 {
		w.Error("no report was kept")
	}
	return texts.String()
}

// noSecrets looks for what must not be seen in everything that was written.
func (w *world) noSecrets() {
	w.Helper()
	places := map[string]string{"log": w.log.String()}
	raw, err := os.ReadFile(w.ledger.Path())
	w.must(err)
	places["ledger file"] = string(raw)
	intents, err := w.ledger.Intents(ledger.Filter{})
	w.must(err)
	places["intents"] = asJSON(intents)
	status, err := w.daemon.Status()
	w.must(err)
	places["status"] = asJSON(status)
	places["reports"] = w.replayable()
	families, err := w.reg.Gather()
	w.must(err)
	places["metrics"] = fmt.Sprint(families)
	secrets := []string{apiKey, apiToken}
	for s := range w.wire.secrets {
		secrets = append(secrets, s)
	}
	for place, text := range places {
		for _, s := range secrets {
			if i := strings.Index(text, s); i >= 0 {
				w.Errorf("a secret is in the %s: %q", place, text[max(0, i-80):min(len(text), i+20)])
			}
		}
	}
}

// whole compares the market's machines of ours with the books: none leaked, none
// imagined, no intent left open.
func (w *world) whole() {
	w.Helper()
	h, err := w.ledger.History()
	w.must(err)
	booked := map[string]bool{}
	for _, m := range h.Machines {
		booked[m.ID] = true
	}
	for _, i := range w.engine.Instances() {
		n, ours := market.ParseMachineName(i.Name)
		switch {
		case ours && n.Owner == "main" && !booked[i.ID]:
			w.Errorf("leaked: %s (%s) exists and is not in the books", i.Name, i.ID)
		case ours && n.Owner == "main":
			delete(booked, i.ID)
		case booked[i.ID]:
			w.Errorf("%s (%s) is not ours and is in the books", i.Name, i.ID)
		}
	}
	for id := range booked {
		w.Errorf("the books hold %q, which does not exist", id)
	}
	open, err := w.ledger.Intents(ledger.Filter{OpenOnly: true})
	w.must(err)
	for _, in := range open {
		w.Errorf("intent %d (%s %s) is still %s", in.ID, in.Kind, in.Machine, in.State)
	}
	w.passwords()
}

// passwords: a password file belongs to a machine that exists, or to an order that
// was given up and may show up late.
func (w *world) passwords() {
	w.Helper()
	files, err := os.ReadDir(filepath.Join(w.dir, "credentials"))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	w.must(err)
	names := map[string]bool{}
	for _, i := range w.engine.Instances() {
		names[i.Name] = true
	}
	for _, f := range files {
		last, err := w.ledger.Intents(ledger.Filter{Machine: f.Name(), Limit: 1})
		w.must(err)
		if !names[f.Name()] && (len(last) == 0 || last[0].State != plan.IntentExpired) {
			w.Errorf("the password of %s outlived its machine", f.Name())
		}
	}
}

// gpus counts the policy's GPUs at the market.
func (w *world) gpus(name string) (n int) {
	for _, i := range w.engine.Instances() {
		if m, ok := market.ParseMachineName(i.Name); ok && m.Owner == "main" && m.Policy == name {
			n += i.Shape.GPUs
		}
	}
	return n
}

// running counts those that run.
func (w *world) running(name string) (n int) {
	for _, i := range w.engine.Instances() {
		if m, ok := market.ParseMachineName(i.Name); ok && m.Owner == "main" && m.Policy == name && i.Status == market.StatusRunning {
			n += i.Shape.GPUs
		}
	}
	return n
}
