package main

import (
	"cmp"
	"errors"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
)

func marketCommand() *cobra.Command {
	var f deskFlags
	var r control.MarketRequest
	var fresh, all bool
	var limit int
	cmd := &cobra.Command{
		Use:   "market --config FILE",
		Short: "List what there is to buy now, cheapest first, with what a policy makes of each offer",
		Long: `market lists the offers of the market as a policy sees them: first those it could
take, by the price the planner compares, then the others, with why they are out.
Without --policy it lists what one machine of the shape costs on demand.

A running daemon tells of its last look, whose age is printed; --fresh waits for
the next. Without a daemon the list of hosts is read, which needs no credentials.
Nothing is bought and no bid is asked about.

When to use it: before a ceiling is written, and when nothing is bought.`,
		Example: `  tdscaler market --config policies.yaml --policy train
  tdscaler market --config policies.yaml --model '*4090*' --country NO --gpus 2`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 0 || min(r.Shape.GPUs, r.Shape.VCPUs, r.Shape.RAM, r.Shape.Storage) < 0 {
				return usageError("--limit and the shape must not be negative")
			}
			if r.Policy != "" && r.Shape != (market.Shape{}) {
				return usageError("--policy has a shape of its own: --gpus, --vcpus, --ram and --storage are for a look without one")
			}
			return f.at(cmd, func(s *session) error {
				r.PlanRequest = s.planRequest(fresh)
				m, err := s.desk.Market(s.Context(), r)
				if err != nil {
					return err
				}
				if m.Problem != "" && len(m.Offers) == 0 {
					return errors.New("the market could not be read: " + clean(m.Problem))
				}
				return s.printed(m, func(t *table) { t.market(&m, limit, all) })
			})
		},
	}
	f.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&r.Policy, "policy", "", "as this `POLICY` sees it")
	fl.StringSliceVar(&r.Models, "model", nil, "only GPU models like this `GLOB`, with * and ?; may be given again")
	fl.StringSliceVar(&r.Countries, "country", nil, "only in this `COUNTRY`; may be given again")
	fl.IntVar(&limit, "limit", 40, "print at most `N` offers; 0 is all")
	fl.BoolVar(&all, "all", false, "also print offers of other kinds, models and places than the policy wants")
	fl.BoolVar(&fresh, "fresh", false, "wait for the daemon's next look at the market")
	shapeFlags(cmd, &r.Shape)
	return cmd
}

// shapeFlags are for a machine of no policy.
func shapeFlags(cmd *cobra.Command, s *market.Shape) {
	fl := cmd.Flags()
	fl.IntVar(&s.GPUs, "gpus", 0, "without a policy: `N` GPUs in the machine (1)")
	fl.IntVar(&s.VCPUs, "vcpus", 0, "without a policy: `N` vCPUs (4 for each GPU)")
	fl.IntVar(&s.RAM, "ram", 0, "without a policy: `N` GB of RAM (16 for each GPU)")
	fl.IntVar(&s.Storage, "storage", 0, "without a policy: `N` GB of storage (100)")
}

func (t *table) market(m *control.Market, limit int, all bool) {
	t.line("looked at %s ago; a machine is %s, %s", seconds(m.AgeSeconds), gpus("GPU", m.Policy.Shape), wantedText(&m.Policy))
	if m.Problem != "" {
		t.say(bad, "incomplete: %s", m.Problem)
	}
	t.gap()
	shown := slices.DeleteFunc(slices.Clone(m.Offers), func(l plan.Listing) bool {
		return !all && unlikeWanted(&l)
	})
	if limit > 0 && len(shown) > limit {
		shown = shown[:limit]
	}
	if len(shown) > 0 {
		t.row("EFFECTIVE", "PER GPU", "BID", "FLOOR", "FREE", "GPU", "VCPU", "RAM", "DISK", "SIZE", "MODEL", "PLACE", "HOST", "LOSS/H", "BOOT", "OFFER", "WHY")
	}
	for i := range shown {
		t.listing(&shown[i])
	}
	t.gap()
	t.line("%s", offersText(m.Offers, len(shown)))
}

// unlikeWanted says whether an offer is of another kind, model or place than the policy wants.
func unlikeWanted(l *plan.Listing) bool {
	return l.Reason.Code == plan.OfferKind || l.Reason.Code == plan.OfferModel || l.Reason.Code == plan.OfferPlace
}

func (t *table) listing(l *plan.Listing) {
	verdict := shade{unstyled, "out"}
	if l.In {
		verdict = shade{good, "in"}
	}
	t.row(plain(l.Effective), plain(l.PerGPU), bid(l.Bid), bid(l.Floor), l.Free, plain(l.GPU), plain(l.VCPU), plain(l.RAM), plain(l.Storage), sizeText(l.Shape), l.Model,
		cmp.Or(l.Location.String(), "-"), hostText(l), strconv.FormatFloat(l.Hazard, 'f', 3, 64), seconds(l.Seconds), verdict, l.Reason.Code+": "+l.Reason.Text)
}

// hostText is the host, and which of its ready-made machines it is.
func hostText(l *plan.Listing) string {
	if l.Instant == "" {
		return l.Host
	}
	return cmp.Or(l.Host, "-") + " instant " + l.Instant
}

// wantedText is what a machine of the policy has beside its GPUs.
func wantedText(p *policy.Policy) string {
	switch {
	case p.Kind != policy.Instant:
		return shapeText(p.Shape)
	case p.Shape == market.Shape{GPUs: p.Shape.GPUs}:
		return "ready-made, whatever else it has"
	}
	return "ready-made, at least " + shapeText(p.Shape)
}

// sizeText is a machine's vCPUs, GB of RAM and GB of storage.
func sizeText(s market.Shape) string {
	return strconv.Itoa(s.VCPUs) + "/" + strconv.Itoa(s.RAM) + "/" + strconv.Itoa(s.Storage)
}

// plain prints a rate without its unit, which the heading has.
func plain(r market.Maybe[market.Rate]) string {
	v, ok := r.Get()
	if !ok {
		return "-"
	}
	return strconv.FormatFloat(v.Float(), 'f', 4, 64)
}

// offersText counts the offers by what became of them.
func offersText(all []plan.Listing, shown int) string {
	n := map[string]int{}
	for i := range all {
		n[all[i].Reason.Code]++
	}
	s := plural(len(all), "offer")
	sep := ": "
	for _, code := range plan.OfferCodes() {
		if n[code] > 0 {
			s += sep + strconv.Itoa(n[code]) + " " + code
			sep = ", "
		}
	}
	if shown < len(all) {
		s += "; " + strconv.Itoa(shown) + " are shown"
	}
	return s
}
