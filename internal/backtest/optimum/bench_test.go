package optimum

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
)

// BenchmarkOptimum: what comes with a backtest. Pools change every `every` on average,
// never two at once.
func BenchmarkOptimum(b *testing.B) {
	for _, size := range []struct {
		days, pools int
		every       time.Duration
	}{{14, 3, 10 * time.Minute}, {14, 3, 3 * time.Minute}, {30, 100, 6 * time.Hour}} {
		t := wideTape(size.days, size.pools, size.every)
		for name, solve := range both() {
			b.Run(fmt.Sprintf("%s/%d-days/%d-pools/%s", name, size.days, size.pools, size.every), func(b *testing.B) {
				for b.Loop() {
					solve(t, wish(4))
				}
				b.ReportMetric(float64(len(t.Changes())), "changes")
			})
		}
	}
}

func wideTape(days, pools int, every time.Duration) *tape.Tape {
	r := rand.New(rand.NewPCG(6, uint64(pools)))
	t := tapeOf(time.Duration(days)*24*time.Hour, 3*unit)
	for i := range pools {
		free := tape.Constant(r.IntN(5))
		for at := time.Duration(0); at < t.Length; {
			at += time.Duration((r.ExpFloat64()*every.Seconds() + 1)) * time.Second
			free = append(free, tape.Step[int]{At: at, Value: r.IntN(5)})
		}
		t.Pools = append(t.Pools, tape.Pool{Name: fmt.Sprint("pool", i), Free: free, Price: tape.Constant(3 * unit)})
	}
	return t
}
