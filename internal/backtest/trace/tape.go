package trace

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/backtest/tape"
	"github.com/tdscaler/tdscaler/internal/market"
)

// Terms are what the files do not tell.
type Terms struct {
	Boot time.Duration
	// Gap replaces that of capacity files; 0 takes theirs.
	Gap time.Duration
	// Spot is the price of a GPU-hour on a capacity trace.
	Spot market.Rate
	// OnDemand is the price of a GPU-hour on demand; unknown is twice the median of a
	// price trace.
	OnDemand market.Maybe[market.Rate]
	// Seed decides at which second between two ticks capacity changes.
	Seed uint64
	// Start is when a capacity trace begins; a price trace knows it.
	Start time.Time
}

// HostGPUs is how many GPUs each host of a price trace has.
const HostGPUs = 8

// Tape makes a tape of the trace. Errors wrap ErrTrace.
func (t *Trace) Tape(terms Terms) (*tape.Tape, error) {
	out := &tape.Tape{Start: terms.Start, Boot: terms.Boot, OnDemand: terms.OnDemand.Or(0)}
	var err error
	if t.Kind == Capacity {
		err = t.capacity(out, &terms)
	} else {
		err = t.prices(out, &terms)
	}
	out.Penalty = out.OnDemand.Mul(2)
	return out, err
}

// capacity aligns the zones at their first tick and cuts them to the shortest.
func (t *Trace) capacity(out *tape.Tape, terms *Terms) error {
	gap, ticks := terms.Gap, len(t.Zones[0].Free)
	for i := range t.Zones {
		z := &t.Zones[i]
		ticks = min(ticks, len(z.Free))
		switch {
		case terms.Gap > 0:
		case z.Gap == 0:
			return place{z.file, 1}.errorf("metadata.gap_seconds is missing: give --gap")
		case gap != 0 && gap != z.Gap:
			return place{z.file, 1}.errorf("gap_seconds is %s, that of %s is %s: give --gap to overrule both", z.Gap, t.Zones[0].file, gap)
		default:
			gap = z.Gap
		}
	}
	out.Length = gap * time.Duration(ticks)
	if out.Length/gap != time.Duration(ticks) || out.Length > longest {
		return fmt.Errorf("%w: %d ticks of %s are more than %d years", ErrTrace, ticks, gap, longest/year)
	}
	for i := range t.Zones {
		z := &t.Zones[i]
		out.Pools = append(out.Pools, tape.Pool{
			Name: z.Name, Model: Model, Free: z.jittered(ticks, gap, terms.Seed), Price: tape.Constant(terms.Spot),
		})
	}
	return nil
}

// Model is the GPU of a capacity trace, which names none.
const Model market.GPUModel = "gpu"

const (
	year    = 365 * 24 * time.Hour
	longest = 100 * year
)

// jittered puts each change at a random whole second after the tick before it, up
// to the tick that shows it, so that nobody learns the probe's clock. Each zone
// draws from its own stream: another file beside it changes nothing.
func (z *Zone) jittered(ticks int, gap time.Duration, seed uint64) tape.Series[int] {
	h := fnv.New64a()
	_, _ = h.Write([]byte(z.Name)) // never fails
	rng := rand.New(rand.NewPCG(seed, h.Sum64()))
	out := tape.Constant(z.Free[0])
	for i := 1; i < ticks; i++ {
		if z.Free[i] == z.Free[i-1] {
			continue
		}
		at := gap*time.Duration(i-1) + time.Second*time.Duration(1+rng.Int64N(int64(gap/time.Second)))
		out = append(out, tape.Step[int]{At: at, Value: z.Free[i]})
	}
	return out
}

// prices begins with the earliest row and ends with the last one. A host is there
// from its first row on.
func (t *Trace) prices(out *tape.Tape, terms *Terms) error {
	out.FirstPrice = true
	begin, end := t.Series[0].Points[0].At, t.Series[0].Points[0].At
	var all []market.Rate
	for i := range t.Series {
		for _, p := range t.Series[i].Points {
			if p.At.Before(begin) {
				begin = p.At
			}
			if p.At.After(end) {
				end = p.At
			}
			all = append(all, p.Price)
		}
	}
	if t.Until.After(end) {
		end = t.Until
	}
	out.Start, out.Length = begin, end.Sub(begin)
	if out.Length < time.Second || out.Length > longest {
		return fmt.Errorf("%w: it lasts from %s to %s: a price trace ends with its last row, and lasts a second at least and a hundred years at most",
			ErrTrace, begin.Format(time.RFC3339), end.Format(time.RFC3339))
	}
	if !terms.OnDemand.Known() {
		slices.Sort(all)
		out.OnDemand = t.OnDemand.Or(all[len(all)/2].Mul(2))
	}
	models := map[string]int{}
	for i := range t.Series {
		models[t.Series[i].Host]++
	}
	for i := range t.Series {
		s := &t.Series[i]
		p := tape.Pool{Name: s.Host, Model: s.Model, Free: s.counts(begin), Price: s.steps(begin)}
		if models[s.Host] > 1 {
			p.Name += "/" + string(s.Model)
		}
		out.Pools = append(out.Pools, p)
	}
	slices.SortFunc(out.Pools, func(a, b tape.Pool) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(out.Pools); i++ {
		if out.Pools[i].Name == out.Pools[i-1].Name {
			return fmt.Errorf("%w: two hosts are called %q", ErrTrace, out.Pools[i].Name)
		}
	}
	return nil
}

// counts are the changes of the number of GPUs; none before the first.
func (s *Series) counts(begin time.Time) tape.Series[int] {
	all := s.Free
	if all == nil {
		all = []Count{{s.Points[0].At, HostGPUs}}
	}
	out := tape.Constant(0)
	for _, c := range all {
		at, last := c.At.Sub(begin), &out[len(out)-1]
		switch {
		case c.GPUs == last.Value:
		case at <= last.At:
			last.Value = c.GPUs
		default:
			out = append(out, tape.Step[int]{At: at, Value: c.GPUs})
		}
	}
	return out
}

// steps are the changes of the price, the first of them from the beginning on.
func (s *Series) steps(begin time.Time) tape.Series[market.Rate] {
	var out tape.Series[market.Rate]
	for i, p := range s.Points {
		n := len(out)
		if i+1 < len(s.Points) && s.Points[i+1].At.Equal(p.At) || n > 0 && out[n-1].Value == p.Price {
			continue
		}
		at := p.At.Sub(begin)
		if n == 0 {
			at = 0
		}
		out = append(out, tape.Step[market.Rate]{At: at, Value: p.Price})
	}
	return out
}

// Keep leaves out of a price trace the models that nobody wants.
func (t *Trace) Keep(wanted func(market.GPUModel) bool) {
	t.Series = slices.DeleteFunc(t.Series, func(s Series) bool { return !wanted(s.Model) })
}

// Models are the GPU models of a price trace, sorted.
func (t *Trace) Models() []market.GPUModel {
	var out []market.GPUModel
	for i := range t.Series {
		out = append(out, t.Series[i].Model)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
