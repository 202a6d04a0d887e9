package bidder

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

var noon = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

const model = market.GPUModel("rtxa5000-pcie-24gb")

type askerFunc func(ctx context.Context, q market.Question) (market.Verdict, error)

func (f askerFunc) ValidateNew(ctx context.Context, q market.Question) (market.Verdict, error) {
	return f(ctx, q)
}

// wish is an input with one policy for so many GPUs, on hosts at 90 cents a GPU.
func wish(gpus, hosts, probes int) plan.Input {
	in := plan.Input{
		Now: noon, Owner: "main", Interval: time.Minute, HourlyCap: market.USD(50, 0),
		Limits: policy.Limits{MaxActions: 100, MaxProbes: probes},
		Policies: []policy.Policy{{
			Name: "train", Kind: policy.VM, Capacity: market.Spot, Target: gpus,
			Shape: market.Shape{GPUs: 1, VCPUs: 4, RAM: 16, Storage: 100}, MaxGPUHour: market.USD(0, 80),
		}},
		Snapshot: market.Snapshot{Instances: market.Section[[]market.Instance]{At: noon, Complete: true}},
	}
	some := func(r market.Rate) market.Component { return market.Component{Price: market.Some(r)} }
	for i := range hosts {
		in.Snapshot.Hosts.Value = append(in.Snapshot.Hosts.Value, market.Host{
			ID: fmt.Sprintf("host-%02d", i), Online: true, Listed: true, CPU: some(0), RAM: some(0), Storage: some(market.Rate(market.Cent) / 100),
			GPUs: []market.HostGPU{{Model: model, Free: 1, Price: market.Some(market.USD(0, 90))}},
		})
	}
	in.Snapshot.Hosts.At, in.Snapshot.Hosts.Complete = noon, true
	return in
}

// atLeast accepts bids from least on.
func atLeast(least market.Rate, asked *[]market.Question) askerFunc {
	return func(_ context.Context, q market.Question) (market.Verdict, error) {
		*asked = append(*asked, q)
		if q.Bid < least {
			return market.Verdict{Answer: market.Refused}, nil
		}
		return market.Verdict{Answer: market.Accepted}, nil
	}
}

func converse(a Asker, in plan.Input) (plan.Input, plan.Plan) {
	return Converse(context.Background(), clock.NewVirtual(noon), a, in)
}

func TestTheLowestWinningBidIsFoundWithinACentOrTwoPercent(t *testing.T) {
	var asked []market.Question
	in, p := converse(atLeast(market.USD(0, 60), &asked), wish(1, 1, 40))
	if len(p.Actions) != 1 || p.Actions[0].Bid < market.USD(0, 60) || p.Actions[0].Bid > market.USD(0, 61) {
		t.Fatalf("actions %+v", p.Actions)
	}
	for i := range asked {
		if slices.Contains(asked[:i], asked[i]) {
			t.Errorf("asked twice about %s", asked[i].Bid)
		}
	}
	if len(asked) > 8 {
		t.Errorf("%d questions for one price", len(asked))
	}
	if len(in.Verdicts) != len(asked) || in.Limits.MaxProbes != 40-len(asked) {
		t.Errorf("%d verdicts and %d probes left after %d questions", len(in.Verdicts), in.Limits.MaxProbes, len(asked))
	}
	for i, v := range in.Verdicts {
		if v.Question != asked[i] || !v.At.Equal(noon) {
			t.Errorf("verdict %+v of question %+v", v, asked[i])
		}
	}
}

func TestTheProbeBudgetIsNeverExceededAndTheInputReplaysThePlan(t *testing.T) {
	for _, least := range []market.Rate{0, market.USD(0, 60), market.USD(9, 0)} {
		for probes := range 15 {
			var asked []market.Question
			in, p := converse(atLeast(least, &asked), wish(6, 8, probes))
			if len(asked) > probes {
				t.Errorf("%d questions with a budget of %d", len(asked), probes)
			}
			if again := plan.Compute(in); text(again) != text(p) {
				t.Errorf("the input gives another plan:\n%s\n%s", text(again), text(p))
			}
			for _, a := range p.Actions {
				if a.Bid < least {
					t.Errorf("a bid of %s was never accepted", a.Bid)
				}
			}
		}
	}
}

func text(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestSilenceIsNoVerdictAndIsNotAskedAgain(t *testing.T) {
	asked := 0
	silent := askerFunc(func(context.Context, market.Question) (market.Verdict, error) {
		asked++
		return market.Verdict{Answer: market.Accepted}, &market.Error{Op: "validate", Class: market.ClassShapeChanged, Detail: "a page"}
	})
	in, p := converse(silent, wish(1, 3, 40))
	if len(p.Actions) != 0 {
		t.Errorf("bought on silence: %+v", p.Actions)
	}
	if asked != 3 {
		t.Errorf("%d questions to three silent hosts", asked)
	}
	for _, v := range in.Verdicts {
		if v.Answer != market.Silent || !strings.Contains(v.Detail, "a page") {
			t.Errorf("verdict %+v", v)
		}
	}
}

func TestWhatMakesAskingOnHopelessEndsIt(t *testing.T) {
	for _, class := range []market.Class{market.ClassUnauthorized, market.ClassRateLimited} {
		asked := 0
		in, _ := converse(askerFunc(func(context.Context, market.Question) (market.Verdict, error) {
			asked++
			return market.Verdict{}, &market.Error{Op: "validate", Class: class}
		}), wish(6, 8, 40))
		if asked != 1 || in.Limits.MaxProbes != 0 {
			t.Errorf("%s: %d questions, %d probes left", class, asked, in.Limits.MaxProbes)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	asked := 0
	Converse(ctx, clock.NewVirtual(noon), askerFunc(func(context.Context, market.Question) (market.Verdict, error) {
		asked++
		cancel()
		return market.Verdict{}, errors.New("cut off")
	}), wish(6, 8, 40))
	if asked != 1 {
		t.Errorf("%d questions after the stop", asked)
	}
}

func TestAConversationEndsBeforeItsLookIsTooOld(t *testing.T) {
	c, asked := clock.NewVirtual(noon), 0
	in, p := Converse(context.Background(), c, askerFunc(func(ctx context.Context, _ market.Question) (market.Verdict, error) {
		asked++
		return market.Verdict{}, errors.Join(c.Sleep(ctx, 45*time.Second), &market.Error{Op: "ask", Class: market.ClassAmbiguous})
	}), wish(20, 20, 40))
	if asked != 6 || len(in.Verdicts) != 6 || len(p.Questions) != 0 {
		t.Fatalf("%d questions of 45 s were asked; %d are left", asked, len(p.Questions))
	}
}
