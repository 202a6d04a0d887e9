// Package bidder holds the conversation with the market about spot bids: it asks
// the planner's questions, hands the answers back, and repeats until the plan
// has no question left or the cycle no probe.
//
// It owns the order of asking and the probe budget. It sends soft validations of
// new machines only, which reserve and change nothing; it never deploys.
package bidder

import (
	"context"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Asker soft-validates one bid.
type Asker interface {
	ValidateNew(ctx context.Context, q market.Question) (market.Verdict, error)
}

// patience is how long one conversation may take: money flows meanwhile, and the
// caps count on a look being old by minutes at most.
const patience = 4 * time.Minute

// Converse computes, asks and computes again. The Input it returns holds every
// verdict and what is left of the probes, so that Compute of it is the Plan it
// returns: the decision can be replayed without the market.
//
// Invariant: at most in.Limits.MaxProbes questions are asked, none of them after
// patience has run out; the loop ends
// because every round spends at least one of them.
func Converse(ctx context.Context, c clock.Clock, a Asker, in plan.Input) (plan.Input, plan.Plan) {
	return Continue(ctx, c, a, in, plan.Compute(in))
}

// Continue is Converse for whoever has the plan of the input already.
func Continue(ctx context.Context, c clock.Clock, a Asker, in plan.Input, p plan.Plan) (plan.Input, plan.Plan) {
	began := clock.SteadyFrom(c)
	late := func() bool { return began.Now().Sub(began.At) > patience }
	for len(p.Questions) > 0 {
		in = ask(ctx, c, a, in, p.Questions, late)
		p = plan.Compute(in)
	}
	return in, p
}

func ask(ctx context.Context, c clock.Clock, a Asker, in plan.Input, questions []market.Question, late func() bool) plan.Input {
	for _, q := range questions {
		if in.Limits.MaxProbes <= 0 {
			break
		}
		in.Limits.MaxProbes--
		v, err := a.ValidateNew(ctx, q)
		if err != nil {
			v = market.Verdict{Answer: market.Silent, Detail: err.Error()}
		}
		v.Question, v.At = q, c.Now()
		in.Verdicts = append(in.Verdicts, v)
		if hopeless(ctx, err) || late() {
			in.Limits.MaxProbes = 0
		}
	}
	return in
}

// hopeless says whether asking on would get no better answer.
func hopeless(ctx context.Context, err error) bool {
	class := market.ClassOf(err)
	return ctx.Err() != nil || class == market.ClassUnauthorized || class == market.ClassRateLimited
}
