package actuator

import (
	"context"
	"strings"
	"testing"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// boxes is a stage whose market runs containers.
type boxes struct{ stage }

func (b *boxes) ContainerDeploy(ctx context.Context, o market.ContainerOrder) (string, error) {
	return "id", b.send(ctx, "DEPLOY "+o.Name)
}

func (b *boxes) ContainerScale(ctx context.Context, _ string, n int) error {
	return b.send(ctx, "SCALE "+string(rune('0'+n)))
}

func (b *boxes) ContainerStop(ctx context.Context, _ string) error { return b.send(ctx, "STOP") }

func TestContainersGoTheSameWayGateIntentRequestOutcome(t *testing.T) {
	const name = "DEPLOY tds-main-train-abcd1234"
	for _, c := range []struct {
		kind plan.ActionKind
		at   string
		err  error
		want string
	}{
		{plan.ContainerDeploy, "", nil, "gate begin outfit gate " + name + " accept"},
		{plan.ContainerDeploy, name, answer(market.ClassAmbiguous), "gate begin outfit gate " + name + " lose"},
		{plan.ContainerDeploy, name, answer(market.ClassRefused), "gate begin outfit gate " + name + " refuse"},
		{plan.ContainerDeploy, "begin", plan.ErrBudget, "gate begin"},
		{plan.ContainerDeploy, "gate", answer(market.ClassRefused), "gate"},
		{plan.ContainerScale, "", nil, "gate begin gate SCALE 3 accept"},
		{plan.ContainerScale, "SCALE 3", answer(market.ClassAmbiguous), "gate begin gate SCALE 3 lose"},
		{plan.ContainerScale, "SCALE 3", answer(market.ClassNotFound), "gate begin gate SCALE 3 refuse"},
		{plan.ContainerStop, "", nil, "gate begin gate STOP accept"},
		{plan.ContainerStop, "STOP", answer(market.ClassNotFound), "gate begin gate STOP accept"},
		{plan.ContainerStop, "STOP", answer(market.ClassAmbiguous), "gate begin gate STOP lose"},
		{plan.ContainerStop, "STOP", answer(market.ClassUnauthorized), "gate begin gate STOP refuse"},
	} {
		s := &boxes{stage{fail: map[string]error{c.at: c.err}}}
		_, err := New(s, s, s, s).Act(context.Background(), plan.Action{Kind: c.kind, Instance: "id", Replicas: 3})
		if got := strings.Join(s.steps, " "); got != c.want || err != nil {
			t.Errorf("%s, %s fails with %v: %q, want %q; %v", c.kind, c.at, c.err, got, c.want, err)
		}
	}
}

func TestAMarketWithoutContainersRefusesThemInTheBooks(t *testing.T) {
	s := &stage{}
	if _, err := New(s, s, s, s).Act(context.Background(), plan.Action{Kind: plan.ContainerDeploy}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.steps, " "); got != "gate begin refuse" || s.refusal.class != market.ClassRefused {
		t.Errorf("%q %+v", got, s.refusal)
	}
}
