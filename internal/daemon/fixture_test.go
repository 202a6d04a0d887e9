package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var noon = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

const gpu = market.GPUModel("rtxa5000-pcie-24gb")

// fake is a small market that accepts everything, unless a func says otherwise.
type fake struct {
	mu        sync.Mutex
	machines  map[string]market.Instance
	sent      []string
	instances func() ([]market.Instance, error)
	instants  []market.Instant
	hosts     func() ([]market.Host, error)
	auth      func() error
	deploy    func(ctx context.Context, o market.Order) (market.Deployed, error)
	ask       func()
}

func (f *fake) Hosts(context.Context) ([]market.Host, error) {
	if f.hosts != nil {
		return f.hosts()
	}
	free := func(r market.Rate) market.Component { return market.Component{Price: market.Some(r)} }
	return []market.Host{{
		ID: "host", Online: true, Listed: true, CPU: free(0), RAM: free(0), Storage: free(market.Rate(market.Cent) / 100),
		GPUs: []market.HostGPU{{Model: gpu, Free: 8, Price: market.Some(market.USD(1, 0))}},
	}}, nil
}

func (f *fake) Instances(context.Context) (list []market.Instance, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.instances != nil {
		return f.instances()
	}
	for _, i := range f.machines {
		list = append(list, i)
	}
	return list, nil
}

func (f *fake) Instance(_ context.Context, id string) (market.Instance, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i, ok := f.machines[id]; ok {
		return i, nil
	}
	return market.Instance{}, &market.Error{Op: "get", Class: market.ClassNotFound}
}

func (f *fake) Instants(context.Context) ([]market.Instant, error) { return f.instants, nil }

func (f *fake) Locations(context.Context) ([]market.Site, error) { return nil, nil }

func (f *fake) InstancesV2(ctx context.Context) ([]market.Instance, error) { return f.Instances(ctx) }

func (f *fake) InstanceV2(ctx context.Context, id string) (market.Instance, error) {
	return f.Instance(ctx, id)
}

func (f *fake) Balance(context.Context) (market.Balance, error) {
	return market.Balance{Balance: market.Some[market.Amount](100 * market.Dollar)}, nil
}

func (f *fake) AuthTest(context.Context) error {
	if f.auth != nil {
		return f.auth()
	}
	return nil
}

func (f *fake) ValidateNew(context.Context, market.Question) (market.Verdict, error) {
	if f.ask != nil {
		f.ask()
	}
	return market.Verdict{Answer: market.Accepted}, nil
}

func (f *fake) note(format string, args ...any) {
	f.sent = append(f.sent, fmt.Sprintf(format, args...))
}

func (f *fake) Deploy(ctx context.Context, o market.Order) (market.Deployed, error) {
	f.mu.Lock()
	f.note("deploy %s", o.Name)
	id := fmt.Sprintf("id-%d", len(f.sent))
	f.machines[id] = market.Instance{
		ID: id, Name: o.Name, API: market.V0, Status: market.StatusRunning, Host: o.Host, Model: o.Model, Shape: o.Shape,
		Capacity: o.Capacity, Compute: market.Some(o.Bid), Storage: market.Some(market.Rate(market.Cent)),
	}
	f.mu.Unlock()
	if f.deploy != nil {
		return f.deploy(ctx, o)
	}
	return market.Deployed{ID: id, Total: market.Some(o.Bid.Add(market.Rate(market.Cent)))}, nil
}

func (f *fake) Delete(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("delete %s", id)
	delete(f.machines, id)
	return nil
}

func (f *fake) DeleteInstance(ctx context.Context, id string) error { return f.Delete(ctx, id) }

func (f *fake) set(id string, s market.Status) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("%s %s", s, id)
	m := f.machines[id]
	m.Status = s
	f.machines[id] = m
	return nil
}

func (f *fake) Stop(_ context.Context, id string, release bool) error {
	if release {
		return f.set(id, market.StatusReleased)
	}
	return f.set(id, market.StatusStopped)
}

func (f *fake) Start(_ context.Context, id string) error { return f.set(id, market.StatusRunning) }

func (f *fake) ModifyInstance(_ context.Context, id string, _ market.GPUModel, s market.Shape) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note("modify %s", id)
	m := f.machines[id]
	m.Shape = s
	f.machines[id] = m
	return nil
}

func (f *fake) StopInstance(ctx context.Context, id string) error { return f.Stop(ctx, id, false) }

func (f *fake) StartInstance(ctx context.Context, id string) error { return f.Start(ctx, id) }

func (f *fake) ValidateExisting(context.Context, string, market.Rate) (market.Verdict, error) {
	return market.Verdict{Answer: market.Accepted}, nil
}

func (f *fake) ModifyBid(context.Context, string, market.GPUModel, market.Shape, market.Rate) error {
	return nil
}

func (f *fake) writes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.sent...)
}

// rig is a daemon on a fake market.
type rig struct {
	testing.TB
	*Daemon
	market  *fake
	clock   *clock.Virtual
	logs    *observer.ObservedLogs
	reg     *prometheus.Registry
	dir     string
	connect int // how often
	writer  bool
}

// one wants n GPUs, one to a machine.
func one(mode string, n int) string {
	return fmt.Sprintf(`version: 1
daemon: {mode: %s, ledger: ledger.db, listen: ""}
policies:
  - {name: train, target: {gpus: %d}, shape: {gpus: 1}, max_gpu_hour: 0.80}
`, mode, n)
}

func newRig(t testing.TB, config string, change ...func(*Options)) *rig {
	t.Helper()
	r := &rig{TB: t, market: &fake{machines: map[string]market.Instance{}}, clock: clock.NewVirtual(noon), reg: prometheus.NewRegistry(), dir: t.TempDir()}
	r.write(config)
	c, problems, err := LoadConfig(r.path())
	if err != nil {
		t.Fatal(err, problems)
	}
	c.Key, c.Token = secret.New("k"), secret.New("t")
	l, err := ledger.Open(ledger.Options{Path: c.Set.Daemon.Ledger, NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	core, logs := observer.New(zap.DebugLevel)
	r.logs = logs
	o := Options{
		Config: c, Ledger: l, Credentials: credentials.New(filepath.Join(r.dir, "credentials")), Clock: r.clock,
		Log: zap.New(core), Registerer: r.reg, Grace: time.Second, Connect: r.dial,
	}
	for _, f := range change {
		f(&o)
	}
	if r.Daemon, err = New(o); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) dial(c Config) (Market, error) {
	r.connect++
	r.writer = c.Set.Daemon.Mode == "live"
	if !r.writer {
		return Market{Reader: r.market}, nil
	}
	return Market{Reader: r.market, Writer: r.market}, nil
}

func (r *rig) path() string { return filepath.Join(r.dir, "policies.yaml") }

func (r *rig) write(config string) {
	r.Helper()
	if err := os.WriteFile(r.path(), []byte(config), 0o600); err != nil {
		r.Fatal(err)
	}
}

// turn runs one cycle and lets a minute pass.
func (r *rig) turn() plan.Report {
	r.Helper()
	report, err := r.cycle(context.Background())
	if err != nil {
		r.Fatal(err)
	}
	r.clock.Set(r.clock.Now().Add(time.Minute))
	return report
}

func (r *rig) logged(message string) int { return r.logs.FilterMessage(message).Len() }
