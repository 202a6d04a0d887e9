package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/tdscaler/tdscaler/internal/clock"
	"github.com/tdscaler/tdscaler/internal/ledger"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/scanner"
)

// ErrNoContainer is returned where an operator's word fits to no container.
var ErrNoContainer = plan.ErrNoContainer

// Adoption is an operator's word about a policy's container: that it has this id, or
// with None that it does not exist.
type Adoption struct {
	Policy   string `json:"policy"`
	ID       string `json:"id,omitempty"`
	None     bool   `json:"none,omitempty"`
	Replicas int    `json:"replicas,omitempty"` // how many were asked for; 0: as ordered, or as many as there are
}

// AdoptContainer books an operator's word about a container, in this daemon's ledger.
func (d *Daemon) AdoptContainer(ctx context.Context, a Adoption) (plan.Container, error) {
	c, m, _ := d.composed()
	out, err := AdoptContainer(ctx, d.o.Ledger, m.Reader, &c, d.o.Clock, a)
	if err == nil {
		d.Wake()
	}
	return out, err
}

// AdoptContainer books an operator's word about a container. An id is looked up first:
// a slip of the pen must not become a container. r may be nil for None.
func AdoptContainer(ctx context.Context, l *ledger.Ledger, r Reader, c *Config, clk clock.Clock, a Adoption) (out plan.Container, err error) {
	p, ok := c.Set.Find(a.Policy)
	if !ok { // what it has may be named all the same, to be ended
		p = &policy.Policy{Name: a.Policy}
	}
	if !a.None {
		if err := countReplicas(ctx, r, l, &a); err != nil {
			return out, err
		}
	}
	err = l.Update(func(tx *ledger.Tx) error {
		var events []plan.Event
		var err error
		if now := clk.Now(); a.None {
			out, events, err = tx.History().DisownContainer(a.Policy, now)
		} else {
			out, events, err = tx.History().AdoptContainer(p, a.ID, a.Replicas, tx.NewName(c.Set.Daemon.Owner, a.Policy).String(), now)
		}
		for _, e := range events {
			err = errors.Join(err, settleIntent(tx, e, e.At))
		}
		return err
	})
	return out, err
}

// countReplicas asks the market for the container, and where the operator has not said
// how many replicas were asked for and nothing is on record, takes those there are.
func countReplicas(ctx context.Context, r Reader, l *ledger.Ledger, a *Adoption) error {
	lister, ok := r.(scanner.ContainerReader)
	if !ok {
		return errors.New("this market runs no containers")
	}
	list, err := lister.Replicas(ctx, a.ID)
	if class := market.ClassOf(err); class == market.ClassNotFound || class == market.ClassDone {
		return fmt.Errorf("%w: the market knows no container %q", ErrNoContainer, a.ID)
	}
	if err != nil {
		return fmt.Errorf("whether the market knows the container %q could not be found out: %w", a.ID, err)
	}
	h, err := l.History()
	if err != nil {
		return err
	}
	ordered := false
	for i := range h.Containers {
		ordered = ordered || h.Containers[i].Policy == a.Policy && h.Containers[i].ID == ""
	}
	if a.Replicas == 0 && !ordered {
		a.Replicas = len(list)
	}
	return nil
}

// stopAll stops the containers of a policy, or with "" all, for the destroy command.
func (d *Daemon) stopAll(ctx context.Context, act func(plan.Action) (Destroyed, error), h *plan.History, name string, done map[string]Destroyed) error {
	for i := range h.Containers {
		c := &h.Containers[i]
		switch {
		case name != "" && c.Policy != name || c.Phase == plan.PhaseDeleting:
			continue
		case c.ID == "":
			done[c.Name] = Destroyed{Machine: c.Name, Outcome: "waiting", Detail: "a container that may exist, and whose id the market has not told: look at the dashboard, then: tdscaler container adopt " + c.Policy + " ID, or --none"}
			continue
		}
		one, err := act(plan.Action{
			Kind: plan.ContainerStop, Policy: c.Policy, Machine: c.Name, Instance: c.ID, Shape: c.Shape, Rate: c.Reserved,
			Reason: plan.Reason{Code: plan.ReasonDestroy, Text: "destroyed by the operator"},
		})
		if err != nil {
			return err
		}
		done[c.Name] = one
	}
	return ctx.Err()
}
