package campaign

import (
	"testing"

	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// What "explain --cycle" promises: every cycle on record, of a day with faults, is decided
// again to the byte, whatever the policies buy.
func TestEveryCycleOfADayOnRecordIsDecidedAgainTheSame(t *testing.T) {
	seen := map[string]int{}
	for seed := uint64(1); seed <= 2; seed++ {
		s := newSimulation(t, seed, 1, false)
		s.live()
		s.must(s.ledger.EachReport(0, func(r *plan.Report) error {
			seen["cycle"]++
			for _, p := range r.Input.Policies {
				seen[string(p.Kind)]++
			}
			if len(r.Input.Shadows) > 0 {
				seen["shadow"]++
			}
			again, err := r.Replay()
			if err == nil && !again.Same {
				t.Errorf("seed %d, cycle %d: %q", seed, r.Cycle, again.Differences)
			}
			return err
		}))
		s.close()
	}
	for _, kind := range []string{string(policy.VM), string(policy.Instant), string(policy.Container), "shadow"} {
		if seen[kind] < 50 {
			t.Errorf("only %d of the cycles had a policy of kind %s", seen[kind], kind)
		}
	}
	if seen["cycle"] < 400 {
		t.Errorf("only %d cycles were on record", seen["cycle"])
	}
	t.Log(seen)
}
