package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// beginContainer is Begin for containers.
func beginContainer(h *History, a Action, caps Caps, in *Intent) error {
	in.Replicas = a.Replicas
	switch a.Kind {
	case ContainerDeploy:
		return beginContainerDeploy(h, a, caps, in)
	case ContainerScale:
		return beginContainerScale(h, a, caps, in)
	}
	return beginContainerStop(h, in)
}

// beginContainerDeploy books a container that may come to exist. A policy of which one
// may exist already gets no second one.
func beginContainerDeploy(h *History, a Action, caps Caps, in *Intent) error {
	if len(h.containersOf(a.Policy)) > 0 || h.Container(in.Machine) != nil {
		return fmt.Errorf("deploy a container for %s: %w", a.Policy, ErrStale)
	}
	c := Container{
		Name: in.Machine, Policy: a.Policy, Phase: PhaseUnknown, Image: a.Image, Models: slices.Clone(a.Models), Shape: a.Shape,
		Ceiling: a.Ceiling, Guesses: h.bothMeanings(a.Replicas), Before: slices.Clone(h.Strangers),
		OrderedAt: in.At, MeteredAt: in.At, DeployIntent: in.ID,
	}
	c.reserve()
	bound := caps.room(h.position(a.Policy, &caps, in.At))
	if c.Reserved > bound.room {
		return fmt.Errorf("%w: %s needed for %s, %s left: %s", ErrBudget, c.Reserved, a.Policy, bound.room, bound.why)
	}
	in.Reserved = c.Reserved
	h.Containers = append(h.Containers, c)
	return nil
}

// beginContainerScale books a request to scale: from now on both what was and what it
// may make of it can be true, and the budget holds the dearer of the two.
func beginContainerScale(h *History, a Action, caps Caps, in *Intent) error {
	c := h.Container(a.Machine)
	if c == nil || c.Phase != PhaseLive || c.ID != a.Instance || c.Leaving != nil || c.Alarm != "" || c.Scale != nil && !c.Scale.Accepted {
		return fmt.Errorf("scale %s: %w", a.Machine, ErrStale)
	}
	bound := caps.room(h.position(a.Policy, &caps, in.At))
	next := *c
	next.Scale = &PendingScale{Intent: in.ID, Sent: a.Replicas, From: slices.Clone(c.Guesses), At: in.At}
	next.Guesses = tidyGuesses(append(slices.Clone(c.Guesses), afterAll(c.Guesses, a.Replicas)...))
	next.Steady, next.SteadyAt = 0, in.At
	next.reserve()
	if more := next.Reserved.Sub(c.Reserved); more > 0 && more > bound.room {
		return fmt.Errorf("%w: scaling %s needs %s more, %s left: %s", ErrBudget, a.Machine, more, bound.room, bound.why)
	}
	*c = next
	in.Reserved = c.Reserved
	return nil
}

func beginContainerStop(h *History, in *Intent) error {
	c := h.Container(in.Machine)
	if c == nil || c.ID == "" || c.Phase == PhaseDeleting {
		return fmt.Errorf("stop %s: %w", in.Machine, ErrStale)
	}
	in.Reserved = c.Reserved
	c.Leaving = &PendingDelete{Intent: in.ID, At: in.At, Code: in.Reason.Code}
	c.Missed, c.MissedAt = 0, time.Time{}
	return nil
}

// acceptContainer books the market's yes. A deploy that is answered without an id
// leaves the container unknown: nobody can ask after it.
func acceptContainer(h *History, in *Intent, d market.Deployed) {
	c := h.Container(in.Machine)
	if c == nil {
		return
	}
	switch in.Kind {
	case ContainerDeploy:
		h.scaled(in.Policy, in.AnswerAt)
		if in.Instance, c.ID = d.ID, d.ID; c.ID != "" {
			c.Phase = PhaseAccepted
		}
	case ContainerScale:
		h.scaled(in.Policy, in.AnswerAt)
		if c.Scale != nil && c.Scale.Intent == in.ID {
			c.Scale.Accepted = true
			c.Guesses = afterAll(c.Scale.From, c.Scale.Sent)
		}
	case ContainerStop:
		c.Phase = PhaseDeleting
		c.Leaving = &PendingDelete{Intent: in.ID, At: in.AnswerAt, Code: in.Reason.Code}
		if in.Reason.Code == ReasonOverTarget {
			h.scaled(in.Policy, in.AnswerAt)
		}
	}
	c.reserve()
}

// refuseContainer books a definite no: all is as it was.
func refuseContainer(h *History, in *Intent) {
	c := h.Container(in.Machine)
	if c == nil {
		return
	}
	switch in.Kind {
	case ContainerDeploy:
		h.dropContainer(in.Machine)
		return
	case ContainerScale:
		if c.Scale != nil && c.Scale.Intent == in.ID {
			c.Guesses, c.Scale = c.Scale.From, nil
		}
	case ContainerStop:
		c.Leaving = nil
	}
	c.reserve()
}

// loseContainer books a lost answer. A stop is asked for again, because stopping what
// is stopped does no harm; a deploy and a request to scale stay as possible as they
// were when they left, and are never repeated.
func loseContainer(h *History, in *Intent) {
	c := h.Container(in.Machine)
	if c == nil {
		return
	}
	switch in.Kind {
	case ContainerDeploy, ContainerScale:
		h.scaled(in.Policy, in.AnswerAt)
	case ContainerStop:
		c.Leaving = &PendingDelete{Intent: in.ID, At: in.AnswerAt, Code: in.Reason.Code, Lost: true}
		in.State, in.SettledAt = IntentFailed, in.AnswerAt
	}
}

// PenaliseContainer keeps a policy from asking for containers for a while, twice as
// long with every refusal.
func PenaliseContainer(h *History, s policy.Safety, name, why string, now time.Time) {
	Penalise(h, s, containerHost(name), "", 0, market.MaxRate, why, now)
}

// reservedContainers is what all containers, or with a name those of one policy, hold.
func (h *History) reservedContainers(counts func(policy string) bool) (sum market.Rate) {
	for i := range h.Containers {
		if counts(h.Containers[i].Policy) {
			sum = sum.Add(h.Containers[i].Reserved)
		}
	}
	return sum
}

// OpenContainerIntent is the intent that an action on a container settles by taking its
// place: an accepted request to scale, or a stop that was asked for before; 0 if there is
// none.
func (h *History) OpenContainerIntent(a Action) uint64 {
	c := h.Container(a.Machine)
	switch {
	case c == nil:
	case a.Kind == ContainerScale && c.Scale != nil:
		return c.Scale.Intent
	case a.Kind == ContainerStop && c.Leaving != nil:
		return c.Leaving.Intent
	}
	return 0
}
