package main

import (
	"encoding/json"
	"testing"

	"github.com/tdscaler/tdscaler/internal/demo"
	"github.com/tdscaler/tdscaler/internal/report"
)

func TestAReportCostsWhatTheMarketChargedAndDeliversWhatItSaw(t *testing.T) {
	t.Chdir(t.TempDir())
	var played demo.Result
	var page report.Report
	for _, c := range []struct {
		args []string
		into any
	}{
		{[]string{"demo", "--for", "4h", "--hosts", "30", "--keep", "night", "--json"}, &played},
		{[]string{"report", "-c", "night/demo.yaml", "--since", "2026-03-02", "--until", "2026-03-02T05:00:00Z", "--json"}, &page},
	} {
		d := tdscaler(c.args...)
		if d.code != exitOK {
			t.Fatalf("%+v", d)
		}
		if err := json.Unmarshal([]byte(d.out), c.into); err != nil {
			t.Fatal(err)
		}
	}
	// The books meter at the dearer of two looks, and to the last look; the market to the
	// end of the last cycle, seconds later. Ready is known from the look after.
	for i, p := range append(played.Policies, played.Total) {
		l := append(page.Policies, page.Total)[i]
		if cost, bill := l.Spent.Float(), p.Cost.Float(); l.Policy != p.Policy || cost < 0.99*bill || cost > 1.01*bill || bill == 0 {
			t.Errorf("%s cost $%f, the market charged $%f of %s", l.Policy, cost, bill, p.Policy)
		}
		if got, saw := l.Delivered.Hours(), p.Delivered; got > saw || got < 0.96*saw {
			t.Errorf("%s got %f GPU-hours, the market saw %f", l.Policy, got, saw)
		}
	}
	if len(page.Missing) != 1 { // the hour after the last cycle
		t.Errorf("%q", page.Missing)
	}
}
