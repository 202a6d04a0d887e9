package simulator

import (
	"encoding/csv"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

// shares measures how a market's host-hours stand over a week for one GPU: at the
// floor, dearer but not above on-demand, and not to be won for that.
func shares(t *testing.T, regime Regime) (floor, between, unwinnable float64) {
	t.Helper()
	count := 0.0
	for seed := range uint64(6) {
		v := clock.NewVirtual(epoch)
		e, err := New(Options{Clock: v, Seed: seed, Regime: regime})
		if err != nil {
			t.Fatal(err)
		}
		for range 7 * 24 {
			v.Set(v.Now().Add(time.Hour))
			e.Now()
			for _, h := range e.hosts {
				for _, p := range h.pools {
					if p.total == 0 {
						continue
					}
					count++
					switch price, ok := p.threshold(1, nil); {
					case !ok || price > p.reference():
						unwinnable++
					case price <= p.floor:
						floor++
					default:
						between++
					}
				}
			}
		}
	}
	return floor / count, between / count, unwinnable / count
}

func TestAThirdOfTheMarketIsAtTheFloorAndAQuarterCannotBeWon(t *testing.T) {
	for _, regime := range []Regime{Reactive, TraceDriven} {
		floor, between, unwinnable := shares(t, regime)
		t.Logf("%s: %.2f at the floor, %.2f between, %.2f not winnable", regime, floor, between, unwinnable)
		if math.Abs(floor-0.35) > 0.06 || math.Abs(between-0.40) > 0.06 || math.Abs(unwinnable-0.25) > 0.06 {
			t.Errorf("%s: %.2f, %.2f, %.2f; want about 0.35, 0.40, 0.25", regime, floor, between, unwinnable)
		}
	}
	if floor, _, _ := shares(t, Quiet); floor < 0.45 {
		t.Errorf("a quiet market is at the floor %.2f of the time", floor)
	}
}

func TestAGeneratedWorldLooksLikeAMarketplace(t *testing.T) {
	e, err := New(Options{Clock: clock.NewVirtual(epoch), Seed: 3, Hosts: 200})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	cities, models := map[string]bool{}, map[market.GPUModel]bool{}
	for _, h := range e.Hosts() {
		cities[h.Location.City] = true
		count := func(what string, is bool) {
			if is {
				seen[what]++
			}
		}
		count("no ports", len(h.Ports.Or(nil)) == 0)
		count("restrictions", len(h.Limits) > 0)
		count("offline", !h.Online)
		count("unlisted", !h.Listed)
		count("reserved", h.Reserved)
		count("two models", len(h.GPUs) > 1)
		for _, g := range h.GPUs {
			models[g.Model] = true
			count("amount 0", g.Free == 0)
			if g.VRAM.Or(0) == 0 || g.Price.Or(0) <= 0 || g.Free < 0 {
				t.Errorf("host %s sells %+v", h.ID, g)
			}
		}
		if h.CPU.Free.Or(-1) < 0 || h.RAM.Free.Or(-1) < 0 || h.Storage.Free.Or(-1) < 0 {
			t.Errorf("host %s has less than nothing: %+v", h.ID, h)
		}
	}
	for _, what := range []string{"no ports", "restrictions", "offline", "unlisted", "reserved", "two models", "amount 0"} {
		if seen[what] == 0 || seen[what] > 170 {
			t.Errorf("%d hosts of 200 with %s", seen[what], what)
		}
	}
	if len(cities) < 20 || len(models) < 15 {
		t.Errorf("%d cities, %d models", len(cities), len(models))
	}
}

// series is a price record: hours since its start and log of the price.
type series struct{ at, log []float64 }

// stats are what the price model is fitted to.
type stats struct{ perHour, sd, halfLife float64 }

func (s series) stats() stats {
	n := len(s.log)
	mean, changes := 0.0, 0
	for i, x := range s.log {
		mean += x / float64(n)
		if i > 0 && x != s.log[i-1] {
			changes++
		}
	}
	variance, lagged := 0.0, 0.0
	for i, x := range s.log {
		variance += (x - mean) * (x - mean)
		if i > 0 {
			lagged += (x - mean) * (s.log[i-1] - mean)
		}
	}
	span := s.at[n-1] - s.at[0]
	rho := lagged / variance
	return stats{
		perHour:  float64(changes) / span,
		sd:       math.Sqrt(variance / float64(n)),
		halfLife: -span / float64(n-1) / math.Log2(max(rho, 1e-6)),
	}
}

// readCSV reads a price column by series.
func readCSV(t *testing.T, path, timeLayout, timeColumn, price string, name func(row map[string]string) string) map[string]series {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Skipf("TDSCALER_TRACES has no %s: %v", filepath.Base(path), err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	type point struct{ at, price float64 }
	points := map[string][]point{}
	for _, r := range rows[1:] {
		row := map[string]string{}
		for i, column := range rows[0] {
			row[column] = r[i]
		}
		at, err := time.Parse(timeLayout, row[timeColumn])
		p, perr := strconv.ParseFloat(row[price], 64)
		if key := name(row); key != "" && err == nil && perr == nil && p > 0 {
			points[key] = append(points[key], point{at.Sub(epoch).Hours(), math.Log(p)})
		}
	}
	out := map[string]series{}
	for key, ps := range points {
		sort.Slice(ps, func(i, j int) bool { return ps[i].at < ps[j].at })
		s := series{}
		for _, p := range ps {
			s.at, s.log = append(s.at, p.at), append(s.log, p.price)
		}
		out[key] = s
	}
	return out
}

func middle(xs []float64) float64 {
	slices.Sort(xs)
	return xs[len(xs)/2]
}

func traces(t *testing.T) string {
	dir := os.Getenv("TDSCALER_TRACES")
	if dir == "" {
		t.Skip("TDSCALER_TRACES is not set")
	}
	return dir
}

func TestFastMovementsFitTheMarketplaceRecord(t *testing.T) {
	path := filepath.Join(traces(t), "marketplace", "vast_runpod_lambda_2026-03.csv")
	record := readCSV(t, path, "2006-01-02 15:04:05", "timestamp", "min_price_hr", func(row map[string]string) string {
		if row["provider"] == "Vast.ai" && (row["gpu"] == "H100" || row["gpu"] == "H200") {
			return row["gpu"]
		}
		return ""
	})
	if len(record) != 2 {
		t.Fatalf("%d series", len(record))
	}
	for name, s := range record {
		got := s.stats()
		t.Logf("%s: %+v", name, got)
		if math.Abs(got.perHour-fastPerHour) > 0.15 || math.Abs(got.sd-fastSD) > 0.03 || got.halfLife > 2*fastHalfLife {
			t.Errorf("%s: %+v; the model has %v, %v, %v", name, got, fastPerHour, fastSD, fastHalfLife)
		}
	}
}

func TestSlowMovementsFitTheCloudRecord(t *testing.T) {
	path := filepath.Join(traces(t), "price", "us-east-1_gpu_linux_spot_2021-03_05.csv")
	record := readCSV(t, path, time.RFC3339, "timestamp", "spot_price_usd_per_hour", func(row map[string]string) string {
		return row["instance_type"] + " " + row["availability_zone"]
	})
	var rates, sds, halves []float64
	for _, s := range record {
		if different := len(slices.Compact(slices.Sorted(slices.Values(s.log)))); different < 20 {
			continue // flat: no movement to learn from
		}
		st := s.stats()
		rates, sds, halves = append(rates, st.perHour), append(sds, st.sd), append(halves, st.halfLife)
	}
	if len(rates) < 5 {
		t.Fatalf("%d moving pools", len(rates))
	}
	rate, sd, half := middle(rates), middle(sds), middle(halves)
	t.Logf("%d moving pools: %.3f changes/h, sd %.3f, half-life %.0f h", len(rates), rate, sd, half)
	if rate < slowPerHour/2 || rate > slowPerHour*2 || sd < slowSD/2 || sd > slowSD*2 || half < slowHalfLife/3 || half > slowHalfLife*3 {
		t.Errorf("%.3f, %.3f, %.0f; the model has %v, %v, %v", rate, sd, half, slowPerHour, slowSD, slowHalfLife)
	}
}

func TestThePathHasTheStatisticsOfItsConstants(t *testing.T) {
	for name, c := range map[string]stats{
		"fast": {fastPerHour, fastSD, fastHalfLife}, "slow": {slowPerHour, slowSD, slowHalfLife},
	} {
		p := newPath(stream(1, name), epoch, c.perHour, c.sd, c.halfLife)
		s := series{}
		every := c.halfLife / 2
		for i := range 3_500 {
			h := float64(i) * every
			s.at, s.log = append(s.at, h), append(s.log, p.at(epoch.Add(hours(h))))
		}
		got := s.stats()
		if math.Abs(got.sd/c.sd-1) > 0.15 {
			t.Errorf("%s: sd %.3f, want %.3f", name, got.sd, c.sd)
		}
		// Changes come one by one, so a look a moment later shows less memory loss
		// than the half-life alone says.
		if got.halfLife < c.halfLife*0.7 || got.halfLife > c.halfLife*8 {
			t.Errorf("%s: half-life %.2f h, want about %.2f", name, got.halfLife, c.halfLife)
		}
	}
}

const ownFile = `timestamp,host,gpu_model,price
2026-01-01T00:00:00Z,h1,rtxa4000-pcie-16gb,0.30
2026-01-01T02:00:00Z,h1,rtxa4000-pcie-16gb,0.70
2026-01-01T01:00:00Z,h1,rtxa4000-pcie-16gb,0.55
`

func TestAReplayFollowsItsFile(t *testing.T) {
	all, err := ReadSeries(strings.NewReader(ownFile))
	if err != nil || len(all) != 1 || len(all[0].Points) != 3 {
		t.Fatalf("%+v, %v", all, err)
	}
	v := clock.NewVirtual(epoch)
	e, err := New(Options{Clock: v, Seed: 5, Regime: Replay, Replay: all, Hosts: 80})
	if err != nil {
		t.Fatal(err)
	}
	p := firstFollower(e)
	for hour, price := range []market.Rate{market.USD(0, 30), market.USD(0, 55), market.USD(0, 70), market.USD(0, 30)} {
		want := max(price+market.Cent, p.floor)
		if got, ok := e.ThresholdFor(p.host.id, p.model, 1); !ok || got != want {
			t.Errorf("hour %d: %v, want %v", hour, got, want)
		}
		v.Set(v.Now().Add(time.Hour))
	}
}

// firstFollower is the pool that replays the file from its start.
func firstFollower(e *Engine) *pool {
	for _, h := range e.hosts {
		if p := h.pool(gpu4); p != nil && p.total > 0 {
			return p
		}
	}
	return nil
}

func TestAPriceFileThatIsNoneIsRefused(t *testing.T) {
	cloud := "instance_type,availability_zone,timestamp,spot_price_usd_per_hour\n"
	for _, text := range []string{"", "a,b\n1,2\n", cloud, cloud + "p,z,yesterday,1\n", cloud + "p,z,2026-01-01T00:00:00Z,much\n"} {
		if _, err := ReadSeries(strings.NewReader(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
	if s, err := ReadSeries(strings.NewReader(cloud + "p,z,2026-01-01T00:00:00Z,1.5\n")); err != nil || s[0].Points[0].Price != market.USD(1, 50) {
		t.Errorf("%+v, %v", s, err)
	}
}
