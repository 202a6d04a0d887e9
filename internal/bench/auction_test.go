package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tdscaler/tdscaler/internal/backtest/optimum"
	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// The auction benchmark: the daemon, with every real part but HTTP, on a market of
// rivals, floors and tenants that tells nobody its prices. It is compared with itself at
// fixed margins, and, where no bid of ours moves a price, with a buyer who knows them all.
//
// Tuned on seeds 1 to 10; what is reported is 11 to 30.

const (
	auctionHosts  = 40 // about 125 GPUs, three quarters of which can be had
	auctionTarget = 16
	auctionModel  = market.GPUModel("geforcertx4090-pcie-24gb")
)

var auctionStart = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

// room is the simulator as the daemon's market, a request a second, with the time that
// its answers take.
type room struct {
	engine   *simulator.Engine
	clock    *clock.Virtual
	rng      *rand.Rand
	next     time.Time // before which no request may leave
	requests []time.Time
	writing  string // the machine that a write under way is about; "new" for an order
	fallen   int    // machines of ours that fell to a bid of ours
}

// request waits for its turn; the answer takes between from and to.
func (r *room) request(ctx context.Context, from, to time.Duration) error {
	now := r.clock.Now()
	if wait := r.next.Sub(now); wait > 0 {
		if err := r.clock.Sleep(ctx, wait); err != nil {
			return err
		}
	}
	now = r.clock.Now()
	r.next = now.Add(time.Second)
	r.requests = append(r.requests, now)
	return r.clock.Sleep(ctx, from+time.Duration(r.rng.Int64N(int64(to-from)+1)))
}

func (r *room) read(ctx context.Context) error {
	return r.request(ctx, 300*time.Millisecond, time.Second)
}

// write lets everything happen that is due before the write takes effect, so that who
// falls then falls to it.
func (r *room) write(ctx context.Context, about string, do func() error) error {
	if err := r.request(ctx, 2*time.Second, 12*time.Second); err != nil {
		return err
	}
	r.engine.Now()
	r.writing = about
	defer func() { r.writing = "" }()
	return do()
}

func (r *room) observe(e simulator.Event) {
	if e.Kind == simulator.Outbid && r.writing != "" && r.writing != e.Machine {
		r.fallen++
	}
}

func (r *room) AuthTest(context.Context) error { return nil }

func (r *room) Hosts(ctx context.Context) ([]market.Host, error) {
	err := r.read(ctx)
	return r.engine.Hosts(), err
}

func (r *room) Instances(ctx context.Context) ([]market.Instance, error) {
	err := r.read(ctx)
	return r.engine.Instances(), err
}

func (r *room) Instants(context.Context) ([]market.Instant, error) { return nil, nil }

func (r *room) Locations(context.Context) ([]market.Site, error) { return nil, nil }

func (r *room) InstancesV2(context.Context) ([]market.Instance, error) { // another API, another pace
	return r.engine.Instances(), nil
}

func (r *room) Instance(ctx context.Context, id string) (market.Instance, error) {
	if err := r.read(ctx); err != nil {
		return market.Instance{}, err
	}
	for _, i := range r.engine.Instances() {
		if i.ID == id {
			return i, nil
		}
	}
	return market.Instance{}, &market.Error{Op: "get machine", Class: market.ClassNotFound, Detail: "no such machine"}
}

func (r *room) InstanceV2(ctx context.Context, id string) (market.Instance, error) {
	return r.Instance(ctx, id)
}

func (r *room) Balance(ctx context.Context) (market.Balance, error) {
	err := r.read(ctx)
	return r.engine.Balance(), err
}

func (r *room) ValidateNew(ctx context.Context, q market.Question) (market.Verdict, error) {
	err := r.read(ctx)
	return r.engine.Validate(q), err
}

func (r *room) Deploy(ctx context.Context, o market.Order) (d market.Deployed, err error) {
	err = r.write(ctx, "new", func() error { d, err = r.engine.Deploy(o); return err })
	return d, err
}

func (r *room) Delete(ctx context.Context, id string) error {
	return r.write(ctx, "", func() error { return r.engine.Delete(id) }) // who falls then falls to somebody else's bid
}

func (r *room) DeleteInstance(ctx context.Context, id string) error { return r.Delete(ctx, id) }

func (r *room) Stop(ctx context.Context, id string, release bool) error {
	return r.write(ctx, "", func() error { return r.engine.Stop(id, release) })
}

func (r *room) Start(ctx context.Context, id string) error {
	return r.write(ctx, id, func() error { return r.engine.Start(id) })
}

func (r *room) ModifyInstance(ctx context.Context, id string, model market.GPUModel, s market.Shape) error {
	return r.write(ctx, id, func() error { return r.engine.Modify(id, model, s) })
}

func (r *room) StopInstance(ctx context.Context, id string) error { return r.Stop(ctx, id, false) }

func (r *room) StartInstance(ctx context.Context, id string) error { return r.Start(ctx, id) }

func (r *room) ValidateExisting(ctx context.Context, id string, bid market.Rate) (v market.Verdict, err error) {
	err = r.write(ctx, id, func() error { v, err = r.engine.ValidateExisting(id, bid); return err })
	return v, err
}

func (r *room) ModifyBid(ctx context.Context, id string, _ market.GPUModel, _ market.Shape, bid market.Rate) error {
	return r.write(ctx, id, func() error { return r.engine.Rebid(id, bid) })
}

// auction is one run.
type auction struct {
	seed    uint64
	regime  simulator.Regime
	series  []simulator.Series // for the replay regime
	length  time.Duration
	boot    time.Duration // the median; 0 is three minutes
	bidding policy.Bidding
	migrate policy.Migrate
	surge   int
}

// name is that of the market.
func (a *auction) name() string {
	if a.boot > 0 {
		return fmt.Sprintf("%s, boots of %s", a.regime, strings.TrimSuffix(a.boot.String(), "0s"))
	}
	return string(a.regime)
}

// outcome is what it came to.
type outcome struct {
	j, cost, delivered float64 // $, $, GPU-hours
	overpay            float64 // GPU-hour weighted, of what was needed
	outbids, cuts      int
	requests, busiest  int // in all, and within any ten seconds
	fallen, rebids     int
	asks               int // about bids of ours
	probes, bought     int
	onDemand           market.Rate // all-in, of the mean host
	needed, paid       float64
	why                why
}

func (a *auction) options(c *clock.Virtual) simulator.Options {
	o := simulator.Options{
		Clock: c, Start: auctionStart, Seed: a.seed, Hosts: auctionHosts, Models: []market.GPUModel{auctionModel}, Balance: 1_000_000 * market.Dollar, Regime: a.regime,
	}
	if a.boot > 0 {
		o.Boot = simulator.BootModel{Median: a.boot, Sigma: 0.5, Fails: 0.03}
	}
	if a.series != nil {
		o.Regime, o.Replay = simulator.Replay, a.series
	}
	return o
}

func (a *auction) set(onDemand market.Rate) policy.Set {
	return policy.Set{
		Version: 1, Daemon: policy.Daemon{Schedule: "@every 1m", Watch: 10 * time.Second, Mode: policy.Live, Owner: "main"},
		TensorDock: policy.TensorDock{MarketplaceRPS: 1, InstancesRPM: 100},
		Limits:     policy.Limits{MaxActions: 20, MaxProbes: 40},
		Safety: policy.Safety{
			UnknownLooks: 3, UnknownAge: 10 * time.Minute, AbsentLooks: 3, AbsentAge: 2 * time.Minute, BackoffMin: 30 * time.Second, BackoffMax: time.Hour,
			BreakerFailures: 5, BreakerWindow: 10 * time.Minute, BreakerCooldown: 15 * time.Minute, BreakerNeverUp: 5, PriceOutlier: 3, BillTolerance: 0.1, BillStop: 0.3,
		},
		Ledger: policy.Ledger{Retention: 24 * time.Hour, MaxSize: 1 << 30},
		Policies: []policy.Policy{{
			Name: "train", Kind: policy.VM, Capacity: market.Spot, Target: auctionTarget, Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100},
			MaxGPUHour: onDemand, Image: "Ubuntu 22.04 LTS", Ports: []int{22}, BootTimeout: time.Hour, Bidding: a.bidding, Migrate: a.migrate, Surge: a.surge,
		}},
	}
}

// onDemand is what a machine costs on the mean host, all-in.
func onDemandOf(e *simulator.Engine) market.Rate {
	var sum market.Rate
	n := 0
	for _, h := range e.Hosts() {
		if g, ok := h.GPU(auctionModel); ok {
			s := market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100}
			sum = sum.Add(h.OnDemandCompute(g, s).Or(0)).Add(h.StorageRate(s).Or(0))
			n++
		}
	}
	return sum.Scale(1, int64(n))
}

func (a *auction) run(t testing.TB) outcome {
	t.Helper()
	virtual := clock.NewVirtual(auctionStart)
	r := &room{clock: virtual, rng: rand.New(rand.NewPCG(a.seed, 77))}
	o := a.options(virtual)
	o.Observe = r.observe
	engine, err := simulator.New(o)
	if err != nil {
		t.Fatal(err)
	}
	r.engine = engine
	out := outcome{onDemand: onDemandOf(engine)}
	dir := t.TempDir()
	l, err := ledger.Open(ledger.Options{Path: filepath.Join(dir, "a.db"), NoSync: true, Volatile: true, ID: "auction", Retention: 24 * time.Hour, MaxSize: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	alone, lastWhy := a.empty(t), auctionStart
	end := auctionStart.Add(a.length)
	d, err := daemon.New(daemon.Options{
		Config: daemon.Config{
			Path: filepath.Join(dir, "a.yaml"), Set: a.set(out.onDemand), Materials: map[string]daemon.Material{"train": {SSHKey: "ssh-ed25519 none"}},
			Key: secret.New("none"), Token: secret.New("none"),
		},
		Ledger: l, Credentials: credentials.New(filepath.Join(dir, "credentials")), Clock: virtual, Log: zap.NewNop(), Registerer: prometheus.NewRegistry(),
		Connect: func(daemon.Config) (daemon.Market, error) { return daemon.Market{Reader: r, Writer: r}, nil },
		Report: func(rep plan.Report) {
			out.sample(r, &rep)
			if now := virtual.Now(); now.Sub(lastWhy) >= lookEvery {
				lastWhy = now
				out.why.sample(r, alone)
			}
			if !virtual.Now().Before(end) {
				stop()
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(ctx, false); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	out.add(r)
	hours := virtual.Now().Sub(auctionStart).Hours()
	out.why.unmet = 2 * out.onDemand.Float() * max(auctionTarget-out.delivered/hours, 0) * out.why.samples
	return out
}

// sample weighs once a cycle what running machines pay against what they need.
func (o *outcome) sample(r *room, rep *plan.Report) {
	for _, in := range rep.Intents {
		switch {
		case in.Kind == plan.Deploy:
			o.bought++
		case in.Kind == plan.Rebid && strings.Contains(in.Reason.Text, "asking whether"):
			o.asks++
		case in.Kind == plan.Rebid && in.Reason.Code == plan.ReasonPriceFell:
			o.cuts++
		case in.Kind == plan.Rebid:
			o.rebids++
		}
	}
	for _, i := range r.engine.Instances() {
		if need, ok := r.engine.Needs(i.ID); ok && i.Status == market.StatusRunning {
			o.needed += need.Float()
			o.paid += i.Compute.Or(0).Float()
		}
	}
	o.probes += len(rep.Input.Verdicts)
}

func (o *outcome) add(r *room) {
	now := r.clock.Now()
	for _, m := range r.engine.Fleet() {
		o.cost += m.Compute.Float() + m.Storage.Float()
		o.delivered += m.Running.Hours() * float64(m.Shape.GPUs)
		o.outbids += m.Outbids
	}
	wanted := float64(auctionTarget) * now.Sub(auctionStart).Hours()
	o.j = o.cost + 2*o.onDemand.Float()*max(wanted-o.delivered, 0)
	o.overpay = o.paid/max(o.needed, 1e-9) - 1
	o.fallen, o.requests = r.fallen, len(r.requests)
	for i, at := range r.requests {
		j := i
		for j < len(r.requests) && r.requests[j].Sub(at) < 10*time.Second {
			j++
		}
		o.busiest = max(o.busiest, j-i)
	}
}

// star is J*: the least that somebody pays who knows all prices to come, never fails to
// boot, and pays at each moment just what wins then, whatever that takes in new bids.
// The prices are those of the same market without us, every ten minutes: where they follow a
// path no bid moves them, and J* is exact but for that; in a quiet market it is a
// lower bound, since rivals that we displaced would have left later, and k machines pay more than
// one of k GPUs. It may not replace a machine by on-demand: neither may ours.
func (a *auction) star(film *tape.Tape, ceiling market.Rate) float64 {
	w := optimum.Wish{Units: auctionTarget, GPUs: 1, Limits: optimum.Limits{Spot: true, Ceiling: ceiling}}
	return optimum.Star(film, w).J.Float()
}

// film is the market without us, every ten minutes, each GPU of a host a pool.
func (a *auction) film(t testing.TB) (film *tape.Tape, onDemand market.Rate) {
	t.Helper()
	m := a.empty(t)
	onDemand = onDemandOf(m.engine)
	film = &tape.Tape{Start: auctionStart, Length: a.length, Boot: cmp.Or(a.boot, 3*time.Minute), Penalty: onDemand.Mul(2)}
	index := map[string]int{}
	for at := time.Duration(0); at < a.length; at += lookEvery {
		for host, steps := range m.ladders(auctionStart.Add(at)) {
			shoot(film, index, host, steps, at)
		}
	}
	slices.SortFunc(film.Pools, func(a, b tape.Pool) int { return strings.Compare(a.Name, b.Name) })
	return film, onDemand
}

// shoot puts on film what each GPU of a host costs beyond those before it, a pool of
// its own: on the greatest convex curve below what one, two, three of them cost, so that nobody
// gets the second without paying for the first.
func shoot(film *tape.Tape, index map[string]int, host string, steps []market.Rate, at time.Duration) {
	for k := range 8 {
		name := fmt.Sprintf("%s/%d", host, k)
		i, known := index[name]
		if !known {
			i = len(film.Pools)
			index[name] = i
			film.Pools = append(film.Pools, tape.Pool{Name: name, Model: auctionModel, Free: tape.Constant(0), Price: tape.Constant(market.Rate(0))})
		}
		p := &film.Pools[i]
		free := 0
		if k < len(steps) {
			free = 1
			p.Price = then(p.Price, at, steps[k])
		}
		p.Free = then(p.Free, at, free)
	}
}

// slopes are those of the greatest convex curve from 0 below the prices of 1, 2, ... GPUs.
func slopes(price func(k int) (market.Rate, bool)) (out []market.Rate) {
	all := []market.Rate{0}
	for k := 1; ; k++ {
		p, ok := price(k)
		if !ok {
			break
		}
		all = append(all, p)
	}
	for i := 0; i < len(all)-1; {
		best := i + 1
		for j := i + 2; j < len(all); j++ {
			if (all[j]-all[i])*market.Rate(best-i) <= (all[best]-all[i])*market.Rate(j-i) {
				best = j
			}
		}
		for range best - i {
			out = append(out, (all[best]-all[i]).Scale(1, int64(best-i)))
		}
		i = best
	}
	return out
}

// then is a series that has another value from a moment on.
func then[T comparable](s tape.Series[T], at time.Duration, v T) tape.Series[T] {
	if s[len(s)-1].Value == v {
		return s
	}
	if s[len(s)-1].At == at {
		s[len(s)-1].Value = v
		return s
	}
	return append(s, tape.Step[T]{At: at, Value: v})
}

// rival is a bidder beside ours: the same daemon with a number that it does not learn.
type rival struct {
	name    string
	bidding policy.Bidding
	margin  bool // one of those whose best, in hindsight, ours is held against
}

// rivals are fixed margins over the lowest bid that wins, and bids that ask nobody: at the
// ceiling, and at the mean of the hosts' floors, which only the simulator knows.
var rivals = []rival{
	atMargin(0), atMargin(0.05),
	{name: "bids at the ceiling", bidding: policy.Bidding{Strategy: policy.Fraction, Fraction: 1}},
	{name: "bids at the floor", bidding: policy.Bidding{Strategy: policy.Fraction, Fraction: 0.5}},
	atMargin(0.10), atMargin(0.20),
}

func atMargin(m float64) rival {
	return rival{
		name: fmt.Sprintf("a fixed margin of %.0f %%", 100*m), margin: true,
		bidding: policy.Bidding{Strategy: policy.Discover, MaxStep: 0.2, Margin: market.Some(m)},
	}
}

// figures are the ratios of all seeds.
type figures []float64

// mean and half of its 95 % interval.
func (f figures) mean() (mean, half float64) {
	for _, x := range f {
		mean += x / float64(len(f))
	}
	for _, x := range f {
		half += (x - mean) * (x - mean)
	}
	if len(f) < 2 {
		return mean, 0
	}
	return mean, 1.96 * math.Sqrt(half/float64(len(f)-1)/float64(len(f)))
}

func (f figures) String() string {
	m, h := f.mean()
	return fmt.Sprintf("%.3f ± %.3f", m, h)
}

func number(t *testing.T, name string, without int) int {
	text := os.Getenv(name)
	if text == "" {
		return without
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// markets are what is played: boots are slow where being outbid is to cost more than most
// rises.
func markets(t *testing.T) []auction {
	all := []auction{{regime: simulator.Quiet}, {regime: simulator.TraceDriven}, {regime: simulator.Reactive}, {regime: simulator.Reactive, boot: 20 * time.Minute}}
	if dir := os.Getenv("TDSCALER_TRACES"); dir != "" {
		all = append(all, auction{regime: simulator.Replay, series: recorded(t, dir)})
	}
	only := os.Getenv("TDSCALER_BENCH_AUCTION_ONLY")
	return slices.DeleteFunc(all, func(a auction) bool { return only != "" && only != a.name() })
}

// TestBenchAuction is `make bench-auction`: AUCTION=n seeds from AUCTION_FROM on,
// AUCTION_DAYS days each; AUCTION_ONLY names one market.
func TestBenchAuction(t *testing.T) {
	seeds := number(t, "TDSCALER_BENCH_AUCTION", 0)
	if seeds == 0 {
		t.Skip("minutes: set TDSCALER_BENCH_AUCTION to a number of seeds, or run make bench-auction")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	first, days := number(t, "TDSCALER_BENCH_AUCTION_FROM", 11), number(t, "TDSCALER_BENCH_AUCTION_DAYS", 2)
	against := rivals[:number(t, "TDSCALER_BENCH_AUCTION_RIVALS", len(rivals))] // fewer, to see soon what a change does
	for _, a := range markets(t) {
		a.length = time.Duration(days) * 24 * time.Hour
		c := newContest(against)
		for seed := range seeds {
			a.seed = uint64(first + seed)
			c.play(t, a)
			if (seed+1)%5 == 0 || seed+1 == seeds {
				c.report(t, &a, seed+1, days)
			}
		}
		if c.all.fallen > 0 || c.all.busiest > 10 {
			t.Errorf("%s: %d self-displacements, %d requests in ten seconds", a.name(), c.all.fallen, c.all.busiest)
		}
	}
}

// contest is what all seeds of a market came to.
type contest struct {
	star, stay, stayStar, knowing, best, overpay, delivered figures
	against                                                 []rival
	rivals                                                  []figures // J of each over ours
	all                                                     outcome
}

func newContest(against []rival) *contest {
	return &contest{against: against, rivals: make([]figures, len(against))}
}

// play is one seed: as it is by default, with moves, and each rival with moves.
func (c *contest) play(t *testing.T, a auction) {
	a.bidding = policy.Bidding{Strategy: policy.Discover, MaxStep: 0.2}
	stay := a.run(t)
	a.migrate, a.surge = moving, auctionTarget/4
	ours := a.run(t)
	if a.regime != simulator.Reactive {
		film, ceiling := a.film(t)
		star := a.star(film, ceiling)
		c.star, c.stayStar = append(c.star, ours.j/star), append(c.stayStar, stay.j/star)
		c.knowing = append(c.knowing, knowing(film, auctionTarget, ceiling)/star)
	}
	least := math.Inf(1)
	for i, r := range c.against {
		a.bidding = r.bidding
		j := a.run(t).j
		c.rivals[i] = append(c.rivals[i], j/ours.j)
		if r.margin {
			least = min(least, j)
		}
	}
	c.best = append(c.best, ours.j/least)
	c.stay = append(c.stay, stay.j/ours.j)
	c.overpay = append(c.overpay, ours.overpay)
	c.delivered = append(c.delivered, ours.delivered/(auctionTarget*a.length.Hours()))
	c.all.join(&ours)
	c.all.fallen += stay.fallen
	c.all.busiest = max(c.all.busiest, stay.busiest)
}

func (c *contest) report(t *testing.T, a *auction, seeds, days int) {
	name := a.name()
	t.Logf("%s: %d seeds, J/J* %v; without moves %v; knowing all prices of the moment %v", name, seeds, c.star, c.stayStar, c.knowing)
	t.Logf("%s: J over the best fixed margin of the seed %v; without moves %v of ours; overpay %v; delivered %v", name, c.best, c.stay, c.overpay, c.delivered)
	for i, r := range c.against {
		t.Logf("%s: %s: %v of ours", name, r.name, c.rivals[i])
	}
	all := &c.all
	t.Logf("%s: a day: %.1f bought, %.1f outbid, %.1f raised, %.1f lowered, %.0f questions and %.0f about our own bids; self-displacements %d; at most %d requests in ten seconds", name,
		per(all.bought, seeds, days), per(all.outbids, seeds, days), per(all.rebids, seeds, days), per(all.cuts, seeds, days), per(all.probes, seeds, days), per(all.asks, seeds, days), all.fallen, all.busiest)
	t.Logf("%s: %v", name, &all.why)
}

// moving is when a machine moves, in the benchmark.
var moving = policy.Migrate{MaxPerHour: 4, MinSaving: 0.03, Payback: 4 * time.Hour}

// join adds up outcomes.
func (o *outcome) join(x *outcome) {
	o.fallen += x.fallen
	o.outbids += x.outbids
	o.rebids += x.rebids
	o.cuts += x.cuts
	o.asks += x.asks
	o.bought += x.bought
	o.probes += x.probes
	o.busiest = max(o.busiest, x.busiest)
	o.why.join(&x.why)
}

func per(n, seeds, days int) float64 { return float64(n) / float64(seeds*days) }

// recorded are the moving pools of a price record.
func recorded(t *testing.T, dir string) (out []simulator.Series) {
	files, err := filepath.Glob(filepath.Join(dir, "price", "*.csv"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no price records in %s: %v", dir, err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		all, err := simulator.ReadSeries(f)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if different(s) >= 20 {
				out = append(out, s)
			}
		}
	}
	return out
}

func different(s simulator.Series) int {
	seen := map[market.Rate]bool{}
	for _, p := range s.Points {
		seen[p.Price] = true
	}
	return len(seen)
}
