package trace

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Generated is a capacity trace of hosts that were never there. Each has 1, 2, 4 or 8
// GPUs and a temper of its own: how long its number of free GPUs stays as it is, an
// hour to a day on the average, and how often none are, a tenth to a half of the
// times. The same seed gives the same hosts; more of them leave the first as they are.
func Generated(seed uint64, hosts, days int) Trace {
	const gap = 10 * time.Minute
	t := Trace{Kind: Capacity}
	for i := range hosts {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		gpus := 1 << rng.IntN(4)
		stay := time.Duration((1 + 23*rng.Float64()*rng.Float64()) * float64(time.Hour))
		none := 0.1 + 0.4*rng.Float64()
		z := Zone{Name: fmt.Sprintf("host-%03d", i), Gap: gap, Free: make([]int, 0, days*24*6)}
		for free := 0; len(z.Free) < cap(z.Free); z.Free = append(z.Free, free) {
			if len(z.Free) > 0 && rng.Float64() >= float64(gap)/float64(stay) {
				continue
			}
			if free = 0; rng.Float64() >= none {
				free = 1 + rng.IntN(gpus)
			}
		}
		t.Zones = append(t.Zones, z)
	}
	return t
}
