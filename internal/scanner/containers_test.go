package scanner

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/market"
)

// boxes is a market that runs containers.
type boxes struct {
	fake
	replicas func(id string) ([]market.Replica, error)
}

func (b *boxes) Replicas(_ context.Context, id string) ([]market.Replica, error) {
	return b.replicas(id)
}

func TestEachContainerIsAskedForAndJudgedAlone(t *testing.T) {
	f := &boxes{replicas: func(id string) ([]market.Replica, error) {
		switch id {
		case "broken":
			return nil, &market.Error{Op: "list replicas", Class: market.ClassShapeChanged, Detail: "a web page"}
		case "gone":
			return nil, &market.Error{Op: "list replicas", Class: market.ClassNotFound}
		}
		return []market.Replica{{Machine: "b"}, {Machine: "a"}}, nil
	}}
	snap := New(f, clock.NewVirtual(time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)), nil).Scan(context.Background(), Expected{Owner: "main", Containers: []string{"whole", "gone", "broken", "whole"}})
	got := ""
	for _, c := range snap.Containers {
		got += fmt.Sprintf("%s %v %v %d;", c.Container, c.Replicas.Complete, c.Gone, len(c.Replicas.Value))
	}
	if want := "broken false false 0;gone false true 0;whole true false 2;"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if r := snap.Containers[2].Replicas.Value; r[0].Machine != "a" || snap.Containers[0].Replicas.Problem == "" {
		t.Errorf("%+v", snap.Containers)
	}
	if !snap.Instances.Complete {
		t.Error("a container's failure is no failure of the list of machines")
	}
}

func TestAMarketWithoutContainersIsNotAsked(t *testing.T) {
	if snap := New(&fake{}, clock.NewVirtual(time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)), nil).Scan(context.Background(), Expected{Containers: []string{"x"}}); snap.Containers != nil {
		t.Errorf("%+v", snap.Containers)
	}
}
