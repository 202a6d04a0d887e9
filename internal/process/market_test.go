package process

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

const (
	apiKey   = "key-5e0a91c77d-never-to-be-seen"
	apiToken = "token-Vb7Qw20ZrX-never-to-be-seen"
	model    = market.GPUModel("rtxa5000-pcie-24gb")
)

// bazaar is a market in this process, which sees what really happens.
type bazaar struct {
	*simulator.Engine
	server *httptest.Server

	mu        sync.Mutex
	most      int // GPUs of ours that may exist at once
	alive     map[string]simulator.Event
	strangers map[string]bool
	orders    map[string]int    // deploy requests that arrived, by the machine's name
	passwords map[string]string // by the machine's name
	wrongs    []string
	burn      market.Rate // of the strangers
}

// hosts are a few with four GPUs each.
func hosts(n int) *simulator.World {
	w := &simulator.World{}
	some := func(n int, r market.Rate) market.Component {
		return market.Component{Free: market.Some(n), Price: market.Some(r)}
	}
	for i := range n {
		price := market.USD(0, int64(100-i))
		h := market.Host{
			ID: fmt.Sprintf("%08d-0000-4000-8000-000000000000", i+1), Online: true, Listed: true, Uptime: market.Some(0.99),
			Location: market.Location{ID: fmt.Sprintf("loc-%d", i), City: fmt.Sprintf("City %d", i), Region: "Region", Country: "Belgium"},
			CPU:      some(64, 0), RAM: some(256, 0), Storage: some(4000, market.Rate(market.Cent)/100),
			GPUs:  []market.HostGPU{{Model: model, Free: 4, Price: market.Some(price)}},
			Ports: market.Some([]int{20001, 20002, 20003, 20004, 20005, 20006, 20007, 20008}),
		}
		w.Hosts = append(w.Hosts, simulator.WorldHost{Host: h, Floor: map[market.GPUModel]market.Rate{model: price.Scale(1, 2)}})
	}
	return w
}

func openMarket(t testing.TB, most int) *bazaar {
	t.Helper()
	b := &bazaar{most: most, alive: map[string]simulator.Event{}, strangers: map[string]bool{}, orders: map[string]int{}, passwords: map[string]string{}}
	e, err := simulator.New(simulator.Options{
		Scenario: hosts(4), Boot: simulator.BootModel{Median: 300 * time.Millisecond}, Observe: b.observe,
	})
	must(t, err)
	b.Engine = e
	face := e.Handler(simulator.FaceOptions{
		Key: apiKey, Token: apiToken, Latency: simulator.Latency{Read: time.Millisecond, Write: 30 * time.Millisecond, Sigma: 0.5},
	})
	b.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.note(r)
		face.ServeHTTP(w, r)
	}))
	t.Cleanup(b.server.Close)
	b.stranger(t, "tds-other-train-aaaabbbb")
	b.stranger(t, "my-own-machine")
	return b
}

// stranger deploys a machine that is not ours.
func (b *bazaar) stranger(t testing.TB, name string) {
	t.Helper()
	d, err := b.Deploy(market.Order{
		Name: name, Host: hosts(4).Hosts[0].Host.ID, Model: model, Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100},
		Capacity: market.OnDemand, Image: "Ubuntu 22.04 LTS", Password: secret.New("Somebody-else-1"),
	})
	must(t, err)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.strangers[d.ID] = true
	b.burn = b.burn.Add(d.Total.Or(0))
}

// note keeps what arrives: an order that arrives twice was sent twice.
func (b *bazaar) note(r *http.Request) {
	if !strings.HasSuffix(r.URL.Path, "/deploy/single") {
		return
	}
	body, err := io.ReadAll(r.Body)
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	form, perr := url.ParseQuery(string(body))
	b.mu.Lock()
	defer b.mu.Unlock()
	name := form.Get("name")
	if b.orders[name]++; err != nil || perr != nil || b.orders[name] > 1 {
		b.wrong("the order of %q arrived %d times (%v, %v)", name, b.orders[name], err, perr)
	}
	for other, pw := range b.passwords {
		if pw == form.Get("password") && other != name {
			b.wrong("%s and %s have the same password", name, other)
		}
	}
	b.passwords[name] = form.Get("password")
}

func (b *bazaar) wrong(format string, args ...any) {
	b.wrongs = append(b.wrongs, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// observe is told everything that happens, at the moment it does.
func (b *bazaar) observe(e simulator.Event) {
	if e.Kind == simulator.PriceMoved || e.Machine == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.strangers[e.Machine] && e.Kind != simulator.Running {
		b.wrong("a machine of somebody else: %s %s", e.Kind, e.Name)
	}
	if e.Kind == simulator.Deleted {
		delete(b.alive, e.Machine)
		return
	}
	b.alive[e.Machine] = e
	n := 0
	for _, m := range b.alive {
		if name, ok := market.ParseMachineName(m.Name); ok && name.Owner == "main" {
			n += m.GPUs
		}
	}
	if e.Kind == simulator.Deployed && n > b.most {
		b.wrong("%d GPUs exist, at most %d may: %s", n, b.most, e.Name)
	}
}

// ours are our machines by id.
func (b *bazaar) ours() map[string]market.Instance {
	out := map[string]market.Instance{}
	for _, m := range b.Instances() {
		if name, ok := market.ParseMachineName(m.Name); ok && name.Owner == "main" {
			out[m.ID] = m
		}
	}
	return out
}

// vanish deletes one of several machines of ours, as somebody at the dashboard would.
func (b *bazaar) vanish(t testing.TB, rng *rand.Rand) {
	t.Helper()
	ids := slices.Sorted(maps.Keys(b.ours()))
	if len(ids) < 4 {
		return
	}
	if err := b.Delete(ids[rng.IntN(len(ids))]); err != nil {
		t.Log(err) // somebody else was faster
	}
}

// running counts the GPUs of ours that run.
func (b *bazaar) running() (n int) {
	for _, m := range b.ours() {
		if m.Status == market.StatusRunning {
			n += m.Shape.GPUs
		}
	}
	return n
}

// keys are the passwords that were sent, by machine.
func (b *bazaar) keys() map[string]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.passwords)
}

// judge tells everything that was wrong, burn above the cap included.
func (b *bazaar) judge(t testing.TB, limit market.Rate) {
	t.Helper()
	if peak, most := b.Account().Peak, limit.Add(b.burn); peak > most {
		t.Errorf("the account burnt %s, at most %s may be", peak, most)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.wrongs {
		t.Error(w)
	}
	for id := range b.strangers {
		if _, ok := b.alive[id]; !ok {
			t.Errorf("somebody else's machine %s is gone", id)
		}
	}
}
