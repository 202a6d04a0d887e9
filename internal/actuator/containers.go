package actuator

import (
	"context"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// ContainerWriter is the part of a market that runs containers. A Writer without it
// sells none.
type ContainerWriter interface {
	// ContainerDeploy returns the container's id, "" where the answer names none.
	ContainerDeploy(ctx context.Context, o market.ContainerOrder) (id string, err error)
	// ContainerScale sends a number of replicas, as the market takes it.
	ContainerScale(ctx context.Context, id string, replicas int) error
	ContainerStop(ctx context.Context, id string) error
}

// container carries out an action on a container.
func (a *Actuator) container(ctx context.Context, act plan.Action, in plan.Intent) (Result, error) {
	w, ok := a.writer.(ContainerWriter)
	if !ok {
		return a.refused(in, market.ClassRefused, "this market runs no containers")
	}
	switch act.Kind {
	case plan.ContainerDeploy:
		return a.containerDeploy(ctx, w, act, in)
	case plan.ContainerScale:
		return a.settled(in, market.Deployed{}, w.ContainerScale(ctx, act.Instance, act.Replicas))
	}
	return a.settled(in, market.Deployed{}, w.ContainerStop(ctx, act.Instance), market.ClassDone, market.ClassNotFound)
}

func (a *Actuator) containerDeploy(ctx context.Context, w ContainerWriter, act plan.Action, in plan.Intent) (Result, error) {
	order, err := a.outfit.OutfitContainer(act, in.Machine)
	if err != nil {
		return a.refused(in, market.ClassUnavailable, "prepare the order: "+err.Error())
	}
	id, err := w.ContainerDeploy(ctx, order)
	return a.settled(in, market.Deployed{ID: id}, err)
}
