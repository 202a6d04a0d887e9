package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/tdscaler/tdscaler/internal/market"
)

// FunnelStep is one condition that offers must pass, and how many did.
type FunnelStep struct {
	Code string `json:"step"` // of OfferCodes; the first is "offers"
	Out  int    `json:"out"`
	Left int    `json:"left"`
	Text string `json:"text"` // "31 in the place"
}

// FunnelAll is the code of the first step of a funnel: all offers there are.
const FunnelAll = "offers"

// fall is a condition: how many offers failed it, what the others are, what those are.
type fall struct {
	code    string
	out     int
	in, all string // "of the model", "is another GPU"
}

func (f *Funnel) falls() []fall {
	return []fall{
		{OfferModel, f.Model, "of the model", "is another GPU, or has too little memory"},
		{OfferPlace, f.Place, "in the place", "stands elsewhere"},
		{OfferOffline, f.Offline, "online", "is offline"},
		{OfferUptime, f.Uptime, "with the uptime", "has too little uptime"},
		{OfferCapacity, f.Capacity, "with capacity", "has too few GPUs free"},
		{OfferSpread, f.Spread, "within the spread", "is left out by spread"},
		{OfferShape, f.Shape, "with room for the shape", "has no room for the shape"},
		{OfferNoPrice, f.NoPrice, "with a price", "has no price"},
		{OfferCeiling, f.Ceiling, "under the ceiling", "is above the ceiling"},
		{OfferBackoff, f.Backoff, "that neither refused nor failed lately", "refused or failed lately and is left alone"},
		{OfferFickle, f.Fickle, "that keep their word", "took no order at a bid that was said to win"},
		{OfferRefused, f.Refused, "not refused", "was refused by the market at every bid under the ceiling"},
		{OfferSibling, f.Sibling, "beside none of ours", "would need a bid above that of a machine of ours there"},
	}
}

// Steps are the funnel as it narrows: the conditions that some offer failed, in the order
// of the checks.
func (f Funnel) Steps() []FunnelStep {
	left := f.Offers
	out := []FunnelStep{{Code: FunnelAll, Left: left, Text: counted(left, "offer")}}
	for _, s := range f.falls() {
		if s.out == 0 {
			continue
		}
		if left -= s.out; s.code == OfferRefused && left == 0 {
			s.in = "accepted"
		}
		out = append(out, FunnelStep{s.code, s.out, left, fmt.Sprintf("%d %s", left, s.in)})
	}
	return out
}

// Sentence is the funnel in one line: "412 offers, 96 of the model, 9 under the ceiling".
// Of what is left, asked is how many the market has said yes to; on demand it is not asked.
func (f Funnel) Sentence(capacity market.Capacity, asked int) string {
	var parts []string
	for _, s := range f.Steps() {
		parts = append(parts, s.Text)
	}
	if f.Candidates > 0 && capacity != market.OnDemand {
		parts = append(parts, fmt.Sprintf("%d accepted", asked))
		if asked < f.Candidates {
			parts = append(parts, fmt.Sprintf("%d not asked", f.Candidates-asked))
		}
	}
	return strings.Join(parts, ", ")
}

// obstacle is what keeps the offers away that are of the right model in the right place:
// the condition that most of them fail, or the one before which none is left.
func (f Funnel) obstacle() string {
	if f.Offers == 0 {
		return "the market has no offers"
	}
	if f.Candidates > 0 {
		return fmt.Sprintf("%s could be had, and none of them was", counted(f.Candidates, "offer"))
	}
	all := f.falls()
	left := f.Offers
	for i, s := range all[:3] { // what no price could change
		if left -= s.out; left == 0 {
			return []string{"no offer is of the GPU model", "no offer of the model is in the place", "every offer of the model and place is offline"}[i]
		}
	}
	rest := slices.DeleteFunc(all[3:], func(s fall) bool { return s.out == 0 })
	slices.SortStableFunc(rest, func(a, b fall) int { return cmp.Compare(b.out, a.out) })
	if len(rest) == 1 {
		return "every offer " + rest[0].all
	}
	return fmt.Sprintf("of %s that match, %d %s, %d %s", counted(left, "offer"), rest[0].out, plurally(rest[0], rest[0].out), rest[1].out, plurally(rest[1], rest[1].out))
}

// plurally is what a condition says of so many offers.
func plurally(s fall, n int) string {
	if n == 1 {
		return s.all
	}
	first, rest, _ := strings.Cut(s.all, " ")
	many := map[string]string{"is": "are", "has": "have", "stands": "stand", "was": "were"}
	rest = strings.NewReplacer("and is left", "and are left").Replace(rest)
	return cmp.Or(many[first], first) + " " + rest
}

// holdRank orders what may stand in a policy's way: what stops everything first, what
// passes by itself last. What is not listed comes between.
func holdRank(code string) int {
	for i, c := range [...]string{
		HoldPaused, HoldBreaker, HoldLedger, HoldContract, HoldInstances, HoldDisagrees, HoldHosts, HoldReadyMade, HoldDemand,
		HoldBudget, HoldBalance, HoldNoOffer, HoldSpread, HoldProbes, HoldActions, HoldChurn, HoldCooldown,
	} {
		if c == code {
			return i - 100
		}
	}
	switch code {
	case HoldAsking, HoldBooting, HoldRebid, HoldProbe, HoldDeleting, HoldDraining:
		return 1
	}
	return 0
}

// Headline says in one line where a policy stands and the one thing that is most in its
// way. Actions and holds of other policies are passed over.
func (s *Standing) Headline(actions []Action, holds []Hold) string {
	short := s.Target - s.Ready
	switch {
	case s.Target == 0 && s.Ready == 0:
		return "wants nothing now" + s.rest()
	case short <= 0:
		return "has the " + counted(s.Target, "GPU") + " it wants" + s.rest()
	}
	text := "short " + counted(short, "GPU") + ": "
	switch {
	case s.Booting >= short:
		return text + "what is missing is ordered or booting"
	case s.Booting > 0:
		text = fmt.Sprintf("short %s, %d of them ordered or booting: ", counted(short, "GPU"), s.Booting)
	}
	if h := s.foremost(holds); h != nil && (holdRank(h.Reason.Code) < 0 || s.ordered(actions) == 0) {
		return text + s.inTheWay(h)
	}
	if n := s.ordered(actions); n > 0 {
		return text + counted(n, "machine") + " to be ordered now"
	}
	return text + "nothing is planned, and nothing is in the way"
}

// rest is what there is beside what is wanted.
func (s *Standing) rest() string {
	switch {
	case s.Ready > s.Target:
		return fmt.Sprintf(", and %d too many", s.Ready-s.Target)
	case s.Leaving > 0:
		return fmt.Sprintf(", and %d that leave", s.Leaving)
	}
	return ""
}

func (s *Standing) ordered(actions []Action) (n int) {
	for i := range actions {
		if actions[i].Policy == s.Policy && actions[i].Kind == Deploy {
			n++
		}
	}
	return n
}

// foremost is the hold that is most in the policy's way; nil if there is none.
func (s *Standing) foremost(holds []Hold) (h *Hold) {
	for i := range holds {
		o := &holds[i]
		mine := o.Policy == s.Policy || o.Policy == ""
		if mine && (h == nil || holdRank(o.Reason.Code) < holdRank(h.Reason.Code)) {
			h = o
		}
	}
	return h
}

// inTheWay says it shortly; what only tells of missing GPUs is said of the funnel.
func (s *Standing) inTheWay(h *Hold) string {
	text := h.Reason.Text
	switch h.Reason.Code {
	case HoldNoOffer:
		if s.Funnel.Offers > 0 {
			return s.Funnel.obstacle()
		}
	case HoldBudget, HoldProbes, HoldSpread:
		if missing, why, ok := strings.Cut(text, "; "); ok && strings.HasSuffix(missing, "are missing") {
			why, _, _ = strings.Cut(why, "; of ")
			return why
		}
	}
	return text
}
