package tape

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Sum is what somebody came to who played a tape to its end.
type Sum struct {
	Cost market.Amount
	// Delivered is how long GPUs were ready, never more of them than the target at a
	// time; Target is how long they were wanted. One GPU for an hour is an hour.
	Delivered, Target time.Duration
	// Interruptions are machines lost while ready, Starts machines that were ordered,
	// Requests whatever was asked of the market, SelfOutbids machines of ours that a bid
	// of ours displaced.
	Interruptions, Starts, Requests, SelfOutbids int
	// Overpay is by what share more than the threshold was paid for spot, over all of
	// its GPU-hours.
	Overpay float64
}

// Result is a Sum as it is shown, by itself and against the optimum. JSON has
// exactly these keys; what was not computed is null.
type Result struct {
	Name          string                      `json:"name"`
	Cost          market.Amount               `json:"cost_usd"`
	Delivered     float64                     `json:"delivered_gpu_hours"`
	Target        float64                     `json:"target_gpu_hours"`
	Availability  float64                     `json:"availability"`
	Interruptions int                         `json:"interruptions"`
	Starts        int                         `json:"starts"`
	J             market.Amount               `json:"j"`
	JStar         market.Maybe[market.Amount] `json:"j_star"`
	JRatio        market.Maybe[float64]       `json:"j_ratio"`
	JNW           market.Maybe[market.Amount] `json:"j_nw"`
	JNWRatio      market.Maybe[float64]       `json:"j_nw_ratio"`
	Overpay       float64                     `json:"overpay"`
	SelfOutbids   int                         `json:"self_outbids"`
	Requests      int                         `json:"requests"`
}

// Result is a Sum under a name: J is its cost, and the tape's penalty for every
// GPU-hour that was wanted and not delivered.
func (t *Tape) Result(name string, s Sum) Result {
	r := Result{
		Name: name, Cost: s.Cost, Delivered: s.Delivered.Hours(), Target: s.Target.Hours(), Availability: 1,
		Interruptions: s.Interruptions, Starts: s.Starts, Requests: s.Requests, SelfOutbids: s.SelfOutbids, Overpay: s.Overpay,
		J: s.Cost.Add(t.Penalty.For(s.Target - s.Delivered)),
	}
	if s.Target > 0 {
		r.Availability = float64(s.Delivered) / float64(s.Target)
	}
	return r
}

// Against completes a Result with the optima: J* and the one that may not boot a
// machine before it has lost one.
func (r *Result) Against(jStar, jNW market.Amount) {
	r.JStar, r.JNW = market.Some(jStar), market.Some(jNW)
	if jStar > 0 {
		r.JRatio = market.Some(float64(r.J) / float64(jStar))
	}
	if jNW > 0 {
		r.JNWRatio = market.Some(float64(r.J) / float64(jNW))
	}
}
