package daemon

import (
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// failing names the checks that fail, with what is said of those that pass all the same.
func failing(all []Check) string {
	var out []string
	for _, c := range all {
		switch {
		case !c.OK:
			out = append(out, c.Name+": "+c.Reason)
		case c.Reason != "":
			out = append(out, "["+c.Name+"]")
		}
	}
	return strings.Join(out, "; ")
}

func TestEachCheckSaysWhyAndSinceWhen(t *testing.T) {
	r := newRig(t, one("live", 1))
	start := r.clock.Now()
	since := func(name string) time.Time {
		for _, c := range r.Checks() {
			if c.Name == name {
				return c.Since
			}
		}
		t.Fatal("no check ", name)
		return time.Time{}
	}
	if got := failing(r.Checks()); got != "first_cycle: no cycle has finished yet" || !since(CheckFirstCycle).Equal(start) {
		t.Errorf("before the first cycle: %q since %s", got, since(CheckFirstCycle))
	}
	r.clock.Set(start.Add(time.Minute))
	r.turn()
	if got := failing(r.Checks()); got != "" || since(CheckFirstCycle).Equal(start) || r.Ready() != nil {
		t.Errorf("after it: %q, %v", got, r.Ready())
	}
	r.market.instances = func() ([]market.Instance, error) {
		return nil, &market.Error{Op: "list machines", Class: market.ClassUnavailable, Detail: "no"}
	}
	r.clock.Set(start.Add(2 * time.Minute))
	r.turn()
	down := since(CheckLook)
	r.clock.Set(r.clock.Now().Add(time.Minute))
	r.turn()
	if got := failing(r.Checks()); !strings.HasPrefix(got, "look: the list of machines: ") || !since(CheckLook).Equal(down) || !down.After(start) {
		t.Errorf("a list that cannot be read: %q since %s, not %s", got, since(CheckLook), down)
	}
	r.market.instances = nil
	r.turn()
	r.reload.Successful, r.reload.Problem = false, "a slip"
	if got := failing(r.Checks()); got != "[config]" || r.Ready() != nil {
		t.Errorf("a file that cannot be used: %q, %v", got, r.Ready())
	}
}

func TestACycleIsOverdueWhenItIsLateByItsIntervalAndNeverByLessThanTenMinutes(t *testing.T) {
	for schedule, allowed := range map[string]time.Duration{"@every 1m": 11 * time.Minute, "@every 1h": 2 * time.Hour} {
		r := newRig(t, strings.Replace(one("live", 1), "mode: live,", "mode: live, schedule: \""+schedule+"\",", 1))
		r.turn()
		end := r.last.FinishedAt
		r.clock.Set(end.Add(allowed))
		if err := r.Ready(); err != nil {
			t.Errorf("%s: %v after %s", schedule, err, allowed)
		}
		r.clock.Set(end.Add(allowed + time.Second))
		if err := r.Ready(); err == nil || !strings.HasPrefix(err.Error(), "the cycle that was due at ") {
			t.Errorf("%s: %v after more than %s", schedule, err, allowed)
		}
		r.turn()
		if err := r.Ready(); err != nil {
			t.Errorf("%s: %v after another cycle", schedule, err)
		}
	}
}
