package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

type explainOptions struct {
	fresh, offers bool
	cycle         uint64
	at            string
}

// fewOffers is how many offers are shown for each reason, unless all are asked for.
const fewOffers = 3

func explainCommand() *cobra.Command {
	var f deskFlags
	var o explainOptions
	cmd := &cobra.Command{
		Use:   "explain [POLICY] --config FILE",
		Short: "Say why a policy has what it has: target, machines, what stands in the way, and what would help",
		Long: `explain plans as "tdscaler plan" does and tells what concerns one policy: first, in one
line, what it is short of and what is most in the way; then its target and why, its
machines, what would be done and what not, the funnel of offers with the reason of each,
and what would help: the planner is run on the policy with one condition relaxed at a
time. Nothing is asked of the market for that. Where the policy needs no offer, the
funnel is that of one machine more.

With --cycle or --at it explains a cycle of the past as the ledger has it. The decision is
made again from what it was made of, and compared with the one on record; exit code 1
says that they differ. Without POLICY the whole cycle is shown.

When to use it: when a policy has too few machines, too many, or dear ones, and to know
why something was decided in the night.`,
		Example: `  tdscaler explain train --config policies.yaml
  tdscaler explain train --config policies.yaml --offers
  tdscaler explain train --config policies.yaml --at 2026-03-02T04:10:00Z
  tdscaler explain --config policies.yaml --cycle 1234`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			then := cmd.Flags().Changed("cycle") || o.at != ""
			switch {
			case then && cmd.Flags().Changed("cycle") && o.cycle == 0:
				return usageError("cycles are numbered from 1")
			case then:
				return f.explainThen(cmd, args, &o)
			case len(args) == 0:
				return usageError("name a policy, or a cycle with --cycle or --at")
			}
			return f.explainNow(cmd, args[0], &o)
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&o.fresh, "fresh", false, "wait for the daemon's next look at the market")
	fl.BoolVar(&o.offers, "offers", false, "list every offer with its reason, not a few of each")
	fl.Uint64Var(&o.cycle, "cycle", 0, "explain the cycle `N` of the past")
	fl.StringVar(&o.at, "at", "", "explain the last cycle that had begun at this `TIME`: a duration back (6h), a date, or RFC 3339")
	cmd.MarkFlagsMutuallyExclusive("cycle", "at")
	cmd.MarkFlagsMutuallyExclusive("cycle", "fresh")
	cmd.MarkFlagsMutuallyExclusive("at", "fresh")
	return cmd
}

// most is how many offers are wanted for each reason: a program gets them all.
func (o *explainOptions) most(asJSON bool) int {
	if o.offers || asJSON {
		return control.AllOffers
	}
	return fewOffers
}

func (f *deskFlags) explainNow(cmd *cobra.Command, name string, o *explainOptions) error {
	var e control.Explanation
	err := f.at(cmd, func(s *session) (err error) {
		e, err = s.desk.Explain(s.Context(), control.ExplainRequest{PlanRequest: s.planRequest(o.fresh), Policy: name, Offers: o.most(s.json)})
		if err != nil {
			return err
		}
		return s.printed(e, func(t *table) { t.explanation(&e) })
	})
	return planResult(err, &e.Plan, false)
}

// past is a whole cycle, explained.
type past struct {
	Replay plan.Replay `json:"replay"`
	Report plan.Report `json:"report"`
}

func (f *deskFlags) explainThen(cmd *cobra.Command, args []string, o *explainOptions) error {
	var again plan.Replay
	var n uint64
	err := f.at(cmd, func(s *session) error {
		r, err := s.cycleOf(o)
		if err != nil {
			return err
		}
		n = r.Cycle
		if len(args) == 0 {
			if again, err = r.Replay(); err != nil {
				return err
			}
			return s.printed(past{again, r}, func(t *table) {
				t.cycle(&r)
				t.gap()
				t.replayed(&r, &again)
			})
		}
		e, ok, err := control.ExplainReport(&r, args[0], o.most(s.json))
		if err == nil && !ok {
			err = usageError("cycle %d knew no policy %q", r.Cycle, args[0])
		}
		if err != nil {
			return err
		}
		again = e.Then.Replay
		return s.printed(e, func(t *table) {
			t.explanation(&e)
			t.then(&r, e.Then)
		})
	})
	if err == nil && !again.Same {
		return fmt.Errorf("cycle %d: this version decides otherwise", n)
	}
	return err
}

// cycleOf is the report that is asked for.
func (s *session) cycleOf(o *explainOptions) (plan.Report, error) {
	n := o.cycle
	if o.at != "" {
		when, err := pointInTime("--at", o.at, -1)
		if err != nil {
			return plan.Report{}, err
		}
		found, err := s.desk.Cycles(s.Context(), control.CyclesRequest{Limit: 1, By: when})
		if err != nil {
			return plan.Report{}, err
		}
		if len(found) == 0 {
			return plan.Report{}, fmt.Errorf("the ledger has no cycle that had begun by %s (any more)", stamp(when))
		}
		n = found[0].Cycle
	}
	return s.desk.Cycle(s.Context(), control.CycleRequest{Cycle: n})
}

// then prints what a cycle of the past did and learnt of a policy, and whether the same is
// decided today.
func (t *table) then(r *plan.Report, e *control.Then) {
	if len(e.Events) > 0 {
		t.gap()
		t.line("learned:")
		t.events(e.Events)
	}
	if len(e.Intents) > 0 {
		t.gap()
		t.line("done:")
		t.intents(e.Intents, r.FinishedAt)
	}
	t.gap()
	t.replayed(r, &e.Replay)
}

// replayed says whether a cycle's decision is the same when it is made again.
func (t *table) replayed(r *plan.Report, again *plan.Replay) {
	if again.Same {
		t.say(good, "recomputed: the same decision")
		return
	}
	by := "it was not noted which version made it"
	if r.Version != "" {
		by = "it was made by " + r.Version
	}
	t.say(bad, "recomputed: another decision; %s, this is %s", by, daemon.Build())
	for _, d := range again.Differences {
		t.line("  %s", d)
	}
}

func (t *table) explanation(e *control.Explanation) {
	p := &e.Policy
	if e.Then != nil {
		t.line("policy %s in cycle %d of %s, mode %s", p.Name, e.Then.Cycle, stamp(e.Then.At), e.Mode)
	} else {
		t.line("policy %s, mode %s; the market was looked at %s ago", p.Name, e.Mode, seconds(e.AgeSeconds))
	}
	t.headline(e)
	if e.Problem != "" {
		t.say(bad, "incomplete: %s", e.Problem)
	}
	if e.Shadow {
		t.line("it is a shadow: what follows would be, and nothing of it is done; its bids are held against the record, and nobody is asked")
	}
	t.gap()
	if p.Kind == policy.Container {
		t.row("runs", p.Image)
	}
	gpus := p.GPUs()
	o := demandOf(e)
	if o != nil {
		gpus = o.GPUs
	}
	t.row("wants", plural(gpus, "GPU")+" in "+plural(gpus/max(p.Shape.GPUs, 1), "machine")+", "+string(p.Capacity)+", each with "+plural(p.Shape.GPUs, "GPU")+", "+wantedText(p))
	t.because(o)
	for i := range e.Policies {
		if w := e.Policies[i].Work; w != nil && e.Policies[i].Policy == p.Name {
			t.row("deadline", w.String())
		}
	}
	t.row("pays", "at most "+p.MaxGPUHour.String()+" a GPU, "+p.Ceiling().String()+" a machine, all-in")
	t.row("GPUs", anyOf(p.Match.GPUModels))
	t.row("places", places(&p.Match))
	if text := spread(&p.Spread, p.Target); text != "" {
		t.row("spread", text)
	}
	if len(p.Labels) > 0 {
		t.row("labels", labels(p.Labels))
	}
	t.gap()
	t.standings(e.Policies)
	t.gap()
	if p.Kind != policy.Container || len(e.Machines) > 0 {
		t.machines(e.Machines)
	}
	t.containers(e.Containers)
	t.gap()
	t.actions(e.Actions)
	t.notDone(e.Holds)
	t.gap()
	t.offers(e)
	t.helps(e.Counterfactuals)
	t.asked(e.Verdicts)
	t.shadows(e.Shadows)
}

// headline is what somebody reads who reads no more.
func (t *table) headline(e *control.Explanation) {
	style := good
	if strings.HasPrefix(e.Headline, "short") {
		style = caution
	}
	if e.Headline != "" {
		t.say(style, "%s", e.Headline)
	}
}

// offers prints the funnel as a sentence, and below it offers by what became of them.
func (t *table) offers(e *control.Explanation) {
	label := "offers: "
	if e.OneMore {
		label = "offers, if one more machine were wanted: "
	}
	if e.Funnel.Offers == 0 {
		t.line("%snone were looked for", label)
		return
	}
	t.line("%s%s", label, e.FunnelText)
	t.gap()
	t.row("OFFER", "PER GPU", "FREE", "MODEL", "PLACE", "HOST", "WHY")
	for i := range e.Offers {
		g := &e.Offers[i]
		for j := range g.Listed {
			l := &g.Listed[j]
			style := unstyled
			if l.In {
				style = good
			}
			t.row(shade{style, l.Reason.Code}, plain(l.PerGPU), l.Free, l.Model, cmp.Or(l.Location.String(), "-"), hostText(l), l.Reason.Text)
		}
		if more := g.Count - len(g.Listed); more > 0 {
			t.row(g.Code, "", "", "", "", "", fmt.Sprintf("and %d more", more))
		}
	}
}

// helps prints what would bring the machines that are missing.
func (t *table) helps(all []plan.Counterfactual) {
	if len(all) == 0 {
		return
	}
	t.gap()
	t.line("what would help:")
	if all[0].Key == plan.KeyWait {
		t.line("  to relax one condition alone would bring nothing now")
	}
	for i := range all {
		t.line("  %s", all[i].Text)
	}
}

// spread says how many machines may stand together; "" where nothing is said of it.
func spread(s *policy.Spread, target int) string {
	var parts []string
	for _, b := range []struct {
		share policy.Share
		where string
	}{{s.Host(), "on one host"}, {s.PerPlace, "in one place"}, {s.PerGroup, "on hosts of one group"}} {
		if b.share.Bounds() {
			parts = append(parts, plural(b.share.Of(target), "machine")+" "+b.where)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "at most " + strings.Join(parts, ", ")
}

func anyOf(list []string) string {
	if len(list) == 0 {
		return "any"
	}
	return strings.Join(list, ", ")
}

func labels(all map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, name+"="+all[name])
	}
	return strings.Join(parts, ", ")
}

func places(m *policy.Match) string {
	var parts []string
	for _, l := range [][]string{m.Countries, m.Regions, m.Cities, m.Hosts} {
		if len(l) > 0 {
			parts = append(parts, strings.Join(l, " or "))
		}
	}
	return anyOf(parts)
}
