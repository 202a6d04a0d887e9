package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// A policy with a fallback wants its whole target on spot, and covers with on-demand
// what spot does not deliver:
//
//	spot is short, an offer wins          -> spot, whether on-demand covers or not
//	spot is short for fallback.after,
//	  and neither ready nor booting       -> on-demand, the cheapest
//	a spot machine is ready               -> as much running on-demand is given up
//	on-demand boots, and spot will be
//	  there nearly as soon                -> that on-demand is given up
//	spot boots, on-demand runs            -> it goes on until spot is ready

// covers says whether a machine only stands in for spot.
func (d *desk) covers(m *Machine) bool {
	return d.p.Capacity == policy.SpotWithFallback && m.Capacity == market.OnDemand
}

// keep sorts out what must go; what stands in for spot goes when spot is ready.
func (d *desk) keep(w *world) {
	var wanted, cover []*Machine
	for _, m := range w.removeUnfit(d) {
		if d.covers(m) {
			cover = append(cover, m)
		} else {
			wanted = append(wanted, m)
		}
	}
	wanted = w.removeSurplus(d, w.relocate(d, wanted))
	d.kept = append(wanted, w.relieve(d, wanted, cover)...)
}

// relieve gives up the on-demand machines that spot has made needless, the dearest
// first, and returns the others.
func (w *world) relieve(d *desk, spot, cover []*Machine) []*Machine {
	ready, unproven, booting := 0, 0, []time.Duration{} // what spot delivers now, and in how long
	for _, m := range spot {
		switch {
		case m.Ready() && w.shownNow(m):
			ready += d.gpus(m)
		case m.Ready():
			unproven += d.gpus(m)
		case w.onItsWay(m) && !m.SeenAt.IsZero() && (m.Rebid == nil || m.Rebid.Looks > 0): // since a look, at least
			for range d.gpus(m) {
				booting = append(booting, w.untilReady(m))
			}
		}
	}
	slices.SortFunc(cover, func(a, b *Machine) int {
		return cmp.Or(
			boolCompare(b.Ready(), a.Ready()),
			boolCompare(b.Drain != nil, a.Drain != nil),
			-cmp.Compare(a.Reserved.PerGPU(d.gpus(a)), b.Reserved.PerGPU(d.gpus(b))),
			-a.OrderedAt.Compare(b.OrderedAt), cmp.Compare(a.Name, b.Name))
	})
	slices.Sort(booting)
	delivers, comes := ready, len(booting) // and what on-demand adds to them
	for _, m := range cover {
		if m.Ready() {
			delivers += d.gpus(m)
		} else {
			comes += d.gpus(m)
		}
	}
	if unproven > 0 && delivers+unproven > d.st.Target {
		w.hold(d, nil, HoldBooting, "%d GPUs too many, but this look alone does not prove it", delivers+unproven-d.st.Target)
	}
	for _, m := range cover {
		n := d.gpus(m)
		switch {
		case m.Ready() && delivers-n >= d.st.Target:
			if w.giveUp(d, m, "%d GPUs are ready without it, %d wanted", delivers-n, d.st.Target) {
				delivers -= n
			}
		case !m.Ready() && delivers+comes-n >= d.st.Target && w.tooLate(m, booting):
			if w.giveUp(d, m, "it boots, and spot will deliver nearly as soon") {
				comes -= n
				booting = booting[:max(len(booting)-n, 0)] // the slowest of them has its place
			}
		}
	}
	return slices.DeleteFunc(cover, func(m *Machine) bool { return w.going[m.Name] })
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// tooLate says whether an on-demand machine that boots is not worth its wait: until
// the slowest spot machine on its way is ready it would cost more than it delivers.
// A GPU-hour that is missing counts as twice an on-demand one, so it must deliver for
// more than half of the time that it is paid for.
func (w *world) tooLate(m *Machine, booting []time.Duration) bool {
	if len(booting) == 0 {
		return true
	}
	return booting[len(booting)-1] <= 2*w.untilReady(m)
}

// untilReady is how long a machine on its way will take yet, by the record of its host.
func (w *world) untilReady(m *Machine) time.Duration {
	return max(w.records.TimeToReady(m.Host, m.Model)-w.in.Now.Sub(m.OrderedAt), 0)
}

// onItsWay says whether a machine will deliver without another decision: it is
// ordered, boots, or gets the bid it needs.
func (w *world) onItsWay(m *Machine) bool {
	raised := m.Phase == PhaseLive && m.Status == market.StatusOutbid && (m.Rebid != nil || w.rescued[m.Name])
	return !w.going[m.Name] && m.Leaving == nil && (m.booting() || raised)
}

// shownNow says whether this look shows the machine, and it is no twin that was seen
// for the first time: one list that names a machine twice must not cost us another.
func (w *world) shownNow(m *Machine) bool {
	return m.SeenAt.Equal(w.in.Now) && !(m.Adopted && m.StatusAt.Equal(w.in.Now))
}

// giveUp deletes an on-demand machine that is not needed any more, if it may go.
func (w *world) giveUp(d *desk, m *Machine, format string, args ...any) bool {
	if w.shielded(d, m) || w.cooling(d) || !w.remove(m, Reason{ReasonSpotReady, fmt.Sprintf(format, args...)}) {
		return false
	}
	d.busy = true
	return true
}

// growBoth buys spot for the whole target, and on-demand for what neither of them
// delivers or will deliver soon.
func (w *world) growBoth(d *desk) {
	need, lack := d.need+w.surge(d), d.st.Target // of spot, and of what delivers or will
	places := d.st.Target                        // on demand, where what leaves still has its own
	for _, m := range d.machines {
		if d.covers(m) {
			places -= d.gpus(m)
		}
		if m.returning() && m.Leaving == nil && !w.going[m.Name] { // none of these is in kept
			lack -= d.gpus(m)
		}
	}
	for _, m := range d.kept {
		if !w.going[m.Name] && (m.Ready() || w.onItsWay(m)) {
			lack -= d.gpus(m)
		}
	}
	if need <= 0 && lack <= 0 {
		if !w.resize(d) {
			w.migrate(d)
		}
		return
	}
	if !w.mayGrow(d, max(need, lack)) {
		return
	}
	code, text := "", "every GPU has its order"
	if need > 0 {
		d.covered = lack <= 0
		g := w.growth(d, market.Spot, need)
		g.swap = w.dearestCover(d)
		g.voluntary, g.repairs = true, (max(lack, 0)+d.p.Shape.GPUs-1)/d.p.Shape.GPUs
		g.run()
		lack -= (g.bought + g.asked) * d.p.Shape.GPUs
		if code, text = g.explain(); code == "" {
			text = "all of them are ordered"
		}
	}
	if lack < d.p.Shape.GPUs { // covered, or as well as machines of this size can
		if code != "" && code != HoldAsking {
			code, text = HoldFallback, "on-demand covers; on spot, "+text
		}
		if code != "" {
			w.hold(d, nil, code, "%s", text)
		}
		return
	}
	if !d.behind {
		w.hold(d, nil, HoldFallback, "%d GPUs are not covered, and need not be yet: %s; on spot, %s", lack, d.st.Work, text)
		return
	}
	if lack = min(lack, places); lack < d.p.Shape.GPUs {
		w.hold(d, nil, HoldFallback, "what covers on demand is not ready, or leaves; on spot, %s", text)
		return
	}
	w.cover(d, lack, text)
}

// dearestCover is the running on-demand machine that spot would save most on; nil if
// there is none, or none may go, or one is on its way out: they go one at a time.
func (w *world) dearestCover(d *desk) (m *Machine) {
	if d.st.Leaving > 0 {
		return nil
	}
	for _, c := range d.kept {
		if d.covers(c) && c.Ready() && c.Drain != nil && !w.going[c.Name] {
			return c // what is on its way out goes on
		}
		if d.covers(c) && c.Ready() && !w.going[c.Name] && (m == nil || c.Reserved > m.Reserved) {
			m = c
		}
	}
	return m
}

// swapPays is how soon a swap must have paid for the GPUs that are missing meanwhile.
const swapPays = time.Hour

// swaps says whether an offer that the caps leave no room for is worth giving up an
// on-demand machine first. Where there is room, spot is ready before on-demand goes.
func (g *growth) swaps(c *candidate) bool {
	m := g.swap
	if m == nil || c.price > g.room.Add(m.Reserved) || c.price >= m.Reserved {
		return false
	}
	gap := priorBoot + g.w.in.notice()
	return m.Reserved.Sub(c.price).For(swapPays) >= m.Reserved.Mul(2).For(gap)
}

// swapFor gives up the on-demand machine; the next plan buys in its place.
func (g *growth) swapFor(c *candidate) {
	if g.w.mayChurn(g.d, g.swap) && g.w.giveUp(g.d, g.swap, "spot at %s is to be had in its place, and the caps leave no room for both", c.price) {
		if g.w.going[g.swap.Name] { // it counts when it goes, not while it is drained
			g.w.volunteer()
		}
		g.left--
	}
	g.swap = nil
	g.drop(g.room)
}

// cover buys on-demand, once spot has been short for long enough.
func (w *world) cover(d *desk, lack int, spotSays string) {
	if short := w.in.Now.Sub(w.in.History.shortSince(d.p.Name, w.in.Now)); short < d.p.Fallback.After {
		w.hold(d, nil, HoldFallback, "%d GPUs are not covered; on-demand steps in when spot has been short for %s, it is for %s; on spot, %s",
			lack, d.p.Fallback.After, short.Round(time.Second), spotSays)
		return
	}
	spot := d.st.Funnel
	d.spotSays = spotSays
	g := w.buy(d, market.OnDemand, lack)
	demand := d.st.Funnel
	d.st.Funnel = spot
	if spot.Offers == 0 { // nothing was wanted on spot
		d.st.Funnel = demand
	}
	if code, text := g.explain(); code != "" {
		w.hold(d, nil, code, "on spot, %s; on demand, %s", spotSays, text)
	}
}

// Short is since when spot alone has not met a policy's target.
type Short struct {
	Policy string    `json:"policy"`
	Since  time.Time `json:"since"`
}

// shortSince is when a policy's spot fell short; now, if that is not known.
func (h *History) shortSince(name string, now time.Time) time.Time {
	for _, s := range h.Short {
		if s.Policy == name && s.Since.Before(now) {
			return s.Since
		}
	}
	return now
}

// shortages books for which policies spot falls short, and since when.
func (o *observer) shortages() {
	var out []Short
	for i := range o.l.Policies {
		p := &o.l.Policies[i]
		if p.Capacity != policy.SpotWithFallback || p.Fallback.After == 0 || p.GPUs() <= o.h.spotOf(p) {
			continue
		}
		out = append(out, Short{Policy: p.Name, Since: o.h.shortSince(p.Name, o.l.Now)})
	}
	slices.SortFunc(out, func(a, b Short) int { return cmp.Compare(a.Policy, b.Policy) })
	o.h.Short = out
}

// spotOf is how many GPUs of a policy run or boot on spot.
func (h *History) spotOf(p *policy.Policy) (gpus int) {
	for i := range h.Machines {
		m := &h.Machines[i]
		if m.Policy == p.Name && m.Capacity != market.OnDemand && m.Leaving == nil && (m.Ready() || m.booting()) {
			gpus += max(m.Shape.GPUs, 1)
		}
	}
	return gpus
}
