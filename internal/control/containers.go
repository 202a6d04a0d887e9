package control

import (
	"context"
	"errors"

	"github.com/tdscaler/tdscaler/internal/daemon"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
)

// Container is a container in the books.
type Container struct {
	plan.Container
	Burn       market.Rate `json:"burn_usd_hour"` // what it costs as last seen
	AgeSeconds int64       `json:"age_seconds"`   // since it was ordered
}

// Containers implements Desk.
func (f *Office) Containers(_ context.Context, r MachinesRequest) ([]Container, error) {
	if err := f.knows(r.Policy); err != nil {
		return nil, err
	}
	found, err := f.containers(r.Policy)
	return list(found), err
}

func (f *Office) containers(policy string) (out []Container, err error) {
	h, err := f.history()
	for i := range h.Containers {
		if c := h.Containers[i]; policy == "" || policy == c.Policy {
			out = append(out, Container{Container: c, Burn: c.Burn(), AgeSeconds: f.age(c.OrderedAt)})
		}
	}
	return out, err
}

// unconfirmedContainers adds to a destruction the containers that are left.
func (f *Office) unconfirmedContainers(policy string, d *Destruction) error {
	left, err := f.containers(policy)
	for i := range left {
		d.Unconfirmed = append(d.Unconfirmed, left[i].Name)
	}
	return err
}

// AdoptContainer implements Desk.
func (f *Office) AdoptContainer(ctx context.Context, a daemon.Adoption) (plan.Container, error) {
	if (a.ID == "") != a.None || a.Replicas < 0 || a.None && a.Replicas > 0 {
		return plan.Container{}, &Fault{Class: Usage, Message: "name the container's id, or say that there is none"}
	}
	if err := f.knows(a.Policy); err != nil {
		return plan.Container{}, err
	}
	c, err := f.b.adopt(ctx, a)
	if errors.Is(err, daemon.ErrNoContainer) || errors.Is(err, ledger.ErrNotExist) {
		return c, &Fault{Class: NotFound, Message: err.Error()}
	}
	return c, fail(err)
}

func (r *runningDaemon) adopt(ctx context.Context, a daemon.Adoption) (plan.Container, error) {
	return r.d.AdoptContainer(ctx, a)
}

// adopt connects for looking only: an operator's word changes the ledger alone.
func (a *alone) adopt(ctx context.Context, word daemon.Adoption) (out plan.Container, err error) {
	var r daemon.Reader
	if !word.None {
		if r, err = a.Reader(a.Config); err != nil {
			return out, err
		}
	}
	err = a.change(func(l *ledger.Ledger) (err error) {
		out, err = daemon.AdoptContainer(ctx, l, r, &a.Config, a.clock, word)
		return err
	})
	return out, err
}
