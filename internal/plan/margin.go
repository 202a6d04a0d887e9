package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// Rise is one time that a host's price rose above the bid of a machine of ours.
type Rise struct {
	Host  string          `json:"host"`
	Model market.GPUModel `json:"gpu_model"`
	Shape market.Shape    `json:"shape"`
	At    time.Time       `json:"at"`
	// From is the bid that was known to win before, To the one that would have been
	// needed, as far as was found out; both of a machine of that shape.
	From market.Rate `json:"from_usd_hour"`
	To   market.Rate `json:"to_usd_hour"`
}

const (
	// mostRises bounds what is remembered of one GPU model; the oldest go first.
	mostRises = 200
	// riseSettles is for how long after a rise the search for a new bid tells how far
	// the price rose.
	riseSettles = 5 * time.Minute
	// marginMost is the greatest margin, in percent of the bid that wins.
	marginMost = 25
	// quietPrior is the running time without a rise that every host and every model is
	// given credit for.
	quietPrior = 24 * Once
	// halfRise is the quarter of a rise that is believed where none was seen: nothing
	// is ever quite certain.
	halfRise = Once / 4
)

// share is by how much of the winning bid the price rose, in billionths.
func (r *Rise) share() int64 { return mulDiv(int64(r.To.Sub(r.From)), int64(Once), int64(r.From)) }

// rose notes that a machine was outbid. The bracket says from where; a look after a
// search for a higher bid will say how far.
func (o *observer) rose(m *Machine) {
	bid, known := m.Bid.Get()
	if !known || bid <= 0 || m.Host == "" || m.RunAt.IsZero() || m.Leaving != nil {
		return
	}
	r := Rise{Host: m.Host, Model: m.Model, Shape: m.Shape, At: o.l.Now, From: bid, To: bid.Add(market.Cent)}
	for i := range o.h.Brackets {
		if b := &o.h.Brackets[i]; b.key() == (bracketKey{m.Host, m.Model, m.Shape}) && b.Hi != 0 {
			r.From = min(b.Hi, bid)
		}
	}
	o.h.Rises = append(o.h.Rises, r)
}

// measure takes from a cycle's verdicts how far the prices rose that have just
// outbid us.
func (h *History) measure(verdicts []market.Verdict, now time.Time) {
	if len(h.Rises) == 0 || len(verdicts) == 0 {
		return
	}
	found := brackets(map[bracketKey]bracket{}, verdicts)
	for i := range h.Rises {
		r := &h.Rises[i]
		if b, ok := found[bracketKey{r.Host, r.Model, r.Shape}]; ok && now.Sub(r.At) <= riseSettles {
			r.To = max(r.To, cmp.Or(b.hi, b.lo))
		}
	}
}

// tidyRises keeps the newest rises of each model, for two half-lives of the records
// that they are counted against.
func (h *History) tidyRises(now time.Time) {
	h.Rises = slices.DeleteFunc(h.Rises, func(r Rise) bool { return now.Sub(r.At) > 2*RecordHalfLife })
	slices.SortFunc(h.Rises, func(a, b Rise) int {
		return cmp.Or(cmp.Compare(a.Model, b.Model), b.At.Compare(a.At), cmp.Compare(a.Host, b.Host), compareShapes(a.Shape, b.Shape),
			cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	kept, n := h.Rises[:0], 0
	for _, r := range h.Rises {
		if len(kept) == 0 || kept[len(kept)-1].Model != r.Model {
			n = 0
		}
		if n++; n <= mostRises {
			kept = append(kept, r)
		}
	}
	h.Rises = kept
}

// step is a rise as the margin sees it.
type step struct {
	share int64 // of the winning bid, in billionths
	seen  Faded // how much it counts
	own   bool  // on this very host
}

// steps are the rises of a model, the greatest first, as a host sees them.
func (w *world) steps(host string, model market.GPUModel) []step {
	k := recordKey{host, model}
	out, ok := w.stepsOf[k]
	if !ok {
		out = w.fadedSteps(host, model)
		w.stepsOf[k] = out
	}
	return out
}

func (w *world) fadedSteps(host string, model market.GPUModel) []step {
	all, ok := w.rises[model]
	if !ok {
		for i := range w.in.History.Rises {
			if r := &w.in.History.Rises[i]; r.Model == model && r.From > 0 && r.To > r.From {
				all = append(all, *r)
			}
		}
		slices.SortFunc(all, func(a, b Rise) int { return cmp.Compare(b.share(), a.share()) })
		w.rises[model] = all
	}
	out := make([]step, len(all))
	for i := range all {
		hours := max(int64(w.in.Now.Sub(all[i].At)/time.Hour), 0)
		out[i] = step{all[i].share(), Once.fade(hours), all[i].Host == host}
	}
	return out
}

// margin is what it pays to bid above a bid that wins: the delta for which
//
//	delta + loss x (losses an hour at a margin of delta)
//
// is least, delta being 0 or one of the rises that were seen, up to a quarter of the
// bid. Losses an hour are those of this host, mixed with 24 hours of its GPU model's,
// and theirs with a quarter of a loss in 24 hours; where no rise was seen, the least is at 0. It
// also returns how many losses an hour are then expected.
func margin(hi market.Rate, loss market.Amount, steps []step, own, model Faded) (delta market.Rate, hazard Faded) {
	var mine, pooled Faded // rises greater than the margin under consideration
	best := market.Amount(0)
	consider := func(d market.Rate) {
		rate := mixed(mine, own, mixed(pooled+halfRise, model, 0, quietPrior), quietPrior)
		cost := market.Amount(d).Add(market.Amount(mulDiv(int64(loss), int64(rate), int64(Once))))
		if hazard == 0 || cost <= best { // of equals the smaller margin, which comes later
			delta, hazard, best = d, rate, cost
		}
	}
	for i, s := range steps {
		d := market.Rate(mulDiv(int64(hi), s.share, int64(Once))).CeilCent()
		if d <= hi.Scale(marginMost, 100) && (i == 0 || s.share != steps[i-1].share) {
			consider(d)
		}
		pooled += s.seen
		if s.own {
			mine += s.seen
		}
	}
	consider(0)
	return delta, hazard
}

// marginOn is the margin on a host, and how long a machine is then held there, between
// an hour and a day.
func (w *world) marginOn(host string, model market.GPUModel, hi market.Rate, loss market.Amount) (market.Rate, time.Duration) {
	own, pool := w.records.of[recordKey{host, model}], w.records.models[model]
	delta, hazard := margin(hi, loss, w.steps(host, model), own.Hours, pool.Hours)
	held := time.Duration(mulDiv(int64(time.Hour), int64(Once), int64(max(hazard, 1))))
	return delta, min(max(held, shortHold), longHold)
}

// margin is what it pays to add to a bid that wins; nothing where the strategy names
// its bids.
func (l *lane) margin(hi market.Rate) market.Rate {
	if l.w == nil || l.named {
		return 0
	}
	if share, ok := l.share.Get(); ok {
		return hi.Scale(int64(share*1e6), 1e6)
	}
	delta, _ := l.w.marginOn(l.host, l.model, hi, l.w.lossOf(l.host, l.model, l.onDemand, hi))
	return delta
}

// wonText says what a bid follows from.
func wonText(won, margin market.Rate) string {
	if margin <= 0 {
		return won.String() + " wins"
	}
	return fmt.Sprintf("%s wins, a margin of %s is added", won, margin)
}

// longHold is the longest that a machine is reckoned to be held.
const longHold = 24 * time.Hour

// lossOf is what it costs to be outbid: the GPUs that are missing, each worth twice its
// on-demand price, until a look has seen it and a machine has booted again, and that
// boot, which is paid for.
func (w *world) lossOf(host string, model market.GPUModel, onDemand, bid market.Rate) market.Amount {
	boot := w.records.TimeToReady(host, model)
	return onDemand.Mul(missingFactor).For(boot + w.in.notice()/2 + apiTakes).Add(bid.For(boot))
}

// apiTakes is about how long a write takes until the market has answered it.
const apiTakes = 12 * time.Second
