package campaign

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

var update = flag.Bool("update", false, "write the golden transcripts")

// TestWholeRunsReadAsWritten compares whole runs, told line by line, with what
// they were when somebody last read them.
func TestWholeRunsReadAsWritten(t *testing.T) {
	rivals := func(n int, cents int64, from time.Duration) (out []simulator.Rival) {
		for range n {
			out = append(out, simulator.Rival{GPUs: 1, Bid: market.USD(0, cents), From: from})
		}
		return out
	}
	for _, g := range []struct {
		name string
		plot plot
		live func(*world)
	}{
		{
			"bought_outbid_and_raised",
			plot{sim: simulator.Options{Scenario: field(1, rivals(4, 55, 10*time.Minute)...)}},
			func(w *world) { w.pass(20 * time.Minute) },
		},
		{"outbid_beyond_the_ceiling_and_replaced", plot{ledger: "0123456789abcdef0123456789abcdef", sim: simulator.Options{Scenario: field(2)}}, func(w *world) {
			w.settle(10 * time.Minute)
			for range 4 {
				w.must(w.engine.AddRival(hostID(2), simulator.Rival{Model: a5000, GPUs: 1, Bid: market.USD(0, 95)}))
			}
			w.pass(10 * time.Minute)
		}},
		{
			"a_lost_answer_found_by_its_name",
			plot{faults: "lost:deploy:n2,lost_request:deploy:n3", sim: simulator.Options{Scenario: field(1)}},
			func(w *world) { w.pass(16 * time.Minute) },
		},
		{
			"the_list_vanishes_for_a_while",
			plot{faults: "empty:list:1:6m-20m", sim: simulator.Options{Scenario: field(1)}},
			func(w *world) {
				w.wire.echo = func(op string) bool { // asking for single machines is refused, too
					at := w.clock.Now().Sub(epoch)
					return strings.HasSuffix(op, "/get/single") && at >= 12*time.Minute && at < 20*time.Minute
				}
				w.pass(25 * time.Minute)
			},
		},
	} {
		t.Run(g.name, func(t *testing.T) {
			// Of several outbid machines, the one whose random name comes first is raised first.
			n := 3
			if g.name == "bought_outbid_and_raised" {
				n = 1
			}
			g.plot.config, g.plot.sim.Boot = strings.Replace(few(n), "safety:", "#", 1), sure()
			w := newWorld(t, g.plot)
			g.live(w)
			w.end()
			compare(t, g.name, strings.Join(w.diary, "\n")+"\n")
		})
	}
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the run differs from %s (-update writes it anew):\n%s", path, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return "got  " + a[i] + "\nwant " + b[i]
		}
	}
	return "one of them is longer"
}
