package simulator

import (
	"fmt"
	"slices"
	"time"

	"github.com/tdscaler/tdscaler/internal/market"
)

// placingEvery is how often a container looks for room for missing replicas.
const placingEvery = time.Minute

// ContainerOrder is a group of equal on-demand machines to be kept running.
type ContainerOrder struct {
	Name     string
	Image    string
	Models   []market.GPUModel
	Shape    market.Shape
	Replicas int
	MaxRate  market.Rate // of one replica with its storage
	Port     int         // inside the container
	Barren   bool        // no replica of it ever comes up
}

// ReplicaListing is how the list of machines shows those that run containers. What the
// live market does is not known.
type ReplicaListing string

// Listings.
const (
	ReplicasHidden   ReplicaListing = ""         // it does not
	ReplicasNamed    ReplicaListing = "named"    // under their container's name and a number
	ReplicasNameless ReplicaListing = "nameless" // under a name that tells nothing
)

type container struct {
	id       string
	order    ContainerOrder
	replicas []*machine
	stopped  bool
}

// Containers are not bid for: each replica is an on-demand machine on the cheapest
// host within the group's greatest rate.

// DeployContainer starts a group and returns its id.
func (e *Engine) DeployContainer(o ContainerOrder) (string, error) {
	defer e.lock()()
	if e.balance() < leastToDeploy {
		return "", refuse("deploy container", market.ClassRefused, "You need at least $1 in your account to deploy a container")
	}
	if o.Name == "" || o.Image == "" || o.Replicas < 1 || o.Replicas > 1000 {
		return "", refuse("deploy container", market.ClassRefused, "A container needs a name, an image and 1 to 1000 replicas")
	}
	c := &container{id: newID(e.ids), order: o}
	e.containers = append(e.containers, c)
	e.place(c)
	e.keepPlacing(c)
	return c.id, nil
}

func (e *Engine) keepPlacing(c *container) {
	e.after(placingEvery, func() {
		if c.stopped {
			return
		}
		e.place(c)
		e.keepPlacing(c)
	})
}

// place brings the group to its size: new replicas where there is room, and the
// newest away where there are too many.
func (e *Engine) place(c *container) {
	c.replicas = slices.DeleteFunc(c.replicas, func(m *machine) bool { return m.status == market.StatusTerminated })
	for len(c.replicas) > c.order.Replicas {
		last := len(c.replicas) - 1
		e.delete(c.replicas[last])
		c.replicas = c.replicas[:last]
	}
	for len(c.replicas) < c.order.Replicas && !c.order.Barren && e.balance() >= leastToDeploy {
		p := e.cheapestFor(c)
		if p == nil {
			return
		}
		c.replicas = append(c.replicas, e.newReplica(c, p))
	}
}

func (e *Engine) cheapestFor(c *container) *pool {
	var best *pool
	for _, model := range c.order.Models {
		o := market.Order{Model: model, Shape: c.order.Shape}
		p := e.cheapest(&o, func(h *host) bool {
			rate := h.pool(model).onDemand(o.Shape).Add(h.storage.price.Mul(o.Shape.Storage))
			return len(h.ports) > 0 && rate <= c.order.MaxRate
		})
		if p != nil && (best == nil || p.onDemand(o.Shape) < best.onDemand(o.Shape)) {
			best = p
		}
	}
	return best
}

func (e *Engine) newReplica(c *container, p *pool) *machine {
	o := market.Order{
		Name: fmt.Sprintf("%s-%d", c.order.Name, len(c.replicas)), Host: p.host.id, Model: p.model,
		Shape: c.order.Shape, Capacity: market.OnDemand, Image: c.order.Image,
		Ports: []market.PortForward{{External: p.host.ports[0], Internal: max(c.order.Port, 22)}},
	}
	m := e.make(p, deployment{Order: o, api: market.V0, boot: e.opts.Boot, container: c})
	if e.opts.Replicas == ReplicasNameless {
		m.alias = "vm-" + m.id[:8]
	}
	e.take(m)
	e.startBoot(m)
	e.report(Deployed, m)
	return m
}

func (e *Engine) findContainer(op, id string) (*container, error) {
	for _, c := range e.containers {
		if c.id == id && !c.stopped {
			return c, nil
		}
	}
	return nil, refuse(op, market.ClassNotFound, "Container not found")
}

// ScaleContainer sets the number of replicas: by is added to it, or replaces it.
func (e *Engine) ScaleContainer(id string, by int, absolute bool) error {
	defer e.lock()()
	c, err := e.findContainer("scale container", id)
	if err != nil {
		return err
	}
	want := by
	if !absolute {
		want += c.order.Replicas
	}
	if want < 0 || want > 1000 {
		return refuse("scale container", market.ClassRefused, "A container has 0 to 1000 replicas")
	}
	c.order.Replicas = want
	e.place(c)
	return nil
}

// StopContainer ends the group and its replicas.
func (e *Engine) StopContainer(id string) error {
	defer e.lock()()
	c, err := e.findContainer("stop container", id)
	if err != nil {
		return err
	}
	c.order.Replicas = 0
	e.place(c)
	c.stopped = true
	return nil
}

// ContainerState is what the dashboard shows of a container.
type ContainerState struct {
	ID, Name string
	Wanted   int
	Replicas int
}

// Containers are those that were not stopped, as only the dashboard shows them.
func (e *Engine) Containers() (out []ContainerState) {
	defer e.lock()()
	for _, c := range e.containers {
		if !c.stopped {
			out = append(out, ContainerState{c.id, c.order.Name, c.order.Replicas, len(c.replicas)})
		}
	}
	return out
}

// Replicas are a group's machines.
func (e *Engine) Replicas(id string) ([]Machine, error) {
	defer e.lock()()
	c, err := e.findContainer("list replicas", id)
	if err != nil {
		return nil, err
	}
	var out []Machine
	for _, m := range c.replicas {
		if m.status != market.StatusTerminated {
			out = append(out, e.describe(m))
		}
	}
	return out, nil
}
