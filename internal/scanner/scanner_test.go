package scanner

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

// fake is a market of funcs; what is not set answers nothing, well.
type fake struct {
	hosts     func() ([]market.Host, error)
	instances func() ([]market.Instance, error)
	instance  func(id string) (market.Instance, error)
	balance   func() (market.Balance, error)
	second    func() ([]market.Instance, error)
	instants  func() ([]market.Instant, error)
	sites     int
	one       func(id string) (market.Instance, error)
	lists2    int
	asked2    []string
	asked     []string
}

func (f *fake) Hosts(context.Context) ([]market.Host, error) {
	if f.hosts == nil {
		return nil, nil
	}
	return f.hosts()
}

func (f *fake) Instances(context.Context) ([]market.Instance, error) {
	if f.instances == nil {
		return nil, nil
	}
	return f.instances()
}

func (f *fake) Instance(_ context.Context, id string) (market.Instance, error) {
	f.asked = append(f.asked, id)
	return f.instance(id)
}

func (f *fake) Instants(context.Context) ([]market.Instant, error) {
	if f.instants == nil {
		return nil, errors.New("not to be asked")
	}
	return f.instants()
}

func (f *fake) Locations(context.Context) ([]market.Site, error) {
	f.sites++
	return []market.Site{{Location: market.Location{ID: fmt.Sprint("site ", f.sites)}}}, nil
}

func (f *fake) InstancesV2(context.Context) ([]market.Instance, error) {
	f.lists2++
	if f.second == nil {
		return nil, nil
	}
	return f.second()
}

func (f *fake) InstanceV2(_ context.Context, id string) (market.Instance, error) {
	f.asked2 = append(f.asked2, id)
	return f.one(id)
}

func (f *fake) Balance(context.Context) (market.Balance, error) {
	if f.balance == nil {
		return market.Balance{}, nil
	}
	return f.balance()
}

var noon = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

func scan(f *fake, known ...string) market.Snapshot {
	return New(f, clock.NewVirtual(noon), nil).Scan(context.Background(), Expected{Owner: "main", Known: known})
}

func failed(class market.Class) error {
	return &market.Error{Op: "ask", Class: class, Detail: "broken"}
}

func TestEachSectionIsCompleteOrNotByItself(t *testing.T) {
	broken := failed(market.ClassUnavailable)
	for i := range 8 {
		f := &fake{}
		if i&1 != 0 {
			f.instances = func() ([]market.Instance, error) { return []market.Instance{{ID: "half"}}, broken }
		}
		if i&2 != 0 {
			f.hosts = func() ([]market.Host, error) { return []market.Host{{ID: "half"}}, broken }
		}
		if i&4 != 0 {
			f.balance = func() (market.Balance, error) { return market.Balance{Balance: market.Some(market.Amount(5))}, broken }
		}
		s := scan(f)
		if got := [3]bool{s.Instances.Complete, s.Hosts.Complete, s.Balance.Complete}; got != [3]bool{i&1 == 0, i&2 == 0, i&4 == 0} {
			t.Errorf("%03b: complete %v", i, got)
		}
		if len(s.Instances.Value)+len(s.Hosts.Value) > 0 || s.Balance.Value.Balance.Known() {
			t.Errorf("%03b: a failed section has a value: %+v", i, s)
		}
		if i&1 != 0 && (s.Instances.Class != market.ClassUnavailable || !strings.Contains(s.Instances.Problem, "broken")) {
			t.Errorf("the failure is not told: %+v", s.Instances)
		}
		if !s.Instances.At.Equal(noon) || !s.Hosts.At.Equal(noon) || !s.Balance.At.Equal(noon) {
			t.Errorf("%03b: a section does not say when: %+v", i, s)
		}
	}
}

func TestListsAreSortedWhateverTheirOrder(t *testing.T) {
	f := &fake{
		instances: func() ([]market.Instance, error) { return []market.Instance{{ID: "c"}, {ID: "a"}, {ID: "b"}}, nil },
		hosts:     func() ([]market.Host, error) { return []market.Host{{ID: "2"}, {ID: "1"}}, nil },
	}
	s := scan(f)
	if s.Instances.Value[0].ID != "a" || s.Instances.Value[2].ID != "c" || s.Hosts.Value[0].ID != "1" {
		t.Errorf("not sorted: %+v", s)
	}
}

func TestAListWithHolesIsJudgedByAskingForWhatIsMissing(t *testing.T) {
	show := func(s market.Status) func(string) (market.Instance, error) {
		return func(id string) (market.Instance, error) { return market.Instance{ID: id, Status: s}, nil }
	}
	refuse := func(c market.Class) func(string) (market.Instance, error) {
		return func(string) (market.Instance, error) { return market.Instance{}, failed(c) }
	}
	onlyListed := func(c market.Class) func(string) (market.Instance, error) {
		return func(id string) (market.Instance, error) {
			if id == "there" {
				return market.Instance{ID: id, Status: market.StatusRunning}, nil
			}
			return market.Instance{}, failed(c)
		}
	}
	for name, c := range map[string]struct {
		list     []string
		answer   func(string) (market.Instance, error)
		complete bool
		gone     bool
	}{
		"shown as running":                {[]string{"there"}, show(market.StatusRunning), false, false},
		"shown as outbid":                 {[]string{"there"}, show(market.StatusOutbid), false, false},
		"shown, and the list is empty":    {nil, show(market.StatusRunning), false, false},
		"shown as terminated":             {[]string{"there"}, show(market.StatusTerminated), true, true},
		"shown with a word nobody knows":  {[]string{"there"}, show(market.StatusUnknown), false, false},
		"not found":                       {[]string{"there"}, refuse(market.ClassNotFound), true, true},
		"refused":                         {[]string{"there"}, refuse(market.ClassRefused), true, false},
		"no answer, nor for a listed one": {[]string{"there"}, refuse(market.ClassUnavailable), false, false},
		"no answer for this one alone":    {[]string{"there"}, onlyListed(market.ClassUnavailable), true, false},
		"garbage for this one alone":      {[]string{"there"}, onlyListed(market.ClassShapeChanged), true, false},
		"too many requests":               {[]string{"there"}, onlyListed(market.ClassRateLimited), false, false},
		"credentials refused":             {nil, refuse(market.ClassUnauthorized), false, false},
		"no answer, and nothing listed":   {nil, refuse(market.ClassUnavailable), true, false},
	} {
		f := &fake{balance: charged(0, nil), instance: c.answer, instances: func() (list []market.Instance, err error) {
			for _, id := range c.list {
				list = append(list, market.Instance{ID: id})
			}
			return list, nil
		}}
		s := scan(f, "missing")
		if s.Instances.Complete != c.complete {
			t.Errorf("%s: complete is %v (%s)", name, s.Instances.Complete, s.Instances.Problem)
		}
		if gone := slices.Contains(s.Gone, "missing"); gone != c.gone {
			t.Errorf("%s: known to be gone: %v", name, gone)
		}
		if !c.complete && (len(s.Instances.Value) != 0 || !strings.Contains(s.Instances.Problem, "missing")) {
			t.Errorf("%s: %+v", name, s.Instances)
		}
	}
}

func charged(hourly market.Rate, err error) func() (market.Balance, error) {
	return func() (market.Balance, error) { return market.Balance{Hourly: market.Some(hourly)}, err }
}

func TestAnEmptyListIsNotBelievedWhileTheAccountIsChargedAndNobodyAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		balance  func() (market.Balance, error)
		complete bool
	}{
		"charged":          {charged(market.USD(0, 50), nil), false},
		"not charged":      {charged(0, nil), true},
		"it does not tell": {func() (market.Balance, error) { return market.Balance{}, nil }, false},
		"it fails, too":    {charged(0, failed(market.ClassUnavailable)), false},
	} {
		f := &fake{balance: c.balance, instance: func(string) (market.Instance, error) {
			return market.Instance{}, failed(market.ClassUnavailable)
		}}
		if s := scan(f, "missing"); s.Instances.Complete != c.complete {
			t.Errorf("%s: complete is %v", name, s.Instances.Complete)
		}
	}
}

func TestNothingIsAskedWhereTheListShowsAllOrFailed(t *testing.T) {
	f := &fake{
		instances: func() ([]market.Instance, error) { return []market.Instance{{ID: "a"}, {ID: "b"}}, nil },
		instance:  func(string) (market.Instance, error) { return market.Instance{}, errors.New("not to be asked") },
	}
	scan(f, "a", "b")
	f.instances = func() ([]market.Instance, error) { return nil, failed(market.ClassUnavailable) }
	scan(f, "a", "b")
	if len(f.asked) != 0 {
		t.Errorf("asked for %v", f.asked)
	}
}

func TestADeletedMachineIsGoneOnceTheMarketSaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		inst market.Instance
		err  error
		gone bool
	}{
		"not found":       {err: failed(market.ClassNotFound), gone: true},
		"terminated":      {inst: market.Instance{Status: market.StatusTerminated}, gone: true},
		"still running":   {inst: market.Instance{Status: market.StatusRunning}},
		"an unknown word": {inst: market.Instance{Status: market.StatusUnknown}},
		"no answer":       {err: failed(market.ClassUnavailable)},
	} {
		f := &fake{instance: func(string) (market.Instance, error) { return c.inst, c.err }}
		s := New(f, clock.NewVirtual(noon), nil).Scan(context.Background(), Expected{Leaving: []string{"left"}})
		if !s.Instances.Complete || slices.Contains(s.Gone, "left") != c.gone {
			t.Errorf("%s: complete %v, gone %v", name, s.Instances.Complete, s.Gone)
		}
	}
}

func TestAtMostTenMachinesAreAskedForInOneScan(t *testing.T) {
	var known []string
	for i := range 50 {
		known = append(known, fmt.Sprintf("m%02d", 49-i))
	}
	f := &fake{instance: func(string) (market.Instance, error) { return market.Instance{}, failed(market.ClassNotFound) }}
	if s := scan(f, known...); !s.Instances.Complete {
		t.Errorf("not complete: %s", s.Instances.Problem)
	}
	if len(f.asked) != maxLookups || !slices.IsSorted(f.asked) {
		t.Errorf("asked for %v", f.asked)
	}
	f.asked = nil
	f.instance = func(id string) (market.Instance, error) {
		return market.Instance{ID: id, Status: market.StatusRunning}, nil
	}
	if scan(f, known...); len(f.asked) != 1 {
		t.Errorf("one machine that is there is proof enough, asked for %v", f.asked)
	}
}
