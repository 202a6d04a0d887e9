package daemon

import (
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// watched says since when this process has seen the machines, under this
// configuration: one that appears later has appeared under its eyes. Zero before its
// first whole look.
func (d *Daemon) watched(generation uint64) time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watching != generation+1 {
		return time.Time{}
	}
	return d.watchAt
}

// saw notes a look that was booked. A list that the bill contradicts may hide
// machines that were there before us: it is no look that later ones can be held
// against, until the gap is believed to be something else.
func (d *Daemon) saw(generation uint64, in *plan.Input) {
	gap, open := in.History.Gap.Get()
	if !in.Snapshot.Instances.Complete || open && gap.Holds(in.Safety, in.Now) {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watching != generation+1 {
		d.watching, d.watchAt = generation+1, in.Now
	}
}

// look is a snapshot with what this process and its ledger know about it.
func (d *Daemon) look(c *Config, generation uint64, snap market.Snapshot, h *plan.History) (plan.Look, error) {
	l := lookAt(d.o.Clock, &c.Set, snap)
	l.Watched = d.watched(generation)
	if d.o.Errands != nil {
		l.Findings = d.o.Errands.Findings()
	}
	var names []market.MachineName
	for _, inst := range snap.Instances.Value {
		if n, ok := market.ParseMachineName(inst.Name); ok && n.Owner == l.Owner && h.Machine(inst.Name) == nil {
			names = append(names, n)
		}
	}
	strangers, err := d.o.Ledger.Strangers(names)
	for _, n := range strangers {
		l.Strange = append(l.Strange, n.String())
	}
	slices.Sort(l.Strange)
	return l, err
}

// takeIn remembers the names of the machines that a look has adopted.
func takeIn(tx *ledger.Tx, events []plan.Event) error {
	for _, e := range events {
		if e.Kind != plan.EventAdopted {
			continue
		}
		name, _, _ := strings.Cut(e.Machine, "~") // a twin's id
		if n, ok := market.ParseMachineName(name); ok {
			if err := tx.TakeIn(n); err != nil {
				return err
			}
		}
	}
	return nil
}
