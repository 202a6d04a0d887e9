package scanner

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

func scanFor(f *fake, e Expected) market.Snapshot {
	e.Owner = "main"
	return New(f, clock.NewVirtual(noon), nil).Scan(context.Background(), e)
}

func lists(list ...market.Instance) func() ([]market.Instance, error) {
	return func() ([]market.Instance, error) { return list, nil }
}

func item(id, name string) market.Instance {
	return market.Instance{ID: id, Name: name, API: market.V2, Status: market.StatusRunning}
}

const order = "tds-main-train-abcd2345"

func TestV2IsAskedOnlyWhereItMayTellWhatV0DoesNot(t *testing.T) {
	for name, c := range map[string]struct {
		e    Expected
		v0   []market.Instance
		want int
	}{
		"nothing is expected":                {want: 0},
		"all that is known is listed":        {e: Expected{Known: []string{"a"}}, v0: []market.Instance{{ID: "a"}}, want: 0},
		"a known machine is missing":         {e: Expected{Known: []string{"a"}}, want: 0},
		"machines may be bought through v2":  {e: Expected{V2: true}, want: 1},
		"an order that v0 lists":             {e: Expected{Ordered: []string{order}}, v0: []market.Instance{{ID: "a", Name: order}}, want: 0},
		"an order that v0 leaves out":        {e: Expected{Ordered: []string{order}}, want: 1},
		"several orders that v0 leaves out":  {e: Expected{Ordered: []string{order, order + "x"}}, want: 1},
		"a machine that only v2 has shown":   {e: Expected{Known: []string{"b"}, Second: []string{"b"}}, want: 1},
		"one of those that was asked to go":  {e: Expected{Leaving: []string{"b"}, Second: []string{"b"}}, want: 1},
		"an order beside a machine of v2's":  {e: Expected{Known: []string{"b"}, Second: []string{"b"}, Ordered: []string{order}}, want: 1},
		"a deletion that v0 must confirm":    {e: Expected{Leaving: []string{"a"}}, want: 0},
		"a machine of v2's that v0 shows it": {e: Expected{Known: []string{"b"}, Second: []string{"b"}}, v0: []market.Instance{{ID: "b"}}, want: 1},
	} {
		f := &fake{instances: lists(c.v0...)}
		no := func(string) (market.Instance, error) { return market.Instance{}, failed(market.ClassNotFound) }
		f.instance, f.one = no, no
		s := scanFor(f, c.e)
		if f.lists2 != c.want || s.V2.At.IsZero() != (c.want == 0) || s.V2.Complete != (c.want == 1) {
			t.Errorf("%s: asked %d times, %+v", name, f.lists2, s.V2)
		}
	}
	f := &fake{instances: func() ([]market.Instance, error) { return nil, failed(market.ClassUnavailable) }}
	if scanFor(f, Expected{Ordered: []string{order}}); f.lists2 != 0 {
		t.Error("v2 was asked although v0's list failed, so that nothing is decided")
	}
}

func TestWhatOnlyV2ShowsJoinsTheListOnce(t *testing.T) {
	foreign, other := "somebody's", "tds-main2-train-abcd2345"
	f := &fake{
		instances: lists(market.Instance{ID: "both", Name: "tds-main-train-both2345", API: market.V0, Host: "h"}),
		second: lists(item("both", "tds-main-train-both2345"), item("lost", order), item("foreign", foreign), item("other", other),
			item("known", "renamed by hand"), item("leaving", "tds-main-train-left2345"), item("ghost", "tds-main-train-ghost234"),
			market.Instance{ID: "ended", Name: "tds-main-train-ended234", Status: market.StatusTerminated}),
		instance: func(string) (market.Instance, error) { return market.Instance{}, failed(market.ClassNotFound) },
		one: func(id string) (market.Instance, error) {
			switch id {
			case "lost":
				return market.Instance{ID: id, Status: market.StatusStarting, Shape: market.Shape{GPUs: 2}}, nil
			}
			return market.Instance{}, failed(market.ClassNotFound)
		},
	}
	s := scanFor(f, Expected{Known: []string{"both", "known"}, Leaving: []string{"leaving"}, Ordered: []string{order}})
	var got []string
	for _, i := range s.Instances.Value {
		got = append(got, fmt.Sprint(i.ID, " ", i.API, " ", i.Name, " ", i.Shape.GPUs))
	}
	want := []string{"both v0 tds-main-train-both2345 0", "known v2 renamed by hand 0", "lost v2 " + order + " 2"}
	if !slices.Equal(got, want) {
		t.Errorf("merged to %q", got)
	}
	if !s.V2.Complete || len(s.V2.Value) != 8 || !slices.IsSorted(s.V2.Value) {
		t.Errorf("v2's list: %+v", s.V2)
	}
	if slices.Contains(s.Gone, "known") || !slices.Contains(s.Gone, "leaving") {
		t.Errorf("gone: %v", s.Gone)
	}
	if !slices.Equal(f.asked2, []string{"lost", "known", "ghost"}) {
		t.Errorf("asked v2 for %v", f.asked2)
	}
}

func TestDetailsAreAskedForOnceAndWhenTheStatusHasChanged(t *testing.T) {
	for name, c := range map[string]struct {
		told map[string]market.Status
		want int
	}{
		"never told":                {nil, 1},
		"told":                      {map[string]market.Status{"b": market.StatusRunning}, 0},
		"told under another status": {map[string]market.Status{"b": market.StatusStarting}, 1},
	} {
		f := &fake{second: lists(item("b", order)), one: func(id string) (market.Instance, error) {
			return market.Instance{ID: id, Status: market.StatusRunning, IP: "192.0.2.1", Total: market.Some(market.USD(0, 40))}, nil
		}}
		s := scanFor(f, Expected{Known: []string{"b"}, Second: []string{"b"}, Told: c.told})
		if len(f.asked2) != c.want || len(s.Instances.Value) != 1 || (s.Instances.Value[0].IP != "") != (c.want == 1) {
			t.Errorf("%s: asked for %v, %+v", name, f.asked2, s.Instances.Value)
		}
	}
}

func TestAMachineThatV2ListsWithoutDetailsIsTakenAsItIs(t *testing.T) {
	f := &fake{second: lists(item("lost", order)), one: func(string) (market.Instance, error) {
		return market.Instance{}, failed(market.ClassUnavailable)
	}}
	s := scanFor(f, Expected{Ordered: []string{order}})
	if len(s.Instances.Value) != 1 || s.Instances.Value[0].Name != order || s.Instances.Value[0].API != market.V2 {
		t.Errorf("%+v", s.Instances.Value)
	}
}

func TestAFailureOfV2IsItsOwn(t *testing.T) {
	f := &fake{second: func() ([]market.Instance, error) { return nil, failed(market.ClassUnauthorized) }}
	s := scanFor(f, Expected{Ordered: []string{order}})
	if !s.Instances.Complete || s.V2.Complete || s.V2.Class != market.ClassUnauthorized || s.V2.Problem == "" {
		t.Errorf("v0 complete %v, v2 %+v", s.Instances.Complete, s.V2)
	}
}

func TestAListOfV2WithHolesIsJudgedByAskingForWhatIsMissing(t *testing.T) {
	for name, c := range map[string]struct {
		inst           market.Instance
		err            error
		complete, gone bool
	}{
		"shown when asked for": {inst: market.Instance{Status: market.StatusRunning}},
		"an unknown word":      {inst: market.Instance{Status: market.StatusUnknown}},
		"terminated":           {inst: market.Instance{Status: market.StatusTerminated}, complete: true, gone: true},
		"not found":            {err: failed(market.ClassNotFound), complete: true, gone: true},
		"no answer":            {err: failed(market.ClassUnavailable)},
		"refused":              {err: failed(market.ClassRefused)},
	} {
		f := &fake{one: func(string) (market.Instance, error) { return c.inst, c.err }}
		s := scanFor(f, Expected{Known: []string{"b"}, Second: []string{"b"}})
		if !s.Instances.Complete || s.V2.Complete != c.complete || slices.Contains(s.Gone, "b") != c.gone {
			t.Errorf("%s: v2 complete %v, gone %v, v0 %q", name, s.V2.Complete, s.Gone, s.Instances.Problem)
		}
		if len(f.asked) != 0 {
			t.Errorf("%s: v0 was asked for what only v2 knows", name)
		}
	}
}

func TestV2sLocationsAreReadEveryFiveMinutesAndOnlyWhereTheyAreWanted(t *testing.T) {
	f, c := &fake{}, clock.NewVirtual(noon)
	e := Expected{Owner: "main"}
	if s := New(f, c, nil).Scan(t.Context(), e); f.sites != 0 || !s.Sites.At.IsZero() {
		t.Fatalf("asked %d times: %+v", f.sites, s.Sites)
	}
	e.V2 = true
	for i, want := range []int{1, 1, 1, 1, 1, 2, 2} {
		s := New(f, c, nil).Scan(t.Context(), e)
		if e.Sites = s.Sites; f.sites != want || !s.Sites.Complete || s.Sites.Value[0].Location.ID != fmt.Sprint("site ", want) {
			t.Errorf("minute %d: asked %d times: %+v", i, f.sites, s.Sites)
		}
		if err := c.Sleep(t.Context(), time.Minute); err != nil {
			t.Fatal(err)
		}
	}
}
