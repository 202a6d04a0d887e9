package campaign

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/errands"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/simulator"
)

// attendants are asked whether machines deliver, told of them, and asked before one
// goes. What they say hangs on the machine: some never pass, some hooks fail at first,
// some say no for a while, some never answer well.
type attendants struct {
	w      *world
	found  []plan.Finding // dies with the process
	probed map[string]int // by id
	passed map[string]bool
	told   map[string]int // by delivery
	asked  map[string]*asking
	calm   bool // everything passes, everybody agrees
}

// asking is how one machine's drains went.
type asking struct {
	delivery string
	n        int
	agreed   time.Time
}

func newAttendants(w *world) *attendants {
	return &attendants{w: w, probed: map[string]int{}, passed: map[string]bool{}, told: map[string]int{}, asked: map[string]*asking{}}
}

// Start implements daemon.Errands.
func (a *attendants) Start(_ context.Context, jobs []errands.Job) {
	a.found = nil
	for _, j := range jobs {
		f := plan.Finding{Kind: j.Kind, Machine: j.Machine, ID: j.ID, At: a.w.clock.Now().Add(a.w.skew), Text: "not yet"}
		switch j.Kind {
		case plan.ErrandProbe:
			a.probe(&j, &f)
		case plan.ErrandReady:
			a.told[j.Facts.Delivery]++
			f.OK = a.calm || a.told[j.Facts.Delivery] > luck(j.ID, 3)
		default:
			a.ask(&j, &f)
		}
		a.found = append(a.found, f)
	}
}

func (a *attendants) probe(j *errands.Job, f *plan.Finding) {
	a.probed[j.ID]++
	f.OK = a.calm || luck(j.ID, 6) > 0 && a.probed[j.ID] > luck(j.ID+"late", 3)
	a.passed[j.ID] = a.passed[j.ID] || f.OK
}

func (a *attendants) ask(j *errands.Job, f *plan.Finding) {
	q := a.asked[j.ID]
	if q == nil || q.delivery != j.Facts.Delivery {
		q = &asking{delivery: j.Facts.Delivery}
		a.asked[j.ID] = q
	}
	q.n++
	switch luck(j.ID+"drain", 4) {
	case 0: // never
	case 1:
		f.Veto, f.OK = q.n <= 3, q.n > 3
	default:
		f.OK = true
	}
	if a.calm {
		f.OK, f.Veto = true, false
	}
	if f.OK && q.agreed.IsZero() {
		q.agreed = a.w.clock.Now()
	}
}

// luck is a number below n that hangs on the text alone.
func luck(text string, n uint32) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text))
	return int(h.Sum32() % n)
}

// Findings implements daemon.Errands.
func (a *attendants) Findings() []plan.Finding { return a.found }

// Wait implements daemon.Errands.
func (a *attendants) Wait() {}

// gentle: what is given up of the daemon's own will was drained: whoever is to be asked
// has agreed and the grace is over, or was asked in vain until the deadline. The caller
// holds w.mu.
func (w *world) gentle(in *plan.Intent) {
	switch in.Reason.Code {
	case plan.ReasonOverTarget, plan.ReasonSpotReady, plan.ReasonMigrated, plan.ReasonNotMatching, plan.ReasonOverCeiling, plan.ReasonResize:
	default:
		return
	}
	p, ok := w.set.Find(in.Policy)
	h, err := w.ledger.History()
	if err != nil {
		w.wrong(ruleGentle, "the ledger cannot be read: %v", err)
		return
	}
	m := h.Machine(in.Machine)
	if !ok || !p.Drain.Wanted() || m == nil || !m.Ready() || !in.Kind.Ends() {
		return
	}
	const slack = 10 * time.Second
	now, q := w.clock.Now(), w.attendants.asked[in.Instance]
	if m.Drain == nil {
		// The books forget a drain with a stop.
		w.holds(ruleGentle, in.Kind == plan.Stop && q != nil, "%s %s (%s) although nobody has drained it", in.Kind, in.Machine, in.Reason.Code)
		return
	}
	age := now.Add(w.seenSkew).Sub(m.Drain.Since) + slack
	agreed := q != nil && !q.agreed.IsZero() && now.Sub(q.agreed)+slack >= p.Drain.Grace
	inVain := q != nil && age >= p.Drain.Deadline
	w.holds(ruleGentle, agreed || inVain || age >= 2*p.Drain.Deadline, "%s %s (%s) before its drain was over: %+v, asked %+v", in.Kind, in.Machine, in.Reason.Code, *m.Drain, q)
}

// proven: what is ready of a policy that wants a probe has passed one. The caller holds w.mu.
func (w *world) proven(r *plan.Report) {
	for i := range r.Input.History.Machines {
		m := &r.Input.History.Machines[i]
		p, ok := w.set.Find(m.Policy)
		if ok && p.Ready.Wanted() && m.Ready() && w.attendants.probed[m.ID] > 0 {
			w.holds(ruleGentle, w.attendants.passed[m.ID], "%s is ready and never passed its probe", m.Name)
		}
	}
}

// careful is eight, with a probe, hooks and a drain.
func careful(gpus int) string {
	text := eight("0.60", "budget: {max_hourly: 9.00}")
	return strings.Replace(text, "gpus: 8", fmt.Sprintf("gpus: %d", gpus), 1) + carefully
}

const carefully = `    ready: {tcp: 22, deadline: 20m}
    on_ready: {command: [told]}
    drain: {webhook: {url: "https://hooks.example.com/drain"}, grace: 10m, deadline: 40m}
`

func TestAFleetIsReadyWhenItsProbesPassAndGoesWhenItsHooksAgree(t *testing.T) {
	w := newWorld(t, plot{config: careful(8), sim: simulator.Options{Seed: 3, Scenario: field(8), Boot: sure()}})
	w.pass(4 * time.Hour)
	var never int
	for id := range w.attendants.probed {
		if !w.attendants.passed[id] {
			never++
		}
	}
	if n := w.running("train"); n < 8 || w.last.Plan.Standings[0].Ready != 8 || never == 0 {
		t.Errorf("%d GPUs run, %d are ready; %d machines never passed", n, w.last.Plan.Standings[0].Ready, never)
	}
	w.write(careful(2))
	w.must(w.reload(true))
	w.pass(2 * time.Minute)
	if n := w.running("train"); n != 8 {
		t.Errorf("%d GPUs run while they drain, want 8", n)
	}
	w.pass(50 * time.Minute)
	if n := w.running("train"); n != 2 || len(w.attendants.asked) != 6 {
		t.Errorf("%d GPUs run, want 2; %d were asked", n, len(w.attendants.asked))
	}
	for d, n := range w.attendants.told {
		if n > 3 {
			t.Errorf("%s was told %d times", d, n)
		}
	}
	w.whole()
	w.end()
}
