package baseline_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/baseline"
	"github.com/tdscaler/tdscaler/internal/backtest/optimum"
)

// Nobody beats J*. Who keeps no spares does not beat J_nw either, unit by unit.
func TestNoPolicyBeatsTheOptimum(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	swapped := 0
	for seed := range 300 {
		tp := baseline.RandomTape(r, 1+r.IntN(3), 3*time.Hour)
		o := baseline.Options{Units: 1 + r.IntN(3), GPUs: 1 + r.IntN(2), Spot: true, OnDemand: r.IntN(4) > 0}
		w := optimum.Wish{Units: o.Units, GPUs: o.GPUs, Limits: optimum.Limits{Spot: true, OnDemand: o.OnDemand}}
		star, nw := optimum.Star(tp, w).J, optimum.NoWarning(tp, w).J
		for _, p := range baseline.All(tp, o) {
			j := tp.Result(p.Name, p.Sum).J
			if j < star {
				t.Errorf("tape %d: %s comes to %s, below J* %s", seed, p.Name, j, star)
			}
			if j < nw && p.Name != "spothedge" {
				swapped++
				if o.Units == 1 {
					t.Errorf("tape %d: %s comes to %s, below J_nw %s", seed, p.Name, j, nw)
				}
			}
		}
	}
	t.Logf("%d times was J_nw beaten by swapping among units", swapped)
}
