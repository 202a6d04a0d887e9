package daemon

import (
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// watch is what this process has seen of the account's machines, under one
// configuration: a machine that appears later has appeared under its eyes.
type watch struct {
	generation uint64
	looks      int // complete ones that may be relied on, as far as the bill tells
}

// watched says whether the machines of this owner have been seen before, in this
// process and under this configuration.
func (d *Daemon) watched(c *Config, generation uint64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.watch.generation == generation && d.watch.looks >= c.Set.Safety.UnknownLooks
}

// saw notes a look that was booked. A list that the bill contradicts may hide
// machines, and counts only after several.
func (d *Daemon) saw(c *Config, generation uint64, r *plan.Report) {
	if !r.Input.Snapshot.Instances.Complete {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.watch.generation != generation {
		d.watch = watch{generation: generation}
	}
	d.watch.looks++
	if !r.Input.History.Gap.Known() {
		d.watch.looks = max(d.watch.looks, c.Set.Safety.UnknownLooks)
	}
}

// look is a snapshot with what this process and its ledger know about it.
func (d *Daemon) look(c *Config, generation uint64, snap market.Snapshot, h *plan.History) (plan.Look, error) {
	l := lookAt(d.o.Clock, &c.Set, snap)
	l.Watched = d.watched(c, generation)
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
