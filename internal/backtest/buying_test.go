package backtest_test

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest"
	"github.com/tdscaler/tdscaler/internal/backtest/baseline"
	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/backtest/trace"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// TestBenchBuying is `make bench-buying`: it prints how far the daemon and the
// baselines stay from the optimum, on the trace sets below TDSCALER_TRACES and on
// generated ones. TDSCALER_BENCH_BUYING is the number of seeds, TDSCALER_BENCH_DAYS
// cuts every tape.
func TestBenchBuying(t *testing.T) {
	seeds, err := strconv.Atoi(os.Getenv("TDSCALER_BENCH_BUYING"))
	if err != nil || seeds < 1 {
		t.Skip("set TDSCALER_BENCH_BUYING to the number of seeds, as make bench-buying does")
	}
	sets := recordedSets(t, os.Getenv("TDSCALER_TRACES"))
	if len(sets) == 0 {
		fmt.Println("TDSCALER_TRACES names no folder of traces: generated sets only")
	}
	sets = append(sets, generatedSets()...)
	rounds := play(t, tasksOf(sets, seeds))
	printMeans(os.Stdout, "J/J*", rounds, starRatio)
	printMeans(os.Stdout, "J/J_nw", rounds, nwRatio)
	printMeans(os.Stdout, "interruptions", rounds, interruptions)
	printCurve(os.Stdout, play(t, curveTasks(sets)))
	printSpeed(t, os.Stdout)
}

// traceSet is zones that are played together.
type traceSet struct {
	name  string
	trace trace.Trace
}

// most is the greatest number of GPUs that any zone ever has.
func (s *traceSet) most() (n int) {
	for _, z := range s.trace.Zones {
		n = max(n, slices.Max(z.Free))
	}
	return n
}

// recordedSets are the files of each folder of capacity traces: those whose names are
// the same after the zone are a set.
func recordedSets(t *testing.T, dir string) []traceSet {
	t.Helper()
	if dir == "" {
		return nil
	}
	files := map[string][]trace.File{}
	var names []string
	for _, kind := range []string{"availability", "preemption"} {
		paths, err := filepath.Glob(filepath.Join(dir, kind, "*", "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, what, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".json"), "_")
			name := kind + "/" + what
			files[name] = append(files[name], trace.File{Name: path, Data: data})
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var sets []traceSet
	for _, name := range slices.Compact(names) {
		sets = append(sets, readSet(t, name, files[name]))
	}
	return sets
}

func readSet(t *testing.T, name string, files []trace.File) traceSet {
	t.Helper()
	tr, err := trace.Read(files)
	if err != nil {
		t.Fatal(err)
	}
	return traceSet{name, tr}
}

// generatedSets are zones that nobody has recorded: room comes and goes for
// lognormal times, calm in one set and nervous in another.
func generatedSets() []traceSet {
	var sets []traceSet
	for i, g := range []struct {
		name          string
		zones, most   int
		there, absent float64 // medians, in ticks of five minutes
	}{{"calm", 2, 1, 60, 20}, {"nervous", 2, 1, 6, 6}, {"four", 4, 4, 40, 30}} {
		rng := rand.New(rand.NewPCG(11, uint64(i)))
		set := traceSet{name: "generated/" + g.name, trace: trace.Trace{Kind: trace.Capacity}}
		for z := range g.zones {
			zone := trace.Zone{Name: fmt.Sprintf("zone-%d", z), Gap: 5 * time.Minute}
			for len(zone.Free) < 14*24*12 {
				room, median := rng.IntN(g.most+1), g.absent
				if room > 0 {
					median = g.there
				}
				for range 1 + int(median*math.Exp(rng.NormFloat64())) {
					zone.Free = append(zone.Free, room)
				}
			}
			zone.Free = zone.Free[:14*24*12]
			set.trace.Zones = append(set.trace.Zones, zone)
		}
		sets = append(sets, set)
	}
	return sets
}

// task is one contest: a set with a target, a share of the on-demand price that spot
// costs, and a seed of the seconds at which room changes.
type task struct {
	set    *traceSet
	target int
	share  int64 // percent
	seed   uint64
	// extra are lines of our policy.
	extra string
}

func (k *task) row() string {
	return fmt.Sprintf("%s, %d wanted, spot at 0.%d", k.set.name, k.target, k.share/10)
}

// targets are one machine, and the customary four; sets with much room know no one.
func (s *traceSet) targets() []int {
	if s.most() > 1 {
		return []int{4}
	}
	return []int{1, 4}
}

func tasksOf(sets []traceSet, seeds int) []task {
	var tasks []task
	for i := range sets {
		for _, target := range sets[i].targets() {
			for _, share := range []int64{30, 50} {
				for seed := range seeds {
					tasks = append(tasks, task{set: &sets[i], target: target, share: share, seed: uint64(seed + 1)})
				}
			}
		}
	}
	return tasks
}

// curveTasks are the knobs that trade interruptions for money.
func curveTasks(sets []traceSet) []task {
	var tasks []task
	for i := range sets {
		for _, settle := range []string{"0s", "2m", "5m", "10m", "20m"} {
			target := sets[i].targets()[0]
			tasks = append(tasks, task{set: &sets[i], target: target, share: 30, seed: 1, extra: "fallback: {settle: " + settle + "}"})
		}
	}
	return tasks
}

const onDemandPrice = market.Rate(3_060_000_000)

func (k *task) tape(t *testing.T) *tape.Tape {
	t.Helper()
	tp, err := k.set.trace.Tape(trace.Terms{
		Boot: 180 * time.Second, Spot: onDemandPrice.Scale(k.share, 100), OnDemand: market.Some(onDemandPrice), Seed: k.seed,
		Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC),
	})
	if err != nil {
		t.Fatal(err)
	}
	if days, err := strconv.ParseFloat(os.Getenv("TDSCALER_BENCH_DAYS"), 64); err == nil {
		tp.Length = min(tp.Length, time.Duration(days*24*float64(time.Hour)))
	}
	return tp
}

// policies is what ours is told: what is wanted, and that nothing may cost more than
// on-demand. All else is at its default.
func (k *task) policies(t *testing.T) policy.Set {
	t.Helper()
	text := "version: 1\nbudget: {max_hourly: 1000}\npolicies:\n  - name: p\n    capacity: spot_with_fallback\n    target: {gpus: " + strconv.Itoa(k.target) + "}\n" +
		"    shape: {gpus: 1}\n    max_gpu_hour: " + onDemandPrice.Decimal() + "\n"
	if k.extra != "" {
		text += "    " + k.extra + "\n"
	}
	set, problems := policy.Parse("bench.yaml", []byte(text))
	if policy.HasErrors(problems) {
		t.Fatalf("%s: %v", text, problems)
	}
	set, err := backtest.Fit(set, k.target, []market.GPUModel{trace.Model})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// round is a task and what came of it, ours first.
type round struct {
	task
	results []tape.Result
}

// play plays all tasks, two at a time.
func play(t *testing.T, tasks []task) []round {
	t.Helper()
	rounds := make([]round, len(tasks))
	next := make(chan int)
	var workers sync.WaitGroup
	var done atomic.Int64
	for range 2 {
		workers.Go(func() {
			for i := range next {
				c := backtest.Contest{
					Tape: tasks[i].tape(t), Cycle: time.Minute,
					Contestants: []backtest.Contestant{{Name: "tdscaler", Set: tasks[i].policies(t)}},
				}
				played, err := c.Play(context.Background())
				if err != nil {
					t.Error(err)
					continue
				}
				rounds[i].task = tasks[i]
				for _, p := range played {
					rounds[i].results = append(rounds[i].results, p.Result)
				}
				fmt.Fprintf(os.Stderr, "%d/%d %s, seed %d %s: J/J* %.4f, J/J_nw %.4f\n",
					done.Add(1), len(tasks), tasks[i].row(), tasks[i].seed, tasks[i].extra, starRatio(&played[0].Result), nwRatio(&played[0].Result))
			}
		})
	}
	for i := range tasks {
		next <- i
	}
	close(next)
	workers.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return rounds
}

type figure func(*tape.Result) float64

func starRatio(r *tape.Result) float64     { return r.JRatio.Or(math.NaN()) }
func nwRatio(r *tape.Result) float64       { return r.JNWRatio.Or(math.NaN()) }
func interruptions(r *tape.Result) float64 { return float64(r.Interruptions) }

// printMeans prints a figure of every player per set, as means over the seeds, and
// over all sets, which count the same. Tables are Markdown's, to be shown as they are.
func printMeans(w io.Writer, title string, rounds []round, f figure) {
	names := append([]string{"tdscaler"}, baseline.Names()...)
	printHead(w, title, append([]string{"set"}, names...))
	all := make([]float64, len(names))
	rows := byRow(rounds)
	for _, group := range rows {
		line := meansOf(group, len(names), f)
		printLine(w, group[0].row(), line)
		for i := range all {
			all[i] += line[i] / float64(len(rows))
		}
	}
	printLine(w, "mean of all", all)
}

func printHead(w io.Writer, title string, columns []string) {
	fmt.Fprintf(w, "\n%s\n\n| %s |\n|---%s|\n", title, strings.Join(columns, " | "), strings.Repeat("|---:", len(columns)-1))
}

func byRow(rounds []round) [][]round {
	var rows [][]round
	for i, r := range rounds {
		if i == 0 || r.row() != rounds[i-1].row() {
			rows = append(rows, nil)
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], r)
	}
	return rows
}

func meansOf(group []round, players int, f figure) []float64 {
	line := make([]float64, players)
	for _, r := range group {
		for i := range line {
			line[i] += f(&r.results[i]) / float64(len(group))
		}
	}
	return line
}

func printLine(w io.Writer, name string, line []float64) {
	fmt.Fprintf(w, "| %s |", name)
	for _, v := range line {
		if v < 10 {
			fmt.Fprintf(w, " %.4f |", v)
		} else {
			fmt.Fprintf(w, " %.0f |", v)
		}
	}
	fmt.Fprintln(w)
}

// printCurve prints J and interruptions, both against greedy with fallback's, by the
// knob that trades them.
func printCurve(w io.Writer, rounds []round) {
	other := 1 + slices.Index(baseline.Names(), "greedy_with_fallback")
	var knobs []string
	sums := map[string][3]float64{}
	for _, r := range rounds {
		ours, theirs := &r.results[0], &r.results[other]
		s := sums[r.extra]
		if s[2] == 0 {
			knobs = append(knobs, r.extra)
		}
		s[0] += ours.J.Float() / theirs.J.Float()
		s[1] += interruptions(ours) / max(1, interruptions(theirs))
		s[2]++
		sums[r.extra] = s
	}
	slices.SortStableFunc(knobs, func(a, b string) int { return cmp.Compare(sums[a][1]/sums[a][2], sums[b][1]/sums[b][2]) })
	printHead(w, "J and interruptions over greedy_with_fallback's, means of all sets", []string{"policy", "J", "interruptions"})
	for _, k := range knobs {
		printLine(w, "`"+k+"`", []float64{sums[k][0] / sums[k][2], sums[k][1] / sums[k][2]})
	}
}

// printSpeed prints how long the daemon takes over many cycles and hosts, by itself:
// without the optimum, and nothing beside it but the baselines.
func printSpeed(t *testing.T, w io.Writer) {
	t.Helper()
	printHead(w, "Speed: cycles of a minute, 4 GPUs wanted, every host changes twice a day", []string{"days, hosts", "seconds", "microseconds a cycle"})
	for _, size := range []struct{ days, hosts int }{{7, 10}, {7, 100}, {30, 10}, {30, 100}, {7, 400}} {
		set := manyHosts(size.days, size.hosts)
		k := task{set: &set, target: 4, share: 30, seed: 1}
		c := backtest.Contest{
			Tape: k.tape(t), Cycle: time.Minute, NoOptimum: true,
			Contestants: []backtest.Contestant{{Name: "tdscaler", Set: k.policies(t)}},
		}
		began := time.Now()
		if _, err := c.Play(context.Background()); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		fmt.Fprintf(w, "| %d, %d | %.1f | %.0f |\n", size.days, size.hosts, took.Seconds(), float64(took.Microseconds())/float64(size.days*24*60))
	}
}

func manyHosts(days, hosts int) traceSet {
	rng := rand.New(rand.NewPCG(12, uint64(hosts)))
	set := traceSet{name: "many", trace: trace.Trace{Kind: trace.Capacity}}
	for h := range hosts {
		zone := trace.Zone{Name: fmt.Sprintf("host-%03d", h), Gap: time.Hour}
		room := rng.IntN(5)
		for range days * 24 {
			if rng.IntN(12) == 0 {
				room = rng.IntN(5)
			}
			zone.Free = append(zone.Free, room)
		}
		set.trace.Zones = append(set.trace.Zones, zone)
	}
	return set
}
