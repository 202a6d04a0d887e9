package optimum

import (
	"math/rand/v2"
	"testing"
)

// A flow is of least cost if and only if nothing can be rerouted for less: there is no
// cycle of negative cost among what is left to send and what may be sent back. This is
// looked for here without the search's own arcs and potentials.
func TestNothingOfTheOptimumCanBeReroutedForLess(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for seed := range 300 {
		tp := randomTape(r, 4, 60, 2)
		w := wish(2 + r.IntN(3))
		for name, g := range map[string]*graph{"J*": starGraph(tp, w), "J_nw": noWarningGraph(tp, w)} {
			g.solve()
			if g.improvable() {
				t.Errorf("tape %d: %s can be rerouted for less", seed, name)
			}
		}
	}
}

type residual struct {
	from, to int
	cost     int64
}

// improvable looks for a negative cycle, as Bellman and Ford do.
func (g *graph) improvable() bool {
	arcs := g.residuals()
	distance := make([]int64, len(g.room))
	for range len(g.room) + 1 {
		changed := false
		for _, a := range arcs {
			if d := distance[a.from] + a.cost; d < distance[a.to] {
				distance[a.to], changed = d, true
			}
		}
		if !changed {
			return false
		}
	}
	return true
}

// residuals are all arcs with room, and all that carry flow, turned around.
func (g *graph) residuals() []residual {
	var out []residual
	add := func(from, to int, room, flow int32, cost int64) {
		if flow < room {
			out = append(out, residual{from, to, cost})
		}
		if flow > 0 {
			out = append(out, residual{to, from, -cost})
		}
	}
	const ample = 1 << 30
	for n := range g.room {
		base := n - n%g.states
		if n+g.states < len(g.room) {
			add(n, n+g.states, g.room[n], g.staying[n], g.stay[n])
		}
		if n == base {
			continue
		}
		if g.enter[n] != forbidden {
			add(base, n, ample, max(g.entered[n], 0), g.enter[n])
		}
		add(n, base, ample, max(-g.entered[n], 0), 0)
		if g.handover != forbidden && g.enter[n] != forbidden && n != base+g.onDemand() {
			add(base+g.onDemand(), n, ample, g.handed[n], g.handover)
		}
	}
	return out
}
