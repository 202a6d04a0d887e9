package contract

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// What the planner would order of a host, the market sells, as often as the planner says;
// and what it leaves out for a restriction or as too large a part, the market refuses (what
// it shows as taken by spot machines it may sell all the same). The shape of four GPUs has odd
// numbers, which nobody sells.
func TestTheMarketSellsWhatThePlannerWouldOrderAndRefusesWhatItLeavesOut(t *testing.T) {
	sold, refused := 0, 0
	for _, want := range []market.Shape{
		{GPUs: 1, VCPUs: 5, RAM: 17, Storage: 100}, {GPUs: 1, VCPUs: 16, RAM: 96, Storage: 200}, {GPUs: 2, VCPUs: 24, RAM: 64, Storage: 100}, {GPUs: 4, VCPUs: 15, RAM: 63, Storage: 900},
	} {
		w := newWorld(t, simulator.Real)
		p := policy.Policy{Name: "p", Kind: policy.VM, Capacity: market.OnDemand, Target: 1, MaxGPUHour: market.USD(100, 0), Shape: want}
		hosts := must(w.client.Hosts(w))(t)
		in := plan.Input{Now: w.clock.Now(), Interval: time.Minute, Policies: []policy.Policy{p}, Snapshot: market.Snapshot{
			Hosts: market.Section[[]market.Host]{Value: hosts, At: w.clock.Now(), Complete: true},
		}}
		for _, l := range plan.List(in, p) {
			o := market.Order{
				Name: "tds-main-contract-abcdefgh", Host: l.Host, Model: l.Model, Shape: l.Shape, Capacity: market.OnDemand,
				Image: "Ubuntu 22.04 LTS", Password: secret.New("Correct-horse-9"),
			}
			switch {
			case l.In:
				sold += w.buys(t, o, l.Fits)
			case strings.HasPrefix(l.Reason.Text, "restriction:") || strings.Contains(l.Reason.Text, "75 %"):
				if _, err := w.client.Deploy(context.Background(), o); err == nil {
					t.Errorf("%s sells %+v, but: %s", l.Host, l.Shape, l.Reason.Text)
				}
				refused++
			}
		}
	}
	if sold < 40 || refused < 5 {
		t.Errorf("%d machines sold, %d refused", sold, refused)
	}
}

// buys orders so many machines, one after the other, and deletes them.
func (w *world) buys(t *testing.T, o market.Order, n int) int {
	t.Helper()
	var ids []string
	for i := range n {
		d, err := w.client.Deploy(w, o)
		if err != nil {
			t.Fatalf("machine %d of %d of %+v on %s: %v", i+1, n, o.Shape, o.Host, err)
		}
		ids = append(ids, d.ID)
	}
	for _, id := range ids {
		ok(t, w.client.Delete(w, id))
	}
	return n
}
