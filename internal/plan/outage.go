package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// How an outage began, besides with a status of the market's: stopped, released,
// error.
const (
	OutageHost = "host_offline" // the list of hosts says that the machine's is offline
	OutageGone = "gone"         // it vanished without our doing, and its disk with it
)

// How an outage ended, besides with a status of the market's: running, outbid.
const (
	OutageDeleted = "deleted"  // we gave the machine up
	OutageParked  = "parked"   // we stopped the machine
	OutageUnpaid  = "no_money" // the account ran empty, and then everything stops
)

// Outage is a time in which a machine that we wanted and paid for delivered nothing,
// neither by our doing nor by the auction's.
//
//	the list says                                 it is
//	--------------------------------------------+------------------------
//	stopped, released or error, after it ran      an outage
//	running, and that its host is offline         an outage
//	outbid                                        none: the auction took it
//	anything, after we asked for its deletion     none: it is ours to end
//	anything, at a balance of zero                none
//	nothing, on demand, for absent_looks and age  an outage with its disk
type Outage struct {
	Policy   string          `json:"policy"`
	Machine  string          `json:"machine"`
	ID       string          `json:"id,omitempty"`
	Host     string          `json:"host,omitempty"`
	Model    market.GPUModel `json:"gpu_model,omitempty"`
	GPUs     int             `json:"gpus,omitempty"`
	Capacity market.Capacity `json:"capacity,omitempty"`
	Cause    string          `json:"cause"`
	// WellAt is the last look that showed it well, From the first that showed it down,
	// LastAt the newest that did, and To the one that showed its end; zero while it lasts.
	WellAt time.Time `json:"well_at,omitzero"`
	From   time.Time `json:"from"`
	LastAt time.Time `json:"last_at"`
	To     time.Time `json:"to,omitzero"`
	End    string    `json:"end,omitempty"`
	// Rate is what it cost per hour in full when it went down.
	Rate     market.Maybe[market.Rate] `json:"rate_usd_hour,omitzero"`
	Looks    int                       `json:"looks"` // that showed it down
	DataLost bool                      `json:"data_lost,omitempty"`
	// Proof is what looks showed, each time that it changed; the first and the newest.
	Proof []Proof `json:"proof"`
}

// Proof is what one look showed of a machine and of its host.
type Proof struct {
	At     time.Time     `json:"at"`
	Status market.Status `json:"status,omitempty"` // "" where the list left the machine out
	Raw    string        `json:"raw_status,omitempty"`
	Host   string        `json:"host,omitempty"` // online, offline or not_listed; "" where the list of hosts could not be read
}

// maxProof bounds the proof of one outage.
const maxProof = 24

// CompareOutages orders by beginning and machine, which name them.
func CompareOutages(a, b Outage) int {
	return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Machine, b.Machine))
}

// Lasted is for how long looks showed it down; for one that is over, until the look
// that showed its end.
func (u *Outage) Lasted() time.Duration {
	end := u.To
	if end.IsZero() {
		end = u.LastAt
	}
	return max(end.Sub(u.From), 0)
}

// outages begins, goes on with and ends the outages of the machines that the list
// shows.
func (o *observer) outages() {
	shown := map[string]*market.Instance{}
	for i := range o.l.Snapshot.Instances.Value {
		inst := &o.l.Snapshot.Instances.Value[i]
		shown[inst.ID] = inst
	}
	for i := range o.h.Machines {
		m := &o.h.Machines[i]
		if m.Phase == PhaseLive && m.SeenAt.Equal(o.l.Now) || m.Leaving != nil {
			o.watch(m, shown[m.ID])
		}
	}
}

func (o *observer) watch(m *Machine, inst *market.Instance) {
	end, cause := o.ends(m), o.downBy(m)
	switch {
	case m.Outage != nil && end != "":
		o.recover(m, end, inst)
	case m.Outage != nil:
		m.Outage.LastAt = o.l.Now
		m.Outage.Looks++
		o.prove(m, inst)
	case end == "" && cause != "":
		o.goDown(m, cause, inst)
	}
}

// ends is what ends an outage of the machine, or keeps one from beginning; "" where
// nothing does.
func (o *observer) ends(m *Machine) string {
	switch {
	case m.Leaving != nil:
		return OutageDeleted
	case m.Parked != nil:
		return OutageParked
	case o.broke():
		return OutageUnpaid
	case m.Status == market.StatusOutbid, m.Status == market.StatusRunning && o.hostServes(m):
		return string(m.Status)
	}
	return ""
}

// hostServes says whether nothing tells against a machine's host: once it was offline,
// only its being listed as online will do.
func (o *observer) hostServes(m *Machine) bool {
	state := o.hostOf(m)
	if m.Outage != nil && m.Outage.Cause == OutageHost {
		return state == "online"
	}
	return state != "offline"
}

// downBy is why the machine delivers nothing although it did; "" where it may.
func (o *observer) downBy(m *Machine) string {
	switch {
	case m.ReadyAt.IsZero():
		return ""
	case down(m.Status):
		return string(m.Status)
	case m.Status == market.StatusRunning && o.hostOf(m) == "offline":
		return OutageHost
	}
	return ""
}

// hostOf is what the list of hosts says of a machine's host.
func (o *observer) hostOf(m *Machine) string {
	hosts := &o.l.Snapshot.Hosts
	if !hosts.Complete || m.Host == "" {
		return ""
	}
	i := slices.IndexFunc(hosts.Value, func(h market.Host) bool { return h.ID == m.Host })
	switch {
	case i < 0:
		return "not_listed"
	case hosts.Value[i].Online:
		return "online"
	}
	return "offline"
}

func (o *observer) goDown(m *Machine, cause string, inst *market.Instance) {
	m.Outage = &Outage{
		Policy: m.Policy, Machine: m.Name, ID: m.ID, Host: m.Host, Model: m.Model, GPUs: m.Shape.GPUs, Capacity: m.Capacity,
		Cause: cause, WellAt: o.well[m.Name], From: o.l.Now, LastAt: o.l.Now, Rate: m.fullRate(), Looks: 1,
	}
	if !m.Outage.WellAt.IsZero() {
		m.Outage.Proof = append(m.Outage.Proof, Proof{At: m.Outage.WellAt, Status: market.StatusRunning})
	}
	o.prove(m, inst)
	o.emit(EventOutage, m, "down: %s", cause)
}

// recover ends an outage. One that we ended lasted until we asked for the deletion.
func (o *observer) recover(m *Machine, end string, inst *market.Instance) {
	u := m.Outage
	o.prove(m, inst)
	u.To, u.End = o.l.Now, end
	if m.Leaving != nil && m.Leaving.At.Before(u.To) {
		u.To = m.Leaving.At
	}
	u.To = latest(u.To, u.LastAt)
	o.over, m.Outage = append(o.over, *u), nil
	o.emit(EventOutageOver, m, "down for %s, ended: %s", u.Lasted().Round(time.Second), end)
}

// vanished ends the outage of a machine that is gone without our doing, or makes one
// of its going. Spot may be ended by the market: that is the auction.
func (o *observer) vanished(m *Machine) {
	if m.byUs() || m.ReadyAt.IsZero() || o.broke() {
		return
	}
	if m.Outage == nil {
		if m.Capacity != market.OnDemand {
			return
		}
		o.goDown(m, OutageGone, nil)
		m.Outage.From = earliest(m.MissedAt, o.l.Now)
		if m.Outage.WellAt.IsZero() {
			m.Outage.WellAt = m.SeenAt
		}
	}
	m.Outage.DataLost = m.Capacity == market.OnDemand
	o.recover(m, OutageGone, nil)
}

// closeOutage ends the outage of a machine that leaves the books.
func (o *observer) closeOutage(m *Machine) {
	if m.Outage != nil {
		o.recover(m, cmp.Or(o.ends(m), OutageGone), nil)
	}
}

// prove notes what this look shows, where it differs from the last.
func (o *observer) prove(m *Machine, inst *market.Instance) {
	p := Proof{At: o.l.Now, Host: o.hostOf(m)}
	if inst != nil {
		p.Status, p.Raw = inst.Status, inst.RawStatus
	}
	u := m.Outage
	if n := len(u.Proof); n > 0 && u.Proof[n-1].same(p) {
		return
	}
	if len(u.Proof) >= maxProof {
		u.Proof = slices.Delete(u.Proof, maxProof/2, maxProof/2+1)
	}
	u.Proof = append(u.Proof, p)
}

func (p Proof) same(q Proof) bool {
	p.At = q.At
	return p == q
}

// fullRate is what the machine costs while it is charged in full, where that is known.
func (m *Machine) fullRate() market.Maybe[market.Rate] {
	if r := m.rate(); r > 0 && r < market.MaxRate {
		return market.Some(r)
	}
	return market.Maybe[market.Rate]{}
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
