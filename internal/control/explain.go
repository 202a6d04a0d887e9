package control

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/prices"
)

// AllOffers is for ExplainRequest.Offers: every one.
const AllOffers = math.MaxInt

// OfferGroup is what became of offers that share their fate.
type OfferGroup struct {
	Code  string `json:"step"` // of plan.OfferCodes
	Count int    `json:"offers"`
	// Listed are the first of them, as many as were asked for.
	Listed []plan.Listing `json:"listed"`
}

// Then is what makes an explanation one of the past.
type Then struct {
	Cycle   uint64    `json:"cycle"`
	At      time.Time `json:"at"`
	Version string    `json:"version,omitempty"` // that decided; "" where it was not noted
	// Replay says whether the same is decided today.
	Replay  plan.Replay   `json:"replay"`
	Intents []plan.Intent `json:"intents"`
	Events  []plan.Event  `json:"events"`
}

// tell adds what follows from the input that was decided on: the line above everything,
// the funnel in words, the offers, and what would help.
func (e *Explanation) tell(in plan.Input, most int) {
	p := e.Policy
	if i := slices.IndexFunc(in.Policies, func(o policy.Policy) bool { return o.Name == p.Name }); i >= 0 {
		p = in.Policies[i] // its target is what everything came to
	}
	asked := 0
	if e.Offers = []OfferGroup{}; e.Funnel.Offers > 0 && p.Shape.GPUs > 0 { // what a shadow of the past wanted is not on record
		asked = e.sort(plan.List(in, p), most)
	}
	e.FunnelSteps, e.FunnelText = list(e.Funnel.Steps()), e.Funnel.Sentence(p.Capacity, min(asked, e.Funnel.Candidates))
	e.Counterfactuals = []plan.Counterfactual{}
	if !e.OneMore && !e.Shadow {
		e.Counterfactuals = list(plan.Counterfactuals(in, p.Name))
	}
	for i := range e.Policies {
		e.Headline = e.Policies[i].Headline(e.Actions, e.Holds)
	}
}

// sort puts the offers into groups, and returns how many of them the market has said yes
// to. Offers of another kind than the policy's are none.
func (e *Explanation) sort(all []plan.Listing, most int) (yes int) {
	for _, code := range foremost() {
		g := OfferGroup{Code: code, Listed: []plan.Listing{}}
		for i := range all {
			if all[i].Reason.Code != code || code == plan.OfferKind {
				continue
			}
			if g.Count++; len(g.Listed) < most {
				g.Listed = append(g.Listed, all[i])
			}
			if all[i].Verified {
				yes++
			}
		}
		if g.Count > 0 {
			e.Offers = append(e.Offers, g)
		}
	}
	return yes
}

// foremost are the fates of offers, those first that came furthest.
func foremost() []string {
	codes := plan.OfferCodes() // the one that is bought, then the conditions in their order
	slices.Reverse(codes[1:])
	return codes
}

// ExplainReport explains a policy as a cycle on record decided about it; ok is false where
// the cycle knew no such policy.
func ExplainReport(r *plan.Report, name string, most int) (e Explanation, ok bool, err error) {
	p := &r.Plan
	all := Plan{
		Mode: r.Mode, LookedAt: r.Input.Now, Problem: r.Problem, Actions: list(p.Actions), Holds: list(p.Holds), Drains: list(p.Drains),
		Policies: list(p.Standings), Before: p.Before, After: p.After, Verdicts: list(r.Input.Verdicts), Questions: p.Questions, Shadows: r.Shadows,
	}
	e = Explanation{Plan: only(all.clone(), name), Policy: policy.Policy{Name: name}, Machines: []Machine{}, Then: &Then{
		Cycle: r.Cycle, At: r.Input.Now, Version: r.Version, Intents: []plan.Intent{}, Events: []plan.Event{},
	}}
	if e.Then.Replay, err = r.Replay(); err != nil {
		return e, false, err
	}
	for _, o := range r.Input.Policies {
		if o.Name == name {
			e.Policy, ok = o, true
		}
	}
	for _, s := range e.Shadows {
		e.beShadow(&s)
		ok = true
	}
	if !ok {
		return e, false, nil
	}
	e.booked(r)
	for _, s := range e.Policies {
		e.Funnel = s.Funnel
	}
	e.tell(r.Input, most)
	return e, true, nil
}

// booked adds what the cycle knew, did and learnt of the policy.
func (e *Explanation) booked(r *plan.Report) {
	name, now := e.Policy.Name, r.Input.Now
	for _, m := range r.Input.History.Machines {
		if m.Policy == name {
			e.Machines = append(e.Machines, Machine{Machine: m, Burn: m.Burn(), AgeSeconds: max(0, int64(now.Sub(m.OrderedAt)/time.Second))})
		}
	}
	for _, c := range r.Input.History.Containers {
		if c.Policy == name {
			e.Containers = append(e.Containers, Container{Container: c, Burn: c.Burn(), AgeSeconds: max(0, int64(now.Sub(c.OrderedAt)/time.Second))})
		}
	}
	for _, in := range r.Intents {
		if in.Policy == name {
			e.Then.Intents = append(e.Then.Intents, in)
		}
	}
	for _, ev := range r.Events {
		if ev.Policy == name || ev.Policy == "" {
			e.Then.Events = append(e.Then.Events, ev)
		}
	}
}

// beShadow tells of a policy that is decided and never acted on.
func (e *Explanation) beShadow(s *plan.ShadowReport) {
	e.Shadow, e.Verdicts, e.Questions = true, []market.Verdict{}, nil
	e.Actions, e.Holds, e.Policies, e.Funnel = list(s.Actions), append(slices.Clip(e.Holds), s.Holds...), []plan.Standing{s.Standing}, s.Standing.Funnel
	e.Before, e.After = s.Standing.Before, s.Standing.After
}

// clone is a plan whose lists may be cut.
func (p Plan) clone() Plan {
	p.Actions, p.Holds, p.Drains, p.Policies = slices.Clone(p.Actions), slices.Clone(p.Holds), slices.Clone(p.Drains), slices.Clone(p.Policies)
	return p
}

// waitDays is how far back the record is read for what waiting may bring.
const waitDays = 7

// wait tells how often in the last days there was such an offer, where machines are missing
// for want of one.
func (f *Office) wait(e *Explanation, in plan.Input) error {
	short := slices.ContainsFunc(e.Holds, func(h plan.Hold) bool { return h.Reason.Code == plan.HoldNoOffer || h.Reason.Code == plan.HoldSpread })
	if !short || e.OneMore || e.Shadow {
		return nil
	}
	own, p := policy.NewMatcher(e.Policy.Match), &e.Policy
	q := prices.Query{Shape: p.Shape, Since: in.Now.AddDate(0, 0, -waitDays), Until: in.Now, Wants: func(m market.GPUModel, l market.Location) bool {
		_, ok := own.Model(m)
		return ok && own.Place(l)
	}}
	var all []plan.Series
	err := f.question(func(l *ledger.Ledger) error {
		return l.EachSeries(func(s plan.Series) error {
			if own.HostID(s.Host) {
				all = append(all, s)
			}
			return nil
		})
	})
	if text := waitText(p, prices.Available(q, p.Ceiling(), !p.Buys(market.Spot), all)); err == nil {
		c := plan.Counterfactual{Key: plan.KeyWait, Change: "waiting", Text: text}
		for _, s := range e.Policies {
			c.Missing = max(s.Target-s.Ready, 0)
		}
		e.Counterfactuals = append(e.Counterfactuals, c)
	}
	return err
}

func waitText(p *policy.Policy, a prices.Availability) string {
	var b strings.Builder
	b.WriteString("waiting costs nothing, as nothing is billed meanwhile")
	switch {
	case a.Since.IsZero():
		return b.String() + fmt.Sprintf("; such an offer was never seen in the last %d days", waitDays)
	case a.Until.Sub(a.Since) < time.Hour:
		return b.String() + "; too little is on record to say how often such an offer comes"
	case p.Buys(market.Spot):
		fmt.Fprintf(&b, ": a host that matches had the GPUs free %s", shareText(&a))
		if a.Answers > 0 {
			fmt.Fprintf(&b, ", and to %d of %d bids under the ceiling the market said yes", a.Yes, a.Answers)
		} else {
			b.WriteString(", and no bid under the ceiling was asked about")
		}
	default:
		fmt.Fprintf(&b, ": such an offer was there %s", shareText(&a))
	}
	return b.String()
}

// shareText says for how much of which time.
func shareText(a *prices.Availability) string {
	text := fmt.Sprintf("%.0f %% of the last %d days", 100*a.Share, waitDays)
	if kept := a.Until.Sub(a.Since); kept < waitDays*24*time.Hour-time.Hour {
		text = fmt.Sprintf("%.0f %% of the %s on record", 100*a.Share, kept.Round(time.Minute))
	}
	return text
}
