package campaign

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
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
	"github.com/tdscaler/tdscaler/internal/transcript"
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
	scale  simulator.ScaleMeaning
	clock  func(clock.Clock) clock.Clock // around the daemon's clock
	commit func() error                  // asked before each commit of the ledger
	struck func(kind, op string)         // told of every fault that strikes
	jitter func() float64                // of the client's retries
	ledger string                        // the ledger's id
}

// world is a market, a daemon with its books, and the road between them.
type world struct {
	testing.TB
	plot       plot
	clock      *clock.Virtual
	engine     *simulator.Engine
	wire       *wire
	dir        string
	reg        *prometheus.Registry
	ledger     *ledger.Ledger
	canary     *daemon.Canary
	daemon     *daemon.Daemon
	log        transcript.Log
	stop       context.CancelFunc
	until      func(plan.Report) bool
	reports    int
	last       plan.Report
	attendants *attendants

	always   func()               // after every report
	busy     bool                 // always is at work
	sample   int                  // of quiet reports, every how many is computed again
	terse    bool                 // the diary is a sum, not a text
	quiet    bool                 // no log is written
	skew     time.Duration        // of the daemon's clock
	seenSkew time.Duration        // at its last look
	handed   map[string]time.Time // when a policy's target was last set by hand
	disk     disk

	mu         sync.Mutex // guards what the market's events write
	set        policy.Set // in use
	alive      map[string]simulator.Event
	born       map[string]time.Time // of every machine
	called     map[string]string    // what it was bought as
	ran        map[string]bool      // by name: what was ever running
	everBought map[string]bool      // names that were ever bought
	cuts       int                  // bids that were lowered
	cutAt      map[string]time.Time // and when last, of each machine
	hand       map[string]bool      // machines made or renamed by hand
	renamed    map[string]time.Time // machines renamed by hand, and when
	handing    bool                 // somebody's hand is at the market
	daemons    int                  // that buy, each of them a whole target
	reshaped   bool                 // a policy has asked for larger machines than it did
	writing    *write
	scanAt     time.Time         // of the last request for the list of machines
	left       []simulator.Event // machines that went since, and not because the daemon asked for it
	asked      map[string]bool   // ids of machines that the daemon has asked to delete
	readAt     time.Time         // of the last one that was answered with a whole list
	blurred    time.Time         // when a list last was an old one
	recapped   bool              // the caps changed while, or just before, this cycle went on
	troubled   bool              // a fault of this cycle hides machines, or keeps them alive
	// destroying: the operator's command is under way.
	destroying bool
	till       till
	balance    market.Amount // after the last cycle
	drained    time.Time     // when money last went elsewhere, or could not be seen
	events     map[string]int
	checked    [ruleGentle + 1]int
	violated   [ruleGentle + 1]int
	wrongs     []string
	diary      []string
	sum        hash.Hash
	said       map[string]bool   // by the last cycle's holds
	names      map[string]string // machine name to a short one, in order of appearance
}

// disk is what goes wrong with the ledger's.
type disk struct {
	full    bool
	fails   int  // so many commits more
	touched bool // something failed in this cycle
}

var errDisk = errors.New("no space left on device")

// fault is asked before each commit.
func (w *world) fault() error {
	if w.disk.full || w.disk.fails > 0 {
		w.disk.touched = true
		w.disk.fails = max(w.disk.fails-1, 0)
		return errDisk
	}
	if w.plot.commit != nil {
		return w.plot.commit()
	}
	return nil
}

// newWitness makes a world without a market: who watches one.
func newWitness(t testing.TB) *world {
	w := &world{
		TB: t, clock: clock.NewVirtual(epoch), sample: 1, daemons: 1, alive: map[string]simulator.Event{}, born: map[string]time.Time{}, called: map[string]string{}, ran: map[string]bool{},
		everBought: map[string]bool{}, asked: map[string]bool{}, handed: map[string]time.Time{}, hand: map[string]bool{}, renamed: map[string]time.Time{}, events: map[string]int{}, names: map[string]string{}, till: newTill(),
	}
	w.attendants = newAttendants(w)
	w.till.skew = func() time.Duration { return w.seenSkew }
	w.till.fail = func(format string, args ...any) { w.holds(ruleCaps, false, format, args...) }
	return w
}

func (w *world) written() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = nil
}

// looks notes when the list of machines is asked for.
func (w *world) looks() { w.scanAt = w.clock.Now() }

// blind are the faults after which the daemon may not know a machine that it has,
// or may not be able to delete it, and the operations where they are.
func blind(kind, op string) bool {
	switch kind {
	case "string_success", "string_numbers", "singular", "202", "no_gpu_count", "extra":
		return false
	}
	switch op {
	case "list", "get", "delete":
		return true
	}
	return false
}

func (w *world) struck(kind, op string) {
	w.troubled = w.troubled || blind(kind, op)
	if kind == "stale" {
		w.blurred = w.clock.Now()
	}
	if op == "balance" {
		w.drained = w.clock.Now()
	}
	if w.plot.struck != nil {
		w.plot.struck(kind, op)
	}
}

// newWorld makes a market, and a daemon that has not looked at it yet.
func newWorld(t testing.TB, p plot) *world {
	t.Helper()
	return makeWorld(t, p, func(*world) {})
}

func makeWorld(t testing.TB, p plot, set func(*world)) *world {
	t.Helper()
	w := newWitness(t)
	set(w)
	w.plot, w.dir = p, t.TempDir()
	p.sim.Clock, p.sim.Observe = w.clock, w.observe
	engine, err := simulator.New(p.sim)
	w.must(err)
	w.engine = engine
	faults, err := simulator.ParseFaults(p.faults)
	w.must(err)
	w.wire = newWire(engine.Handler(simulator.FaceOptions{Shape: p.shape, Key: apiKey, Token: apiToken, Faults: faults, Struck: w.struck, Scale: p.scale}))
	w.wire.judge, w.wire.done, w.wire.listed = w.judge, w.written, w.looks
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
	var err error
	w.ledger, err = ledger.Open(ledger.Options{
		Path: c.Set.Daemon.Ledger, NoSync: true, Retention: c.Set.Ledger.Retention, MaxSize: c.Set.Ledger.MaxSize, Fault: w.fault, ID: w.plot.ledger,
	})
	w.must(err)
	w.reg = prometheus.NewRegistry()
	w.attendants.found = nil
	var its clock.Clock = w.clock
	if w.plot.clock != nil {
		its = w.plot.clock(its)
	}
	its = skewed{its, &w.skew}
	var core zapcore.Core = zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), &w.log, zapcore.DebugLevel)
	if w.quiet {
		core = zapcore.NewNopCore()
	}
	w.canary = daemon.NewCanary(w.clock)
	w.daemon, err = daemon.New(daemon.Options{
		Canary: w.canary,
		Config: c, Ledger: w.ledger, Credentials: credentials.New(filepath.Join(w.dir, "credentials")), Clock: its,
		Log: zap.New(core), Registerer: w.reg, Connect: w.connect(its), Report: w.report, Grace: time.Second,
		PauseFile: filepath.Join(w.dir, "pause"), Errands: w.attendants,
	})
	w.must(err)
	w.configured()
}

// skewed is a clock that somebody has set: time goes on as it does.
type skewed struct {
	clock.Clock
	by *time.Duration
}

func (s skewed) Now() time.Time { return s.Clock.Now().Add(*s.by) }

// setClock sets the daemon's clock.
func (w *world) setClock(by time.Duration) {
	w.engine.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.till.chargeAll(w.clock.Now())
	clear(w.till.able)
	w.skew = by
}

// configured takes the configuration in use as what the rest is judged by.
func (w *world) configured() {
	w.Helper()
	set := w.daemon.Config().Set
	if w.engine != nil {
		w.engine.Now()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.till.chargeAll(w.clock.Now())
	w.set = set
	interval := time.Minute
	if s, err := policy.ParseSchedule(set.Daemon.Schedule); err == nil {
		interval = s.Interval(epoch)
	}
	w.till.lag, w.till.zone = interval+10*time.Minute, set.Budget.Zone.Location()
	w.drained = w.clock.Now()
	w.till.configure(&w.set, w.clock.Now())
	w.recapped = true
}

// reload lets the daemon read the file again.
func (w *world) reload(confirmed bool) error {
	err := w.daemon.Reload(confirmed)
	w.configured()
	return err
}

// connect composes the adapters as the command does: in a dry run there is no
// writer in the process.
func (w *world) connect(c clock.Clock) func(daemon.Config) (daemon.Market, error) {
	return func(cfg daemon.Config) (daemon.Market, error) {
		o := tensordock.Options{Key: cfg.Key, Token: cfg.Token, MarketplaceRPS: cfg.Set.TensorDock.MarketplaceRPS, Clock: c, Transport: w.wire, Jitter: w.plot.jitter}
		canary := w.canary
		o.Observe = func(c tensordock.Call) { canary.Saw(c.API, c.Op, c.Class == "", c.Drift) }
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
	if w.always != nil {
		w.always()
	}
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
	w.wire.reset(w.engine.Handler(simulator.FaceOptions{Shape: w.plot.shape, Key: apiKey, Token: apiToken, Struck: w.struck, Scale: w.plot.scale}))
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
	return w.byHand(func() error {
		_, err := w.engine.Deploy(o)
		return err
	})
}

// byHand does something at the market that is not the daemon's doing.
func (w *world) byHand(do func() error) error {
	w.engine.Now()
	w.handing = true
	defer func() { w.handing = false }()
	return do()
}

// pause writes a pause into the books, as the command does.
func (w *world) pause(p plan.Pause) {
	w.Helper()
	p.Since = w.clock.Now().Add(w.skew)
	w.must(daemon.SetPause(w.ledger, p))
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
	w.accounted()
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
	w.wholeContainers(&h)
	for _, i := range w.engine.Instances() {
		n, ours := market.ParseMachineName(i.Name)
		if _, _, is := replicaOf(i.Name); is {
			continue
		}
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
		if in.Kind.Contains() && h.Container(in.Machine) != nil {
			continue // the market has no room for a replica that would settle it
		}
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
