package trace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

func file(name, data string) File { return File{name, []byte(data)} }

func TestWhatCannotBeUsedIsAnErrorWithItsPlace(t *testing.T) {
	const head = "timestamp,host,gpu_model,price\n"
	for _, c := range []struct {
		data, want string
	}{
		{"", "x:1: the file is empty"},
		{" \n\t\n", "x:1: the file is empty"},
		{`{"metadata":{"gap_seconds":60},"data":[]}`, `x:1: "data" is empty`},
		{`{"metadata":{"gap_seconds":60}}`, `x:1: "data" is missing`},
		{`{"metadata":{"gap_seconds":60},"data":[1],"data":[2]}`, `x:1: "data" is there twice`},
		{"{\"metadata\":{\"gap_seconds\":60},\n\"data\":[1,\n2,-1]}", "x:3: data[2] is -1: it cannot be negative"},
		{"{\"data\":[1,1.5]}", "x:1: data[1] is 1.5, not a whole number of GPUs"},
		{"{\"data\":[1,null]}", "x:1: data[1] is null, not a number of GPUs"},
		{"{\"data\":[1,\"2\"]}", "x:1: data[1] is 2, not a number of GPUs"},
		{"{\"data\":[[1]]}", "x:1: data[0] is [, not a number of GPUs"},
		{"{\"data\":[9000000]}", "x:1: data[0] is 9000000: more than 1000000 GPUs"},
		{"{\"data\":[1,\nNaN]}", "x:2: not JSON: invalid character 'N' looking for beginning of value"},
		{"{\"data\":[1,\n2", "x:2: the file ends in the middle"},
		{`{"data":[1]} {}`, "x:1: something follows the closing brace"},
		{`{"data":7}`, `x:1: "data" is 7, not a list`},
		{`{"metadata":[],"data":[1]}`, "x:1: metadata is [, not an object"},
		{`{"metadata":{"gap_seconds":0},"data":[1]}`, "x:1: gap_seconds is 0: whole seconds from 1 to a year"},
		{`{"metadata":{"gap_seconds":-60},"data":[1]}`, "x:1: gap_seconds is -60: whole seconds from 1 to a year"},
		{`{"metadata":{"gap_seconds":"60"},"data":[1]}`, "x:1: gap_seconds is 60, not a number"},
		{`[1,2]`, `x:1: begins with "[1,2]": a price trace begins with the line timestamp,host,gpu_model,price, a capacity trace with {`},
		{"time,host\n1,2\n", `x:1: begins with "time,host": a price trace begins with the line timestamp,host,gpu_model,price, a capacity trace with {`},
		{head, "x:1: there is no row below the header"},
		{head + "2026-01-01T00:00:00Z,a,v100,0.5\n2026-01-01,a,v100,0.5\n", `x:3: the timestamp "2026-01-01" is neither RFC 3339 nor seconds since 1970`},
		{head + "1,a,v100,NaN\n", `x:2: the price: not an amount of money: "NaN" is not a decimal number`},
		{head + "1,a,v100,-0.5\n", `x:2: the price "-0.5" is negative`},
		{head + "1,a,v100,\n", `x:2: the price: not an amount of money: "" has no digits`},
		{head + "1,,v100,1\n", "x:2: the host or the GPU model is empty"},
		{head + "1,a,v100\n", "x:2: wrong number of fields"},
		{head + "100,a,v100,1\n90,b,v100,1\n90,a,v100,1\n", "x:4: 1970-01-01T00:01:30Z is earlier than 1970-01-01T00:01:40Z of x:2: the rows of one host must be in order of time"},
	} {
		_, err := Read([]File{file("x", c.data)})
		if want := "not a usable trace: " + c.want; !errors.Is(err, ErrTrace) || err.Error() != want {
			t.Errorf("%q\n got %v\nwant %s", c.data, err, want)
		}
	}
}

func TestKindsAreNotMixedAndNoFileIsGivenTwice(t *testing.T) {
	capacity, price := file("a.json", `{"data":[1]}`), file("b.csv", "timestamp,host,gpu_model,price\n1,a,v100,1\n")
	for want, files := range map[string][]File{
		"a.json is a capacity trace and b.csv a price trace: play them apart": {price, capacity},
		"a.json is given twice": {capacity, capacity},
		"no file":               nil,
	} {
		if _, err := Read(files); !errors.Is(err, ErrTrace) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func mustTape(t *testing.T, terms Terms, files ...File) *tape.Tape {
	t.Helper()
	tr, err := Read(files)
	if err != nil {
		t.Fatal(err)
	}
	out, err := tr.Tape(terms)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestZonesAreAlignedAtTheirBeginningAndCutToTheShortest(t *testing.T) {
	terms := Terms{Boot: time.Minute, Spot: market.USD(1, 0), OnDemand: market.Some(market.USD(3, 0)), Seed: 7}
	a, b := file("d/zone-b.json", `{"metadata":{"gap_seconds":600},"data":[2,2,0,1]}`), file("d/zone-a.json", `{"metadata":{"gap_seconds":600},"data":[4,4,4,4,0,0]}`)
	got := mustTape(t, terms, a, b)
	if got.Length != 40*time.Minute || got.Penalty != market.USD(6, 0) || got.FirstPrice {
		t.Errorf("%+v", got)
	}
	if len(got.Pools) != 2 || got.Pools[0].Name != "zone-a" || got.Pools[1].Name != "zone-b" {
		t.Fatalf("%+v", got.Pools)
	}
	if d := cmp.Diff(tape.Constant(4), got.Pools[0].Free); d != "" {
		t.Error(d)
	}
	free := got.Pools[1].Free
	if len(free) != 3 || free[0].Value != 2 || free[1].Value != 0 || free[2].Value != 1 {
		t.Fatalf("%+v", free)
	}
	for i, tick := range []time.Duration{10 * time.Minute, 20 * time.Minute} {
		if at := free[i+1].At; at <= tick || at > tick+10*time.Minute || at%time.Second != 0 {
			t.Errorf("the change after %s is at %s", tick, at)
		}
	}
	if d := cmp.Diff(got, mustTape(t, terms, b, a)); d != "" {
		t.Errorf("the order of files changes the tape\n%s", d)
	}
	if d := cmp.Diff(free, mustTape(t, terms, a).Pools[0].Free); d != "" {
		t.Errorf("another file changes when this one's capacity changes\n%s", d)
	}
	terms.Seed = 8
	if cmp.Equal(free, mustTape(t, terms, a).Pools[0].Free) {
		t.Error("the seed changes nothing")
	}
}

func TestTheGapIsTheFilesUnlessItIsGiven(t *testing.T) {
	terms := Terms{Gap: time.Minute}
	ten, five, none := `{"metadata":{"gap_seconds":600},"data":[1,1]}`, `{"metadata":{"gap_seconds":300},"data":[1,1]}`, `{"data":[1,1]}`
	if got := mustTape(t, terms, file("a", ten), file("b", five), file("c", none)); got.Length != 2*time.Minute {
		t.Errorf("lasts %s", got.Length)
	}
	for want, second := range map[string]string{
		"b:1: gap_seconds is 5m0s, that of a is 10m0s: give --gap to overrule both": five,
		"b:1: metadata.gap_seconds is missing: give --gap":                          none,
	} {
		tr, err := Read([]File{file("a", ten), file("b", second)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tr.Tape(Terms{}); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestPricesHoldFromTheirRowOnAndHostsFromTheirFirst(t *testing.T) {
	data := "timestamp,host,gpu_model,price\n" +
		"2026-01-01T01:00:00+01:00,b,V100,0.50\n" + // the same moment as the next
		"1767225600,a,v100,0.40\n" +
		"1767229200,c,t4,0.10\n" +
		"1767229200,a,v100,0.60\n" +
		"1767229200,a,v100,0.70\n" + // the later of two holds
		"1767232800,a,v100,0.70\n"
	got := mustTape(t, Terms{}, file("x.csv", data))
	hour := time.Hour
	want := []tape.Pool{
		{Name: "a", Model: "v100", Free: tape.Constant(8), Price: tape.Series[market.Rate]{{At: 0, Value: market.USD(0, 40)}, {At: hour, Value: market.USD(0, 70)}}},
		{Name: "b", Model: "v100", Free: tape.Constant(8), Price: tape.Constant(market.USD(0, 50))},
		{Name: "c", Model: "t4", Free: tape.Series[int]{{At: 0, Value: 0}, {At: hour, Value: 8}}, Price: tape.Constant(market.USD(0, 10))},
	}
	if d := cmp.Diff(want, got.Pools); d != "" {
		t.Error(d)
	}
	if got.Length != 2*hour || !got.FirstPrice || !got.Start.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", got)
	}
	if got.OnDemand != market.USD(1, 20) { // twice the median
		t.Errorf("on demand %s", got.OnDemand)
	}
	tr, err := Read([]File{file("x.csv", data)})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]market.GPUModel{"t4", "v100"}, tr.Models()); d != "" {
		t.Error(d)
	}
	tr.Keep(func(m market.GPUModel) bool { return m == "v100" })
	if kept, err := tr.Tape(Terms{OnDemand: market.Some(market.USD(9, 0))}); err != nil || len(kept.Pools) != 2 || kept.OnDemand != market.USD(9, 0) {
		t.Errorf("%+v, %v", kept, err)
	}
}

func TestAPriceTraceOfOneMomentIsNone(t *testing.T) {
	tr, err := Read([]File{file("x", "timestamp,host,gpu_model,price\n5,a,v100,1\n5,b,v100,1\n")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Tape(Terms{}); !errors.Is(err, ErrTrace) {
		t.Errorf("got %v", err)
	}
}

func TestACloudsOwnColumnsAreRead(t *testing.T) {
	got := mustTape(t, Terms{}, file("x", "instance_type,availability_zone,timestamp,spot_price_usd_per_hour\nbig,east-1a,5,0.2\nbig,east-1b,3605,0.3\n"))
	if len(got.Pools) != 2 || got.Pools[0].Name != "big/east-1a" || got.Pools[0].Model != "big" {
		t.Errorf("%+v", got.Pools)
	}
}

func TestAMarketThatIsMadeUpIsTheSameForTheSameSeed(t *testing.T) {
	a, b := Generated(1, 20, 30), Generated(1, 3, 30)
	if d := cmp.Diff(a.Zones[:3], b.Zones, cmp.AllowUnexported(Zone{})); d != "" {
		t.Errorf("more hosts change the first\n%s", d)
	}
	if cmp.Equal(Generated(2, 3, 30).Zones, b.Zones, cmp.AllowUnexported(Zone{})) {
		t.Error("the seed changes nothing")
	}
	changes, none, ticks := 0, 0, 0
	for _, z := range a.Zones {
		for i, n := range z.Free {
			ticks++
			if n == 0 {
				none++
			}
			if i > 0 && n != z.Free[i-1] {
				changes++
			}
		}
	}
	if ticks != 20*30*144 || none < ticks/10 || none > ticks/2 || changes < 20*30/4 || changes > 20*30*24 {
		t.Errorf("%d changes and %d times none in %d ticks", changes, none, ticks)
	}
	if out, err := a.Tape(Terms{Spot: 1, Seed: 1}); err != nil || sane(out) != nil || out.Length != 30*24*time.Hour {
		t.Errorf("%v, %v", out, err)
	}
}

// TestTheRecordedTracesAreRead reads the recordings, where they are.
func TestTheRecordedTracesAreRead(t *testing.T) {
	dir := os.Getenv("TDSCALER_TRACES")
	if dir == "" {
		t.Skip("set TDSCALER_TRACES to the folder of recorded traces")
	}
	for _, pattern := range []string{"availability/*/*.json", "preemption/*/*.json", "price/*.csv"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v, %v", pattern, names, err)
		}
		var files []File
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, File{n, b})
		}
		got := mustTape(t, Terms{Boot: time.Minute, Spot: market.USD(1, 0), OnDemand: market.Some(market.USD(3, 0)), Seed: 1}, files...)
		if got.Length < 7*24*time.Hour || len(got.Pools) < len(names) {
			t.Errorf("%s: %s, %d pools", pattern, got.Length, len(got.Pools))
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"metadata":{"gap_seconds":60},"data":[1,0,2]}`))
	f.Add([]byte("timestamp,host,gpu_model,price\n2026-01-01T00:00:00Z,a,v100,0.5\n1767312000,a,v100,0.25\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := Read([]File{{"x", data}})
		var got *tape.Tape
		if err == nil {
			got, err = tr.Tape(Terms{Spot: 1, Gap: time.Minute, Boot: time.Minute})
		}
		if err != nil {
			if !errors.Is(err, ErrTrace) {
				t.Fatalf("%v", err)
			}
			return
		}
		if err := sane(got); err != nil {
			t.Fatal(err)
		}
	})
}

// sane checks a tape's invariants.
func sane(t *tape.Tape) error {
	if t.Length <= 0 || len(t.Pools) == 0 {
		return fmt.Errorf("%d pools for %s", len(t.Pools), t.Length)
	}
	for i := range t.Pools {
		p := &t.Pools[i]
		if p.Free[0].At != 0 || p.Price[0].At != 0 || i > 0 && p.Name <= t.Pools[i-1].Name {
			return fmt.Errorf("pool %d: %+v", i, p)
		}
		for j := 1; j < len(p.Price); j++ {
			if p.Price[j].At <= p.Price[j-1].At {
				return fmt.Errorf("prices of %s are not in order", p.Name)
			}
		}
	}
	return nil
}
