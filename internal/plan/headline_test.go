package plan

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
)

func TestAHeadlineNamesTheOneThingThatIsMostInTheWay(t *testing.T) {
	hold := func(code, text string) Hold { return Hold{Policy: "p", Reason: Reason{code, text}} }
	dear := Funnel{Offers: 12, Model: 3, Place: 4, Ceiling: 5}
	for _, c := range []struct {
		want    string
		st      Standing
		actions []Action
		holds   []Hold
	}{
		{"wants nothing now", Standing{}, nil, nil},
		{"has the 2 GPUs it wants", Standing{Target: 2, Ready: 2}, nil, nil},
		{"has the 1 GPU it wants, and 2 too many", Standing{Target: 1, Ready: 3}, nil, nil},
		{"short 1 GPU: what is missing is ordered or booting", Standing{Target: 2, Ready: 1, Booting: 1}, nil, []Hold{hold(HoldBooting, "1 GPUs")}},
		{
			"short 2 GPUs: every offer is above the ceiling",
			Standing{Target: 2, Funnel: dear},
			nil,
			[]Hold{hold(HoldBooting, "booting"), hold(HoldNoOffer, "2 GPUs are missing; of 12 offers ...")},
		},
		{
			"short 2 GPUs: of 5 offers that match, 3 have too few GPUs free, 2 are above the ceiling",
			Standing{Target: 2, Funnel: Funnel{Offers: 12, Model: 3, Place: 4, Capacity: 3, Ceiling: 2}},
			nil,
			[]Hold{hold(HoldNoOffer, "")},
		},
		{
			"short 3 GPUs, 1 of them ordered or booting: every offer is above the ceiling",
			Standing{Target: 3, Booting: 1, Funnel: dear},
			nil,
			[]Hold{hold(HoldBooting, "booting"), hold(HoldNoOffer, "")},
		},
		{"short 2 GPUs: no offer is of the GPU model", Standing{Target: 2, Funnel: Funnel{Offers: 12, Model: 12}}, nil, []Hold{hold(HoldNoOffer, "")}},
		{"short 2 GPUs: no offer of the model is in the place", Standing{Target: 2, Funnel: Funnel{Offers: 12, Model: 2, Place: 10}}, nil, []Hold{hold(HoldNoOffer, "")}},
		{
			"short 2 GPUs: paused since noon",
			Standing{Target: 2, Funnel: dear},
			nil,
			[]Hold{hold(HoldNoOffer, "2 GPUs are missing"), hold(HoldPaused, "paused since noon")},
		},
		{
			"short 2 GPUs: breaker failures is open",
			Standing{Target: 2},
			[]Action{{Kind: Deploy, Policy: "p"}},
			[]Hold{{Reason: Reason{HoldBreaker, "breaker failures is open"}}},
		},
		{"short 2 GPUs: 1 machine to be ordered now", Standing{Target: 2}, []Action{{Kind: Deploy, Policy: "p"}, {Kind: Deploy, Policy: "q"}, {Kind: Delete, Policy: "p"}}, nil},
		{
			"short 2 GPUs: the next machine costs $1.0000/h and $0.5000/h are left: max_hourly",
			Standing{Target: 2},
			nil,
			[]Hold{hold(HoldBudget, "2 GPUs are missing; the next machine costs $1.0000/h and $0.5000/h are left: max_hourly")},
		},
		{"short 2 GPUs: nothing is planned, and nothing is in the way", Standing{Target: 2}, nil, []Hold{{Policy: "q", Reason: Reason{HoldPaused, "paused"}}}},
	} {
		if c.st.Policy = "p"; c.st.Headline(c.actions, c.holds) != c.want {
			t.Errorf("got %q, want %q", c.st.Headline(c.actions, c.holds), c.want)
		}
	}
}

func TestAFunnelIsToldAsASentence(t *testing.T) {
	f := Funnel{Offers: 412, Model: 316, Place: 65, Ceiling: 22, Capacity: 7, Refused: 2}
	if got, want := f.Sentence(market.Spot, 0), "412 offers, 96 of the model, 31 in the place, 24 with capacity, 2 under the ceiling, 0 accepted"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	f.Refused, f.Candidates = 0, 2
	if got, want := f.Sentence(market.Spot, 1), "412 offers, 96 of the model, 31 in the place, 24 with capacity, 2 under the ceiling, 1 accepted, 1 not asked"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := f.Sentence(market.OnDemand, 0); !strings.HasSuffix(got, "2 under the ceiling") {
		t.Error(got)
	}
}

// Whatever falls out is counted in a step, and what is left at the end are the candidates.
func TestTheStepsOfAFunnelEndInItsCandidates(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		for _, s := range Compute(in).Standings {
			steps := s.Funnel.Steps()
			if last := steps[len(steps)-1].Left; last != s.Funnel.Candidates {
				t.Fatalf("%+v end with %d of %+v", steps, last, s.Funnel)
			}
			for i := 1; i < len(steps); i++ {
				if steps[i].Left != steps[i-1].Left-steps[i].Out || steps[i].Out <= 0 {
					t.Fatalf("%+v", steps)
				}
			}
		}
	})
}

func TestACycleThatWasDecidedOtherwiseIsToldWithWhatDiffers(t *testing.T) {
	p := newPolicy("p", 1)
	p.Capacity = market.OnDemand
	in := newInput([]market.Host{newHost("a", 4, "0.20")}, p)
	r := Report{Cycle: 7, Input: in, Plan: Compute(in)}
	// What the daemon says beside the decision is no part of it.
	r.Plan.Holds = append(r.Plan.Holds, Hold{Reason: Reason{HoldLedger, "no space left"}}, Hold{Reason: Reason{HoldContract, "fields are gone"}})
	if got, err := r.Replay(); err != nil || !got.Same || got.Differences != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	r.Plan.Actions[0].Host = "b"
	r.Plan.Actions = append(r.Plan.Actions, Action{Kind: Delete, Machine: "m"})
	got, err := r.Replay()
	if err != nil || got.Same || len(got.Differences) < 2 || got.Differences[0] != `actions[0].host: "b" on record, "a" now` ||
		!strings.HasPrefix(got.Differences[1], `actions[1]: {"action":"delete"`) || !strings.HasSuffix(got.Differences[1], "on record, nothing now") {
		t.Errorf("%+v, %v", got, err)
	}
}
