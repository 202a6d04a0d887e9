package tape

import (
	"slices"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

func TestASeriesHoldsItsValueUntilTheNextStep(t *testing.T) {
	s := Series[int]{{0, 4}, {time.Minute, 2}, {time.Hour, 0}}
	for at, want := range map[time.Duration]int{0: 4, time.Minute - 1: 4, time.Minute: 2, time.Hour - 1: 2, time.Hour: 0, 9 * time.Hour: 0} {
		if got := s.At(at); got != want {
			t.Errorf("at %s: %d, want %d", at, got, want)
		}
	}
}

func TestChangesAreInOrderOnceAndWithinTheTape(t *testing.T) {
	p := func(free Series[int]) Pool { return Pool{Free: free, Price: Constant(market.Rate(1))} }
	tp := Tape{Length: time.Hour, Pools: []Pool{
		p(Series[int]{{0, 1}, {5 * time.Minute, 2}, {time.Hour, 1}}),
		p(Series[int]{{0, 1}, {time.Minute, 2}, {5 * time.Minute, 1}}),
	}}
	if got := tp.Changes(); !slices.Equal(got, []time.Duration{time.Minute, 5 * time.Minute}) {
		t.Error(got)
	}
}
