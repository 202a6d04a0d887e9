package campaign

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// simulation is one seed: a world in which everything goes wrong that can, at
// times and places that the seed alone decides.
type simulation struct {
	*world
	seed  uint64
	rng   *rand.Rand
	fuse  *fuse
	wish  wish
	zone  string
	again bool // start anew after this cycle
	end   time.Time
	calmd bool

	refuse      int  // so many connections more
	unreachable bool // all connections

	menu  []trouble // as often as their shares
	next  time.Time // of the next trouble
	skips int       // requests to let pass before it
	due   []undo
	kinds map[string]int

	unlearnt time.Time // since when the operator sees a container that cannot be scaled
	anew     bool      // and has it torn down, to begin anew
}

// undo ends a trouble.
type undo struct {
	at time.Time
	do func()
}

// wish is what the operator wants, as far as it changes.
type wish struct {
	mode                     string
	train, pair, serve       int // GPUs
	boxes                    bool
	web                      int // replicas
	ceiling                  int // cents
	hourly, daily, monthly   int // cents; 0 is no cap
	trainHourly, trainDaily  int
	trainMonthly, serveDaily int
	trainTotal               int
	balance, runway          int // dollars, hours
	zone, scope              string
	falls                    bool // train falls back on on-demand
	tide                     bool // what train wants moves every hour
	watched                  bool // between cycles
	quick                    int  // ready-made machines
	park                     int  // what becomes of serve's surplus
	v2                       bool // serve is of a size that v2 sells
	ghost                    bool // a shadow policy beside them: bought is what it has, so it must have nothing
	cares                    bool // train and serve are probed and drained
	surge, moves             int
	grown                    bool // train and serve ask for larger machines than they did
	gone                     string
	protected                []string
}

func (w *wish) tighten() {
	for _, c := range []*int{&w.hourly, &w.daily, &w.monthly, &w.trainHourly, &w.trainDaily, &w.trainMonthly, &w.trainTotal, &w.serveDaily} {
		*c = *c * 2 / 3
	}
}

func caps(pairs ...any) string {
	var out []string
	for i := 0; i < len(pairs); i += 2 {
		if c := pairs[i+1].(int); c > 0 {
			out = append(out, fmt.Sprintf("%s: %d.%02d", pairs[i], c/100, c%100))
		}
	}
	return "{" + strings.Join(out, ", ") + "}"
}

func (w *wish) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, `version: 1
daemon: {schedule: "@every 5m", mode: %s, ledger: ledger.db, listen: "", watch: %s}
tensordock: {marketplace_rps: 50}
budget: %s
policies:
`, w.mode, map[bool]string{false: "0s", true: "10s"}[w.watched], w.fleet())
	if w.gone != "train" {
		fmt.Fprintf(&b, `  - name: train
    target: %s
    shape: %s
    max_gpu_hour: 0.%02d%s
    surge: %d
    migrate: {max_per_hour: %d}
    protected: [%s]
    budget: %s
`, w.target(), w.single(60), w.ceiling, w.fallback(), w.surge, w.moves, strings.Join(w.of("train"), ", "), caps("max_hourly", w.trainHourly, "max_daily", w.trainDaily, "max_monthly", w.trainMonthly, "max_total", w.trainTotal))
		b.WriteString(w.careful())
	}
	if w.ghost {
		fmt.Fprintf(&b, `  - name: ghost
    shadow: true
    capacity: spot_with_fallback
    target: {gpus: 3}
    shape: {gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 60}
    max_gpu_hour: 0.60
    fallback: {max_premium: 0.5}
    migrate: {max_per_hour: 2}
    surge: 1
`)
	}
	if w.gone != "pair" {
		fmt.Fprintf(&b, `  - name: pair
    target: {gpus: %d}
    shape: {gpus: 2, vcpus: 8, ram_gb: 32, storage_gb: 60}
    max_gpu_hour: 0.%02d
    protected: [%s]
    spread: {max_share: 0.5}
`, w.pair, w.ceiling, strings.Join(w.of("pair"), ", "))
	}
	if w.gone != "serve" {
		fmt.Fprintf(&b, `  - name: serve
    capacity: on_demand
    priority: 10
    target: {gpus: %d}
    shape: %s
    max_gpu_hour: 0.55
    protected: [%s]
    scale_down: %s
    ssh_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZvciB0ZXN0cyBvbmx5IGZvciB0ZXN0cyBvbmx5IG9r me@here
    budget: %s
`, w.serve, w.single(map[bool]int{false: 60, true: 100}[w.v2]), strings.Join(w.of("serve"), ", "), []string{"delete", "release", "stop"}[w.park], caps("max_daily", w.serveDaily))
		b.WriteString(w.careful())
	}
	if w.quick > 0 {
		fmt.Fprintf(&b, `  - name: quick
    kind: instant
    target: {instances: %d}
    max_gpu_hour: 0.60
    protected: [%s]
`, w.quick, strings.Join(w.of("quick"), ", "))
	}
	if w.boxes && w.gone != "web" {
		fmt.Fprintf(&b, `  - name: web
    kind: container
    priority: 5
    target: {replicas: %d}
    shape: {gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: 60}
    max_gpu_hour: 0.%02d
    image: example/server:1
`, w.web, w.ceiling+15)
	}
	return b.String()
}

// single is the shape of a machine with one GPU.
func (w *wish) single(storage int) string {
	if w.grown {
		return fmt.Sprintf("{gpus: 1, vcpus: 6, ram_gb: 32, storage_gb: %d}", storage+20)
	}
	return fmt.Sprintf("{gpus: 1, vcpus: 4, ram_gb: 16, storage_gb: %d}", storage)
}

func (w *wish) target() string {
	if w.tide {
		return tides(w.train, w.zone)
	}
	return fmt.Sprintf("{gpus: %d}", w.train)
}

func (w *wish) careful() string {
	if !w.cares {
		return ""
	}
	return carefully
}

func (w *wish) fallback() string {
	if !w.falls {
		return ""
	}
	return "\n    capacity: spot_with_fallback\n    fallback: {max_premium: 0.5, settle: 10m}"
}

func (w *wish) fleet() string {
	text := strings.TrimSuffix(caps("max_hourly", w.hourly, "max_daily", w.daily, "max_monthly", w.monthly, "min_balance", w.balance*100), "}")
	if w.runway > 0 {
		text += fmt.Sprintf(", min_runway: %dh", w.runway)
	}
	return text + fmt.Sprintf(", time_zone: %s, scope: %s}", w.zone, w.scope)
}

// of are the protected machines of a policy.
func (w *wish) of(policy string) (out []string) {
	for _, name := range w.protected {
		if p, _ := ours(name); p == policy {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// wishes makes up what somebody may want.
func (s *simulation) wishes() wish {
	sometimes := func(n, from, to int) int {
		if s.rng.IntN(n) > 0 {
			return 0
		}
		return from + s.rng.IntN(to-from)
	}
	w := wish{
		watched: s.seed%3 != 1, quick: int(s.seed%3) / 2 * 2, park: int(s.seed % 4 / 2 * (1 + s.seed%2)), v2: s.seed%5 < 3, falls: s.seed%3 == 0, tide: s.seed%3 == 1, ghost: s.seed%4 == 1, cares: s.seed%5 < 2, surge: int(s.seed % 2), moves: int(s.seed / 2 % 3),
		mode: "live", train: s.rng.IntN(7), pair: 2 * s.rng.IntN(2), serve: s.rng.IntN(3), ceiling: 35 + s.rng.IntN(20),
		hourly: 150 + s.rng.IntN(250), daily: sometimes(2, 800, 4000), monthly: sometimes(3, 2000, 9000),
		trainTotal: sometimes(5, 500, 4000), balance: sometimes(4, 350, 495), runway: sometimes(4, 50, 300),
		zone: s.zone, scope: []string{"owner", "owner", "owner", "account"}[s.rng.IntN(4)],
		trainHourly: sometimes(3, 60, 200), trainDaily: sometimes(3, 300, 2000), trainMonthly: sometimes(4, 800, 4000), serveDaily: sometimes(4, 300, 1500),
	}
	if w.boxes = s.seed%3 == 1; w.boxes {
		w.web = s.rng.IntN(5)
		w.hourly += 150
	}
	return w
}

// newSimulation makes the world of a seed.
func newSimulation(t testing.TB, seed uint64, days int, text bool) *simulation {
	s := &simulation{seed: seed, rng: rand.New(rand.NewPCG(seed, 4)), kinds: map[string]int{}}
	rng := s.rng
	s.fuse = &fuse{death: func() { panic(errKilled) }}
	s.zone = []string{"UTC", "Europe/Brussels", "America/New_York", "Asia/Kolkata"}[rng.IntN(4)]
	s.wish = s.wishes()
	s.wish.train = max(s.wish.train, 2)
	jitter := rand.New(rand.NewPCG(seed, 5))
	regimes := []simulator.Regime{simulator.Reactive, simulator.Quiet, simulator.TraceDriven}
	rebids := []simulator.RebidMode{simulator.ByModify, simulator.ByValidateExisting, simulator.Never}
	sum := sha256.Sum256(fmt.Appendf(nil, "ledger %d", seed))
	balance := market.Amount(500) * market.Dollar
	s.world = makeWorld(t, plot{
		config: s.wish.text(), faults: faultPlan(rng, days*24) + s.containerFaults(), scale: meanings()[seed/3%2],
		shape:  []simulator.Shape{simulator.Real, simulator.Seed}[rng.IntN(2)],
		clock:  func(c clock.Clock) clock.Clock { return mortal{c, s.fuse} },
		commit: func() error { return s.fuse.commit() },
		struck: func(kind, _ string) { s.kinds[kind]++ },
		jitter: jitter.Float64, ledger: hex.EncodeToString(sum[:16]),
		sim: simulator.Options{
			Seed: seed, Hosts: 8 + rng.IntN(5), Regime: regimes[rng.IntN(3)], RebidApplies: rebids[rng.IntN(3)], Balance: balance,
			Replicas: []simulator.ReplicaListing{simulator.ReplicasHidden, simulator.ReplicasNamed, simulator.ReplicasNameless}[seed/6%3],
		},
	}, func(w *world) {
		w.terse, w.sum, w.sample, w.quiet = !text, sha256.New(), 40, seed%25 != 0
	})
	s.end = epoch.Add(time.Duration(days) * 24 * time.Hour)
	s.wire.before = s.request
	s.wire.after = func(op string) { s.fuse.point("after " + op) }
	s.wire.cut = s.cut
	s.wire.echo = func(string) bool { return s.rng.IntN(400) == 0 }
	s.always = s.between
	for _, t := range troubles() {
		for range max(t.share, 1) {
			if !t.boxes || s.wish.boxes {
				s.menu = append(s.menu, t)
			}
		}
	}
	neighboursIfAny(s.world)
	s.plan()
	return s
}

// plan chooses when the next trouble comes: every hour, about.
func (s *simulation) plan() {
	s.next = s.clock.Now().Add(time.Duration(s.rng.ExpFloat64() * float64(time.Hour)))
	s.skips = s.rng.IntN(40)
}

// later ends something after d.
func (s *simulation) later(d time.Duration, do func()) {
	s.due = append(s.due, undo{s.clock.Now().Add(d), do})
}

func (s *simulation) undo() {
	now := s.clock.Now()
	for i := 0; i < len(s.due); {
		if s.due[i].at.After(now) {
			i++
			continue
		}
		do := s.due[i].do
		s.due = slices.Delete(s.due, i, i+1)
		do()
	}
}

// request is before every request: the process may die, and before one that only
// reads, when nothing is under way, anything may happen.
func (s *simulation) request(op string) {
	s.fuse.point("before " + op)
	if s.calmd || writes(op) || s.destroying || s.busy {
		return
	}
	s.busy = true
	defer func() { s.busy = false }()
	s.undo()
	s.happen(true)
}

// between is after every report.
func (s *simulation) between() {
	s.tellOfContainers()
	if s.calmd || s.busy {
		return
	}
	s.busy = true
	defer func() { s.busy = false }()
	s.undo()
	s.happen(false)
}

func (s *simulation) happen(inside bool) {
	if s.clock.Now().Before(s.next) {
		return
	}
	if s.skips > 0 {
		s.skips--
		return
	}
	list := s.menu
	for range 10 {
		t := list[s.rng.IntN(len(list))]
		if inside && !t.inside {
			continue
		}
		if t.do(s) {
			s.entry(s.clock.Now(), "trouble %s", t.kind)
			s.kinds[t.kind]++
			break
		}
	}
	s.plan()
}

// cut says which connections fail.
func (s *simulation) cut(op string) error {
	if s.unreachable {
		s.hit("unreachable")
		return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.EHOSTUNREACH}
	}
	if s.refuse > 0 {
		s.refuse--
		s.hit("refused")
		return &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	return nil
}

func (s *simulation) hit(kind string) {
	s.kinds[kind]++
	s.troubled = true
}

// live runs until the end, through deaths and restarts.
func (s *simulation) live() {
	for s.clock.Now().Before(s.end) {
		s.again = false
		killed, err := s.mortalRun(func(plan.Report) bool { return s.again || !s.clock.Now().Before(s.end) })
		switch {
		case killed:
			s.events["crashes"]++
			s.entry(s.clock.Now(), "killed %s", s.fuse.where)
			if s.rng.IntN(3) == 0 {
				s.clock.Set(s.clock.Now().Add(s.upTo(4 * time.Hour)))
			}
		case errors.Is(err, daemon.ErrUnauthorized):
			s.clock.Set(s.clock.Now().Add(time.Minute))
		case err != nil:
			s.Fatalf("the daemon ended: %v", err)
		case !s.again:
			continue
		}
		s.rebirth()
	}
}

// rebirth is another process on the same ledger.
func (s *simulation) rebirth() {
	s.fuse.armed, s.fuse.dying = false, false
	s.busy, s.destroying, s.writing = false, false, nil
	s.undo()
	s.halt()
	s.mendConfig()
	s.start()
}

// mendConfig is what an operator does whose daemon does not start any more: it died
// while a bad file was in its place, and refuses that one at every start.
func (s *simulation) mendConfig() {
	if _, _, err := daemon.LoadConfig(filepath.Join(s.dir, "policies.yaml")); err == nil {
		return
	}
	s.entry(s.clock.Now(), "the daemon refuses to start with a bad file")
	s.clock.Set(s.clock.Now().Add(s.upTo(time.Hour)))
	s.write(s.wish.text())
}

func (s *simulation) mortalRun(until func(plan.Report) bool) (killed bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			if r != any(errKilled) {
				panic(r)
			}
			killed = true
		}
	}()
	err = s.run(until)
	if s.fuse.dying {
		killed, err = true, nil
	}
	return killed, err
}

// calm ends every trouble, and gives everything back that was taken away.
func (s *simulation) calm() {
	s.calmd, s.fuse.armed, s.fuse.dying = true, false, false
	s.attendants.calm = true
	s.busy, s.destroying, s.writing = false, false, nil
	for len(s.due) > 0 {
		do := s.due[0].do
		s.due = s.due[1:]
		do()
	}
	s.refuse, s.unreachable, s.disk = 0, false, disk{}
	s.wire.cut, s.wire.echo = nil, nil
	s.setClock(0)
	for _, h := range s.engine.Hosts() {
		s.must(s.engine.SetHost(h.ID, true, true))
	}
	s.deposit()
	s.world.calm()
	s.wish.mode, s.wish.gone, s.wish.protected = "live", "", nil
	s.write(s.wish.text())
	s.restart()
	_, _, err := daemon.Resume(s.ledger, "")
	s.must(err)
}

// simulate lives through a seed and judges it.
func simulate(t testing.TB, seed uint64, days int, text bool) *simulation {
	s := newSimulation(t, seed, days, text)
	s.live()
	s.calm()
	converge(s.world)
	s.whole()
	if s.quiet {
		s.close()
	} else {
		s.noSecrets()
		s.close()
	}
	s.account()
	return s
}

// account holds the till against the market's own bill, so that the till can be
// trusted.
func (s *simulation) account() {
	s.Helper()
	var billed market.Amount
	allowed := market.Amount(market.Cent) // the market bills whole seconds, of which a machine of $1 an hour has one or two too many
	for _, m := range s.engine.Fleet() {
		if _, mine := ours(m.Name); mine && !s.world.hand[m.ID] {
			billed = billed.Add(m.Compute).Add(m.Storage)
			allowed = allowed.Add(market.Cent / 20)
		}
	}
	s.till.chargeAll(s.clock.Now())
	got := s.till.tab("", "life").spent
	if diff := billed - got; len(s.renamed) == 0 && (diff > allowed || diff < -allowed) {
		s.Errorf("the till has %s, the market billed %s", got, billed)
	}
}

// tally adds seeds up.
type tally struct {
	mu       sync.Mutex
	seeds    int
	days     int
	cycles   int
	kinds    map[string]int
	events   map[string]int
	checked  [ruleGentle + 1]int
	violated [ruleGentle + 1]int
	failed   []uint64
}

func (a *tally) add(s *simulation, days int, failed bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seeds++
	a.days += days
	a.cycles += s.reports
	for k, n := range s.kinds {
		a.kinds[k] += n
	}
	for k, n := range s.events {
		a.events[k] += n
	}
	for r := range a.checked {
		a.checked[r] += s.checked[r]
		a.violated[r] += s.violated[r]
	}
	if failed {
		a.failed = append(a.failed, s.seed)
	}
}

// origins are all kinds of trouble there are, and where they come from.
func origins() map[string]string {
	out := apiFaults()
	out["started_by_hand"] = byOperator
	for _, t := range troubles() {
		out[t.kind] = t.from
	}
	return out
}

func (a *tally) String() string {
	var b strings.Builder
	from := origins()
	groups := map[string][]string{}
	seen := 0
	for _, kind := range slices.Sorted(maps.Keys(from)) {
		if a.kinds[kind] > 0 {
			seen++
		}
		groups[from[kind]] = append(groups[from[kind]], fmt.Sprintf("%s %d", kind, a.kinds[kind]))
	}
	for _, g := range slices.Sorted(maps.Keys(groups)) {
		fmt.Fprintf(&b, "%-8s  %s\n", g, strings.Join(groups[g], ", "))
	}
	fmt.Fprintf(&b, "events    ")
	for i, k := range slices.Sorted(maps.Keys(a.events)) {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %d", k, a.events[k])
	}
	b.WriteString("\n")
	operator := 0
	for _, t := range troubles() {
		if t.from == byOperator {
			operator += a.kinds[t.kind]
		}
	}
	violations := 0
	for r := ruleSame; r <= ruleGentle; r++ {
		fmt.Fprintf(&b, "rule %-4d  checked %d, violated %d\n", r, a.checked[r], a.violated[r])
		violations += a.violated[r]
	}
	fmt.Fprintf(&b, "seeds %d, fleet-days %d, cycles %d, fault kinds %d, deploys %d, rebids %d, deletes %d, outbids %d, crashes %d, operator acts %d, failed seeds %d, violations %d",
		a.seeds, a.days, a.cycles, seen, a.events["deployed"], a.events["rebid"], a.events["deleted"], a.events["outbid"], a.events["crashes"], operator, len(a.failed), violations)
	return b.String()
}

// TestSimulation is `make sim`; by default it is short.
func TestSimulation(t *testing.T) {
	first, seeds, days := uint64(envNumber(t, "FROM", 1)), envNumber(t, "SEEDS", 6), envNumber(t, "DAYS", 1)
	all := &tally{kinds: map[string]int{}, events: map[string]int{}}
	began := clock.System{}.Uptime()
	t.Run("seeds", func(t *testing.T) {
		for seed := first; seed < first+uint64(seeds); seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				s := simulate(t, seed, days, seeds == 1 && testing.Verbose())
				all.add(s, days, t.Failed())
				if t.Failed() {
					for _, text := range s.wrongs[:min(len(s.wrongs), 3)] {
						fmt.Println(text)
					}
					fmt.Printf("seed %d failed; to see it again: make sim FROM=%d SEEDS=1 DAYS=%d\n", seed, seed, days)
				}
				if n := all.seeds; n%100 == 0 {
					took, _ := clock.System{}.Uptime().Since(began)
					fmt.Printf("%d seeds after %s, %d failed\n", n, took.Round(time.Second), len(all.failed))
				}
			})
		}
	})
	took, _ := clock.System{}.Uptime().Since(began)
	fmt.Printf("%s\nFROM=%d SEEDS=%d DAYS=%d took %s: %.2f fleet-days a second\n", all, first, seeds, days, took.Round(time.Second), float64(all.days)/took.Seconds())
	if seeds < 20 {
		return
	}
	met := 0
	for kind := range origins() {
		if all.kinds[kind] > 0 {
			met++
		}
	}
	if met < 25 {
		t.Errorf("only %d kinds of faults were met", met)
	}
	for r := ruleSame; r <= ruleGentle; r++ {
		if all.checked[r] == 0 && (r != ruleAbsence || seeds >= 100) { // a surplus is rare
			t.Errorf("rule %d was never checked", r)
		}
	}
}

func TestASeedReplaysExactly(t *testing.T) {
	var sums []string
	for range 2 {
		s := simulate(t, 2, 1, false)
		sums = append(sums, hex.EncodeToString(s.sum.Sum(nil)))
	}
	if sums[0] != sums[1] {
		t.Error("two runs of one seed differ")
	}
}

// neighboursIfAny is neighbours where there is room for them.
func neighboursIfAny(w *world) {
	for _, name := range []string{"my own server", "tds-main2-train-abcd1234"} {
		for _, h := range w.engine.Hosts() {
			if len(h.GPUs) > 0 && h.GPUs[0].Free > 0 && h.Online && h.Listed {
				o := market.Order{Name: name, Host: h.ID, Model: h.GPUs[0].Model, Shape: market.Shape{GPUs: 1, VCPUs: 2, RAM: 4, Storage: 40}}
				if w.tryStranger(o) == nil {
					break
				}
			}
		}
	}
}
