package backtest

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/backtest/trace"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	spotPrice = market.Rate(918_000_000)
	onDemand  = market.USD(3, 6)
)

// set is one policy for so many GPUs, made fit.
func set(t testing.TB, capacity string, gpus int) policy.Set {
	t.Helper()
	s, problems := policy.Parse("test.yaml", []byte(`
version: 1
budget: {max_hourly: 1000}
policies:
  - name: train
    capacity: `+capacity+`
    target: {gpus: 1}
    shape: {gpus: 1}
    max_gpu_hour: 4.00
    match: {countries: [Nowhere], min_uptime: 0.99, gpu_models: [h100*]}
    ssh_key_file: nobody-reads-this.pub
`))
	if policy.HasErrors(problems) {
		t.Fatal(problems)
	}
	s, err := Fit(s, gpus, []market.GPUModel{trace.Model})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// constant is a tape of pools that have the given numbers of GPUs all the time.
func constant(length time.Duration, free ...int) *tape.Tape {
	t := &tape.Tape{Start: time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC), Length: length, OnDemand: onDemand, Boot: 180 * time.Second, Penalty: onDemand.Mul(2)}
	for i, n := range free {
		t.Pools = append(t.Pools, tape.Pool{Name: string(rune('a' + i)), Model: trace.Model, Free: tape.Constant(n), Price: tape.Constant(spotPrice)})
	}
	return t
}

func run(t testing.TB, s policy.Set, tp *tape.Tape) Played {
	t.Helper()
	r, err := Run(t.Context(), Options{Name: "tdscaler", Set: s, Tape: tp, Cycle: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// The figures of these tapes are worked out by hand: the first order goes out in the
// first second.
func TestOnOnePoolThatLastsItPaysForEveryHourAndDeliversAllButTheBoot(t *testing.T) {
	for _, size := range []int{1, 2, 4} {
		s := set(t, "spot", 4)
		s.Policies[0].Shape.GPUs, s.Policies[0].Target = size, 4/size
		r := run(t, s, constant(10*time.Hour, 4))
		// 40 GPU-hours at 0.918; four times three minutes are not delivered.
		if r.Cost != 36_720_000_000 || r.Delivered != 39.8 || r.J != 37_944_000_000 || r.Starts != 4/size || r.Interruptions != 0 || r.Overpay != 0 {
			t.Errorf("in machines of %d: %+v", size, r.Result)
		}
	}
}

// What the hosts ask for on demand must not make the planner think that no bid as low
// as the price could win.
func TestACeilingJustAboveTheSpotPriceBuysSpot(t *testing.T) {
	s := set(t, "spot", 4)
	s.Policies[0].MaxGPUHour = cents(95)
	if r := run(t, s, constant(10*time.Hour, 4)); r.Cost != 36_720_000_000 || r.Delivered != 39.8 {
		t.Errorf("%+v", r.Result)
	}
}

func TestWhereThereIsNeverAnythingOnlyThePenaltyIsPaid(t *testing.T) {
	r := run(t, set(t, "spot", 2), constant(3*time.Hour, 0, 0))
	if r.Cost != 0 || r.Delivered != 0 || r.Starts != 0 || r.J != 6*6_120_000_000 || r.Availability != 0 {
		t.Errorf("%+v", r)
	}
}

func TestOnDemandIsBoughtFromTheHostThatSellsIt(t *testing.T) {
	r := run(t, set(t, "on_demand", 2), constant(2*time.Hour, 4))
	if r.Cost != 12_240_000_000 || r.Delivered != 3.9 || r.Starts != 2 || r.Interruptions != 0 {
		t.Errorf("%+v", r.Result)
	}
}

func TestTheNewestMachineIsLostFirstAndCostsNothingFromThenOn(t *testing.T) {
	tp := constant(4*time.Hour, 2)
	tp.Pools[0].Free = append(tp.Pools[0].Free, tape.Step[int]{At: 2*time.Hour + 7*time.Second, Value: 1}) // to the end
	r := run(t, set(t, "spot", 2), tp)
	want := (spotPrice.For(4*time.Hour) + spotPrice.For(2*time.Hour+7*time.Second))
	if r.Starts != 2 || r.Interruptions != 1 || r.Cost < want || r.Cost > want+5 { // each stretch is rounded up
		t.Errorf("want %s: %+v", want, r.Result)
	}
	if got, want := r.Delivered, (6*time.Hour + 7*time.Second - 2*tp.Boot).Hours(); got != want {
		t.Errorf("delivered %f, want %f", got, want)
	}
}

// What the meter added up as time passed, and what the machines' lives come to, are
// two ways to the same figures.
func TestTheMachinesLivesComeToTheSame(t *testing.T) {
	tp := flicker(48*time.Hour, 4)
	r := run(t, set(t, "spot_with_fallback", 3), tp)
	score := tp.Result("tdscaler", tp.Score(3, r.Machines))
	score.Requests = r.Requests
	if diff := r.Cost - score.Cost; diff < -1000 || diff > 1000 { // nano-dollars: each stretch is rounded up
		t.Errorf("metered %s, lives cost %s", r.Cost, score.Cost)
	}
	score.Cost, score.J = r.Cost, r.J
	score.Overpay = r.Overpay
	if d := cmp.Diff(score, r.Result, cmp.AllowUnexported(market.Maybe[market.Amount]{}, market.Maybe[float64]{})); d != "" || r.Interruptions == 0 {
		t.Errorf("%d interruptions; -lives +metered\n%s", r.Interruptions, d)
	}
}

func TestTheSameRunGivesTheSameBytes(t *testing.T) {
	tp := flicker(24*time.Hour, 3)
	var first []byte
	for range 2 {
		b, err := json.Marshal(run(t, set(t, "spot", 3), tp))
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = b
		}
		if d := cmp.Diff(string(first), string(b)); d != "" {
			t.Error(d)
		}
	}
}

// flicker is a tape of pools that come and go.
func flicker(length time.Duration, pools int) *tape.Tape {
	tp := constant(length)
	for i := range pools {
		p := tape.Pool{Name: fmt.Sprintf("p%04d", i), Model: trace.Model, Price: tape.Constant(spotPrice), Free: tape.Constant(i % 3)}
		for at, n := time.Duration(0), 1; ; n++ {
			at += time.Duration(17+7*i+n%5*11) * time.Minute
			if at >= length {
				break
			}
			p.Free = append(p.Free, tape.Step[int]{At: at, Value: (i + n) % 3})
		}
		tp.Pools = append(tp.Pools, p)
	}
	return tp
}

func TestAStoppedRunIsNoResult(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	o := Options{Set: set(t, "spot", 1), Tape: constant(time.Hour, 1), Cycle: time.Minute, Progress: func(float64) { stop() }}
	if r, err := Run(ctx, o); err == nil {
		t.Errorf("%+v", r)
	}
}

func TestTheTargetMustBeAMultipleOfTheMachine(t *testing.T) {
	s := set(t, "spot", 4)
	s.Policies[0].Shape.GPUs = 3
	if _, err := Fit(s, 4, nil); err == nil {
		t.Error("four GPUs in machines of three")
	}
	fitted, err := Fit(s, 6, nil)
	if err != nil || fitted.Policies[0].Target != 2 || s.Policies[0].Target != 4 {
		t.Errorf("%v, %d, before %d", err, fitted.Policies[0].Target, s.Policies[0].Target)
	}
}

func TestOnlyModelsThatAreThereAreToldApart(t *testing.T) {
	s := policy.Set{Policies: []policy.Policy{{Shape: market.Shape{GPUs: 1}, Match: policy.Match{GPUModels: []string{"v100*"}, Countries: []string{"Nowhere"}, MinVRAM: 80}}}}
	for _, c := range []struct {
		models []market.GPUModel
		want   policy.Match
	}{
		{[]market.GPUModel{"t4", "v100-x"}, policy.Match{GPUModels: []string{"v100*"}}},
		{[]market.GPUModel{"gpu"}, policy.Match{}},
	} {
		got, err := Fit(s, 0, c.models)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(c.want, got.Policies[0].Match); d != "" {
			t.Errorf("%v\n%s", c.models, d)
		}
	}
}

func TestTheWishOfSeveralPoliciesIsBoundByNone(t *testing.T) {
	s := policy.Set{Policies: []policy.Policy{
		{Target: 2, Shape: market.Shape{GPUs: 4}, MaxGPUHour: market.USD(1, 0)},
		{Target: 1, Shape: market.Shape{GPUs: 6}, MaxGPUHour: market.USD(2, 0)},
		{Target: 0, Shape: market.Shape{GPUs: 1}, MaxGPUHour: market.USD(9, 0)},
	}}
	if w := Wish(&s); w.GPUs != 2 || w.Units != 7 || w.Limits.Ceiling != market.USD(2, 0) {
		t.Errorf("%+v", w)
	}
}

// TestTheRecordedTracesArePlayed plays a recorded set, where there is one.
func TestTheRecordedTracesArePlayed(t *testing.T) {
	dir := os.Getenv("TDSCALER_TRACES")
	if dir == "" {
		t.Skip("set TDSCALER_TRACES to the folder of recorded traces")
	}
	names, err := filepath.Glob(filepath.Join(dir, "preemption", "*", "*.json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%v, %v", names, err)
	}
	var files []trace.File
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, trace.File{Name: n, Data: b})
	}
	tr, err := trace.Read(files)
	if err != nil {
		t.Fatal(err)
	}
	tp, err := tr.Tape(trace.Terms{Boot: 180 * time.Second, Gap: 10 * time.Second, Spot: spotPrice, OnDemand: market.Some(onDemand), Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := set(t, "spot", 4)
	r := run(t, s, tp)
	best := FindOptima(tp, Wish(&s))
	r.Against(best.Star, best.NoWarning)
	if r.JRatio.Or(0) < 1 || r.JRatio.Or(9) > 2 || best.Star > best.NoWarning {
		t.Errorf("%+v", r)
	}
	t.Logf("%+v", r.Result)
}
