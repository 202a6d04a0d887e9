package actuator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/permit"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// stage records every step in its order, and fails where it is told to.
type stage struct {
	steps []string
	fail  map[string]error
	// shutAt is the question at which the gate is found shut, the first is 1.
	shutAt, gates int
	// verdict is the answer to a validation.
	verdict market.Verdict
	refusal struct {
		class  market.Class
		detail string
	}
}

func (s *stage) step(name string) error {
	s.steps = append(s.steps, name)
	return s.fail[name]
}

func (s *stage) Allow(plan.Action) error {
	if s.gates++; s.gates == s.shutAt {
		return errors.Join(s.step("gate"), errors.New("paused"))
	}
	return s.step("gate")
}

// send is a write of the market: it asks for permit before it leaves.
func (s *stage) send(ctx context.Context, name string) error {
	if err := permit.Ask(ctx); err != nil {
		return &market.Error{Op: "op", Class: market.ClassUnavailable, Detail: err.Error()}
	}
	return s.step(name)
}

func (s *stage) Begin(a plan.Action) (plan.Intent, error) {
	return plan.Intent{ID: 7, Kind: a.Kind, Machine: "tds-main-train-abcd1234", Instance: a.Instance, State: plan.IntentOpen}, s.step("begin")
}

func (s *stage) Accept(in plan.Intent, _ market.Deployed, _ string) (plan.Intent, error) {
	in.State = plan.IntentAccepted
	return in, s.step("accept")
}

func (s *stage) Refuse(in plan.Intent, class market.Class, detail string) (plan.Intent, error) {
	in.State, s.refusal.class, s.refusal.detail = plan.IntentRefused, class, detail
	return in, s.step("refuse")
}

func (s *stage) Lose(in plan.Intent, _ string) (plan.Intent, error) {
	in.State = plan.IntentUnknown
	return in, s.step("lose")
}

func (s *stage) Outfit(_ plan.Action, name string) (market.Order, error) {
	return market.Order{Name: name, Password: secret.New("pw")}, s.step("outfit")
}

func (s *stage) OutfitContainer(_ plan.Action, name string) (market.ContainerOrder, error) {
	return market.ContainerOrder{Name: name}, s.step("outfit")
}

func (s *stage) Strip(string) error { return s.step("strip") }

func (s *stage) Deploy(ctx context.Context, _ market.Order) (market.Deployed, error) {
	return market.Deployed{ID: "id"}, s.send(ctx, "DEPLOY")
}

func (s *stage) Delete(ctx context.Context, _ string) error { return s.send(ctx, "DELETE") }

func (s *stage) DeleteInstance(ctx context.Context, _ string) error { return s.send(ctx, "DELETE V2") }

func (s *stage) Stop(ctx context.Context, _ string, release bool) error {
	if release {
		return s.send(ctx, "RELEASE")
	}
	return s.send(ctx, "STOP")
}

func (s *stage) Start(ctx context.Context, _ string) error { return s.send(ctx, "START") }

func (s *stage) ModifyInstance(ctx context.Context, _ string, _ market.GPUModel, _ market.Shape) error {
	return s.send(ctx, "RESIZE")
}

func (s *stage) StopInstance(ctx context.Context, _ string) error { return s.send(ctx, "STOP V2") }

func (s *stage) StartInstance(ctx context.Context, _ string) error { return s.send(ctx, "START V2") }

func (s *stage) ValidateExisting(ctx context.Context, _ string, _ market.Rate) (market.Verdict, error) {
	return s.verdict, s.send(ctx, "VALIDATE")
}

func (s *stage) ModifyBid(ctx context.Context, _ string, _ market.GPUModel, _ market.Shape, _ market.Rate) error {
	return s.send(ctx, "MODIFY")
}

func answer(class market.Class) error { return &market.Error{Op: "op", Class: class, Detail: "why"} }

func act(kind plan.ActionKind, s *stage) (Result, error) {
	return New(s, s, s, s).Act(context.Background(), plan.Action{Kind: kind, Host: "h", Bid: market.USD(0, 50), Instance: "id", Shape: market.Shape{GPUs: 1}})
}

func TestTheOrderIsGateIntentRequestOutcome(t *testing.T) {
	for kind, want := range map[plan.ActionKind]string{
		plan.Deploy: "gate begin outfit gate DEPLOY accept",
		plan.Rebid:  "gate begin gate VALIDATE gate MODIFY accept",
		plan.Delete: "gate begin gate DELETE accept",
	} {
		s := &stage{}
		r, err := act(kind, s)
		if got := strings.Join(s.steps, " "); got != want || err != nil || r.Class != "" || r.Intent.State != plan.IntentAccepted {
			t.Errorf("%s: %q, want %q; %+v %v", kind, got, want, r, err)
		}
	}
}

func TestEveryFailureEndsWithAnOutcomeInTheBooksAndNothingMoreIsSent(t *testing.T) {
	disk := errors.New("disk full")
	for _, c := range []struct {
		kind  plan.ActionKind
		at    string
		err   error
		want  string
		class market.Class
		fatal bool // our own books failed: the caller must stop
	}{
		{plan.Deploy, "gate", errors.New("shut"), "gate", "", false},
		{plan.Deploy, "begin", plan.ErrBudget, "gate begin", "", false},
		{plan.Rebid, "begin", fmt.Errorf("rebid: %w", plan.ErrStale), "gate begin", "", false},
		{plan.Deploy, "begin", disk, "gate begin", "", true},
		{plan.Rebid, "begin", disk, "gate begin", "", true},
		{plan.Delete, "begin", disk, "gate begin", "", true},
		{plan.Deploy, "outfit", disk, "gate begin outfit refuse", market.ClassUnavailable, false},
		{plan.Deploy, "DEPLOY", answer(market.ClassAmbiguous), "gate begin outfit gate DEPLOY lose", market.ClassAmbiguous, false},
		{plan.Deploy, "DEPLOY", answer(market.ClassNoCapacity), "gate begin outfit gate DEPLOY strip refuse", market.ClassNoCapacity, false},
		{plan.Deploy, "DEPLOY", answer(market.ClassBidRefused), "gate begin outfit gate DEPLOY strip refuse", market.ClassBidRefused, false},
		{plan.Deploy, "DEPLOY", answer(market.ClassRateLimited), "gate begin outfit gate DEPLOY strip refuse", market.ClassRateLimited, false},
		{plan.Deploy, "accept", disk, "gate begin outfit gate DEPLOY accept", "", true},
		{plan.Rebid, "VALIDATE", answer(market.ClassAmbiguous), "gate begin gate VALIDATE lose", market.ClassAmbiguous, false},
		{plan.Rebid, "VALIDATE", answer(market.ClassBidRefused), "gate begin gate VALIDATE refuse", market.ClassBidRefused, false},
		{plan.Rebid, "MODIFY", answer(market.ClassAmbiguous), "gate begin gate VALIDATE gate MODIFY lose", market.ClassAmbiguous, false},
		// The validation may have applied the bid: a look decides, not this refusal.
		{plan.Rebid, "MODIFY", answer(market.ClassRefused), "gate begin gate VALIDATE gate MODIFY accept", "", false},
		{plan.Delete, "DELETE", answer(market.ClassDone), "gate begin gate DELETE accept", "", false},
		{plan.Delete, "DELETE", answer(market.ClassNotFound), "gate begin gate DELETE accept", "", false},
		{plan.Delete, "DELETE", answer(market.ClassAmbiguous), "gate begin gate DELETE lose", market.ClassAmbiguous, false},
		{plan.Delete, "DELETE", answer(market.ClassUnauthorized), "gate begin gate DELETE refuse", market.ClassUnauthorized, false},
	} {
		s := &stage{fail: map[string]error{c.at: c.err}}
		r, err := act(c.kind, s)
		if got := strings.Join(s.steps, " "); got != c.want || (err != nil) != c.fatal || r.Class != c.class {
			t.Errorf("%s, %s fails with %v: %q, want %q; class %q, %v", c.kind, c.at, c.err, got, c.want, r.Class, err)
		}
		if skipped := !slices.Contains(s.steps, "begin") || errors.Is(c.err, plan.ErrBudget) || errors.Is(c.err, plan.ErrStale); skipped != (r.Skipped != "") {
			t.Errorf("%s, %s fails with %v: skipped %q", c.kind, c.at, c.err, r.Skipped)
		}
	}
}

func TestAGateThatShutsWhileAWriteWaitsForItsTurnStopsIt(t *testing.T) {
	for _, c := range []struct {
		kind   plan.ActionKind
		shutAt int
		want   string
		class  market.Class
	}{
		{plan.Deploy, 2, "gate begin outfit gate strip refuse", market.ClassUnavailable},
		{plan.Delete, 2, "gate begin gate refuse", market.ClassUnavailable},
		{plan.Rebid, 2, "gate begin gate refuse", market.ClassUnavailable},
		// The first of the two calls was sent and may have applied the bid.
		{plan.Rebid, 3, "gate begin gate VALIDATE gate lose", market.ClassAmbiguous},
	} {
		s := &stage{shutAt: c.shutAt}
		r, err := act(c.kind, s)
		if got := strings.Join(s.steps, " "); err != nil || got != c.want || r.Class != c.class {
			t.Errorf("%s, shut at question %d: %q, want %q; %q %v", c.kind, c.shutAt, got, c.want, r.Class, err)
		}
	}
}

func TestARefusedBidIsAVerdictForTheNextPlan(t *testing.T) {
	hint := market.Some(market.USD(0, 55))
	s := &stage{fail: map[string]error{"DEPLOY": &market.Error{Op: "deploy", Class: market.ClassBidRefused, Hint: hint}}}
	r, err := act(plan.Deploy, s)
	v, ok := r.Verdict.Get()
	if err != nil || !ok || v.Answer != market.Refused || v.Bid != market.USD(0, 50) || v.Host != "h" || v.Hint != hint || !r.Retry() {
		t.Errorf("deploy: %+v, %v", r, err)
	}
	s = &stage{verdict: market.Verdict{Answer: market.Refused, Detail: "too low", Hint: hint}}
	r, err = act(plan.Rebid, s)
	v, ok = r.Verdict.Get()
	if err != nil || !ok || v.Bid != market.USD(0, 50) || v.Host != "h" || v.Hint != hint || !r.Retry() {
		t.Errorf("rebid: %+v, %v", r, err)
	}
	if got := strings.Join(s.steps, " "); got != "gate begin gate VALIDATE refuse" || s.refusal.class != market.ClassBidRefused || s.refusal.detail != "too low" {
		t.Errorf("rebid: %q %+v", got, s.refusal)
	}
	for _, class := range []market.Class{market.ClassNoCapacity, market.ClassRefused, market.ClassUnavailable} {
		r, _ := act(plan.Deploy, &stage{fail: map[string]error{"DEPLOY": answer(class)}})
		if r.Verdict.Known() {
			t.Errorf("%s says nothing about the price: %+v", class, r.Verdict)
		}
	}
}

func TestOnlyWhatAnotherPlanMayDoBetterIsTriedAgain(t *testing.T) {
	for class, want := range map[market.Class]bool{
		"": false, market.ClassNoCapacity: true, market.ClassBidRefused: true, market.ClassRefused: true, market.ClassNotFound: true,
		market.ClassAmbiguous: false, market.ClassUnauthorized: false, market.ClassRateLimited: false, market.ClassUnavailable: false,
	} {
		if got := (Result{Class: class}).Retry(); got != want {
			t.Errorf("%q: %v", class, got)
		}
	}
}

func TestAPasswordThatCannotBeForgottenStopsTheActing(t *testing.T) {
	s := &stage{fail: map[string]error{"DEPLOY": answer(market.ClassNoCapacity), "strip": errors.New("read-only")}}
	if _, err := act(plan.Deploy, s); err == nil {
		t.Error("no error")
	}
}

func TestWhatOnlyV2HasShownIsDeletedThroughV2(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "gate begin gate DELETE V2 accept"},
		{answer(market.ClassNotFound), "gate begin gate DELETE V2 accept"},
		{answer(market.ClassDone), "gate begin gate DELETE V2 accept"},
		{answer(market.ClassAmbiguous), "gate begin gate DELETE V2 lose"},
		{answer(market.ClassUnavailable), "gate begin gate DELETE V2 refuse"},
	} {
		s := &stage{fail: map[string]error{"DELETE V2": c.err}}
		_, err := New(s, s, s, s).Act(context.Background(), plan.Action{Kind: plan.Delete, Instance: "id", API: market.V2})
		if got := strings.Join(s.steps, " "); got != c.want || err != nil {
			t.Errorf("%v: %s, %v", c.err, got, err)
		}
	}
}

func TestABidThatIsOnlyAskedAboutIsNotSubmitted(t *testing.T) {
	s := &stage{}
	if _, err := New(s, s, s, s).Act(context.Background(), plan.Action{Kind: plan.Rebid, Instance: "id", AskOnly: true}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.steps, " "); got != "gate begin gate VALIDATE accept" {
		t.Errorf("%s", got)
	}
}
