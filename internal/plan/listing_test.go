package plan

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tdscaler/tdscaler/internal/market"
)

// counts is a funnel by the codes of its steps.
func (f Funnel) counts() map[string]int {
	return map[string]int{
		OfferModel: f.Model, OfferPlace: f.Place, OfferOffline: f.Offline, OfferUptime: f.Uptime, OfferCapacity: f.Capacity, OfferSpread: f.Spread, OfferShape: f.Shape,
		OfferNoPrice: f.NoPrice, OfferCeiling: f.Ceiling, OfferBackoff: f.Backoff, OfferFickle: f.Fickle, OfferRefused: f.Refused, OfferSibling: f.Sibling, OfferIn: f.Candidates,
	}
}

// What is listed is what the planner chooses from, with the same reasons.
func TestAListingSaysOfEveryOfferWhatTheFunnelCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := drawInput(t)
		if len(in.Policies) == 0 {
			return
		}
		p := in.Policies[0]
		alone := in
		alone.Policies = in.Policies[:1]
		w := newWorld(&alone)
		d := &w.desks[0]
		d.buying = market.OnDemand
		if p.Buys(market.Spot) {
			d.buying = market.Spot
		}
		w.candidates(d, nil)
		got := map[string]int{}
		list := List(in, p)
		for i, l := range list {
			got[l.Reason.Code]++
			if l.In != (l.Reason.Code == OfferIn) || l.Reason.Text == "" || !slices.Contains(OfferCodes(), l.Reason.Code) {
				t.Fatalf("%+v", l)
			}
			if i > 0 && l.In && !list[i-1].In {
				t.Fatal("an offer that is in comes after one that is out")
			}
			if l.In && l.Price.Or(market.MaxRate) > p.Ceiling() {
				t.Fatalf("in above the ceiling: %+v", l)
			}
		}
		for code, n := range d.st.Funnel.counts() {
			if got[code] != n {
				t.Fatalf("%d offers are %s, the funnel has %d", got[code], code, n)
			}
		}
		if a, b := asJSON(t, list), asJSON(t, List(shuffled(in, 1), p)); a != b {
			t.Fatalf("the order of the lists changes the listing:\n%s\n%s", a, b)
		}
	})
}

func TestAListingSaysWhyInWords(t *testing.T) {
	p := newPolicy("p", 1)
	p.Match.MinUptime, p.Match.Countries, p.Match.GPUModels = 0.9, []string{"NO"}, []string{"*4090*"}
	change := func(id string, f func(*market.Host)) market.Host {
		h := newHost(id, 4, "0.20")
		f(&h)
		return h
	}
	in := newInput([]market.Host{
		newHost("a-in", 4, "0.20"), newHost("b-wins", 4, "0.10"), newHost("c-dear", 4, "2.00"), newHost("d-full", 0, "0.20"),
		change("e-away", func(h *market.Host) { h.Location.Country = "France" }),
		change("f-off", func(h *market.Host) { h.Online = false }),
		change("g-flaky", func(h *market.Host) { h.Uptime = market.Some(0.5) }),
		change("h-small", func(h *market.Host) { h.RAM.Free = market.Some(8) }),
		change("i-unpriced", func(h *market.Host) { h.CPU.Price = market.Maybe[market.Rate]{} }),
		change("j-other", func(h *market.Host) { h.GPUs[0].Model = "a100-pcie-80gb" }),
		newHost("k-failed", 4, "0.20"), newHost("l-struck", 4, "0.20"), newHost("m-ports", 4, "0.20"),
	}, p)
	in.Snapshot.Hosts.Value[12].Ports = market.Some([]int{})
	in.Verdicts = []market.Verdict{accepted(p, "b-wins", "0.08")}
	in.History.Backoffs = []Backoff{{Host: "k-failed", Model: rtx4090, GPUs: 1, Bid: market.MaxRate, Until: t0.Add(time.Hour), Reason: "no GPU"}}
	in.History.Hosts = []HostRecord{{Host: "l-struck", Model: rtx4090, At: t0, Strikes: 3, Quarantine: t0.Add(time.Hour)}}
	var got []string
	for _, l := range List(in, p) {
		got = append(got, l.Host+" "+l.Reason.Code+": "+l.Reason.Text)
	}
	want := []string{
		"b-wins in: 4 machines would fit; a bid of $0.0800/h wins",
		"a-in in: 4 machines would fit; a bid of $0.1300/h would be asked about next",
		"d-full in: its GPUs are shown as taken; a bid of $0.1300/h would be asked about next",
		"e-away place: the policy wants another place or host",
		"f-off offline: the host is offline",
		"g-flaky uptime: its uptime is 0.5, min_uptime is 0.9",
		"h-small shape: 8 GB of RAM are free, a machine needs 16",
		"j-other model: the policy wants another GPU model or more memory",
		"k-failed backoff: no GPU: left alone until 2026-03-10T13:00:00Z",
		"l-struck backoff: 3 failures in a row: left alone until 2026-03-10T13:00:00Z",
		"m-ports shape: 0 ports are free, a machine needs 1",
		"c-dear ceiling: $2.0490/h a GPU on demand: too dear for a ceiling of $0.4000/h",
		"i-unpriced no_price: a price is missing",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
