package tape

import (
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// A machine boots for three minutes of the hour that it is held, and is paid for all
// of it; on-demand beside it delivers what the target still wants, and no more.
func TestAScoreCountsWhatIsWantedAndPaysForAllThatIsHeld(t *testing.T) {
	tp := Tape{
		Length: 2 * time.Hour, Boot: 3 * time.Minute, OnDemand: market.USD(3, 0), Penalty: market.USD(6, 0),
		Pools: []Pool{{Name: "a", Free: Constant(8), Price: Series[market.Rate]{{0, market.USD(1, 0)}, {30 * time.Minute, market.USD(2, 0)}}}},
	}
	spans := []Span{
		{Pool: 0, GPUs: 2, From: 0, Until: time.Hour, Lost: true},
		{Pool: OnDemand, GPUs: 2, From: 57 * time.Minute, Until: 3 * time.Hour},
		{Pool: 0, GPUs: 2, From: 90 * time.Minute, Until: 91 * time.Minute, Lost: true}, // lost while booting
		{Pool: 0, GPUs: 1, From: 0, Until: time.Hour, Rate: market.USD(3, 0)},
	}
	got := tp.Score(2, spans)
	want := Sum{
		Cost: 3*market.Dollar + // $1 and $2 for half an hour, twice
			6*market.Dollar + 300*market.Cent/10 + // 63 minutes of $6 an hour
			4*market.Dollar/60 + 1 + // a minute of $4 an hour, rounded up
			3*market.Dollar,
		Delivered: 2 * (57*time.Minute + 60*time.Minute), Target: 4 * time.Hour, Interruptions: 1, Starts: 4,
	}
	spot := float64(3*market.Dollar+4*market.Dollar/60+1) + 1.5*market.Dollar
	want.Overpay = (spot+1.5*market.Dollar)/spot - 1
	if got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}
