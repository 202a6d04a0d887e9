package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// What a Price can tell besides market.Accepted and market.Refused.
const (
	PriceOutbid market.Answer = "outbid" // a machine of ours fell out at this bid
	PriceReady  market.Answer = "ready"  // a machine ran for the first time, Seconds after its order
	PriceLost   market.Answer = "lost"   // a machine went without our doing
	PriceFailed market.Answer = "failed" // an order that was refused for another reason than its bid, or never ran
)

// PriceAnswers lists every answer of a Price. The order is part of the ledger's
// format: new ones go to the end.
func PriceAnswers() []market.Answer {
	return []market.Answer{market.Accepted, market.Refused, PriceOutbid, PriceReady, PriceLost, PriceFailed}
}

// Price is what one question, order or machine taught us about a host.
type Price struct {
	At    time.Time       `json:"at"`
	Host  string          `json:"host"`
	Model market.GPUModel `json:"gpu_model"`
	market.Shape
	Bid    market.Rate   `json:"bid_usd_hour"` // whole machine, compute only; 0 on demand
	Answer market.Answer `json:"answer"`
	// Seconds is how long the machine took to run; only of PriceReady.
	Seconds int64 `json:"seconds,omitempty"`
}

// Quote is what one GPU model on one host was offered at, from At until the next.
type Quote struct {
	At time.Time `json:"at"`
	// The prices of one GPU, vCPU, GB of RAM and GB of storage.
	GPU     market.Maybe[market.Rate] `json:"gpu_usd_hour,omitzero"`
	VCPU    market.Maybe[market.Rate] `json:"vcpu_usd_hour,omitzero"`
	RAM     market.Maybe[market.Rate] `json:"ram_usd_hour,omitzero"`
	Storage market.Maybe[market.Rate] `json:"storage_usd_hour,omitzero"`
	Free    int                       `json:"free_gpus"`
	// Open: online, listed and not reserved. One that is not may be gone.
	Open bool `json:"open"`
}

// QuoteOf is what a host asks for a model of it at a moment.
func QuoteOf(h *market.Host, g *market.HostGPU, at time.Time) Quote {
	return Quote{
		At: at, GPU: g.Price, VCPU: h.CPU.Price, RAM: h.RAM.Price, Storage: h.Storage.Price, Free: max(g.Free, 0),
		Open: h.Online && h.Listed && !h.Reserved,
	}
}

// Same says whether nothing but the time differs.
func (q Quote) Same(o Quote) bool {
	q.At = o.At
	return q == o
}

// AllIn is what a machine of a shape costs on demand, storage included.
func (q Quote) AllIn(s market.Shape) market.Maybe[market.Rate] {
	var sum market.Rate
	for _, part := range []struct {
		price market.Maybe[market.Rate]
		n     int
	}{{q.GPU, s.GPUs}, {q.VCPU, s.VCPUs}, {q.RAM, s.RAM}, {q.Storage, s.Storage}} {
		r, ok := part.price.Get()
		if !ok {
			return market.Maybe[market.Rate]{}
		}
		sum = sum.Add(r.Mul(part.n))
	}
	return market.Some(sum)
}

// Series is what is on record of one GPU model on one host, each list oldest first.
type Series struct {
	Host     string          `json:"host"`
	Model    market.GPUModel `json:"gpu_model"`
	Location market.Location `json:"location,omitzero"`
	Quotes   []Quote         `json:"quotes"`
	Prices   []Price         `json:"prices"`
}

// describe tells of an event what a Price is made of.
func (e *Event) describe(m *Machine, now time.Time) {
	e.Host, e.Model, e.Shape, e.Bid = m.Host, m.Model, m.Shape, m.Bid
	if e.Kind == EventReady && m.DeployIntent != 0 {
		e.Seconds = int64(max(now.Sub(m.OrderedAt), 0) / time.Second)
	}
	code := ""
	if m.Leaving != nil {
		code = m.Leaving.Code
	}
	ended := e.Kind == EventLost || e.Kind == EventExpired || e.Kind == EventDeleted && (code == ReasonBootTimeout || code == ReasonNotReady)
	e.NeverRan = ended && m.ReadyAt.IsZero() && m.DeployIntent != 0
}

// Lessons are what a cycle taught about prices and hosts: by the answers to its
// questions, by the orders that came to nothing, and by what became of machines.
func Lessons(verdicts []market.Verdict, intents []Intent, events []Event) []Price {
	var out []Price
	refused := map[market.Question]bool{}
	for _, v := range verdicts {
		if v.Answer == market.Accepted || v.Answer == market.Refused {
			out = append(out, Price{At: v.At, Host: v.Host, Model: v.Model, Shape: v.Shape, Bid: v.Bid, Answer: v.Answer})
			refused[v.Question] = v.Answer == market.Refused
		}
	}
	for _, in := range intents {
		asked := market.Question{Host: in.Host, Model: in.Model, Shape: in.Shape, Bid: in.Bid}
		if in.Kind == Deploy && in.State == IntentRefused && !refused[asked] {
			out = append(out, Price{At: in.AnswerAt, Host: in.Host, Model: in.Model, Shape: in.Shape, Bid: in.Bid, Answer: PriceFailed})
		}
	}
	for _, e := range events {
		if answer := e.lesson(); answer != "" && e.Host != "" && e.Model != "" {
			out = append(out, Price{At: e.At, Host: e.Host, Model: e.Model, Shape: e.Shape, Bid: e.Bid.Or(0), Answer: answer, Seconds: e.Seconds})
		}
	}
	slices.SortStableFunc(out, func(a, b Price) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Model, b.Model), cmp.Compare(a.Bid, b.Bid), cmp.Compare(a.Answer, b.Answer))
	})
	return out
}

func (e *Event) lesson() market.Answer {
	switch {
	case e.NeverRan:
		return PriceFailed
	case e.Kind == EventOutbid:
		return PriceOutbid
	case e.Kind == EventReady:
		return PriceReady
	case e.Kind == EventLost:
		return PriceLost
	}
	return ""
}
