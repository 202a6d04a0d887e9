package backtest

import (
	"fmt"
	"testing"
	"time"
)

// BenchmarkDaysOfCycles shows how the time grows with days and with hosts:
//
//	go test -run - -bench Days -benchtime 1x ./internal/backtest
func BenchmarkDaysOfCycles(b *testing.B) {
	for _, c := range []struct{ days, hosts int }{{1, 100}, {2, 100}, {4, 100}, {2, 25}, {2, 400}} {
		b.Run(fmt.Sprintf("days=%d/hosts=%d", c.days, c.hosts), func(b *testing.B) {
			tp := flicker(time.Duration(c.days)*24*time.Hour, c.hosts)
			for b.Loop() {
				if r := run(b, set(b, "spot", 20), tp); r.Delivered == 0 {
					b.Fatalf("%+v", r)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*c.days*24*60), "µs/cycle")
		})
	}
}
