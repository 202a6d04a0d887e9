package plan

import (
	"strings"
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
)

func TestAListBetweenCyclesIsNewsWhereTheBooksSayOtherwise(t *testing.T) {
	const none = market.Status("")
	live := func(s market.Status) Machine { return Machine{Name: "a", ID: "1", Phase: PhaseLive, Status: s} }
	accepted := Machine{Name: "a", ID: "1", Phase: PhaseAccepted}
	unknown := Machine{Name: "a", Phase: PhaseUnknown}
	leaving, missed, second := live(market.StatusOutbid), live(market.StatusRunning), live(market.StatusRunning)
	leaving.Leaving = &PendingDelete{}
	missed.Missed = 1
	second.API = market.V2
	for _, c := range []struct {
		name string
		m    Machine
		is   market.Status
		want string
	}{
		{"it runs on", live(market.StatusRunning), market.StatusRunning, ""},
		{"outbid", live(market.StatusRunning), market.StatusOutbid, "is outbid"},
		{"stopped", live(market.StatusRunning), market.StatusStopped, "is stopped"},
		{"ended", live(market.StatusRunning), market.StatusTerminated, "is not listed any more"},
		{"left out", live(market.StatusRunning), none, "is not listed any more"},
		{"left out, as a cycle has seen", missed, none, ""},
		{"ended, as a cycle has seen and not believed", missed, market.StatusTerminated, ""},
		{"an unknown state", live(market.StatusRunning), market.StatusUnknown, ""},
		{"an order that is not listed yet", accepted, none, ""},
		{"an order that boots", accepted, market.StatusStarting, ""},
		{"an order that runs", accepted, market.StatusRunning, "runs"},
		{"an order that has ended", accepted, market.StatusTerminated, "is not listed any more"},
		{"an order that was outbid", accepted, market.StatusOutbid, "is outbid"},
		{"an order without an answer runs", unknown, market.StatusRunning, "runs"},
		{"an order without an answer", unknown, none, ""},
		{"a boot is over", live(market.StatusStarting), market.StatusRunning, "runs"},
		{"won back", live(market.StatusOutbid), market.StatusRunning, "runs"},
		{"still outbid", live(market.StatusOutbid), market.StatusOutbid, ""},
		{"leaving, still there", leaving, market.StatusRunning, ""},
		{"leaving, and gone", leaving, none, "is gone"},
		{"of the other API", second, none, ""},
	} {
		list := []market.Instance{{ID: "9", Name: "another", Status: market.StatusRunning}}
		if c.is != none {
			list = append(list, market.Instance{ID: "1", Name: "a", Status: c.is})
		}
		h := History{Machines: []Machine{c.m}}
		if got := strings.TrimPrefix(strings.Join(News(&h, list), ", "), "a "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if got := News(&History{Machines: []Machine{leaving}}, nil); len(got) != 0 {
		t.Errorf("an empty list says that %q", got)
	}
	if got := News(&History{Machines: []Machine{live(market.StatusRunning)}}, nil); len(got) != 1 {
		t.Error("an empty list is no news of a machine that runs")
	}
}

// Looks that news has called may follow upon each other within seconds: what is
// believed after so many looks, without regard to time, waits for those on time.
func TestEarlyLooksCountForNothingThatLooksAloneProve(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := newMachine(p, 1, "a", "0.30")
	in.History.Machines = []Machine{m}
	dear := shown(m)
	dear.Total, dear.Compute = market.Some(usd("2")), market.Some(usd("1.97"))
	for range 5 {
		l := look(in)
		l.Early = true
		l.Snapshot.Instances = market.Section[[]market.Instance]{Value: []market.Instance{dear}, At: in.Now, Complete: true}
		l.Snapshot.Balance = market.Section[market.Balance]{Value: market.Balance{Balance: market.Some(dollars(100)), Hourly: market.Some(usd("9"))}, At: in.Now, Complete: true}
		Observe(&in.History, l)
		in.Now = in.Now.Add(10e9)
	}
	gap, ok := in.History.Gap.Get()
	if !ok || gap.Looks > 0 || in.History.Machines[0].Dear != 1 {
		t.Errorf("after five early looks: %+v, %+v", gap, in.History.Machines[0])
	}
}
