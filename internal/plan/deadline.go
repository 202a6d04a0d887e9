package plan

import (
	"fmt"
	"time"
)

// Progress is how much of the GPU-time that a policy wants by a deadline is delivered.
type Progress struct {
	Policy string        `json:"policy"`
	By     time.Time     `json:"by"`
	Since  time.Time     `json:"since"`    // when this deadline was first seen
	Done   time.Duration `json:"gpu_time"` // machines times GPUs times the time they ran
	At     time.Time     `json:"at"`       // of the last list that it was counted by
}

// deadlines books what was delivered since the last list: what ran then and runs now
// ran in between.
//
// A deadline that is put off goes on; one that is set when the last has passed begins
// anew.
func (o *observer) deadlines() {
	var out []Progress
	for i := range o.l.Policies {
		p := &o.l.Policies[i]
		if p.Deadline.Work == 0 {
			continue
		}
		now := o.l.Now
		r, known := o.h.progress(p.Name)
		if !known || !r.By.Equal(p.Deadline.By) && now.After(r.By) {
			r = Progress{Policy: p.Name, Since: now, At: now}
		}
		r.By = p.Deadline.By
		if span := now.Sub(r.At); span > 0 {
			for j := range o.h.Machines {
				m := &o.h.Machines[j]
				if _, ran := o.well[m.Name]; ran && m.Policy == p.Name && m.Ready() {
					r.Done += time.Duration(max(m.Shape.GPUs, 1)) * span
				}
			}
			r.At = now
		}
		out = append(out, r)
	}
	o.h.Progress = out
}

func (h *History) progress(name string) (Progress, bool) {
	for _, r := range h.Progress {
		if r.Policy == name {
			return r, true
		}
	}
	return Progress{}, false
}

// Work is where a policy with a deadline stands.
type Work struct {
	Done   time.Duration `json:"gpu_time_done"`
	Of     time.Duration `json:"gpu_time_wanted"`
	By     time.Time     `json:"by"`
	Behind bool          `json:"behind"` // of even progress
}

// String tells it in one line.
func (w *Work) String() string {
	pace := "in time"
	if w.Behind {
		pace = "behind even progress"
	}
	return fmt.Sprintf("%.1f of %.1f GPU-hours by %s, %s", w.Done.Hours(), w.Of.Hours(), w.By.UTC().Format(time.RFC3339), pace)
}

// schedule sets the target of a policy with a deadline: as many machines as are needed
// from now on without a break, and one boot, to have it done in time.
//
//	done, or the deadline has passed   -> none
//	machines needed                    -> work left / (time left - boot), rounded up; the
//	                                      policy's most at once at most
//	no longer needed, but barely       -> kept: the next loss would need it again
//	behind even progress               -> on-demand may cover for spot
//	ahead of it                        -> spot alone: a loss costs time that is to spare
func (w *world) schedule(d *desk) {
	want, most := d.p.Deadline, d.p.GPUs()
	if want.Work == 0 {
		d.st.Target, d.behind = most, true
		return
	}
	r, _ := w.in.History.progress(d.p.Name)
	left, span := want.Work-r.Done, want.By.Sub(w.in.Now)
	even := float64(want.Work)
	if total := want.By.Sub(r.Since); total > 0 && !r.Since.IsZero() {
		even *= float64(w.in.Now.Sub(r.Since)) / float64(total)
	}
	d.behind = left > 0 && float64(r.Done) < even
	d.st.Work = &Work{Done: r.Done, Of: want.Work, By: want.By, Behind: d.behind}
	d.st.Target = 0
	if left <= 0 || span <= 0 {
		if left > 0 {
			w.hold(d, nil, HoldDeadline, "the deadline has passed: %s", d.st.Work)
		}
		return
	}
	n := d.p.Shape.GPUs
	perMachine := float64(n) * float64(max(span-priorBoot, 0))
	need := float64(most) + 1 // machines; what has no time to boot is not enough
	if perMachine > 0 {
		need = float64(left) / perMachine
	}
	d.st.Target = min(wholeMachines(need, d.running()/n)*n, most)
	if need*float64(n) > float64(most) {
		w.hold(d, nil, HoldDeadline, "it cannot be done in time with %d GPUs at once: %s", most, d.st.Work)
	}
}

// wholeMachines rounds up, and keeps what runs where that is barely one too many.
func wholeMachines(need float64, have int) int {
	whole := int(need)
	if float64(whole) < need {
		whole++
	}
	if have == whole+1 && need > 0.9*float64(whole) {
		return have
	}
	return whole
}

// running is how many GPUs of the policy run or are on their way, each place counted
// once.
func (d *desk) running() (gpus int) {
	for _, m := range d.machines {
		if !d.covers(m) && m.Leaving == nil && (m.Ready() || m.booting()) {
			gpus += d.gpus(m)
		}
	}
	return gpus
}
