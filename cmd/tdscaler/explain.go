package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func explainCommand() *cobra.Command {
	var f deskFlags
	var fresh bool
	cmd := &cobra.Command{
		Use:   "explain POLICY --config FILE",
		Short: "Say why a policy has what it has: target, machines, what would be done, and where the offers went",
		Long: `explain plans as "tdscaler plan" does and tells what concerns one policy, with the
funnel of offers: how many there are, and at which condition each fell out. Where the
policy needs no offer, the funnel is that of one machine more.

When to use it: when a policy has too few machines, too many, or dear ones.`,
		Example: "  tdscaler explain train --config policies.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var e control.Explanation
			err := f.at(cmd, func(s *session) (err error) {
				e, err = s.desk.Explain(s.Context(), control.ExplainRequest{PlanRequest: s.planRequest(fresh), Policy: args[0]})
				if err != nil {
					return err
				}
				return s.printed(e, func(t *table) { t.explanation(&e) })
			})
			return planResult(err, &e.Plan, false)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&fresh, "fresh", false, "wait for the daemon's next look at the market")
	return cmd
}

func (t *table) explanation(e *control.Explanation) {
	p := &e.Policy
	t.line("policy %s, mode %s; the market was looked at %s ago", p.Name, e.Mode, seconds(e.AgeSeconds))
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
	label := "offers: "
	if e.OneMore {
		label = "offers, if one more machine were wanted: "
	}
	t.line("%s%s", label, e.Funnel)
	t.asked(e.Verdicts)
	t.shadows(e.Shadows)
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
