package campaign

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// The diary tells a run to people: what the daemon did and learnt, and what the
// market saw of it. Machines are numbered in the order of their making, because
// their names are random.

func (w *world) transcribeMarket(e simulator.Event) {
	w.entry(e.At, "market  %-8s %s, %d x %s on %s at %s", e.Kind, w.short(e.Name), e.GPUs, e.Model, e.Host[:8], e.Rate)
}

func (w *world) transcribe(r *plan.Report) {
	w.mu.Lock()
	defer w.mu.Unlock()
	begin := len(w.diary)
	for _, e := range r.Events {
		w.entry(e.At, "learnt  %-8s %s: %s", e.Kind, w.short(e.Machine), e.Text)
	}
	slices.Sort(w.diary[begin:]) // they come by the machines' random names
	for _, in := range r.Intents {
		w.entry(in.At, "%-7s %-8s %s: %s", in.Kind, in.State, w.short(in.Machine), in.Reason.Text)
	}
	was := w.said
	w.said = map[string]bool{}
	for _, h := range r.Plan.Holds {
		w.unlessSaid(was, r.FinishedAt, fmt.Sprintf("hold    %-8s %s: %s", h.Policy, h.Reason.Code, h.Reason.Text))
	}
	if r.Problem != "" {
		w.unlessSaid(was, r.FinishedAt, "problem "+r.Problem)
	}
}

// unlessSaid leaves out what the cycle before said, too.
func (w *world) unlessSaid(was map[string]bool, at time.Time, line string) {
	w.said[line] = true
	if !was[line] {
		w.entry(at, "%s", line)
	}
}

func (w *world) entry(at time.Time, format string, args ...any) {
	if w.terse {
		if w.sum != nil {
			line := fmt.Sprintf("%d "+format+"\n", append([]any{at.UnixNano()}, args...)...)
			w.sum.Write([]byte(strings.ReplaceAll(line, w.dir, ""))) // a hash never fails
		}
		return
	}
	line := fmt.Sprintf("%9s  %s", at.Sub(epoch).Round(time.Second), fmt.Sprintf(format, args...))
	for name, short := range w.names {
		line = strings.ReplaceAll(line, name, short)
	}
	for id := range w.alive {
		line = strings.ReplaceAll(line, id, "its id")
	}
	w.diary = append(w.diary, line)
}

func (w *world) short(name string) string {
	if name == "" {
		return "all"
	}
	if w.names[name] == "" {
		w.names[name] = fmt.Sprintf("m%d", len(w.names)+1)
	}
	return w.names[name]
}
