package shadow

import (
	"cmp"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// pool is the GPUs of one model on one host.
type pool struct {
	host  string
	model market.GPUModel
}

// virtual is the market as the record has it, for one shadow.
type virtual struct {
	hosts    map[string]*market.Host
	real     *plan.History
	records  *plan.Records
	machines []plan.Machine // the shadow's, in the order of their orders
	used     map[pool]int   // by machines that hold GPUs

	asked, assumed int
}

func newMarket(w *World, machines []plan.Machine) *virtual {
	v := &virtual{hosts: map[string]*market.Host{}, real: w.History, records: w.History.Records(w.Look.Now), machines: slices.Clone(machines), used: map[pool]int{}}
	list := w.Look.Snapshot.Hosts.Value
	for i := range list {
		v.hosts[list[i].ID] = &list[i]
	}
	slices.SortFunc(v.machines, func(a, b plan.Machine) int {
		return cmp.Or(a.OrderedAt.Compare(b.OrderedAt), cmp.Compare(a.Name, b.Name))
	})
	return v
}

// look is what the shadow sees: the hosts, without the GPUs that it would hold, and its
// machines. Where the hosts could not be read, nothing is known of the machines.
func (v *virtual) look(w *World, before []plan.Missing) (market.Snapshot, []plan.Missing) {
	hosts := w.Look.Snapshot.Hosts
	s := market.Snapshot{Hosts: hosts}
	s.Instances = market.Section[[]market.Instance]{At: w.Look.Now, Complete: hosts.Complete, Problem: hosts.Problem, Class: hosts.Class}
	if !hosts.Complete {
		return s, before
	}
	var missing []plan.Missing
	for i := range v.machines {
		m := &v.machines[i]
		if m.Phase == plan.PhaseDeleting {
			continue
		}
		inst, room := v.instance(m, w.Look.Now)
		if !room {
			n := looksOf(before, m.Name) + 1
			missing = append(missing, plan.Missing{Machine: m.Name, Looks: n})
			if n >= max(w.Set.Safety.AbsentLooks, 1) {
				inst.Status = market.StatusTerminated
				s.Gone = append(s.Gone, inst.ID)
			}
		}
		s.Instances.Value = append(s.Instances.Value, inst)
	}
	slices.SortFunc(s.Instances.Value, func(a, b market.Instance) int { return cmp.Compare(a.ID, b.ID) })
	slices.Sort(s.Gone)
	s.Hosts.Value = v.without(hosts.Value)
	return s, missing
}

func looksOf(all []plan.Missing, name string) int {
	for _, m := range all {
		if m.Machine == name {
			return m.Looks
		}
	}
	return 0
}

// without are the hosts without the GPUs that the shadow holds.
func (v *virtual) without(hosts []market.Host) []market.Host {
	out := slices.Clone(hosts)
	for i := range out {
		h := &out[i]
		for j := range h.GPUs {
			if n := v.used[pool{h.ID, h.GPUs[j].Model}]; n > 0 {
				h.GPUs = slices.Clone(h.GPUs)
				h.GPUs[j].Free = max(h.GPUs[j].Free-n, 0)
			}
		}
	}
	return out
}

// instance is a machine as it would be listed; room says whether its host has shown
// the GPUs for it.
func (v *virtual) instance(m *plan.Machine, now time.Time) (inst market.Instance, room bool) {
	bid := m.Bid.Or(0)
	if m.Rebid != nil {
		bid = m.Rebid.Bid
	}
	storage := m.Storage.Or(0)
	inst = market.Instance{
		ID: m.ID, API: market.V0, Name: m.Name, Host: m.Host, Model: m.Model, Shape: m.Shape, Location: m.Location,
		Capacity: m.Capacity, Status: v.status(m, now), Created: m.OrderedAt, Storage: market.Some(storage),
	}
	if m.Capacity != market.Spot {
		bid = m.Reserved.Sub(storage)
	}
	inst.Compute, inst.Total = market.Some(bid), market.Some(bid.Add(storage))
	if wins, _ := v.wins(m.Host, m.Model, m.Shape); m.Capacity == market.Spot && bid < wins {
		inst.Status, inst.Total = market.StatusOutbid, market.Some(storage)
		return inst, true
	}
	k := pool{m.Host, m.Model}
	if v.used[k]+m.Shape.GPUs > v.free(k)+v.later(k, m.OrderedAt) {
		return inst, false
	}
	v.used[k] += m.Shape.GPUs
	return inst, true
}

// status is how far a machine that has its GPUs has come.
func (v *virtual) status(m *plan.Machine, now time.Time) market.Status {
	since := m.OrderedAt
	switch m.Status {
	case market.StatusRunning:
		return market.StatusRunning
	case market.StatusOutbid:
		return market.StatusStarting // it has won again
	case market.StatusStarting:
		since = m.StatusAt
		if m.ReadyAt.IsZero() {
			since = m.OrderedAt
		}
	}
	if now.Sub(since) >= v.records.TimeToReady(m.Host, m.Model) {
		return market.StatusRunning
	}
	return market.StatusStarting
}

// free is how many GPUs the host lists as free.
func (v *virtual) free(k pool) int {
	h := v.hosts[k.host]
	if h == nil || !h.Online || !h.Listed || h.Reserved {
		return 0
	}
	g, _ := h.GPU(k.model)
	return g.Free
}

// later is how many GPUs there are held by machines of ours that were ordered after a
// moment: the shadow was there first.
func (v *virtual) later(k pool, at time.Time) (gpus int) {
	for i := range v.real.Machines {
		m := &v.real.Machines[i]
		holds := m.Phase != plan.PhaseLive || m.Status.BillsCompute()
		if m.Host == k.host && m.Model == k.model && holds && !m.OrderedAt.Before(at) {
			gpus += m.Shape.GPUs
		}
	}
	return gpus
}

// wins is the least bid that is taken to win, for a whole machine without storage;
// known says that the record has it. Where the host is not listed, nothing is known
// that could lose.
func (v *virtual) wins(host string, model market.GPUModel, shape market.Shape) (bid market.Rate, known bool) {
	var floor, lost market.Rate
	for i := range v.real.Brackets {
		b := &v.real.Brackets[i]
		if b.Host != host || b.Model != model || b.Shape.GPUs != shape.GPUs {
			continue
		}
		if b.Hi > 0 && (!known || b.Hi < bid) {
			bid, known = b.Hi, true
		}
		floor, lost = max(floor, b.Floor), max(lost, b.Lo)
	}
	if known {
		return bid, true
	}
	if floor == 0 {
		floor = v.half(host, model, shape)
	}
	if lost > 0 {
		floor = max(floor, lost.Add(market.Cent))
	}
	return floor, false
}

// half is half of what the machine costs on demand, without storage; 0 where the host
// does not say.
func (v *virtual) half(host string, model market.GPUModel, shape market.Shape) market.Rate {
	h := v.hosts[host]
	if h == nil {
		return 0
	}
	g, _ := h.GPU(model)
	shape.Storage = 0
	q := plan.QuoteOf(h, &g, time.Time{})
	q.Storage = market.Some(market.Rate(0))
	return q.AllIn(shape).Or(0).Scale(1, 2)
}

// answer says whether a bid wins.
func (v *virtual) answer(q market.Question, now time.Time) market.Verdict {
	wins, known := v.wins(q.Host, q.Model, q.Shape)
	v.asked++
	if !known {
		v.assumed++
	}
	verdict := market.Verdict{Question: q, Answer: market.Accepted, At: now, Detail: "by the record"}
	k := pool{q.Host, q.Model}
	if q.Bid > 0 && q.Bid < wins || v.free(k)-v.used[k] < q.Shape.GPUs {
		verdict.Answer = market.Refused
	}
	return verdict
}
