package simulator

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	hostA  = "aaaaaaaa-0000-4000-8000-000000000001"
	gpu4   = market.GPUModel("rtxa4000-pcie-16gb")
	dollar = market.Rate(market.Dollar)
)

var epoch = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// oneHost is a host with four GPUs at $1, a floor of 40 cents and free resources,
// so that a machine's storage of 100 GB costs a cent an hour.
func oneHost(rivals ...Rival) *World {
	some := func(n int, r market.Rate) market.Component {
		return market.Component{Free: market.Some(n), Price: market.Some(r)}
	}
	for i := range rivals {
		rivals[i].Model = gpu4
	}
	return &World{Hosts: []WorldHost{{
		Host: market.Host{
			ID: hostA, Location: market.Location{ID: "loc-1", City: "Ghent", Region: "East Flanders", Country: "Belgium"},
			Online: true, Listed: true, Uptime: market.Some(0.99),
			CPU: some(64, 0), RAM: some(256, 0), Storage: some(4000, market.Rate(market.Cent)/100),
			GPUs:  []market.HostGPU{{Model: gpu4, Free: 4, Price: market.Some(dollar)}},
			Ports: market.Some([]int{20001, 20002, 20003, 20004, 20005, 20006}),
		},
		Floor:  map[market.GPUModel]market.Rate{gpu4: market.USD(0, 40)},
		Rivals: rivals,
	}}}
}

// fixture is an engine on a virtual clock with boots of exactly three minutes.
type fixture struct {
	*Engine
	t     *testing.T
	clock *clock.Virtual
	http  *http.Client
}

func start(t *testing.T, o Options, face FaceOptions) *fixture {
	t.Helper()
	v := clock.NewVirtual(epoch)
	o.Clock = v
	if o.Boot == (BootModel{}) {
		o.Boot = BootModel{Median: 3 * time.Minute}
	}
	if o.Scenario == nil {
		o.Scenario = oneHost()
	}
	e, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{Engine: e, t: t, clock: v, http: &http.Client{Transport: Transport(e.Handler(face))}}
}

func (f *fixture) pass(d time.Duration) { f.clock.Set(f.clock.Now().Add(d)) }

func order(name string, gpus int, bid market.Rate) market.Order {
	o := market.Order{
		Name: name, Host: hostA, Model: gpu4, Shape: market.Shape{GPUs: gpus, VCPUs: 4, RAM: 16, Storage: 100},
		Capacity: market.OnDemand, Image: "Ubuntu 22.04 LTS", Password: secret.New("Correct-Horse1"),
	}
	if bid > 0 {
		o.Capacity, o.Bid = market.Spot, bid
	}
	return o
}

func (f *fixture) buy(name string, gpus int, bid market.Rate) string {
	f.t.Helper()
	d, err := f.Deploy(order(name, gpus, bid))
	if err != nil {
		f.t.Fatalf("deploy %s: %v", name, err)
	}
	return d.ID
}

func (f *fixture) look(id string) Machine {
	f.t.Helper()
	for _, m := range f.Fleet() {
		if m.ID == id {
			return m
		}
	}
	f.t.Fatalf("no machine %s", id)
	return Machine{}
}

func (f *fixture) wantStatus(id string, want market.Status) {
	f.t.Helper()
	if got := f.look(id).Status; got != want {
		f.t.Fatalf("status %q at +%v, want %q", got, f.Now().Sub(epoch), want)
	}
}

const base = "http://market.test"

// call sends a form with credentials and returns status and decoded answer.
func (f *fixture) call(method, path string, form url.Values) (int, map[string]any) {
	f.t.Helper()
	status, body := f.raw(method, path, form)
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		f.t.Fatalf("%s %s: %d %q: %v", method, path, status, body, err)
	}
	return status, v
}

func (f *fixture) raw(method, path string, form url.Values) (int, string) {
	f.t.Helper()
	resp, err := f.send(method, path, form)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (f *fixture) send(method, path string, form url.Values) (*http.Response, error) {
	full := url.Values{"api_key": {"key"}, "api_token": {"token"}}
	for k, v := range form {
		full[k] = v
	}
	target, body := base+path, io.Reader(strings.NewReader(full.Encode()))
	if method == http.MethodGet {
		target, body = target+"?"+full.Encode(), nil
	}
	req, err := http.NewRequest(method, target, body)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer token")
	return f.http.Do(req)
}

func deployForm(name, price string) url.Values {
	v := url.Values{
		"name": {name}, "hostnode": {hostA}, "gpu_model": {string(gpu4)}, "gpu_count": {"1"}, "vcpus": {"4"}, "ram": {"16"}, "storage": {"100"},
		"operating_system": {"Ubuntu 22.04 LTS"}, "password": {"Correct-Horse1"}, "external_ports": {"{20002, 20001}"}, "internal_ports": {"{22, 80}"},
	}
	if price != "" {
		v.Set("price_type", "spot")
		v.Set("price", price)
	}
	return v
}
