package ledger

import (
	"fmt"
	"math/rand"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func TestMain(m *testing.M) {
	childMain()
	goleak.VerifyTestMain(m)
}

var start = time.Date(2031, 4, 5, 6, 0, 0, 0, time.UTC)

func tempPath(tb testing.TB) string { return filepath.Join(tb.TempDir(), "tdscaler.db") }

func mustOpen(tb testing.TB, o Options) *Ledger {
	tb.Helper()
	l, err := Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := l.Close(); err != nil {
			tb.Error(err)
		}
	})
	return l
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// world makes reports of a market that moves a little from cycle to cycle.
type world struct {
	rng   *rand.Rand
	now   time.Time
	cycle uint64
	churn float64 // share of hosts that change per cycle
	hosts []market.Host
	insts []market.Instance
	hist  plan.History
	pols  []policy.Policy
}

func newWorld(hosts, machines, policies int) *world {
	w := &world{rng: rand.New(rand.NewSource(1)), now: start, churn: 0.01}
	for i := range hosts {
		w.hosts = append(w.hosts, w.host(i))
	}
	for i := range policies {
		w.pols = append(w.pols, policy.Policy{
			Name: fmt.Sprintf("pool-%03d", i), Kind: policy.VM, Capacity: market.Spot, Target: 2,
			Match:      policy.Match{GPUModels: []string{"geforcertx4090-pcie-24gb", "l40-pcie-48gb"}, Countries: []string{"Norway", "Canada"}, MinUptime: 0.98},
			Shape:      market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100},
			MaxGPUHour: market.USD(0, 45), Image: "Ubuntu 24.04 LTS", Ports: []int{22, 8080},
		})
	}
	for i := range machines {
		w.machine(i)
	}
	return w
}

func (w *world) uuid() string {
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", w.rng.Uint32(), w.rng.Intn(1<<16), w.rng.Intn(1<<12), w.rng.Intn(1<<12), w.rng.Int63n(1<<48))
}

func (w *world) price(cents int) market.Maybe[market.Rate] {
	return market.Some(market.Rate(w.rng.Intn(cents)+1) * market.Cent / 10)
}

func (w *world) host(i int) market.Host {
	ports := make([]int, w.rng.Intn(80))
	for j := range ports {
		ports[j] = 20000 + 100*(i%300) + j
	}
	model := []market.GPUModel{"geforcertx4090-pcie-24gb", "l40-pcie-48gb", "h100-sxm5-80gb"}[i%3]
	return market.Host{
		ID: w.uuid(), Location: market.Location{ID: w.uuid(), Country: "Norway", Region: "Nordland", City: fmt.Sprintf("Town %d", i%40)},
		Online: true, Listed: true, Uptime: market.Some(0.9 + float64(i%100)/1000),
		CPU:     market.Component{Free: market.Some(w.rng.Intn(96)), Price: w.price(5)},
		CPUType: "AMD EPYC 9554 64-Core Processor",
		RAM:     market.Component{Free: market.Some(w.rng.Intn(512)), Price: w.price(4)},
		Storage: market.Component{Free: market.Some(w.rng.Intn(4000)), Price: w.price(1)},
		GPUs:    []market.HostGPU{{Model: model, Free: w.rng.Intn(8), Price: w.price(300), VRAM: model.VRAM()}},
		Ports:   market.Some(ports),
		Limits: map[int]market.Restriction{
			1: {VCPUs: market.Some(market.Bounds{Min: 2, Max: 24}), RAM: market.Some(market.Bounds{Min: 4, Max: 128})},
			2: {VCPUs: market.Some(market.Bounds{Min: 2, Max: 48}), Storage: market.Some(market.Bounds{Min: 20, Max: 900})},
		},
	}
}

func (w *world) machine(i int) {
	h := w.hosts[i%len(w.hosts)]
	pol := w.pols[i%len(w.pols)].Name
	m := plan.Machine{
		Name: market.MachineName{Owner: "main", Policy: pol, Key: nameKey("fixture", uint64(i))}.String(), Policy: pol,
		ID: w.uuid(), API: market.V0, Phase: plan.PhaseLive, Status: market.StatusRunning, Capacity: market.Spot,
		Host: h.ID, Location: h.Location, Model: h.GPUs[0].Model, Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100},
		Bid: w.price(300), Storage: w.price(10), Reserved: market.USD(0, 40), IP: fmt.Sprintf("198.51.%d.%d", i/256, i%256), User: "user",
		Ports:     []market.PortForward{{External: 20000 + i, Internal: 22}, {External: 21000 + i, Internal: 8080}},
		OrderedAt: w.now.Add(-time.Hour), SeenAt: w.now, ReadyAt: w.now.Add(-50 * time.Minute), StatusAt: w.now, MeteredAt: w.now,
		DeployIntent: uint64(i + 1),
	}
	w.hist.Machines = append(w.hist.Machines, m)
	w.insts = append(w.insts, market.Instance{
		ID: m.ID, API: m.API, Name: m.Name, Status: m.Status, RawStatus: "Running", Capacity: m.Capacity, Host: m.Host,
		Location: m.Location, Model: m.Model, Shape: m.Shape, Compute: m.Bid, Storage: m.Storage, IP: m.IP, User: m.User, Ports: m.Ports,
		Created: m.OrderedAt,
	})
}

// next moves the world by a minute and reports on it. The report shares nothing
// with earlier ones that changes later.
func (w *world) next() plan.Report {
	w.cycle++
	w.now = w.now.Add(time.Minute)
	w.hosts = append([]market.Host(nil), w.hosts...)
	for range int(w.churn * float64(len(w.hosts))) {
		i := w.rng.Intn(len(w.hosts))
		h := &w.hosts[i]
		h.GPUs = []market.HostGPU{{Model: h.GPUs[0].Model, Free: w.rng.Intn(8), Price: h.GPUs[0].Price, VRAM: h.GPUs[0].VRAM}}
		ports, _ := h.Ports.Get()
		h.Ports = market.Some(append([]int{}, ports[:len(ports)/2]...))
		h.RAM.Free = market.Some(w.rng.Intn(512))
	}
	w.hist = w.hist.Clone()
	for i := range w.hist.Machines {
		w.hist.Machines[i].SeenAt, w.hist.Machines[i].MeteredAt = w.now, w.now
	}
	r := plan.Report{Cycle: w.cycle, StartedAt: w.now, FinishedAt: w.now.Add(2 * time.Second), Mode: policy.Live}
	r.Input = plan.Input{
		Now: w.now, Owner: "main", Interval: time.Minute, Policies: w.pols, HourlyCap: market.USD(40, 0),
		Limits: policy.Limits{MaxActions: 5, MaxProbes: 20}, History: w.hist,
		Snapshot: market.Snapshot{
			Hosts:     market.Section[[]market.Host]{Value: w.hosts, At: w.now, Complete: true},
			Instances: market.Section[[]market.Instance]{Value: w.insts, At: w.now, Complete: true},
			Balance:   market.Section[market.Balance]{Value: market.Balance{Balance: market.Some(market.Amount(w.rng.Int63n(1e12)))}, At: w.now, Complete: true},
		},
	}
	for i := range w.pols {
		r.Plan.Standings = append(r.Plan.Standings, plan.Standing{
			Policy: w.pols[i].Name, Target: 2, Ready: 2, Satisfied: i%7 > 0, Before: market.USD(0, 61), After: market.USD(0, 61),
		})
	}
	return r
}
