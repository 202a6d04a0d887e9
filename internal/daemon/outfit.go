package daemon

import (
	"fmt"

	"github.com/tdscaler/tdscaler/internal/credentials"
	"github.com/tdscaler/tdscaler/internal/market"
	"github.com/tdscaler/tdscaler/internal/plan"
	"github.com/tdscaler/tdscaler/internal/policy"
	"github.com/tdscaler/tdscaler/internal/secret"
)

// outfitter completes orders with what the planner must not know.
type outfitter struct {
	set       *policy.Set
	materials map[string]Material
	store     *credentials.Store
}

// Outfit implements actuator.Outfitter. TensorDock wants a password in every
// order through v0. Where the policy names neither password nor key, it is the only way in,
// and is kept in a file before it is sent; where there is a key, the password is
// random and nobody ever knows it.
func (o *outfitter) Outfit(a plan.Action, name string) (market.Order, error) {
	p, ok := o.set.Find(a.Policy)
	if !ok {
		return market.Order{}, fmt.Errorf("policy %s is not in the configuration", a.Policy)
	}
	m := o.materials[a.Policy]
	image, pw := p.Image, secret.String{}
	var err error
	if a.Via == market.ViaV2 { // which knows no passwords
		image = p.ImageV2
	} else if pw, err = o.password(name, m); err != nil {
		return market.Order{}, err
	}
	return market.Order{
		Via: a.Via, Site: a.Site, Instant: a.Instant, Many: a.Many, Name: name, Host: a.Host, Model: a.Model, Shape: a.Shape, Capacity: a.Capacity, Bid: a.Bid,
		Image: image, Ports: a.Ports, Password: pw, SSHKey: m.SSHKey, CloudInit: m.CloudInit,
	}, nil
}

func (o *outfitter) password(name string, m Material) (secret.String, error) {
	if !m.Password.IsEmpty() {
		return m.Password, nil
	}
	pw, err := credentials.Generate()
	if err != nil || m.SSHKey != "" {
		return pw, err
	}
	return pw, o.store.Put(name, pw)
}

// OutfitContainer implements actuator.Outfitter.
func (o *outfitter) OutfitContainer(a plan.Action, name string) (market.ContainerOrder, error) {
	p, ok := o.set.Find(a.Policy)
	if !ok {
		return market.ContainerOrder{}, fmt.Errorf("policy %s is not in the configuration", a.Policy)
	}
	env := map[string]string{}
	for k, v := range p.Run.Env {
		env[k] = v
	}
	for k, v := range o.materials[a.Policy].Env {
		env[k] = v.Reveal()
	}
	return market.ContainerOrder{
		Name: name, Project: p.Run.Project, Image: a.Image, Private: p.Run.Private, Models: a.Models, Shape: a.Shape, Replicas: a.Replicas,
		Ports: p.Ports, Env: env, Volumes: p.Run.Volumes, Arguments: p.Run.Arguments, MaxRate: a.Ceiling,
	}, nil
}

// Strip implements actuator.Outfitter.
func (o *outfitter) Strip(name string) error { return o.store.Delete(name) }
