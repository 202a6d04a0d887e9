package campaign

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// gauge is what must not grow.
type gauge struct {
	cycles     int
	heap       uint64 // in use after a collection
	goroutines int
	file, used int64 // of the ledger
	made       int   // machines ever
}

func (w *world) gauge() gauge {
	w.Helper()
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	s := w.ledger.Stats()
	return gauge{w.reports, m.HeapInuse, runtime.NumGoroutine(), s.FileSize, s.UsedSize, w.events[string(simulator.Deployed)]}
}

// resident is what the system counts as the process's memory, as it says it.
func resident() string {
	raw, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return "unknown"
}

// TestASoakLeavesMemoryGoroutinesAndLedgerFlat is `make soak` with
// TDSCALER_CAMPAIGN_CYCLES=200000; by default it is short. It is one daemon, in one
// process, on a market that outbids and refuses it, hides machines and loses answers.
func TestASoakLeavesMemoryGoroutinesAndLedgerFlat(t *testing.T) {
	cycles := envNumber(t, "CYCLES", 500)
	config := strings.Replace(fmt.Sprintf(mixed, "live"), "@every 2m", "@every 5m", 1) + "ledger: {retention: 168h, max_size: 64MiB}\n"
	w := makeWorld(t, plot{
		config: config, faults: "lost:deploy:0.1,html500:*:0.01,empty:list:0.01,lost:delete:0.1,late500:deploy:0.02,slow=60s:*:0.01,429:*:0.005",
		sim: simulator.Options{Seed: 1, Hosts: 10, Balance: 1 << 53, Forget: true},
	}, func(w *world) { w.terse, w.quiet, w.sample = true, true, 1000 })
	w.wire.forget = true
	step := max(cycles/10, 1)
	var marks []gauge
	for len(marks) < 10 {
		n := 0
		w.must(w.run(func(plan.Report) bool { n++; return n == step }))
		g := w.gauge()
		marks = append(marks, g)
		if cycles >= 20_000 {
			fmt.Printf("%7d cycles (%s)  heap %5.1f MB  resident %s  %d goroutines  ledger %5.1f MB, %5.1f MB in use  %d machines made\n",
				g.cycles, w.clock.Now().Sub(epoch).Round(time.Hour), float64(g.heap)/1e6, resident(), g.goroutines, float64(g.file)/1e6, float64(g.used)/1e6, g.made)
		}
	}
	half, last := marks[4], marks[9]
	if last.goroutines > half.goroutines {
		t.Errorf("goroutines: %d in the middle, %d at the end", half.goroutines, last.goroutines)
	}
	// This test remembers the name of every machine there ever was.
	if allowed := half.heap + half.heap/5 + 4<<20 + uint64(last.made-half.made)*512; last.heap > allowed {
		t.Errorf("heap: %d bytes in use in the middle, %d at the end", half.heap, last.heap)
	}
	if cycles >= 20_000 && last.file > half.file*11/10 {
		t.Errorf("ledger: %d bytes in the middle, %d at the end", half.file, last.file)
	}
	if last.file > 96<<20 {
		t.Errorf("ledger: %d bytes", last.file)
	}
	w.close()
}
