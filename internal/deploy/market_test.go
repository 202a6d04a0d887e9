package deploy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// bazaar is a market on this computer, whose network the booted one shares.
type bazaar struct {
	*simulator.Engine
	server *httptest.Server
	slow   atomic.Int64 // how long the next order takes
	asked  chan struct{}

	mu     sync.Mutex
	orders int // machines that were ever bought
}

func openMarket(t testing.TB) *bazaar {
	t.Helper()
	b := &bazaar{asked: make(chan struct{})}
	e, err := simulator.New(simulator.Options{Scenario: hosts(), Boot: simulator.BootModel{Median: 300 * time.Millisecond}, Observe: func(e simulator.Event) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if e.Kind == simulator.Deployed {
			b.orders++
		}
	}})
	must(t, err)
	b.Engine = e
	face := e.Handler(simulator.FaceOptions{Key: apiKey, Token: apiToken})
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d := time.Duration(b.slow.Load()); strings.HasSuffix(r.URL.Path, "/deploy/single") && d > 0 {
			close(b.asked)
			time.Sleep(d)
		}
		face.ServeHTTP(w, r)
	}))
	t.Cleanup(b.server.Close)
	return b
}

const (
	apiKey   = "key-5e0a91c77d"
	apiToken = "token-Vb7Qw20ZrX"
)

// hosts have one model, four GPUs each.
func hosts() *simulator.World {
	some := func(n int, r market.Rate) market.Component {
		return market.Component{Free: market.Some(n), Price: market.Some(r)}
	}
	w := &simulator.World{}
	for i := range 3 {
		const model = market.GPUModel("rtxa5000-pcie-24gb")
		price := market.USD(0, int64(100-i))
		w.Hosts = append(w.Hosts, simulator.WorldHost{
			Host: market.Host{
				ID: fmt.Sprintf("%08d-0000-4000-8000-000000000000", i+1), Online: true, Listed: true, Uptime: market.Some(0.99),
				Location: market.Location{ID: fmt.Sprintf("loc-%d", i), City: fmt.Sprintf("City %d", i), Region: "Region", Country: "Belgium"},
				CPU:      some(64, 0), RAM: some(256, 0), Storage: some(4000, market.Rate(market.Cent)/100),
				GPUs:  []market.HostGPU{{Model: model, Free: 4, Price: market.Some(price)}},
				Ports: market.Some([]int{20001, 20002, 20003, 20004}),
			},
			Floor: map[market.GPUModel]market.Rate{model: price.Scale(1, 2)},
		})
	}
	return w
}

// machines are the names of what runs, sorted.
func (b *bazaar) machines() (names []string) {
	for _, m := range b.Instances() {
		if m.Status == market.StatusRunning {
			names = append(names, m.Name)
		}
	}
	slices.Sort(names)
	return names
}

func (b *bazaar) ordered() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.orders
}

// program is tdscaler as it is shipped: static.
func program(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tdscaler")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "github.com/tdscaler/tdscaler/cmd/tdscaler")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}
