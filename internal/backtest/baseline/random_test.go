package baseline

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

// RandomTape has pools of up to 4 GPUs that change at any second, some often and some
// seldom.
func RandomTape(r *rand.Rand, pools int, length time.Duration) *tape.Tape {
	t := &tape.Tape{
		Length: length, Boot: time.Duration(1+r.IntN(5)) * time.Minute,
		OnDemand: 10 * unit, Penalty: 20 * unit,
	}
	for i := range pools {
		p := tape.Pool{Name: fmt.Sprint("pool", i), Free: tape.Constant(r.IntN(5)), Price: tape.Constant(unit * market.Rate(1+r.IntN(12)))}
		often := 1 + r.IntN(40)
		for at := time.Duration(0); ; {
			at += time.Duration(1+r.IntN(60*often)) * time.Second
			if at >= length {
				break
			}
			if r.IntN(3) > 0 {
				p.Free = append(p.Free, tape.Step[int]{At: at, Value: r.IntN(5)})
			} else {
				p.Price = append(p.Price, tape.Step[market.Rate]{At: at, Value: unit * market.Rate(1+r.IntN(12))})
			}
		}
		t.Pools = append(t.Pools, p)
	}
	return t
}
