package plan

import (
	"cmp"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

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
	return c.price.Add(w.rework(c.host.ID, c.gpu.Model, c.price, c.storage, demand))
}

// rework is what losses on a host cost per hour, for a machine at that all-in price,
// with that disk, that costs demand on demand.
func (w *world) rework(host string, model market.GPUModel, price, storage, demand market.Rate) market.Rate {
	boot := w.records.TimeToReady(host, model)
	loss := demand.Mul(missingFactor).For(boot + w.in.notice()).Add(price.For(boot)).Add(storage.For(2 * w.in.notice()))
	return market.Rate(mulDiv(int64(loss), int64(w.records.hazard(host, model)), int64(Once)))
}

// Settling is a host that lost a spot machine of ours a while ago.
type Settling struct {
	Host  string          `json:"host"`
	Model market.GPUModel `json:"gpu_model"`
	// Lasted is how long its last offer lasted, and Ended when that was over: an offer
	// is GPUs that are free, or ours and boot or run, in every look.
	Lasted time.Duration `json:"last_offer_lasted"`
	Ended  time.Time     `json:"last_offer_ended"`
	// Offered is since when the present offer stands; zero if there is none.
	Offered time.Time `json:"offered_since,omitzero"`
}

const (
	// brief is an offer that came and went: after one, the next is often brief too. On
	// recorded capacity six in ten were, and three in ten after a long one.
	brief = 30 * time.Minute
	// settled is how long an offer stands before its host is no longer watched, and
	// forgotten how long without one.
	settled   = time.Hour
	forgotten = 24 * time.Hour
)

// unsettled notes that a spot machine was lost there.
func (o *observer) unsettled(m *Machine) {
	watched := slices.ContainsFunc(o.h.Settling, func(s Settling) bool { return s.Host == m.Host && s.Model == m.Model })
	if m.Capacity != market.OnDemand && m.Host != "" && !watched {
		o.h.Settling = append(o.h.Settling, Settling{Host: m.Host, Model: m.Model, Lasted: o.l.Now.Sub(m.OrderedAt), Ended: o.l.Now})
	}
}

// settle follows what is offered by hosts that have lost a machine.
func (o *observer) settle() {
	now, list := o.l.Now, &o.l.Snapshot.Hosts
	if !list.Complete || len(o.h.Settling) == 0 {
		return
	}
	for i := range o.h.Settling {
		s := &o.h.Settling[i]
		switch offers := o.offers(s); {
		case offers && s.Offered.IsZero():
			s.Offered = now
		case !offers && !s.Offered.IsZero():
			s.Lasted, s.Ended, s.Offered = now.Sub(s.Offered), now, time.Time{}
		}
	}
	o.h.Settling = slices.DeleteFunc(o.h.Settling, func(s Settling) bool {
		if s.Offered.IsZero() {
			return now.Sub(s.Ended) >= forgotten
		}
		return now.Sub(s.Offered) >= settled
	})
	slices.SortFunc(o.h.Settling, func(a, b Settling) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Model, b.Model)) })
}

// offers says whether an offer stands. What boots there has its GPUs: were they taken for
// gone, each of our orders would end the offer that it took, as a brief one.
func (o *observer) offers(s *Settling) bool {
	ours := slices.ContainsFunc(o.h.Machines, func(m Machine) bool {
		return m.Host == s.Host && m.Model == s.Model && m.Capacity != market.OnDemand && (m.Ready() || m.booting())
	})
	hosts := o.l.Snapshot.Hosts.Value
	i := slices.IndexFunc(hosts, func(h market.Host) bool { return h.ID == s.Host })
	if ours || i < 0 {
		return ours
	}
	g, _ := hosts[i].GPU(s.Model)
	return hosts[i].Online && g.Free > 0
}

// settles says whether a host whose last offer was brief is not yet to be trusted
// with a machine that would replace running on-demand.
func (w *world) settles(d *desk, o *offer) bool {
	if !d.covered || d.p.Fallback.Settle <= 0 {
		return false
	}
	return slices.ContainsFunc(w.in.History.Settling, func(s Settling) bool {
		return s.Host == o.host.ID && s.Model == o.gpu.Model && s.Lasted < brief &&
			(s.Offered.IsZero() || w.in.Now.Sub(s.Offered) < d.p.Fallback.Settle)
	})
}

// notice is the longest time until a change of our machines is noticed.
func (in *Input) notice() time.Duration {
	if in.Watch > 0 {
		return min(in.Watch, in.Interval)
	}
	return in.Interval
}
