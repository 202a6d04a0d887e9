package web

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tdscaler/tdscaler/internal/control"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/prices"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// Bounds of what visitors can ask for at once.
const (
	places     = 4               // questions under way that cost time
	placeTakes = 5 * time.Second // how long one waits for a place
	mostKept   = 16              // answers kept until the next cycle
)

// shared is the desk as visitors have it, who may be anybody: what costs time is asked
// once a cycle, whoever asks, and a few at a time; and nothing is answered that may hold
// a secret.
type shared struct {
	Desk
	o      Options
	places chan struct{} // one for each free place

	mu    sync.Mutex
	cycle <-chan struct{} // closed when what is kept is outdated
	kept  map[string]*kept
}

// kept is an answer, or one on its way.
type kept struct {
	done  chan struct{} // closed when there is one
	value any
	err   error
}

func newShared(o Options) *shared {
	s := &shared{Desk: o.Desk, o: o, places: make(chan struct{}, places)}
	for range places {
		s.places <- struct{}{}
	}
	return s
}

// place waits for a place, and returns what gives it back.
func (s *shared) place(ctx context.Context) (leave func(), err error) {
	found, err := s.o.Clock.Wait(ctx, placeTakes, s.places)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &control.Fault{Class: control.Interrupted, Message: fmt.Sprintf("%d questions that take time are under way", places)}
	}
	return func() { s.places <- struct{}{} }, nil
}

// entry is what is kept under a key; fresh where it is to be filled by whoever asked.
// Where there is no room it is kept by nobody.
func (s *shared) entry(key string) (e *kept, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.o.published(); s.kept == nil || now != s.cycle {
		s.cycle, s.kept = now, map[string]*kept{}
	}
	if e, ok := s.kept[key]; ok {
		return e, false
	}
	e = &kept{done: make(chan struct{})}
	if len(s.kept) < mostKept {
		s.kept[key] = e
	}
	return e, true
}

// forget drops an entry that came to nothing.
func (s *shared) forget(key string, e *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept[key] == e {
		delete(s.kept, key)
	}
}

// oncePerCycle asks what costs time, once for all who ask the same before the next
// cycle. It goes on when the first who asked goes away.
func oncePerCycle[T any](ctx context.Context, s *shared, key string, ask func(context.Context) (T, error)) (T, error) {
	e, mine := s.entry(key)
	if mine {
		fill(ctx, s, key, e, ask)
	}
	var none T
	select {
	case <-ctx.Done():
		return none, ctx.Err()
	case <-e.done:
	}
	if e.err != nil {
		return none, e.err
	}
	return e.value.(T), nil
}

// errEnded is what others are told where asking ended in a panic, which net/http catches.
var errEnded = errors.New("the question could not be answered")

// fill asks for an entry. Whatever becomes of that, nobody waits for it any longer.
func fill[T any](ctx context.Context, s *shared, key string, e *kept, ask func(context.Context) (T, error)) {
	e.err = errEnded
	defer func() {
		if e.err != nil {
			s.forget(key, e)
		}
		close(e.done)
	}()
	e.value, e.err = seated(context.WithoutCancel(ctx), s, ask)
}

// seated asks what costs time, in a place.
func seated[T any](ctx context.Context, s *shared, ask func(context.Context) (T, error)) (T, error) {
	leave, err := s.place(ctx)
	if err != nil {
		var none T
		return none, err
	}
	defer leave()
	return ask(ctx)
}

// Market implements Desk: offers are listed once for each policy and shape, and then
// filtered.
func (s *shared) Market(ctx context.Context, r control.MarketRequest) (control.Market, error) {
	whole := control.MarketRequest{Policy: r.Policy, Shape: r.Shape}
	m, err := oncePerCycle(ctx, s, fmt.Sprintf("market %q %+v", r.Policy, r.Shape), func(ctx context.Context) (control.Market, error) {
		m, err := s.Desk.Market(ctx, whole)
		m.Policy = shown(m.Policy)
		return m, err
	})
	if err != nil {
		return m, err
	}
	m.AgeSeconds = max(0, int64(s.o.Clock.Now().Sub(m.LookedAt)/time.Second))
	if only := matcher(r.Models, r.Countries); only != nil {
		offers := []plan.Listing{}
		for _, l := range m.Offers {
			if _, ok := only.Model(l.Model); ok && only.Place(l.Location) {
				offers = append(offers, l)
			}
		}
		m.Offers = offers
	}
	return m, nil
}

// Prices implements Desk, likewise. What is asked for since a time is asked for since its
// minute: visitors who ask for the last day ask the same.
func (s *shared) Prices(ctx context.Context, r control.PricesRequest) (control.Prices, error) {
	whole := control.PricesRequest{Policy: r.Policy, Shape: r.Shape, Since: r.Since.Truncate(time.Minute), Steps: r.Steps}
	key := fmt.Sprintf("prices %q %+v %d %d", r.Policy, r.Shape, whole.Since.Unix(), r.Steps)
	p, err := oncePerCycle(ctx, s, key, func(ctx context.Context) (control.Prices, error) { return s.Desk.Prices(ctx, whole) })
	if err != nil {
		return p, err
	}
	if only := matcher(r.Models, r.Countries); only != nil {
		groups := []prices.Group{}
		for _, g := range p.Groups {
			if _, ok := only.Model(g.Model); ok && only.Place(market.Location{Country: g.Country}) {
				groups = append(groups, g)
			}
		}
		p.Groups = groups
	}
	return p, nil
}

// matcher finds models and countries; nil takes all.
func matcher(models, countries []string) *policy.Matcher {
	if len(models)+len(countries) == 0 {
		return nil
	}
	return policy.NewMatcher(policy.Match{GPUModels: models, Countries: countries})
}

// Costs implements Desk.
func (s *shared) Costs(ctx context.Context, r control.CostsRequest) ([]plan.Cost, error) {
	return seated(ctx, s, func(ctx context.Context) ([]plan.Cost, error) { return s.Desk.Costs(ctx, r) })
}

// Outages implements Desk.
func (s *shared) Outages(ctx context.Context, r control.OutagesRequest) ([]plan.Outage, error) {
	return seated(ctx, s, func(ctx context.Context) ([]plan.Outage, error) { return s.Desk.Outages(ctx, r) })
}

// Intents implements Desk.
func (s *shared) Intents(ctx context.Context, r control.IntentsRequest) ([]plan.Intent, error) {
	return seated(ctx, s, func(ctx context.Context) ([]plan.Intent, error) { return s.Desk.Intents(ctx, r) })
}

// Cycles implements Desk.
func (s *shared) Cycles(ctx context.Context, r control.CyclesRequest) ([]ledger.ReportSummary, error) {
	return seated(ctx, s, func(ctx context.Context) ([]ledger.ReportSummary, error) { return s.Desk.Cycles(ctx, r) })
}

// Cycle implements Desk. The newest is what is asked for most.
func (s *shared) Cycle(ctx context.Context, r control.CycleRequest) (plan.Report, error) {
	ask := func(ctx context.Context) (plan.Report, error) {
		found, err := s.Desk.Cycle(ctx, r)
		return shownReport(found), err
	}
	if r.Cycle == 0 {
		return oncePerCycle(ctx, s, "the newest cycle", ask)
	}
	return seated(ctx, s, ask)
}

// shown is a policy without what may hold a secret: arguments and commands are written
// by hand, and so are queries of addresses.
func shown(p policy.Policy) policy.Policy {
	p.Run.Arguments = slices.Repeat([]string{secret.Redacted}, len(p.Run.Arguments))
	if p.Ready.SSH.Command != "" {
		p.Ready.SSH.Command = secret.Redacted
	}
	if path, _, asks := strings.Cut(p.Ready.HTTP.Path, "?"); asks {
		p.Ready.HTTP.Path = path + "?" + secret.Redacted
	}
	return p
}

// shownReport is a report without what may hold a secret, or could be sent again; lists
// are lists where they are empty, as the command prints them.
func shownReport(r plan.Report) plan.Report {
	all := make([]policy.Policy, len(r.Input.Policies))
	for i, p := range r.Input.Policies {
		all[i] = shown(p)
	}
	r.Input.Policies, r.Input.History.Heard = all, nil
	r.Plan.Actions, r.Plan.Holds, r.Plan.Questions = list(r.Plan.Actions), list(r.Plan.Holds), list(r.Plan.Questions)
	return r
}

// list is a list that JSON shows as one, also where it has nothing in it.
func list[T any](all []T) []T { return append([]T{}, all...) }
