package contract

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/actuator"
	"github.com/tdscaler/tdscaler/internal/backtest"
	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// adapter is a market in market's terms, as the daemon has it, and what the suite
// needs to know of it.
type adapter struct {
	context.Context
	daemon.Reader
	actuator.Writer
	clock clock.Clock
	// spot and onDemand are orders that the market takes now; onDemand may be nowhere
	// near spot.
	spot, onDemand market.Order
	// terse: the list does not tell how a machine was bought, nor its price.
	terse bool
}

// everyAdapter runs a suite on each market that the daemon can be given.
func everyAdapter(t *testing.T, suite func(t *testing.T, a *adapter)) {
	for _, shape := range []simulator.Shape{simulator.Real, simulator.Seed} {
		t.Run("client/"+string(shape), func(t *testing.T) {
			w := newWorld(t, shape)
			suite(t, &adapter{
				Context: t.Context(), Reader: w.client.Reader, Writer: w.client, clock: w.clock,
				spot: w.order(t, market.Spot), onDemand: w.order(t, market.OnDemand), terse: shape == simulator.Seed,
			})
		})
	}
	for _, first := range []bool{false, true} {
		t.Run(map[bool]string{false: "tape/capacity", true: "tape/price"}[first], func(t *testing.T) { suite(t, newTapeAdapter(t, first)) })
	}
}

func newTapeAdapter(t *testing.T, firstPrice bool) *adapter {
	tp := &tape.Tape{
		Start: time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC), Length: 24 * time.Hour, OnDemand: market.USD(3, 6), Boot: 3 * time.Minute, FirstPrice: firstPrice,
		Pools: []tape.Pool{{Name: "zone", Model: "gpu-16gb", Free: tape.Constant(4), Price: tape.Constant(market.USD(0, 90))}},
	}
	c := clock.NewVirtual(tp.Start)
	m := backtest.NewMarket(c, tp, []policy.Policy{{Name: "contract", Target: 1, Shape: market.Shape{GPUs: 1}, Capacity: market.Spot}})
	o := market.Order{
		Name: "tds-main-contract-abcdefgh", Host: "zone", Model: "gpu-16gb", Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100},
		Capacity: market.Spot, Bid: market.USD(1, 0), Password: secret.New("Correct-horse-9"), Ports: []market.PortForward{{External: 2000, Internal: 22}},
	}
	d := o
	d.Host, d.Capacity, d.Bid = backtest.OnDemandHost, market.OnDemand, 0
	return &adapter{Context: t.Context(), Reader: m, Writer: m, clock: c, spot: o, onDemand: d}
}

// listed is the one machine that there is.
func (a *adapter) listed(t *testing.T) market.Instance {
	t.Helper()
	list := must(a.Instances(a))(t)
	if len(list) != 1 {
		t.Fatalf("%d machines are listed, want one", len(list))
	}
	return list[0]
}

func TestEveryMarketsSpotMachineLivesFromBidToDeletion(t *testing.T) {
	everyAdapter(t, func(t *testing.T, a *adapter) {
		o := a.spot
		q := market.Question{Host: o.Host, Model: o.Model, Shape: o.Shape, Bid: market.MinBid}
		if v := must(a.ValidateNew(a, q))(t); v.Answer != market.Refused {
			t.Fatalf("%s: %+v", q.Bid, v)
		}
		q.Bid = o.Bid
		if v := must(a.ValidateNew(a, q))(t); v.Answer != market.Accepted {
			t.Fatalf("%s: %+v", q.Bid, v)
		}
		d := must(a.Deploy(a, o))(t)
		if m := a.listed(t); m.ID != d.ID || m.Status != market.StatusStarting || m.Name != o.Name {
			t.Errorf("listed at once as %+v", m)
		}
		ok(t, a.clock.Sleep(a, 10*time.Minute))
		m := a.listed(t)
		if m.ID != d.ID || m.API != market.V0 || m.Name != o.Name || m.Status != market.StatusRunning || m.Host != o.Host || m.Model != o.Model || m.Shape != o.Shape {
			t.Errorf("listed as %+v", m)
		}
		if !a.terse && (m.Capacity != market.Spot || m.Compute.Or(0) != o.Bid) {
			t.Errorf("listed as %s at %v", m.Capacity, m.Compute)
		}
		if m.IP == "" || len(m.Ports) != len(o.Ports) {
			t.Errorf("reached at %s %v", m.IP, m.Ports)
		}
		if one := must(a.Instance(a, d.ID))(t); one.ID != d.ID || one.Status != m.Status {
			t.Errorf("asked for by id: %+v", one)
		}
		raised := o.Bid.Scale(11, 10).CeilCent()
		if v := must(a.ValidateExisting(a, d.ID, raised))(t); v.Answer != market.Accepted {
			t.Fatalf("rebid: %+v", v)
		}
		ok(t, a.ModifyBid(a, d.ID, o.Model, o.Shape, raised))
		if m := a.listed(t); !a.terse && m.Compute.Or(0) != raised || m.Status != market.StatusRunning {
			t.Errorf("raised to %s, listed as %s at %v", raised, m.Status, m.Compute)
		}
		a.ends(t, d.ID, a.Delete)
	})
}

// ends deletes a machine, and again.
func (a *adapter) ends(t *testing.T, id string, end func(context.Context, string) error) {
	t.Helper()
	ok(t, end(a, id))
	ok(t, ignoreDone(end(a, id)))
	if list := must(a.Instances(a))(t); len(list) != 0 {
		t.Errorf("still listed after its deletion: %+v", list)
	}
	if m, err := a.Instance(a, id); err == nil && m.Status != market.StatusTerminated || err != nil && ignoreDone(err) != nil {
		t.Errorf("asked for after its deletion: %+v, %v", m, err)
	}
}

func TestEveryMarketSellsOnDemandAndShowsItInBothLists(t *testing.T) {
	everyAdapter(t, func(t *testing.T, a *adapter) {
		d := must(a.Deploy(a, a.onDemand))(t)
		ok(t, a.clock.Sleep(a, 10*time.Minute))
		m := a.listed(t)
		if m.Status != market.StatusRunning || !a.terse && m.Capacity != market.OnDemand {
			t.Errorf("listed as %s, %s", m.Capacity, m.Status)
		}
		v2 := must(a.InstancesV2(a))(t)
		if !slices.ContainsFunc(v2, func(i market.Instance) bool { return i.ID == d.ID && i.Name == a.onDemand.Name }) {
			t.Errorf("v2 lists %+v", v2)
		}
		if one := must(a.InstanceV2(a, d.ID))(t); one.ID != d.ID || one.Status != market.StatusRunning {
			t.Errorf("v2 shows %+v", one)
		}
		a.ends(t, d.ID, a.DeleteInstance)
	})
}

func TestEveryMarketsHostsArePricedAndItsAccountCharged(t *testing.T) {
	everyAdapter(t, func(t *testing.T, a *adapter) {
		ok(t, a.AuthTest(a))
		hosts := must(a.Hosts(a))(t)
		for _, o := range []market.Order{a.spot, a.onDemand} {
			i := slices.IndexFunc(hosts, func(h market.Host) bool { return h.ID == o.Host })
			if i < 0 {
				t.Fatalf("host %s is not listed", o.Host)
			}
			g, found := hosts[i].GPU(o.Model)
			if !found || g.Free < o.Shape.GPUs || hosts[i].OnDemandCompute(g, o.Shape).Or(0) <= 0 || !hosts[i].StorageRate(o.Shape).Known() {
				t.Errorf("%+v", hosts[i])
			}
		}
		before := must(a.Balance(a))(t).Balance.Or(0)
		d := must(a.Deploy(a, a.spot))(t)
		ok(t, a.clock.Sleep(a, time.Hour))
		after := must(a.Balance(a))(t)
		if after.Balance.Or(0) >= before || !a.terse && after.Hourly.Or(0) <= 0 {
			t.Errorf("%s before, %+v an hour later", before, after)
		}
		ok(t, a.Delete(a, d.ID))
	})
}

func TestEveryMarketRefusesInTheSameWords(t *testing.T) {
	everyAdapter(t, func(t *testing.T, a *adapter) {
		_, err := a.Instance(a, "00000000-0000-4000-8000-000000000000")
		wants(t, err, market.ClassNotFound)
		low := a.spot
		low.Bid = market.MinBid
		_, err = a.Deploy(a, low)
		wants(t, err, market.ClassBidRefused)
		many := a.spot
		many.Shape.GPUs, many.Bid = 512, market.USD(4000, 0)
		if _, err = a.Deploy(a, many); market.ClassOf(err) != market.ClassNoCapacity && market.ClassOf(err) != market.ClassRefused {
			t.Errorf("512 GPUs: %v", err)
		}
		if list := must(a.Instances(a))(t); len(list) != 0 {
			t.Errorf("refused, but listed: %+v", list)
		}
	})
}
