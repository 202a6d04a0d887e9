package plan

import (
	"slices"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

func answers(prices []Price) (out []string) {
	for _, p := range prices {
		out = append(out, p.Host+" "+string(p.Answer)+" "+p.Bid.String())
	}
	return out
}

func TestACycleTeachesOfAnswersOrdersAndMachines(t *testing.T) {
	p := newPolicy("p", 1)
	silent := accepted(p, "a", "0.10")
	silent.Answer = market.Silent
	order := func(host, bid string, state IntentState) Intent {
		return Intent{Kind: Deploy, Host: host, Model: rtx4090, Shape: p.Shape, Bid: usd(bid), State: state, AnswerAt: t0.Add(time.Minute)}
	}
	gave := order("e", "0.20", IntentRefused)
	gave.Kind = Delete
	got := Lessons(
		[]market.Verdict{refused(p, "a", "0.20"), accepted(p, "a", "0.25"), silent, refused(p, "b", "0.30")},
		[]Intent{order("b", "0.30", IntentRefused), order("c", "0.30", IntentRefused), order("d", "0.30", IntentConfirmed), order("d", "0.30", IntentFailed), gave},
		[]Event{
			{Kind: EventOutbid, At: t0.Add(time.Hour), Host: "f", Model: rtx4090, Bid: market.Some(usd("0.40"))},
			{Kind: EventReady, At: t0.Add(time.Hour), Host: "g", Model: rtx4090, Seconds: 90},
			{Kind: EventLost, At: t0.Add(time.Hour), Host: "h", Model: rtx4090},
			{Kind: EventDeleted, At: t0.Add(time.Hour), Host: "i", Model: rtx4090},
			{Kind: EventDeleted, At: t0.Add(time.Hour), Host: "j", Model: rtx4090, NeverRan: true},
			{Kind: EventOutbid, At: t0.Add(time.Hour)}, // of a machine whose host nobody knows
		},
	)
	want := []string{
		"a refused $0.2000/h", "a accepted $0.2500/h", "b refused $0.3000/h", // the order's refusal is the same answer
		"c failed $0.3000/h", "f outbid $0.4000/h", "g ready $0.0000/h", "h lost $0.0000/h", "j failed $0.0000/h",
	}
	slices.Sort(want)
	if g := answers(got); !slices.Equal(slices.Sorted(slices.Values(g)), want) {
		t.Errorf("%q, want %q", g, want)
	}
	if !slices.IsSortedFunc(got, func(a, b Price) int { return a.At.Compare(b.At) }) {
		t.Error("not in order of time")
	}
	if i := slices.IndexFunc(got, func(p Price) bool { return p.Answer == PriceReady }); got[i].Seconds != 90 {
		t.Errorf("%+v", got[i])
	}
}

func TestAnEventTellsOfItsMachineAndWhetherItEverRan(t *testing.T) {
	p := newPolicy("p", 1)
	in := newInput(nil, p)
	m := orderOf(newMachine(p, 1, "a", "0.20"))
	in.History.Machines = []Machine{m}
	in.Now = in.Now.Add(90 * time.Second)
	events := observed(&in, as(m, market.StatusRunning))
	i := slices.IndexFunc(events, func(e Event) bool { return e.Kind == EventReady })
	if i < 0 || events[i].Host != "a" || events[i].Model != rtx4090 || events[i].Shape != p.Shape || events[i].Bid.Or(0) != usd("0.20") || events[i].Seconds != 90 || events[i].NeverRan {
		t.Errorf("%+v", events)
	}
	in.History.Machines = []Machine{orderOf(newMachine(p, 2, "a", "0.20"))}
	for range 15 {
		in.Now = in.Now.Add(time.Minute)
		for _, e := range observed(&in, stranger()) {
			if e.Kind != EventExpired || !e.NeverRan {
				t.Errorf("%+v", e)
			}
		}
	}
}

func TestAQuoteIsAllInOnlyWithEveryPart(t *testing.T) {
	h := newHost("a", 4, "0.20")
	q := QuoteOf(&h, &h.GPUs[0], t0)
	// 0.044 for vCPUs and RAM, 0.005 for the disk.
	if got := q.AllIn(newPolicy("p", 1).Shape); got.Or(0) != usd("0.249") {
		t.Error(got)
	}
	later := q
	later.At = t0.Add(time.Hour)
	if !q.Same(later) {
		t.Error("only the time differs")
	}
	if later.Free++; q.Same(later) {
		t.Error("another GPU is free")
	}
	q.RAM = market.Maybe[market.Rate]{}
	if got := q.AllIn(newPolicy("p", 1).Shape); got.Known() {
		t.Error(got)
	}
}
