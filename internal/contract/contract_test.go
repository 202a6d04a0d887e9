// Package contract holds the market's two sides together: the client against the
// simulator, every operation of both APIs, in both shapes of the answers. Where
// one of them drifts from the other, it fails here before it fails in a cycle.
package contract

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both runs a suite in either shape, on a market of its own.
func both(t *testing.T, suite func(t *testing.T, w *world)) {
	for _, shape := range []simulator.Shape{simulator.Real, simulator.Seed} {
		t.Run(string(shape), func(t *testing.T) { suite(t, newWorld(t, shape)) })
	}
}

type world struct {
	context.Context
	shape  simulator.Shape
	clock  *clock.Virtual
	engine *simulator.Engine
	client *tensordock.Client
}

func newWorld(t *testing.T, shape simulator.Shape) *world {
	t.Helper()
	w := &world{Context: t.Context(), shape: shape, clock: clock.NewVirtual(time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC))}
	var err error
	w.engine, err = simulator.New(simulator.Options{
		Clock: w.clock, Seed: 11, Hosts: 40, Regime: simulator.Quiet, Boot: simulator.BootModel{Median: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.client = w.connect(t, "the-key", "the-token")
	return w
}

func (w *world) connect(t *testing.T, key, token string) *tensordock.Client {
	t.Helper()
	c, err := tensordock.NewClient(tensordock.Options{
		MarketplaceURL: "https://market.test/api/v0", InstancesURL: "https://market.test/", MarketplaceRPS: 1000, InstancesRPM: 6000, Clock: w.clock,
		Key: secret.New(key), Token: secret.New(token),
		Transport: simulator.Transport(w.engine.Handler(simulator.FaceOptions{Shape: w.shape, Key: "the-key", Token: "the-token"})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// roomy is a host with enough of everything for n GPUs, and its GPU.
func (w *world) roomy(t *testing.T, n int) (market.Host, market.HostGPU) {
	t.Helper()
	for _, h := range w.engine.Hosts() {
		ports, _ := h.Ports.Get()
		if !h.Online || !h.Listed || h.Reserved || len(ports) < 2 || h.Limits[n].VCPUs.Known() {
			continue
		}
		for _, g := range h.GPUs {
			if g.Free >= n && h.CPU.Free.Or(0) >= 8*n && h.RAM.Free.Or(0) >= 32*n && h.Storage.Free.Or(0) >= 400 {
				return h, g
			}
		}
	}
	t.Fatal("no host with room")
	return market.Host{}, market.HostGPU{}
}

func (w *world) order(t *testing.T, capacity market.Capacity) market.Order {
	t.Helper()
	h, g := w.roomy(t, 1)
	o := market.Order{
		Name: "tds-main-contract-abcdefgh", Host: h.ID, Model: g.Model, Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100},
		Capacity: capacity, Image: "Ubuntu 22.04 LTS", Password: secret.New("Correct-horse-9"), SSHKey: "ssh-ed25519 AAAA test",
		CloudInit: "#cloud-config\nruncmd:\n  - echo hi\n",
	}
	if capacity == market.Spot {
		o.Bid = h.OnDemandCompute(g, o.Shape).Or(0).Scale(8, 10).CeilCent()
	}
	ports, _ := h.Ports.Get()
	o.Ports = []market.PortForward{{External: ports[0], Internal: 22}, {External: ports[1], Internal: 8888}}
	return o
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err error, class market.Class) {
	t.Helper()
	if got := market.ClassOf(err); got != class {
		t.Fatalf("class %q (%v), want %q", got, err, class)
	}
}

func TestHostsReadAsTheMarketHasThem(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		got := must(w.client.Hosts(w))(t)
		want := w.engine.Hosts()
		// The description in the seed has no words for some facts; what it has must agree.
		opts := []cmp.Option{cmpopts.EquateEmpty(), cmp.AllowUnexported(market.Maybe[int]{}, market.Maybe[float64]{}, market.Maybe[market.Rate]{}, market.Maybe[[]int]{}, market.Maybe[market.Bounds]{})}
		if w.shape == simulator.Seed {
			opts = append(opts, cmpopts.IgnoreFields(market.Host{}, "Listed", "Reserved", "Online", "Uptime", "Limits"), cmpopts.IgnoreFields(market.Location{}, "ID"))
		}
		if d := cmp.Diff(want, got, opts...); d != "" {
			t.Errorf("-market +client\n%s", d)
		}
		one := must(w.client.Host(w, got[3].ID))(t)
		if d := cmp.Diff(got[3], one, opts...); d != "" {
			t.Errorf("one host differs from the list\n%s", d)
		}
		_, err := w.client.Host(w, "00000000-0000-4000-8000-000000000000")
		wants(t, err, market.ClassNotFound)
	})
}

func TestASpotMachineLivesFromBidToDeletion(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		o := w.order(t, market.Spot)
		q := market.Question{Host: o.Host, Model: o.Model, Shape: o.Shape, Bid: 5 * market.Cent}
		if v := must(w.client.ValidateNew(w, q))(t); v.Answer != market.Refused {
			t.Fatalf("five cents: %+v", v)
		}
		q.Bid = o.Bid
		if v := must(w.client.ValidateNew(w, q))(t); v.Answer != market.Accepted {
			t.Fatalf("%s: %+v", q.Bid, v)
		}
		d := must(w.client.Deploy(w, o))(t)
		if total, known := d.Total.Get(); known && total < o.Bid {
			t.Errorf("agreed at %s, bid %s", total, o.Bid)
		}
		ok(t, w.clock.Sleep(w, 10*time.Minute))
		m := only(t, w)
		if m.ID != d.ID || m.Name != o.Name || m.Status != market.StatusRunning || m.Host != o.Host || m.Model != o.Model || m.Shape != o.Shape {
			t.Errorf("listed as %+v", m)
		}
		if w.shape == simulator.Real && (m.Capacity != market.Spot || m.Compute.Or(0) != o.Bid) {
			t.Errorf("listed as %s at %v", m.Capacity, m.Compute)
		}
		if m.IP == "" || len(m.Ports) != len(o.Ports) {
			t.Errorf("reached at %s %v", m.IP, m.Ports)
		}
		one := must(w.client.Instance(w, d.ID))(t)
		if one.ID != d.ID || one.Status != m.Status {
			t.Errorf("asked for by id: %+v", one)
		}
		w.rebid(t, d.ID, o)
		ok(t, w.client.Delete(w, d.ID))
		ok(t, ignoreDone(w.client.Delete(w, d.ID)))
		if list := must(w.client.Instances(w))(t); len(list) != 0 {
			t.Errorf("still listed after its deletion: %+v", list)
		}
	})
}

// rebid raises a bid by a tenth and reads it back from the market itself.
func (w *world) rebid(t *testing.T, id string, o market.Order) {
	t.Helper()
	bid := o.Bid.Scale(11, 10).CeilCent()
	if v := must(w.client.ValidateExisting(w, id, bid))(t); v.Answer != market.Accepted {
		t.Fatalf("rebid: %+v", v)
	}
	ok(t, w.client.Modify(w, id, tensordock.Modification{Model: o.Model, Shape: o.Shape, Bid: market.Some(bid)}))
	if got := w.engine.Fleet()[0].Bid; got != bid {
		t.Errorf("the market has %s, %s was bid", got, bid)
	}
}

// ignoreDone makes a state that already holds a success, as every caller does.
func ignoreDone(err error) error {
	if market.ClassOf(err) == market.ClassDone || market.ClassOf(err) == market.ClassNotFound {
		return nil
	}
	return err
}

func only(t *testing.T, w *world) market.Instance {
	t.Helper()
	list := must(w.client.Instances(w))(t)
	if len(list) != 1 {
		t.Fatalf("%d machines are listed, want one", len(list))
	}
	return list[0]
}

func TestAnOnDemandMachineStopsStartsAndChangesSize(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		d := must(w.client.Deploy(w, w.order(t, market.OnDemand)))(t)
		ok(t, w.clock.Sleep(w, 10*time.Minute))
		ok(t, ignoreDone(w.client.Start(w, d.ID)))
		ok(t, w.client.Stop(w, d.ID, true))
		if m := only(t, w); m.Status != market.StatusReleased {
			t.Errorf("released, but %s", m.Status)
		}
		o := w.order(t, market.OnDemand)
		o.Shape.VCPUs = 8
		err := w.client.Modify(w, d.ID, tensordock.Modification{Model: o.Model, Shape: o.Shape})
		if c := market.ClassOf(err); c != "" && c != market.ClassRefused {
			t.Errorf("modify: %v", err)
		}
		ok(t, w.client.Start(w, d.ID))
		ok(t, w.clock.Sleep(w, 10*time.Minute))
		if m := only(t, w); m.Status != market.StatusRunning {
			t.Errorf("started, but %s", m.Status)
		}
		ok(t, w.client.Stop(w, d.ID, false))
		if m := only(t, w); m.Status != market.StatusStopped {
			t.Errorf("stopped, but %s", m.Status)
		}
	})
}

func TestInstantMachinesAreListedAndBought(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		list := must(w.client.Instants(w))(t)
		if len(list) == 0 {
			t.Fatal("nothing on offer")
		}
		if p, known := list[0].Price().Get(); !known || p <= 0 {
			t.Errorf("no price: %+v", list[0])
		}
		o := w.order(t, market.OnDemand)
		o.Via, o.Instant, o.Many, o.Ports = market.ViaInstant, list[0].ID, list[0].Many, nil
		d := must(w.client.Deploy(w, o))(t)
		m := only(t, w)
		if m.ID != d.ID || m.Shape != list[0].Shape || m.Model != list[0].Model {
			t.Errorf("bought %+v of %+v, listed %+v", d, list[0], m)
		}
	})
}

func TestContainersScaleAndStop(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		_, g := w.roomy(t, 1)
		id := must(w.client.ContainerDeploy(w, tensordock.ContainerOrder{
			Name: "jobs", Image: "example/jobs:1", Models: []market.GPUModel{g.Model}, Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 50},
			Replicas: 1, Ports: []int{8000}, MaxRate: market.USD(3, 0),
		}))(t)
		ok(t, w.clock.Sleep(w, 10*time.Minute))
		if r := must(w.client.Replicas(w, id))(t); len(r) != 1 {
			t.Fatalf("%d replicas, want one", len(r))
		}
		ok(t, w.client.ContainerScale(w, id, 1))
		ok(t, w.client.ContainerStop(w, id))
	})
}

func TestMoneyAndCredentialsRead(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		b := must(w.client.Balance(w))(t)
		if got, known := b.Balance.Get(); !known || got != w.engine.Account().Balance {
			t.Errorf("balance %v, the market has %s", b.Balance, w.engine.Account().Balance)
		}
		ok(t, w.client.AuthTest(w))
		must(w.client.AuthList(w))(t)
		must(w.client.Summary(w, "2026-04"))(t)
		must(w.client.Revenue(w, tensordock.RevenueQuery{From: w.clock.Now().Add(-time.Hour), To: w.clock.Now()}))(t)
		stranger := w.connect(t, "the-key", "another-token")
		wants(t, stranger.AuthTest(w), market.ClassUnauthorized)
		_, err := stranger.Instances(w)
		wants(t, err, market.ClassUnauthorized)
	})
}

func TestTheInstancesAPILivesTheSameLife(t *testing.T) {
	both(t, func(t *testing.T, w *world) {
		if sites := must(w.client.Locations(w))(t); len(sites) == 0 {
			t.Fatal("no locations")
		}
		o := w.order(t, market.OnDemand)
		o.Shape.Storage = 100
		o.Via, o.Image = market.ViaV2, "ubuntu2404"
		d := must(w.client.Deploy(w, o))(t)
		ok(t, w.clock.Sleep(w, 10*time.Minute))
		list := must(w.client.InstancesV2(w))(t)
		if len(list) != 1 || list[0].ID != d.ID || list[0].Status != market.StatusRunning {
			t.Fatalf("listed: %+v", list)
		}
		one := must(w.client.InstanceV2(w, d.ID))(t)
		if one.Name != o.Name || one.Shape.GPUs != 1 {
			t.Errorf("asked for by id: %+v", one)
		}
		ok(t, w.client.StopInstance(w, d.ID))
		ok(t, w.clock.Sleep(w, 2*time.Minute))
		shape := o.Shape
		shape.VCPUs = 6
		if c := market.ClassOf(w.client.ModifyInstance(w, d.ID, o.Model, shape)); c != "" && c != market.ClassRefused {
			t.Errorf("modify: class %s", c)
		}
		ok(t, w.client.StartInstance(w, d.ID))
		ok(t, w.clock.Sleep(w, 10*time.Minute))
		ok(t, w.client.DeleteInstance(w, d.ID))
		_, err := w.client.InstanceV2(w, d.ID)
		wants(t, err, market.ClassNotFound)
	})
}
