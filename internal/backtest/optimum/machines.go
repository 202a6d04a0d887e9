package optimum

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
)

// machines reads the lives of machines from the flow, pool by pool in the order of
// their orders. Within a pool the newest leave first, as where they are lost.
func (g *graph) machines() []tape.Span {
	var out []tape.Span
	for s := 1; s < g.states; s++ {
		out = append(out, g.lives(s)...)
	}
	return out
}

func (g *graph) lives(s int) []tape.Span {
	var out []tape.Span
	var running []int // of out, the oldest first
	end := func(n int32, at time.Duration, lost bool) {
		for ; n > 0; n-- {
			last := len(running) - 1
			out[running[last]].Until, out[running[last]].Lost = at, lost
			running = running[:last]
		}
	}
	for i, at := range g.times {
		n := i*g.states + s
		come, handed := g.entered[n], g.handedOver(i, s)
		if s != g.onDemand() {
			come += g.handed[n]
		}
		left := max(-come, 0)
		lost := max(int32(len(running))-g.room[n], 0)
		if i == len(g.times)-1 || s == g.onDemand() {
			lost = 0
		}
		end(min(lost, left), at, true)
		end(left-min(lost, left), at, false)
		end(handed, at+g.tape.Boot, false)
		for ; come > 0; come-- {
			running = append(running, len(out))
			out = append(out, g.ordered(s, at))
		}
	}
	return out
}

// handedOver is how many on-demand machines are given up for pools at a moment.
func (g *graph) handedOver(i, s int) int32 {
	var sum int32
	if s == g.onDemand() {
		for to := 1; to < s; to++ {
			sum += g.handed[i*g.states+to]
		}
	}
	return sum
}

// ordered is a machine whose unit enters a state at a moment: in J* when it is ready,
// in J_nw when it is ordered.
func (g *graph) ordered(s int, at time.Duration) tape.Span {
	span := tape.Span{Pool: s - 1, GPUs: g.wish.GPUs, From: at}
	if s == g.onDemand() {
		span.Pool = tape.OnDemand
	}
	if g.handover == forbidden {
		span.From -= g.tape.Boot
	}
	return span
}
