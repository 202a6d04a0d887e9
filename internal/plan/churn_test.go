package plan

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// replaced are voluntary replacements so many minutes ago, of whichever policy.
func replaced(minutes ...int) (out []Scaled) {
	for i, m := range minutes {
		out = append(out, Scaled{fmt.Sprintf("p%d", i%2), t0.Add(-time.Duration(m) * time.Minute)})
	}
	return out
}

func TestVoluntaryReplacementsHaveABudgetOfTheHour(t *testing.T) {
	returns := func() Input { // two run on demand, and spot is to be had
		p := both(2)
		in := newInput([]market.Host{newHost("a", 8, "0.40")}, p)
		in.HourlyCap = usd("9")
		in.History.Machines = []Machine{demanded(p, 1), demanded(p, 2)}
		return in
	}
	moves := func() Input {
		_, in := mover()
		return in
	}
	swaps := func() Input { // the same, and the caps have no room for both
		in := returns()
		in.HourlyCap = usd("1.00")
		return in
	}
	losses := func() Input { // nothing runs
		in := returns()
		in.History.Machines = nil
		return in
	}
	half := func() Input { // one is lost, one runs on demand
		in := returns()
		in.History.Machines = in.History.Machines[:1]
		return in
	}
	ready := func() Input { // spot runs for both
		in := returns()
		p := in.Policies[0]
		in.History.Machines = append(in.History.Machines, onSpot(p, 3), onSpot(p, 4))
		return in
	}
	for name, c := range map[string]struct {
		in        Input
		most      int
		ago       []int
		actions   int
		voluntary int
		held      bool
	}{
		"two return to spot":                 {returns(), 2, nil, 2, 2, false},
		"the budget is for one":              {returns(), 1, nil, 1, 1, true},
		"none is allowed":                    {returns(), 0, nil, 0, 0, true},
		"others used it up":                  {returns(), 2, []int{10, 59}, 0, 0, true},
		"an hour ago is long ago":            {returns(), 2, []int{60, 61}, 2, 2, false},
		"a move counts":                      {moves(), 1, nil, 1, 1, false},
		"a move is held":                     {moves(), 1, []int{5}, 0, 0, true},
		"on-demand makes room":               {swaps(), 1, nil, 1, 1, false},
		"on-demand makes no room":            {swaps(), 1, []int{5}, 0, 0, true},
		"a loss is repaired at any rate":     {losses(), 0, []int{1, 2, 3}, 2, 0, false},
		"of two, one is a repair":            {half(), 0, nil, 1, 0, true},
		"of two, one is a repair, one extra": {half(), 1, nil, 2, 1, false},
		"what spot has replaced goes":        {ready(), 0, []int{1}, 2, 0, false},
	} {
		c.in.Limits.MaxChurn, c.in.History.Churn = market.Some(c.most), replaced(c.ago...)
		_, got := converse(c.in, always)
		voluntary, held := 0, false
		for _, a := range got.Actions {
			if a.Voluntary {
				voluntary++
			}
		}
		for _, h := range got.Holds {
			held = held || h.Reason.Code == HoldChurn
		}
		if len(got.Actions) != c.actions || voluntary != c.voluntary || held != c.held {
			t.Errorf("%s: %d actions, %d of them voluntary, held: %v; want %d, %d, %v\n%+v\n%+v",
				name, len(got.Actions), voluntary, held, c.actions, c.voluntary, c.held, got.Actions, got.Holds)
		}
	}
}

func TestAReplacementIsBookedWhenItMayHaveHappenedAndForgottenAfterAnHour(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(h *History, in *Intent)
		want int
	}{
		"accepted": {func(h *History, in *Intent) { Accept(h, in, market.Deployed{ID: "x"}, t0) }, 1},
		"lost":     {func(h *History, in *Intent) { Lose(h, in, "no answer", t0) }, 1},
		"refused":  {func(h *History, in *Intent) { Refuse(h, testSafety(), in, market.ClassBidRefused, "no", t0) }, 0},
	} {
		_, in := mover()
		_, got := converse(in, always)
		h := in.History
		begun, err := Begin(&h, got.Actions[0], Caps{Hourly: usd("9")}, 1, 1, nameOf("p", 9), t0)
		if err != nil {
			t.Fatal(err)
		}
		if c.end(&h, &begun); len(h.Churn) != c.want {
			t.Errorf("%s: %v is booked", name, h.Churn)
		}
		Observe(&h, Look{Now: t0.Add(time.Hour), Snapshot: in.Snapshot})
		if len(h.Churn) != 0 {
			t.Errorf("%s: an hour later %v is left", name, h.Churn)
		}
	}
}

func TestNoPlanReplacesMoreThanTheHourLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var ps []policy.Policy
		var all []Machine
		for i := range rapid.IntRange(1, 3).Draw(t, "policies") {
			p := both(rapid.IntRange(1, 4).Draw(t, "target"))
			p.Name = fmt.Sprintf("p%d", i)
			for j := range rapid.IntRange(0, p.Target).Draw(t, "running") {
				all = append(all, demanded(p, 1+10*i+j))
			}
			ps = append(ps, p)
		}
		in := newInput([]market.Host{newHost("a", 8, "0.40"), newHost("b", 8, "0.45")}, ps...)
		in.HourlyCap, in.History.Machines = usd("9"), all
		most := rapid.IntRange(0, 6).Draw(t, "most")
		ago := rapid.SliceOfN(rapid.IntRange(0, 90), 0, 6).Draw(t, "ago")
		in.Limits.MaxChurn, in.History.Churn = market.Some(most), replaced(ago...)
		left := most
		for _, m := range ago {
			if m < 60 {
				left--
			}
		}
		_, got := converse(in, always)
		n := 0
		for _, a := range got.Actions {
			if a.Voluntary {
				n++
			}
		}
		if n > max(left, 0) {
			t.Fatalf("%d replaced, %d were left", n, left)
		}
	})
}
