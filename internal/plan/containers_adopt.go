package plan

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/policy"
)

// ErrNoContainer is returned by AdoptContainer and DisownContainer when the policy has no
// container that the operator's word could be about.
var ErrNoContainer = errors.New("no such container")

// AdoptContainer books an operator's word that a policy's container has this id, and
// count replicas now; 0 keeps what was ordered, where it was. What was in doubt about it
// ends with that. name is for a container that has no record yet.
func (h *History) AdoptContainer(p *policy.Policy, id string, count int, name string, now time.Time) (Container, []Event, error) {
	for i := range h.Containers {
		if c := &h.Containers[i]; c.ID == id && c.Policy != p.Name {
			return Container{}, nil, fmt.Errorf("%w: %s is the container of policy %s", ErrNoContainer, id, c.Policy)
		}
	}
	own := h.containersOf(p.Name)
	c := pickContainer(own, func(c *Container) bool { return c.ID == id })
	if c == nil {
		c = pickContainer(own, func(c *Container) bool { return c.ID == "" })
	}
	switch {
	case c == nil && len(own) > 0:
		return Container{}, nil, fmt.Errorf("%w: policy %s has the container %s", ErrNoContainer, p.Name, own[0].ID)
	case c == nil && p.Kind != policy.Container:
		return Container{}, nil, fmt.Errorf("%w of policy %s on record, and the file has no such policy for containers", ErrNoContainer, p.Name)
	case c == nil && count == 0:
		return Container{}, nil, fmt.Errorf("%w of policy %s on record, and it has no replicas to count: say how many were asked for", ErrNoContainer, p.Name)
	case c == nil:
		h.Containers = append(h.Containers, Container{
			Name: name, Policy: p.Name, Phase: PhaseUnknown, Image: p.Image, Shape: p.Shape, Ceiling: p.Ceiling(),
			OrderedAt: now, MeteredAt: now, Adopted: true,
		})
		c = &h.Containers[len(h.Containers)-1]
	}
	events := c.closeRequests(now, "an operator has told how many replicas there are")
	if c.ID == "" {
		c.ID, c.Phase = id, PhaseAccepted
	} else if count == 0 {
		count = len(c.Replicas)
	}
	if count > 0 || len(c.Guesses) == 0 {
		c.Guesses = h.bothMeanings(count)
	}
	c.Alarm, c.AlarmAt, c.Before, c.Suspects, c.Unexplained = "", time.Time{}, nil, nil, market.Maybe[market.Rate]{}
	c.Missed, c.MissedAt, c.Steady, c.SteadyAt = 0, time.Time{}, 0, now
	c.reserve()
	return *c, append(events, c.event(EventReplicas, now, "an operator says that it is "+id)), nil
}

// DisownContainer books an operator's word that a container which is in doubt does not
// exist, or is no affair of ours any more: nothing is held for it from now on.
func (h *History) DisownContainer(name string, now time.Time) (Container, []Event, error) {
	c := pickContainer(h.containersOf(name), func(c *Container) bool { return c.ID == "" || c.Alarm != "" })
	if c == nil {
		return Container{}, nil, fmt.Errorf("%w: policy %s has none that is in doubt", ErrNoContainer, name)
	}
	gone := *c
	events := c.closeRequests(now, "an operator says that there is no such container")
	e := c.event(EventExpired, now, "an operator says that it does not exist")
	if c.DeployIntent != 0 {
		e.Intent, e.State = c.DeployIntent, IntentExpired
	}
	h.dropContainer(c.Name)
	return gone, append(events, e), nil
}

func pickContainer(cs []*Container, fits func(*Container) bool) *Container {
	for _, c := range cs {
		if fits(c) {
			return c
		}
	}
	return nil
}

func (c *Container) event(k EventKind, now time.Time, text string) Event {
	return Event{Kind: k, At: now, Policy: c.Policy, Machine: c.Name, Text: text, Shape: c.Shape}
}

// closeRequests settles what is under way: an operator knows better.
func (c *Container) closeRequests(now time.Time, text string) (out []Event) {
	if c.Scale != nil {
		e := c.event(EventReplicas, now, text)
		e.Intent, e.State = c.Scale.Intent, IntentFailed
		out = append(out, e)
		c.Scale = nil
	}
	if c.Leaving != nil {
		e := c.event(EventStatus, now, text)
		e.Intent, e.State = c.Leaving.Intent, IntentFailed
		out = append(out, e)
		c.Leaving, c.Phase = nil, PhaseLive
	}
	return out
}

// Summary tells a container's state in a few words.
func (c *Container) Summary() string {
	switch {
	case c.Leaving != nil:
		return "stopping"
	case c.ID == "":
		return "unknown"
	case c.Alarm != "":
		return "alarm"
	case c.Phase == PhaseAccepted:
		return "ordered"
	case c.Scale != nil:
		return "scaling"
	}
	return "running"
}

// Count tells how many replicas run, of how many that were asked for: "2 of 3", or
// "2 of 3 or 5" where that is in doubt.
func (c *Container) Count() string {
	var may []string
	for _, g := range tidyCounts(c.Guesses) {
		may = append(may, fmt.Sprint(g))
	}
	return fmt.Sprintf("%d of %s", c.Ready(), strings.Join(may, " or "))
}

func tidyCounts(gs []Guess) (out []int) {
	for _, g := range gs {
		out = append(out, g.Wanted)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
