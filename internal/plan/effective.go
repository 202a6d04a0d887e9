package plan

import (
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// missing is what a GPU-hour that is not delivered counts as, in on-demand ones of the
// same offer.
const missing = 2

// effective is what a machine really costs per hour, for choosing only: its all-in
// rate, and what losing it costs as often as machines are lost there. A loss costs
//
//	the GPUs that are missing until the next look has seen it and another one has booted,
//	at twice the on-demand price; that boot, which is paid for; and the disk of the dead
//	machine until its deletion is confirmed.
//
// On-demand is not lost.
func (w *world) effective(d *desk, c *candidate, demand market.Rate) market.Rate {
	if d.buying == market.OnDemand {
		return c.price
	}
	boot := w.records.TimeToReady(c.host.ID, c.gpu.Model)
	loss := demand.Mul(missing).For(boot + w.in.Interval)
	loss = loss.Add(c.price.For(boot)).Add(c.storage.For(2 * w.in.Interval))
	perHour := mulDiv(int64(loss), int64(w.records.hazard(c.host.ID, c.gpu.Model)), int64(Once))
	return c.price.Add(market.Rate(perHour))
}

// Settling is a host that lost a spot machine of ours a while ago.
type Settling struct {
	Host   string          `json:"host"`
	Model  market.GPUModel `json:"gpu_model"`
	LostAt time.Time       `json:"lost_at"`
	// Offered is since when every look has shown GPUs there that are free, or ours and
	// running; zero if the last one did not.
	Offered time.Time `json:"offered_since,omitzero"`
}

// settlingLasts is for how long after a loss a host's offers are watched.
const settlingLasts = time.Hour

// unsettled notes that a spot machine was lost there.
func (o *observer) unsettled(m *Machine) {
	if m.Capacity == market.OnDemand || m.Host == "" {
		return
	}
	for i := range o.h.Settling {
		if s := &o.h.Settling[i]; s.Host == m.Host && s.Model == m.Model {
			s.LostAt = o.l.Now
			return
		}
	}
	o.h.Settling = append(o.h.Settling, Settling{Host: m.Host, Model: m.Model, LostAt: o.l.Now})
}

// settle follows what hosts offer that have lost a machine within the hour.
func (o *observer) settle() {
	kept := o.h.Settling[:0]
	for _, s := range o.h.Settling {
		if o.l.Now.Sub(s.LostAt) >= settlingLasts {
			continue
		}
		switch list := &o.l.Snapshot.Hosts; {
		case !list.Complete: // nothing is known
		case !o.offers(&s):
			s.Offered = time.Time{}
		case s.Offered.IsZero():
			s.Offered = o.l.Now
		}
		kept = append(kept, s)
	}
	o.h.Settling = kept
}

func (o *observer) offers(s *Settling) bool {
	for i := range o.l.Snapshot.Hosts.Value {
		h := &o.l.Snapshot.Hosts.Value[i]
		if h.ID != s.Host {
			continue
		}
		if g, _ := h.GPU(s.Model); h.Online && g.Free > 0 {
			return true
		}
		break
	}
	for i := range o.h.Machines {
		if m := &o.h.Machines[i]; m.Host == s.Host && m.Model == s.Model && m.Capacity != market.OnDemand && m.Ready() {
			return true
		}
	}
	return false
}

// settles says whether a host that has lost a machine is not yet to be trusted with
// one that would replace running on-demand.
func (w *world) settles(d *desk, o *offer) bool {
	if !d.covered || d.p.Fallback.Settle <= 0 {
		return false
	}
	for i := range w.in.History.Settling {
		if s := &w.in.History.Settling[i]; s.Host == o.host.ID && s.Model == o.gpu.Model {
			return s.Offered.IsZero() || w.in.Now.Sub(s.Offered) < d.p.Fallback.Settle
		}
	}
	return false
}
