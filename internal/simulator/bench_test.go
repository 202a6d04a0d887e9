package simulator

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

// BenchmarkWeek is a week of 60 hosts, looked at through the face every minute:
// 10,080 hostnode answers and as many lists.
func BenchmarkWeek(b *testing.B) {
	for b.Loop() {
		v := clock.NewVirtual(epoch)
		e, err := New(Options{Clock: v, Seed: 7, Balance: 100_000 * market.Dollar})
		if err != nil {
			b.Fatal(err)
		}
		client := &http.Client{Transport: Transport(e.Handler(FaceOptions{}))}
		for n := range 8 {
			buyAnywhere(e, n)
		}
		for range 7 * 24 * 60 {
			poll(b, client)
			v.Set(v.Now().Add(time.Minute))
		}
	}
	b.ReportMetric(7*float64(b.N)/b.Elapsed().Seconds(), "days/s")
}

// buyAnywhere buys one GPU on the n-th host that takes a bid.
func buyAnywhere(e *Engine, n int) {
	for _, h := range e.Hosts() {
		o := market.Order{
			Name: "m", Host: h.ID, Model: h.GPUs[0].Model, Capacity: market.Spot, SSHKey: "ssh-ed25519 x",
			Shape: market.Shape{GPUs: 1, VCPUs: 2, RAM: 4, Storage: 50},
		}
		least, ok := e.ThresholdFor(h.ID, o.Model, 1)
		if o.Bid = least; !ok {
			continue
		}
		if _, err := e.Deploy(o); err != nil {
			continue
		}
		if n--; n < 0 {
			return
		}
	}
}

func poll(tb testing.TB, client *http.Client) {
	form := url.Values{"api_key": {"k"}, "api_token": {"t"}}.Encode()
	hosts, err := client.Get(base + "/api/v0/client/deploy/hostnodes")
	if err != nil {
		tb.Fatal(err)
	}
	list, err := client.Post(base+"/api/v0/client/list", "application/x-www-form-urlencoded", strings.NewReader(form))
	if err != nil {
		tb.Fatal(err)
	}
	for _, r := range []*http.Response{hosts, list} {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			tb.Fatal(err)
		}
		if err := r.Body.Close(); err != nil {
			tb.Fatal(err)
		}
	}
}
