package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/tensordock"
)

func TestRevenueIsToldGuestByGuestAndWhatIsUnknownStaysUnknown(t *testing.T) {
	all := []tensordock.HostRevenue{{
		Host: "h1", Location: "Oslo", Compute: market.Some(market.Amount(12 * market.Dollar)),
		Used: tensordock.ResourceCount{GPUs: market.Some(3)}, Free: tensordock.ResourceCount{GPUs: market.Some(1)},
		Machines: []tensordock.MachineRevenue{{ID: "g1", Compute: market.Some(market.Amount(7 * market.Dollar)), Used: tensordock.ResourceCount{GPUs: market.Some(2)}}},
	}}
	var b bytes.Buffer
	if err := revenueCSV(&b, all); err != nil {
		t.Fatal(err)
	}
	if want := "h1,Oslo,g1,7,,2,,,\n"; !strings.HasSuffix(b.String(), want) {
		t.Errorf("got %q, want it to end in %q", b.String(), want)
	}
	b.Reset()
	tab := newTable(&b)
	tab.revenue(all)
	if err := tab.flush(); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); !strings.Contains(s, "h1    1 guest  $12.00   unknown  3          1") {
		t.Errorf("got\n%s", s)
	}
}
